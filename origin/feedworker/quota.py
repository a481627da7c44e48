"""How often to ask a vendor that counts requests: a day's number, spent where it matters.

Pure: it is told the time. The day is UTC, as vendors count it.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Quota"]

_DAY_MS: Final = 86_400_000
# Kept for what must be asked at the end: the last words of matches that are over.
RESERVE: Final = 0.05
# Near a kick-off, a goal or the end a request is worth more than in the rest of a match.
ACTIVE_FACTOR: Final = 0.5


class Quota:
    """The requests of one key.

    Args:
        per_day: that the vendor allows; 0 for as many as wanted.
    """

    def __init__(self, per_day: int) -> None:
        self._per_day = per_day
        self._day = -1
        self._spent = 0
        self._remaining: int | None = None  # as the vendor's header says

    def spend(self, now_ms: int, remaining: int | None = None) -> None:
        """One request was made.

        Args:
            now_ms: UTC milliseconds.
            remaining: what the vendor says is left of the day; other programs may share the key.
        """
        self._begin_day(now_ms)
        self._spent += 1
        self._remaining = remaining

    def left(self, now_ms: int) -> int | None:
        """Requests that are left of the day; None without a limit."""
        self._begin_day(now_ms)
        own = self._per_day - self._spent if self._per_day else None
        known = [number for number in (own, self._remaining) if number is not None]
        return max(0, min(known)) if known else None

    def wait_ms(self, now_ms: int, least_ms: int, live_until_ms: int, *, active: bool) -> int:
        """How long to wait before the next request.

        Args:
            now_ms: UTC milliseconds.
            least_ms: the shortest interval, however much is left.
            live_until_ms: until when matches are expected to be played: what is left is for that time.
            active: whether a kick-off, a goal or an end is near.
        """
        left = self.left(now_ms)
        if left is None:
            return least_ms
        midnight_ms = (self._day + 1) * _DAY_MS
        usable = left - int(self._per_day * RESERVE) if left > self._per_day * RESERVE else left
        if usable <= 0:
            return max(least_ms, midnight_ms - now_ms)
        span_ms = max(0, min(live_until_ms, midnight_ms) - now_ms)
        share_ms = span_ms / usable * (ACTIVE_FACTOR if active else 1)
        return max(least_ms, round(share_ms))

    def _begin_day(self, now_ms: int) -> None:
        day = now_ms // _DAY_MS
        if day != self._day:
            self._day, self._spent, self._remaining = day, 0, None
