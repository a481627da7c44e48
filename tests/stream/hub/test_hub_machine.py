"""Bus, hub and viewers under faults: every connected viewer's replica converges to the log's hash.

Beside that, ``Viewer`` checks on every delta that the hub never leaves one out, never sends one twice and
never replays a part, whatever the bus does.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, precondition, rule

from origin.bus import Published
from origin.stream.hub import subscribers
from origin.stream.hub.config import StreamConfig
from shared_state import Event, Replica, encode_delta
from testkit.worlds.hub import EPOCH, MATCH, FaultyBus, Viewer, World

VIEWERS_MAX = 5


class HubMachine(RuleBasedStateMachine):
    """Faults as rules; ``settle`` is what the world looks like once they have stopped."""

    viewers = Bundle("viewers")
    ring_entries = 0

    @initialize(
        window=st.sampled_from([1, 4, 64]), known=st.booleans(), interval_s=st.sampled_from([0.0, 1.0])
    )
    def begin(self, window: int, known: bool, interval_s: float) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(subscribers, "RING_FROM_VIEWERS", 1)
        self.bus = FaultyBus()
        config = StreamConfig(
            heartbeat_s=30.0,
            replay_window_deltas=window,
            ring_entries=self.ring_entries,
            pending_max_bytes=2_000,
            send_buffer_bytes=4_096,
            unknown_match_s=0.0,
            broadcast_interval_s=interval_s,
            # Time is the test's here: nothing ends because a machine is slow.
            bus_wait_s=1e6,
            stalled_s=1e6,
            idle_match_s=1e6,
        )
        self.world = World(self.bus, config)
        self.origin = Replica.begin(MATCH, EPOCH)
        self.all: list[Viewer] = []
        self.number = 0
        if known:
            self.publish(3, False)

    @rule(count=st.integers(1, 12), retract=st.booleans())
    def publish(self, count: int, retract: bool) -> None:
        for index in range(count):
            if retract and index == count - 1 and self.number:
                fields: dict[str, Any] = {"op": "RETRACT", "rev": 9, "event_id": f"g{self.number}"}
            else:
                self.number += 1
                fields = {
                    "op": "ADD",
                    "rev": 1,
                    "event_id": f"g{self.number}",
                    "type": "GOAL",
                    "period": "H1",
                    "minute": self.number % 45,
                    "team": "home" if self.number % 3 else "away",
                }
            delta = self.origin.assign(Event(match_id=MATCH, **fields), EPOCH + self.number)
            if delta is not None:
                self.bus.publish(MATCH, Published(delta.id, encode_delta(delta)), self.origin.snapshot())

    # --- the bus misbehaves

    @rule(count=st.integers(1, 3))
    def lose_live_deltas(self, count: int) -> None:
        self.bus.lose = count

    @rule()
    def hold_live_deltas(self) -> None:
        self.bus.hold = True

    @rule(backwards=st.booleans())
    def release_live_deltas(self, backwards: bool) -> None:
        self.bus.release(backwards=backwards)

    @rule(index=st.integers(0, 50))
    def repeat_a_live_delta(self, index: int) -> None:
        self.bus.repeat(index)

    @rule(keep=st.integers(0, 5))
    def trim_the_replay(self, keep: int) -> None:
        self.bus.trim(keep)

    @rule()
    def tell_of_a_gap(self) -> None:
        self.bus.say_gap()

    # --- the worker

    @rule()
    def turn(self) -> None:
        self.world.turn()

    @rule()
    def work(self) -> None:
        """The loop and the bus readers get on, however far the viewers are."""
        for _ in range(4):
            self.world.turn()
            self.world.jobs.run(100)
        self.world.turn()

    @rule(count=st.integers(1, 3))
    def run_bus_readers(self, count: int) -> None:
        self.world.jobs.run(count)

    @rule()
    def beat(self) -> None:
        self.world.beat(1)

    @rule()
    def restart(self) -> None:
        self.world.stop()
        self.world.start()

    # --- viewers

    @precondition(lambda self: len(self.all) < VIEWERS_MAX)
    @rule(target=viewers, kind=st.sampled_from(["sse", "websocket", "several"]))
    def arrive(self, kind: str) -> Viewer:
        viewer = Viewer(self.bus, websocket=kind == "websocket", several=kind == "several")
        self.all.append(viewer)
        self.world.connect(viewer)
        return viewer

    @rule(viewer=viewers)
    def lose_the_connection(self, viewer: Viewer) -> None:
        viewer.disconnect()

    @rule(viewer=viewers)
    def come_back(self, viewer: Viewer) -> None:
        viewer.disconnect()
        self.world.connect(viewer)

    @rule(viewer=viewers)
    def read(self, viewer: Viewer) -> None:
        viewer.read()

    @rule(viewer=viewers, reading=st.booleans())
    def stop_or_go_on_reading(self, viewer: Viewer, reading: bool) -> None:
        viewer.reading = reading

    @rule(viewer=consumes(viewers))
    def leave(self, viewer: Viewer) -> None:
        viewer.disconnect()
        self.all.remove(viewer)

    # --- the promise

    @precondition(lambda self: self.origin.position.seq > 0)
    @rule()
    def settle(self) -> None:
        self.bus.lose = 0
        self.bus.release(backwards=False)
        for _ in range(4):
            for viewer in self.all:
                viewer.reading = True
                if viewer.sock is None:
                    self.world.connect(viewer)
            self._until_quiet()
            # What was lost without a trace shows in the next heartbeats.
            self.world.beat(2)
            self._until_quiet()
        assert not self.world.errors, self.world.errors
        for viewer in self.all:
            assert viewer.sock is not None
            assert viewer.replica is not None
            assert viewer.replica.position == self.origin.position
            assert viewer.replica.hash() == self.origin.hash()
            assert viewer.stands == self.origin.position

    def _until_quiet(self) -> None:
        for _ in range(200):
            self.world.turn()
            busy = self.world.jobs.run(100) > 0
            for viewer in self.all:
                busy |= viewer.read()
            if not busy:
                return
        raise AssertionError("the hub does not come to rest")

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            if self.origin.position.seq > 0:
                self.settle()
        finally:
            for viewer in self.all:
                viewer.disconnect()
            self.world.end()
            self.patch.undo()


class RingMachine(HubMachine):
    """The same, where each frame goes out by a ring, of two places for up to five viewers."""

    ring_entries = 2


HubMachine.TestCase.settings = RingMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestHubMachine = HubMachine.TestCase
TestRingMachine = RingMachine.TestCase
