"""Where a viewer goes on: three answers and no fourth, whatever transport carries them.

A viewer that names an id gets nothing (it missed nothing), the whole missed part, or a gap. One that
names none is new: it has the page's snapshot or nothing, and gets a gap at the head, which says where
the snapshot is. It never gets a part of what it missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from origin.bus import Bus, Gap, Published, Suffix, UpToDate
from shared_state import DeltaId

__all__ = ["Resumed", "resume"]


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


def resume(bus: Bus, match_id: str, after: DeltaId | None) -> Resumed | None:
    """Answer a viewer. The caller has subscribed *before* it calls this, or events are lost in between.

    Returns:
        None if the bus does not know the match.
    """
    if after is None:
        snapshot = bus.snapshot(match_id)
        return None if snapshot is None else Resumed(snapshot.id, (), True, "gap")
    match bus.replay(match_id, after):
        case UpToDate():
            return Resumed(after, (), False, "up_to_date")
        case Suffix(deltas):
            return Resumed(deltas[-1].id, deltas, False, "replay")
        case Gap(head):
            return None if head is None else Resumed(head, (), True, "gap")
