"""How the readers of a group share the partitions of the PostgreSQL log.

A reader has a partition while its session has an advisory lock on it, and it commits in that same session:
a reader that is cut off loses its partitions and its ability to commit at the same time. A lock ends with
its session, so the partitions of a killed reader are free at once.

A reader that hangs, or whose network drops all packets, keeps its connection. So the server ends a reader's
session that sends no statement for ``session_s`` (``idle_session_timeout``), or does not read its answer for
as long (``tcp_user_timeout``). A heartbeat thread sends statements, because a worker may work for longer on
what it has read; it stops if the worker has not polled for ``POLL_MAX_S``. A reader whose session was ended
cannot commit, and starts again with a new session.

Each reader has a shared lock as well, by which the others count the readers. Once a second a reader compares
its number of partitions with its share: it releases those above it, or takes free ones.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

import psycopg

from origin.eventlog import LogRecord, Position
from origin.eventlog.codec import decode_event, signed_by_of
from origin.eventlog.deadletter import DeadLetter, DeadLetters
from origin.eventlog.memory import wall_clock_ms
from origin.eventlog.postgres_session import PostgresSession, PostgresSettings, connect, translated

__all__ = ["CHANNEL", "PostgresConsumer", "SharedLog"]

logger = logging.getLogger(__name__)

CHANNEL = "touchline"
# The longest that a record stays unread if its writer died between commit and NOTIFY, and that a partition
# stays unread if its reader died.
CHECK_S = 1.0
# Heartbeats per ``session_s``: three may fail.
BEATS = 4
# Far longer than any single step of a worker takes; the same for Kafka's readers.
POLL_MAX_S = 60.0


# RECORDS is the log's query for records. The shortest queues first: a partition that is far behind must not
# starve the others.
_NEXT_RECORDS: Final = (
    "SELECT next.* FROM unnest(%s::int[], %s::bigint[]) AS mine (partition, next_offset)"
    " CROSS JOIN LATERAL (RECORDS WHERE records.partition = mine.partition"
    ' AND "offset" >= mine.next_offset ORDER BY "offset" LIMIT %s) AS next'
    ' ORDER BY row_number() OVER (PARTITION BY mine.partition ORDER BY "offset"), mine.partition LIMIT %s'
)


class SharedLog(Protocol):
    """The part of the log that a consumer uses."""

    @property
    def settings(self) -> PostgresSettings:
        """The settings of the connection."""

    @property
    def partitions(self) -> int:
        """The number of partitions."""

    @property
    def records(self) -> str:
        """A query for all records, as ``LogRecord`` has them."""

    def dead_letters(self) -> DeadLetters:
        """The dead letters of the log."""


class PostgresConsumer:
    """See ``origin.eventlog.Consumer``. For one thread."""

    def __init__(self, log: SharedLog, group: str | None) -> None:
        self._log = log
        self._group = group
        # Advisory locks have no names, only two numbers. Two groups of equal checksum would exclude each
        # other from partitions; with a hundred groups the chance of such a pair is one in half a million.
        self._lock_class = zlib.crc32((group or "").encode("utf-8")) & 0x7FFFFFFF
        self._members_lock = log.partitions
        self._session: PostgresSession | None = None
        # By partition that this reader has: the offset to read next.
        self._positions: dict[int, int] = {}
        self._balanced_at = -math.inf
        self._generation = 0
        self._polled_s = time.monotonic()
        self._closed = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, name="log-heartbeat", daemon=True)
        if group is None:
            self._positions = dict.fromkeys(range(log.partitions), 0)
        with translated(log.settings):
            self._open()
        if group is not None:
            self._heartbeat.start()

    @property
    def generation(self) -> int:
        """See ``Consumer.generation``."""
        return self._generation

    def poll(self, timeout_s: float, limit: int = 500) -> list[LogRecord]:
        """See ``Consumer.poll``.

        Raises:
            EventLogError: the server does not answer; polling again is safe and makes a new connection.
        """
        deadline = time.monotonic() + timeout_s
        with translated(self._log.settings):
            while True:
                self._polled_s = time.monotonic()
                session = self._open()
                self._balance(session)
                records = self._fetch(session, limit)
                left_s = deadline - time.monotonic()
                if records or left_s <= 0:
                    return records
                for _ in session.notifies(timeout=min(left_s, CHECK_S), stop_after=1):
                    pass  # the next round reads what was appended

    def commit(self, records: Sequence[Position]) -> None:
        """See ``Consumer.commit``. Skips records of partitions that another reader has by now.

        Raises:
            EventLogError: they will be read again, here or by another reader.
        """
        offsets: dict[int, int] = {}
        for record in records:
            if record.partition in self._positions:
                offsets[record.partition] = max(record.offset + 1, offsets.get(record.partition, 0))
        if not offsets or self._group is None:
            return
        with translated(self._log.settings):
            if self._session is None or self._session.closed:
                raise psycopg.OperationalError("the connection that has the partitions is lost")
            self._session.execute(
                'INSERT INTO touchline.commits ("group", partition, next_offset)'
                " SELECT %s, unnest(%s::int[]), unnest(%s::bigint[])"
                ' ON CONFLICT ("group", partition) DO UPDATE'
                " SET next_offset = greatest(commits.next_offset, excluded.next_offset)",
                (self._group, list(offsets), list(offsets.values())),
            )

    def close(self) -> None:
        """See ``Consumer.close``."""
        self._closed.set()
        if self._heartbeat.is_alive():
            self._heartbeat.join()  # at most the time that one statement may take
        if self._session is not None:
            self._session.close()

    def _beat(self) -> None:
        """Show the server that this reader is alive, unless its worker is stuck."""
        while not self._closed.wait(self._log.settings.session_s / BEATS):
            session = self._session
            stuck = time.monotonic() > self._polled_s + POLL_MAX_S
            if session is None or session.closed or stuck:
                continue
            with suppress(psycopg.Error):  # the next poll or commit finds that the session is lost
                session.execute("SELECT")

    def _open(self) -> PostgresSession:
        if self._session is not None and not self._session.closed:
            return self._session
        session = connect(self._log.settings)
        try:
            session.execute(f"LISTEN {CHANNEL}")
            if self._group is not None:
                self._generation += 1
                self._positions.clear()  # the locks ended with the old session
                self._balanced_at = -math.inf
                session.execute(
                    "SELECT set_config('idle_session_timeout', %(limit)s, false),"
                    " set_config('tcp_user_timeout', %(limit)s, false)",
                    {"limit": f"{int(self._log.settings.session_s * 1000)}ms"},
                )
                session.execute(
                    "SELECT pg_advisory_lock_shared(%s, %s)", (self._lock_class, self._members_lock)
                )
        except BaseException:
            session.close()
            raise
        self._session = session
        return session

    def _balance(self, session: PostgresSession) -> None:
        """Release partitions, or take free ones, until this reader has its share."""
        if self._group is None or time.monotonic() < self._balanced_at + CHECK_S:
            return
        self._balanced_at = time.monotonic()
        row = session.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND classid::bigint = %s AND objid::bigint = %s",
            (self._lock_class, self._members_lock),
        ).fetchone()
        share = math.ceil(self._log.partitions / max(1, row[0] if row else 1))
        for partition in list(self._positions)[share:]:
            # Records that were returned by ``poll`` and not committed are read again by the next reader.
            self._generation += 1
            del self._positions[partition]
            session.execute("SELECT pg_advisory_unlock(%s, %s)", (self._lock_class, partition))
        for partition in range(self._log.partitions):
            if len(self._positions) >= share:
                break
            if partition not in self._positions and self._lock(session, partition):
                # Read under the lock: the previous reader cannot commit any more.
                committed = session.execute(
                    'SELECT next_offset FROM touchline.commits WHERE "group" = %s AND partition = %s',
                    (self._group, partition),
                ).fetchone()
                self._positions[partition] = committed[0] if committed else 0
                self._generation += 1

    def _lock(self, session: PostgresSession, partition: int) -> bool:
        row = session.execute("SELECT pg_try_advisory_lock(%s, %s)", (self._lock_class, partition)).fetchone()
        return bool(row and row[0])

    def _fetch(self, session: PostgresSession, limit: int) -> list[LogRecord]:
        """The next records of all partitions, an equal part of ``limit`` for each that has any."""
        records: list[LogRecord] = []
        if not self._positions:
            return records
        rows = session.execute(
            _NEXT_RECORDS.replace("RECORDS", self._log.records),
            (list(self._positions), list(self._positions.values()), limit, limit),
        ).fetchall()
        for partition, offset, appended_ms, text, key_name, webhook_id, traceparent in rows:
            try:
                signed_by = signed_by_of(key_name, webhook_id)
                event = decode_event(text)
                records.append(LogRecord(partition, offset, appended_ms, event, signed_by, traceparent))
            except ValueError as error:
                letter = DeadLetter(partition, offset, wall_clock_ms(), str(error), text.encode("utf-8"))
                self._log.dead_letters().add(letter)  # if this raises, the position is still before it
                logger.warning("record %s is dead-lettered: %s", letter.id, letter.reason)
        # Only now, when all dead letters are stored. The last row of each partition has its highest offset.
        self._positions.update({partition: offset + 1 for partition, offset, *_ in rows})
        return records
