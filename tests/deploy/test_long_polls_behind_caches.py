"""The product's long-polls behind the shipped caches: one origin request for an address, nothing lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testkit.long_poller import LongPoller
from testkit.services.caches import Cache, start_cache
from testkit.services.counting_relay import CountingRelay
from testkit.services.origin import OriginServer

pytestmark = pytest.mark.services

MATCH = "m1"
POLLERS = 200


class World:
    """Pollers, a cache, what counts, and ``touchline serve`` with slices of one second."""

    def __init__(self, origin: OriginServer, relay: CountingRelay, cache: Cache) -> None:
        self.origin, self.relay, self.cache = origin, relay, cache
        self._events = 0

    def goals(self, count: int) -> str:
        """Post so many events in one webhook; the id of the last."""
        events = []
        for _ in range(count):
            self._events += 1
            events.append(
                {
                    "match_id": MATCH,
                    "event_id": f"g{self._events}",
                    "rev": 1,
                    "op": "ADD",
                    "type": "GOAL",
                    "period": "H1",
                    "team": "home",
                    "minute": 1 + self._events % 40,
                }
            )
        assert self.origin.post(*events) == 200
        state = self.origin.wait_for_seq(MATCH, self._events)
        return f"{state['epoch']}-{state['seq']}"

    def follow(self, from_id: str, act: Callable[[], str], count: int = POLLERS) -> list[LongPoller]:
        """Pollers from an id on, while a thread acts; they stop at the id that it returns."""
        pollers = [LongPoller(self.cache.port, MATCH, from_id) for _ in range(count)]

        async def run() -> None:
            last = asyncio.get_running_loop().run_in_executor(None, act)
            ahead = [asyncio.ensure_future(one.run_until("")) for one in pollers]
            id_ = await last
            for one in ahead:
                one.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)
            for poller in pollers:
                poller.close()
            await asyncio.gather(*(one.run_until(id_, 30) for one in pollers))

        asyncio.run(run())
        return pollers

    def polls(self) -> dict[str, int]:
        """How often the origin was asked for each long-poll."""
        return {path: count for path, count in self.relay.seen.items() if path.count("/") == 6}


@pytest.fixture(params=["nginx", "lua", "varnish"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    env = {"TOUCHLINE_STREAM_LONG_POLL_SLICE_S": "1"}
    with (
        OriginServer(tmp_path, env=env) as origin,
        CountingRelay(origin.port) as relay,
        start_cache(request.param, relay.port) as cache,
    ):
        yield World(origin, relay, cache)


def ids(epoch_of: str, first: int, last: int) -> list[str]:
    epoch = epoch_of.partition("-")[0]
    return [f"{epoch}-{seq}" for seq in range(first, last + 1)]


def test_two_hundred_pollers_are_one_origin_request_for_each_address(world: World) -> None:
    """Quiet slices, single deltas and a burst; who joins late over fifty deltas has them in one answer."""
    begin = world.goals(1)

    def act() -> str:
        for pause_s, count in ((2.5, 1), (0.4, 1), (1.6, 47)):
            time.sleep(pause_s)
            last = world.goals(count)
        return last

    pollers = world.follow(begin, act)
    assert {tuple(one.ids) for one in pollers} == {tuple(ids(begin, 2, 50))}
    assert {status for one in pollers for status in one.statuses} == {200}
    assert set(world.polls().values()) == {1}, world.polls()
    # The slice of 1970 that all begin with is kept with what was behind the id then; its next leads on.
    late = LongPoller(world.cache.port, MATCH, ids(begin, 0, 0)[0], 7)
    asyncio.run(late.run_until(ids(begin, 50, 50)[0]))
    assert late.ids == ids(begin, 1, 50)
    assert late.asked == 1


def test_an_origin_killed_in_the_middle_of_a_slice_loses_nothing(world: World) -> None:
    begin = world.goals(1)

    def act() -> str:
        time.sleep(1.3)
        world.goals(2)
        time.sleep(0.3)
        world.origin.kill()
        time.sleep(1.5)
        world.origin.start()
        return world.goals(3)

    pollers = world.follow(begin, act)
    assert {tuple(one.ids) for one in pollers} == {tuple(ids(begin, 2, 6))}
    assert sum(one.statuses[410] for one in pollers) == 0
    # While it was away each address was tried once a second by the cache, and not by each poller.
    assert max(world.polls().values()) <= 15


def test_a_cache_that_is_killed_and_started_again_loses_nothing(world: World) -> None:
    begin = world.goals(1)

    def act() -> str:
        time.sleep(1.3)
        world.goals(2)
        world.cache.kill()
        world.goals(2)
        world.cache.start()
        time.sleep(0.7)
        return world.goals(1)

    pollers = world.follow(begin, act)
    assert {tuple(one.ids) for one in pollers} == {tuple(ids(begin, 2, 6))}


def test_a_log_that_is_built_anew_is_a_gap_and_then_right(world: World) -> None:
    """Its epoch is another one: all that were there get 410, take the snapshot and go on from it."""
    begin = world.goals(3)

    def act() -> str:
        time.sleep(1.2)
        world.origin.kill()
        for file in world.origin.log_path.parent.glob("log.db*"):
            file.unlink()
        world.origin.start()
        world._events = 0
        world.goals(2)
        time.sleep(2.5)
        return world.goals(2)

    pollers = world.follow(begin, act, 50)
    last = pollers[0].id
    assert last.endswith("-4")
    assert not last.startswith(begin.partition("-")[0])
    assert {one.id for one in pollers} == {last}
    assert all(one.statuses[410] for one in pollers)
    assert all(one.ids == ids(last, 5 - len(one.ids), 4) for one in pollers)
