"""One comparison: five origins, five crowds, one match. It is measured while it runs and ends by itself.

Time is scaled as a whole. At a scale of 30, half an hour of a match takes a minute, a client that polls
each five seconds polls each sixth of a second, and heartbeats, slices of long polls and the interval
between broadcasts are thirty times shorter: the numbers of requests and of bytes are those of the half
hour. CPU is that of doing so much work. Latency is as measured; where waiting for the next poll is most of
it, it is that of the scaled interval.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import IO, Any, Final, cast

from origin.ingest.signatures import parse_key
from origin.lab.comparison.clients import Orders
from origin.lab.comparison.protocols import PROTOCOLS, Protocol
from origin.lab.posting import PostError, get, get_json, post
from shared_state.jsontext import JsonObject

__all__ = ["CLIENTS_MAX", "Comparison", "Request", "RequestedError", "percentile", "window"]

CLIENTS_MAX: Final = 2_000
MINUTES_MAX: Final = 30
SCALE_MAX: Final = 60.0
WALL_S_MAX: Final = 900.0
#: A polling client asks so often, seconds of the match.
POLL_S: Final = 5.0
# What one origin and one process of clients do here without falling behind, requests a second.
REQUESTS_PER_S: Final = 300.0
_HEARTBEAT_S: Final = 15.0
_SLICE_S: Final = 10.0
_BROADCAST_S: Final = 0.25
# The half hour of the 2018 final with most to say, from just before the second half's kick-off: minutes since
# the first's.
_WINDOW_START_MIN: Final = 61.9
_KICK_OFF_MS: Final = 1_531_666_800_000
_MATCH: Final = "2018-07-15-france-croatia"
_READY_S: Final = 60.0
_SAMPLE_S: Final = 1.0
_HAS_PROC: Final = Path("/proc/self/stat").exists()
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class RequestedError(ValueError):
    """A comparison that cannot be; ``str()`` names the value."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to compare.

    Attributes:
        clients: of each protocol.
        minutes: of the match.
        scale: how much faster than the match.
    """

    clients: int
    minutes: int = MINUTES_MAX
    scale: float = 30.0

    @classmethod
    def of(cls, clients: int, minutes: int = MINUTES_MAX, scale: float | None = None) -> Request:
        """A request within its bounds; without a scale, the greatest that this machine keeps up with.

        Raises:
            RequestedError: a value is out of its bounds, or the run would take too long.
        """
        if not 1 <= clients <= CLIENTS_MAX:
            raise RequestedError(f"clients {clients}: must be from 1 to {CLIENTS_MAX}")
        if not 10 <= minutes <= MINUTES_MAX:
            raise RequestedError(f"minutes {minutes}: must be from 10 to {MINUTES_MAX}")
        if scale is None:
            scale = max(1.0, min(SCALE_MAX, math.floor(REQUESTS_PER_S * POLL_S / clients)))
        if not 1 <= scale <= SCALE_MAX:
            raise RequestedError(f"scale {scale:g}: must be from 1 to {SCALE_MAX:g}")
        asked = cls(clients, minutes, scale)
        if asked.wall_s > WALL_S_MAX:
            raise RequestedError(
                f"{clients} clients for {minutes} minutes take {asked.wall_s:.0f} s at a scale of {scale:g}:"
                f" at most {WALL_S_MAX:.0f} s; give fewer clients or minutes"
            )
        return asked

    @property
    def wall_s(self) -> float:
        """How long the match takes, seconds."""
        return self.minutes * 60 / self.scale


def window(minutes: int) -> tuple[list[JsonObject], list[tuple[float, JsonObject]]]:
    """The real match: what happened before the window, and its events by their seconds from its start."""
    lines = (files("origin.demo") / "final-2018.jsonl").read_text(encoding="utf-8").splitlines()
    before: list[JsonObject] = []
    within: list[tuple[float, JsonObject]] = []
    for line in lines:
        event: JsonObject = json.loads(line)
        at_min = (event["source_ts"] - _KICK_OFF_MS) / 60_000 - _WINDOW_START_MIN
        event["source_ts"] = None
        if event.get("type") == "MATCH_INFO":
            event["detail"] = {**event["detail"], "kickoff_ms": time.time_ns() // 1_000_000}
        if at_min < 0:
            before.append(event)
        elif at_min < minutes:
            within.append((at_min * 60, event))
    return before, within


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that this share of sorted values does not exceed; None of none."""
    return values[min(len(values) - 1, math.ceil(share * len(values)) - 1)] if values else None


class _Child:
    """A process of ours that writes lines of JSON and ends when its standard input does."""

    def __init__(self, argv: Sequence[str], first_line: str = "") -> None:
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._stdin = cast("IO[str]", self.process.stdin)
        self._stdout = cast("IO[str]", self.process.stdout)
        self._stdin.write(first_line)
        self._stdin.flush()

    def tell(self, word: str) -> None:
        """Write it a line."""
        self._stdin.write(word + "\n")
        self._stdin.flush()

    def line(self) -> str:
        """The next line; empty once it has ended."""
        return self._stdout.readline()

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._stdout.close()


@dataclass
class _Side:
    """One protocol: its origin, its clients, and what was counted."""

    protocol: Protocol
    port: int
    origin: subprocess.Popen[bytes]
    epoch: int = 0
    base_seq: int = 0
    clients: _Child | None = None
    cache: _Child | None = None
    counts: dict[str, Any] = field(default_factory=dict)
    cache_counts: dict[str, int] = field(default_factory=dict)
    cpu_before_s: float = 0.0
    cpu_s: float = 0.0
    cache_cpu_s: float = 0.0
    sent_s: dict[int, float] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    early: list[tuple[int, float]] = field(default_factory=list)
    origin_metrics: dict[str, float] = field(default_factory=dict)


class Comparison:
    """One run. ``start`` returns at once; ``state`` may be asked at any time.

    Args:
        request: what to compare.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.phase = "starting"
        self.error = ""
        self._lock = threading.Lock()
        self._sides: dict[Protocol, _Side] = {}
        self._samples: list[JsonObject] = []
        self._begin_s = 0.0
        self._elapsed_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lab-comparison", daemon=True)
        self.before, self.within = window(request.minutes)

    @property
    def running(self) -> bool:
        """Whether it has processes."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End it, with all its processes, and wait for that."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=60)

    def wait(self) -> None:
        """Wait until it has ended by itself."""
        self._thread.join()

    def state(self, after: int = 0) -> JsonObject:
        """What was asked for, where it is, and a row of each protocol.

        Args:
            after: how many of its samples the reader has.
        """
        asked = self.request
        with self._lock:
            return {
                "phase": self.phase,
                "error": self.error,
                "clients": asked.clients,
                "minutes": asked.minutes,
                "scale": asked.scale,
                "poll_interval_s": POLL_S,
                "wall_s": round(asked.wall_s, 1),
                "elapsed_s": round(self._elapsed_s, 1),
                "events": len(self.within),
                "rows": [self._row(side) for side in self._sides.values()],
                "samples_before": min(after, len(self._samples)),
                "samples": self._samples[after:],
            }

    # --- the run, on a thread of its own

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="touchline-lab-")))
                self._start_origins(stack, directory)
                self._connect(stack)
                self._play()
            phase = "done"
        except (OSError, PostError, ValueError, RuntimeError) as error:
            phase, self.error = "failed", str(error)
        with self._lock:
            if self._stop.is_set():
                phase, self.error = "stopped", ""
            self.phase = phase

    def _start_origins(self, stack: ExitStack, directory: Path) -> None:
        scale, secret = self.request.scale, "whsec_" + b64encode(secrets.token_bytes(32)).decode()
        self._key = parse_key(secret)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("TOUCHLINE_", "BUS_"))
        }
        environment |= {
            "BUS_URL": "memory://",
            "TOUCHLINE_INGEST_KEYS": secret,
            "TOUCHLINE_LOG_LEVEL": "warning",
            "TOUCHLINE_STREAM_HEARTBEAT_S": f"{_HEARTBEAT_S / scale:.4f}",
            "TOUCHLINE_STREAM_LONG_POLL_SLICE_S": f"{_SLICE_S / scale:.4f}",
            "TOUCHLINE_STREAM_BROADCAST_INTERVAL_S": f"{_BROADCAST_S / scale:.4f}",
        }
        for protocol in PROTOCOLS:
            port = _free_port()
            environment["EVENTLOG_URL"] = f"sqlite:///{directory}/{protocol}.db"
            argv = [sys.executable, "-m", "origin", "serve", "--port", str(port)]
            with (directory / f"{protocol}.log").open("wb") as log:
                process = subprocess.Popen(  # noqa: S603
                    argv, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            stack.callback(_end, process)
            with self._lock:
                self._sides[protocol] = _Side(protocol, port, process)
        deadline = time.monotonic() + _READY_S
        for side in self._sides.values():
            while not _is_ready(side.port):
                self._check(side, deadline, directory)
                time.sleep(0.05)
            post(side.port, self._key, self.before)
            state: Any = None
            while not state or state["seq"] < len(self.before):
                self._check(side, deadline, directory)
                time.sleep(0.05)
                state = get_json(side.port, f"/api/match/{_MATCH}/state")
            side.epoch, side.base_seq = state["epoch"], state["seq"]

    def _check(self, side: _Side, deadline: float, directory: Path) -> None:
        if self._stop.is_set():
            raise RuntimeError("stopped")
        if side.origin.poll() is not None or time.monotonic() > deadline:
            log = (directory / f"{side.protocol}.log").read_text(errors="replace")[-300:]
            raise RuntimeError(f"the origin of {side.protocol} was not ready within {_READY_S:.0f} s: {log}")

    def _connect(self, stack: ExitStack) -> None:
        with self._lock:
            self.phase = "connecting"
        seconds_max = self.request.wall_s + 2 * _READY_S
        for side in self._sides.values():
            port = side.port
            if side.protocol == "long-poll":
                side.cache = _Child(["-m", "origin.lab.comparison.cache", str(side.port)])
                stack.callback(side.cache.close)
                port = int(side.cache.line())
                self._read(stack, side.cache, side.cache_counts.update)
            orders = Orders(
                protocol=side.protocol,
                port=port,
                match_id=_MATCH,
                after=f"{side.epoch}-{side.base_seq}",
                clients=self.request.clients,
                interval_s=POLL_S / self.request.scale,
                seconds_max=seconds_max,
            )
            side.clients = _Child(["-m", "origin.lab.comparison.clients"], orders.to_line())
            stack.callback(side.clients.close)
            self._read(stack, side.clients, self._taker(side))
        deadline = time.monotonic() + _READY_S
        while any(side.counts.get("begun", 0) < self.request.clients for side in self._sides.values()):
            if self._stop.is_set() or time.monotonic() > deadline:
                raise RuntimeError(f"the clients were not connected within {_READY_S:.0f} s")
            time.sleep(0.05)

    def _read(self, stack: ExitStack, child: _Child, take: Any) -> None:
        def read() -> None:
            while line := child.line():
                with self._lock:
                    take(json.loads(line))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        # Closed after the child, whose end is the end of its lines.
        stack.callback(thread.join, 10)
        stack.callback(child.close)

    def _taker(self, side: _Side) -> Any:
        def take(report: dict[str, Any]) -> None:
            receipts: Mapping[str, Sequence[float]] = report.pop("receipts")
            side.counts = report
            side.early += [(int(seq), at_s) for seq, times in receipts.items() for at_s in times]
            waiting, side.early = side.early, []
            for seq, at_s in waiting:
                if seq in side.sent_s:
                    side.latencies_ms.append((at_s - side.sent_s[seq]) * 1_000)
                else:  # it came before the answer to its post
                    side.early.append((seq, at_s))

        return take

    def _play(self) -> None:
        scale = self.request.scale
        self._begin_s = time.monotonic()
        with self._lock:
            self.phase = "running"
            for side in self._sides.values():
                side.cpu_before_s = _cpu_s(side.origin.pid)
        for side in self._sides.values():
            cast("_Child", side.clients).tell("go")
        pending = deque(self.within)
        next_sample_s, seq = 0.0, 0
        while not self._stop.is_set():
            now_s = time.monotonic() - self._begin_s
            self._elapsed_s = min(now_s, self.request.wall_s)
            if now_s >= next_sample_s:
                self._sample()
                next_sample_s += _SAMPLE_S
            if now_s >= self.request.wall_s:
                break
            if pending and pending[0][0] / scale <= now_s:
                _, event = pending.popleft()
                seq += 1
                for side in self._sides.values():
                    sent_s = time.time()
                    with self._lock:
                        side.sent_s[side.base_seq + seq] = sent_s
                    post(side.port, self._key, [event])
                continue
            due_s = pending[0][0] / scale if pending else self.request.wall_s
            self._stop.wait(max(0.0, min(due_s, next_sample_s, self.request.wall_s) - now_s))
        if not self._stop.is_set():
            self._end_of_match()

    def _end_of_match(self) -> None:
        """Stop the clients, and take the last figures once each has said all that it counted."""
        for side in self._sides.values():
            cast("_Child", side.clients).tell("stop")
        deadline = time.monotonic() + _READY_S
        while any(side.counts.get("phase") != "done" for side in self._sides.values()):
            if time.monotonic() > deadline:
                raise RuntimeError("the clients did not report their counts")
            time.sleep(0.02)
        self._sample()
        for side in self._sides.values():
            side.origin_metrics = _origin_metrics(side.port)

    def _sample(self) -> None:
        with self._lock:
            sample: dict[str, Any] = {"at_s": round(self._elapsed_s, 2)}
            for side in self._sides.values():
                side.cpu_s = _cpu_s(side.origin.pid) - side.cpu_before_s
                if side.cache is not None:
                    side.cache_cpu_s = _cpu_s(side.cache.process.pid)
                sample[side.protocol] = {
                    "cpu_s": round(side.cpu_s, 3),
                    "requests": side.counts.get("requests", 0),
                    "bytes_down": side.counts.get("bytes_down", 0),
                }
            self._samples.append(sample)

    def _row(self, side: _Side) -> JsonObject:
        counts, latencies = side.counts, sorted(side.latencies_ms)
        at_origin = side.cache_counts.get("upstream_requests", counts.get("requests", 0))
        row: JsonObject = {
            "protocol": side.protocol,
            "requests": counts.get("requests", 0),
            "origin_requests": at_origin,
            "bytes_up": counts.get("bytes_up", 0),
            "bytes_down": counts.get("bytes_down", 0),
            "origin_bytes_down": side.cache_counts.get("upstream_bytes_down", counts.get("bytes_down", 0)),
            "cpu_s": round(side.cpu_s, 2) if _HAS_PROC else None,
            "cache_cpu_s": round(side.cache_cpu_s, 2) if side.cache is not None else None,
            "p50_ms": _rounded(percentile(latencies, 0.5)),
            "p99_ms": _rounded(percentile(latencies, 0.99)),
            "received": len(latencies),
            "expected": self.request.clients * len(side.sent_s),
            "late_polls": counts.get("late_polls", 0),
            "reconnects": counts.get("reconnects", 0),
            "failures": cast("JsonObject", counts.get("failures", {})),
            "origin_metrics": cast("JsonObject", side.origin_metrics),
        }
        return row


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_ready(port: int) -> bool:
    with suppress(PostError):
        return get(port, "/readyz")[0] == 200
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _cpu_s(pid: int) -> float:
    """CPU of a process and its children, seconds, to the kernel's tick; 0 where there is no ``/proc``."""
    total, pids = 0.0, [pid]
    with suppress(OSError):
        while pids:
            one = pids.pop()
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
            pids += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
    return total


_COUNTED: Final = re.compile(
    r"^(touchline_stream_(?:deliveries|accepted|heartbeats|polls|bytes)_total)(?:\{[^}]*\})? ([0-9.e+]+)$",
    re.MULTILINE,
)


def _origin_metrics(port: int) -> dict[str, float]:
    """What the origin counted by itself: sums over labels, by the names of ``/metrics``."""
    sums: dict[str, float] = {}
    for name, value in _COUNTED.findall(get(port, "/metrics")[1].decode()):
        sums[name] = sums.get(name, 0.0) + float(value)
    return sums
