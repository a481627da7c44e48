"""What sets of matches and bursts cost the bus and the viewers."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import pytest

from origin.bus import Published
from origin.errors import BusError
from origin.stream.hub import multi_match
from shared_state import DeltaId, Event, Replica, encode_delta
from testkit.worlds.hub import EPOCH, MATCH, Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(broadcast_interval_s=1.0)
    yield bench
    bench.end()


def ask(bench: Bench, match_ids: Sequence[str]) -> socket.socket:
    """A request for a set."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    query = "&".join(f"m={name}" for name in match_ids)
    theirs.sendall(f"GET /stream?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    bench.world._connections.add(ours, "", None)
    return theirs


def test_a_crowd_of_made_up_sets_costs_the_bus_one_question_at_a_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[int] = []
    heads = bench.bus.heads

    def counted(match_ids: Sequence[str]) -> dict[str, DeltaId | BusError | None]:
        questions.append(len(match_ids))
        return heads(match_ids)

    monkeypatch.setattr(bench.bus, "heads", counted)
    clients = [ask(bench, [f"made-up-{number % 3}-{one}" for one in range(200)]) for number in range(30)]
    for _ in range(4):
        bench.world.turn()
        assert bench.world.jobs.run(100) <= 1
    bench.world.turn()
    for client in clients:
        assert client.recv(1_000).startswith(b"HTTP/1.1 404")
        client.close()
    assert sum(questions) == 600
    assert len(questions) <= 3
    assert bench.world.hub.parked == 0


def test_a_burst_goes_out_in_two_frames(bench: Bench) -> None:
    bench.publish()
    bench.settle()
    client = ask(bench, [MATCH])
    bench.settle()
    client.recv(65_536)
    for _ in range(5):
        bench.publish()
        bench.world.turn()
    first = client.recv(65_536)
    assert first.count(b"event: score\n") == 1
    bench.world.beat(1)
    rest = b""
    while b"event: heartbeat" not in rest or b"-6" not in rest:
        rest += client.recv(65_536)
    ids = [line for line in rest.split(b"\n") if line.startswith(b"id: ")]
    assert ids == [f"id: {MATCH}@{EPOCH}-{seq}".encode() for seq in range(3, 7)]
    assert rest.count(b"}\n\n:\n\n") == 1  # one comment: they came as one frame
    client.close()


def publish(bench: Bench, match_id: str, count: int) -> None:
    """The first goals of another match."""
    replica = Replica.begin(match_id, EPOCH)
    for number in range(1, count + 1):
        fields = {"op": "ADD", "type": "GOAL", "period": "H1", "minute": 1, "team": "home"}
        event = Event(match_id=match_id, event_id=f"g{number}", rev=1, **fields)  # type: ignore[arg-type]
        delta = replica.assign(event, EPOCH + number)
        assert delta is not None
        bench.bus.publish(match_id, Published(delta.id, encode_delta(delta)), replica.snapshot())


def test_a_match_that_the_bus_did_not_answer_for_is_asked_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.publish()
    publish(bench, "other", 2)
    heads, asked = bench.bus.heads, []

    def one_part_down(match_ids: Sequence[str]) -> dict[str, DeltaId | BusError | None]:
        asked.append(tuple(match_ids))
        found = heads(match_ids)
        if "other" in found and len(asked) < 3:
            found["other"] = BusError("a part of the bus does not answer")
        return found

    monkeypatch.setattr(bench.bus, "heads", one_part_down)
    client = ask(bench, [MATCH, f"other@{EPOCH}-1"])
    bench.settle()
    first = client.recv(65_536)
    # The other match does not keep this one, nor its heartbeat.
    assert f"id: {MATCH}@{EPOCH}-1".encode() in first
    assert b"event: heartbeat" in first
    assert b"other" not in first
    rest = b""
    client.settimeout(0.0)
    for _ in range(6):
        bench.world.beat(1)
        bench.settle()
        try:
            rest += client.recv(65_536)
        except BlockingIOError:
            continue
    # It resumes where it was to resume, once.
    assert rest.count(f"event: score\nid: other@{EPOCH}-2\n".encode()) == 1
    assert b"event: gap" not in rest
    assert b'"other":["' in rest
    assert len([one for one in asked if "other" in one]) >= 2
    client.close()
    bench.settle()
    assert bench.world.hub._several.memberships == 0


def test_the_answers_to_one_arrival_have_a_bound_beyond_which_a_match_begins_with_a_gap(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multi_match, "_ANSWERS_MAX_BYTES", 900)
    names = ["a", "b", "c", "d"]
    for name in names:
        publish(bench, name, 4)
    # All are open here, so the answers are one piece.
    for name in names:
        ask(bench, [name]).close()
    bench.settle()
    client = ask(bench, [f"{name}@{EPOCH}-1" for name in names])
    bench.settle()
    data = client.recv(1 << 20)
    scores = {name for name in names if f"event: score\nid: {name}@".encode() in data}
    gaps = {name for name in names if f"event: gap\nid: {name}@{EPOCH}-4\n".encode() in data}
    assert scores
    assert gaps
    assert scores | gaps == set(names)
    assert not scores & gaps
    answers = data[data.index(b"event: ") : data.index(b"event: heartbeat")]
    gap_bytes = max(len(one) for one in answers.split(b"\n\n") if one.startswith(b"event: gap"))
    assert len(answers) <= 900 + len(gaps) * (gap_bytes + 8)
    client.close()
