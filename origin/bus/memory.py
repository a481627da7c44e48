"""The bus inside one process: the embedded default, and the reference the contract suite compares with."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from origin.bus import (
    BusHealth,
    Gap,
    Published,
    Replay,
    Snapshot,
    Subscription,
    Suffix,
    UpToDate,
    check_run,
    follows,
)
from origin.errors import BusBehindError, BusError
from shared_state import DeltaId

__all__ = ["MemoryBus", "open_url"]

# A match has 100 to 300 deltas; one that is amended all evening stays within ten times that.
REPLAY_MAX_DELTAS = 2_000


@dataclass(slots=True)
class _Channel:
    """The replay, the snapshot and the subscribers of one match."""

    replay: deque[Published] = field(default_factory=lambda: deque(maxlen=REPLAY_MAX_DELTAS))
    snapshot: Snapshot | None = None
    subscribers: dict[int, Callable[[Published], None]] = field(default_factory=dict)


class MemoryBus:
    """See ``origin.bus.Bus``."""

    def __init__(self) -> None:
        # One lock for all matches: publish keeps it while it calls subscribers, so that deltas reach
        # each subscriber in order and none after its subscription is closed. A subscriber only puts the
        # delta on a queue, so that takes microseconds. Reentrant: a callback may unsubscribe.
        self._lock = threading.RLock()
        self._channels: dict[str, _Channel] = {}
        self._next_subscriber = 0
        self._complete = False

    def publish(self, match_id: str, published: Published, snapshot: bytes) -> bool:
        """See ``Bus.publish``."""
        return self.refill(match_id, [published], snapshot) > 0

    def refill(self, match_id: str, deltas: Sequence[Published], snapshot: bytes) -> int:
        """See ``Bus.refill``."""
        check_run(deltas)
        with self._lock:
            channel = self._channels.get(match_id)
            head = None if channel is None or channel.snapshot is None else channel.snapshot.id
            fresh = [published for published in deltas if head is None or published.id > head]
            if not fresh:
                return 0
            if not follows(fresh[0].id, head):
                raise BusBehindError(match_id, fresh[0].id, head)
            if channel is None:
                channel = self._channels[match_id] = _Channel()
            if head is not None and head.epoch != fresh[0].id.epoch:
                channel.replay.clear()
            channel.replay.extend(fresh)
            channel.snapshot = Snapshot(fresh[-1].id, snapshot)
            for published in fresh:
                for on_delta in list(channel.subscribers.values()):
                    on_delta(published)
            return len(fresh)

    def head(self, match_id: str) -> DeltaId | None:
        """See ``Bus.head``."""
        snapshot = self.snapshot(match_id)
        return None if snapshot is None else snapshot.id

    def heads(self, match_ids: Sequence[str]) -> dict[str, DeltaId | BusError | None]:
        """See ``Bus.heads``."""
        return {match_id: self.head(match_id) for match_id in match_ids}

    def snapshot(self, match_id: str) -> Snapshot | None:
        """See ``Bus.snapshot``."""
        with self._lock:
            channel = self._channels.get(match_id)
            return None if channel is None else channel.snapshot

    def replay(self, match_id: str, after: DeltaId) -> Replay:
        """See ``Bus.replay``."""
        with self._lock:
            channel = self._channels.get(match_id)
            if channel is None or channel.snapshot is None:
                return Gap(None)
            head = channel.snapshot.id
            if after == head:
                return UpToDate()
            if after.epoch != head.epoch or after.seq > head.seq:
                return Gap(head)
            missed = [published for published in channel.replay if published.id > after]
        # Nothing is missing if and only if the count is the distance.
        return Suffix(missed) if len(missed) == head.seq - after.seq else Gap(head)

    def subscribe(
        self,
        match_id: str,
        on_delta: Callable[[Published], None],
        on_gap: Callable[[DeltaId], None] | None = None,
    ) -> Subscription:
        """See ``Bus.subscribe``; nothing gets lost within a process, so ``on_gap`` is never called."""
        del on_gap
        with self._lock:
            self._next_subscriber += 1
            key = self._next_subscriber
            self._channels.setdefault(match_id, _Channel()).subscribers[key] = on_delta
        return _MemorySubscription(self, match_id, key)

    def unsubscribe(self, match_id: str, key: int) -> None:
        """Forget one subscriber; nothing if it is forgotten already."""
        with self._lock:
            channel = self._channels.get(match_id)
            if channel is None:
                return
            channel.subscribers.pop(key, None)
            if channel.snapshot is None and not channel.subscribers:
                del self._channels[match_id]  # or made-up match ids would fill the memory

    def matches(self) -> list[str]:
        """See ``Bus.matches``."""
        with self._lock:
            return [match_id for match_id, channel in self._channels.items() if channel.snapshot is not None]

    def is_complete(self) -> bool:
        """See ``Bus.is_complete``."""
        return self._complete

    def mark_complete(self) -> None:
        """See ``Bus.mark_complete``."""
        self._complete = True

    def health(self) -> BusHealth:
        """See ``Bus.health``."""
        return BusHealth()

    def close(self) -> None:
        """See ``Bus.close``."""
        with self._lock:
            for channel in self._channels.values():
                channel.subscribers.clear()


@dataclass(frozen=True, slots=True)
class _MemorySubscription:
    bus: MemoryBus
    match_id: str
    key: int

    def close(self) -> None:
        """See ``Subscription.close``."""
        self.bus.unsubscribe(self.match_id, self.key)


def open_url(url: str) -> MemoryBus:
    """A new bus; ``memory://`` takes no settings."""
    del url
    return MemoryBus()
