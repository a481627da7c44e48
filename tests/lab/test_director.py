"""Each button sends events that the log takes, and the match is what the button says."""

from __future__ import annotations

import pytest

from origin.lab.director import ACTIONS, ActionError, Director
from shared_state import Event, Match, apply
from shared_state.jsontext import JsonObject


def folded(events: list[JsonObject]) -> Match:
    match = Match(match_id="lab")
    for event in events:
        match = apply(match, Event.from_json(event))
    return match


def played(*actions: str, team: str = "home") -> tuple[Match, Director]:
    director = Director("lab")
    events = list(director.begin())
    for action in actions:
        for delivery in director.act(action, team):
            events += delivery
    return folded(events), director


def test_a_match_begins_with_its_teams_and_a_kick_off() -> None:
    match, _ = played()
    assert match.status == "LIVE"
    assert match.info is not None
    assert match.info.detail["home"]["name"] == "Northgate"


@pytest.mark.parametrize(
    ("actions", "home", "away"),
    [
        (("goal",), 1, 0),
        (("own-goal",), 1, 0),
        (("penalty", "goal"), 2, 0),
        (("goal", "var-open"), 1, 0),
        (("goal", "var-open", "var-overturned"), 0, 0),
        (("goal", "amend", "duplicate"), 1, 0),
        (("out-of-order",), 1, 0),
        (("card", "red-card", "substitution"), 0, 0),
        (("goal", "half-time", "second-half", "goal", "full-time"), 2, 0),
        (("goal", "award"), 3, 0),
    ],
)
def test_the_score_is_what_the_buttons_say(actions: tuple[str, ...], home: int, away: int) -> None:
    match, _ = played(*actions)
    assert (match.score.home, match.score.away) == (home, away)


def test_a_review_is_of_the_goal_that_was_the_last_when_it_was_opened() -> None:
    director = Director("lab")
    events = [*director.begin()]
    for action, team in (
        ("goal", "home"),
        ("var-open", "home"),
        ("goal", "away"),
        ("var-overturned", "home"),
    ):
        events += [event for delivery in director.act(action, team) for event in delivery]
    match = folded(events)
    assert (match.score.home, match.score.away) == (0, 1)


def test_an_own_goal_is_credited_to_the_team_and_scored_by_the_other() -> None:
    [[goal]] = Director("lab").act("own-goal", "home")
    assert goal["team"] == "home"
    assert goal["player"] in {
        "Ash",
        "Beech",
        "Cypress",
        "Elder",
        "Fern",
        "Hawthorn",
        "Holly",
        "Maple",
        "Oak",
    } | {
        "Pine",
        "Rowan",
    }


@pytest.mark.parametrize(
    ("before", "action", "why"),
    [
        ((), "var-open", "there is no goal yet"),
        ((), "var-overturned", "no review is open"),
        (("goal", "var-open"), "var-open", "a review is open already"),
        ((), "amend", "there is no goal yet"),
        ((), "duplicate", "nothing was sent yet that could be sent again"),
        (("half-time",), "half-time", "half-time comes after the first half"),
        ((), "second-half", "the second half begins after half-time"),
        (("full-time",), "full-time", "the match is over already"),
        ((), "no such", "no action 'no such': one of goal, own-goal"),
    ],
)
def test_a_button_that_makes_no_sense_is_refused_by_name(
    before: tuple[str, ...], action: str, why: str
) -> None:
    director = played(*before)[1]
    with pytest.raises(ActionError, match=f"^{why}"):
        director.act(action)
    # It changed nothing: the next button does what it would have done.
    [[card]] = director.act("card")
    assert card["event_id"] == played(*before)[1].act("card")[0][0]["event_id"]


def test_a_team_that_there_is_not_is_refused() -> None:
    with pytest.raises(ActionError, match=r"^team 'both': must be home or away$"):
        Director("lab").act("goal", "both")


def test_a_match_has_an_end() -> None:
    director = Director("lab")
    for _ in range(400):
        director.act("goal")
    with pytest.raises(ActionError, match="the match has its 400 events: begin another"):
        director.act("goal")


def test_every_button_of_the_page_is_there() -> None:
    match, _ = played("goal", *(set(ACTIONS) & {"var-open", "card"}))
    assert match.score.home == 1
