"""A cache that keeps a bounded sum of costs, and does not fail all at once when more is asked of it.

One that drops what was used longest ago finds nothing at all as soon as one entry more is used in turn than
it has room for: each is dropped just before it is used again. This one drops an entry at random, so with
twice as many in turn it still finds some of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["BoundedCache"]

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """See the module. Not thread-safe.

    Args:
        room: the sum of the costs of all entries, but for the one that was put last, is at most this.
        below: a random integer from 0 to below a number.
    """

    def __init__(self, room: int, below: Callable[[int], int] = random.randrange) -> None:
        self._room = room
        self._below = below
        self._places: dict[K, int] = {}
        self._entries: list[tuple[K, V, int]] = []
        self._cost = 0

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value of a key; None if it is not here."""
        place = self._places.get(key)
        return None if place is None else self._entries[place][1]

    def put(self, key: K, value: V, cost: int = 1) -> None:
        """Keep a value, in the place of the one that the key had; others may be dropped for it."""
        place = self._places.get(key)
        if place is None:
            self._places[key] = place = len(self._entries)
            self._entries.append((key, value, cost))
        else:
            self._cost -= self._entries[place][2]
            self._entries[place] = (key, value, cost)
        self._cost += cost
        while self._cost > self._room and len(self._entries) > 1:
            drawn = self._below(len(self._entries))
            if self._entries[drawn][0] == key:
                drawn = (drawn + 1) % len(self._entries)
            self._drop(drawn)

    def clear(self) -> None:
        """Drop all."""
        self._places.clear()
        self._entries.clear()
        self._cost = 0

    def _drop(self, place: int) -> None:
        key, _, cost = self._entries[place]
        del self._places[key]
        self._cost -= cost
        last = self._entries.pop()
        if place < len(self._entries):
            self._entries[place] = last
            self._places[last[0]] = place
