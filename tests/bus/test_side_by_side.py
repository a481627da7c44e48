"""Several servers are asked at once: no server is asked only after another has answered."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from origin.bus import open_bus
from origin.bus.redis import RedisBus
from origin.bus.redis_servers import Node, side_by_side
from origin.errors import BusError
from shared_state import DeltaId
from testkit.services.redis import RedisCluster

NODES = [Node("127.0.0.1", port) for port in (1, 2, 3)]


def test_all_servers_are_asked_before_any_of_them_has_to_answer() -> None:
    all_asked = threading.Barrier(len(NODES), timeout=30)

    def ask(node: Node, given: int) -> int:
        all_asked.wait()
        return node.port * given

    assert side_by_side(dict.fromkeys(NODES, 10), ask) == {node: node.port * 10 for node in NODES}


def test_one_server_is_asked_on_the_thread_of_the_caller() -> None:
    asked = side_by_side({NODES[0]: "x"}, lambda node, given: (given, threading.current_thread()))
    assert asked == {NODES[0]: ("x", threading.current_thread())}


@pytest.mark.services
def test_what_the_other_shards_know_comes_though_two_hang(tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(12)]
    with RedisCluster(tmp_path) as cluster:
        bus = open_bus(f"{cluster.url}?timeout_s=0.5")
        assert isinstance(bus, RedisBus)
        bus.mark_complete()
        shards = {name: cluster.owner(f"touchline:{{{name}}}:state") for name in names}
        for name, shard in shards.items():
            shard.client.execute_command("HSET", f"touchline:{{{name}}}:state", "id", "7-1", "row", "")  # type: ignore[no-untyped-call]
        assert bus.heads(names) == dict.fromkeys(names, DeltaId(7, 1))
        hung = cluster.servers[:2]
        for server in hung:
            server.pause()
        heads = bus.heads(names)
        assert {name for name, head in heads.items() if head == DeltaId(7, 1)} == {
            name for name, shard in shards.items() if shard not in hung
        }
        assert all(isinstance(head, BusError) for name, head in heads.items() if shards[name] in hung)
        with pytest.raises(BusError):
            bus.is_complete()
        for server in hung:
            server.resume()
        bus.close()
