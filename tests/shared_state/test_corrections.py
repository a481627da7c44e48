"""docs/protocol.md section 2, a table for each rule, by its number. Every table is tried in every order."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from shared_state import (
    Event,
    Match,
    ResolvedEvent,
    apply,
    fold,
    is_conflict,
    match_hash,
    resolve,
    state_json,
)
from tests.events_by_hand import MATCH_ID, add, amend, goal, kick, retract, status, with_op


def match_of(*events: Event) -> Match:
    """The match that these events make, proven to be the same in every order and with each one twice."""
    match = fold(MATCH_ID, events)
    for arrival in itertools.permutations(events):
        step_by_step = Match(match_id=MATCH_ID)
        for event in arrival:
            step_by_step = apply(step_by_step, event)
            assert apply(step_by_step, event) is step_by_step  # a duplicate at once
        for event in arrival:
            assert apply(step_by_step, event) is step_by_step  # and a replay of it all
        assert step_by_step == match
        assert match_hash(step_by_step) == match_hash(match)
    return match


def shown(match: Match, event_id: str) -> Event:
    """The live event of that id."""
    live = match.records[event_id].live
    assert live is not None
    return live


HOME_18 = goal("g1", "home", 18, "Griezmann")


# Rule 1: state = fold over the latest live revision of each event_id.


@pytest.mark.parametrize("revs", [(1,), (1, 2), (1, 2, 3), (1, 3), (2, 3, 7), (5,)])
def test_rule_1_latest_revision_counts(revs: tuple[int, ...]) -> None:
    match = match_of(*[goal("g1", "home", 18, f"player {rev}", rev=rev) for rev in revs])
    assert match.score == (1, 0)
    assert shown(match, "g1").player == f"player {max(revs)}"


def test_rule_1_ids_are_apart() -> None:
    assert match_of(HOME_18, goal("g2", "home", 18, "Griezmann"), goal("g3", "away", 28)).score == (2, 1)


# Rule 2: duplicates, one revision with two bodies, lower revisions.


def test_rule_2_duplicate_is_no_output() -> None:
    match = match_of(HOME_18)
    assert apply(match, goal("g1", "home", 18, "Griezmann")) is match
    assert apply(match, goal("g1", "home", 18, "Griezmann", source="another feed")) is match


@pytest.mark.parametrize(
    ("loser", "winner"),
    [
        ({"player": "B"}, {"player": "A", "source_ts": 0}),  # any time is later than none
        ({"player": "B", "source_ts": 1}, {"player": "A", "source_ts": 2}),
        ({"player": "A", "source_ts": 2}, {"player": "B", "source_ts": 2}),  # the greater JSON
        ({"player": "A"}, {"player": "B"}),
        ({"detail": {"own_goal": False}}, {"detail": {"own_goal": True}}),
        ({"detail": {"x": 1}}, {"detail": {"x": True}}),  # equal to Python, not to JSON
        ({"detail": {"x": 1}}, {"detail": {"x": 1.0}}),
        ({"op": "ADD"}, {"op": "AMEND"}),
    ],
)
def test_rule_2_conflict_has_one_winner(loser: dict[str, Any], winner: dict[str, Any]) -> None:
    lost = add("g1", "GOAL", team="home", minute=18, **loser)
    won = add("g1", "GOAL", team="home", minute=18, **winner)
    match = match_of(lost, won)
    assert shown(match, "g1").to_json() == won.to_json()
    assert is_conflict(ResolvedEvent(lost, None), won)
    assert is_conflict(ResolvedEvent(won, None), lost)


def test_rule_2_retractions_conflict_too() -> None:
    early, late = (
        retract("g1", reason="offside", source_ts=1),
        retract("g1", reason="handball", source_ts=2),
    )
    match = match_of(HOME_18, early, late)
    assert match.records["g1"].tombstone == late
    assert is_conflict(match.records["g1"], early)


@pytest.mark.parametrize(
    ("known", "event"),
    [
        (None, HOME_18),
        (None, retract("g1")),
        (ResolvedEvent(HOME_18, None), HOME_18),
        (ResolvedEvent(HOME_18, None), goal("g1", "home", 18, "Griezmann", source="another feed")),
        (ResolvedEvent(HOME_18, None), retract("g1")),  # the correction of a fact is no contradiction
        (ResolvedEvent(HOME_18, None), goal("g1", "home", 18, "Pogba", rev=2)),
        (ResolvedEvent(HOME_18, retract("g1")), retract("g1")),
        (ResolvedEvent(HOME_18, retract("g1", rev=2)), retract("g1")),
        (ResolvedEvent(None, retract("g1")), HOME_18),
    ],
)
def test_rule_2_no_conflict(known: ResolvedEvent | None, event: Event) -> None:
    assert not is_conflict(known, event)


def test_rule_2_lower_revision_is_no_output() -> None:
    match = match_of(goal("g1", "home", 18, "Pogba", rev=3))
    assert apply(match, goal("g1", "away", 20, "Modrić", rev=2)) is match


# Rule 3: a RETRACT is a tombstone.


@pytest.mark.parametrize(
    ("body_rev", "tombstone_rev", "score"),
    [(1, 1, (0, 0)), (1, 2, (0, 0)), (2, 2, (0, 0)), (2, 1, (1, 0)), (3, 1, (1, 0))],
)
@pytest.mark.parametrize("op", ["ADD", "AMEND"])
def test_rule_3_tombstone_wins_at_equal_rev(
    op: str, body_rev: int, tombstone_rev: int, score: tuple[int, int]
) -> None:
    body = with_op(op, "g1", "GOAL", team="home", minute=18, rev=body_rev)
    assert match_of(body, retract("g1", rev=tombstone_rev)).score == score


def test_rule_3_born_dead() -> None:
    first = apply(Match(match_id=MATCH_ID), retract("g1", reason="VAR: offside"))
    assert [event.event_id for event in first.pending()] == ["g1"]
    match = apply(first, HOME_18)
    assert match is not first  # it is shown struck through: that is news
    assert (match.score, match.pending()) == ((0, 0), [])
    assert match.retracted() == [(HOME_18, retract("g1", reason="VAR: offside"))]


def test_rule_3_only_a_higher_revision_revives() -> None:
    dead = match_of(HOME_18, retract("g1", rev=2))
    assert match_of(HOME_18, retract("g1", rev=2), amend("g1", "GOAL", team="home", minute=18)).score == (
        0,
        0,
    )
    revived = apply(dead, amend("g1", "GOAL", team="home", minute=18, rev=3))
    assert (revived.score, revived.retracted()) == ((1, 0), [])
    assert (
        match_of(*[HOME_18, retract("g1", rev=2), amend("g1", "GOAL", team="home", minute=18, rev=3)])
        == revived
    )


def test_rule_3_killed_revived_killed() -> None:
    events = [HOME_18, retract("g1", rev=2), amend("g1", "GOAL", team="home", minute=18, rev=3)]
    match = match_of(*events, retract("g1", rev=4, reason="handball"))
    assert match.score == (0, 0)
    assert [by.reason for _, by in match.retracted()] == ["handball"]


def test_rule_3_late_tombstone_of_a_lower_revision_is_no_output() -> None:
    match = match_of(goal("g1", "home", 18, rev=3))
    assert apply(match, retract("g1", rev=2)) is match


def test_rule_3_a_newer_body_under_a_tombstone_stays_dead() -> None:
    match = match_of(HOME_18, goal("g1", "home", 18, "Pogba", rev=2), retract("g1", rev=2))
    assert match.score == (0, 0)
    assert [body.player for body, _ in match.retracted()] == ["Pogba"]


def test_rule_3_pending_is_in_the_order_of_ids() -> None:
    waiting = match_of(retract("b", source_ts=1), retract("a", source_ts=2), retract("c"))
    assert [event.event_id for event in waiting.pending()] == ["a", "b", "c"]


# Rule 4: an AMEND is a full replacement, and an upsert.


def test_rule_4_amend_of_an_unknown_id_is_an_upsert() -> None:
    assert match_of(amend("g1", "GOAL", team="home", minute=18)).score == (1, 0)


@pytest.mark.parametrize(
    ("change", "score"),
    [
        ({"player": "Mandžukić"}, (1, 0)),
        ({"minute": 19}, (1, 0)),
        ({"minute": 45, "stoppage": 2}, (1, 0)),
        ({"team": "away"}, (0, 1)),
        ({"detail": {"own_goal": True}, "player": "Mandžukić"}, (1, 0)),
        ({"type": "PENALTY_MISSED"}, (0, 0)),
        ({"type": "NOTE", "detail": {"text": "No goal"}}, (0, 0)),
        ({"type": "X_UNKNOWN"}, (0, 0)),
    ],
)
def test_rule_4_amend_replaces_everything(change: dict[str, Any], score: tuple[int, int]) -> None:
    fields = {"type": "GOAL", "team": "home", "minute": 18, "player": "Griezmann", **change}
    match = match_of(HOME_18, with_op("AMEND", "g1", **{"rev": 2, **fields}))
    assert match.score == score
    assert shown(match, "g1").minute == fields["minute"]


def test_rule_4_what_an_amend_leaves_out_is_gone() -> None:
    penalty = goal("g1", "home", 38, "Griezmann", detail={"penalty": True})
    match = match_of(penalty, amend("g1", "GOAL", team="home", minute=38))
    assert (shown(match, "g1").player, shown(match, "g1").detail["penalty"]) == (None, False)


def test_rule_4_something_becomes_a_goal() -> None:
    note = add("g1", "NOTE", minute=18, detail={"text": "?"})
    assert match_of(note, amend("g1", "GOAL", team="home", minute=18)).score == (1, 0)


def test_rule_4_a_to_b_to_a() -> None:
    griezmann = goal("g1", "home", 18, "Griezmann")
    own_goal = amend("g1", "GOAL", team="home", minute=18, player="Mandžukić", detail={"own_goal": True})
    back = amend("g1", "GOAL", team="home", minute=18, player="Griezmann", rev=3)
    match = match_of(griezmann, own_goal, back)
    assert shown(match, "g1").player == "Griezmann"
    assert match.score == (1, 0)


# Rule 5: VAR by itself moves nothing.


@pytest.mark.parametrize("state", ["OPEN", "CLOSED"])
@pytest.mark.parametrize("outcome", [None, "Goal disallowed: offside", "no_goal"])
def test_rule_5_var_never_moves_the_score(state: str, outcome: str | None) -> None:
    detail = {"state": state, "outcome": outcome, "target_event_id": "g1"}
    match = match_of(HOME_18, add("v1", "VAR", minute=20, team="away", detail=detail))
    assert (match.score, match.status, len(match.events())) == ((1, 0), "SCHEDULED", 2)
    assert apply(match, retract("g1", reason="VAR: offside")).score == (0, 0)


def test_rule_5_a_provisional_goal_counts() -> None:
    assert match_of(goal("g1", "home", 18, status="PROVISIONAL")).score == (1, 0)


# Rule 6: full time does not close the log.


def test_rule_6_retraction_after_full_time() -> None:
    full_time = status("ft", "FT", "POST", source_ts=100)
    match = match_of(HOME_18, full_time, retract("g1", source_ts=700))
    assert (match.status, match.score) == ("FT", (0, 0))


def test_rule_6_award_months_later() -> None:
    full_time = status("ft", "FT", "POST", source_ts=100)
    award = status("aw", "AWARDED", "POST", source_ts=9_000_000_000)
    result = add(
        "so", "SCORE_OVERRIDE", period="POST", detail={"home": 0, "away": 3}, source_ts=9_000_000_000
    )
    match = match_of(HOME_18, full_time, award, result)
    assert (match.status, match.score, match.goals) == ("AWARDED", (0, 3), (1, 0))


# Rule 7: overrides and shoot-outs leave the goals alone.


def test_rule_7_override_changes_what_is_shown() -> None:
    override = add("so", "SCORE_OVERRIDE", period="POST", detail={"home": 3, "away": 0})
    match = match_of(override, HOME_18, goal("g2", "away", 20))
    assert (match.score, match.goals) == ((3, 0), (1, 1))
    assert apply(match, retract("so")).score == (1, 1)


def test_rule_7_shootout_is_counted_apart() -> None:
    match = match_of(HOME_18, kick("k1", "home", 1, scored=True), kick("k2", "away", 2, scored=False))
    assert (match.score, match.shootout) == ((1, 0), (1, 0))
    assert apply(match, kick("k3", "away", 3, scored=True)).shootout == (1, 1)
    without_k1 = apply(match, retract("k1"))
    assert without_k1.shootout == (0, 0)
    assert apply(without_k1, retract("k2")).shootout is None


def test_rule_7_a_goal_in_the_shootout_is_not_added_to_the_score() -> None:
    in_pens = goal("p1", "home", 120, period="PENS")
    match = match_of(HOME_18, in_pens)
    assert (match.goals, match.score) == ((1, 0), (1, 0))
    assert apply(match_of(HOME_18), in_pens).score == (1, 0)
    # Its period may be corrected to one of play, and it counts from then on; and back again.
    in_play = amend("p1", "GOAL", team="home", minute=120, period="ET2")
    assert apply(match, in_play).score == (2, 0)
    back = with_op("AMEND", "p1", "GOAL", rev=3, team="home", minute=120, period="PENS")
    assert apply(apply(match, in_play), back).score == (1, 0)


def test_rule_7_a_shootout_begins_with_its_status() -> None:
    assert match_of(status("p", "PENALTIES", "PENS")).shootout == (0, 0)
    assert match_of(status("p", "FT", "POST")).shootout is None


# Rule 8: the order comes from the events.


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (status("z", "LIVE", "H2", source_ts=1), status("a", "HALF_TIME", "HT", source_ts=2)),  # time first
        (status("z", "HALF_TIME", "HT", source_ts=1), status("a", "LIVE", "H2", source_ts=1)),  # then period
        (status("z", "LIVE", "H1", minute=1), status("a", "INTERRUPTED", "H1", minute=30)),  # the clock
        (status("z", "LIVE", "H1"), status("a", "INTERRUPTED", "H1", minute=0)),
        (status("z", "LIVE", "H1", minute=45), status("a", "INTERRUPTED", "H1", minute=45, stoppage=1)),
        (status("a", "LIVE", "H1"), status("b", "INTERRUPTED", "H1")),  # at last the id
        (status("z", "FT", "POST"), status("a", "LIVE", "H1", source_ts=0)),  # dated overrules undated
    ],
)
def test_rule_8_latest_status_by_the_events_own_order(earlier: Event, later: Event) -> None:
    match = match_of(earlier, later)
    assert (match.status, match.period) == (later.detail["to"], later.period)


@pytest.mark.parametrize(
    ("first", "second", "read"),
    [
        (status("s1", "LIVE", "H1"), status("s2", "HALF_TIME", "HT"), lambda match: match.status),
        (
            add("i1", "MATCH_INFO", detail={"home": {"name": "France"}, "away": {"name": "Croatia"}}),
            add("i2", "MATCH_INFO", detail={"home": {"name": "Fr"}, "away": {"name": "Cr"}}),
            lambda match: match.info and match.info.detail["home"]["name"],
        ),
        (
            add("o1", "SCORE_OVERRIDE", period="POST", detail={"home": 3, "away": 0}),
            add("o2", "SCORE_OVERRIDE", period="POST", detail={"home": 0, "away": 3}),
            lambda match: match.score,
        ),
    ],
    ids=["STATUS_CHANGE", "MATCH_INFO", "SCORE_OVERRIDE"],
)
def test_rule_8_a_retraction_falls_back_to_the_earlier_one(first: Event, second: Event, read: Any) -> None:
    nothing, one, both = match_of(), match_of(first), match_of(first, second)
    assert read(one) != read(both)
    assert read(match_of(first, second, retract(second.event_id))) == read(one)
    assert read(match_of(first, second, retract(first.event_id))) == read(both)
    gone = match_of(first, second, retract(first.event_id), retract(second.event_id))
    assert read(gone) == read(nothing)
    # What is amended into another type decides no longer either.
    noted = amend(second.event_id, "NOTE", period="POST", detail={"text": "an error"})
    assert read(match_of(first, second, noted)) == read(one)


def test_rule_8_the_timeline_is_in_the_events_order() -> None:
    match = match_of(goal("b", "home", 60), goal("a", "away", 20), goal("c", "home", 90, stoppage=2))
    assert [event.event_id for event in match.events()] == ["a", "b", "c"]
    # What was taken back stands where it happened, whenever it was taken back, and whatever its id.
    undone = match_of(goal("a", "home", 60), goal("b", "away", 20), retract("a", source_ts=1), retract("b"))
    assert [body.event_id for body, _ in undone.retracted()] == ["b", "a"]


# Rule 9: the minute is no identity.


def test_rule_9_two_goals_of_one_side_in_one_minute() -> None:
    assert match_of(goal("g1", "home", 45), goal("g2", "home", 45)).score == (2, 0)


# Rule 10: nothing is invented, and nothing but the events moves the score.


@pytest.mark.parametrize(
    "event",
    [
        add("x", "PENALTY_MISSED", minute=5, team="home"),
        add("x", "YELLOW_CARD", minute=5, team="home"),
        add("x", "SECOND_YELLOW", minute=5, team="home"),
        add("x", "RED_CARD", minute=5, team="home"),
        add("x", "SUBSTITUTION", minute=5, team="home"),
        add("x", "STOPPAGE_ANNOUNCED", minute=45, detail={"minutes": 4}),
        add("x", "NOTE", minute=5, detail={"text": "3-0"}),
        add("x", "X_GOAL_NEW", minute=5, team="home", detail={"home": 3}),
        status("x", "FT", "POST"),
    ],
    ids=lambda event: event.type,
)
def test_rule_10_only_goals_count(event: Event) -> None:
    match = match_of(HOME_18, event)
    assert (match.score, match.shootout) == ((1, 0), None)
    assert len(match.events()) == 2


def test_resolve_returns_what_was_known_when_nothing_changes() -> None:
    known = resolve(None, HOME_18)
    assert resolve(known, HOME_18) is known
    dead = resolve(known, retract("g1", rev=2))
    assert resolve(dead, retract("g1")) is dead
    assert resolve(dead, HOME_18) is dead
    assert dead.live is None
    assert known.live == HOME_18


def test_state_of_nothing() -> None:
    assert state_json(match_of()) == {
        "match_id": MATCH_ID,
        "status": "SCHEDULED",
        "period": "PRE",
        "clock": {"period": "PRE", "minute": None, "stoppage": 0},
        "score": {"home": 0, "away": 0},
        "goals": {"home": 0, "away": 0},
        "shootout": None,
        "events": [],
        "retracted": [],
        "pending": [],
    }
