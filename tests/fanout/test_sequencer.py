"""A region under an embargo: gapless ids, the same end, and nothing shown that was retracted in time."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from origin.bus import Suffix
from origin.bus.memory import MemoryBus
from origin.eventlog import LogRecord
from origin.eventlog.memory import MemoryEventLog
from origin.fanout.sequencer import DirectSequencer, EmbargoedSequencer, Sequencer
from origin.fanout.worker import FanOut
from shared_state import (
    Delta,
    DeltaId,
    Event,
    Match,
    Receipt,
    Replica,
    apply,
    decode_delta,
    fold,
    match_hash,
)
from testkit.poster import MATCH, event
from testkit.run_fanout import work

EPOCH = 1_000_000
EMBARGO_MS = 30_000


@st.composite
def histories(draw: st.DrawFn) -> list[LogRecord]:
    """A match's records with the times at which the log took them: few ids, revisions in any order, mostly
    closer together than the embargo. Shrinks to fewer, simpler records at the same time.
    """
    records: list[LogRecord] = []
    at_ms = EPOCH
    for offset in range(draw(st.integers(1, 12))):
        # Back, too: a log may have as many clocks as brokers.
        at_ms += draw(st.sampled_from([-40_000, -1, 0, 1, 10_000, 29_999, 30_000, 30_001, 60_000]))
        op = draw(st.sampled_from(["ADD", "AMEND", "RETRACT"]))
        item = Event.from_json(
            event(
                draw(st.sampled_from(["a", "b"])),
                op=op,
                rev=draw(st.integers(1, 4)),
                minute=draw(st.integers(1, 3)),
                team=draw(st.sampled_from(["home", "away"])),
            )
        )
        records.append(LogRecord(0, offset, at_ms, item))
    return records


def dated(records: list[LogRecord]) -> list[int]:
    """When the log took each, no earlier than the ones before it."""
    return list(accumulate((max(EPOCH, record.appended_ms) for record in records), max))


def release_all(sequencer: Sequencer, records: list[LogRecord], ahead: int) -> list[Delta]:
    """The deltas that a worker publishes that reads ``ahead`` records before each release."""
    released = []
    dates = dated(records)
    for index, record in enumerate(records):
        for seen in records[: index + 1 + ahead]:
            sequencer.take(seen)
        # A worker releases only once it has read all that the log took within the embargo.
        for seen, at_ms in zip(records, dates, strict=True):
            if at_ms <= dates[index] + EMBARGO_MS:
                sequencer.take(seen)
        delta = sequencer.release(record)
        if delta is not None:
            released.append(delta)
    return released


@given(histories(), st.integers(0, 12))
def test_ids_are_those_of_every_region_and_the_end_is_the_same(records: list[LogRecord], ahead: int) -> None:
    direct, embargoed = DirectSequencer(MATCH, EPOCH), EmbargoedSequencer(MATCH, EPOCH, EMBARGO_MS)
    elsewhere = release_all(direct, records, 0)
    here = release_all(embargoed, records, ahead)
    assert [delta.id for delta in here] == [delta.id for delta in elsewhere]
    assert [delta.id.seq for delta in here] == list(range(1, len(here) + 1))
    assert (
        embargoed.published_replica.hash()
        == direct.published_replica.hash()
        == match_hash(fold(MATCH, [r.event for r in records]))
    )


@given(histories(), st.integers(0, 12))
def test_what_was_retracted_within_the_embargo_never_stands(records: list[LogRecord], ahead: int) -> None:
    shown = Match(match_id=MATCH)
    released = release_all(EmbargoedSequencer(MATCH, EPOCH, EMBARGO_MS), records, ahead)
    for delta in released:
        before = {key for key, record in shown.records.items() if record.live is not None}
        shown = apply(shown, delta.event)
        dates = zip(records, dated(records), strict=True)
        known = fold(MATCH, [r.event for r, at_ms in dates if at_ms <= delta.accepted_ms])
        for key, record in shown.records.items():
            if record.live is not None and key not in before:
                assert known.records[key].live is not None, f"{key} was retracted before it was shown"


@given(histories(), st.integers(0, 12), st.integers(0, 12))
def test_what_is_published_depends_on_the_log_alone(records: list[LogRecord], ahead: int, other: int) -> None:
    """Not on how far a worker happened to have read: a successor publishes the same bytes."""
    one, another = (
        release_all(EmbargoedSequencer(MATCH, EPOCH, EMBARGO_MS), records, read) for read in (ahead, other)
    )
    assert one == another


@given(histories())
def test_a_viewer_in_the_region_folds_to_the_region_s_state(records: list[LogRecord]) -> None:
    viewer, embargoed = Replica.begin(MATCH, EPOCH), EmbargoedSequencer(MATCH, EPOCH, EMBARGO_MS)
    for delta in release_all(embargoed, records, 0):
        assert viewer.receive(delta) is Receipt.APPLIED
    assert viewer.hash() == embargoed.published_replica.hash()


RULED_OUT = Event.from_json({"match_id": MATCH, "event_id": "g1", "rev": 2, "op": "RETRACT"})


def test_a_goal_ruled_out_inside_the_hold_is_born_dead() -> None:
    goal = Event.from_json(event("g1", minute=52))
    card = Event.from_json(event("c1", "YELLOW_CARD", minute=53))
    records = [
        LogRecord(0, 1, EPOCH, goal),
        LogRecord(0, 2, EPOCH + 10_000, card),
        LogRecord(0, 3, EPOCH + 20_000, RULED_OUT),
    ]
    released = release_all(EmbargoedSequencer(MATCH, EPOCH, EMBARGO_MS), records, 0)
    assert [delta.event for delta in released] == [RULED_OUT, card, goal]
    assert [delta.score for delta in released] == [(0, 0)] * 3
    assert [delta.accepted_ms for delta in released] == [EPOCH + 30_000, EPOCH + 40_000, EPOCH + 50_000]


def test_a_goal_ruled_out_after_the_embargo_stands_until_its_time() -> None:
    goal = Event.from_json(event("g1", minute=52))
    records = [LogRecord(0, 1, EPOCH, goal), LogRecord(0, 2, EPOCH + 30_001, RULED_OUT)]
    released = release_all(EmbargoedSequencer(MATCH, EPOCH, EMBARGO_MS), records, 1)
    assert [delta.score for delta in released] == [(1, 0), (0, 0)]


class Clock:
    """A clock the test moves."""

    def __init__(self) -> None:
        self.ms = EPOCH

    def __call__(self) -> int:
        return self.ms


def test_fan_out_embargoes_a_region_and_a_successor_goes_on() -> None:
    clock = Clock()
    log, bus = MemoryEventLog(now_ms=clock), MemoryBus()

    def worker() -> FanOut:
        return FanOut(log, bus, group="us", embargo_s=30, now_ms=clock)

    log.append([Event.from_json(event("g1"))])
    first = worker()
    assert first.step(0.01) == 0
    assert bus.head(MATCH) is None
    clock.ms += 20_000
    log.append([Event.from_json(event("g2"))])
    clock.ms += 10_250
    assert first.step(0.01) == 1
    assert bus.head(MATCH) == (EPOCH, 1)
    # Another worker takes over: a record that was not published was not committed, and is read again.
    clock.ms += 20_000
    assert worker().step(0.01) == 1
    replayed = bus.replay(MATCH, DeltaId(EPOCH, 0))
    assert isinstance(replayed, Suffix)
    assert [published.id.seq for published in replayed.deltas] == [1, 2]


def test_a_refilled_bus_has_the_same_bytes_as_before() -> None:
    clock = Clock()
    log, bus = MemoryEventLog(now_ms=clock), MemoryBus()
    log.append([Event.from_json(event("g1"))])
    clock.ms += 40_000  # ruled out after the embargo: it stood, and viewers must see that it did
    log.append([RULED_OUT])
    clock.ms += 60_000
    worker = FanOut(log, bus, group=None, embargo_s=30, now_ms=clock)
    assert worker.step(0.01) == 2
    before = bus.replay(MATCH, DeltaId(EPOCH, 0))
    bus._channels.clear()
    work(worker, until=lambda: bus.head(MATCH) is not None)
    assert bus.replay(MATCH, DeltaId(EPOCH, 0)) == before


def test_a_retraction_beyond_the_first_batch_is_known_at_the_release() -> None:
    """A worker that could not publish for a while has more to read than one poll returns."""
    clock = Clock()
    log, bus = MemoryEventLog(now_ms=clock), MemoryBus()
    log.append([Event.from_json(event("g1", minute=52))])
    log.append(
        [Event.from_json(event("g1", match_id=f"n{number % 20}", rev=number + 1)) for number in range(600)]
    )
    clock.ms += 1_000
    log.append([RULED_OUT])
    clock.ms += 60_000
    worker = FanOut(log, bus, group=None, embargo_s=30, now_ms=clock)
    while worker.step(0.0):
        pass
    before = bus.replay(MATCH, DeltaId(EPOCH, 0))
    assert isinstance(before, Suffix)
    released = [decode_delta(MATCH, published.id, published.delta) for published in before.deltas]
    assert [delta.score for delta in released] == [(0, 0), (0, 0)]
    bus._channels.clear()
    work(worker, until=lambda: len(bus.matches()) == 21)
    assert bus.replay(MATCH, DeltaId(EPOCH, 0)) == before
