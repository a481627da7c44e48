"""Measures what one process of the stream tier costs on this machine.

A real ``touchline serve`` on the embedded backends is started as a child on a free loopback port, gets real
viewers and real signed events, and is watched from outside by ``/proc``. It is ended before the plan is
printed. The arithmetic is in ``origin.capacity.stream_tier``.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import resource
import secrets
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final, NamedTuple

from origin.capacity.stream_tier import Measured
from origin.child_process import start
from origin.ingest.signatures import parse_key, signed_headers
from origin.stream.hub.config import FILES_RESERVED
from shared_state.jsontext import JsonObject, compact

__all__ = ["SAMPLE_MAX", "SAMPLE_MIN", "MeasureError", "believable_sample", "measure"]

MATCH: Final = "capacity"
EVENTS: Final = 8
# Those who come first pay for what is loaded on first use, and are no part of what is measured.
WARM_UP: Final = 50
SAMPLE_MIN: Final = 100
# Loopback gives one address 28,232 ports, and both ends are on this machine.
SAMPLE_MAX: Final = 20_000
# Ours are the viewers' other ends; what is left is for Python and for the server's own reserve.
FILES_SPARE: Final = 64
BATCH: Final = 100
# Until what an event leaves to be done behind its last viewer is done.
SETTLE_S: Final = 0.05
PATIENCE_S: Final = 30.0
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class MeasureError(Exception):
    """The server to be measured did not do its part; ``str()`` says which."""


def measure(sample: int) -> tuple[Measured, JsonObject]:
    """Start a server, connect so many viewers, broadcast events to them, and end it.

    Args:
        sample: viewers; this process opens a socket for each.

    Returns:
        The figures, and what was seen while they were taken.

    Raises:
        MeasureError: the server did not start, or did not answer in time.
    """
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    begin_s = time.monotonic()
    with ExitStack() as stack:
        server = stack.enter_context(_server(secret))
        crowd = stack.enter_context(_crowd(server.port))
        server.open_match(secret)
        crowd.join(WARM_UP)
        # What an event costs before its first viewer, to be taken off what it costs with all of them.
        alone = [server.broadcast(secret, number, crowd) for number in range(1, 1 + EVENTS)]
        process_bytes = server.memory_bytes("Anonymous")
        own_bytes, cpu_s = server.memory_bytes("Private_Dirty"), server.cpu_s()
        crowd.join(sample)
        accept_s = (server.cpu_s() - cpu_s) / sample
        rounds = [server.broadcast(secret, number, crowd) for number in range(1 + EVENTS, 1 + 2 * EVENTS)]
        # What was shared with gunicorn's arbiter and is written to counts as grown: rather too much than not.
        grown_bytes = server.memory_bytes("Private_Dirty") - own_bytes
        frame_bytes = crowd.last_frame_bytes
    event_s = statistics.median(sent.cpu_s for sent in rounds) - statistics.median(t.cpu_s for t in alone)
    delivery_s = event_s / sample  # the warm-up's viewers are on both sides
    if min(accept_s, delivery_s) <= 0:
        raise MeasureError(f"{sample} viewers cost too little CPU to be measured: give more with --sample")
    measured = Measured(
        accept_s=accept_s,
        delivery_s=delivery_s,
        viewer_bytes=max(0, grown_bytes) / sample,
        process_bytes=process_bytes,
        first_s=statistics.median(sent.first_s for sent in alone),
        frame_bytes=frame_bytes,
    )
    seen: JsonObject = {
        "sample_viewers": sample + WARM_UP,
        "sample_events": EVENTS,
        "sample_last_ms": round(1000 * statistics.median(sent.last_s for sent in rounds), 1),
        "took_s": round(time.monotonic() - begin_s, 1),
    }
    return measured, seen


class _Server:
    """The child that is measured."""

    def __init__(self, pid: int, port: int) -> None:
        self.port = port
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self._worker = Path("/proc") / children[0]

    def cpu_s(self) -> float:
        """CPU time of the worker, all threads: to the nanosecond where the kernel has it so."""
        try:
            tasks = (self._worker / "task").iterdir()
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except OSError:
            fields = (self._worker / "stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def open_match(self, secret: str) -> None:
        """Have a match that viewers can ask for."""
        connection = self._post(secret, 0)
        status = connection.getresponse().status
        connection.close()
        if status != 200:
            raise MeasureError(f"the server to be measured answered {status} to an event")
        deadline_s = time.monotonic() + PATIENCE_S
        while _get(self.port, f"/score?matchId={MATCH}") != 200:
            if time.monotonic() > deadline_s:
                raise MeasureError("the server to be measured does not publish what it took")
            time.sleep(0.02)

    def broadcast(self, secret: str, number: int, crowd: _Crowd) -> _Broadcast:
        """Post an event, and wait until all viewers have it."""
        cpu_s, begin_s = self.cpu_s(), time.monotonic()
        connection = self._post(secret, number)
        first_s, last_s = crowd.hear(f'"e":"c{number}"'.encode())
        connection.getresponse().read()
        connection.close()
        time.sleep(SETTLE_S)
        return _Broadcast(self.cpu_s() - cpu_s, first_s - begin_s, last_s - begin_s)

    def _post(self, secret: str, number: int) -> http.client.HTTPConnection:
        """Send one signed event; its answer has still to be read."""
        event = {
            "match_id": MATCH,
            "event_id": f"c{number}",
            "rev": 1,
            "op": "ADD",
            "type": "YELLOW_CARD",
            "minute": 45,
            "team": "home",
            "player": "Somebody Somewhere",
        }
        body = compact(event).encode()
        headers = signed_headers(parse_key(secret), f"capacity-{number}", int(time.time()), body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request("POST", "/ingest/canonical", body, headers)
        return connection

    def memory_bytes(self, kind: str) -> int:
        """Memory of the worker by a name of ``smaps_rollup``; pages of files are everybody's."""
        text = (self._worker / "smaps_rollup").read_text()
        found = re.search(rf"^{kind}:\s+(\d+) kB", text, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0


class _Broadcast(NamedTuple):
    """One event on its way to a crowd.

    Attributes:
        cpu_s: of the server.
        first_s, last_s: from the post to the first and to the last viewer.
    """

    cpu_s: float
    first_s: float
    last_s: float


class _Crowd:
    """Viewers with a stream each; they read, and keep nothing."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._viewers: dict[int, socket.socket] = {}
        self._poll = select.epoll()
        self.last_frame_bytes = 0

    def join(self, count: int) -> None:
        """Open so many streams, and wait until each has received the gap with the newest id."""
        request = f"GET /stream/{MATCH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        for begin in range(0, count, BATCH):
            fresh = []
            for _ in range(min(BATCH, count - begin)):
                viewer = socket.create_connection(("127.0.0.1", self._port), PATIENCE_S)
                self._viewers[viewer.fileno()] = viewer
                viewer.sendall(request)
                viewer.setblocking(False)
                self._poll.register(viewer, select.EPOLLIN)
                fresh.append(viewer.fileno())
            self.wait(fresh, b"event: gap")

    def wait(self, fds: Sequence[int], mark: bytes) -> tuple[float, float]:
        """Read until each of these has seen a mark.

        Returns:
            When the first and the last had, on the monotonic clock.
        """
        missing, tails = set(fds), dict.fromkeys(fds, b"")
        first_s, deadline_s = 0.0, time.monotonic() + PATIENCE_S
        while missing:
            if time.monotonic() > deadline_s:
                raise MeasureError(f"{len(missing)} of {len(fds)} viewers received nothing in time")
            for fd, _ in self._poll.poll(1.0):
                data = self._viewers[fd].recv(65_536)
                if not data:
                    raise MeasureError("the server closed a viewer while it was measured")
                if fd in missing:
                    tails[fd] += data
                    if mark in tails[fd] and tails[fd].endswith(b"\n\n"):
                        missing.discard(fd)
                        self.last_frame_bytes = len(tails[fd])
                        first_s = first_s or time.monotonic()
        return first_s, time.monotonic()

    def hear(self, mark: bytes) -> tuple[float, float]:
        """As ``wait``, for all."""
        return self.wait(list(self._viewers), mark)

    def close(self) -> None:
        """Leave."""
        for viewer in self._viewers.values():
            viewer.close()
        self._poll.close()


@contextmanager
def _crowd(port: int) -> Iterator[_Crowd]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = _Crowd(port)
    try:
        yield crowd
    except OSError as error:
        raise MeasureError(f"the server was lost while it was measured: {error}") from None
    finally:
        crowd.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def _server(secret: str) -> Iterator[_Server]:
    """A ``touchline serve`` of our own, up for as long as the block."""
    ours = ("TOUCHLINE_", "BUS_", "EVENTLOG_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {
        "EVENTLOG_URL": "memory://",
        "BUS_URL": "memory://",
        "TOUCHLINE_INGEST_KEYS": secret,
        "TOUCHLINE_STREAM_HEARTBEAT_S": "3600",  # they are counted from what a delivery costs
    }
    serve = [sys.executable, "-m", "origin", "serve", "--port", "0"]
    with (
        tempfile.TemporaryFile("w+") as log,
        start(serve, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as child,
    ):
        try:
            yield _Server(child.pid, _ready(child, log))
        finally:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(timeout=5)
            child.kill()  # its worker ends by itself once it sees that its parent is gone


def _ready(child: subprocess.Popen[bytes], log: IO[str]) -> int:
    """The port of a server, once it takes viewers."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s and child.poll() is None:
        log.seek(0)
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", log.read())
        if found and _get(int(found[1]), "/readyz") == 200:
            return int(found[1])
        time.sleep(0.05)
    log.seek(0)
    raise MeasureError(f"the server to be measured did not start: {log.read()[-500:].strip()}")


def _get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def believable_sample(sample: int, open_files: int) -> int:
    """As many viewers as may be measured with, of those that were asked for."""
    most = open_files - FILES_RESERVED - FILES_SPARE - WARM_UP
    if most < SAMPLE_MIN:
        raise MeasureError(f"open files {open_files}: raise the hard limit (ulimit -Hn) to measure here")
    return min(sample, most)
