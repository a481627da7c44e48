"""Connections whose request is not known yet: looked at, and given to the hub or to the thread pool.

The first bytes are looked at with ``MSG_PEEK`` and stay in the kernel, so a page request goes on to
gunicorn's own parser as if nobody had seen it. A thread gets it only when its head is all there: who
sends a byte a second costs an entry here, and no thread.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Container
from typing import Final

from origin.edge.hub import Hub
from origin.edge.stream_request import Look, StreamRequest, look, parse
from origin.errors import RequestError

__all__ = ["Arrival", "Arrivals"]

logger = logging.getLogger(__name__)

# As many connections as are taken before deltas and other viewers get their turn.
_BATCH_MAX: Final = 256
# The longest head of any request, pages' cookies included; gunicorn's own limits lie below.
_PEEK_MAX_BYTES: Final = 32_768


class Arrival:
    """One connection, from its first byte until the hub or a thread has it.

    Attributes:
        sock: the socket, non-blocking.
        address: the viewer's address; behind a trusted proxy, what the proxy says.
        peer, server: the two ends, as gunicorn wants them.
        begun: whether a part of a request has come.
        request: what it asks for, once read.
        chatty: whether bytes stand behind the request.
    """

    __slots__ = (
        "_arrivals",
        "address",
        "again",
        "begun",
        "chatty",
        "deadline_s",
        "peer",
        "request",
        "server",
        "serving",
        "sock",
    )

    request: StreamRequest

    def __init__(self, arrivals: Arrivals, sock: socket.SocketType, peer: object, server: object) -> None:
        self._arrivals = arrivals
        self.sock = sock
        self.peer = peer
        self.server = server
        self.address = peer[0] if isinstance(peer, tuple) else ""
        self.begun = False
        self.chatty = False
        self.serving = False
        self.again = False
        self.deadline_s = 0.0

    def finish(self, data: bytes, *, keep_alive: bool) -> None:
        """Send an answer that ends, and serve the next request or close."""
        self._arrivals.finish(self, data, keep_alive=keep_alive)

    def close(self) -> None:
        """Close without an answer."""
        self._arrivals.close(self)


class Arrivals:
    """See the module.

    Args:
        hub: takes stream requests.
        to_thread: takes all others.
        trusted: addresses whose ``X-Forwarded-For`` is believed.
    """

    def __init__(
        self, hub: Hub, to_thread: Callable[[Arrival], None], trusted: Container[str] = frozenset()
    ) -> None:
        self._hub = hub
        self._to_thread = to_thread
        self._trusted = trusted
        self._reactor = hub.reactor
        self._peeked = bytearray(_PEEK_MAX_BYTES)
        # In the order of their deadlines, nearly: each stays for the same time.
        self._waiting: dict[int, Arrival] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def accept(self, listener: socket.socket, server: object, room: int) -> None:
        """Take the connections that wait at a listener, at most ``room`` of them.

        Raises:
            OSError: no connection can be taken for want of something, above all open files.
        """
        began_s = time.perf_counter()
        taken_before = self._hub.viewers
        family = listener.family
        # ``accept`` itself, without the enums that the public one makes for each connection.
        accept = listener._accept  # type: ignore[attr-defined]
        for _ in range(min(_BATCH_MAX, room)):
            try:
                fd, peer = accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            sock = socket.SocketType(family, socket.SOCK_STREAM, 0, fd)
            sock.setblocking(False)
            self.add(sock, peer, server, self._hub.config.first_bytes_s)
        self._hub.rate.observe(self._hub.viewers - taken_before, time.perf_counter() - began_s)

    def add(self, sock: socket.SocketType, peer: object, server: object, wait_s: float) -> None:
        """Take a connection on which a request is to come, or has come."""
        arrival = Arrival(self, sock, peer, server)
        arrival.deadline_s = time.monotonic() + wait_s
        self._serve(arrival)

    def adopt(self, sock: socket.SocketType, peer: object, request: StreamRequest | RequestError) -> None:
        """Take a connection whose request somebody else has read."""
        sock.setblocking(False)
        arrival = Arrival(self, sock, peer, None)
        arrival.chatty = True
        if isinstance(request, RequestError):
            self._hub.refuse(arrival, request, keep_alive=False)
        else:
            self._hand_over(arrival, request)

    def on_event(self, fd: int, mask: int) -> None:
        """See ``Holder``."""
        # A hang-up is no different: who says "no more from me" behind a request is still answered.
        del mask
        arrival = self._waiting.get(fd)
        if arrival is not None:
            self._serve(arrival)

    def drop_overdue(self, now_s: float) -> None:
        """End those who took too long."""
        for arrival in list(self._waiting.values()):
            if arrival.deadline_s > now_s:
                break
            if arrival.begun:
                error = RequestError(408, "request_timeout", "the request did not come in time")
                self._hub.refuse(arrival, error, keep_alive=False)
            else:
                self.close(arrival)

    def close_all(self) -> None:
        """End all of them, for the end of the worker."""
        for arrival in list(self._waiting.values()):
            self.close(arrival)

    def finish(self, arrival: Arrival, data: bytes, *, keep_alive: bool) -> None:
        """See ``Arrival.finish``."""
        sock = arrival.sock
        try:
            sent = sock.send(data)
        except OSError:
            sent = -1
        if sent != len(data):  # a kilobyte that a fresh connection does not take is no loss
            self.close(arrival)
            return
        if keep_alive:
            arrival.begun = False
            arrival.deadline_s = time.monotonic() + self._hub.config.keep_alive_s
            arrival.again = True
            if not arrival.serving:
                self._serve(arrival)
            return
        self._waiting.pop(sock.fileno(), None)
        self._hub.linger.take(sock)

    def close(self, arrival: Arrival) -> None:
        """See ``Arrival.close``."""
        fd = arrival.sock.fileno()
        if fd < 0:
            return
        self._waiting.pop(fd, None)
        self._reactor.release(fd)
        arrival.sock.close()

    def _serve(self, arrival: Arrival) -> None:
        """Read requests and have them answered until one is not all there."""
        arrival.serving = True
        arrival.again = True
        while arrival.again:
            arrival.again = False
            self._serve_one(arrival)
        arrival.serving = False

    def _serve_one(self, arrival: Arrival) -> None:
        sock = arrival.sock
        try:
            size = sock.recv_into(self._peeked, 0, socket.MSG_PEEK)
        except BlockingIOError:
            self._wait(arrival)
            return
        except OSError:
            size = 0
        if not size:
            self.close(arrival)
            return
        what, length = look(self._peeked, size)
        if what is Look.STREAM:
            self._read(arrival, length, chatty=size > length)
        elif what is Look.PAGE:
            fd = sock.fileno()
            self._waiting.pop(fd, None)
            self._reactor.release(fd)
            self._to_thread(arrival)
        elif what is Look.NOT_HTTP:
            error = RequestError(400, "malformed_request", "not an HTTP request")
            self._hub.refuse(arrival, error, keep_alive=False)
        elif size >= _PEEK_MAX_BYTES:
            self._refuse_head(arrival, _PEEK_MAX_BYTES)
        else:
            arrival.begun = True
            self._wait(arrival)

    def _wait(self, arrival: Arrival) -> None:
        fd = arrival.sock.fileno()
        self._waiting.pop(fd, None)  # to the end: its deadline may be new
        self._waiting[fd] = arrival
        self._reactor.hold(fd, self)

    def _read(self, arrival: Arrival, length: int, *, chatty: bool) -> None:
        """A stream request is there: take it off the socket."""
        limit = self._hub.config.request_head_max_bytes
        if length > limit:
            self._refuse_head(arrival, limit)
            return
        head = arrival.sock.recv(length)
        arrival.chatty = chatty
        try:
            request = parse(head)
        except RequestError as refused:
            with_body = not head.startswith(b"HEAD ")
            self._hub.refuse(arrival, refused, keep_alive=False, with_body=with_body)
            return
        self._hand_over(arrival, request)

    def _refuse_head(self, arrival: Arrival, limit: int) -> None:
        error = RequestError(431, "request_head_too_large", f"a request head here has at most {limit} bytes")
        self._hub.refuse(arrival, error, keep_alive=False)

    def _hand_over(self, arrival: Arrival, request: StreamRequest) -> None:
        self._waiting.pop(arrival.sock.fileno(), None)
        arrival.request = request
        if self._hub.config.connections_per_address_max:
            arrival.address = _viewer_address(arrival.address, request.forwarded_for, self._trusted)
        self._hub.serve(arrival)


def _viewer_address(peer: str, forwarded_for: str, trusted: Container[str]) -> str:
    """Whose limit a viewer counts against.

    An IPv6 subscriber has a whole /64 to draw addresses from.
    """
    address = peer
    if forwarded_for and (not peer or "*" in trusted or peer in trusted):
        # From the right: each proxy appends whom it saw, and what stands left of a stranger is hearsay.
        for candidate in reversed([part.strip() for part in forwarded_for.split(",")]):
            address = candidate
            if candidate not in trusted:
                break
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return peer
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address
