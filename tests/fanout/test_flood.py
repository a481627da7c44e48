"""A match that floods delays itself alone, and nothing of any match is lost, doubled or put out of order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from origin.bus import Published
from origin.bus.memory import MemoryBus
from origin.errors import BusError
from origin.eventlog.memory import MemoryEventLog
from origin.fanout import backlog, worker
from origin.fanout.backlog import LANE_RECORDS_MAX, Backlog
from origin.fanout.worker import TURN_RECORDS, FanOut
from shared_state import Event, decode_delta
from testkit.poster import event

FLOOD = 3_000
MATCHES = ("flooded", "quiet", "third")


def goal(match_id: str, number: int) -> Event:
    return Event.from_json(event(f"g{number}", match_id=match_id, minute=number % 90))


class RecordingBus(MemoryBus):
    """A real bus that notes what it took, in order, and can refuse one match.

    Attributes:
        taken: by match, the events whose deltas it took, with their seq.
        refused: a match whose part of the bus is away.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[str, list[tuple[int, str]]] = {}
        self.refused = ""

    def refill(self, match_id: str, deltas: Sequence[Published], snapshot: bytes) -> int:
        if match_id == self.refused:
            raise BusError("the shard has no primary")
        count = super().refill(match_id, deltas, snapshot)
        for published in deltas[len(deltas) - count :]:  # it had those before them
            delta = decode_delta(match_id, published.id, published.delta)
            self.taken.setdefault(match_id, []).append((published.id.seq, delta.event.event_id))
        return count


def caught_up(log: MemoryEventLog, bus: MemoryBus) -> FanOut:
    """A worker that keeps to the budgets of turns and steps, because its start is over."""
    fanout = FanOut(log, bus, group="eu", random_unit=lambda: 0.0)
    fanout.step(0.0)
    assert fanout.caught_up
    return fanout


@pytest.mark.parametrize("is_start", [True, False], ids=["start", "later"])
def test_a_goal_behind_a_flood_is_published_before_the_flood_is(is_start: bool) -> None:
    log, bus = MemoryEventLog(), RecordingBus()
    fanout = FanOut(log, bus, group="eu") if is_start else caught_up(log, bus)
    log.append([goal("flooded", number) for number in range(FLOOD)])
    log.append([goal("quiet", 1)])
    steps = 0
    while "quiet" not in bus.taken:
        fanout.step(0.0)
        steps += 1
    # As many as the steps that were needed to read the log up to the goal, and a turn in each.
    assert steps <= FLOOD // 500 + 2
    assert len(bus.taken["flooded"]) <= steps * TURN_RECORDS


def test_matches_that_flood_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "TURN_RECORDS", 20)
    log, bus = MemoryEventLog(), RecordingBus()
    fanout = caught_up(log, bus)
    for number in range(200):
        log.append([goal(f"m{match}", number) for match in range(5)])
    while sum(map(len, bus.taken.values())) < 500:
        fanout.step(0.0)
    counts = [len(bus.taken[f"m{match}"]) for match in range(5)]
    assert max(counts) - min(counts) <= 20


def test_folding_ends_a_turn_once_the_worker_has_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "TURN_CPU_S", -1.0)
    log, bus = MemoryEventLog(), RecordingBus()
    log.append([goal("m1", number) for number in range(3)])
    fanout = caught_up(log, bus)
    assert len(bus.taken["m1"]) == 3
    log.append([goal("m1", number) for number in range(3, 6)])
    fanout.step(0.0)
    assert len(bus.taken["m1"]) == 4


def test_a_match_that_waits_for_its_turn_is_not_starved_by_new_matches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, bus = MemoryEventLog(), RecordingBus()
    monkeypatch.setattr(worker, "TURN_RECORDS", 5)
    fanout = caught_up(log, bus)
    log.append([goal("flooded", number) for number in range(100)])
    fanout.step(0.0)
    for step in range(10):
        before = len(bus.taken["flooded"])
        log.append([goal(f"new-{step}-{number}", 1) for number in range(400)])
        fanout.step(0.0)
        assert before < len(bus.taken["flooded"]) < 100


def test_turns_that_use_up_a_step_starve_neither_the_old_nor_the_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a match so long that one event of it costs more than a whole step may."""
    monkeypatch.setattr(worker, "TURN_CPU_S", -1.0)
    monkeypatch.setattr(worker, "STEP_CPU_S", -1.0)
    log, bus = MemoryEventLog(), RecordingBus()
    fanout = caught_up(log, bus)
    log.append([goal("flooded", number) for number in range(50)])
    for number in range(1, 20):
        log.append([goal("quiet", number)])
        fanout.step(0.0)
        fanout.step(0.0)
        assert len(bus.taken["quiet"]) == number
        assert number <= len(bus.taken["flooded"]) <= 2 * number


def test_a_flooded_match_whose_shard_is_away_fills_no_memory_and_stops_nobody() -> None:
    log, bus = MemoryEventLog(), RecordingBus()
    bus.refused = "flooded"
    log.append([goal("flooded", number) for number in range(FLOOD)])
    log.append([goal("quiet", 1)])
    fanout = FanOut(log, bus, group="eu", random_unit=lambda: 0.0)
    while "quiet" not in bus.taken:
        fanout.step(0.0)
    assert fanout._backlog.in_memory <= LANE_RECORDS_MAX + 1
    assert len(fanout._backlog) == FLOOD
    assert log.committed("eu") == 0  # the flood's first record is not done
    bus.refused = ""
    while len(fanout._backlog):
        fanout.step(0.0)
    assert bus.taken["flooded"] == [(number + 1, f"g{number}") for number in range(FLOOD)]
    assert log.committed("eu") == FLOOD + 1


def test_many_matches_that_flood_do_not_stop_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BACKLOG_MAX", 1_000)
    monkeypatch.setattr(backlog, "CROWDED_FROM", 500)
    log, bus = MemoryEventLog(), RecordingBus()
    for number in range(200):
        log.append([goal(f"m{match}", number) for match in range(20)])
    log.append([goal("quiet", 1)])
    fanout = FanOut(log, bus, group="eu")
    steps = 0
    while "quiet" not in bus.taken:
        fanout.step(0.0)
        assert fanout._backlog.in_memory <= 1_000
        steps += 1
    assert steps <= 20 * 200 // 500 + 2
    while len(fanout._backlog):
        fanout.step(0.0)
    for match in range(20):
        assert bus.taken[f"m{match}"] == [(number + 1, f"g{number}") for number in range(200)]


def test_records_that_are_read_again_are_committed_again() -> None:
    """As after a commit that failed, and a rebalance that gave the partition back."""
    log = MemoryEventLog()
    log.append([goal("quiet", number) for number in range(3)])
    records = list(log.read_match("quiet"))
    waiting = Backlog()
    for record in records:
        waiting.add(record, 0.0)
    (lane,) = list(waiting.lanes())
    waiting.done(lane, len(records))
    assert [position.offset for position in waiting.committable()] == [3]
    assert waiting.committable() == []
    waiting.add(records[1], 0.0)
    assert len(waiting) == 0
    assert [position.offset for position in waiting.committable()] == [3]


class FloodMachine(RuleBasedStateMachine):
    """Events of three matches, floods, a bus that refuses, workers that die: with bounds of a few records."""

    def __init__(self) -> None:
        super().__init__()
        self.bounds = pytest.MonkeyPatch()
        self.bounds.setattr(backlog, "LANE_RECORDS_MAX", 3)
        self.bounds.setattr(backlog, "HEAP_SLACK", 0)
        self.bounds.setattr(backlog, "CROWDED_FROM", 6)
        self.bounds.setattr(backlog, "LANE_RECORDS_CROWDED", 1)
        self.bounds.setattr(worker, "TURN_RECORDS", 2)
        self.now_ms = 1_000_000
        self.log = MemoryEventLog(lambda: self.now_ms)
        self.bus = RecordingBus()
        self.appended: dict[str, list[str]] = {}

    @initialize(step_records=st.integers(1, 5))
    def start(self, step_records: int) -> None:
        self.bounds.setattr(worker, "STEP_RECORDS", step_records)
        self.worker = caught_up(self.log, self.bus)

    @rule(match_id=st.sampled_from(MATCHES), count=st.integers(1, 12))
    def append(self, match_id: str, count: int) -> None:
        known = self.appended.setdefault(match_id, [])
        events = [goal(match_id, len(known) + number) for number in range(count)]
        self.log.append(events)
        known += [one.event_id for one in events]

    @rule(by_ms=st.integers(-100_000, 100_000))
    def set_the_clock(self, by_ms: int) -> None:
        self.now_ms = max(1, self.now_ms + by_ms)

    @rule(match_id=st.sampled_from(("", *MATCHES)))
    def refuse(self, match_id: str) -> None:
        self.bus.refused = match_id

    @rule()
    def step(self) -> None:
        self.worker.step(0.0)

    @rule()
    def replace_worker(self) -> None:
        """The worker dies without a word; its successor starts at what was committed."""
        self.worker = FanOut(self.log, self.bus, group="eu", random_unit=lambda: 0.0)

    @precondition(lambda self: self.log.committed("eu") > 1)
    @rule()
    def read_again(self) -> None:
        """The partition goes away and comes back: the worker's reader returns to what was committed."""
        self.worker._consumer = self.log.consumer("eu")

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.worker._backlog.in_memory <= 3 * len(MATCHES)

    @invariant()
    def what_is_committed_was_published(self) -> None:
        committed = self.log.committed("eu")
        for match_id in MATCHES:
            published = {event_id for _, event_id in self.bus.taken.get(match_id, [])}
            for record in self.log.read_match(match_id):
                if record.offset <= committed:
                    assert record.event.event_id in published

    @invariant()
    def order_and_ids_are_the_log_s(self) -> None:
        for match_id, taken in self.bus.taken.items():
            known = self.appended[match_id]
            assert taken == [(number, known[number - 1]) for number in range(1, len(taken) + 1)]

    def teardown(self) -> None:
        try:
            self.bus.refused = ""
            for _ in range(10 + sum(map(len, self.appended.values()))):
                self.worker.step(0.0)
            for match_id, known in self.appended.items():
                assert [event_id for _, event_id in self.bus.taken[match_id]] == known
            assert self.log.committed("eu") == sum(map(len, self.appended.values()))
        finally:
            self.bounds.undo()


TestFloodMachine = FloodMachine.TestCase
TestFloodMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
