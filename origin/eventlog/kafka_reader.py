"""How the Kafka log is read without a group: partitions from end to end, and single matches.

A topic has no index by key. The first read of a match in a partition reads the partition through once and
remembers where each match begins and ends; later ones read what has come since, and then only the stretch
that the match is in: its own two hours, not the years before. A partition of a year, ten thousand matches
over twenty partitions, is 150,000 records, and what is remembered of it 500 matches.
"""

from __future__ import annotations

import logging
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

# A worker that was killed gives its partitions back after this; below it brokers refuse by default.
SESSION_TIMEOUT_MS = 6_000
# A rebalance goes on when each member has asked, so this is what a worker that comes or goes costs viewers,
# twice: the default of a third of the session made it 2 s (docs/cluster.md).
HEARTBEAT_MS = 500
# Far above any single step of a worker, none of which waits for one match's bus.
MAX_POLL_INTERVAL_MS = 60_000
BATCH = 5_000  # records taken from librdkafka at a time
# The name under which a reader without a group shows up at the broker; nothing is ever committed to it.
NO_GROUP = "touchline-reader"


def consumer_config(settings: KafkaSettings, group: str | None) -> dict[str, str | int | float | bool]:
    """The settings of a consumer; one without a group is told of the end of a partition."""
    return {
        **settings.client_config(),
        "group.id": group or NO_GROUP,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        # Cooperative: a worker that joins or goes stops only the partitions that change hands.
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": SESSION_TIMEOUT_MS,
        "heartbeat.interval.ms": HEARTBEAT_MS,
        # Without a group it is there to read what is in the log, and then the next match: a request that
        # waits at the end of one partition would hold up the one for the next, 500 ms by default.
        **({"enable.partition.eof": True, "fetch.wait.max.ms": 10} if group is None else {}),
        # One that is stuck between two polls holds up each rebalance, and with it its group, for so long.
        **({} if group is None else {"max.poll.interval.ms": MAX_POLL_INTERVAL_MS}),
    }


def take(consumer: Consumer, timeout_s: float, limit: int) -> list[Message]:
    """Up to ``limit`` messages as soon as there is one.

    By ``poll`` alone: ``consume`` would wait for the whole timeout while there are fewer, and its way
    through librdkafka has ended a process by an assertion (docs/decisions.md).
    """
    messages: list[Message] = []
    message = consumer.poll(timeout_s)
    while message is not None:
        messages.append(message)
        message = consumer.poll(0) if len(messages) < limit else None
    return messages


@dataclass(slots=True)
class _Stretches:
    """Where the keys of one partition are.

    Attributes:
        end: the offset up to which the partition has been read through.
        by_key: offset of the first message and of the last.
    """

    end: int = 0
    by_key: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class KafkaReader:
    """Reads for any number of threads; connections are kept from one read to the next."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._idle: list[Consumer] = []
        self._stretches: dict[tuple[str, int], _Stretches] = {}

    def scan(self, topic: str, partition: int, first: int = 0, end: int | None = None) -> Iterator[Message]:
        """The messages of a partition from ``first`` on, up to ``end`` or what is in it now.

        Raises:
            EventLogError: Kafka stopped answering.
        """
        timeout_s = self._settings.timeout_s
        with self._consumer(topic) as consumer:
            low, high = self._bounds(consumer, TopicPartition(topic, partition))
            first, end = max(first, low), high if end is None else min(end, high)
            if first >= end:
                return
            consumer.assign([TopicPartition(topic, partition, first)])
            while True:
                messages = take(consumer, timeout_s, BATCH)
                if not messages:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
                for message in messages:
                    error = message.error()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    # The end is an event, not an offset: compaction may have taken the last one.
                    if error is not None or (offset := message.offset() or 0) >= end:
                        return
                    yield message
                    if offset == end - 1:
                        return

    def keyed(self, topic: str, partition: int, key: bytes) -> Iterator[Message]:
        """The messages with that key, up to what is in the partition now.

        Raises:
            EventLogError: Kafka stopped answering.
        """
        with self._lock:
            stretches = self._stretches.setdefault((topic, partition), _Stretches())
        with stretches.lock:
            for message in self.scan(topic, partition, stretches.end):
                name, offset = message.key() or b"", message.offset() or 0
                stretches.by_key[name] = (stretches.by_key.get(name, (offset, offset))[0], offset)
                stretches.end = offset + 1
            stretch = stretches.by_key.get(key)
        if stretch is not None:
            first, last = stretch
            for message in self.scan(topic, partition, first, last + 1):
                if message.key() == key:
                    yield message

    def close(self) -> None:
        """End the connections that nobody uses; what is being read ends its own."""
        with self._lock:
            idle, self._idle = self._idle, []
        for consumer in idle:
            consumer.close()

    def _bounds(self, consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
        """The offset of the oldest message, and the one after the newest."""
        deadline = time.monotonic() + self._settings.timeout_s
        while True:
            try:
                return consumer.get_watermark_offsets(place, timeout=self._settings.timeout_s)
            except KafkaException:
                # A partition that is new, or whose leader went away, is refused for a moment; a connection
                # that was kept over a restart of the broker is found dead only now.
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
            self.close()  # what went wrong with one connection to the brokers may have with the others
            raise EventLogError(f"Kafka topic {topic!r} cannot be read: {error}") from error
        except BaseException:  # whoever read has enough, too: what is under way is not worth keeping
            consumer.close()
            raise
        self._give_back(consumer)

    def _give_back(self, consumer: Consumer) -> None:
        consumer.unassign()
        with self._lock:
            self._idle.append(consumer)
