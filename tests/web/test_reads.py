"""Pages, polls and fragments: what they say, what a cache may do with them, and how they refuse."""

from __future__ import annotations

import html
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from origin.bus import MatchRow, Published
from origin.bus.memory import REPLAY_MAX_DELTAS, MemoryBus
from origin.errors import BusError
from origin.fanout.worker import FanOut
from origin.web.origin import origin_of
from shared_state import DeltaId, Event, Receipt, Replica, decode_delta, encode_delta
from testkit.poster import MATCH, Poster, event

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


def test_last_modified_is_left_out_until_its_second_is_over(
    poster: Poster, monkeypatch: pytest.MonkeyPatch
) -> None:
    poster.publish(INFO)
    accepted_ms = poster.client.get(f"/api/match/{MATCH}/state").json["accepted_ms"]  # type: ignore[index]
    url = f"/score?matchId={MATCH}"
    monkeypatch.setattr("origin.web.polls.time.time", lambda: accepted_ms / 1000 + 1.9)
    assert "Last-Modified" not in poster.client.get(url).headers
    monkeypatch.setattr("origin.web.polls.time.time", lambda: accepted_ms / 1000 + 2.1)
    dated = poster.client.get(url).headers["Last-Modified"]
    assert poster.client.get(url, headers={"If-Modified-Since": dated}).status_code == 304


class Late:
    """A match whose deltas reach the bus when the test says, whenever the log took them."""

    def __init__(self, app: Flask, epoch: int) -> None:
        self.client = app.test_client()
        self._bus = origin_of(app).bus
        self._replica = Replica.begin(MATCH, epoch)

    def publish(self, event_id: str, accepted_ms: int, type_: str = "GOAL", **fields: object) -> None:
        delta = self._replica.assign(Event.from_json(event(event_id, type_, **fields)), accepted_ms)
        assert delta
        self._bus.publish(MATCH, Published(delta.id, encode_delta(delta)), self._replica.snapshot())

    def poll(self, **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(f"/score?matchId={MATCH}", headers=named)


def test_a_poll_by_date_misses_nothing_that_was_published_late(make_app: Callable[..., Flask]) -> None:
    """Two goals in one second of the log; a bus that was away had the second one minutes later."""
    base = (int(time.time()) - 600) * 1000
    here, there = (Late(make_app(eventlog_url="memory://"), base) for _ in range(2))
    for late in (here, there):
        late.publish("g1", base + 200)
    first = here.poll().headers["Last-Modified"]
    assert here.poll(If_Modified_Since=first).status_code == 304
    for late in (here, there):
        late.publish("g2", base + 800)
        late.publish("g3", base + 500)  # the log's clock went back
    # By the same rule in every process: also one that never saw the match at its earlier ids.
    for late in (here, there):
        assert late.poll(If_Modified_Since=first).status_code == 200
    assert here.poll().headers["Last-Modified"] == there.poll().headers["Last-Modified"] != first
    assert here.poll(If_Modified_Since=there.poll().headers["Last-Modified"]).status_code == 304


def test_a_date_of_the_readers_own_is_no_validator(make_app: Callable[..., Flask]) -> None:
    """A client that sends the time of its last poll would get 304 for a goal published since."""
    base = (int(time.time()) - 600) * 1000
    late = Late(make_app(eventlog_url="memory://"), base)
    late.publish("g1", base)
    now = format_datetime(datetime.now(UTC), usegmt=True)
    assert late.poll(If_Modified_Since=now).status_code == 200
    # Where there is an ETag, the date has no say.
    etag = late.poll().headers["ETag"]
    assert late.poll(If_Modified_Since=now, If_None_Match=etag).status_code == 304
    assert (
        late.poll(If_Modified_Since=late.poll().headers["Last-Modified"], If_None_Match='"x"').status_code
        == 200
    )


@pytest.mark.parametrize("url", [f"/match/{MATCH}", f"/embed/{MATCH}", f"/api/match/{MATCH}/state"])
def test_pages_are_dated_and_the_tag_wins_over_the_date(make_app: Callable[..., Flask], url: str) -> None:
    late = Late(make_app(eventlog_url="memory://"), (int(time.time()) - 600) * 1000)
    late.publish("g1", (int(time.time()) - 300) * 1000)
    first = late.client.get(url)
    dated, tag = first.headers["Last-Modified"], first.headers["ETag"]
    now = format_datetime(datetime.now(UTC), usegmt=True)
    for sent, status in (
        ({"If-Modified-Since": dated}, 304),
        ({"If-Modified-Since": now}, 200),  # a later date is no proof: see above
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Modified-Since": dated, "If-None-Match": '"x"'}, 200),
        ({"If-Modified-Since": dated, "If-None-Match": ""}, 200),
        ({"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT", "If-None-Match": tag}, 304),
    ):
        answer = late.client.get(url, headers=sent)
        if answer.headers["ETag"] != tag:  # a page's date moves each ten seconds, and its tag with it
            tag = answer.headers["ETag"]
            sent = {name: tag if value == first.headers["ETag"] else value for name, value in sent.items()}
            answer = late.client.get(url, headers=sent)
        assert answer.status_code == status, sent
        assert status == 304 or answer.headers["Last-Modified"] == dated
    late.publish("g2", (int(time.time()) - 300) * 1000)
    assert late.client.get(url, headers={"If-Modified-Since": dated}).status_code == 200


def test_a_page_whose_minute_has_run_on_has_no_date(make_app: Callable[..., Flask]) -> None:
    """Its words are younger than its id, and no date is theirs alone. Its tag is."""
    now_ms = int(time.time()) * 1000
    late = Late(make_app(eventlog_url="memory://"), now_ms - 600_000)
    for event_id, to, period, ago_ms in (("ko", "LIVE", "H1", 600_000), ("ht", "HALF_TIME", "HT", 60_000)):
        change = {"team": None, "period": period, "detail": {"to": to}, "source_ts": now_ms - ago_ms}
        late.publish(event_id, now_ms - ago_ms, "STATUS_CHANGE", **change)
        page, poll = late.client.get(f"/match/{MATCH}"), late.poll()
        assert "Last-Modified" in poll.headers
        expected = None if to == "LIVE" else poll.headers["Last-Modified"]
        assert page.headers.get("Last-Modified") == expected


def test_many_changes_in_one_second_are_dated_once_their_seconds_are_over(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = 1_531_666_800_000
    late = Late(make_app(eventlog_url="memory://"), base)
    for number in range(3):
        late.publish(f"g{number}", base)
    for after_s, dated in ((3.9, None), (4.1, "Sun, 15 Jul 2018 15:00:02 GMT")):
        monkeypatch.setattr("origin.web.polls.time.time", lambda: base / 1000 + after_s)  # noqa: B023
        assert late.poll().headers.get("Last-Modified") == dated


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


def test_the_last_fragment_of_a_match_whose_beginning_is_gone_may_not_be_kept(
    make_app: Callable[..., Flask],
) -> None:
    """It lacks the announcement at its id, which another origin still knows: one address, two texts."""
    late = Late(make_app(eventlog_url="memory://"), 1_000)
    url = f"/match/{MATCH}/fragment/1000-{REPLAY_MAX_DELTAS + 1}"
    for number in range(REPLAY_MAX_DELTAS + 1):
        late.publish(f"g{number}", 1_000)
    last = late.client.get(url)
    assert 'data-announce=""' in last.text
    assert "immutable" not in last.headers["Cache-Control"]
    assert last.headers["ETag"] != f'"1000-{REPLAY_MAX_DELTAS + 1}"'
    assert late.client.get(url, headers={"If-None-Match": last.headers["ETag"]}).status_code == 304
    late.publish("last", 1_000)
    following = late.client.get(f"/match/{MATCH}/fragment/1000-{REPLAY_MAX_DELTAS + 2}")
    assert "Goal!" in following.text
    assert "immutable" in following.headers["Cache-Control"]


PAGES = ["/", f"/match/{MATCH}", f"/embed/{MATCH}"]


def test_a_pages_tag_is_that_of_its_bytes(poster: Poster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The minute runs on while the id stays the same; a cache must not get 304 for an old page."""
    kicked_off = 1_531_666_800_000
    monkeypatch.setattr("origin.web.pages._now_ms", lambda: kicked_off + 20 * 60_000)
    poster.publish(INFO, LIVE | {"source_ts": kicked_off})
    old = {url: poster.client.get(url) for url in PAGES}
    assert len({page.headers["ETag"] for page in old.values()}) == len(PAGES)
    for url, page in old.items():
        again = poster.client.get(url, headers={"If-None-Match": page.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["Cache-Control"] == page.headers["Cache-Control"]
    monkeypatch.setattr("origin.web.pages._now_ms", lambda: kicked_off + 22 * 60_000)
    for url, page in old.items():
        again = poster.client.get(url, headers={"If-None-Match": page.headers["ETag"]})
        assert again.status_code == 200
        assert "23'" in html.unescape(again.text)


def test_a_pages_tag_changes_with_the_files_it_names(poster: Poster, monkeypatch: pytest.MonkeyPatch) -> None:
    poster.publish(INFO)
    before = poster.client.get(PAGES[1])
    monkeypatch.setitem(poster.app.jinja_env.globals, "asset", "/elsewhere/{}".format)
    poster.app.jinja_env.cache.clear()  # type: ignore[union-attr]
    after = poster.client.get(PAGES[1], headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, "/elsewhere/" in after.text) == (200, True)
    assert after.headers["ETag"] != before.headers["ETag"]


def test_the_page_is_complete_without_javascript(poster: Poster) -> None:
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
    ("/stream/nope", 501, "no_stream_tier"),
    (f"/stream/{MATCH}", 501, "no_stream_tier"),
    ("/stream/score", 501, "no_stream_tier"),
    (f"/ws/match/{MATCH}", 501, "no_stream_tier"),
    ("/nothing/here", 404, "not_found"),
]


@pytest.mark.parametrize(("url", "status", "code"), REFUSED)
def test_errors_have_one_shape(poster: Poster, url: str, status: int, code: str) -> None:
    poster.publish(INFO)
    response = poster.client.get(url, headers={"Accept": "application/json"})
    assert (response.status_code, response.json and response.json["error"]["code"]) == (status, code)
    assert response.headers["Cache-Control"] == "no-store"


def test_a_browser_gets_a_page_for_a_match_that_is_not_there(client: FlaskClient) -> None:
    response = client.get("/match/nope", headers={"Accept": "text/html,*/*;q=0.8"})
    assert response.status_code == 404
    assert response.mimetype == "text/html"
    assert "nope" in response.text


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("url", "status"), [("/match/a%20b", 400), ("/embed/a%20b", 400), (f"/match/{MATCH}/fragment/1-1", 404)]
)
def test_a_browser_gets_an_error_of_a_page_as_html(poster: Poster, url: str, status: int) -> None:
    poster.publish(INFO)
    response = poster.client.get(url, headers={"Accept": BROWSER})
    assert (response.status_code, response.mimetype) == (status, "text/html")
    assert response.headers["Cache-Control"] == "no-store"
    assert "<h1>" in response.text


def test_a_browser_gets_html_while_the_bus_is_away(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise BusError("no answer")

    monkeypatch.setattr(origin_of(app).bus, "snapshot", away)
    page = client.get(f"/match/{MATCH}", headers={"Accept": BROWSER})
    assert (page.status_code, page.mimetype, page.headers["Retry-After"]) == (503, "text/html", "1")
    poll = client.get(f"/score?matchId={MATCH}", headers={"Accept": BROWSER})
    assert (poll.status_code, poll.json and poll.json["error"]["code"]) == (503, "bus_unavailable")


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [item for item in REFUSED if item[0].startswith(("/score", "/api", "/stream", "/ws"))],
)
def test_an_api_answers_json_whatever_is_asked_for(poster: Poster, url: str, status: int, code: str) -> None:
    poster.publish(INFO)
    response = poster.client.get(url, headers={"Accept": BROWSER})
    assert (response.status_code, response.json and response.json["error"]["code"]) == (status, code)


def test_ingest_answers_json_whatever_is_asked_for(client: FlaskClient) -> None:
    for path in ("/ingest/canonical", "/ingest/nobody"):
        response = client.post(path, data=b"{}", headers={"Accept": BROWSER})
        assert response.json
        assert response.json["error"]["code"]
    wrong_method = client.get("/ingest/canonical", headers={"Accept": BROWSER})
    assert (wrong_method.status_code, wrong_method.mimetype) == (405, "application/json")


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("/score", "If-None-Match"),
        (f"/api/match/{MATCH}/state", "If-None-Match"),
        (f"/api/match/{MATCH}/state", "If-Modified-Since"),
        (f"/api/match/{MATCH}/deltas/1-1", "If-None-Match"),
        (f"/match/{MATCH}/fragment/1-1", "If-None-Match"),
    ],
)
def test_another_site_may_poll_with_validators(client: FlaskClient, url: str, header: str) -> None:
    asked = {"Origin": "https://x.example", "Access-Control-Request-Method": "GET"}
    answer = client.options(url, headers=asked | {"Access-Control-Request-Headers": header.lower()})
    assert answer.status_code in (200, 204)
    assert header in answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert int(answer.headers["Access-Control-Max-Age"]) >= 600


def test_no_route_holds_a_thread_for_a_viewer(app: Flask) -> None:
    """Streams are the stream worker's; a route here would hold one of a few threads for each viewer."""
    paths = [rule.rule for rule in app.url_map.iter_rules()]
    assert not [path for path in paths if path.startswith(("/stream", "/ws"))]
    assert "sock" not in app.extensions


def test_another_site_may_not_ingest(client: FlaskClient) -> None:
    answer = client.options(
        "/ingest/canonical",
        headers={"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "webhook-id"},
    )
    assert "Access-Control-Allow-Headers" not in answer.headers


def test_deltas_ahead_of_the_match_are_unknown(poster: Poster) -> None:
    epoch, seq = poster.publish(INFO).split("-")
    response = poster.client.get(f"/api/match/{MATCH}/deltas/{epoch}-{int(seq) + 1}")
    assert response.status_code == 404


def wait_until_ready(client: FlaskClient) -> None:
    deadline = time.monotonic() + 5
    while client.get("/readyz").status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert client.get("/readyz").json == {"status": "ready", "reasons": []}


def test_health(client: FlaskClient, poster: Poster) -> None:
    assert client.get("/healthz").json == {"status": "alive"}
    wait_until_ready(client)
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


def test_an_origin_is_unready_until_it_has_published_what_was_in_the_log(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier viewer would get 404 for a match that is there, or the score of an hour ago."""
    first = Poster(make_app())
    head = first.publish(INFO, LIVE, GOAL)
    reached, go_on = threading.Event(), threading.Event()
    adopt = MemoryBus.adopt

    def blocked(bus: MemoryBus, row: MatchRow, load: Callable[[], Any]) -> DeltaId | None:
        if row.id.seq == 3:
            reached.set()
            go_on.wait(10)
        return adopt(bus, row, load)

    monkeypatch.setattr(MemoryBus, "adopt", blocked)
    later = Poster(make_app())
    try:
        assert reached.wait(5)
        unready = later.client.get("/readyz")
        assert unready.status_code == 503
        assert unready.json == {"status": "unready", "reasons": ["fan-out has not read the whole log yet"]}
        assert later.client.get("/healthz").status_code == 200
    finally:
        go_on.set()
    wait_until_ready(later.client)
    assert later.head() == head


def test_a_state_has_every_key_of_the_protocol(poster: Poster) -> None:
    poster.publish(INFO, LIVE, GOAL, RULED_OUT)
    state = json.loads(poster.client.get(f"/api/match/{MATCH}/state").data)
    for key in ("epoch", "seq", "hash", "status", "clock", "score", "events", "retracted", "pending", "info"):
        assert key in state
    assert state["retracted"][0]["retraction"]["reason"] == "VAR: offside"
