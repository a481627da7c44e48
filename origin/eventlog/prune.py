"""Old matches that are removed from a SQLite log.

A match is a function of all its events, so it is removed as a whole or not at all. Its name stays in the
table ``pruned``, and the log takes no event of it any more: a late correction would begin it anew, without
its goals, and by a clock that was set back under ids that come before those that viewers have had.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from origin.eventlog.codec import decode_event
from origin.eventlog.sqlite_offline import offline
from shared_state import Event, fold
from shared_state.wording import ENDED

__all__ = ["OldMatch", "prune_sqlite"]

# After one of these a match changes by a correction only.
_OVER: Final = ENDED | {"CANCELLED", "ABANDONED"}
_PRUNED_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS pruned (match_id TEXT PRIMARY KEY, pruned_ms INTEGER NOT NULL)"
)


@dataclass(frozen=True, slots=True)
class OldMatch:
    """A match whose last record is older than was asked for.

    Attributes:
        match_id: the match.
        records: how many it has.
        last_ms: the date of the last one, UTC milliseconds.
        status: what its events make its status.
        pruned: whether it is removed; one that is not over is left.
    """

    match_id: str
    records: int
    last_ms: int
    status: str
    pruned: bool


def prune_sqlite(
    path: Path,
    before_ms: int,
    *,
    apply: bool,
    now_ms: int,
    with_unfinished: bool = False,
    seen: Callable[[int, int], None] | None = None,
) -> list[OldMatch]:
    """Remove the matches that are over and have no record from ``before_ms`` on, in one transaction.

    Args:
        path: the file; to apply it, every process that uses it must have ended.
        before_ms: UTC milliseconds.
        apply: whether to change anything.
        now_ms: UTC milliseconds, kept as the time of the removal.
        with_unfinished: whether also matches that never came to an end are removed.
        seen: called with how many of the old matches were folded, and of how many.

    Returns:
        All old matches, in the order of their first records.

    Raises:
        EventLogError: the file is no log, or another process has it open; nothing was changed.
    """
    found: list[OldMatch] = []
    with offline(path, change=apply) as db:
        rows = db.execute(
            "SELECT match_id, count(*), max(appended_ms) FROM records GROUP BY match_id"
            ' HAVING max(appended_ms) < ? ORDER BY min("offset")',
            (before_ms,),
        ).fetchall()
        for count, (match_id, records, last_ms) in enumerate(rows):
            if seen is not None:
                seen(count, len(rows))
            texts = db.execute(
                'SELECT event FROM records WHERE match_id = ? ORDER BY "offset"', (match_id,)
            ).fetchall()
            events = [event for (text,) in texts if (event := _event(text, match_id)) is not None]
            status = fold(match_id, events).status
            pruned = with_unfinished or status in _OVER
            found.append(OldMatch(match_id, records, last_ms, status, pruned))
        if not apply:
            return found
        db.execute(_PRUNED_TABLE)
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for match in found:
            if not match.pruned:
                continue
            names = (match.match_id,)
            db.execute("INSERT OR IGNORE INTO pruned VALUES (?, ?)", (match.match_id, now_ms))
            if "dead_letters" in tables:
                # They were kept so that a reader of the record does not add them again.
                db.execute(
                    'DELETE FROM dead_letters WHERE "offset" IN'
                    ' (SELECT "offset" FROM records WHERE match_id = ?)',
                    names,
                )
            if "checkpoints" in tables:
                db.execute("DELETE FROM checkpoints WHERE match_id = ?", names)
            db.execute("DELETE FROM records WHERE match_id = ?", names)
    return found


def _event(text: str, match_id: str) -> Event | None:
    """The event of a record; None if it is none, which then is a dead letter."""
    try:
        event = decode_event(text)
    except ValueError:
        return None
    return event if event.match_id == match_id else None
