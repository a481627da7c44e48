"""Pages, polls and fragments: what they say, what a cache may do with them, and how they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from origin.edge.current import origin_of
from origin.fanout import FanOut
from shared_state import DeltaId, Receipt, Replica, decode_delta
from tests.origin.conftest import MATCH, Poster, event

INFO = event(
    "info",
    "MATCH_INFO",
    period="PRE",
    minute=None,
    team=None,
    detail={"home": {"name": "France", "code": "FRA"}, "away": {"name": "Croatia", "code": "CRO"}},
)
LIVE = event("ko", "STATUS_CHANGE", minute=0, team=None, detail={"to": "LIVE"})
GOAL = event("g1", minute=18, player="Mario <b>Mandžukić</b>", detail={"own_goal": True})
RULED_OUT = {"match_id": MATCH, "event_id": "g1", "rev": 2, "op": "RETRACT", "reason": "VAR: offside"}


def test_the_score(poster: Poster) -> None:
    id_ = poster.publish(INFO, LIVE, GOAL)
    response = poster.client.get(f"/score?matchId={MATCH}")
    assert response.status_code == 200
    assert response.json
    assert response.json["score"] == {"home": 1, "away": 0}
    assert (response.json["id"], response.json["seq"], response.json["status"]) == (id_, 3, "LIVE")
    assert response.headers["ETag"] == f'"{id_}"'
    assert "s-maxage=1" in response.headers["Cache-Control"]
    assert "stale-if-error" in response.headers["Cache-Control"]
    assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("url", [f"/score?matchId={MATCH}", f"/api/match/{MATCH}/state"])
def test_a_poll_that_has_it_gets_304(poster: Poster, url: str) -> None:
    poster.publish(INFO, GOAL)
    first = poster.client.get(url)
    again = poster.client.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    poster.publish(RULED_OUT)
    changed = poster.client.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.json
    assert changed.json["score"] == {"home": 0, "away": 0}


def test_last_modified_is_held_back_until_its_second_is_over(
    poster: Poster, monkeypatch: pytest.MonkeyPatch
) -> None:
    poster.publish(INFO)
    accepted_ms = poster.client.get(f"/api/match/{MATCH}/state").json["accepted_ms"]  # type: ignore[index]
    url = f"/score?matchId={MATCH}"
    monkeypatch.setattr("origin.edge.snapshots.time.time", lambda: accepted_ms / 1000 + 1.9)
    assert "Last-Modified" not in poster.client.get(url).headers
    monkeypatch.setattr("origin.edge.snapshots.time.time", lambda: accepted_ms / 1000 + 2.1)
    dated = poster.client.get(url).headers["Last-Modified"]
    assert poster.client.get(url, headers={"If-Modified-Since": dated}).status_code == 304


def test_the_snapshot_and_the_deltas_make_the_same_match(poster: Poster) -> None:
    poster.publish(INFO, LIVE)
    early = Replica.restore(poster.client.get(f"/api/match/{MATCH}/state").data)
    poster.publish(GOAL, RULED_OUT)
    while (answer := poster.client.get(f"/api/match/{MATCH}/deltas/{early.position}")).status_code == 200:
        assert "immutable" in answer.headers["Cache-Control"]
        id_ = DeltaId.parse(answer.headers["Touchline-Id"])
        assert answer.headers["Link"] == f'</api/match/{MATCH}/deltas/{id_}>; rel="next"'
        assert early.receive(decode_delta(MATCH, id_, answer.data)) is Receipt.APPLIED
    assert answer.status_code == 204
    assert answer.headers["Cache-Control"] == "no-store"
    late = poster.client.get(f"/api/match/{MATCH}/state").json
    assert late
    assert early.hash() == late["hash"]


def test_a_fragment_is_the_same_for_ever_and_shows_its_own_moment(poster: Poster) -> None:
    goal_id = poster.publish(INFO, LIVE, GOAL)
    fragment = poster.client.get(f"/match/{MATCH}/fragment/{goal_id}")
    assert "immutable" in fragment.headers["Cache-Control"]
    assert f'data-id="{goal_id}"' in fragment.text
    assert "Mario &lt;b&gt;Mandžukić&lt;/b&gt;" in fragment.text
    retracted_id = poster.publish(RULED_OUT)
    # Asked for the older one after the newer, and by an origin that has neither in its cache.
    newer = poster.client.get(f"/match/{MATCH}/fragment/{retracted_id}").text
    assert "VAR: offside" in newer
    assert poster.client.get(f"/match/{MATCH}/fragment/{goal_id}").data == fragment.data


def test_a_fragment_is_equal_on_an_origin_that_started_later(
    poster: Poster, make_app: Callable[..., Flask]
) -> None:
    ids = [poster.publish(item) for item in (INFO, LIVE, GOAL, RULED_OUT)]
    here = [poster.client.get(f"/match/{MATCH}/fragment/{id_}").data for id_ in ids]
    other = make_app()
    there = Poster(other)
    FanOut(origin_of(other).log, origin_of(other).bus, group=None).step(1.0)
    assert there.head() == ids[-1]
    for id_, expected in reversed(list(zip(ids, here, strict=True))):
        assert there.client.get(f"/match/{MATCH}/fragment/{id_}").data == expected


def test_the_page_is_whole_without_javascript(poster: Poster) -> None:
    poster.publish(INFO, LIVE, GOAL)
    page = poster.client.get(f"/match/{MATCH}")
    assert page.status_code == 200
    assert page.mimetype == "text/html"
    assert "France" in page.text
    assert "<b>Mandžukić</b>" not in page.text
    assert "application/ld+json" in page.text
    snapshot = page.text.split('id="tl-snapshot">', 1)[1].split("</script>", 1)[0]
    assert Replica.restore(snapshot).match.score == (1, 0)


def test_a_name_cannot_close_the_script_that_carries_the_snapshot(poster: Poster) -> None:
    poster.publish(INFO, event("g1", player="</script><script>alert(1)</script>"))
    page = poster.client.get(f"/match/{MATCH}").text
    assert "<script>alert(1)" not in page
    snapshot = page.split('id="tl-snapshot">', 1)[1].split("</script>", 1)[0]
    assert Replica.restore(snapshot).match.events()[1].player == "</script><script>alert(1)</script>"


def test_the_list_has_live_matches_first(poster: Poster) -> None:
    poster.post(event("s", "STATUS_CHANGE", match_id="over", period="POST", detail={"to": "FT"}))
    poster.publish(INFO, LIVE, GOAL)
    page = poster.client.get("/")
    assert page.status_code == 200
    assert page.text.index(f"/match/{MATCH}") < page.text.index("/match/over")


def test_an_embed_is_the_widget_alone(poster: Poster) -> None:
    poster.publish(INFO, GOAL)
    embed = poster.client.get(f"/embed/{MATCH}")
    assert embed.status_code == 200
    assert "X-Frame-Options" not in embed.headers


REFUSED = [
    ("/score", 400, "missing_parameter"),
    ("/score?matchId=nope", 404, "unknown_match"),
    ("/score?matchId=a%2Fb", 400, "bad_match_id"),
    ("/match/nope", 404, "unknown_match"),
    ("/embed/nope", 404, "unknown_match"),
    ("/api/match/nope/state", 404, "unknown_match"),
    ("/api/match/nope/deltas/1-1", 404, "unknown_match"),
    (f"/api/match/{MATCH}/deltas/1-1", 410, "gap"),
    (f"/api/match/{MATCH}/deltas/abc", 400, "bad_id"),
    (f"/match/{MATCH}/fragment/1-1", 404, "unknown_id"),
    (f"/match/{MATCH}/fragment/01-1", 400, "bad_id"),
    ("/stream/nope", 404, "unknown_match"),
    ("/stream/score", 400, "missing_parameter"),
    ("/nothing/here", 404, "not_found"),
]


@pytest.mark.parametrize(("url", "status", "code"), REFUSED)
def test_what_is_not_there_is_said_in_one_shape(poster: Poster, url: str, status: int, code: str) -> None:
    poster.publish(INFO)
    response = poster.client.get(url, headers={"Accept": "application/json"})
    assert (response.status_code, response.json and response.json["error"]["code"]) == (status, code)
    assert response.headers["Cache-Control"] == "no-store"


def test_a_browser_gets_a_page_for_a_match_that_is_not_there(client: FlaskClient) -> None:
    response = client.get("/match/nope", headers={"Accept": "text/html,*/*;q=0.8"})
    assert response.status_code == 404
    assert response.mimetype == "text/html"
    assert "nope" in response.text


def test_deltas_ahead_of_the_match_are_unknown(poster: Poster) -> None:
    epoch, seq = poster.publish(INFO).split("-")
    response = poster.client.get(f"/api/match/{MATCH}/deltas/{epoch}-{int(seq) + 1}")
    assert response.status_code == 404


def test_health(client: FlaskClient, poster: Poster) -> None:
    assert client.get("/healthz").json == {"status": "alive"}
    assert client.get("/readyz").json == {"status": "ready", "reasons": []}
    poster.publish(INFO)
    metrics = client.get("/metrics").text
    assert 'touchline_ingest_accepted_events_total{feed="canonical"} 1.0' in metrics
    assert "touchline_fanout_published_deltas_total 1.0" in metrics


def test_an_origin_whose_fanout_ended_is_unready(app: Flask, client: FlaskClient) -> None:
    fanout, thread = origin_of(app)._fanout, origin_of(app)._fanout_thread
    assert fanout
    assert thread
    fanout.stop()
    thread.join(timeout=5)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json
    assert response.json["reasons"] == ["fan-out has ended"]


def test_a_state_is_json_that_says_all(poster: Poster) -> None:
    poster.publish(INFO, LIVE, GOAL, RULED_OUT)
    state = json.loads(poster.client.get(f"/api/match/{MATCH}/state").data)
    for key in ("epoch", "seq", "hash", "status", "clock", "score", "events", "retracted", "pending", "info"):
        assert key in state
    assert state["retracted"][0]["retraction"]["reason"] == "VAR: offside"
