"""The last known state of matches: what it is, and that it stays within its bounds."""

from __future__ import annotations

import pytest

from origin.bus.memory import MemoryBus
from origin.metrics import Metrics
from origin.web import match_cache
from origin.web.bus_breaker import Breakers, GuardedBus
from origin.web.match_cache import Matches
from tests.web.test_board import Season


def matches_of(bus: MemoryBus) -> Matches:
    metrics = Metrics()
    return Matches(GuardedBus(bus, Breakers(open_s=2.0, metrics=metrics)), metrics)


def test_what_is_known_has_a_bound_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = MemoryBus()
    names = [f"m{number}" for number in range(10)]
    for name in names:
        Season(bus).play(name, "LIVE")
    matches = matches_of(bus)
    size = len(matches.latest("m0").snapshot)
    monkeypatch.setattr(match_cache, "RESTORED_MAX_BYTES", 3 * size + size // 2)
    for name in names:
        for _ in range(2):
            assert matches.latest(name).match.match_id == name
    assert list(matches._restored) == names[-3:]
    assert matches._restored_bytes == sum(len(board.snapshot) for board in matches._restored.values())
