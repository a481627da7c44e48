"""The log on Apache Kafka, by librdkafka.

``kafka://host:port,host:port/topic?partitions=20&replication=3&timeout_s=10``; a setting with a dot in
its name goes to librdkafka as it is, for example ``security.protocol=SASL_SSL``.

What is chosen, and why:

* The key is the match id, hashed as Java's client does it, so that a match is in one partition whoever
  writes. Partitions are never added to a topic in use: a match would be in two.
* ``acks=all`` and an idempotent producer: an acknowledged event is on every in-sync replica, in the order
  given, once. With fewer than three replicas the topic is flushed to the disk at each message.
* ``append`` is all or nothing in what it says, not in what is stored: when it raises, a part of the batch
  may be in the log. The sender repeats the batch, and the fold takes the second of two equal events for
  what it is. Kafka's transactions would forbid it, at the price of one batch at a time.
* A batch's key travels as a header, and this process remembers the last ``RECENT_KEYS_MAX``. A repetition
  that comes to another process, or after a restart, is appended again: as harmless, for the same reason.
* ``LogAppendTime``: the time of a record, hence a match's epoch, is the broker's, one for all readers,
  and not that of the sender's clock.
* Nothing expires (``retention.ms=-1``) and nothing is compacted. Compaction would keep one event a match;
  expiry would take the goals of a match whose award comes months later, and what is left would fold to a
  wrong score. A match is about 300 events of 350 bytes: ten thousand matches a year are 1 GB a replica.
* What is not an event goes to ``<topic>.dlq``, compacted, keyed by place (``kafka_dead_letters``).

librdkafka has threads: open the log after forking, never before.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from origin.errors import EventLogError
from origin.eventlog import Appended, LogRecord
from origin.eventlog.codec import decode_event, encode_event
from origin.eventlog.deadletter import DeadLetter
from origin.eventlog.kafka_dead_letters import KafkaDeadLetters
from origin.eventlog.kafka_reader import KafkaReader, consumer_config, take
from origin.eventlog.kafka_sender import KafkaSender
from origin.eventlog.kafka_topic import KafkaSettings, partition_of, prepare_topics
from origin.eventlog.memory import wall_clock_ms
from shared_state import Event

__all__ = ["KafkaConsumer", "KafkaEventLog", "open_url"]

logger = logging.getLogger(__name__)

# A vendor repeats a webhook within seconds to minutes; at ten a second this is close to three hours.
RECENT_KEYS_MAX = 100_000
# A commit in the middle of a rebalance is refused; a moment later it is known whose the partitions are.
IN_REBALANCE = {KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS, KafkaError.UNKNOWN_MEMBER_ID}
REBALANCE_POLL_S = 0.05
COMMIT_POLL_S = 0.002  # how often the answer to a commit is looked for; it takes a broker a few of these


class KafkaEventLog:
    """See ``origin.eventlog.EventLog``.

    Raises:
        ConfigError: the topic is not one that can be a log.
        EventLogError: no broker answers.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.partitions = prepare_topics(settings)
        self.reader = KafkaReader(settings)
        self._dead_letters = KafkaDeadLetters(self)
        self._lock = threading.Lock()
        self._sender: KafkaSender | None = None
        self._recent_keys: OrderedDict[str, int] = OrderedDict()

    def append(self, events: Sequence[Event], key: str | None = None) -> Appended:
        """See ``EventLog.append``; the module's docstring tells what Kafka cannot promise."""
        if key is not None:
            with self._lock:
                if key in self._recent_keys:
                    return Appended(False, self._recent_keys[key])
        if events:
            self.send(
                self.settings.topic,
                [
                    (partition_of(event.match_id, self.partitions), event.match_id, encode_event(event))
                    for event in events
                ],
                None if key is None else [("webhook-id", key.encode("utf-8"))],
            )
        if key is not None:
            with self._lock:
                self._recent_keys[key] = len(events)
                if len(self._recent_keys) > RECENT_KEYS_MAX:
                    self._recent_keys.popitem(last=False)
        return Appended(True, len(events))

    def consumer(self, group: str | None) -> KafkaConsumer:
        """See ``EventLog.consumer``."""
        return KafkaConsumer(self, group)

    def read_match(self, match_id: str) -> Iterator[LogRecord]:
        """See ``EventLog.read_match``; ``kafka_reader`` tells what it costs."""
        partition = partition_of(match_id, self.partitions)
        for message in self.reader.keyed(self.settings.topic, partition, match_id.encode("utf-8")):
            record = self.read(message)
            if not isinstance(record, DeadLetter):  # the consumers of groups set it aside
                yield record

    def dead_letters(self) -> KafkaDeadLetters:
        """See ``EventLog.dead_letters``."""
        return self._dead_letters

    def close(self) -> None:
        """See ``EventLog.close``."""
        with self._lock:
            sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()
        self.reader.close()

    def send(
        self,
        topic: str,
        messages: Sequence[tuple[int, str, bytes | None]],
        headers: list[tuple[str, str | bytes | None]] | None = None,
    ) -> None:
        """Store (partition, key, value) in a topic.

        Raises:
            EventLogError: some may not be stored.
        """
        with self._lock:
            # Made at the first append: a process that only reads has no producer.
            sender = self._sender = self._sender or KafkaSender(self.settings)
        try:
            sender.send(topic, messages, headers)
        except KafkaException as error:
            if error.args[0].fatal():
                # An idempotent producer that lost count can never send again; its successor starts anew.
                with self._lock:
                    if self._sender is sender:
                        self._sender = None
                sender.close()
            raise EventLogError(f"Kafka did not take {len(messages)} records: {error}") from error

    def read(self, message: Message) -> LogRecord | DeadLetter:
        """A record of the log, or why it is none."""
        partition, offset, appended_ms = _place(message)
        payload = message.value() or b""
        try:
            event = decode_event(payload)
        except ValueError as error:
            return DeadLetter(partition, offset, wall_clock_ms(), str(error), payload)
        # A match that is found under another key, or in another partition, would be folded by two
        # workers who both number its deltas: worse than a missing event that somebody is told about.
        if message.key() != event.match_id.encode("utf-8"):
            reason = f"the key is {message.key()!r}, not the match id {event.match_id!r}"
            return DeadLetter(partition, offset, wall_clock_ms(), reason, payload)
        if partition != partition_of(event.match_id, self.partitions):
            reason = f"match {event.match_id!r} is not of partition {partition}: no murmur2 of its id"
            return DeadLetter(partition, offset, wall_clock_ms(), reason, payload)
        return LogRecord(partition, offset, appended_ms, event)


class KafkaConsumer:
    """See ``origin.eventlog.Consumer``. For one thread.

    Offsets are committed when the caller says so and never on the way out: a partition that changes hands
    starts in its new hands after the last ``commit``, so what was polled and not committed comes again.
    """

    def __init__(self, log: KafkaEventLog, group: str | None) -> None:
        self._log = log
        self._group = group
        self._pending: deque[Message] = deque()
        self._assigned: set[int] = set()
        # Without a group: partitions whose end has not been seen.
        self._behind: set[int | None] = set()
        self._generation = 0
        # By partition: the offset after the last record handed out, and the one last committed.
        self._handed: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        # Offsets set aside and not yet committed past.
        self._set_aside: dict[int, set[int]] = {}
        self._commit_answers: deque[tuple[KafkaError | None, list[TopicPartition]]] = deque()
        self._consumer = Consumer(
            {
                **consumer_config(log.settings, group),
                "on_commit": lambda error, places: self._commit_answers.append((error, places)),
            },
            logger=logger,
        )
        topic = log.settings.topic
        if group is None:
            self._assigned.update(range(log.partitions))
            self._behind.update(self._assigned)
            self._consumer.assign(
                [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in self._assigned]
            )
        else:
            self._consumer.subscribe(
                [topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
            )

    @property
    def generation(self) -> int:
        """See ``Consumer.generation``."""
        return self._generation

    def poll(self, timeout_s: float, limit: int = 500) -> list[LogRecord]:
        """See ``Consumer.poll``. While no broker answers there is nothing next: an empty list.

        To a reader without a group an empty list means that it has reached the end, so it is not given
        while Kafka is still to be heard of.

        Raises:
            EventLogError: Kafka refuses, or a record cannot be set aside; polling again is safe.
        """
        if limit == 0:
            self._stay()
            return []
        records = self._poll(timeout_s, limit)
        deadline = time.monotonic() + self._log.settings.timeout_s
        while self._behind and not records:
            if time.monotonic() > deadline:
                raise EventLogError(f"Kafka topic {self._log.settings.topic!r} cannot be read: no answer")
            records = self._poll(0.1, limit)
        return records

    def _poll(self, timeout_s: float, limit: int) -> list[LogRecord]:
        if not self._pending:
            # In two steps: a rebalance that is told of meanwhile puts another deque in the place of this one.
            taken = take(self._consumer, timeout_s, limit)
            self._pending.extend(taken)
        records: list[LogRecord] = []
        while self._pending and len(records) < limit:
            message = self._pending[0]
            error = message.error()
            if error is not None:
                if records:
                    break  # these are good, and the error will still be the first of the next poll
                self._pending.popleft()
                self._on_error(error, message.partition())
                continue
            read = self._log.read(message)
            if isinstance(read, DeadLetter):
                self._log.dead_letters().add(read)  # before it is passed: if this raises, it is still there
                logger.warning("record %s is set aside: %s", read.id, read.reason)
                self._set_aside.setdefault(read.partition, set()).add(read.offset)
            else:
                records.append(read)
                self._handed[read.partition] = read.offset + 1
            self._pending.popleft()
        self._pass_set_aside()
        return records

    def commit(self, records: Sequence[LogRecord]) -> None:
        """See ``Consumer.commit``. Records of a partition that has changed hands are left to those hands.

        Raises:
            EventLogError: they will come again, here or elsewhere.
        """
        offsets: dict[int, int] = {}
        for record in records:
            offsets[record.partition] = max(record.offset + 1, offsets.get(record.partition, 0))
        self._commit(offsets)

    def close(self) -> None:
        """See ``Consumer.close``. A broker that does not answer finds out by itself that this one is gone."""
        # librdkafka waits for the answer to the last commit for ever; the thread that waits with it keeps
        # the consumer, whose end would wait as well.
        leaving = threading.Thread(target=self._consumer.close, name="kafka-leave", daemon=True)
        leaving.start()
        leaving.join(self._log.settings.timeout_s)
        if leaving.is_alive():
            logger.warning(
                "group %r was left without a word to the broker, which does not answer", self._group
            )

    def _commit(self, offsets: dict[int, int]) -> None:
        """Commit the offset of the next record by partition, past what was set aside, never back."""
        for partition, offset in offsets.items():
            set_aside = self._set_aside.get(partition, set())
            while offset in set_aside:
                offset += 1
            offsets[partition] = offset
        if self._group is None:
            return
        deadline = time.monotonic() + self._log.settings.timeout_s
        while places := [
            TopicPartition(self._log.settings.topic, partition, offset)
            for partition, offset in offsets.items()
            if partition in self._assigned and offset > self._committed.get(partition, -1)
        ]:
            try:
                self._commit_and_wait(places, deadline)
            except KafkaException as error:
                if error.args[0].code() in IN_REBALANCE and time.monotonic() < deadline:
                    self._serve(REBALANCE_POLL_S)
                    continue  # with the partitions that are still this consumer's
                raise EventLogError(f"Kafka did not take the commit of {self._group!r}: {error}") from error
            for place in places:
                self._committed[place.partition] = place.offset
                set_aside = self._set_aside.get(place.partition, set())
                self._set_aside[place.partition] = {left for left in set_aside if left >= place.offset}

    def _commit_and_wait(self, places: list[TopicPartition], deadline: float) -> None:
        """Commit within the timeout; librdkafka's own synchronous commit waits for a broker for ever.

        The answer comes out of ``poll``, with whatever else is next: that is kept for later.
        """
        wanted = {(place.partition, place.offset) for place in places}
        self._commit_answers.clear()
        self._consumer.commit(offsets=places, asynchronous=True)
        while time.monotonic() < deadline:
            self._serve(COMMIT_POLL_S)
            while self._commit_answers:
                error, answered = self._commit_answers.popleft()
                if {(place.partition, place.offset) for place in answered} != wanted:
                    continue  # of a commit that was given up
                for failed in (error, *(place.error for place in answered)):
                    if failed is not None:
                        raise KafkaException(failed)
                return
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def _stay(self) -> None:
        """Answer the group and take no more: paused, a consumer still is told of rebalances."""
        places = self._consumer.assignment()
        self._consumer.pause(places)
        try:
            self._serve(0.0)
        finally:
            self._consumer.resume([place for place in places if place.partition in self._assigned])

    def _serve(self, timeout_s: float) -> None:
        """Let librdkafka tell of answers and rebalances, and keep what it has to give."""
        message = self._consumer.poll(timeout_s)
        if message is not None:
            self._pending.append(message)

    def _pass_set_aside(self) -> None:
        """Commit past letters with no uncommitted record before them: no later ``commit`` need ever come."""
        offsets = {
            partition: max(set_aside) + 1
            for partition, set_aside in self._set_aside.items()
            if set_aside and self._handed.get(partition, 0) <= self._committed.get(partition, 0)
        }
        try:
            self._commit(offsets)
        except EventLogError as error:
            logger.warning("%s; the letters will be set aside once more", error)

    def _on_error(self, error: KafkaError, partition: int | None) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            self._behind.discard(partition)
        elif error.code() == KafkaError._MAX_POLL_EXCEEDED:
            # Out of the group for having been away too long; the next poll joins again.
            logger.warning("group %r was left: %s", self._group, error)
        else:
            raise EventLogError(f"Kafka topic {self._log.settings.topic!r} cannot be read: {error}")

    def _on_assign(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        del consumer
        self._generation += 1
        self._assigned.update(place.partition for place in places)

    def _on_revoke(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        del consumer
        self._generation += 1
        gone = {place.partition for place in places}
        self._assigned -= gone
        for partition in gone:
            for known in (self._handed, self._committed, self._set_aside):
                known.pop(partition, None)
        # Their new hands read them from the last commit on; here they would come twice at best.
        self._pending = deque(message for message in self._pending if message.partition() not in gone)


def _place(message: Message) -> tuple[int, int, int]:
    """Partition, offset and time; a message that is no error has them."""
    return message.partition() or 0, message.offset() or 0, message.timestamp()[1]


def open_url(url: str) -> KafkaEventLog:
    """Open ``kafka://host:port,host:port/topic``.

    Raises:
        ConfigError: a setting that cannot be used.
        EventLogError: no broker answers.
    """
    return KafkaEventLog(KafkaSettings.from_url(url))
