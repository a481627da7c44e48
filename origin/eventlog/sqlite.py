"""The log as one SQLite file: the embedded default.

WAL mode with ``synchronous=FULL``: ``append`` returns after the write-ahead log is on the disk, so an
acknowledged event survives ``kill -9`` and power loss, while readers never wait for the writer. One
partition; offsets are SQLite's AUTOINCREMENT rowids, which are never used twice.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from origin.errors import ConfigError, EventLogError, MatchPrunedError
from origin.eventlog import Appended, LogRecord, MatchSize, SignedBy
from origin.eventlog.checkpoints import Checkpoint, StoredRecord
from origin.eventlog.clock import MACHINE_CLOCK
from origin.eventlog.codec import decode_event, encode_event, names_of, signed_by_of
from origin.eventlog.deadletter import DOCUMENT_OFFSETS, DeadLetter
from origin.eventlog.limits import SizeCache
from origin.eventlog.offsets import OffsetConsumer
from shared_state import Event

__all__ = ["SqliteDeadLetters", "SqliteEventLog", "open_url", "path_of"]

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    "offset" INTEGER PRIMARY KEY AUTOINCREMENT,
    match_id TEXT NOT NULL,
    appended_ms INTEGER NOT NULL,
    event TEXT NOT NULL,
    key_name TEXT,
    webhook_id TEXT,
    traceparent TEXT
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
CREATE TABLE IF NOT EXISTS pruned (match_id TEXT PRIMARY KEY, pruned_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoints (match_id TEXT PRIMARY KEY, seal BLOB NOT NULL, row BLOB NOT NULL);
"""
TABLES = frozenset({"records", "keys", "commits", "dead_letters", "checkpoints", "pruned"})
_NO_SPACE_CODES = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
)
# Columns of ``records`` that the first version of this file did not have.
ADDED_COLUMNS = frozenset({"key_name", "webhook_id", "traceparent"})
_RECORDS = 'SELECT "offset", appended_ms, event, key_name, webhook_id, traceparent FROM records'
_UNTRACED_RECORDS = 'SELECT "offset", appended_ms, event, key_name, webhook_id, NULL FROM records'
# Another process may have the write lock for one commit, which is one fsync: tens of milliseconds on a
# slow disk. Seconds mean that something is wrong with the file.
BUSY_TIMEOUT_S = 5.0
BUSY_AGAIN_TIMEOUT_S = 0.2
# An append in this process wakes its consumers at once; one by another process is read this much later.
FOREIGN_POLL_S = 0.1
# Longer than any pause between two seasons.
QUIET_DAYS_MAX = 180
DAY_MS = 86_400_000
# No sender repeats a webhook after a month. Once a minute the oldest keys are looked at.
KEYS_KEPT_MS = 30 * DAY_MS
PRUNE_S = 60.0
PRUNE_KEYS = 2_000
READ_BATCH = 500  # records of one match in memory at a time


class SqliteEventLog:
    """See ``origin.eventlog.EventLog``. Several processes may have the same file open.

    Args:
        path: the file.
        now_ms: UTC milliseconds, by which records are dated.

    Raises:
        EventLogError: the file cannot be opened or is not a log.
    """

    def __init__(self, path: Path, now_ms: Callable[[], int] = MACHINE_CLOCK.now_ms) -> None:
        self._path = path
        self._now_ms = now_ms
        self._appended = threading.Condition()
        self._appends = 0  # of this process
        self._dead_lettered: set[int] = set()
        self._next_prune_s = 0.0
        self._sizes = SizeCache(self._count_after)
        self._gave_up = False  # the last transaction could not begin
        self._prepared = False
        self._records = _RECORDS
        self._alone = False  # see ``_read_alone``
        self._opened_read_only = False  # the file could not be written to when the connections were opened
        self._write_error = ""  # why the last transaction failed, as on a full disk; empty if it did not
        # A connection runs one statement at a time. Readers have their own, so that they do not wait until
        # an append is on the disk.
        self._lock, self._read_lock = threading.Lock(), threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Before the file is used: it cannot be replaced between this and the first look at it.
            self._connect()
            self._opened = _identities(path)
            try:
                self._prepare()
            except sqlite3.OperationalError as error:
                if not _is_about_space(error):
                    raise
                self._read_alone(error)
            self._wal = _identity(_wal_of(path))
        except (OSError, sqlite3.Error) as error:
            raise EventLogError(f"the event log {str(path)!r} cannot be opened: {error}") from error
        self._compare_with_clock()

    def append(
        self,
        events: Sequence[Event],
        key: str | None = None,
        signed_by: SignedBy | None = None,
        traceparent: str | None = None,
    ) -> Appended:
        """See ``EventLog.append``."""
        with self.transaction() as db:
            if key is not None:
                known = db.execute("SELECT count FROM keys WHERE key = ?", (key,)).fetchone()
                if known is not None:
                    return Appended(False, known[0])
            now_ms = self._now_ms()
            match_ids = {event.match_id for event in events}
            for match_id in sorted(match_ids):
                if db.execute("SELECT 1 FROM pruned WHERE match_id = ?", (match_id,)).fetchone():
                    raise MatchPrunedError(
                        f"match {match_id!r} was removed from the log because it was old; it takes no more"
                        " events",
                        match_id=match_id,
                    )
            dates_ms = {match_id: _dated_ms(db, match_id, now_ms) for match_id in match_ids}
            signer = names_of(signed_by)
            db.executemany(
                "INSERT INTO records (match_id, appended_ms, event, key_name, webhook_id, traceparent)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(event.match_id, dates_ms[event.match_id], encode_event(event).decode()),
                        *(*signer, traceparent),
                    )
                    for event in events
                ],
            )
            if key is not None:
                db.execute("INSERT INTO keys VALUES (?, ?, ?)", (key, len(events), now_ms))
                self._prune_keys(db, now_ms)
        with self._appended:
            self._appends += 1
            self._appended.notify_all()
        return Appended(True, len(events))

    def count_under(self, key: str) -> int | None:
        """See ``EventLog.count_under``."""
        rows = self.rows("SELECT count FROM keys WHERE key = ?", (key,))
        return int(rows[0][0]) if rows else None

    def consumer(self, group: str | None) -> OffsetConsumer:
        """See ``EventLog.consumer``."""
        return OffsetConsumer(self, group)

    def read_match(self, match_id: str, after: int = -1) -> Iterator[LogRecord]:
        """See ``EventLog.read_match``."""
        offset = after
        while True:
            rows = self.rows(
                self._records + ' WHERE match_id = ? AND "offset" > ? ORDER BY "offset" LIMIT ?',
                (match_id, offset, READ_BATCH),
            )
            if not rows:
                return
            for row in rows:
                offset = row[0]
                record = self._read(*row)
                if record is not None:
                    yield record

    def last_offset(self) -> int:
        """See ``origin.eventlog.checkpoints.CheckpointLog``."""
        return int(self.rows('SELECT coalesce(max("offset"), 0) FROM records', ())[0][0])

    def match_ids(self, until: int) -> list[str]:
        """See ``origin.eventlog.checkpoints.CheckpointLog``."""
        rows = self.rows(
            'SELECT match_id FROM records WHERE "offset" <= ? GROUP BY match_id ORDER BY min("offset")',
            (until,),
        )
        return [row[0] for row in rows]

    def stored_records(self, match_id: str, until: int) -> list[StoredRecord]:
        """See ``origin.eventlog.checkpoints.CheckpointLog``."""
        return self.rows(
            'SELECT "offset", appended_ms, event FROM records'
            ' WHERE match_id = ? AND "offset" <= ? ORDER BY "offset"',
            (match_id, until),
        )

    def read_stored(self, match_id: str, stored: StoredRecord) -> LogRecord | None:
        """See ``origin.eventlog.checkpoints.CheckpointLog``."""
        record = self._read(*stored, None, None, None)
        return record if record is None or record.event.match_id == match_id else None

    def consumer_after(self, offset: int) -> OffsetConsumer:
        """See ``origin.eventlog.checkpoints.CheckpointLog``."""
        consumer = OffsetConsumer(self, None)
        consumer.skip_to(offset)
        return consumer

    def checkpoints(self) -> dict[str, Checkpoint]:
        """See ``origin.eventlog.checkpoints.CheckpointLog``."""
        if not self._prepared:
            return {}  # the table may be missing, and cannot be made now
        rows = self.rows("SELECT match_id, seal, row FROM checkpoints", ())
        return {match_id: Checkpoint(match_id, seal, row) for match_id, seal, row in rows}

    def write_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        """See ``origin.eventlog.checkpoints.CheckpointLog``."""
        with self.transaction() as db:
            db.executemany("REPLACE INTO checkpoints VALUES (?, ?, ?)", checkpoints)

    def size_of(self, match_id: str) -> MatchSize:
        """See ``EventLog.size_of``."""
        return self._sizes.size_of(match_id)

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
            # Counted and not locked during the read: an append must not wait for a reader whose disk is slow.
            appends = self._appends
            rows = self.rows(
                self._records + ' WHERE "offset" > ? ORDER BY "offset" LIMIT ?',
                (offset, limit),
            )
            records = [record for row in rows if (record := self._read(*row)) is not None]
            if rows:
                offset = rows[-1][0]  # past the dead letters
            left_s = deadline - time.monotonic()
            if records or left_s <= 0:
                return records
            with self._appended:
                if self._appends == appends:
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

    def _count_after(self, match_id: str, offset: int) -> tuple[int, int, int]:
        [(events, size, last)] = self.rows(
            'SELECT count(*), coalesce(sum(length(CAST(event AS BLOB))), 0), coalesce(max("offset"), ?)'
            ' FROM records WHERE match_id = ? AND "offset" > ?',
            (offset, match_id, offset),
        )
        return events, size, last

    def _prune_keys(self, db: sqlite3.Connection, now_ms: int) -> None:
        """Remove keys that no sender uses any more, a few of the oldest at a time."""
        if time.monotonic() < self._next_prune_s:
            return
        self._next_prune_s = time.monotonic() + PRUNE_S
        db.execute(
            "DELETE FROM keys WHERE rowid IN (SELECT rowid FROM keys ORDER BY rowid LIMIT ?)"
            " AND appended_ms < ?",
            (PRUNE_KEYS, now_ms - KEYS_KEPT_MS),
        )

    def _compare_with_clock(self) -> None:
        """A process that has just started cannot know whether its clock has jumped; the log is a hint."""
        newest = self.rows('SELECT appended_ms FROM records ORDER BY "offset" DESC LIMIT 1', ())
        days = (self._now_ms() - newest[0][0]) / DAY_MS if newest else 0.0
        if days > QUIET_DAYS_MAX:
            logger.warning(
                "the newest record of the event log %r is dated %.0f days before this machine's clock; if"
                " there were events since, the clock is ahead",
                str(self._path),
                days,
            )

    def _read(
        self,
        offset: int,
        appended_ms: int,
        event: str,
        key_name: str | None,
        webhook_id: str | None,
        traceparent: str | None,
    ) -> LogRecord | None:
        """A record; None if it is not an event, which is then dead-lettered."""
        try:
            signed_by = signed_by_of(key_name, webhook_id)
            return LogRecord(0, offset, appended_ms, decode_event(event), signed_by, traceparent)
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
                    self._check_writable()
                    if self._alone or self._opened_read_only:
                        self._leave_alone()
                    self._check_file()
                    self._db.execute("BEGIN IMMEDIATE")
                except sqlite3.Error:
                    self._gave_up = True
                    raise
                self._gave_up = False
                try:
                    self._check_file()
                    yield self._db
                    self._check_file()
                    self._db.execute("COMMIT")
                    self._write_error = ""
                    # Whoever removes the file now removes what was acknowledged, as ever; but what was
                    # committed into a file that was gone before is not acknowledged.
                    self._check_file()
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                if _is_about_space(error):
                    self._write_error = str(error)
                if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY:
                    self._opened_read_only = True  # it stays so for these connections
                raise EventLogError(f"the event log {str(self._path)!r} took nothing: {error}") from error
        finally:
            self._lock.release()

    def unready(self) -> str:
        """Why new viewers should not be sent here; empty if they may come: see ``EventLog.unready``."""
        try:
            self._check_file()
        except EventLogError as error:
            return str(error)
        return ""

    def read_only(self) -> str:
        """Why the log takes nothing, although it can be read; empty if it does."""
        return self._write_error

    def _connect(self) -> None:
        self._db, self._reader = (
            sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            for _ in range(2)
        )

    def _read_alone(self, error: sqlite3.Error) -> None:
        """Serve readers from a log that cannot be written to now, as on a full disk.

        Several connections share an index of the ``-wal`` file in a file of their own, for which there may be
        no space. A connection that locks all others out has it in its memory.

        Raises:
            sqlite3.Error: it cannot be read either, or it is of a version that has to be changed first.
        """
        self._db.close()
        self._reader.close()
        self._db = self._reader = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        self._reader.execute("PRAGMA locking_mode=EXCLUSIVE")
        _check_readable(self._reader)
        if "traceparent" not in _columns(self._reader):
            self._records = (
                _UNTRACED_RECORDS  # a file of the version before, to which no column can be added now
            )
        if not self._write_error:
            logger.error("the event log %r takes nothing, and is only read: %s", str(self._path), error)
        self._alone, self._write_error = True, str(error)

    def _leave_alone(self) -> None:
        """Open the log as usual once that is possible.

        Raises:
            sqlite3.Error: it is not; it can be read as before.
        """
        with self._read_lock:
            self._db.close()
            self._reader.close()
            self._connect()
            try:
                self._prepare()
            except sqlite3.OperationalError as error:
                self._read_alone(error)
                raise
            self._alone = self._opened_read_only = False
            self._wal = _identity(_wal_of(self._path))

    def _prepare(self) -> None:
        """Make the tables that are missing. Fails on a full disk, and is then repeated by the next append."""
        self._db.execute("PRAGMA journal_mode=WAL")
        if not {row[0] for row in self._db.execute("SELECT name FROM sqlite_master")} >= TABLES:
            self._db.executescript(SCHEMA)
        _add_columns(self._db)
        self._records = _RECORDS
        self._prepared = True

    def _check_writable(self) -> None:
        """Find out whether the log's files may be written to; they can become immutable while they are open.

        SQLite writes to the ``-shm`` file through its memory. Where the file may not be written to, that ends
        the process by SIGBUS, and not the call by an error.

        Raises:
            EventLogError: one of them may not.
        """
        for path in (self._path, _wal_of(self._path), _shm_of(self._path)):
            if not os.access(path, os.W_OK) and path.exists():
                self._write_error = f"{str(path)!r} is read-only"
                raise EventLogError(f"the event log {str(self._path)!r} took nothing: {self._write_error}")

    def _check_file(self) -> None:
        """Find out whether the open file still is the one that has the log's name.

        Raises:
            EventLogError: it was removed or replaced, or its ``-wal`` file was: what is written now would be
                in a file that nobody finds.
        """
        if _identities(self._path) != self._opened:
            raise EventLogError(
                f"the event log {str(self._path)!r} was removed or replaced while it was open; nothing is"
                " taken until this process is restarted"
            )
        wal = _identity(_wal_of(self._path))
        if self._alone or (wal is None and self._wal is None):
            return
        if self._wal is None:
            self._wal = wal  # made by the first transaction
        elif wal != self._wal:
            raise EventLogError(
                f"the event log {str(self._path)!r} lost its -wal file while it was open; nothing is taken"
                " until this process is restarted"
            )

    def rows(self, sql: str, values: tuple[object, ...]) -> list[Any]:
        """The rows that a query finds now.

        Raises:
            EventLogError: the file cannot be read, or not within ``BUSY_TIMEOUT_S``.
        """
        # One deadline for the lock of this process and that of the file, as in ``transaction``: of several
        # readers of a file that is locked, each would otherwise begin to wait when the one before gives up.
        deadline_s = time.monotonic() + BUSY_TIMEOUT_S
        if not self._read_lock.acquire(timeout=BUSY_TIMEOUT_S):
            raise EventLogError(f"the event log {str(self._path)!r} cannot be read: it is busy")
        try:
            left_ms = max(1, int((deadline_s - time.monotonic()) * 1_000))
            self._reader.execute(f"PRAGMA busy_timeout={left_ms}")
            return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise EventLogError(f"the event log {str(self._path)!r} cannot be read: {error}") from error
        finally:
            self._read_lock.release()


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

    def forget_documents(self, before_ms: int) -> None:
        """See ``DeadLetters.forget_documents``."""
        with self._log.transaction() as db:
            db.execute(
                'DELETE FROM dead_letters WHERE "offset" >= ? AND at_ms < ?', (DOCUMENT_OFFSETS, before_ms)
            )


def _wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _shm_of(path: Path) -> Path:
    return path.with_name(path.name + "-shm")


def _identity(path: Path) -> tuple[int, int] | None:
    """The device and the inode of a file; None if it cannot be found."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _identities(path: Path) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Of the file and of its directory: a file that came back in another directory has another ``-wal``."""
    return _identity(path), _identity(path.parent)


def _is_about_space(error: sqlite3.Error) -> bool:
    """Whether a write failed for lack of space, or because the file may not be written to."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _NO_SPACE_CODES


def _check_readable(db: sqlite3.Connection) -> None:
    """Read from a log to which nothing can be written.

    Raises:
        sqlite3.Error: it is no log, or of a version whose tables have to be changed first.
    """
    db.execute("SELECT key_name, webhook_id FROM records LIMIT 1").fetchall()


def _add_columns(db: sqlite3.Connection) -> None:
    """Add the columns that records of an older file lack; its own records have NULL there."""
    if _columns(db) >= ADDED_COLUMNS:
        return
    db.execute("BEGIN IMMEDIATE")  # of two processes that open it at once, the second finds them added
    try:
        for column in sorted(ADDED_COLUMNS - _columns(db)):
            db.execute(f"ALTER TABLE records ADD COLUMN {column} TEXT")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _columns(db: sqlite3.Connection) -> set[str]:
    return {row[1] for row in db.execute("PRAGMA table_info(records)")}


def _dated_ms(db: sqlite3.Connection, match_id: str, now_ms: int) -> int:
    """The date of a match's next record.

    A clock set back must not make a match's later events older than its epoch. Only this match's: a clock
    that was ahead for a moment must not date the events of all others.
    """
    last = db.execute(
        'SELECT appended_ms FROM records WHERE match_id = ? ORDER BY "offset" DESC LIMIT 1', (match_id,)
    ).fetchone()
    return max(now_ms, last[0] if last else 0)


def path_of(url: str) -> Path:
    """The file of ``sqlite:///relative/path.db`` or ``sqlite:////absolute/path.db``.

    Raises:
        ConfigError: the URL names a host or no file.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.netloc or not path:
        raise ConfigError(f"EVENTLOG_URL {url!r}: must be sqlite:///path/to/file.db")
    return Path(path)


def open_url(url: str) -> SqliteEventLog:
    """Open the log that a URL names; see ``path_of``.

    Raises:
        ConfigError: as ``path_of``.
        EventLogError: the file cannot be opened.
    """
    return SqliteEventLog(path_of(url))
