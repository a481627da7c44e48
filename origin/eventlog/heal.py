"""Dates in the future that a wrong clock has left in a log, and how they are set right.

When a record was really appended is not known any more. It was after the records before it, so it gets the
latest right date before it in its partition. Dates go back by that and never forth, and within a match they
still rise.

The first date of a match is its epoch, a part of every id that viewers have. It is left alone, and so are
the later dates of that match, which cannot be before it; unless epochs are asked for, which changes ids.

Workers keep the dates that they have read, so none may run meanwhile: a worker that has read the wrong date
and one that has read the right one would publish different bytes for the same id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from origin.eventlog.clock import JUMP_MS, wall_clock_ms
from origin.eventlog.sqlite_offline import offline

Item = TypeVar("Item")

__all__ = ["DatedRecord", "Healing", "counted", "heal_sqlite", "plan"]


@dataclass(frozen=True, slots=True)
class DatedRecord:
    """The date of a record, UTC milliseconds."""

    offset: int
    match_id: str
    appended_ms: int


@dataclass(frozen=True, slots=True)
class Healing:
    """What is to be changed.

    Attributes:
        dates: records with their new dates.
        epochs_left: matches that began in the future, and were left alone.
        epochs_changed: matches whose ids change.
    """

    dates: tuple[DatedRecord, ...]
    epochs_left: tuple[str, ...]
    epochs_changed: tuple[str, ...]

    @property
    def matches(self) -> list[str]:
        """The matches of which dates are changed."""
        return sorted({record.match_id for record in self.dates})


def plan(records: Iterable[DatedRecord], now_ms: int, *, with_epochs: bool = False) -> Healing:
    """What to change in one partition.

    Args:
        records: all of the partition, in the order of their offsets.
        now_ms: UTC milliseconds by a clock that is right; what is dated more than a minute later is wrong.
        with_epochs: whether also matches that began in the future are healed.
    """
    dates: list[DatedRecord] = []
    last_ms: dict[str, int] = {}
    left: set[str] = set()
    changed: set[str] = set()
    # Of records before the first right date only the upper bound is known: that date, or now.
    undated: list[DatedRecord] = []
    right_ms: int | None = None
    for record in records:
        match_id = record.match_id
        if match_id in left:
            continue
        if record.appended_ms <= now_ms + JUMP_MS:
            if right_ms is None:
                dates += [DatedRecord(one.offset, one.match_id, record.appended_ms) for one in undated]
                last_ms |= {one.match_id: record.appended_ms for one in undated}
                undated = []
            right_ms = max(record.appended_ms, right_ms or 0)
            last_ms[match_id] = max(record.appended_ms, last_ms.get(match_id, 0))
            continue
        if match_id not in last_ms and match_id not in changed:
            if not with_epochs:
                left.add(match_id)
                continue
            changed.add(match_id)
        if right_ms is None:
            undated.append(record)
            continue
        last_ms[match_id] = max(right_ms, last_ms.get(match_id, 0))
        dates.append(DatedRecord(record.offset, match_id, last_ms[match_id]))
    dates += [DatedRecord(one.offset, one.match_id, now_ms) for one in undated]
    return Healing(tuple(dates), tuple(sorted(left)), tuple(sorted(changed)))


def counted(records: Iterable[Item], seen: Callable[[int, int], None], total: int) -> Iterator[Item]:
    """The same records; ``seen`` is called now and then with how many went by, and of how many."""
    for count, record in enumerate(records, start=1):
        if count % 256 == 0:
            seen(count, total)
        yield record


def heal_sqlite(
    path: Path,
    *,
    apply: bool,
    with_epochs: bool = False,
    now_ms: Callable[[], int] = wall_clock_ms,
    seen: Callable[[int, int], None] | None = None,
) -> Healing:
    """Set the dates of a SQLite log right, in one transaction; every process that uses it must have ended.

    Args:
        path: the file.
        apply: whether to change anything.
        with_epochs: see ``plan``.
        now_ms: see ``plan``.
        seen: called with how many records were looked at, and of how many.

    Raises:
        EventLogError: the file is no log, or another process has it open; nothing was changed.
    """
    with offline(path, change=apply) as db:
        rows = db.execute('SELECT "offset", match_id, appended_ms FROM records ORDER BY "offset"')
        dated: Iterable[DatedRecord] = (DatedRecord(*row) for row in rows)
        if seen is not None:
            [(total,)] = db.execute("SELECT count(*) FROM records").fetchall()
            dated = counted(dated, seen, total)
        healing = plan(dated, now_ms(), with_epochs=with_epochs)
        if apply:
            db.executemany(
                'UPDATE records SET appended_ms = ? WHERE "offset" = ?',
                [(record.appended_ms, record.offset) for record in healing.dates],
            )
            # By these dates old keys are removed.
            db.execute(
                "UPDATE keys SET appended_ms = ? WHERE appended_ms > ?", (now_ms(), now_ms() + JUMP_MS)
            )
    return healing
