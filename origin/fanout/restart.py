"""The start of an origin with a long log: matches that stand as they stood before are not folded again.

With the bus in memory a start gives it every match of the log. A match of a hundred records costs two
milliseconds to fold, so ten thousand of them half a minute. A checkpoint is the row of a match in the list
of matches, which has its id and its hash. With it the bus knows the match; its snapshot and its deltas are
folded from the log when somebody asks for the match.

A checkpoint is never believed because it is there. Its seal is a digest over the program that made it (the
sources that decide what records are folded to), over the records of the match as they are stored, each with
its offset and its date, and over the row. Folding is a function of exactly these. So a checkpoint whose seal
is right says what folding would say, and any other one is passed over: after an upgrade, after
``heal-dates``, after another record, after a restored backup, and where the file was changed by hand.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import shared_state
from origin.bus import Bus, DormantMatches, MatchRow, Published, Snapshot, match_row
from origin.errors import BusError, EventLogError
from origin.eventlog import Consumer, EventLog, LogRecord, codec
from origin.eventlog.checkpoints import Checkpoint, CheckpointLog, StoredRecord
from origin.fanout import sequencer
from shared_state import DeltaId, encode_delta, resolve
from shared_state.match import derive

__all__ = ["Restart", "Restored", "checkpoint_of", "restart_of", "row_of"]

logger = logging.getLogger(__name__)

#: A match that has not changed for so long gets a new checkpoint, seconds.
QUIET_S: Final = 600.0
# Fan-out pauses while it makes a checkpoint of a match of so many records: some 40 ms. A longer match gets
# one at the next start, which has to fold it.
RECORDS_MAX: Final = 2_000
# Written in one transaction: a webhook waits for so many rows of some 500 bytes, and not for all of them.
WRITE_AT_ONCE: Final = 500
# After a checkpoint could not be written, as on a full disk.
WRITE_AGAIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Restored:
    """What ``Restart.run`` did.

    Attributes:
        offset: all records up to this one are on the bus.
        records_folded: how many records had to be folded for that.
    """

    offset: int
    records_folded: int


def restart_of(
    log: EventLog,
    bus: Bus,
    refill: Callable[[str, DeltaId | None], DeltaId | None],
    note_dates: Callable[[Sequence[tuple[int, str]]], None],
) -> Restart | None:
    """See ``Restart``; None if the log keeps no checkpoints, or the bus cannot know a match by its row."""
    if isinstance(log, CheckpointLog) and isinstance(bus, DormantMatches):
        return Restart(log, bus, refill, note_dates)
    return None


class Restart:
    """See the module. For the thread of one fan-out worker.

    Args:
        log: the log.
        bus: the bus in memory.
        refill: gives the bus all of a match from the log, as ``Repairer`` has it.
        note_dates: reports records that are dated in the future.
    """

    def __init__(
        self,
        log: CheckpointLog,
        bus: DormantMatches,
        refill: Callable[[str, DeltaId | None], DeltaId | None],
        note_dates: Callable[[Sequence[tuple[int, str]]], None],
    ) -> None:
        self._log = log
        self._bus = bus
        self._refill = refill
        self._note_dates = note_dates
        self._changed: OrderedDict[str, float] = OrderedDict()  # when each match changed last, oldest first
        self._unwritten: list[Checkpoint] = []
        self._next_write_s = 0.0

    def run(self, stop: threading.Event) -> Restored:
        """Give the bus every match of the log as it is now.

        Raises:
            BusError, EventLogError: the bus has some of the matches; what it has is right.
        """
        until = self._log.last_offset()
        known = self._log.checkpoints()
        folded = 0
        for match_id in self._log.match_ids(until):
            if stop.is_set():
                return Restored(0, folded)
            stored = self._log.stored_records(match_id, until)
            self._note_dates([(appended_ms, match_id) for _, appended_ms, _ in stored])
            row = _believed(known.pop(match_id, None), stored)
            if row is None:
                folded += len(stored)
                row = row_of(self._log, match_id, stored)
                if row is None:
                    continue  # none of its records is an event
                checkpoint = checkpoint_of(row, stored)
                if checkpoint is not None:
                    self._unwritten.append(checkpoint)
            self._give(row)
        return Restored(until, folded)

    def consumer_after(self, offset: int) -> Consumer:
        """A reader of the log that starts behind an offset."""
        return self._log.consumer_after(offset)

    def note_changed(self, match_id: str) -> None:
        """A match has changed: its checkpoint is not right any more."""
        self._changed[match_id] = time.monotonic()
        self._changed.move_to_end(match_id)

    def work(self) -> None:
        """Make and write a few of the checkpoints that are due. If that fails, it is tried again later."""
        now_s = time.monotonic()
        if now_s < self._next_write_s:
            return
        try:
            if not self._unwritten and self._changed:
                match_id, changed_s = next(iter(self._changed.items()))
                if changed_s > now_s - QUIET_S:
                    return
                del self._changed[match_id]
                self._make(match_id)
            elif self._unwritten:
                self._log.write_checkpoints(self._unwritten[:WRITE_AT_ONCE])
                del self._unwritten[:WRITE_AT_ONCE]
        except EventLogError as error:
            logger.info("checkpoints cannot be written; the next start may take longer: %s", error)
            self._next_write_s = now_s + WRITE_AGAIN_S

    def _make(self, match_id: str) -> None:
        if self._log.size_of(match_id).events > RECORDS_MAX:
            return
        stored = self._log.stored_records(match_id, self._log.last_offset())
        row = row_of(self._log, match_id, stored)
        checkpoint = None if row is None else checkpoint_of(row, stored)
        if checkpoint is not None:
            self._unwritten.append(checkpoint)

    def _give(self, row: MatchRow) -> None:
        head = self._bus.adopt(row, functools.partial(_load, self._log, row.match_id, row.id))
        if head is None or head < row.id:
            self._refill(row.match_id, None)


def row_of(log: CheckpointLog, match_id: str, stored: Sequence[StoredRecord]) -> MatchRow | None:
    """The row of a match as its records make it; None if none of them is an event.

    It is what publishing one record after another leads to (``DirectSequencer``), without the deltas.

    Raises:
        EventLogError: a record that is not an event cannot be dead-lettered.
    """
    records: dict[str, shared_state.ResolvedEvent] = {}
    epoch: int | None = None
    seq = 0
    for one in stored:
        record = log.read_stored(match_id, one)
        if record is None:
            continue
        event = record.event
        epoch = record.appended_ms if epoch is None else epoch
        known = records.get(event.event_id)
        resolved = resolve(known, event)
        if resolved is not known:
            records[event.event_id] = resolved
            seq += 1
    return None if epoch is None else MatchRow.of_match(derive(match_id, records), DeltaId(epoch, seq))


def checkpoint_of(row: MatchRow, stored: Sequence[StoredRecord]) -> Checkpoint | None:
    """The checkpoint of a match; None where this program cannot read its own sources."""
    encoded = row.encode()
    seal = _seal(stored, encoded)
    return None if seal is None else Checkpoint(row.match_id, seal, encoded)


def _believed(checkpoint: Checkpoint | None, stored: Sequence[StoredRecord]) -> MatchRow | None:
    if checkpoint is None or not isinstance(checkpoint.row, bytes):  # a file can have anything
        return None
    if checkpoint.seal != _seal(stored, checkpoint.row):
        return None
    row = MatchRow.decode(checkpoint.row)
    return row if row is not None and row.match_id == checkpoint.match_id else None


def _seal(stored: Sequence[StoredRecord], row: bytes) -> bytes | None:
    program = _program()
    if program is None:
        return None
    # ``repr`` of these types cannot be the same for two lists, and writes them at once.
    return hashlib.sha256(program + hashlib.sha256(row).digest() + repr(stored).encode()).digest()


@functools.cache
def _program() -> bytes | None:
    """A digest of all that decides what records are folded to; None if the sources cannot be read."""
    digest = hashlib.sha256(sys.version.encode())
    try:
        paths = sorted(Path(inspect.getfile(shared_state)).parent.glob("*.py"))
        modules = (match_row, codec, sequencer, sys.modules[__name__])
        for path in [*paths, *(Path(inspect.getfile(module)) for module in modules)]:
            source = path.read_bytes()
            digest.update(f"{path.name} {len(source)} ".encode() + source)
    except (OSError, TypeError):
        return None
    return digest.digest() if paths else None


def _load(log: CheckpointLog, match_id: str, at: DeltaId) -> tuple[Snapshot, list[Published]]:
    """The snapshot of a match at an id, and all deltas up to it, folded from the log.

    Raises:
        BusError: the log cannot be read, or does not have them any more.
    """
    deltas: list[Published] = []
    folding: sequencer.Sequencer | None = None
    try:
        record: LogRecord
        for record in log.read_match(match_id):
            folding = folding or sequencer.begin(match_id, record.appended_ms, 0)
            delta = folding.release(record)
            if delta is not None:
                deltas.append(Published(delta.id, encode_delta(delta)))
                if delta.id == at:
                    return Snapshot(at, folding.published_replica.snapshot()), deltas
    except EventLogError as error:
        raise BusError(f"the match {match_id!r} cannot be folded from the log: {error}") from error
    raise BusError(f"the match {match_id!r} is at {at}, and the log does not have that any more")
