"""What viewers are told beside the scores, and the viewer of the canary within the worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from origin.bus import Published
from origin.canary.match import Beat, CanaryPosition, beat, is_canary, match_id_of
from origin.errors import RequestError
from origin.ladder.advice import Advice
from origin.ladder.steps import Step
from origin.stream.http.stream_request import parse
from origin.stream.hub.canary import CanaryViewer
from shared_state import DeltaId, Replica, encode_delta
from testkit.worlds.hub import EPOCH, MATCH, Bench, Viewer

HOUR = 490_000
CANARY = match_id_of(HOUR)


class Heard(Viewer):
    """A viewer that keeps its heartbeats."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heartbeats: list[dict[str, Any]] = []

    def _handle(self, event: dict[str, Any]) -> None:
        if event["event"] == "heartbeat":
            self.heartbeats.append(event["data"])
        super()._handle(event)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(heartbeat_s=1.0, unknown_match_s=0.0)
    bench.publish(2)
    yield bench
    bench.end()


def viewer(bench: Bench, **how: bool) -> Heard:
    one = Heard(bench.bus, **how)
    bench.viewers.append(one)
    bench.world.connect(one)
    bench.settle()
    return one


@pytest.mark.parametrize("how", [{}, {"websocket": True}, {"several": True}])
def test_heartbeats_carry_the_step_and_how_late_the_server_is(bench: Bench, how: dict[str, bool]) -> None:
    one = viewer(bench, **how)
    bench.world.beat(1)
    bench.settle()
    assert one.heartbeats
    assert all("step" not in said and "late_ms" not in said for said in one.heartbeats)
    one.heartbeats.clear()
    bench.world.hub.advice = Advice(Step.POLL, 40_000)
    bench.world.beat(1)
    bench.settle()
    assert [(said["step"], said["late_ms"]) for said in one.heartbeats] == [(3, 40_000)]
    bench.world.hub.advice = Advice()
    bench.world.beat(1)
    bench.settle()
    assert "step" not in one.heartbeats[-1]


@pytest.mark.parametrize("how", [{}, {"several": True}])
def test_a_new_viewer_is_told_at_once(bench: Bench, how: dict[str, bool]) -> None:
    viewer(bench)  # the match is open
    bench.world.hub.advice = Advice(Step.LONG_POLL)
    one = viewer(bench, **how)
    if how:  # its other match has to be looked for first
        bench.world.beat(1)
        bench.settle()
    assert one.heartbeats[0]["step"] == 2


def test_one_heartbeat_is_made_for_all_viewers_of_a_slice(bench: Bench) -> None:
    for _ in range(20):
        viewer(bench)
    bench.world.hub.advice = Advice(Step.POLL)
    stream = bench.world.hub.stream_of(MATCH)
    assert stream is not None
    sse = next(iter(stream.subscribers.values()))
    made = 0
    make = sse.framing.heartbeat

    def counted(*args: Any) -> bytes:
        nonlocal made
        made += 1
        return make(*args)

    setattr(sse.framing, "heartbeat", counted)  # noqa: B010 - a method is replaced on purpose
    before = bench.world.hub.metrics.heartbeats
    bench.world.beat(1)
    assert bench.world.hub.metrics.heartbeats - before == 20
    assert made <= 30  # one for each slice of a beat, of which there are thirty


def test_from_the_step_retry_on_viewers_come_back_over_half_a_minute(bench: Bench) -> None:
    hub = bench.world.hub
    assert max(hub.retry_ms() for _ in range(200)) <= 2_000
    hub.advice = Advice(Step.RETRY)
    drawn = [hub.retry_ms() for _ in range(400)]
    assert min(drawn) < 10_000
    assert 20_000 < max(drawn) <= 31_000


# --- the canary


class Region:
    """The canary's match on the bus, and the worker's viewer of it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.hour = HOUR
        self.replicas: dict[str, Replica] = {}
        self.beats: list[tuple[str, Beat]] = []
        self.viewer = CanaryViewer(
            bench.world.hub,
            lambda match_id, one: self.beats.append((match_id, one)),
            now_ms=lambda: self.hour * 3_600_000,
        )

    def beat(self) -> DeltaId:
        name = match_id_of(self.hour)
        replica = self.replicas.setdefault(name, Replica.begin(name, EPOCH))
        number = replica.position.seq + 1
        delta = replica.assign(beat(name, number), EPOCH + number * 1_000)
        assert delta is not None
        self.bench.bus.publish(name, Published(delta.id, encode_delta(delta)), replica.snapshot())
        return delta.id

    def settle(self) -> None:
        for _ in range(3):
            self.viewer.look()
            self.bench.settle()


@pytest.fixture
def region(bench: Bench) -> Iterator[Region]:
    region = Region(bench)
    region.settle()
    yield region
    region.viewer.leave()


def test_it_waits_for_the_first_beat(region: Region) -> None:
    assert region.viewer.position is None
    region.settle()
    region.beat()
    region.settle()
    assert region.viewer.position == CanaryPosition(HOUR, DeltaId(EPOCH, 1))


def test_it_hears_each_beat_as_a_viewer_does(region: Region) -> None:
    region.beat()
    region.settle()
    for _ in range(3):
        region.beat()
        region.settle()
    assert [one.rev for _, one in region.beats] == [2, 3, 4]
    assert [one.accepted_ms for _, one in region.beats] == [EPOCH + second * 1_000 for second in (2, 3, 4)]
    assert {name for name, _ in region.beats} == {CANARY}
    assert region.bench.world.hub.viewers == 1


def test_it_follows_the_hour(region: Region) -> None:
    region.beat()
    region.settle()
    region.hour += 1
    region.beat()
    region.settle()
    region.beat()
    region.settle()
    assert region.viewer.position == CanaryPosition(HOUR + 1, DeltaId(EPOCH, 2))
    assert region.bench.world.hub.viewers == 1


def test_a_full_worker_hears_it_all_the_same(bench: Bench) -> None:
    bench.world.hub.connections_max = 0
    region = Region(bench)
    region.beat()
    region.settle()
    assert region.viewer.position is not None
    region.viewer.leave()


def test_it_comes_back_where_its_connection_was_lost(region: Region) -> None:
    region.beat()
    region.settle()
    stream = region.bench.world.hub.stream_of(CANARY)
    assert stream is not None
    for audience in stream.subscribers.values():
        for fd in list(audience):
            region.bench.world.hub._drop(fd, "slow")
    region.settle()
    region.beat()
    region.settle()
    assert region.viewer.position == CanaryPosition(HOUR, DeltaId(EPOCH, 2))


def test_it_leaves_with_the_worker(region: Region) -> None:
    region.beat()
    region.settle()
    hub = region.bench.world.hub
    hub.begin_drain(0.0)
    region.settle()
    assert hub.viewers == 0


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"/stream/{CANARY}", 404),
        (f"/stream/score?matchId={CANARY}", 404),
        (f"/ws/match/{CANARY}", 404),
        (f"/stream?m=m1&m={CANARY}", 400),
        (f"/api/match/{CANARY}/deltas/1-1/0", 404),
    ],
)
def test_nobody_else_watches_it(target: str, status: int) -> None:
    assert is_canary(CANARY)
    with pytest.raises(RequestError) as refused:
        parse(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert refused.value.status == status


def test_a_name_that_only_resembles_it_is_a_match() -> None:
    assert parse(b"GET /stream/touchline-canary HTTP/1.1\r\nHost: x\r\n\r\n").match_id == "touchline-canary"


def test_a_heartbeat_with_advice_is_json() -> None:
    text = '{"a":1' + Advice(Step.STALE, 12_345).members + "}"
    assert json.loads(text) == {"a": 1, "step": 4, "late_ms": 12_345}
