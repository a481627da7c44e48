"""The topic of the Kafka log: the settings in its URL, the partition of a match, and required settings."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, but not by name
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from origin.errors import ConfigError, EventLogError

__all__ = ["KafkaSettings", "partition_of", "prepare_topics"]

logger = logging.getLogger(__name__)

TOPIC = "match-scores"
# More partitions than a region will have workers, since their number is fixed for the topic's life.
PARTITIONS = 20
# Senders of webhooks time out after 15 to 30 s; they should get an answer before.
TIMEOUT_S = 10.0
REPLICATION_MAX = 3
# A request to a broker that has just died gets no answer, but the other brokers would answer: ask again.
NO_ANSWER = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}
ATTEMPTS = 3
ATTEMPT_MIN_S = 1.0
SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s\[\]:@]+)(?::(?P<port>[0-9]{1,5}))?")

# The topic settings that the log's promises need; docs/eventlog.md says why.
REQUIRED = {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"}


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """The settings in a ``kafka://`` URL.

    Attributes:
        servers: ``host:port`` of the brokers to connect to first, separated by commas.
        partitions: of a topic that is created; an existing one keeps its number.
        replication: of a topic that is created; 0 for three, or as many as the cluster has brokers.
        timeout_s: how long any call may wait for Kafka.
        client: further settings of librdkafka.
    """

    servers: str
    topic: str = TOPIC
    partitions: int = PARTITIONS
    replication: int = 0
    timeout_s: float = TIMEOUT_S
    client: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_url(cls, url: str) -> KafkaSettings:
        """Parse the URL.

        Raises:
            ConfigError: a broker is no ``host:port``, a setting is unknown, or a value is out of range.
        """
        parts = urlsplit(url)
        # Without the query, which may hold a password.
        shown = f"EVENTLOG_URL kafka://{parts.netloc.rpartition('@')[2]}"
        if not parts.netloc or "@" in parts.netloc:
            raise ConfigError(f"{shown}: must be kafka://host:port,host:port/topic")
        for server in parts.netloc.split(","):
            # librdkafka ignores a name that it cannot parse, and then never connects to that broker.
            named = SERVER.fullmatch(server)
            if named is None or not 1 <= int(named["port"] or 1) <= 65_535:
                raise ConfigError(f"{shown}: {server!r} is no host:port")
        numbers: dict[str, float] = {}
        client: dict[str, str] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if "." in name:
                client[name] = value
                continue
            if name not in ("partitions", "replication", "timeout_s"):
                raise ConfigError(f"{shown}: no setting {name!r}; partitions, replication and timeout_s are")
            try:
                numbers[name] = float(value) if name == "timeout_s" else int(value)
            except ValueError:
                raise ConfigError(f"{shown}: {name} must be a number, got {value!r}") from None
            if not (0 if name == "replication" else 1) <= numbers[name] <= 10_000:
                raise ConfigError(f"{shown}: {name} is out of range, got {value!r}")
        return cls(
            servers=parts.netloc,
            topic=unquote(parts.path).strip("/") or TOPIC,
            partitions=int(numbers.get("partitions", PARTITIONS)),
            replication=int(numbers.get("replication", 0)),
            timeout_s=numbers.get("timeout_s", TIMEOUT_S),
            client=client,
        )

    @property
    def dead_letter_topic(self) -> str:
        """The name of the topic for dead letters."""
        return f"{self.topic}.dlq"

    def client_config(self) -> dict[str, str | int | float | bool]:
        """The settings that producer, consumer and admin client have in common."""
        timeout_ms = int(self.timeout_s * 1000)
        return {
            "bootstrap.servers": self.servers,
            "client.id": "touchline",
            # A dead connection is noticed within the time that a call may take.
            "socket.timeout.ms": max(1_000, timeout_ms // 2),
            "socket.connection.setup.timeout.ms": max(1_000, timeout_ms // 2),
            # With the default of 10 s an outage would last up to 10 s longer than the brokers' own.
            "reconnect.backoff.max.ms": 1_000,
            **self.client,
        }


@lru_cache(maxsize=4_096)  # the matches in play at once, several times over
def partition_of(match_id: str, partitions: int) -> int:
    """The partition of a match: murmur2 of the key, the default of Kafka's Java client."""
    data = match_id.encode("utf-8")
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    hashed = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        hashed = hashed * multiplier & mask ^ word
    if whole < len(data):
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    hashed = (hashed ^ hashed >> 13) * multiplier & mask
    hashed ^= hashed >> 15
    return (hashed & 0x7FFFFFFF) % partitions


def prepare_topics(settings: KafkaSettings) -> int:
    """Create the topics that are missing, and check that existing ones keep the log's promises.

    Returns:
        The number of partitions.

    Raises:
        ConfigError: the topic exists and is compacted, or its records have their senders' times.
        EventLogError: no broker answers in time, or it refuses.
    """
    deadline = time.monotonic() + settings.timeout_s
    while True:
        try:
            return _prepare(settings, AdminClient(settings.client_config(), logger=logger), deadline)
        except KafkaException as error:
            if error.args[0].code() not in NO_ANSWER or time.monotonic() >= deadline:
                raise EventLogError(
                    f"Kafka at {settings.servers} cannot be asked for its topics: {error}"
                ) from error


def _prepare(settings: KafkaSettings, admin: AdminClient, last: float) -> int:
    """One attempt; ``last`` is the deadline of all attempts, in seconds of the monotonic clock."""
    deadline = min(last, time.monotonic() + max(ATTEMPT_MIN_S, settings.timeout_s / ATTEMPTS))
    known = admin.list_topics(timeout=max(0.1, deadline - time.monotonic())).topics
    wanted = {
        settings.topic: (settings.partitions, {**REQUIRED, "retention.ms": "-1", "retention.bytes": "-1"}),
        settings.dead_letter_topic: (1, {"cleanup.policy": "compact"}),
    }
    for name, (partitions, config) in wanted.items():
        if name not in known:
            _create(settings, admin, name, partitions, config, deadline)
    if settings.topic in known:
        existing = known[settings.topic].partitions.values()
        replicas = min((len(partition.replicas) for partition in existing), default=0)
        _check(settings, admin, replicas, deadline)
    return _partitions(settings, admin, last)


def _create(
    settings: KafkaSettings,
    admin: AdminClient,
    name: str,
    partitions: int,
    config: Mapping[str, str],
    deadline: float,
) -> None:
    """Create a topic with ``settings.replication`` replicas, or with three, or as many as Kafka accepts.

    Kafka is asked to create it rather than for its brokers: clients only see the brokers that are up, and a
    topic that was created with two replicas while the third broker was down would never get a third.
    """
    for replication in [settings.replication] if settings.replication else range(REPLICATION_MAX, 0, -1):
        topic = NewTopic(
            name,
            num_partitions=partitions,
            replication_factor=replication,
            config={**config, **_durability(replication)},
        )
        [future] = admin.create_topics(
            [topic], operation_timeout=settings.timeout_s, request_timeout=settings.timeout_s
        ).values()
        try:
            _result(future, deadline)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.TOPIC_ALREADY_EXISTS:
                return  # another process was first
            if code != KafkaError.INVALID_REPLICATION_FACTOR or settings.replication or replication == 1:
                raise
        else:
            return


def _durability(replication: int) -> dict[str, str]:
    if replication >= REPLICATION_MAX:
        # An acknowledged event is on two machines at least, and one of three may be down.
        return {"min.insync.replicas": "2"}
    # Kafka leaves flushing to the operating system, because other replicas have the event too. With fewer
    # than three replicas they may not have it, and only the disk survives a power loss.
    return {"min.insync.replicas": "1", "flush.messages": "1"}


def _check(settings: KafkaSettings, admin: AdminClient, replicas: int, deadline: float) -> None:
    resource = ConfigResource(ResourceType.TOPIC, settings.topic)
    [future] = admin.describe_configs([resource], request_timeout=settings.timeout_s).values()
    try:
        entries = _result(future, deadline)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return  # the operator of the brokers does not let us read settings, and is responsible for them
        raise
    for name, wanted in REQUIRED.items():
        found = entries[name].value
        if found != wanted:
            raise ConfigError(
                f"the Kafka topic {settings.topic!r} has {name}={found}, the event log needs {wanted}",
                topic=settings.topic,
            )
    if replicas >= REPLICATION_MAX and entries["min.insync.replicas"].value == "1":
        logger.warning(
            "the Kafka topic %r has %d replicas and min.insync.replicas=1: an event acknowledged while two of"
            " them are down is on one broker only; it should be 2",
            settings.topic,
            replicas,
        )
    if replicas < settings.replication:
        logger.warning(
            "the Kafka topic %r has %d replicas, not replication=%d: kafka-reassign-partitions adds them",
            settings.topic,
            replicas,
            settings.replication,
        )


def _partitions(settings: KafkaSettings, admin: AdminClient, deadline: float) -> int:
    """Wait until each partition has a leader, and return their number: a new topic cannot be used before."""
    while True:
        topics = admin.list_topics(timeout=max(0.1, deadline - time.monotonic())).topics
        known = [topics[name] for name in (settings.topic, settings.dead_letter_topic) if name in topics]
        if len(known) == 2 and all(
            topic.error is None and all(partition.leader >= 0 for partition in topic.partitions.values())
            for topic in known
        ):
            return len(known[0].partitions)
        if time.monotonic() > deadline:
            raise EventLogError(
                f"the Kafka topic {settings.topic!r} has no leader after {settings.timeout_s} s"
            )
        time.sleep(0.05)


def _result(future: Future[Any], deadline: float) -> Any:
    try:
        return future.result(timeout=max(0.1, deadline - time.monotonic()))
    except TimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None
