"""Real Redis for the tests: one server, one primary behind Sentinel, or a cluster; all on loopback.

Nothing is written to disk, so a server that is started again is empty.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from deploy.ports import free_port
from testkit.services.link import Link
from testkit.services.process import ServerProcess, require_program

__all__ = ["SERVICE", "RedisCluster", "RedisSentinels", "RedisServer"]

SERVICE = "region"
SLOTS = 16_384
# Fast enough for a test, slow enough for two busy cores: a Sentinel that is not scheduled for so long
# takes a healthy primary for dead.
DOWN_AFTER_MS = 1_000


class RedisServer:
    """One ``redis-server``, started when made; ``start`` after ``kill`` keeps its port."""

    def __init__(self, directory: Path, *settings: str, env: Mapping[str, str] | None = None) -> None:
        self._program = require_program("redis-server")
        self._directory = directory
        self._settings = settings
        self._env = env
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        """What ``open_bus`` takes."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def process(self) -> ServerProcess:
        """The running server."""
        return self._process

    @property
    def client(self) -> Redis:
        """A client for the test's own questions; it never retries."""
        return self._client

    def start(self) -> None:
        """Start it, empty."""
        argv = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        argv += ["--dir", str(self._directory), "--appendonly", "no", "--repl-diskless-sync-delay", "0"]
        self._process = ServerProcess(
            [*argv, *self._settings], log_path=self._directory / f"redis-{self.port}.log", env=self._env
        )
        self._client = Redis(port=self.port, socket_timeout=5.0, decode_responses=True)
        self._process.wait_until(lambda: _answers(self._client))

    def listen_tls(self, key: Path, certificate: Path) -> int:
        """Listen on a second port with TLS, and return that."""
        port = free_port()
        for name, value in (
            ("tls-key-file", key),
            ("tls-cert-file", certificate),
            ("tls-auth-clients", "no"),
            ("tls-port", port),
        ):
            self._client.config_set(name, str(value))
        return port

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()
        self._client.close()

    def pause(self) -> None:
        """Stop it from running; its connections stay open and silent."""
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        self.resume()
        self._client.close()
        self._process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


class RedisSentinels:
    """One primary, two replicas, three Sentinels.

    Attributes:
        link: the network path to the first primary, for all clients; None unless ``linked``.
    """

    def __init__(self, directory: Path, *settings: str, linked: bool = False) -> None:
        self._program = require_program("redis-sentinel", "redis-server")
        first = RedisServer(directory, *settings)
        self.link = Link(directory, first.port) if linked else None
        known_port = first.port if self.link is None else self.link.port
        first.client.config_set("replica-announce-port", str(known_port))
        self._ports = {known_port: first}
        self.servers = [first]
        self.sentinels: list[ServerProcess] = []
        self._clients: list[Redis] = []
        try:
            for _ in range(2):
                follow = ("--replicaof", f"127.0.0.1 {known_port}")
                self.servers.append(RedisServer(directory, *follow, *settings))
                self._ports[self.servers[-1].port] = self.servers[-1]
            first.process.wait_until(lambda: _info(first.client)["connected_slaves"] == 2)
            ports = [self._start_sentinel(directory, known_port) for _ in range(3)]
            self._clients = [Redis(port=port, socket_timeout=5.0) for port in ports]
            for process, client in zip(self.sentinels, self._clients, strict=True):
                process.wait_until(lambda client=client: _sees_everyone(client))  # type: ignore[misc]
        except BaseException:
            self.stop()
            raise
        self.url = f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/{SERVICE}"

    def primary(self) -> RedisServer:
        """The server that most Sentinels name."""
        named = []
        for client in self._clients:
            try:
                named.append(_master(client)["port"])
            except RedisError:
                continue
        port = max(named, key=named.count)
        return self._ports[port]

    def fail_over(self) -> None:
        """Promote a replica now, while the primary works."""
        self._clients[0].sentinel_failover(SERVICE)

    def stop(self) -> None:
        """End all."""
        for client in self._clients:
            client.close()
        for process in self.sentinels:
            process.stop()
        for server in self.servers:
            server.stop()
        if self.link is not None:
            self.link.stop()

    def _start_sentinel(self, directory: Path, primary_port: int) -> int:
        port = free_port()
        settings = directory / f"sentinel-{port}.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary_port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )
        argv = [self._program, str(settings)]
        if not self._program.endswith("sentinel"):
            argv.append("--sentinel")
        process = ServerProcess(argv, log_path=directory / f"sentinel-{port}.log")
        self.sentinels.append(process)
        probe = Redis(port=port, socket_timeout=5.0)
        process.wait_until(lambda: _answers(probe))
        probe.close()
        return port


class RedisCluster:
    """A cluster of three primaries, each with as many replicas as asked for."""

    def __init__(self, directory: Path, replicas: int = 0, *settings: str) -> None:
        self.servers: list[RedisServer] = []
        self._directory = directory
        self._settings = settings
        try:
            for _ in range(3 * (1 + replicas)):
                self._join()
            self._form()
        except BaseException:
            self.stop()
            raise
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def owner(self, key: str) -> RedisServer:
        """The running server that has the slot of this key."""
        for asked in self.servers:
            if asked.process.running:
                slot = _ask(asked, "CLUSTER", "KEYSLOT", key)
                ranges = _ask(asked, "CLUSTER", "SLOTS")
                port = next(r[2][1] for r in ranges if r[0] <= slot <= r[1])
                return next(server for server in self.servers if server.port == port)
        raise AssertionError("no server of the cluster is running")

    def fail_over(self, key: str) -> None:
        """Promote a replica of this key's server now, while that server works."""
        primary = self.owner(key)
        replica = next(
            server for server in self.servers if _info(server.client).get("master_port") == primary.port
        )
        _ask(replica, "CLUSTER", "FAILOVER")

    def move_slot(self, *keys: str) -> None:
        """Move the slot of these keys, which are all of its keys, to another primary."""
        old = self.owner(keys[0])
        hand_over = self.move_half(next(server for server in self.servers[:3] if server is not old), *keys)
        time.sleep(0.1)
        hand_over()

    def move_half(self, new: RedisServer, *keys: str) -> Callable[[], None]:
        """Move these keys, but leave their slot where it was, as in the middle of resharding.

        Returns:
            What hands the slot over.
        """
        old = self.owner(keys[0])
        slot = _ask(old, "CLUSTER", "KEYSLOT", keys[0])
        old_id, new_id = (_ask(server, "CLUSTER", "MYID") for server in (old, new))
        _ask(new, "CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
        _ask(old, "CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
        time.sleep(0.1)  # as long as it takes, what is not there yet is asked for at both
        _ask(old, "MIGRATE", "127.0.0.1", new.port, "", 0, 5000, "KEYS", *keys)

        def hand_over() -> None:
            for server in (new, old):
                _ask(server, "CLUSTER", "SETSLOT", slot, "NODE", new_id)

        return hand_over

    def add_primary(self) -> RedisServer:
        """One more primary, without slots: no client learns of it from the map of slots."""
        server = self._join()
        self._wait(lambda server: len(_nodes(server)) == len(self.servers))
        self._wait(lambda server: "cluster_state:ok" in _cluster_info(server))
        return server

    def stop(self) -> None:
        """End all."""
        for server in self.servers:
            server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _join(self) -> RedisServer:
        bus_port = free_port()
        server = RedisServer(
            self._directory,
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            str(bus_port),
            "--cluster-config-file",
            f"nodes-{bus_port}.conf",
            "--cluster-node-timeout",
            str(DOWN_AFTER_MS),
            "--cluster-require-full-coverage",
            "no",
            *self._settings,
        )
        self.servers.append(server)
        _ask(server, "CLUSTER", "SET-CONFIG-EPOCH", len(self.servers))
        if server is self.servers[0]:
            self._first_bus_port = bus_port
        else:
            _ask(server, "CLUSTER", "MEET", "127.0.0.1", self.servers[0].port, self._first_bus_port)
        return server

    def _form(self) -> None:
        primaries, replicas = self.servers[:3], self.servers[3:]
        for number, server in enumerate(primaries):
            low, high = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            _ask(server, "CLUSTER", "ADDSLOTSRANGE", low, high)
        self._wait(lambda server: len(_nodes(server)) == len(self.servers))
        for number, server in enumerate(replicas):
            primary = _ask(primaries[number % 3], "CLUSTER", "MYID")
            _ask(server, "CLUSTER", "REPLICATE", primary)
        self._wait(lambda server: "cluster_state:ok" in _cluster_info(server))
        for server in replicas:
            server.process.wait_until(
                lambda server=server: _info(server.client)["master_link_status"] == "up"  # type: ignore[misc]
            )

    def _wait(self, ready: Callable[[RedisServer], bool]) -> None:
        for server in self.servers:
            server.process.wait_until(lambda server=server: ready(server))  # type: ignore[misc]


def _ask(server: RedisServer, *command: str | int) -> Any:
    """A command redis-py has no typed method for."""
    return server.client.execute_command(*command)  # type: ignore[no-untyped-call]


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def _info(client: Redis) -> dict[str, Any]:
    answer: Any = client.info("replication")
    return dict(answer)


def _master(client: Redis) -> dict[str, Any]:
    answer: Any = client.sentinel_master(SERVICE)
    return dict(answer)


def _sees_everyone(client: Redis) -> bool:
    try:
        state = _master(client)
    except RedisError:
        return False
    return int(state["num-other-sentinels"]) == 2 and int(state["num-slaves"]) == 2


def _nodes(server: RedisServer) -> Sequence[str]:
    answer = _ask(server, "CLUSTER", "NODES")
    if isinstance(answer, dict):
        return list(answer)
    return str(answer).splitlines()


def _cluster_info(server: RedisServer) -> str:
    answer = _ask(server, "CLUSTER", "INFO")
    if isinstance(answer, dict):
        return "\n".join(f"{key}:{value}" for key, value in answer.items())
    return str(answer)
