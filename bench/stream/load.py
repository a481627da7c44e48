"""The load client (load.c) as an object: one command out, one JSON line back."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

# Below the 20,000 open files that one process may have, with room for what it needs itself.
MAX_PER_PROCESS = 18_000


class LoadError(Exception):
    """The load client died or said something that is not an answer."""


@dataclass(frozen=True, slots=True)
class Opened:
    connected: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Received:
    """One published event as all viewers saw it, in milliseconds from the publish."""

    delivered: int
    epoch: int
    frame_bytes: int
    first_ms: float
    p50_ms: float
    p99_ms: float
    last_ms: float


@dataclass(frozen=True, slots=True)
class Back:
    """After a kill: how many are connected, how many had been lost since the start, when the last came."""

    live: int
    lost: int
    seconds: float


class LoadClient:
    """Viewers of one stream. A context manager: whatever happens, its processes end."""

    def __init__(
        self,
        binary: Path,
        targets: list[str],
        path: str,
        connections: int,
        *,
        processes: int | None = None,
        mark: str | None = None,
        match: str | None = None,
        resume: bool = False,
        window: int = 256,
        per_source: int = 250,
        browsers: int = 200,
        max_seconds: int = 600,
    ) -> None:
        self.connections = connections
        self.processes = processes or -(-connections // MAX_PER_PROCESS)
        command = [str(binary), f"--connections={connections}", f"--processes={self.processes}"]
        command += [f"--target={target}" for target in targets]
        command += [f"--path={path}", f"--window={window}", f"--per-source={per_source}"]
        command.append(f"--browsers={browsers}")
        command += [f"--max-seconds={max_seconds}"]
        if mark is not None:
            command.append(f"--mark={mark}")
        if match is not None:
            command.append(f"--match={match}")
        if resume:
            command.append("--resume")
        self.command = command
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def _ask(self, command: str) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise LoadError(f"the load client is gone before {command!r}") from error
        line = self._process.stdout.readline()
        if not line:
            raise LoadError(f"the load client ended in {command!r}, exit code {self._process.poll()}")
        answer = cast("dict[str, float]", json.loads(line))
        if "error" in answer:
            raise LoadError(f"{command!r}: {answer['error']}")
        return answer

    def open(self, timeout_s: float) -> Opened:
        answer = self._ask(f"open {timeout_s}")
        return Opened(int(answer["connected"]), answer["seconds"])

    def wait(self, seq: int, sent_ns: int, count: int, timeout_s: float) -> Received:
        answer = self._ask(f"wait {seq} {sent_ns} {count} {timeout_s}")
        return Received(
            delivered=int(answer["delivered"]),
            epoch=int(answer.get("epoch", 0)),
            frame_bytes=int(answer.get("frame_bytes", 0)),
            first_ms=answer.get("first_ms", float("nan")),
            p50_ms=answer.get("p50_ms", float("nan")),
            p99_ms=answer.get("p99_ms", float("nan")),
            last_ms=answer.get("last_ms", float("nan")),
        )

    def back(self, since_ns: int, timeout_s: float) -> Back:
        answer = self._ask(f"back {since_ns} {timeout_s}")
        return Back(int(answer["live"]), int(answer["lost"]), answer["seconds"])

    def totals(self) -> dict[str, int]:
        return {name: int(value) for name, value in self._ask("totals").items()}
