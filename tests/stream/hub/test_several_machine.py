"""Viewers of several matches get of each what viewers of that match alone get, who came with the same id.

Each viewer of several comes with a companion for each of its matches. The companions always read; the viewer
may be slow, and may be ended for it. All that either gets of a match is compared in the end.
"""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, precondition, rule

from origin.bus import Published
from origin.stream.hub import subscribers
from origin.stream.hub.config import StreamConfig
from shared_state import DeltaId, Event, Replica, encode_delta
from testkit.worlds.hub import EPOCH, FaultyBus, World

MATCHES = ("m1", "m2", "m3", "m4")
GROUPS_MAX = 4

#: Of one match: what came, the id behind it, and the data.
Got = list[tuple[str, str, Any]]


class Reader:
    """A connection that keeps what it gets, by match.

    Attributes:
        reading: False for one that takes nothing.
        ended: whether the server has closed it.
    """

    def __init__(self, path: str, match_id: str | None = None) -> None:
        self._path, self._match_id = path, match_id
        self.reading = True
        self.ended = False
        self.got: dict[str, Got] = {}
        self.sock: socket.socket | None = None
        self._bytes = b""

    def connect(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.sendall(f"GET {self._path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def read(self) -> bool:
        if self.sock is None or not self.reading or self.ended:
            return False
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return False
        except ConnectionError:
            data = b""
        if not data:
            self.ended = True
            return True
        self._bytes += data
        whole, mark, self._bytes = self._bytes.rpartition(b"\n\n")
        for block in (whole + mark).decode().split("\n\n"):
            self._take(dict(line.split(": ", 1) for line in block.split("\n") if ": " in line))
        return True

    def _take(self, fields: dict[str, str]) -> None:
        if fields.get("event") not in ("score", "gap"):
            return
        name, id_text = self._match_id, fields["id"]
        data = json.loads(fields["data"])
        if name is None:
            name, _, id_text = id_text.partition("@")
            if fields["event"] == "gap":
                assert data.pop("match_id") == name
        data.pop("match_id", None)
        self.got.setdefault(name, []).append((fields["event"], id_text, data))


class Group:
    """A viewer of several matches and its companions."""

    def __init__(self, after: dict[str, DeltaId | None]) -> None:
        places = {name: f"@{id_}" if id_ is not None else "" for name, id_ in after.items()}
        self.several = Reader("/stream?" + "&".join(f"m={name}{place}" for name, place in places.items()))
        self.single = {
            name: Reader(
                f"/stream/{name}" + (f"?last_event_id={id_}" if id_ is not None else ""), match_id=name
            )
            for name, id_ in after.items()
        }

    @property
    def readers(self) -> list[Reader]:
        return [self.several, *self.single.values()]

    def check(self) -> None:
        """A viewer that was ended for being slow has had the beginning of it."""
        for name, one in self.single.items():
            assert not one.ended
            expected, got = one.got.get(name, []), self.several.got.get(name, [])
            if self.several.ended or not self.several.reading:
                assert got == expected[: len(got)], name
            else:
                assert got == expected, name
        assert set(self.several.got) <= set(self.single)


class SeveralMachine(RuleBasedStateMachine):
    """See the module."""

    groups = Bundle("groups")
    ring_entries = 0

    @initialize(window=st.sampled_from([2, 64]), interval_s=st.sampled_from([0.0, 1.0]))
    def begin(self, window: int, interval_s: float) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(subscribers, "RING_FROM_VIEWERS", 1)
        self.bus = FaultyBus()
        config = StreamConfig(
            heartbeat_s=30.0,
            replay_window_deltas=window,
            ring_entries=self.ring_entries,
            pending_max_bytes=3_000,
            send_buffer_bytes=4_096,
            broadcast_interval_s=interval_s,
            bus_wait_s=1e6,
            stalled_s=1e6,
            idle_match_s=1e6,
        )
        self.world = World(self.bus, config)
        self.replicas: dict[str, Replica] = {}
        self.past: dict[str, list[DeltaId]] = {name: [] for name in MATCHES}
        self.all: list[Group] = []
        self.number = 0
        for name in MATCHES:
            self.new_epoch(name)

    @rule(name=st.sampled_from(MATCHES), count=st.integers(1, 6))
    def publish(self, name: str, count: int) -> None:
        replica = self.replicas[name]
        for _ in range(count):
            self.number += 1
            event = Event(
                match_id=name,
                event_id=f"g{self.number:06}",
                rev=1,
                op="ADD",
                type="GOAL",
                period="H1",
                minute=self.number % 45,
                team="home" if self.number % 3 else "away",
            )
            delta = replica.assign(event, EPOCH + self.number)
            assert delta is not None
            self.bus.publish(name, Published(delta.id, encode_delta(delta)), replica.snapshot())
            self.past[name].append(delta.id)

    @rule(name=st.sampled_from(MATCHES))
    def new_epoch(self, name: str) -> None:
        self.number += 1
        self.replicas[name] = Replica.begin(name, EPOCH + self.number)
        self.publish(name, 1)
        self.settle()

    @rule()
    def settle(self) -> None:
        """Everything gets on until nothing happens."""
        while True:
            self.world.turn()
            busy = self.world.jobs.run(100) > 0
            for group in self.all:
                for reader in group.readers:
                    busy |= reader.read()
            if not busy:
                break
        self.world.turn()

    @rule()
    def turn(self) -> None:
        self.world.turn()

    @rule()
    def beat(self) -> None:
        self.world.beat(1)

    @precondition(lambda self: len(self.all) < GROUPS_MAX)
    @rule(
        target=groups,
        names=st.lists(st.sampled_from(MATCHES), min_size=1, unique=True),
        backs=st.lists(st.none() | st.integers(0, 9), min_size=len(MATCHES), max_size=len(MATCHES)),
    )
    def arrive(self, names: list[str], backs: list[int | None]) -> Group:
        # Companions that come while deltas are under way may be answered a delta earlier or later, and that
        # is right; so that all can be compared to the byte, they come at rest.
        self.settle()
        self.world.beat(1)
        self.settle()
        after: dict[str, DeltaId | None] = {}
        for name, back in zip(names, backs, strict=False):
            past = self.past[name]
            after[name] = None if back is None else past[max(0, len(past) - 1 - back)]
        group = Group(after)
        self.all.append(group)
        for reader in group.readers:
            self.world.connect(reader)  # type: ignore[arg-type]
        self.settle()
        return group

    @rule(group=groups)
    def become_slow(self, group: Group) -> None:
        group.several.reading = False

    @rule(group=groups)
    def read_again(self, group: Group) -> None:
        group.several.reading = True

    @rule(group=consumes(groups))
    def leave(self, group: Group) -> None:
        self.settle()
        group.check()
        self.all.remove(group)
        for reader in group.readers:
            reader.close()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            for group in self.all:
                group.several.reading = True
            for _ in range(3):
                self.settle()
                self.world.beat(1)
            self.settle()
            for group in self.all:
                group.check()
                for reader in group.readers:
                    reader.close()
            self.settle()
            several = self.world.hub._several
            assert several.memberships == 0
            assert (self.world.hub.viewers, self.world.hub.parked) == (0, 0)
            assert not self.world.errors, self.world.errors[0]
        finally:
            self.world.end()
            self.patch.undo()


class RingMachine(SeveralMachine):
    """The same where a ring sends."""

    ring_entries = 64


STEPS = settings(
    deadline=None, max_examples=60, stateful_step_count=25, suppress_health_check=list(HealthCheck)
)
TestSeveral = SeveralMachine.TestCase
TestSeveral.settings = STEPS
TestSeveralByRing = RingMachine.TestCase
TestSeveralByRing.settings = STEPS
