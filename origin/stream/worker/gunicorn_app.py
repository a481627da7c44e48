"""The origin under gunicorn, configured here and not by a file: one way to run it, in every set-up."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from origin.errors import ConfigError
from origin.stream.worker.extensions import ORIGIN

__all__ = ["Serving", "listen"]

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

    Attributes:
        port: the port that is listened on.

    Raises:
        ConfigError: several workers on the embedded bus, or the address cannot be listened on.
    """

    def __init__(self, config: _S, load: Callable[[_S], Any], *, host: str, port: int, workers: int) -> None:
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
            "accesslog": None,
            "errorlog": "-",
            "loglevel": config.log_level,
            "logger_class": _RootLogger,
            "proc_name": "touchline",
            "control_socket_disable": True,
        }
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn."""
        for name, value in self._options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        """Called by gunicorn in each worker, after the fork."""
        return self._load(self._config)


class _RootLogger(Logger):  # type: ignore[misc]
    """gunicorn's own records go to the root logger, which escapes what strangers put into them."""

    def setup(self, cfg: Any) -> None:
        """Called by gunicorn once it has its settings."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def listen(host: str, port: int) -> list[socket.socket]:
    """Bind the accept queues of one address.

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
        queues = []
        for _ in range(QUEUES):
            queue = socket.socket(family, kind)
            queue.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            queue.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            queue.bind(address)
            queues.append(queue)
    except OSError as error:
        raise ConfigError(f"{host}:{port} cannot be listened on: {error.strerror or error}") from error
    return queues


def _close(server: object, worker: Any) -> None:
    """Called by gunicorn when a worker ends in good order."""
    del server
    origin = getattr(getattr(worker, "wsgi", None), "extensions", {}).get(ORIGIN)
    if origin is not None:
        origin.close()
