"""The worker: one thread reads the log and fills the outbox, one for each endpoint empties its queue.

It may die at any moment. What it read is in the outbox or is read again, what was not confirmed is sent
again, and both under the same ids.
"""

from __future__ import annotations

import fcntl
import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from origin.errors import ConfigError, EventLogError, OriginError
from origin.eventlog import Consumer, EventLog, LogRecord
from origin.metrics import Metrics
from origin.notify.endpoints import Endpoint, EndpointFile
from origin.notify.messages import messages
from origin.notify.outbox import Delivery, OffsetFile, Outbox, OutboxError
from origin.notify.sender import Outcome, send
from shared_state import DeltaId, Match, Replica

__all__ = ["Change", "LogWorker", "NotifyWorker", "pause_s"]

logger = logging.getLogger(__name__)

#: Matches that are kept folded; one that is not is read from the log again.
MATCHES_MAX: Final = 500
#: The pause after the first failure; it doubles with each, up to the longest. Seconds.
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 900.0
#: How often the file of endpoints, and the outbox for what the command line redrives, are looked at.
LOOK_S: Final = 0.5
_ERROR_PAUSE_S: Final = 1.0
#: The clock that dates the log's records may be behind this machine's by so much, milliseconds. A new
#: endpoint gets what the log took in this time before.
CLOCKS_MS: Final = 10_000

Send = Callable[[Endpoint, str, bytes, float], Outcome]


def pause_s(attempts: int, retry_after_s: float | None, chance: Callable[[], float] = random.random) -> float:
    """How long to wait before the next attempt, seconds.

    Args:
        attempts: how many have failed, this one included.
        retry_after_s: what the receiver asked for; None: nothing.
        chance: from 0 to 1. Without it a receiver that comes back would be met by everybody at once.
    """
    doubled_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 20))
    drawn_s = doubled_s * (0.5 + chance() / 2)
    return max(drawn_s, retry_after_s or 0.0)


class Change(NamedTuple):
    """What one record of the log changed.

    Attributes:
        before: the match at the delta before.
        after: the match at this one.
        record: the record.
        id: the delta's id.
    """

    before: Match
    after: Match
    record: LogRecord
    id: DeltaId


class LogWorker(ABC):
    """Reads the log into a queue on disk; the queue and the offsets are in one file and one transaction.

    Args:
        log: the event log.
        group: the consumer group; one for all workers of one file.
        path: the file of the queue; no other worker may use it.

    Raises:
        ConfigError: another worker uses the file.
    """

    #: What it sends, in log messages.
    _sends = "webhooks"

    def __init__(self, log: EventLog, group: str, path: Path) -> None:
        self._log = log
        self._group = group
        path.parent.mkdir(parents=True, exist_ok=True)
        self._own = path.with_name(path.name + ".lock").open("a")
        try:
            fcntl.flock(self._own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._own.close()
            raise ConfigError(f"another worker uses the outbox {str(path)!r}") from None
        self._stopping = threading.Event()
        self._more = threading.Condition()
        self._folded: OrderedDict[str, Replica] = OrderedDict()

    @property
    @abstractmethod
    def _file(self) -> OffsetFile:
        """The queue and the offsets."""

    @abstractmethod
    def _look(self) -> None:
        """Look at who there is to send to, and have threads that send."""

    @abstractmethod
    def _oldest_ms(self, match_id: str) -> int | None:
        """Somebody may want what the log took of a match from then on, UTC milliseconds; None: nobody."""

    @abstractmethod
    def _keep(self, changes: Sequence[Change], offsets: Mapping[int, int]) -> None:
        """Put what is to be sent and the offsets into the file, in one transaction.

        Raises:
            OutboxError: nothing was kept; the records are read again.
        """

    @abstractmethod
    def _join(self) -> None:
        """Wait for the threads that send. They end once ``_stopping`` is set."""

    def run(self) -> None:
        """Work until ``stop``."""
        consumer = self._log.consumer(self._group)
        try:
            generation = consumer.generation
            offsets = self._file.offsets()
            while not self._stopping.is_set():
                try:
                    self._look()
                    records = consumer.poll(LOOK_S)
                    if consumer.generation != generation:
                        # Another reader may have had these matches meanwhile.
                        generation = consumer.generation
                        self._folded.clear()
                    if records:
                        self._take(consumer, records, offsets)
                except (EventLogError, OutboxError) as error:
                    # Nothing was committed: the records are read again from where the outbox stands.
                    logger.warning("%s wait: %s", self._sends, error)
                    self._stopping.wait(_ERROR_PAUSE_S)
                    self._folded.clear()
                    consumer.close()
                    consumer = self._log.consumer(self._group)
                    generation = consumer.generation
        finally:
            self.stop()
            consumer.close()
            self._join()
            self._file.close()
            self._own.close()

    def stop(self) -> None:
        """Ask ``run`` to return; attempts that are under way end first."""
        self._stopping.set()
        with self._more:
            self._more.notify_all()

    def _take(self, consumer: Consumer, records: Sequence[LogRecord], offsets: dict[int, int]) -> None:
        """Have what records changed put into the file, and commit."""
        changes: list[Change] = []
        read: dict[int, int] = {}
        for record in records:
            read[record.partition] = max(record.offset, read.get(record.partition, -1))
            if record.offset <= offsets.get(record.partition, -1):
                continue
            oldest_ms = self._oldest_ms(record.event.match_id)
            is_old = oldest_ms is None or record.appended_ms < oldest_ms
            if is_old and record.event.match_id not in self._folded:
                # Nobody gets it, and the match is read from the log once somebody gets something of it.
                continue
            replica = self._replica(record)
            before = replica.match
            delta = replica.assign(record.event, record.appended_ms)
            if delta is not None and not is_old:
                changes.append(Change(before, replica.match, record, delta.id))
        self._keep(changes, read)
        offsets.update(read)
        consumer.commit([max(
            (record for record in records if record.partition == partition), key=lambda one: one.offset
        ) for partition in read])  # fmt: skip
        if changes:
            with self._more:
                self._more.notify_all()

    def _replica(self, record: LogRecord) -> Replica:
        """The match as it was before a record."""
        match_id = record.event.match_id
        replica = self._folded.pop(match_id, None)
        if replica is None:
            for earlier in self._log.read_match(match_id):
                if earlier.offset >= record.offset:
                    break
                if replica is None:
                    replica = Replica.begin(match_id, earlier.appended_ms)
                replica.assign(earlier.event, earlier.appended_ms)
            if replica is None:
                replica = Replica.begin(match_id, record.appended_ms)
        self._folded[match_id] = replica
        while len(self._folded) > MATCHES_MAX:
            self._folded.popitem(last=False)
        return replica


class NotifyWorker(LogWorker):
    """Reads the log, and sends.

    Args:
        log: the event log.
        group: the consumer group; one for all workers of one outbox.
        outbox_path: the file of the outbox; no other worker may use it.
        endpoint_file: who gets what.
        metrics: counts deliveries.
        public_url: the site's address, for links; empty: none.
        give_up_s: after so many seconds a delivery is given up.
        send_once: makes one attempt.

    Raises:
        ConfigError: another worker uses the outbox.
        OutboxError: it cannot be opened.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        group: str,
        outbox_path: Path,
        endpoint_file: EndpointFile,
        metrics: Metrics,
        public_url: str = "",
        give_up_s: float = 86_400.0,
        send_once: Send = send,
    ) -> None:
        super().__init__(log, group, outbox_path)
        self._endpoint_file = endpoint_file
        self._metrics = metrics
        self._public_url = public_url
        self._give_up_s = give_up_s
        self._send_once = send_once
        self.outbox = Outbox(outbox_path)
        self._since: dict[str, int] = {}
        self._senders: dict[str, threading.Thread] = {}

    @property
    def _file(self) -> OffsetFile:
        return self.outbox

    def _join(self) -> None:
        for thread in self._senders.values():
            thread.join(timeout=15)

    def _look(self) -> None:
        """Know since when endpoints are there, and have a thread for each."""
        endpoints = self._endpoint_file.current()
        self._since = self.outbox.since(endpoints, time.time_ns() // 1_000_000 - CLOCKS_MS)
        for name in endpoints:
            thread = self._senders.get(name)
            if thread is None or not thread.is_alive():
                thread = threading.Thread(
                    target=self._send_all, args=(name,), name=f"webhook-{name}", daemon=True
                )
                self._senders[name] = thread
                thread.start()

    def _oldest_ms(self, match_id: str) -> int | None:
        del match_id  # an endpoint may want any
        return min((self._since.get(name, 0) for name in self._endpoint_file.current()), default=None)

    def _keep(self, changes: Sequence[Change], offsets: Mapping[int, int]) -> None:
        endpoints = list(self._endpoint_file.current().values())
        made: list[tuple[str, str, str, str, bytes, int]] = []
        for before, after, record, id_ in changes:
            for message in messages(before, after, record.event, id_, record.appended_ms, self._public_url):
                made += [
                    (
                        one.name, message.id, message.match_id, message.kind, message.body,
                        message.accepted_ms + int(one.delay_s * 1_000),
                    )
                    for one in endpoints
                    if one.wants(message.kind, message.match_id, message.competition)
                    and record.appended_ms >= self._since.get(one.name, 0)
                ]  # fmt: skip
        overflowed = self.outbox.add(made, offsets, time.time_ns() // 1_000_000)
        for name, count in overflowed.items():
            if count:
                self._metrics.webhook_deliveries.labels(name, "overflowed").inc(count)
                logger.error("%d webhooks did not fit into the queue of %s", count, name)

    def _send_all(self, name: str) -> None:
        """The thread of one endpoint: sends what is due, until it is no endpoint any more."""
        while not self._stopping.is_set():
            try:
                endpoint = self._endpoint_file.current().get(name)
                if endpoint is None:
                    return  # what waits stays in the outbox, for when it comes back
                now_ms = time.time_ns() // 1_000_000
                delivery = self.outbox.next_due(name, now_ms)
                waiting, oldest_ms = self.outbox.pending(name)
                self._metrics.webhook_pending.labels(name).set(waiting)
                age_s = 0.0 if oldest_ms is None else max(0.0, (now_ms - oldest_ms) / 1_000)
                self._metrics.webhook_oldest.labels(name).set(age_s)
                if delivery is not None:
                    self._try(endpoint, delivery)
                    continue
            except OriginError as error:
                logger.warning("webhooks to %s wait: %s", name, error)
            with self._more:
                if not self._stopping.is_set():
                    self._more.wait(LOOK_S)

    def _try(self, endpoint: Endpoint, delivery: Delivery) -> None:
        outcome = self._send_once(endpoint, delivery.webhook_id, delivery.body, time.time())
        now_ms = time.time_ns() // 1_000_000
        count = self._metrics.webhook_deliveries
        if outcome.delivered:
            self._record(lambda: self.outbox.delivered(delivery))
            count.labels(endpoint.name, "delivered").inc()
            return
        wait_s = pause_s(delivery.attempts + 1, outcome.retry_after_s)
        if outcome.is_final or now_ms + wait_s * 1_000 - delivery.made_ms > self._give_up_s * 1_000:
            self._record(lambda: self.outbox.give_up(delivery, now_ms, outcome.reason))
            count.labels(endpoint.name, "given_up").inc()
            logger.error(
                "webhook %s to %s was given up after %d attempts: %s",
                delivery.webhook_id, endpoint.name, delivery.attempts + 1, outcome.reason,
            )  # fmt: skip
            return
        self._record(lambda: self.outbox.retry(delivery, now_ms + int(wait_s * 1_000), outcome.reason))
        count.labels(endpoint.name, "failed").inc()
        logger.info(
            "webhook %s to %s: %s; again in %.0f s",
            delivery.webhook_id,
            endpoint.name,
            outcome.reason,
            wait_s,
        )

    def _record(self, write: Callable[[], None]) -> None:
        """Write down how an attempt ended, however long that takes.

        Until it is written nothing more goes to this endpoint: while the disk is full a receiver would
        otherwise get the same message twice a second.
        """
        while True:
            try:
                write()
                return
            except OutboxError as error:
                logger.warning("webhooks wait: %s", error)
                if self._stopping.wait(_ERROR_PAUSE_S):
                    return
