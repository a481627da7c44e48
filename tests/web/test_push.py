"""``/push``: what a browser subscribes with, who may, and the bounds of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from origin.config import Config
from origin.errors import ConfigError
from origin.notify import push_store
from origin.notify.push_keys import STORE_FILE, make_key, public_key
from origin.notify.push_store import FullError, PushStore, Subscription
from origin.web.app import create_app
from origin.web.push import ADDRESSES_MAX, BODY_MAX_BYTES, OF_ALL, PER_ADDRESS, WINDOW_S, SubscriptionRate
from testkit.poster import MATCH, Poster, event

P256DH = "B" + "A" * 86
AUTH = "A" * 22
GIVEN: dict[str, Any] = {
    "endpoint": "https://push.example.com/v1/abc",
    "keys": {"p256dh": P256DH, "auth": AUTH},
    "match": MATCH,
    "delay": 30,
    "lang": "de-AT",
}
ORIGIN = {"Origin": "http://localhost"}


@pytest.fixture
def pushing(tmp_path: Path, make_app: Callable[..., Any]) -> Poster:
    """An origin with push and one match."""
    make_key(tmp_path)
    poster = Poster(make_app(push_data_dir=str(tmp_path)))
    poster.publish(event("g1"))
    return poster


def ask(poster: Poster, body: object, method: str = "POST", **more: Any) -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {**ORIGIN, **more.pop("headers", {})}
    given: dict[str, Any] = {"content_type": "application/json", **more}
    return poster.client.open("/push", method=method, data=data, headers=headers, **given)


def subscriptions(directory: Path) -> list[tuple[str, str, int, str]]:
    with closing(PushStore(directory / STORE_FILE)) as store, store._reading() as db:
        return db.execute(
            "SELECT endpoint, match_id, delay_s, language FROM subscriptions ORDER BY number"
        ).fetchall()


def test_a_browser_subscribes_changes_its_delay_and_takes_that_back(pushing: Poster, tmp_path: Path) -> None:
    response = ask(pushing, GIVEN)
    assert (response.status_code, response.data) == (204, b"")
    assert response.headers["Cache-Control"].startswith("no-store")
    assert "Access-Control-Allow-Origin" not in response.headers
    assert subscriptions(tmp_path) == [(GIVEN["endpoint"], MATCH, 30, "de")]
    assert ask(pushing, {**GIVEN, "delay": 0}).status_code == 204
    assert subscriptions(tmp_path) == [(GIVEN["endpoint"], MATCH, 0, "de")]
    taken_back = {"endpoint": GIVEN["endpoint"], "match": MATCH}
    assert ask(pushing, taken_back, "DELETE").status_code == 204
    assert subscriptions(tmp_path) == []
    assert ask(pushing, taken_back, "DELETE").status_code == 204


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"endpoint": None}, "endpoint"),
        ({"endpoint": 7}, "endpoint"),
        ({"endpoint": "http://push.example.com/a"}, "http://push.example.com/a"),
        ({"endpoint": "https://push.example.com/ä"}, "endpoint"),
        ({"endpoint": "https://push.example.com/a\r\nX: y"}, "endpoint"),
        ({"endpoint": "https://user@push.example.com/a"}, "user"),
        ({"endpoint": "https://push.example.com:0/a"}, ":0"),
        ({"endpoint": "https://push.example.com:99999/a"}, "99999"),
        ({"endpoint": "https://[::1/a"}, "endpoint"),
        ({"endpoint": "https://" + "a" * 1_000}, "endpoint"),
        ({"endpoint": "https://127.0.0.1/a"}, "127.0.0.1"),
        ({"endpoint": "https://10.1.2.3:8443/a"}, "10.1.2.3"),
        ({"endpoint": "https://169.254.169.254/latest"}, "169.254"),
        ({"endpoint": "https://[::ffff:127.0.0.1]/a"}, "127.0.0.1"),
        ({"endpoint": "https://localhost/a"}, "localhost"),
        ({"endpoint": "https://redis./a"}, "redis"),
        ({"keys": None}, "keys"),
        ({"keys": {"auth": AUTH}}, "p256dh"),
        ({"keys": {"p256dh": P256DH + "AA", "auth": AUTH}}, "p256dh"),
        ({"keys": {"p256dh": "C" + P256DH[1:], "auth": AUTH}}, "p256dh"),
        ({"keys": {"p256dh": P256DH[:-1] + "!", "auth": AUTH}}, "p256dh"),
        ({"keys": {"p256dh": P256DH}}, "auth"),
        ({"keys": {"p256dh": P256DH, "auth": AUTH + "A" * 8}}, "auth"),
        ({"match": "a/b"}, "a/b"),
        ({"match": None}, "match"),
        ({"delay": -1}, "-1"),
        ({"delay": 121}, "121"),
        ({"delay": 1.5}, "1.5"),
        ({"delay": True}, "delay"),
        ({"lang": 7}, "lang"),
    ],
)
def test_what_cannot_be_used_is_named_and_changes_nothing(
    pushing: Poster, tmp_path: Path, changed: dict[str, Any], named: str
) -> None:
    response = ask(pushing, {**GIVEN, **changed})
    assert response.status_code == 400, response.text
    assert named in response.text
    assert subscriptions(tmp_path) == []


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"a":1,"a":2}', b"\xff", b"[" * 3_000])
def test_a_body_that_is_no_object_is_refused(pushing: Poster, tmp_path: Path, body: bytes) -> None:
    assert ask(pushing, body).status_code == 400
    assert ask(pushing, body, "DELETE").status_code == 400
    assert subscriptions(tmp_path) == []


def test_a_large_body_another_type_and_an_unknown_match_are_refused(pushing: Poster, tmp_path: Path) -> None:
    assert ask(pushing, {**GIVEN, "more": "a" * BODY_MAX_BYTES}).status_code == 413
    assert ask(pushing, GIVEN, content_type="text/plain").status_code == 415
    assert ask(pushing, {**GIVEN, "match": "none"}).status_code == 404
    assert subscriptions(tmp_path) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ""},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_site_may_not(pushing: Poster, tmp_path: Path, headers: dict[str, str]) -> None:
    for method in ("POST", "DELETE"):
        response = ask(pushing, GIVEN, method, headers=headers)
        assert response.status_code == 403
        assert "Access-Control-Allow-Origin" not in response.headers
    assert subscriptions(tmp_path) == []


def test_an_address_that_asks_too_often_gets_429_and_others_do_not(pushing: Poster) -> None:
    def status(address: str) -> int:
        return ask(pushing, GIVEN, headers={"X-Forwarded-For": address}).status_code

    assert [status("198.51.100.7") for _ in range(PER_ADDRESS)] == [204] * PER_ADDRESS
    assert status("198.51.100.7") == 429
    assert status("198.51.100.8") == 204


def test_the_rate_is_bounded_by_address_and_in_all_and_forgets() -> None:
    now = [0.0]
    rate = SubscriptionRate(lambda: now[0])
    assert [rate.take("a") for _ in range(PER_ADDRESS + 1)] == [True] * PER_ADDRESS + [False]
    taken = sum(rate.take(f"b{number}") for number in range(OF_ALL))
    assert taken == OF_ALL - PER_ADDRESS - 1
    for number in range(ADDRESSES_MAX + 5):
        rate.take(f"c{number}")
    assert len(rate._counts) == ADDRESSES_MAX
    now[0] = WINDOW_S
    assert rate.take("a")


def test_subscriptions_have_bounds(pushing: Poster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_store, "OF_MATCH_MAX", 2)
    monkeypatch.setattr(push_store, "SUBSCRIPTIONS_MAX", 4)
    monkeypatch.setattr(push_store, "OF_BROWSER_MAX", 3)
    for browser in ("a", "b"):
        assert ask(pushing, {**GIVEN, "endpoint": f"https://push.example.com/{browser}"}).status_code == 204
    full = ask(pushing, {**GIVEN, "endpoint": "https://push.example.com/c"})
    assert full.status_code == 507
    assert "at most 2" in full.text
    # Who is there may still change the delay, and leave.
    again = {**GIVEN, "endpoint": "https://push.example.com/a", "delay": 5}
    assert ask(pushing, again).status_code == 204
    with closing(PushStore(tmp_path / STORE_FILE)) as store:
        for match_id in ("x", "y"):
            store.subscribe(_of("a", match_id), 2)
        with pytest.raises(FullError, match="at most 3"):
            store.subscribe(_of("a", "z"), 2)
        with pytest.raises(FullError, match="at most 4"):
            store.subscribe(_of("d", "z"), 2)
        assert store.count() == 4


def _of(browser: str, match_id: str) -> Subscription:
    return Subscription(f"https://push.example.com/{browser}", match_id, P256DH, AUTH, 0, "en")


def test_a_subscription_of_long_ago_makes_room(tmp_path: Path) -> None:
    with closing(PushStore(tmp_path / STORE_FILE)) as store:
        store.subscribe(_of("a", "m1"), 1_000)
        store.subscribe(_of("b", "m1"), 1_000 + push_store.KEPT_MS)
        assert store.count() == 2
        store.subscribe(_of("c", "m1"), 1_001 + push_store.KEPT_MS)
        assert store.count() == 2


def test_a_file_that_cannot_be_written_is_503(pushing: Poster, tmp_path: Path) -> None:
    (tmp_path / STORE_FILE).write_text("no database, but long enough to be looked at as one" * 30)
    response = ask(pushing, GIVEN)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


def test_the_page_of_a_match_has_the_key_and_an_embed_has_not(pushing: Poster, tmp_path: Path) -> None:
    page = pushing.client.get(f"/match/{MATCH}").text
    assert f'data-tl-push="{public_key(tmp_path)}"' in page
    assert "push-control" in page
    assert "data-tl-push" not in pushing.client.get(f"/embed/{MATCH}").text


def test_push_is_off_without_a_directory_and_says_so(poster: Poster) -> None:
    poster.publish(event("g1"))
    assert "push" not in poster.client.get(f"/match/{MATCH}").text
    assert ask(poster, GIVEN).status_code == 404


def test_a_directory_without_a_key_is_named_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="touchline push keys"):
        create_app(Config(eventlog_url="memory://", push_data_dir=str(tmp_path)), start=False)
