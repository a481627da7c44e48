"""Where the bus in memory puts matches that ended: a temporary file instead of this process's memory.

The file is a SQLite database without a name. It is in the directory that SQLITE_TMPDIR or TMPDIR names,
nobody else can open it, and it is gone when the process ends. The space of a replaced match is used again.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence

import msgspec

from origin.bus import Published, Snapshot
from shared_state import DeltaId

__all__ = ["EndedMatches"]

# More than the pages that one match needs; the rest of the file is not kept in memory.
_CACHE_KIB = 1_024
# Fast: at the start thousands of matches may be put away one after the other.
_COMPRESSION = 1


class EndedMatches:
    """The snapshot and the deltas of each match. Not thread-safe."""

    def __init__(self) -> None:
        self._opened: sqlite3.Connection | None = None

    def put(self, match_id: str, snapshot: Snapshot, deltas: Sequence[Published]) -> None:
        """Keep a match, in the place of what was kept of it before.

        Raises:
            sqlite3.Error: it is not kept: the disk is full, or the directory cannot be written to.
        """
        kept = (snapshot.id, snapshot.data, [(published.id, published.delta) for published in deltas])
        packed = zlib.compress(msgspec.msgpack.encode(kept), _COMPRESSION)
        self._db().execute("REPLACE INTO ended VALUES (?, ?)", (match_id, packed))

    def get(self, match_id: str) -> tuple[Snapshot, list[Published]]:
        """What was put.

        Raises:
            KeyError: it was never put.
            sqlite3.Error: the file cannot be read.
        """
        found = self._db().execute("SELECT data FROM ended WHERE match_id = ?", (match_id,)).fetchone()
        if found is None:
            raise KeyError(match_id)
        id_, data, deltas = _decode(zlib.decompress(found[0]))
        return Snapshot(id_, data), [Published(*published) for published in deltas]

    def close(self) -> None:
        """Delete the file."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _db(self) -> sqlite3.Connection:
        if self._opened is None:
            # An empty name is a temporary database on disk.
            db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            # So that a write to a full disk can be undone.
            db.execute("PRAGMA journal_mode=MEMORY")
            db.execute("PRAGMA synchronous=OFF")
            db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            db.execute("CREATE TABLE ended (match_id TEXT PRIMARY KEY, data BLOB NOT NULL)")
            self._opened = db
        return self._opened


_decode = msgspec.msgpack.Decoder(tuple[DeltaId, bytes, list[tuple[DeltaId, bytes]]]).decode
