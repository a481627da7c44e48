"""A shard of a cluster is stopped, and its commands would wait far longer than this test: others do not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from origin.bus import Bus, Suffix, open_bus
from origin.eventlog.memory import MemoryEventLog
from origin.fanout.worker import FanOut
from shared_state import DeltaId, Event
from testkit.poster import event
from testkit.services.redis import RedisCluster
from tests.bus.contract import eventually

pytestmark = pytest.mark.services

# Each on a shard of its own; the second one's shard also has the list of matches.
MATCHES = ("fra-cro", "bel-eng")


@contextmanager
def working(log: MemoryEventLog, bus: Bus) -> Iterator[None]:
    fanout = FanOut(log, bus, group="eu")
    thread = threading.Thread(target=fanout.run)
    thread.start()
    try:
        yield
    finally:
        fanout.stop()
        thread.join()


def append(log: MemoryEventLog, match_id: str, number: int) -> None:
    log.append([Event.from_json(event(f"g{number}", match_id=match_id, minute=number))])


def seq(bus: Bus, match_id: str) -> int:
    head = bus.head(match_id)
    return 0 if head is None else head.seq


@pytest.mark.parametrize("hung", MATCHES)
def test_matches_of_other_shards_are_published_while_one_hangs(hung: str, tmp_path: Path) -> None:
    (other,) = set(MATCHES) - {hung}
    log = MemoryEventLog()
    with RedisCluster(tmp_path) as cluster, closing(open_bus(f"{cluster.url}?timeout_s=40")) as bus:
        shard = cluster.owner(f"touchline:{{{hung}}}:stream")
        assert cluster.owner(f"touchline:{{{other}}}:stream") is not shard
        newcomer = next(
            name
            for name in (f"new-{n}" for n in range(50))
            if cluster.owner(f"touchline:{{{name}}}:stream").port
            == cluster.owner(f"touchline:{{{other}}}:stream").port
        )
        assert (cluster.owner("touchline:matches") is shard) == (hung == "bel-eng")
        # A bus of its own to look with: not one connection is shared with the worker.
        with closing(open_bus(f"{cluster.url}?timeout_s=5")) as seen, working(log, bus):
            for match_id in MATCHES:
                append(log, match_id, 1)
            eventually(lambda: all(seq(seen, match_id) == 1 for match_id in MATCHES))
            shard.pause()
            try:
                for number in range(2, 12):
                    append(log, hung, number)
                    append(log, other, number)
                    eventually(lambda number=number: seq(seen, other) == number)  # type: ignore[misc]
                # A match that the list does not have yet: it is added to a shard that may hang.
                append(log, newcomer, 1)
                append(log, other, 12)
                eventually(lambda: seq(seen, newcomer) == 1 and seq(seen, other) == 12)
            finally:
                shard.resume()
            eventually(lambda: seq(seen, hung) == 11)
            append(log, newcomer, 2)
            eventually(lambda: sorted(seen.matches()) == sorted([*MATCHES, newcomer]))
            for match_id, count in ((hung, 11), (other, 12)):
                head = seen.head(match_id)
                assert head is not None
                replay = seen.replay(match_id, DeltaId(head.epoch, 0))
                assert isinstance(replay, Suffix)
                assert [delta.id.seq for delta in replay.deltas] == list(range(1, count + 1))
