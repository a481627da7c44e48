"""Which of the rows is which known event, by what both say: pure, and without memory.

The rules are those of ``origin.feeds.matching``.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from origin.feeds.assignment import assign
from shared_state import Event, Score

__all__ = ["age", "pair", "words"]

# Rows of one family that are equal to nothing known; pairing costs their cube. A document with more is
# another match or nonsense, and the rest of its rows are new.
ASSIGNED_MAX: Final = 60

_FAMILIES: Final = {
    "YELLOW_CARD": "card",
    "SECOND_YELLOW": "card",
    "RED_CARD": "card",
    "SHOOTOUT_KICK": "kick",
}
# In hundredths, so that sums are exact.
_ALIKE, _UNKNOWN, _OTHER = 50, 100, 300
_SIDE, _FLAG, _PER_MINUTE, _MINUTES_MAX, _PER_PLACE, _PLACES_MAX = 300, 50, 50, 300, 25, 100
_LIMIT: Final = 400
_LIMIT_NEAR: Final = 200
# Another scorer up to five minutes away: farther apart it is another goal, and one that was taken back.
_LIMIT_SCORE_SAYS_SO: Final = 550
_LIMIT_REVIVED: Final = 150


def pair(
    rows: Sequence[Event],
    known: Mapping[str, Event],
    dead: Mapping[str, Event],
    score: Score | None,
    *,
    all_rows: Sequence[Event] | None = None,
    all_known: Sequence[Event] | None = None,
) -> dict[str, str]:
    """Pair rows with known events.

    Args:
        rows: one document's rows, with placeholder ids.
        known: the live events of the feed.
        dead: the events that were taken back, as they were before.
        score: the document's own score.
        all_rows: the document's rows, where ``rows`` are those in question alone.
        all_known: the events that stand, where ``known`` are those in question alone.

    Returns:
        The event id of each row that has one, by placeholder.
    """
    all_rows = rows if all_rows is None else all_rows
    all_known = list(known.values()) if all_known is None else all_known
    paired: dict[str, str] = {}
    free = dict(known)
    by_words: dict[object, list[str]] = {}
    for event_id, event in sorted(free.items(), key=lambda item: age(item[0])):
        by_words.setdefault(words(event), []).append(event_id)
    left: list[Event] = []
    for row in rows:
        equal = by_words.get(words(row))
        if equal:
            paired[row.event_id] = equal.pop(0)
            del free[paired[row.event_id]]
        else:
            left.append(row)
    if not left:
        return paired
    row_places, places = _places(all_rows), _places(all_known)
    for family in sorted({_family(row) for row in left}):
        candidates = [event for event in free.values() if _family(event) == family]
        _pair_family(
            [row for row in left if _family(row) == family],
            candidates,
            (row_places, places),
            _score_limits(all_rows, all_known, score) if family == "GOAL" else {},
            paired,
        )
    left = [row for row in left if row.event_id not in paired]
    for family in sorted({_family(row) for row in left}):
        candidates = [event for event in dead.values() if _family(event) == family]
        limits = dict.fromkeys(("home", "away", None), _LIMIT_REVIVED)
        _pair_family([row for row in left if _family(row) == family], candidates, ({}, {}), limits, paired)
    return paired


def _pair_family(
    rows: list[Event],
    events: list[Event],
    places: tuple[Mapping[str, int], Mapping[str, int]],
    limits: Mapping[str | None, int],
    paired: dict[str, str],
) -> None:
    if not events:
        return
    rows, events = rows[:ASSIGNED_MAX], sorted(events, key=lambda event: age(event.event_id))[:ASSIGNED_MAX]
    costs = [[_cost(row, event, places) for event in events] for row in rows]
    most = [
        [limits.get(row.team, _LIMIT) if row.team == event.team else _LIMIT for event in events]
        for row in rows
    ]
    if limits:
        most = [[min(limit, max(limits.values())) for limit in line] for line in most]
    for row, column in zip(rows, assign(costs, most), strict=True):
        if column is not None:
            paired[row.event_id] = events[column].event_id


def _score_limits(
    rows: Iterable[Event], known: Iterable[Event], score: Score | None
) -> Mapping[str | None, int]:
    """How much two descriptions of one goal may differ, by side: the document's own score says it."""
    if score is None:
        return {}
    listed, stood = _count(rows), _count(known)
    limits: dict[str | None, int] = {}
    for index, side in enumerate(("home", "away")):
        if listed[index] < score[index]:
            limits[side] = _LIMIT_NEAR
        elif listed[index] == score[index] == stood[index]:
            limits[side] = _LIMIT_SCORE_SAYS_SO
        else:
            limits[side] = _LIMIT
    return limits


def _count(events: Iterable[Event]) -> Score:
    score = Score(0, 0)
    for event in events:
        if event.type == "GOAL":
            score = score.plus(event.team, 1)
    return score


def _family(event: Event) -> str:
    return _FAMILIES.get(event.type, event.type)


def age(event_id: str) -> tuple[int, str]:
    """The place of an id among those that the matcher gives: ``goal-10`` is behind ``goal-9``."""
    number = event_id.rpartition("-")[2]
    return (int(number) if number.isdecimal() and len(number) < 9 else 0, event_id)


def words(event: Event) -> object:
    """What an event says, without its id and how often it was said."""
    return (
        event.type, event.period, event.minute, event.stoppage, event.team, event.player, event.player2,
        tuple(sorted((key, str(value)) for key, value in event.detail.items())),
    )  # fmt: skip


def _places(events: Iterable[Event]) -> dict[str, int]:
    """The place of each goal among those of its side, in the order of play: the running score."""
    places: dict[str, int] = {}
    counts: Counter[str | None] = Counter()
    for event in sorted(events, key=lambda event: (event.order()[1:4], age(event.event_id))):
        if event.type == "GOAL":
            counts[event.team] += 1
            places[event.event_id] = counts[event.team]
    return places


def _cost(row: Event, event: Event, places: tuple[Mapping[str, int], Mapping[str, int]]) -> int:
    cost = 0
    if row.type == "SUBSTITUTION":
        cost += 2 * (_names(row.player, event.player) + _names(row.player2, event.player2)) // 3
    else:
        cost += _names(row.player, event.player)
    if row.team != event.team:
        cost += _SIDE
    if row.type != event.type:
        cost += _UNKNOWN
    if row.type == "SHOOTOUT_KICK":
        orders_apart: int = abs(row.detail["order"] - event.detail["order"])
        return cost + min(_OTHER, 100 * orders_apart)
    for flag in ("own_goal", "penalty", "outcome", "minutes"):
        if row.detail.get(flag) != event.detail.get(flag):
            cost += _FLAG
    apart = _minutes_apart(row, event)
    cost += _UNKNOWN if apart is None else min(_MINUTES_MAX, _PER_MINUTE * apart)
    places_apart = abs(places[0].get(row.event_id, 0) - places[1].get(event.event_id, 0))
    return cost + (min(_PLACES_MAX, _PER_PLACE * places_apart) if row.team == event.team else 0)


def _minutes_apart(row: Event, event: Event) -> int | None:
    if row.minute is None or event.minute is None:
        return 0 if row.minute == event.minute else None
    return abs(row.minute + row.stoppage - event.minute - event.stoppage)


def _names(one: str | None, other: str | None) -> int:
    if one == other:
        return 0 if one else _ALIKE
    if not one or not other:
        return _UNKNOWN
    first, second = _name_parts(one), _name_parts(other)
    if not first or not second:
        return _OTHER
    if first == second:
        return 0
    # An initial and a surname, a surname alone, or one of two surnames.
    return _ALIKE if first[-1] in second or second[-1] in first else _OTHER


@lru_cache(maxsize=4096)
def _name_parts(name: str) -> tuple[str, ...]:
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    return tuple(re.findall(r"\w+", plain))
