"""The log in PostgreSQL, through psycopg 3: for teams that have it and no Kafka.

``postgres://user:password@host/database?partitions=20&timeout_s=10``; other parameters of the URL are
libpq's. The tables are in the schema ``touchline`` and created when the log is first opened.

A match is in partition ``crc32(match_id) % partitions``. Offsets are counted in one row per partition and
not taken from a sequence. Sequences give numbers in the order of the requests, but transactions commit in
another order: a reader could read offset 7 before offset 6 is committed, and would never return to it. An
append locks the row until its commit. So appends to one partition come one after the other, offsets have no
gaps, and a reader sees every offset below the highest.

The key of a batch is a row in the same transaction: the same key again, from any process, appends nothing.

Readers are woken by NOTIFY. It is sent after the commit, in a transaction of its own: PostgreSQL takes one
lock for all databases while a transaction with a NOTIFY commits, so commits could not share a disk flush.
If a process dies between the two, readers find the records by polling once a second.

Sessions have locks (``postgres_group``): a pooler must pool sessions, not transactions.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg
from psycopg.pq import TransactionStatus

from origin.eventlog import Appended, LogRecord, MatchSize, SignedBy
from origin.eventlog.codec import decode_event, encode_event, names_of, signed_by_of
from origin.eventlog.deadletter import DOCUMENT_OFFSETS, DeadLetter
from origin.eventlog.limits import SizeCache
from origin.eventlog.postgres_group import CHANNEL, PostgresConsumer
from origin.eventlog.postgres_session import PostgresSession, PostgresSettings, connect, translated
from shared_state import Event

__all__ = ["PostgresDeadLetters", "PostgresEventLog", "open_url"]

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS touchline;
CREATE TABLE IF NOT EXISTS touchline.partitions (
    partition int PRIMARY KEY,
    next_offset bigint NOT NULL DEFAULT 0,
    last_ms bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);  -- rewritten at every append: the new version fits on the page, no index moves
CREATE TABLE IF NOT EXISTS touchline.records (
    partition int,
    "offset" bigint,
    match_id text NOT NULL,
    appended_ms bigint NOT NULL,
    event text NOT NULL,
    key_name text,
    webhook_id text,
    traceparent text,
    PRIMARY KEY (partition, "offset")
);
CREATE INDEX IF NOT EXISTS records_by_match ON touchline.records (match_id, "offset");
CREATE TABLE IF NOT EXISTS touchline.keys (
    key text PRIMARY KEY,
    count int NOT NULL,
    appended_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS touchline.commits (
    "group" text,
    partition int,
    next_offset bigint NOT NULL,
    PRIMARY KEY ("group", partition)
);
CREATE TABLE IF NOT EXISTS touchline.dead_letters (
    partition int,
    "offset" bigint,
    at_ms bigint NOT NULL,
    reason text NOT NULL,
    payload bytea NOT NULL,
    removed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (partition, "offset")
);
"""
RECORDS = (
    'SELECT partition, "offset", appended_ms, event, key_name, webhook_id, traceparent FROM touchline.records'
)
UNTRACED_RECORDS = (
    'SELECT partition, "offset", appended_ms, event, key_name, webhook_id, NULL FROM touchline.records'
)
LAST_TABLE = "touchline.dead_letters"
# If two processes open a new log at once, the second waits for this lock. The number is arbitrary.
SCHEMA_LOCK = 0x70756368
# No sender repeats a webhook after a month.
KEYS_KEPT = "30 days"
READ_BATCH = 500  # records of one match in memory at a time
IDLE_SESSIONS_MAX = 8  # more appends at once open more connections, which are closed afterwards


class PostgresEventLog:
    """See ``origin.eventlog.EventLog``. Open it after forking: connections cannot be shared.

    Raises:
        EventLogError: the server does not answer, or the tables neither exist nor can be created.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings
        self._dead_letters = PostgresDeadLetters(self)
        self._sizes = SizeCache(self._count_after)
        self._lock = threading.Lock()
        self._idle: list[PostgresSession] = []
        self._closed = False
        with self.session() as session:
            self._traced = _prepare(session, settings.partitions)
            self.records = RECORDS if self._traced else UNTRACED_RECORDS
            row = session.execute("SELECT count(*) FROM touchline.partitions").fetchone()
            self.partitions: int = row[0] if row else 0

    def append(
        self,
        events: Sequence[Event],
        key: str | None = None,
        signed_by: SignedBy | None = None,
        traceparent: str | None = None,
    ) -> Appended:
        """See ``EventLog.append``."""
        by_partition: dict[int, list[Event]] = {}
        for event in events:
            partition = zlib.crc32(event.match_id.encode("ascii")) % self.partitions
            by_partition.setdefault(partition, []).append(event)
        trace = (traceparent,) if self._traced else ()
        with self.session() as session:
            with session.transaction():
                if key is not None:
                    known = _take_key(session, key, len(events))
                    if known is not None:
                        return Appended(False, known)
                # In the same order in every process, or two batches could wait for each other's partition.
                for partition in sorted(by_partition):
                    _insert(session, partition, by_partition[partition], (*names_of(signed_by), *trace))
            # The events are in the log even if the notification fails: readers poll as well.
            with suppress(psycopg.Error):
                session.execute(f"NOTIFY {CHANNEL}")
        return Appended(True, len(events))

    def count_under(self, key: str) -> int | None:
        """See ``EventLog.count_under``."""
        with self.session() as session:
            row = session.execute("SELECT count FROM touchline.keys WHERE key = %s", (key,)).fetchone()
        return int(row[0]) if row else None

    def consumer(self, group: str | None) -> PostgresConsumer:
        """See ``EventLog.consumer``."""
        return PostgresConsumer(self, group)

    def read_match(self, match_id: str, after: int = -1) -> Iterator[LogRecord]:
        """See ``EventLog.read_match``."""
        offset = after
        while True:
            with self.session() as session:
                rows = session.execute(
                    self.records + ' WHERE match_id = %s AND "offset" > %s ORDER BY "offset" LIMIT %s',
                    (match_id, offset, READ_BATCH),
                ).fetchall()
            for partition, offset, appended_ms, text, key_name, webhook_id, traceparent in rows:
                try:
                    event = decode_event(text)
                except ValueError:
                    continue  # the consumers of groups dead-letter it
                signed_by = signed_by_of(key_name, webhook_id)
                yield LogRecord(partition, offset, appended_ms, event, signed_by, traceparent)
            if len(rows) < READ_BATCH:
                return

    def size_of(self, match_id: str) -> MatchSize:
        """See ``EventLog.size_of``."""
        return self._sizes.size_of(match_id)

    def dead_letters(self) -> PostgresDeadLetters:
        """See ``EventLog.dead_letters``."""
        return self._dead_letters

    def close(self) -> None:
        """See ``EventLog.close``."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def _count_after(self, match_id: str, offset: int) -> tuple[int, int, int]:
        with self.session() as session:
            row = session.execute(
                'SELECT count(*), coalesce(sum(octet_length(event)), 0), coalesce(max("offset"), %s)'
                ' FROM touchline.records WHERE match_id = %s AND "offset" > %s',
                (offset, match_id, offset),
            ).fetchone()
        return (int(row[0]), int(row[1]), int(row[2])) if row else (0, 0, offset)

    @contextmanager
    def session(self) -> Iterator[PostgresSession]:
        """A session for the time of the block; it is reused if it is idle afterwards.

        All that is done in the block, and the connecting, has one deadline of ``timeout_s``: with one for
        each statement, an append that waits for the rows of several partitions would last many times as long.

        Raises:
            EventLogError: PostgreSQL raised an error in the block, or did not answer in time.
        """
        until_s = time.monotonic() + self.settings.timeout_s
        with translated(self.settings):
            with self._lock:
                session = self._idle.pop() if self._idle else None
            if session is None:
                session = connect(self.settings, until_s)
            session.until_s = until_s
            try:
                yield session
            except psycopg.OperationalError:
                # The connection to the server is lost; the idle connections are then lost as well.
                with self._lock:
                    lost, self._idle = self._idle, []
                for other in lost:
                    other.close()
                raise
            finally:
                with self._lock:
                    reusable = (
                        not self._closed
                        and len(self._idle) < IDLE_SESSIONS_MAX
                        and session.info.transaction_status == TransactionStatus.IDLE
                    )
                    if reusable:
                        self._idle.append(session)
                if not reusable:
                    session.close()


class PostgresDeadLetters:
    """See ``origin.eventlog.deadletter.DeadLetters``."""

    def __init__(self, log: PostgresEventLog) -> None:
        self._log = log

    def add(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.add``."""
        with self._log.session() as session:
            session.execute(
                "INSERT INTO touchline.dead_letters VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (letter.partition, letter.offset, letter.at_ms, letter.reason, letter.payload),
            )

    def pending(self) -> list[DeadLetter]:
        """See ``DeadLetters.pending``."""
        with self._log.session() as session:
            rows = session.execute(
                'SELECT partition, "offset", at_ms, reason, payload FROM touchline.dead_letters'
                ' WHERE NOT removed ORDER BY partition, "offset"'
            ).fetchall()
        return [DeadLetter(*row) for row in rows]

    def remove(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.remove``."""
        with self._log.session() as session:
            # The row stays: another region may read the record later, and must not add it again.
            session.execute(
                'UPDATE touchline.dead_letters SET removed = true WHERE partition = %s AND "offset" = %s',
                (letter.partition, letter.offset),
            )

    def forget_documents(self, before_ms: int) -> None:
        """See ``DeadLetters.forget_documents``."""
        with self._log.session() as session:
            session.execute(
                'DELETE FROM touchline.dead_letters WHERE "offset" >= %s AND at_ms < %s',
                (DOCUMENT_OFFSETS, before_ms),
            )


def _prepare(session: PostgresSession, partitions: int) -> bool:
    """Create missing tables. It checks first, so that a role that may not create tables can use them.

    Returns:
        Whether records have a column for their trace.
    """
    row = session.execute("SELECT to_regclass(%s)", (LAST_TABLE,)).fetchone()
    if row is None or row[0] is None:
        with session.transaction():
            session.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            session.execute(SCHEMA)
            session.execute(
                "INSERT INTO touchline.partitions (partition) SELECT generate_series(0, %s - 1)"
                " WHERE NOT EXISTS (SELECT FROM touchline.partitions)",
                (partitions,),
            )
    # A log of an older version: its records get NULL there. It checks first for the same reason.
    columns = {
        row[0]
        for row in session.execute(
            "SELECT attname FROM pg_attribute"
            " WHERE attrelid = 'touchline.records'::regclass AND NOT attisdropped"
        ).fetchall()
    }
    if not columns >= {"key_name", "webhook_id"}:
        with session.transaction():
            session.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            session.execute(
                "ALTER TABLE touchline.records ADD COLUMN IF NOT EXISTS key_name text,"
                " ADD COLUMN IF NOT EXISTS webhook_id text"
            )
    traced = "traceparent" in columns
    if not traced:
        try:
            with session.transaction():
                session.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
                session.execute("ALTER TABLE touchline.records ADD COLUMN IF NOT EXISTS traceparent text")
            traced = True
        except psycopg.errors.InsufficientPrivilege as error:
            # A log without traces is better than no log: its owner can add the column at any time.
            logger.warning("records have no traces: the column traceparent cannot be added: %s", error)
    session.execute("DELETE FROM touchline.keys WHERE appended_at < now() - %s::interval", (KEYS_KEPT,))
    return traced


def _take_key(session: PostgresSession, key: str, count: int) -> int | None:
    """Insert the key of a batch; returns the count of an earlier batch with that key, or None.

    It waits for a batch of the same key whose transaction has not ended, because that may still fail.
    """
    inserted = session.execute(
        "INSERT INTO touchline.keys (key, count) VALUES (%s, %s) ON CONFLICT DO NOTHING", (key, count)
    )
    if inserted.rowcount == 1:
        return None
    row = session.execute("SELECT count FROM touchline.keys WHERE key = %s", (key,)).fetchone()
    return row[0] if row else 0


def _insert(
    session: PostgresSession, partition: int, events: Sequence[Event], origins: Sequence[str | None]
) -> None:
    """Insert events of one partition.

    Args:
        session: in a transaction.
        partition: theirs.
        events: in order.
        origins: the name of the key and the webhook-id; and their trace, where there is a column for it.
    """
    # The row stays locked until the commit, so no other append can date a record of these matches meanwhile.
    row = session.execute(
        "UPDATE touchline.partitions SET next_offset = next_offset + %s WHERE partition = %s"
        " RETURNING next_offset, (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
        (len(events), partition),
    ).fetchone()
    if row is None:
        raise psycopg.InternalError(f"partition {partition} is missing in touchline.partitions")
    next_offset, now_ms = row
    first = next_offset - len(events)
    match_ids = [event.match_id for event in events]
    dates_ms = _dates_ms(session, match_ids, now_ms)
    session.execute(
        "INSERT INTO touchline.records"
        ' (partition, "offset", match_id, appended_ms, event, key_name, webhook_id'
        f"{', traceparent' if len(origins) > 2 else ''})"
        " SELECT %s, unnest(%s::bigint[]), unnest(%s::text[]), unnest(%s::bigint[]), unnest(%s::text[])"
        + ", %s"
        * len(origins),
        (
            partition,
            list(range(first, next_offset)),
            match_ids,
            [dates_ms[match_id] for match_id in match_ids],
            [encode_event(event).decode("utf-8") for event in events],
            *origins,
        ),
    )


def _dates_ms(session: PostgresSession, match_ids: Sequence[str], now_ms: int) -> dict[str, int]:
    """The date of each match's next record.

    A clock set back must not make a match's later events older than its epoch. Only this match's: a clock
    that was ahead for a moment must not date the events of all others.
    """
    dates_ms = dict.fromkeys(match_ids, now_ms)
    rows = session.execute(
        "SELECT match_id, last.appended_ms FROM unnest(%s::text[]) AS mine (match_id)"
        " CROSS JOIN LATERAL ("
        "  SELECT appended_ms FROM touchline.records WHERE records.match_id = mine.match_id"
        '  ORDER BY "offset" DESC LIMIT 1'
        " ) AS last",
        (list(dates_ms),),
    ).fetchall()
    for match_id, last_ms in rows:
        dates_ms[match_id] = max(now_ms, last_ms)
    return dates_ms


def open_url(url: str) -> PostgresEventLog:
    """Open ``postgres://user:password@host/database``.

    Raises:
        ConfigError: the URL cannot be read.
        EventLogError: the server does not answer.
    """
    return PostgresEventLog(PostgresSettings.from_url(url))
