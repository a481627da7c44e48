"""The cache of matches: never beyond its room, never a wrong value, and no cliff."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from origin.bounded_cache import BoundedCache


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5))), st.integers(1, 12), st.randoms())
def test_it_keeps_what_was_put_last_and_never_more_than_its_room(
    puts: list[tuple[int, int]], room: int, draws: random.Random
) -> None:
    cache: BoundedCache[int, int] = BoundedCache(room, draws.randrange)
    last: dict[int, tuple[int, int]] = {}
    for number, (key, cost) in enumerate(puts):
        cache.put(key, number, cost)
        last[key] = (number, cost)
        assert cache.get(key) == number
        kept = [name for name in last if cache.get(name) is not None]
        assert all(cache.get(name) == last[name][0] for name in kept)
        assert len(cache) == len(kept)
        assert sum(last[name][1] for name in kept) <= room or kept == [key]
    cache.clear()
    assert not len(cache)


def test_a_few_more_in_turn_than_there_is_room_for_are_mostly_found() -> None:
    cache: BoundedCache[int, int] = BoundedCache(1_000, random.Random(7).randrange)
    found = 0
    for turn in range(20):
        for key in range(1_040):
            if cache.get(key) is None:
                cache.put(key, key)
            elif turn >= 10:
                found += 1
    assert found > 0.9 * 10 * 1_040
