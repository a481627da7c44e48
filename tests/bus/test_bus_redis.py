"""What only Redis can get wrong: ids, keys that expire, an index beside the data, connections, addresses."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from origin.bus import Bus, Gap, Suffix, UpToDate, open_bus
from origin.bus.redis_servers import Address, Node, Options, parse_bus_url
from origin.bus.redis_store import PUBLISH_SCRIPT
from origin.errors import BusError, ConfigError
from shared_state import DeltaId
from testkit.services.clock import WallClock
from testkit.services.process import require_program
from testkit.services.redis import RedisCluster, RedisServer
from tests.bus.contract import EPOCH, Heard, delta, eventually, publish, run_of, snapshot_at

MATCH = "fra-cro"
STREAM, STATE, LIVE = (f"touchline:{{{MATCH}}}:{what}" for what in ("stream", "state", "live"))
FAST = "timeout_s=2&check_s=0.2"


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def server(one_server: RedisServer) -> RedisServer:
    one_server.client.flushall()
    return one_server


@pytest.fixture
def bus(server: RedisServer) -> Iterator[Bus]:
    bus = open_bus(f"{server.url}?{FAST}")
    yield bus
    bus.close()


def kill_pub_sub(server: RedisServer) -> None:
    server.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]


def publish_unheard(server: RedisServer, seq: int) -> None:
    """Publish as the bus does, but the message is lost on the way."""
    server.client.eval(
        PUBLISH_SCRIPT,
        2,
        STREAM,
        STATE,
        *("PUBLISH", "another-channel", 100, 60, 60, snapshot_at(seq), EPOCH, seq),
        *("", MATCH, 100, delta(seq).delta),
    )


pytestmark = pytest.mark.services


class TestIds:
    def test_redis_itself_refuses_an_id_that_is_not_larger(self, server: RedisServer, bus: Bus) -> None:
        publish(bus, MATCH, 1, 2, 3)
        for seq in (1, 2, 3):
            with pytest.raises(ResponseError, match="equal or smaller"):
                server.client.xadd(STREAM, {"d": "again"}, id=f"{EPOCH}-{seq}")
        assert bus.replay(MATCH, DeltaId(EPOCH, 0)) == Suffix(run_of(1, 3))

    def test_that_refusal_stands_behind_the_script(self, server: RedisServer, bus: Bus) -> None:
        """Even if the state were behind the stream, nothing would be published twice."""
        publish(bus, MATCH, 1, 2, 3)
        server.client.hset(STATE, "id", f"{EPOCH}-2")
        heard = Heard(bus, MATCH)
        with pytest.raises(BusError, match="equal or smaller"):
            publish(bus, MATCH, 3)
        assert heard.deltas == []

    @pytest.mark.parametrize("epoch", [1, 2_000_000_000_000_000])
    def test_no_clock_of_redis_is_in_an_id(self, bus: Bus, epoch: int) -> None:
        assert publish(bus, MATCH, 1, 2, epoch=epoch) == [True, True]
        assert bus.replay(MATCH, DeltaId(epoch, 1)) == Suffix(run_of(2, 2, epoch))

    def test_a_clock_that_is_set_back_changes_nothing(self, tmp_path: Path) -> None:
        clock = WallClock(tmp_path)
        with (
            RedisServer(tmp_path, env=clock.env) as server,
            contextlib.closing(open_bus(f"{server.url}?{FAST}")) as bus,
        ):
            heard = Heard(bus, MATCH)
            publish(bus, MATCH, 1, 2)
            before: Any = server.client.time()
            clock.shift(-3_600_000)
            after: Any = server.client.time()
            assert before[0] - after[0] > 3_000, "the clock of the server was set back by an hour"
            assert publish(bus, MATCH, 3, 2, 4) == [True, False, True]
            assert bus.replay(MATCH, DeltaId(EPOCH, 1)) == Suffix(run_of(2, 4))
            heard.wait_for([1, 2, 3, 4])


class TestRetention:
    @pytest.mark.parametrize(
        ("snapshot", "stream_s", "state_s"),
        [
            (b'{"status":"LIVE"}', 100, 300),
            (b'{"status":"FT","events":[]}', 100, 200),
            (b'{"status":"AWARDED"}', 100, 200),
            (b"not JSON", 100, 300),
            (b"[]", 100, 300),
        ],
    )
    def test_a_match_that_ended_is_forgotten_sooner(
        self, server: RedisServer, snapshot: bytes, stream_s: int, state_s: int
    ) -> None:
        bus = open_bus(f"{server.url}?replay_ttl_s=100&ended_ttl_s=200&idle_ttl_s=300")
        bus.publish(MATCH, delta(1), snapshot)
        assert server.client.ttl(STREAM) in (stream_s - 1, stream_s)
        assert server.client.ttl(STATE) in (state_s - 1, state_s)
        bus.close()

    def test_replay_is_kept_by_count(self, server: RedisServer) -> None:
        bus = open_bus(f"{server.url}?replay_max=50")
        for seq in range(1, 401):
            publish(bus, MATCH, seq)
        kept: Any = server.client.xlen(STREAM)
        assert 50 <= kept <= 150
        assert bus.replay(MATCH, DeltaId(EPOCH, 350)) == Suffix(run_of(351, 400))
        assert bus.replay(MATCH, DeltaId(EPOCH, 400 - kept)) == Suffix(run_of(401 - kept, 400))
        assert bus.replay(MATCH, DeltaId(EPOCH, 399 - kept)) == Gap(DeltaId(EPOCH, 400))
        bus.close()

    def test_a_replay_that_expired_is_a_gap_until_it_is_whole_again(
        self, server: RedisServer, bus: Bus
    ) -> None:
        publish(bus, MATCH, 1, 2, 3)
        server.client.delete(STREAM)
        assert bus.replay(MATCH, DeltaId(EPOCH, 3)) == UpToDate()
        assert bus.replay(MATCH, DeltaId(EPOCH, 2)) == Gap(DeltaId(EPOCH, 3))
        publish(bus, MATCH, 4)
        assert bus.replay(MATCH, DeltaId(EPOCH, 2)) == Gap(DeltaId(EPOCH, 4))
        assert bus.replay(MATCH, DeltaId(EPOCH, 3)) == Suffix([delta(4)])

    def test_a_match_that_was_forgotten_can_be_refilled(self, server: RedisServer, bus: Bus) -> None:
        publish(bus, MATCH, 1, 2, 3)
        server.client.delete(STATE)
        assert bus.matches() == []
        assert bus.refill(MATCH, run_of(1, 4), snapshot_at(4)) == 4
        assert bus.replay(MATCH, DeltaId(EPOCH, 0)) == Suffix(run_of(1, 4))
        assert bus.matches() == [MATCH]


class TestIndex:
    def test_a_lost_index_is_found_again(self, server: RedisServer, bus: Bus) -> None:
        for match_id in ("a", "b", "c"):
            publish(bus, match_id, 1)
        assert bus.matches() == ["a", "b", "c"]
        server.client.delete("touchline:matches")
        publish(bus, "d", 1)
        assert bus.matches() == ["a", "b", "c", "d"]

    def test_a_match_that_could_not_be_added_is_added_with_the_next_delta(
        self, server: RedisServer, bus: Bus, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert bus.matches() == []
        server.client.set("touchline:matches", "not a set")
        with caplog.at_level(logging.WARNING):
            assert publish(bus, MATCH, 1) == [True]
        assert "not in the list of matches yet" in caplog.text
        server.client.delete("touchline:matches")
        server.client.sadd("touchline:matches", "")  # as if complete
        assert bus.matches() == []
        assert publish(bus, MATCH, 1) == [False]
        assert bus.matches() == [MATCH]

    def test_a_cluster_finds_its_matches_on_all_shards(self, tmp_path: Path) -> None:
        with (
            RedisCluster(tmp_path) as cluster,
            contextlib.closing(open_bus(f"{cluster.url}?{FAST}")) as bus,
        ):
            names = [f"m{number}" for number in range(12)]
            for name in names:
                publish(bus, name, 1)
            owner = cluster.owner("touchline:matches")
            owner.client.delete("touchline:matches")
            assert bus.matches() == sorted(names)
            assert {cluster.owner(f"touchline:{{{name}}}:state").port for name in names} == {
                server.port for server in cluster.servers
            }

    def test_databases_and_prefixes_do_not_mix(self, server: RedisServer) -> None:
        urls = [f"{server.url}/1?{FAST}", f"{server.url}/2?{FAST}", f"{server.url}/2?prefix=other&{FAST}"]
        buses = [open_bus(url) for url in urls]
        heard = [Heard(bus, MATCH) for bus in buses]
        for number, bus in enumerate(buses, 1):
            publish(bus, MATCH, *range(1, number + 1))
        for number, subscriber in enumerate(heard, 1):
            subscriber.wait_for(range(1, number + 1))
        for bus in buses:
            bus.close()


class TestLive:
    def test_what_is_lost_while_all_looks_healthy_is_found_and_told(
        self, server: RedisServer, bus: Bus
    ) -> None:
        heard = Heard(bus, MATCH)
        publish(bus, MATCH, 1)
        heard.wait_for([1])
        publish_unheard(server, 2)
        heard.wait_for([1, 2])
        assert bus.health().healed == 1
        eventually(lambda: bus.health().ok)

    def test_an_origin_that_keeps_losing_messages_is_unready_and_reconnects(
        self, server: RedisServer, bus: Bus
    ) -> None:
        heard = Heard(bus, MATCH)
        publish(bus, MATCH, 1)
        heard.wait_for([1])
        before: Any = server.client.client_list(_type="pubsub")
        reasons: set[str] = set()
        for seq in range(2, 200):
            publish_unheard(server, seq)
            reasons.add(bus.health().reason)
            now: Any = server.client.client_list(_type="pubsub")
            if now and now[0]["id"] != before[0]["id"]:
                break
            time.sleep(0.02)
        assert "1 matches stand further than what was delivered" in reasons
        heard.wait_for(range(1, seq + 1))
        eventually(lambda: bus.health().ok)

    def test_a_message_that_overtakes_a_lost_one_waits_for_it(self, server: RedisServer, bus: Bus) -> None:
        heard = Heard(bus, MATCH)
        publish(bus, MATCH, 1)
        publish_unheard(server, 2)
        publish(bus, MATCH, 3, 4)
        heard.wait_for([1, 2, 3, 4])

    def test_noise_on_the_channel_is_dropped(self, server: RedisServer, bus: Bus) -> None:
        heard = Heard(bus, MATCH)
        for noise in (
            "",
            "x",
            "1-",
            "1-2",
            f"{EPOCH}-99999999999999999 x",
            "\udcff".encode(errors="surrogateescape"),
        ):
            server.client.publish(LIVE, noise)
        publish(bus, MATCH, 1)
        heard.wait_for([1])

    def test_what_cannot_be_had_any_more_is_a_gap_told_once(self, server: RedisServer, bus: Bus) -> None:
        heard = Heard(bus, MATCH)
        publish(bus, MATCH, 1)
        heard.wait_for([1])
        for seq in (2, 3):
            publish_unheard(server, seq)
            server.client.xtrim(STREAM, maxlen=0, approximate=False)
        eventually(lambda: bool(heard.gaps))
        publish(bus, MATCH, 4)
        heard.wait_for([1, 4])
        assert heard.gaps[-1] == DeltaId(EPOCH, 3)
        assert heard.gaps in ([DeltaId(EPOCH, 3)], [DeltaId(EPOCH, 2), DeltaId(EPOCH, 3)])

    def test_a_new_epoch_during_an_outage_is_told_from_its_first_delta(
        self, server: RedisServer, bus: Bus
    ) -> None:
        heard = Heard(bus, MATCH)
        publish(bus, MATCH, 1, 2)
        heard.wait_for([1, 2])
        kill_pub_sub(server)
        publish(bus, MATCH, 1, 2, 3, epoch=EPOCH + 1)
        heard.wait_for([1, 2, 1, 2, 3])
        assert heard.gaps == []

    def test_a_match_that_begins_during_an_outage_is_told_from_its_first_delta(
        self, server: RedisServer, bus: Bus
    ) -> None:
        heard = Heard(bus, MATCH)
        kill_pub_sub(server)
        publish(bus, MATCH, 1, 2, 3)
        heard.wait_for([1, 2, 3])

    def test_a_callback_that_raises_harms_nobody(self, bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
        def fail(_: object) -> None:
            raise RuntimeError("not my fault")

        bus.subscribe(MATCH, fail)
        heard = Heard(bus, MATCH)
        publish(bus, MATCH, 1, 2)
        heard.wait_for([1, 2])
        assert "a subscriber failed" in caplog.text

    def test_a_channel_nobody_wants_is_left(self, server: RedisServer, bus: Bus) -> None:
        subscriptions = [Heard(bus, MATCH).subscription for _ in range(3)]
        assert server.client.pubsub_channels() == [LIVE]
        for subscription in subscriptions:
            subscription.close()
        eventually(lambda: server.client.pubsub_channels() == [])

    def test_one_connection_carries_all_matches(self, server: RedisServer, bus: Bus) -> None:
        heard = [Heard(bus, f"m{number}") for number in range(30)]
        clients: Any = server.client.client_list(_type="pubsub")
        assert len(clients) == 1
        for number, subscriber in enumerate(heard):
            publish(bus, f"m{number}", 1)
            subscriber.wait_for([1])

    def test_threads_end_with_the_bus(self, server: RedisServer) -> None:
        before = threading.active_count()
        bus = open_bus(server.url)
        Heard(bus, MATCH)
        assert threading.active_count() == before + 2
        bus.close()
        assert threading.active_count() == before
        with pytest.raises(BusError):
            Heard(bus, MATCH)


class TestServers:
    def test_a_server_that_is_gone_is_an_error_and_not_ready(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with (
            RedisServer(tmp_path) as server,
            contextlib.closing(open_bus(f"{server.url}?timeout_s=0.5&check_s=0.2")) as bus,
        ):
            eventually(lambda: bus.health().ok)
            server.kill()
            with pytest.raises(BusError):
                bus.snapshot(MATCH)
            with pytest.raises(BusError):
                Heard(bus, MATCH)
            eventually(lambda: not bus.health().ok)
            assert "refused" in bus.health().reason
            server.start()
            publish(bus, MATCH, 1)
            eventually(lambda: bus.health().ok)

    def test_nobody_there_is_an_error_without_the_password(self, tmp_path: Path) -> None:
        for url in (
            "redis://:s3cret@127.0.0.1:1",
            "redis+sentinel://:s3cret@127.0.0.1:1/region?sentinel_password=s3cret",
            "redis+cluster://:s3cret@127.0.0.1:1",
        ):
            with pytest.raises(BusError) as refused:
                open_bus(url)
            assert "s3cret" not in str(refused.value)

    @pytest.mark.parametrize(
        "url",
        [
            "redis://u:s3cret@h1:1,h2:2",
            "redis://u:s3cret@h1:port",
            "redis://u:s3cret@h1/x",
            "redis://u:s3cret@h1/1/2",
            "redis+sentinel://u:s3cret@h1",
            "redis+cluster://u:s3cret@h1/1",
            "redis://u:s3cret@h1?replay_max=-1",
            "redis://u:s3cret@h1?timeout_s=nan",
            "redis://u:s3cret@h1?tls=perhaps",
            "redis://u:s3cret@h1?password=s3cret",
            "redsi://u:s3cret@h1",
        ],
    )
    def test_a_url_that_cannot_be_used_is_told_without_its_password(self, url: str) -> None:
        with pytest.raises(ConfigError, match="BUS_URL") as refused:
            open_bus(url)
        assert "s3cret" not in str(refused.value)

    def test_urls_are_read(self) -> None:
        address, options = parse_bus_url(
            "redis+sentinel://me:p%40ss@h1:1,[::1]:2,h3/region/4?timeout_s=0.5&replay_max=10&tls=true"
        )
        assert address == Address(
            scheme="redis+sentinel",
            nodes=(Node("h1", 1), Node("::1", 2), Node("h3", 26379)),
            username="me",
            password="p@ss",
            database=4,
            service="region",
        )
        assert options == Options(timeout_s=0.5, replay_max=10, tls=True)
        assert "p@ss" not in f"{address} {address!r}"
        assert parse_bus_url("rediss://h") == (
            Address(scheme="rediss", nodes=(Node("h", 6379),)),
            Options(tls=True),
        )

    def test_every_option_is_documented(self) -> None:
        text = (Path(__file__).parents[2] / "docs" / "bus.md").read_text("utf-8")
        options = dataclasses.fields(Options)
        assert [option.name for option in options if f"`{option.name}`" not in text] == []
        for option in options:
            if isinstance(option.default, (int, float)) and not isinstance(option.default, bool):
                assert f"| `{option.name}` | {option.default:.0f} |" in text, option

    def test_tls_and_the_least_rights_are_enough(self, tmp_path: Path) -> None:
        """The two users of docs/bus.md: one may publish, the other may not."""
        openssl = require_program("openssl")
        key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
        request = (
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=redis -addext subjectAltName=IP:127.0.0.1"
        )
        subprocess.run(
            [openssl, *request.split(), "-keyout", str(key), "-out", str(certificate)],
            check=True,
            capture_output=True,
            timeout=60,
        )
        with RedisServer(tmp_path) as server, contextlib.ExitStack() as opened:
            for user in documented_users():
                server.client.execute_command("ACL", "SETUSER", *user.split())  # type: ignore[no-untyped-call]
            port = server.listen_tls(key, certificate)
            settings = f"?tls_ca={certificate}&{FAST}"
            fanout = open_bus(f"rediss://fanout:change-me@127.0.0.1:{port}/{settings}")
            opened.callback(fanout.close)
            origin = open_bus(f"rediss://origin:change-me-too@127.0.0.1:{port}/{settings}")
            opened.callback(origin.close)
            heard = Heard(origin, MATCH)
            publish(fanout, MATCH, 1, 2)
            fanout.refill(MATCH, run_of(1, 3), snapshot_at(3))
            heard.wait_for([1, 2, 3])
            for bus in (fanout, origin):
                assert bus.head(MATCH) == DeltaId(EPOCH, 3)
                assert bus.replay(MATCH, DeltaId(EPOCH, 1)) == Suffix(run_of(2, 3))
                assert bus.snapshot(MATCH) is not None
                assert bus.matches() == [MATCH]
                eventually(lambda bus=bus: bus.health().ok)  # type: ignore[misc]
            with pytest.raises(BusError, match="NoPermission"):
                publish(origin, MATCH, 4)


def documented_users() -> list[str]:
    """The ACL lines of docs/bus.md."""
    text = (Path(__file__).parents[2] / "docs" / "bus.md").read_text("utf-8")
    users = [line.removeprefix("user ") for line in text.splitlines() if line.startswith("user ")]
    assert len(users) == 2
    return users
