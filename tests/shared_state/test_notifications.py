"""What a page's script is notified of: goals, corrections, changes of status, from one delta at a time."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from shared_state import DeltaId, Event, Match, apply
from shared_state.jsontext import JsonObject
from shared_state.notifications import CORRECTED, notifications
from tests.strategies import histories

EPOCH = 1_531_666_800_000


def event(event_id: str, type_: str, op: str = "ADD", rev: int = 1, **fields: Any) -> Event:
    body: dict[str, Any] = {"match_id": "m", "event_id": event_id, "rev": rev, "op": op}
    if op != "RETRACT":
        body |= {"type": type_, "period": "H1"}
    return Event.from_json(body | fields)


def goal(event_id: str, team: str = "home", **fields: Any) -> Event:
    return event(event_id, "GOAL", **{"minute": 18, "team": team, "player": "A. Griezmann", **fields})


def told(*events: Event) -> list[JsonObject]:
    """What each event in turn has to notify of."""
    match = Match(match_id="m")
    found: list[JsonObject] = []
    for number, one in enumerate(events, 1):
        after = apply(match, one)
        found += notifications(match, after, one, DeltaId(EPOCH, number))
        match = after
    return found


def test_a_goal_says_who_scored_it_and_what_the_score_is() -> None:
    assert told(goal("g", detail={"penalty": True}, stoppage=2)) == [
        {
            "type": "goal",
            "team": "home",
            "player": "A. Griezmann",
            "minute": 18,
            "stoppage": 2,
            "ownGoal": False,
            "penalty": True,
            "underReview": False,
            "eventId": "g",
            "period": "H1",
            "id": f"{EPOCH}-1",
            "score": {"home": 1, "away": 0},
        }
    ]
    [review] = told(goal("g", status="PROVISIONAL"))
    assert review["underReview"] is True


def test_a_goal_that_is_ruled_out_is_a_correction_with_its_reason() -> None:
    _, ruled_out, restored = told(
        goal("g"), event("g", "", "RETRACT", 2, reason="Offside"), goal("g", op="AMEND", rev=3)
    )
    assert (ruled_out["type"], ruled_out["what"], ruled_out["reason"]) == (
        "correction",
        "goal_ruled_out",
        "Offside",
    )
    assert (ruled_out["team"], ruled_out["score"]) == ("home", {"home": 0, "away": 0})
    assert (restored["what"], restored["score"]) == ("goal_restored", {"home": 1, "away": 0})


def test_another_scorer_or_side_is_a_correction_and_a_confirmation_is_none() -> None:
    first = goal("g", status="PROVISIONAL")
    assert [one["type"] for one in told(first, goal("g", op="AMEND", rev=2))] == ["goal"]
    _, amended = told(first, goal("g", op="AMEND", rev=2, player="K. Mbappé"))
    assert (amended["what"], amended["player"]) == ("goal_amended", "K. Mbappé")
    _, moved = told(first, goal("g", "away", op="AMEND", rev=2, reason="Own goal"))
    assert (moved["what"], moved["reason"], moved["score"]) == (
        "goal_amended",
        "Own goal",
        {"home": 0, "away": 1},
    )


def test_a_running_score_without_goals_is_a_goal_and_an_official_result_is_a_correction() -> None:
    def score(event_id: str, home: int, away: int, **fields: Any) -> Event:
        return event(event_id, "SCORE_OVERRIDE", detail={"home": home, "away": away}, **fields)

    first, second, official = told(
        score("a", 1, 0, source_ts=1),
        score("b", 1, 1, source_ts=2),
        score("c", 3, 0, source_ts=3, reason="Ineligible player"),
    )
    assert (first["type"], first["team"], first["player"]) == ("goal", "home", None)
    assert (second["type"], second["team"]) == ("goal", "away")
    assert (official["type"], official["what"], official["reason"]) == (
        "correction",
        "score",
        "Ineligible player",
    )


def test_a_change_of_status_says_from_what_to_what() -> None:
    def status(event_id: str, to: str, at: int) -> Event:
        return event(event_id, "STATUS_CHANGE", detail={"to": to}, source_ts=at)

    found = told(status("a", "LIVE", 1), status("b", "LIVE", 2), status("c", "HALF_TIME", 3))
    assert [(one["type"], one["from"], one["status"]) for one in found] == [
        ("status", "SCHEDULED", "LIVE"),
        ("status", "LIVE", "HALF_TIME"),
    ]


def test_a_card_that_is_rescinded_and_a_kick_that_is_taken_back_are_corrections() -> None:
    red = event("r", "RED_CARD", minute=30, team="away", player="B")
    kick = event("k", "SHOOTOUT_KICK", team="home", detail={"order": 1, "scored": True})
    found = told(red, event("r", "", "RETRACT", 2), kick, event("k", "", "RETRACT", 2, reason="Retaken"))
    assert [(one["what"], one["team"]) for one in found] == [
        ("red_card_rescinded", "away"),
        ("shootout_kick", "home"),
    ]


@given(history=histories())
def test_whatever_comes_each_score_is_notified_of_and_nothing_twice(history: list[Event]) -> None:
    match = Match(match_id=history[0].match_id if history else "m")
    for number, one in enumerate(history, 1):
        after = apply(match, one)
        found = notifications(match, after, one, DeltaId(EPOCH, number))
        play = [item for item in found if item["type"] != "status"]
        assert len(play) <= 1
        assert all(item["what"] in CORRECTED for item in play if item["type"] == "correction")
        assert all(item["score"] == after.score.to_json() for item in found)
        if after.score != match.score:
            assert play, one
        if after is match:
            assert not found
        assert (after.status != match.status) == any(item["type"] == "status" for item in found)
        match = after
