"""A match with its position: whatever the network does, it converges or knows that it has not."""

from __future__ import annotations

import pytest
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st

from shared_state import (
    Delta,
    DeltaId,
    Event,
    InvalidEvent,
    Receipt,
    Replica,
    Score,
    WireError,
    fold,
    match_hash,
)
from shared_state.replica import BUFFERED_MAX
from tests import strategies
from tests.events_by_hand import goal, retract
from tests.strategies import EPOCH, MATCH_ID


def published(history: list[Event]) -> tuple[Replica, list[Delta]]:
    """The origin after it folded a log, and what it published."""
    origin = Replica.begin(MATCH_ID, EPOCH)
    deltas = [origin.assign(event, EPOCH + count) for count, event in enumerate(history)]
    return origin, [delta for delta in deltas if delta is not None]


def goals(count: int) -> list[Delta]:
    return published([goal(f"g{n}", "home", n) for n in range(count)])[1]


def test_assign_gives_ids_without_gaps_to_what_changes_the_match() -> None:
    history = [
        goal("g1", "home", 18),
        goal("g1", "home", 18),
        retract("g9"),
        retract("g1"),
        goal("g1", "home", 18),
    ]
    origin, deltas = published(history)
    assert [str(delta.id) for delta in deltas] == [f"{EPOCH}-1", f"{EPOCH}-2", f"{EPOCH}-3"]
    assert [delta.accepted_ms - EPOCH for delta in deltas] == [0, 2, 3]
    assert [delta.score for delta in deltas] == [(1, 0), (1, 0), (0, 0)]
    assert (origin.position, origin.accepted_ms) == ((EPOCH, 3), EPOCH + 3)


@given(strategies.histories())
def test_every_region_computes_the_same_ids(history: list[Event]) -> None:
    assert published(history)[1] == published(history)[1]
    origin, deltas = published(history)
    assert [delta.id.seq for delta in deltas] == list(range(1, len(deltas) + 1))
    assert origin.hash() == match_hash(fold(MATCH_ID, history))
    replayed = Replica.restore(origin.snapshot())
    assert [replayed.assign(event, 0) for event in history] == [None] * len(history)  # at least once is once


def test_assign_of_another_match_changes_nothing() -> None:
    origin, _ = published([goal("g1", "home", 18)])
    before = origin.snapshot()
    with pytest.raises(InvalidEvent, match=r"^match_id: must be fra-cro"):
        origin.assign(goal("g2", "home", 20, match_id="other"), EPOCH)
    assert origin.snapshot() == before


@given(st.data(), strategies.histories())
def test_any_network_converges_or_asks_for_a_snapshot(data: st.DataObject, history: list[Event]) -> None:
    """Deltas come in any order, some twice, some never; then the missing ones are replayed from its id."""
    origin, deltas = published(history)
    some = st.lists(st.sampled_from(deltas), max_size=2 * len(deltas)) if deltas else st.just([])
    sent: list[Delta] = data.draw(some)
    viewer = Replica.begin(MATCH_ID, EPOCH)
    for delta in sent:
        before = viewer.snapshot()
        receipt = viewer.receive(delta)
        assert receipt is not Receipt.NEED_SNAPSHOT
        assert (viewer.snapshot() == before) == (receipt is not Receipt.APPLIED)
        # At every moment it is a state that the origin was in: never a hole, never a half.
        prefix = deltas[: viewer.position.seq]
        assert viewer.hash() == match_hash(fold(MATCH_ID, [one.event for one in prefix]))
    receipt = viewer.check(origin.position, origin.hash())
    assert receipt is (Receipt.IN_STEP if viewer.position == origin.position else Receipt.WAITING)
    note(receipt.value)
    for delta in deltas[viewer.position.seq :]:
        viewer.receive(delta)
    assert viewer.check(origin.position, origin.hash()) is Receipt.IN_STEP
    assert viewer.snapshot() == origin.snapshot()


@given(st.data(), strategies.histories())
def test_a_wrong_replica_is_found_out_at_the_latest_by_a_heartbeat(
    data: st.DataObject, history: list[Event]
) -> None:
    """One delta of the past is exchanged for another: the score tells, or the next heartbeat does."""
    origin, deltas = published([*history, goal("last", "home", 90)])
    at = data.draw(st.integers(0, len(deltas) - 1))
    forged = data.draw(strategies.events(ids=["forged"]))
    one = deltas[at]
    viewer = Replica.begin(MATCH_ID, EPOCH)
    receipts = [viewer.receive(delta) for delta in deltas[:at]]
    receipts += [viewer.receive(Delta(one.id, forged, one.accepted_ms, one.score, one.shootout))]
    receipts += [viewer.receive(delta) for delta in deltas[at + 1 :]]
    heartbeat = viewer.check(origin.position, origin.hash())
    if Receipt.NEED_SNAPSHOT not in [*receipts, heartbeat]:
        assert heartbeat is Receipt.WAITING


def test_deltas_in_order() -> None:
    viewer = Replica.begin(MATCH_ID, EPOCH)
    first, second = goals(2)
    assert viewer.receive(first) is Receipt.APPLIED
    assert viewer.receive(first) is Receipt.DUPLICATE
    assert viewer.receive(second) is Receipt.APPLIED
    assert viewer.receive(first) is Receipt.DUPLICATE
    assert (viewer.match.score, viewer.position, viewer.accepted_ms) == ((2, 0), (EPOCH, 2), EPOCH + 1)


def test_a_hole_is_waited_for() -> None:
    viewer = Replica.begin(MATCH_ID, EPOCH)
    first, second, third, fourth = goals(4)
    assert [viewer.receive(delta) for delta in (third, second, third)] == [Receipt.WAITING] * 3
    assert (viewer.match.score, viewer.position.seq, viewer.accepted_ms) == ((0, 0), 0, None)
    assert viewer.receive(first) is Receipt.APPLIED
    assert (viewer.match.score, viewer.position.seq) == ((3, 0), 3)
    assert viewer.receive(third) is Receipt.DUPLICATE
    assert viewer.receive(fourth) is Receipt.APPLIED


def test_what_is_held_has_a_bound() -> None:
    viewer = Replica.begin(MATCH_ID, EPOCH)
    deltas = goals(BUFFERED_MAX + 3)
    receipts = [viewer.receive(delta) for delta in deltas[1:]]
    assert receipts == [Receipt.WAITING] * BUFFERED_MAX + [Receipt.NEED_SNAPSHOT] * 2
    assert viewer.receive(deltas[0]) is Receipt.APPLIED  # what is held still helps, if the hole closes
    assert viewer.position.seq == BUFFERED_MAX + 1


@pytest.mark.parametrize("epoch", [EPOCH - 1, EPOCH + 1])
def test_another_epoch_needs_a_snapshot(epoch: int) -> None:
    viewer = Replica.begin(MATCH_ID, epoch)
    before = viewer.snapshot()
    assert viewer.receive(goals(1)[0]) is Receipt.NEED_SNAPSHOT
    assert viewer.check(DeltaId(EPOCH, 0), viewer.hash()) is Receipt.NEED_SNAPSHOT
    assert viewer.snapshot() == before


@pytest.mark.parametrize(("score", "shootout"), [((0, 0), None), ((1, 1), None), ((1, 0), (0, 0))])
def test_another_score_needs_a_snapshot(score: tuple[int, int], shootout: tuple[int, int] | None) -> None:
    viewer = Replica.begin(MATCH_ID, EPOCH)
    before = viewer.snapshot()
    given_shootout = None if shootout is None else Score(*shootout)
    wrong = Delta(DeltaId(EPOCH, 1), goal("g1", "home", 18), EPOCH, Score(*score), given_shootout)
    assert viewer.receive(wrong) is Receipt.NEED_SNAPSHOT
    assert viewer.snapshot() == before


def test_a_wrong_delta_behind_a_hole_leaves_the_last_good_state() -> None:
    viewer = Replica.begin(MATCH_ID, EPOCH)
    first, second = goals(2)
    viewer.receive(Delta(second.id, second.event, second.accepted_ms, Score(7, 7), None))
    assert viewer.receive(first) is Receipt.NEED_SNAPSHOT
    assert (viewer.position.seq, viewer.match.score) == (1, (1, 0))


@pytest.mark.parametrize("seq", [1, 2])
@pytest.mark.parametrize("epoch", [EPOCH, EPOCH + 1])
def test_delta_of_another_match_is_refused_before_it_is_held(seq: int, epoch: int) -> None:
    viewer = Replica.begin(MATCH_ID, EPOCH)
    stray = Delta(DeltaId(epoch, seq), goal("g1", "home", 18, match_id="other"), EPOCH, Score(1, 0), None)
    with pytest.raises(InvalidEvent, match=r"^match_id: must be fra-cro"):
        viewer.receive(stray)
    assert viewer == Replica.begin(MATCH_ID, EPOCH)
    assert viewer.receive(goals(1)[0]) is Receipt.APPLIED


@pytest.mark.parametrize(
    ("head", "same_hash", "receipt"),
    [
        (DeltaId(EPOCH, 2), True, Receipt.IN_STEP),
        (DeltaId(EPOCH, 2), False, Receipt.NEED_SNAPSHOT),
        (DeltaId(EPOCH, 3), True, Receipt.WAITING),
        (DeltaId(EPOCH, 3), False, Receipt.WAITING),
        (DeltaId(EPOCH, 1), False, Receipt.IN_STEP),  # written before the last delta
        (DeltaId(EPOCH + 1, 2), True, Receipt.NEED_SNAPSHOT),
        (DeltaId(EPOCH + 1, 9), False, Receipt.NEED_SNAPSHOT),
    ],
)
def test_heartbeat(head: DeltaId, same_hash: bool, receipt: Receipt) -> None:
    viewer = Replica.begin(MATCH_ID, EPOCH)
    for delta in goals(2):
        viewer.receive(delta)
    before = viewer.snapshot()
    assert viewer.check(head, viewer.hash() if same_hash else "0" * 16) is receipt
    assert viewer.snapshot() == before


def test_restore_of_no_snapshot_is_a_wire_error() -> None:
    with pytest.raises(WireError):
        Replica.restore(b"{}")
