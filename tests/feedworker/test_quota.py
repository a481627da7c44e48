"""Requests of a day are spent where matches are, and never more than there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from origin.feedworker.quota import WINDOW_MAX_MS, Quota, allowance_of

DAY = 86_400_000
NOON = 20_000 * DAY + DAY // 2


def test_without_a_limit_the_shortest_interval_counts() -> None:
    assert Quota(0).wait_ms(NOON, 15_000, NOON + 7_200_000, active=False) == 15_000


def test_what_is_left_is_spread_over_the_time_that_is_played() -> None:
    quota = Quota(100)
    assert quota.wait_ms(NOON, 15_000, NOON + 9_500_000, active=False) == 100_000
    assert quota.wait_ms(NOON, 15_000, NOON + 9_500_000, active=True) == 50_000


def test_the_vendor_s_header_counts_where_it_is_less() -> None:
    quota = Quota(100)
    quota.spend(NOON, remaining=3)
    assert quota.left(NOON) == 3
    assert quota.left(NOON + DAY) == 100


@given(st.integers(1, 300), st.booleans(), st.integers(0, DAY // 2))
def test_a_day_never_has_more_requests_than_it_may(per_day: int, active: bool, played_ms: int) -> None:
    quota, now_ms, spent = Quota(per_day), NOON, 0
    while now_ms < NOON + DAY // 2 and spent <= per_day:
        if quota.left(now_ms) == 0:
            break
        quota.spend(now_ms)
        spent += 1
        now_ms += quota.wait_ms(now_ms, 1_000, NOON + played_ms, active=active)
    assert spent <= per_day


def test_requests_of_a_minute_are_spread_over_the_rest_of_it() -> None:
    quota = Quota(0)
    said = allowance_of({"x-requests-available-minute": "9", "x-requestcounter-reset": "45"})
    quota.spend(NOON, said.day, window=said.window, window_ms=said.window_ms)
    assert quota.wait_ms(NOON, 1_000, NOON, active=True) == 5_000
    assert quota.wait_ms(NOON, 1_000, NOON, active=True, sharing=3) == 15_000
    assert quota.window_wait_ms(NOON) == 0
    assert quota.wait_ms(NOON + 45_000, 1_000, NOON, active=True) == 1_000


def test_a_minute_that_is_used_up_is_waited_for() -> None:
    quota = Quota(0)
    quota.spend(NOON, window=1, window_ms=30_000)
    quota.spend(NOON)  # its answer said nothing
    assert quota.window_wait_ms(NOON) == quota.wait_ms(NOON, 1_000, NOON, active=True) == 30_000
    assert quota.window_wait_ms(NOON + 30_000) == 0


def test_a_counter_stops_a_feed_for_an_hour_at_most() -> None:
    said = allowance_of({"x-requests-available-minute": "0", "x-requestcounter-reset": "999999999"})
    assert said.window_ms == WINDOW_MAX_MS == 3_600_000
    for text in ("", "-1", "x", "²", "9" * 40):
        assert allowance_of({"x-requests-available-minute": text}).window is None
