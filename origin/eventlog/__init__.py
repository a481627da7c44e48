"""Seam 1, the event log: durable, ordered, replayable. An event is acknowledged once the log has it.

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
from typing import Protocol, runtime_checkable

from origin.backends import open_backend
from origin.eventlog.deadletter import DeadLetters
from shared_state import Event

__all__ = [
    "Appended",
    "Consumer",
    "EventLog",
    "LogRecord",
    "MatchSize",
    "Position",
    "SignedBy",
    "WatchedLog",
    "open_eventlog",
]


@dataclass(frozen=True, slots=True)
class SignedBy:
    """Who brought a record, and in which delivery.

    Attributes:
        key_name: the name of the ingest key that signed a webhook; of a vendor's document ``feed:`` and the
            name of its format, which no key can have.
        webhook_id: of the delivery; the feed worker makes one for each append.
    """

    key_name: str
    webhook_id: str


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One event as the log stores it.

    Attributes:
        partition, offset: where it is; offsets rise within a partition, and one match is in one partition.
        appended_ms: UTC milliseconds at which the log took it; that of a match's first event is the match's
            epoch. It may go back where the log's clock does (each of Kafka's brokers has its own clock), so
            the offset alone is the order.
        signed_by: who brought it; None where nobody said so, and for records of versions that did not keep
            it.
        traceparent: the trace that it belongs to (``origin.tracing``); None for none.
    """

    partition: int
    offset: int
    appended_ms: int
    event: Event
    signed_by: SignedBy | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """What ``append`` did.

    Attributes:
        fresh: False if the key had been appended before, and nothing was done.
        count: events now in the log under that key.
    """

    fresh: bool
    count: int


@dataclass(frozen=True, slots=True)
class MatchSize:
    """How much of a match is in the log.

    Attributes:
        events: its records, whether they changed the match or not.
        bytes: of their events, as the log stores them.
    """

    events: int
    bytes: int


class Position(Protocol):
    """Where a record is; a ``LogRecord`` is one."""

    @property
    def partition(self) -> int:
        """The partition."""

    @property
    def offset(self) -> int:
        """The offset in it."""


class Consumer(Protocol):
    """One reader of a group: the log's partitions are shared among a group's readers."""

    @property
    def generation(self) -> int:
        """Rises whenever partitions were taken from this reader or given to it.

        A state that was folded from earlier records may then lack records that another reader of the group
        has read meanwhile.
        """

    def poll(self, timeout_s: float, limit: int = 500) -> list[LogRecord]:
        """The next records in log order, after waiting up to ``timeout_s`` for the first.

        With a ``limit`` of 0 it returns none: the reader only shows that it lives, and keeps its partitions.

        Raises:
            EventLogError: the log cannot be read; polling again is safe.
        """

    def commit(self, records: Sequence[Position]) -> None:
        """Commit records that are done: a successor in the group starts after them. Durable on return.

        All records before them in their partitions must be done too. An offset between two records, which
        has none, may be committed as well.

        Raises:
            EventLogError: they may not be committed, and may be read again.
        """

    def close(self) -> None:
        """Leave the group without committing more."""


class EventLog(Protocol):
    """The durable log."""

    def append(
        self,
        events: Sequence[Event],
        key: str | None = None,
        signed_by: SignedBy | None = None,
        traceparent: str | None = None,
    ) -> Appended:
        """Append all of the events, or none. When this returns they survive ``kill -9`` and power loss.

        Args:
            events: in the order in which they are to be in the log; may be of several matches.
            key: a name for this batch (a webhook-id): a batch of the same key again appends nothing. With
                Kafka only this process' own keys are known: a repetition may be in the log, and changes
                nothing when it is folded.
            signed_by: who brought them; kept with each record.
            traceparent: the trace that they belong to; kept with each record.

        Raises:
            EventLogError: they may not be in the log; the sender has to send again.
            MatchPrunedError: one is of a match that was removed from the log; none was taken.
        """

    def count_under(self, key: str) -> int | None:
        """How many events ``append`` has put into the log under a key; None if the key is new.

        With Kafka only this process' own keys are known.

        Raises:
            EventLogError: the log cannot be read.
        """

    def consumer(self, group: str | None) -> Consumer:
        """Join a group. The first reader of a new group starts at the oldest record.

        Without a group the reader is alone, starts at the oldest record, and its commits are not kept:
        for a fan-out whose bus forgets everything when the process ends.
        """

    def read_match(self, match_id: str, after: int = -1) -> Iterator[LogRecord]:
        """All records of one match from the oldest on, up to what is in the log now.

        Args:
            match_id: the match.
            after: only records with a higher offset are read.

        Raises:
            EventLogError: the log cannot be read.
        """

    def size_of(self, match_id: str) -> MatchSize:
        """How much of a match is in the log now.

        With Kafka only what this process has appended is known.

        Raises:
            EventLogError: the log cannot be read.
        """

    def dead_letters(self) -> DeadLetters:
        """The dead letters of this log: records that cannot be used; consumers skip them."""

    def close(self) -> None:
        """Close all connections and files; appended events stay."""


@runtime_checkable
class WatchedLog(EventLog, Protocol):
    """A log that is a file, which can be removed and can be full."""

    def unready(self) -> str:
        """Why nothing is taken, and what is read may be out of date; empty if that is not so."""

    def read_only(self) -> str:
        """Why the last attempt to write failed, although the log can be read; empty if it did not."""


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
        ConfigError: the scheme is unknown, or a package that it needs is not installed.
        EventLogError: the service does not answer.
    """
    log: EventLog = open_backend("EVENTLOG_URL", url, _IMPLEMENTATIONS)
    return log
