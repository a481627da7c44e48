"""How late what a server knows is, whatever the clocks say: numbers only."""

from __future__ import annotations

import pytest

from origin.canary.lateness import LATE_AFTER_S, Lateness


def watch(*, clock_ahead_s: float = 0.0, took_s: float = 0.1, beats: int = 30) -> Lateness:
    lateness = Lateness(0.0)
    for second in range(beats):
        lateness.heard(second + took_s, round((1_764_000_000 + clock_ahead_s + second) * 1_000))
    return lateness


@pytest.mark.parametrize("clock_ahead_s", [0.0, 86_400.0, -3_600.0])
@pytest.mark.parametrize("took_s", [0.01, 5.0, 600.0])
def test_a_steady_way_is_not_late(clock_ahead_s: float, took_s: float) -> None:
    """Not by another clock of the log, and not by an embargo."""
    lateness = watch(clock_ahead_s=clock_ahead_s, took_s=took_s)
    assert lateness.age_s(29 + took_s) == pytest.approx(0.0, abs=0.01)
    assert lateness.late_ms(30 + took_s) == 0


def test_while_nothing_comes_the_age_goes_on() -> None:
    lateness = watch()
    assert lateness.late_ms(29.1 + LATE_AFTER_S - 0.1) == 0
    assert lateness.late_ms(29.1 + 40.0) == pytest.approx(40_000, abs=10)


def test_beats_that_come_late_are_late_all_the_same() -> None:
    lateness = watch()
    for second in range(30, 60):
        lateness.heard(second + 25.0, (1_764_000_000 + second) * 1_000)
    assert lateness.late_ms(84.0) == pytest.approx(24_900, abs=10)


def test_it_is_over_with_the_first_beat_that_comes_in_time() -> None:
    lateness = watch()
    assert lateness.late_ms(100.0)
    lateness.heard(100.1, (1_764_000_000 + 100) * 1_000)
    assert lateness.late_ms(100.2) == 0


def test_a_server_that_never_heard_one_is_late_since_it_began() -> None:
    lateness = Lateness(500.0)
    assert lateness.late_ms(505.0) == 0
    assert lateness.late_ms(520.0) == 20_000


def test_a_clock_that_was_set_is_forgotten() -> None:
    lateness = watch()
    # The log's clock was set back by a minute: every beat seems to have taken a minute more.
    for second in range(30, 1_300):
        lateness.heard(second + 0.1, (1_764_000_000 + second - 60) * 1_000)
    assert lateness.late_ms(1_299.2) == 0
