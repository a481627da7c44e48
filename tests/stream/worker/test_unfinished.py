"""The index of connections without a whole request, against one that looks at all of them."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from origin.stream.worker.unfinished import Unfinished


class Entry:
    def __init__(self, address: str) -> None:
        self.address = address
        self.wait_s = 0.0
        self.deadline_s = 0.0


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 4), st.sampled_from([1.0, 10.0])),
        st.tuples(st.just("discard"), st.integers(0, 60), st.just(0.0)),
        st.tuples(st.just("evict"), st.just(0), st.just(0.0)),
        st.tuples(st.just("time"), st.integers(1, 6), st.just(0.0)),
    ),
    max_size=60,
)


@given(steps)
def test_it_is_what_looking_at_all_would_say(steps: list[tuple[str, int, float]]) -> None:
    index: Unfinished[Entry] = Unfinished()
    everything: list[Entry] = []
    now_s = 0.0
    for step, number, wait_s in steps:
        if step == "add":
            entry = Entry(f"a{number}")
            index.add(entry, now_s, wait_s)
            everything.append(entry)
        elif step == "discard" and everything:
            entry = everything.pop(number % len(everything))
            index.discard(entry)
            index.discard(entry)  # a second time is nothing
        elif step == "time":
            now_s += number
        elif step == "evict":
            chosen = index.next_to_evict()
            counts = Counter(entry.address for entry in everything)
            if chosen is None:
                assert not everything
            else:
                assert counts[chosen.address] == max(counts.values())
                oldest = next(entry for entry in everything if entry.address == chosen.address)
                assert chosen is oldest
        assert len(index) == len(everything) == len(index.all())
        late = {id(entry) for entry in everything if entry.deadline_s <= now_s}
        assert {id(entry) for entry in index.overdue(now_s)} == late


def test_one_address_with_thousands_gives_way_before_a_thousand_with_one() -> None:
    index: Unfinished[Entry] = Unfinished()
    honest = [Entry(f"h{number}") for number in range(1_000)]
    flood = [Entry("flood") for _ in range(5_000)]
    both = [*honest, *flood]
    random.Random(7).shuffle(both)
    for entry in both:
        index.add(entry, 0.0, 10.0)
    for _ in range(4_999):
        victim = index.next_to_evict()
        assert victim is not None
        assert victim.address == "flood"
        index.discard(victim)
