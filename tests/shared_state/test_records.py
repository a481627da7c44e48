"""Records and their index: what is carried along from event to event is what all records say."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from shared_state import Event, Match, ResolvedEvent, apply, fold, match_hash, state_json
from shared_state import records as module
from shared_state.records import Index, Records
from tests import strategies
from tests.events_by_hand import add, goal, retract, status
from tests.strategies import MATCH_ID


def runs_are_sound(runs: tuple[tuple[object, ...], ...]) -> bool:
    return all(0 < len(run) <= module.RUN_MAX for run in runs)


@given(
    st.data(),
    st.lists(strategies.histories(), min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 20),
)
def test_index_is_carried_along_whatever_its_size(
    data: st.DataObject, parts: list[list[Event]], recent_max: int, run_max: int, asked_at: int
) -> None:
    """With room for few, so that short histories cross every limit that 10,000 events cross."""
    arrival = data.draw(strategies.arrivals([event for part in parts for event in part]))
    with patch.object(module, "RECENT_MAX", recent_max), patch.object(module, "RUN_MAX", run_max):
        match = Match(match_id=MATCH_ID)
        for count, event in enumerate(arrival, start=1):
            if count > asked_at:
                match.index()
            before, old_state = match, state_json(match)
            match = apply(match, event)
            assert state_json(before) == old_state
            whole = fold(MATCH_ID, arrival[:count])
            assert match == whole
            assert dict(match.records.items()) == dict(whole.records.items())
            assert len(match.records) == len(list(match.records)) == len(whole.records)
            assert match_hash(match) == match_hash(whole)
            index, anew = match.index(), Index.of(match.records.values())
            assert index.digests == anew.digests
            assert [*_flat(index.moments)] == [*_flat(anew.moments)]
            for type_, runs in index.orders.items():
                assert [*_flat(runs)] == [*_flat(anew.orders[type_])]
                assert runs_are_sound(runs)
            assert runs_are_sound(index.moments)


def _flat(runs: tuple[tuple[object, ...], ...]) -> list[object]:
    return [item for run in runs for item in run]


def test_a_long_match_is_the_same_however_it_came() -> None:
    events: list[Event] = []
    for number in range(1_500):
        events.append(goal(f"g{number}", "home", number % 90))
        events.append(status(f"s{number}", "LIVE", "H1", source_ts=number + 1))
        if number % 3 == 0:
            events += [retract(f"g{number}"), retract(f"s{number}")]
    match = Match(match_id=MATCH_ID)
    match.index()
    for event in events:
        match = apply(match, event)
    backwards = Match(match_id=MATCH_ID)
    for event in reversed(events):
        backwards = apply(backwards, event)
    assert match == backwards == fold(MATCH_ID, events)
    assert match_hash(match) == match_hash(backwards)
    assert match.deciding["STATUS_CHANGE"].event_id == "s1499"
    assert match.clock == ("H1", 45, 0) or match.clock == ("H2", 89, 0)


class CountedRecords(dict[str, ResolvedEvent]):
    """Real records that count how often somebody looks at all of them."""

    looks = 0

    def values(self):  # type: ignore[no-untyped-def]
        CountedRecords.looks += 1
        return super().values()


def test_one_more_event_looks_at_none_of_the_others() -> None:
    """Added, amended and taken back, also the one that decides and the one that is furthest."""
    known = {f"g{minute}": ResolvedEvent(goal(f"g{minute}", "home", minute), None) for minute in range(1, 90)}
    live = [status(f"s{number}", "LIVE", "H1", source_ts=number) for number in range(1, 90)]
    known |= {event.event_id: ResolvedEvent(event, None) for event in live}
    match = Match(match_id=MATCH_ID, records=Records(CountedRecords(known)))
    match.index()
    CountedRecords.looks = 0
    for event in (
        add("n", "NOTE", period="H1", detail={"text": "x"}),
        status("s90", "HALF_TIME", "HT", source_ts=90),
        retract("s90"),
        retract("s89"),
        retract("g89"),
        goal("g90", "home", 90),
    ):
        match = apply(match, event)
        match_hash(match)
    assert CountedRecords.looks == 0
    assert (match.status, match.clock) == ("LIVE", ("H2", 90, 0))
    assert match.deciding["STATUS_CHANGE"].event_id == "s88"


def test_hash_has_a_sum_of_digests_in_it_and_no_order() -> None:
    one, two = ResolvedEvent(goal("g1", "home", 18), None), ResolvedEvent(None, retract("g2"))
    alone = [Index.of([record]).digests for record in (one, two)]
    assert Index.of([]).digests == 0
    assert Index.of([one, two]).digests == Index.of([two, one]).digests == sum(alone) % 2**256
    # Taking away goes below zero, and comes back into range.
    assert Index.of([one]).moved(one, two).digests == alone[1]
