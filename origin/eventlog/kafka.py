"""The log on Apache Kafka, through librdkafka.

``kafka://host:port,host:port/topic?partitions=20&replication=3&timeout_s=10``; a setting with a dot in
its name goes to librdkafka as it is, for example ``security.protocol=SASL_SSL``.

The choices and their reasons:

* The key is the match id, hashed as Java's client does it, so that every writer puts a match into the same
  partition. Partitions are never added to a topic in use: a match would then be in two.
* ``acks=all`` and an idempotent producer: an acknowledged event is on every in-sync replica, in the order
  given, once. With fewer than three replicas the topic is flushed to the disk at each message.
* ``append`` acknowledges all or nothing, but does not store all or nothing: when it raises, a part of the
  batch may be in the log. The sender repeats the batch, and the second of two equal events changes nothing
  when it is folded. Kafka's transactions would avoid that, at the price of one batch at a time.
* A batch's key is stored as a header, and this process remembers the last ``RECENT_KEYS_MAX`` keys. A
  repetition that comes to another process, or after a restart, is appended again, which is as harmless.
* ``LogAppendTime``: the time of a record, and so a match's epoch, is that of the broker's clock, one for all
  readers, and not that of the sender's.
* Nothing expires (``retention.ms=-1``) and nothing is compacted. Compaction would keep one event per match;
  expiry would remove the goals of a match whose award comes months later, and the rest would fold to a
  wrong score. A match has about 300 events of 350 bytes: ten thousand matches a year take 1 GB per replica.
* A record that is not an event is copied to ``<topic>.dlq``, a compacted topic whose key is the record's
  partition and offset (``kafka_dead_letters``).

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
from origin.eventlog import Appended, LogRecord, MatchSize, Position, SignedBy
from origin.eventlog.codec import decode_event, encode_event, signed_by_of
from origin.eventlog.deadletter import DeadLetter
from origin.eventlog.kafka_dead_letters import KafkaDeadLetters
from origin.eventlog.kafka_reader import KafkaReader, consumer_config, take
from origin.eventlog.kafka_sender import KafkaSender
from origin.eventlog.kafka_topic import KafkaSettings, partition_of, prepare_topics
from origin.eventlog.limits import SIZES_MAX
from origin.eventlog.memory import wall_clock_ms
from shared_state import Event

__all__ = ["KafkaConsumer", "KafkaEventLog", "open_url"]

logger = logging.getLogger(__name__)

# A vendor repeats a webhook within seconds to minutes; at ten a second these cover close to three hours.
RECENT_KEYS_MAX = 100_000
# The key of a batch, and who signed it. The first is older, and named after the only keys that there were.
BATCH_KEY_HEADER = "webhook-id"
KEY_NAME_HEADER = "signed-by"
SIGNED_ID_HEADER = "signed-webhook-id"
TRACE_HEADER = "traceparent"  # as other programs name it, too
# Kafka refuses a commit during a rebalance; a moment later the new assignment is known.
IN_REBALANCE = {KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS, KafkaError.UNKNOWN_MEMBER_ID}
REBALANCE_POLL_S = 0.05
COMMIT_POLL_S = 0.002  # the pause between two polls for the answer to a commit; a broker takes a few


class KafkaEventLog:
    """See ``origin.eventlog.EventLog``.

    Raises:
        ConfigError: the topic's settings would break what a log promises.
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
        self._sizes: OrderedDict[str, MatchSize] = OrderedDict()

    def append(
        self,
        events: Sequence[Event],
        key: str | None = None,
        signed_by: SignedBy | None = None,
        traceparent: str | None = None,
    ) -> Appended:
        """See ``EventLog.append``; the module's docstring says what Kafka cannot promise."""
        if key is not None:
            with self._lock:
                if key in self._recent_keys:
                    return Appended(False, self._recent_keys[key])
        if events:
            messages = [
                (partition_of(event.match_id, self.partitions), event.match_id, encode_event(event))
                for event in events
            ]
            self.send(
                self.settings.topic,
                messages,
                _headers(key, signed_by, traceparent),
            )
            self._count(messages)
        if key is not None:
            with self._lock:
                self._recent_keys[key] = len(events)
                if len(self._recent_keys) > RECENT_KEYS_MAX:
                    self._recent_keys.popitem(last=False)
        return Appended(True, len(events))

    def count_under(self, key: str) -> int | None:
        """See ``EventLog.count_under``."""
        with self._lock:
            return self._recent_keys.get(key)

    def consumer(self, group: str | None) -> KafkaConsumer:
        """See ``EventLog.consumer``."""
        return KafkaConsumer(self, group)

    def read_match(self, match_id: str, after: int = -1) -> Iterator[LogRecord]:
        """See ``EventLog.read_match``; ``kafka_reader`` says what it costs."""
        partition = partition_of(match_id, self.partitions)
        for message in self.reader.keyed(self.settings.topic, partition, match_id.encode("utf-8"), after + 1):
            record = self.read(message)
            if not isinstance(record, DeadLetter):  # the consumers of groups dead-letter it
                yield record

    def size_of(self, match_id: str) -> MatchSize:
        """See ``EventLog.size_of``. A topic has no index by match, and reading a partition takes seconds."""
        with self._lock:
            return self._sizes.get(match_id, MatchSize(0, 0))

    def _count(self, messages: Sequence[tuple[int, str, bytes]]) -> None:
        with self._lock:
            for _, match_id, event in messages:
                known = self._sizes.pop(match_id, MatchSize(0, 0))
                self._sizes[match_id] = MatchSize(known.events + 1, known.bytes + len(event))
            while len(self._sizes) > SIZES_MAX:
                self._sizes.popitem(last=False)

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
        """Store (partition, key, value) triples in a topic.

        Raises:
            EventLogError: some may not be stored.
        """
        with self._lock:
            # Made at the first append: a process that only reads needs no producer.
            sender = self._sender = self._sender or KafkaSender(self.settings)
        try:
            sender.send(topic, messages, headers)
        except KafkaException as error:
            if error.args[0].fatal():
                # An idempotent producer that lost its sequence number can never send again; make a new one.
                with self._lock:
                    if self._sender is sender:
                        self._sender = None
                sender.close()
            raise EventLogError(f"Kafka did not take {len(messages)} records: {error}") from error

    def read(self, message: Message) -> LogRecord | DeadLetter:
        """Decode a message: the record, or the dead letter of one that is not a valid event of this log."""
        partition, offset, appended_ms = _position(message)
        payload = message.value() or b""
        try:
            event = decode_event(payload)
        except ValueError as error:
            return DeadLetter(partition, offset, wall_clock_ms(), str(error), payload)
        # A match under another key, or in another partition, would be folded by two workers that both
        # assign ids to its deltas. That is worse than a missing event, which the dead letter shows.
        if message.key() != event.match_id.encode("utf-8"):
            reason = f"the key is {message.key()!r}, not the match id {event.match_id!r}"
            return DeadLetter(partition, offset, wall_clock_ms(), reason, payload)
        if partition != partition_of(event.match_id, self.partitions):
            reason = f"match {event.match_id!r} is not of partition {partition}: no murmur2 of its id"
            return DeadLetter(partition, offset, wall_clock_ms(), reason, payload)
        texts = _texts(message)
        signed_by = signed_by_of(texts.get(KEY_NAME_HEADER), texts.get(SIGNED_ID_HEADER))
        return LogRecord(partition, offset, appended_ms, event, signed_by, texts.get(TRACE_HEADER))


class KafkaConsumer:
    """See ``origin.eventlog.Consumer``. For one thread.

    Offsets are committed by ``commit`` only, never by ``close``: the next reader of a partition starts after
    the last ``commit``, so records that were polled and not committed are read again.
    """

    def __init__(self, log: KafkaEventLog, group: str | None) -> None:
        self._log = log
        self._group = group
        self._pending: deque[Message] = deque()
        self._assigned: set[int] = set()
        # Without a group: partitions whose end has not been seen.
        self._behind: set[int | None] = set()
        self._generation = 0
        # By partition: the offset after the last record that ``poll`` returned, and the one last committed.
        self._returned: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        # By partition: offsets of dead-lettered records that no commit has passed yet.
        self._dead_lettered: dict[int, set[int]] = {}
        self._commit_answers: deque[tuple[KafkaError | None, list[TopicPartition]]] = deque()
        self._consumer = Consumer(
            {
                **consumer_config(log.settings, group),
                "on_commit": lambda error, offsets: self._commit_answers.append((error, offsets)),
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
        """See ``Consumer.poll``. With a group, it returns an empty list while no broker answers.

        To a reader without a group an empty list means the end of the log, so it returns one only after
        Kafka has reported the end of every partition.

        Raises:
            EventLogError: Kafka refuses, or a record cannot be dead-lettered; polling again is safe.
        """
        if limit == 0:
            self._keep_assignment()
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
            # In two steps: a rebalance during the call replaces this deque with another one.
            taken = take(self._consumer, timeout_s, limit)
            self._pending.extend(taken)
        records: list[LogRecord] = []
        while self._pending and len(records) < limit:
            message = self._pending[0]
            error = message.error()
            if error is not None:
                if records:
                    break  # return these; the error is the first message of the next poll
                self._pending.popleft()
                self._on_error(error, message.partition())
                continue
            read = self._log.read(message)
            if isinstance(read, DeadLetter):
                self._log.dead_letters().add(read)  # before the record is dropped: if this raises, it stays
                logger.warning("record %s is dead-lettered: %s", read.id, read.reason)
                self._dead_lettered.setdefault(read.partition, set()).add(read.offset)
            else:
                records.append(read)
                self._returned[read.partition] = read.offset + 1
            self._pending.popleft()
        self._commit_dead_lettered()
        return records

    def commit(self, records: Sequence[Position]) -> None:
        """See ``Consumer.commit``. Skips records of partitions that another reader has by now.

        Raises:
            EventLogError: they will be read again, here or by another reader.
        """
        offsets: dict[int, int] = {}
        for record in records:
            offsets[record.partition] = max(record.offset + 1, offsets.get(record.partition, 0))
        self._commit(offsets)

    def close(self) -> None:
        """See ``Consumer.close``. A broker that does not answer now will find that the session timed out."""
        # librdkafka waits forever for the answer to the last commit. So a thread closes the consumer, and
        # keeps it referenced: its destructor would wait as well.
        leaving = threading.Thread(target=self._consumer.close, name="kafka-leave", daemon=True)
        leaving.start()
        leaving.join(self._log.settings.timeout_s)
        if leaving.is_alive():
            logger.warning("could not leave group %r: the broker does not answer", self._group)

    def _commit(self, offsets: dict[int, int]) -> None:
        """Commit the offset of the next record by partition, past dead-lettered records, never back."""
        for partition, offset in offsets.items():
            dead_lettered = self._dead_lettered.get(partition, set())
            while offset in dead_lettered:
                offset += 1
            offsets[partition] = offset
        if self._group is None:
            return
        deadline = time.monotonic() + self._log.settings.timeout_s
        while wanted := [
            TopicPartition(self._log.settings.topic, partition, offset)
            for partition, offset in offsets.items()
            if partition in self._assigned and offset > self._committed.get(partition, -1)
        ]:
            try:
                self._commit_and_wait(wanted, deadline)
            except KafkaException as error:
                if error.args[0].code() in IN_REBALANCE and time.monotonic() < deadline:
                    self._serve(REBALANCE_POLL_S)
                    continue  # with the partitions that are still this consumer's
                raise EventLogError(f"Kafka did not take the commit of {self._group!r}: {error}") from error
            for item in wanted:
                self._committed[item.partition] = item.offset
                dead_lettered = self._dead_lettered.get(item.partition, set())
                self._dead_lettered[item.partition] = {left for left in dead_lettered if left >= item.offset}

    def _commit_and_wait(self, offsets: list[TopicPartition], deadline: float) -> None:
        """Commit within the timeout; librdkafka's own synchronous commit waits for a broker forever.

        The answer arrives during ``poll``, which may return a message as well: that is kept for later.
        """
        wanted = {(item.partition, item.offset) for item in offsets}
        self._commit_answers.clear()
        self._consumer.commit(offsets=offsets, asynchronous=True)
        while time.monotonic() < deadline:
            self._serve(COMMIT_POLL_S)
            while self._commit_answers:
                error, answered = self._commit_answers.popleft()
                if {(item.partition, item.offset) for item in answered} != wanted:
                    continue  # the late answer to a commit that timed out
                for failed in (error, *(item.error for item in answered)):
                    if failed is not None:
                        raise KafkaException(failed)
                return
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def _keep_assignment(self) -> None:
        """Stay in the group without reading on: a paused consumer still takes part in rebalances."""
        assignment = self._consumer.assignment()
        self._consumer.pause(assignment)
        try:
            self._serve(0.0)
        finally:
            self._consumer.resume([item for item in assignment if item.partition in self._assigned])

    def _serve(self, timeout_s: float) -> None:
        """Let librdkafka deliver answers and rebalances; keep the message that it may return."""
        message = self._consumer.poll(timeout_s)
        if message is not None:
            self._pending.append(message)

    def _commit_dead_lettered(self) -> None:
        """Commit past dead-lettered records with no uncommitted record before them.

        If no good record follows, the caller has nothing to commit, and they would be read again.
        """
        offsets = {
            partition: max(dead_lettered) + 1
            for partition, dead_lettered in self._dead_lettered.items()
            if dead_lettered and self._returned.get(partition, 0) <= self._committed.get(partition, 0)
        }
        try:
            self._commit(offsets)
        except EventLogError as error:
            logger.warning("%s; these records will be dead-lettered once more", error)

    def _on_error(self, error: KafkaError, partition: int | None) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            self._behind.discard(partition)
        elif error.code() == KafkaError._MAX_POLL_EXCEEDED:
            # Kafka has removed this reader because it did not poll; the next poll joins again.
            logger.warning("this reader was removed from group %r: %s", self._group, error)
        else:
            raise EventLogError(f"Kafka topic {self._log.settings.topic!r} cannot be read: {error}")

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        del consumer
        self._generation += 1
        self._assigned.update(item.partition for item in partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        del consumer
        self._generation += 1
        revoked = {item.partition for item in partitions}
        self._assigned -= revoked
        for partition in revoked:
            for known in (self._returned, self._committed, self._dead_lettered):
                known.pop(partition, None)
        # The next reader reads them from the last commit on; returned here too, they would come twice.
        self._pending = deque(message for message in self._pending if message.partition() not in revoked)


def _position(message: Message) -> tuple[int, int, int]:
    """Partition, offset and time in UTC milliseconds; a message that is no error has them."""
    return message.partition() or 0, message.offset() or 0, message.timestamp()[1]


def _headers(
    key: str | None, signed_by: SignedBy | None, traceparent: str | None
) -> list[tuple[str, str | bytes | None]] | None:
    headers: list[tuple[str, str | bytes | None]] = []
    if key is not None:
        headers.append((BATCH_KEY_HEADER, key.encode("utf-8")))
    if signed_by is not None:
        headers.append((KEY_NAME_HEADER, signed_by.key_name.encode("utf-8")))
        headers.append((SIGNED_ID_HEADER, signed_by.webhook_id.encode("utf-8")))
    if traceparent is not None:
        headers.append((TRACE_HEADER, traceparent.encode("ascii")))
    return headers or None


def _texts(message: Message) -> dict[str, str]:
    """The headers that we know, of a record. Another client may have put anything there."""
    headers = message.headers()
    return {
        name: value.decode("utf-8", "replace")
        for name, value in (headers if isinstance(headers, list) else [])
        if name in (KEY_NAME_HEADER, SIGNED_ID_HEADER, TRACE_HEADER) and isinstance(value, bytes)
    }


def open_url(url: str) -> KafkaEventLog:
    """Open ``kafka://host:port,host:port/topic``.

    Raises:
        ConfigError: a setting that cannot be used.
        EventLogError: no broker answers.
    """
    return KafkaEventLog(KafkaSettings.from_url(url))
