"""Proxies that do to an origin's answers what proxies do: for what nginx and Varnish cannot be made to do.

Also servers that answer nothing good at all, for programs that ask whatever address they were given.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["BadProxy", "Fault", "bad_server"]

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "server"}


@dataclass(frozen=True)
class Fault:
    """What a proxy does; by default nothing.

    Attributes:
        date_offset_s: added to ``Date``.
        drop: headers that do not come through.
        add: headers that are added to what is there.
        replace: headers that have another value.
        rewrite: what becomes of a body that is no stream, by path and body.
        status: the status that an answer gets instead, by path and status.
        block_bytes: a stream is given out in blocks of this size.
        batch_s: a stream's pieces are given out each so many seconds.
        cut_after_s: a stream is closed then.
        length: answers have a Content-Length that is larger than the body by this.
        prefix: the path below which the origin is reached; other paths are 404.
    """

    date_offset_s: float = 0.0
    drop: Sequence[str] = ()
    add: Sequence[tuple[str, str]] = ()
    replace: Mapping[str, str] = field(default_factory=dict)
    rewrite: Callable[[str, bytes], bytes] | None = None
    status: Callable[[str, int], int] | None = None
    block_bytes: int = 0
    batch_s: float = 0.0
    cut_after_s: float = 0.0
    length: int = 0
    prefix: str = ""


class BadProxy:
    """A proxy on a loopback port in front of an origin, with a fault."""

    def __init__(self, origin_port: int, fault: Fault) -> None:
        class Handler(_Handler):
            pass

        Handler.origin_port, Handler.fault = origin_port, fault
        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> BadProxy:
        return self

    def __exit__(self, *failure: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: whoever asks may leave when it likes."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    origin_port = 0
    fault = Fault()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        fault, path = self.fault, self.path
        self.close_connection = True
        if fault.prefix and not path.startswith(fault.prefix + "/"):
            self.send_error(404)
            return
        path = path[len(fault.prefix) :]
        upstream = http.client.HTTPConnection("127.0.0.1", self.origin_port, timeout=60)
        with contextlib.closing(upstream):
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            if fault.rewrite is not None:
                headers["Accept-Encoding"] = "identity"
            upstream.request(self.command, path, headers={**headers, "Connection": "close"})
            answer = upstream.getresponse()
            if answer.getheader("Content-Type", "").startswith("text/event-stream"):
                self._head(answer, None)
                self._stream(answer)
                return
            body = answer.read()
            if fault.rewrite is not None:
                body = fault.rewrite(path, body)
            self._head(answer, len(body) + fault.length)
            if self.command != "HEAD":
                self.wfile.write(body)

    do_HEAD = do_OPTIONS = do_POST = do_GET  # noqa: N815

    def _head(self, answer: http.client.HTTPResponse, length: int | None) -> None:
        fault = self.fault
        status = answer.status if fault.status is None else fault.status(self.path, answer.status)
        self.send_response_only(status)
        dropped = {*_HOP_BY_HOP, "date", "content-length", *(name.lower() for name in fault.drop)}
        for name, value in answer.getheaders():
            if name.lower() not in dropped:
                self.send_header(name, fault.replace.get(name.lower(), value))
        if "date" not in fault.drop:
            self.send_header("Date", formatdate(time.time() + fault.date_offset_s, usegmt=True))
        for name, value in fault.add:
            self.send_header(name, value)
        if length is not None and status not in (204, 304):
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()

    def _stream(self, answer: http.client.HTTPResponse) -> None:
        fault, began_s, held = self.fault, time.monotonic(), b""
        given_s = began_s
        while piece := answer.read1(65_536):
            if fault.cut_after_s and time.monotonic() - began_s > fault.cut_after_s:
                return
            if fault.block_bytes:
                held += piece
                whole = len(held) - len(held) % fault.block_bytes
                self.wfile.write(held[:whole])
                held = held[whole:]
            elif fault.batch_s:
                held += piece
                if time.monotonic() - given_s > fault.batch_s:
                    self.wfile.write(held)
                    held, given_s = b"", time.monotonic()
            else:
                self.wfile.write(piece)


@contextlib.contextmanager
def bad_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port on which each connection is given to ``talk``, which may send anything; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(10)
                talk(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        ended.set()
        # accept() is not woken by close() alone.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
