"""``POST /ingest/<feed>``: what is taken, and that whatever is refused changes nothing."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder, run_wsgi_app

from origin.eventlog.limits import MatchLimits
from origin.ingest.signatures import signed_headers
from origin.web.origin import origin_of
from testkit.poster import KEY, MATCH, Poster, event

GOOD = json.dumps(event("g1")).encode()


def headers_for(body: bytes, *, key: bytes = KEY, age_s: int = 0, **changed: str | None) -> dict[str, str]:
    headers: dict[str, str | None] = dict(signed_headers(key, "msg_1", int(time.time()) - age_s, body))
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    return {name: value for name, value in headers.items() if value is not None}


REFUSED: list[tuple[str, bytes, dict[str, object], int, str]] = [
    ("unsigned", GOOD, {"webhook_signature": None}, 400, "missing_header"),
    ("no id", GOOD, {"webhook_id": None}, 400, "missing_header"),
    ("no timestamp", GOOD, {"webhook_timestamp": None}, 400, "missing_header"),
    ("wrong key", GOOD, {"key": b"another key of thirty-two bytes!"}, 401, "bad_signature"),
    ("signature of another id", GOOD, {"webhook_id": "msg_2"}, 401, "bad_signature"),
    ("stale", GOOD, {"age_s": 301}, 401, "stale_timestamp"),
    ("from the future", GOOD, {"age_s": -301}, 401, "future_timestamp"),
    ("timestamp no number", GOOD, {"webhook_timestamp": "yesterday"}, 400, "bad_timestamp"),
    ("signature no base64", GOOD, {"webhook_signature": "v1,???"}, 400, "malformed_signature"),
    ("white space", b" \n", {}, 400, "empty_body"),
    ("no JSON", b"GOAL!", {}, 400, "bad_json"),
    ("no UTF-8", b'{"a":"\xff"}', {}, 400, "bad_json"),
    ("truncated", GOOD[:-5], {}, 400, "bad_json"),
    ("empty list", b"[]", {}, 400, "empty_body"),
    ("second line broken", GOOD + b"\n{", {}, 400, "bad_json"),
    ("a key twice", b'{"rev":1,"rev":2}', {}, 400, "bad_json"),
    ("a number", b"42", {}, 422, "invalid_event"),
    ("no op", json.dumps({**event("g1"), "op": None}).encode(), {}, 422, "invalid_event"),
    ("rev 0", json.dumps(event("g1", rev=0)).encode(), {}, 422, "invalid_event"),
    ("minute as text", json.dumps(event("g1", minute="45+2")).encode(), {}, 422, "invalid_event"),
    ("bad match id", json.dumps(event("g1", match_id="a/b")).encode(), {}, 422, "invalid_event"),
    ("one of two bad", json.dumps([event("g1"), event("g2", team=None)]).encode(), {}, 422, "invalid_event"),
    ("too many", json.dumps([event(f"g{n}") for n in range(1_001)]).encode(), {}, 413, "too_many_events"),
    # Lines are counted before the second is parsed: this one would be refused for another reason.
    ("too many lines", b"1\n" + b"{\n" * 500_000, {}, 413, "too_many_events"),
    ("one broken value over many lines", b"[\n" + b"1,\n" * 2_000 + b"}", {}, 400, "bad_json"),
    ("leading zero", GOOD, {"webhook_timestamp": f"0{int(time.time())}"}, 400, "bad_timestamp"),
    ("too large", b" " * 1_048_577, {}, 413, "body_too_large"),
]


@pytest.mark.parametrize(
    ("body", "how", "status", "code"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_a_refused_webhook_gets_its_own_4xx_and_changes_nothing(
    app: Flask, client: FlaskClient, body: bytes, how: dict[str, object], status: int, code: str
) -> None:
    response = client.post("/ingest/canonical", data=body, headers=headers_for(body, **how))  # type: ignore[arg-type]
    assert (response.status_code, response.json and response.json["error"]["code"]) == (status, code)
    assert response.json
    assert response.json["error"]["message"]
    assert list(origin_of(app).log.read_match(MATCH)) == []
    # Nothing was remembered of it either: the same webhook-id is still free.
    accepted = client.post("/ingest/canonical", data=GOOD, headers=headers_for(GOOD))
    assert accepted.status_code == 200


def test_the_message_names_the_offending_value(client: FlaskClient) -> None:
    body = json.dumps([event("g1"), event("g2", minute=-3)]).encode()
    response = client.post("/ingest/canonical", data=body, headers=headers_for(body))
    assert response.json
    assert response.json["error"]["message"] == "event 2: minute: must be an integer from 0 to 999, got -3"
    assert response.json["error"]["field"] == "minute"


def test_the_same_webhook_id_twice_is_one(app: Flask, client: FlaskClient) -> None:
    first = client.post("/ingest/canonical", data=GOOD, headers=headers_for(GOOD))
    again = client.post("/ingest/canonical", data=GOOD, headers=headers_for(GOOD))
    assert first.json == {"accepted": 1, "webhook_id": "msg_1", "matches": [MATCH]}
    assert (again.status_code, again.json) == (200, {**first.json, "duplicate": True})
    assert len(list(origin_of(app).log.read_match(MATCH))) == 1


def test_the_latency_of_a_webhook_is_measured_once(client: FlaskClient) -> None:
    now_ms = round(time.time() * 1_000)
    body = json.dumps(
        [event("g1", source="scouts", source_ts=now_ms - 2_000), event("g2", source="scouts")]
    ).encode()
    for _ in range(2):
        assert client.post("/ingest/canonical", data=body, headers=headers_for(body)).status_code == 200
    metrics = client.get("/metrics").get_data(as_text=True)
    name = 'touchline_feed_latency_seconds_count{feed="scouts",step='
    assert f'{name}"vendor_received"}} 1.0' in metrics
    assert f'{name}"received_acknowledged"}} 2.0' in metrics


def test_another_body_under_a_taken_webhook_id_adds_nothing_and_says_so(
    app: Flask, client: FlaskClient
) -> None:
    client.post("/ingest/canonical", data=GOOD, headers=headers_for(GOOD))
    body = json.dumps([event("g2"), event("g3")]).encode()
    again = client.post("/ingest/canonical", data=body, headers=headers_for(body))
    assert again.status_code == 200
    assert again.json
    assert (again.json["accepted"], again.json["duplicate"]) == (1, True)
    assert [record.event.event_id for record in origin_of(app).log.read_match(MATCH)] == ["g1"]
    metrics = client.get("/metrics").get_data(as_text=True)
    assert 'touchline_ingest_accepted_events_total{feed="canonical"} 1.0' in metrics
    assert 'touchline_ingest_duplicate_requests_total{feed="canonical"} 1.0' in metrics


@pytest.mark.parametrize(
    ("limits", "taken", "message"),
    [
        (MatchLimits(3, 10_000), 3, f"match '{MATCH}' has 3 events; with 1 more it would have more than 3"),
        (MatchLimits(9, 600), 3, f"match '{MATCH}' has 789 bytes of events; it takes no more from 600 on"),
    ],
    ids=["events", "bytes"],
)
def test_a_match_that_is_too_large_takes_no_more_and_the_others_do(
    make_app: Callable[..., Flask], limits: MatchLimits, taken: int, message: str
) -> None:
    poster = Poster(make_app(match_limits=limits))
    for number in range(taken):
        assert poster.post(event(f"g{number}")).status_code == 200
    refused = poster.post(event("other", match_id="other"), event("g9"))
    assert refused.status_code == 422
    assert refused.json
    assert refused.json["error"]["code"] == "match_too_large"
    assert refused.json["error"]["message"] == f"nothing was taken: {message}"
    assert refused.json["error"]["match_id"] == MATCH
    log = origin_of(poster.app).log
    assert (log.size_of(MATCH).events, log.size_of("other").events) == (taken, 0)
    assert poster.post(event("other", match_id="other")).status_code == 200


def test_a_repeated_webhook_of_a_match_that_is_full_is_a_duplicate(make_app: Callable[..., Flask]) -> None:
    app = make_app(match_limits=MatchLimits(1, 10_000))
    first = app.test_client().post("/ingest/canonical", data=GOOD, headers=headers_for(GOOD))
    again = app.test_client().post("/ingest/canonical", data=GOOD, headers=headers_for(GOOD))
    assert first.json
    assert (again.status_code, again.json) == (200, {**first.json, "duplicate": True})
    new = signed_headers(KEY, "msg_2", int(time.time()), GOOD)
    assert app.test_client().post("/ingest/canonical", data=GOOD, headers=new).status_code == 422


def test_a_webhook_that_would_make_a_match_too_large_is_refused_as_a_whole(
    make_app: Callable[..., Flask],
) -> None:
    poster = Poster(make_app(match_limits=MatchLimits(3, 10_000)))
    assert poster.post(event("g0")).status_code == 200
    assert poster.post(*(event(f"g{number}") for number in range(1, 4))).status_code == 422
    assert poster.post(*(event(f"g{number}") for number in range(1, 3))).status_code == 200


def test_one_object_an_array_and_lines_are_all_read(poster: Poster) -> None:
    for number, body in enumerate(
        (
            GOOD,
            json.dumps(event("g1"), indent=2).encode(),
            json.dumps([event("g1"), event("g2")]).encode(),
            GOOD + b"\r\n\r\n" + GOOD + b"\n",
        )
    ):
        headers = signed_headers(KEY, f"shape_{number}", int(time.time()), body)
        response = poster.client.post("/ingest/canonical", data=body, headers=headers)
        assert response.status_code == 200, response.json


def test_an_unknown_feed_and_a_missing_key_are_said(
    client: FlaskClient, make_app: Callable[..., Flask]
) -> None:
    unknown = client.post("/ingest/teletext", data=GOOD, headers=headers_for(GOOD))
    assert (unknown.status_code, unknown.json and unknown.json["error"]["code"]) == (404, "unknown_feed")
    keyless = make_app(ingest_keys=()).test_client()
    closed = keyless.post("/ingest/canonical", data=GOOD, headers=headers_for(GOOD))
    assert (closed.status_code, closed.json and closed.json["error"]["code"]) == (403, "ingest_disabled")


def test_a_get_is_refused_with_the_method_that_works(client: FlaskClient) -> None:
    response = client.get("/ingest/canonical")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert response.json
    assert response.json["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("body", "message", "line"),
    [
        (b'{\n "rev": 1,\n oops\n}', "the body is not JSON: Expecting property name", 3),
        (b'\n\n[\n {"rev": 1},\n {"rev": 1}\n', "the body is not JSON: Expecting ',' delimiter", 6),
        (b'[\n {"rev": 1, "rev": 2}\n]', "the body is not JSON: key 'rev' stands twice", 1),
        (b'{\n "a": "\xff"\n}', "the body is not JSON: 'utf-8' codec can't decode", 1),
        (b"GOAL!", "the body is not JSON: Expecting value", 1),
        (GOOD + b"\n{", "line 2 is not JSON: Expecting property name", 2),
        (GOOD + b'\n\n{"rev":1,"rev":2}\n', "line 3 is not JSON: key 'rev' stands twice", 3),
        (b'{"rev":1,"rev":2}\n' + GOOD, "line 1 is not JSON: key 'rev' stands twice", 1),
    ],
)
def test_json_that_is_broken_is_described_as_it_was_meant(
    client: FlaskClient, body: bytes, message: str, line: int
) -> None:
    response = client.post("/ingest/canonical", data=body, headers=headers_for(body))
    assert response.json
    error = response.json["error"]
    assert (error["code"], error["line"]) == ("bad_json", line)
    assert error["message"].startswith(message)


class Unread(io.RawIOBase):
    """A body that must not be asked for."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        raise AssertionError("the body was read")


def post_raw(app: Flask, path: str, headers: dict[str, str], body: io.IOBase) -> tuple[int, str]:
    """The status and code of a webhook whose body is read by the application alone."""
    environ = EnvironBuilder(path=path, method="POST", headers=list(headers.items())).get_environ()
    environ |= {"wsgi.input": body, "CONTENT_LENGTH": headers.get("Content-Length", "100")}
    answer, status, _ = run_wsgi_app(app, environ)
    return int(status.split()[0]), json.loads(b"".join(answer))["error"]["code"]


@pytest.mark.parametrize(
    ("path", "how", "status", "code"),
    [
        ("/ingest/teletext", {}, 404, "unknown_feed"),
        ("/ingest/canonical", {"webhook_signature": None}, 400, "missing_header"),
        ("/ingest/canonical", {"webhook_id": "a.b"}, 400, "bad_webhook_id"),
        ("/ingest/canonical", {"webhook_timestamp": "now"}, 400, "bad_timestamp"),
        ("/ingest/canonical", {"webhook_signature": "v1,???"}, 400, "malformed_signature"),
        ("/ingest/canonical", {"age_s": 301}, 401, "stale_timestamp"),
        ("/ingest/canonical", {"age_s": -301}, 401, "future_timestamp"),
        ("/ingest/canonical", {"Content_Length": "1048577"}, 413, "body_too_large"),
    ],
)
def test_what_the_head_shows_is_refused_before_the_body_is_read(
    app: Flask, path: str, how: dict[str, Any], status: int, code: str
) -> None:
    assert post_raw(app, path, headers_for(GOOD, **how), Unread()) == (status, code)


def test_without_a_key_no_body_is_read(make_app: Callable[..., Flask]) -> None:
    keyless = make_app(ingest_keys=())
    assert post_raw(keyless, "/ingest/canonical", headers_for(GOOD), Unread()) == (403, "ingest_disabled")


def test_a_body_of_no_bytes_is_an_empty_one(app: Flask) -> None:
    headers = {"Content-Length": "0"} | headers_for(b"")
    assert post_raw(app, "/ingest/canonical", headers, io.BytesIO()) == (400, "empty_body")


def test_a_body_without_a_length_is_refused(client: FlaskClient) -> None:
    # Without a body werkzeug's client sends no Content-Length at all.
    response = client.post("/ingest/canonical", headers=headers_for(b""))
    assert (response.status_code, response.json and response.json["error"]["code"]) == (
        411,
        "length_required",
    )


def test_an_old_key_still_signs_while_it_is_replaced(make_app: Callable[..., Flask]) -> None:
    new_key = b"the next key of thirty-two bytes"
    client = make_app(ingest_keys=(new_key, KEY)).test_client()
    for number, key in enumerate((KEY, new_key)):
        headers = signed_headers(key, f"rotation_{number}", int(time.time()), GOOD)
        assert client.post("/ingest/canonical", data=GOOD, headers=headers).status_code == 200
