"""What sets of matches and bursts cost the bus and the viewers."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import pytest

from origin.errors import BusError
from shared_state import DeltaId
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
