"""The admin port: a small HTTP server of its own in each worker, for operators' tools only.

It shares nothing with the public port but the process. The stream worker stops taking connections while it is
full or ends, and its threads may all be busy with pages; an operator wants the numbers just then. All workers
take from one socket, which their parent bound.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

__all__ = ["serve_admin"]

# Prometheus and a load balancer are two clients. More than this are refused, so that they cost no threads.
CONNECTIONS_MAX: Final = 8
# For a client that sends nothing, or takes nothing.
TIMEOUT_S: Final = 5.0
# At its end a worker waits so long for answers that are under way.
STOP_S: Final = 1.0
POLL_S: Final = 0.1
BACKLOG: Final = 64


def serve_admin(app: Callable[..., Any], listener: socket.socket) -> Callable[[], None]:
    """Serve a WSGI application on a bound socket from threads of this process.

    Returns:
        What ends it: no further connection is taken, and requests that have come are answered.
    """
    server = _Server(app, listener)
    threading.Thread(target=server.serve_forever, args=(POLL_S,), name="admin", daemon=True).start()
    return server.stop


class _Handler(WSGIRequestHandler):
    timeout = TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named so by its base
        """Nothing: a line for each scrape would hide what matters."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, app: Callable[..., Any], listener: socket.socket) -> None:
        address = listener.getsockname()
        super().__init__(address, _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        # Not by server_bind, which asks the resolver for a name.
        self.server_name, self.server_port = address[:2]
        self.setup_environ()
        self.set_app(app)
        listener.listen(BACKLOG)
        # Of several workers that see a connection one gets it; the others must not wait for the next.
        listener.setblocking(False)
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def stop(self) -> None:
        self.shutdown()
        deadline_s = time.monotonic() + STOP_S
        for _ in range(CONNECTIONS_MAX):
            if not self._free.acquire(timeout=max(0.0, deadline_s - time.monotonic())):
                break

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that leaves or is silent is no fault of ours, and Flask logs what is."""
