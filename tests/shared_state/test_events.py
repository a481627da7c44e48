"""One event: what is accepted, what it means when little is said, and what is refused by which name."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given

from shared_state import Event, InvalidEvent, fold
from shared_state.details import DETAIL_MAX_BYTES
from shared_state.events import PERIODS, TYPES, default_period
from shared_state.jsontext import canonical, parse
from tests import strategies
from tests.events_by_hand import add, goal, retract

LEAST: dict[str, Any] = {
    "match_id": "fra-cro",
    "event_id": "g1",
    "rev": 1,
    "op": "ADD",
    "type": "GOAL",
    "minute": 18,
    "team": "home",
}
NESTED_NINE: dict[str, Any] = {}
for _ in range(8):
    NESTED_NINE = {"x": NESTED_NINE}
ENDLESS: list[Any] = []
for _ in range(100_000):
    ENDLESS = [ENDLESS]
SURROGATE = "\ud800"


def test_least_event_takes_every_default() -> None:
    assert Event.from_json(LEAST).to_json() == {
        "match_id": "fra-cro",
        "event_id": "g1",
        "rev": 1,
        "op": "ADD",
        "type": "GOAL",
        "period": "H1",
        "minute": 18,
        "stoppage": 0,
        "team": "home",
        "player": None,
        "player2": None,
        "detail": {"own_goal": False, "penalty": False},
        "status": "CONFIRMED",
        "reason": None,
        "source": None,
        "source_ts": None,
    }


def test_null_is_the_same_as_left_out() -> None:
    nulls = dict.fromkeys(
        ["stoppage", "period", "player", "player2", "detail", "status", "reason", "source", "source_ts"]
    )
    assert Event.from_json({**LEAST, **nulls}) == Event.from_json(LEAST)


def test_unknown_fields_are_ignored_and_unknown_detail_is_kept() -> None:
    event = Event.from_json({**LEAST, "xg": 0.3, "detail": {"xg": [0.3, None]}})
    assert event.detail == {"own_goal": False, "penalty": False, "xg": [0.3, None]}


@pytest.mark.parametrize(
    ("minute", "period"),
    [(None, "PRE"), (0, "H1"), (45, "H1"), (46, "H2"), (90, "H2"), (91, "ET1"), (105, "ET1"), (106, "ET2")],
)
def test_period_falls_out_of_the_minute(minute: int | None, period: str) -> None:
    assert default_period(minute) == period
    if minute is not None:
        assert Event.from_json({**LEAST, "minute": minute}).period == period


def test_given_period_stands_over_the_minute() -> None:
    assert Event.from_json({**LEAST, "minute": 90, "period": "H1"}).period == "H1"


def test_only_match_info_needs_neither_minute_nor_period() -> None:
    teams = {"home": {"name": "France", "code": "FRA"}, "away": {"name": "Croatia"}}
    info = Event.from_json({**LEAST, "minute": None, "type": "MATCH_INFO", "team": None, "detail": teams})
    assert info.period == "PRE"
    assert info.detail == {
        "home": {"name": "France", "code": "FRA"},
        "away": {"name": "Croatia", "code": None},
        "competition": None,
        "kickoff_ms": None,
        "venue": None,
    }
    with pytest.raises(InvalidEvent, match=r"^period: "):
        Event.from_json({**LEAST, "minute": None})


def test_minute_may_be_null_in_the_shootout_and_may_pass_120() -> None:
    kick = {"type": "SHOOTOUT_KICK", "period": "PENS", "detail": {"order": 1, "scored": True}}
    assert Event.from_json({**LEAST, **kick, "minute": None}).minute is None
    assert Event.from_json({**LEAST, "minute": 124, "stoppage": 2}).minute == 124


@pytest.mark.parametrize("type_", ["X", "CORNER_2031"])
def test_unknown_type_is_kept(type_: str) -> None:
    event = add("c1", type_, minute=5, detail={"side": ["left", {"x": 1.5}]})
    assert (event.type, event.detail) == (type_, {"side": ["left", {"x": 1.5}]})


def test_retract_is_bare_whatever_came_with_it() -> None:
    bare = Event(match_id="fra-cro", event_id="g1", rev=2, op="RETRACT", reason="VAR: offside", source_ts=7)
    full = Event.from_json({**LEAST, "op": "RETRACT", "rev": 2, "reason": "VAR: offside", "source_ts": 7})
    odd: Any = {"type": 5, "period": [], "minute": "x", "stoppage": -1, "team": 1, "detail": 3, "status": 0}
    strange = Event(
        match_id="fra-cro", event_id="g1", rev=2, op="RETRACT", reason="VAR: offside", source_ts=7, **odd
    )
    assert bare == full == strange
    assert bare.body() == {
        "event_id": "g1",
        "rev": 2,
        "op": "RETRACT",
        "reason": "VAR: offside",
        "source_ts": 7,
    }


def test_source_is_provenance_and_no_part_of_the_fact() -> None:
    opta, sportradar = (goal("g1", "home", 18, source=source) for source in ("opta", "sportradar"))
    assert opta == sportradar
    assert opta.body() == sportradar.body()
    assert opta.to_json() != sportradar.to_json()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("match_id", value) for value in (None, "", "a b", "a/b", "a\n", "é", "x" * 65, 5, True, ["a"])],
        *[("event_id", value) for value in (None, "", "x" * 129, 5, 1.0, SURROGATE)],
        *[("rev", value) for value in (None, 0, -1, 1.0, 1.5, True, "1", 2**53, 10**5_000)],
        *[("op", value) for value in (None, "", "add", "DELETE", 1, ["ADD"], {"ADD": 1})],
        *[("type", value) for value in (None, "", "A" * 65, 7, ["GOAL"], SURROGATE)],
        *[("period", value) for value in ("", "H3", "h1", 1, ["H1"])],
        *[("minute", value) for value in (-1, 1_000, 45.0, True, "45", "90+6", 2**60)],
        *[("stoppage", value) for value in (-1, 1_000, 2.0, False, "2")],
        *[("team", value) for value in (None, "", "HOME", "fra", 0, ["home"])],
        *[("player", value) for value in ("x" * 129, 5, SURROGATE, {"name": "Pogba"})],
        *[("player2", value) for value in ("x" * 129, 5, SURROGATE)],
        *[("status", value) for value in ("", "LIVE", "confirmed", 1, True)],
        *[("reason", value) for value in ("x" * 501, 5, SURROGATE)],
        *[("source", value) for value in ("x" * 129, 5)],
        *[("source_ts", value) for value in (-1, 1.5, "2018-07-15", True, 2**53)],
        *[("detail", value) for value in ((), "x", 1, False)],
        *[("detail.own_goal", value) for value in (None, 1, 0, "yes")],
        *[("detail.penalty", value) for value in (None, 1, "no")],
        *[("detail", {"x": value}) for value in (SURROGATE, float("nan"), float("-inf"), 2**53, -(2**53))],
        *[("detail", {"x": value}) for value in ((1, 2), {1: 2}, {SURROGATE: 1}, b"", {1}, 10**5_000)],
        *[("detail", {"x": value}) for value in (NESTED_NINE, ENDLESS, "x" * DETAIL_MAX_BYTES)],
        ("detail", {5: 1}),
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, list | dict | int) else type(value).__name__,
)
def test_broken_field_is_refused_by_its_name(field: str, value: Any) -> None:
    name, _, key = field.partition(".")
    broken = {**LEAST, name: {key: value} if key else value}
    with pytest.raises(InvalidEvent) as refused:
        Event.from_json(broken)
    assert refused.value.field == field
    assert len(str(refused.value)) < 300 or field == "detail"


@pytest.mark.parametrize(
    ("type_", "detail", "field"),
    [
        ("SHOOTOUT_KICK", {"scored": True}, "detail.order"),
        ("SHOOTOUT_KICK", {"order": 0, "scored": True}, "detail.order"),
        ("SHOOTOUT_KICK", {"order": 1}, "detail.scored"),
        ("SHOOTOUT_KICK", {"order": 1, "scored": 1}, "detail.scored"),
        ("VAR", {}, "detail.state"),
        ("VAR", {"state": "MAYBE"}, "detail.state"),
        ("VAR", {"state": "OPEN", "outcome": 5}, "detail.outcome"),
        ("VAR", {"state": "OPEN", "target_event_id": ""}, "detail.target_event_id"),
        ("STOPPAGE_ANNOUNCED", {}, "detail.minutes"),
        ("STOPPAGE_ANNOUNCED", {"minutes": -1}, "detail.minutes"),
        ("STATUS_CHANGE", {}, "detail.to"),
        ("STATUS_CHANGE", {"to": "FINISHED"}, "detail.to"),
        ("SCORE_OVERRIDE", {"home": 3}, "detail.away"),
        ("SCORE_OVERRIDE", {"home": 3.0, "away": 0}, "detail.home"),
        ("SCORE_OVERRIDE", {"home": 1_000, "away": 0}, "detail.home"),
        ("MATCH_INFO", {"home": {"name": "A"}}, "detail.away"),
        ("MATCH_INFO", {"home": "A", "away": {"name": "B"}}, "detail.home"),
        ("MATCH_INFO", {"home": {}, "away": {"name": "B"}}, "detail.home.name"),
        ("MATCH_INFO", {"home": {"name": "A", "code": 5}, "away": {"name": "B"}}, "detail.home.code"),
        (
            "MATCH_INFO",
            {"home": {"name": "A"}, "away": {"name": "B"}, "kickoff_ms": "x"},
            "detail.kickoff_ms",
        ),
        ("NOTE", {}, "detail.text"),
        ("NOTE", {"text": "x" * 2_001}, "detail.text"),
    ],
)
def test_broken_detail_is_refused_by_its_key(type_: str, detail: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        Event.from_json({**LEAST, "type": type_, "detail": detail})
    assert refused.value.field == field


@pytest.mark.parametrize("type_", ["GOAL", "SHOOTOUT_KICK"])
def test_what_counts_needs_a_side(type_: str) -> None:
    with pytest.raises(InvalidEvent, match=r"^team: must be home or away for "):
        Event.from_json({**LEAST, "type": type_, "team": None, "detail": {"order": 1, "scored": True}})


@pytest.mark.parametrize("value", [None, [], "{}", 5, b"{}"])
def test_event_must_be_an_object(value: Any) -> None:
    with pytest.raises(InvalidEvent, match=r"^event: must be an object"):
        Event.from_json(value)


@pytest.mark.parametrize(
    ("field", "longest"),
    [("event_id", 128), ("player", 128), ("player2", 128), ("reason", 500), ("source", 128)],
)
def test_longest_text_is_accepted(field: str, longest: int) -> None:
    assert getattr(Event.from_json({**LEAST, field: "é" * longest}), field) == "é" * longest


def test_an_event_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        goal("g1", "home", 18).rev = 2  # type: ignore[misc]  # the point of the test


def test_detail_given_is_not_the_detail_kept() -> None:
    given: dict[str, Any] = {"penalty": True}
    event = goal("g1", "home", 38, detail=given)
    given["penalty"] = False
    assert event.detail == {"own_goal": False, "penalty": True}


def test_order_is_time_period_clock_id() -> None:
    in_order = [
        add("b", "CORNER", period="H2", minute=90),
        add("a", "CORNER", period="H1", minute=1, source_ts=5),
        retract("r", source_ts=6),
        add("a", "CORNER", period="H1", minute=None, source_ts=6),
        add("a", "CORNER", period="H1", minute=45, source_ts=6),
        add("b", "CORNER", period="H1", minute=45, source_ts=6),
        add("a", "CORNER", period="H1", minute=45, stoppage=1, source_ts=6),
        *[add("a", "CORNER", period=period, source_ts=6) for period in PERIODS[2:]],
    ]
    in_reverse = in_order[::-1]
    assert sorted(in_reverse, key=Event.order) == in_order


def test_every_type_of_the_contract_is_known() -> None:
    assert " ".join(TYPES) == (
        "GOAL PENALTY_MISSED SHOOTOUT_KICK YELLOW_CARD SECOND_YELLOW RED_CARD SUBSTITUTION VAR "
        "STOPPAGE_ANNOUNCED STATUS_CHANGE SCORE_OVERRIDE MATCH_INFO NOTE LINE_UP STAT"
    )


@given(strategies.events())
def test_canonical_json_is_a_fixed_point(event: Event) -> None:
    again = Event.from_json(event.to_json())
    assert again == event
    assert again.to_json() == event.to_json()


@given(strategies.events())
def test_text_is_the_canonical_json_of_the_body(event: Event) -> None:
    assert event.text() == canonical(event.body())
    assert parse(event.text()) == event.body()


@pytest.mark.parametrize("type_", ["goal", "2ND_BALL", "water-break", "Trinkpause"])
def test_any_name_of_a_type_is_kept(type_: str) -> None:
    """A feed may know more types than we do, by whatever names; they are never fatal."""
    event = Event.from_json({**LEAST, "type": type_})
    assert event.type == type_
    assert fold(event.match_id, [event]).score == (0, 0)


@pytest.mark.parametrize("field", ["player", "player2", "reason", "source"])
def test_an_empty_text_is_text(field: str) -> None:
    assert Event.from_json({**LEAST, field: ""}).to_json()[field] == ""
