"""What caches may do with each answer of the stream tier, and that no header of a reader changes one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testkit.generated_headers import SENT
from testkit.stream_app import EPOCH_MS
from testkit.stream_server import StreamServer

SLICE_S = 0.5
KEPT = {
    "deltas": "public, max-age=31536000, immutable",
    "silence": "public, max-age=31536000, immutable",
    "slice to come": "public, max-age=0, s-maxage=1",
    "id to come": "public, max-age=0, s-maxage=1",
    "gap": "public, max-age=0, s-maxage=5",
    "unknown match": "public, max-age=0, s-maxage=1",
}


class Got(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    with StreamServer(tmp_path_factory.mktemp("headers"), long_poll_slice_s=SLICE_S) as running:
        running.publish("m1", "count=3")
        yield running


def addresses() -> dict[str, str]:
    """One address of each kind of answer."""
    now = int(time.time() / SLICE_S)
    return {
        "deltas": f"/api/match/m1/deltas/{EPOCH_MS}-1/{now}",
        "silence": f"/api/match/m1/deltas/{EPOCH_MS}-3/5",
        "slice to come": f"/api/match/m1/deltas/{EPOCH_MS}-3/99999999999",
        "id to come": f"/api/match/m1/deltas/{EPOCH_MS}-9/{now}",
        "gap": f"/api/match/m1/deltas/7-1/{now}",
        "unknown match": f"/api/match/nobody/deltas/{EPOCH_MS}-1/{now}",
        "bad slice": f"/api/match/m1/deltas/{EPOCH_MS}-1/01",
        "query": f"/api/match/m1/deltas/{EPOCH_MS}-1/{now}?x=1",
        "no such stream": "/stream/nobody",
        "no matches": "/stream",
        "match twice": "/stream?m=m1&m=m1",
        "no handshake": "/ws/match/m1",
        "stream": "/stream/m1",
        "several": "/stream?m=m1",
        "list": "/stream?list=&m=m1",
    }


def ask(server: StreamServer, path: str, method: str = "GET", **headers: str) -> Got:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        streams = found.get("content-type", "").startswith("text/event-stream")
        return Got(response.status, found, b"" if streams else response.read())
    finally:
        connection.close()


def seen(got: Got) -> tuple[object, ...]:
    """All that a cache would give to the next reader, but what the server's clock makes of it."""
    headers = {name: value for name, value in got.headers.items() if name not in ("date", "content-length")}
    body = json.loads(got.body) if got.body else None
    if isinstance(body, dict):
        body.pop("as_of", None)
        body.get("next", {}).pop("slice", None)
        body.get("error", {}).pop("slice", None)
        if body.get("error", {}).get("code") == "slice_to_come":
            body["error"].pop("message")
    return got.status, sorted(headers.items()), body


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_answer_depends_on_a_header(server: StreamServer, data: st.DataObject) -> None:
    """None has a Vary, so each is the same whatever is sent with the request."""
    sent = data.draw(SENT)
    for kind, path in addresses().items():
        got = ask(server, path, **sent)
        assert "vary" not in got.headers, kind
        assert seen(got) == seen(ask(server, path)), (kind, sent)


def test_an_answer_that_is_kept_does_not_depend_on_where_a_stream_would_resume(server: StreamServer) -> None:
    for kind in KEPT:
        path = addresses()[kind]
        resumed = ask(server, path, **{"Last-Event-ID": f"{EPOCH_MS}-2"})
        assert seen(resumed) == seen(ask(server, path)), kind


def test_each_answer_says_what_caches_may_do(server: StreamServer) -> None:
    for kind, path in addresses().items():
        for method in ("GET", "HEAD", "OPTIONS", "POST"):
            got = ask(server, path, method)
            control, cdn = got.headers["cache-control"], got.headers["cdn-cache-control"]
            if method in ("GET", "HEAD") and kind in KEPT:
                assert control == KEPT[kind], kind
                assert cdn == control.replace("max-age=0, s-maxage", "max-age")
                name = "nobody" if kind == "unknown match" else "m1"
                assert got.headers["surrogate-key"] == got.headers["cache-tag"] == f"match-{name}"
            else:
                assert control.startswith("no-store"), (kind, method)
                assert cdn.startswith("no-store")
                assert "surrogate-key" not in got.headers
