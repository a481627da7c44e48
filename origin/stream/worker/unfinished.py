"""Connections without a whole request: in the order of their deadlines, and counted by address.

Both are asked at any time, by strangers who can open thousands of connections, so neither walks over all of
them.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

__all__ = ["Unfinished", "Waiting"]


class Waiting(Protocol):
    """What is kept of a connection here.

    Attributes:
        address: whose connection it is, for fairness between addresses.
        wait_s: how long it may wait for what it waits for, in seconds.
        deadline_s: when that is over, on the monotonic clock.
    """

    address: str
    wait_s: float
    deadline_s: float


_C = TypeVar("_C", bound=Waiting)


class Unfinished(Generic[_C]):
    """See the module. Every operation takes constant time, whoever has however many connections."""

    def __init__(self) -> None:
        # One queue for each length of waiting: within one, the first to come is the first to be due.
        self._queues: dict[float, dict[_C, None]] = {}
        self._of_address: dict[str, dict[_C, None]] = {}
        # Addresses by how many connections they have here, and the largest such number.
        self._addresses: dict[int, dict[str, None]] = {}
        self._most = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, connection: _C, now_s: float, wait_s: float) -> None:
        """Take a connection that is not here."""
        connection.wait_s, connection.deadline_s = wait_s, now_s + wait_s
        self._queues.setdefault(wait_s, {})[connection] = None
        own = self._of_address.setdefault(connection.address, {})
        self._recount(connection.address, len(own), len(own) + 1)
        own[connection] = None
        self._size += 1

    def discard(self, connection: _C) -> None:
        """Forget a connection, if it is here."""
        queue = self._queues.get(connection.wait_s)
        if queue is None or connection not in queue:
            return
        del queue[connection]
        own = self._of_address[connection.address]
        self._recount(connection.address, len(own), len(own) - 1)
        del own[connection]
        if not own:
            del self._of_address[connection.address]
        self._size -= 1

    def overdue(self, now_s: float) -> list[_C]:
        """Those whose time is up."""
        late: list[_C] = []
        for queue in self._queues.values():
            for connection in queue:
                if connection.deadline_s > now_s:
                    break
                late.append(connection)
        return late

    def next_to_evict(self) -> _C | None:
        """The oldest connection of an address that has most of them; None if there is none at all."""
        while self._most and not self._addresses.get(self._most):
            self._addresses.pop(self._most, None)
            self._most -= 1
        if not self._most:
            return None
        address = next(iter(self._addresses[self._most]))
        return next(iter(self._of_address[address]))

    def all(self) -> list[_C]:
        """All of them."""
        return [connection for queue in self._queues.values() for connection in queue]

    def _recount(self, address: str, before: int, after: int) -> None:
        if before:
            del self._addresses[before][address]
        if after:
            self._addresses.setdefault(after, {})[address] = None
            self._most = max(self._most, after)
