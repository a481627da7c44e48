"""The purge hook: called after a correction, bounded, and never in the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import httpx
import pytest
from flask import Flask

from deploy.ports import free_port
from origin.config import Config
from origin.errors import ConfigError
from origin.fanout.purge import PENDING_MAX, PurgeHook
from origin.metrics import Metrics
from testkit.poster import MATCH, Poster, event
from testkit.services.caches import PURGE_TOKEN, start_cache
from testkit.services.counting_origin import Answer, CountingOrigin

RULED_OUT = {"match_id": MATCH, "event_id": "g1", "rev": 2, "op": "RETRACT", "reason": "VAR: offside"}


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def count(metrics: Metrics, result: str) -> float:
    return metrics.registry.get_sample_value("touchline_fanout_purges_total", {"result": result}) or 0.0


def test_a_correction_purges_its_match_and_a_goal_does_not(make_app: Callable[..., Flask]) -> None:
    with CountingOrigin(lambda path: Answer()) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/purge"
        poster = Poster(make_app(purge_url=url, purge_token="secret"))
        eventually(lambda: poster.client.get("/readyz").status_code == 200)
        poster.publish(event("g1"))
        poster.publish(event("g2"))
        assert not receiver.seen
        poster.publish(RULED_OUT)
        eventually(lambda: receiver.seen["/purge"] == 1)
        head = receiver.heads["/purge"][0]
        assert head["authorization"] == "Bearer secret"
        assert (head["surrogate-key"], head["touchline-match"]) == (f"match-{MATCH}", MATCH)
        poster.publish(event("g2", rev=2, op="AMEND", minute=11))
        eventually(lambda: receiver.seen["/purge"] == 2)


def test_a_receiver_that_hangs_delays_no_delta(make_app: Callable[..., Flask]) -> None:
    go_on = threading.Event()

    def hang(path: str) -> Answer:
        go_on.wait(30)
        return Answer()

    with CountingOrigin(hang) as receiver:
        poster = Poster(make_app(purge_url=f"http://127.0.0.1:{receiver.port}/purge"))
        eventually(lambda: poster.client.get("/readyz").status_code == 200)
        poster.publish(event("g1"))
        for rev in range(2, 30):
            poster.publish(event("g1", rev=rev, op="AMEND", minute=rev))
        assert receiver.seen["/purge"] <= 3
        go_on.set()


def test_what_waits_is_bounded_and_a_failure_is_counted() -> None:
    metrics = Metrics()
    hook = PurgeHook(f"http://127.0.0.1:{free_port()}/purge", "", metrics)
    for number in range(PENDING_MAX + 20):
        hook.note(f"m{number}")
        hook.note(f"m{number}")
    assert count(metrics, "dropped") >= 1
    eventually(lambda: count(metrics, "failed") >= 1)
    hook.close()


@pytest.mark.services
@pytest.mark.parametrize("kind", ["nginx", "varnish"])
def test_a_real_cache_shows_the_correction(kind: str) -> None:
    made = 1

    def decide(path: str) -> Answer:
        headers = {"Cache-Control": "public, s-maxage=600", "Surrogate-Key": "match-m1"}
        return Answer(body=str(made).encode(), headers=headers)

    with CountingOrigin(decide) as origin, start_cache(kind, origin.port) as cache:
        assert httpx.get(f"{cache.url}/match/m1").text == "1"
        made = 2
        assert httpx.get(f"{cache.url}/match/m1").text == "1"
        metrics = Metrics()
        hook = PurgeHook(f"{cache.url}/purge", PURGE_TOKEN, metrics)
        hook.note("m1")
        eventually(lambda: httpx.get(f"{cache.url}/match/m1").text == "2")
        hook.close()
        assert count(metrics, "sent") == 1


@pytest.mark.parametrize(
    "url", ["cache/purge", "ftp://cache/x", "http://", "http://cache:99999/", "http://a b/"]
)
def test_a_url_that_cannot_be_called_is_refused_by_its_name(url: str) -> None:
    with pytest.raises(ConfigError, match="TOUCHLINE_PURGE_URL"):
        Config.from_env({"TOUCHLINE_PURGE_URL": url})


def test_a_token_that_would_be_another_header_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="TOUCHLINE_PURGE_TOKEN") as refused:
        Config.from_env({"TOUCHLINE_PURGE_TOKEN": "hidden\r\nX: y"})
    assert "hidden" not in str(refused.value)
