"""The ladder at the web tier: its admin route, what polls say, and the canary that no reader is shown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from origin.canary.match import beat, is_canary, match_id_of
from origin.ladder.advice import Advice
from origin.ladder.settings import LadderSettings
from origin.ladder.steps import LadderState, Step
from origin.ladder.store import FileStore, MemoryStore
from origin.web.app import create_admin_app
from origin.web.origin import origin_of
from origin.web.region_link import link_of
from testkit.poster import MATCH, Poster, event

CANARY = match_id_of(490_000)


@pytest.fixture
def admin(app: Flask) -> Flask:
    return create_admin_app(app)


def test_the_step_is_set_at_the_admin_port(app: Flask, admin: Flask, tmp_path: Path) -> None:
    client = admin.test_client()
    assert client.get("/ladder").headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert client.get("/ladder").json == {
        "step": "normal",
        "reason": "",
        "set_ms": 0,
        "told": {"step": 0, "late_ms": 0},
    }
    answer = client.post("/ladder", json={"step": "poll", "reason": "a drill"})
    assert answer.json
    assert (answer.status_code, answer.json["step"], answer.json["told"]["step"]) == (200, "poll", 3)
    assert origin_of(app).advice.step is Step.POLL
    # It is kept beside the log, for the next process.
    assert FileStore(tmp_path / "log.db.ladder").read().step is Step.POLL
    assert client.post("/ladder", json={"step": "normal"}).status_code == 200
    assert origin_of(app).advice == Advice()


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"step": "panic"}, "'panic'"),
        ({"step": 3}, "must be"),
        ([], "must be"),
        ({"reason": "x"}, "must be"),
        ({"step": "poll", "reason": "x" * 201}, "reason"),
        ({"step": "poll", "reason": "two\nlines"}, "reason"),
        ({"step": "poll", "for": "ever"}, "'for'"),
    ],
)
def test_what_is_no_step_changes_nothing(app: Flask, admin: Flask, body: object, names: str) -> None:
    answer = admin.test_client().post("/ladder", json=body)
    assert answer.status_code == 400
    assert answer.json
    assert names in answer.json["error"]["message"]
    assert origin_of(app).advice == Advice()


def test_a_page_in_an_operators_browser_cannot_set_it(app: Flask, admin: Flask) -> None:
    client = admin.test_client()
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = client.post("/ladder", data='{"step":"stale"}', content_type=content_type)
        assert answer.status_code == 415
    asked = client.options("/ladder", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in asked.headers
    assert origin_of(app).advice == Advice()


def test_a_body_of_any_length_is_not_read(admin: Flask) -> None:
    answer = admin.test_client().post("/ladder", json={"step": "poll", "reason": "x" * 5_000})
    assert answer.status_code == 413


def test_the_public_port_has_no_ladder(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/ladder").status_code == 404
    assert client.post("/ladder", json={"step": "stale"}).status_code == 404
    assert origin_of(app).advice == Advice()


@pytest.mark.parametrize("url", [f"/score?matchId={MATCH}", f"/api/match/{MATCH}/state", "/", "/list"])
def test_polls_and_pages_say_the_step(poster: Poster, url: str) -> None:
    poster.publish(event("g1"))
    first = poster.client.get(url)
    assert first.headers["Touchline-Step"] == "0"
    origin_of(poster.app).take_advice(Advice(Step.LONG_POLL))
    again = poster.client.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.headers["Touchline-Step"]) == (304, "2")


def test_another_sites_script_may_read_the_step(poster: Poster) -> None:
    poster.publish(event("g1"))
    answer = poster.client.get(f"/api/match/{MATCH}/state", headers={"Origin": "https://a.example"})
    assert "Touchline-Step" in answer.headers["Access-Control-Expose-Headers"]


def test_where_nothing_comes_an_answer_is_as_old_as_that(poster: Poster) -> None:
    url = f"/api/match/{MATCH}/state"
    poster.publish(event("g1"))
    before = int(poster.client.get(url).headers["Touchline-As-Of"])
    origin_of(poster.app).take_advice(Advice(Step.NORMAL, 3_600_000))
    late = int(poster.client.get(url).headers["Touchline-As-Of"])
    # Not older than the newest delta, which did come.
    state = json.loads(poster.client.get(url).data)
    assert late == state["accepted_ms"] <= before


def test_at_the_last_step_the_bus_is_asked_four_times_a_minute(poster: Poster) -> None:
    url = f"/api/match/{MATCH}/state"
    poster.publish(event("g1"))
    first = poster.client.get(url)
    as_of = int(first.headers["Touchline-As-Of"])
    assert "s-maxage=1," in first.headers["Cache-Control"]
    origin_of(poster.app).take_advice(Advice(Step.STALE))
    poster.publish(event("g2"))
    stale = poster.client.get(url)
    assert (stale.headers["Touchline-Id"], int(stale.headers["Touchline-As-Of"])) == (
        first.headers["Touchline-Id"],
        as_of,
    )
    assert "s-maxage=15," in stale.headers["Cache-Control"]
    assert "s-maxage=15" in poster.client.get("/").headers["Cache-Control"]
    origin_of(poster.app).take_advice(Advice())
    assert poster.client.get(url).headers["Touchline-Id"].endswith("-2")


def test_an_origin_in_memory_keeps_the_step_in_memory(make_app: Callable[..., Flask]) -> None:
    app = make_app(eventlog_url="memory://")
    link = link_of(app)
    assert isinstance(link.store, MemoryStore)
    link.set_step(LadderState(Step.RETRY, "", 1))
    assert origin_of(app).advice.step is Step.RETRY


def test_a_file_that_is_no_state_changes_nothing(app: Flask, tmp_path: Path) -> None:
    link = link_of(app)
    link.set_step(LadderState(Step.POLL, "", 1))
    (tmp_path / "log.db.ladder").write_text("{")
    link.round()
    assert origin_of(app).advice.step is Step.POLL


def test_another_process_sets_the_step_by_the_file(app: Flask, tmp_path: Path) -> None:
    FileStore(tmp_path / "log.db.ladder").write(LadderState(Step.LONG_POLL, "by hand", 1))
    link = link_of(app)
    link.round()
    assert origin_of(app).advice.step is Step.LONG_POLL


def test_metrics_say_the_step(app: Flask) -> None:
    link_of(app).set_step(LadderState(Step.STALE, "", 1))
    text = app.test_client().get("/metrics").text
    assert "touchline_ladder_step 4.0" in text
    assert "touchline_ladder_automatic_step 0.0" in text
    assert "touchline_canary_age_seconds 0.0" in text


# --- the canary is no match of a reader


@pytest.fixture
def with_canary(poster: Poster) -> Poster:
    poster.publish(event("g1"))
    origin = origin_of(poster.app)
    origin.log.append([beat(CANARY, 1)])
    while origin.bus.head(CANARY) is None:
        poster.publish(event(f"wait-{origin.bus.head(MATCH)}"))
    return poster


@pytest.mark.parametrize(
    "url",
    [
        f"/match/{CANARY}",
        f"/embed/{CANARY}",
        f"/score?matchId={CANARY}",
        f"/api/match/{CANARY}/state",
        f"/api/match/{CANARY}/state?behind=30",
        f"/api/match/{CANARY}/deltas/1-1",
        f"/match/{CANARY}/fragment/1-1",
    ],
)
def test_no_reader_is_shown_the_canary(with_canary: Poster, url: str) -> None:
    answer = with_canary.client.get(url)
    assert answer.status_code == 404
    assert b"unknown_match" in answer.data or b"No match" in answer.data or b"no match" in answer.data


def test_no_list_has_it(with_canary: Poster) -> None:
    for url in ("/", "/list"):
        text = with_canary.client.get(url).text
        assert MATCH in text
        assert CANARY not in text


def test_no_key_writes_it(poster: Poster) -> None:
    answer = poster.post(event("g1", match_id=CANARY))
    assert answer.status_code == 403
    assert answer.json
    assert answer.json["error"]["code"] == "match_not_allowed"
    assert CANARY in answer.json["error"]["message"]


def test_an_origin_with_a_canary_appends_beats(make_app: Callable[..., Flask]) -> None:
    """Without a stream worker nobody hears them here; they are in the log all the same."""
    app = make_app(ladder=LadderSettings(canary_interval_s=0.2))
    origin = origin_of(app)
    deadline = time.monotonic() + 20
    while not any(map(is_canary, origin.bus.matches())):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    link_of(app).round()
    assert origin.advice == Advice()
