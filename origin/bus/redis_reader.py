"""The thread that reads live connections: it waits on all of them at once and never for one of them.

It alone touches the connections it was given, because a TLS connection must not be read and written by
two threads. What others want of it, they order. Who connects anew is ``redis_live``, when ``Attempts`` says.
"""

from __future__ import annotations

import logging
import math
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from redis.connection import Connection

from origin.bus.redis_servers import REDIS_ERRORS, Node
from shared_state import delay_ms

__all__ = ["Attempts", "Link", "Reader"]

logger = logging.getLogger(__name__)

# Per turn and connection: a flood on one must not starve the others.
MESSAGES_PER_TURN = 256
# The window of the jitter grows to 2 s and no further: a region has hundreds of origins, not millions,
# and behind each of them viewers are waiting.
RECONNECT_ATTEMPT_MAX = 1


class Link:
    """One live connection.

    Attributes:
        open: False once it was given up; it never opens again.
    """

    def __init__(self, node: Node, connection: Connection) -> None:
        self.node = node
        self.connection: Any = connection  # redis-py's connections are untyped inside
        # Kept here too: redis-py forgets it when it closes the connection after an error of its own, and
        # the selector must be told of the same object that it was given.
        self.socket: Any = self.connection._sock
        self.open = True
        self.heard = time.monotonic()
        self.pinged = False


class Attempts:
    """When each server may be connected to again. None stands for the unknown server of a match."""

    def __init__(self, random_unit: Callable[[], float]) -> None:
        self._random_unit = random_unit
        self._failures: dict[Node | None, int] = {}
        self._not_before: dict[Node | None, float] = {}

    def not_before(self, node: Node | None) -> float:
        """The time of the next attempt; in the past if there was no failure."""
        return self._not_before.get(node, -math.inf)

    def put_off(self, node: Node | None) -> None:
        """Put the next attempt off, by a time drawn anew each time."""
        failures = self._failures.get(node, 0)
        wait_ms = delay_ms(min(failures, RECONNECT_ATTEMPT_MAX), self._random_unit())
        self._failures[node] = failures + 1
        self._not_before[node] = time.monotonic() + wait_ms / 1000

    def succeeded(self, node: Node | None) -> None:
        """It works: the next failure is a first one."""
        self._failures.pop(node, None)
        self._not_before.pop(node, None)

    def keep(self, nodes: Collection[Node | None]) -> None:
        """Forget all others: servers come and go, and this process stays."""
        for node in self._not_before.keys() - set(nodes):
            self.succeeded(node)


class Reader:
    """Reads until ``close``.

    Args:
        on_message: called with (link, kind, channel, data) for whatever Redis pushes.
        on_lost: called with (link, why) once for each connection that is given up.
        timeout_s: a connection that is silent so long is pinged, and given up after twice as long.
    """

    def __init__(
        self,
        on_message: Callable[[Link, bytes, bytes, Any], None],
        on_lost: Callable[[Link, str], None],
        timeout_s: float,
    ) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._timeout_s = timeout_s
        self._orders: deque[Callable[[], None]] = deque()
        self._links: set[Link] = set()
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="bus-reader", daemon=True)
        self._thread.start()

    def adopt(self, link: Link) -> None:
        """Read this connection from now on."""

        def adopt() -> None:
            self._links.add(link)
            self._selector.register(link.socket, selectors.EVENT_READ, link)

        self._order(adopt)

    def send(self, link: Link, *command: str | bytes) -> None:
        """Send a command; what Redis says to it comes as a message. Nothing if the link was given up."""
        self._order(lambda: self._send(link, *command))

    def drop(self, link: Link, why: str) -> None:
        """Give a connection up."""
        self._order(lambda: self._drop(link, why))

    def close(self) -> None:
        """Stop, and close all connections without telling anybody."""
        self._stopping = True
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=2 * self._timeout_s)

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        self._wake()

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:  # closed, or so full that the thread is awake anyway
            return

    def _run(self) -> None:
        while not self._stopping:
            for ready, _ in self._selector.select(self._timeout_s / 2):
                if ready.data is None:
                    self._drain_wake_ups()
                else:
                    self._receive(ready.data)
            # Only those that are there now: an order may leave another behind.
            for _ in range(len(self._orders)):
                self._orders.popleft()()
            self._ping_silent(time.monotonic())
        for link in self._links:
            link.open = False
            link.connection.disconnect()
        self._selector.close()
        self._waker.close()
        self._woken.close()

    def _drain_wake_ups(self) -> None:
        try:
            while self._woken.recv(4096):
                pass
        except BlockingIOError:
            return

    def _receive(self, link: Link) -> None:
        if not link.open:
            return
        try:
            for _ in range(MESSAGES_PER_TURN):
                # Where a message begins, its rest follows at once, or the server hangs.
                message = link.connection.read_response(disconnect_on_error=False, timeout=self._timeout_s)
                link.heard = time.monotonic()
                link.pinged = False
                if isinstance(message, list) and len(message) == 3:  # all but the answer to a PING
                    self._on_message(link, *message)
                if not link.open or not link.connection.can_read(timeout=0):
                    return
        except REDIS_ERRORS as error:
            self._drop(link, str(error) or type(error).__name__)
            return
        except Exception:
            # This thread carries all matches: whatever one connection does, the others go on.
            logger.exception("reading from %s failed", link.node)
            self._drop(link, "it cannot be read")
            return
        self._order(lambda: self._receive(link))  # bytes wait in the parser, where select cannot see them

    def _ping_silent(self, now: float) -> None:
        for link in list(self._links):
            silent_s = now - link.heard
            if silent_s > 2 * self._timeout_s:
                self._drop(link, f"silent for {silent_s:.1f} s")
            elif silent_s > self._timeout_s and not link.pinged:
                link.pinged = True
                self._send(link, "PING")

    def _send(self, link: Link, *command: str | bytes) -> None:
        if not link.open:
            return
        try:
            packed = link.connection.pack_command(*command)
            link.connection.send_packed_command(packed, check_health=False)
        except REDIS_ERRORS as error:
            self._drop(link, str(error) or type(error).__name__)

    def _drop(self, link: Link, why: str) -> None:
        if not link.open:
            return
        link.open = False
        self._links.discard(link)
        self._selector.unregister(link.socket)
        link.connection.disconnect()
        self._on_lost(link, why)
