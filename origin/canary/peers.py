"""Whether a server is behind the others of its region, by how far each has heard the canary. Numbers only.

A server is compared with the median of the others, so it is behind only where most of them have heard more.
Where the log stands still none has, and nobody is behind; where nobody else reports, nobody knows better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from origin.canary.match import CanaryPosition
from origin.ladder.steps import Step

__all__ = ["BEHIND_S", "Report", "behind_of", "is_behind"]

#: A server is behind if it lacks the beats of so many seconds that most others have.
BEHIND_S: Final = 2.5
_BEATS_MIN: Final = 2
# A server that has heard nothing since it began to watch is not behind for so long: it opens the match.
_BEGINNING_S: Final = 10.0


class Report(NamedTuple):
    """What a worker says of itself to the others.

    Attributes:
        edge: the name of its server; its workers have the same.
        step: where it is by its own load.
        position: how far it has heard the canary; None for not at all.
    """

    edge: str
    step: Step
    position: CanaryPosition | None

    def encode(self) -> bytes:
        """The report as bytes, for ``decode``."""
        position = "" if self.position is None else self.position.encode()
        return f"{self.edge} {int(self.step)} {position}".encode()

    @classmethod
    def decode(cls, data: bytes) -> Report | None:
        """What ``encode`` wrote; None if it did not write that."""
        edge, _, rest = data.decode("ascii", errors="replace").partition(" ")
        step, _, position = rest.partition(" ")
        if step not in {str(int(one)) for one in Step}:
            return None
        return cls(edge, Step(int(step)), CanaryPosition.decode(position))


def behind_of(own: Report, others: Sequence[Report]) -> tuple[int, int]:
    """By how many beats a server is behind the median of the others, and how many others there are.

    Of each other server the worker that is furthest counts. Where the median is of a later hour than what
    this one has heard, all beats of that hour count.
    """
    furthest: dict[str, CanaryPosition] = {}
    for report in others:
        if report.edge != own.edge and report.position is not None:
            known = furthest.get(report.edge)
            furthest[report.edge] = report.position if known is None else max(known, report.position)
    if not furthest:
        return 0, 0
    # Of an even number the lesser one: whoever is behind is behind more than half.
    median = sorted(furthest.values())[(len(furthest) - 1) // 2]
    position = own.position
    if position is None:
        return median.id.seq, len(furthest)
    if (median.hour, median.id.epoch) == (position.hour, position.id.epoch):
        return max(0, median.id.seq - position.id.seq), len(furthest)
    return median.id.seq if median > position else 0, len(furthest)


def is_behind(beats: int, interval_s: float, watched_s: float, *, has_heard: bool) -> bool:
    """Whether a server should take no new viewers.

    Args:
        beats: by how many it is behind.
        interval_s: between two beats, seconds.
        watched_s: for how long it has watched, seconds.
        has_heard: whether it has ever heard one.
    """
    if not has_heard and watched_s < _BEGINNING_S:
        return False
    return beats >= max(_BEATS_MIN, math.ceil(BEHIND_S / interval_s))
