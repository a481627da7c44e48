"""Appends the beats of the canary to the log, from a thread of its own: an append may wait for the log."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from origin.bus import Bus
from origin.canary.match import Beat, beat, end, hour_of, match_id_of, rev_in
from origin.errors import BusError, EventLogError
from origin.eventlog import EventLog

__all__ = ["Beats"]

logger = logging.getLogger(__name__)

# A beat that another server appended a moment ago does as well as one of our own.
_RECENT: Final = 0.9
# After so many beats that were not heard they come more slowly, at most so many times, until one is heard.
_UNHEARD_MAX: Final = 5
_SLOWER_MAX: Final = 10
_STOP_S: Final = 2.0


class Beats:
    """See the module.

    All servers run one. A server that has heard a beat within the last interval appends none, so in the
    steady state one server does it for all, and another begins an interval after that one has ended.

    Args:
        log: where they are appended.
        bus: asked for the last revision, before the first beat is heard.
        interval_s: between two beats, seconds.
        now_ms: UTC milliseconds; only the hour of it counts.
        clock_s: seconds that never go back.

    Attributes:
        appended, failed: how many were, and were not.
    """

    def __init__(
        self,
        log: EventLog,
        bus: Bus,
        interval_s: float,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._bus = bus
        self._interval_s = interval_s
        self._now_ms = now_ms
        self._clock_s = clock_s
        self._match_id = ""
        self._rev: int | None = None  # the greatest that was heard or appended
        self._heard_s = -1.0e9
        self._unheard = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canary", daemon=True)
        self.appended = 0
        self.failed = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; an append that waits for the log is left to it."""
        self._stop.set()
        self._thread.join(timeout=_STOP_S)

    def heard(self, match_id: str, one: Beat) -> None:
        """A beat came to this server; called on any thread."""
        with self._lock:
            self._heard_s = self._clock_s()
            self._unheard = 0
            if match_id == self._match_id and self._rev is not None:
                self._rev = max(self._rev, one.rev)

    def _run(self) -> None:
        # Servers that were started together take turns from the first beat on.
        self._stop.wait(random.random() * self._interval_s)  # noqa: S311
        while not self._stop.is_set():
            self._stop.wait(self.step())

    def step(self) -> float:
        """Append a beat if one is due; returns how long to wait before the next step, seconds."""
        with self._lock:
            since_s = self._clock_s() - self._heard_s
            unheard = self._unheard
        if since_s < _RECENT * self._interval_s:
            return self._interval_s
        try:
            self._append()
        except (EventLogError, BusError) as error:
            self.failed += 1
            log = logger.warning if unheard == 0 else logger.debug
            log("no beat of the canary could be appended: %s", error)
        with self._lock:
            self._unheard += 1
        return self._interval_s * min(_SLOWER_MAX, max(1, unheard - _UNHEARD_MAX))

    def _append(self) -> None:
        match_id = match_id_of(hour_of(self._now_ms()))
        with self._lock:
            former = self._match_id
            if match_id != former or self._unheard >= _UNHEARD_MAX:
                self._rev = None
            rev = self._rev
        if rev is None:
            # Others may have appended revisions that were not heard here.
            snapshot = self._bus.snapshot(match_id)
            rev = 0 if snapshot is None else rev_in(snapshot.data)
            with self._lock:
                rev = max(rev, self._rev or 0)
                self._match_id = match_id
        events = [beat(match_id, rev + 1)]
        if former and former != match_id:
            events.insert(0, end(former))
        self._log.append(events)
        self.appended += 1
        with self._lock:
            self._rev = max(rev + 1, self._rev or 0)
