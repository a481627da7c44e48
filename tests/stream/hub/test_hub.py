"""The hub's harder moments, one at a time; ``test_hub_machine.py`` finds the rest."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from origin.bus import Published
from origin.stream.http.request_head import RequestLine
from origin.stream.http.stream_request import StreamRequest, parse
from origin.stream.hub import subscribers
from origin.stream.hub.decisions import Decision
from origin.stream.hub.drain import AcceptRate, DrainPlan, retry_ms, window_s
from origin.stream.hub.replay_window import ReplayWindow, Step
from origin.stream.net.reactor import EventHandler
from origin.stream.worker import connections
from shared_state import DeltaId, Event, Replica, encode_delta
from shared_state.jsontext import compact
from shared_state.match import Score, state_text
from testkit.poster import event
from testkit.worlds.hub import EPOCH, MATCH, Bench, Viewer


def goal_of_shootout(number: int) -> Event:
    return Event.from_json(event(f"g{number}", match_id=MATCH, period="PENS", minute=121, team="home"))


@pytest.fixture(params=["ring", "loop"])
def ring_entries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Each frame goes out by a ring of two places, or none does."""
    monkeypatch.setattr(subscribers, "RING_FROM_VIEWERS", 1)
    return 2 if request.param == "ring" else 0


@pytest.fixture
def bench(ring_entries: int) -> Iterator[Bench]:
    bench = Bench(ring_entries=ring_entries)
    yield bench
    bench.end()


def test_a_match_is_subscribed_once_for_all_its_viewers(bench: Bench) -> None:
    bench.publish()
    for number in range(20):
        bench.viewer(websocket=number % 2 == 0)
    bench.settle()
    channel = bench.bus._channels[MATCH]
    assert len(channel.subscribers) == 1
    bench.publish(2)
    bench.settle()
    assert [bench.seq(viewer) for viewer in bench.viewers] == [3] * 20


def test_a_viewer_ahead_of_this_worker_waits_and_is_told_what_follows(bench: Bench) -> None:
    bench.publish(2)
    bench.viewer()
    bench.settle()
    bench.bus.hold = True
    bench.publish(3)  # another worker has these already; this one will in a moment
    ahead = bench.viewer(at=4)
    bench.settle()
    assert ahead.sock is not None
    assert bench.seq(ahead) == 4
    bench.bus.release(backwards=False)
    bench.settle()
    assert [bench.seq(viewer) for viewer in bench.viewers] == [5, 5]


def test_a_viewer_at_the_bus_s_head_waits_until_this_worker_is_there(bench: Bench) -> None:
    bench.publish(2)
    bench.viewer()
    bench.settle()
    bench.bus.hold = True
    bench.publish(3)
    ahead = bench.viewer(at=5)
    bench.settle()
    bench.bus.release(backwards=False)
    bench.publish()
    bench.settle()
    assert ahead.replica is not None
    assert [bench.seq(viewer) for viewer in bench.viewers] == [6, 6]


def test_what_the_bus_adds_to_an_old_viewer_is_not_told_twice(bench: Bench) -> None:
    bench.publish(10)
    bench.viewer()
    bench.settle()
    bench.bus.hold = True
    bench.publish(3)  # the bus stands at 13, this worker at 10
    old = bench.viewer(at=1)  # behind the window of four: only the bus can tell
    bench.settle()
    assert bench.seq(old) == 10
    bench.bus.release(backwards=False)
    bench.settle()
    assert bench.seq(old) == 13  # Viewer asserts that each came once


def test_deltas_that_come_while_the_bus_is_read_are_not_lost(bench: Bench) -> None:
    bench.publish(10)
    bench.viewer()
    bench.settle()
    old = bench.viewer(at=1)
    bench.world.turn()
    bench.world.jobs.run(100)  # the bus is read at 10
    bench.publish(2)
    bench.settle()
    assert bench.seq(old) == 12


def test_many_with_the_same_old_id_cost_one_read(bench: Bench) -> None:
    bench.publish(10)
    bench.viewer()
    bench.settle()
    for _ in range(50):
        bench.viewer(at=2)
    assert bench.world.jobs.run(100) == 1
    bench.settle()
    assert {bench.seq(viewer) for viewer in bench.viewers} == {10}


def test_many_made_up_ids_cost_the_bus_a_few_reads(bench: Bench) -> None:
    bench.publish(120)
    bench.bus.trim(60)  # what lies behind is gone
    bench.viewer()
    bench.settle()
    for seq in range(1, 100):
        bench.viewer(at=seq)
    reads = 0
    for _ in range(20):
        bench.world.turn()
        reads += bench.world.jobs.run(100)
        for viewer in bench.viewers:
            viewer.read()
    assert reads <= 8  # the logarithm of 99, and the snapshot that a heartbeat may ask for
    assert {bench.seq(viewer) for viewer in bench.viewers} == {120}
    assert bench.world.hub.parked == 0


def test_however_many_are_ahead_the_bus_is_asked_once(bench: Bench) -> None:
    bench.publish(10)
    bench.viewer()
    bench.settle()
    bench.bus.hold = True
    bench.publish(3)
    ahead = [bench.viewer(at=seq) for seq in (11, 12, 13) for _ in range(20)]
    beyond = [bench.viewer(at=1_000 + number) for number in range(200)]
    assert bench.world.jobs.run(1_000) == 1
    bench.settle()
    assert {bench.seq(viewer) for viewer in beyond} == {10}  # sent to the snapshot
    assert bench.world.hub.parked == len(ahead)  # what leads to them is on its way
    bench.bus.release(backwards=False)
    bench.settle()
    assert {bench.seq(viewer) for viewer in bench.viewers} == {13}
    assert bench.world.hub.parked == 0


def test_who_leaves_while_parked_leaves_nothing(bench: Bench) -> None:
    bench.publish(10)
    bench.viewer()
    bench.settle()
    bench.bus.hold = True
    bench.publish(1)
    for seq in (2, 11, 5_000):
        leaving = bench.viewer(at=seq)
        bench.world.turn()
        assert bench.world.hub.parked == 1
        leaving.disconnect()
        bench.settle()
        assert bench.world.hub.parked == 0
    bench.bus.release(backwards=False)


def test_a_bus_that_does_not_answer_refuses_the_parked_once_their_time_is_up() -> None:
    bench = Bench(bus_wait_s=1.0)
    bench.publish(10)
    bench.viewer()
    bench.settle()
    for seq in (1, 2, 5_000):
        bench.viewer(at=seq)
    assert bench.world.hub.parked == 3
    bench.world.beat(3)
    assert bench.world.hub.parked == 0
    assert bench.world.hub.metrics.refused == {"bus_unavailable": 3}
    bench.settle()
    bench.end()


def test_a_hole_is_mended_from_the_bus(bench: Bench) -> None:
    bench.publish()
    viewer = bench.viewer()
    bench.settle()
    bench.bus.lose = 2
    bench.publish(3)
    bench.settle()
    assert bench.seq(viewer) == 4


def test_a_hole_the_bus_cannot_fill_is_a_gap_for_all(bench: Bench) -> None:
    bench.publish()
    viewers = [bench.viewer(), bench.viewer(websocket=True)]
    bench.settle()
    bench.bus.lose = 2
    bench.publish(2)
    bench.bus.trim(0)
    bench.publish(1)
    bench.bus.trim(0)
    bench.settle()
    assert [bench.seq(viewer) for viewer in viewers] == [4, 4]
    assert bench.world.hub.metrics.gaps == 1
    for viewer in viewers:
        assert viewer.replica is not None
        assert viewer.replica.hash() == bench.origin.hash()


def test_a_last_delta_that_is_lost_is_found_by_the_heartbeat(bench: Bench) -> None:
    bench.publish()
    viewer = bench.viewer()
    bench.settle()
    bench.bus.lose = 1
    bench.publish()
    bench.settle()
    assert bench.seq(viewer) == 1
    for _ in range(3):
        bench.world.beat(1)
        bench.settle()
    assert bench.seq(viewer) == 2


def test_a_snapshot_of_version_1_does_not_send_its_viewers_to_it_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a match without an event since an upgrade, the bus has what the release before wrote."""
    bench.publish(2)
    last = bench.origin.assign(goal_of_shootout(3), EPOCH + 3)
    assert last is not None
    of_today = json.loads(bench.origin.snapshot())
    match = bench.origin.match
    counted = replace(match, goals=Score(match.goals.home + 1, match.goals.away))  # as that release did
    first_hash = hashlib.sha256(state_text(counted).encode()).hexdigest()[:16]
    snapshot = compact({**of_today, "v": 1, "hash": first_hash}).encode()
    bench.bus.publish(MATCH, Published(last.id, encode_delta(last)), snapshot)
    viewer = bench.viewer()
    bench.settle()
    fetched = 0
    fetch = Viewer._fetch_snapshot

    def count(viewer: Viewer) -> None:
        nonlocal fetched
        fetched += 1
        fetch(viewer)

    monkeypatch.setattr(Viewer, "_fetch_snapshot", count)
    before = bench.world.hub.metrics.heartbeats
    for _ in range(3):
        bench.world.beat(1)
        bench.settle()
    assert bench.world.hub.metrics.heartbeats >= before + 2
    assert fetched == 0
    assert viewer.replica is not None
    assert viewer.replica.hash() == bench.origin.hash() == of_today["hash"]


def test_a_rebuilt_log_has_a_new_epoch_and_viewers_go_on_in_it(bench: Bench) -> None:
    bench.publish(5)
    viewer = bench.viewer()
    bench.settle()
    bench.origin = Replica.begin(MATCH, EPOCH + 1_000)
    viewer.stands = DeltaId(EPOCH + 1_000, 0)  # a first delta of a newer epoch follows anything
    bench.publish(2)
    bench.settle()
    assert viewer.stands == (EPOCH + 1_000, 2)
    assert viewer.replica is not None
    assert viewer.replica.hash() == bench.origin.hash()


def test_who_takes_a_part_of_a_frame_gets_the_rest_once(ring_entries: int) -> None:
    bench = Bench(ring_entries=ring_entries, send_buffer_bytes=4_096)
    bench.publish()
    viewers = [bench.viewer(websocket=number == 2) for number in range(3)]
    bench.settle()
    for _ in range(3):
        bench.publish(200)  # one frame, of several buffers
        bench.world.turn()
        assert bench.world.hub.metrics.closed == {}
        viewers[0].read()
        bench.publish(2)
        bench.settle()
    assert [bench.seq(viewer) for viewer in viewers] == [607] * 3
    bench.end()


def test_who_leaves_while_the_match_is_opened_leaves_nothing(bench: Bench) -> None:
    bench.publish()
    viewer = bench.viewer()
    viewer.disconnect()
    bench.world.turn()
    bench.settle()
    assert bench.world.hub.viewers == 0
    assert not bench.world.hub.reactor.handlers


def test_an_unknown_match_costs_one_read_however_often_it_is_asked_for(bench: Bench) -> None:
    for _ in range(10):
        bench.viewer()
    assert bench.world.jobs.run(100) == 1
    bench.settle()
    assert bench.bus._channels == {}
    assert bench.world.hub.metrics.refused == {"unknown_match": 10}
    bench.viewer()
    assert bench.world.jobs.run(100) == 0  # remembered


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("mistake", ["parse", "decide"])
def test_a_mistake_over_one_connection_ends_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, mistake: str, pieces: int
) -> None:
    really_decide = bench.world.hub.decide

    def mistaken(head: bytes, line: RequestLine) -> StreamRequest:
        if mistake == "parse" and b"GET /stream/bad " in head:
            raise ZeroDivisionError
        return parse(head, line)

    def decide(request: StreamRequest, address: str) -> Decision:
        if mistake == "decide" and request.match_id == "bad":
            raise ZeroDivisionError
        return really_decide(request, address)

    def answer(client: socket.socket) -> bytes:
        try:
            return client.recv(12)
        except ConnectionResetError:
            return b""

    monkeypatch.setattr(connections, "parse", mistaken)
    monkeypatch.setattr(bench.world.hub, "decide", decide)
    bench.publish()
    viewer = bench.viewer()
    bench.settle()
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        listener.setblocking(False)
        heads = [f"GET /stream/{id_} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for id_ in (MATCH, "bad", MATCH)]
        clients = [stack.enter_context(socket.create_connection(listener.getsockname())) for _ in heads]
        size = len(heads[0]) // pieces + 1
        for start in range(0, pieces * size, size):
            for client, head in zip(clients, heads, strict=True):
                client.settimeout(5)
                client.sendall(head[start : start + size])
            bench.world.accept(listener)
            bench.settle()
        assert [answer(client) for client in clients] == [b"HTTP/1.1 200", b"", b"HTTP/1.1 200"]
        assert [error.splitlines()[-1] for error in bench.world.errors] == ["ZeroDivisionError"]
    bench.world.errors.clear()
    bench.publish()
    bench.settle()
    assert bench.seq(viewer) == 2


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EPERM, errno.ENOTCONN])
def test_a_socket_that_the_kernel_does_not_take_ends_one_connection_and_is_not_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, code: int, known: bool
) -> None:
    """As when epoll's limit of watches is reached; on the fast path of a known request, and on the other."""
    bench.publish()
    bench.viewer()
    bench.settle()
    hub = bench.world.hub
    head = f"GET /stream/{MATCH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        listener.setblocking(False)

        def connect() -> socket.socket:
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            client.settimeout(5)
            client.sendall(head)
            time.sleep(0.01)
            bench.world.accept(listener)
            bench.settle()
            return client

        if known:
            assert connect().recv(12) == b"HTTP/1.1 200"
        before = hub.viewers
        really = hub.reactor.register

        def refuse(fd: int, handler: EventHandler) -> None:
            if isinstance(handler, subscribers.Subscribers):
                raise OSError(code, "not this one")
            really(fd, handler)

        with monkeypatch.context() as patch:
            patch.setattr(hub.reactor, "register", refuse)
            with contextlib.suppress(ConnectionResetError):
                assert connect().recv(12) == b""
        assert hub.viewers == before
        assert sum(hub.metrics.viewers.values()) == before
        assert bench.world.errors == []
        assert connect().recv(12) == b"HTTP/1.1 200"
        assert hub.viewers == before + 1


def test_a_match_nobody_watches_is_let_go() -> None:
    bench = Bench(idle_match_s=0.0, heartbeat_s=0.3)
    bench.publish()
    viewer = bench.viewer()
    bench.settle()
    viewer.disconnect()
    bench.settle()
    bench.world.beat(1)
    bench.settle()
    assert bench.world.hub.metrics.matches == 0
    assert not bench.bus._channels[MATCH].subscribers
    bench.end()


def test_each_viewer_has_one_heartbeat_a_round_and_they_are_spread() -> None:
    bench = Bench(heartbeat_s=3_000.0)
    bench.publish()
    viewers = [bench.viewer() for _ in range(300)]
    bench.settle()
    sent = []
    for _ in range(30):
        before = bench.world.hub.metrics.heartbeats
        bench.world.hub.tick(bench.world.hub._next_tick_s)
        sent.append(bench.world.hub.metrics.heartbeats - before)
    assert sum(sent) == len(viewers)
    assert max(sent) <= 32  # neighbours are told together
    bench.end()


def test_the_channel_answers_from_its_window_or_not_at_all() -> None:
    deltas = [Published(DeltaId(7, seq), b"{}") for seq in range(1, 11)]
    channel = ReplayWindow("m", DeltaId(7, 6), deltas[2:6], limit=4)
    assert [channel.advance(one) for one in deltas[4:8]] == [Step.KNOWN, Step.KNOWN, Step.NEXT, Step.NEXT]
    assert channel.advance(deltas[9]) is Step.HOLE
    for seq in range(12):
        resumed = channel.answer(DeltaId(7, seq))
        if seq == 8:
            assert resumed is not None
            assert (resumed.missed, resumed.gap) == ((), False)
        elif 4 <= seq < 8:
            assert resumed is not None
            assert list(resumed.missed) == deltas[seq:8]
        else:
            assert resumed is None  # behind the window, or ahead: the bus knows
    for after in (None, DeltaId(6, 8), DeltaId(8, 1)):
        resumed = channel.answer(after)
        assert resumed is not None
        assert resumed.gap


def test_the_window_is_viewers_by_rate_and_the_waits_fill_it() -> None:
    assert window_s(6_000, 2_000.0) == 3.0
    assert retry_ms(1_000, 3.0, 0.0) == 1_000
    assert retry_ms(1_000, 3.0, 0.999) == 3_997
    assert retry_ms(1_000, 0.0, 0.5) == 1_500  # a handful spreads over a second too


def test_the_plan_has_everybody_gone_at_its_end_and_half_at_half() -> None:
    plan = DrainPlan(100, 10.0, 4.0)
    assert [plan.due(at) for at in (9.0, 10.0, 12.0, 14.0, 99.0)] == [0, 0, 50, 100, 100]
    assert DrainPlan(100, 10.0, 0.0).due(10.0) == 100


def test_the_rate_follows_what_is_measured_and_ignores_small_batches() -> None:
    rate = AcceptRate(2_000.0)
    rate.observe(3, 1.0)
    assert rate.per_s == 2_000.0
    for _ in range(60):
        rate.observe(200, 0.01)
    assert rate.per_s == pytest.approx(10_000.0, rel=0.01)  # half of what a full second would take
