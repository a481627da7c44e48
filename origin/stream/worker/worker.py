"""The gunicorn worker that serves pages and streams on one port.

Pages go to gunicorn's own thread pool and Flask. Streams never take a thread: ``arrivals`` looks at the
first bytes of each connection and gives ``/stream/…`` and ``/ws/match/…`` to the ``hub``, whose epoll set
is one more entry in this worker's selector. A thread never waits for a client either: ``arrivals`` gives it
a whole request, and what the client does not take of the answer goes out from the loop (``departures``).

It is a ``ThreadWorker`` (gunicorn 27) with another way in, another loop around the same steps, and
another end. What it relies on there: ``accept``, ``enqueue_req``, ``on_client_socket_readable``,
``finish_request``, ``handle_request``, ``set_accept_enabled``, ``wait_for_and_dispatch_events``, ``run``,
and a ``TConn`` that keeps the parser it is given; ``tests/stream/worker/test_worker.py`` and
``tests/stream/worker/test_bodies.py`` meet each through a real gunicorn.

TLS ends in front of this server. With ``keyfile`` set, gunicorn's own worker does it, and streams are
Flask's slow route; the same with ``proxy_protocol``, except that there a stream goes from its thread to
the hub once its head is read.
"""

from __future__ import annotations

import errno
import gc
import resource
import select
import selectors
import socket
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from gunicorn.http import get_parser
from gunicorn.workers.gthread import TConn, ThreadWorker

from origin.errors import RequestError
from origin.stream.http.stream_request import StreamRequest, parse, stream_path
from origin.stream.hub.config import FILES_RESERVED, StreamConfig
from origin.stream.hub.hub import Hub
from origin.stream.net.slow_responses import PageSocket, SlowResponses
from origin.stream.worker.connections import BODY_MAX_BYTES, Connection, Connections
from origin.stream.worker.extensions import ORIGIN, STREAM_HUB

__all__ = ["StreamWorker"]

_READERS: Final = 4
_FILES_RESERVED_MIN: Final = 48
_ACCEPT_PAUSE_S: Final = 0.25
# A full worker leaves what waits to the others and looks this often. From a queue that it has found waiting
# so many times in a row it takes so many: pages, which it can serve, and viewers for whom nobody has room.
_FULL_LOOK_S: Final = 0.25
_FULL_LOOKS: Final = 3
_FULL_TAKE: Final = 2
# Of gunicorn's graceful_timeout, what is left for pages once the last viewer has gone.
_DRAIN_MARGIN_S: Final = 3.0
_DEFER_ACCEPT_S: Final = 1
# While pages compute, each send of a fan-out that has begun may lose the interpreter for one interval.
_SWITCH_INTERVAL_S: Final = 0.0005


class StreamWorker(ThreadWorker):  # type: ignore[misc]
    """See the module."""

    sockets: list[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hub: Hub | None = None
        self._arrivals: Connections | None = None
        self._departures: SlowResponses | None = None
        self._direct = not (
            self.cfg.is_ssl or getattr(self.cfg, "proxy_protocol", "off") not in (False, "off")
        )
        self._servers: dict[int, Any] = {}
        self._accept_again_s = 0.0
        self._found_waiting: dict[int, int] = {}
        self._connections_max = 0

    # --- the way in

    def accept(self, listener: Any) -> None:
        """Called by the selector when connections wait."""
        self._take(listener, self._take_at_most)

    def _take(self, listener: Any, at_most: int) -> None:
        connections = self._arrivals
        if connections is None or not self._direct:
            super().accept(listener)
            return
        try:
            connections.accept(listener.sock, self._servers[listener.fileno()], at_most)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            # The connection stays in the queue; who leaves meanwhile makes room for it.
            self.log.warning("no connection can be taken for now: %s", error)
            self._accept_again_s = time.monotonic() + _ACCEPT_PAUSE_S

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """A kept-alive page connection has its next request, which may be for a stream."""
        connections = self._arrivals
        if connections is None or not self._direct:
            super().on_client_socket_readable(conn, client)
            return
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self.nr_conns -= 1
        # It has begun to come, so it has as long as a first one.
        connections.add(conn.sock, conn.client, conn.server, connections.first_bytes_s)

    def take_page(self, connection: Connection) -> None:
        """A request for a thread, all of it there."""
        self.nr_conns += 1
        # What the hub works with is the bare socket; gunicorn wants all of it.
        sock = PageSocket(connection.sock.family, connection.sock.detach())
        conn = TConn(self.cfg, sock, connection.peer, connection.server)
        conn.data_ready = True
        # The parser reads the message and then meets its end. It never sees the socket: a message that it
        # takes for longer than we did is cut short, and waits for nobody.
        conn.parser = get_parser(self.cfg, [connection.message], connection.peer)
        conn.held = connection.held
        self.enqueue_req(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """On a thread. A stream that came behind a page's request goes back to the loop."""
        hub = self.hub
        if hub is not None:
            if not self.cfg.is_ssl and stream_path(req.path):
                conn.stream = _request_of(req)
                return False
            if self._direct:
                req._expected_100_continue = False  # said long ago, or needless: the body is here
            # A page can wait a fifth of a second; a goal cannot, and they share one interpreter.
            hub.fanout_idle.wait(1.0)
        return super().handle_request(req, conn)

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """A thread is done with a connection."""
        connections, departures = self._arrivals, self._departures
        if connections is None or departures is None:
            super().finish_request(conn, fs)
            return
        request: StreamRequest | RequestError | None = getattr(conn, "stream", None)
        if not self._direct:
            if request is None:
                super().finish_request(conn, fs)
            else:
                self.nr_conns -= 1
                connections.adopt(conn.sock, conn.client, request)
            return
        connections.let_go(conn.held)
        self.nr_conns -= 1
        if conn.sock.fileno() < 0:
            return
        if request is not None:
            connections.adopt(conn.sock, conn.client, request)
        elif conn.sock.unsent:
            departures.take(conn.sock, lambda: self._answered(conn, fs))
        else:
            self._answered(conn, fs)

    def _answered(self, conn: Any, fs: Future[Any]) -> None:
        """All of a page has been sent."""
        if not fs.cancelled() and fs.exception() is None and fs.result():
            self.nr_conns += 1
            super().finish_request(conn, fs)  # which keeps it for the next request
        elif self.hub is not None:
            # gunicorn would wait here for the client to close, for two seconds in which nobody gets a goal.
            conn.sock.setblocking(False)
            self.hub.linger.take(conn.sock)

    @property
    def _room(self) -> int:
        """How many more connections may be open; the rest wait in the kernel's queue."""
        if self.hub is None:
            return 1
        return self._connections_max - self.hub.viewers - self._passing - int(self.nr_conns)

    @property
    def _passing(self) -> int:
        """Connections in the loop that are neither viewers nor with a thread."""
        if self.hub is None or self._arrivals is None or self._departures is None:
            return 0
        return len(self._arrivals) + len(self._departures) + len(self.hub.linger)

    @property
    def _room_for_viewers(self) -> int:
        """How many more viewers can be held, if all whose requests are still to come are viewers."""
        if self.hub is None or self._arrivals is None:
            return 0
        return self.hub.connections_max - self.hub.viewers - len(self._arrivals)

    @property
    def _yields_accepts(self) -> bool:
        """Whether other workers, who take from the same queues, should have the next viewers."""
        return self.hub is not None and self.cfg.workers > 1 and self._room_for_viewers <= 0

    @property
    def _take_at_most(self) -> int:
        """How many connections to take from one queue in one go; of several, the last one fills a worker."""
        if self.hub is None or self.cfg.workers == 1:
            return self._room
        return min(self._room, self._room_for_viewers)

    # --- the loop

    def run(self) -> None:
        """Called by gunicorn once the application is loaded."""
        self._start()
        self.poller.register(
            self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks
        )
        self.set_accept_enabled(True)
        while self.alive:
            self._turn()
            if not self.is_parent_alive():
                break
        self._wind_down()
        self.murder_keepalived(force=True)
        self.tpool.shutdown(wait=False)
        self.poller.close()
        self.method_queue.close()
        for listener in self.sockets:
            listener.close()

    def _turn(self) -> None:
        """One round of the loop."""
        self.notify()
        now_s = time.monotonic()
        can_accept = (
            self.nr_conns < self.worker_connections and self._room > 0 and now_s >= self._accept_again_s
        )
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
        looked_at = select.poll()
        for listener in self.sockets:
            looked_at.register(listener.fileno(), select.POLLIN)
        waiting = {fd for fd, _ in looked_at.poll(0)}
        self._found_waiting = {fd: self._found_waiting.get(fd, 0) + 1 for fd in waiting}
        for listener in self.sockets:
            if self._found_waiting.get(listener.fileno(), 0) >= _FULL_LOOKS:
                self._take(listener, min(self._room, _FULL_TAKE))

    def _wait(self, now_s: float) -> None:
        """Handle what comes until something is due."""
        hub, connections, departures = self.hub, self._arrivals, self._departures
        timeout_s = min(1.0, hub.timeout_s(now_s)) if hub is not None else 1.0
        if now_s < self._accept_again_s:
            timeout_s = min(timeout_s, self._accept_again_s - now_s)
        self.wait_for_and_dispatch_events(timeout=timeout_s)
        self.murder_keepalived()
        self.murder_pending()
        if hub is not None and connections is not None and departures is not None:
            now_s = time.monotonic()
            hub.tick(now_s)
            connections.drop_overdue(now_s)
            departures.drop_overdue(now_s)

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
        readers = ThreadPoolExecutor(_READERS, thread_name_prefix="bus-reader")
        self.hub = Hub(
            services.bus,
            config,
            readers=readers,
            connections_max=config.connections_max or files - reserved,
        )
        trusted = frozenset(str(one) for one in self.cfg.forwarded_allow_ips)
        limit = getattr(services.config, "ingest_max_bytes", BODY_MAX_BYTES)
        self._arrivals = Connections(self.hub, self.take_page, trusted, body_max_bytes=limit)
        self._departures = SlowResponses(self.hub.reactor, stalled_s=config.stalled_s)
        self.wsgi.extensions[STREAM_HUB] = self.hub
        self.poller.register(
            self.hub.reactor.fileno(), selectors.EVENT_READ, lambda _: self._dispatch_streams()
        )
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
        hub, connections = self.hub, self._arrivals
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
        cap_keepalive = getattr(self, "_cap_keepalive", None)
        if cap_keepalive is not None:
            cap_keepalive(time.monotonic() + 2.0)
        while time.monotonic() < deadline_s:
            viewers = hub.viewers if hub is not None else 0
            if not (self.nr_conns > 0 or viewers or self._passing):
                break
            self.notify()
            self._wait(time.monotonic())
        if hub is not None and connections is not None and self._departures is not None:
            connections.close_all()
            self._departures.close()
            self.poller.unregister(hub.reactor.fileno())
            hub.close()

    def _stop_listening(self) -> None:
        """Take what has been queued, then leave the queue to others.

        With ``--reuse-port`` each worker has a queue of its own, and the kernel goes on filling it for as
        long as it is open; what is in it when it closes is reset.
        """
        for listener in self.sockets:
            try:
                self._take(listener, self._room)
            except OSError as error:
                self.log.debug("the last connections could not be taken: %s", error)
        self.set_accept_enabled(False)
        if self.cfg.reuse_port:
            for listener in self.sockets:
                listener.close()
            self.sockets = []


def _request_of(req: Any) -> StreamRequest | RequestError:
    """A stream request that gunicorn has read, as it would have come here; the last of its connection."""
    version = ".".join(map(str, req.version))
    lines = [f"{req.method} {req.path}{'?' if req.query else ''}{req.query} HTTP/{version}"]
    # The first of a name counts: gunicorn may have read on, so no further request can be served here.
    lines += ["Connection: close, upgrade", *(f"{name}: {value}" for name, value in req.headers)]
    try:
        return parse("\r\n".join([*lines, "", ""]).encode("latin-1"))
    except RequestError as error:
        return error


def _raise_open_files() -> int:
    """The most files this process may have open, raised as far as it may go."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
