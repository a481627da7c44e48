"""One match as a stream worker knows it: where it stands, and its latest deltas. No I/O.

The window is what a reconnect storm is answered from. It gives the same three answers as ``resume``, or
None where only the bus knows.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from itertools import islice

from origin.bus import Published, follows
from origin.stream.hub.resume import Resumed
from shared_state import DeltaId

__all__ = ["ReplayWindow", "Step"]


class Step(Enum):
    """What a delta is to a match."""

    NEXT = "next"  #: it follows the head, and is the head now
    KNOWN = "known"  #: it came before; nothing moved
    HOLE = "hole"  #: others should have come before it; nothing moved


class ReplayWindow:
    """Where a match stands.

    Attributes:
        head: the id of the latest delta.
        version: rises whenever the head moves, for those who keep what they derive from it.
    """

    def __init__(self, match_id: str, head: DeltaId, deltas: list[Published], limit: int) -> None:
        self.match_id = match_id
        self.head = head
        self.version = 0
        self._window: deque[Published] = deque(deltas, maxlen=limit)

    def advance(self, published: Published) -> Step:
        """Take the next delta of the bus."""
        if published.id <= self.head:
            return Step.KNOWN
        # A head at seq 0 is a match that has been opened before its first delta.
        if not follows(published.id, self.head):
            return Step.HOLE
        if published.id.epoch != self.head.epoch:
            self._window.clear()
        self._window.append(published)
        self.head = published.id
        self.version += 1
        return Step.NEXT

    def reset(self, head: DeltaId) -> None:
        """Deltas were lost for good: the match stands at ``head``, and nothing before can be replayed."""
        self._window.clear()
        self.head = head
        self.version += 1

    def answer(self, after: DeltaId | None) -> Resumed | None:
        """Answer a viewer from memory; None if it takes the bus to know."""
        head = self.head
        if after is None or after.epoch != head.epoch:
            return Resumed(head, (), True, "gap")
        if after == head:
            return Resumed(head, (), False, "up_to_date")
        missing = head.seq - after.seq
        # Ahead of us: the bus has reached another worker first. Behind the window: the bus keeps more.
        if missing < 0 or missing > len(self._window):
            return None
        return Resumed(head, list(islice(self._window, len(self._window) - missing, None)), False, "replay")
