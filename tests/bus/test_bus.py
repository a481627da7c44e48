"""The contract suite of the bus, on memory, Redis, Redis behind Sentinel and a Redis cluster."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator

import pytest

from origin.bus import Bus, open_bus
from testkit.services.redis import RedisCluster, RedisSentinels, RedisServer
from tests.bus.contract import BusContract


class TestMemory(BusContract):
    @pytest.fixture
    def open_again(self) -> Iterator[Callable[[], Bus]]:
        bus = open_bus("memory://")
        yield lambda: bus  # other processes cannot see a bus in memory
        bus.close()


class RedisContract(BusContract):
    """A suite of its own in each test's own name space of one server."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        raise NotImplementedError

    @pytest.fixture
    def open_again(self, url: str) -> Iterator[Callable[[], Bus]]:
        name_space = f"test-{uuid.uuid4()}"
        with contextlib.ExitStack() as opened:

            def open_again() -> Bus:
                # A command may take long while other tests have both cores.
                bus = open_bus(f"{url}?prefix={name_space}&timeout_s=5&check_s=0.2")
                opened.callback(bus.close)
                return bus

            yield open_again


@pytest.mark.services
class TestRedis(RedisContract):
    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        server = RedisServer(tmp_path_factory.mktemp("redis"))
        yield server.url
        server.stop()


@pytest.mark.services
class TestSentinel(RedisContract):
    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        sentinels = RedisSentinels(tmp_path_factory.mktemp("sentinel"))
        yield sentinels.url
        sentinels.stop()


@pytest.mark.services
class TestCluster(RedisContract):
    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
        yield cluster.url
        cluster.stop()
