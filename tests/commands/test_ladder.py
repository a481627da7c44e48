"""``touchline ladder`` as a shell runs it: a file, a region, several regions of which one is away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.ports import free_port
from testkit.command import Ran, touchline
from testkit.services.redis import RedisServer


def ladder(*arguments: str, **env: str) -> Ran:
    return touchline("ladder", *arguments, env=env)


def lines(ran: Ran) -> list[str]:
    return [line.decode() for line in ran.lines]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


def test_the_embedded_default_needs_no_service(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    assert lines(ladder("show", EVENTLOG_URL=url)) == ["memory://: normal"]
    ran = ladder("set", "poll", "--reason", "Kafka stands still", EVENTLOG_URL=url)
    assert (ran.code, lines(ran), ran.err) == (0, ["memory://: poll"], "")
    shown = lines(ladder("show", EVENTLOG_URL=url))
    assert shown[0].startswith("memory://: poll since 20")
    assert shown[0].endswith("Z: Kafka stands still")


def test_a_region_is_set_by_its_bus(redis: RedisServer) -> None:
    assert ladder("set", "long-poll", BUS_URL=redis.url).code == 0
    assert ": long-poll since" in lines(ladder("show", BUS_URL=redis.url))[0]


def test_a_region_that_is_away_keeps_no_other_from_it(redis: RedisServer) -> None:
    away = f"redis://127.0.0.1:{free_port()}"
    ran = ladder("set", "stale", "--bus", away, "--bus", redis.url)
    assert ran.code == 1
    assert lines(ran) == [f"{redis.url}: stale"]
    assert f"not done at {away}" in ran.err
    assert ": stale since" in lines(ladder("show", BUS_URL=redis.url))[0]


def test_a_step_that_is_none_is_named() -> None:
    ran = ladder("set", "panic")
    assert ran.code == 2
    assert "'panic'" in ran.err


def test_a_log_that_is_no_file_has_no_place_for_it() -> None:
    ran = ladder("set", "poll", EVENTLOG_URL="kafka://127.0.0.1:1/x")
    assert ran.code == 1
    assert "admin port" in ran.err
