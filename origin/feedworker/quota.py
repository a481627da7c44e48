"""How often to ask a vendor that counts requests: by the day, spent where it matters, and by the minute.

Pure: the caller gives the time. The day is UTC, as vendors count it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["Allowance", "Quota", "allowance_of"]

_DAY_MS: Final = 86_400_000
# Kept for what must be asked at the end: the last words of matches that are over.
RESERVE: Final = 0.05
# Near a kick-off, a goal or the end a request is worth more than in the rest of a match.
ACTIVE_FACTOR: Final = 0.5


# The longest that a vendor's counter may take to begin anew: a word of it must not stop a feed for a day.
WINDOW_MAX_MS: Final = 3_600_000
_WINDOW_MS: Final = 60_000
_DAY_LEFT: Final = ("x-ratelimit-requests-remaining",)
_WINDOW_LEFT: Final = ("x-requests-available-minute", "x-requestsavailable", "x-ratelimit-remaining")
_WINDOW_RESET: Final = ("x-requestcounter-reset",)


class Allowance(NamedTuple):
    """What a vendor says is left; None where it says nothing.

    Attributes:
        day: requests of the day.
        window: requests until its counter begins anew.
        window_ms: until then, milliseconds.
    """

    day: int | None = None
    window: int | None = None
    window_ms: int = _WINDOW_MS


def allowance_of(headers: Mapping[str, str]) -> Allowance:
    """Read the headers of an answer; what is no number counts as not said.

    Args:
        headers: with names in lower case.
    """
    reset_s = _number(headers, _WINDOW_RESET)
    window_ms = _WINDOW_MS if reset_s is None else min(WINDOW_MAX_MS, reset_s * 1000)
    return Allowance(_number(headers, _DAY_LEFT), _number(headers, _WINDOW_LEFT), window_ms)


def _number(headers: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    for name in names:
        text = headers.get(name, "")
        if text.isascii() and text.isdecimal() and len(text) < 10:
            return int(text)
    return None


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
        self._window: int | None = None
        self._window_end_ms = 0

    def spend(
        self, now_ms: int, remaining: int | None = None, *, window: int | None = None, window_ms: int = 0
    ) -> None:
        """One request was made.

        Args:
            now_ms: UTC milliseconds.
            remaining: what the vendor says is left of the day; other programs may share the key.
            window: what it says is left until its counter begins anew.
            window_ms: until then, milliseconds.
        """
        self._begin_day(now_ms)
        self._spent += 1
        self._remaining = remaining
        if window is not None:
            self._window, self._window_end_ms = window, now_ms + window_ms
        elif self._window:
            self._window -= 1

    def window_wait_ms(self, now_ms: int) -> int:
        """How long until the vendor's counter of a minute begins anew, if it has nothing left; else 0."""
        if self._window is None or self._window > 0:
            return 0
        return max(0, self._window_end_ms - now_ms)

    def left(self, now_ms: int) -> int | None:
        """Requests that are left of the day; None without a limit."""
        self._begin_day(now_ms)
        own = self._per_day - self._spent if self._per_day else None
        known = [number for number in (own, self._remaining) if number is not None]
        return max(0, min(known)) if known else None

    def wait_ms(
        self, now_ms: int, least_ms: int, live_until_ms: int, *, active: bool, sharing: int = 1
    ) -> int:
        """How long to wait before the next request.

        Args:
            now_ms: UTC milliseconds.
            least_ms: the shortest interval, however much is left.
            live_until_ms: until when matches are expected to be played: what is left is for that time.
            active: whether a kick-off, a goal or an end is near.
            sharing: how many ask in turn, each of which waits for this.
        """
        least_ms = max(least_ms, self._window_share_ms(now_ms, sharing))
        left = self.left(now_ms)
        if left is None:
            return least_ms
        midnight_ms = (self._day + 1) * _DAY_MS
        usable = left - int(self._per_day * RESERVE) if left > self._per_day * RESERVE else left
        if usable <= 0:
            return max(least_ms, midnight_ms - now_ms)
        span_ms = max(0, min(live_until_ms, midnight_ms) - now_ms)
        share_ms = sharing * span_ms / usable * (ACTIVE_FACTOR if active else 1)
        return max(least_ms, round(share_ms))

    def _window_share_ms(self, now_ms: int, sharing: int) -> int:
        rest_ms = self._window_end_ms - now_ms
        if self._window is None or rest_ms <= 0:
            return 0
        # Spread over the rest of the minute, so that the last request is left when the counter begins anew.
        return -(-rest_ms * sharing // self._window) if self._window else rest_ms

    def _begin_day(self, now_ms: int) -> None:
        day = now_ms // _DAY_MS
        if day != self._day:
            self._day, self._spent, self._remaining = day, 0, None
