"""Which Redis to talk to: one server, the primary that Sentinel names, or the shards of a cluster.

Three classes with one interface (``Servers``). They know addresses, passwords and timeouts, and nothing of
matches. redis-py's own retries are switched off: the caller decides whether to try again, and when.

The options of a ``BUS_URL`` (``redis://host:6379/0?timeout_s=1&replay_max=2000``) are ``Options``.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import PRIMARY, ClusterNode, RedisCluster
from redis.connection import Connection, SSLConnection
from redis.exceptions import RedisClusterException, RedisError, ResponseError
from redis.retry import Retry

from origin.errors import BusError, ConfigError

__all__ = [
    "REDIS_ERRORS",
    "Address",
    "Node",
    "Options",
    "Servers",
    "by_node",
    "is_answer_to_ping",
    "open_servers",
    "parse_bus_url",
    "side_by_side",
]

_Given = TypeVar("_Given")
_Answer = TypeVar("_Answer")

logger = logging.getLogger(__name__)

# What redis-py raises when a command fails; its exceptions have two base classes.
REDIS_ERRORS = (RedisError, RedisClusterException, OSError)

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379
# How long to wait for a Sentinel that did not answer last time, once the others have answered.
SENTINEL_GRACE_S = 0.1


class Node(NamedTuple):
    """One Redis process."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options in the query of a ``BUS_URL``.

    Attributes:
        timeout_s: the longest a command, or the silence of a live connection, may last before the server
            counts as lost. A live connection is pinged after this long and dropped after twice as long.
        check_s: how often the last id delivered is compared with the head of each match.
        replay_max: deltas kept for replay per match; Redis trims in blocks, so up to 100 more are there.
        replay_ttl_s: the replay of a match is dropped when nothing was published for so long.
        ended_ttl_s: a match that ended is forgotten so long after its last delta.
        idle_ttl_s: any other match is forgotten so long after its last delta.
        prefix: with which every key and channel begins, so that two deployments can share a server.
        tls: for ``redis+sentinel`` and ``redis+cluster``; ``rediss`` always uses TLS.
        tls_ca: file of the authorities that sign the servers' certificates; empty: the system's.
        tls_cert, tls_key: files of this client's certificate and key, if servers ask for one.
        sentinel_username, sentinel_password: the credentials for Sentinel; the URL's own are for servers.
    """

    timeout_s: float = 1.0
    check_s: float = 1.0
    # A match has 100 to 300 deltas; one that is amended all evening stays within ten times that.
    replay_max: int = 2_000
    # For a viewer who was away for a day the snapshot is smaller than all deltas.
    replay_ttl_s: int = 86_400
    # Results are looked up for three days. If a correction comes later, the bus has forgotten the match, and
    # the fan-out worker refills it from the log.
    ended_ttl_s: int = 3 * 86_400
    # A fixture is announced weeks before anything happens in it.
    idle_ttl_s: int = 60 * 86_400
    prefix: str = "touchline"
    tls: bool = False
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    sentinel_username: str = ""
    sentinel_password: str = dataclasses.field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A ``BUS_URL``, read. ``str()`` of it has no password."""

    scheme: str
    nodes: tuple[Node, ...]
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    database: int = 0
    service: str = ""

    def __str__(self) -> str:
        service = f"/{self.service}" if self.service else ""
        return f"{self.scheme}://{','.join(map(str, self.nodes))}{service}/{self.database}"


class Servers(Protocol):
    """The servers of one bus. Every method may block for ``timeout_s`` and raise ``REDIS_ERRORS``."""

    sharded: bool  #: whether a channel belongs to a shard, as a key does (SSUBSCRIBE)

    def commands(self) -> Redis | RedisCluster:
        """The client for commands on any key."""

    def node_of(self, key: str) -> Node:
        """The server that has this key, as far as known."""

    def client_of(self, node: Node) -> Redis:
        """The client for commands to that server alone."""

    def connect(self, node: Node) -> Connection:
        """A new connection of its own for live messages."""

    def refresh(self) -> None:
        """Find out again which server has what, after a server was lost."""

    def probe(self) -> None:
        """Find out, on a timer, whether another server has taken over, and whether one answers at all."""

    def close(self) -> None:
        """Close all connections."""


def by_node(
    servers: Servers, key_of: Mapping[str, str]
) -> tuple[dict[Node, list[str]], dict[str, Exception]]:
    """Group names by the server that has the key of each.

    Returns:
        The names by server, and the error for each name whose server is not known.
    """
    found: dict[Node, list[str]] = {}
    unknown: dict[str, Exception] = {}
    for name, key in key_of.items():
        try:
            found.setdefault(servers.node_of(key), []).append(name)
        except REDIS_ERRORS as error:
            unknown[name] = error
    return found, unknown


def side_by_side(
    by_server: Mapping[Node, _Given], ask: Callable[[Node, _Given], _Answer]
) -> dict[Node, _Answer]:
    """Ask several servers at once, so that those that hang cost one timeout together and not one each.

    Args:
        by_server: what each server is asked.
        ask: called with a server and that, on a thread for each server.

    Returns:
        The answers, once all are there.

    Raises:
        Exception: what ``ask`` raises for any of them.
    """
    if len(by_server) < 2:
        return {node: ask(node, given) for node, given in by_server.items()}
    with futures.ThreadPoolExecutor(len(by_server), thread_name_prefix="bus-ask") as pool:
        asked = {node: pool.submit(ask, node, given) for node, given in by_server.items()}
        return {node: answer.result() for node, answer in asked.items()}


def parse_bus_url(url: str) -> tuple[Address, Options]:
    """Parse a ``BUS_URL``.

    Raises:
        ConfigError: it cannot be used; the message shows no password.
    """
    parts = urlsplit(url)
    userinfo, _, hosts = parts.netloc.rpartition("@")
    username, colon, password = userinfo.partition(":")

    def refuse(what: str) -> NoReturn:
        raise ConfigError(f"BUS_URL {parts.scheme}://{hosts}{parts.path}: {what}")

    sentinel = parts.scheme == "redis+sentinel"
    nodes = []
    for host_port in hosts.split(","):
        host, port = _host_port(host_port)
        if not host or not (port.isdecimal() or not port):
            refuse(f"{host_port!r} must be host or host:port")
        nodes.append(Node(host, int(port or (DEFAULT_SENTINEL_PORT if sentinel else DEFAULT_PORT))))
    if len(nodes) > 1 and parts.scheme in ("redis", "rediss"):
        refuse("several hosts need redis+sentinel or redis+cluster")
    path = [unquote(part) for part in parts.path.strip("/").split("/") if part]
    service = path.pop(0) if sentinel and path else ""
    if sentinel and not service:
        refuse("the name of the service must follow the hosts")
    database = path.pop(0) if path else "0"
    if path or not database.isdecimal() or (parts.scheme == "redis+cluster" and database != "0"):
        refuse("the path must be the number of a database (a cluster has only 0)")
    address = Address(
        scheme=parts.scheme,
        nodes=tuple(nodes),
        username=unquote(username) or None,
        password=unquote(password) if colon else None,
        database=int(database),
        service=service,
    )
    options = _options(parts.query, refuse)
    return address, dataclasses.replace(options, tls=True) if parts.scheme == "rediss" else options


def open_servers(address: Address, options: Options) -> Servers:
    """Connect.

    Raises:
        BusError: the service does not answer.
    """
    try:
        if address.scheme == "redis+cluster":
            return _Cluster(address, options)
        if address.scheme == "redis+sentinel":
            return _Sentinels(address, options)
        return _Single(address, options)
    except REDIS_ERRORS as error:
        raise BusError(f"the bus {address} does not answer: {error}") from error


class _Single:
    """One server, or one address behind which the operator fails over."""

    sharded = False

    def __init__(self, address: Address, options: Options) -> None:
        self._node = address.nodes[0]
        self._settings = _connection_settings(address, options) | {"db": address.database}
        self._client = Redis(host=self._node.host, port=self._node.port, **self._settings)
        _ping(self._client)

    def commands(self) -> Redis:
        return self._client

    def node_of(self, key: str) -> Node:
        del key
        return self._node

    def client_of(self, node: Node) -> Redis:
        del node
        return self._client

    def connect(self, node: Node) -> Connection:
        return _connect(node, self._settings)

    def refresh(self) -> None:
        """Close idle connections: the address may mean another server now."""
        self._client.connection_pool.disconnect(inuse_connections=False)

    def probe(self) -> None:
        _ping(self._client)

    def close(self) -> None:
        self._client.connection_pool.disconnect(inuse_connections=False)


class _Sentinels:
    """The primary of a service, as the Sentinels name it."""

    sharded = False

    def __init__(self, address: Address, options: Options) -> None:
        self._service = address.service
        self._settings = _connection_settings(address, options) | {"db": address.database}
        asked = dict(_connection_settings(address, options))
        asked["username"] = options.sentinel_username or None
        asked["password"] = options.sentinel_password or None
        self._sentinels = [Redis(host=node.host, port=node.port, **asked) for node in address.nodes]
        self._lock = threading.Lock()
        self._sentinels_answer = True
        self._pool = futures.ThreadPoolExecutor(len(self._sentinels), thread_name_prefix="bus-sentinel")
        self._asking = threading.Lock()
        self._questions: dict[Redis, futures.Future[tuple[int, Node]]] = {}
        self._silent: set[Redis] = set()  # those that did not answer last time
        try:
            self._primary = self._ask()
        except BaseException:
            self._pool.shutdown(wait=False)
            raise
        self._client = self._open(self._primary)

    def commands(self) -> Redis:
        return self._client

    def node_of(self, key: str) -> Node:
        del key
        return self._primary

    def client_of(self, node: Node) -> Redis:
        del node
        return self.commands()

    def connect(self, node: Node) -> Connection:
        return _connect(node, self._settings)

    def refresh(self) -> None:
        primary = self._ask()
        with self._lock:
            if primary == self._primary:
                # Idle connections may have failed like the one that was used.
                self._client.connection_pool.disconnect(inuse_connections=False)
                return
            old, self._client, self._primary = self._client, self._open(primary), primary
        logger.warning("the primary of %s is %s now", self._service, primary)
        # Connections in use stay open: redis-py cannot close one while another thread waits on it.
        old.connection_pool.disconnect(inuse_connections=False)

    def probe(self) -> None:
        """Ask the Sentinels: a fail-over may leave the connections to the old primary open."""
        try:
            moved = self._ask() != self._primary
            self._sentinels_answer = True
        except REDIS_ERRORS as error:
            # Without Sentinels there is no fail-over, and none is needed while the primary answers.
            moved = False
            if self._sentinels_answer:
                logger.warning("no Sentinel of %s answers: %s", self._service, error)
            self._sentinels_answer = False
        if moved:
            self.refresh()
        _ping(self._client)

    def close(self) -> None:
        self._pool.shutdown(wait=False)
        for client in (*self._sentinels, self._client):
            client.connection_pool.disconnect(inuse_connections=False)

    def _open(self, node: Node) -> Redis:
        return Redis(host=node.host, port=node.port, **self._settings)

    def _ask(self) -> Node:
        """Ask all Sentinels at once; of those that answer, the one that saw the latest fail-over is right.

        The first to answer may be cut off from the others together with an old primary. So this waits for
        all that answered last time, and only a moment for the others: a dead host must not delay every check.
        """
        questions: dict[Redis, futures.Future[tuple[int, Node]]] = {}
        with self._asking:
            for sentinel in self._sentinels:
                asked = self._questions.get(sentinel)
                # One that hangs has not answered the last request yet; nor has one that another thread asks.
                if asked is None or asked.done():
                    try:
                        asked = self._questions[sentinel] = self._pool.submit(self._named_by, sentinel)
                    except RuntimeError as closed:
                        raise RedisError("the bus is closed") from closed
                questions[sentinel] = asked
        futures.wait([asked for sentinel, asked in questions.items() if sentinel not in self._silent])
        futures.wait(questions.values(), timeout=SENTINEL_GRACE_S)
        if all(asked.exception() for asked in questions.values() if asked.done()):
            futures.wait(questions.values())  # the silent ones are the only ones left to ask
        answers, errors, answered = [], [], set()
        for sentinel, asked in questions.items():
            if not asked.done():
                continue
            if error := asked.exception():
                errors.append(error)
            else:
                answers.append(asked.result())
                answered.add(sentinel)
        self._silent = set(questions) - answered
        if not answers:
            raise errors[0]
        return max(answers)[1]

    def _named_by(self, sentinel: Redis) -> tuple[int, Node]:
        state: Any = sentinel.sentinel_master(self._service)
        return int(state["config-epoch"]), Node(str(state["ip"]), int(state["port"]))


class _FollowingCluster(RedisCluster):
    """Follows ASK to any server.

    redis-py only knows servers that have slots, but while the first slot of a new shard moves, it has none.
    """

    def get_node(self, host: str | None = None, port: int | None = None, node_name: str | None = None) -> Any:
        node = super().get_node(host, port, node_name)  # type: ignore[no-untyped-call]
        if node is None and node_name:
            host, _, asked_port = node_name.rpartition(":")
            node = ClusterNode(host, int(asked_port), PRIMARY)  # type: ignore[no-untyped-call]
            self.nodes_manager.nodes_cache[node.name] = node
        return node


class _Cluster:
    """A cluster; redis-py keeps the map of slots and follows MOVED and ASK."""

    sharded = True

    def __init__(self, address: Address, options: Options) -> None:
        self._settings = _connection_settings(address, options)
        self._cluster = _FollowingCluster(
            startup_nodes=[ClusterNode(node.host, node.port) for node in address.nodes],  # type: ignore[no-untyped-call]
            # One shard without a primary must not stop the matches of the others.
            require_full_coverage=False,
            **(self._settings | {"retry": Retry(NoBackoff(), 1)}),
        )
        self._clients: dict[Node, Redis] = {}
        self._lock = threading.Lock()
        self._answered: Node | None = None
        self._failed: Node | None = None

    def commands(self) -> RedisCluster:
        return self._cluster

    def node_of(self, key: str) -> Node:
        node = self._cluster.get_node_from_key(key)  # type: ignore[no-untyped-call]
        if node is None:
            raise RedisError(f"no shard of the cluster has the slot of {key}")
        return Node(node.host, int(node.port))

    def client_of(self, node: Node) -> Redis:
        with self._lock:
            client = self._clients.get(node)
            if client is None:
                client = self._clients[node] = Redis(host=node.host, port=node.port, **self._settings)
            return client

    def connect(self, node: Node) -> Connection:
        try:
            return _connect(node, self._settings)
        except REDIS_ERRORS:
            self._failed = node
            raise

    def refresh(self) -> None:
        """Read the map of slots again. Any server has it; the one that failed is asked last."""
        self._cluster.nodes_manager.initialize(last_failed_node_name=self._failed and str(self._failed))

    def probe(self) -> None:
        """Check that one server answers; a slot that moved shows itself by MOVED."""
        error: Exception | None = None
        nodes = [Node(node.host, int(node.port)) for node in self._cluster.get_nodes()]  # type: ignore[no-untyped-call]
        # The one that answered last time first: each that hangs costs a timeout.
        for node in sorted(nodes, key=lambda node: node != self._answered):
            try:
                _ping(self.client_of(node))
            except REDIS_ERRORS as failure:
                error = failure
            else:
                self._answered = node
                return
        raise error or RedisClusterException("the cluster has no servers")

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.close()
        self._cluster.close()


def is_answer_to_ping(error: Exception) -> bool:
    """Whether an error shows that the server works.

    A Redis that could not save its data refuses writes, and PING with them; it still answers reads.
    """
    return isinstance(error, ResponseError) and str(error).startswith("MISCONF")


def _ping(client: Redis) -> None:
    try:
        client.ping()
    except ResponseError as error:
        if not is_answer_to_ping(error):
            raise


def _connection_settings(address: Address, options: Options) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "socket_timeout": options.timeout_s,
        "socket_connect_timeout": options.timeout_s,
        "socket_keepalive": True,
        "client_name": "touchline",
        "retry": Retry(NoBackoff(), 0),
        # RESP3 would mix pushed messages with answers; every Redis supports version 2.
        "protocol": 2,
    }
    if options.tls:
        settings["ssl"] = True
        files = {
            "ssl_ca_certs": options.tls_ca,
            "ssl_certfile": options.tls_cert,
            "ssl_keyfile": options.tls_key,
        }
        settings |= {name: path for name, path in files.items() if path}
    return settings


def _connect(node: Node, settings: dict[str, Any]) -> Connection:
    settings = dict(settings)
    kind = SSLConnection if settings.pop("ssl", False) else Connection
    connection: Connection = kind(host=node.host, port=node.port, **settings)
    connection.connect()  # type: ignore[no-untyped-call]
    return connection


def _host_port(text: str) -> tuple[str, str]:
    """Split ``host:port``; an IPv6 address is in brackets."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = text.partition(":")
    return host, port


def _options(query: str, refuse: Any) -> Options:
    fields = {field.name: field for field in dataclasses.fields(Options)}
    given: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in fields:
            refuse(f"there is no option {name!r}; options are {' '.join(fields)}")
        default = fields[name].default
        try:
            if isinstance(default, bool):
                given[name] = {"true": True, "1": True, "false": False, "0": False}[text]
            elif isinstance(default, (int, float)):
                given[name] = type(default)(text)
                if not 0 < given[name] < 2**31:
                    raise ValueError
            else:
                given[name] = text
        except (KeyError, ValueError):
            refuse(f"{name} must be {'true or false' if isinstance(default, bool) else 'a number above 0'}")
    return Options(**given)
