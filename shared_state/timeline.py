"""The rows under the score: which events a reader sees, in which order, and as what HTML.

1. The order is the match's own: period, minute, stoppage, and only then ``Event.order``. A correction
   that a source touches hours later changes a row in place; it does not move it.
2. What was taken back stays, struck through, with the reason: a reader who saw the goal must see where
   it went.
3. What we do not know is shown as nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Final, NamedTuple

from shared_state.events import PERIOD_INDEX, Event
from shared_state.language import ENGLISH, Language
from shared_state.match import Match, Score, is_scored_goal
from shared_state.var_outcomes import reason_words, var_words
from shared_state.wording import minute_text, pair, side_code, side_name

__all__ = ["Row", "counted", "kicks", "place", "retraction_key", "retraction_text", "rows", "rows_html"]


class Row(NamedTuple):
    """One event as shown.

    Attributes:
        retraction: what took the event back; None while it is in force.
        tally: the score after a goal, or the shoot-out after a kick, counted along the rows.
    """

    event: Event
    retraction: Event | None
    tally: Score | None


class _Text(NamedTuple):
    """A row in words: who or what, what it was, and more about it."""

    head: str
    kind: str
    more: str = ""


def rows(match: Match) -> list[Row]:
    """What is shown, first to last as played."""
    shown: list[tuple[Event, Event | None]] = [(event, None) for event in match.events()]
    shown += match.retracted()
    goals = made = Score(0, 0)
    found: list[Row] = []
    for event, retraction in sorted(shown, key=lambda item: place(item[0])):
        if event.type not in _TEXT:
            continue
        tally = None
        if retraction is None and is_scored_goal(event):
            tally = goals = goals.plus(event.team, 1)
        elif retraction is None and event.type == "SHOOTOUT_KICK":
            tally = made = made.plus(event.team, int(event.detail["scored"]))
        found.append(Row(event, retraction, tally))
    return found


def counted(match: Match, team: str) -> list[Event]:
    """The lines under a side's name, as played: its goals, own goals for it, and its red cards."""
    reds = ("RED_CARD", "SECOND_YELLOW")
    live = [
        event
        for event in match.events()
        if event.team == team and (is_scored_goal(event) or event.type in reds)
    ]
    return sorted(live, key=place)


def kicks(match: Match, team: str) -> list[Event]:
    """A side's kicks of the shoot-out, in their order."""
    live = [event for event in match.events() if event.type == "SHOOTOUT_KICK" and event.team == team]
    return sorted(live, key=place)


def retraction_text(event: Event, retraction: Event, language: Language = ENGLISH) -> str:
    """``Goal ruled out (VAR: offside)``."""
    return _with_reason(language.text(f"retracted{retraction_key(event)}"), retraction.reason, language)


def retraction_key(event: Event) -> str:
    """How the keys of what is said of this event once it is taken back end: ``.GOAL``."""
    return f".{event.type}" if event.type in _RETRACTED else ""


def _with_reason(mark: str, reason: str | None, language: Language) -> str:
    if not reason:
        return mark
    return language.text("mark.reason", mark=mark, reason=reason_words(reason, language))


def rows_html(match: Match, fresh: str | None = None, language: Language = ENGLISH) -> str:
    """The rows as list items, newest first, with a heading item above each period.

    Args:
        match: the match.
        fresh: the ``event_id`` of the row that just came, which is highlighted once.
        language: of the text.
    """
    items: list[str] = []
    kick_items: list[str] = []
    kicks_at = 0
    period = ""
    for row in reversed(rows(match)):
        period_before, period = period, row.event.period
        html = _row_html(match, row, fresh, language)
        if period == "PENS":
            kicks_at = len(items)
            kick_items.append(html)
            continue
        if period != period_before:
            items.append(f'<li class="tl-period">{escape(language.text(f"period.{period}"))}</li>')
        items.append(html)
    if kick_items:
        # The kicks stand as dots above; their rows are there for who opens them.
        heading = escape(language.text("period.PENS"))
        group = (
            f'<li class="tl-group"><details><summary class="tl-period">{heading}</summary>'
            f'<ol class="tl-events">{"".join(kick_items)}</ol></details></li>'
        )
        items.insert(kicks_at, group)
    return "".join(items)


def place(event: Event) -> tuple[int, int, int, tuple[int, int, int, int, str]]:
    """Where an event stands among the rows: by the match clock first."""
    minute = -1 if event.minute is None else event.minute
    if event.type == "SHOOTOUT_KICK":
        minute = event.detail["order"]
    return (PERIOD_INDEX[event.period], minute, event.stoppage, event.order())


def _row_html(match: Match, row: Row, fresh: str | None, language: Language) -> str:
    event, retraction, tally = row
    side = "" if event.team is None else side_name(match, event.team, language)
    text = _TEXT[event.type](event, side, language)
    mark = state = ""
    if retraction is not None:
        state, mark = "retracted", _mark("retracted", retraction_text(event, retraction, language))
    elif event.status == "PROVISIONAL":
        state, mark = "review", _mark("review", language.text("mark.review"))
    elif event.op == "AMEND" and (event.reason or event.type != "VAR"):
        # Without a reason the AMEND of a review is its end, which corrects nothing.
        state = "corrected"
        mark = _mark("corrected", _with_reason(language.text("mark.corrected"), event.reason, language))
    when = "" if event.minute is None else minute_text(event.minute, event.stoppage, language)
    strike = "s" if retraction is not None else "span"
    line = f'<b class="tl-who"><bdi>{escape(text.head)}</bdi></b>'
    if text.kind:
        line += f' <span class="tl-kind">{escape(text.kind)}</span>'
    more = f'<p class="tl-more"><{strike}><bdi>{escape(text.more)}</bdi></{strike}></p>' if text.more else ""
    code = None if event.team is None else side_code(match, event.team)
    end = "" if tally is None else f'<b class="tl-tally">{pair(tally)}</b>'
    if code:
        end += f'<span class="tl-side">{escape(code)}</span>'
    return (
        f'<li class="tl-row" part="row" data-event="{escape(event.event_id)}" data-type="{event.type}"'
        f' data-side="{event.team or "none"}"'
        + (f' data-state="{state}"' if state else "")
        + (" data-fresh" if fresh is not None and event.event_id == fresh else "")
        + f'><span class="tl-minute">{escape(when)}</span>{_icon(event)}'
        f'<div class="tl-what"><p class="tl-line"><{strike}>{line}</{strike}></p>{more}{mark}</div>'
        + (f'<div class="tl-end">{end}</div>' if end else "")
        + "</li>"
    )


def _mark(state: str, text: str) -> str:
    return f'<p class="tl-mark tl-mark-{state}"><bdi>{escape(text)}</bdi></p>'


def _goal(event: Event, side: str, language: Language) -> _Text:
    kind = "own_goal" if event.detail["own_goal"] else "penalty" if event.detail["penalty"] else "goal"
    more = language.text("row.assist", player=event.player2) if event.player2 else ""
    return _Text(event.player or side, language.text(f"row.{kind}"), more)


def _named(event: Event, side: str, language: Language) -> _Text:
    kind = language.text(f"row.{event.type}")
    who = event.player or side
    return _Text(who, kind) if who else _Text(kind, "")


def _kick(event: Event, side: str, language: Language) -> _Text:
    return _Text(
        event.player or side, language.text("row.scored" if event.detail["scored"] else "row.missed")
    )


def _substitution(event: Event, side: str, language: Language) -> _Text:
    off = event.player2
    if event.player is None:
        more = language.text("row.substitution.off", player=off) if off else side
        return _Text(language.text("row.substitution"), "", more)
    kind = language.text("row.substitution.for", player=off) if off else language.text("row.substitution.on")
    return _Text(event.player, kind)


def _var(event: Event, _: str, language: Language) -> _Text:
    outcome = var_words(event.detail["outcome"], language)
    if event.detail["state"] == "OPEN":
        return _Text(language.text("row.var.check"), language.text("row.var.open"), outcome)
    return _Text(language.text("row.var"), outcome or language.text("row.var.closed"))


def _stoppage(event: Event, _: str, language: Language) -> _Text:
    minutes = language.counted("row.stoppage.minutes", event.detail["minutes"])
    return _Text(language.text("row.stoppage"), minutes)


def _note(event: Event, _side: str, _language: Language) -> _Text:
    return _Text(event.detail["text"], "")


_TEXT: Final[Mapping[str, Callable[[Event, str, Language], _Text]]] = {
    "GOAL": _goal,
    "PENALTY_MISSED": _named,
    "SHOOTOUT_KICK": _kick,
    "YELLOW_CARD": _named,
    "SECOND_YELLOW": _named,
    "RED_CARD": _named,
    "SUBSTITUTION": _substitution,
    "VAR": _var,
    "STOPPAGE_ANNOUNCED": _stoppage,
    "NOTE": _note,
}
# Types with words of their own for what is taken back; the others have one text for all.
_RETRACTED: Final = frozenset(
    {"GOAL", "PENALTY_MISSED", "SHOOTOUT_KICK", "YELLOW_CARD", "SECOND_YELLOW", "RED_CARD", "SUBSTITUTION"}
)


def _svg(name: str, shapes: str) -> str:
    # The size is an attribute too: without its stylesheet a picture must not fill the page.
    return (
        f'<svg class="tl-icon tl-icon-{name}" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">'
        f"{shapes}</svg>"
    )


def _icon(event: Event) -> str:
    missed = event.type == "SHOOTOUT_KICK" and not event.detail["scored"]
    return _ICON["PENALTY_MISSED" if missed else event.type]


_BALL: Final = '<circle class="tl-ring" cx="8" cy="8" r="6.5"/>'
# Shapes take their colours from the stylesheet; the words beside them say the same without colour.
_ICON: Final[Mapping[str, str]] = {
    "GOAL": _svg("goal", _BALL + '<path d="M8 4.7l3.1 2.3-1.2 3.7H6.1L4.9 7z"/>'),
    "PENALTY_MISSED": _svg("missed", _BALL + '<path class="tl-stroke" d="M5.7 5.7l4.6 4.6m0-4.6l-4.6 4.6"/>'),
    "SHOOTOUT_KICK": _svg("kick", _BALL + '<circle cx="8" cy="8" r="2.6"/>'),
    "YELLOW_CARD": _svg("yellow", '<rect x="4" y="2" width="8" height="12" rx="1.5"/>'),
    "SECOND_YELLOW": _svg(
        "second",
        '<rect class="tl-first" x="2.5" y="1.5" width="7.5" height="11" rx="1.5"/>'
        '<rect x="6" y="3.5" width="7.5" height="11" rx="1.5"/>',
    ),
    "RED_CARD": _svg("red", '<rect x="4" y="2" width="8" height="12" rx="1.5"/>'),
    "SUBSTITUTION": _svg(
        "change",
        '<path class="tl-stroke tl-on" d="M4.5 13V3.5M2 6l2.5-2.5L7 6"/>'
        '<path class="tl-stroke tl-off" d="M11.5 3v9.5M9 10l2.5 2.5L14 10"/>',
    ),
    "VAR": _svg(
        "var",
        '<rect class="tl-ring" x="1.5" y="3" width="13" height="8.5" rx="1.5"/>'
        '<path class="tl-stroke" d="M5 14h6"/>',
    ),
    "STOPPAGE_ANNOUNCED": _svg("time", _BALL + '<path class="tl-stroke" d="M8 4.5V8l2.4 1.6"/>'),
    "NOTE": _svg("note", '<path class="tl-stroke" d="M3 4.5h10M3 8h10M3 11.5h6"/>'),
}
