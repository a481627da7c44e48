"""The worker that serves pages and streams on one port.

Pages go to a thread pool and Flask. Streams never take a thread: ``connections`` reads each request and
gives ``/stream/…`` and ``/ws/match/…`` to the ``hub``, whose epoll set is one more entry in this worker's
selector. A thread
never waits for a client either: it gets a whole request, and what the client does not take of the answer
    goes out from
the loop (``slow_responses``).

TLS ends in front of this server. With ``keyfile`` set, gunicorn's own worker ends it, and there are no
streams; with ``proxy_protocol`` a stream goes from its thread to the hub once gunicorn has read its head.
"""

from __future__ import annotations

import errno
import gc
import resource
import socket
import sys
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from origin.errors import RequestError
from origin.stream.http.forwarded import TrustedProxies
from origin.stream.http.framing import refusal
from origin.stream.http.request_head import request_line
from origin.stream.http.stream_request import StreamRequest, parse
from origin.stream.hub.config import FILES_RESERVED, StreamConfig
from origin.stream.hub.hub import Hub
from origin.stream.net.connection_state import State
from origin.stream.net.slow_responses import PageSocket, SlowResponses
from origin.stream.worker.connections import BATCH_MAX, BODY_MAX_BYTES, Connection, Connections
from origin.stream.worker.extensions import FIXED_ANSWERS, ORIGIN, ROW_RENDERER, STREAM_HUB
from origin.stream.worker.gunicorn_app import GunicornWorker
from origin.tracing import NO_TRACES

__all__ = ["StreamWorker"]

_READERS: Final = 4
# Webhooks have threads of their own: a log that hangs stops no page, and pages stop no webhook. An append
# takes milliseconds, so a few threads do; three more requests may wait for each of them.
_INGEST: Final = b"POST /ingest/"
_INGEST_THREADS: Final = 8
_INGEST_MAX: Final = 4 * _INGEST_THREADS
# How long one waits for a thread: while the log hangs, these waits would add up to those of all before it.
_INGEST_WAIT_S: Final = 5.0
# Operators' windows have threads of their own, one each for as long as a window is open (``origin.console``).
_WINDOW: Final = b"GET /console/ws/"
_WINDOWS_MAX: Final = 32
_FILES_RESERVED_MIN: Final = 48
_ACCEPT_PAUSE_S: Final = 0.25
# A full worker leaves waiting connections to the others and looks this often. From a queue that it has
# found waiting so many times in a row it takes so many: pages, which it can serve, and viewers for whom
# nobody has room.
_FULL_LOOK_S: Final = 0.25
_FULL_LOOKS: Final = 3
_FULL_TAKE: Final = 2
# Of all viewers, so large a part may be expected of connections without a whole request.
_COMING_SHARE: Final = 16
# Of gunicorn's graceful_timeout, what is left for pages once the last viewer has gone.
_DRAIN_MARGIN_S: Final = 3.0
# While the worker ends: for a request that a client may be sending on a connection that was kept.
_LAST_REQUEST_S: Final = 2.0
_DEFER_ACCEPT_S: Final = 1
# While pages compute, each send of a fan-out that has begun may lose the interpreter for one interval.
_SWITCH_INTERVAL_S: Final = 0.0005


class StreamWorker(GunicornWorker):
    """See the module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hub: Hub | None = None
        self._connections: Connections | None = None
        self._slow_responses: SlowResponses | None = None
        self._servers: dict[int, Any] = {}
        self._accept_again_s = 0.0
        self._found_waiting: dict[int, int] = {}
        self._connections_max = 0
        self._ingest_pool: ThreadPoolExecutor | None = None
        self._ingesting = 0
        self._window_pool: ThreadPoolExecutor | None = None
        self._windows = 0
        # Webhooks in the order in which they came, each with the end of its wait for a thread.
        self._webhooks: deque[tuple[float, Future[Any], PageSocket]] = deque()

    # --- accepting

    def accept(self, listener: Any) -> None:
        """Called by the selector when connections wait."""
        self._take(listener, self._take_at_most)

    def _take(self, listener: Any, at_most: int) -> None:
        connections = self._connections
        if connections is None or not self.direct:
            super().accept(listener)
            return
        try:
            connections.accept(listener.sock, self._servers[listener.fileno()], self._room, at_most)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            # The connection stays in the queue; a connection that ends meanwhile makes room for it.
            self.log.warning("no connection can be taken for now: %s", error)
            if not connections.evict():
                self._accept_again_s = time.monotonic() + _ACCEPT_PAUSE_S

    # --- pages

    def take_page(self, connection: Connection) -> None:
        """Give a thread a request that is all there."""
        # The hub works with the bare socket; gunicorn wants all of it.
        bare = connection.sock
        sock = PageSocket(bare.family, bare.detach())
        sock.is_head = connection.message.startswith(b"HEAD ")
        connection.sock = sock
        if connection.message.startswith(_INGEST):
            self._ingesting += 1
            begun = self.submit_page(sock, connection, connection.message, self._ingest_pool)
            if begun is not None:
                self._webhooks.append((time.monotonic() + _INGEST_WAIT_S, begun, sock))
            return
        if connection.message.startswith(_WINDOW):
            self._windows += 1
            self.submit_page(sock, connection, connection.message, self._window_pool)
            return
        self.submit_page(sock, connection, connection.message)

    def _refuse_late_webhooks(self, now_s: float) -> None:
        """Refuse the webhooks that have waited too long for a thread."""
        while self._webhooks and (self._webhooks[0][0] <= now_s or self._webhooks[0][1].done()):
            _, begun, sock = self._webhooks.popleft()
            if not begun.cancel():
                continue  # a thread has it
            error = _ingest_busy(f"this webhook has waited for {_INGEST_WAIT_S:g} s")
            try:
                sock.sendall(refusal(error, keep_alive=False))
            except OSError as gone:
                self.log.debug("a webhook was not waited for: %s", gone)
            if self.hub is not None:
                self.hub.metrics.refuse(error.code)

    def _refusal_of(self, head: bytes) -> RequestError | None:
        """Why a page request cannot be taken now."""
        if head.startswith(_WINDOW) and self._windows >= _WINDOWS_MAX:
            return RequestError(
                503, "console_busy", f"{_WINDOWS_MAX} windows are open here", headers={"Retry-After": "5"}
            )
        if not head.startswith(_INGEST) or self._ingesting < _INGEST_MAX:
            return None
        return _ingest_busy(f"{_INGEST_MAX} webhooks are being taken")

    def stream_request_of(self, req: Any) -> StreamRequest | RequestError | None:
        """See ``GunicornWorker``. Where ``connections`` reads the requests, it gives gunicorn no streams."""
        return None if self.direct or self.cfg.is_ssl or self.hub is None else _request_of(req)

    def before_page(self) -> None:
        """See ``GunicornWorker``. A page can wait, a goal cannot, and both need the interpreter."""
        if self.hub is not None:
            self.hub.fanout_idle.wait(1.0)

    def may_keep(self, connection: Connection) -> bool:
        """See ``GunicornWorker``."""
        return self.alive and self._connections is not None and self._connections.may_keep(connection)

    def page_done(self, connection: Connection, sock: PageSocket, keeps: bool) -> None:
        """See ``GunicornWorker``."""
        if connection.message.startswith(_INGEST):
            self._ingesting -= 1
        elif connection.message.startswith(_WINDOW):
            self._windows -= 1
        connections, slow_responses = self._connections, self._slow_responses
        assert connections is not None  # noqa: S101 - it gave the page away
        assert slow_responses is not None  # noqa: S101
        if sock.fileno() < 0:
            connections.lost(connection)
        elif not sock.unsent:
            self._answered(connection, sock, keeps)
        else:
            connection.move(State.ANSWERING)
            slow_responses.take(
                sock,
                lambda: self._answered(connection, sock, keeps),
                lambda: connections.lost(connection),
            )

    def _answered(self, connection: Connection, sock: PageSocket, keeps: bool) -> None:
        """All of a page has been sent."""
        connections = self._connections
        if connections is None:
            return
        connection.sock = socket.SocketType(sock.family, socket.SOCK_STREAM, 0, sock.detach())
        connection.sock.setblocking(False)
        if keeps:
            connections.returned(connection, float(self.cfg.keepalive))
        else:
            connections.ended(connection)

    def adopt_stream(self, sock: Any, peer: object, request: object) -> None:
        """See ``GunicornWorker``."""
        if self._connections is None or not isinstance(request, StreamRequest | RequestError):
            sock.close()
            return
        bare = socket.SocketType(sock.family, socket.SOCK_STREAM, 0, sock.detach())
        bare.setblocking(False)
        connection = Connection(bare, peer, None)
        connection.move(State.WITH_THREAD)
        self._connections.adopt(connection, request)

    @property
    def _room(self) -> int:
        """How many more connections may be open; the rest wait in the kernel's queue."""
        if self.hub is None:
            return 1
        return self._connections_max - self.hub.viewers - self._passing - int(self.nr_conns)

    @property
    def _passing(self) -> int:
        """Connections in the loop that are neither viewers nor with a thread."""
        if self.hub is None or self._connections is None or self._slow_responses is None:
            return 0
        return len(self._connections) + len(self._slow_responses) + len(self.hub.linger)

    @property
    def _evictable(self) -> int:
        """Connections that give way to new ones where files run short."""
        if self.hub is None or self._connections is None or self._slow_responses is None:
            return 0
        return self._connections.unfinished + len(self._slow_responses) + len(self.hub.linger)

    @property
    def _room_for_viewers(self) -> int:
        """How many more viewers fit, if those whose requests are still to come are viewers.

        In a storm these are a few, since connections come with their first bytes. More of them are no
        viewers, and must not make this worker look full.
        """
        hub, connections = self.hub, self._connections
        if hub is None or connections is None:
            return 0
        coming = min(connections.unfinished, hub.connections_max // _COMING_SHARE)
        return hub.connections_max - hub.viewers - hub.parked - coming

    @property
    def _yields_accepts(self) -> bool:
        """Whether the next viewers should be left to other workers, which take from the same queues."""
        return self.hub is not None and self.cfg.workers > 1 and self._room_for_viewers <= 0

    @property
    def _take_at_most(self) -> int:
        """How many connections to take from one queue at once: of several workers, none more than fit."""
        return BATCH_MAX if self.cfg.workers == 1 else self._room_for_viewers

    # --- the loop

    def run(self) -> None:
        """Called by gunicorn once the application is loaded."""
        self._start()
        self.enter_loop()
        while self.alive:
            self._turn()
            if not self.is_parent_alive():
                break
        self._wind_down()
        self.leave_loop()

    def _turn(self) -> None:
        """One round of the loop."""
        self.notify()
        now_s = time.monotonic()
        # All that are no viewers give way to new connections, but for those that a thread has.
        can_accept = self._room + self._evictable > 0 and now_s >= self._accept_again_s
        stands_back = self._yields_accepts
        if not stands_back:
            self._found_waiting.clear()
        if (can_accept and not stands_back) != self._accepting:
            self.set_accept_enabled(can_accept and not stands_back)
        if can_accept and stands_back:
            self._accept_starved()
            self._accept_again_s = now_s + _FULL_LOOK_S
        self._wait(now_s)

    def _accept_starved(self) -> None:
        """Take from the queues that nobody has emptied.

        In a storm the others, who have room, are at each queue several times a second: a viewer taken from
        one too early is refused for nothing, and is the last to be back.
        """
        waiting = self.waiting_listeners()
        self._found_waiting = {fd: self._found_waiting.get(fd, 0) + 1 for fd in waiting}
        for listener in self.sockets:
            if self._found_waiting.get(listener.fileno(), 0) >= _FULL_LOOKS:
                self._take(listener, _FULL_TAKE)

    def _wait(self, now_s: float) -> None:
        """Handle what comes until something is due."""
        hub, connections, slow_responses = self.hub, self._connections, self._slow_responses
        timeout_s = min(1.0, hub.timeout_s(now_s)) if hub is not None else 1.0
        if now_s < self._accept_again_s:
            timeout_s = min(timeout_s, self._accept_again_s - now_s)
        if self._webhooks:
            timeout_s = max(0.0, min(timeout_s, self._webhooks[0][0] - now_s))
        self.wait(timeout_s)
        self._refuse_late_webhooks(time.monotonic())
        if hub is not None and connections is not None and slow_responses is not None:
            now_s = time.monotonic()
            hub.tick(now_s)
            connections.drop_overdue(now_s)
            slow_responses.drop_overdue(now_s)

    def _start(self) -> None:
        """Make the hub, if the application has a bus."""
        services = getattr(self.wsgi, "extensions", {}).get(ORIGIN)
        if services is None:
            self.log.warning("the application has no bus; streams are left to it")
            return
        config = getattr(services.config, "stream", None) or StreamConfig()
        files = _raise_open_files()
        reserved = min(FILES_RESERVED, max(_FILES_RESERVED_MIN, files // 4))
        # A quarter of the reserve is for connections that are no viewers, so that those get an answer.
        self._connections_max = files - reserved * 3 // 4
        self._ingest_pool = ThreadPoolExecutor(_INGEST_THREADS, thread_name_prefix="ingest")
        self._window_pool = ThreadPoolExecutor(_WINDOWS_MAX, thread_name_prefix="console")
        readers = ThreadPoolExecutor(_READERS, thread_name_prefix="bus-reader")
        self.hub = Hub(
            services.bus,
            config,
            readers=readers,
            connections_max=config.connections_max or files - reserved,
            render_row=self.wsgi.extensions.get(ROW_RENDERER),
            tracer=getattr(services, "tracer", NO_TRACES),
        )
        trusted = TrustedProxies(self.trusted_proxies)
        limit = getattr(services.config, "ingest_max_bytes", BODY_MAX_BYTES)
        fixed_answers = self.wsgi.extensions.get(FIXED_ANSWERS)
        self._slow_responses = SlowResponses(self.hub.reactor, stalled_s=config.stalled_s)
        self._connections = Connections(
            self.hub,
            self.take_page,
            trusted,
            has_room_for_page=lambda: bool(self.nr_conns < self.worker_connections),
            evict_answering=self._slow_responses.evict,
            fixed=None if fixed_answers is None else fixed_answers(),
            refusal_of=self._refusal_of,
            body_max_bytes=limit,
        )
        self.wsgi.extensions[STREAM_HUB] = self.hub
        self.watch(self.hub.reactor.fileno(), self._dispatch_streams)
        for listener in self.sockets:
            self._servers[listener.fileno()] = listener.getsockname()
            if listener.FAMILY != socket.AF_UNIX:
                # Inherited by each connection that is accepted: no call per viewer.
                listener.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(config.unacknowledged_s * 1_000)
                )
                # A connection comes with its first bytes, so most are served in one go; who sends none
                # comes a second later, and then has until its deadline.
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER_ACCEPT_S)
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        # What is loaded by now stays: the collector need not walk it again.
        gc.collect()
        gc.freeze()

    def _dispatch_streams(self) -> None:
        if self.hub is not None:
            self.hub.reactor.dispatch()

    # --- the end

    def _wind_down(self) -> None:
        """Not ready; then no new connections; then the viewers, one after another; then the pages."""
        deadline_s = time.monotonic() + self.cfg.graceful_timeout
        hub, connections = self.hub, self._connections
        if hub is not None and connections is not None:
            hub.draining = True
            notice_until_s = min(deadline_s, time.monotonic() + hub.config.drain_notice_s)
            while time.monotonic() < notice_until_s:
                self._turn()
            self._stop_listening()
            limit_s = max(0.0, deadline_s - time.monotonic() - _DRAIN_MARGIN_S)
            window_s = hub.begin_drain(limit_s)
            self.log.info("%d viewers leave over %.1f s", hub.viewers, window_s)
        else:
            self.set_accept_enabled(False)
        self.cap_keep_alive(time.monotonic() + _LAST_REQUEST_S)
        if connections is not None:
            connections.cap_deadlines(_LAST_REQUEST_S)
        while time.monotonic() < deadline_s:
            viewers = hub.viewers if hub is not None else 0
            if not (self.nr_conns > 0 or viewers or self._passing):
                break
            self.notify()
            self._wait(time.monotonic())
        if hub is not None and connections is not None and self._slow_responses is not None:
            connections.close_all()
            self._slow_responses.close()
            self.unwatch(hub.reactor.fileno())
            hub.close()
        if self._ingest_pool is not None:
            self._ingest_pool.shutdown(wait=False)
        if self._window_pool is not None:
            self._window_pool.shutdown(wait=False)

    def _stop_listening(self) -> None:
        """Take what has been queued, then leave the queue to others.

        With ``--reuse-port`` each worker has a queue of its own, and the kernel goes on filling it for as
        long as it is open; what is in it when it closes is reset.
        """
        for listener in self.sockets:
            try:
                self._take(listener, BATCH_MAX)
            except OSError as error:
                self.log.debug("the last connections could not be taken: %s", error)
        self.set_accept_enabled(False)
        if self.cfg.reuse_port:
            for listener in self.sockets:
                listener.close()
            self.sockets = []


def _ingest_busy(why: str) -> RequestError:
    return RequestError(
        503,
        "ingest_busy",
        f"{why}; nothing was taken of this one, send it again",
        headers={"Retry-After": "1"},
    )


def _request_of(req: Any) -> StreamRequest | RequestError | None:
    """A stream request that gunicorn has read, as it would have come here; the last of its connection."""
    version = ".".join(map(str, req.version))
    lines = [f"{req.method} {req.uri} HTTP/{version}"]
    # The first of a name counts: gunicorn may have read on, so no further request can be served here.
    lines += ["Connection: close, upgrade", *(f"{name}: {value}" for name, value in req.headers)]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    try:
        line = request_line(head)
        return parse(head, line) if line.target.is_stream else None
    except RequestError as error:
        return error


def _raise_open_files() -> int:
    """The most files this process may have open, raised as far as it may go."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
