"""The fan-out inside an origin: a thread that starts its worker again when an unexpected error ends it.

In the embedded set-up one process acknowledges events and publishes them. If only the publishing half
ended, sources would go on being acknowledged and no viewer would see anything. So the origin is unready
from the error on, and a new worker is started after a pause. The new worker reads the whole log, as at any
start, and the bus refuses the ids that it has: nothing is lost and nothing is published twice.

Errors that the log and the bus are known to raise never come here: ``FanOut.run`` retries them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from origin.fanout.worker import FanOut
from origin.metrics import Metrics

__all__ = ["EmbeddedFanOut"]

logger = logging.getLogger(__name__)

# The pause before a restart: doubled by each death in a row, up to the maximum. There is no last attempt,
# because a process that gives up can only be helped by a restart, which does no more than this one.
FIRST_PAUSE_S = 0.25
MAX_PAUSE_S = 30.0
# A worker that ran this long had recovered: the next death is the first in a row again.
RECOVERED_S = 60.0


class EmbeddedFanOut:
    """A fan-out worker that is replaced by a new one whenever it dies.

    Args:
        make_worker: makes a worker that has read nothing yet. Called once here and once for each restart.
        metrics: counts the restarts.

    Raises:
        OriginError: as ``make_worker``.
    """

    def __init__(self, make_worker: Callable[[], FanOut], metrics: Metrics) -> None:
        self._make_worker = make_worker
        self._metrics = metrics
        self._stop = threading.Event()
        # None from a death to the next start.
        self._worker: FanOut | None = make_worker()
        self._started_s = time.monotonic()
        self._pause_s = 0.0

    def run(self) -> None:
        """Work until ``stop``, through any number of workers."""
        while not self._stop.is_set():
            try:
                self._run_worker()
            except Exception as error:
                self._worker = None
                self._pause_s = self._next_pause_s()
                logger.exception(
                    "the embedded fan-out died of an unexpected error and restarts in %.2f s: %s: %s",
                    self._pause_s,
                    type(error).__name__,
                    error,
                )
                if not self._stop.wait(self._pause_s):
                    self._metrics.fanout_restarts.inc()

    def stop(self) -> None:
        """Ask ``run`` to return."""
        self._stop.set()
        worker = self._worker
        if worker is not None:
            worker.stop()

    def unready(self) -> str:
        """Why viewers of this origin would miss deltas; empty if they would not."""
        worker = self._worker
        if worker is None:
            return "fan-out died of an unexpected error and is about to restart"
        if not worker.caught_up:
            # Until then matches of the log are unknown here, or stand where they stood an hour ago.
            return "fan-out has not read the whole log yet"
        if time.monotonic() - self._started_s < self._pause_s:
            # One that dies again and again shortly after its start must not be ready in between.
            return "fan-out has restarted a moment ago"
        return ""

    def _run_worker(self) -> None:
        worker = self._worker
        if worker is None:
            self._started_s = time.monotonic()
            worker = self._worker = self._make_worker()
        if self._stop.is_set():  # by a ``stop`` that did not find this worker yet
            worker.stop()
        worker.run()

    def _next_pause_s(self) -> float:
        if not self._pause_s or time.monotonic() - self._started_s > RECOVERED_S:
            return FIRST_PAUSE_S
        return min(MAX_PAUSE_S, 2 * self._pause_s)
