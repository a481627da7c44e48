"""Connections of the PostgreSQL log: the settings in its URL, how they are opened, and their timeouts."""

from __future__ import annotations

import math
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

# More partitions than a region will have workers, since their number is fixed when the log is created.
PARTITIONS = 20
# Senders of webhooks time out after 15 to 30 s; they should get an answer before.
TIMEOUT_S = 10.0
# As Kafka's: with less, a process that is only short of CPU would lose its partitions.
SESSION_S = 6.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """The settings in a ``postgres://`` URL.

    Attributes:
        conninfo: the URL as libpq takes it.
        shown: host and database, for messages.
        partitions: of a log that is created; an existing one keeps its number.
        timeout_s: how long any call may wait for the server.
        session_s: how long the server waits for a silent process that has locks which others need: a reader
            of a group the locks of its partitions, a writer that of a partition's row.
    """

    conninfo: str
    shown: str
    partitions: int = PARTITIONS
    timeout_s: float = TIMEOUT_S
    session_s: float = SESSION_S

    @classmethod
    def from_url(cls, url: str) -> PostgresSettings:
        """Parse the URL.

        Raises:
            ConfigError: libpq cannot parse it, or a value is out of range.
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
    """A connection whose statements raise after ``timeout_s`` without an answer.

    The server's own ``statement_timeout`` does not end a statement that hangs in a disk flush, nor one of
    a server that is stopped; the operating system's timeouts only notice hosts that are gone.
    """

    timeout_s = TIMEOUT_S
    #: On the monotonic clock: no statement lasts beyond it, so that those of one call share one deadline.
    until_s = math.inf

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Wait as psycopg does; after the timeout the connection is closed, since its state is unknown."""
        return super().wait(self._bounded(gen), *args, **kwargs)

    def _bounded(self, gen: PQGen[T]) -> PQGen[T]:
        deadline = min(time.monotonic() + self.timeout_s, self.until_s)
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                # An answer that came just in time is used; ``not ready`` means that nothing came this round.
                if not ready and time.monotonic() > deadline:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer within {self.timeout_s} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result


def connect(settings: PostgresSettings, until_s: float = math.inf) -> PostgresSession:
    """A new connection in autocommit.

    Args:
        settings: where to.
        until_s: on the monotonic clock; it, and what is done with it, lasts no longer.

    Raises:
        psycopg.OperationalError: the server does not answer, or refuses.
    """
    session = PostgresSession.connect(
        settings.conninfo,
        autocommit=True,
        # Whole seconds; libpq takes 1 for 2.
        connect_timeout=max(2, int(min(settings.timeout_s, until_s - time.monotonic()))),
        # A host that is gone sends no reset: unanswered bytes end the connection instead.
        tcp_user_timeout=int(settings.timeout_s * 1000),
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        application_name="touchline",
    )
    session.timeout_s = settings.timeout_s
    session.until_s = until_s
    session.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    try:
        session.execute(
            # A server that answers before its disk has the commit would break the promise of ``append``.
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
        # The server must notice a client that is gone, too: the client's locks are not free before.
        session.execute(
            "SELECT set_config(name, value, false) FROM (VALUES ('tcp_keepalives_idle', '5'),"
            " ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'),"
            " ('lock_timeout', %s), ('statement_timeout', %s),"
            # A client that hangs during an append keeps the partition's row locked; its events are not
            # acknowledged, so ending it loses none.
            " ('idle_in_transaction_session_timeout', %s)) AS wanted (name, value)",
            [*[f"{int(settings.timeout_s * 1000)}ms"] * 2, f"{int(settings.session_s * 1000)}ms"],
        )
    except BaseException:
        session.close()
        raise
    return session


@contextmanager
def translated(settings: PostgresSettings) -> Iterator[None]:
    """Turn psycopg's errors into ``EventLogError``."""
    try:
        yield
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise EventLogError(f"PostgreSQL at {settings.shown}: {reason or type(error).__name__}") from error
