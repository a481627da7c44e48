"""Connections whose request is not answered yet: read in the loop, given to the hub or to the thread pool.

What comes is taken off the socket at once, so that a client's window never stays shut, and is kept here
until a whole request is there. A thread gets the message instead of the connection: it has nothing to wait
for. A client that sends a byte a second, of a head or of a body, costs an entry here and no thread.

``origin.stream.net.connection_state`` is the table of what a connection can be, what can happen to it and
what follows; here it is carried out for all states but ``STREAMING``, ``ANSWERING`` and ``LINGERING``.

What one client may cost others (docs/security.md):

* a turn of the loop reads ``_TURN_BYTES`` of one connection and answers ``_REQUESTS_A_TURN`` of its requests;
* a connection ends after ``_REQUESTS_MAX`` requests, and when it takes no answers to what it sends;
* heads that are not handled yet, and bodies, each have a bound over all connections, and the number of
  connections is bounded by the open files: where one of these runs short, the oldest body gives way, or the
  oldest connection of the address that has most.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from origin.errors import RequestError
from origin.stream.http.forwarded import TrustedProxies, address_of_peer, group_of, viewer_address
from origin.stream.http.framing import FixedAnswer, refusal
from origin.stream.http.request_body import CONTINUE, Body, begin, expects_continue
from origin.stream.http.request_head import (
    HEAD_END,
    RequestLine,
    canonical_head,
    check_host,
    request_line,
)
from origin.stream.http.stream_request import (
    MULTI_PATH,
    MULTI_TARGET_MAX_BYTES,
    StreamRequest,
    Transport,
    check_syntax,
    keeps_alive,
    parse,
)
from origin.stream.hub.decisions import Admit, Decision, Park, Refuse, Reply, Ticket
from origin.stream.hub.hub import Hub
from origin.stream.net.connection_state import (
    REACTIONS,
    TRANSITIONS,
    Happening,
    IllegalTransition,
    Reaction,
    State,
    happening_of,
)
from origin.stream.worker.unfinished import Unfinished

__all__ = ["BATCH_MAX", "BODY_MAX_BYTES", "Connection", "Connections"]

logger = logging.getLogger(__name__)

# As many connections as are taken before deltas and other viewers get their turn.
BATCH_MAX: Final = 256
# The longest head of any request, pages' cookies included; gunicorn's own limits lie below.
_HEAD_MAX_BYTES: Final = 32_768
# What a first read takes: all of an EventSource's head. And so many heads are remembered.
_FIRST_READ_BYTES: Final = 1_024
_KNOWN_MAX: Final = 512
_READ_BYTES: Final = 16_384
# What is read of one connection, and answered to it, before the next one's turn.
_TURN_BYTES: Final = 262_144
_REQUESTS_A_TURN: Final = 4
# A browser sends a few hundred in a visit.
_REQUESTS_MAX: Final = 1_000
# Of one request, if the application does not say.
BODY_MAX_BYTES: Final = 1_048_576
# Of all bodies together that are coming, or are with a thread.
_BODIES_MAX_BYTES: Final = 67_108_864
# Of all else together that came and was not handled.
_HEADS_MAX_BYTES: Final = 33_554_432
# A mistake over one connection must not end the loop, and all others with it.
_MISTAKE: Final = "a connection could not be handled"


class Connection:
    """One connection, from its first byte until the hub has it as a viewer, or it is closed.

    Attributes:
        sock: the socket, non-blocking.
        state: see ``origin.stream.net.connection_state``; changed by ``move`` alone.
        address: whose it is, of those without a whole request (see ``group_of``).
        peer, server: the two ends, as gunicorn wants them.
        wait_s, deadline_s: see ``Unfinished``.
        buffer: what has come and was not handled.
        registered: whether its socket is in the reactor's set.
        requests: how many requests came on it.
        body: what has come of a page request with a body, until it is complete.
        head_bytes, body_bytes: what is counted for it among all heads and all bodies.
        message: a whole page request, for gunicorn's parser.
        request: a stream request.
        ticket, cancel: of a parked request.
    """

    __slots__ = (
        *("address", "body", "body_bytes", "buffer", "cancel", "deadline_s", "head_bytes", "message", "peer"),
        *("registered", "request", "requests", "server", "sock", "state", "ticket", "wait_s"),
    )

    request: StreamRequest
    ticket: Ticket
    cancel: Callable[[Ticket], None]

    def __init__(self, sock: socket.SocketType, peer: object, server: object) -> None:
        self.sock = sock
        self.peer = peer
        self.server = server
        self.state = State.READING_HEAD
        self.address = group_of(address_of_peer(peer))
        self.wait_s = 0.0
        self.deadline_s = 0.0
        self.buffer = bytearray()
        self.registered = False
        self.requests = 0
        self.body: Body | None = None
        self.head_bytes = 0
        self.body_bytes = 0
        self.message = b""

    def move(self, state: State) -> None:
        """Go on to another state.

        Raises:
            IllegalTransition: the table has no such edge, which is a mistake of ours.
        """
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(self.state, state)
        self.state = state


def _always() -> bool:
    return True


def _never() -> bool:
    return False


class Connections:
    """See the module. Everything runs on the reactor's thread.

    Args:
        hub: decides about stream requests, and takes viewers.
        to_thread: takes all others, each with its whole ``message``; ``returned`` or ``ended`` once it is
            answered.
        has_room_for_page: whether a thread will have time for one more page soon.
        evict_answering: closes one connection whose answer waits for its reader; whether there was one.
        send_rest: sends what of a long answer the kernel did not take at once.
        trusted: the proxies whose ``X-Forwarded-For`` is believed.
        fixed: pages that are answered here, by path: they wait for no thread.
        refusal_of: says of a request, by its head, why it cannot be taken now; None if it can.
        body_max_bytes: the largest body of a page request.
        bodies_max_bytes: what all bodies together may have in memory; room for one is always there.
    """

    def __init__(
        self,
        hub: Hub,
        to_thread: Callable[[Connection], None],
        trusted: TrustedProxies | None = None,
        *,
        has_room_for_page: Callable[[], bool] = _always,
        evict_answering: Callable[[], bool] = _never,
        send_rest: Callable[[Connection, memoryview, bool], None] | None = None,
        fixed: Mapping[str, FixedAnswer] | None = None,
        refusal_of: Callable[[bytes], RequestError | None] = lambda _: None,
        body_max_bytes: int = BODY_MAX_BYTES,
        bodies_max_bytes: int = _BODIES_MAX_BYTES,
    ) -> None:
        self._hub = hub
        self._to_thread = to_thread
        self._has_room_for_page = has_room_for_page
        self._evict_answering = evict_answering
        self._send_rest = send_rest
        self._trusted = trusted or TrustedProxies()
        self._fixed = dict(fixed or {})
        self._refusal_of = refusal_of
        self._body_max_bytes = body_max_bytes
        self._bodies_max_bytes = max(bodies_max_bytes, 4 * body_max_bytes)
        self._body_bytes = 0
        self._head_bytes = 0
        self._reactor = hub.reactor
        # In a storm the same browsers ask for the same match from the same id, and reading a head is half of
        # what a viewer costs.
        self._known: dict[bytes, StreamRequest] = {}
        # By their sockets' numbers: all that are registered, of the states READING_HEAD, READING_BODY and
        # PARKED.
        self._registered: dict[int, Connection] = {}
        self._unfinished: Unfinished[Connection] = Unfinished()
        # Requests that have bodies coming, in the order they began.
        self._bodies: dict[Connection, None] = {}
        # Those that had their turn and have more to be handled.
        self._ready: deque[Connection] = deque()
        self._turns_posted = False

    def __len__(self) -> int:
        """How many connections are here: those without a whole request, and the parked ones."""
        return len(self._unfinished) + self._hub.parked

    @property
    def unfinished(self) -> int:
        """How many connections have no whole request."""
        return len(self._unfinished)

    # --- accepting

    def accept(self, listener: socket.socket, server: object, room: int, at_most: int = BATCH_MAX) -> None:
        """Take the connections that wait at a listener, a batch at most.

        Args:
            listener: non-blocking.
            server: its name, as gunicorn wants it.
            room: how many files are free. Beyond them, connections that are no viewers give way to new ones.
            at_most: how many to take.

        Raises:
            OSError: no connection can be taken for want of something, above all open files.
        """
        hub = self._hub
        began_s = time.perf_counter()
        viewers_before = hub.viewers
        family = listener.family
        known = self._known
        # ``accept`` itself, without the enums that the public one makes for each connection.
        accept = listener._accept  # type: ignore[attr-defined]
        for _ in range(min(BATCH_MAX, at_most)):
            if room <= 0 and not self.evict():
                break
            try:
                fd, peer = accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            room -= 1
            sock = socket.SocketType(family, socket.SOCK_STREAM, 0, fd)
            try:
                sock.setblocking(False)
                data = sock.recv(_FIRST_READ_BYTES)
            except BlockingIOError:
                data = None
            except OSError:
                sock.close()
                continue
            try:
                request = None if data is None else known.get(data)
                if request is not None and hub.try_fast_path(sock, request):
                    continue
                connection = Connection(sock, peer, server)
            except Exception:
                logger.exception(_MISTAKE)
                sock.close()
                continue
            self._begin(connection, data)
        hub.rate.observe(hub.viewers - viewers_before, time.perf_counter() - began_s)

    def add(self, sock: socket.SocketType, peer: object, server: object) -> None:
        """Take a connection on which a request is to come, or has come."""
        self._begin(Connection(sock, peer, server), None)

    def adopt(self, connection: Connection, request: StreamRequest | RequestError) -> None:
        """Carry out a stream request that gunicorn has read; the last one of its connection."""
        if isinstance(request, RequestError):
            self._carry_out(connection, Refuse(request))
            return
        connection.request = request
        self._guarded(connection, self._decide)

    def returned(self, connection: Connection, wait_s: float) -> None:
        """A page request has been answered, and the connection is kept for the next one."""
        self._release_body(connection)
        if connection.requests >= _REQUESTS_MAX:
            self.ended(connection)
            return
        connection.move(State.READING_HEAD)
        self._unfinished.add(connection, time.monotonic(), wait_s)
        self._guarded(connection, self._take_turn)

    def ended(self, connection: Connection) -> None:
        """A page request has been answered, and the connection ends with it."""
        self._release(connection)
        connection.move(State.LINGERING)
        connection.sock.setblocking(False)
        self._hub.linger.take(connection.sock)

    def lost(self, connection: Connection) -> None:
        """A page's connection was closed while it was answered."""
        self._release(connection)
        connection.move(State.CLOSED)

    def may_keep(self, connection: Connection) -> bool:
        """Whether one more request may come on a connection."""
        return connection.requests < _REQUESTS_MAX

    def evict(self) -> bool:
        """Close one connection that is no viewer's, for its file; whether there was one.

        First one that has its whole answer, then one without a whole request, then one that does not take
        its answer.
        """
        if not (self._hub.linger.evict() or self._evict_unfinished() or self._evict_answering()):
            return False
        self._hub.metrics.evicted += 1
        return True

    def _evict_unfinished(self) -> bool:
        connection = self._unfinished.next_to_evict()
        if connection is None:
            return False
        if REACTIONS[connection.state][Happening.EVICTED] is Reaction.REFUSE:
            error = _busy("too_many_connections", "too many connections have no whole request; send it again")
            self._hub.metrics.refuse(error.code)
            with contextlib.suppress(OSError):
                connection.sock.send(refusal(error, keep_alive=False))
        self._close(connection)  # at once: its file is needed
        return True

    def _begin(self, connection: Connection, data: bytes | None) -> None:
        """A new connection, with what has come on it; None for nothing yet."""
        self._unfinished.add(connection, time.monotonic(), self._hub.config.first_bytes_s)
        if data is not None:
            if not data:
                self._close(connection)
                return
            if not self._make_room_for_head(connection, len(data)):
                return
            connection.buffer += data
        self._guarded(connection, self._take_turn)

    # --- events

    def on_event(self, fd: int, mask: int) -> None:
        """See ``EventHandler``."""
        connection = self._registered.get(fd)
        if connection is None:
            return
        match REACTIONS[connection.state][happening_of(mask)]:
            case Reaction.READ:
                self._guarded(connection, self._take_turn)
            case Reaction.CLOSE:
                self._close(connection)
            case _:
                pass  # what came stays in the kernel until the state changes

    def drop_overdue(self, now_s: float) -> None:
        """End requests that took too long."""
        for connection in self._unfinished.overdue(now_s):
            idle = connection.state is State.READING_HEAD and not connection.buffer
            if idle or REACTIONS[connection.state][Happening.DEADLINE] is Reaction.CLOSE:
                self._close(connection)
            else:
                self._refuse(
                    connection, RequestError(408, "request_timeout", "the request did not come in time")
                )

    def cap_deadlines(self, wait_s: float) -> None:
        """Let nobody wait for longer than this from now on: the worker ends."""
        now_s = time.monotonic()
        for connection in self._unfinished.all():
            if connection.deadline_s > now_s + wait_s:
                self._unfinished.discard(connection)
                self._unfinished.add(connection, now_s, wait_s)

    def close_all(self) -> None:
        """End all of them, for the end of the worker."""
        for connection in [*self._unfinished.all(), *self._registered.values()]:
            self._close(connection)

    def _guarded(self, connection: Connection, step: Callable[[Connection], None]) -> None:
        """Do a step for a connection; a mistake of ours in it ends this one and no other."""
        try:
            step(connection)
        except Exception:
            logger.exception(_MISTAKE)
            if REACTIONS[connection.state][Happening.MISTAKE] is Reaction.CLOSE:
                self._give_up(connection)

    def _give_up(self, connection: Connection) -> None:
        """Close a connection over which we made a mistake, unless the hub has it by now."""
        fd = connection.sock.fileno()
        if fd >= 0 and self._reactor.handlers.get(fd, self) is self:
            self._close(connection)

    # --- a turn

    def _take_turns(self) -> None:
        """Give the next turn to connections that had more to be handled than fits into one."""
        self._turns_posted = False
        ready, self._ready = self._ready, deque()
        for connection in ready:
            if connection.state in (State.READING_HEAD, State.READING_BODY):
                self._guarded(connection, self._take_turn)

    def _later(self, connection: Connection) -> None:
        self._ready.append(connection)
        if not self._turns_posted:
            self._turns_posted = True
            self._reactor.post(self._take_turns)

    def _take_turn(self, connection: Connection) -> None:
        """Read and handle what there is of one connection, up to its budget."""
        bytes_left, requests_left = _TURN_BYTES, _REQUESTS_A_TURN
        while True:
            if connection.state is State.READING_HEAD:
                length = self._head_length(connection)
                if length is None:
                    return  # refused
                if length:
                    if not requests_left:
                        self._later(connection)
                        return
                    requests_left -= 1
                    self._handle_head(connection, length)
                    continue
                wanted = _READ_BYTES
            elif connection.state is State.READING_BODY:
                assert connection.body is not None  # noqa: S101
                wanted = connection.body.wanted
                if not wanted:
                    self._hand_to_thread(connection, bytes(connection.body.message))
                    return
                if connection.buffer:
                    data = bytes(connection.buffer[:wanted])
                    del connection.buffer[:wanted]
                    self._count_head(connection, len(connection.buffer))
                    self._take_body(connection, data)
                    continue
            else:
                return
            if bytes_left <= 0:
                self._later(connection)
                return
            got = self._receive(connection, min(wanted, bytes_left))
            if not got:
                return
            bytes_left -= got

    def _receive(self, connection: Connection, most: int) -> int:
        """Read once; 0 if nothing can be done now, and the connection waits or is closed."""
        try:
            data = connection.sock.recv(most)
        except BlockingIOError:
            self._register(connection)
            return 0
        except OSError:
            self._close(connection)
            return 0
        if not data:
            # A whole request would have been handled: what is here can never become one.
            self._close(connection)
            return 0
        if connection.state is State.READING_BODY:
            self._take_body(connection, data)
        elif self._make_room_for_head(connection, len(data)):
            if not connection.buffer and connection.requests:
                # The next request begins: from now on it has as long as a first one.
                self._unfinished.discard(connection)
                self._unfinished.add(connection, time.monotonic(), self._hub.config.first_bytes_s)
            connection.buffer += data
        return len(data)

    def _register(self, connection: Connection) -> None:
        fd = connection.sock.fileno()
        if not connection.registered:
            self._reactor.register(fd, self)
            self._registered[fd] = connection
            connection.registered = True

    def _head_length(self, connection: Connection) -> int | None:
        """The length of the head that the buffer begins with; 0 if it is not all there, None if refused."""
        buffer = connection.buffer
        while buffer.startswith((b"\r\n", b"\n")):
            # An empty line that a client may send before a request (RFC 9112 section 2.2).
            del buffer[: 2 if buffer[0] == 13 else 1]
        if not buffer:
            return 0
        if not 65 <= buffer[0] <= 90 and buffer != b"\r":
            error = RequestError(400, "malformed_request", "not an HTTP request")
            self._refuse(connection, error)
            return None
        end = buffer.find(HEAD_END)
        if end >= 0:
            return end + len(HEAD_END)
        if len(buffer) >= _HEAD_MAX_BYTES:
            self._refuse(connection, _head_too_large(_HEAD_MAX_BYTES))
            return None
        return 0

    # --- requests

    def _handle_head(self, connection: Connection, length: int) -> None:
        """A whole head is there: see what it asks for."""
        head = bytes(connection.buffer[:length])
        del connection.buffer[:length]
        self._count_head(connection, len(connection.buffer))
        connection.requests += 1
        with_body = not head.startswith(b"HEAD ")
        try:
            request = self._known.get(head)
            if request is None:
                line = request_line(head)
                if not line.target.is_stream:
                    self._handle_page(connection, head, line)
                    return
                limit = self._hub.config.request_head_max_bytes
                if line.target.path == MULTI_PATH:
                    limit += MULTI_TARGET_MAX_BYTES
                if length > limit:
                    raise _head_too_large(limit)
                request = parse(head, line)
                self._remember(head, request)
        except RequestError as error:
            self._refuse(connection, error, with_body=with_body)
            return
        connection.request = request
        self._decide(connection)

    def _remember(self, head: bytes, request: StreamRequest) -> None:
        # The key of a WebSocket is never seen again.
        if request.transport in (Transport.SSE, Transport.LONG_POLL) and len(head) <= _FIRST_READ_BYTES:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[head] = request

    def _handle_page(self, connection: Connection, head: bytes, line: RequestLine) -> None:
        """The head of a page request is there: see whether a body belongs to it."""
        if len(head) > _HEAD_MAX_BYTES:
            raise _head_too_large(_HEAD_MAX_BYTES)
        check_host(head, line.version)
        head = canonical_head(head, line)
        busy = self._refusal_of(head)
        if busy is not None:
            raise busy  # before its body is read
        body = begin(head, self._body_max_bytes)
        if body is None:
            fixed = self._fixed.get(line.target.path)
            if fixed is not None and line.method in ("GET", "HEAD"):
                self._answer_fixed(connection, fixed, head, with_body=line.method == "GET")
                return
            self._hand_to_thread(connection, head)
            return
        if not connection.buffer and expects_continue(head):
            try:
                connection.sock.send(CONTINUE)
            except OSError:
                self._close(connection)
                return
        connection.body = body
        connection.move(State.READING_BODY)
        self._bodies[connection] = None
        # The body has as long as the head had.
        self._unfinished.discard(connection)
        self._unfinished.add(connection, time.monotonic(), self._hub.config.first_bytes_s)

    def _answer_fixed(
        self, connection: Connection, fixed: FixedAnswer, head: bytes, *, with_body: bool
    ) -> None:
        """Answer a page request here; a malformed head is refused, as a thread would."""
        check_syntax(head)
        keep_alive = keeps_alive(head) and self.may_keep(connection)
        data = fixed.encode(keep_alive=keep_alive, with_body=with_body)
        self._answer(connection, data, keep_alive=keep_alive)

    def _take_body(self, connection: Connection, data: bytes) -> None:
        assert connection.body is not None  # noqa: S101
        if not self._make_room_for_body(connection, len(data)):
            return
        try:
            connection.body.take(data)
        except RequestError as error:
            self._refuse(connection, error)

    def _hand_to_thread(self, connection: Connection, message: bytes) -> None:
        if not self._has_room_for_page():
            # Viewers and health do not wait for pages: those that no thread has time for are refused at once.
            self._refuse(connection, _busy("too_many_pages", "too many pages are being computed; ask again"))
            return
        busy = self._refusal_of(message)
        if busy is not None:
            self._refuse(connection, busy)
            return
        connection.move(State.WITH_THREAD)
        self._leave(connection)
        connection.body = None  # its bytes stay counted until the thread is done with them
        connection.message = message
        self._to_thread(connection)

    def _decide(self, connection: Connection) -> None:
        """Have the hub decide about a stream request, and carry that out."""
        address = ""
        if self._hub.config.connections_per_address_max:
            address = viewer_address(
                address_of_peer(connection.peer), connection.request.forwarded_for, self._trusted
            )
        if connection.request.transport is Transport.LONG_POLL and not self.may_keep(connection):
            connection.request = connection.request._replace(is_last=True)  # so the answer says so
        self._carry_out(connection, self._hub.decide(connection.request, address), address)

    def _carry_out(self, connection: Connection, decision: Decision, address: str = "") -> None:
        match decision:
            case Admit():
                self._admit(connection, decision, address)
            case Reply(data, keep_alive):
                is_poll = connection.request.transport is Transport.LONG_POLL
                self._answer(connection, data, keep_alive=keep_alive, may_wait=is_poll)
            case Refuse(error, keep_alive, with_body):
                self._refuse(connection, error, keep_alive=keep_alive, with_body=with_body)
            case Park(ticket, cancel):
                connection.move(State.PARKED)
                self._unfinished.discard(connection)
                connection.ticket, connection.cancel = ticket, cancel
                ticket.resolve = partial(self._resolve, connection)
                self._register(connection)

    def _resolve(self, connection: Connection, decision: Decision) -> None:
        """The answer to a parked request is known."""

        def carry_out(connection: Connection) -> None:
            self._carry_out(connection, decision, connection.ticket.address)
            if connection.state is State.READING_HEAD:
                self._take_turn(connection)

        self._guarded(connection, carry_out)

    def _admit(self, connection: Connection, decision: Admit, address: str) -> None:
        connection.move(State.STREAMING)
        was_registered, behind = connection.registered, bytes(connection.buffer)
        self._leave(connection, unregister=False)
        self._release(connection)
        subscribers, sock = decision.subscribers, connection.sock
        if not self._hub.admit(sock, connection.request, decision, address):
            return
        fd = sock.fileno()
        if behind and self._reactor.handlers.get(fd) is subscribers and not subscribers.heard(fd, behind):
            return
        # What came before may have been reported to us already, and is not reported again.
        if was_registered and self._reactor.handlers.get(fd) is subscribers:
            subscribers.read(fd)

    # --- answers

    def _refuse(
        self,
        connection: Connection,
        error: RequestError,
        *,
        keep_alive: bool = False,
        with_body: bool = True,
    ) -> None:
        """Answer a request that cannot be granted."""
        self._hub.metrics.refuse(error.code)
        keep_alive = keep_alive and self.may_keep(connection)
        data = refusal(error, keep_alive=keep_alive, with_body=with_body)
        self._answer(connection, data, keep_alive=keep_alive)

    def _answer(
        self, connection: Connection, data: bytes, *, keep_alive: bool, may_wait: bool = False
    ) -> None:
        """Send an answer that ends, and wait for the next request or end.

        With ``may_wait`` it can be longer than what the kernel takes at once.
        """
        sock = connection.sock
        try:
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = -1
        if may_wait and 0 <= sent < len(data) and self._send_rest is not None:
            self._unfinished.discard(connection)
            connection.move(State.ANSWERING)
            self._leave(connection)
            self._send_rest(connection, memoryview(data)[sent:], keep_alive)
            return
        if sent != len(data):  # whoever does not take a kilobyte sends requests and reads no answers
            self._close(connection)
            return
        connection.body = None
        self._release_body(connection)
        self._bodies.pop(connection, None)
        self._unfinished.discard(connection)
        if keep_alive and self.may_keep(connection):
            connection.move(State.READING_HEAD)
            self._unfinished.add(connection, time.monotonic(), self._hub.config.keep_alive_s)
            return
        connection.move(State.LINGERING)
        self._leave(connection)
        self._release(connection)
        self._hub.linger.take(sock)

    # --- leaving

    def _close(self, connection: Connection) -> None:
        """Close without an answer."""
        if connection.state is State.CLOSED:
            return
        if connection.state is State.PARKED:
            connection.cancel(connection.ticket)
        connection.move(State.CLOSED)
        self._leave(connection)
        self._release(connection)
        connection.sock.close()

    def _leave(self, connection: Connection, *, unregister: bool = True) -> None:
        """Forget a connection that somebody else has from now on."""
        self._unfinished.discard(connection)
        self._bodies.pop(connection, None)
        if connection.registered:
            fd = connection.sock.fileno()
            del self._registered[fd]
            connection.registered = False
            if unregister:
                self._reactor.unregister(fd)

    # --- memory

    def _make_room_for_head(self, connection: Connection, size: int) -> bool:
        """Whether there is memory for ``size`` bytes more to be handled, which are then counted."""
        while self._head_bytes + size > _HEADS_MAX_BYTES:
            oldest = self._unfinished.next_to_evict()
            if oldest is None or oldest is connection:
                self._refuse(connection, _busy("busy", "too many requests are coming; send it again"))
                return False
            self._close(oldest)
        self._count_head(connection, connection.head_bytes + size)
        return True

    def _make_room_for_body(self, connection: Connection, size: int) -> bool:
        """Whether there is memory for ``size`` bytes more of a body, which are then counted.

        The oldest gives way: an honest sender is done in milliseconds, so the one that has been sending
        for longest is the one that fills memory for nothing.
        """
        while self._body_bytes + size > self._bodies_max_bytes:
            first = next(iter(self._bodies))
            self._refuse(first, _busy("too_many_bodies", "too many request bodies are coming; send it again"))
            if first is connection:
                return False
        connection.body_bytes += size
        self._body_bytes += size
        return True

    def _count_head(self, connection: Connection, size: int) -> None:
        self._head_bytes += size - connection.head_bytes
        connection.head_bytes = size

    def _release_body(self, connection: Connection) -> None:
        self._body_bytes -= connection.body_bytes
        connection.body_bytes = 0

    def _release(self, connection: Connection) -> None:
        """Nothing of a connection is in memory any more."""
        self._count_head(connection, 0)
        self._release_body(connection)


def _busy(code: str, message: str) -> RequestError:
    return RequestError(503, code, message, headers={"Retry-After": "1"})


def _head_too_large(limit: int) -> RequestError:
    return RequestError(431, "request_head_too_large", f"a request head here has at most {limit} bytes")
