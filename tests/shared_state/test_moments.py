"""Goals, corrections and reviews as moments, and the strip that shows where they are."""

from __future__ import annotations

import itertools
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared_state import DeltaId, Event, Match, apply, fold
from shared_state.events import PERIODS
from shared_state.moments import moment, review, taken_back
from shared_state.strip import strip_html
from shared_state.view import scoreboard

MINUTE_MS = 60_000


def event(event_id: str, type_: str = "", **fields: Any) -> Event:
    return Event(**{"match_id": "m", "event_id": event_id, "rev": 1, "op": "ADD", "type": type_, **fields})


def goal(event_id: str, minute: int, team: str = "home", **fields: Any) -> Event:
    return event(event_id, "GOAL", period="H1" if minute <= 45 else "H2", minute=minute, team=team, **fields)


def retract(event_id: str, **fields: Any) -> Event:
    return Event(match_id="m", event_id=event_id, rev=2, op="RETRACT", **fields)


LIVE = event("ko", "STATUS_CHANGE", period="H1", minute=0, detail={"to": "LIVE"})
FULL_TIME = event("ft", "STATUS_CHANGE", period="POST", source_ts=1, detail={"to": "FT"})


def match(*events: Event) -> Match:
    return fold("m", events)


def kind(before: Match, given_: Event) -> str | None:
    step = moment(before, apply(before, given_))
    return None if step is None else step.kind


def test_a_goal_is_a_goal_and_what_takes_it_back_or_gives_it_again_is_a_correction() -> None:
    assert kind(match(LIVE), goal("g", 12)) == "goal"
    with_goal = match(LIVE, goal("g", 12))
    assert kind(with_goal, retract("g")) == "correction"
    assert kind(match(LIVE, goal("g", 12), retract("g")), goal("g", 12, rev=3)) == "correction"
    assert kind(with_goal, goal("g", 12, "away", rev=2, op="AMEND")) == "correction"
    assert kind(with_goal, goal("g", 13, rev=2, op="AMEND")) is None
    assert kind(with_goal, event("c", "YELLOW_CARD", period="H1", minute=20, team="home")) is None


def test_a_running_score_that_a_feed_overrides_is_play_and_a_decision_is_not() -> None:
    running = event("o", "SCORE_OVERRIDE", period="H1", detail={"home": 1, "away": 0})
    decided = event(
        "o", "SCORE_OVERRIDE", period="H1", detail={"home": 3, "away": 0}, reason="Ineligible player"
    )
    assert kind(match(LIVE), running) == "goal"
    assert kind(match(LIVE), decided) == "correction"


def test_the_figure_that_changed_has_the_one_that_it_was() -> None:
    before = match(LIVE, goal("g", 12))
    html = scoreboard(apply(before, goal("h", 20, "away")), DeltaId(1, 7), before=before)
    assert 'data-moment="goal" data-turn="1"' in html
    assert '<b>1</b><i aria-hidden="true">–</i><b data-was="0">1</b>' in html
    assert "data-moment" not in scoreboard(before, DeltaId(1, 6))


def test_a_goal_taken_back_is_told_until_play_has_gone_on() -> None:
    gone = (LIVE, goal("g", 12, player="Rebić"), retract("g", reason="VAR: offside"))
    assert "Goal ruled out (VAR: offside)" in scoreboard(match(*gone), DeltaId(1, 3))
    var = event("v", "VAR", period="H1", minute=13, detail={"state": "CLOSED"})
    assert taken_back(match(*gone, var)) is not None  # the next delta does not take it away
    assert taken_back(match(*gone, event("c", "YELLOW_CARD", period="H1", minute=18))) is None
    assert taken_back(match(*gone, goal("h", 14))) is None
    assert taken_back(match(*gone, FULL_TIME)) is None


def test_a_goal_taken_back_long_after_is_told_by_the_delta_that_does_it() -> None:
    before = match(LIVE, goal("g", 12), FULL_TIME)
    after = apply(before, retract("g", reason="VAR"))
    assert taken_back(after, before) is not None
    assert taken_back(after) is None


def test_the_banner_that_comes_next_is_another_one() -> None:
    once = match(LIVE, goal("g", 12), retract("g"))
    twice = match(LIVE, goal("g", 12), retract("g"), goal("h", 14), retract("h"))
    classes = [
        re.findall(r"tl-banner-[0-9]", scoreboard(made, DeltaId(1, 9), before=None)) for made in (once, twice)
    ]
    assert classes == [["tl-banner-1"], ["tl-banner-0"]]


def test_what_is_not_decided_is_said_at_the_score() -> None:
    check = event("v", "VAR", period="H1", minute=12, team="home", detail={"state": "OPEN"})
    assert review(match(LIVE, goal("g", 12, status="PROVISIONAL"))) is not None
    assert 'data-review="home"' in scoreboard(match(LIVE, check), DeltaId(1, 2))
    assert "VAR check" in scoreboard(match(LIVE, check), DeltaId(1, 2))
    # Forgotten by its source: play has gone on, or the goal that it was about is gone.
    assert review(match(LIVE, check, event("c", "YELLOW_CARD", period="H1", minute=18))) is None
    about = event("v", "VAR", period="H1", minute=12, detail={"state": "OPEN", "target_event_id": "g"})
    assert review(match(LIVE, goal("g", 12), about)) is not None
    assert review(match(LIVE, goal("g", 12), about, retract("g"))) is None
    assert review(match(LIVE, goal("g", 12, status="PROVISIONAL"), FULL_TIME)) is None


def places(html: str) -> list[float]:
    return [float(at) for at in re.findall(r'<svg x="([0-9.]+)%"', html)]


def test_the_strip_has_each_goal_where_it_was() -> None:
    made = match(LIVE, goal("a", 23), goal("b", 90, "away", stoppage=3), FULL_TIME)
    first, last = places(strip_html(made))
    assert (first, last) == (22.7, 96.0)  # 23 and 49 + 48 of 101 minutes
    assert 'x2="100.0%"' in strip_html(made)  # it is over
    extra = event("x", "GOAL", period="ET2", minute=120, team="home")
    assert places(strip_html(match(LIVE, goal("a", 23), extra)))[0] < first


def test_goals_of_one_minute_stand_beside_each_other() -> None:
    many = [goal(f"g{number}", 45, stoppage=4) for number in range(5)]
    found = places(strip_html(match(LIVE, *many)))
    assert all(after - before >= 2.5 for before, after in itertools.pairwise(found))
    crowd = places(strip_html(match(LIVE, *[goal(f"g{number:03}", 90) for number in range(90)])))
    assert min(crowd) >= 0
    assert max(crowd) <= 100


def test_the_strip_runs_with_the_minute() -> None:
    live = match(event("ko", "STATUS_CHANGE", period="H1", minute=0, source_ts=0, detail={"to": "LIVE"}))
    pages = [strip_html(live, now) for now in (0, 30 * MINUTE_MS)]
    ends = [re.findall(r'class="tl-elapsed"[^>]* x2="([0-9.]+)%"', page)[0] for page in pages]
    assert ends == ["0.9", "30.6"]  # the first and the thirty-first of 101 minutes
    assert 'data-tl-elapsed="0 49 101"' in strip_html(live)


def test_there_is_no_strip_before_a_match_or_where_nothing_can_be_placed() -> None:
    assert strip_html(match()) == ""
    assert strip_html(match(event("g", "GOAL", period="H1", team="home"), FULL_TIME)) == ""


@given(
    st.lists(
        st.tuples(st.sampled_from(PERIODS), st.none() | st.integers(0, 999), st.integers(0, 999)), max_size=6
    ),
    st.sampled_from(["LIVE", "EXTRA_TIME", "PENALTIES", "FT", "AET", "ABANDONED"]),
    st.sampled_from(PERIODS),
)
def test_any_minutes_stay_on_the_strip(
    moments: list[tuple[str, int | None, int]], to: str, period: str
) -> None:
    goals = [
        event(f"g{number}", "GOAL", period=at, minute=minute, stoppage=stoppage, team="away")
        for number, (at, minute, stoppage) in enumerate(moments)
    ]
    html = strip_html(match(event("s", "STATUS_CHANGE", period=period, detail={"to": to}), *goals))
    assert all(0 <= float(number) <= 100 for number in re.findall(r"([0-9.]+)%", html))
