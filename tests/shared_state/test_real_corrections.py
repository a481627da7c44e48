"""Corrections that were really published, each found in the history of a public data set.

They are written as a live feed would have sent them. ``steps`` are the score after each event; the last
column is what the match page must say in the end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from shared_state import Event, Match, apply, fold, match_hash
from tests.events_by_hand import MATCH_ID, add, amend, goal, kick, retract, status


@dataclass(frozen=True)
class Case:
    """One real correction."""

    name: str
    events: tuple[Event, ...]
    steps: tuple[tuple[int, int], ...]
    status: str
    shootout: tuple[int, int] | None = None


def override(event_id: str, home: int, away: int, *, rev: int = 1) -> Event:
    return (add if rev == 1 else amend)(
        event_id, "SCORE_OVERRIDE", period="POST", detail={"home": home, "away": away}, rev=rev
    )


def goals(home: int, away: int) -> tuple[Event, ...]:
    return tuple(
        goal(f"{side}{n}", side, 10 * n)
        for side, count in (("home", home), ("away", away))
        for n in range(count)
    )


CASES = (
    Case(
        "2026 USA-Paraguay: Reyna's goal moves from 90+7 to 90+8 the same night",
        (
            goal("g1", "home", 90, "Reyna", stoppage=7),
            status("ft", "FT", "POST"),
            amend("g1", "GOAL", team="home", minute=90, stoppage=8, player="Reyna", reason="officially 90+8"),
        ),
        ((1, 0), (1, 0), (1, 0)),
        "FT",
    ),
    Case(
        "2022 Costa Rica-Germany: Neuer's own goal becomes Vargas' goal, six days later",
        (
            goal("g1", "home", 70, "Neuer", detail={"own_goal": True}),
            status("ft", "FT", "POST", source_ts=1_000),
            amend("g1", "GOAL", team="home", minute=70, player="Vargas", source_ts=518_400_000),
        ),
        ((1, 0), (1, 0), (1, 0)),
        "FT",
    ),
    Case(
        "2022 England-Iran: Grealish 90, then 89, then 90 again",
        (
            goal("g6", "home", 90, "Grealish"),
            amend("g6", "GOAL", team="home", minute=89, player="Grealish"),
            amend("g6", "GOAL", team="home", minute=90, player="Grealish", rev=3),
        ),
        ((1, 0), (1, 0), (1, 0)),
        "SCHEDULED",
    ),
    Case(
        "2024-25 Union Berlin-Bochum: 1-1, 0-2, 1-1, 0-2, then awarded",
        (
            *goals(1, 1),
            status("ft", "FT", "POST", source_ts=1),
            override("so", 0, 2),
            retract("so", rev=2),
            override("so", 0, 2, rev=3),
            status("aw", "AWARDED", "POST", source_ts=2),
        ),
        ((1, 0), (1, 1), (1, 1), (0, 2), (1, 1), (0, 2), (0, 2)),
        "AWARDED",
    ),
    Case(
        "Montpellier-Saint-Étienne: scheduled, cancelled, 0-2, awarded 0-2",
        (
            status("s1", "SCHEDULED", "PRE", source_ts=1),
            goal("g1", "away", 20),
            goal("g2", "away", 40),
            status("s2", "CANCELLED", "H2", source_ts=2),
            override("so", 0, 2),
            status("s3", "AWARDED", "POST", source_ts=3),
        ),
        ((0, 0), (0, 1), (0, 2), (0, 2), (0, 2), (0, 2)),
        "AWARDED",
    ),
    Case(
        "Fiorentina-Inter: called off in play, set anew, 3-0",
        (
            status("s1", "INTERRUPTED", "H1", source_ts=1),
            status("s2", "POSTPONED", "PRE", source_ts=2),
            status("s3", "SCHEDULED", "PRE", source_ts=3),
            *goals(3, 0),
            status("s4", "FT", "POST", source_ts=4),
        ),
        ((0, 0), (0, 0), (0, 0), (1, 0), (2, 0), (3, 0), (3, 0)),
        "FT",
    ),
    Case(
        "2025 Liverpool-PSG: the shoot-out was added into full time (1-5), later split: 0-1 and 1-4",
        (
            goal("g1", "away", 12, "Dembélé"),
            override("so", 1, 5),
            status("p", "FT_PENS", "POST"),
            *[kick(f"a{n}", "away", 2 * n, scored=True) for n in range(1, 5)],
            kick("h1", "home", 1, scored=True),
            retract("so", reason="shoot-out counted twice"),
        ),
        ((0, 1), (1, 5), (1, 5), (1, 5), (1, 5), (1, 5), (1, 5), (1, 5), (0, 1)),
        "FT_PENS",
        (1, 4),
    ),
    Case(
        "Barcelona-Real Madrid: 4-3, 5-3, 4-3: a wrong correction taken back",
        (*goals(4, 3), goal("g8", "home", 90, stoppage=5), retract("g8", reason="never given")),
        ((1, 0), (2, 0), (3, 0), (4, 0), (4, 1), (4, 2), (4, 3), (5, 3), (4, 3)),
        "SCHEDULED",
    ),
    Case(
        "2022 Tunisia-France: Griezmann's 90+8 is ruled out after the final whistle",
        (
            goal("g1", "home", 58, "Khazri"),
            goal("g2", "away", 90, "Griezmann", stoppage=8, status="PROVISIONAL"),
            status("ft", "FT", "POST"),
            add("v1", "VAR", period="POST", detail={"state": "CLOSED", "target_event_id": "g2"}),
            retract("g2", rev=2, reason="VAR: offside"),
        ),
        ((1, 0), (1, 1), (1, 1), (1, 1), (1, 0)),
        "FT",
    ),
    Case(
        "2018 Sweden-England on the world feed: 1-0, 2-0, 1-0, 0-0, 0-1",
        (
            goal("x1", "home", 29),
            goal("x2", "home", 29),
            retract("x2"),
            retract("x1"),
            goal("g1", "away", 30, "Maguire"),
        ),
        ((1, 0), (2, 0), (1, 0), (0, 0), (0, 1)),
        "SCHEDULED",
    ),
    Case(
        "A deletion whose version was never raised: the source repeats the revision",
        (goal("g1", "home", 3, source_ts=10), retract("g1", source_ts=10)),
        ((1, 0), (0, 0)),
        "SCHEDULED",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_real_correction(case: Case) -> None:
    match, steps = Match(match_id=MATCH_ID), []
    for event in case.events:
        match = apply(match, event)
        steps.append(tuple(match.score))
    assert steps == list(case.steps)
    assert (match.status, match.shootout) == (case.status, case.shootout)
    shuffle = random.Random(7).shuffle
    for _ in range(20):
        late = [*case.events, *case.events]
        shuffle(late)
        assert fold(MATCH_ID, late) == match
        assert match_hash(fold(MATCH_ID, late)) == match_hash(match)


def test_grealish_ends_where_he_began() -> None:
    """A -> B -> A: the body is the old one again; only the revision tells that it was ever doubted."""
    first, _, third = next(case for case in CASES if "Grealish" in case.name).events
    assert {**first.body(), "rev": 3, "op": "AMEND"} == third.body()
