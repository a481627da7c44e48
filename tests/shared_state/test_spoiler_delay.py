"""What a reader sees who stays some seconds behind."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared_state import Delta, Event, Match, Replica
from shared_state.match import apply, fold
from shared_state.spoiler_delay import Behind, behind, without
from tests.events_by_hand import MATCH_ID, amend, goal, retract, status

EPOCH = 1_700_000_000_000


def deltas_of(*steps: tuple[int, Event]) -> list[Delta]:
    """Events as deltas, each with the milliseconds after the epoch at which the log took it."""
    replica = Replica.begin(MATCH_ID, EPOCH)
    found = [replica.assign(event, EPOCH + at_ms) for at_ms, event in steps]
    return [delta for delta in found if delta is not None]


@st.composite
def histories(draw: st.DrawFn) -> list[Delta]:
    """Goals that come, are changed, are taken back and come again, each after a while."""
    at_ms = 0
    revs = dict.fromkeys("abcd", 0)
    steps: list[tuple[int, Event]] = []
    for _ in range(draw(st.integers(0, 14))):
        at_ms += draw(st.sampled_from([0, 1, 5, 9, 10, 11, 30]))
        event_id = draw(st.sampled_from("abcd"))
        revs[event_id] += 1
        op = draw(st.sampled_from(["ADD", "AMEND", "RETRACT"]))
        fields: dict[str, Any] = {"match_id": MATCH_ID, "event_id": event_id, "rev": revs[event_id], "op": op}
        if op != "RETRACT":
            fields |= {"type": "GOAL", "period": "H1", "minute": 1, "team": "home", "player": f"P{at_ms}"}
        steps.append((at_ms, Event.from_json(fields)))
    return deltas_of(*steps)


def seen_by(reader: Behind) -> tuple[int, set[str]]:
    return reader.length, set(reader.unseen)


def is_live(match: Match, event_id: str) -> bool:
    record = match.records.get(event_id)
    return record is not None and record.live is not None


class Reader:
    """The rule itself, millisecond by millisecond: nothing comes onto the board that is known to be taken back."""

    def __init__(self, deltas: list[Delta], delay_ms: int, now_ms: int) -> None:
        boards = [Match(match_id=MATCH_ID)]
        for delta in deltas:
            boards.append(apply(boards[-1], delta.event))
        self.seen: set[str] = set()
        self.count = known = 0
        for at_ms in range(EPOCH, now_ms + 1):
            old_enough = sum(delta.accepted_ms + delay_ms <= at_ms for delta in deltas)
            for count in range(old_enough, self.count, -1):
                live = {event_id for event_id in "abcd" if is_live(boards[count], event_id)}
                before = boards[self.count : count]
                new = {event_id for event_id in live if not all(is_live(board, event_id) for board in before)}
                if all(is_live(board, event_id) for board in boards[count : known + 1] for event_id in new):
                    self.count = count
                    self.seen |= live
                    break
            known = sum(delta.accepted_ms <= at_ms for delta in deltas)
        self.board = boards[self.count]


@settings(max_examples=400)
@given(histories(), st.sampled_from([1, 10, 25]), st.integers(0, 150))
def test_a_reader_is_never_shown_what_is_known_to_be_taken_back(
    deltas: list[Delta], delay_ms: int, after_ms: int
) -> None:
    now_ms = EPOCH + after_ms
    reader = Reader(deltas, delay_ms, now_ms)
    count, unseen = behind([delta for delta in deltas if delta.accepted_ms <= now_ms], delay_ms, now_ms)
    assert count == reader.count
    # Nothing that was on the board vanishes without a word.
    assert not unseen & reader.seen
    assert not any(is_live(reader.board, event_id) for event_id in unseen)
    # Nothing is struck through that was never on it.
    retracted = {event.event_id for event, _ in reader.board.retracted()}
    assert retracted - reader.seen <= unseen


@given(histories(), st.sampled_from([1, 10, 25]))
def test_what_is_shown_never_goes_back(deltas: list[Delta], delay_ms: int) -> None:
    counts = [behind(deltas, delay_ms, EPOCH + ms).length for ms in range(0, 160, 3)]
    assert counts == sorted(counts)
    assert behind(deltas, delay_ms, None).length == len(deltas)


@given(histories(), st.sampled_from([1, 10, 25]))
def test_events_that_nobody_saw_change_nothing_else(deltas: list[Delta], delay_ms: int) -> None:
    whole = fold(MATCH_ID, [delta.event for delta in deltas])
    shown = without(whole, behind(deltas, delay_ms, None).unseen)
    assert (shown.score, shown.status, shown.events()) == (whole.score, whole.status, whole.events())


def test_a_goal_that_is_taken_back_in_time_has_never_been() -> None:
    deltas = deltas_of(
        (0, status("ko", "LIVE", "H1")),
        (1_000, goal("g1", "home", 1)),
        (20_000, retract("g1")),
        (25_000, goal("g2", "home", 2)),
    )
    assert seen_by(behind(deltas, 30_000, EPOCH + 49_999)) == (1, set())
    assert seen_by(behind(deltas, 30_000, EPOCH + 50_000)) == (3, {"g1"})
    assert seen_by(behind(deltas, 30_000, EPOCH + 55_000)) == (4, {"g1"})
    # Who is less far behind has seen it, and sees it struck through.
    assert seen_by(behind(deltas, 10_000, EPOCH + 29_000)) == (2, set())
    assert seen_by(behind(deltas, 10_000, EPOCH + 30_000)) == (3, set())


def test_a_goal_that_comes_again_is_seen() -> None:
    again = amend("g1", "GOAL", team="home", minute=1, rev=3)
    deltas = deltas_of((0, goal("g1", "home", 1)), (5_000, retract("g1", rev=2)), (20_000, again))
    assert seen_by(behind(deltas[:2], 10_000, EPOCH + 15_000)) == (2, {"g1"})
    assert seen_by(behind(deltas, 10_000, EPOCH + 29_999)) == (2, {"g1"})
    assert seen_by(behind(deltas, 10_000, EPOCH + 30_000)) == (3, set())


def test_nothing_unseen_is_the_same_match() -> None:
    match = fold(MATCH_ID, [goal("g1", "home", 1)])
    assert without(match, ()) is match
    assert without(match, {"other"}) is match
