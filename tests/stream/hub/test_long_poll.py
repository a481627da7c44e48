"""Long polls by slices: the table of docs/protocol.md; no answer claims a silence that was none."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from origin.errors import BusError
from origin.stream.hub import long_poll
from shared_state import DeltaId
from testkit.worlds.hub import EPOCH, MATCH, Bench

IMMUTABLE = "public, max-age=31536000, immutable"
START_MS = 1_800_000_000_000
SLICE = START_MS // 10_000


class Poll:
    """One request and, once it has come, its answer."""

    def __init__(self, world: PollWorld, path: str, method: str = "GET") -> None:
        ours, self.sock = socket.socketpair()
        for one in (ours, self.sock):
            one.setblocking(False)
        self._bytes = b""
        self.ask(path, method)
        world.bench.world._connections.add(ours, "", None)

    def ask(self, path: str, method: str = "GET") -> None:
        """Ask, again on the same connection."""
        self._bytes = b""
        self.sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def answer(self) -> tuple[int, dict[str, str], Any] | None:
        """Status, headers and body; None while there is none."""
        while True:
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                break
            if not data:
                break
            self._bytes += data
        if b"\r\n\r\n" not in self._bytes:
            return None
        head, _, body = self._bytes.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        if "content-length" in headers and len(body) != int(headers["content-length"]):
            return None
        return int(first.split()[1]), headers, json.loads(body) if body else None


class PollWorld:
    """A hub whose clock is the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **config: Any) -> None:
        self.ms = START_MS
        monkeypatch.setattr(long_poll, "_now_ms", lambda: self.ms)

        self.bench = Bench(broadcast_interval_s=0.0, **config)
        self.polls: list[Poll] = []

    def poll(self, seq: int, slice_: int = SLICE, epoch: int = EPOCH, method: str = "GET") -> Poll:
        poll = Poll(self, f"/api/match/{MATCH}/deltas/{epoch}-{seq}/{slice_}", method)
        self.polls.append(poll)
        self.settle()
        return poll

    def settle(self) -> None:
        for _ in range(6):
            self.bench.world.turn()
            self.bench.world.jobs.run(100)

    def wait(self, ms: int) -> None:
        """Time passes, for the server's clock and for its timers."""
        self.ms += ms
        world = self.bench.world
        for _ in range(2):
            world._ahead_s += ms / 2_000 + 0.1
            world.hub.tick(time.monotonic() + world._ahead_s)
            self.settle()

    def end(self) -> None:
        for poll in self.polls:
            poll.sock.close()
        self.bench.end()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[PollWorld]:
    world = PollWorld(monkeypatch)
    yield world
    world.end()


def test_all_later_deltas_come_at_once_in_one_immutable_answer(world: PollWorld) -> None:
    world.bench.publish(3)
    answer = world.poll(1).answer()
    assert answer is not None
    status, headers, body = answer
    assert (status, headers["cache-control"], headers["content-type"]) == (
        200,
        IMMUTABLE,
        "application/json",
    )
    assert "vary" not in headers
    assert [id_ for id_, _ in body["deltas"]] == [f"{EPOCH}-2", f"{EPOCH}-3"]
    assert body["deltas"][0][1]["t"] == "GOAL"
    assert body["next"] == {"id": f"{EPOCH}-3", "slice": SLICE}
    assert (body["match_id"], body["after"], body["as_of"]) == (MATCH, f"{EPOCH}-1", START_MS)


def test_a_poll_at_the_head_is_held_until_the_delta_comes(world: PollWorld) -> None:
    world.bench.publish(1)
    waiting = [world.poll(1) for _ in range(3)]
    assert [poll.answer() for poll in waiting] == [None] * 3
    hub = world.bench.world.hub
    assert (hub.parked, hub.metrics.polls_held) == (3, 3)
    world.bench.publish(1)
    world.settle()
    answers = [poll.answer() for poll in waiting]
    assert answers[0] is not None
    assert answers[0] == answers[1] == answers[2]
    assert [id_ for id_, _ in answers[0][2]["deltas"]] == [f"{EPOCH}-2"]
    assert (hub.parked, hub.metrics.polls_held) == (0, 0)


def test_at_the_end_of_the_slice_silence_is_immutable_and_the_connection_is_kept(world: PollWorld) -> None:
    world.bench.publish(1)
    poll = world.poll(1)
    world.wait(9_000)
    assert poll.answer() is None
    world.wait(2_500)
    answer = poll.answer()
    assert answer is not None
    assert (answer[0], answer[1]["cache-control"]) == (200, IMMUTABLE)
    assert answer[2] == {
        "match_id": MATCH,
        "after": f"{EPOCH}-1",
        "deltas": [],
        "next": {"id": f"{EPOCH}-1", "slice": SLICE + 1},
        "as_of": (SLICE + 1) * 10_000,
    }
    poll.ask(f"/api/match/{MATCH}/deltas/{EPOCH}-0/{SLICE + 1}")
    world.settle()
    again = poll.answer()
    assert again is not None
    assert [id_ for id_, _ in again[2]["deltas"]] == [f"{EPOCH}-1"]


def test_a_past_slice_is_answered_at_once_up_to_its_own_end(world: PollWorld) -> None:
    world.bench.publish(1)
    answer = world.poll(1, SLICE - 100).answer()
    assert answer is not None
    assert answer[2]["deltas"] == []
    assert answer[2]["as_of"] == (SLICE - 99) * 10_000
    assert answer[2]["next"] == {"id": f"{EPOCH}-1", "slice": SLICE}


def test_a_bus_that_does_not_answer_is_never_silence(
    world: PollWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.bench.publish(1)
    held = world.poll(1)

    def fails(match_id: str) -> DeltaId:
        raise BusError(f"no route to {match_id}")

    monkeypatch.setattr(world.bench.bus, "head", fails)
    world.wait(11_500)
    for poll in (held, world.poll(1, SLICE - 5)):
        answer = poll.answer()
        if answer is None:
            world.wait(1_000)
            answer = poll.answer()
        assert answer is not None
        assert (answer[0], answer[1]["cache-control"]) == (503, "no-store")
        assert int(answer[1]["retry-after"]) >= 1


def test_a_delta_that_was_lost_on_its_way_is_no_silence(world: PollWorld) -> None:
    world.bench.publish(1)
    poll = world.poll(1)
    world.bench.bus.lose = 1
    world.bench.publish(1)
    world.wait(11_500)
    for _ in range(3):
        world.wait(600)
    answer = poll.answer()
    assert answer is not None
    assert [id_ for id_, _ in answer[2]["deltas"]] == [f"{EPOCH}-2"]


def test_a_clock_that_is_put_back_claims_no_silence(world: PollWorld) -> None:
    world.bench.publish(1)
    poll = world.poll(1)
    world.ms -= 60_000
    world.wait(11_500)
    assert poll.answer() is None  # by the server's clock the slice is not over


@pytest.mark.parametrize(
    ("tail", "status", "code"),
    [
        (f"{EPOCH}-1/{SLICE + 2}", 404, "future_slice"),
        (f"{EPOCH}-99/{SLICE}", 404, "unknown_id"),
        (f"{EPOCH + 1}-1/{SLICE}", 404, "unknown_id"),
        (f"{EPOCH}-1/soon", 400, "bad_slice"),
        (f"{EPOCH}-1/-1", 400, "bad_slice"),
        (f"{EPOCH}-1/0{SLICE}", 400, "bad_slice"),
        (f"{EPOCH}-1/12345678901234567890", 400, "bad_slice"),
        (f"{EPOCH}-1/", 400, "bad_slice"),
        (f"{EPOCH}-01/{SLICE}", 400, "bad_id"),
        (f"x/{SLICE}", 400, "bad_id"),
        (f"{EPOCH}-1/{SLICE}?x=1", 400, "unexpected_query"),
    ],
)
def test_what_cannot_be_is_refused_and_cached_for_a_second(
    world: PollWorld, tail: str, status: int, code: str
) -> None:
    world.bench.publish(1)
    poll = Poll(world, f"/api/match/{MATCH}/deltas/{tail}")
    world.polls.append(poll)
    world.settle()
    answer = poll.answer()
    assert answer is not None
    assert (answer[0], answer[2]["error"]["code"]) == (status, code)
    assert answer[1]["cache-control"] == "public, max-age=0, s-maxage=1"


def test_an_old_epoch_is_gone(world: PollWorld) -> None:
    world.bench.publish(2)
    answer = world.poll(1, epoch=EPOCH - 1).answer()
    assert answer is not None
    assert (answer[0], answer[1]["cache-control"]) == (410, "public, max-age=0, s-maxage=5")
    assert answer[2]["error"]["snapshot"] == f"/api/match/{MATCH}/state"
    assert answer[2]["error"]["next"] == {"id": f"{EPOCH}-2", "slice": SLICE}


def test_what_was_trimmed_is_gone_and_who_is_held_then_hears_of_it(world: PollWorld) -> None:
    world.bench.publish(10)
    world.poll(10)
    held = world.poll(10)
    world.bench.bus.trim(2)
    answer = world.poll(1).answer()
    assert answer is not None
    assert answer[0] == 410
    world.bench.bus.lose = 3
    world.bench.publish(3)
    world.bench.bus.trim(0)
    world.bench.bus.say_gap()
    world.settle()
    world.bench.publish(1)
    world.settle()
    gone = held.answer()
    assert gone is not None
    assert gone[0] in (200, 410)
    if gone[0] == 200:
        assert gone[2]["deltas"][0][0] == f"{EPOCH}-11"


def test_who_leaves_leaves_nothing(world: PollWorld) -> None:
    world.bench.publish(1)
    connections = world.bench.world._connections
    world.poll(1)
    connections.close_all()
    hub = world.bench.world.hub
    assert (hub.parked, hub.metrics.polls_held) == (0, 0)


def test_a_worker_that_ends_sends_held_polls_away(world: PollWorld) -> None:
    world.bench.publish(1)
    poll = world.poll(1)
    world.bench.world.hub.begin_drain(1.0)
    for each in (poll, world.poll(1)):
        answer = each.answer()
        assert answer is not None
        assert (answer[0], answer[2]["error"]["code"]) == (503, "draining")


def test_a_long_run_comes_in_several_answers(world: PollWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "ANSWER_MAX_BYTES", 200)
    world.bench.publish(12)
    after, got = 0, []
    while after < 12:
        answer = world.poll(after).answer()
        assert answer is not None
        got += [id_ for id_, _ in answer[2]["deltas"]]
        after = DeltaId.parse(answer[2]["next"]["id"]).seq
    assert got == [f"{EPOCH}-{seq}" for seq in range(1, 13)]


def test_a_head_request_waits_for_nothing(world: PollWorld) -> None:
    world.bench.publish(1)
    poll = world.poll(1, method="HEAD")
    answer = poll.answer()
    assert answer is not None
    assert (answer[0], answer[1]["cache-control"], answer[2]) == (200, "no-store", None)


STEP = st.sampled_from(["publish", "lose", "hold", "release", "wait", "turn", "poll", "late"])


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEP, min_size=5, max_size=40), start=st.integers(0, 2))
def test_walking_next_gives_every_delta_once_and_a_cached_answer_keeps_that(
    steps: list[str], start: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        world = PollWorld(patch)
        # What a cache has, by address: the first answer and no other, for ever.
        cached: dict[tuple[int, int], tuple[int, dict[str, str], Any]] = {}
        at = {"eager": (start, SLICE), "late": (0, SLICE - 3)}
        got: dict[str, list[int]] = {"eager": [], "late": []}
        open_polls: dict[str, Poll] = {}

        def walk(who: str) -> None:
            where = at[who]
            if where not in cached:
                if who not in open_polls:
                    open_polls[who] = world.poll(*where)
                answer = open_polls[who].answer()
                if answer is None:
                    return
                del open_polls[who]
                if answer[0] != 200:
                    assert answer[0] in (404, 503), answer
                    return
                cached[where] = answer
            body = cached[where][2]
            seqs = [DeltaId.parse(id_).seq for id_, _ in body["deltas"]]
            # Contiguous, and right behind what it asked for.
            assert seqs == list(range(where[0] + 1, where[0] + 1 + len(seqs)))
            if not seqs:
                assert body["as_of"] <= world.ms
                # Published by then, and still unsaid: that would be a false silence.
                assert not [s for s, ms in published.items() if s > where[0] and ms <= body["as_of"]]
            got[who] += seqs
            at[who] = (DeltaId.parse(body["next"]["id"]).seq, body["next"]["slice"])
            assert at[who] > where

        published: dict[int, int] = {}

        def publish() -> None:
            published[world.bench.publish().seq] = world.ms

        try:
            for _ in range(2):
                publish()
            for step in steps:
                match step:
                    case "publish":
                        publish()
                    case "lose":
                        world.bench.bus.lose = 1
                    case "hold":
                        world.bench.bus.hold = True
                    case "release":
                        world.bench.bus.release(backwards=False)
                    case "wait":
                        world.wait(4_000)
                    case "turn":
                        world.settle()
                    case "poll":
                        walk("eager")
                    case "late":
                        walk("late")
            world.bench.bus.lose = 0
            world.bench.bus.release(backwards=False)
            for _ in range(40):
                world.wait(1_000)
                walk("eager")
                walk("late")
            head = world.bench.origin.position.seq
            assert got["eager"] == list(range(start + 1, head + 1))
            assert got["late"] == list(range(1, head + 1))
        finally:
            world.end()
