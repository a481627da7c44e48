"""What ties a worker to the others of its region: the ladder's state, the canary, and how the peers are.

A thread of its own, since each round asks the region's Redis. What it finds is a small value that heartbeats,
long-polls and polls carry (``Advice``), and a reason for ``/readyz`` where this worker is behind its peers.
Whatever does not answer changes nothing: the last known step stays, and nobody is behind unknown peers.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import socket
import threading
import time
from typing import Final, cast

from flask import Flask

from origin.bus import SharesRecords
from origin.canary.beats import Beats
from origin.canary.lateness import Lateness
from origin.canary.match import Beat
from origin.canary.peers import Report, behind_of, is_behind
from origin.errors import BusError
from origin.ladder.advice import Advice
from origin.ladder.automatic import AutomaticLadder
from origin.ladder.steps import LadderError, LadderState, Step
from origin.ladder.store import MemoryStore, store_of
from origin.stream.hub.canary import CanaryViewer
from origin.stream.hub.hub import Hub
from origin.stream.worker.extensions import STREAM_HUB
from origin.web.origin import Origin, origin_of
from origin.web.region_metrics import RegionCollector, RegionNumbers
from origin.web.worker_pool import WORKER_POOL

__all__ = ["REGION_LINK", "RegionLink", "link_of"]

#: In the application's ``extensions``: its ``RegionLink``.
REGION_LINK: Final = "touchline.region_link"
# A server that is behind is out within five seconds: three beats, and two rounds.
_ROUND_S: Final = 0.5
_STOP_S: Final = 3.0

logger = logging.getLogger(__name__)


class RegionLink:
    """See the module.

    Args:
        app: the application, whose hub is looked for in each round.

    Attributes:
        store: where the ladder's state is kept.
        numbers: what ``/metrics`` shows of it.
    """

    def __init__(self, app: Flask) -> None:
        origin = origin_of(app)
        settings = origin.config.ladder
        self._app = app
        self._origin: Origin = origin
        self._interval_s = settings.canary_interval_s
        self._automatic = AutomaticLadder(
            settings.auto_max, full=settings.auto_full, delay_s=settings.auto_delay_s
        )
        self.store = store_of(origin.bus, origin.config.eventlog_url)
        self.numbers = RegionNumbers()
        self._state = LadderState()
        self._name = secrets.token_hex(8)
        self._edge = ""
        self._hub: Hub | None = None
        self._viewer: CanaryViewer | None = None
        self._lateness: Lateness | None = None
        self._watching_since_s = 0.0
        self._beats: Beats | None = None
        if self._interval_s:
            self._beats = Beats(origin.log, origin.bus, self._interval_s)
        self._behind = ""
        self._peers_said: list[Report] = []
        self._answers = True
        # When the loop was asked to come round, on the monotonic clock; None: it has.
        self._turn_asked_s: float | None = None
        self._delay_s = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        origin.metrics.registry.register(RegionCollector(self.numbers, self._beats))
        origin.readiness_checks.append(lambda: self._behind)

    def start(self) -> None:
        """Begin, after the fork. Without a region, a file, a canary and thresholds there is nothing to do."""
        idle = isinstance(self.store, MemoryStore) and not self._interval_s
        if idle and self._origin.config.ladder.auto_max is Step.NORMAL:
            return
        self._origin.before_close(self.close)
        self._thread = threading.Thread(target=self._run, name="region-link", daemon=True)
        self._thread.start()
        if self._beats is not None:
            self._beats.start()

    def close(self) -> None:
        """End, and tell the others."""
        self._stop.set()
        if self._beats is not None:
            self._beats.close()
        if self._thread is not None:
            self._thread.join(timeout=_STOP_S)
        if self._hub is not None and self._viewer is not None:
            self._hub.reactor.post(self._viewer.leave)
        if isinstance(self._origin.bus, SharesRecords):
            try:
                self._origin.bus.exchange(self._name, b"", b"")
            except BusError as error:
                logger.debug("the others are not told that this worker ends: %s", error)

    @property
    def state(self) -> LadderState:
        """What the operator has set, as this worker read it last."""
        return self._state

    def set_step(self, state: LadderState) -> None:
        """Set the step for the region; this worker has it at once, the others within a second.

        Raises:
            LadderError, BusError: as ``LadderStore.write``.
        """
        self.store.write(state)
        with self._lock:
            self._apply(state, time.monotonic())

    def _run(self) -> None:
        while not self._stop.wait(_ROUND_S):
            try:
                self.round()
            except Exception:  # the thread must outlive a defect: the workers would be deaf to the operator
                logger.exception("a round with the region failed")

    def round(self) -> None:
        """Exchange with the others once, and see what follows from it."""
        self._find_hub()
        now_s = time.monotonic()
        self._measure_loop(now_s)
        hub = self._hub
        if hub is not None:
            full = (hub.viewers + hub.parked) / max(1, hub.connections_max)
            self._automatic.look(now_s, full=full, delay_s=self._delay_s)
        own = self._report()
        state = self._exchange(own)
        with self._lock:
            self._apply(state, time.monotonic())
            self._compare(own, time.monotonic())

    def _find_hub(self) -> None:
        """Watch the canary from the hub, once there is one."""
        hub = self._app.extensions.get(STREAM_HUB)
        if hub is None or self._hub is not None:
            return
        self._hub = cast("Hub", hub)
        pool = self._app.extensions.get(WORKER_POOL)
        named = self._name if pool is None else f"{socket.gethostname()} {pool.pool_name}"
        self._edge = hashlib.sha256(named.encode()).hexdigest()[:12]
        if self._interval_s:
            self._watching_since_s = time.monotonic()
            self._lateness = Lateness(self._watching_since_s)
            self._viewer = CanaryViewer(self._hub, self._heard)

    def _heard(self, match_id: str, beat: Beat) -> None:
        """A beat came; on the reactor's thread."""
        lateness, beats = self._lateness, self._beats
        if lateness is None or beats is None or beat.accepted_ms is None:
            return
        lateness.heard(time.monotonic(), beat.accepted_ms)
        beats.heard(match_id, beat)
        self.numbers.beats_heard += 1

    def _measure_loop(self, now_s: float) -> None:
        """How long the loop takes to come round; it sees to the canary's viewer then."""
        asked_s = self._turn_asked_s
        if asked_s is not None:
            self._delay_s = now_s - asked_s
        elif self._hub is not None:
            self._turn_asked_s = now_s
            self._hub.reactor.post(self._came_round)

    def _came_round(self) -> None:
        if self._viewer is not None:
            self._viewer.look()
        asked_s = self._turn_asked_s
        if asked_s is not None:
            self._delay_s = time.monotonic() - asked_s
            self._turn_asked_s = None

    def _report(self) -> Report:
        viewer = self._viewer
        return Report(self._edge, self._automatic.step, None if viewer is None else viewer.position)

    def _exchange(self, own: Report) -> LadderState:
        """Report and read; the state that is known where nobody answers."""
        try:
            if isinstance(self._origin.bus, SharesRecords) and self._edge:
                known = self._state.encode() if self._state.set_ms else b""
                found = self._origin.bus.exchange(self._name, own.encode(), known)
                reports = [Report.decode(report) for report in found.reports]
                self._peers_said = [report for report in reports if report is not None]
                state = LadderState.decode(found.ladder) if found.ladder else LadderState()
            else:
                state = self.store.read()
        except (BusError, LadderError) as error:
            # What they said a while ago says nothing of now.
            self._peers_said = []
            if self._answers:
                logger.warning("the ladder's state stays as it was read last: %s", error)
            self._answers = False
            return self._state
        self._answers = True
        return state

    def _apply(self, state: LadderState, now_s: float) -> None:
        if state != self._state:
            logger.warning("the ladder is at %s now: %s", state.name, state.reason or "no reason was given")
        self._state = state
        automatic = max([self._automatic.step, *(report.step for report in self._peers_said)])
        lateness = self._lateness
        advice = Advice(max(state.step, automatic), 0 if lateness is None else lateness.late_ms(now_s))
        self._origin.take_advice(advice)
        if self._hub is not None:
            self._hub.advice = advice
        numbers = self.numbers
        numbers.step, numbers.automatic_step = int(advice.step), int(self._automatic.step)
        numbers.loop_delay_s = self._delay_s
        numbers.canary_age_s = 0.0 if lateness is None else lateness.age_s(now_s)

    def _compare(self, own: Report, now_s: float) -> None:
        self._behind = ""
        if self._viewer is None:
            return
        beats, peers = behind_of(own, self._peers_said)
        self.numbers.behind_beats, self.numbers.peers = beats, peers
        watched_s = now_s - self._watching_since_s
        if is_behind(beats, self._interval_s, watched_s, has_heard=own.position is not None):
            self._behind = f"{beats} beats of the canary behind the median of {peers} other servers"


def link_of(app: Flask) -> RegionLink:
    """The link of an application."""
    return cast("RegionLink", app.extensions[REGION_LINK])
