"""A goal's way through log, fan-out and Redis, beside closed forms of queues."""

from __future__ import annotations

import statistics

import pytest

from origin.capacity.inputs import Inputs
from origin.capacity.limits import publish_s
from origin.capacity.upstream import BEFORE_S, upstream

# Every append takes 10 ms, eight at a time: 800 a second. The ways take nothing.
ROUND = {
    "acknowledged_min_s": 0.01,
    "acknowledged_s": 0.01,
    "acknowledged_max_s": 0.01,
    "fanout_event_s": 0.001,
    "redis_publish_s": 0.0001,
    "redis_publish_100_s": 0.0003,
    "cluster_first_s": 0.0111,
    "network_region_s": 0.08,
}
INPUTS = Inputs.from_json({"matches": 400, "constants": ROUND})


def test_a_goal_alone_is_late_by_the_work_and_the_distance() -> None:
    way = upstream(INPUTS, 0.001, workers=2, instances=1, subscribers=100, regions=3, seed=1)
    assert way.acknowledged_s == pytest.approx(0.01)
    assert way.arrived_s == pytest.approx((0.01, 0.09, 0.09))
    assert publish_s(INPUTS, 100) == pytest.approx(0.0003)
    assert way.published_s == pytest.approx(tuple(at + 0.001 + 0.0003 for at in way.arrived_s))


@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_a_log_with_too_much_to_do_is_as_late_as_what_has_gathered(factor: float) -> None:
    """What came in the seconds before and was not taken, taken at 800 a second."""
    rate = 800 * factor
    waits = [upstream(INPUTS, rate, 50, 1, 1, 1, seed).acknowledged_s for seed in range(4)]
    seconds = min(BEFORE_S, 4_000 / rate)
    assert statistics.mean(waits) == pytest.approx(seconds * (factor - 1) + 0.01, rel=0.1)


def test_a_fan_out_worker_that_is_half_busy_adds_what_queueing_theory_says() -> None:
    """M/D/1: the mean wait is rho / (2 (1 - rho)) services. The log before it keeps the rate of arrivals."""
    waits = [
        way.published_s[0] - way.arrived_s[0] - 0.001 - publish_s(INPUTS, 1)
        for way in (upstream(INPUTS, 500, 1, 1, 1, 1, seed) for seed in range(150))
    ]
    assert 0.0002 <= statistics.mean(waits) <= 0.0008  # 0.0005 where arrivals are at random


def test_more_workers_share_the_matches() -> None:
    slow = Inputs.from_json({"matches": 400, "constants": {**ROUND, "fanout_event_s": 0.01}})
    one, many = (upstream(slow, 400, workers, 1, 1, 1, seed=3).published_s[0] for workers in (1, 40))
    assert many < 0.1 < 1 < one


def test_the_same_seed_is_the_same_way() -> None:
    ways = [upstream(INPUTS, 300, 2, 1, 1, 2, seed) for seed in (1, 1, 2)]
    assert ways[0] == ways[1] != ways[2]


def test_the_work_is_bounded_for_any_rate() -> None:
    way = upstream(INPUTS, 1e9, 10**6, 10**6, 10**6, 8, seed=1)
    assert way.acknowledged_s >= 0.01
