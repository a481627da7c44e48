"""How late what a server knows is, by the beats that come to it. Numbers only; one clock that nobody sets.

The log dates each beat, and this machine notes when it came. The two clocks may differ, and an embargo delays
every beat of a region alike. So a beat counts as late by what it took more than the quickest beat of the last
minutes, and the age goes on while none comes.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["LATE_AFTER_S", "Lateness"]

#: Less than this is no lateness that a reader needs to hear of: an interval, a pause, a fail-over.
LATE_AFTER_S: Final = 10.0
# The quickest beat of this period and of the one before counts: a clock that was set is forgotten after two.
_PERIOD_S: Final = 600.0


class Lateness:
    """See the module.

    Args:
        now_s: when watching begins, on the monotonic clock.
    """

    def __init__(self, now_s: float) -> None:
        # When the newest beat would have come by the quickest way; at first it is the beginning.
        self._known_until_s = now_s
        self._quickest_s = self._quickest_before_s = math.inf
        self._period_began_s = now_s

    def heard(self, now_s: float, accepted_ms: int) -> None:
        """A beat came.

        Args:
            now_s: when, on the monotonic clock.
            accepted_ms: when the log took it, UTC milliseconds.
        """
        if now_s - self._period_began_s > _PERIOD_S:
            self._quickest_before_s, self._quickest_s = self._quickest_s, math.inf
            self._period_began_s = now_s
        took_s = now_s - accepted_ms / 1_000
        self._quickest_s = min(self._quickest_s, took_s)
        self._known_until_s = accepted_ms / 1_000 + min(self._quickest_s, self._quickest_before_s)

    def age_s(self, now_s: float) -> float:
        """How old what this server knows is, seconds; about an interval while all is well."""
        return max(0.0, now_s - self._known_until_s)

    def late_ms(self, now_s: float) -> int:
        """The same in milliseconds, and 0 where it is not worth a word."""
        age_s = self.age_s(now_s)
        return round(age_s * 1_000) if age_s >= LATE_AFTER_S else 0
