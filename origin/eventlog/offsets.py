"""The consumer of a log that has one partition and plain rising offsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from origin.eventlog import LogRecord, Position

__all__ = ["OffsetConsumer", "OffsetLog"]


class OffsetLog(Protocol):
    """The methods of such a log that its consumers use."""

    def wait_after(self, offset: int, timeout_s: float, limit: int) -> list[LogRecord]:
        """Records after an offset, waiting up to ``timeout_s`` for the first."""

    def committed(self, group: str) -> int:
        """The offset that a group has committed; 0 for a new group."""

    def commit(self, group: str, offset: int) -> None:
        """Commit all records up to and including ``offset`` for a group."""


class OffsetConsumer:
    """See ``origin.eventlog.Consumer``. With one partition, a group has one reader at a time."""

    def __init__(self, log: OffsetLog, group: str | None) -> None:
        self._log = log
        self._group = group
        self._offset = 0 if group is None else log.committed(group)

    def skip_to(self, offset: int) -> None:
        """Read on behind an offset; nothing if that has been read already."""
        self._offset = max(self._offset, offset)

    @property
    def generation(self) -> int:
        """See ``Consumer.generation``; the one partition never changes hands."""
        return 0

    def poll(self, timeout_s: float, limit: int = 500) -> list[LogRecord]:
        """See ``Consumer.poll``."""
        records = self._log.wait_after(self._offset, timeout_s, limit)
        if records:
            self._offset = records[-1].offset
        return records

    def commit(self, records: Sequence[Position]) -> None:
        """See ``Consumer.commit``."""
        if records and self._group is not None:
            self._log.commit(self._group, max(record.offset for record in records))

    def close(self) -> None:
        """See ``Consumer.close``; there is nothing to close."""
