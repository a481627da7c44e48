"""What is not delivered yet, in a SQLite file: it survives ``kill -9`` and power loss of the worker.

The offsets that were read from the log are in the same file and the same transaction as the deliveries that
were made of the records, so each delivery is made exactly once, whatever the log's own commits say. It is
sent at least once: until a 2xx was received and written down here.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from origin.errors import OriginError

__all__ = ["Delivery", "OffsetFile", "Outbox", "OutboxError"]

#: Of one endpoint: what waits, and what was given up and can be redriven. A delivery is 1 KB.
PENDING_MAX: Final = 10_000
FAILED_MAX: Final = 10_000
#: A delivery that failed so often no longer keeps later ones of its match back: some 30 s.
KEEPS_ORDER_ATTEMPTS: Final = 5

#: How long a call waits for another process that writes to the file, seconds.
BUSY_S: Final = 10.0
#: Nothing is ever put off for so long (an hour for Retry-After, ten minutes of delay): what is due later was
#: dated by a clock that was wrong, and is due now. Milliseconds.
DUE_AHEAD_MAX_MS: Final = 4_500_000

_CURSORS: Final = """
CREATE TABLE IF NOT EXISTS cursors (partition INTEGER PRIMARY KEY, "offset" INTEGER NOT NULL);
"""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS endpoints (name TEXT PRIMARY KEY, since_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    endpoint TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    match_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    made_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    failed_ms INTEGER,
    reason TEXT NOT NULL DEFAULT '',
    UNIQUE (endpoint, webhook_id)
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (endpoint, failed_ms, due_ms);
CREATE INDEX IF NOT EXISTS deliveries_of_match ON deliveries (endpoint, match_id, number);
"""


class OutboxError(OriginError):
    """The outbox cannot be read or written; what was asked for did not happen."""

    code = "outbox_unavailable"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one endpoint.

    Attributes:
        number: its place in the outbox.
        made_ms: since when it is tried; ``redrive`` sets it anew. UTC milliseconds.
        due_ms: when it may be tried next, UTC milliseconds.
        attempts: how often it was tried.
        failed_ms: when it was given up, UTC milliseconds; None while it is not.
        reason: how the last attempt ended.
    """

    number: int
    endpoint: str
    webhook_id: str
    match_id: str
    kind: str
    body: bytes
    made_ms: int
    due_ms: int
    attempts: int
    failed_ms: int | None
    reason: str

    @property
    def id(self) -> str:
        """Its name on the command line."""
        return str(self.number)


_ALL: Final = (
    "SELECT number, endpoint, webhook_id, match_id, kind, body, made_ms, due_ms, attempts, failed_ms, reason"
    " FROM deliveries AS d ORDER BY number"
)
_NEXT: Final = _ALL.replace(
    "ORDER BY number",
    "WHERE endpoint = ? AND failed_ms IS NULL AND (due_ms <= ? OR due_ms > ?) AND NOT EXISTS"
    " (SELECT 1 FROM deliveries AS e WHERE e.endpoint = d.endpoint AND e.match_id = d.match_id"
    " AND e.number < d.number AND e.failed_ms IS NULL AND e.attempts < ?) ORDER BY number LIMIT 1",
)
_PENDING: Final = "SELECT count(*), min(made_ms) FROM deliveries WHERE endpoint = ? AND failed_ms IS NULL"
_FAILED: Final = "SELECT count(*), min(made_ms) FROM deliveries WHERE endpoint = ? AND failed_ms IS NOT NULL"


class OffsetFile:
    """A SQLite file with a queue and the offsets up to which the log was read for it. Threads may share one.

    Args:
        path: of the file; it and its directory are made if they are not there.
        schema: the tables of the queue.

    Raises:
        OutboxError: it cannot be opened, or is something else.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            # An acknowledged event must not be forgotten here after a power cut.
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_CURSORS + schema)
        except (OSError, sqlite3.Error) as error:
            raise OutboxError(f"the outbox {str(path)!r} cannot be opened: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def offsets(self) -> dict[int, int]:
        """Up to which offset each partition was read.

        Raises:
            OutboxError: see the class.
        """
        with self._reading() as db:
            return dict(db.execute('SELECT partition, "offset" FROM cursors').fetchall())

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, without a lock on the file."""
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise OutboxError(f"the outbox {str(self._path)!r}: {error}") from error

    @contextlib.contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """One transaction on the connection."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise OutboxError(f"the outbox {str(self._path)!r}: {error}") from error

    @staticmethod
    def _write_offsets(db: sqlite3.Connection, offsets: Mapping[int, int]) -> None:
        """Write down up to where the log was read, within the transaction of what was made of it."""
        db.executemany(
            'INSERT INTO cursors VALUES (?, ?) ON CONFLICT (partition) DO UPDATE SET "offset" ='
            ' max("offset", excluded."offset")',
            list(offsets.items()),
        )


class Outbox(OffsetFile):
    """The file of webhooks. Threads may share one.

    Args:
        path: of the file; it and its directory are made if they are not there.

    Raises:
        OutboxError: it cannot be opened, or is something else.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)

    def since(self, names: Iterable[str], now_ms: int) -> dict[str, int]:
        """Since when each endpoint is known, UTC milliseconds: what the log took before is not sent to it.

        Args:
            names: of the endpoints that there are now. One that is new is known from ``now_ms`` on.
            now_ms: UTC milliseconds.

        Raises:
            OutboxError: see the class.
        """
        with self._using() as db:
            db.executemany(
                "INSERT OR IGNORE INTO endpoints VALUES (?, ?)", [(name, now_ms) for name in names]
            )
            return dict(db.execute("SELECT name, since_ms FROM endpoints").fetchall())

    def add(
        self,
        deliveries: Sequence[tuple[str, str, str, str, bytes, int]],
        offsets: Mapping[int, int],
        now_ms: int,
    ) -> Counter[str]:
        """Add deliveries, and write down up to where the log was read, in one transaction.

        Args:
            deliveries: endpoint, webhook id, match, kind, body and when it is due (UTC milliseconds). One
                that is there already is passed over.
            offsets: by partition.
            now_ms: UTC milliseconds.

        Returns:
            By endpoint, how many did not fit into its queue. They are kept as given up.

        Raises:
            OutboxError: see the class.
        """
        overflowed: Counter[str] = Counter()
        with self._using() as db:
            for endpoint, webhook_id, match_id, kind, body, due_ms in deliveries:
                waiting = self._count(db, endpoint, pending=True)
                full = waiting >= PENDING_MAX
                overflowed[endpoint] += full
                db.execute(
                    "INSERT OR IGNORE INTO deliveries"
                    " (endpoint, webhook_id, match_id, kind, body, made_ms, due_ms, failed_ms, reason)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        endpoint, webhook_id, match_id, kind, body, now_ms, due_ms, now_ms if full else None,
                        f"{PENDING_MAX} deliveries of this endpoint waited already" if full else "",
                    ),
                )  # fmt: skip
                if full:
                    self._bound_failed(db, endpoint)
            self._write_offsets(db, offsets)
        return overflowed

    def next_due(self, endpoint: str, now_ms: int) -> Delivery | None:
        """The oldest delivery of an endpoint that may be tried now; None for none.

        Those of a match go out in order: a later one waits for an earlier one, until that has failed five
        times.

        Raises:
            OutboxError: see the class.
        """
        with self._reading() as db:
            row = db.execute(
                _NEXT, (endpoint, now_ms, now_ms + DUE_AHEAD_MAX_MS, KEEPS_ORDER_ATTEMPTS)
            ).fetchone()
        return None if row is None else Delivery(*row)

    def delivered(self, delivery: Delivery) -> None:
        """Forget a delivery: the receiver has it.

        Raises:
            OutboxError: see the class; it is sent once more, under the same id.
        """
        with self._using() as db:
            db.execute("DELETE FROM deliveries WHERE number = ?", (delivery.number,))

    def retry(self, delivery: Delivery, due_ms: int, reason: str) -> None:
        """Have a delivery tried again.

        Raises:
            OutboxError: see the class; it is tried again sooner.
        """
        with self._using() as db:
            db.execute(
                "UPDATE deliveries SET attempts = attempts + 1, due_ms = ?, reason = ? WHERE number = ?",
                (due_ms, reason, delivery.number),
            )

    def give_up(self, delivery: Delivery, now_ms: int, reason: str) -> None:
        """Keep a delivery as given up, for ``redrive``.

        Raises:
            OutboxError: see the class; it is tried again.
        """
        with self._using() as db:
            db.execute(
                "UPDATE deliveries SET attempts = attempts + 1, failed_ms = ?, reason = ? WHERE number = ?",
                (now_ms, reason, delivery.number),
            )
            self._bound_failed(db, delivery.endpoint)

    def pending(self, endpoint: str) -> tuple[int, int | None]:
        """How many deliveries of an endpoint wait, and since when the oldest does, UTC milliseconds.

        Raises:
            OutboxError: see the class.
        """
        with self._reading() as db:
            row = db.execute(_PENDING, (endpoint,)).fetchone()
        return int(row[0]), row[1]

    def all(self, *, failed: bool | None = None) -> list[Delivery]:
        """Every delivery, oldest first; with ``failed`` those that were given up, or those that were not.

        Raises:
            OutboxError: see the class.
        """
        with self._reading() as db:
            rows = db.execute(_ALL).fetchall()
        every = [Delivery(*row) for row in rows]
        return [one for one in every if failed is None or failed == (one.failed_ms is not None)]

    def redrive(self, numbers: Sequence[int], now_ms: int) -> None:
        """Have deliveries that were given up tried again, as if they were new, under their ids.

        Raises:
            OutboxError: see the class; nothing was changed.
        """
        with self._using() as db:
            db.executemany(
                "UPDATE deliveries SET failed_ms = NULL, attempts = 0, made_ms = ?, due_ms = ? WHERE number"
                " = ?"
                " AND failed_ms IS NOT NULL",
                [(now_ms, now_ms, number) for number in numbers],
            )

    def discard(self, numbers: Sequence[int]) -> None:
        """Remove deliveries for good.

        Raises:
            OutboxError: see the class; nothing was changed.
        """
        with self._using() as db:
            db.executemany("DELETE FROM deliveries WHERE number = ?", [(number,) for number in numbers])

    @staticmethod
    def _count(db: sqlite3.Connection, endpoint: str, *, pending: bool) -> int:
        row = db.execute(_PENDING if pending else _FAILED, (endpoint,)).fetchone()
        return int(row[0])

    def _bound_failed(self, db: sqlite3.Connection, endpoint: str) -> None:
        """Of what was given up, the oldest gives way."""
        too_many = self._count(db, endpoint, pending=False) - FAILED_MAX
        if too_many > 0:
            db.execute(
                "DELETE FROM deliveries WHERE number IN (SELECT number FROM deliveries WHERE endpoint = ?"
                " AND failed_ms IS NOT NULL ORDER BY number LIMIT ?)",
                (endpoint, too_many),
            )
