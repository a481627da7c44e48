"""What a match keeps of its events, so that one more event costs the same after ten events and after 10,000.

A ``Match`` never changes once a reader has it, so an event makes a new ``Match`` beside the old one. Copying
all records for each event would cost more with each event. Both classes here share almost everything with
the value that they were made from, and copy at most some hundred references.

``Records`` is the mapping from ``event_id`` to record: a large dictionary that many matches share, and a
small one with what came since. ``Index`` has what is asked about all records at once: the sum of their
digests, the furthest moment of play, and the latest event of each deciding type.
"""

from __future__ import annotations

import hashlib
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import Final, NamedTuple, TypeAlias

from shared_state.corrections import ResolvedEvent
from shared_state.events import PERIOD_INDEX, TYPES_OF_PLAY, Event

__all__ = ["DECIDING", "Index", "Moment", "Order", "Records"]

# Of these the latest in the order of events decides; everything else is a count or a row.
DECIDING: Final = ("STATUS_CHANGE", "MATCH_INFO", "SCORE_OVERRIDE")
# The small dictionary is copied for each event and the large one once for this many.
RECENT_MAX: Final = 128
# A sorted run is copied where an item comes or goes.
RUN_MAX: Final = 128
# Period (its index), minute, stoppage, event_id of a live event of play that has a minute.
Moment: TypeAlias = tuple[int, int, int, str]
# ``Event.order``.
Order: TypeAlias = tuple[int, int, int, int, str]
_Item: TypeAlias = Moment | Order
# Sorted items, cut into runs; no run is empty.
_Runs: TypeAlias = tuple[tuple[_Item, ...], ...]

_DIGEST_BITS: Final = 256


class Records(Mapping[str, ResolvedEvent]):
    """The record of each ``event_id``. Immutable; ``with_record`` makes another.

    Args:
        records: is kept as it is, and must not be changed any more.
    """

    __slots__ = ("_count", "_large", "_recent")

    def __init__(self, records: Mapping[str, ResolvedEvent] | None = None) -> None:
        self._large: Mapping[str, ResolvedEvent] = {} if records is None else records
        self._recent: dict[str, ResolvedEvent] = {}  # stands over the large one
        self._count = len(self._large)

    def with_record(self, event_id: str, record: ResolvedEvent) -> Records:
        """These records, with another one for ``event_id``."""
        other = Records.__new__(Records)
        other._count = self._count if event_id in self else self._count + 1
        other._large = self._large
        other._recent = {**self._recent, event_id: record}
        if len(other._recent) > RECENT_MAX:
            other._large = {**other._large, **other._recent}
            other._recent = {}
        return other

    def __getitem__(self, event_id: str) -> ResolvedEvent:
        found = self._recent.get(event_id)
        return self._large[event_id] if found is None else found

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._recent or event_id in self._large

    def __iter__(self) -> Iterator[str]:
        return iter(self._merged())

    def __len__(self) -> int:
        return self._count

    def values(self) -> ValuesView[ResolvedEvent]:
        """All records, in no particular order."""
        return self._merged().values()

    def items(self) -> ItemsView[str, ResolvedEvent]:
        """All records by ``event_id``, in no particular order."""
        return self._merged().items()

    def __repr__(self) -> str:
        return f"Records({dict(self._merged())!r})"

    def _merged(self) -> Mapping[str, ResolvedEvent]:
        return {**self._large, **self._recent} if self._recent else self._large


class Index(NamedTuple):
    """Answers about all records of a match. Immutable; ``moved`` makes another.

    Attributes:
        digests: the sum of the records' digests modulo 2**256.
        moments: of all live events of play that have a minute, sorted.
        orders: of all live events of each deciding type, sorted.
    """

    digests: int
    moments: _Runs
    orders: Mapping[str, _Runs]

    @classmethod
    def of(cls, records: Iterable[ResolvedEvent]) -> Index:
        """The index of these records: the only place that looks at all of them."""
        digests = 0
        moments: list[_Item] = []
        orders: dict[str, list[_Item]] = {type_: [] for type_ in DECIDING}
        for record in records:
            digests += _digest(record)
            event = record.live
            if event is None:
                continue
            moment = _moment(event)
            if moment is not None:
                moments.append(moment)
            if event.type in orders:
                orders[event.type].append(event.order())
        return cls(
            digests % (1 << _DIGEST_BITS),
            _runs(moments),
            {type_: _runs(items) for type_, items in orders.items()},
        )

    def moved(self, known: ResolvedEvent | None, record: ResolvedEvent) -> Index:
        """The index once ``record`` stands where ``known`` stood."""
        digests = self.digests + _digest(record)
        before, after = None, record.live
        if known is not None:
            digests -= _digest(known)
            before = known.live
        moments, orders = self.moments, self.orders
        gone = None if before is None else _moment(before)
        come = None if after is None else _moment(after)
        if gone != come:
            moments = moments if gone is None else _without(moments, gone)
            moments = moments if come is None else _with(moments, come)
        if before is not None and before.type in orders:
            orders = {**orders, before.type: _without(orders[before.type], before.order())}
        if after is not None and after.type in orders:
            orders = {**orders, after.type: _with(orders[after.type], after.order())}
        return Index(digests % (1 << _DIGEST_BITS), moments, orders)

    def furthest(self) -> Moment | None:
        """The last moment of play; None where no event has a minute."""
        return self.moments[-1][-1] if self.moments else None  # type: ignore[return-value]

    def latest(self, type_: str) -> str | None:
        """The ``event_id`` of the latest live event of a deciding type."""
        runs = self.orders[type_]
        return runs[-1][-1][-1] if runs else None


def _digest(record: ResolvedEvent) -> int:
    """SHA-256 over ``[body,retraction]`` as canonical JSON, null for what is not there, as a number."""
    body = "null" if record.body is None else record.body.text()
    tombstone = "null" if record.tombstone is None else record.tombstone.text()
    return int.from_bytes(hashlib.sha256(f"[{body},{tombstone}]".encode()).digest(), "big")


def _moment(event: Event) -> Moment | None:
    if event.minute is None or event.type not in TYPES_OF_PLAY:
        return None
    return (PERIOD_INDEX[event.period], event.minute, event.stoppage, event.event_id)


def _runs(items: list[_Item]) -> _Runs:
    items.sort()
    return tuple(tuple(items[at : at + RUN_MAX]) for at in range(0, len(items), RUN_MAX))


def _with(runs: _Runs, item: _Item) -> _Runs:
    if not runs:
        return ((item,),)
    last = runs[-1]
    if item > last[-1]:  # the common case: play goes on
        return (*runs[:-1], (*last, item)) if len(last) < RUN_MAX else (*runs, (item,))
    at = _run_of(runs, item)
    run = runs[at]
    place = _place_in(run, item)
    run = (*run[:place], item, *run[place:])
    half = len(run) // 2
    parts = (run,) if len(run) <= RUN_MAX else (run[:half], run[half:])
    return (*runs[:at], *parts, *runs[at + 1 :])


def _without(runs: _Runs, item: _Item) -> _Runs:
    at = _run_of(runs, item)
    run = runs[at]
    place = _place_in(run, item)
    run = (*run[:place], *run[place + 1 :])
    return (*runs[:at], *((run,) if run else ()), *runs[at + 1 :])


def _run_of(runs: _Runs, item: _Item) -> int:
    """Which run has the item, or would have it: the last that does not begin after it."""
    low, high = 0, len(runs)
    while high - low > 1:
        middle = (low + high) // 2
        if runs[middle][0] <= item:
            low = middle
        else:
            high = middle
    return low


def _place_in(run: tuple[_Item, ...], item: _Item) -> int:
    """The place of the item in a run, or the one to insert it at (bisect is not in every runtime)."""
    low, high = 0, len(run)
    while low < high:
        middle = (low + high) // 2
        if run[middle] < item:
            low = middle + 1
        else:
            high = middle
    return low
