"""A SQLite log that is changed while no process uses it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from origin.errors import EventLogError

__all__ = ["offline"]


@contextlib.contextmanager
def offline(path: Path, *, change: bool) -> Iterator[sqlite3.Connection]:
    """The log for the time of the block; what the block changes is committed at its end, or not at all.

    Args:
        path: the file.
        change: whether the block changes it; then every process that uses it must have ended.

    Raises:
        EventLogError: the file is no log, or another process has it open; nothing was changed.
    """
    if not path.is_file():
        raise EventLogError(f"there is no event log {str(path)!r}")
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as db:
            if not change:
                yield db
                return
            # SQLite leaves WAL mode only while no other connection is open.
            db.execute("PRAGMA journal_mode=DELETE")
            db.execute("BEGIN EXCLUSIVE")
            yield db
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise EventLogError(
                f"the event log {str(path)!r} is open in another process: stop all that use it first"
            ) from error
        raise EventLogError(f"the event log {str(path)!r} cannot be changed: {error}") from error
