"""openfootball's JSON: the published files (``goals1``, ``goals2``) and the ``-full`` form with cards.

Both are read into one ``Fixture``; ``events_of`` tells it as events in the order of play. What these
files do not say shapes what comes out:

* There are no ids. A match is its date and its two teams: a pair of teams meets more than once in a
  round, and a round's name is no date. An event is numbered within its kind in the order of play.
* There are no times of day for events, so no ``source_ts``: order comes from period and minute.
* Goals stand under the side that is credited, own goals included, grouped by player.
* A minute is ``90``, ``"90+6"``, or ``90`` with an ``offset``; without any, the goal has no minute.
* A shoot-out may be known only by its result. The kicks that were scored are told, in turns, with no
  name; the misses are not, since nobody wrote down how many there were.
* A result may stand there without goals, or with goals that do not add up to it (Ukraine - England,
  3 July 2021, lists England's four under Ukraine). The file is a record of results, so the result is
  shown, by a SCORE_OVERRIDE; the goals stay as listed, none is made up or moved; and the file's
  contradiction is a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from origin.feeds import Warn
from origin.feeds.fixture import SIDES, Fixture, Happening, Moment, Side, events_of
from origin.feeds.jsondoc import Node
from origin.feeds.matchid import kickoff_ms, match_id, read_date
from shared_state import Event, Score

__all__ = ["convert"]

SOURCE: Final = "openfootball"
GOALS_MAX: Final = 199  # the record is 149; more is a file that is something else
KICKS_MAX: Final = 99  # the record is 56 kicks

_MINUTE_PATTERN: Final = re.compile(r"([0-9]{1,3})(?:\+([0-9]{1,2}))?['’]?", re.ASCII)
_ATTENDANCE_PATTERN: Final = re.compile(r",?\s*Att:.*$")
_FULL_SOURCE_PATTERN: Final = re.compile(r"openfootball/worldcup more/([0-9]{4})_full", re.ASCII)
_CARDS: Final = {"Y": "YELLOW_CARD", "Y/R": "SECOND_YELLOW", "R": "RED_CARD"}
# What these files call a match that did not simply end.
_STATUSES: Final = {
    "postponed": "POSTPONED",
    "cancelled": "CANCELLED",
    "canceled": "CANCELLED",
    "abandoned": "ABANDONED",
    "suspended": "SUSPENDED",
    "awarded": "AWARDED",
}


def convert(source: BinaryIO, warn: Warn, /) -> Iterator[Event]:
    """Yield the events of an openfootball file, match after match, each in the order of play.

    Raises:
        FeedError: it is not such a file, with the line at fault.
        OSError: it cannot be read.
    """
    document = Node.read(source)
    competition = _competition(document)
    first_seen: dict[str, Node] = {}
    for node in _matches(document):
        fixture = _read_full(node, competition) if node.has("home") else _read_published(node, competition)
        earlier = first_seen.setdefault(fixture.match_id, node)
        if earlier is not node:
            raise node.error(f"is the same date and teams as {earlier.error('').where}")
        yield from events_of(fixture, warn)


def _matches(document: Node) -> Iterator[Node]:
    if document.has("rounds"):
        for round_ in document.at("rounds").items():
            yield from round_.at("matches").items()
    elif "matches" in document.object():
        yield from document.at("matches").items()
    else:
        raise document.error("is neither openfootball form: no rounds and no matches")


def _competition(document: Node) -> str | None:
    """The competition's name; the ``-full`` files give it only by the name of their source."""
    if document.has("name"):
        return document.at("name").text()
    source = document.object().get("source")
    found = _FULL_SOURCE_PATTERN.match(source) if isinstance(source, str) else None
    return f"World Cup {found[1]}" if found else None


def _read_published(node: Node, competition: str | None) -> Fixture:
    home, away = _team(node.at("team1")), _team(node.at("team2"))
    score = node.at("score") if node.has("score") else None
    half_time, full_time, after_extra, pens = (
        _score(score.at(key)) if score is not None and score.has(key) else None
        for key in ("ht", "ft", "et", "p")
    )
    happenings = [
        Happening(
            kind="g",
            type="GOAL",
            side=side,
            at=_published_moment(goal),
            node=goal,
            player=goal.at("name").optional_text(),
            detail={
                "own_goal": goal.at("owngoal").boolean(),
                "penalty": goal.at("penalty").boolean(),
            },
        )
        for side, key in zip(SIDES, ("goals1", "goals2"), strict=True)
        for goal in _bounded(node.at(key))
    ]
    if pens is not None:
        happenings += _kicks_by_result(node, pens)
    stage = next((node.at(key).text() for key in ("group", "round") if node.has(key)), None)
    time = node.at("time").optional_text()
    return _fixture(
        node,
        home,
        away,
        info={"competition": _joined(competition, stage), "venue": node.at("ground").optional_text()},
        when=(time, None),
        result=after_extra or full_time,
        checks={
            periods: known
            for periods, known in ((("H1",), half_time), (("H1", "H2"), full_time if after_extra else None))
            if known is not None
        },
        pens=pens,
        extra_time=after_extra is not None,
        happenings=happenings,
    )


def _read_full(node: Node, competition: str | None) -> Fixture:
    home, away = _team(node.at("home")), _team(node.at("away"))
    happenings = [
        Happening(
            kind="g",
            type="GOAL",
            side=_side(goal),
            at=_full_moment(goal),
            node=goal,
            player=goal.at("player").optional_text(),
            detail={
                "own_goal": goal.at("own_goal").boolean(),
                "penalty": goal.at("penalty").boolean(),
            },
        )
        for goal in _bounded(node.at("goals"))
    ]
    for card in _bounded(node.at("cards")):
        colour = card.at("card").text()
        if colour not in _CARDS:
            raise card.at("card").error(f"must be one of {' '.join(_CARDS)}, got {colour!r}")
        happenings.append(
            Happening(
                "c", _CARDS[colour], _side(card), _full_moment(card), card, card.at("player").optional_text()
            )
        )
    happenings += [
        Happening(
            kind="s",
            type="SUBSTITUTION",
            side=_side(sub),
            at=_full_moment(sub),
            node=sub,
            player=sub.at("on").optional_text(),
            player2=sub.at("off").optional_text(),
        )
        for sub in _bounded(node.at("subs"))
    ]
    happenings += [
        Happening(
            kind="k",
            type="SHOOTOUT_KICK",
            side=_side(kick),
            at=Moment(None, 0),
            node=kick,
            player=kick.at("player").optional_text(),
            detail={"order": kick.at("order").integer(1, KICKS_MAX), "scored": kick.at("scored").boolean()},
        )
        for kick in _bounded(node.at("shootout"))
    ]
    venue = node.at("venue").optional_text()
    return _fixture(
        node,
        home,
        away,
        info={
            "competition": _joined(competition, node.at("stage").optional_text()),
            # "Lenin, Moscow, Att: 78011": how many came is not where it was.
            "venue": _ATTENDANCE_PATTERN.sub("", venue) or None if venue else None,
        },
        when=(node.at("time").optional_text(), node.at("tz").optional_text()),
        result=_score(node.at("score")) if node.has("score") else None,
        checks={},
        pens=_score(node.at("pens")) if node.has("pens") else None,
        extra_time=node.at("aet").boolean(),
        happenings=happenings,
    )


def _fixture(
    node: Node,
    home: dict[str, str | None],
    away: dict[str, str | None],
    *,
    info: dict[str, Any],
    when: tuple[str | None, str | None],
    result: Score | None,
    checks: dict[tuple[str, ...], Score],
    pens: Score | None,
    extra_time: bool,
    happenings: list[Happening],
) -> Fixture:
    """What both forms have in common."""
    date = read_date(node.at("date"))
    status = node.at("status").optional_text()
    if status is not None and status.lower() not in _STATUSES:
        raise node.at("status").error(f"must be one of {' '.join(_STATUSES)}, got {status!r}")
    time, zone = when
    return Fixture(
        source=SOURCE,
        match_id=match_id(date, home, away),
        node=node,
        info={
            "home": home,
            "away": away,
            "kickoff_ms": kickoff_ms(date, time, zone, node.at("time")),
            **info,
        },
        result=result,
        checks=checks,
        pens=pens,
        extra_time=extra_time,
        status=None if status is None else _STATUSES[status.lower()],
        happenings=happenings,
    )


def _team(node: Node) -> dict[str, str | None]:
    if isinstance(node.value, dict):
        return {"name": node.at("name").text(), "code": node.at("code").optional_text()}
    return {"name": node.text(), "code": None}


def _side(node: Node) -> Side:
    side = node.at("side").text()
    if side == "home":
        return "home"
    if side == "away":
        return "away"
    raise node.at("side").error(f"must be home or away, got {side!r}")


def _score(node: Node) -> Score:
    counts = [count.integer(0, GOALS_MAX) for count in node.items()]
    if len(counts) != 2:
        raise node.error(f"must be two counts, got {len(counts)}")
    return Score(*counts)


def _bounded(node: Node) -> list[Node]:
    items = list(node.items())
    if len(items) > GOALS_MAX:
        raise node.error(f"must have at most {GOALS_MAX} entries, got {len(items)}")
    return items


def _published_moment(goal: Node) -> Moment:
    """A minute as the published files write it: ``90``, ``"90+6"``, or ``90`` with ``offset``."""
    minute = goal.at("minute")
    if minute.value is None:
        return Moment(None, 0)
    if isinstance(minute.value, str):
        found = _MINUTE_PATTERN.fullmatch(minute.value.strip())
        if found is None:
            raise minute.error(f"must be a minute such as 90 or 90+6, got {minute.value[:20]!r}")
        return Moment(int(found[1]), int(found[2] or 0))
    offset = goal.at("offset").integer(0, 99) if goal.has("offset") else 0
    return Moment(minute.integer(0, 999), offset)


def _full_moment(node: Node) -> Moment:
    if not node.has("minute"):
        return Moment(None, 0)
    stoppage = node.at("stoppage").integer(0, 99) if node.has("stoppage") else 0
    return Moment(node.at("minute").integer(0, 999), stoppage)


def _kicks_by_result(node: Node, pens: Score) -> list[Happening]:
    """The scored kicks of a shoot-out of which only the result is known, the sides taking turns."""
    if max(pens) * 2 > KICKS_MAX:
        raise node.at("score").at("p").error(f"must be a shoot-out's result, got {list(pens)}")
    turns = [
        side for turn in range(max(pens)) for side, scored in zip(SIDES, pens, strict=True) if turn < scored
    ]
    return [
        Happening("k", "SHOOTOUT_KICK", side, Moment(None, 0), node, detail={"order": order, "scored": True})
        for order, side in enumerate(turns, start=1)
    ]


def _joined(competition: str | None, stage: str | None) -> str | None:
    return ", ".join(part for part in (competition, stage) if part) or None
