"""A real gunicorn with the stream worker as a child process, and a client that sees every byte."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from deploy.ports import free_port
from testkit.services.process import ServerProcess, listening

__all__ = ["RawClient", "StreamServer"]

ROOT = Path(__file__).parents[1]


class StreamServer:
    """One origin of the stream tests; ``restart`` keeps its port and what was published."""

    def __init__(
        self, tmp_path: Path, *args: str, workers: int = 1, open_files: int = 0, **config: Any
    ) -> None:
        self.port = free_port()
        self._tmp_path = tmp_path
        self._args = args
        self._workers = workers
        self._open_files = open_files
        self._config = config
        self._clients: list[RawClient] = []
        self.process = self._start()

    def _start(self) -> ServerProcess:
        argv = [
            sys.executable,
            "-m",
            "gunicorn",
            "--worker-class",
            "origin.stream.worker.worker.StreamWorker",
        ]
        argv += ["--threads", "4", "--workers", str(self._workers), "--bind", f"127.0.0.1:{self.port}"]
        argv += ["--no-control-socket", "--log-level", "info", *self._args]
        argv.append("testkit.stream_app:create()")
        if self._open_files:
            argv = ["sh", "-c", f'ulimit -n {self._open_files} && exec "$@"', "sh", *argv]
        process = ServerProcess(
            argv,
            log_path=self._tmp_path / "gunicorn.log",
            env={
                "STREAM_LOG": str(self._tmp_path / "events.jsonl"),
                "STREAM_CONFIG": json.dumps(self._config),
            },
            cwd=ROOT,
        )
        process.wait_until(lambda: listening(self.port))
        return process

    def restart(self) -> None:
        """Start again after a kill or a stop."""
        # The arbiter is gone; a worker killed with it may be listening for a moment more.
        deadline = time.monotonic() + 10
        while listening(self.port) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.process = self._start()

    def publish(self, match_id: str = "m1", query: str = "") -> str:
        """Publish, and return the last id."""
        answer = self.post(f"/publish/{match_id}?{query}")
        id_: str = json.loads(answer)["id"]
        return id_

    def post(self, path: str) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            body: bytes = answer.read()
            return body

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            body: bytes = answer.read()
            return body

    def metric(self, name: str) -> float:
        """The value of one line of ``/metrics``."""
        for line in self.get("/metrics").decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0  # one with labels appears when it is first counted

    def wait_metric(self, name: str, value: float) -> None:
        """Wait until a metric has a value."""
        deadline = time.monotonic() + 10
        while self.metric(name) != value:
            assert time.monotonic() < deadline, f"{name} is {self.metric(name)}, not {value}"
            time.sleep(0.02)

    def client(self, **options: Any) -> RawClient:
        client = RawClient(self.port, **options)
        self._clients.append(client)
        return client

    def close_clients(self) -> None:
        """Close all clients made so far."""
        while self._clients:
            self._clients.pop().close()

    def ask(self, match_id: str = "m1", headers: str = "", **options: Any) -> RawClient:
        """A client that has asked for a stream; the answer is not read."""
        client = self.client(**options)
        client.send(f"GET /stream/{match_id} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
        return client

    def stream(self, match_id: str = "m1", headers: str = "", **options: Any) -> RawClient:
        """A client with an open stream, its head read."""
        client = self.ask(match_id, headers, **options)
        status, _ = client.head()
        assert status == 200
        return client

    def __enter__(self) -> StreamServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_clients()
        self.process.kill()


class RawClient:
    """A socket, and what has come on it."""

    def __init__(self, port: int, *, receive_buffer: int = 0) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(10)
        try:
            self.sock.connect(("127.0.0.1", port))
        except OSError:
            self.sock.close()
            raise
        self._bytes = b""

    def send(self, text: str | bytes) -> None:
        self.sock.sendall(text.encode() if isinstance(text, str) else text)

    def until(self, mark: bytes) -> bytes:
        """What comes up to and with a mark."""
        while mark not in self._bytes:
            data = self.sock.recv(65_536)
            if not data:
                raise EOFError(self._bytes)
            self._bytes += data
        before, _, self._bytes = self._bytes.partition(mark)
        return before + mark

    def head(self) -> tuple[int, dict[str, str]]:
        """The head of an answer."""
        lines = self.until(b"\r\n\r\n").decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split(" ")[1]), headers

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """A whole answer with a length."""
        status, headers = self.head()
        length = int(headers.get("content-length", "0"))
        while len(self._bytes) < length:
            data = self.sock.recv(65_536)
            if not data:
                raise EOFError(self._bytes)
            self._bytes += data
        body, self._bytes = self._bytes[:length], self._bytes[length:]
        return status, headers, body

    def event(self) -> dict[str, str]:
        """The next event of a stream, by field; comments are left out."""
        while True:
            lines = self.until(b"\n\n").decode().strip().split("\n")
            fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
            if fields:
                return fields

    def events(self) -> Iterator[dict[str, str]]:
        """Events until the stream ends."""
        while True:
            try:
                yield self.event()
            except (EOFError, ConnectionError):
                return

    def scores(self, count: int) -> list[str]:
        """The ids of the next ``score`` events, whatever comes between them."""
        ids: list[str] = []
        while len(ids) < count:
            event = self.event()
            if event.get("event") == "score":
                ids.append(event["id"])
        return ids

    def rest(self) -> bytes:
        """All that comes until the other side closes."""
        while data := self.sock.recv(65_536):
            self._bytes += data
        rest, self._bytes = self._bytes, b""
        return rest

    def abort(self) -> None:
        """From another thread: whoever reads sees the end."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.sock.close()
