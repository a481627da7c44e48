"""A real ``touchline serve`` on the embedded default, that can be killed and started again."""

from __future__ import annotations

import base64
import http.client
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.ports import free_port
from origin.ingest.signatures import signed_headers
from shared_state.jsontext import JsonObject
from testkit.services.process import ServerProcess

__all__ = ["KEY", "OriginServer"]

KEY = b"a test key of thirty-two bytes.."


class OriginServer:
    """One origin; its log is below ``directory`` and outlives its process.

    Args:
        env: further settings, for example another ``BUS_URL``.
        open_files: the limit of its processes; 0 leaves the one of this process.
        root: the checkout whose code it runs; None for this one.
        admin: whether ``/metrics`` and ``/readyz`` are on a port of their own, ``admin_port``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        env: Mapping[str, str] | None = None,
        workers: int = 1,
        open_files: int = 0,
        root: Path | None = None,
        admin: bool = False,
    ) -> None:
        self.port = free_port()
        self.admin_port = free_port() if admin else self.port
        self._args = ["--admin-port", str(self.admin_port)] if admin else []
        self.log_path = directory / "log.db"
        self._directory = directory
        self._workers = workers
        self._open_files = open_files
        self._root = root
        self._posted = 0
        self._env = {
            "EVENTLOG_URL": f"sqlite:///{self.log_path}",
            "BUS_URL": "memory://",
            "TOUCHLINE_INGEST_KEYS": "whsec_" + base64.b64encode(KEY).decode(),
            **({"PYTHONPATH": str(root)} if root is not None else {}),
            **(env or {}),
        }
        self.process: ServerProcess | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> OriginServer:
        """Start it, and return once it is ready to take viewers."""
        argv = [sys.executable, "-m", "origin", "serve", "--port", str(self.port)]
        argv += ["--workers", str(self._workers), *self._args]
        if self._open_files:
            argv = ["sh", "-c", f'ulimit -n {self._open_files} && exec "$@"', "sh", *argv]
        self.process = ServerProcess(
            argv, log_path=self._directory / "origin.log", env=self._env, cwd=self._root
        )
        self.process.wait_until(lambda: self.status("/readyz", self.admin_port) == 200)
        return self

    def kill(self) -> None:
        """``kill -9``."""
        if self.process is not None:
            self.process.kill()

    def stop(self) -> None:
        """SIGTERM, and wait for it to end."""
        if self.process is not None:
            self.process.stop()

    def status(self, path: str, port: int | None = None) -> int:
        """The status of a GET; 0 while nobody answers."""
        try:
            return self.get(path, port)[0]
        except OSError:
            return 0

    def get(self, path: str, port: int | None = None) -> tuple[int, bytes]:
        """Status and body of a GET, from the public port or another."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def post(self, *events: JsonObject) -> int:
        """Post signed events; the status, which is 200 once they are acknowledged."""
        self._posted += 1
        body = "\n".join(json.dumps(event) for event in events).encode()
        headers = signed_headers(KEY, f"msg_{time.time_ns()}_{self._posted}", int(time.time()), body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("POST", "/ingest/canonical", body, headers)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def post_file(self, path: Path, *, first: int = 0, last: int | None = None) -> Sequence[JsonObject]:
        """Post lines of a canonical file without their times, in one webhook; what was posted."""
        lines = path.read_text(encoding="utf-8").splitlines()[first:last]
        events = [json.loads(line) | {"source_ts": None} for line in lines]
        assert self.post(*events) == 200
        return events

    def state(self, match_id: str) -> JsonObject:
        """The snapshot of a match."""
        status, body = self.get(f"/api/match/{match_id}/state")
        assert status == 200, body
        state: JsonObject = json.loads(body)
        return state

    def wait_for_seq(self, match_id: str, seq: int, timeout_s: float = 10.0) -> JsonObject:
        """The snapshot once the match stands at ``seq``."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.status(f"/api/match/{match_id}/state") == 200:
                state = self.state(match_id)
                if state["seq"] >= seq:
                    return state
            time.sleep(0.02)
        raise AssertionError(f"{match_id} did not come to seq {seq} within {timeout_s} s")

    def __enter__(self) -> OriginServer:
        return self.start()

    def __exit__(self, *failure: object) -> None:
        self.stop()
