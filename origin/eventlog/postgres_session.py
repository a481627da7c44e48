"""Connections of the PostgreSQL log: what its URL says, how they are opened, and how long they may take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict

from origin.errors import ConfigError, EventLogError

__all__ = ["PostgresSession", "PostgresSettings", "connect", "translated"]

# More partitions than a region will have workers, since their number is fixed when the log is made.
PARTITIONS = 20
# Senders of webhooks give up after 15 to 30 s; they are to get an answer before.
TIMEOUT_S = 10.0
# As Kafka's: below it a process that is only short of CPU loses what it has.
SESSION_S = 6.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """What a ``postgres://`` URL says.

    Attributes:
        conninfo: the URL as libpq takes it.
        shown: host and database, for messages.
        partitions: of a log that is made; one that exists keeps what it has.
        timeout_s: how long any call may wait for the server.
        session_s: how long the server waits for a process that holds what others need: a reader of a group
            its partitions, a writer the row of a partition.
    """

    conninfo: str
    shown: str
    partitions: int = PARTITIONS
    timeout_s: float = TIMEOUT_S
    session_s: float = SESSION_S

    @classmethod
    def from_url(cls, url: str) -> PostgresSettings:
        """Read the URL.

        Raises:
            ConfigError: libpq cannot read it, or a value is out of range.
        """
        parts = urlsplit(url)
        shown = f"{parts.netloc.rpartition('@')[2]}{parts.path}"  # without the password
        numbers = {"partitions": float(PARTITIONS), "timeout_s": TIMEOUT_S, "session_s": SESSION_S}
        libpq: list[tuple[str, str]] = []
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name not in numbers:
                libpq.append((name, value))
                continue
            try:
                numbers[name] = int(value) if name == "partitions" else float(value)
            except ValueError:
                raise ConfigError(
                    f"EVENTLOG_URL postgres://{shown}: {name} must be a number, got {value!r}"
                ) from None
            if not 1 <= numbers[name] <= 10_000:
                raise ConfigError(f"EVENTLOG_URL postgres://{shown}: {name} is out of range, got {value!r}")
        conninfo = urlunsplit(parts._replace(scheme="postgresql", query=urlencode(libpq)))
        try:
            conninfo_to_dict(conninfo)
        except psycopg.ProgrammingError as error:
            raise ConfigError(f"EVENTLOG_URL postgres://{shown}: {str(error).strip()}") from None
        return cls(conninfo, shown, int(numbers["partitions"]), numbers["timeout_s"], numbers["session_s"])


class PostgresSession(psycopg.Connection[Any]):
    """A connection on which no statement is waited for longer than ``timeout_s``.

    The server's own ``statement_timeout`` does not end a statement that hangs in a disk flush, nor one of
    a server that is stopped; the system's timeouts see only hosts that are gone.
    """

    timeout_s = TIMEOUT_S

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Wait as psycopg does; out of time, the connection is lost, since its state is not known."""
        return super().wait(self._bounded(gen), *args, **kwargs)

    def _bounded(self, gen: PQGen[T]) -> PQGen[T]:
        deadline = time.monotonic() + self.timeout_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                # Whatever came just in time is taken first; ``not ready`` is one of psycopg's own rounds.
                if not ready and time.monotonic() > deadline:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer within {self.timeout_s} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result


def connect(settings: PostgresSettings) -> PostgresSession:
    """A new connection in autocommit.

    Raises:
        psycopg.OperationalError: the server does not answer, or refuses.
    """
    session = PostgresSession.connect(
        settings.conninfo,
        autocommit=True,
        connect_timeout=max(2, int(settings.timeout_s)),  # whole seconds; libpq takes 1 for 2
        # A host that is gone sends no reset: unanswered bytes end the connection instead.
        tcp_user_timeout=int(settings.timeout_s * 1000),
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        application_name="touchline",
    )
    session.timeout_s = settings.timeout_s
    session.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    try:
        session.execute(
            # A server that answers before its own disk has it would break the promise of ``append``.
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
        # The server, too, is to notice a client that is gone: it holds the client's locks until then.
        session.execute(
            "SELECT set_config(name, value, false) FROM (VALUES ('tcp_keepalives_idle', '5'),"
            " ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'),"
            " ('lock_timeout', %s), ('statement_timeout', %s),"
            # One that hangs amid an append holds the partition's row; its events are not acknowledged.
            " ('idle_in_transaction_session_timeout', %s)) AS wanted (name, value)",
            [*[f"{int(settings.timeout_s * 1000)}ms"] * 2, f"{int(settings.session_s * 1000)}ms"],
        )
    except BaseException:
        session.close()
        raise
    return session


@contextmanager
def translated(settings: PostgresSettings) -> Iterator[None]:
    """Turn what PostgreSQL raises into the log's error."""
    try:
        yield
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise EventLogError(f"PostgreSQL at {settings.shown}: {reason or type(error).__name__}") from error
