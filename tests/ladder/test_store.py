"""Where the state is kept: a file beside the SQLite log, or the region's Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from origin.bus import SharesRecords, open_bus
from origin.bus.redis_region import FRESH_MS, REPORT_MAX_BYTES, WORKERS_MAX
from origin.errors import BusError
from origin.ladder.steps import LadderError, LadderState, Step
from origin.ladder.store import BusStore, FileStore, MemoryStore, file_of, store_of
from testkit.services.redis import RedisCluster, RedisServer

STATE = LadderState(Step.POLL, "a drill", 7)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def bus(redis: RedisServer) -> Iterator[SharesRecords]:
    redis.client.flushall()
    opened = open_bus(redis.url)
    assert isinstance(opened, SharesRecords)
    yield opened
    opened.close()


def test_a_file_keeps_the_state_for_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "var" / "touchline.db.ladder"
    assert FileStore(path).read() == LadderState()
    FileStore(path).write(STATE)
    assert FileStore(path).read() == STATE
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_file_that_cannot_be_written_is_named_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where a folder should be")
    with pytest.raises(LadderError, match="var"):
        FileStore(tmp_path / "var" / "ladder").write(STATE)


def test_a_file_with_something_else_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "ladder"
    path.write_text("poll")
    with pytest.raises(LadderError, match="'poll'"):
        FileStore(path).read()


def test_which_store_an_origin_has(bus: SharesRecords, tmp_path: Path) -> None:
    memory = open_bus("memory://")
    assert isinstance(store_of(bus, "sqlite:///x.db"), BusStore)  # type: ignore[arg-type]
    assert isinstance(store_of(memory, "memory://"), MemoryStore)
    found = store_of(memory, f"sqlite:///{tmp_path}/x.db?x=1")
    assert isinstance(found, FileStore)
    assert found.path == tmp_path / "x.db.ladder"
    assert file_of("kafka://x/y") is None


def test_a_region_keeps_the_state(bus: SharesRecords, redis: RedisServer) -> None:
    assert BusStore(bus).read() == LadderState()
    BusStore(bus).write(STATE)
    assert BusStore(bus).read() == STATE
    other = open_bus(redis.url)
    assert isinstance(other, SharesRecords)
    assert LadderState.decode(other.exchange("w2", b"", b"").ladder) == STATE
    other.close()


def test_a_redis_that_was_emptied_gets_the_state_back(bus: SharesRecords, redis: RedisServer) -> None:
    BusStore(bus).write(STATE)
    redis.client.flushall()
    assert BusStore(bus).read() == LadderState()
    assert bus.exchange("w1", b"", STATE.encode()).ladder == STATE.encode()
    assert BusStore(bus).read() == STATE


def test_a_worker_with_an_older_state_does_not_bring_it_back(bus: SharesRecords) -> None:
    BusStore(bus).write(LadderState(set_ms=9))
    bus.exchange("w1", b"", STATE.encode())
    assert BusStore(bus).read().step is Step.NORMAL


def test_workers_read_the_reports_of_the_others(bus: SharesRecords) -> None:
    assert bus.exchange("w1", b"one", b"").reports == []
    assert bus.exchange("w2", b"two", b"").reports == [b"one"]
    assert bus.exchange("w1", b"one again", b"").reports == [b"two"]
    assert bus.exchange("w1", b"", b"").reports == [b"two"]
    assert bus.exchange("w2", b"two", b"").reports == []  # w1 has left


def test_a_report_that_is_old_is_dropped(bus: SharesRecords, redis: RedisServer) -> None:
    bus.exchange("w1", b"one", b"")
    key = "touchline:{region}:workers"
    at, _, text = str(redis.client.hget(key, "w1")).partition(" ")
    redis.client.hset(key, "w1", f"{int(at) - FRESH_MS - 1_000} {text}")
    redis.client.hset(key, "w0", f"{int(at) + 3_600_000} from a clock that was set back since")
    redis.client.hset(key, "w3", "no report")
    assert bus.exchange("w2", b"two", b"").reports == []
    assert list(redis.client.hkeys(key)) == ["w2"]


def test_no_more_workers_than_there_is_room_for_report(bus: SharesRecords, redis: RedisServer) -> None:
    for number in range(WORKERS_MAX):
        bus.exchange(f"w{number}", b"x", b"")
    found = bus.exchange("one-more", b"x", b"")
    assert redis.client.hlen("touchline:{region}:workers") == WORKERS_MAX
    assert len(found.reports) == WORKERS_MAX


def test_a_report_has_bounds(bus: SharesRecords) -> None:
    with pytest.raises(ValueError, match="129 bytes"):
        bus.exchange("w1", b"x" * (REPORT_MAX_BYTES + 1), b"")
    with pytest.raises(ValueError, match="w 1"):
        bus.exchange("w 1", b"x", b"")


def test_a_redis_that_is_away_is_a_bus_error(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    opened = open_bus(server.url)
    assert isinstance(opened, SharesRecords)
    server.kill()
    for call in (
        lambda: opened.exchange("w1", b"x", b""),
        opened.read_ladder,
        lambda: opened.write_ladder(STATE.encode()),
    ):
        with pytest.raises(BusError):
            call()
    opened.close()


def test_a_cluster_has_both_keys_in_one_shard(tmp_path: Path) -> None:
    with RedisCluster(tmp_path) as cluster:
        opened = open_bus(cluster.url)
        assert isinstance(opened, SharesRecords)
        BusStore(opened).write(STATE)
        opened.exchange("w1", b"one", b"")
        assert opened.exchange("w2", b"two", b"").reports == [b"one"]
        assert BusStore(opened).read() == STATE
        opened.close()
