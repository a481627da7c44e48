"""The headers that say what a browser may do with an answer: every route, every kind of answer."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from origin.errors import BusError
from origin.web.app import create_admin_app
from origin.web.origin import origin_of
from origin.web.security_headers import CLASSES, ROUTES, RouteClass, init_app, route_class
from testkit.built_widget import manifest
from testkit.poster import MATCH, Poster, event

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
INFO = event(
    "info",
    "MATCH_INFO",
    period="PRE",
    minute=None,
    team=None,
    detail={"home": {"name": "France", "code": "FRA"}, "away": {"name": "Croatia", "code": "CRO"}},
)


def directives(response: TestResponse) -> dict[str, str]:
    parts = response.headers["Content-Security-Policy"].split("; ")
    return dict(part.split(" ", 1) for part in parts)


def urls(poster: Poster) -> dict[str, str]:
    """One URL of each endpoint that answers GET with 200."""
    id_ = poster.publish(INFO, event("g1"))
    epoch = id_.split("-")[0]
    return {
        "pages.index": "/",
        "pages.list_fragment": "/list",
        "pages.match": f"/match/{MATCH}",
        "pages.embed": f"/embed/{MATCH}",
        "pages.fragment": f"/match/{MATCH}/fragment/{id_}",
        "oembed.oembed": f"/oembed?url=http://localhost/match/{MATCH}",
        "polls.score": f"/score?matchId={MATCH}",
        "polls.state": f"/api/match/{MATCH}/state",
        "polls.delta_after": f"/api/match/{MATCH}/deltas/{epoch}-1",
        "assets.widget_file": f"/widget/{manifest()['files']['pyodide-worker.js']['path']}",
        "health.healthz": "/healthz",
        "admin.readyz": "/readyz",
        "admin.metrics": "/metrics",
    }


READABLE = {
    "pages.list_fragment",
    "pages.embed",
    "pages.fragment",
    "oembed.oembed",
    "polls.score",
    "polls.state",
    "polls.delta_after",
    "assets.widget_file",
}


def test_every_route_has_a_class(app: Flask) -> None:
    admin = create_admin_app(app)
    for served in (app, admin):
        for rule in served.url_map.iter_rules():
            assert rule.endpoint in ROUTES, f"{rule.rule}: which class of origin/web/security_headers.py?"
    routed = {rule.endpoint for served in (app, admin) for rule in served.url_map.iter_rules()}
    assert set(ROUTES) == routed, "a class for a route that is not there"
    assert set(CLASSES) == set(RouteClass)


def test_a_route_without_a_class_gets_the_strictest(app: Flask, client: FlaskClient) -> None:
    app.add_url_rule("/forgotten", "forgotten", lambda: "x")
    response = client.get("/forgotten")
    assert directives(response) == {"default-src": "'none'", "frame-ancestors": "'none'"}
    assert "Access-Control-Allow-Origin" not in response.headers


def test_each_answer_says_what_a_browser_may_do_with_it(poster: Poster) -> None:
    found = urls(poster)
    # Those of the ladder are on the admin port alone (tests/web/test_ladder.py).
    others = {"ingest.ingest", "beacons.beacon", "ladder.show", "ladder.change"}
    pushes = {"push.subscribe", "push.unsubscribe"}  # tests/web/test_push.py
    assert {*found, *others, *pushes} == set(ROUTES)
    for endpoint, url in found.items():
        for method in ("GET", "HEAD"):
            response = poster.client.open(url, method=method)
            assert response.status_code in (200, 503), url
            policy = directives(response)
            assert policy["default-src"] == "'none'", url
            assert policy["frame-ancestors"] == ("*" if endpoint == "pages.embed" else "'none'"), url
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert "geolocation=()" in response.headers["Permissions-Policy"]
            assert response.headers["Referrer-Policy"] in ("no-referrer", "strict-origin-when-cross-origin")
            may_read = endpoint in READABLE
            assert response.headers.get("Access-Control-Allow-Origin") == ("*" if may_read else None), url


def test_pages_run_nothing_inline_and_only_their_own_files(poster: Poster) -> None:
    found = urls(poster)
    for endpoint in ("pages.index", "pages.match", "pages.embed"):
        policy = directives(poster.client.get(found[endpoint]))
        assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
        assert policy["style-src"] == policy["connect-src"] == policy["worker-src"] == "'self'"
        assert "unsafe-inline" not in str(policy)


def test_pages_show_images_of_the_named_origins_and_of_no_other_site(poster: Poster) -> None:
    found = urls(poster)
    assert directives(poster.client.get(found["pages.match"]))["img-src"] == "'self'"
    other = Flask(__name__)
    init_app(other, ["https://crests.example", "https://*.cdn.example"])
    other.add_url_rule("/match", "pages.match", lambda: "page")
    other.add_url_rule("/embed", "pages.embed", lambda: "page")
    other.add_url_rule("/score", "polls.score", lambda: "{}")
    for path in ("/match", "/embed"):
        images = directives(other.test_client().get(path))["img-src"]
        assert images == "'self' https://crests.example https://*.cdn.example"
    assert "img-src" not in directives(other.test_client().get("/score"))


def test_data_is_no_document(poster: Poster) -> None:
    found = urls(poster)
    for endpoint in (
        *("polls.score", "polls.state", "polls.delta_after"),
        *("pages.fragment", "pages.list_fragment", "admin.metrics"),
    ):
        policy = directives(poster.client.get(found[endpoint]))
        assert policy == {"default-src": "'none'", "frame-ancestors": "'none'"}


def test_a_304_has_the_headers_of_the_full_answer(poster: Poster) -> None:
    found = urls(poster)
    for endpoint in (
        *("pages.match", "pages.embed", "pages.fragment", "pages.list_fragment"),
        *("polls.score", "assets.widget_file"),
    ):
        first = poster.client.get(found[endpoint])
        again = poster.client.get(found[endpoint], headers={"If-None-Match": first.headers["ETag"]})
        assert again.status_code == 304
        for name in (
            *(
                "Content-Security-Policy",
                "Referrer-Policy",
                "X-Content-Type-Options",
                "Cache-Control",
                "ETag",
            ),
            *("Access-Control-Allow-Origin", "Vary"),
        ):
            assert again.headers.get(name) == first.headers.get(name), (endpoint, name)


@pytest.mark.parametrize(
    ("url", "readable"),
    [
        ("/score?matchId=nope", True),
        ("/api/match/nope/state", True),
        (f"/match/{MATCH}/fragment/1-1", True),
        ("/widget/nothing.js", True),
        ("/embed/nope", True),
        ("/stream/nope", True),
        ("/match/nope", False),
        ("/nothing/here", False),
        ("/ingest/canonical", False),
    ],
)
def test_an_error_is_as_readable_as_what_was_asked_for(client: FlaskClient, url: str, readable: bool) -> None:
    """The widget on another site must see a 404 and its Retry-After, or it takes that for a lost network."""
    response = client.get(url)
    assert response.status_code >= 400
    assert response.headers.get("Access-Control-Allow-Origin") == ("*" if readable else None)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Security-Policy" in response.headers
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "url", ["/match/nope", "/nothing/here", f"/match/{MATCH}/fragment/1-1", "/embed/nope"]
)
def test_an_error_page_is_a_page_that_no_script_elsewhere_may_read(client: FlaskClient, url: str) -> None:
    response = client.get(url, headers={"Accept": BROWSER})
    assert (response.status_code, response.mimetype) == (404, "text/html")
    policy = directives(response)
    assert policy["style-src"] == "'self'"
    # What a frame asked for is shown in the frame.
    assert policy["frame-ancestors"] == ("*" if url.startswith("/embed") else "'none'")
    assert "Access-Control-Allow-Origin" not in response.headers
    assert response.headers["Vary"] == "Accept, Accept-Encoding"


def test_an_error_of_the_bus_and_of_ours_have_the_headers_too(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, status in ((BusError("away"), 503), (RuntimeError("ours"), 500)):

        def fails(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(origin_of(app).matches, "latest", fails)
        response = client.get(f"/match/{MATCH}", headers={"Accept": BROWSER})
        assert (response.status_code, response.mimetype) == (status, "text/html")
        assert directives(response)["frame-ancestors"] == "'none'"
        poll = client.get(f"/score?matchId={MATCH}", headers={"Accept": BROWSER})
        assert (poll.status_code, poll.mimetype) == (status, "application/json")
        assert poll.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    "url", ["/", f"/match/{MATCH}", "/healthz", "/readyz", "/metrics", "/ingest/canonical"]
)
def test_a_preflight_for_what_no_other_site_may_read_allows_nothing(client: FlaskClient, url: str) -> None:
    asked = {"Origin": "https://x.example", "Access-Control-Request-Method": "GET"}
    response = client.options(url, headers=asked)
    assert response.status_code == 200
    assert response.allow
    assert not [name for name, _ in response.headers if name.startswith("Access-Control-")]


def test_paths_of_the_stream_tier_are_readable_and_no_others() -> None:
    assert route_class(None, "/stream/m") is route_class(None, "/ws/match/m") is RouteClass.DATA
    assert route_class(None, "/streams") is route_class(None, "/") is RouteClass.NONE


# --- the Host of a request

# Names of sites as an attacker would send them.
HOSTS = st.from_regex(r"[a-z0-9]{6,20}(-[a-z0-9]{1,9})?\.(example|test)(:[1-9][0-9]{1,3})?", fullmatch=True)


@given(host=HOSTS, forwarded=HOSTS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_answer_repeats_the_host_of_its_request(poster: Poster, host: str, forwarded: str) -> None:
    if poster.head() is None:
        poster.publish(INFO, event("g1"))
    headers = {
        "Host": host,
        "X-Forwarded-Host": forwarded,
        "Forwarded": f"host={forwarded}",
        "Accept": BROWSER,
    }
    for url in ("/", f"/match/{MATCH}", f"/embed/{MATCH}", f"/match//{MATCH}", "/match/nope", "/nothing"):
        response = poster.client.get(url, headers=headers)
        for name in (host, forwarded):
            assert name not in response.text, url
            assert not [value for _, value in response.headers if name in value], url


def test_a_redirect_stays_on_the_site(poster: Poster) -> None:
    poster.publish(INFO)
    for path in (f"/match//{MATCH}", f"//match//{MATCH}"):
        location = f"/match/{MATCH}?a=1"
        response = poster.client.get(
            "/?a=1", headers={"Host": "evil.example"}, environ_overrides={"PATH_INFO": path}
        )
        assert (response.status_code, response.headers["Location"]) == (308, location)
        assert response.headers["Cache-Control"] == "no-store"


def test_without_a_public_url_links_are_relative(poster: Poster) -> None:
    poster.publish(INFO)
    page = poster.client.get(f"/match/{MATCH}").text
    assert f'<link rel="canonical" href="/match/{MATCH}">' in page
    assert f'"url":"/match/{MATCH}"' in page
    assert "og:url" not in page  # it would have to be absolute
    assert f'src="/embed/{MATCH}"' in page
    assert "data-tl-site-note" in page
    assert "snippet-" in page
    assert not re.search(r"https?://(?!schema\.org)", page)


def test_a_public_url_is_in_every_link(make_app: Callable[..., Flask]) -> None:
    poster = Poster(make_app(public_url="https://scores.example"))
    poster.publish(INFO)
    page = poster.client.get(f"/match/{MATCH}", headers={"Host": "evil.example"}).text
    url = f"https://scores.example/match/{MATCH}"
    assert f'<link rel="canonical" href="{url}">' in page
    assert f'<meta property="og:url" content="{url}">' in page
    assert f'"@id":"{url}","url":"{url}"' in page
    assert f'src="https://scores.example/embed/{MATCH}"' in page
    assert 'src="https://scores.example/widget/live-score.js"' in page
    assert "data-tl-site-note" not in page
    assert "snippet-" not in page
    embed = poster.client.get(f"/embed/{MATCH}").text
    assert f'<link rel="canonical" href="{url}">' in embed
