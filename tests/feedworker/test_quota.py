"""Requests of a day are spent where matches are, and never more than there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from origin.feedworker.quota import Quota

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
