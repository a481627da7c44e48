"""How the worker commands serve their metrics."""

from __future__ import annotations

import signal
import threading
import urllib.error
import urllib.request

import pytest

from deploy.ports import free_port
from origin.commands.working import run
from origin.metrics import Metrics


def status(host: str, port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.URLError:
        return 0


class Looks:
    """A worker that asks for its own metrics, and is done."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: dict[str, int] = {}

    def run(self) -> None:
        self.seen = {host: status(host, self.port) for host in ("127.0.0.1", "127.0.0.2")}

    def stop(self) -> None:
        pass


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        (None, {"127.0.0.1": 200, "127.0.0.2": 0}),
        ("127.0.0.2", {"127.0.0.1": 0, "127.0.0.2": 200}),
        ("0.0.0.0", {"127.0.0.1": 200, "127.0.0.2": 200}),
    ],
)
def test_metrics_are_served_where_they_are_asked_for(host: str | None, seen: dict[str, int]) -> None:
    """In a pod Prometheus comes from outside; everywhere else nobody shall."""
    assert threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    worker = Looks(free_port())
    try:
        run(worker, Metrics(), worker.port, *([] if host is None else [host]))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert worker.seen == seen
