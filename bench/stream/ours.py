"""Touchline itself, driven only through what it promises: its command, its environment, its HTTP routes.

One worker runs on the embedded bus, as `touchline demo` does. Several run on a Redis and a fan-out worker
of their own, which are counted as ours: they are part of what it takes to serve.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import shutil
import socket
import subprocess
import time

from bench.stream import meter
from bench.stream.load import MAX_PER_PROCESS
from bench.stream.server import (
    EPOCH,
    PROJECT_DIR,
    Server,
    ServerError,
    first_line_of,
    post,
)
from deploy.ports import free_port

TOUCHLINE = PROJECT_DIR / ".venv" / "bin" / "touchline"
FEED = "canonical"
MATCH = "bench"
# Not a secret: the server that knows it lives for a minute and listens on loopback.
KEY = hashlib.sha256(b"touchline stream benchmark").digest()
# The longest `player` the protocol takes; the padding of a frame goes there.
MAX_PADDING = 128


class Ours(Server):
    """`touchline serve`: the stream worker."""

    name = "ours"
    label = "Touchline"
    path = f"/stream/{MATCH}"
    resumes = True
    # Two events come before the first measured one: who plays, and the kick-off.
    first_number = 3

    def __init__(self, workers: int = 1) -> None:
        super().__init__()
        self.worker_count = workers
        self.redis_port = free_port()
        self._others: list[subprocess.Popen[bytes]] = []
        self._is_set_up = False

    def missing(self) -> str | None:
        if not TOUCHLINE.exists():
            return f"{TOUCHLINE} does not exist"
        if self.worker_count > 1 and shutil.which("redis-server") is None:
            return "several workers need redis-server, which is not installed"
        return None

    def version(self) -> str:
        commit = first_line_of(["git", "-C", str(PROJECT_DIR), "describe", "--always", "--dirty"])
        # Before there is anything to describe there is at least the package's own version.
        return commit if commit != "unknown" else first_line_of([str(TOUCHLINE), "--version"])

    def command(self) -> list[str]:
        return [str(TOUCHLINE), "serve", "--port", str(self.port), "--workers", str(self.worker_count)]

    def environment(self) -> dict[str, str]:
        bus = f"redis://127.0.0.1:{self.redis_port}/0" if self.worker_count > 1 else "memory://"
        return {
            # On disk in both set-ups: what a killed worker has acknowledged must be there afterwards.
            "EVENTLOG_URL": f"sqlite:///{self.run_dir}/events.db",
            "BUS_URL": bus,
            "TOUCHLINE_INGEST_KEYS": "whsec_" + base64.b64encode(KEY).decode(),
        }

    def prepare(self) -> None:
        if self.worker_count == 1:
            return
        listening = ["--port", str(self.redis_port), "--bind", "127.0.0.1"]
        forgetful = ["--save", "", "--appendonly", "no", "--dir", str(self.run_dir)]
        self._start_beside("redis", ["redis-server", *listening, *forgetful])
        self.wait_until_listening(self.redis_port)
        self._start_beside("fanout", [str(TOUCHLINE), "fanout"])

    def _start_beside(self, name: str, command: list[str]) -> None:
        with (self.run_dir / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.full_environment(),
                cwd=self.run_dir,
            )
        self._others.append(process)

    def launch(self) -> None:
        super().launch()
        if not self._is_set_up:
            self._is_set_up = True
            self._set_up_match()

    def _set_up_match(self) -> None:
        """Publish the beginning of the matches."""
        info = {"home": {"name": "Home", "code": "HOM"}, "away": {"name": "Away", "code": "AWY"}}
        self._ingest(1, {"type": "MATCH_INFO", "period": "PRE", "detail": info})
        self._ingest(2, {"type": "STATUS_CHANGE", "period": "H1", "minute": 1, "detail": {"to": "LIVE"}})
        # The match is unknown to viewers until its events are through the log and the bus.
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 5) as viewer,
            ):
                viewer.sendall(f"GET {self.path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
                if b" 200 " in viewer.recv(1000).split(b"\r\n")[0]:
                    return
            time.sleep(0.2)
        raise ServerError(f"{self.path} is not served\n{self.log_tail()}")

    def pids(self) -> set[int]:
        found = super().pids()
        return found.union(*(meter.tree(process.pid) for process in self._others)) if found else found

    def workers(self) -> set[int]:
        return self.supervised()

    def stop(self) -> None:
        super().stop()
        for process in self._others:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            process.wait()
        self._others = []

    def publish(self, number: int, padding: int) -> int:
        # A booking: it changes the match and so has a delta, but the score keeps its length.
        return self._ingest(
            number,
            {
                "type": "YELLOW_CARD",
                "period": "H1",
                "minute": 10,
                "team": "home",
                "player": "x" * min(MAX_PADDING, max(1, padding)),
            },
        )

    def _ingest(self, number: int, fields: dict[str, object], match_id: str = MATCH) -> int:
        event = {
            "match_id": match_id,
            "event_id": f"b{number}",
            "rev": 1,
            "op": "ADD",
            "status": "CONFIRMED",
            "source": "bench",
            "source_ts": EPOCH + number * 1000,
            **fields,
        }
        body = json.dumps(event).encode()
        # The same event always has the same webhook-id: sent again after a kill, it counts once.
        webhook_id = f"{match_id}-{number}"
        timestamp = str(int(time.time()))
        signed = b".".join((webhook_id.encode(), timestamp.encode(), body))
        signature = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{signature}",
        }
        return post(self.port, f"/ingest/{FEED}", body, headers)


class OursAllDifferent(Ours):
    """The same, and no two viewers send the same request: each head has to be read."""

    name = "ours-all-different"
    label = "Touchline, all requests different"
    browsers = MAX_PER_PROCESS


class OursOneByOne(Ours):
    """The same where io_uring is not to be had, as in most containers."""

    name = "ours-one-by-one"
    label = "Touchline, without io_uring"

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "TOUCHLINE_STREAM_RING_ENTRIES": "0"}


class OursSeveral(Ours):
    """Viewers of twelve matches each, over one stream; the events are one match's."""

    name = "ours-several"
    label = "Touchline, 12 matches a viewer"
    match = MATCH
    others = tuple(f"{MATCH}-{number}" for number in range(2, 13))
    path = "/stream?" + "&".join(f"m={name}" for name in (MATCH, *others))
    # The load client resumes by header, which is for a stream of one match.
    resumes = False

    def _set_up_match(self) -> None:
        info = {"home": {"name": "Home", "code": "HOM"}, "away": {"name": "Away", "code": "AWY"}}
        for other in self.others:
            self._ingest(1, {"type": "MATCH_INFO", "period": "PRE", "detail": info}, other)
        super()._set_up_match()
