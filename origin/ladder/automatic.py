"""A worker that goes down the ladder by its own load, where the operator has allowed it. Numbers only.

It acts on two measures: how full the process is, and how long its loop takes to come round. Both fall as soon
as pages have left, so a step that is given up may be needed again at once: each time that happens the next
stay is twice as long, up to an hour. So the worst it does is a few moves an hour.
"""

from __future__ import annotations

from typing import Final

from origin.ladder.steps import Step

__all__ = ["AutomaticLadder"]

#: A measure is above its threshold for so long before a step is taken, and between two steps down.
CLIMB_AFTER_S: Final = 10.0
#: It is below its lower threshold for so long before a step is given up, at first and at most.
STAY_S: Final = 60.0
STAY_MAX_S: Final = 3_600.0
#: The lower thresholds, as a part of the upper ones.
_CALM: Final = 0.6


class AutomaticLadder:
    """See the module.

    Args:
        max_step: the furthest step that it may take; ``NORMAL`` switches it off.
        full: from which part of its viewers a process is too full, above 0, at most 1.
        delay_s: from which delay its loop is too slow, seconds.

    Attributes:
        step: where it is.
    """

    def __init__(self, max_step: Step, *, full: float, delay_s: float) -> None:
        self.step = Step.NORMAL
        self._max_step = max_step
        self._full = full
        self._delay_s = delay_s
        self._over_since_s: float | None = None
        self._calm_since_s: float | None = None
        self._stay_s = STAY_S
        self._left_s = 0.0

    def look(self, now_s: float, *, full: float, delay_s: float) -> Step:
        """Take the measures of a moment, and say where the ladder is; call it about once a second.

        Args:
            now_s: seconds that never go back.
            full: which part of its viewers the process has.
            delay_s: how long its loop took to come round, seconds.
        """
        if full >= self._full or delay_s >= self._delay_s:
            self._calm_since_s = None
            if self._over_since_s is None:
                self._over_since_s = now_s
            if now_s - self._over_since_s >= CLIMB_AFTER_S and self.step < self._max_step:
                self._take_step(now_s)
        elif full < self._full * _CALM and delay_s < self._delay_s * _CALM:
            self._over_since_s = None
            if self._calm_since_s is None:
                self._calm_since_s = now_s
            if self.step and now_s - self._calm_since_s >= self._stay_s:
                self.step = Step(self.step - 1)
                self._calm_since_s = self._left_s = now_s
        else:  # between the two thresholds everything stays as it is
            self._over_since_s = self._calm_since_s = None
        return self.step

    def _take_step(self, now_s: float) -> None:
        # It was needed again within the time that it had stayed: it was given up too soon.
        again = self._left_s and now_s - self._left_s < 2 * self._stay_s
        if again:
            self._stay_s = min(STAY_MAX_S, 2 * self._stay_s)
        elif not self.step:
            self._stay_s = STAY_S
        self.step = Step(self.step + 1)
        self._over_since_s = now_s
