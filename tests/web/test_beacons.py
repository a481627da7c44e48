"""``POST /beacon``: a number from a browser, within bounds; whatever else comes is refused and counted."""

from __future__ import annotations

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from origin.config import Config
from origin.web.app import create_app
from origin.web.beacon_rate import RATE_PER_S, BeaconRate
from origin.web.origin import origin_of
from testkit.poster import event


def app_with(rate: float = 0.001) -> Flask:
    return create_app(Config(eventlog_url="memory://", bus_url="memory://", beacon_rate=rate), start=False)


def numbers(app: Flask) -> dict[str, float]:
    """What ``/metrics`` says of beacons, by name and labels."""
    families = text_string_to_metric_families(app.test_client().get("/metrics").text)
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in families
        for sample in family.samples
        if "web_beacons" in sample.name or "goal_screen" in sample.name
    }


@pytest.mark.parametrize(
    ("body", "kind", "seconds"), [(b"goal 412", "goal", 0.412), (b"retract 0", "retract", 0)]
)
def test_a_measurement_is_taken_and_answered_with_nothing(body: bytes, kind: str, seconds: float) -> None:
    app = app_with()
    response = app.test_client().post("/beacon", data=body, headers={"Cookie": "a=b"})
    assert (response.status_code, response.data) == (204, b"")
    assert response.headers["Cache-Control"].startswith("no-store")
    assert "Set-Cookie" not in response.headers
    found = numbers(app)
    assert found["touchline_web_beacons_total['taken']"] == 1
    assert found[f"touchline_web_goal_screen_seconds_count['{kind}']"] == 1
    assert found[f"touchline_web_goal_screen_seconds_sum['{kind}']"] == seconds


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"goal",
        b"goal ",
        b"goal -1",
        b"goal 1.5",
        b"goal 1e3",
        b"goal 007",
        b"goal 600001",
        b"goal 999999999999999999999999",
        b"goal nan",
        b"goal 1\n",
        b"goal  1",
        b" goal 1",
        b"GOAL 1",
        b"card 1",
        b'{"goal": 1}',
        "goal ١".encode(),
        b"goal \xff",
        b"retract 1 " + b"x" * 100_000,
    ],
)
def test_anything_else_is_refused_by_its_value_and_changes_no_histogram(body: bytes) -> None:
    app = app_with()
    response = app.test_client().post("/beacon", data=body)
    assert response.status_code == 400
    assert response.json is not None
    assert response.json["error"]["code"] == "bad_beacon"
    assert len(response.data) < 400
    found = numbers(app)
    assert found["touchline_web_beacons_total['refused']"] == 1
    assert not [name for name in found if "goal_screen" in name and found[name]]


def test_more_than_so_many_a_second_are_not_taken() -> None:
    now_s = 100.0
    rate = BeaconRate(3, lambda: now_s)
    assert [rate.take() for _ in range(5)] == [True, True, True, False, False]
    now_s = 101.0
    assert rate.take()


def test_a_flood_is_counted_and_gets_429() -> None:
    app = app_with()
    origin_of(app).beacon_rate = BeaconRate(RATE_PER_S, lambda: 0.0)
    client = app.test_client()
    statuses = [client.post("/beacon", data=b"goal 1").status_code for _ in range(RATE_PER_S + 5)]
    assert statuses == [204] * RATE_PER_S + [429] * 5
    assert numbers(app)["touchline_web_beacons_total['too_many']"] == 5


def test_a_rate_of_zero_takes_none_and_no_page_asks_for_any() -> None:
    app = app_with(0.0)
    assert app.test_client().post("/beacon", data=b"goal 1").status_code == 404
    assert app.test_client().get("/beacon").status_code == 405


@pytest.mark.parametrize(("rate", "there"), [(0.001, True), (0.0, False)])
def test_the_page_of_a_match_says_the_rate_and_an_embed_does_not(rate: float, there: bool) -> None:
    from testkit.poster import KEY, MATCH, Poster

    app = create_app(
        Config(eventlog_url="memory://", bus_url="memory://", ingest_keys=(KEY,), beacon_rate=rate)
    )
    try:
        poster = Poster(app)
        poster.publish(event("g1"))
        meta = '<meta name="touchline-beacons" content="0.001">'
        assert (meta in poster.client.get(f"/match/{MATCH}").text) is there
        assert "touchline-beacons" not in poster.client.get(f"/embed/{MATCH}").text
        assert "touchline-beacons" not in poster.client.get("/").text
    finally:
        origin_of(app).close()
