"""A receiver of webhooks: a real HTTP server that checks signatures and misbehaves on request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from origin.errors import RequestError
from origin.ingest.signatures import verify

__all__ = ["Received", "WebhookReceiver", "answer_200"]


@dataclass(frozen=True)
class Received:
    """One request.

    Attributes:
        id: its ``webhook-id``.
        signed: whether a signature of it is by the receiver's key, now.
        status: what it was answered.
    """

    path: str
    id: str
    timestamp: str
    body: bytes
    signed: bool
    status: int

    @property
    def content(self) -> Any:
        return json.loads(self.body)


def answer_200(attempt: int, handler: BaseHTTPRequestHandler) -> int:
    del attempt, handler
    return 200


class WebhookReceiver:
    """Answers each request by ``decide``.

    Args:
        secret: what deliveries must be signed with.
        decide: gets which request it is, from 1, and the handler; returns the status. 0: the connection is
            closed without an answer.
        port: 0 for any.
    """

    def __init__(
        self,
        secret: bytes,
        decide: Callable[[int, BaseHTTPRequestHandler], int] = answer_200,
        port: int = 0,
    ) -> None:
        self.secret = secret
        self.decide = decide
        self.received: list[Received] = []
        self._lock = threading.Lock()
        self._count = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

            def do_POST(self) -> None:
                owner._take(self)

            def do_GET(self) -> None:
                owner._take(self)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Nothing: senders are killed here."""

        self._server = Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self._lock:
            self._count += 1
            number = self._count
        status = self.decide(number, handler)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        try:
            verify(headers, body, [self.secret], time.time())
            signed = True
        except RequestError:
            signed = False
        received = Received(
            handler.path,
            headers.get("webhook-id", ""),
            headers.get("webhook-timestamp", ""),
            body,
            signed,
            status,
        )
        with self._lock:
            self.received.append(received)
        if status:
            handler.send_response(status)
            if 300 <= status < 400:
                handler.send_header("Location", "/elsewhere")
            if status == 429:
                handler.send_header("Retry-After", "2")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    def taken(self) -> Sequence[Received]:
        """What was answered with 2xx, in order."""
        with self._lock:
            return [one for one in self.received if 200 <= one.status < 300]

    def wait_for(
        self, count: int, *, all_requests: bool = False, timeout_s: float = 30.0
    ) -> Sequence[Received]:
        """Until so many were taken, or with ``all_requests`` came."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = list(self.received) if all_requests else self.taken()
            if len(found) >= count:
                return found
            time.sleep(0.02)
        raise AssertionError(
            f"{len(self.received)} came, {len(self.taken())} were taken, {count} were waited for"
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> WebhookReceiver:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()
