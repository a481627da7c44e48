"""Connections whose request is not known yet: looked at, and given to the hub or to the thread pool.

The first bytes are looked at with ``MSG_PEEK`` and stay in the kernel until a whole head is there. A page
request is then taken off the socket, to its last byte and no further, and a thread gets the message instead
of the connection: it has nothing to wait for. Who sends a byte a second, of a head or of a body, costs an
entry here, and no thread.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Container
from typing import Final

from origin.errors import RequestError
from origin.stream.http.request_body import CONTINUE, Body, begin, expects_continue
from origin.stream.http.stream_request import Look, StreamRequest, Transport, look, parse
from origin.stream.hub.hub import Hub

__all__ = ["BODY_MAX_BYTES", "Connection", "Connections"]

logger = logging.getLogger(__name__)

# As many connections as are taken before deltas and other viewers get their turn.
_BATCH_MAX: Final = 256
# The longest head of any request, pages' cookies included; gunicorn's own limits lie below.
_PEEK_MAX_BYTES: Final = 32_768
# What a first look takes: all of an EventSource's head. And so many heads are remembered.
_GLANCE_BYTES: Final = 1_024
_KNOWN_MAX: Final = 512
# Of one request, if the application does not say.
BODY_MAX_BYTES: Final = 1_048_576
# Of all bodies together that are coming, or are with a thread.
_BODIES_MAX_BYTES: Final = 67_108_864
# A mistake over one connection must not end the loop, and all others with it.
_MISTAKE: Final = "a connection could not be handled"


class Connection:
    """One connection, from its first byte until the hub or a thread has it.

    Attributes:
        sock: the socket, non-blocking.
        address: the viewer's address; behind a trusted proxy, what the proxy says.
        peer, server: the two ends, as gunicorn wants them.
        begun: whether a part of a request has come.
        request: what it asks for, once read.
        has_pipelined_data: whether bytes stand behind the request.
        body: what has come of a page request with a body, until it is whole.
        message: a whole page request, for gunicorn's parser.
        held: how many bytes of body are held in memory for it.
    """

    __slots__ = (
        "_connections",
        "address",
        "again",
        "begun",
        "body",
        "deadline_s",
        "has_pipelined_data",
        "held",
        "message",
        "peer",
        "request",
        "server",
        "serving",
        "sock",
    )

    request: StreamRequest

    def __init__(
        self, connections: Connections, sock: socket.SocketType, peer: object, server: object
    ) -> None:
        self._connections = connections
        self.sock = sock
        self.peer = peer
        self.server = server
        self.address = peer[0] if isinstance(peer, tuple) else ""
        self.begun = False
        self.has_pipelined_data = False
        self.serving = False
        self.again = False
        self.deadline_s = 0.0
        self.body: Body | None = None
        self.message = b""
        self.held = 0

    def finish(self, data: bytes, *, keep_alive: bool) -> None:
        """Send an answer that ends, and serve the next request or close."""
        self._connections.finish(self, data, keep_alive=keep_alive)

    def close(self) -> None:
        """Close without an answer."""
        self._connections.close(self)


class Connections:
    """See the module.

    Args:
        hub: takes stream requests.
        to_thread: takes all others, each with its whole ``message``; ``let_go`` once it is answered.
        trusted: addresses whose ``X-Forwarded-For`` is believed.
        body_max_bytes: the largest body of a page request.
        bodies_max_bytes: what all bodies together may hold in memory; room for one is always there.
    """

    def __init__(
        self,
        hub: Hub,
        to_thread: Callable[[Connection], None],
        trusted: Container[str] = frozenset(),
        *,
        body_max_bytes: int = BODY_MAX_BYTES,
        bodies_max_bytes: int = _BODIES_MAX_BYTES,
    ) -> None:
        self._hub = hub
        self._to_thread = to_thread
        self._trusted = trusted
        self._body_max_bytes = body_max_bytes
        self._bodies_max_bytes = max(bodies_max_bytes, 4 * body_max_bytes)
        self._held_bytes = 0
        # Page requests whose bodies are coming, in the order they began.
        self._gathering: dict[int, Connection] = {}
        self._reactor = hub.reactor
        self._peeked = bytearray(_PEEK_MAX_BYTES)
        self._glance_bytes = min(_GLANCE_BYTES, hub.config.request_head_max_bytes)
        # In a storm the same browsers ask for the same match from the same id, and reading a head is half of
        # what a viewer costs.
        self._known: dict[bytes, StreamRequest] = {}
        # In the order of their deadlines, nearly: each stays for the same time.
        self._waiting: dict[int, Connection] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def first_bytes_s(self) -> float:
        """How long a request that has begun may take to send its head."""
        return self._hub.config.first_bytes_s

    def accept(self, listener: socket.socket, server: object, room: int) -> None:
        """Take the connections that wait at a listener, at most ``room`` of them.

        Raises:
            OSError: no connection can be taken for want of something, above all open files.
        """
        hub = self._hub
        began_s = time.perf_counter()
        taken_before = hub.viewers
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
            request = self._take_whole(sock)
            if request is None:
                self.add(sock, peer, server, hub.config.first_bytes_s)
            elif not hub.welcome(sock, request):
                self._hand_over(Connection(self, sock, peer, server), request)
        hub.rate.observe(hub.viewers - taken_before, time.perf_counter() - began_s)

    def add(self, sock: socket.SocketType, peer: object, server: object, wait_s: float) -> None:
        """Take a connection on which a request is to come, or has come."""
        connection = Connection(self, sock, peer, server)
        connection.deadline_s = time.monotonic() + wait_s
        self._serve(connection)

    def adopt(self, sock: socket.SocketType, peer: object, request: StreamRequest | RequestError) -> None:
        """Take a connection whose request somebody else has read."""
        sock.setblocking(False)
        connection = Connection(self, sock, peer, None)
        connection.has_pipelined_data = True
        if isinstance(request, RequestError):
            self._hub.refuse(connection, request, keep_alive=False)
        else:
            self._hand_over(connection, request)

    def on_event(self, fd: int, mask: int) -> None:
        """See ``EventHandler``."""
        # A hang-up is no different: who says "no more from me" behind a request is still answered.
        del mask
        connection = self._waiting.get(fd)
        if connection is not None:
            self._serve(connection)

    def drop_overdue(self, now_s: float) -> None:
        """End those who took too long."""
        for connection in list(self._waiting.values()):
            if connection.deadline_s > now_s:
                break
            if connection.begun:
                error = RequestError(408, "request_timeout", "the request did not come in time")
                self._hub.refuse(connection, error, keep_alive=False)
            else:
                self.close(connection)

    def close_all(self) -> None:
        """End all of them, for the end of the worker."""
        for connection in list(self._waiting.values()):
            self.close(connection)

    def finish(self, connection: Connection, data: bytes, *, keep_alive: bool) -> None:
        """See ``Connection.finish``."""
        sock = connection.sock
        try:
            sent = sock.send(data)
        except OSError:
            sent = -1
        if sent != len(data):  # a kilobyte that a fresh connection does not take is no loss
            self.close(connection)
            return
        self._waiting.pop(sock.fileno(), None)  # its deadline is another one now, or none
        self._forget_body(connection)
        if keep_alive:
            connection.begun = False
            connection.deadline_s = time.monotonic() + self._hub.config.keep_alive_s
            connection.again = True
            if not connection.serving:
                self._serve(connection)
            return
        self._hub.linger.take(sock)

    def close(self, connection: Connection) -> None:
        """See ``Connection.close``."""
        fd = connection.sock.fileno()
        if fd < 0:
            return
        self._waiting.pop(fd, None)
        self._forget_body(connection)
        self._reactor.unregister(fd)
        connection.sock.close()

    def let_go(self, held: int) -> None:
        """A thread is done with a message for which so many bytes were held."""
        self._held_bytes -= held

    def _take_whole(self, sock: socket.SocketType) -> StreamRequest | None:
        """Take a viewer's request off a new connection, if it is right and all that came."""
        try:
            head = sock.recv(self._glance_bytes, socket.MSG_PEEK)
            request = self._known.get(head)
            if request is None:
                what, length = look(head, len(head)) if head else (Look.MORE, 0)
                if what is not Look.STREAM or length != len(head):
                    return None
                request = parse(head)
                if request.transport is Transport.SSE:  # the key of a WebSocket is never seen again
                    if len(self._known) >= _KNOWN_MAX:
                        self._known.clear()
                    self._known[head] = request
            sock.recv_into(self._peeked, len(head))
        except Exception:  # noqa: BLE001 - it is looked at again, and answered, waited for or given up
            return None
        return request

    def _serve(self, connection: Connection) -> None:
        """Read requests and have them answered until one is not all there."""
        connection.serving = True
        connection.again = True
        try:
            while connection.again:
                connection.again = False
                self._serve_one(connection)
        except Exception:
            logger.exception(_MISTAKE)
            self._give_up(connection)
        connection.serving = False

    def _serve_one(self, connection: Connection) -> None:
        if connection.body is not None:
            self._gather(connection, connection.body)
            return
        sock = connection.sock
        try:
            size = sock.recv_into(self._peeked, 0, socket.MSG_PEEK)
        except BlockingIOError:
            self._wait(connection)
            return
        except OSError:
            size = 0
        if not size:
            self.close(connection)
            return
        what, length = look(self._peeked, size)
        if what is Look.STREAM:
            self._read(connection, length, has_pipelined_data=size > length)
        elif what is Look.PAGE:
            self._read_page(connection, length, has_pipelined_data=size > length)
        elif what is Look.NOT_HTTP:
            error = RequestError(400, "malformed_request", "not an HTTP request")
            self._hub.refuse(connection, error, keep_alive=False)
        elif size >= _PEEK_MAX_BYTES:
            self._refuse_head(connection, _PEEK_MAX_BYTES)
        else:
            connection.begun = True
            self._wait(connection)

    def _wait(self, connection: Connection) -> None:
        fd = connection.sock.fileno()
        # Who waits already keeps its place: sent to the end by each byte that comes, it would be found
        # overdue only after all who came since.
        self._waiting.setdefault(fd, connection)
        self._reactor.register(fd, self)

    def _read(self, connection: Connection, length: int, *, has_pipelined_data: bool) -> None:
        """A stream request is there: take it off the socket."""
        limit = self._hub.config.request_head_max_bytes
        if length > limit:
            self._refuse_head(connection, limit)
            return
        head = connection.sock.recv(length)
        connection.has_pipelined_data = has_pipelined_data
        try:
            request = parse(head)
        except RequestError as refused:
            with_body = not head.startswith(b"HEAD ")
            self._hub.refuse(connection, refused, keep_alive=False, with_body=with_body)
            return
        self._hand_over(connection, request)

    def _read_page(self, connection: Connection, length: int, *, has_pipelined_data: bool) -> None:
        """The head of a page request is there: take it off the socket, and see whether more belongs to it."""
        head = connection.sock.recv(length)
        try:
            body = begin(head, self._body_max_bytes)
        except RequestError as refused:
            with_body = not head.startswith(b"HEAD ")
            self._hub.refuse(connection, refused, keep_alive=False, with_body=with_body)
            return
        if body is None:
            self._hand_to_thread(connection, head)
            return
        if not has_pipelined_data and expects_continue(head):
            try:
                connection.sock.send(CONTINUE)
            except OSError:
                self.close(connection)
                return
        fd = connection.sock.fileno()
        connection.body = body
        connection.begun = True
        # The body has as long as the head had.
        connection.deadline_s = time.monotonic() + self._hub.config.first_bytes_s
        self._waiting.pop(fd, None)
        self._gathering[fd] = connection
        self._gather(connection, body)

    def _gather(self, connection: Connection, body: Body) -> None:
        """Take what has come of a body."""
        while wanted := body.wanted:
            try:
                data = connection.sock.recv(wanted)
            except BlockingIOError:
                self._wait(connection)
                return
            except OSError:
                data = b""
            if not data:
                self.close(connection)
                return
            if not self._make_room(connection, len(data)):
                return
            try:
                body.take(data)
            except RequestError as refused:
                self._hub.refuse(connection, refused, keep_alive=False)
                return
        connection.body = None
        del self._gathering[connection.sock.fileno()]
        self._hand_to_thread(connection, bytes(body.message))

    def _make_room(self, connection: Connection, size: int) -> bool:
        """Whether there is memory for ``size`` bytes more of a body, which are then counted.

        Who began first gives way: a sender that means it is done in milliseconds, so whoever has been at it
        for longest is the one that fills memory for nothing.
        """
        while self._held_bytes + size > self._bodies_max_bytes:
            first = next(iter(self._gathering.values()))
            error = RequestError(
                503,
                "too_many_bodies",
                "too many request bodies are coming; send it again",
                headers={"Retry-After": "1"},
            )
            self._hub.refuse(first, error, keep_alive=False)
            if first is connection:
                return False
        connection.held += size
        self._held_bytes += size
        return True

    def _forget_body(self, connection: Connection) -> None:
        if connection.body is not None:
            connection.body = None
            del self._gathering[connection.sock.fileno()]
        self.let_go(connection.held)
        connection.held = 0

    def _hand_to_thread(self, connection: Connection, message: bytes) -> None:
        fd = connection.sock.fileno()
        self._waiting.pop(fd, None)
        self._reactor.unregister(fd)
        connection.message = message
        self._to_thread(connection)

    def _refuse_head(self, connection: Connection, limit: int) -> None:
        error = RequestError(431, "request_head_too_large", f"a request head here has at most {limit} bytes")
        self._hub.refuse(connection, error, keep_alive=False)

    def _hand_over(self, connection: Connection, request: StreamRequest) -> None:
        self._waiting.pop(connection.sock.fileno(), None)
        connection.request = request
        try:
            if self._hub.config.connections_per_address_max:
                connection.address = _viewer_address(connection.address, request.forwarded_for, self._trusted)
            self._hub.serve(connection)
        except Exception:
            logger.exception(_MISTAKE)
            self._give_up(connection)

    def _give_up(self, connection: Connection) -> None:
        """Close a connection over which we made a mistake, unless the hub has it by now."""
        if self._reactor.handlers.get(connection.sock.fileno(), self) is self:
            self.close(connection)


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
