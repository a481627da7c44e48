"""``/push``: a reader's browser subscribes to the goals of a match, and takes that back (docs/push.md).

Anybody can post here, and an address that is posted is one that we send to later. So it is bounded in every
respect, and ``origin.notify.sender`` checks the address again when it connects.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, current_app, request

from origin.config import Config
from origin.errors import RequestError
from origin.notify.outbox import OutboxError
from origin.notify.push_keys import STORE_FILE, public_key
from origin.notify.push_store import FullError, PushStore, Subscription
from origin.notify.sender import is_public
from origin.stream.http.forwarded import TrustedProxies, viewer_address
from origin.stream.http.request_body import body_too_large
from origin.web.cache_policy import NO_STORE, set_policy
from origin.web.origin import origin, origin_of
from shared_state.errors import shown
from shared_state.events import MATCH_ID_PATTERN
from shared_state.jsontext import JsonObject, parse
from shared_state.languages import language_of
from shared_state.spoiler_delay import DELAY_MAX_S

__all__ = ["BODY_MAX_BYTES", "PER_ADDRESS", "SubscriptionRate", "blueprint", "init_app"]

blueprint = Blueprint("push", __name__)

#: A subscription is some 400 bytes.
BODY_MAX_BYTES: Final = 4_096
ENDPOINT_MAX_CHARS: Final = 1_000
#: Requests of one address in ``WINDOW_S`` seconds, and of all together; of one process.
PER_ADDRESS: Final = 20
OF_ALL: Final = 3_000
WINDOW_S: Final = 60
ADDRESSES_MAX: Final = 10_000
_STATE: Final = "touchline.push"
_URL: Final = re.compile(r"[!-~]+")
_KEY_BYTES: Final = 65
_AUTH_BYTES: Final = 16


class SubscriptionRate:
    """Counts requests within a window of time, by address and in all. For any thread."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._window = 0
        self._all = 0
        self._counts: OrderedDict[str, int] = OrderedDict()

    def take(self, address: str) -> bool:
        """Whether one more request of an address is answered now."""
        window = int(self._clock_s() / WINDOW_S)
        with self._lock:
            if window != self._window:
                self._window, self._all = window, 0
                self._counts.clear()
            self._all += 1
            count = self._counts[address] = self._counts.pop(address, 0) + 1
            if len(self._counts) > ADDRESSES_MAX:
                self._counts.popitem(last=False)
            return count <= PER_ADDRESS and self._all <= OF_ALL


class _Push:
    """What the routes need of a process, where push is on."""

    def __init__(self, config: Config) -> None:
        self.directory = Path(config.push_data_dir)
        self.allow_private = config.push_allow_private
        self.rate = SubscriptionRate()
        self.trusted = TrustedProxies(os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1").split(","))
        self._lock = threading.Lock()
        self._store: PushStore | None = None

    def store(self) -> PushStore:
        """The file; opened in the process that uses it, since SQLite must not be carried over a fork."""
        with self._lock:
            if self._store is None:
                self._store = PushStore(self.directory / STORE_FILE)
            return self._store

    def close(self) -> None:
        """Close the file, if it was opened."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


def init_app(app: Flask, config: Config) -> None:
    """Add the routes, and to match pages the key that a browser subscribes to.

    Raises:
        ConfigError: push is on, and there is no key.
    """
    app.register_blueprint(blueprint)
    app.jinja_env.globals["push_key"] = public_key(Path(config.push_data_dir)) if config.push_data_dir else ""
    app.extensions[_STATE] = push = _Push(config) if config.push_data_dir else None
    if push is not None:
        origin_of(app).before_close(push.close)


@blueprint.post("/push")
def subscribe() -> Response:
    """Subscribe a browser to the goals of a match, or change the delay or the language of that.

    Raises:
        RequestError: 400 the body is not what the document says; 403 it comes from another site; 404 push
            is off, or there is no such match; 413, 415, 429; 507 there is no room; 503 the file cannot be
            written.
    """
    push, body = _asked()
    endpoint, match_id = _endpoint(push, body), _match_id(body)
    keys = body.get("keys")
    if not isinstance(keys, dict):
        raise _bad("keys", keys, "must have p256dh and auth")
    p256dh = _key(keys, "p256dh", _KEY_BYTES)
    if base64.urlsafe_b64decode(p256dh + "=")[0] != 4:
        raise _bad("p256dh", p256dh, "must be an uncompressed point")
    delay_s = body.get("delay", 0)
    if not isinstance(delay_s, int) or isinstance(delay_s, bool) or not 0 <= delay_s <= DELAY_MAX_S:
        raise _bad("delay", delay_s, f"must be a whole number of seconds from 0 to {DELAY_MAX_S}")
    lang = body.get("lang", "en")
    if not isinstance(lang, str):
        raise _bad("lang", lang, "must be the tag of a language")
    origin().matches.latest(match_id)
    auth = _key(keys, "auth", _AUTH_BYTES)
    given = Subscription(endpoint, match_id, p256dh, auth, delay_s, language_of(lang).tag)
    try:
        push.store().subscribe(given, time.time_ns() // 1_000_000)
    except FullError as error:
        raise RequestError(507, "push_full", str(error)) from None
    except OutboxError as error:
        raise _unavailable(error) from error
    return set_policy(Response(status=204), NO_STORE)


@blueprint.delete("/push")
def unsubscribe() -> Response:
    """Take a subscription back. One that is not there is as good.

    Raises:
        RequestError: as ``subscribe``.
    """
    push, body = _asked()
    endpoint, match_id = _endpoint(push, body), _match_id(body)
    try:
        push.store().unsubscribe(endpoint, match_id)
    except OutboxError as error:
        raise _unavailable(error) from error
    return set_policy(Response(status=204), NO_STORE)


def _unavailable(error: OutboxError) -> RequestError:
    return RequestError(503, error.code, "subscriptions cannot be written", headers={"Retry-After": "5"})


def _asked() -> tuple[_Push, JsonObject]:
    push: _Push | None = current_app.extensions[_STATE]
    if push is None:
        raise RequestError(404, "no_push", "this origin sends no pushes")
    forwarded = request.headers.getlist("X-Forwarded-For")
    if not push.rate.take(viewer_address(request.remote_addr or "", forwarded, push.trusted)):
        raise RequestError(
            429,
            "too_many_subscriptions",
            f"at most {PER_ADDRESS} requests in {WINDOW_S} s",
            headers={"Retry-After": str(WINDOW_S)},
        )
    came_from = request.headers.get("Origin", "")
    try:
        host = urlsplit(came_from).netloc
    except ValueError:
        host = ""
    hosts = {request.host, urlsplit(origin().config.public_url).netloc}
    is_same = request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
    if not host or host not in hosts or not is_same:
        raise RequestError(
            403, "wrong_origin", f"this must come from a page of this origin, not {shown(came_from)}"
        )
    if request.mimetype != "application/json":
        raise RequestError(
            415, "unsupported_media_type", f"{shown(request.mimetype)}: must be application/json"
        )
    data = request.stream.read(BODY_MAX_BYTES + 1)
    if len(data) > BODY_MAX_BYTES:
        raise body_too_large(BODY_MAX_BYTES)
    try:
        body = parse(data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise RequestError(400, "bad_subscription", "the body must be a JSON object")
    return push, body


def _bad(name: str, value: object, must: str) -> RequestError:
    return RequestError(400, "bad_subscription", f"{name} {shown(value)}: {must}")


def _match_id(body: JsonObject) -> str:
    match_id = body.get("match")
    if not isinstance(match_id, str) or not MATCH_ID_PATTERN.fullmatch(match_id):
        raise _bad("match", match_id, "must be the id of a match")
    return match_id


def _endpoint(push: _Push, body: JsonObject) -> str:
    """The address at a push service. The sender looks its name up; an address is refused here already."""
    given = body.get("endpoint")
    if not isinstance(given, str) or len(given) > ENDPOINT_MAX_CHARS or not _URL.fullmatch(given):
        raise _bad("endpoint", given, f"must be an address of at most {ENDPOINT_MAX_CHARS} characters")
    try:
        parts = urlsplit(given)
        host, is_usable = parts.hostname or "", parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        host, is_usable = "", False
    schemes = ("https", "http") if push.allow_private else ("https",)
    # Push services have names; the library that proves who we are takes no IPv6 address.
    if not host or ":" in host or not is_usable or parts.scheme not in schemes:
        raise _bad("endpoint", given, "must be https://host/path without a user name")
    if not push.allow_private:
        try:
            ipaddress.ip_address(host)
            may_be = is_public(host)
        except ValueError:
            may_be = "." in host.rstrip(".")
        if not may_be:
            raise _bad("endpoint", given, "is no public address")
    return given


def _key(keys: JsonObject, name: str, length: int) -> str:
    given = keys.get(name)
    try:
        if not isinstance(given, str) or len(given) > 2 * length:
            raise ValueError
        text = given.rstrip("=")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != length:
        raise _bad(name, given, f"must be {length} bytes as base64url")
    return text
