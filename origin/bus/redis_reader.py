"""The thread that reads live connections: it waits on all of them at once and never for one of them.

Only this thread uses the connections that it was given, because a TLS connection must not be read and
written by two threads. Other threads queue calls for it. ``redis_live`` makes new connections, when
``Attempts`` allows it.
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
from redis.exceptions import ResponseError

from origin.bus.redis_servers import REDIS_ERRORS, Node, is_answer_to_ping
from shared_state import delay_ms

__all__ = ["Attempts", "Link", "Reader"]

logger = logging.getLogger(__name__)

# Per turn and connection: many messages on one must not starve the others.
MESSAGES_PER_TURN = 256
# The window of the jitter grows to 2 s and no further: a region has hundreds of origins, not millions,
# and behind each of them viewers are waiting.
RECONNECT_ATTEMPT_MAX = 1


class Link:
    """One live connection.

    Attributes:
        open: False once it was dropped; it never opens again.
    """

    def __init__(self, node: Node, connection: Connection) -> None:
        self.node = node
        self.connection: Any = connection  # redis-py's connections are untyped inside
        # Kept here too: redis-py drops its reference when it closes the connection after an error, and the
        # selector unregisters only the object that was registered.
        self.socket: Any = self.connection._sock
        self.open = True
        self.heard = time.monotonic()
        self.pinged = False


class Attempts:
    """When to connect to each server again. None is the server of a match whose server is unknown."""

    def __init__(self, random_unit: Callable[[], float]) -> None:
        self._random_unit = random_unit
        self._failures: dict[Node | None, int] = {}
        self._not_before: dict[Node | None, float] = {}

    def not_before(self, node: Node | None) -> float:
        """The time of the next attempt; in the past if there was no failure."""
        return self._not_before.get(node, -math.inf)

    def postpone(self, node: Node | None) -> None:
        """Postpone the next attempt by a random time."""
        failures = self._failures.get(node, 0)
        wait_ms = delay_ms(min(failures, RECONNECT_ATTEMPT_MAX), self._random_unit())
        self._failures[node] = failures + 1
        self._not_before[node] = time.monotonic() + wait_ms / 1000

    def succeeded(self, node: Node | None) -> None:
        """Forget the failures of a server that works: the next one is a first one."""
        self._failures.pop(node, None)
        self._not_before.pop(node, None)

    def keep(self, nodes: Collection[Node | None]) -> None:
        """Forget all other servers: they come and go, and this process stays."""
        for node in self._not_before.keys() - set(nodes):
            self.succeeded(node)


class Reader:
    """Reads until ``close``.

    Args:
        on_message: called with (link, kind, channel, data) for every message that Redis pushes.
        on_lost: called with (link, why) once for each connection that is dropped.
        timeout_s: a connection that is silent so long is pinged, and dropped after twice as long.
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
        self._calls: deque[Callable[[], None]] = deque()
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

        self._queue(adopt)

    def send(self, link: Link, *command: str | bytes) -> None:
        """Send a command; the answer of Redis comes as a message. Nothing if the link was dropped."""
        self._queue(lambda: self._send(link, *command))

    def drop(self, link: Link, why: str) -> None:
        """Close a connection and report it as lost."""
        self._queue(lambda: self._drop(link, why))

    def close(self) -> None:
        """Stop, and close all connections without reporting them as lost."""
        self._stopping = True
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=2 * self._timeout_s)

    def _queue(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
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
            # Only the calls that are queued now: a call may queue another.
            for _ in range(len(self._calls)):
                self._calls.popleft()()
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
                # The rest of a message that has begun comes at once, or the server hangs.
                message = self._read(link)
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
            # This thread reads for all matches: an error of one connection must not end it.
            logger.exception("reading from %s failed", link.node)
            self._drop(link, "it cannot be read")
            return
        self._queue(lambda: self._receive(link))  # the parser has bytes that select cannot see

    def _read(self, link: Link) -> Any:
        """The next message; None for the answer to a PING that is an error.

        Raises:
            REDIS_ERRORS: the connection cannot be used any more.
        """
        try:
            return link.connection.read_response(disconnect_on_error=False, timeout=self._timeout_s)
        except ResponseError as error:
            if not (link.pinged and is_answer_to_ping(error)):
                raise
            return None

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
