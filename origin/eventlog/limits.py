"""How large a match may become: so many events, and so many bytes of them, in the log.

A snapshot has every event that stands, in about as many bytes as the log has of it, and is written anew at
each change of the match. So the size of a match in the log bounds what one change costs, for as long as the
log is kept. Real matches are far below: a match with commentary has 3,000 events.

The size is asked before the append and not in its transaction: webhooks that are being taken at the same
time may each add one webhook's events beyond the bound, and no more.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from origin.errors import MatchTooLargeError
from origin.eventlog import EventLog, MatchSize
from shared_state import Event

__all__ = ["DEFAULT_MAX_BYTES", "DEFAULT_MAX_EVENTS", "SIZES_MAX", "MatchLimits", "SizeCache"]

DEFAULT_MAX_EVENTS: Final = 25_000
DEFAULT_MAX_BYTES: Final = 8 * 2**20
# Matches whose size is remembered, some 200 bytes each; the size of another one is counted anew.
SIZES_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class MatchLimits:
    """The bounds of one match.

    Attributes:
        max_events: it may have so many events in the log.
        max_bytes: once its events have so many bytes there, it takes no more.
    """

    max_events: int = DEFAULT_MAX_EVENTS
    max_bytes: int = DEFAULT_MAX_BYTES

    def check(
        self, log: EventLog, events: Sequence[Event], before_call: Callable[[], None] = lambda: None
    ) -> None:
        """Refuse events of a match that would be too large with them.

        Args:
            log: what the matches have so far.
            events: to be added.
            before_call: called before each call on the log; may raise ``EventLogError``.

        Raises:
            MatchTooLargeError: the first such match.
            EventLogError: the log cannot be asked.
        """
        for match_id, count in Counter(event.match_id for event in events).items():
            before_call()
            size = log.size_of(match_id)
            if size.events + count > self.max_events:
                raise MatchTooLargeError(
                    f"match {match_id!r} has {size.events} events; with {count} more it would have more than"
                    f" {self.max_events}",
                    match_id=match_id,
                    events=size.events,
                    limit=self.max_events,
                )
            if size.bytes >= self.max_bytes:
                raise MatchTooLargeError(
                    f"match {match_id!r} has {size.bytes} bytes of events; it takes no more from"
                    f" {self.max_bytes} on",
                    match_id=match_id,
                    bytes=size.bytes,
                    limit=self.max_bytes,
                )


class SizeCache:
    """The sizes of matches in a log to which other processes append as well. Any thread may use it.

    Args:
        count_after: counts the records of a match behind an offset; returns their number and bytes, and the
            offset of the last one, or the given one if there is none.
    """

    def __init__(self, count_after: Callable[[str, int], tuple[int, int, int]]) -> None:
        self._count_after = count_after
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, tuple[MatchSize, int]] = OrderedDict()

    def size_of(self, match_id: str) -> MatchSize:
        """See ``EventLog.size_of``: only what was appended since the last call is counted."""
        with self._lock:
            known, offset = self._sizes.get(match_id, (MatchSize(0, 0), -1))
        events, bytes_, offset = self._count_after(match_id, offset)
        size = MatchSize(known.events + events, known.bytes + bytes_)
        with self._lock:
            self._sizes[match_id] = (size, offset)
            self._sizes.move_to_end(match_id)
            if len(self._sizes) > SIZES_MAX:
                self._sizes.popitem(last=False)
        return size
