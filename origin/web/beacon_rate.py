"""How many beacons a process takes (``origin.web.beacons``)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["RATE_PER_S", "BeaconRate"]

#: Of one process. A goal before a million viewers brings a thousand, over the seconds in which they see it.
RATE_PER_S: Final = 200


class BeaconRate:
    """Counts the beacons of this second. For any thread.

    Args:
        per_s: so many are taken in a second.
        clock_s: seconds that never go back.
    """

    def __init__(self, per_s: int = RATE_PER_S, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._second = 0
        self._taken = 0

    def take(self) -> bool:
        """Whether one more is taken now."""
        second = int(self._clock_s())
        with self._lock:
            if second != self._second:
                self._second, self._taken = second, 0
            self._taken += 1
            return self._taken <= self._per_s
