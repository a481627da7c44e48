"""The fold against the reference model, and what must hold whatever the events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_state import Event, InvalidEvent, Match, Score, apply, fold, match_hash, state_json
from shared_state.jsontext import canonical
from shared_state.match import derive, state_text
from tests import strategies
from tests.events_by_hand import add, amend, goal, kick, retract, status
from tests.reference_model import ReferenceModel
from tests.strategies import MATCH_ID


@given(strategies.histories())
def test_fold_is_what_the_reference_model_says(history: list[Event]) -> None:
    model = ReferenceModel(MATCH_ID, [event.to_json() for event in history])
    match = fold(MATCH_ID, history)
    assert state_json(match) == model.state()
    assert state_text(match) == canonical(state_json(match))
    assert match_hash(match) == model.hash()


@given(st.data(), strategies.histories())
def test_any_order_any_duplicates_any_late_correction_same_match(
    data: st.DataObject, history: list[Event]
) -> None:
    match = fold(MATCH_ID, history)
    arrival = data.draw(strategies.arrivals(history))
    again = fold(MATCH_ID, arrival)
    assert again == match
    assert match_hash(again) == match_hash(match)


@given(st.data(), strategies.histories())
def test_apply_is_fold_at_every_step(data: st.DataObject, history: list[Event]) -> None:
    arrival = data.draw(strategies.arrivals(history))
    match = Match(match_id=MATCH_ID)
    for count, event in enumerate(arrival, start=1):
        before, old_hash, old_json = match, match_hash(match), state_json(match)
        match = apply(match, event)
        assert match == fold(MATCH_ID, arrival[:count]) == derive(MATCH_ID, match.records)
        # The same object, and only then, means that there is nothing to publish.
        assert (match is before) == (match_hash(match) == old_hash)
        assert state_json(before) == old_json  # values never change
        assert apply(match, event) is match


@given(strategies.histories(), strategies.events())
def test_event_of_another_match_changes_nothing(history: list[Event], event: Event) -> None:
    match = fold(MATCH_ID, history)
    before, old_hash = state_json(match), match_hash(match)
    stray = Event.from_json({**event.to_json(), "match_id": "other"})
    with pytest.raises(InvalidEvent, match="fra-cro"):
        apply(match, stray)
    with pytest.raises(InvalidEvent, match="fra-cro"):
        fold(MATCH_ID, [*history, stray])
    assert match == fold(MATCH_ID, history)
    assert (state_json(match), match_hash(match)) == (before, old_hash)


@given(strategies.histories())
def test_what_counts_is_never_negative_and_adds_up(history: list[Event]) -> None:
    match = fold(MATCH_ID, history)
    live = match.events()
    assert sum(match.goals) == sum(event.type == "GOAL" and event.period != "PENS" for event in live)
    assert min(*match.goals, *match.kicks_scored, *match.score) >= 0
    assert match.kicks_taken >= sum(match.kicks_scored)
    records = match.records.values()
    assert len(live) + len(match.retracted()) + len(match.pending()) == len(records)
    assert live == sorted(live, key=Event.order)


@pytest.mark.parametrize(
    ("events", "clock"),
    [
        ([], ("PRE", None, 0)),
        ([goal("g1", "home", 18)], ("H1", 18, 0)),
        ([goal("g1", "home", 18), goal("g2", "home", 12)], ("H1", 18, 0)),
        ([goal("g1", "home", 45), goal("g2", "home", 45, stoppage=2)], ("H1", 45, 2)),
        ([goal("g1", "home", 45, stoppage=2), goal("g2", "home", 46)], ("H2", 46, 0)),
        ([goal("g1", "home", 46), retract("g1"), goal("g2", "home", 0)], ("H1", 0, 0)),
        ([goal("g1", "home", 18), status("s", "HALF_TIME", "HT")], ("HT", None, 0)),
        ([goal("g1", "home", 50), status("s", "HALF_TIME", "HT")], ("H2", 50, 0)),
        ([status("s", "LIVE", "H2", minute=46), goal("g1", "home", 45, stoppage=9)], ("H2", 46, 0)),
        ([kick("k1", "home", 1, scored=True)], ("PRE", None, 0)),
        ([add("c", "X_UNKNOWN", minute=7)], ("PRE", None, 0)),
        ([goal("g1", "home", 124, stoppage=1)], ("ET2", 124, 1)),
    ],
)
def test_clock_is_the_furthest_moment_told(events: list[Event], clock: tuple[str, int | None, int]) -> None:
    for arrival in (events, events[::-1]):
        assert fold(MATCH_ID, arrival).clock == clock


def test_what_is_shown_as_nothing_moves_no_clock() -> None:
    """An unknown type is kept and shown as nothing; a note may speak of any minute it likes."""
    played = [status("s", "LIVE", "H1"), goal("g", "home", 10)]
    silent = [
        add("w1", "WEATHER_REPORT", minute=44),
        add("w2", "WEATHER_REPORT", minute=50),
        add("n1", "NOTE", period="PENS", minute=120, detail={"text": "x"}),
    ]
    assert fold(MATCH_ID, played + silent).clock == fold(MATCH_ID, played).clock == ("H1", 10, 0)
    # Once a later revision says what it is, it counts.
    known = amend("w2", "VAR", minute=50, detail={"state": "OPEN"})
    assert fold(MATCH_ID, [*played, *silent, known]).clock == ("H2", 50, 0)


def test_clock_of_a_retracted_pair() -> None:
    """The reversed order above retracts before it adds; the clock may not tell the two apart."""
    events = [goal("g1", "home", 46), goal("g2", "home", 3), retract("g1")]
    assert fold(MATCH_ID, events).clock == fold(MATCH_ID, events[::-1]).clock == ("H1", 3, 0)


def test_score_is_a_pair() -> None:
    assert Score(1, 0).plus("home", 1).plus("away", 2).plus("home", -1) == (1, 2)
    assert Score(4, 2).to_json() == {"home": 4, "away": 2}
