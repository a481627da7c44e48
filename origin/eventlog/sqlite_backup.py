"""Copies of a SQLite log: made while it is in use, and put back while it is not.

A file of a running log must not be copied by other means: its newest events are in the ``-wal`` file beside
it, and a copy of the one without the other is a log that lacks them, or is corrupt.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from origin.errors import EventLogError

__all__ = ["back_up", "restore"]

# A backup copies so many pages of 4 KB, and then lets others use the file.
PAGES = 1_000


def back_up(path: Path, to: Path, copied: Callable[[int, int], None] | None = None) -> int:
    """Copy a log as it is at one moment; other processes go on appending and reading.

    The copy is checked, and appears under its name only when it is complete and on the disk.

    Args:
        path: the log.
        to: the copy; must not exist.
        copied: called now and then with how many pages are copied, and of how many.

    Returns:
        How many records the copy has.

    Raises:
        EventLogError: ``path`` is no log or cannot be read, or ``to`` exists or cannot be written.
    """
    if not path.is_file():
        raise EventLogError(f"there is no event log {str(path)!r}")
    return _copy(path, to, copied)


def restore(backup: Path, path: Path, copied: Callable[[int, int], None] | None = None) -> int:
    """Make a log of a backup.

    Args:
        backup: a copy that ``back_up`` made.
        path: the log; must not exist, nor its ``-wal`` file: a log that is there may have later events.
        copied: as of ``back_up``.

    Returns:
        How many records the log has.

    Raises:
        EventLogError: ``backup`` is no log, or there is a log.
    """
    if not backup.is_file():
        raise EventLogError(f"there is no backup {str(backup)!r}")
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            raise EventLogError(f"{str(beside)!r} belongs to a log that was here: move it away first")
    return _copy(backup, path, copied)


def _copy(source: Path, to: Path, copied: Callable[[int, int], None] | None) -> int:
    if to.exists():
        raise EventLogError(f"{str(to)!r} exists, and is not overwritten: move it away first")
    partial = to.with_name(to.name + ".partial")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with (
            contextlib.closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as reading,
            contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as copy,
        ):
            reading.execute("SELECT count(*) FROM records")
            # Within one read transaction the copy is of one moment, and others that append do not restart it.
            reading.execute("BEGIN")
            reading.execute("SELECT 1 FROM records LIMIT 1").fetchall()
            reading.backup(copy, pages=PAGES, sleep=0.0, progress=_pages(copied))
            copy.execute("PRAGMA journal_mode=DELETE")
            [(verdict,)] = copy.execute("PRAGMA integrity_check(1)").fetchall()
            if verdict != "ok":
                raise EventLogError(f"the event log {str(source)!r} is corrupt: {verdict}")
            [(count,)] = copy.execute("SELECT count(*) FROM records").fetchall()
        _sync(partial)
        partial.rename(to)
        _sync(to.parent)
    except (OSError, sqlite3.Error) as error:
        raise EventLogError(f"{str(source)!r} cannot be copied to {str(to)!r}: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return int(count)


def _pages(copied: Callable[[int, int], None] | None) -> Callable[[int, int, int], object] | None:
    """The callback that sqlite3 wants: it says how many pages remain."""
    if copied is None:
        return None

    def call(status: int, remaining: int, total: int) -> None:
        del status
        copied(total - remaining, total)

    return call


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
