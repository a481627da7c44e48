"""The schedule of reconnects: full jitter on every attempt, a cap, and the server's word."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_state import delay_ms
from shared_state.reconnect import BASE_MS, CAP_MS, HINT_CAP_MS

ATTEMPTS = st.integers(0, 10**6)
UNITS = st.floats(0, 1, exclude_max=True)
HINTS = st.none() | st.integers(-(10**12), 10**12)


@pytest.mark.parametrize(
    ("attempt", "random_unit", "hint_ms", "delay"),
    [
        (0, 0.0, None, 0),
        (0, 0.5, None, 500),
        (0, 0.9999, None, 999),
        (1, 0.5, None, 1_000),
        (2, 0.5, None, 2_000),
        (3, 0.5, None, 4_000),
        (4, 0.5, None, 8_000),
        (5, 0.5, None, 15_000),  # the cap: 2**5 would be 32 seconds
        (5, 0.99999, None, 29_999),
        (50, 0.5, None, 15_000),
        (10**9, 0.5, None, 15_000),  # and no power of it is ever computed
        (0, 0.0, 7_000, 7_000),
        (0, 0.5, 7_000, 7_500),
        (5, 0.5, 7_000, 22_000),
        (0, 0.0, 0, 0),
        (0, 0.5, -5, 500),
        (0, 0.5, 10**12, HINT_CAP_MS + 500),
    ],
)
def test_schedule(attempt: int, random_unit: float, hint_ms: int | None, delay: int) -> None:
    assert delay_ms(attempt, random_unit, hint_ms) == delay


@given(ATTEMPTS, UNITS, HINTS)
def test_a_delay_is_a_hint_and_a_share_of_the_window(attempt: int, unit: float, hint: int | None) -> None:
    delay = delay_ms(attempt, unit, hint)
    floor = min(max(hint or 0, 0), HINT_CAP_MS)
    assert type(delay) is int
    assert floor <= delay < floor + CAP_MS


@given(ATTEMPTS, UNITS)
def test_no_viewer_comes_sooner_than_the_server_asked(attempt: int, unit: float) -> None:
    assert delay_ms(attempt, unit, 10_000) == 10_000 + delay_ms(attempt, unit)


@given(st.integers(0, 40), UNITS)
def test_the_window_never_shrinks(attempt: int, unit: float) -> None:
    assert delay_ms(attempt, unit) <= delay_ms(attempt + 1, unit)


@pytest.mark.parametrize("attempt", range(8))
def test_every_attempt_is_drawn_over_the_whole_window(attempt: int) -> None:
    window = min(CAP_MS, BASE_MS * 2**attempt)
    delays = [delay_ms(attempt, share / 1_000) for share in range(1_000)]
    assert min(delays) == 0
    assert max(delays) >= window * 0.99
    assert sum(delays) / len(delays) == pytest.approx(window / 2, rel=0.01)


@pytest.mark.parametrize("attempt", [-1, -(10**9)])
def test_negative_attempt_is_refused(attempt: int) -> None:
    with pytest.raises(ValueError, match="attempt must be 0 or more"):
        delay_ms(attempt, 0.5)


@pytest.mark.parametrize("random_unit", [-0.1, 1.0, 2.0, math.nan, math.inf])
def test_a_number_that_is_no_share_is_refused(random_unit: float) -> None:
    with pytest.raises(ValueError, match=r"random_unit must be in \[0, 1\)"):
        delay_ms(0, random_unit)
