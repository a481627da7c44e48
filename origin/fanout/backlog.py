"""What a fan-out worker has read and not yet committed: one queue per match.

Matches do not wait for each other. A match whose part of the bus does not answer keeps its records here
while the others go on. Offsets are committed by partition, up to the first record that is not done, so a
successor reads whatever still waits here again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from origin.bus import Published
from origin.eventlog import LogRecord

__all__ = ["Backlog", "Lane", "Unpublished"]


@dataclass(frozen=True, slots=True)
class Unpublished:
    """What a run of records makes of a match, until the bus has it.

    Attributes:
        records: how many records it is, from the first of the lane on.
        deltas: those of the records that change the match, with their ids, oldest first.
        appended_ms: when the log took the record of each delta, UTC milliseconds.
        snapshot: the match at the last delta; empty if there is none.
    """

    records: int
    deltas: list[Published]
    appended_ms: list[int]
    snapshot: bytes


@dataclass(slots=True)
class Lane:
    """The records of one match, oldest first; the first is the next to be published.

    Attributes:
        due_ms: when the first record may be published, UTC milliseconds; 0 if that is not known yet.
        unpublished: what the first records make of the match, once the changes have their ids.
        failures: attempts in a row that did not reach the bus or the log.
        retry_s: no attempt is made before this time of the monotonic clock, in seconds.
    """

    match_id: str
    records: deque[LogRecord] = field(default_factory=deque)
    due_ms: int = 0
    unpublished: Unpublished | None = None
    failures: int = 0
    retry_s: float = 0.0


class Backlog:
    """See the module."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        # By partition, in log order, with done records in between.
        self._uncommitted: dict[int, deque[LogRecord]] = {}
        # (partition, offset) of every uncommitted record, and of those that are done.
        self._positions: set[tuple[int, int]] = set()
        self._done: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        """Records that were read and cannot be committed yet."""
        return len(self._positions)

    def add(self, record: LogRecord) -> None:
        """Add a record that was read; nothing if it is here already, as after a rebalance."""
        position = (record.partition, record.offset)
        if position in self._positions:
            return
        self._positions.add(position)
        self._uncommitted.setdefault(record.partition, deque()).append(record)
        match_id = record.event.match_id
        lane = self._lanes.get(match_id)
        if lane is None:
            lane = self._lanes[match_id] = Lane(match_id)
        lane.records.append(record)

    def lanes(self) -> list[Lane]:
        """The matches that have records here, by the number of their failures in a row, lowest first."""
        return sorted(self._lanes.values(), key=lambda lane: lane.failures)

    def done(self, lane: Lane, count: int) -> None:
        """The first ``count`` records of a lane are published, or changed nothing."""
        for _ in range(count):
            record = lane.records.popleft()
            self._done.add((record.partition, record.offset))
        lane.due_ms = 0
        lane.unpublished = None
        lane.failures = 0
        if not lane.records:
            del self._lanes[lane.match_id]

    def committable(self) -> list[LogRecord]:
        """By partition, the last record up to which all are done; each is returned once."""
        last: list[LogRecord] = []
        for partition, records in list(self._uncommitted.items()):
            record: LogRecord | None = None
            while records and (position := (records[0].partition, records[0].offset)) in self._done:
                record = records.popleft()
                self._done.remove(position)
                self._positions.remove(position)
            if record is not None:
                last.append(record)
            if not records:
                del self._uncommitted[partition]
        return last
