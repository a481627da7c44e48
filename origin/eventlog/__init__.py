"""Seam 1, the event log: durable, ordered, replayable. What is in it is acknowledged; all else follows.

One file per implementation, chosen by the URL's scheme and imported only then:

======================  =====================================================================
``memory://``           lists in this process, for tests
``sqlite:///path.db``   one file in WAL mode, the embedded default
``kafka://host:port``   Apache Kafka
``postgres://…``        PostgreSQL, for teams that have it and no Kafka
======================  =====================================================================

``tests/eventlog/test_eventlog.py`` runs the same suite against each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from origin.backends import open_backend
from origin.eventlog.deadletter import DeadLetters
from shared_state import Event

__all__ = ["Appended", "Consumer", "EventLog", "LogRecord", "open_eventlog"]


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One event as the log holds it.

    Attributes:
        partition, offset: its place; offsets rise within a partition, and one match is in one partition.
        appended_ms: UTC milliseconds at which the log took it; the first of a match is its epoch. Not
            rising where the log's clock is not (Kafka, whose brokers have one each): the offset is the order.
    """

    partition: int
    offset: int
    appended_ms: int
    event: Event


@dataclass(frozen=True, slots=True)
class Appended:
    """What ``append`` did.

    Attributes:
        fresh: False if the key had been appended before, and nothing was done.
        count: events now in the log under that key.
    """

    fresh: bool
    count: int


class Consumer(Protocol):
    """One reader of a group: the log's partitions are shared among a group's readers."""

    @property
    def generation(self) -> int:
        """Rises whenever partitions were taken from this reader or given to it.

        Whatever was folded from earlier records may lack what another reader of the group took meanwhile.
        """

    def poll(self, timeout_s: float, limit: int = 500) -> list[LogRecord]:
        """The next records in log order, after waiting up to ``timeout_s`` for the first.

        With a ``limit`` of 0 none is taken: the reader only shows that it is alive, and keeps its partitions.
        """

    def commit(self, records: Sequence[LogRecord]) -> None:
        """These are done with: a successor in the group starts after them. Durable when it returns."""

    def close(self) -> None:
        """Leave the group without committing more."""


class EventLog(Protocol):
    """The durable log."""

    def append(self, events: Sequence[Event], key: str | None = None) -> Appended:
        """Take all of the events, or none. When this returns they survive ``kill -9`` and power loss.

        Args:
            events: in the order they are to have; may be of several matches.
            key: a name for this batch (a webhook-id): the same key again appends nothing. Kafka knows
                only what this process appended; there a repetition may be in the log, and folds to nothing.

        Raises:
            EventLogError: they may not be in the log; the sender has to send again.
        """

    def consumer(self, group: str | None) -> Consumer:
        """Join a group. The first reader of a new group starts at the oldest record.

        Without a group the reader is alone, starts at the oldest record, and its commits are not kept:
        for a fan-out whose bus forgets everything when the process ends.
        """

    def read_match(self, match_id: str) -> Iterator[LogRecord]:
        """All records of one match from the oldest on, up to what is in the log now."""

    def dead_letters(self) -> DeadLetters:
        """Records set aside because nobody could use them; consumers pass over them."""

    def close(self) -> None:
        """Release what is held; appended events stay."""


_IMPLEMENTATIONS = {
    "memory": "origin.eventlog.memory",
    "sqlite": "origin.eventlog.sqlite",
    "kafka": "origin.eventlog.kafka",
    "postgres": "origin.eventlog.postgres",
    "postgresql": "origin.eventlog.postgres",
}


def open_eventlog(url: str) -> EventLog:
    """Open the log that a URL names.

    Raises:
        ConfigError: no such scheme, or what it needs is not installed.
        EventLogError: the service does not answer.
    """
    log: EventLog = open_backend("EVENTLOG_URL", url, _IMPLEMENTATIONS)
    return log
