"""Circuit breakers between the web tier and the bus: a server that hangs costs a few threads, not all.

Sixteen threads answer pages and polls, and a call to a Redis that accepts and never answers lasts for its
timeout. So each server of the bus has a breaker: few calls to it are under way at once, and after one that
failed or was slow, no other is made for a while. The list of matches, which reads all servers, has one of its
own. A breaker says at once that it is open; what is shown then is up to its caller (decision 51).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from origin.bus import Bus, Replay, Snapshot
from origin.errors import BusError
from origin.metrics import Metrics
from shared_state import DeltaId

__all__ = ["Breaker", "Breakers", "BusBusyError", "GuardedBus"]

logger = logging.getLogger(__name__)

#: A call that takes longer shows that the bus is slow; a command to Redis has a second.
SLOW_S: Final = 1.0
# Calls to one server that may be under way: a healthy one answers thousands a second with these.
_CALLS_MAX: Final = 3
# Of all servers together: some threads are left for what needs no bus, however many servers hang.
_ALL_CALLS_MAX: Final = 12
# Who finds all calls of a server taken waits so long for one to end.
_WAIT_S: Final = 0.25
# A server that nobody has asked for so long may be gone for good: its breaker is forgotten.
_FORGET_S: Final = 60.0
_BREAKERS_MAX: Final = 1_000

T = TypeVar("T")


class BusBusyError(BusError):
    """The bus was not asked: it is slow or away, or has as many calls under way as it may have."""


class Breaker:
    """Whether one part of the bus may be asked now. Thread-safe.

    It opens when a call fails, takes longer than ``SLOW_S``, or has been under way for longer than that. It
    stays open for ``open_s``; then one call is let through, which closes it or opens it again.

    Args:
        name: of the part, for the log.
        open_s: seconds; 0: it never opens.
        calls_max: calls that may be under way at once.
        metrics: counts how often it opens.
    """

    def __init__(self, name: str, *, open_s: float, calls_max: int, metrics: Metrics) -> None:
        self._name = name
        self._open_s = open_s
        self._calls_max = calls_max
        self._metrics = metrics
        self._changed = threading.Condition()
        self._began_s: dict[int, float] = {}  # of each call under way, by its number
        self._number = 0
        self._closed = True
        self._again_s = -math.inf
        self.asked_s = time.monotonic()

    def is_open(self) -> bool:
        """Whether the last that is known of this part is that it does not answer in time."""
        with self._changed:
            return self._open_s > 0 and (not self._closed or self._is_stuck(time.monotonic()))

    def refuses(self) -> bool:
        """Whether a call would be refused without a wait."""
        with self._changed:
            return self._refuses(time.monotonic())

    @property
    def under_way(self) -> int:
        """How many calls are under way."""
        return len(self._began_s)

    @contextmanager
    def call(self, wait_s: float = 0.0) -> Iterator[None]:
        """A call to this part, for the time of the block.

        Args:
            wait_s: how long to wait at most where too many calls are under way.

        Raises:
            BusBusyError: the block is not entered.
        """
        number = self._begin(time.monotonic() + wait_s)
        failed = True
        try:
            yield
            failed = False
        finally:
            self._end(number, failed=failed)

    def _begin(self, until_s: float) -> int:
        with self._changed:
            while True:
                now_s = self.asked_s = time.monotonic()
                if self._refuses(now_s):
                    raise BusBusyError(f"{self._name} is slow or away, and is not asked now")
                if len(self._began_s) < self._calls_max:
                    break
                if now_s >= until_s:
                    raise BusBusyError(f"{self._name} has {self._calls_max} calls under way")
                self._changed.wait(until_s - now_s)
            self._number += 1
            self._began_s[self._number] = now_s
            return self._number

    def _end(self, number: int, *, failed: bool) -> None:
        with self._changed:
            now_s = time.monotonic()
            slow = now_s - self._began_s.pop(number) > SLOW_S
            if self._open_s > 0:
                # A call that began before the breaker opened says nothing new by failing.
                if (failed or slow) and now_s >= self._again_s:
                    if self._closed:
                        logger.warning(
                            "%s is slow or away; it is asked again every %g s", self._name, self._open_s
                        )
                    self._closed = False
                    self._again_s = now_s + self._open_s
                    self._metrics.web_bus_breaker_opened.inc()
                elif not (failed or slow) and not self._closed:
                    logger.warning("%s answers again", self._name)
                    self._closed = True
                    self._again_s = -math.inf
            self._changed.notify_all()

    def _refuses(self, now_s: float) -> bool:
        if self._open_s <= 0:
            return False
        # While it is open, one call at a time finds out whether it still has to be.
        return now_s < self._again_s or self._is_stuck(now_s) or (not self._closed and bool(self._began_s))

    def _is_stuck(self, now_s: float) -> bool:
        return any(now_s - began_s > SLOW_S for began_s in self._began_s.values())


class Breakers:
    """All breakers of one origin: that of the list, and one for each server of the bus that has matches.

    Args:
        open_s: as of ``Breaker``.
        metrics: shows how many are open.
    """

    def __init__(self, *, open_s: float, metrics: Metrics) -> None:
        self._open_s = open_s
        self._metrics = metrics
        self._lock = threading.Lock()
        self.of_list = Breaker("the list of matches", open_s=open_s, calls_max=1, metrics=metrics)
        self._of_server: OrderedDict[str, Breaker] = OrderedDict()
        metrics.web_bus_breaker_open.set_function(self.count_open)

    def of_server(self, server: str) -> Breaker:
        """The breaker of a server, by its name."""
        with self._lock:
            breaker = self._of_server.get(server)
            if breaker is None:
                name = f"the bus at {server}" if server else "the bus"
                breaker = Breaker(name, open_s=self._open_s, calls_max=_CALLS_MAX, metrics=self._metrics)
                self._of_server[server] = breaker
                self._forget(time.monotonic())
            return breaker

    def check_room(self) -> None:
        """Leave some threads to what needs no bus.

        Raises:
            BusBusyError: as many calls are under way as may be, over all servers.
        """
        with self._lock:
            under_way = sum(breaker.under_way for breaker in self._of_server.values())
        if under_way >= _ALL_CALLS_MAX:
            raise BusBusyError(f"{under_way} calls to the bus are under way")

    def count_open(self) -> float:
        """How many are open."""
        with self._lock:
            self._forget(time.monotonic())
            return float(sum(breaker.is_open() for breaker in (self.of_list, *self._of_server.values())))

    def _forget(self, now_s: float) -> None:
        idle = [
            server
            for server, breaker in self._of_server.items()
            if not breaker.under_way and now_s - breaker.asked_s > _FORGET_S
        ]
        for server in idle:
            del self._of_server[server]
        while len(self._of_server) > _BREAKERS_MAX:
            self._of_server.popitem(last=False)


class GuardedBus:
    """What pages and polls read of single matches, each call behind the breaker of its match's server.

    Args:
        bus: the bus.
        breakers: of this origin.
    """

    def __init__(self, bus: Bus, breakers: Breakers) -> None:
        self._bus = bus
        self._breakers = breakers

    def head(self, match_id: str) -> DeltaId | None:
        """See ``Bus.head``.

        Raises:
            BusBusyError: the bus was not asked.
            BusError: as ``Bus.head``.
        """
        return self._ask(match_id, lambda: self._bus.head(match_id))

    def snapshot(self, match_id: str) -> Snapshot | None:
        """See ``Bus.snapshot``.

        Raises:
            BusBusyError: the bus was not asked.
            BusError: as ``Bus.snapshot``.
        """
        return self._ask(match_id, lambda: self._bus.snapshot(match_id))

    def replay(self, match_id: str, after: DeltaId) -> Replay:
        """See ``Bus.replay``.

        Raises:
            BusBusyError: the bus was not asked.
            BusError: as ``Bus.replay``.
        """
        return self._ask(match_id, lambda: self._bus.replay(match_id, after))

    def _ask(self, match_id: str, question: Callable[[], T]) -> T:
        breaker = self._breakers.of_server(self._bus.server_of(match_id))
        self._breakers.check_room()
        with breaker.call(_WAIT_S):
            return question()
