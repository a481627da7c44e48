"""How the Kafka log is read without a group: partitions from end to end, and single matches.

A topic has no index by key. The first read of a match in a partition reads the whole partition once and
remembers the first and the last offset of each match. Later ones read the records that were added since,
and then only the range of the match: its own two hours, not the years before. With ten thousand matches a
year over twenty partitions, a partition of a year has 150,000 records, of 500 matches.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from origin.errors import EventLogError
from origin.eventlog.kafka_topic import KafkaSettings

__all__ = ["KafkaReader", "consumer_config", "take"]

logger = logging.getLogger(__name__)

# The partitions of a killed worker are free after this time; brokers refuse a shorter one by default.
SESSION_TIMEOUT_MS = 6_000
# A rebalance waits for a heartbeat of each member, so a worker that joins or leaves delays viewers by twice
# this time. With the default, a third of the session, that was 2 s (docs/cluster.md).
HEARTBEAT_MS = 500
# Far longer than any single step of a worker takes.
MAX_POLL_INTERVAL_MS = 60_000
BATCH = 5_000  # records taken from librdkafka at a time
# The group id of a reader without a group; librdkafka requires one. Nothing is ever committed to it.
NO_GROUP = "touchline-reader"


def consumer_config(settings: KafkaSettings, group: str | None) -> dict[str, str | int | float | bool]:
    """The settings of a consumer; without a group it gets an event at the end of a partition."""
    return {
        **settings.client_config(),
        "group.id": group or NO_GROUP,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        # Cooperative: a worker that joins or leaves stops only the partitions that are reassigned.
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": SESSION_TIMEOUT_MS,
        "heartbeat.interval.ms": HEARTBEAT_MS,
        # A reader without a group goes on with the next match at the end of a partition; a request that
        # waits there for new records would delay it, by 500 ms with the default.
        **({"enable.partition.eof": True, "fetch.wait.max.ms": 10} if group is None else {}),
        # A reader that is stuck between two polls delays each rebalance of its group by up to this time.
        **({} if group is None else {"max.poll.interval.ms": MAX_POLL_INTERVAL_MS}),
    }


def take(consumer: Consumer, timeout_s: float, limit: int) -> list[Message]:
    """Up to ``limit`` messages as soon as there is one.

    It uses ``poll`` only: ``consume`` would wait for the whole timeout while there are fewer, and its code
    path in librdkafka has ended a process by a failed assertion (docs/decisions.md).
    """
    messages: list[Message] = []
    message = consumer.poll(timeout_s)
    while message is not None:
        messages.append(message)
        message = consumer.poll(0) if len(messages) < limit else None
    return messages


@dataclass(slots=True)
class _KeyRanges:
    """Where the keys of one partition are.

    Attributes:
        end: the offset up to which the partition has been read.
        by_key: the offsets of the first and of the last message of each key.
    """

    end: int = 0
    by_key: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class KafkaReader:
    """Reads for any number of threads; connections are reused for the next read."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._idle: list[Consumer] = []
        self._key_ranges: dict[tuple[str, int], _KeyRanges] = {}

    def scan(
        self,
        topic: str,
        partition: int,
        first: int = 0,
        end: int | None = None,
        until_s: float = math.inf,
    ) -> Iterator[Message]:
        """The messages of a partition from ``first`` on, up to ``end`` or what is in it now.

        Args:
            topic: of the partition.
            partition: its number.
            first: the offset to begin at.
            end: the offset to end before.
            until_s: when it must have ended, of the monotonic clock.

        Raises:
            EventLogError: Kafka stopped answering, or the messages have not all come by ``until_s``.
        """
        timeout_s = self._settings.timeout_s
        with self._consumer(topic) as consumer:
            low, high = self._bounds(consumer, TopicPartition(topic, partition), until_s)
            first, end = max(first, low), high if end is None else min(end, high)
            if first >= end:
                return
            consumer.assign([TopicPartition(topic, partition, first)])
            while True:
                left_s = min(timeout_s, until_s - time.monotonic())
                messages = take(consumer, left_s, BATCH) if left_s > 0 else []
                if not messages:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
                for message in messages:
                    error = message.error()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    # The end is an event, not an offset: compaction may have removed the last message.
                    if error is not None or (offset := message.offset() or 0) >= end:
                        return
                    yield message
                    if offset == end - 1:
                        return

    def keyed(self, topic: str, partition: int, key: bytes, first_offset: int = 0) -> Iterator[Message]:
        """The messages with that key from an offset on, up to what is in the partition now.

        Raises:
            EventLogError: Kafka stopped answering.
        """
        with self._lock:
            ranges = self._key_ranges.setdefault((topic, partition), _KeyRanges())
        # One deadline for the lock and the reading: behind a lock, those of all who wait would add up. What
        # was read until then is kept, and the next call goes on from there.
        until_s = time.monotonic() + self._settings.timeout_s
        if not ranges.lock.acquire(timeout=self._settings.timeout_s):
            raise EventLogError(
                f"Kafka topic {topic!r} cannot be read: others have read partition {partition} for"
                f" {self._settings.timeout_s:g} s"
            )
        try:
            for message in self.scan(topic, partition, ranges.end, until_s=until_s):
                name, offset = message.key() or b"", message.offset() or 0
                ranges.by_key[name] = (ranges.by_key.get(name, (offset, offset))[0], offset)
                ranges.end = offset + 1
            key_range = ranges.by_key.get(key)
        finally:
            ranges.lock.release()
        if key_range is not None:
            first, last = key_range
            for message in self.scan(topic, partition, max(first, first_offset), last + 1):
                if message.key() == key:
                    yield message

    def close(self) -> None:
        """Close the idle connections; a read in progress closes its own."""
        with self._lock:
            idle, self._idle = self._idle, []
        for consumer in idle:
            consumer.close()

    def _bounds(
        self, consumer: Consumer, partition: TopicPartition, until_s: float = math.inf
    ) -> tuple[int, int]:
        """The offset of the oldest message, and the one after the newest."""
        deadline = min(until_s, time.monotonic() + self._settings.timeout_s)
        while True:
            left_s = max(0.001, deadline - time.monotonic())
            try:
                return consumer.get_watermark_offsets(partition, timeout=left_s)
            except KafkaException:
                # The broker refuses a partition for a moment if it is new or has lost its leader; and an
                # idle connection that did not survive a restart of the broker fails only when it is used.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    @contextmanager
    def _consumer(self, topic: str) -> Iterator[Consumer]:
        with self._lock:
            consumer = self._idle.pop() if self._idle else None
        if consumer is None:
            consumer = Consumer(consumer_config(self._settings, None), logger=logger)
        try:
            yield consumer
        except KafkaException as error:
            consumer.close()
            self.close()  # the idle connections to the brokers may have failed too
            raise EventLogError(f"Kafka topic {topic!r} cannot be read: {error}") from error
        except BaseException:  # also a reader that stops early: the connection has a fetch in progress
            consumer.close()
            raise
        self._give_back(consumer)

    def _give_back(self, consumer: Consumer) -> None:
        consumer.unassign()
        with self._lock:
            self._idle.append(consumer)
