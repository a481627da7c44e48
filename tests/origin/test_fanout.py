"""Fan-out: ids are a function of the log, and neither death nor a lost bus loses or repeats a delta."""

from __future__ import annotations

import pytest

from origin.bus import Published, Suffix
from origin.bus.memory import MemoryBus
from origin.errors import BusError
from origin.eventlog.memory import MemoryEventLog
from origin.fanout import FanOut
from origin.metrics import Metrics
from shared_state import DeltaId, Event, fold, match_hash
from shared_state.replica import Replica
from tests.origin.conftest import MATCH, event


def events(count: int) -> list[Event]:
    return [Event.from_json(event(f"g{number}", minute=number)) for number in range(1, count + 1)]


def deltas(bus: MemoryBus, log: MemoryEventLog) -> list[Published]:
    epoch = next(iter(log.read_match(MATCH))).appended_ms
    replayed = bus.replay(MATCH, DeltaId(epoch, 0))
    assert isinstance(replayed, Suffix)
    return list(replayed.deltas)


class BusThatFails(MemoryBus):
    """A real bus whose first publishes find it out of reach, before or after it took them."""

    def __init__(self, failures: list[str]) -> None:
        super().__init__()
        self.failures = failures

    def publish(self, match_id: str, published: Published, snapshot: bytes) -> bool:
        failure = self.failures.pop(0) if self.failures else ""
        if failure == "before":
            raise BusError("connection refused")
        taken = super().publish(match_id, published, snapshot)
        if failure == "after":
            raise BusError("connection lost while waiting for the answer")
        return taken


def test_every_change_gets_the_next_id() -> None:
    log, bus = MemoryEventLog(), MemoryBus()
    first, second = events(2)
    log.append([first, first, second])
    assert FanOut(log, bus, group="eu").step(0.1) == 3
    assert [published.id.seq for published in deltas(bus, log)] == [1, 2]


def test_two_regions_compute_the_same_bytes() -> None:
    log = MemoryEventLog()
    log.append(events(5))
    eu, us = MemoryBus(), MemoryBus()
    FanOut(log, eu, group="eu").step(0.1)
    worker = FanOut(log, us, group="us")
    for _ in range(5):
        worker.step(0.1)
    assert deltas(eu, log) == deltas(us, log)


def test_a_worker_that_died_before_its_commit_is_followed_without_a_repeat() -> None:
    log, bus = MemoryEventLog(), MemoryBus()
    log.append(events(3))
    told: list[Published] = []
    bus.subscribe(MATCH, told.append)
    died = FanOut(log, bus, group="eu")
    died._consumer.commit = lambda records: None  # type: ignore[method-assign]
    died.step(0.1)
    log.append(events(5)[3:])
    successor = FanOut(log, bus, group="eu")
    assert successor.step(0.1) == 5  # it reads all again
    assert [published.id.seq for published in told] == [1, 2, 3, 4, 5]


def test_a_successor_starts_after_what_was_committed_and_numbers_on() -> None:
    log, bus = MemoryEventLog(), MemoryBus()
    log.append(events(3))
    FanOut(log, bus, group="eu").step(0.1)
    log.append(events(4)[3:])
    assert FanOut(log, bus, group="eu").step(0.1) == 1
    assert deltas(bus, log)[-1].id.seq == 4


@pytest.mark.parametrize("failure", ["before", "after"])
def test_a_bus_error_is_waited_out_and_nothing_is_told_twice(failure: str) -> None:
    log, bus = MemoryEventLog(), BusThatFails([failure, failure])
    told: list[Published] = []
    bus.subscribe(MATCH, told.append)
    log.append(events(2))
    metrics = Metrics()
    FanOut(log, bus, group="eu", metrics=metrics, random_unit=lambda: 0.0).step(0.1)
    assert [published.id.seq for published in told] == [1, 2]


def test_a_stop_while_the_bus_is_away_leaves_the_rest_to_the_successor() -> None:
    log, bus = MemoryEventLog(), BusThatFails(["before"] * 10)
    log.append(events(2))
    worker = FanOut(log, bus, group="eu")
    worker.stop()
    assert worker.step(0.1) == 0
    bus.failures.clear()
    assert FanOut(log, bus, group="eu").step(0.1) == 2
    assert [published.id.seq for published in deltas(bus, log)] == [1, 2]


def test_a_bus_that_lost_everything_is_refilled_by_the_next_publish() -> None:
    log, bus = MemoryEventLog(), MemoryBus()
    log.append(events(3))
    worker = FanOut(log, bus, group="eu")
    worker.step(0.1)
    before = deltas(bus, log)
    bus._channels.clear()  # what a Redis without a disk does at a restart
    log.append(events(4)[3:])
    worker.step(0.1)
    assert deltas(bus, log)[:3] == before
    assert deltas(bus, log)[3].id.seq == 4


def test_a_bus_that_lost_everything_is_refilled_while_nothing_happens() -> None:
    log, bus = MemoryEventLog(), MemoryBus()
    log.append(events(3))
    worker = FanOut(log, bus, group="eu")
    worker.step(0.1)
    assert worker.check_heads() == 0
    bus._channels.clear()
    assert worker.check_heads() == 1
    snapshot = bus.snapshot(MATCH)
    assert snapshot
    assert Replica.restore(snapshot.data).hash() == match_hash(fold(MATCH, events(3)))


def test_a_reused_revision_is_counted() -> None:
    log, bus, metrics = MemoryEventLog(), MemoryBus(), Metrics()
    first = events(1)[0]
    log.append([first, Event.from_json(event("g1", minute=77))])
    FanOut(log, bus, group="eu", metrics=metrics).step(0.1)
    assert metrics.registry.get_sample_value("touchline_fanout_conflicting_events_total") == 1.0


def test_a_bus_that_was_emptied_while_no_worker_ran_is_restored_from_the_log() -> None:
    log = MemoryEventLog()
    log.append(events(3))
    log.append([Event.from_json(event("g1", match_id="other"))])
    FanOut(log, MemoryBus(), group="eu").step(0.1)
    empty = MemoryBus()
    successor = FanOut(log, empty, group="eu")
    assert successor.restore_bus() == 2
    assert sorted(empty.matches()) == [MATCH, "other"]
    assert successor.restore_bus() == 0
    assert [published.id.seq for published in deltas(empty, log)] == [1, 2, 3]
