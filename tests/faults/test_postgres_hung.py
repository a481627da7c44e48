"""PostgreSQL and a process that hangs, or that no byte reaches: its locks are free again in bounded time.

It goes on afterwards as if nothing had happened; nothing may be lost by that, nor published twice.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from origin.bus import Published, open_bus
from origin.errors import EventLogError
from origin.eventlog import open_eventlog
from origin.eventlog.postgres import PostgresEventLog, open_url
from origin.eventlog.postgres_session import PostgresSettings, connect
from shared_state import DeltaId, Replica, encode_delta
from testkit.faults.bus_origin import follow
from testkit.services.link import Link
from testkit.services.postgres import PostgresServer
from testkit.services.process import ServerProcess
from testkit.services.redis import RedisServer
from tests.eventlog.contract import ids, note

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
PARTITIONS = 8
SESSION_S = 2.0
# After its session has ended: others look once a second, and the machine is shared.
GRACE_S = 3.0
MATCHES = [f"m{number}" for number in range(16)]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    started = PostgresServer()
    yield started
    started.stop()


@pytest.fixture
def url(server: PostgresServer) -> str:
    return f"{server.new_database()}?partitions={PARTITIONS}&timeout_s=3&session_s={SESSION_S}"


@pytest.fixture
def log(url: str) -> Iterator[PostgresEventLog]:
    with closing(open_url(url)) as log:
        yield log


def wait_until(ready: Callable[[], bool], timeout_s: float = PATIENCE_S) -> float:
    """Wait; returns how long it took."""
    started = time.monotonic()
    while not ready():
        assert time.monotonic() < started + timeout_s, "it has not come"
        time.sleep(0.05)
    return time.monotonic() - started


def partitions_by_reader(log: PostgresEventLog) -> dict[int, int]:
    """How many partitions each session has, by its server process; only sessions with any."""
    with log.session() as session:
        rows = session.execute(
            "SELECT pid, count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND objid::bigint < %s GROUP BY pid",
            (PARTITIONS,),
        ).fetchall()
    return dict(rows)


class Game:
    """Matches that are played, and a viewer of each who keeps what comes and when."""

    def __init__(self, log: PostgresEventLog, redis: RedisServer) -> None:
        self._log = log
        self._bus = open_bus(redis.url)
        self.sent_s: dict[str, float] = {}
        self.received: dict[str, list[tuple[float, Published]]] = {match_id: [] for match_id in MATCHES}
        self.gaps: list[DeltaId] = []
        self._over = threading.Event()
        self._writer = threading.Thread(target=self._write)

    def __enter__(self) -> Game:
        for match_id in MATCHES:
            self._send(match_id, 0)
            epoch = next(iter(self._log.read_match(match_id))).appended_ms

            def on_delta(published: Published, received: Any = self.received[match_id]) -> None:
                received.append((time.monotonic(), published))

            follow(self._bus, match_id, DeltaId(epoch, 0), on_delta, self.gaps.append)
        self._writer.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._writer.join()
        self._bus.close()

    def end(self) -> float:
        """End the matches and check them; returns the longest time from an event to its viewer, seconds."""
        self._over.set()
        self._writer.join()
        gap_s = 0.0
        for match_id, received in self.received.items():
            records = list(self._log.read_match(match_id))
            wait_until(lambda received=received, records=records: len(received) >= len(records))  # type: ignore[misc]
            replica = Replica.begin(match_id, records[0].appended_ms)
            expected = []
            for record, (at_s, _) in zip(records, received, strict=True):
                delta = replica.assign(record.event, record.appended_ms)
                assert delta is not None
                expected.append(Published(delta.id, encode_delta(delta)))
                gap_s = max(gap_s, at_s - self.sent_s[record.event.event_id])
            assert [published for _, published in received] == expected
            snapshot = self._bus.snapshot(match_id)
            assert snapshot is not None
            assert Replica.restore(snapshot.data).hash() == replica.hash()
        assert self.gaps == []
        return gap_s

    def _send(self, match_id: str, number: int) -> None:
        event = note(f"{match_id}-{number}", match_id)
        self.sent_s[event.event_id] = time.monotonic()
        self._log.append([event])

    def _write(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            for match_id in MATCHES:
                self._send(match_id, number)
                self._over.wait(0.02)


def start_worker(directory: Path, log_url: str, redis: RedisServer) -> ServerProcess:
    return ServerProcess(
        [sys.executable, "-m", "origin", "fanout", "--group", "eu"],
        log_path=directory / "fanout.log",
        env={"EVENTLOG_URL": log_url, "BUS_URL": redis.url, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )


@pytest.mark.parametrize("fault", ["stopped", "cut off"])
def test_hung_worker_s_matches_go_on_elsewhere(
    fault: str, server: PostgresServer, url: str, log: PostgresEventLog, tmp_path: Path
) -> None:
    link = Link(tmp_path, server.port)
    with RedisServer(tmp_path) as redis, Game(log, redis) as game:
        hanging = start_worker(tmp_path, url.replace(f":{server.port}", f":{link.port}"), redis)
        wait_until(lambda: list(partitions_by_reader(log).values()) == [PARTITIONS])
        [hung] = partitions_by_reader(log)
        worker = start_worker(tmp_path, url, redis)
        try:
            wait_until(lambda: sorted(partitions_by_reader(log).values()) == [4, 4])
            if fault == "stopped":
                hanging.signal(signal.SIGSTOP)
            else:
                link.cut()
            wait_until(
                lambda: (
                    hung not in (counts := partitions_by_reader(log)) and sum(counts.values()) == PARTITIONS
                ),
                SESSION_S + GRACE_S,
            )
            if fault == "stopped":
                time.sleep(1.0)  # the other reader has published further by then
                hanging.signal(signal.SIGCONT)
            else:
                link.heal()
            wait_until(lambda: sorted(partitions_by_reader(log).values()) == [4, 4])
            time.sleep(0.5)
            assert game.end() < SESSION_S + GRACE_S
        finally:
            for process in (hanging, worker):
                process.kill()
            link.stop()


def test_worker_that_is_long_over_a_batch_keeps_its_partitions(log: PostgresEventLog) -> None:
    log.append([note("e1")])
    with closing(log.consumer("g")) as consumer:
        [record] = consumer.poll(1.0)
        generation = consumer.generation
        time.sleep(2 * SESSION_S)
        consumer.commit([record])
        assert consumer.poll(0.0) == []
        assert consumer.generation == generation


def test_worker_that_is_stuck_loses_its_partitions(
    log: PostgresEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("origin.eventlog.postgres_group.POLL_MAX_S", 0.5)
    log.append([note("e1")])
    with closing(log.consumer("g")) as stuck:
        records = stuck.poll(1.0)
        assert ids(records) == ["e1"]
        generation = stuck.generation
        with closing(log.consumer("g")) as successor:
            assert ids(successor.poll(SESSION_S + GRACE_S)) == ["e1"]
            with pytest.raises(EventLogError):
                stuck.commit(records)
            successor.commit(records)
        assert stuck.poll(1.5) == []
        assert stuck.generation > generation


def waits_to_send(url: str, backend: int) -> bool:
    with connect(PostgresSettings.from_url(url)) as watching:
        row = watching.execute(
            "SELECT wait_event FROM pg_stat_activity WHERE pid = %s", (backend,)
        ).fetchone()
        return row is None or row[0] == "ClientWrite"


def test_reader_that_hangs_amid_an_answer_loses_its_partitions(log: PostgresEventLog, url: str) -> None:
    """The server is then not idle, but waits for room to send to it."""
    log.append([note("e1")])
    with closing(log.consumer("g")) as hung:
        assert ids(hung.poll(1.0)) == ["e1"]
        hung._closed.set()  # no heartbeat
        assert hung._session is not None
        backend = hung._session.info.backend_pid
        hung._session.pgconn.send_query(b"SELECT repeat('x', 50000000)")
        hung._session.pgconn.flush()
        # Until then the server is at work on the answer, for as long as the machine lets it be.
        wait_until(lambda: waits_to_send(url, backend))
        with closing(log.consumer("g")) as successor:
            assert ids(successor.poll(SESSION_S + GRACE_S)) == ["e1"]


def test_writer_that_hangs_amid_an_append_holds_nobody_up(log: PostgresEventLog, url: str) -> None:
    log.append([note("e1")])
    with closing(open_eventlog(url)) as other:

        def hang() -> None:
            with log.session() as hung, hung.transaction():
                hung.execute("UPDATE touchline.partitions SET next_offset = next_offset + 1")
                started = time.monotonic()
                other.append([note("e2")])
                assert time.monotonic() - started < SESSION_S + GRACE_S

        with pytest.raises(EventLogError):
            hang()
        assert ids(list(other.read_match("m1"))) == ["e1", "e2"]


def test_an_append_to_several_partitions_has_one_deadline(log: PostgresEventLog, url: str) -> None:
    """The row of each partition is locked for less than one statement may wait, one after the other."""
    names = {zlib.crc32(name.encode()) % PARTITIONS: name for name in MATCHES}
    partitions = sorted(names)[:4]
    events = [note("late", names[partition]) for partition in partitions]
    locks = []
    for partition in partitions:
        lock = connect(PostgresSettings.from_url(url.replace("session_s=2.0", "session_s=60")))
        lock.execute("BEGIN")
        lock.execute("SELECT 1 FROM touchline.partitions WHERE partition = %s FOR UPDATE", (partition,))
        locks.append(lock)

    def release() -> None:
        for lock in locks:
            time.sleep(2.0)
            lock.close()

    releasing = threading.Thread(target=release)
    releasing.start()
    with pytest.raises(EventLogError):
        log.append(events, key="batch")
    releasing.join()
    assert log.append(events, key="batch").fresh, "nothing of the first attempt was kept"
