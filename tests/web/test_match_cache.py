"""The last known state of matches: what it is, and that it stays within its bounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from origin.bus import Published
from origin.bus.memory import MemoryBus
from origin.metrics import Metrics
from origin.web import match_cache
from origin.web.bus_breaker import Breakers, GuardedBus
from origin.web.match_cache import Matches
from shared_state import Replica, WireError, encode_delta
from tests.web.test_board import Season


def matches_of(bus: MemoryBus) -> Matches:
    metrics = Metrics()
    return Matches(GuardedBus(bus, Breakers(open_s=2.0, metrics=metrics)), metrics)


def test_what_is_known_has_a_bound_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = MemoryBus()
    names = [f"m{number}" for number in range(10)]
    for name in names:
        Season(bus).play(name, "LIVE")
    probe = matches_of(bus).latest("m0")
    room = 3 * (len(probe.snapshot) + match_cache.MATCH_BYTES) + 500
    monkeypatch.setattr(match_cache, "RESTORED_MAX_BYTES", room)
    matches = matches_of(bus)
    for name in names:
        for _ in range(2):
            assert matches.latest(name).match.match_id == name
    kept = [name for name in names if matches._restored.get(name) is not None]
    assert len(kept) == len(matches._restored) == 3
    assert names[-1] in kept


def test_a_snapshot_of_the_release_before_counts_no_goal_of_the_shoot_out() -> None:
    """Made by commit 9e78f63, which counted one: a goal of the first half and one of the shoot-out."""
    data = (Path(__file__).parent / "snapshot_of_version_1.json").read_bytes()
    assert json.loads(data)["score"] == {"away": 0, "home": 2}
    bus = MemoryBus()
    replica = Replica.begin("m", json.loads(data)["epoch"])
    deltas = []
    for event in Replica.restore(data).match.events():
        delta = replica.assign(event, replica.position.epoch)
        assert delta is not None
        deltas.append(Published(delta.id, encode_delta(delta)))
    bus.refill("m", deltas, data)
    board = matches_of(bus).latest("m")
    assert (board.match.score.home, board.match.score.away) == (1, 0)
    assert json.loads(board.snapshot)["score"] == {"away": 0, "home": 1}
    assert (json.loads(board.snapshot)["hash"], board.id) == (board.hash, replica.position)
    [row] = bus.row_reader().read().rows.values()
    assert row is not None
    assert (row.summary.home_score, row.summary.away_score, row.hash) == (1, 0, board.hash)
    # A snapshot of that version that is neither by the old rule nor by the new one is still refused.
    with pytest.raises(WireError):
        Replica.restore(data.replace(b'"minute":10', b'"minute":11'))
