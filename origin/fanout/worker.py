"""Fan-out: read the log, fold, give each change its number, publish, then commit the offset.

The order is what makes it safe. A worker that dies after publishing and before committing is followed by
one that reads the same records again; it folds them to the same ids, and the bus refuses an id that is
not new. At-least-once from the log becomes exactly-once for viewers.

The number of a delta is a function of the log alone: a worker that takes over a match folds that match's
whole history first. So every worker in every region computes the same ids. A match's records are told in
the order of their offsets, whatever the log's clock says of them; matches do not wait for each other
(``origin.fanout.backlog``).

The bus may lose what it had (a fail-over to a replica that lagged, a restart without a disk). The log has
it all, so the worker notices, by a refused publish or by asking on a timer, and refills it
(``origin.fanout.repair``).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from origin.bus import Bus, Published
from origin.errors import BusBehindError, BusError, EventLogError
from origin.eventlog import EventLog, LogRecord
from origin.eventlog.memory import wall_clock_ms
from origin.fanout.backlog import Backlog, Lane, Unpublished
from origin.fanout.repair import Repairer
from origin.fanout.sequencer import EmbargoedSequencer, Sequencer, begin
from origin.metrics import Metrics
from shared_state import DeltaId, encode_delta, is_conflict

__all__ = ["FanOut"]

logger = logging.getLogger(__name__)

# A match in memory is some 50 KB. One that was put aside is folded from the log again when it moves.
MATCHES_MAX = 5_000
# How long a stop may have to wait for the log; an append is seen at once.
POLL_S = 0.2
# Under an embargo: a release waits this much longer than the hold, by which the log's clock may be behind
# this machine's, so that a retraction of the last moment is in the log when the match is read for it.
RELEASE_MARGIN_MS = 250
# Records in memory while the bus is away, some 1.5 KB each; beyond it no more are read.
BACKLOG_MAX = 50_000


class FanOut:
    """One fan-out worker.

    Args:
        group: the consumer group, one per region; None reads the whole log anew at every start.
        embargo_s: how long this region's deltas are held, to match its broadcast.

    Attributes:
        caught_up: whether the end of the log has been reached once, with everything before it on the bus.
    """

    def __init__(
        self,
        log: EventLog,
        bus: Bus,
        *,
        group: str | None,
        embargo_s: float = 0.0,
        metrics: Metrics | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self._log = log
        self._bus = bus
        self._metrics = metrics or Metrics()
        self._now_ms = now_ms
        self._random_unit = random_unit
        self._consumer = log.consumer(group)
        self._generation = self._consumer.generation
        self._hold_ms = round(embargo_s * 1000)
        self._backlog = Backlog()
        self._matches: OrderedDict[str, Sequencer] = OrderedDict()
        self._mender = Repairer(log, bus, self._refill, self._metrics, restores=group is not None)
        self._stop = threading.Event()
        self.caught_up = False

    def run(self) -> None:
        """Work until ``stop``. Errors of the log and the bus are waited out, never skipped over."""
        failures = 0
        try:
            while not self._stop.is_set():
                try:
                    self.step(0.0 if self._mender.busy else POLL_S)
                    self._mender.work()
                    failures = 0
                except (EventLogError, BusError) as error:
                    logger.warning("fan-out waits: %s", error)
                    self._stop.wait(self._pause_s(failures))
                    failures += 1
        finally:
            self._consumer.close()

    def stop(self) -> None:
        """Ask ``run`` to return; it does after the record it is at."""
        self._stop.set()

    def step(self, timeout_s: float) -> int:
        """Read a batch and tell what is due; returns how many records were told or changed nothing.

        A match that the bus does not take is put off, and the others go on. After one such failure the rest
        waits for the next step, in which matches that failed come last: where a part of the bus hangs, each
        failure costs a timeout.

        Raises:
            EventLogError: the log cannot be read, or the commit was not taken; what was told is not told
                twice.
        """
        at_end = self._read(timeout_s)
        count = 0
        for lane in self._backlog.lanes():
            if lane.retry_s > time.monotonic():
                continue
            count += self._advance(lane)
            if lane.failures or self._stop.is_set():
                break
        self._metrics.waiting_matches.set(sum(1 for lane in self._backlog.lanes() if lane.failures))
        settled = self._backlog.settled()
        if settled:
            self._consumer.commit(settled)
        self.caught_up = self.caught_up or (at_end and not len(self._backlog))
        return count

    def _read(self, timeout_s: float) -> bool:
        """Take what is next in the log, waiting no longer than until something is due; True at its end."""
        patience_s = self._patience_s(timeout_s)
        records: list[LogRecord] = []
        at_end = False
        if len(self._backlog) >= BACKLOG_MAX:
            self._consumer.poll(0.0, 0)
            self._stop.wait(patience_s)
        else:
            # Who waits for the next record sees no end where they come all the time.
            records = [] if self.caught_up else self._consumer.poll(0.0)
            at_end = not records
            records = records or self._consumer.poll(patience_s)
        for record in records:
            self._backlog.add(record)
        if self._consumer.generation != self._generation:
            # Another worker may have taken records of these matches: fold them from the log again.
            self._generation = self._consumer.generation
            self._matches.clear()
            for lane in self._backlog.lanes():
                lane.unsent = None
        return at_end

    def _patience_s(self, timeout_s: float) -> float:
        now_ms, now_s = self._now_ms(), time.monotonic()
        for lane in self._backlog.lanes():
            timeout_s = min(timeout_s, max(lane.retry_s - now_s, (lane.due_ms - now_ms) / 1000, 0.0))
        return timeout_s

    def _advance(self, lane: Lane) -> int:
        """Tell what is due of one match; returns how many of its records are done."""
        count = 0
        while lane.records and not self._stop.is_set():
            try:
                if not self._tell(lane):
                    break
            except (BusError, EventLogError) as error:
                self._put_off(lane, error)
                break
            self._backlog.done(lane)
            count += 1
        return count

    def _put_off(self, lane: Lane, error: BusError | EventLogError) -> None:
        # Each doubling of the attempts is worth a line; each attempt, over all matches of a shard, is not.
        if lane.failures & (lane.failures - 1) == 0:
            logger.warning("match %s waits, after %d failures: %s", lane.match_id, lane.failures + 1, error)
        self._metrics.bus_retries.inc()
        lane.retry_s = time.monotonic() + self._pause_s(lane.failures)
        lane.failures += 1

    def _tell(self, lane: Lane) -> bool:
        """Have the first record of a match on the bus, if it changed the match; False if it is not due.

        Raises:
            BusError, EventLogError: it may or may not be there; telling it again is safe.
        """
        record = lane.records[0]
        if lane.unsent is None:
            numbering = self._match_of(record)
            numbering.take(record)
            lane.due_ms = self._due_ms(numbering, record)
            if lane.due_ms > self._now_ms():
                return False
            if isinstance(numbering, EmbargoedSequencer) and numbering.complete_until_ms < lane.due_ms:
                self._take_all(numbering, lane.match_id)
            self._note_conflict(numbering, record)
            delta = numbering.release(record)
            if delta is None:
                self._metrics.unchanged.inc()
                return True
            published = Published(delta.id, encode_delta(delta))
            lane.unsent = Unpublished(published, numbering.told.snapshot())
        self._publish(lane.match_id, lane.unsent)
        late_ms = self._now_ms() - record.appended_ms - self._hold_ms
        self._metrics.fanout_seconds.observe(max(0, late_ms) / 1000)
        return True

    def _due_ms(self, numbering: Sequencer, record: LogRecord) -> int:
        due_ms = numbering.due_ms(record)
        return due_ms + RELEASE_MARGIN_MS if due_ms else 0

    def _take_all(self, numbering: EmbargoedSequencer, match_id: str) -> None:
        """Take what the log has of a match by now: a retraction may stand there that was not polled yet."""
        until_ms = self._now_ms()
        for record in self._log.read_match(match_id):
            numbering.take(record)
        numbering.complete_until_ms = until_ms

    def _note_conflict(self, numbering: Sequencer, record: LogRecord) -> None:
        event = record.event
        if is_conflict(numbering.told.match.records.get(event.event_id), event):
            self._metrics.conflicts.inc()
            logger.warning(
                "match %s: event %s reuses revision %d for another body",
                event.match_id,
                event.event_id,
                event.rev,
            )

    def _publish(self, match_id: str, unsent: Unpublished) -> None:
        try:
            if self._bus.publish(match_id, unsent.published, unsent.snapshot):
                self._metrics.published.inc()
        except BusBehindError as error:
            logger.warning("%s; refilling it from the log", error)
            self._refill(match_id, unsent.published.id)
        self._mender.told(match_id, unsent.published.id)

    def _refill(self, match_id: str, least: DeltaId | None) -> DeltaId | None:
        """Give the bus a match's history as the log has it, with all that is due by now.

        All of it, whoever tells the match now: a part would look whole to those who restore an emptied bus.

        Args:
            match_id: the match.
            least: an id up to which all has been told before, whatever the clock says now.

        Returns:
            Where the match stands; None if nothing of it is due.
        """
        numbering: Sequencer | None = None
        deltas: list[Published] = []
        now_ms = self._now_ms()
        records = list(self._log.read_match(match_id))
        for record in records:
            numbering = numbering or begin(match_id, record.appended_ms, self._hold_ms)
            numbering.take(record)
        for record in records:
            if numbering is None:
                break
            told_before = least is not None and numbering.told.position < least
            if not told_before and self._due_ms(numbering, record) > now_ms:
                break
            delta = numbering.release(record)
            if delta is not None:
                deltas.append(Published(delta.id, encode_delta(delta)))
        if numbering is None or not deltas:
            return None
        self._metrics.refilled.inc(self._bus.refill(match_id, deltas, numbering.told.snapshot()))
        self._mender.told(match_id, numbering.told.position)
        return numbering.told.position

    def _match_of(self, record: LogRecord) -> Sequencer:
        """The match as it was told before this record; folded from the log if it is not held here."""
        match_id = record.event.match_id
        numbering = self._matches.get(match_id)
        if numbering is None:
            numbering = self._matches[match_id] = self._fold_before(record)
            if len(self._matches) > MATCHES_MAX:
                self._matches.popitem(last=False)
            self._metrics.matches.set(len(self._matches))
        self._matches.move_to_end(match_id)
        return numbering

    def _fold_before(self, record: LogRecord) -> Sequencer:
        numbering: Sequencer | None = None
        earlier: list[LogRecord] = []
        now_ms = self._now_ms()
        for other in self._log.read_match(record.event.match_id):
            numbering = numbering or begin(record.event.match_id, other.appended_ms, self._hold_ms)
            numbering.take(other)
            if other.offset < record.offset:
                earlier.append(other)
            elif not self._hold_ms:
                break  # what comes later matters only to a region that looks ahead
        # Only a log whose retention removed this very record is empty; what is left begins a new epoch.
        numbering = numbering or begin(record.event.match_id, record.appended_ms, self._hold_ms)
        for other in earlier:
            numbering.release(other)
        if isinstance(numbering, EmbargoedSequencer):
            numbering.complete_until_ms = now_ms
        return numbering

    def _pause_s(self, failures: int) -> float:
        """How long to wait before trying again."""
        # The bus is a machine in the same rack: try soon, and never let a region wait for a full cap.
        return self._random_unit() * min(2.0, 0.05 * 2.0 ** min(failures, 10))
