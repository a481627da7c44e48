"""Where a viewer goes on: three answers and no fourth, whatever transport carries them.

A viewer that names an id gets nothing (it missed nothing), the whole missed part, or a gap. One that
names none is new: it has the page's snapshot or nothing, and gets a gap at the head, which says where
the snapshot is. It never gets a part of what it missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from origin.bus import Published
from shared_state import DeltaId

__all__ = ["Resumed"]


@dataclass(frozen=True, slots=True)
class Resumed:
    """The answer to one viewer.

    Attributes:
        position: the id this viewer is at once ``missed`` or the snapshot is applied. Live deltas up to
            and including it came twice and are dropped.
        missed: the whole missed part, oldest first; empty if nothing was missed or with a gap.
        gap: True if the viewer needs the snapshot.
        answer: ``up_to_date``, ``replay`` or ``gap``: the name in the metrics.
    """

    position: DeltaId
    missed: Sequence[Published]
    gap: bool
    answer: str
