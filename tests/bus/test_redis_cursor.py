"""Messages in any order, lost and repeated, mixed with re-reads: all are delivered, once and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from origin.bus import Gap, Published
from origin.bus.memory import MemoryBus
from origin.bus.redis_cursor import Cursor, Subscriber
from origin.bus.redis_store import PROVENANCE_ID, decode_announcement
from shared_state import DeltaId
from tests.bus.contract import EPOCH, delta, snapshot_at

MATCH = "fra-cro"

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 4)),
        st.tuples(st.just("message"), st.integers(0, 40)),  # any that was ever sent, once more or first
        st.tuples(st.just("begin"), st.just(0)),
        st.tuples(st.just("reread"), st.just(0)),
        st.tuples(st.just("rebuild"), st.just(0)),
    ),
    max_size=60,
)


def reread(cursor: Cursor, bus: MemoryBus) -> None:
    """As the supervisor does it."""
    after = cursor.position or DeltaId(0, 0)
    answer = bus.replay(MATCH, after)
    if isinstance(answer, Gap) and answer.head is not None and answer.head.epoch > after.epoch:
        answer = bus.replay(MATCH, DeltaId(answer.head.epoch, 0))
    cursor.take_replay(answer)


def test_a_reader_of_an_older_version_drops_what_says_where_a_delta_comes_from() -> None:
    """It takes each message for a delta, and ``0-0`` is before every one."""
    cursor = Cursor(MATCH)
    received: list[Published] = []
    cursor.add(Subscriber(received.append, None))
    cursor.begin(DeltaId(EPOCH, 1))
    cursor.stale = False
    announcement = Published(PROVENANCE_ID, f'{EPOCH}-2 {{"w":"msg_1"}}'.encode())
    assert cursor.take_live(announcement)
    assert cursor.take_live(delta(2))
    assert received == [delta(2)]
    assert not cursor.stale


def test_what_says_where_another_delta_comes_from_is_not_believed_of_this_one() -> None:
    cursor = Cursor(MATCH)
    received: list[Published] = []
    cursor.add(Subscriber(received.append, None))
    cursor.begin(DeltaId(EPOCH, 1))
    cursor.announced = decode_announcement(f'{EPOCH}-3 {{"w":"msg_3"}}'.encode())
    assert cursor.take_live(delta(2))
    assert cursor.take_live(delta(3))
    assert [one.provenance for one in received] == [None, None]


@given(STEPS)
def test_told_once_in_order_and_in_the_end_all(steps: list[tuple[str, int]]) -> None:
    bus, cursor = MemoryBus(), Cursor(MATCH)
    received: list[Published] = []
    gaps: list[DeltaId] = []
    cursor.add(Subscriber(received.append, gaps.append))
    sent: list[Published] = []
    epoch, seq, base = EPOCH, 0, None
    for kind, number in steps:
        if kind == "publish":
            for _ in range(number):
                seq += 1
                sent.append(delta(seq, epoch))
                bus.publish(MATCH, sent[-1], snapshot_at(seq, epoch))
        elif kind == "rebuild" and seq:
            epoch, seq = epoch + 1, 0
        elif kind == "message" and sent:
            cursor.take_live(sent[number % len(sent)])
        elif kind == "begin" and not cursor.ready.is_set():
            base = bus.head(MATCH)
            cursor.begin(base)
        elif kind == "reread" and cursor.ready.is_set():
            reread(cursor, bus)
    if cursor.ready.is_set():
        reread(cursor, bus)
        # An epoch that was replaced before all of it was read is no loss: the new one is complete.
        last_epoch = sent[-1].id.epoch if sent else EPOCH
        expected = [p for p in sent if p.id.epoch == last_epoch and (base is None or p.id > base)]
        assert [p for p in received if p.id.epoch == last_epoch] == expected
    else:
        assert received == []
    assert gaps == []
    assert [p.id for p in received] == sorted({p.id for p in received})
