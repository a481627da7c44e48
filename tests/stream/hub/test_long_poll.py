"""Long-polls in the hub, by the test's clock: every delta once and in order, silence only where it was."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from origin.bus import Published
from origin.stream.http import long_poll
from origin.stream.hub import long_poll as hub_long_poll
from origin.stream.hub.config import StreamConfig
from shared_state import DeltaId, Event, Replica, encode_delta
from testkit.worlds.hub import EPOCH, MATCH, Bench, FaultyBus, World

SLICE_MS = 10_000
POLLERS = 3


class Clock:
    """The server's clock as the test sets it, UTC milliseconds."""

    def __init__(self) -> None:
        self.ms = EPOCH + 1_000_000

    def __call__(self) -> int:
        return self.ms


class Poller:
    """One client that follows ``next``; it does what docs/protocol.md tells a client to do.

    Attributes:
        stands: the id that it has everything up to.
        slice_: the slice that it asks for next.
        status: of its newest answer.
    """

    def __init__(self, machine: LongPollMachine, stands: DeltaId) -> None:
        self._machine = machine
        self.stands = stands
        self.slice_ = machine.clock.ms // SLICE_MS
        self.sock: socket.socket | None = None
        self.waits = False
        self.status = 0
        self._bytes = b""
        self._path = ""

    def ask(self) -> None:
        """Ask for what comes next, unless an answer is awaited."""
        if self.waits:
            return
        if self.sock is None:
            ours, self.sock = socket.socketpair()
            for one in (ours, self.sock):
                one.setblocking(False)
            self._bytes = b""
            self._machine.world.add(ours)
        self._path = f"/api/match/{MATCH}/deltas/{self.stands}/{self.slice_}"
        self.sock.sendall(f"GET {self._path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.waits = True

    def ask_cache(self) -> None:
        """Take an earlier answer for the same address, if a cache has one."""
        path = f"/api/match/{MATCH}/deltas/{self.stands}/{self.slice_}"
        if not self.waits and path in self._machine.kept:
            self._take(self._machine.kept[path])

    def disconnect(self) -> None:
        if self.sock is not None:
            self.sock.close()
        self.sock, self.waits = None, False

    def read(self) -> None:
        """Take the answer, if it is there."""
        if self.sock is None:
            return
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return
        self._bytes += data
        head, mark, rest = self._bytes.partition(b"\r\n\r\n")
        if not mark:
            assert data, "closed without an answer"
            return
        lines = head.decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        assert len(rest) <= int(headers["content-length"])
        if len(rest) < int(headers["content-length"]):
            return
        assert self.waits, "an answer to nothing"
        self.status = int(lines[0].split(" ")[1])
        self.waits, self._bytes = False, b""
        if headers["connection"] == "close":
            self.disconnect()
        body = json.loads(rest)
        if self.status == 200:
            if "immutable" in headers["cache-control"]:
                self._machine.kept.setdefault(self._path, body)
            self._machine.check_date(body)
            self._take(body)
        elif self.status == 410:
            self.stands = DeltaId.parse(body["error"]["head"])  # where the snapshot brings it
        elif self.status == 404:
            assert body["error"]["code"] in ("slice_to_come", "unknown_match"), body
            self.slice_ = self._machine.clock.ms // SLICE_MS
        else:
            assert (self.status, body["error"]["code"]) == (503, "bus_unavailable"), body

    def _take(self, body: dict[str, Any]) -> None:
        # The promise under test: a contiguous run from where it stands, whenever the answer was made.
        assert body["after"] == str(self.stands)
        for text, _ in body["deltas"]:
            assert DeltaId.parse(text) == (self.stands.epoch, self.stands.seq + 1)
            self.stands = DeltaId.parse(text)
        assert body["next"]["id"] == str(self.stands)
        self.slice_ = body["next"]["slice"]


class LongPollMachine(RuleBasedStateMachine):
    """Faults of the bus and of the clock as rules; pollers ask the hub or a cache that forgets nothing."""

    @initialize(window=st.sampled_from([1, 4, 64]), interval_s=st.sampled_from([0.0, 1.0]))
    def begin(self, window: int, interval_s: float) -> None:
        self.clock = Clock()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(hub_long_poll, "_now_ms", self.clock)
        self.patch.setattr(long_poll, "BODY_MAX_BYTES", 5_000)
        self.bus = FaultyBus()
        self.world = World(
            self.bus,
            StreamConfig(
                heartbeat_s=30.0,
                replay_window_deltas=window,
                unknown_match_s=0.0,
                broadcast_interval_s=interval_s,
                long_poll_slice_s=SLICE_MS / 1_000,
                bus_wait_s=1e6,
                stalled_s=1e6,
                keep_alive_s=3_600,
                idle_match_s=1e6,
            ),
        )
        self.origin = Replica.begin(MATCH, EPOCH)
        self.kept: dict[str, dict[str, Any]] = {}
        # What the hub was given, and when. While the clock is behind where it was, dates mean nothing.
        self.latest_ms = 0
        self.accepted: list[tuple[DeltaId, int]] = []
        self.publish(2)
        self.pollers = [Poller(self, DeltaId(EPOCH, number)) for number in range(POLLERS)]
        self.work()
        self.bus.on_told = self.note_accepted

    def note_accepted(self, published: Published) -> None:
        if self.clock.ms >= self.latest_ms:
            self.latest_ms = self.clock.ms
            self.accepted.append((published.id, self.clock.ms))

    def check_date(self, body: dict[str, Any]) -> None:
        """No answer says that it is the whole truth until a time at which the hub had more."""
        assert body["as_of"] <= self.clock.ms
        stands = DeltaId.parse(body["next"]["id"])
        for id_, came_ms in self.accepted:
            assert id_ <= stands or came_ms >= body["as_of"], f"{id_} came at {came_ms}: {body}"

    @rule(count=st.integers(1, 5))
    def publish(self, count: int) -> None:
        for _ in range(count):
            number = self.origin.position.seq + 1
            event = Event(
                match_id=MATCH,
                event_id=f"g{number}",
                rev=1,
                op="ADD",
                type="NOTE",
                period="H1",
                minute=1,
                # Two of them are all that one answer carries here.
                detail={"text": "x" * 2_000},
            )
            delta = self.origin.assign(event, self.clock.ms)
            assert delta is not None
            self.bus.publish(MATCH, Published(delta.id, encode_delta(delta)), self.origin.snapshot())

    @rule(count=st.integers(1, 3))
    def lose_live_deltas(self, count: int) -> None:
        self.bus.lose = count

    @rule()
    def hold_live_deltas(self) -> None:
        self.bus.hold = True

    @rule(backwards=st.booleans())
    def release_live_deltas(self, backwards: bool) -> None:
        self.bus.release(backwards=backwards)

    @rule(keep=st.integers(0, 5))
    def trim_the_replay(self, keep: int) -> None:
        self.bus.trim(keep)

    @rule()
    def tell_of_a_gap(self) -> None:
        self.bus.say_gap()

    @rule(ms=st.sampled_from([1, 300, 4_000, 9_999, 10_000, 25_000, 3_600_000]))
    def pass_time(self, ms: int) -> None:
        self.clock.ms += ms

    @rule(ms=st.sampled_from([1, 5_000, 30_000, 600_000]))
    def set_the_clock_back(self, ms: int) -> None:
        self.latest_ms = max(self.latest_ms, self.clock.ms)
        self.clock.ms -= ms

    @rule()
    def turn(self) -> None:
        self.world.turn()
        for poller in self.pollers:
            poller.read()

    @rule()
    def beat(self) -> None:
        """What is due each half second, without the bus answering."""
        self.world.beat(1)
        for poller in self.pollers:
            poller.read()

    @rule()
    def work(self) -> None:
        """The loop and the bus readers get on."""
        for _ in range(4):
            self.world.turn()
            self.world.jobs.run(100)
        self.turn()

    @rule(index=st.integers(0, POLLERS - 1))
    def ask(self, index: int) -> None:
        self.pollers[index].ask()

    @rule(index=st.integers(0, POLLERS - 1))
    def ask_the_cache(self, index: int) -> None:
        self.pollers[index].ask_cache()

    @rule(index=st.integers(0, POLLERS - 1))
    def leave(self, index: int) -> None:
        self.pollers[index].disconnect()

    @precondition(lambda self: self.kept)
    @rule(index=st.integers(0, POLLERS - 1), data=st.data())
    def begin_again_at_an_old_answer(self, index: int, data: st.DataObject) -> None:
        """A client that comes late, with an address that somebody asked for before."""
        poller = self.pollers[index]
        poller.disconnect()
        body = self.kept[data.draw(st.sampled_from(sorted(self.kept)))]
        poller.stands = DeltaId.parse(body["after"])
        poller.slice_ = body["next"]["slice"]

    @rule()
    def settle(self) -> None:
        """The faults stop: everybody gets to the head, and nobody stays held when the slice is over."""
        self.bus.lose = 0
        self.bus.release(backwards=False)
        for _ in range(60):
            for poller in self.pollers:
                poller.ask()
            self.work()
            self.world.beat(1)
            self.work()
            self.clock.ms += SLICE_MS // 2
        for _ in range(8):
            self.work()
            self.world.beat(1)
            self.clock.ms += SLICE_MS // 2
        self.work()
        for poller in self.pollers:
            assert (poller.stands, poller.waits) == (self.origin.position, False)
        stream = self.world.hub.stream_of(MATCH)
        assert stream is not None
        assert len(stream.polls) == 0
        assert self.world.hub.parked == self.world.hub.metrics.polls_held == 0

    def teardown(self) -> None:
        self.settle()
        for poller in self.pollers:
            poller.disconnect()
        self.world.end()
        self.patch.undo()
        assert not self.world.errors


TestLongPolls = LongPollMachine.TestCase
TestLongPolls.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def held(bench: Bench, clock: Clock, count: int = 1) -> list[socket.socket]:
    """Clients that are held at the head for the present slice."""
    head = bench.publish()
    clients = []
    for _ in range(count):
        ours, theirs = socket.socketpair()
        for one in (ours, theirs):
            one.setblocking(False)
        path = f"/api/match/{MATCH}/deltas/{head}/{clock.ms // SLICE_MS}"
        theirs.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        bench.world.add(ours)
        clients.append(theirs)
    bench.settle()
    assert bench.world.hub.metrics.polls_held == count
    return clients


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(hub_long_poll, "_now_ms", made)
    return made


def test_a_new_epoch_sends_the_held_to_the_snapshot(clock: Clock) -> None:
    bench = Bench()
    (client,) = held(bench, clock)
    bench.origin = Replica.begin(MATCH, EPOCH + 1)
    head = bench.publish()
    bench.settle()
    answer = client.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 410 ")
    assert b"s-maxage=5" in answer
    assert f'"head":"{head}","snapshot":"/api/match/{MATCH}/state"'.encode() in answer
    client.close()
    bench.end()


def test_silence_that_the_bus_leaves_open_is_refused_after_a_while(clock: Clock) -> None:
    """A delta came that does not follow, and the bus does not say what is between."""
    bench = Bench()
    clients = held(bench, clock, 3)
    bench.bus.lose = 1
    bench.publish(2)
    bench.world.turn()  # the hole is seen; the bus reader that is to fill it hangs
    clock.ms += SLICE_MS
    bench.world.beat(1)
    for client in clients:
        with pytest.raises(BlockingIOError):
            client.recv(1)
    clock.ms += 2_600
    bench.world.beat(1)
    for client in clients:
        answer = client.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in answer
        assert b"no-store" in answer
        client.close()
    assert bench.world.hub.parked == 0
    bench.end()


def test_silence_is_said_though_a_heartbeat_looked_in_the_middle_of_a_burst(clock: Clock) -> None:
    """The look found more at the bus than had come; it came a moment later, long before the next look."""
    bench = Bench()
    held(bench, clock)[0].close()
    bench.bus.hold = True
    head = bench.publish(3)
    stream = bench.world.hub.stream_of(MATCH)
    assert stream is not None
    stream.heartbeat(0)
    bench.world.jobs.run(100)
    bench.world.turn()  # the snapshot is ahead of the deltas
    bench.bus.release(backwards=False)
    bench.world.turn()
    ours, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.setblocking(False)
    theirs.sendall(
        f"GET /api/match/{MATCH}/deltas/{head}/{clock.ms // SLICE_MS} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    )
    bench.world.add(ours)
    bench.world.turn()
    assert bench.world.hub.metrics.polls_held == 1
    clock.ms += SLICE_MS
    bench.world.beat(1)
    answer = theirs.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert b'"deltas":[]' in answer
    theirs.close()
    bench.end()


def test_an_answer_that_is_not_all_is_dated_with_its_last_delta(clock: Clock) -> None:
    """Between a part and the rest there is no moment at which the part was the whole truth."""
    bench = Bench(replay_window_deltas=64)
    bench.publish(20)
    ours, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.setblocking(False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_poll, "BODY_MAX_BYTES", 400)
        path = f"/api/match/{MATCH}/deltas/{EPOCH}-0/{clock.ms // SLICE_MS}"
        theirs.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        bench.world.add(ours)
        bench.settle()
    body = json.loads(theirs.recv(65_536).partition(b"\r\n\r\n")[2])
    assert 0 < len(body["deltas"]) < 20
    assert body["as_of"] == EPOCH + len(body["deltas"])
    theirs.close()
    bench.end()
