"""A match known as a whole, as events in the order of play: for formats that only record results.

The status changes of the way through are put in; goals, cards, substitutions and kicks are numbered;
the goals are compared with the recorded scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from origin.feeds import Warn
from origin.feeds.jsondoc import Node
from shared_state import Event, InvalidEvent, Score

__all__ = ["SIDES", "Fixture", "Happening", "Moment", "Side", "events_of", "kicks_of_result"]

Side: TypeAlias = Literal["home", "away"]
SIDES: Final[tuple[Side, Side]] = ("home", "away")

_NOT_PLAYED: Final = frozenset({"POSTPONED", "CANCELLED"})


class Moment(NamedTuple):
    """A displayed minute; None if the file has none."""

    minute: int | None
    stoppage: int


@dataclass(slots=True)
class Happening:
    """A goal, card, substitution or kick as the file has it, with where it stands there."""

    kind: str  #: the first letter of its event ids
    type: str
    side: Side
    at: Moment
    node: Node
    player: str | None = None
    player2: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Fixture:
    """One match of either form.

    Attributes:
        result: the last recorded score, extra time included; None if none is recorded.
        checks: earlier recorded scores, by the periods they count.
        pens: the shoot-out's result.
        score_node: where the scores stand, for warnings.
        goals_recorded: whether its file has goals at all; where it has none, a result without goals is no
            contradiction.
        extra_time: whether there was any.
        status: how it ended, if the file says so in words.
    """

    source: str
    match_id: str
    node: Node
    info: dict[str, Any]
    result: Score | None
    checks: dict[tuple[str, ...], Score]
    pens: Score | None
    score_node: Node
    goals_recorded: bool
    extra_time: bool
    status: str | None
    happenings: list[Happening]

    @property
    def half_time(self) -> Score | None:
        """The score at half-time, where it is recorded."""
        return self.checks.get(("H1",))


def kicks_of_result(pens: Score) -> list[Side]:
    """The sides of the scored kicks of a shoot-out of which only the result is known, taking turns."""
    return [
        side for turn in range(max(pens)) for side, scored in zip(SIDES, pens, strict=True) if turn < scored
    ]


def events_of(fixture: Fixture, warn: Warn) -> list[Event]:
    """One match as events in the order of play."""
    drafts = [_draft(fixture, "info", "MATCH_INFO", "PRE", fixture.node, detail=fixture.info)]
    drafts += _statuses(fixture)
    drafts += _happenings(fixture)
    drafts += _reconciled(fixture, drafts, warn)
    return sorted(drafts, key=Event.order)


# By event id: the periods of a match and the status of each.
_HALVES: Final = (("b1", "H1", "LIVE"), ("b2", "HT", "HALF_TIME"), ("b3", "H2", "LIVE"))
_EXTRA: Final = (
    ("b4", "BREAK_ET", "EXTRA_TIME"),
    ("b5", "ET1", "EXTRA_TIME"),
    ("b6", "ET_HT", "EXTRA_TIME"),
    ("b7", "ET2", "EXTRA_TIME"),
)
_KICKS: Final = (("b8", "BREAK_PENS", "PENALTIES"), ("b9", "PENS", "PENALTIES"))


def _statuses(fixture: Fixture) -> list[Event]:
    """Every change of status on the way through the match; the file says only how it ended.

    A match that did not end in the usual way, or has no result yet, went at least as far as the last
    thing that happened in it, or as the last score that is recorded; more is not known.
    """
    if fixture.status in _NOT_PLAYED:
        return [_status(fixture, "end", "PRE", fixture.status)]
    course: tuple[tuple[str, str, str], ...] = _HALVES
    if fixture.extra_time:
        course += _EXTRA
    if fixture.pens is not None:
        course += _KICKS
    end = fixture.status
    if end is not None or (fixture.result is None and fixture.pens is None):
        reached = {_period(what, fixture.extra_time) for what in fixture.happenings} - {"POST"}
        if fixture.half_time is not None and end is None:
            reached.add("HT")
        furthest = max((index for index, step in enumerate(course) if step[1] in reached), default=-1)
        course = course[: furthest + 1]
    elif fixture.pens is not None:
        end = "FT_PENS"
    else:
        end = "AET" if fixture.extra_time else "FT"
    steps = course if end is None else (*course, ("end", "POST", end))
    return [_status(fixture, *step) for step in steps]


def _status(fixture: Fixture, event_id: str, period: str, to: str) -> Event:
    return _draft(fixture, event_id, "STATUS_CHANGE", period, fixture.node, detail={"to": to})


def _happenings(fixture: Fixture) -> list[Event]:
    """Goals, cards, substitutions and kicks, numbered within their kind in the order of play.

    The number has two digits, because within a minute the id decides the order.
    """
    in_play = sorted(fixture.happenings, key=lambda what: _place(what, fixture.extra_time))
    counts: dict[str, int] = {}
    events = []
    for what in in_play:
        counts[what.kind] = counts.get(what.kind, 0) + 1
        events.append(
            _draft(
                fixture,
                f"{what.kind}{counts[what.kind]:02}",
                what.type,
                _period(what, fixture.extra_time),
                what.node,
                minute=what.at.minute,
                stoppage=what.at.stoppage,
                team=what.side,
                player=what.player,
                player2=what.player2,
                detail=what.detail,
            )
        )
    return events


def _place(what: Happening, extra_time: bool) -> tuple[int, int, int, int]:
    if what.type == "SHOOTOUT_KICK":
        return (1, what.detail["order"], 0, 0)
    minute = 999 if what.at.minute is None else what.at.minute
    return (0, _PLAYED.index(_period(what, extra_time)), minute, what.at.stoppage)


_PLAYED: Final = ("H1", "H2", "ET1", "ET2", "POST")


def _period(what: Happening, extra_time: bool) -> str:
    """The period of a minute: there is no extra time in a match that had none, whatever the minute."""
    if what.type == "SHOOTOUT_KICK":
        return "PENS"
    minute = what.at.minute
    if minute is None:  # it happened, but nobody says when: after all that is dated
        return "POST"
    if minute <= 45:
        return "H1"
    if minute <= 90 or not extra_time:
        return "H2"
    return "ET1" if minute <= 105 else "ET2"


def _reconciled(fixture: Fixture, events: Sequence[Event], warn: Warn) -> list[Event]:
    """Compare the goals with the file's own scores; where the result differs, it is what is shown."""
    goals = [event for event in events if event.type == "GOAL"]
    score = fixture.score_node
    for periods, recorded in fixture.checks.items():
        counted = _count(event for event in goals if event.period in periods)
        is_dated = all(event.minute is not None for event in goals)
        if counted != recorded and is_dated and fixture.goals_recorded:
            name = "half-time" if periods == ("H1",) else "full-time"
            warn(score.error(f"the goals make {_shown(counted)} at {name}, the file says {_shown(recorded)}"))
    if fixture.pens is not None:
        kicks = _count(event for event in events if event.type == "SHOOTOUT_KICK" and event.detail["scored"])
        if kicks != fixture.pens:
            warn(score.error(f"the kicks make {_shown(kicks)}, the file says {_shown(fixture.pens)}"))
    # A match that has not ended may be known by its half-time alone.
    result, period = (fixture.result, "POST") if fixture.result is not None else (fixture.half_time, "HT")
    if result is None or (period == "HT" and goals) or (counted := _count(goals)) == result:
        return []
    if fixture.goals_recorded and period == "POST":
        message = f"the goals make {_shown(counted)}, the file says {_shown(result)}, which is shown"
        warn(score.error(message))
    detail = {"home": result.home, "away": result.away}
    return [_draft(fixture, "result", "SCORE_OVERRIDE", period, fixture.node, detail=detail)]


def _count(events: Iterable[Event]) -> Score:
    score = Score(0, 0)
    for event in events:
        score = score.plus(event.team, 1)
    return score


def _shown(score: Score) -> str:
    return f"{score.home}-{score.away}"


def _draft(fixture: Fixture, event_id: str, type_: str, period: str, node: Node, **fields: Any) -> Event:
    try:
        return Event(
            match_id=fixture.match_id,
            event_id=event_id,
            rev=1,
            op="ADD",
            type=type_,
            period=period,
            source=fixture.source,
            **fields,
        )
    except InvalidEvent as error:
        raise node.invalid(error) from None
