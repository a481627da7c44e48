"""The bus in Redis: one server, a primary behind Sentinel, or a cluster.

Read in this order: ``redis_servers`` (which servers there are), ``redis_store`` (the keys, and the one
script that changes them), ``redis_cursor`` (what was delivered), ``redis_live`` (live connections),
``redis_completeness`` (how a Redis that was emptied is recognised), ``redis_rows`` (the list of matches),
``redis_region`` (what workers tell each other).
``docs/bus.md`` describes what happens when something fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from origin.bus import BusHealth, Exchanged, Published, Replay, RowReader, Snapshot, Subscription
from origin.bus.redis_completeness import CompletenessMarker
from origin.bus.redis_cursor import Cursor, Subscriber
from origin.bus.redis_live import Live
from origin.bus.redis_region import RegionRecords
from origin.bus.redis_rows import RedisRowReader
from origin.bus.redis_servers import REDIS_ERRORS, Options, Servers, open_servers, parse_bus_url
from origin.bus.redis_store import RedisStore
from origin.errors import BusError
from shared_state import DeltaId

__all__ = ["RedisBus", "open_url"]


class RedisBus:
    """See ``origin.bus.Bus``. Open it in the process that uses it: threads do not survive a fork."""

    def __init__(self, servers: Servers, options: Options, database: int = 0) -> None:
        self._servers = servers
        self._raw_store = RedisStore(servers, options, database)
        self._marker = CompletenessMarker(servers, options.prefix)
        self._region = RegionRecords(servers, options.prefix)
        self._live = Live(servers, self._raw_store, timeout_s=options.timeout_s, check_s=options.check_s)

    @property
    def _store(self) -> RedisStore:
        # A process that only publishes needs the supervisor thread too: it notices a fail-over. An old
        # primary that was cut off or hung goes on taking writes, for seconds, after another was promoted.
        self._live.start()
        return self._raw_store

    def publish(self, match_id: str, published: Published, snapshot: bytes) -> bool:
        """See ``Bus.publish``."""
        return self._store.refill(match_id, [published], snapshot) > 0

    def refill(self, match_id: str, deltas: Sequence[Published], snapshot: bytes) -> int:
        """See ``Bus.refill``."""
        return self._store.refill(match_id, deltas, snapshot)

    def head(self, match_id: str) -> DeltaId | None:
        """See ``Bus.head``."""
        return self._store.head(match_id)

    def heads(self, match_ids: Sequence[str]) -> dict[str, DeltaId | BusError | None]:
        """See ``Bus.heads``."""
        return self._store.heads(match_ids)

    def snapshot(self, match_id: str) -> Snapshot | None:
        """See ``Bus.snapshot``."""
        return self._store.snapshot(match_id)

    def replay(self, match_id: str, after: DeltaId) -> Replay:
        """See ``Bus.replay``."""
        return self._store.replay(match_id, after)

    def subscribe(
        self,
        match_id: str,
        on_delta: Callable[[Published], None],
        on_gap: Callable[[DeltaId], None] | None = None,
    ) -> Subscription:
        """See ``Bus.subscribe``."""
        cursor, key = self._live.subscribe(match_id, Subscriber(on_delta, on_gap))
        return _RedisSubscription(self._live, cursor, key)

    def server_of(self, match_id: str) -> str:
        """See ``Bus.server_of``."""
        try:
            return str(self._servers.node_of(self._raw_store.state_key(match_id)))
        except REDIS_ERRORS:
            return ""

    def is_sharded(self) -> bool:
        """See ``Bus.is_sharded``."""
        return self._servers.sharded

    def matches(self) -> list[str]:
        """See ``Bus.matches``."""
        return self._store.matches()

    def row_reader(self) -> RowReader:
        """See ``Bus.row_reader``."""
        return RedisRowReader(self._servers, self._store)

    def is_complete(self) -> bool:
        """See ``Bus.is_complete``."""
        return self._marker.is_set()

    def mark_complete(self) -> None:
        """See ``Bus.mark_complete``."""
        self._marker.set()

    def exchange(self, worker: str, report: bytes, known_ladder: bytes) -> Exchanged:
        """See ``SharesRecords.exchange``."""
        return self._region.exchange(worker, report, known_ladder)

    def read_ladder(self) -> bytes:
        """See ``SharesRecords.read_ladder``."""
        return self._region.read_ladder()

    def write_ladder(self, state: bytes) -> None:
        """See ``SharesRecords.write_ladder``."""
        self._region.write_ladder(state)

    def health(self) -> BusHealth:
        """See ``Bus.health``. The first call starts the checks of an origin that has no viewers yet."""
        return self._live.health()

    def close(self) -> None:
        """See ``Bus.close``."""
        self._live.close()
        self._raw_store.close()
        self._servers.close()


@dataclass(frozen=True, slots=True)
class _RedisSubscription:
    live: Live
    cursor: Cursor
    key: int

    def close(self) -> None:
        """See ``Subscription.close``."""
        self.live.unsubscribe(self.cursor, self.key)


def open_url(url: str) -> RedisBus:
    """Open the bus that a ``BUS_URL`` names; its query may have the options of ``redis_servers.Options``.

    Raises:
        ConfigError: the URL cannot be used.
        BusError: the service does not answer.
    """
    address, options = parse_bus_url(url)
    return RedisBus(open_servers(address, options), options, address.database)
