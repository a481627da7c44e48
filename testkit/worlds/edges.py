"""One region with several servers of the stream tier: log, fan-out, Redis, and edges that can be stalled.

Every process is a real one. Used by the tests of the canary and by ``bench/bench_ladder.py``.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.ports import free_port
from testkit.services.link import Link
from testkit.services.process import ServerProcess
from testkit.services.redis import RedisServer

__all__ = ["Edge", "Edges"]

ROOT = Path(__file__).parents[2]


class Edge:
    """One server of the stream tier."""

    def __init__(self, name: str, directory: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.port, self.admin_port = free_port(), free_port()
        argv = [sys.executable, "-m", "testkit.stalling_serve", str(self.port), str(self.admin_port)]
        self.process = ServerProcess(argv, log_path=directory / f"{name}.log", env=env, cwd=ROOT)

    def ask(self, path: str, *, method: str = "GET", body: str | None = None) -> tuple[int, str]:
        """Status and body of an answer of the admin port; status 0 if there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    @property
    def reasons(self) -> list[str] | None:
        """Why it is not ready; empty if it is, None if it does not answer."""
        status, body = self.ask("/readyz")
        return list(json.loads(body)["reasons"]) if status else None

    @property
    def told(self) -> dict[str, int]:
        """What it tells its pages: the step, and how late it is."""
        told: dict[str, int] = json.loads(self.ask("/ladder")[1])["told"]
        return told

    def metric(self, name: str) -> float:
        """The value of one line of ``/metrics``; 0 if it is not there."""
        for line in self.ask("/metrics")[1].splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def stall(self, seconds: float) -> None:
        """Have its loop stand still."""
        assert self.ask(f"/stall?s={seconds}", method="POST")[0] == 200


class Edges:
    """The region, up for as long as the block.

    Args:
        directory: for logs and data.
        count: edges.
        eventlog_url: the log; None for a SQLite file.
        env: further settings of the edges.
        linked: whether the last edge reaches the Redis over a network that can be cut.
    """

    def __init__(
        self,
        directory: Path,
        *,
        count: int = 3,
        eventlog_url: str | None = None,
        env: Mapping[str, str] | None = None,
        linked: bool = False,
    ) -> None:
        self.directory = directory
        self.redis = RedisServer(directory)
        self.link = Link(directory, self.redis.port) if linked else None
        self.eventlog_url = eventlog_url or f"sqlite:///{directory}/log.db"
        common = {"EVENTLOG_URL": self.eventlog_url, "BUS_URL": self.redis.url, "PYTHONPATH": str(ROOT)}
        fanout = [sys.executable, "-m", "origin", "fanout", "--group", "edges"]
        self.fanout = ServerProcess(fanout, log_path=directory / "fanout.log", env=common, cwd=ROOT)
        self.edges: list[Edge] = []
        for number in range(count):
            settings = {**common, "TOUCHLINE_CANARY_INTERVAL_S": "1", **(env or {})}
            if self.link is not None and number == count - 1:
                settings["BUS_URL"] = f"redis://127.0.0.1:{self.link.port}"
            self.edges.append(Edge(f"edge-{number}", directory, settings))

    def until(self, is_so: Callable[[], Any], timeout_s: float = 60.0) -> float:
        """Wait for a state; returns how long it took, seconds."""
        began = time.monotonic()
        while not is_so():
            if time.monotonic() - began > timeout_s:
                raise AssertionError(f"not within {timeout_s} s: {[edge.reasons for edge in self.edges]}")
            time.sleep(0.05)
        return time.monotonic() - began

    def all_hear(self) -> bool:
        """Whether all edges are ready, hear the canary and know of each other."""
        return all(
            edge.reasons == []
            and edge.metric("touchline_canary_heard_total") >= 2
            and edge.metric("touchline_canary_peers") == len(self.edges) - 1
            for edge in self.edges
        )

    def __enter__(self) -> Self:
        self.until(self.all_hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything."""
        for edge in self.edges:
            edge.process.kill()
        self.fanout.kill()
        if self.link is not None:
            self.link.stop()
        self.redis.stop()
