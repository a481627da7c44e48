"""A fan-out worker that works as it does in production, until the test has seen enough."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from origin.fanout.worker import FanOut

__all__ = ["work"]


def work(worker: FanOut, *, until: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Run a worker until ``until`` is true; it is stopped then."""
    thread = threading.Thread(target=worker.run)
    thread.start()
    deadline = time.monotonic() + timeout_s
    try:
        while not until():
            assert time.monotonic() < deadline, "it has not come"
            time.sleep(0.01)
    finally:
        worker.stop()
        thread.join()
