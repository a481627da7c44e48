"""Leaving and coming back at the pace the servers can take: numbers only.

When a worker ends, its viewers go elsewhere or come back to its successor; either accepts so many per
second. The window is the viewers divided by that rate: they are closed spread over it, and the same
number is how long a viewer is asked to wait after a 503 or a lost connection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["SHARE_FOR_ACCEPTING", "AcceptRate", "DrainPlan", "retry_ms", "window_s"]

# Viewers that come back share the processor with the deltas they come for.
SHARE_FOR_ACCEPTING = 0.5
_SMOOTHING = 0.2
# Fewer than this taken together measure the clock and not the work.
_BATCH_MIN = 32


@dataclass(slots=True)
class AcceptRate:
    """How many viewers per second this process can take, measured while it takes them."""

    per_s: float

    def observe(self, taken: int, elapsed_s: float) -> None:
        """``taken`` viewers were accepted and answered in ``elapsed_s`` of this thread's time."""
        if taken >= _BATCH_MIN and elapsed_s > 0:
            rate = SHARE_FOR_ACCEPTING * taken / elapsed_s
            self.per_s += _SMOOTHING * (rate - self.per_s)


def window_s(viewers: int, per_s: float) -> float:
    """Over how many seconds so many viewers should leave, or come."""
    return viewers / max(1.0, per_s)


def retry_ms(min_ms: int, window: float, random_unit: float) -> int:
    """When one viewer should come back.

    Args:
        min_ms: not sooner than this.
        window: the seconds over which all of them come back.
        random_unit: a number in [0, 1) drawn for this viewer.
    """
    return min_ms + int(random_unit * max(1.0, window) * 1_000)


@dataclass(frozen=True, slots=True)
class DrainPlan:
    """How many viewers are to be gone when.

    Attributes:
        viewers: how many there were at the start.
        started_s: when, on the monotonic clock.
        window: over how many seconds they go.
    """

    viewers: int
    started_s: float
    window: float

    def due(self, now_s: float) -> int:
        """How many should be gone by now."""
        if self.window <= 0:
            return self.viewers
        share = (now_s - self.started_s) / self.window
        return min(self.viewers, math.ceil(self.viewers * max(0.0, share)))
