"""A match as HTML: the same function makes the page, the immutable fragment and, in the browser, the update.

Everything that came from a feed is escaped here, once. What a script may rely on, and nothing else:

- the root, ``<article class="tl">``, with ``data-id`` (the position), ``data-match``, ``data-status``,
  ``data-period``, ``data-phase`` (``before live paused over off``) and ``data-announce`` (what a live
  region outside this fragment should say once; empty for nothing). The region must stand outside: one
  that is swapped in with its text is not spoken by all screen readers, or is spoken twice;
- on the root of a page's scoreboard ``data-as-of``, until when the server knew it to be the newest, UTC
  milliseconds; absent in a fragment, which never changes;
- ``[data-clock-start]``, the running minute, with ``data-clock-base``, ``-limit``, ``-least`` and
  ``-most`` (``wording`` says how to let it run); absent while the clock is stopped;
- ``time[data-tl-local]``, a moment in UTC that may be rewritten in the reader's own time zone;
- ``[data-tl-until]``, hidden: what to show from that moment (UTC milliseconds) on, since by then there
  would have been news of a running match;
- ``[data-tl-age]``, empty, for the age of what is shown once it is no longer live.
"""

from __future__ import annotations

from html import escape
from typing import Final, NamedTuple

from shared_state.announce import announcement
from shared_state.crest import crest_html
from shared_state.events import Event
from shared_state.jsonld import json_ld
from shared_state.lineups import lineups_html
from shared_state.match import Match
from shared_state.moments import Moment, review, taken_back
from shared_state.moments import moment as moment_of
from shared_state.names import short_name, surname
from shared_state.statistics import statistics_html
from shared_state.strip import strip_html
from shared_state.timeline import counted, kicks, retraction_text, rows_html
from shared_state.wire import DeltaId
from shared_state.wording import (
    believed_until,
    minute_text,
    moment,
    official_result,
    pair,
    phase,
    score_sentence,
    score_shown,
    side_code,
    side_name,
    status_chip,
    status_words,
    ticking,
)

__all__ = [
    "DELAYED_NOTE",
    "Summary",
    "announcement",
    "json_ld",
    "page_title",
    "scoreboard",
    "status_chip",
    "summary_row",
]

# A shoot-out is five kicks each before it is sudden death; the ones to come are shown as empty places.
SHOOTOUT_KICKS: Final = 5
# Statuses that leave a reader asking why.
EXPLAINED: Final = frozenset(
    {"DELAYED", "INTERRUPTED", "SUSPENDED", "POSTPONED", "CANCELLED", "ABANDONED", "AWARDED"}
)
# The score stays: it is the last that is known.
DELAYED_TEXT: Final = "Updates delayed. The match may have moved on."
DELAYED_NOTE: Final = "updates delayed"
# In place of rows, while there are none.
_NOTHING_YET: Final = {
    "before": "Line-ups and events appear here as they come in.",
    "live": "No goals, cards or changes yet.",
    "paused": "No goals, cards or changes yet.",
}
NO_BREAK: Final = "\N{NO-BREAK SPACE}"
PHASE_RANK: Final = {"live": 0, "paused": 1, "before": 2, "over": 3, "off": 4}


class Summary(NamedTuple):
    """A match as one line of the list; text, not yet escaped.

    Attributes:
        rank: sorts a list of these: live first, then what comes next, then what is over, latest first.
        phase: ``before``, ``live``, ``paused``, ``over`` or ``off``.
        home_score, away_score: None where there is no score to show.
        note: the shoot-out, or that the result is an official one; empty for neither.
        kickoff_iso, kickoff_text: empty if not known.
    """

    rank: tuple[int, int, str]
    match_id: str
    phase: str
    chip: str
    home: str
    away: str
    home_score: int | None
    away_score: int | None
    note: str
    competition: str
    kickoff_iso: str
    kickoff_text: str


def scoreboard(
    match: Match,
    position: DeltaId,
    *,
    announcement: str = "",
    before: Match | None = None,
    now_ms: int | None = None,
    fresh: str | None = None,
    as_of_ms: int | None = None,
) -> str:
    """The scoreboard as one ``<article class="tl">``.

    Args:
        match: the match.
        position: the id of the last delta in it.
        announcement: what ``announcement()`` said of that delta.
        before: the match before that delta, to show what it did to the score; None on a page, where nothing
            has just happened.
        now_ms: UTC milliseconds, to let the minute run to; None in a fragment, which never changes.
        fresh: the ``event_id`` of the row that just came, which is highlighted once.
        as_of_ms: until when this was known to be the newest, UTC milliseconds; None in a fragment.
    """
    label = f"{score_sentence(match)}, {status_words(match)}" if score_shown(match) else page_title(match)
    step = None if before is None else moment_of(before, match)
    # Two moments in a row have different turns, so that the second is animated like the first.
    turn = f' data-moment="{step.kind}" data-turn="{position.seq % 2}"' if step is not None else ""
    return (
        f'<article class="tl" part="board" data-id="{position}" data-match="{escape(match.match_id)}"'
        f' data-status="{match.status}" data-period="{match.period}" data-phase="{phase(match)}"'
        f' data-announce="{escape(announcement)}"{turn} aria-label="{escape(label)}"'
        + (">" if as_of_ms is None else f' data-as-of="{as_of_ms}">')
        + _delayed(match, now_ms)
        + _top(match, now_ms)
        + '<div class="tl-board">'
        + _team(match, "home")
        + _score(match, step)
        + _team(match, "away")
        + "</div>"
        + _banner(match, before)
        + ("" if score_shown(match) else _kickoff_line(match))
        + _players(match)
        + _explanation(match)
        + strip_html(match)
        + _shootout(match)
        + _events(match, fresh)
        + statistics_html(match)
        + lineups_html(match)
        + _foot(match)
        + "</article>"
    )


def page_title(match: Match) -> str:
    """``France 4–2 Croatia · FT``, or ``France v Croatia`` before there is a score."""
    between = pair(match.score) if score_shown(match) else "v"
    title = f"{side_name(match, 'home')} {between} {side_name(match, 'away')}"
    return title if match.status == "SCHEDULED" else f"{title} · {status_chip(match)}"


def summary_row(match: Match, now_ms: int | None = None) -> Summary:
    """The match as one line of a list."""
    iso, text = _kickoff(match)
    shown = score_shown(match)
    notes: list[str] = []
    chip = status_chip(match, now_ms)
    if match.shootout is not None:
        # In a list the chip has a narrow column; the shoot-out is with the notes.
        notes.append(f"{pair(match.shootout)} pens")
        chip = chip.partition(" (")[0]
    if official_result(match) is not None:
        notes.append("official result")
    until = believed_until(match)
    if until is not None and now_ms is not None and now_ms >= until:
        notes.append(DELAYED_NOTE)
    kickoff_ms = 0 if match.info is None else match.info.detail["kickoff_ms"] or 0
    stage = phase(match)
    latest_first = stage in ("over", "off")
    return Summary(
        rank=(PHASE_RANK[stage], -kickoff_ms if latest_first else kickoff_ms, match.match_id),
        match_id=match.match_id,
        phase=stage,
        chip=chip,
        home=side_name(match, "home"),
        away=side_name(match, "away"),
        home_score=match.score.home if shown else None,
        away_score=match.score.away if shown else None,
        note=", ".join(notes),
        competition="" if match.info is None else match.info.detail["competition"] or "",
        kickoff_iso=iso,
        kickoff_text=text,
    )


def _top(match: Match, now_ms: int | None) -> str:
    competition = None if match.info is None else match.info.detail["competition"]
    words = escape(status_words(match))
    chip = escape(status_chip(match, now_ms))
    running = ticking(match)
    if running is None:
        status = (
            f'<p class="tl-chip"><span aria-hidden="true">{chip}</span><span class="tl-vh">{words}</span></p>'
        )
    else:
        # role=timer is silent by itself: the minute is there to be asked for, not spoken every minute.
        status = (
            f'<p class="tl-chip" role="timer" data-clock-start="{running.start_ms}"'
            f' data-clock-base="{running.base}" data-clock-limit="{running.limit}"'
            f' data-clock-least="{running.least}" data-clock-most="{running.most}">{chip}</p>'
        )
    return (
        '<div class="tl-top"><p class="tl-competition">'
        + (f"<bdi>{escape(competition)}</bdi>" if competition else "")
        + f"</p>{status}</div>"
    )


def _delayed(match: Match, now_ms: int | None) -> str:
    """That the news is late: in the page already, hidden until it is true."""
    until = believed_until(match)
    if until is None:
        return ""
    hidden = "" if now_ms is not None and now_ms >= until else " hidden"
    return f'<p class="tl-delayed" data-tl-until="{until}"{hidden}>{DELAYED_TEXT}</p>'


def _team(match: Match, team: str) -> str:
    name, code = side_name(match, team), side_code(match, team)
    short = short_name(name, code)
    return (
        f'<div class="tl-team tl-{team}" part="team">{crest_html(match, team)}'
        + (f'<span class="tl-code" aria-hidden="true">{escape(code)}</span>' if code else "")
        + f'<span class="tl-name" part="name"><bdi>{escape(name)}</bdi></span>'
        # Which of the three is seen is the stylesheet's choice; the whole name is the one that is read out.
        + f'<span class="tl-short" aria-hidden="true"><bdi>{escape(short)}</bdi></span></div>'
    )


def _score(match: Match, step: Moment | None) -> str:
    if not score_shown(match):
        return '<div class="tl-score" part="score"><span class="tl-versus">v</span></div>'
    shootout = match.shootout
    looked_at = review(match)
    side = "" if looked_at is None else f' data-review="{looked_at.team or "both"}"'
    return (
        f'<div class="tl-score" part="score"{side}><span class="tl-goals">'
        f"{_digits(match.score.home, None if step is None else step.was.home)}"
        '<i aria-hidden="true">–</i>'
        f"{_digits(match.score.away, None if step is None else step.was.away)}</span>"
        + (f'<span class="tl-pens">({pair(shootout)} pens)</span>' if shootout is not None else "")
        + ('<span class="tl-pens">Official</span>' if official_result(match) is not None else "")
        + (f'<span class="tl-review">{_review_words(looked_at)}</span>' if looked_at is not None else "")
        + "</div>"
    )


def _digits(count: int, was: int | None) -> str:
    """One side's goals; where they changed just now, with the number that they had."""
    return f"<b>{count}</b>" if was is None or was == count else f'<b data-was="{was}">{count}</b>'


def _review_words(event: Event) -> str:
    return "Goal under review" if event.type == "GOAL" else "VAR check"


def _banner(match: Match, before: Match | None) -> str:
    """That a goal was taken back, and why: what a reader who has just seen it counted asks."""
    found = taken_back(match, before)
    if found is None:
        return ""
    goal, retraction = found
    who = goal.player or side_name(match, goal.team or "home")
    when = "" if goal.minute is None else f" <span>{minute_text(goal.minute, goal.stoppage)}</span>"
    # The next goal that is taken back gets another class, so that its banner is not the one that has expired.
    number = len(match.retracted()) % 2
    return (
        f'<div class="tl-banner tl-banner-{number}" part="banner"><p class="tl-banner-head">'
        f"<bdi>{escape(retraction_text(goal, retraction))}</bdi></p>"
        f'<p class="tl-banner-who"><bdi>{escape(who)}</bdi>{when}</p></div>'
    )


def _kickoff_line(match: Match) -> str:
    when = _kickoff_html(match)
    return f'<p class="tl-kickoff">{when}</p>' if when else ""


def _players(match: Match) -> str:
    home, away = _counted(match, "home"), _counted(match, "away")
    if not home and not away:
        return ""
    return f'<div class="tl-players"><ul class="tl-home">{home}</ul><ul class="tl-away">{away}</ul></div>'


def _counted(match: Match, team: str) -> str:
    """Scorers and players sent off, a line for each player."""
    lines: dict[tuple[str, bool], list[str]] = {}
    for event in counted(match, team):
        red = event.type != "GOAL"
        when = "" if event.minute is None else minute_text(event.minute, event.stoppage)
        if not red:
            flag = "og" if event.detail["own_goal"] else "pen" if event.detail["penalty"] else ""
            flags = [flag] if flag else []
            if event.status == "PROVISIONAL":
                flags.append("under review")
            when = f"{when}{NO_BREAK}({', '.join(flags)})".lstrip() if flags else when
        lines.setdefault((event.player or side_name(match, team), red), []).append(when)
    return "".join(
        ('<li class="tl-sent-off"><span class="tl-vh">Red card: </span>' if red else "<li>")
        + f"<bdi>{escape(who)}</bdi> <span>{escape(', '.join(filter(None, whens)))}</span></li>"
        for (who, red), whens in lines.items()
    )


def _explanation(match: Match) -> str:
    """Why the status or the score is not what the play alone would make it."""
    sentences: list[str] = []
    change = match.deciding.get("STATUS_CHANGE")
    if change is not None and change.reason and match.status in EXPLAINED:
        sentences.append(f"{status_chip(match)}: {change.reason}")
    override = official_result(match)
    if override is not None:
        official = f"Official result {pair(match.score)}"
        sentences.append(f"{official}: {override.reason}" if override.reason else official)
        # A result without rows comes from a source that lists no goals: 0–0 would be a statement about them.
        if match.goals != match.score and (override.reason or match.status == "AWARDED" or _has_goals(match)):
            sentences.append(f"Goals on the pitch {pair(match.goals)}")
    if not sentences:
        return ""
    lines = "".join(f"<p><bdi>{escape(sentence)}</bdi></p>" for sentence in sentences)
    return f'<div class="tl-explanation">{lines}</div>'


def _has_goals(match: Match) -> bool:
    return any(event.type == "GOAL" for event in match.events())


def _shootout(match: Match) -> str:
    if match.shootout is None:
        return ""
    taken = {team: kicks(match, team) for team in ("home", "away")}
    over = match.status not in ("PENALTIES", "LIVE", "EXTRA_TIME")
    places = max(0 if over else SHOOTOUT_KICKS, *(len(side) for side in taken.values()))
    # A side that was already beaten takes no last kick; its place stays, so that the sides line up.
    open_place = f'<li class="tl-kick{" tl-kick-none" if over else ""}" aria-hidden="true"></li>'
    lines: list[str] = []
    for team, side in taken.items():
        marks = "".join(_kick(kick.player, "scored" if kick.detail["scored"] else "missed") for kick in side)
        marks += open_place * (places - len(side))
        lines.append(
            f'<div class="tl-kicks"><bdi>{escape(side_name(match, team))}</bdi><ol>{marks}</ol>'
            f"<b>{sum(kick.detail['scored'] for kick in side)}</b></div>"
        )
    return f'<section class="tl-shootout" aria-label="Penalty shoot-out">{"".join(lines)}</section>'


def _kick(player: str | None, outcome: str) -> str:
    words = f"{escape(player)} {outcome}" if player else outcome
    # For the eye where there is room, by the stylesheet; the words above say the same.
    who = f' data-kicker="{escape(surname(player))}"' if player else ""
    return f'<li class="tl-kick tl-kick-{outcome}"{who}><span class="tl-vh">{words}</span></li>'


def _events(match: Match, fresh: str | None) -> str:
    items = rows_html(match, fresh)
    if not items:
        empty = _NOTHING_YET.get(phase(match), "")
        return f'<p class="tl-empty" part="empty">{empty}</p>' if empty else ""
    # A log speaks what is added to it. This one is swapped in whole, so it would speak everything.
    return (
        '<div class="tl-log" role="log" aria-live="off" aria-label="Match events">'
        f'<ol class="tl-events">{items}</ol></div>'
    )


def _foot(match: Match) -> str:
    venue = None if match.info is None else match.info.detail["venue"]
    when = _kickoff_html(match) if score_shown(match) else ""
    parts = [part for part in (f"<bdi>{escape(venue)}</bdi>" if venue else "", when) if part]
    place = f'<p class="tl-place">{" · ".join(parts)}</p>' if parts else ""
    return f'<div class="tl-foot">{place}<p class="tl-age" data-tl-age></p></div>'


def _kickoff_html(match: Match) -> str:
    iso, text = _kickoff(match)
    return f'<time datetime="{iso}" data-tl-local>{text}</time>' if iso else ""


def _kickoff(match: Match) -> tuple[str, str]:
    """When the match starts, for machines and for people; empty if no source said."""
    kickoff_ms = None if match.info is None else match.info.detail["kickoff_ms"]
    when = None if kickoff_ms is None else moment(kickoff_ms)
    if when is None:
        return "", ""
    # Month names by hand: strftime would follow the locale of whatever machine renders.
    return when.strftime("%Y-%m-%dT%H:%M:%SZ"), f"{when.day} {_MONTHS[when.month - 1]} {when:%Y, %H:%M} UTC"


_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
