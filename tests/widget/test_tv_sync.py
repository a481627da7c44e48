"""The delay of a screen, from a moment on it and when the log took that moment."""

from __future__ import annotations

import json
import random

import pytest

from shared_state import Event, Replica, encode_delta
from shared_state.jsontext import Json
from testkit.built_widget import run_node
from tests.events_by_hand import amend, goal, retract, status

EPOCH = 1_700_000_000_000
SCRIPT = """
    import { delayOf } from "./tv-sync.js";
    print(input.map(([deltas, moment, nowMs]) => delayOf(deltas, moment, nowMs)));
"""


def deltas_of(*steps: tuple[float, Event]) -> Json:
    """Events as an answer has them, each with the seconds after the epoch at which the log took it."""
    replica = Replica.begin("fra-cro", EPOCH)
    deltas = [replica.assign(event, EPOCH + round(at_s * 1_000)) for at_s, event in steps]
    return [[str(delta.id), json.loads(encode_delta(delta))] for delta in deltas if delta is not None]


MATCH = deltas_of(
    (0, status("ko", "LIVE", "H1", minute=0)),
    (300, goal("g1", "home", 5)),
    (330, goal("g2", "home", 5)),
    (340, retract("g2")),
    (341, amend("g1", "GOAL", team="home", minute=6, rev=2)),
    (345, status("ht", "HALF_TIME", "HT")),
)


@pytest.mark.parametrize("moment", ["kickoff", "goal"])
def test_the_delay_is_right_to_a_second_for_offsets_from_2_to_60_seconds(moment: str) -> None:
    chosen = random.Random(7)
    offsets_s = [2.0, 60.0, *(chosen.uniform(2, 60) for _ in range(18))]
    began_s = 0 if moment == "kickoff" else 330
    found = run_node(
        SCRIPT, [[MATCH, moment, EPOCH + (began_s + offset_s) * 1_000] for offset_s in offsets_s]
    )
    assert isinstance(found, list)
    assert all(abs(delay_s - offset_s) <= 0.5 for delay_s, offset_s in zip(found, offsets_s, strict=True))


def test_the_moment_is_the_last_one_before_now_within_two_minutes() -> None:
    cases: list[tuple[str, float]] = [
        ("goal", 329.9),  # the second one is not there yet
        ("goal", 450.2),
        ("goal", 450.8),
        ("kickoff", 119.9),
        ("kickoff", 121),
        ("goal", 299),
        ("kickoff", -1),
    ]
    found = run_node(SCRIPT, [[MATCH, moment, EPOCH + now_s * 1_000] for moment, now_s in cases])
    assert found == [30, 120, None, 120, None, None, None]
