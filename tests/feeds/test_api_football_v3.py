"""API-Football v3: what an answer says, and what is wrong with one."""

from __future__ import annotations

import contextlib
import io
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from origin.errors import FeedError
from origin.feeds.api_football_v3 import convert, read_fixtures
from origin.feeds.jsondoc import parse_document
from origin.feeds.matching import MatchingFeed
from origin.feedworker.simulated_api_football import FixtureMatch, event, final_2018
from shared_state import Event, Match, Score, fold
from tests.feeds.fuzz_matching import damage


def answer(*fixtures: dict[str, Any], **more: Any) -> bytes:
    return json.dumps(
        {"get": "fixtures", "errors": [], "response": list(fixtures), **more}, indent=1
    ).encode()


def events(body: bytes) -> list[Event]:
    return list(convert(io.BytesIO(body), lambda _: None))


def folded(fixture: dict[str, Any]) -> Match:
    return fold(f"af-{fixture['fixture']['id']}", events(answer(fixture)))


def played(*rows: dict[str, Any]) -> FixtureMatch:
    match = FixtureMatch(7, list(rows), ("Reds", "Blues"))
    while not match.over:
        match.advance()
    return match


def test_the_final_of_2018() -> None:
    match = final_2018()
    while not match.over:
        match.advance()
    state = folded(match.fixture())
    assert (state.score, state.status) == (Score(4, 2), "FT")
    own = [goal.player for goal in state.events() if goal.type == "GOAL" and goal.detail["own_goal"]]
    assert own == ["Mario Mandžukić"]


def test_a_missed_penalty_is_no_goal_and_kicks_are_counted_apart() -> None:
    fixture = played(
        event(7, 1, 30, "Goal", "Missed Penalty", "A. One"),
        event(7, 1, 120, "Goal", "Penalty", "A. One", extra=1) | {"comments": "Penalty Shootout"},
        event(7, 2, 120, "Goal", "Missed Penalty", "B. Two", extra=2) | {"comments": "Penalty Shootout"},
    ).fixture()
    fixture["goals"] = {"home": 0, "away": 0}
    fixture["fixture"]["status"] = {"short": "PEN", "elapsed": 120}
    state = folded(fixture)
    assert (state.score, state.shootout, state.status) == (Score(0, 0), Score(1, 0), "FT_PENS")
    assert [one.type for one in state.events() if one.minute == 30] == ["PENALTY_MISSED"]


def with_review(*rows: dict[str, Any], goals: tuple[int, int]) -> Match:
    fixture = played(*rows).fixture()
    fixture["goals"] = {"home": goals[0], "away": goals[1]}
    return folded(fixture)


def scorers(match: Match) -> list[str]:
    return sorted(str(goal.player) for goal in match.events() if goal.type == "GOAL")


def test_a_goal_that_stays_beside_the_review_that_took_it_back_is_none() -> None:
    first = event(7, 1, 12, "Goal", "Normal Goal", "A. One")
    second = event(7, 1, 30, "Goal", "Normal Goal", "B. Two")
    review = event(7, 1, 32, "Var", "Goal Disallowed - offside", "B. Two")
    assert scorers(with_review(first, second, review, goals=(1, 0))) == ["A. One"]
    assert scorers(
        with_review(second, first | {"time": {"elapsed": 31, "extra": None}}, review, goals=(1, 0))
    ) == ["A. One"]
    # The row of the goal was removed, or it is the row of another goal: the score says how many there are.
    assert scorers(with_review(first, review, goals=(1, 0))) == ["A. One"]
    assert scorers(with_review(first, second, review, goals=(2, 0))) == ["A. One", "B. Two"]
    # A review of the other side, long after, or with another outcome is of no goal here.
    for other in (
        event(7, 2, 32, "Var", "Goal Disallowed - offside", "B. Two"),
        event(7, 1, 60, "Var", "Goal cancelled", "B. Two"),
        event(7, 1, 32, "Var", "Goal confirmed", "B. Two"),
        event(7, 1, 32, "Var", "Penalty cancelled", "B. Two"),
    ):
        assert scorers(with_review(first, second, other, goals=(1, 0))) == ["A. One", "B. Two"]


def test_a_result_without_events_is_an_override() -> None:
    fixture = played().fixture() | {"goals": {"home": 2, "away": 1}}
    assert folded(fixture).score == Score(2, 1)


def test_a_fixture_becomes_a_scheduled_match() -> None:
    fixture = FixtureMatch(7, [], ("Reds", "Blues")).fixture()
    del fixture["events"]
    state = folded(fixture)
    assert state.status == "SCHEDULED"
    assert state.info is not None
    assert state.info.detail["kickoff_ms"] == 1_531_666_800_000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "response"),
        (answer(errors={"requests": "limit"}), "errors"),
        (b'{"response": {}}', "response"),
        (answer({"fixture": {"id": "7"}}), "response[0].fixture.id"),
        (b"\x1f\x8b", "gzip"),
        (b'{"sport_event": {"id": "x"}, "timeline": []}', "Sportradar"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(body: bytes, message: str) -> None:
    with pytest.raises(FeedError) as caught:
        events(body)
    assert message in f"{caught.value.where} {caught.value}"


def test_a_match_that_cannot_be_read_costs_itself_alone() -> None:
    good = played(event(7, 1, 30, "Goal", "Normal Goal", "A. One")).fixture()
    doubts: list[FeedError] = []
    documents = read_fixtures(parse_document(answer({"fixture": {}}, good)), now_ms=1, warn=doubts.append)
    assert [document.match_id for document in documents] == ["af-7"]
    assert len(doubts) == 1


def test_an_answer_and_a_match_have_bounds() -> None:
    row = event(7, 1, 30, "Goal", "Normal Goal", "A. One")
    with pytest.raises(FeedError, match="401 events, at most 400"):
        events(answer(played().fixture() | {"events": [row] * 401}))
    with pytest.raises(FeedError, match="2001 matches, at most 2000"):
        events(answer(*[{}] * 2001))
    # Rows that are equal to nothing known, twice, cost no more than their bound.
    feed = MatchingFeed("af-7", lambda _: None)
    for turn in (1, 2):
        rows = [event(7, 1, 30, "Goal", "Normal Goal", f"{turn} {number}") for number in range(400)]
        body = answer(played().fixture() | {"events": rows, "goals": {"home": 400, "away": 0}})
        for document in read_fixtures(parse_document(body.replace(b"400", b"199")), now_ms=turn * 100_000):
            feed.take(document)


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_damage_gives_events_or_one_typed_error(draw: Random) -> None:
    match = final_2018()
    while not match.over:
        match.advance()
    with contextlib.suppress(FeedError):
        events(damage(draw, answer(match.fixture())))
