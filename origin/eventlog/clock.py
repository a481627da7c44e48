"""The clock of this machine, by which a log in this process dates records: a jump ahead is not believed.

A date of the log stays for ever: it is part of ids, and later records of the match are dated no earlier. A
machine's clock may jump ahead by years for a moment, and come back. So while the wall clock is more than a
minute ahead of what it showed within the last hour, records are dated by that earlier clock and the time
that has passed since. A clock that still says the same an hour later is believed. A clock that is set back
is believed at once: that does no harm, because within a match no record is dated before those before it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["HOUR_MS", "JUMP_MS", "MACHINE_CLOCK", "BelievedClock", "elapsed_ms", "wall_clock_ms"]

logger = logging.getLogger(__name__)

# A clock that is disciplined by NTP is never set by as much, except once after the machine has started.
JUMP_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000


def wall_clock_ms() -> int:
    """UTC milliseconds."""
    return time.time_ns() // 1_000_000


def elapsed_ms() -> int:
    """Milliseconds since some moment; time in which the machine was suspended counts where that is known."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    return time.monotonic_ns() // 1_000_000


class BelievedClock:
    """See the module. Any thread may use it.

    Args:
        wall_ms: the clock that may jump.
        elapsed_ms: one that cannot.
    """

    def __init__(
        self, wall_ms: Callable[[], int] = wall_clock_ms, elapsed_ms: Callable[[], int] = elapsed_ms
    ) -> None:
        self._wall_ms = wall_ms
        self._elapsed_ms = elapsed_ms
        self._lock = threading.Lock()
        # What the wall clock was ahead of the other one, when that was believed: the highest of each minute.
        self._believed: deque[tuple[int, int]] = deque()
        self._offset_ms = wall_ms() - elapsed_ms()
        self._refused_since_ms: int | None = None

    def now_ms(self) -> int:
        """UTC milliseconds, as far as they are believed."""
        with self._lock:
            self._read()
            return self._elapsed_ms() + self._offset_ms

    def ahead_ms(self) -> int:
        """By how many milliseconds the wall clock is ahead of what is believed; 0 while it is believed."""
        with self._lock:
            offset_ms = self._read()
            return 0 if self._refused_since_ms is None else offset_ms - self._offset_ms

    def ahead_s(self) -> float:
        """``ahead_ms`` in seconds."""
        return self.ahead_ms() / 1000

    def _read(self) -> int:
        """Believe the wall clock, or not; returns how far it is ahead of the other one."""
        passed_ms = self._elapsed_ms()
        offset_ms = self._wall_ms() - passed_ms
        while self._believed and self._believed[0][0] < passed_ms - HOUR_MS:
            self._believed.popleft()
        # The clock that was believed last counts, however long ago that was.
        highest_ms = max([self._offset_ms, *(believed_ms for _, believed_ms in self._believed)])
        if offset_ms > highest_ms + JUMP_MS and not self._lasts(passed_ms, offset_ms - self._offset_ms):
            return offset_ms
        if self._refused_since_ms is not None:
            logger.warning("the clock of this machine is believed again")
            self._refused_since_ms = None
        self._offset_ms = offset_ms
        if self._believed and self._believed[-1][0] > passed_ms - _MINUTE_MS:
            since_ms, believed_ms = self._believed.pop()
            self._believed.append((since_ms, max(believed_ms, offset_ms)))
        else:
            self._believed.append((passed_ms, offset_ms))
        return offset_ms

    def _lasts(self, passed_ms: int, ahead_ms: int) -> bool:
        """Whether a clock that is ahead has been so for an hour."""
        if self._refused_since_ms is None:
            self._refused_since_ms = passed_ms
            logger.error(
                "the clock of this machine has jumped ahead by %.0f s; records are dated by the last hour's"
                " clock, until it is set right or has said the same for an hour",
                ahead_ms / 1000,
            )
        return passed_ms - self._refused_since_ms >= HOUR_MS


# A machine has one wall clock, so a process has one of these.
MACHINE_CLOCK: Final = BelievedClock()
