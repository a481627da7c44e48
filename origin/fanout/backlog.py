"""What a fan-out worker has read and not yet committed: one queue per match.

Matches do not wait for each other. A match whose part of the bus does not answer keeps its records here
while the others go on, and a match with thousands of records takes turns with the others. Offsets are
committed by partition, up to the record before the first that is not done, so a successor reads whatever
still waits here again.

Of one match at most ``LANE_RECORDS_MAX`` records are in memory. Of those behind them only the range of
their offsets is kept, and they are read from the log again once the first ones are done. So one match can
neither fill the memory nor stop the reading of the log, in which other matches' events come next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from origin.bus import Published
from origin.eventlog import LogRecord

__all__ = ["LANE_RECORDS_MAX", "Backlog", "CommitPosition", "Lane", "Unpublished"]

# Records of one match in memory, some 1.5 KB each.
LANE_RECORDS_MAX = 500


@dataclass(frozen=True, slots=True)
class CommitPosition:
    """All records of a partition up to and including this offset are done."""

    partition: int
    offset: int


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
        partition: the partition of the match.
        records: those in memory. Empty only if all that wait have to be read from the log again.
        read_s: when each of ``records`` was read first, in seconds of the monotonic clock.
        skipped: how many records behind ``records`` were read and not kept.
        skipped_first, skipped_last: the offsets between which these are.
        skipped_s: when the last of them was read.
        due_ms: when the first record may be published, UTC milliseconds; 0 if that is not known yet.
        due_at_latest_s: when it may be published whatever its date is, in seconds of the monotonic clock.
        unpublished: what the first records make of the match, once the changes have their ids.
        failures: attempts in a row that did not reach the bus or the log.
        retry_s: no attempt is made before this time of the monotonic clock, in seconds.
        turn: the number of its last turn; 0 before the first.
    """

    match_id: str
    partition: int
    records: deque[LogRecord] = field(default_factory=deque)
    read_s: deque[float] = field(default_factory=deque)
    skipped: int = 0
    skipped_first: int = 0
    skipped_last: int = 0
    skipped_s: float = 0.0
    due_ms: int = 0
    due_at_latest_s: float = 0.0
    unpublished: Unpublished | None = None
    failures: int = 0
    retry_s: float = 0.0
    turn: int = 0

    @property
    def first_offset(self) -> int:
        """The offset of the first record that is not done, or one before it that is of another match."""
        return self.records[0].offset if self.records else self.skipped_first


class Backlog:
    """See the module."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self._turns = 0
        # By partition, the highest offset that was read, and the highest that ``committable`` returned.
        self._read: dict[int, int] = {}
        self._committable: dict[int, int] = {}
        self._count = 0
        self._in_memory = 0

    def __len__(self) -> int:
        """Records that were read and are not done."""
        return self._count

    @property
    def in_memory(self) -> int:
        """Records that are kept here with their events."""
        return self._in_memory

    def add(self, record: LogRecord, read_s: float) -> None:
        """Add a record that was read.

        A record that was added before, as after a rebalance, is either done or waits here. It is not added
        again; but its offset becomes committable again, because the group's commit is before it.

        Args:
            record: records of a partition come in the order of their offsets.
            read_s: when it was read, in seconds of the monotonic clock.
        """
        partition, offset = record.partition, record.offset
        if offset <= self._read.get(partition, -1):
            self._committable[partition] = min(self._committable[partition], offset - 1)
            return
        self._committable.setdefault(partition, offset - 1)
        self._read[partition] = offset
        self._count += 1
        match_id = record.event.match_id
        lane = self._lanes.get(match_id)
        if lane is None:
            lane = self._lanes[match_id] = Lane(match_id, partition)
        if lane.skipped or len(lane.records) >= LANE_RECORDS_MAX:
            if not lane.skipped:
                lane.skipped_first = offset
            lane.skipped += 1
            lane.skipped_last, lane.skipped_s = offset, read_s
            return
        lane.records.append(record)
        lane.read_s.append(read_s)
        self._in_memory += 1

    def reload(self, lane: Lane, records: Sequence[LogRecord]) -> None:
        """Take records of a lane that were not kept and have been read from the log again.

        Args:
            lane: one without records in memory.
            records: the next ones of the match from ``lane.skipped_first`` on. Fewer than
                ``LANE_RECORDS_MAX`` mean that the log has no more.
        """
        taken = [record for record in records if record.offset <= lane.skipped_last]
        lane.records.extend(taken)
        # Nobody noted when each of them was read; it was not after the last of them.
        lane.read_s.extend(lane.skipped_s for _ in taken)
        self._in_memory += len(taken)
        skipped = max(0, lane.skipped - len(taken))
        if len(taken) < LANE_RECORDS_MAX or taken[-1].offset >= lane.skipped_last:
            skipped = 0
        else:
            lane.skipped_first = taken[-1].offset + 1
        self._count += len(taken) + skipped - lane.skipped
        lane.skipped = skipped
        self._drop_if_empty(lane)

    def lanes(self) -> list[Lane]:
        """The matches that have records here, in the order of their next turns.

        Those with the fewest failures in a row come first. Among them, a match that has had no turn since
        it last had nothing to do comes before those that have; those go by how long ago that was.
        """
        return sorted(self._lanes.values(), key=lambda lane: (lane.failures, lane.turn))

    def note_turn(self, lane: Lane) -> None:
        """A lane has had its turn: its next one comes after those of all other lanes."""
        self._turns += 1
        lane.turn = self._turns

    def done(self, lane: Lane, count: int) -> None:
        """The first ``count`` records of a lane are published, or changed nothing."""
        for _ in range(count):
            lane.records.popleft()
            lane.read_s.popleft()
        self._count -= count
        self._in_memory -= count
        lane.due_ms = 0
        lane.unpublished = None
        lane.failures = 0
        self._drop_if_empty(lane)

    def committable(self) -> list[CommitPosition]:
        """By partition, up to where all records are done; each position is returned once."""
        until = dict(self._read)
        for lane in self._lanes.values():
            until[lane.partition] = min(until[lane.partition], lane.first_offset - 1)
        positions = [
            CommitPosition(partition, offset)
            for partition, offset in until.items()
            if offset > self._committable[partition]
        ]
        self._committable.update({position.partition: position.offset for position in positions})
        return positions

    def _drop_if_empty(self, lane: Lane) -> None:
        if not lane.records and not lane.skipped:
            del self._lanes[lane.match_id]
