"""What one origin process consists of, and how a request finds it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from flask import Flask, current_app

from origin.bus import Bus, open_bus
from origin.config import Config
from origin.eventlog import EventLog, WatchedLog, open_eventlog
from origin.eventlog.clock import MACHINE_CLOCK
from origin.eventlog.sqlite import path_of
from origin.fanout.embedded import EmbeddedFanOut
from origin.fanout.purge import PurgeHook
from origin.fanout.worker import FanOut
from origin.ingest.key_file import KeyFile
from origin.ingest.service import Ingest
from origin.ladder.advice import NO_ADVICE, Advice
from origin.ladder.steps import Step
from origin.metrics import Metrics
from origin.stream.worker.extensions import ORIGIN
from origin.tracing import open_tracer
from origin.web.beacon_rate import BeaconRate
from origin.web.board import Board
from origin.web.bus_breaker import Breakers, GuardedBus
from origin.web.match_cache import Matches

__all__ = ["BOARD_FRESH_S", "BUS_AGAIN_S", "Origin", "origin", "origin_of"]

#: The list of matches may be so old, seconds: an origin behind a cache is asked for it each second.
BOARD_FRESH_S: Final = 0.2
#: The same at the last step of the panic ladder.
STALE_BOARD_S: Final = 15.0
#: While a server of the bus is slow or away, pages and polls ask it again so often, seconds.
BUS_AGAIN_S: Final = 2.0


class Origin:
    """One origin process: its log, its bus, and, embedded, its fan-out.

    Raises:
        ConfigError: a setting cannot be used.
        OriginError: the log or the bus does not answer.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.metrics = Metrics()
        self.metrics.clock_ahead.set_function(MACHINE_CLOCK.ahead_s)
        self.tracer = open_tracer(config.traces_url, config.traces_ratio, "touchline-serve")
        self.log: EventLog = open_eventlog(config.eventlog_url)
        if isinstance(self.log, WatchedLog):
            log = self.log
            self.metrics.eventlog_read_only.set_function(lambda: float(bool(log.read_only())))
        if config.eventlog_url.startswith("sqlite:"):
            folder = path_of(config.eventlog_url).parent
            self.metrics.eventlog_free_bytes.set_function(lambda: _free_bytes(folder))
        self.bus: Bus = open_bus(config.bus_url)
        breakers = Breakers(open_s=BUS_AGAIN_S, metrics=self.metrics)
        self.matches = Matches(GuardedBus(self.bus, breakers), self.metrics)
        # A reading of the bus in this process costs microseconds, one of Redis a request.
        self._board_fresh_s = 0.0 if config.embedded else BOARD_FRESH_S
        self.board = Board(
            self.bus,
            fresh_s=self._board_fresh_s,
            breaker=breakers.of_list,
        )
        self.ingest = Ingest(
            self.log,
            config.ingest_keys,
            max_events=config.ingest_max_events,
            now_s=time.time,
            key_file=KeyFile(config.ingest_keys_file) if config.ingest_keys_file else None,
            match_limits=config.match_limits,
            default_limits=config.ingest_limits,
            tracer=self.tracer,
        )
        self.beacon_rate = BeaconRate()
        #: What polls and heartbeats tell pages beside the scores.
        self.advice: Advice = NO_ADVICE
        #: Each gives one more reason why new viewers should not come; empty if there is none.
        self.readiness_checks: list[Callable[[], str]] = []
        self._fanout: EmbeddedFanOut | None = None
        self._purge: PurgeHook | None = None
        self._fanout_thread: threading.Thread | None = None
        self._before_close: list[Callable[[], None]] = []

    def start(self) -> None:
        """Start what runs beside requests. After fork, never before: threads do not survive it."""
        if self.config.embedded:
            url, token = self.config.purge_url, self.config.purge_token
            purge = self._purge = PurgeHook(url, token, self.metrics) if url else None
            self._fanout = EmbeddedFanOut(
                lambda: FanOut(
                    *(self.log, self.bus), group=None, metrics=self.metrics, purge=purge, tracer=self.tracer
                ),
                self.metrics,
            )
            self._fanout_thread = threading.Thread(target=self._fanout.run, name="fanout", daemon=True)
            self._fanout_thread.start()

    def take_advice(self, advice: Advice) -> None:
        """Have pages and polls follow the ladder from now on; any thread may call it."""
        self.advice = self.matches.advice = advice
        self.board.fresh_s = STALE_BOARD_S if advice.step >= Step.STALE else self._board_fresh_s

    def unready(self) -> list[str]:
        """Why new viewers should not be sent here; empty if they may come."""
        reasons = []
        thread = self._fanout_thread
        if thread is not None and not thread.is_alive():
            reasons.append("fan-out has ended")
        elif self._fanout is not None and (reason := self._fanout.unready()):
            reasons.append(reason)
        if isinstance(self.log, WatchedLog) and (reason := self.log.unready()):
            reasons.append(reason)
        health = self.bus.health()
        if not health.ok:
            reasons.append(health.reason)
        return [*reasons, *(reason for check in self.readiness_checks if (reason := check()))]

    def notes(self) -> list[str]:
        """What an operator should know although viewers may come; empty if all is well."""
        if isinstance(self.log, WatchedLog) and (reason := self.log.read_only()):
            return [f"the event log is read-only, webhooks get 503: {reason}"]
        return []

    def before_close(self, callback: Callable[[], None]) -> None:
        """Have something called at the beginning of ``close``, while everything still runs."""
        self._before_close.append(callback)

    def close(self) -> None:
        """End everything, in the order data moves; what was acknowledged is in the log."""
        for callback in self._before_close:
            callback()
        if self._fanout is not None and self._fanout_thread is not None:
            self._fanout.stop()
            self._fanout_thread.join(timeout=10)
        if self._purge is not None:
            self._purge.close()
        self.bus.close()
        self.log.close()
        self.tracer.close()


def _free_bytes(folder: Path) -> float:
    """Space for files of this user on the file system of a folder; -1 if the folder is gone."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return -1.0
    return float(found.f_bavail * found.f_frsize)


def origin_of(app: Flask) -> Origin:
    """The origin behind an application: its bus, its log, its matches, its metrics."""
    return cast("Origin", app.extensions[ORIGIN])


def origin() -> Origin:
    """The origin behind the application that serves this request."""
    return origin_of(current_app)
