"""195 score and status changes that were really published after the match, replayed as corrections.

Each match of ``real-amendments-leagues.json`` becomes one SCORE_OVERRIDE and one STATUS_CHANGE that are
amended as often as the publisher changed his mind. In whatever order, and however often, the revisions
come, the match ends at the last value published.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shared_state import Event, Replica, Score, apply, fold, match_hash
from shared_state.match import Match

DATA = Path(__file__).parents[1] / "data" / "openfootball" / "real-amendments-leagues.json"
ROWS: list[dict[str, Any]] = json.loads(DATA.read_text())["rows"]
STATUSES = {
    None: "FT",
    "postponed": "POSTPONED",
    "cancelled": "CANCELLED",
    "abandoned": "ABANDONED",
    "awarded": "AWARDED",
}


def histories() -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The published values of each match, oldest first.

    The date is part of who a match is: Juventus and PSV met twice in one file, both on "Matchday 1". One
    that is postponed moves to another date, so the rows that belong to one match are found by value: each
    goes on from where an earlier row of the same teams stopped.
    """
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in sorted(ROWS, key=lambda row: row["at"]):
        teams = (row["file"], row["team1"], row["team2"])
        for number in range(10):
            history = found.setdefault((*teams, str(number)), [{"at": "2024-01-01T00:00", **row["before"]}])
            if {key: history[-1][key] for key in row["before"]} == row["before"]:
                history.append({"at": row["at"], **row["after"]})
                break
    return found


def revisions(history: list[dict[str, Any]]) -> list[Event]:
    """One ADD and then AMENDs of a result and a status; a result that is taken away is a RETRACT."""
    events = []
    for rev, value in enumerate(history, start=1):
        common: dict[str, Any] = {
            "match_id": "m",
            "rev": rev,
            "op": "ADD" if rev == 1 else "AMEND",
            "source_ts": int(datetime.fromisoformat(value["at"]).replace(tzinfo=UTC).timestamp()) * 1000,
        }
        shown = value["score"].get("et", value["score"].get("ft"))
        if shown is None:
            events.append(Event(**{**common, "op": "RETRACT", "event_id": "result"}))
        else:
            detail = {"home": shown[0], "away": shown[1]}
            events.append(
                Event(**common, event_id="result", type="SCORE_OVERRIDE", period="POST", detail=detail)
            )
        status = {"to": STATUSES[value["status"]]}
        events.append(Event(**common, event_id="status", type="STATUS_CHANGE", period="POST", detail=status))
    return events


def test_every_row_belongs_to_one_history() -> None:
    assert len(ROWS) == 195
    assert sum(len(history) - 1 for history in histories().values()) == 195


@pytest.mark.parametrize("history", list(histories().values()), ids=lambda h: str(len(h)))
def test_a_match_ends_at_the_last_published_value_in_any_order(history: list[dict[str, Any]]) -> None:
    events = revisions(history)
    last = history[-1]
    shown = last["score"].get("et", last["score"].get("ft"))
    random = Random(len(events))
    told = fold("m", events)
    assert told.score == (Score(0, 0) if shown is None else Score(*shown))
    assert told.status == STATUSES[last["status"]]
    for _ in range(5):
        shuffled = random.choices(events, k=3) + random.sample(events, k=len(events))
        match = Match(match_id="m")
        for event in shuffled:
            match = apply(match, event)
        assert match_hash(match) == match_hash(told)


def test_each_published_change_of_the_score_is_one_delta() -> None:
    for history in histories().values():
        replica = Replica.begin("m", 1_700_000_000_000)
        events = revisions(history)
        deltas = [replica.assign(event, 1_700_000_000_000) for event in events]
        assert all(delta is not None for delta in deltas)
        assert replica.position.seq == len(events)
