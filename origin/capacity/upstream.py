"""A goal's way to the stream tier, simulated among the other events of its second.

    post ─► log (so many appends at a time) ─► in each region: fan-out worker of its partition ─► Redis

The other events come at random, at the rate of the busiest second, and queue for the same things. They begin
two seconds before the goal: where more come than can be taken, the goal is as late as it is after that time.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import simpy

from origin.capacity.inputs import Inputs
from origin.capacity.limits import publish_s

__all__ = ["BEFORE_S", "Upstream", "upstream"]

# Events that are under way to the log at once: an origin's ingest threads, and those of the measured bench.
_APPENDS_AT_ONCE: Final = 8
# How long before the goal the other events begin, and how many of them at most.
BEFORE_S: Final = 2.0
_OTHERS_MAX: Final = 4_000

Steps = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, slots=True)
class Upstream:
    """When the goal was where; seconds from its post.

    Attributes:
        arrived_s: in each simulated region, where the first has the log.
        published_s: when Redis begins to write it to that region's processes.
    """

    acknowledged_s: float
    arrived_s: tuple[float, ...]
    published_s: tuple[float, ...]


class _Servers:
    """Servers of one kind, each for one at a time; made when they are first asked for, as few of many are."""

    def __init__(self, env: simpy.Environment, count: int) -> None:
        self._env = env
        self._count = count
        self._made: dict[int, simpy.Resource] = {}

    def of(self, match: int) -> simpy.Resource:
        """The one that has a match."""
        number = match % self._count
        if number not in self._made:
            self._made[number] = simpy.Resource(self._env)
        return self._made[number]


def upstream(
    inputs: Inputs,
    deltas_per_s: float,
    workers: int,
    instances: int,
    subscribers: int,
    regions: int,
    seed: int,
) -> Upstream:
    """Simulate it.

    Args:
        inputs: the constants.
        deltas_per_s: of all matches together.
        workers: fan-out workers of a region.
        instances: Redis of a region, by matches.
        subscribers: processes that a Redis writes to.
        regions: how many are simulated.
        seed: of what is drawn.
    """
    value = inputs.value
    random = Random(seed)  # noqa: S311 - a simulation
    env = simpy.Environment()
    log = simpy.Resource(env, _APPENDS_AT_ONCE)
    places = [(_Servers(env, workers), _Servers(env, instances)) for _ in range(regions)]
    least, median, most = (value(f"acknowledged{name}_s") for name in ("_min", "", "_max"))
    fold_s, redis_s = value("fanout_event_s"), publish_s(inputs, subscribers)
    # What was measured from the log to the first viewer, beside the work: wake-ups and the ways between.
    ways_s = value("cluster_first_s") - value("acknowledged_s") - fold_s - value("redis_publish_s")
    seen: dict[str, list[float]] = {
        "acknowledged": [],
        "arrived": [0.0] * regions,
        "published": [0.0] * regions,
    }

    def post(match: int, is_goal: bool) -> Steps:
        with log.request() as place:
            yield place
            yield env.timeout(_spread(least, median, most, random.random()))
        if is_goal:
            seen["acknowledged"].append(env.now)
        for number in range(regions):
            env.process(fan_out(number, match, is_goal))

    def fan_out(number: int, match: int, is_goal: bool) -> Steps:
        fanout, redis = places[number]
        yield env.timeout(value("network_region_s") if number else 0.0)
        if is_goal:
            seen["arrived"][number] = env.now
        with fanout.of(match).request() as worker:
            yield worker
            yield env.timeout(fold_s)
        with redis.of(match).request() as server:
            yield server
            yield env.timeout(redis_s)
        if is_goal:
            yield env.timeout(max(0.0, ways_s))
            seen["published"][number] = env.now

    def others(before_s: float) -> Steps:
        while env.now < before_s:
            yield env.timeout(random.expovariate(deltas_per_s))
            if env.now < before_s:
                env.process(post(random.randrange(inputs.matches), is_goal=False))

    def goal(before_s: float) -> Steps:
        yield env.timeout(before_s)
        yield from post(0, is_goal=True)

    before_s = min(BEFORE_S, _OTHERS_MAX / deltas_per_s)
    env.process(others(before_s))
    env.process(goal(before_s))
    env.run()

    def since(times: Sequence[float]) -> tuple[float, ...]:
        return tuple(at - before_s for at in times)

    return Upstream(since(seen["acknowledged"])[0], since(seen["arrived"]), since(seen["published"]))


def _spread(least: float, median: float, most: float, unit: float) -> float:
    """A draw from a distribution of which the extremes and the median were measured: two straight lines."""
    if unit < 0.5:
        return least + (median - least) * 2 * unit
    return median + (most - median) * (2 * unit - 1)
