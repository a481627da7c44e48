"""What a fan-out worker has read and not yet committed: a queue for each match.

Matches do not wait for each other: one whose part of the bus is away keeps its records here while the
others go on. Offsets are committed by partition, up to the first record that is not done, so whatever
waits here comes again to a successor.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from origin.bus import Published
from origin.eventlog import LogRecord

__all__ = ["Backlog", "Lane", "Unpublished"]


@dataclass(frozen=True, slots=True)
class Unpublished:
    """What a record led to, with its id already, until the bus has it."""

    published: Published
    snapshot: bytes


@dataclass(slots=True)
class Lane:
    """The records of one match, oldest first; the first is the next to be told.

    Attributes:
        due_ms: when the first may be told, UTC milliseconds; 0 for not known yet.
        unsent: the delta of the first record, if it has been numbered.
        failures: attempts in a row that did not reach the bus or the log.
        retry_s: not to be tried before, on the monotonic clock.
    """

    match_id: str
    records: deque[LogRecord] = field(default_factory=deque)
    due_ms: int = 0
    unsent: Unpublished | None = None
    failures: int = 0
    retry_s: float = 0.0


class Backlog:
    """See the module."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self._uncommitted: dict[int, deque[LogRecord]] = {}
        self._places: set[tuple[int, int]] = set()
        self._done: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        """Records read and not settled."""
        return len(self._places)

    def add(self, record: LogRecord) -> None:
        """Take a record that was read; one that is here already, and came again by a rebalance, once."""
        place = (record.partition, record.offset)
        if place in self._places:
            return
        self._places.add(place)
        self._uncommitted.setdefault(record.partition, deque()).append(record)
        match_id = record.event.match_id
        lane = self._lanes.get(match_id)
        if lane is None:
            lane = self._lanes[match_id] = Lane(match_id)
        lane.records.append(record)

    def lanes(self) -> list[Lane]:
        """The matches that have records here; those that failed most often come last."""
        return sorted(self._lanes.values(), key=lambda lane: lane.failures)

    def done(self, lane: Lane) -> None:
        """The first record of a lane is told, or has changed nothing."""
        record = lane.records.popleft()
        self._done.add((record.partition, record.offset))
        lane.due_ms = 0
        lane.unsent = None
        lane.failures = 0
        if not lane.records:
            del self._lanes[lane.match_id]

    def settled(self) -> list[LogRecord]:
        """By partition, the last record up to which all are done; each is returned once."""
        last: list[LogRecord] = []
        for partition, records in list(self._uncommitted.items()):
            record: LogRecord | None = None
            while records and (place := (records[0].partition, records[0].offset)) in self._done:
                record = records.popleft()
                self._done.remove(place)
                self._places.remove(place)
            if record is not None:
                last.append(record)
            if not records:
                del self._uncommitted[partition]
        return last
