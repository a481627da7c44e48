"""One real match, told again and again: in any order, with duplicates, it ends as the last document alone.

The 2018 final of ``tests/data/vendor`` grows row by row, and its goals are edited, invented, retyped and
deleted as each vendor does it (``testkit/services/vendor_matches.py``). Invented matches, pushes and restarts
are in ``test_clocks.py`` and the tests of each format.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from origin.eventlog.memory import wall_clock_ms
from origin.feeds.vendor_document import STANDS_MS, VendorDocument, VendorDocumentFeed
from origin.feedworker.formats import open_format
from shared_state import Event, Match, fold, match_hash
from testkit.services.vendor import ACTIONS
from testkit.services.vendor_matches import OptaMatch, SportradarMatch
from testkit.vendor_simulator import shown

Kind = type[OptaMatch | SportradarMatch]
STEPS = st.lists(st.sampled_from((*ACTIONS, "advance", "advance", "advance")), min_size=6, max_size=30)


def told_of(kind: Kind, begun: int, steps: list[str]) -> list[VendorDocument]:
    """What each document says, oldest first, from that row on."""
    match, read = kind(), open_format(kind.feed).read
    for _ in range(begun):
        match.advance()
    snapshots: list[VendorDocument] = []
    for step in steps:
        getattr(match, step)()
        snapshots += read(match.document(), wall_clock_ms())
    return snapshots


def folded(snapshots: list[VendorDocument]) -> tuple[Match, list[Event]]:
    match_id = snapshots[0].match_id
    feed = VendorDocumentFeed(match_id, lambda _: None)
    events = [event for snapshot in snapshots for event in feed.take(snapshot)]
    return fold(match_id, events), events


def hash_of_what_stands(match: Match) -> str:
    """Without what the last document cannot know: what was taken back, and how often each thing was said."""
    return match_hash(renumbered(match))


def renumbered(match: Match) -> Match:
    once = [replace(event, rev=1, op="ADD", source_ts=None) for event in match.events()]
    return fold(match.match_id, with_goals_by_number(once))


def with_goals_by_number(events: list[Event]) -> list[Event]:
    """The events, their goals numbered by what they say: one that was entered again keeps its first id."""
    goals = [event for event in events if event.type == "GOAL"]
    goals.sort(key=lambda goal: str({**goal.body(), "event_id": ""}))
    numbered = [replace(goal, event_id=f"goal-{number}") for number, goal in enumerate(goals)]
    return [*(event for event in events if event.type != "GOAL"), *numbered]


@pytest.mark.parametrize("kind", [OptaMatch, SportradarMatch])
@settings(max_examples=100)
@given(begun=st.integers(1, 18), steps=STEPS, data=st.data())
def test_any_sequence_of_a_real_match_ends_as_its_last_document_alone(
    kind: Kind, begun: int, steps: list[str], data: st.DataObject
) -> None:
    snapshots = told_of(kind, begun, steps)
    last = snapshots[-1]
    sequence = data.draw(st.lists(st.sampled_from(snapshots), max_size=30))
    sequence.insert(data.draw(st.integers(0, len(sequence))), last)
    if (
        kind is SportradarMatch
    ):  # a row that is gone once may be a cache that lags: it has to stand for a while
        assert last.read_ms is not None
        sequence.append(replace(last, read_ms=last.read_ms + STANDS_MS))
    match, events = folded(sequence)
    alone, _ = folded([last])
    assert shown(renumbered(match), "source_ts") == shown(renumbered(alone), "source_ts")
    assert hash_of_what_stands(match) == hash_of_what_stands(alone)
    # What came out of it is a set too: the log may hold it in any order, and more than once.
    said = data.draw(st.permutations([*events, *events]))
    assert match_hash(fold(match.match_id, said)) == match_hash(match)
