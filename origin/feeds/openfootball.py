"""openfootball's JSON: the published files (``goals1``, ``goals2``) and the ``-full`` form with cards.

Both are read into one ``Fixture``; ``events_of`` gives its events in the order of play. What these files do
not say shapes what comes out:

* There are no ids. A match is its date and its two teams: a pair of teams meets more than once in a
  round, and a round's name is no date. An event is numbered within its kind in the order of play.
* There are no times of day for events, so no ``source_ts``: order comes from period and minute.
* Goals stand under the side that is credited, own goals included, grouped by player.
* A minute is ``90``, ``"90+6"``, or ``90`` with an ``offset``; without any, the goal has no minute.
* A score is ``{"ft": [2, 1]}``, or ``[2, 1]``; until 2020 it was ``score1`` and ``score2``, with ``i`` for
  half-time, ``et`` for after extra time and ``p`` for the shoot-out behind it. Null is no score.
* A shoot-out may be known only by its result. The kicks that were scored become events, in turns, with no
  name; the misses do not, since nobody wrote down how many there were.
* A result may stand there without goals, or with goals that do not add up to it (Ukraine - England,
  3 July 2021, lists England's four under Ukraine). The file is a record of results, so the result is
  shown, by a SCORE_OVERRIDE; the goals stay as listed, none is made up or moved; and the file's
  contradiction is a warning. Where a file records no goals at all there is none.
* A row may be entered twice, and a match of teams that are not known yet has nothing but its time. Such a
  row costs a warning at most, and not the rows after it; so does a time of day that nobody can read.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple

from origin.errors import FeedError
from origin.feeds import Warn
from origin.feeds.document_kind import OPENFOOTBALL
from origin.feeds.fixture import SIDES, Fixture, Happening, Moment, Side, events_of, kicks_of_result
from origin.feeds.jsondoc import Node
from origin.feeds.matchid import kickoff_ms, match_id, read_date
from origin.feeds.openfootball_rows import (
    GOALS_MAX,
    Survey,
    read_score,
    read_scores,
    rows_of,
    teams_of,
    undetermined,
)
from shared_state import Event, Score

__all__ = ["convert"]

SOURCE: Final = "openfootball"
KICKS_MAX: Final = 99  # the record is 56 kicks

_MINUTE_PATTERN: Final = re.compile(r"([0-9]{1,3})['’]?(?:\s*\+\s*([0-9]{1,2}))?['’]?", re.ASCII)
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
    document.require_kind(OPENFOOTBALL)
    competition = _competition(document)
    survey = Survey.of(document)
    for node in rows_of(document):
        reason = survey.left_out.get(node.path)
        if reason is not None:
            warn(node.error(reason))
            continue
        doubt = undetermined(node, survey.day_first)
        if doubt is not None and survey.ids:
            warn(doubt)
            continue
        form = _read_full if node.has("home") else _read_published
        yield from events_of(form(_Row(node, competition, survey, warn)), warn)


class _Row(NamedTuple):
    """One match of a file, and what reading it takes."""

    node: Node
    competition: str | None
    survey: Survey
    warn: Warn


def _competition(document: Node) -> str | None:
    """The competition's name; the ``-full`` files give it only by the name of their source."""
    if document.has("name"):
        return document.at("name").text()
    source = document.object().get("source")
    found = _FULL_SOURCE_PATTERN.match(source) if isinstance(source, str) else None
    return f"World Cup {found[1]}" if found else None


def _read_published(row: _Row) -> Fixture:
    node = row.node
    scores = read_scores(node, row.warn)
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
    if scores.pens is not None:
        happenings += _kicks_by_result(scores.pens_node, scores.pens)
    stage = next((node.at(key).text() for key in ("group", "round") if node.has(key)), None)
    checks: dict[tuple[str, ...], Score | None] = {("H1",): scores.half_time}
    if scores.after_extra is not None:
        checks[("H1", "H2")] = scores.full_time
    return _fixture(
        row,
        info={"competition": _joined(row.competition, stage), "venue": _venue(node)},
        zone=node.at("timezone"),
        result=scores.result,
        checks={periods: known for periods, known in checks.items() if known is not None},
        pens=scores.pens,
        score_node=scores.node,
        extra_time=scores.after_extra is not None,
        happenings=happenings,
    )


def _read_full(row: _Row) -> Fixture:
    node = row.node
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
        row,
        info={
            "competition": _joined(row.competition, node.at("stage").optional_text()),
            # "Lenin, Moscow, Att: 78011": how many came is not where it was.
            "venue": _ATTENDANCE_PATTERN.sub("", venue) or None if venue else None,
        },
        zone=node.at("tz"),
        result=read_score(node.at("score"), row.warn),
        checks={},
        pens=read_score(node.at("pens"), row.warn),
        score_node=node.at("score"),
        extra_time=node.at("aet").boolean(),
        happenings=happenings,
    )


def _fixture(
    row: _Row,
    *,
    info: dict[str, Any],
    zone: Node,
    result: Score | None,
    checks: dict[tuple[str, ...], Score],
    pens: Score | None,
    score_node: Node,
    extra_time: bool,
    happenings: list[Happening],
) -> Fixture:
    """What both forms have in common."""
    node = row.node
    home, away = teams_of(node)
    date = read_date(node.at("date"), row.survey.day_first)
    status = node.at("status").optional_text()
    if status is not None and status.lower() not in _STATUSES:
        raise node.at("status").error(f"must be one of {' '.join(_STATUSES)}, got {status!r}")
    return Fixture(
        source=SOURCE,
        match_id=row.survey.ids.get(node.path) or match_id(date, home, away),
        node=node,
        info={"home": home, "away": away, "kickoff_ms": _kickoff_ms(row, date, zone), **info},
        result=result,
        checks=checks,
        pens=pens,
        score_node=score_node,
        goals_recorded=row.survey.goals_recorded,
        extra_time=extra_time,
        status=None if status is None else _STATUSES[status.lower()],
        happenings=happenings,
    )


def _kickoff_ms(row: _Row, date: datetime.date, zone: Node) -> int | None:
    """The kick-off; a time of day that cannot be read costs a warning, and not the match."""
    time = row.node.at("time")
    try:
        return kickoff_ms(date, time.optional_text(), zone.optional_text(), time)
    except FeedError as doubt:
        row.warn(doubt)
        return None


def _venue(node: Node) -> str | None:
    """``ground`` today; until 2020 a ``stadium`` and its ``city``."""
    parts = (_name(node.at("ground")) or _name(node.at("stadium")), _name(node.at("city")))
    return ", ".join(part for part in parts if part) or None


def _name(node: Node) -> str | None:
    """A name that stands alone, or in an object with its key."""
    return (node.at("name") if isinstance(node.value, dict) else node).optional_text()


def _side(node: Node) -> Side:
    side = node.at("side").text()
    if side == "home":
        return "home"
    if side == "away":
        return "away"
    raise node.at("side").error(f"must be home or away, got {side!r}")


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
    """The scored kicks of a shoot-out of which only the result is known."""
    if max(pens) * 2 > KICKS_MAX:
        raise node.error(f"must be a shoot-out's result, got {list(pens)}")
    return [
        Happening("k", "SHOOTOUT_KICK", side, Moment(None, 0), node, detail={"order": order, "scored": True})
        for order, side in enumerate(kicks_of_result(pens), start=1)
    ]


def _joined(competition: str | None, stage: str | None) -> str | None:
    return ", ".join(part for part in (competition, stage) if part) or None
