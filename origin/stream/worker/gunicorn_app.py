"""gunicorn: how the origin runs under it, and all that is taken from its inside. No other file names it.

``Serving`` is the origin under gunicorn, configured here and not by a file: one way to run it, in every
set-up. ``GunicornWorker`` is its ``ThreadWorker`` behind names of ours. Its inside is no interface of
gunicorn's, so ``pyproject.toml`` pins one version, and ``check_gunicorn`` says at the start which inherited
name is not there.
"""

from __future__ import annotations

import select
import selectors
import socket
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor, Future
from typing import Any, Final, Protocol, TypeVar

from gunicorn import __version__ as gunicorn_version
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http import get_parser
from gunicorn.http.message import Request
from gunicorn.workers.gthread import PollableMethodQueue, TConn, ThreadWorker

from origin.errors import ConfigError, RequestError
from origin.stream.http.framing import refusal
from origin.stream.worker.extensions import ORIGIN
from shared_state.errors import shown

__all__ = ["GUNICORN_VERSION", "GunicornWorker", "Serving", "check_gunicorn", "listen"]

# A full reconnect arrives within a second or two, and the kernel bounds each accept queue (somaxconn, 4,096
# as Linux comes). What does not fit is dropped, and comes again after 1, 3, 7, 15 seconds. So there are
# several queues on the one port, and all workers take from all of them: a worker that is full, or was just
# killed, keeps nobody waiting. A queue for each worker would be simpler, but then the kernel goes on sending
# viewers to full ones (measured: docs/decisions.md).
QUEUES = 16
BACKLOG = 4_096
# Flask's threads serve pages and polls, which take milliseconds; streams take none.
THREADS = 16
# Long enough for a drain that spreads its viewers; a supervisor should wait a little longer.
GRACEFUL_TIMEOUT_S = 30


_S = TypeVar("_S", bound="_Settings")


class _Settings(Protocol):
    """What is read of the settings here; ``origin.config.Config`` has it."""

    @property
    def bus_url(self) -> str: ...
    @property
    def embedded(self) -> bool: ...
    @property
    def log_level(self) -> str: ...


class Serving(BaseApplication):  # type: ignore[misc]
    """gunicorn with our application.

    Args:
        config: the settings.
        load: makes the WSGI application; called in each worker, after the fork.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        workers: processes. The embedded bus is one process's own, so it takes exactly one.
        worker_ended: called in the parent when a worker has ended, with the pids of those that have not.
        ended: called in the parent at its own end.

    Attributes:
        port: the port that is listened on.

    Raises:
        ConfigError: several workers on the embedded bus, or the address cannot be listened on.
    """

    def __init__(
        self,
        config: _S,
        load: Callable[[_S], Any],
        *,
        host: str,
        port: int,
        workers: int,
        worker_ended: Callable[[Collection[int]], None] | None = None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        if config.embedded and workers > 1:
            raise ConfigError(
                f"--workers {workers} with BUS_URL {config.bus_url!r}: the embedded bus is one process's own;"
                " use one worker, or a redis:// bus"
            )
        listeners = listen(host, port)
        self.port: int = listeners[0].getsockname()[1]
        self._config = config
        self._load = load
        self._options: dict[str, Any] = {
            "bind": [f"fd://{queue.detach()}" for queue in listeners],
            "workers": workers,
            "worker_class": "origin.stream.worker.worker.StreamWorker",
            "threads": THREADS,
            "backlog": BACKLOG,
            "keepalive": 75,
            "timeout": 60,
            "graceful_timeout": GRACEFUL_TIMEOUT_S,
            "worker_exit": _close,
            # A trusted proxy may set these by headers with an underscore, as gunicorn comes. No proxy of ours
            # does, and one that passes on what a client sent would let it choose them: 500, or another route.
            "forwarder_headers": "",
            "accesslog": None,
            "errorlog": "-",
            "loglevel": config.log_level,
            "logger_class": _RootLogger,
            "proc_name": "touchline",
            "control_socket_disable": True,
        }
        if worker_ended is not None:
            self._options["child_exit"] = _child_exit(worker_ended)
        if ended is not None:
            self._options["on_exit"] = _on_exit(ended)
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn."""
        for name, value in self._options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        """Called by gunicorn in each worker, after the fork."""
        return self._load(self._config)


# The version whose inside the names below were read in.
GUNICORN_VERSION = "27.0.1"
# What is used of it, beside its public settings: by class, the names that are inherited, called or set.
_USED: Final[Mapping[type, tuple[str, ...]]] = {
    ThreadWorker: (
        *("accept", "enqueue_req", "finish_request", "handle", "handle_error", "handle_request"),
        *("init_process",),
        *("is_parent_alive", "murder_keepalived", "murder_pending", "notify", "run", "set_accept_enabled"),
        *("wait_for_and_dispatch_events", "_cap_keepalive"),
    ),
    PollableMethodQueue: ("close", "defer", "fileno", "run_callbacks"),
    TConn: ("init", "wait_for_data", "close"),
    Request: ("should_close",),
}
# Made by their constructors, so looked for in the source's names.
_SET: Final[Mapping[type, tuple[str, ...]]] = {
    ThreadWorker: ("tpool", "poller", "method_queue", "keepalived_conns", "nr_conns", "worker_connections"),
    TConn: ("sock", "client", "server", "parser", "data_ready"),
    Request: ("must_close", "_expected_100_continue"),
}


# What gunicorn refuses before the application sees it.
_ERRORS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("malformed_request", "this is not a request of HTTP/1.1"),
    403: ("forbidden", "this request is not taken from this address"),
    414: ("uri_too_long", "the request line is too long"),
    417: ("expectation_failed", "the only expectation that is met is 100-continue"),
    431: ("request_head_too_large", "the head of the request is too large"),
    500: ("internal_error", "the request could not be answered"),
    501: ("not_implemented", "this transfer coding is not supported"),
}


def check_gunicorn(
    used: Mapping[type, tuple[str, ...]] = _USED, attributes: Mapping[type, tuple[str, ...]] = _SET
) -> None:
    """Check that gunicorn has what ``GunicornWorker`` takes from its inside.

    Raises:
        ConfigError: a name is not there; it is named, with gunicorn's version.
    """
    missing = [
        f"{of.__name__}.{name}" for of, names in used.items() for name in names if not hasattr(of, name)
    ]
    for of, names in attributes.items():
        known = {name for base in of.__mro__ for name in _names_in(base)}
        missing += [f"{of.__name__}.{name}" for name in names if name not in known]
    if missing:
        raise ConfigError(
            f"gunicorn {gunicorn_version} has no {', '.join(missing)}: this is made for {GUNICORN_VERSION}"
        )


def _names_in(of: type) -> set[str]:
    """The attributes that a class's methods name."""
    functions = (getattr(member, "__func__", member) for member in vars(of).values())
    return {name for one in functions if (code := getattr(one, "__code__", None)) for name in code.co_names}


class GunicornWorker(ThreadWorker):  # type: ignore[misc]
    """What the stream worker builds on: gunicorn's threads, its loop's parts and its settings, by our names.

    Attributes:
        direct: whether connections are ours from their first byte; not where gunicorn ends TLS or reads the
            PROXY protocol, since the first bytes are then no HTTP.
    """

    sockets: list[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        check_gunicorn()
        super().__init__(*args, **kwargs)
        self.direct = not (
            self.cfg.is_ssl or getattr(self.cfg, "proxy_protocol", "off") not in (False, "off")
        )

    @property
    def trusted_proxies(self) -> list[str]:
        """Addresses, networks or ``*``: whose ``X-Forwarded-For`` is believed."""
        return [str(one) for one in self.cfg.forwarded_allow_ips]

    def enter_loop(self) -> None:
        """Begin: what threads hand back is handled in the loop, and connections are taken."""
        self.poller.register(
            self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks
        )
        self.set_accept_enabled(True)

    def watch(self, fileno: int, handle: Callable[[], None]) -> None:
        """Have ``handle`` called whenever a descriptor is readable."""
        self.poller.register(fileno, selectors.EVENT_READ, lambda _: handle())

    def unwatch(self, fileno: int) -> None:
        """Undo ``watch``."""
        self.poller.unregister(fileno)

    def wait(self, timeout_s: float) -> None:
        """Handle what comes within so many seconds, and end gunicorn's own connections whose time is up."""
        self.wait_for_and_dispatch_events(timeout=timeout_s)
        self.murder_keepalived()
        self.murder_pending()

    def leave_loop(self) -> None:
        """End: close what gunicorn's own ``run`` would."""
        self.murder_keepalived(force=True)
        self.tpool.shutdown(wait=False)
        self.poller.close()
        self.method_queue.close()
        for listener in self.sockets:
            listener.close()

    def cap_keep_alive(self, deadline_s: float) -> None:
        """Let none of gunicorn's own connections idle beyond a moment on the monotonic clock."""
        self._cap_keepalive(deadline_s)

    def waiting_listeners(self) -> set[int]:
        """The listeners, by number, at which connections wait."""
        looked_at = select.poll()
        for listener in self.sockets:
            looked_at.register(listener.fileno(), select.POLLIN)
        return {fd for fd, _ in looked_at.poll(0)}

    def submit_page(
        self, sock: socket.socket, connection: Any, message: bytes, pool: Executor | None = None
    ) -> Future[Any] | None:
        """Have a thread answer a whole request.

        Args:
            sock: where the answer goes.
            connection: comes back with the answer; has ``peer`` and ``server``.
            message: the request, to its last byte.
            pool: whose threads; None for those of pages.

        Returns:
            What can be cancelled until a thread begins; the connection then comes back as one to be ended.
            None for pages.
        """
        self.nr_conns += 1
        conn = TConn(self.cfg, sock, connection.peer, connection.server)
        conn.data_ready = True
        # The parser reads the message and then meets its end. It never sees the socket: a message that it
        # takes for longer than we did is cut short, and waits for nobody.
        conn.parser = get_parser(self.cfg, [message], connection.peer)
        conn.connection = connection
        if pool is None:
            self.enqueue_req(conn)
            return None
        done: Future[Any] = pool.submit(self.handle, conn)
        done.add_done_callback(lambda future: self.method_queue.defer(self.finish_request, conn, future))
        return done

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Called by gunicorn on a thread."""
        adopted = self.stream_request_of(req)
        if adopted is not None:
            conn.stream_request = adopted
            return False
        if self.direct:
            req._expected_100_continue = False  # said long ago, or needless: the body is here
            connection = getattr(conn, "connection", None)
            if connection is not None and not self.may_keep(connection):
                req.must_close = True
        self.before_page()
        return super().handle_request(req, conn)

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """Called by gunicorn in the loop: a thread is done with a connection."""
        if hasattr(conn, "connection"):
            self.nr_conns -= 1
            keeps = not fs.cancelled() and fs.exception() is None and bool(fs.result())
            self.page_done(conn.connection, conn.sock, keeps)
        elif hasattr(conn, "stream_request"):
            self.nr_conns -= 1
            self.adopt_stream(conn.sock, conn.client, conn.stream_request)
        else:
            super().finish_request(conn, fs)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Called by gunicorn on a thread, for a request that it does not take: our error, not its page."""
        page = _RecordedPage()
        super().handle_error(req, page, addr, exc)  # knows the status, and logs it
        status = page.status
        if status is None:
            return
        code, message = _ERRORS.get(status, _ERRORS[500] if status >= 500 else _ERRORS[400])
        error = RequestError(status, code, message if status >= 500 else f"{message}: {shown(str(exc))}")
        try:
            client.sendall(refusal(error, keep_alive=False, with_body=not getattr(client, "is_head", False)))
        except OSError as gone:
            self.log.debug("an error was not waited for: %s", gone)

    # --- for the stream worker to say

    def stream_request_of(self, req: Any) -> object | None:
        """The stream request that gunicorn has read, if it is one; on a thread."""
        raise NotImplementedError

    def before_page(self) -> None:
        """A thread is about to compute a page."""
        raise NotImplementedError

    def may_keep(self, connection: Any) -> bool:
        """Whether a connection may have one more request; on a thread."""
        raise NotImplementedError

    def page_done(self, connection: Any, sock: Any, keeps: bool) -> None:
        """A thread has written an answer; the connection is to be kept, or ends."""
        raise NotImplementedError

    def adopt_stream(self, sock: Any, peer: object, request: object) -> None:
        """A stream came over a connection that gunicorn has read."""
        raise NotImplementedError


class _RecordedPage:
    """What gunicorn writes an error to, as to a socket.

    Attributes:
        status: of the error; None if nothing was written.
    """

    def __init__(self) -> None:
        self.status: int | None = None

    def gettimeout(self) -> float:
        """As of a socket that never waits."""
        return 0.0

    def sendall(self, data: bytes) -> None:
        """Note the status of an answer."""
        self.status = int(data.split(b" ", 2)[1])


class _RootLogger(Logger):  # type: ignore[misc]
    """gunicorn's own records go to the root logger, which escapes what strangers put into them."""

    def setup(self, cfg: Any) -> None:
        """Called by gunicorn once it has its settings."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def listen(host: str, port: int, queues: int = QUEUES) -> list[socket.socket]:
    """Bind the accept queues of one address.

    Args:
        host: the address.
        port: the port; 0 takes a free one.
        queues: how many accept queues the port has.

    Raises:
        ConfigError: somebody listens there, or it is no address of this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Without SO_REUSEPORT this fails if anybody listens there; with it, two origins would silently share
        # the port, and each viewer would get one of them by chance.
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            address = probe.getsockname()
        bound = []
        for _ in range(queues):
            queue = socket.socket(family, kind)
            queue.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            queue.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            queue.bind(address)
            bound.append(queue)
    except OSError as error:
        raise ConfigError(f"{host}:{port} cannot be listened on: {error.strerror or error}") from error
    return bound


def _close(server: object, worker: Any) -> None:
    """Called by gunicorn when a worker ends in good order."""
    del server
    origin = getattr(getattr(worker, "wsgi", None), "extensions", {}).get(ORIGIN)
    if origin is not None:
        origin.close()


def _child_exit(worker_ended: Callable[[Collection[int]], None]) -> Callable[[Any, Any], None]:
    """As gunicorn calls it in the parent, with itself and the worker that has ended."""

    def hook(server: Any, worker: Any) -> None:
        worker_ended(frozenset(server.WORKERS) - {worker.pid})

    return hook


def _on_exit(ended: Callable[[], None]) -> Callable[[object], None]:
    """As gunicorn calls it in the parent."""

    def hook(server: object) -> None:
        del server
        ended()

    return hook
