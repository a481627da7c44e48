"""The log inside one process, for tests: everything but durability, and the contract suite's reference."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from origin.eventlog import Appended, LogRecord, MatchSize, SignedBy
from origin.eventlog.clock import wall_clock_ms
from origin.eventlog.codec import encode_event
from origin.eventlog.deadletter import MemoryDeadLetters
from origin.eventlog.limits import SizeCache
from origin.eventlog.offsets import OffsetConsumer
from shared_state import Event

__all__ = ["MemoryEventLog", "open_url", "wall_clock_ms"]


class MemoryEventLog:
    """See ``origin.eventlog.EventLog``."""

    def __init__(self, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._now_ms = now_ms
        self._changed = threading.Condition()
        self._records: list[LogRecord] = []
        self._last_ms: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self._committed: dict[str, int] = {}
        self._dead_letters = MemoryDeadLetters()
        self._sizes = SizeCache(self._count_after)

    def append(
        self,
        events: Sequence[Event],
        key: str | None = None,
        signed_by: SignedBy | None = None,
        traceparent: str | None = None,
    ) -> Appended:
        """See ``EventLog.append``."""
        with self._changed:
            if key is not None:
                if key in self._keys:
                    return Appended(False, self._keys[key])
                self._keys[key] = len(events)
            now_ms = self._now_ms()
            for event in events:
                # A clock set back must not make a match's later events older than its epoch. Only this
                # match's: a clock that was ahead for a moment must not date the events of all others.
                appended_ms = max(now_ms, self._last_ms.get(event.match_id, 0))
                self._last_ms[event.match_id] = appended_ms
                offset = len(self._records) + 1
                self._records.append(LogRecord(0, offset, appended_ms, event, signed_by, traceparent))
            self._changed.notify_all()
        return Appended(True, len(events))

    def count_under(self, key: str) -> int | None:
        """See ``EventLog.count_under``."""
        with self._changed:
            return self._keys.get(key)

    def consumer(self, group: str | None) -> OffsetConsumer:
        """See ``EventLog.consumer``."""
        return OffsetConsumer(self, group)

    def read_match(self, match_id: str, after: int = -1) -> Iterator[LogRecord]:
        """See ``EventLog.read_match``."""
        with self._changed:
            records = self._records[max(0, after) :]
        return (record for record in records if record.event.match_id == match_id)

    def size_of(self, match_id: str) -> MatchSize:
        """See ``EventLog.size_of``."""
        return self._sizes.size_of(match_id)

    def dead_letters(self) -> MemoryDeadLetters:
        """See ``EventLog.dead_letters``."""
        return self._dead_letters

    def close(self) -> None:
        """See ``EventLog.close``."""

    def wait_after(self, offset: int, timeout_s: float, limit: int) -> list[LogRecord]:
        """Records after an offset, waiting for the first; what a consumer polls."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._records) > offset, timeout_s)
            return self._records[offset : offset + limit]

    def committed(self, group: str) -> int:
        """The offset that a group has committed; 0 for a new group."""
        with self._changed:
            return self._committed.get(group, 0)

    def commit(self, group: str, offset: int) -> None:
        """Commit all records up to and including ``offset`` for a group."""
        with self._changed:
            self._committed[group] = max(offset, self._committed.get(group, 0))

    def _count_after(self, match_id: str, offset: int) -> tuple[int, int, int]:
        records = list(self.read_match(match_id, offset))
        size = sum(len(encode_event(record.event)) for record in records)
        return len(records), size, records[-1].offset if records else offset


def open_url(url: str) -> MemoryEventLog:
    """A new log; ``memory://`` takes no settings."""
    del url
    return MemoryEventLog()
