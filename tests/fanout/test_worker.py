"""Fan-out: ids are a function of the log, and neither death nor a lost bus loses or repeats a delta."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from origin.bus import Published, Suffix
from origin.bus.memory import MemoryBus
from origin.errors import BusError
from origin.eventlog import LogRecord
from origin.eventlog.memory import MemoryEventLog
from origin.fanout.worker import FanOut
from origin.metrics import Metrics
from shared_state import DeltaId, Event, decode_delta, fold, match_hash
from shared_state.replica import Replica
from testkit.poster import MATCH, event
from testkit.run_fanout import work


def events(count: int) -> list[Event]:
    return [Event.from_json(event(f"g{number}", minute=number)) for number in range(1, count + 1)]


def deltas(bus: MemoryBus, log: MemoryEventLog) -> list[Published]:
    epoch = next(iter(log.read_match(MATCH))).appended_ms
    replayed = bus.replay(MATCH, DeltaId(epoch, 0))
    assert isinstance(replayed, Suffix)
    return list(replayed.deltas)


def lose_everything(bus: MemoryBus) -> None:
    """What a Redis without a disk does at a restart."""
    bus._channels.clear()
    bus._complete = False


TEN_YEARS_MS = 3_650 * 86_400_000


class BusThatFails(MemoryBus):
    """A real bus whose first steps find it out of reach, before or after it took them."""

    def __init__(self, failures: list[str]) -> None:
        super().__init__()
        self.failures = failures

    def refill(self, match_id: str, deltas: Sequence[Published], snapshot: bytes) -> int:
        failure = self.failures.pop(0) if self.failures else ""
        if failure == "before":
            raise BusError("connection refused")
        taken = super().refill(match_id, deltas, snapshot)
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
    received: list[Published] = []
    bus.subscribe(MATCH, received.append)
    died = FanOut(log, bus, group="eu")
    died._consumer.commit = lambda records: None  # type: ignore[method-assign]
    died.step(0.1)
    log.append(events(5)[3:])
    successor = FanOut(log, bus, group="eu")
    assert successor.step(0.1) == 5  # it reads all again
    assert [published.id.seq for published in received] == [1, 2, 3, 4, 5]


def test_a_successor_starts_after_what_was_committed_and_numbers_on() -> None:
    log, bus = MemoryEventLog(), MemoryBus()
    log.append(events(3))
    FanOut(log, bus, group="eu").step(0.1)
    log.append(events(4)[3:])
    assert FanOut(log, bus, group="eu").step(0.1) == 1
    assert deltas(bus, log)[-1].id.seq == 4


@pytest.mark.parametrize("failure", ["before", "after"])
def test_a_bus_error_is_retried_and_nothing_is_published_twice(failure: str) -> None:
    log, bus = MemoryEventLog(), BusThatFails([failure, failure])
    received: list[Published] = []
    bus.subscribe(MATCH, received.append)
    log.append(events(2))
    worker = FanOut(log, bus, group="eu", random_unit=lambda: 0.0)
    assert sum(worker.step(0.1) for _ in range(4)) == 2
    assert [published.id.seq for published in received] == [1, 2]


class BusThatCounts(MemoryBus):
    """A real bus that notes which ids each of its steps was given, and the id of the snapshot."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, list[int], DeltaId]] = []

    def refill(self, match_id: str, deltas: Sequence[Published], snapshot: bytes) -> int:
        position = Replica.restore(snapshot).position
        self.steps.append((match_id, [published.id.seq for published in deltas], position))
        return super().refill(match_id, deltas, snapshot)


def test_a_batch_of_a_match_has_one_snapshot_at_its_last_id() -> None:
    log, bus = MemoryEventLog(), BusThatCounts()
    received: list[int] = []
    bus.subscribe(MATCH, lambda published: received.append(published.id.seq))
    first = events(1)[0]
    log.append([*events(5), first, Event.from_json(event("g1", match_id="other"))])
    assert FanOut(log, bus, group="eu").step(0.1) == 7
    assert [(match_id, seqs) for match_id, seqs, _ in bus.steps] == [
        (MATCH, [1, 2, 3, 4, 5]),
        ("other", [1]),
    ]
    assert [position.seq for _, _, position in bus.steps] == [5, 1]
    assert received == [1, 2, 3, 4, 5]  # a viewer gets every delta by itself


def test_a_restart_makes_one_snapshot_of_a_match_however_far_apart_its_events_are() -> None:
    log, bus = MemoryEventLog(), BusThatCounts()
    apart = [Event.from_json(event(f"n{number}", match_id=f"m{number}")) for number in range(600)]
    log.append([*events(1), *apart, *events(2)[1:], *apart, *events(3)[2:]])
    worker = FanOut(log, bus, group=None)
    while not worker.caught_up:
        worker.step(0.0)
    assert [seqs for match_id, seqs, _ in bus.steps if match_id == MATCH] == [[1, 2, 3]]
    assert len(bus.steps) == 601


@pytest.mark.parametrize("least", [1, 1_000])
def test_a_start_leaves_the_garbage_collector_as_it_was(monkeypatch: pytest.MonkeyPatch, least: int) -> None:
    monkeypatch.setattr("origin.fanout.worker.EXEMPT_FROM_COLLECTOR_MIN", least)
    log, bus = MemoryEventLog(), MemoryBus()
    log.append(events(3))
    worker = FanOut(log, bus, group=None)
    try:
        work(worker, until=lambda: worker.caught_up)
        assert gc.isenabled()
        assert (gc.get_freeze_count() > 0) == (least == 1)
    finally:
        gc.unfreeze()


def test_a_long_run_is_published_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("origin.fanout.worker.TURN_RECORDS", 2)
    log, bus = MemoryEventLog(), BusThatCounts()
    log.append(events(5))
    worker = FanOut(log, bus, group="eu")
    assert [worker.step(0.1) for _ in range(3)] == [2, 2, 1]
    assert [seqs for _, seqs, _ in bus.steps] == [[1, 2], [3, 4], [5]]


def test_an_embargoed_batch_is_published_up_to_what_is_due() -> None:
    log, bus = LogWithAClockSetBack(10_000, 10_100, 15_000, 15_100), BusThatCounts()
    now_ms = [12_000]
    worker = FanOut(log, bus, group="eu", embargo_s=1.0, now_ms=lambda: now_ms[0])
    assert worker.step(0.0) == 2
    now_ms[0] = 20_000
    assert worker.step(0.0) == 2
    assert [seqs for _, seqs, _ in bus.steps] == [[1, 2], [3, 4]]


def test_a_stop_while_the_bus_is_down_leaves_the_rest_to_the_successor() -> None:
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
    lose_everything(bus)
    log.append(events(4)[3:])
    worker.step(0.1)
    assert deltas(bus, log)[:3] == before
    assert deltas(bus, log)[3].id.seq == 4


def test_a_bus_that_lost_everything_is_refilled_while_nothing_happens() -> None:
    log, bus = MemoryEventLog(), MemoryBus()
    log.append(events(3))
    worker = FanOut(log, bus, group=None)  # one that refills only matches that it published
    worker.step(0.1)
    lose_everything(bus)
    work(worker, until=lambda: bus.head(MATCH) is not None)
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
    work(FanOut(log, empty, group="eu"), until=empty.is_complete)
    assert sorted(empty.matches()) == [MATCH, "other"]
    assert [published.id.seq for published in deltas(empty, log)] == [1, 2, 3]


def test_a_bus_emptied_under_a_worker_gets_also_what_that_worker_never_published() -> None:
    log, bus = MemoryEventLog(), MemoryBus()
    log.append([Event.from_json(event("g1", match_id=f"m{number}")) for number in range(5)])
    FanOut(log, bus, group="eu").step(0.1)
    successor = FanOut(log, bus, group="eu")  # everything is committed: it reads no record
    work(successor, until=bus.is_complete)
    lose_everything(bus)
    bus.publish("new", Published(DeltaId(1, 1), b"{}"), b"")  # so that it is not simply empty
    work(FanOut(log, bus, group="eu"), until=bus.is_complete)
    assert sorted(bus.matches()) == [*(f"m{number}" for number in range(5)), "new"]


class BusEmptiedBeforeItsMarker(MemoryBus):
    """A real bus that loses all it has once more, while it is being restored."""

    def __init__(self) -> None:
        super().__init__()
        self.emptied = 0

    def mark_complete(self) -> None:
        if not self.emptied:
            lose_everything(self)
        self.emptied += 1
        super().mark_complete()


def test_a_bus_emptied_while_it_was_restored_is_not_taken_for_complete() -> None:
    log, bus = MemoryEventLog(), BusEmptiedBeforeItsMarker()
    names = [f"m{number}" for number in range(5)]
    log.append([Event.from_json(event("g1", match_id=name)) for name in names])
    FanOut(log, bus, group="eu").step(0.1)
    # The successor has published no match; all are there when it checks, and gone when it sets the marker.
    work(FanOut(log, bus, group="eu"), until=lambda: bus.emptied > 0 and sorted(bus.matches()) == names)


def test_a_bus_with_a_part_of_a_match_is_given_the_rest() -> None:
    """As when a worker hung before its first publish, and went on after the bus was emptied."""
    log, bus = MemoryEventLog(), MemoryBus()
    log.append(events(3))
    FanOut(log, bus, group="eu").step(0.1)
    first, *_ = before = deltas(bus, log)
    lose_everything(bus)
    assert bus.publish(MATCH, first, b"{}")
    work(FanOut(log, bus, group="eu"), until=bus.is_complete)  # no record is left for it
    assert deltas(bus, log) == before


def test_a_worker_that_no_longer_publishes_a_match_refills_all_of_it() -> None:
    log, bus = MemoryEventLog(), MemoryBus()
    log.append(events(2))
    earlier = FanOut(log, bus, group="eu")
    earlier.step(0.1)
    log.append(events(3)[2:])
    FanOut(log, bus, group="eu").step(0.1)  # the partition is this one's now; it is restarted later
    before = deltas(bus, log)
    lose_everything(bus)
    earlier._consumer = log.consumer("eu")
    work(earlier, until=lambda: bus.head(MATCH) is not None)
    assert deltas(bus, log) == before


@contextmanager
def one_event_after_another(log: MemoryEventLog) -> Iterator[None]:
    """Append events of another match, with no pause in which a blocking poll would return empty."""
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.wait(0.02):
            number += 1
            log.append([Event.from_json(event(f"n{number}", match_id="loud"))])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


def test_a_bus_is_restored_while_events_come() -> None:
    log, bus = MemoryEventLog(), MemoryBus()
    log.append(events(3))
    FanOut(log, MemoryBus(), group="eu").step(0.1)
    with one_event_after_another(log):
        work(FanOut(log, bus, group="eu"), until=bus.is_complete)
    assert [published.id.seq for published in deltas(bus, log)] == [1, 2, 3]


def test_an_embedded_worker_has_caught_up_while_events_come() -> None:
    log = MemoryEventLog()
    worker = FanOut(log, MemoryBus(), group=None)
    with one_event_after_another(log):
        work(worker, until=lambda: worker.caught_up)


class BusWithADeadShard(MemoryBus):
    """A real bus of which one match's part can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.away = True

    def _check(self, match_id: str) -> None:
        if self.away and match_id == "away":
            raise BusError("the shard has no primary")

    def head(self, match_id: str) -> DeltaId | None:
        self._check(match_id)
        return super().head(match_id)

    def heads(self, match_ids: Sequence[str]) -> dict[str, DeltaId | BusError | None]:
        found: dict[str, DeltaId | BusError | None] = {}
        for match_id in match_ids:
            try:
                found[match_id] = self.head(match_id)
            except BusError as error:
                found[match_id] = error
        return found

    def refill(self, match_id: str, deltas: Sequence[Published], snapshot: bytes) -> int:
        self._check(match_id)
        return super().refill(match_id, deltas, snapshot)


def test_a_match_whose_shard_is_away_does_not_delay_the_others() -> None:
    log, bus, metrics = MemoryEventLog(), BusWithADeadShard(), Metrics()
    worker = FanOut(log, bus, group="eu", metrics=metrics)
    log.append([Event.from_json(event("g1", match_id="away"))])
    log.append(events(2))

    def is_published() -> bool:
        snapshot = bus.snapshot(MATCH)
        return snapshot is not None and snapshot.id.seq == 2

    work(worker, until=is_published)
    waiting = metrics.registry.get_sample_value("touchline_fanout_waiting_matches")
    assert waiting == 1.0
    # A record that waits is not committed, nor are those behind it: a successor reads all of them.
    assert log.committed("eu") == 0
    bus.away = False
    work(FanOut(log, bus, group="eu"), until=lambda: "away" in bus.matches())
    assert log.committed("eu") == 3


def test_a_restoration_goes_past_a_match_whose_shard_is_away() -> None:
    log = MemoryEventLog()
    log.append([Event.from_json(event("g1", match_id=name)) for name in ("a", "away", "b")])
    FanOut(log, MemoryBus(), group="eu").step(0.1)
    bus = BusWithADeadShard()
    work(FanOut(log, bus, group="eu"), until=lambda: sorted(bus.matches()) == ["a", "b"])
    assert not bus.is_complete()
    bus.away = False
    work(FanOut(log, bus, group="eu"), until=bus.is_complete)
    assert sorted(bus.matches()) == ["a", "away", "b"]


def test_a_match_that_waits_is_published_from_where_it_stopped() -> None:
    log, bus = MemoryEventLog(), BusWithADeadShard()
    worker = FanOut(log, bus, group="eu", random_unit=lambda: 0.0)
    for number in range(1, 4):
        log.append([Event.from_json(event(f"g{number}", match_id="away", minute=number))])
        worker.step(0.0)
    bus.away = False
    assert sum(worker.step(0.0) for _ in range(3)) == 3
    snapshot = bus.snapshot("away")
    assert snapshot is not None
    assert snapshot.id.seq == 3


class LogWithAClockSetBack(MemoryEventLog):
    """Records dated as Kafka dates them: by whatever its broker's clock says."""

    def __init__(self, *dates_ms: int) -> None:
        super().__init__()
        self._records = [
            LogRecord(0, number, at_ms, Event.from_json(event(f"g{number}", minute=number)))
            for number, at_ms in enumerate(dates_ms, start=1)
        ]


@pytest.mark.parametrize("embargo_s", [0.0, 1.0])
def test_a_log_whose_clock_goes_back_loses_nothing(embargo_s: float) -> None:
    log, bus = LogWithAClockSetBack(10_000, 10_176, 10_080, 10_384), MemoryBus()
    worker = FanOut(log, bus, group="eu", embargo_s=embargo_s, now_ms=lambda: 20_000)
    assert worker.step(0.0) == 4
    published = deltas(bus, log)
    assert [one.id.seq for one in published] == [1, 2, 3, 4]
    folded = [decode_delta(MATCH, one.id, one.delta) for one in published]
    assert [delta.event.event_id for delta in folded] == ["g1", "g2", "g3", "g4"]
    dated = [delta.accepted_ms - round(embargo_s * 1000) for delta in folded]
    assert dated == [10_000, 10_176, 10_176, 10_384]  # a viewer's clock does not go back


def test_an_embargo_is_counted_from_the_reading_if_the_log_s_date_lies_in_the_future() -> None:
    log, bus, metrics = LogWithAClockSetBack(1_000, TEN_YEARS_MS, TEN_YEARS_MS), MemoryBus(), Metrics()
    worker = FanOut(log, bus, group="eu", embargo_s=0.2, metrics=metrics, now_ms=lambda: 20_000)
    assert worker.step(0.0) == 1
    assert bus.head(MATCH) == (1_000, 1)
    work(worker, until=lambda: bus.head(MATCH) == (1_000, 3))
    assert metrics.registry.get_sample_value("touchline_fanout_future_dated_events_total") == 2.0


def test_dates_in_the_future_are_reported_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    log = LogWithAClockSetBack(1_000, 20_000 + 60_000, 20_000 + 60_001, TEN_YEARS_MS)
    FanOut(log, MemoryBus(), group="eu", now_ms=lambda: 20_000).step(0.0)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert f"one of match {MATCH} by 315359980 s" in record.getMessage()


def test_a_bus_in_a_newer_epoch_is_reported() -> None:
    log, bus, metrics = MemoryEventLog(), MemoryBus(), Metrics()
    bus.publish(MATCH, Published(DeltaId(2**50, 1), b"{}"), b"")
    log.append(events(1))
    worker = FanOut(log, bus, group="eu", metrics=metrics)
    foreign = "touchline_fanout_foreign_epoch_matches"
    work(worker, until=lambda: metrics.registry.get_sample_value(foreign) == 1.0)
    assert bus.head(MATCH) == (2**50, 1)


def test_a_full_backlog_is_read_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("origin.fanout.worker.BACKLOG_MAX", 2)
    log, bus = MemoryEventLog(), BusWithADeadShard()
    worker = FanOut(log, bus, group="eu", random_unit=lambda: 0.0)
    for number in range(1, 6):
        log.append([Event.from_json(event(f"g{number}", match_id="away", minute=number))])
        worker.step(0.0)
    assert len(worker._backlog) == 2
    bus.away = False
    assert sum(worker.step(0.0) for _ in range(3)) == 5
