"""What goes wrong on one server of several: the matches, and the servers, beside it go on."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from origin.bus import Bus, MatchRow, Published, Suffix, UpToDate, open_bus, redis_store
from origin.bus.redis_store import PUBLISH_SCRIPT
from origin.errors import BusError
from origin.web.board import Board
from shared_state import DeltaId, Event, Replica, encode_delta
from testkit.services.redis import SERVICE, RedisCluster, RedisSentinels, RedisServer
from tests.bus.contract import EPOCH, Heard, delta, eventually, publish, run_of, snapshot_at

FAST = "timeout_s=2&check_s=0.2"
INDEX = "touchline:matches"

pytestmark = pytest.mark.services


def stream(match_id: str) -> str:
    return f"touchline:{{{match_id}}}:stream"


def state(match_id: str) -> str:
    return f"touchline:{{{match_id}}}:state"


def live_connections(server: RedisServer) -> set[str]:
    """Those of the bus; Sentinels have some of their own."""
    clients: Any = server.client.client_list(_type="pubsub")
    return {client["id"] for client in clients if client["name"] == "touchline"}


def cut_live_connections(server: RedisServer) -> None:
    server.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]


def publish_real(publisher: Bus, match_id: str, seq: int) -> None:
    """Publish a match with so many notes, which a viewer can fold."""
    replica, latest = Replica.begin(match_id, EPOCH), None
    for number in range(1, seq + 1):
        fields = {"match_id": match_id, "event_id": f"e{number}", "op": "ADD", "rev": 1, "type": "NOTE"}
        latest = replica.assign(
            Event.from_json(fields | {"minute": number, "detail": {"text": "A shot"}}), EPOCH + number
        )
    assert latest is not None
    publisher.publish(match_id, Published(latest.id, encode_delta(latest)), replica.snapshot())


def read(board: Board) -> list[MatchRow]:
    """The rows of all matches, read anew."""
    board.refresh()
    return board.rows()


def publish_unheard(server: RedisServer, match_id: str, seq: int) -> None:
    """Publish as the bus does, but the message is lost on the way."""
    arguments = ("PUBLISH", "another-channel", 100, 60, 60, snapshot_at(seq), EPOCH, seq)
    row = ("", match_id, 100, delta(seq).delta)
    server.client.eval(PUBLISH_SCRIPT, 2, stream(match_id), state(match_id), *arguments, *row)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def publisher(cluster: RedisCluster) -> Iterator[Bus]:
    with contextlib.closing(open_bus(f"{cluster.url}?{FAST}")) as bus:
        yield bus


@pytest.fixture
def bus(cluster: RedisCluster) -> Iterator[Bus]:
    with contextlib.closing(open_bus(f"{cluster.url}?{FAST}")) as bus:
        yield bus


def on_server(cluster: RedisCluster, server: RedisServer) -> Iterator[str]:
    """Names of matches that this server has."""
    return (name for number in range(10_000) if cluster.owner(stream(name := f"m{number}")) is server)


class TestADeadShard:
    @pytest.mark.parametrize("hangs", [False, True])
    def test_the_others_get_their_live_connections_back(
        self, cluster: RedisCluster, bus: Bus, publisher: Bus, hangs: bool
    ) -> None:
        alive, dead = cluster.servers[1:]
        lost, kept = next(on_server(cluster, dead)), next(on_server(cluster, alive))
        # In this order, so that the supervisor tries the dead server first.
        heard_lost, heard = Heard(bus, lost), Heard(bus, kept)
        for match_id in (lost, kept):
            publish(publisher, match_id, 1)
        heard.wait_for([1])
        heard_lost.wait_for([1])
        if hangs:
            dead.pause()
        else:
            dead.kill()
        eventually(lambda: not bus.health().ok)
        for seq in (2, 3):
            cut_live_connections(alive)
            publish(publisher, kept, seq)
            heard.wait_for(range(1, seq + 1))
            eventually(lambda: bool(live_connections(alive)), "for a live connection")
        with pytest.raises(BusError):
            publish(publisher, lost, 2)
        assert not bus.health().ok, "a match without its server"
        assert len(Heard(bus, next(m for m in on_server(cluster, alive) if m != kept)).deltas) == 0

        if hangs:
            dead.resume()
        else:
            dead.start()  # empty

        def refilled() -> bool:
            with contextlib.suppress(BusError):
                publisher.refill(lost, run_of(1, 2), snapshot_at(2))
                return True
            return False

        eventually(refilled)
        heard_lost.wait_for([1, 2])
        eventually(lambda: bus.health().ok)

    @pytest.mark.parametrize("hangs", [False, True])
    def test_the_page_of_all_matches_shows_its_own_as_they_were(
        self, cluster: RedisCluster, bus: Bus, publisher: Bus, hangs: bool
    ) -> None:
        list_server = cluster.owner(INDEX)
        dead, alive = (server for server in cluster.servers if server is not list_server)
        lost = list(itertools.islice(on_server(cluster, dead), 5))
        kept = next(on_server(cluster, alive))
        for match_id in (*lost, kept):
            publish_real(publisher, match_id, 1)
        board = Board(bus)
        assert sorted(row.match_id for row in read(board)) == sorted([*lost, kept])
        assert board.is_complete()
        if hangs:
            dead.pause()
        else:
            dead.kill()
        publish_real(publisher, kept, 2)
        before_s = time.monotonic()
        rows = read(board)
        took_s = time.monotonic() - before_s
        assert {row.match_id: row.id.seq for row in rows} == {
            **dict.fromkeys(lost, 1),
            kept: 2,
        }
        assert not board.is_complete()
        # Two seconds are its timeout: a few of those, not one for each match and attempt.
        assert took_s < 2 * len(lost), "one hanging server delayed the page once per match"
        newcomer = Board(bus)
        assert [row.match_id for row in read(newcomer)] == [kept]
        assert not newcomer.is_complete()

    def test_the_page_of_all_matches_outlives_the_shard_of_the_list(
        self, cluster: RedisCluster, bus: Bus, publisher: Bus
    ) -> None:
        list_server = cluster.owner(INDEX)
        kept = next(on_server(cluster, next(s for s in cluster.servers if s is not list_server)))
        publish_real(publisher, kept, 1)
        board = Board(bus)
        assert [row.id.seq for row in read(board)] == [1]
        assert board.is_complete()
        list_server.kill()
        publish_real(publisher, kept, 2)
        assert [(row.match_id, row.id.seq) for row in read(board)] == [(kept, 2)]
        assert not board.is_complete()
        with pytest.raises(BusError):
            Board(bus).refresh()

    def test_a_match_without_a_live_connection_is_read_on_the_timer(self, tmp_path: Path) -> None:
        with (
            RedisServer(tmp_path) as server,
            contextlib.closing(open_bus(f"{server.url}?{FAST}")) as bus,
        ):
            heard = Heard(bus, "m")
            publish(bus, "m", 1)
            heard.wait_for([1])
            server.client.execute_command("ACL", "SETUSER", "default", "-subscribe")  # type: ignore[no-untyped-call]
            cut_live_connections(server)
            for seq in (2, 3):
                publish(bus, "m", seq)
                heard.wait_for(range(1, seq + 1))
            assert not bus.health().ok
            assert heard.gaps == []
            server.client.execute_command("ACL", "SETUSER", "default", "+subscribe")  # type: ignore[no-untyped-call]
            eventually(lambda: bus.health().ok)
            publish(bus, "m", 4)
            heard.wait_for([1, 2, 3, 4])

    def test_its_matches_stay_in_the_list(self, cluster: RedisCluster, bus: Bus) -> None:
        has_list = cluster.owner(INDEX)
        dead = next(server for server in cluster.servers if server is not has_list)
        names = sorted(next(on_server(cluster, server)) for server in cluster.servers)
        for name in names:
            publish(bus, name, 1)
        assert bus.matches() == names
        dead.kill()
        assert bus.matches() == names
        expired = next(name for name in names if cluster.owner(state(name)) is has_list)
        has_list.client.delete(state(expired))
        assert bus.matches() == [name for name in names if name != expired]

    def test_a_list_that_may_lack_matches_is_an_error(self, cluster: RedisCluster, bus: Bus) -> None:
        has_list = cluster.owner(INDEX)
        dead = next(server for server in cluster.servers if server is not has_list)
        publish(bus, next(on_server(cluster, dead)), 1)
        publish(bus, next(on_server(cluster, has_list)), 1)
        assert len(bus.matches()) == 2
        has_list.client.srem(INDEX, "")  # now all servers must be scanned
        dead.kill()
        with pytest.raises(BusError):
            bus.matches()
        has_list.kill()
        with pytest.raises(BusError):
            bus.matches()


class TestAHalfMovedSlot:
    """The keys are at the new server, but the slot is still the old one's, which answers ASK."""

    @pytest.mark.parametrize("to_a_newcomer", [False, True])
    def test_its_viewers_are_told_and_nobody_else_notices(
        self, cluster: RedisCluster, bus: Bus, publisher: Bus, to_a_newcomer: bool
    ) -> None:
        old = cluster.servers[0]
        names = on_server(cluster, old)
        moved, beside, later = next(names), next(names), next(names)
        heard, heard_beside = Heard(bus, moved), Heard(bus, beside)
        for match_id in (moved, beside):
            publish(publisher, match_id, 1)
        heard.wait_for([1])
        heard_beside.wait_for([1])
        new = cluster.add_primary() if to_a_newcomer else cluster.servers[1]
        hand_over = cluster.move_half(new, stream(moved), state(moved))
        before = live_connections(old)

        for seq in range(2, 6):
            publish(publisher, moved, seq)
            heard.wait_for(range(1, seq + 1))
        assert bus.replay(moved, DeltaId(EPOCH, 1)) == Suffix(run_of(2, 5))
        assert bus.head(moved) == DeltaId(EPOCH, 5)
        eventually(lambda: bus.health().ok)

        publish_unheard(old, beside, 2)
        heard_beside.wait_for([1, 2])
        heard_later = Heard(bus, later)
        publish(publisher, later, 1)
        heard_later.wait_for([1])
        assert live_connections(old) == before, "the connection works, and stays"

        other = open_bus(f"{cluster.url}?{FAST}")
        heard_other = Heard(other, moved)
        assert other.replay(moved, DeltaId(EPOCH, 5)) == UpToDate()
        publish(publisher, moved, 6)
        heard_other.wait_for([6])
        assert moved in other.matches()
        other.close()

        hand_over()
        publish(publisher, moved, 7)
        heard.wait_for(range(1, 8))
        eventually(lambda: bus.health().ok)
        assert live_connections(new)


class TestTheList:
    def test_a_match_published_while_it_is_being_forgotten_stays(self, tmp_path: Path) -> None:
        """It had expired; another origin sees that and removes it, after the publisher has added it again."""
        with RedisServer(tmp_path) as server, contextlib.ExitStack() as opened:
            buses = [open_bus(server.url) for _ in range(3)]
            for bus in buses:
                opened.callback(bus.close)
            stop = threading.Event()

            def list_matches(bus: Bus) -> None:
                while not stop.is_set():
                    bus.matches()

            threads = [threading.Thread(target=list_matches, args=[bus]) for bus in buses[1:]]
            for thread in threads:
                thread.start()
            try:
                for _ in range(300):
                    server.client.delete(stream("m"), state("m"))
                    publish(buses[0], "m", 1)
                    eventually(lambda: bool(server.client.sismember(INDEX, "m")), "for the match in the list")
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            assert buses[0].matches() == ["m"]

    def test_what_the_list_lost_is_added_again_by_its_publisher(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As after a fail-over of the list's server, whose replica lacked the last matches."""
        monkeypatch.setattr(redis_store, "INDEX_AGAIN_S", 0.2)
        with (
            RedisServer(tmp_path) as server,
            contextlib.closing(open_bus(server.url)) as bus,
        ):
            publish(bus, "m", 1)
            assert bus.matches() == ["m"]
            server.client.srem(INDEX, "m")
            assert bus.matches() == []
            time.sleep(0.3)
            publish(bus, "m", 2)
            assert bus.matches() == ["m"]


class TestSentinels:
    def test_silent_ones_do_not_hold_up_what_is_done_on_the_timer(self, tmp_path: Path) -> None:
        with contextlib.ExitStack() as opened:
            sentinels = RedisSentinels(tmp_path)
            opened.callback(sentinels.stop)
            # Hosts that hang: the kernel accepts connections for them, and no answer comes.
            silent = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(12)]
            addresses = ",".join(f"127.0.0.1:{each.getsockname()[1]}" for each in silent)
            url = sentinels.url.replace("://", f"://{addresses},")
            bus = open_bus(f"{url}?{FAST}")
            opened.callback(bus.close)
            heard = Heard(bus, "m")
            publish(bus, "m", 1)
            heard.wait_for([1])
            publish_unheard(sentinels.primary(), "m", 2)
            heard.wait_for([1, 2])
            eventually(lambda: bus.health().ok)

            before = sentinels.primary()
            sentinels.fail_over()
            eventually(lambda: sentinels.primary() is not before)

            def refilled() -> bool:
                with contextlib.suppress(BusError):
                    bus.refill("m", run_of(1, 3), snapshot_at(3))
                    return bool(live_connections(sentinels.primary()))
                return False

            eventually(refilled)
            heard.wait_for([1, 2, 3])

    @pytest.mark.parametrize("first", [0, 1])
    def test_the_one_that_saw_the_latest_fail_over_is_believed(self, tmp_path: Path, first: int) -> None:
        """Two halves that cannot reach each other, as when a network is partitioned."""
        with contextlib.ExitStack() as opened:
            halves = []
            for name in ("old", "new"):
                (tmp_path / name).mkdir()
                halves.append(RedisSentinels(tmp_path / name))
                opened.callback(halves[-1].stop)
            old, new = halves
            before = new.primary()
            new.fail_over()
            eventually(lambda: new.primary() is not before)
            addresses = [half.url.removeprefix("redis+sentinel://").split("/")[0] for half in halves]
            hosts = ",".join((addresses[first], addresses[1 - first]))
            bus = open_bus(f"redis+sentinel://{hosts}/{SERVICE}?{FAST}")
            opened.callback(bus.close)
            heard = Heard(bus, "m")
            eventually(lambda: bool(live_connections(new.primary())))
            publish(bus, "m", 1)
            heard.wait_for([1])
            assert not live_connections(old.primary())

    def test_without_any_the_known_primary_is_connected_to_again(self, tmp_path: Path) -> None:
        with contextlib.ExitStack() as opened:
            sentinels = RedisSentinels(tmp_path)
            opened.callback(sentinels.stop)
            bus = open_bus(f"{sentinels.url}?timeout_s=0.5&check_s=0.2")
            opened.callback(bus.close)
            heard = Heard(bus, "m")
            for process in sentinels.sentinels:
                process.kill()
            cut_live_connections(sentinels.servers[0])
            # No Sentinel names the primary; none needs to while the primary answers.
            publish(bus, "m", 1)
            heard.wait_for([1])
            eventually(lambda: bool(live_connections(sentinels.servers[0])))
            eventually(lambda: bus.health().ok)
