"""The match as a line from kick-off to the end: what the home side did above it, the other side below.

Places are per cent of the width, as attributes of SVG: the strip has any width without a style of its own. It
is a picture for the eye only; the rows say the same in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared_state.crest import graphic_color, side_color
from shared_state.events import Event
from shared_state.match import Match, is_scored_goal
from shared_state.timeline import place
from shared_state.wording import PLAYED, phase, score_shown, ticking

__all__ = ["strip_html"]

# Minutes of stoppage that a period has room for; a longer one makes the strip longer.
_ROOM: Final[Mapping[str, int]] = {"H1": 4, "H2": 7, "ET1": 2, "ET2": 3}
_ROOM_MAX: Final = 30
_EXTRA_TIME: Final = ("ET1", "ET2")
# Two marks of a side are at least so many thousandths of the width apart.
_APART: Final = 26
_MARKED: Final = frozenset({"RED_CARD", "SECOND_YELLOW", "PENALTY_MISSED"})
_Y: Final[Mapping[str, int]] = {"home": 10, "away": 38}


def strip_html(match: Match, now_ms: int | None = None) -> str:
    """The strip; empty before the match, and where it would have neither a mark nor a running end.

    Args:
        match: the match.
        now_ms: UTC milliseconds to let the line run to; None for the furthest minute known.
    """
    if not score_shown(match) or phase(match) == "before":
        return ""
    live = [event for event in match.events() if _has_place(event)]
    if ticking(match) is None and not any(_is_marked(event) for event in live):
        return ""
    scale = _Scale(match, live)
    marks = ""
    for team in ("home", "away"):
        shown = [(event, "") for event in live if event.team == team and _is_marked(event)]
        shown += [
            (event, " tl-gone")
            for event, _ in match.retracted()
            if event.type == "GOAL" and event.team == team and _has_place(event)
        ]
        shown.sort(key=lambda item: place(item[0]))
        color = graphic_color(side_color(match, team))
        places = _apart([scale.at(event) for event, _ in shown])
        for index, (event, gone) in enumerate(shown):
            marks += _mark(event, places[index], _Y[team], color, gone)
    ticks = "".join(f'<line class="tl-tick" x1="{at}" x2="{at}" y1="19" y2="29"/>' for at in scale.breaks())
    end = _percent(scale.elapsed(match, now_ms) * 1000 // scale.total)
    run = f' data-tl-elapsed="{scale.running(match)}"' if ticking(match) is not None else ""
    return (
        '<svg class="tl-strip" part="timeline" width="100%" height="48" aria-hidden="true">'
        '<line class="tl-axis" x1="0" x2="100%" y1="24" y2="24"/>'
        f'<line class="tl-elapsed"{run} x1="0" x2="{end}" y1="24" y2="24"/>{ticks}{marks}</svg>'
    )


class _Scale:
    """Where a moment of play is on the strip, in minutes of it."""

    def __init__(self, match: Match, live: list[Event]) -> None:
        periods = ["H1", "H2"]
        in_extra_time = match.status in ("EXTRA_TIME", "AET") or match.clock.period in ("BREAK_ET", "ET_HT")
        if in_extra_time or any(event.period in _EXTRA_TIME for event in live):
            periods += _EXTRA_TIME
        self.starts: dict[str, int] = {}
        self.lengths: dict[str, int] = {}
        total = 0
        for period in periods:
            base, limit = PLAYED[period]
            room = _ROOM[period]
            for event in live:
                if event.period == period and event.minute is not None:
                    room = max(room, min(_ROOM_MAX, event.minute + event.stoppage - limit))
            self.starts[period] = total
            self.lengths[period] = limit - base + room
            total += limit - base + room
        self.total = total

    def minutes(self, period: str, minute: int) -> int:
        """A displayed minute, stoppage added to it, in minutes from the left."""
        played = minute - PLAYED[period][0]
        return self.starts[period] + max(0, min(self.lengths[period], played))

    def at(self, event: Event) -> int:
        """The place of an event of a played period, in thousandths of the width."""
        minute = (event.minute or 0) + event.stoppage
        return self.minutes(event.period, minute) * 1000 // self.total

    def breaks(self) -> list[str]:
        """Where periods meet."""
        return [_percent(start * 1000 // self.total) for start in self.starts.values() if start]

    def elapsed(self, match: Match, now_ms: int | None) -> int:
        """How far the match is, in minutes from the left."""
        period, minute, stoppage = match.clock
        running = ticking(match)
        now = None if running is None or now_ms is None else running.minute(now_ms)
        if now is not None and period in self.starts:
            return self.minutes(period, now)
        if phase(match) == "over" or period in ("BREAK_PENS", "PENS", "POST"):
            return self.total
        if period in self.starts:
            return self.minutes(period, (minute or 0) + stoppage)
        after = {"HT": "H2", "BREAK_ET": "ET1", "ET_HT": "ET2"}.get(period, "")
        return self.starts.get(after, 0)

    def running(self, match: Match) -> str:
        """The numbers to let the line run with the minute: to ``min(minute + first, second) / third``."""
        period = match.clock.period
        start, length = self.starts.get(period, 0), self.lengths.get(period, 0)
        return f"{start - PLAYED[period][0]} {start + length} {self.total}"


def _has_place(event: Event) -> bool:
    return event.minute is not None and event.period in PLAYED


def _is_marked(event: Event) -> bool:
    return is_scored_goal(event) or event.type in _MARKED


def _apart(places: list[int]) -> list[int]:
    """The places, moved until none hides the one before it."""
    moved: list[int] = []
    for at in places:
        moved.append(max(at, moved[-1] + _APART) if moved else at)
    most = 1000
    for index in range(len(moved) - 1, -1, -1):
        moved[index] = max(0, min(moved[index], most))
        most = moved[index] - _APART
    return moved


def _mark(event: Event, at: int, y: int, color: str, gone: str) -> str:
    if event.type == "GOAL":
        shape = f'<circle r="5.5" fill="{color}"/><path class="tl-cross" d="M-3 3l6-6"/>'
        kind = "goal"
    elif event.type == "PENALTY_MISSED":
        shape = '<circle class="tl-ring" r="4.5"/><path class="tl-stroke" d="M-2 -2l4 4m0 -4l-4 4"/>'
        kind = "missed"
    else:
        shape = '<rect x="-3.5" y="-5" width="7" height="10" rx="1"/>'
        kind = "red"
    review = " tl-review" if event.type == "GOAL" and event.status == "PROVISIONAL" else ""
    return (
        f'<svg x="{_percent(at)}" y="{y}" overflow="visible">'
        f'<g class="tl-at tl-at-{kind}{gone}{review}">{shape}</g></svg>'
    )


def _percent(thousandths: int) -> str:
    return f"{thousandths // 10}.{thousandths % 10}%"
