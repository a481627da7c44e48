"""A push service and the browsers behind it: a real HTTP server that decrypts and checks who sent."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import http_ece
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from py_vapid import Vapid02

__all__ = ["Browser", "PushService", "ReceivedPush"]


@dataclass(frozen=True)
class ReceivedPush:
    """One request.

    Attributes:
        browser: the name of the browser that it is for.
        headers: by lower-case name.
        content: what the browser would read.
        claims: of the proof of who sent it, which was verified.
        key: the sender's public key, base64url.
        status: what it was answered.
    """

    browser: str
    headers: dict[str, str]
    content: Any
    claims: dict[str, Any]
    key: str
    status: int
    at_s: float


class Browser:
    """What a browser has of its subscription."""

    def __init__(self, service: PushService, name: str) -> None:
        self.endpoint = f"{service.url}/push/{name}"
        self.secret = os.urandom(16)
        self.key = ec.generate_private_key(ec.SECP256R1())
        point = self.key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        self.keys = {"p256dh": base64url(point), "auth": base64url(self.secret)}


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class PushService:
    """Answers each push by ``decide``, which gets the browser's name and which request of it this is, from 1.

    Status 0 closes the connection without an answer; the push counts as received all the same.
    """

    def __init__(self, decide: Callable[[str, int], int] = lambda browser, number: 201) -> None:
        self.received: list[ReceivedPush] = []
        self.errors: list[BaseException] = []
        self.decide = decide
        self._browsers: dict[str, Browser] = {}
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

            def do_POST(self) -> None:
                owner._take(self)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Nothing: senders are killed here."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def browser(self, name: str) -> Browser:
        """A browser of this service."""
        return self._browsers.setdefault(name, Browser(self, name))

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        name = handler.path.rpartition("/")[2]
        headers = {header.lower(): value for header, value in handler.headers.items()}
        try:
            assert headers["content-encoding"] == "aes128gcm"
            assert Vapid02.verify(headers["authorization"])
            parts = dict(part.split("=", 1) for part in headers["authorization"].split(" ", 1)[1].split(","))
            claims = json.loads(from_base64url(parts["t"].split(".")[1]))
            browser = self._browsers[name]
            content = json.loads(
                http_ece.decrypt(
                    body, private_key=browser.key, auth_secret=browser.secret, version="aes128gcm"
                )
            )
        except BaseException as error:
            self.errors.append(error)
            raise
        with self._lock:
            number = sum(one.browser == name for one in self.received) + 1
        status = self.decide(name, number)
        with self._lock:
            self.received.append(
                ReceivedPush(name, headers, content, claims, parts["k"], status, time.monotonic())
            )
        if status:
            handler.send_response(status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    def of(self, name: str) -> Sequence[ReceivedPush]:
        """What came for a browser, in order."""
        with self._lock:
            return [one for one in self.received if one.browser == name]

    def wait_for(self, name: str, count: int, timeout_s: float = 30.0) -> Sequence[ReceivedPush]:
        """Until so many came for a browser."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert not self.errors, self.errors
            if len(found := self.of(name)) >= count:
                return found
            time.sleep(0.02)
        raise AssertionError(f"{len(self.of(name))} came for {name}, {count} were waited for")

    def __enter__(self) -> PushService:
        return self

    def __exit__(self, *failure: object) -> None:
        self._server.shutdown()
        self._server.server_close()
