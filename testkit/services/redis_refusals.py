"""The ways in which a Redis refuses writes and still answers reads, each made with a real server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from deploy.ports import free_port
from testkit.services.redis import RedisServer

__all__ = ["cannot_save", "is_a_replica", "is_full", "may_not_write", "takes_writes_again"]


def cannot_save(server: RedisServer) -> None:
    """MISCONF: the last snapshot to disk failed, because its file is a directory."""
    directory: Any = server.client.config_get("dir")
    (Path(str(directory["dir"])) / "dump.rdb").mkdir()
    server.client.config_set("save", "3600 1")
    server.client.bgsave()
    deadline_s = time.monotonic() + 20
    while _info(server)["rdb_last_bgsave_status"] != "err":
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def is_full(server: RedisServer) -> None:
    """OOM: it has more than ``maxmemory``, and evicts nothing."""
    server.client.config_set("maxmemory-policy", "noeviction")
    server.client.config_set("maxmemory", "1")


def is_a_replica(server: RedisServer) -> None:
    """READONLY: it was demoted, and its primary is not there."""
    server.client.replicaof("127.0.0.1", free_port())


def may_not_write(server: RedisServer) -> None:
    """NOPERM: the user lost the right to write."""
    server.client.execute_command("ACL", "SETUSER", "default", "-@write")  # type: ignore[no-untyped-call]


def takes_writes_again(server: RedisServer) -> None:
    """End whatever of these was begun."""
    server.client.execute_command("ACL", "SETUSER", "default", "+@all")  # type: ignore[no-untyped-call]
    server.client.config_set("stop-writes-on-bgsave-error", "no")
    server.client.config_set("maxmemory", "0")
    if server.client.config_get("cluster-enabled") != {"cluster-enabled": "yes"}:
        server.client.replicaof("NO", "ONE")


def _info(server: RedisServer) -> dict[str, Any]:
    answer: Any = server.client.info("persistence")
    return dict(answer)
