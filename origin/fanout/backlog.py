"""What a fan-out worker has read and not yet committed: one queue per match.

Matches do not wait for each other. A match whose part of the bus does not answer keeps its records here
while the others go on, and a match with thousands of records takes turns with the others. Offsets are
committed by partition, up to the record before the first that is not done, so a successor reads whatever
still waits here again.

Of one match at most ``LANE_RECORDS_MAX`` records are in memory, and fewer where many matches flood. Of those
behind them only the range of their offsets is kept, and they are read from the log again once the first ones
are done. So a flood can neither fill the memory nor stop the reading of the log, in which other matches'
events come next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from origin.bus import Published
from origin.eventlog import LogRecord
from origin.tracing import Span

__all__ = ["LANE_RECORDS_MAX", "Backlog", "CommitPosition", "Lane", "Turns", "Unpublished"]

# Records of one match in memory, some 1.5 KB each.
LANE_RECORDS_MAX = 500
# With so many records of all matches in memory, a match keeps no more than a turn's worth: a hundred matches
# that flood must not fill the memory either, because then nothing more is read.
CROWDED_FROM = 25_000
LANE_RECORDS_CROWDED = 20
# Offsets that lanes have passed may stay in the heap, up to so many beside as many as there are lanes.
HEAP_SLACK = 1_000


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
        sources: whose event each delta is of; None where nobody says.
        snapshot: the match at the last delta; empty if there is none.
        reported: of each delta its record and its span, where log lines or traces are wanted; else empty.
    """

    records: int
    deltas: list[Published]
    appended_ms: list[int]
    sources: list[str | None]
    snapshot: bytes
    reported: list[tuple[LogRecord, Span | None]] = field(default_factory=list)


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

    @property
    def first_offset(self) -> int:
        """The offset of the first record that is not done, or one before it that is of another match."""
        return self.records[0].offset if self.records else self.skipped_first


@dataclass(frozen=True, slots=True)
class Turns:
    """The matches that have records, in the order of their next turns.

    Attributes:
        new: those that have had no turn since they last had nothing to do, whoever has waited longest first.
        again: those that have had one, by how long ago that was.
        failing: those whose last attempt failed, by the number of their failures in a row.
    """

    new: list[Lane]
    again: list[Lane]
    failing: list[Lane]


class Backlog:
    """See the module."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        # Each lane is in one of these, by match id; the last one that was added is the last one.
        self._new: dict[str, Lane] = {}
        self._again: dict[str, Lane] = {}
        self._failing: dict[str, Lane] = {}
        # By partition, the highest offset that was read, and the highest that ``committable`` returned.
        self._read: dict[int, int] = {}
        self._committable: dict[int, int] = {}
        # By partition, a heap of the lanes' first offsets. One that a lane has passed is dropped at the top.
        self._first_offsets: dict[int, list[tuple[int, str]]] = {}
        self._count = 0
        self._in_memory = 0

    def __len__(self) -> int:
        """Records that were read and are not done."""
        return self._count

    @property
    def in_memory(self) -> int:
        """Records that are kept here with their events."""
        return self._in_memory

    @property
    def lane_room(self) -> int:
        """How many records of a match may be in memory now."""
        return LANE_RECORDS_MAX if self._in_memory < CROWDED_FROM else LANE_RECORDS_CROWDED

    @property
    def failing(self) -> int:
        """Matches whose last attempt failed."""
        return len(self._failing)

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
            lane = self._lanes[match_id] = self._new[match_id] = Lane(match_id, partition)
            heappush(self._first_offsets.setdefault(partition, []), (offset, match_id))
        if lane.skipped or len(lane.records) >= self.lane_room:
            if not lane.skipped:
                lane.skipped_first = offset
            lane.skipped += 1
            lane.skipped_last, lane.skipped_s = offset, read_s
            return
        lane.records.append(record)
        lane.read_s.append(read_s)
        self._in_memory += 1

    def reload(self, lane: Lane, records: Sequence[LogRecord], asked: int) -> None:
        """Take records of a lane that were not kept and have been read from the log again.

        Args:
            lane: one without records in memory.
            records: the next ones of the match from ``lane.skipped_first`` on.
            asked: the log was asked for so many; if there are fewer, it has no more.
        """
        taken = [record for record in records if record.offset <= lane.skipped_last]
        lane.records.extend(taken)
        # Nobody noted when each of them was read; it was not after the last of them.
        lane.read_s.extend(lane.skipped_s for _ in taken)
        self._in_memory += len(taken)
        skipped = max(0, lane.skipped - len(taken))
        if len(taken) < asked or taken[-1].offset >= lane.skipped_last:
            skipped = 0
        else:
            lane.skipped_first = taken[-1].offset + 1
        self._count += len(taken) + skipped - lane.skipped
        lane.skipped = skipped
        self._note_first(lane)

    def lanes(self) -> Collection[Lane]:
        """The matches that have records here."""
        return self._lanes.values()

    def turns(self) -> Turns:
        """The matches that have records here, in the order of their next turns."""
        failing = sorted(self._failing.values(), key=lambda lane: lane.failures)
        return Turns(list(self._new.values()), list(self._again.values()), failing)

    def note_turn(self, lane: Lane) -> None:
        """A lane has had its turn: its next one comes after those of all that had theirs longer ago."""
        if lane.match_id in self._lanes and not lane.failures:
            self._move(lane, self._again)

    def note_failure(self, lane: Lane, retry_s: float) -> None:
        """An attempt failed; the next one is made no earlier than ``retry_s``, of the monotonic clock."""
        lane.failures += 1
        lane.retry_s = retry_s
        self._move(lane, self._failing)

    def done(self, lane: Lane, count: int) -> None:
        """The first ``count`` records of a lane are published, or changed nothing."""
        for _ in range(count):
            lane.records.popleft()
            lane.read_s.popleft()
        self._count -= count
        self._in_memory -= count
        lane.due_ms = 0
        lane.unpublished = None
        if lane.failures:
            lane.failures = 0
            self._move(lane, self._again)
        self._note_first(lane)

    def committable(self) -> list[CommitPosition]:
        """By partition, up to where all records are done; each position is returned once."""
        positions: list[CommitPosition] = []
        for partition, until in self._read.items():
            first = self._first_offset(partition)
            offset = until if first is None else first - 1
            if offset > self._committable[partition]:
                self._committable[partition] = offset
                positions.append(CommitPosition(partition, offset))
        return positions

    def _first_offset(self, partition: int) -> int | None:
        """The first offset of a partition that is not done; None if all that were read are."""
        heap = self._first_offsets.get(partition, [])
        while heap:
            offset, match_id = heap[0]
            lane = self._lanes.get(match_id)
            if lane is not None and lane.first_offset == offset:
                return offset
            heappop(heap)
        return None

    def _note_first(self, lane: Lane) -> None:
        """The first record of a lane is another one, or there is none."""
        if not lane.records and not lane.skipped:
            for lanes in (self._lanes, self._new, self._again, self._failing):
                lanes.pop(lane.match_id, None)
            return
        heap = self._first_offsets[lane.partition]
        heappush(heap, (lane.first_offset, lane.match_id))
        if len(heap) > 2 * len(self._lanes) + HEAP_SLACK:
            # A lane that makes no progress stays at the top, and what the others have passed is below it.
            heap[:] = [
                (other.first_offset, other.match_id)
                for other in self._lanes.values()
                if other.partition == lane.partition
            ]
            heapify(heap)

    def _move(self, lane: Lane, to: dict[str, Lane]) -> None:
        for lanes in (self._new, self._again, self._failing):
            lanes.pop(lane.match_id, None)
        to[lane.match_id] = lane
