"""What caches may do with each answer, and that no answer depends on a header that is not in its Vary."""

from __future__ import annotations

import re

from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from testkit.built_widget import manifest
from testkit.generated_headers import SENT
from testkit.poster import MATCH, Poster, event

INFO = event(
    "info",
    "MATCH_INFO",
    period="PRE",
    minute=None,
    team=None,
    detail={"home": {"name": "France", "code": "FRA"}, "away": {"name": "Croatia", "code": "CRO"}},
)


def urls(poster: Poster) -> list[str]:
    """One URL of each route, and of each kind of refusal."""
    id_ = poster.publish(INFO, event("g1"))
    epoch = id_.split("-")[0]
    files = manifest()["files"]
    return [
        "/",
        "/?utm_source=x",
        "/?day=2001-01-01",
        "/list",
        "/list?utm_source=x",
        "/list?day=2001-01-01",
        f"/match/{MATCH}",
        f"/embed/{MATCH}",
        f"/match/{MATCH}/fragment/{id_}",
        f"/score?matchId={MATCH}",
        f"/api/match/{MATCH}/state",
        f"/api/match/{MATCH}/deltas/{epoch}-1",
        f"/api/match/{MATCH}/deltas/{id_}",
        f"/widget/{files['pyodide-worker.js']['path']}",
        "/widget/live-score.js",
        "/widget/sw.js",
        "/widget/nothing.js",
        "/healthz",
        "/match/nope",
        "/score",
        "/api/match/nope/state",
        "/stream/nope",
        "/nothing/here",
    ]


_MADE = re.compile(rb' data-as-of="\d+"')


def seen(response: TestResponse) -> tuple[object, ...]:
    """All that a cache would give to the next reader, but the time at which the server made it."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    for volatile in ("date", "last-modified", "touchline-as-of"):
        headers.pop(volatile, None)
    # When the page was made differs by the millisecond; its tag does not cover that.
    return response.status_code, sorted(headers.items()), _MADE.sub(b"", response.data)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_answer_depends_on_a_header_that_is_not_in_its_vary(poster: Poster, data: st.DataObject) -> None:
    known: list[str] = poster.app.extensions.setdefault("test_urls", [])
    known[:] = known or urls(poster)
    sent = data.draw(SENT)
    for url in known:
        got = poster.client.get(url, headers=sent)
        varies = {name.strip().lower() for name in got.headers.get("Vary", "").split(",")}
        said = {name: value for name, value in sent.items() if name.lower() in varies}
        fewer = seen(poster.client.get(url, headers=said))
        if seen(got) != fewer:  # a page's date, and its tag with it, moves each ten seconds
            got = poster.client.get(url, headers=sent)
            fewer = seen(poster.client.get(url, headers=said))
        assert seen(got) == fewer, (url, sent)


def test_each_answer_says_what_caches_may_do(poster: Poster) -> None:
    found = urls(poster)
    for url in found:
        for method in ("GET", "HEAD", "OPTIONS", "POST"):
            answer = poster.client.open(url, method=method)
            control, cdn = answer.headers["Cache-Control"], answer.headers["CDN-Cache-Control"]
            if answer.status_code >= 300 or method in ("OPTIONS", "POST"):
                assert control == cdn == "no-store", (method, url)
                assert "Surrogate-Key" not in answer.headers
            elif control.startswith("public"):
                assert cdn.startswith("public")
                assert answer.headers["Surrogate-Key"]
                assert answer.headers["ETag"]


def test_what_is_made_from_a_match_has_its_key(poster: Poster) -> None:
    keys = {url: poster.client.get(url).headers.get("Surrogate-Key") for url in urls(poster)}
    tagged = {url for url, key in keys.items() if key == f"match-{MATCH}"}
    assert {url for url in keys if MATCH in url} - tagged == {url for url in keys if "deltas" in url} - tagged
    assert keys["/"] == keys["/list"] == "matches"
    assert keys["/widget/sw.js"] == "widget"


def test_a_key_is_never_what_a_stranger_sent(client: FlaskClient) -> None:
    answer = client.get("/?matchId=a,b%20c")
    assert "Surrogate-Key" not in answer.headers
