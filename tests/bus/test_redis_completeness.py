"""The completeness marker is lost with the data, on a Redis and on a cluster with one emptied shard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from origin.bus import open_bus
from origin.errors import BusError
from testkit.services.redis import RedisCluster, RedisServer

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


def test_an_emptied_redis_is_not_complete(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    try:
        with closing(open_bus(server.url)) as bus:
            bus.mark_complete()
            server.client.flushall()
            assert not bus.is_complete()
    finally:
        server.stop()


@pytest.mark.parametrize("shard", [0, 1, 2])
def test_a_cluster_is_not_whole_once_one_shard_was_emptied(cluster: RedisCluster, shard: int) -> None:
    with closing(open_bus(f"{cluster.url}?prefix=shard-{shard}")) as bus:
        bus.mark_complete()
        assert bus.is_complete()
        cluster.servers[shard].client.flushall()
        assert not bus.is_complete()
        bus.mark_complete()
        assert bus.is_complete()


@pytest.mark.parametrize("emptied", [0, 1, 2])
def test_a_shard_that_is_down_does_not_hide_that_another_was_emptied(tmp_path: Path, emptied: int) -> None:
    with (
        RedisCluster(tmp_path) as cluster,
        closing(open_bus(f"{cluster.url}?timeout_s=1")) as bus,
    ):
        bus.mark_complete()
        down = cluster.servers[(emptied + 1) % 3]
        down.kill()
        with pytest.raises(BusError):
            bus.is_complete()
        cluster.servers[emptied].client.flushall()
        assert not bus.is_complete()
