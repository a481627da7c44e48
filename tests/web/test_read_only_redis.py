"""Pages from a Redis that refuses writes, or everything: real servers, each brought into that state."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from redis.exceptions import ResponseError

from origin.bus import open_bus
from origin.bus.redis import RedisBus
from testkit.services.redis import RedisServer
from testkit.services.redis_refusals import cannot_save, is_a_replica, is_full, may_not_write
from tests.bus.contract import Heard, eventually
from tests.web.test_board import Season

pytestmark = pytest.mark.services


REFUSALS: list[tuple[Callable[[RedisServer], None], str]] = [
    (cannot_save, "MISCONF"),
    (is_full, "OOM|command not allowed when used memory"),
    (is_a_replica, "READONLY|read only replica"),
    (may_not_write, "NOPERM|no permissions"),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        with contextlib.closing(open_bus(server.url)) as bus:
            season = Season(bus)
            for name in ("m1", "m2", "expired"):
                season.play(name, "LIVE")
        # The list of matches wants two writes: it is not marked as complete, and has an expired match.
        server.client.delete("touchline:{expired}:state")
        yield server


@pytest.mark.parametrize(("refuse", "error"), REFUSALS, ids=["misconf", "oom", "readonly", "noperm"])
def test_the_list_is_read_from_a_redis_that_refuses_writes(
    server: RedisServer,
    make_app: Callable[..., Flask],
    refuse: Callable[[RedisServer], None],
    error: str,
) -> None:
    reader = make_app(eventlog_url="memory://", bus_url=server.url).test_client()
    refuse(server)
    with pytest.raises(ResponseError, match=error):
        server.client.sadd("touchline:matches", "m3")
    for _ in range(2):
        page = reader.get("/")
        assert page.status_code == 200
        assert all(f"/match/{name}" in page.text for name in ("m1", "m2"))
        assert "/match/expired" not in page.text
        assert "not up to date" not in page.text
    assert reader.get("/match/m1").status_code == 200
    assert reader.get("/score?matchId=m2").status_code == 200
    with contextlib.closing(open_bus(server.url)) as bus:
        assert bus.matches() == ["m1", "m2"]


def test_the_last_known_list_is_shown_by_a_redis_that_answers_nothing(
    server: RedisServer, make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NOAUTH: a password was set, and every connection has to come again. It refuses reads, too."""
    monkeypatch.setattr("origin.web.origin.BOARD_FRESH_S", 0.0)
    monkeypatch.setattr("origin.web.origin.BUS_AGAIN_S", 0.0)
    reader = make_app(eventlog_url="memory://", bus_url=server.url).test_client()
    newcomer = make_app(eventlog_url="memory://", bus_url=server.url).test_client()
    assert "not up to date" not in reader.get("/").text
    server.client.config_set("requirepass", "secret")
    server.client.client_kill_filter(_type="normal", skipme=True)
    page = reader.get("/")
    assert page.status_code == 200
    assert all(f"/match/{name}" in page.text for name in ("m1", "m2"))
    assert "not up to date" in page.text
    refused = newcomer.get("/")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    server.client.config_set("requirepass", "")
    assert "not up to date" not in reader.get("/").text
    assert "/match/m1" in newcomer.get("/").text


def test_an_origin_starts_on_a_redis_that_cannot_save_and_keeps_its_live_connection(
    server: RedisServer,
) -> None:
    """Such a Redis refuses PING as well, by which silent connections are checked."""
    cannot_save(server)
    with contextlib.closing(open_bus(f"{server.url}?timeout_s=0.5&check_s=0.2")) as bus:
        heard = Heard(bus, "m1")
        eventually(lambda: bus.health().ok)
        first = live_connections(server)
        assert first
        eventually(lambda: server.client.info("commandstats")["cmdstat_ping"]["rejected_calls"] > 10)
        assert bus.health().ok, bus.health().reason
        assert live_connections(server) == first, "the connection works, and stays"
        heard.subscription.close()


def live_connections(server: RedisServer) -> list[str]:
    """The ids of the connections that are subscribed."""
    clients: Any = server.client.client_list(_type="pubsub")
    return [client["id"] for client in clients]


def test_an_emptied_list_is_found_by_a_user_without_the_right_to_write(server: RedisServer) -> None:
    server.client.delete("touchline:matches")
    may_not_write(server)
    with contextlib.closing(open_bus(server.url)) as bus:
        assert isinstance(bus, RedisBus)
        assert bus.matches() == ["m1", "m2"]
        assert set(bus.row_reader().read().rows) >= {"m1", "m2"}
