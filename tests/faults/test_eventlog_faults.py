"""Servers and readers of the event log that are killed or hang: nothing acknowledged is lost."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest

from origin.bus import Suffix
from origin.bus.memory import MemoryBus
from origin.errors import EventLogError
from origin.eventlog import Consumer, EventLog, LogRecord, open_eventlog
from origin.fanout.worker import FanOut
from shared_state import DeltaId, Replica, decode_delta
from testkit.services.clock import WallClock
from testkit.services.kafka import KafkaBroker
from testkit.services.link import Link
from testkit.services.postgres import PostgresServer
from tests.eventlog.contract import ids, note

pytestmark = pytest.mark.services

Server: TypeAlias = KafkaBroker | PostgresServer
PATIENCE_S = 60.0  # a test waits so long only when it fails
TIMEOUT_S = 3.0
# What a call may take beyond its timeout: the machine is busy, and the client tries twice.
GRACE_S = 12.0


@pytest.fixture(scope="module", params=["kafka", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started: Server = (
        KafkaBroker(tmp_path_factory.mktemp("kafka")) if request.param == "kafka" else PostgresServer()
    )
    yield started
    started.stop()


@pytest.fixture
def url(server: Server) -> str:
    settings = f"partitions=4&timeout_s={TIMEOUT_S}"
    if isinstance(server, KafkaBroker):
        return f"kafka://{server.address}/faults-{uuid.uuid4().hex}?{settings}"
    return f"{server.new_database()}?{settings}"


@pytest.fixture
def log(url: str) -> Iterator[EventLog]:
    log = open_eventlog(url)
    yield log
    log.close()


def refused(call: Callable[[], object]) -> None:
    """The call raises the log's error, in bounded time."""
    started = time.monotonic()
    with pytest.raises(EventLogError) as raised:
        call()
    assert time.monotonic() - started < TIMEOUT_S + GRACE_S
    assert raised.value.code == "eventlog_unavailable"


def keep_trying(call: Callable[[], object]) -> None:
    """Append until it is acknowledged, as a sender does."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            call()
            return
        except EventLogError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def read_until(consumer: Consumer, names: set[str]) -> list[LogRecord]:
    """Poll and commit, whatever the log raises meanwhile, until all of these have come."""
    records: list[LogRecord] = []
    deadline = time.monotonic() + PATIENCE_S
    while names - {record.event.event_id for record in records}:
        assert time.monotonic() < deadline, f"missing: {sorted(names - set(ids(records)))[:5]}"
        try:
            polled = consumer.poll(0.5)
            records += polled
            consumer.commit(polled)
        except EventLogError:
            time.sleep(0.1)
    return records


def test_server_killed_among_appends(server: Server, log: EventLog) -> None:
    acknowledged: list[str] = []
    refusals: list[float] = []
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            started = time.monotonic()
            try:
                log.append([note(f"e{number}")])
                acknowledged.append(f"e{number}")
            except EventLogError:
                refusals.append(time.monotonic() - started)

    with closing(log.consumer("g")) as consumer:
        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen = read_until(consumer, {"e1", "e2", "e3"})
            server.kill()
            while not refusals:
                time.sleep(0.05)
            server.start()
            before = len(acknowledged)
            deadline = time.monotonic() + PATIENCE_S
            while len(acknowledged) < before + 5:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            stop.set()
            writer.join()
        assert max(refusals) < TIMEOUT_S + GRACE_S
        stored = ids(list(log.read_match("m1")))
        assert set(acknowledged) <= set(stored)
        # In order, and none twice; an event that was not acknowledged may be there or not.
        assert sorted(set(stored), key=lambda name: int(name[1:])) == stored
        seen += read_until(consumer, set(acknowledged) - set(ids(seen)))
        # A commit that failed makes records come again; their first appearances are in order.
        assert [name for name in dict.fromkeys(ids(seen)) if name in acknowledged] == acknowledged


def test_server_that_is_down(server: Server, log: EventLog, url: str) -> None:
    log.append([note("e1")])
    with closing(log.consumer("g")) as consumer:
        [record] = read_until(consumer, {"e1"})
        log.append([note("e2")])
        [record] = polled(consumer)
        server.kill()
        refused(lambda: log.append([note("e3")]))
        refused(lambda: consumer.commit([record]))
        refused(lambda: list(log.read_match("m1")))
        refused(lambda: open_eventlog(url))
        refused(log.dead_letters().pending)
        server.start()
        keep_trying(lambda: log.append([note("e3")]))
        assert ids(list(log.read_match("m1")))[:2] == ["e1", "e2"]
        read_until(consumer, {"e3"})


def test_server_that_hangs(server: Server, log: EventLog, url: str) -> None:
    log.append([note("e1")])
    with closing(log.consumer("g")) as consumer:
        read_until(consumer, {"e1"})
        log.append([note("e2")])
        [record] = polled(consumer)
        server.pause()
        try:
            refused(lambda: log.append([note("e3")]))
            refused(lambda: consumer.commit([record]))
            refused(lambda: list(log.read_match("m1")))
            refused(lambda: open_eventlog(url))
        finally:
            server.resume()
        keep_trying(lambda: log.append([note("e4")]))
        read_until(consumer, {"e4"})


def polled(consumer: Consumer) -> list[LogRecord]:
    """The next records."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        if records := consumer.poll(0.5):
            return records
        assert time.monotonic() < deadline


def test_killed_reader_gives_its_partitions_back(log: EventLog, url: str) -> None:
    matches = [f"m{number}" for number in range(16)]
    with subprocess.Popen(
        [sys.executable, "-m", "testkit.faults.eventlog_reader", url, "g"], stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        log.append([note(f"a-{match_id}", match_id) for match_id in matches])
        for _ in matches:
            reader.stdout.readline()
        reader.kill()
    log.append([note(f"b-{match_id}", match_id) for match_id in matches])
    with closing(log.consumer("g")) as successor:
        records = read_until(successor, {f"b-{match_id}" for match_id in matches})
    # A record that the killed reader committed and did not print does not come again.
    assert not [name for name in ids(records) if name.startswith("a-")]


def test_partitions_that_go_back_and_forth(log: EventLog) -> None:
    """A worker that gets a partition back must not go on from its old state of the matches."""
    bus = MemoryBus()
    matches = [f"m{number}" for number in range(8)]
    received: dict[str, list[DeltaId]] = {match_id: [] for match_id in matches}
    first = FanOut(log, bus, group="eu")

    def listen(match_id: str) -> None:
        bus.subscribe(match_id, lambda published: received[match_id].append(published.id))

    for match_id in matches:
        listen(match_id)

    def goals(name: str) -> None:
        log.append([note(f"{name}-{match_id}", match_id) for match_id in matches])

    def work(*workers: FanOut, until: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while min(map(len, received.values())) < until:
            assert time.monotonic() < deadline, {match_id: len(seen) for match_id, seen in received.items()}
            for worker in workers:
                worker.step(0.1)

    count = 0
    for _ in range(2):
        goals(f"alone{count}")
        work(first, until=(count := count + 1))
        second = FanOut(log, bus, group="eu")
        for _ in range(15):  # events come while the partitions are divided
            goals(f"both{count}")
            work(first, second, until=(count := count + 1))
        second._consumer.close()
        goals(f"again{count}")
        work(first, until=(count := count + 1))
    first._consumer.close()

    for match_id in matches:
        records = list(log.read_match(match_id))
        epoch = records[0].appended_ms
        assert received[match_id] == [DeltaId(epoch, seq) for seq in range(1, count + 1)]
        viewer, origin = Replica.begin(match_id, epoch), Replica.begin(match_id, epoch)
        for record in records:
            origin.assign(record.event, record.appended_ms)
        snapshot = bus.snapshot(match_id)
        assert snapshot is not None
        assert Replica.restore(snapshot.data).hash() == origin.hash()
        replay = bus.replay(match_id, DeltaId(epoch, 0))
        for published in getattr(replay, "deltas", ()):
            viewer.receive(decode_delta(match_id, published.id, published.delta))
        assert viewer.hash() == origin.hash()


def test_kafka_s_clock_set_back_loses_nothing(tmp_path: Path) -> None:
    """A match's records are published in the order of their offsets, each dated no earlier than the last."""
    clock = WallClock(tmp_path)
    broker = KafkaBroker(tmp_path, env=clock.env)
    try:
        bus = MemoryBus()
        with closing(open_eventlog(f"kafka://{broker.address}/clock?partitions=1&timeout_s=5")) as log:
            log.append([note("e1")])
            log.append([note("e2")])
            clock.shift(-500)
            log.append([note("e3")])
            clock.shift(0)
            log.append([note("e4")])
            records = list(log.read_match("m1"))
            assert records[2].appended_ms < records[1].appended_ms, "Kafka's clock was set back"
            worker = FanOut(log, bus, group="eu")
            deadline = time.monotonic() + PATIENCE_S
            while not worker.caught_up or bus.head("m1") is None:
                assert time.monotonic() < deadline
                worker.step(0.1)
            worker._consumer.close()
        epoch = records[0].appended_ms
        replay = bus.replay("m1", DeltaId(epoch, 0))
        assert isinstance(replay, Suffix)
        received = [decode_delta("m1", one.id, one.delta) for one in replay.deltas]
        assert [delta.event.event_id for delta in received] == ["e1", "e2", "e3", "e4"]
        assert received[2].accepted_ms == received[1].accepted_ms
    finally:
        broker.stop()


def test_kafka_that_is_at_another_address_is_found_again(tmp_path: Path) -> None:
    """Names lead to other machines after a move; a client must not stick to the addresses it knows."""
    broker = KafkaBroker(tmp_path)
    name = Link(tmp_path, broker.port)
    try:
        with (
            closing(open_eventlog(f"kafka://127.0.0.1:{name.port}/moved?timeout_s={TIMEOUT_S}")) as log,
            closing(log.consumer("g")) as consumer,
        ):
            log.append([note("e1")])
            read_until(consumer, {"e1"})
            broker.kill()
            name.stop()
            broker.move()
            broker.start()
            name = Link(tmp_path, broker.port, name.port)
            keep_trying(lambda: log.append([note("e2")]))
            read_until(consumer, {"e2"})
            assert ids(list(log.read_match("m1"))) == ["e1", "e2"]
    finally:
        name.stop()
        broker.stop()
