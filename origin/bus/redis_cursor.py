"""How far one match was delivered in this process, whatever happens to connections and servers.

No I/O. Live messages and re-reads both come here, from two threads and in any mixture; subscribers see
each delta once and in order, because a delta is delivered only if it follows the last one.

Rules
-----
1. Nothing is delivered before the base is known: the match's id at a time after Redis confirmed the
   subscription. A message that comes earlier only causes a re-read.
2. An id at or below the position came twice, and is dropped.
3. An id that follows the position is delivered.
4. Any other id means that a delta was lost on the way, and causes a re-read.
5. Only a re-read can find that the missing deltas are gone. Then ``on_gap`` is called, once.
6. A bus whose head is *behind* the position lost data and has not been refilled yet. There is nothing to
   deliver; what the refill repeats is dropped by rule 2.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from origin.bus import Gap, Published, Replay, Suffix, follows
from origin.provenance import Provenance
from shared_state import DeltaId

__all__ = ["Cursor", "Subscriber"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """The callbacks of one subscription; see ``Bus.subscribe``."""

    on_delta: Callable[[Published], None]
    on_gap: Callable[[DeltaId], None] | None


class Cursor:
    """One match.

    Attributes:
        ready: set once the base is known: a replay that begins now loses nothing.
        stale: a re-read is needed.
        announced: the id of a delta that is on its way, and where it comes from.
    """

    def __init__(self, match_id: str) -> None:
        self.match_id = match_id
        self.ready = threading.Event()
        self.stale = True
        self.announced: tuple[DeltaId, Provenance | None] | None = None
        # Locked while callbacks run: none runs after the close of its subscription returned.
        # Reentrant, since a callback may close its subscription.
        self._lock = threading.RLock()
        self._position: DeltaId | None = None
        self._subscribers: dict[int, Subscriber] = {}
        self._next_key = 0

    @property
    def position(self) -> DeltaId | None:
        """The last id delivered, or the base; None if the bus did not know the match."""
        return self._position

    @property
    def wanted(self) -> bool:
        """Whether it has a subscriber."""
        return bool(self._subscribers)

    def add(self, subscriber: Subscriber) -> int:
        """Deliver to one more subscriber from now on; returns the key for ``remove``."""
        with self._lock:
            self._next_key += 1
            self._subscribers[self._next_key] = subscriber
            return self._next_key

    def remove(self, key: int) -> None:
        """Stop delivering to a subscriber; none of its callbacks runs when this returns."""
        with self._lock:
            self._subscribers.pop(key, None)

    def clear(self) -> None:
        """Remove all subscribers."""
        with self._lock:
            self._subscribers.clear()

    def take_live(self, published: Published) -> bool:
        """Take a live message; False if a re-read is needed."""
        if self.announced is not None:
            id_, provenance = self.announced
            self.announced = None
            if id_ == published.id:
                published = replace(published, provenance=provenance)
        with self._lock:
            if not self.ready.is_set():
                self.stale = True
                return False
            if self._position is not None and published.id <= self._position:
                return True
            if not follows(published.id, self._position):
                self.stale = True
                return False
            self._deliver(published)
            return True

    def begin(self, head: DeltaId | None) -> None:
        """Set the base; nothing if it is known already."""
        with self._lock:
            if not self.ready.is_set():
                self._position = head
                self.ready.set()

    def take_replay(self, replay: Replay) -> int:
        """Deliver the answer to a re-read after ``position``; returns how many deltas it brought."""
        with self._lock:
            if isinstance(replay, Suffix):
                # It begins at or before the current position, so there is no hole between the two.
                fresh = [p for p in replay.deltas if self._position is None or p.id > self._position]
                for published in fresh:
                    self._deliver(published)
                return len(fresh)
            if isinstance(replay, Gap) and replay.head is not None:
                self._skip_to(replay.head)
            return 0

    def _deliver(self, published: Published) -> None:
        self._position = published.id
        for subscriber in list(self._subscribers.values()):
            try:
                subscriber.on_delta(published)
            except Exception:
                logger.exception("match %s: a subscriber failed at %s", self.match_id, published.id)

    def _skip_to(self, head: DeltaId) -> None:
        if self._position is not None and head <= self._position:
            return
        self._position = head
        for subscriber in list(self._subscribers.values()):
            if subscriber.on_gap is None:
                continue
            try:
                subscriber.on_gap(head)
            except Exception:
                logger.exception("match %s: a subscriber failed at the gap to %s", self.match_id, head)
