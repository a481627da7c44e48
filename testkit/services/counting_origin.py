"""An origin whose answers the test decides: it counts what caches ask, holds answers and cuts them.

Caches are tested with it where the product's own origin could not be made to misbehave.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Answer", "CountingOrigin"]


@dataclass
class Answer:
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    #: Only so many bytes of the body are sent, then the connection is closed.
    cut_after: int | None = None
    #: The connection is reset without a byte, as by an origin that is killed while it holds.
    dropped: bool = False


class CountingOrigin:
    """Answers by ``decide(path)``, which may block.

    Attributes:
        seen: how often each target was asked for.
        heads: the headers of the requests for each target.
    """

    def __init__(self, decide: Callable[[str], Answer], port: int = 0) -> None:
        self.decide = decide
        self.seen: Counter[str] = Counter()
        self.heads: dict[str, list[dict[str, str]]] = {}
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self.port = port
        self.start()

    def start(self) -> None:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                with owner._lock:
                    owner._connections.add(self.connection)

            def finish(self) -> None:
                with owner._lock:
                    owner._connections.discard(self.connection)
                super().finish()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

            def do_GET(self) -> None:
                with owner._lock:
                    owner.seen[self.path] += 1
                    owner.heads.setdefault(self.path, []).append(
                        {name.lower(): value for name, value in self.headers.items()}
                    )
                answer = owner.decide(self.path)
                if answer.dropped:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if answer.cut_after is not None:
                    self.wfile.write(answer.body[: answer.cut_after])
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                elif self.command != "HEAD":
                    self.wfile.write(answer.body)

            do_HEAD = do_POST = do_OPTIONS = do_GET  # noqa: N815

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Nothing: caches close connections as they like."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            # A cache would be answered on for as long as it keeps its connections.
            with self._lock:
                for connection in self._connections:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> CountingOrigin:
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()
