"""The head of the scoreboard: both sides, the score between them, what became of a goal."""

from __future__ import annotations

from html import escape
from typing import Final

from shared_state.crest import crest_html
from shared_state.language import Language
from shared_state.match import Match
from shared_state.moments import Moment, review, taken_back
from shared_state.names import short_name
from shared_state.timeline import retraction_text
from shared_state.wording import minute_text, official_result, pair, score_shown, side_code, side_name

__all__ = ["banner_html", "board_html"]

# What fits over the side's half of a wide scoreboard, in one line of two.
WIDE_MAX_CHARS: Final = 20


def board_html(match: Match, step: Moment | None, language: Language) -> str:
    """The sides and the score.

    Args:
        match: the match.
        step: what the last delta did to the score; None for nothing, or if that is not known.
        language: of the text.
    """
    return (
        f'<div class="tl-board">{_team(match, "home", language)}{_score(match, step, language)}'
        f"{_team(match, 'away', language)}</div>"
    )


def banner_html(match: Match, before: Match | None, language: Language) -> str:
    """That a goal was taken back, and why; empty for none. A reader who saw it counted asks for this."""
    found = taken_back(match, before)
    if found is None:
        return ""
    goal, retraction = found
    who = goal.player or side_name(match, goal.team or "home", language)
    when = ""
    if goal.minute is not None:
        when = f" <span>{escape(minute_text(goal.minute, goal.stoppage, language))}</span>"
    # The next goal that is taken back gets another class, so that its banner is not the one that has expired.
    number = len(match.retracted()) % 2
    return (
        f'<div class="tl-banner tl-banner-{number}" part="banner"><p class="tl-banner-head">'
        f"<bdi>{escape(retraction_text(goal, retraction, language))}</bdi></p>"
        f'<p class="tl-banner-who"><bdi>{escape(who)}</bdi>{when}</p></div>'
    )


def _team(match: Match, team: str, language: Language) -> str:
    name, code = side_name(match, team, language), side_code(match, team)
    short = short_name(name, code)
    wide = short_name(name, code, WIDE_MAX_CHARS)
    # Which of the names is seen is the stylesheet's choice; the whole one is read out.
    return (
        f'<div class="tl-team tl-{team}" part="team">{crest_html(match, team, language)}'
        + (f'<span class="tl-code" aria-hidden="true">{escape(code)}</span>' if code else "")
        + _shorter("wide", wide if wide != name else "")
        + _shorter("short", short)
        + f'<span class="tl-name" part="name"><bdi>{escape(name)}</bdi></span></div>'
    )


def _shorter(kind: str, name: str) -> str:
    if not name:
        return ""
    return f'<span class="tl-{kind}" part="name" aria-hidden="true"><bdi>{escape(name)}</bdi></span>'


def _score(match: Match, step: Moment | None, language: Language) -> str:
    if not score_shown(match):
        versus = escape(language.text("score.versus"))
        return f'<div class="tl-score" part="score"><span class="tl-versus">{versus}</span></div>'
    below: list[str] = []
    if match.shootout is not None:
        below.append(language.text("score.pens", score=pair(match.shootout)))
    if official_result(match) is not None:
        below.append(language.text("score.official"))
    looked_at = review(match)
    attribute = remark = ""
    if looked_at is not None:
        attribute = f' data-review="{looked_at.team or "both"}"'
        key = "score.review" if looked_at.type == "GOAL" else "score.check"
        remark = f'<span class="tl-review">{escape(language.text(key))}</span>'
    home, away = match.score
    return (
        f'<div class="tl-score" part="score"{attribute}><span class="tl-goals">'
        f"{_digits(home, None if step is None else step.was.home)}"
        '<i aria-hidden="true">–</i>'
        f"{_digits(away, None if step is None else step.was.away)}</span>"
        + "".join([f'<span class="tl-pens">{escape(text)}</span>' for text in below])
        + f"{remark}</div>"
    )


def _digits(count: int, was: int | None) -> str:
    """One side's goals; where they changed just now, with the number that they had."""
    return f"<b>{count}</b>" if was is None or was == count else f'<b data-was="{was}">{count}</b>'
