"""Fan-out: read the log, fold, assign an id to each change, publish, then commit the offset.

This order makes it safe. If a worker dies after publishing and before committing, its successor reads the
same records again and folds them to the same ids, and the bus refuses an id that is not new. At-least-once
from the log becomes exactly-once for viewers.

The id of a delta is a function of the log alone: a worker that takes over a match folds that match's whole
history first. So every worker in every region computes the same ids. A match's records are published in the
order of their offsets, whatever dates the log's clock gave them; matches do not wait for each other
(``origin.fanout.backlog``).

The bus may lose what it had (a fail-over to a replica that lagged, a restart without a disk). The worker
notices it by a refused publish or by a check on a timer, and refills the bus from the log
(``origin.fanout.repair``).
"""

from __future__ import annotations

import gc
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice

from prometheus_client import Counter

from origin.bounded_cache import BoundedCache
from origin.bus import Bus, Published
from origin.bus.server_calls import PATIENCE_S, ServerCalls
from origin.errors import BusBehindError, BusError, EventLogError
from origin.eventlog import EventLog, LogRecord
from origin.eventlog.clock import JUMP_MS, wall_clock_ms
from origin.fanout.backlog import LANE_RECORDS_MAX, Backlog, Lane, Unpublished
from origin.fanout.purge import PurgeHook
from origin.fanout.repair import Repairer
from origin.fanout.restart import restart_of
from origin.fanout.sequencer import EmbargoedSequencer, Sequencer, begin
from origin.logs import structured_logger
from origin.metrics import Metrics
from origin.provenance import Provenance, log_deltas
from origin.tracing import NO_TRACES, Span, Tracer, monotonic_to_ns, read_traceparent
from shared_state import DeltaId, encode_delta, is_conflict

__all__ = ["FanOut"]

logger = logging.getLogger(__name__)
_log = structured_logger(__name__)

# Records of the matches in memory, some 0.5 KB each; a match counts for ten more. One that was dropped is
# folded from the log again at its next event.
MATCH_RECORDS_MAX = 500_000
MATCH_COST = 10
# How long a poll waits for the log, and so how long a stop may take; an append ends the wait at once.
POLL_S = 0.2
# A release waits this much longer than the embargo, because the log's clock may be this far behind this
# machine's: a retraction of the last moment is then in the log when the match is read for it.
RELEASE_MARGIN_MS = 250
# Records read at a start from which on they are exempt from garbage collection: they are then most of what is
# in memory, and what is exempt by mistake with them is little.
EXEMPT_FROM_COLLECTOR_MIN = 50_000
# Records in memory while the bus does not answer, some 1.5 KB each; beyond it no more are read.
BACKLOG_MAX = 50_000
# A match's turn is a run of its records, which one step of the bus publishes with one snapshot. It ends after
# so many records, and once the worker has caught up after this much folding: the first record of a run waits
# for its last. One record is always done. Work is measured as processor time: a thread that had to wait for a
# processor has done nothing.
TURN_RECORDS = LANE_RECORDS_MAX
TURN_CPU_S = 0.005
# Once the worker has caught up, the log is read on after so many records or so much work: a match that has
# not been heard of is in it. Until then each match has a turn first, and so one snapshot for all that is in
# memory of it; a match that floods has at most a turn's records there.
STEP_RECORDS = 200
STEP_CPU_S = 0.02
# A match whose server has not answered an earlier call is tried again after this.
PARKED_S = 0.2
# How long a whole history may take at its server before other matches go on.
REFILL_PATIENCE_S = 0.5

# The log line about dates in the future is repeated so often, however many records have one.
FUTURE_ALARM_S = 60.0


class FanOut:
    """One fan-out worker.

    Args:
        group: the consumer group, one per region; None reads the whole log anew at every start.
        embargo_s: seconds by which this region's deltas are delayed, to match its broadcast.
        purge: called for each match that was corrected, once its new state is on the bus.
        tracer: for the spans of the records that belong to a trace.

    Attributes:
        caught_up: whether the worker has reached the end of the log once, with everything before it on the
            bus.
    """

    def __init__(
        self,
        log: EventLog,
        bus: Bus,
        *,
        group: str | None,
        embargo_s: float = 0.0,
        metrics: Metrics | None = None,
        purge: PurgeHook | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
        random_unit: Callable[[], float] = random.random,
        tracer: Tracer = NO_TRACES,
    ) -> None:
        self._log = log
        self._tracer = tracer
        self._bus = bus
        self._metrics = metrics or Metrics()
        self._purge = purge
        self._now_ms = now_ms
        self._random_unit = random_unit
        self._consumer = log.consumer(group)
        self._generation = self._consumer.generation
        self._embargo_ms = round(embargo_s * 1000)
        self._backlog = Backlog()
        self._matches: BoundedCache[str, Sequencer] = BoundedCache(MATCH_RECORDS_MAX)
        self._calls = ServerCalls()
        self._repairer = Repairer(
            log, bus, self._calls, self._refill, self._metrics, restores=group is not None
        )
        self._stop = threading.Event()
        self._next_future_alarm_s = 0.0
        self._restart = None
        if group is None and not self._embargo_ms:
            self._restart = restart_of(log, bus, self._refill, self._note_future_dates)
        self.caught_up = False

    def run(self) -> None:
        """Work until ``stop``. Errors of the log and the bus are retried for as long as they last.

        Raises:
            Exception: one that neither the log nor the bus should raise; the worker has closed its reader.
        """
        failures = 0
        try:
            self._catch_up()
            while not self._stop.is_set():
                try:
                    self.step(0.0 if self._repairer.busy else POLL_S)
                    self._repairer.work()
                    if self._restart is not None:
                        self._restart.work()
                    failures = 0
                except (EventLogError, BusError) as error:
                    logger.warning("fan-out cannot go on and tries again: %s", error)
                    self._stop.wait(self._pause_s(failures))
                    failures += 1
        finally:
            self._consumer.close()
            self._calls.close()

    def _catch_up(self) -> None:
        """Publish what the log has at a start, for as long as there is progress.

        All that is read then stays. A collector that walks it again and again took a fifth of the time, so it
        is off meanwhile; and what was much is exempt from it afterwards, or it would stop this process, its
        streams included, for seconds.
        """
        count = 0
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            if self._restart is not None:
                restored = self._restart.run(self._stop)
                self._consumer = self._restart.consumer_after(restored.offset)
                count += restored.records_folded
            while not (self.caught_up or self._stop.is_set()) and (done := self.step(0.0)):
                count += done
        except (EventLogError, BusError) as error:
            logger.warning("fan-out cannot go on and tries again: %s", error)
        finally:
            if count >= EXEMPT_FROM_COLLECTOR_MIN:
                gc.freeze()
            if was_enabled:
                gc.enable()

    def stop(self) -> None:
        """Ask ``run`` to return; it finishes the record it is working on."""
        self._stop.set()

    def step(self, timeout_s: float) -> int:
        """Read a batch and publish what is due; returns how many records were published or changed nothing.

        Matches are served in turns (``Backlog.turns``), each within the bounds of a turn, all within those
        of a step: a match with thousands of records delays itself alone.

        A match that the bus refuses is postponed, and the others go on. After one such failure the rest
        waits for the next step, in which matches that failed come last. The matches of a server that hangs
        are left out until its call has ended: it goes on in a thread of that server (``ServerCalls``).

        Raises:
            EventLogError: the log cannot be read, or the commit failed; nothing is published twice.
        """
        at_end = self._read(timeout_s)
        count = self._serve_lanes()
        self._metrics.waiting_matches.set(self._backlog.failing)
        committable = self._backlog.committable()
        if committable:
            self._consumer.commit(committable)
        self.caught_up = self.caught_up or (at_end and not len(self._backlog))
        return count

    def _serve_lanes(self) -> int:
        """Give turns to the matches until the step's budget is used; returns how many records are done.

        A worker that has not caught up gives each match a turn.

        However much one turn costs, each step has one for a match that is new in the backlog, one for the
        match that has waited longest for another turn, and one for a match that failed. So none of the
        three can starve the others.
        """
        count = 0
        until_s = time.thread_time() + STEP_CPU_S
        turns = self._backlog.turns()
        for lanes in (turns.new, turns.again, turns.failing):
            for lane in lanes:
                if lane.retry_s > time.monotonic() or self._is_parked(lane):
                    continue
                done = self._advance(lane)
                count += done
                if done:
                    self._backlog.note_turn(lane)
                if lane.failures or self._stop.is_set():
                    return count
                if done and self._is_used_up(count, until_s):
                    break
        return count

    def _is_parked(self, lane: Lane) -> bool:
        """Whether the server of a match hangs; if so, the match is tried again later."""
        if not (self._calls.any_busy and self._calls.is_busy(self._bus.server_of(lane.match_id))):
            return False
        if lane.failures:
            lane.retry_s = time.monotonic() + PARKED_S
        else:
            self._backlog.note_failure(lane, time.monotonic() + PARKED_S)
        return True

    def _is_used_up(self, count: int, until_s: float) -> bool:
        """Whether a step has done its share; a worker that reads the log for the first time has no share."""
        return self.caught_up and (count >= STEP_RECORDS or time.thread_time() > until_s)

    def _read(self, timeout_s: float) -> bool:
        """Read on in the log, waiting at most until something is due; returns whether it is at its end."""
        wait_s = self._until_due_s(timeout_s)
        at_end = False
        if self._backlog.in_memory >= BACKLOG_MAX:
            self._consumer.poll(0.0, 0)
            self._stop.wait(wait_s)
        else:
            read = 0
            # At a start as much as there is room for is read before anything is published: a match then gets
            # one snapshot for all of that. A blocking poll under load never reports the end of the log.
            while not (self.caught_up or at_end or self._stop.is_set() or self._is_full(read)):
                count = self._take_in(self._consumer.poll(0.0))
                at_end = not count
                read += count
            at_end = at_end or self.caught_up
            if not read:
                self._take_in(self._consumer.poll(wait_s))
        if self._consumer.generation != self._generation:
            # Another worker may have taken records of these matches: fold them from the log again.
            self._generation = self._consumer.generation
            self._matches.clear()
            for lane in self._backlog.lanes():
                lane.unpublished = None
        return at_end

    def _is_full(self, read: int) -> bool:
        """Whether a start has read enough: also where one match has most of it, of which little is kept."""
        return read >= BACKLOG_MAX or self._backlog.in_memory >= BACKLOG_MAX

    def _take_in(self, records: Sequence[LogRecord]) -> int:
        read_s = time.monotonic()
        for record in records:
            self._backlog.add(record, read_s)
        self._note_future_dates([(record.appended_ms, record.event.match_id) for record in records])
        return len(records)

    def _note_future_dates(self, dates: Sequence[tuple[int, str]]) -> None:
        """Report records that are dated after this machine's clock: that clock or the log's is wrong.

        Args:
            dates: of each record its date, UTC milliseconds, and its match.
        """
        latest_ms = self._now_ms() + JUMP_MS
        future = [date for date in dates if date[0] > latest_ms]
        if not future:
            return
        self._metrics.future_dated.inc(len(future))
        if time.monotonic() >= self._next_future_alarm_s:
            self._next_future_alarm_s = time.monotonic() + FUTURE_ALARM_S
            appended_ms, match_id = max(future)
            logger.error(
                "the log has records that are dated after this machine's clock, one of match %s by %.0f s:"
                " one of the two clocks is or was wrong (docs/operations.md, Clocks)",
                match_id,
                (appended_ms - latest_ms + JUMP_MS) / 1000,
            )

    def _until_due_s(self, timeout_s: float) -> float:
        now_ms, now_s = self._now_ms(), time.monotonic()
        for lane in self._backlog.lanes():
            embargo_s = min((lane.due_ms - now_ms) / 1000, lane.due_at_latest_s - now_s)
            timeout_s = min(timeout_s, max(lane.retry_s - now_s, embargo_s, 0.0))
            if not timeout_s:
                break
        return timeout_s

    def _advance(self, lane: Lane) -> int:
        """Give a match its turn: publish a run of it; returns how many of its records are done."""
        try:
            if not lane.records:
                self._reload(lane)
            done = self._publish_run(lane) if lane.records else 0
        except (BusError, EventLogError) as error:
            self._postpone(lane, error)
            return 0
        if done:
            self._backlog.done(lane, done)
        return done

    def _reload(self, lane: Lane) -> None:
        """Read the next records of a match, which were read before and not kept.

        Raises:
            EventLogError: the log cannot be read.
        """
        records = self._log.read_match(lane.match_id, lane.skipped_first - 1)
        asked = self._backlog.lane_room
        self._backlog.reload(lane, list(islice(records, asked)), asked)

    def _postpone(self, lane: Lane, error: BusError | EventLogError) -> None:
        # One log line per doubling of the failures: a line per attempt and match of a shard would be a flood.
        if lane.failures & (lane.failures - 1) == 0:
            logger.warning(
                "match %s is postponed after %d failures: %s", lane.match_id, lane.failures + 1, error
            )
        self._metrics.bus_retries.inc()
        self._backlog.note_failure(lane, time.monotonic() + self._pause_s(lane.failures))

    def _publish_run(self, lane: Lane) -> int:
        """Publish a run: the first records of a match that are due; returns how many they are.

        Raises:
            BusError, EventLogError: the bus may or may not have them; publishing them again is safe.
        """
        if lane.unpublished is None:
            lane.unpublished = self._release(lane)
        run = lane.unpublished
        if run is None:
            return 0
        if run.deltas:
            self._publish(lane.match_id, run)
            # A start publishes corrections of long ago, which no cache has wrong.
            if self._purge is not None and self.caught_up and _corrects(lane, run):
                self._purge.note(lane.match_id)
            now_ms = self._now_ms()
            if run.reported:
                self._report(lane.match_id, run, now_ms)
            for appended_ms, source in zip(run.appended_ms, run.sources, strict=True):
                late_ms = now_ms - appended_ms - self._embargo_ms
                self._metrics.observe_published(source, late_ms)
                self._metrics.fanout_seconds.observe(max(0, late_ms) / 1000)
        return run.records

    def _release(self, lane: Lane) -> Unpublished | None:
        """Give the first records of a match their ids, as many as a turn has; None if none of them is due.

        The snapshot is made once, at the last id: a snapshot of an id before it would be replaced at once.

        Raises:
            EventLogError: the log cannot be read; no record has been released.
        """
        sequencer = self._match_of(lane.records[0])
        until_s = time.thread_time() + TURN_CPU_S if self.caught_up else math.inf
        count = 0
        deltas: list[Published] = []
        appended_ms: list[int] = []
        sources: list[str | None] = []
        reported: list[tuple[LogRecord, Span | None]] = []
        # What a start publishes was reported when it came.
        reports = self.caught_up and (self._tracer.on or logger.isEnabledFor(logging.INFO))
        for record, read_s in islice(zip(lane.records, lane.read_s, strict=True), TURN_RECORDS):
            if count and time.thread_time() > until_s:
                break
            sequencer.take(record)
            due_ms = self._due_ms(sequencer, record)
            # The log had the record when it was read, so after the embargo from then on it is due, even if
            # its date lies in the future: a clock that was ahead may have dated it.
            due_at_latest_s = read_s + (self._embargo_ms + RELEASE_MARGIN_MS) / 1000
            if not count:
                lane.due_ms, lane.due_at_latest_s = due_ms, due_at_latest_s
            if due_ms > self._now_ms() and due_at_latest_s > time.monotonic():
                break
            if isinstance(sequencer, EmbargoedSequencer) and sequencer.complete_until_ms < due_ms:
                if count:
                    break  # reading may fail, and what is released already must be published first
                self._take_all(sequencer, lane.match_id)
            self._note_conflict(sequencer, record)
            delta = sequencer.release(record)
            count += 1
            if delta is None:
                self._metrics.unchanged.inc()
            else:
                provenance = None
                if reports:
                    span = self._begin_span(record, delta.id, read_s)
                    provenance = _provenance_of(record, span)
                    reported.append((record, span))
                deltas.append(Published(delta.id, encode_delta(delta), provenance))
                appended_ms.append(record.appended_ms)
                sources.append(record.event.source)
        if not count:
            return None
        snapshot = sequencer.published_replica.snapshot() if deltas else b""
        return Unpublished(count, deltas, appended_ms, sources, snapshot, reported)

    def _begin_span(self, record: LogRecord, id_: DeltaId, read_s: float) -> Span | None:
        """The span of a record's way to the bus, from when it was read; None where it belongs to no trace."""
        parent = read_traceparent(record.traceparent) if self._tracer.on else ""
        if not parent:
            return None
        attributes = {"touchline.match_id": record.event.match_id, "touchline.delta_id": str(id_)}
        return self._tracer.start("fan-out", parent, start_ns=monotonic_to_ns(read_s), attributes=attributes)

    def _report(self, match_id: str, run: Unpublished, now_ms: int) -> None:
        """Log a line for each delta that the bus has now, and end its span."""
        logs = logger.isEnabledFor(logging.INFO)
        for published, (record, span) in zip(run.deltas, run.reported, strict=True):
            if span is not None:
                span.end()
            if logs:
                event = record.event
                log_deltas(
                    *(_log, "published", match_id, (published,)),
                    change=f"{event.event_id}/{event.rev} {event.op}",
                    late_ms=now_ms - record.appended_ms,
                )

    def _due_ms(self, sequencer: Sequencer, record: LogRecord) -> int:
        due_ms = sequencer.due_ms(record)
        return due_ms + RELEASE_MARGIN_MS if due_ms else 0

    def _take_all(self, sequencer: EmbargoedSequencer, match_id: str) -> None:
        """Take what the log has of a match by now: it may have a retraction that was not polled yet."""
        until_ms = self._now_ms()
        for record in self._log.read_match(match_id):
            sequencer.take(record)
        sequencer.complete_until_ms = until_ms

    def _note_conflict(self, sequencer: Sequencer, record: LogRecord) -> None:
        event = record.event
        if is_conflict(sequencer.published_replica.match.records.get(event.event_id), event):
            self._metrics.conflicts.inc()
            logger.warning(
                "match %s: event %s reuses revision %d for another body",
                event.match_id,
                event.event_id,
                event.rev,
            )

    def _publish(self, match_id: str, run: Unpublished) -> None:
        try:
            self._give(match_id, run.deltas, run.snapshot, self._metrics.published, PATIENCE_S)
        except BusBehindError as error:
            logger.warning("%s; refilling it from the log", error)
            self._refill(match_id, run.deltas[-1].id)
        self._repairer.note_published(match_id, run.deltas[-1].id)
        if self._restart is not None:
            self._restart.note_changed(match_id)

    def _give(
        self, match_id: str, deltas: list[Published], snapshot: bytes, counter: Counter, patience_s: float
    ) -> None:
        """Give the bus deltas, and count those that it took.

        A server of several that does not answer in time is not waited for. The bus may take the deltas later,
        and refuses them when they are given again.

        Raises:
            BusError: as ``Bus.refill``, or the server has not answered.
        """

        def give() -> None:
            counter.inc(self._bus.refill(match_id, deltas, snapshot))

        if self._bus.is_sharded():
            self._calls.call(self._bus.server_of(match_id), give, patience_s)
        else:
            give()

    def _refill(self, match_id: str, least: DeltaId | None) -> DeltaId | None:
        """Give the bus a match's history as the log has it, with all that is due by now.

        It gives all of it, even if another worker publishes the match now: a worker that restores an
        emptied bus would take a match with a part of its history for complete.

        Args:
            match_id: the match.
            least: an id up to which all has been published before, whatever the clock says now.

        Returns:
            The id at which the match stands; None if nothing of it is due.
        """
        sequencer: Sequencer | None = None
        deltas: list[Published] = []
        now_ms = self._now_ms()
        records = list(self._log.read_match(match_id))
        for record in records:
            sequencer = sequencer or begin(match_id, record.appended_ms, self._embargo_ms)
            sequencer.take(record)
        for record in records:
            if sequencer is None:
                break
            published_before = least is not None and sequencer.published_replica.position < least
            if not published_before and self._due_ms(sequencer, record) > now_ms:
                break
            delta = sequencer.release(record)
            if delta is not None:
                deltas.append(Published(delta.id, encode_delta(delta)))
        if sequencer is None or not deltas:
            return None
        snapshot = sequencer.published_replica.snapshot()
        self._give(match_id, deltas, snapshot, self._metrics.refilled, REFILL_PATIENCE_S)
        self._repairer.note_published(match_id, sequencer.published_replica.position)
        return sequencer.published_replica.position

    def _match_of(self, record: LogRecord) -> Sequencer:
        """A match's sequencer as it was before this record; folded from the log if it is not in memory."""
        match_id = record.event.match_id
        sequencer = self._matches.get(match_id)
        if sequencer is None:
            sequencer = self._fold_before(record)
        cost = MATCH_COST + len(sequencer.published_replica.match.records)
        self._matches.put(match_id, sequencer, cost)
        self._metrics.matches.set(len(self._matches))
        return sequencer

    def _fold_before(self, record: LogRecord) -> Sequencer:
        sequencer: Sequencer | None = None
        earlier: list[LogRecord] = []
        now_ms = self._now_ms()
        for other in self._log.read_match(record.event.match_id):
            sequencer = sequencer or begin(record.event.match_id, other.appended_ms, self._embargo_ms)
            sequencer.take(other)
            if other.offset < record.offset:
                earlier.append(other)
            elif not self._embargo_ms:
                break  # only an embargo looks at later records
        # The log is empty only if its retention removed this very record; a new epoch begins with it.
        sequencer = sequencer or begin(record.event.match_id, record.appended_ms, self._embargo_ms)
        for other in earlier:
            sequencer.release(other)
        if isinstance(sequencer, EmbargoedSequencer):
            sequencer.complete_until_ms = now_ms
        return sequencer

    def _pause_s(self, failures: int) -> float:
        """How long to wait before trying again."""
        # The bus is near and a whole region waits for it: no pause is longer than 2 s.
        return self._random_unit() * min(2.0, 0.05 * 2.0 ** min(failures, 10))


def _provenance_of(record: LogRecord, span: Span | None) -> Provenance | None:
    """Where a delta comes from, for the tiers behind the bus; None where nobody knows."""
    traceparent = read_traceparent(record.traceparent) if span is None else span.traceparent
    signed_by = record.signed_by
    if signed_by is None:
        return Provenance(traceparent=traceparent) if traceparent else None
    return Provenance(signed_by.webhook_id, signed_by.key_name, traceparent)


def _corrects(lane: Lane, run: Unpublished) -> bool:
    """Whether a run has a retraction or an amendment: what a cache shows may then be wrong, not only old."""
    return any(record.event.op != "ADD" for record in islice(lane.records, run.records))
