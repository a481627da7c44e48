"""What all measured servers have in common: being started, published to, measured, killed, started again."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Self

from bench.stream import meter
from deploy.ports import free_port

STREAM_DIR = Path(__file__).resolve().parent
PROJECT_DIR = STREAM_DIR.parent.parent
CACHE_DIR = PROJECT_DIR / ".cache" / "bench"
BIN_DIR = CACHE_DIR / "bin"
PEER_PYTHON = CACHE_DIR / "venv" / "bin"

# Connections that may wait for accept(); the kernel's own cap (somaxconn) is 4096 here.
BACKLOG = 4096
# Open files a server may use: 18,000 viewers and what it needs besides, below the limit of 20,000.
MAX_CONNECTIONS = 19_500
# Any number that looks like the millisecond a match's log began.
EPOCH = 1_763_900_000_000


class ServerError(Exception):
    """A server did not start, or refused a publish. The message ends with the tail of its log."""


def post(
    port: int,
    path: str,
    body: bytes,
    headers: Mapping[str, str] | None = None,
) -> int:
    """POST to this machine; returns the monotonic nanosecond just before the request was written.

    Raises:
        ServerError: the answer is not 2xx.
        OSError: nobody answers.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.connect()
        sent_ns = time.monotonic_ns()
        connection.request("POST", path, body, dict(headers or {}))
        response = connection.getresponse()
        text = response.read()
        if response.status // 100 != 2:
            raise ServerError(f"publish to {path}: {response.status} {text[:300]!r}")
    finally:
        connection.close()
    return sent_ns


class Server:
    """One server under test. Subclasses say how it is started and how an event is published.

    An event's id is ``<epoch>-<number>``. It is looked for in the SSE ``id:`` of the frame, or, for servers
    that write ids of their own there, behind ``mark`` in the data.
    """

    name = ""
    label = ""
    mark: str | None = None
    # On a stream of several matches, ids are ``<match>@<epoch>-<number>``: the match that is measured.
    match: str | None = None
    path = "/"
    # Replays after Last-Event-ID, so that after a kill it can be asked whether anything was missed.
    resumes = False
    # Connections of the load client per source address; servers with a limit per address want few.
    per_source = 250
    # Different request heads that the load client's viewers send.
    browsers = 200
    # Connections being opened at once, the first time: what the server takes without refusing any.
    window = 256
    # The number of the first event of the benchmark, where others come before it.
    first_number = 1

    def __init__(self) -> None:
        self.port = free_port()
        self.run_dir = CACHE_DIR / "run" / self.name
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    # -- what subclasses say ---------------------------------------------------------------------

    def missing(self) -> str | None:
        """Why this server cannot be measured here, or None."""
        return None

    def version(self) -> str:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def prepare(self) -> None:
        """Write configuration, start what the server depends on. ``run_dir`` exists."""

    def publish(self, number: int, padding: int) -> int:
        """Publish event ``number``; returns the monotonic nanosecond of the sending."""
        raise NotImplementedError

    def workers(self) -> set[int]:
        """The processes that have connections: what a kill kills."""
        return self.pids()

    # -- the same for all ------------------------------------------------------------------------

    def __enter__(self) -> Self:
        shutil.rmtree(self.run_dir, ignore_errors=True)
        self.run_dir.mkdir(parents=True)
        try:
            self.prepare()
            self.launch()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def full_environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment()}

    @property
    def targets(self) -> list[str]:
        return [f"127.0.0.1:{self.port}"]

    def pids(self) -> set[int]:
        return meter.tree(self._process.pid) if self._process is not None else set()

    def supervised(self) -> set[int]:
        """The workers of a supervisor, which starts a new one for each that dies."""
        return meter.tree(self._process.pid) - {self._process.pid} if self._process is not None else set()

    def launch(self) -> None:
        self._log = (self.run_dir / "log").open("ab")
        self._process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self.full_environment(),
            cwd=self.run_dir,
            # A group of its own: stop() then ends its children too, and nothing else.
            start_new_session=True,
        )
        self.wait_until_listening(self.port)

    def wait_until_listening(self, port: int, timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                raise ServerError(f"{self.name} ended with {self._process.returncode}\n{self.log_tail()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.02)
        raise ServerError(f"{self.name} does not listen on {port}\n{self.log_tail()}")

    def kill(self) -> int:
        """``kill -9`` all processes with connections; returns when. One with a supervisor is left to it."""
        victims = self.workers()
        assert self._process is not None
        since_ns = kill_each(victims)
        if self._process.pid in victims:
            self._process.wait()
            self._launch_again()
        return since_ns

    def _launch_again(self, timeout_s: float = 30) -> None:
        """A process that died with 18,000 sockets holds its port until the last thread has closed them.

        Until then the new one cannot bind, while whoever asks the port is still answered by the old one.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self._close_log()
            try:
                self.launch()
                time.sleep(0.3)
                if self._process is None or self._process.poll() is not None:
                    raise ServerError(f"{self.name} did not start again\n{self.log_tail()}")
            except ServerError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            for kind in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, kind)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=5)
            self._process = None
        self._close_log()

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    def log_tail(self) -> str:
        try:
            return (self.run_dir / "log").read_text(errors="replace")[-2000:]
        except OSError:
            return ""


def kill_each(pids: Iterable[int]) -> int:
    """``kill -9`` processes, of which some may have ended; returns when, in monotonic nanoseconds."""
    since_ns = time.monotonic_ns()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return since_ns


def event_json(number: int, padding: int) -> bytes:
    """The event that servers with ids of their own carry: the id behind a mark, a score, padding."""
    return b'{"i":"%d-%d","s":[1,0],"p":"%s"}' % (EPOCH, number, b"x" * max(0, padding))


def event_frame(number: int, padding: int) -> bytes:
    """A finished SSE frame, for servers that send what they are given."""
    return b'id: %d-%d\nevent: score\ndata: {"s":[1,0],"p":"%s"}\n\n' % (
        EPOCH,
        number,
        b"x" * max(0, padding),
    )


def first_line_of(command: list[str], *, errors: bool = False) -> str:
    """The first line a program prints about its version; some write it to standard error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "unknown"
    text = done.stderr if errors else done.stdout
    return text.strip().splitlines()[0] if text.strip() else "unknown"
