"""Fan-out: read the log, fold, give each change its number, publish, then commit the offset.

The order is what makes it safe. A worker that dies after publishing and before committing is followed by
one that reads the same records again; it folds them to the same ids, and the bus refuses an id that is
not new. At-least-once from the log becomes exactly-once for viewers.

The number of a delta is a function of the log alone: a worker that takes over a match folds that match's
whole history first. So every worker in every region computes the same ids.

The bus may lose what it had (a fail-over to a replica that lagged, a restart without a disk). The log has
it all, so the worker notices, by a refused publish or by asking on a timer, and refills it.
"""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from origin.bus import Bus, Published
from origin.errors import BusBehindError, BusError, EventLogError
from origin.eventlog import EventLog, Record
from origin.eventlog.memory import wall_clock_ms
from origin.metrics import Metrics
from origin.numbering import Numbering, begin
from shared_state import DeltaId, encode_delta, is_conflict

__all__ = ["FanOut", "run_in_thread"]

logger = logging.getLogger(__name__)

# A match in memory is some 50 KB. One that was put aside is folded from the log again when it moves.
MATCHES_MAX = 5_000
# How long a stop may have to wait for the log; an append is seen at once.
POLL_S = 0.2
# How long a bus that lost its last deltas may go unnoticed while nothing happens in a match.
HEAD_CHECK_S = 2.0
# Under an embargo: a release waits this much longer, so that a retraction which the log took in the last
# moment of the hold has been read here.
RELEASE_MARGIN_MS = 250


class FanOut:
    """One fan-out worker.

    Args:
        group: the consumer group, one per region; None reads the whole log anew at every start.
        embargo_s: how long this region's deltas are held, to match its broadcast.
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
        self._group = group
        self._consumer = log.consumer(group)
        self._generation = self._consumer.generation
        self._hold_ms = round(embargo_s * 1000)
        self._margin_ms = RELEASE_MARGIN_MS if self._hold_ms else 0
        self._arrived: deque[Record] = deque()
        self._held: list[tuple[int, int, int, Record]] = []
        self._matches: OrderedDict[str, Numbering] = OrderedDict()
        self._stop = threading.Event()

    def run(self) -> None:
        """Work until ``stop``. Errors of the log and the bus are waited out, never skipped over."""
        failures = 0
        next_check_s = 0.0
        restored = self._group is None  # reads the whole log anyway
        while not self._stop.is_set():
            try:
                if not restored:
                    self.restore_bus()
                    restored = True
                self.step(POLL_S)
                if time.monotonic() >= next_check_s:
                    self.check_heads()
                    next_check_s = time.monotonic() + HEAD_CHECK_S
                failures = 0
            except (EventLogError, BusError) as error:
                logger.warning("fan-out waits: %s", error)
                self._wait(failures)
                failures += 1
        self._consumer.close()

    def stop(self) -> None:
        """Ask ``run`` to return; it does after the record it is at."""
        self._stop.set()

    def step(self, timeout_s: float) -> int:
        """Take one batch through; returns how many records were published or found to change nothing.

        Raises:
            EventLogError: the log cannot be read; nothing was committed.
        """
        self._arrived.extend(self._consumer.poll(self._until_next_release_s(timeout_s)))
        if self._consumer.generation != self._generation:
            # Another worker may have taken records of these matches: fold them from the log again.
            self._generation = self._consumer.generation
            self._matches.clear()
        while self._arrived:
            # Taken off the queue last: an error of the log in between must not lose the record.
            record = self._arrived[0]
            self._match_of(record).take(record)
            release_ms = record.appended_ms + self._hold_ms
            heapq.heappush(self._held, (release_ms, record.partition, record.offset, record))
            self._arrived.popleft()
        done: list[Record] = []
        while self._held and self._is_due(self._held[0][0]):
            record = self._held[0][3]
            if not self._release(record):
                break  # stopped while waiting for the bus: the rest belongs to the successor
            heapq.heappop(self._held)
            done.append(record)
        if done:
            self._consumer.commit(done)
        return len(done)

    def restore_bus(self) -> int:
        """Refill a bus that knows no match at all from the whole log; returns how many matches.

        It was emptied while no worker ran: what was committed will not be read again, and those matches
        would be unknown until something happens in them.

        Raises:
            BusError, EventLogError: what was to be refilled stays to be refilled.
        """
        if self._bus.matches():
            return 0
        reader = self._log.consumer(None)
        match_ids: dict[str, None] = {}
        try:
            while records := reader.poll(POLL_S):
                match_ids.update((record.event.match_id, None) for record in records)
        finally:
            reader.close()
        for match_id in match_ids:
            self._refill(match_id, None)
        return len(match_ids)

    def check_heads(self) -> int:
        """Refill every match that the bus has less of than this worker published; returns how many.

        Raises:
            BusError, EventLogError: what was to be refilled stays to be refilled.
        """
        refilled = 0
        for match_id, numbering in list(self._matches.items()):
            position = numbering.told.position
            head = self._bus.head(match_id)
            if position.seq and (head is None or head < position):
                self._refill(match_id, position)
                refilled += 1
        return refilled

    def _until_next_release_s(self, timeout_s: float) -> float:
        if not self._held:
            return timeout_s
        return min(timeout_s, max(0.0, (self._held[0][0] + self._margin_ms - self._now_ms()) / 1000))

    def _is_due(self, release_ms: int) -> bool:
        return not self._hold_ms or release_ms + self._margin_ms <= self._now_ms()

    def _release(self, record: Record) -> bool:
        """Publish what a record leads to; False if asked to stop before that could be done."""
        match_id = record.event.match_id
        numbering = self._match_of(record)
        numbering.take(record)
        if is_conflict(numbering.told.match.records.get(record.event.event_id), record.event):
            self._metrics.conflicts.inc()
            logger.warning(
                "match %s: event %s reuses revision %d for another body",
                match_id,
                record.event.event_id,
                record.event.rev,
            )
        delta = numbering.release(record)
        if delta is None:
            self._metrics.unchanged.inc()
            return True
        published = Published(delta.id, encode_delta(delta))
        if not self._publish(record, published, numbering.told.snapshot()):
            # It has its id but is not published; whoever goes on must begin before it.
            del self._matches[match_id]
            return False
        late_ms = self._now_ms() - record.appended_ms - self._hold_ms
        self._metrics.fanout_seconds.observe(max(0, late_ms) / 1000)
        return True

    def _publish(self, record: Record, published: Published, snapshot: bytes) -> bool:
        """Publish until the bus has it; False if asked to stop before."""
        failures = 0
        while True:
            try:
                if self._bus.publish(record.event.match_id, published, snapshot):
                    self._metrics.published.inc()
                return True
            except BusBehindError as error:
                logger.warning("%s; refilling it from the log", error)
                try:
                    self._refill(record.event.match_id, published.id)
                    return True
                except (BusError, EventLogError) as refill_error:
                    logger.warning("match %s could not be refilled: %s", record.event.match_id, refill_error)
                    if self._wait(failures):
                        return False
                    failures += 1
            except BusError as error:
                logger.warning(
                    "match %s: %s is not on the bus yet: %s", record.event.match_id, published.id, error
                )
                self._metrics.bus_retries.inc()
                if self._wait(failures):
                    return False
                failures += 1

    def _refill(self, match_id: str, upto: DeltaId | None) -> None:
        """Give the bus a match's history as the log has it.

        Args:
            match_id: the match.
            upto: the last id this worker published; None for all that is due by now.
        """
        numbering: Numbering | None = None
        deltas: list[Published] = []
        records = list(self._log.read_match(match_id))
        for record in records:
            numbering = numbering or begin(match_id, record.appended_ms, self._hold_ms)
            numbering.take(record)
        for record in records:
            if numbering is None or numbering.told.position == upto:
                break
            if upto is None and not self._is_due(record.appended_ms + self._hold_ms):
                break
            delta = numbering.release(record)
            if delta is not None:
                deltas.append(Published(delta.id, encode_delta(delta)))
        if numbering is not None and deltas:
            self._metrics.refilled.inc(self._bus.refill(match_id, deltas, numbering.told.snapshot()))

    def _match_of(self, record: Record) -> Numbering:
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

    def _fold_before(self, record: Record) -> Numbering:
        numbering: Numbering | None = None
        earlier: list[Record] = []
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
        return numbering

    def _wait(self, failures: int) -> bool:
        """Wait before trying again; True if asked to stop meanwhile."""
        # The bus is a machine in the same rack: try soon, and never let a region wait for a full cap.
        window_s = min(2.0, 0.05 * 2 ** min(failures, 10))
        return self._stop.wait(self._random_unit() * window_s)


def run_in_thread(fanout: FanOut) -> threading.Thread:
    """Start ``fanout.run`` on a daemon thread of this process: the embedded set-up."""
    thread = threading.Thread(target=fanout.run, name="fanout", daemon=True)
    thread.start()
    return thread
