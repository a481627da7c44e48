"""The log as one SQLite file: the embedded default.

WAL mode with ``synchronous=FULL``: ``append`` returns after the write-ahead log is on the disk, so an
acknowledged event survives ``kill -9`` and power loss, while readers never wait for the writer. One
partition; offsets are SQLite's AUTOINCREMENT rowids, which are never used twice.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from origin.errors import ConfigError, EventLogError
from origin.eventlog import Appended, LogRecord
from origin.eventlog.codec import decode_event, encode_event
from origin.eventlog.deadletter import DeadLetter
from origin.eventlog.memory import wall_clock_ms
from origin.eventlog.offsets import OffsetConsumer
from shared_state import Event

__all__ = ["SqliteDeadLetters", "SqliteEventLog", "open_url"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    "offset" INTEGER PRIMARY KEY AUTOINCREMENT,
    match_id TEXT NOT NULL,
    appended_ms INTEGER NOT NULL,
    event TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_match ON records (match_id, "offset");
CREATE TABLE IF NOT EXISTS keys (key TEXT PRIMARY KEY, count INTEGER NOT NULL, appended_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS commits ("group" TEXT PRIMARY KEY, "offset" INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS dead_letters (
    "offset" INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    payload BLOB NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0
);
"""
# Another process may have the write lock for one commit, which is one fsync: tens of milliseconds on a
# slow disk. Seconds mean that something is wrong with the file.
BUSY_TIMEOUT_S = 5.0
BUSY_AGAIN_TIMEOUT_S = 0.2
# An append in this process wakes its consumers at once; one by another process is read this much later.
FOREIGN_POLL_S = 0.1
READ_BATCH = 500  # records of one match in memory at a time


class SqliteEventLog:
    """See ``origin.eventlog.EventLog``. Several processes may have the same file open.

    Raises:
        EventLogError: the file cannot be opened or is not a log.
    """

    def __init__(self, path: Path, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._path = path
        self._now_ms = now_ms
        self._appended = threading.Condition()
        self._dead_lettered: set[int] = set()
        self._gave_up = False  # the last transaction could not begin
        # A connection runs one statement at a time. Readers have their own, so that they do not wait until
        # an append is on the disk.
        self._lock, self._read_lock = threading.Lock(), threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db, self._reader = (
                sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
                for _ in range(2)
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise EventLogError(f"the event log {str(path)!r} cannot be opened: {error}") from error

    def append(self, events: Sequence[Event], key: str | None = None) -> Appended:
        """See ``EventLog.append``."""
        with self.transaction() as db:
            if key is not None:
                known = db.execute("SELECT count FROM keys WHERE key = ?", (key,)).fetchone()
                if known is not None:
                    return Appended(False, known[0])
            # A clock set back must not make a match's later events older than its epoch.
            last = db.execute('SELECT appended_ms FROM records ORDER BY "offset" DESC LIMIT 1').fetchone()
            appended_ms = max(self._now_ms(), last[0] if last else 0)
            db.executemany(
                "INSERT INTO records (match_id, appended_ms, event) VALUES (?, ?, ?)",
                [(event.match_id, appended_ms, encode_event(event).decode()) for event in events],
            )
            if key is not None:
                db.execute("INSERT INTO keys VALUES (?, ?, ?)", (key, len(events), appended_ms))
        with self._appended:
            self._appended.notify_all()
        return Appended(True, len(events))

    def consumer(self, group: str | None) -> OffsetConsumer:
        """See ``EventLog.consumer``."""
        return OffsetConsumer(self, group)

    def read_match(self, match_id: str) -> Iterator[LogRecord]:
        """See ``EventLog.read_match``."""
        offset = 0
        while True:
            rows = self.rows(
                'SELECT "offset", appended_ms, event FROM records'
                ' WHERE match_id = ? AND "offset" > ? ORDER BY "offset" LIMIT ?',
                (match_id, offset, READ_BATCH),
            )
            if not rows:
                return
            for offset, appended_ms, event in rows:
                record = self._read(offset, appended_ms, event)
                if record is not None:
                    yield record

    def dead_letters(self) -> SqliteDeadLetters:
        """See ``EventLog.dead_letters``."""
        return SqliteDeadLetters(self)

    def close(self) -> None:
        """See ``EventLog.close``."""
        with self._lock, self._read_lock:
            self._db.close()
            self._reader.close()

    def wait_after(self, offset: int, timeout_s: float, limit: int) -> list[LogRecord]:
        """Records after an offset, waiting for the first; what a consumer polls."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._appended:  # locked during the read, or an append before the wait would not end it
                rows = self.rows(
                    'SELECT "offset", appended_ms, event FROM records'
                    ' WHERE "offset" > ? ORDER BY "offset" LIMIT ?',
                    (offset, limit),
                )
                records = [record for row in rows if (record := self._read(*row)) is not None]
                if rows:
                    offset = rows[-1][0]  # past the dead letters
                left_s = deadline - time.monotonic()
                if records or left_s <= 0:
                    return records
                self._appended.wait(min(left_s, FOREIGN_POLL_S))

    def committed(self, group: str) -> int:
        """The offset that a group has committed; 0 for a new group."""
        rows = self.rows('SELECT "offset" FROM commits WHERE "group" = ?', (group,))
        return int(rows[0][0]) if rows else 0

    def commit(self, group: str, offset: int) -> None:
        """Commit all records up to and including ``offset`` for a group."""
        with self.transaction() as db:
            db.execute(
                'INSERT INTO commits VALUES (?, ?) ON CONFLICT ("group")'
                ' DO UPDATE SET "offset" = max("offset", excluded."offset")',
                (group, offset),
            )

    def _read(self, offset: int, appended_ms: int, event: str) -> LogRecord | None:
        """A record; None if it is not an event, which is then dead-lettered."""
        try:
            return LogRecord(0, offset, appended_ms, decode_event(event))
        except ValueError as error:
            if offset not in self._dead_lettered:  # it is read by every poll until another record follows it
                letter = DeadLetter(0, offset, self._now_ms(), str(error), event.encode("utf-8"))
                self.dead_letters().add(letter)
                self._dead_lettered.add(offset)
            return None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction: rolled back on an exception, and on the disk once the block is left without one.

        Raises:
            EventLogError: it could not begin within ``BUSY_TIMEOUT_S``, or the file took nothing.
        """
        # One deadline for both locks: of several threads that wait for another process, each would otherwise
        # begin to wait for the file when the one before it has given up. And those that come after one has
        # given up wait for little more than a commit, until one succeeds.
        wait_s = BUSY_AGAIN_TIMEOUT_S if self._gave_up else BUSY_TIMEOUT_S
        deadline_s = time.monotonic() + wait_s
        if not self._lock.acquire(timeout=wait_s):
            self._gave_up = True
            raise EventLogError(f"the event log {str(self._path)!r} took nothing: it is busy")
        try:
            try:
                left_ms = max(1, int((deadline_s - time.monotonic()) * 1_000))
                self._db.execute(f"PRAGMA busy_timeout={left_ms}")
                try:
                    self._db.execute("BEGIN IMMEDIATE")
                except sqlite3.Error:
                    self._gave_up = True
                    raise
                self._gave_up = False
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise EventLogError(f"the event log {str(self._path)!r} took nothing: {error}") from error
        finally:
            self._lock.release()

    def rows(self, sql: str, values: tuple[object, ...]) -> list[Any]:
        """The rows that a query finds now.

        Raises:
            EventLogError: the file cannot be read.
        """
        with self._read_lock:
            try:
                return self._reader.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise EventLogError(f"the event log {str(self._path)!r} cannot be read: {error}") from error


class SqliteDeadLetters:
    """See ``origin.eventlog.deadletter.DeadLetters``."""

    def __init__(self, log: SqliteEventLog) -> None:
        self._log = log

    def add(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.add``."""
        with self._log.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO dead_letters VALUES (?, ?, ?, ?, 0)",
                (letter.offset, letter.at_ms, letter.reason, letter.payload),
            )

    def pending(self) -> list[DeadLetter]:
        """See ``DeadLetters.pending``."""
        rows = self._log.rows(
            'SELECT "offset", at_ms, reason, payload FROM dead_letters WHERE NOT removed ORDER BY "offset"',
            (),
        )
        return [DeadLetter(0, *row) for row in rows]

    def remove(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.remove``."""
        with self._log.transaction() as db:
            # The row stays: another reader may read the record later, and must not add it again.
            db.execute('UPDATE dead_letters SET removed = 1 WHERE "offset" = ?', (letter.offset,))


def open_url(url: str) -> SqliteEventLog:
    """Open ``sqlite:///relative/path.db`` or ``sqlite:////absolute/path.db``.

    Raises:
        ConfigError: the URL names a host or no file.
        EventLogError: the file cannot be opened.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.netloc or not path:
        raise ConfigError(f"EVENTLOG_URL {url!r}: must be sqlite:///path/to/file.db")
    return SqliteEventLog(Path(path))
