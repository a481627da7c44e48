"""Notifications of goals in a real browser: the button of a match page, and what the service worker shows.

No browser here reaches a push service. So a subscription is made by a stand-in of ``PushManager``, which is
the browser's part, and what a push service would deliver comes through the DevTools protocol to the real
service worker.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, expect

from origin.notify.push_keys import STORE_FILE, make_key
from testkit.browser import launch, wait_until_true
from testkit.services.origin import OriginServer

MATCH = "push-match"
ENDPOINT = "https://push.example.com/v1/browser"
# The browser's part of a subscription: a push service is what it would ask.
PUSH_MANAGER = f"""
const subscription = (key) => ({{
  endpoint: "{ENDPOINT}",
  options: {{ applicationServerKey: key.buffer }},
  toJSON: () => ({{
    endpoint: "{ENDPOINT}", keys: {{ p256dh: "B" + "A".repeat(86), auth: "A".repeat(22) }},
  }}),
  unsubscribe: async () => {{ globalThis.made = null; return true; }},
}});
globalThis.made = null;
globalThis.asked = [];
PushManager.prototype.getSubscription = async () => globalThis.made;
PushManager.prototype.subscribe = async (options) => {{
  globalThis.asked.push([options.userVisibleOnly, [...options.applicationServerKey]]);
  return (globalThis.made ??= subscription(options.applicationServerKey));
}};
"""

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("push")
    make_key(directory)
    return directory


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[OriginServer]:
    env = {"TOUCHLINE_PUSH_DATA_DIR": str(data)}
    with OriginServer(tmp_path_factory.mktemp("origin"), env=env) as server:
        event = {"match_id": MATCH, "event_id": "ko", "rev": 1, "op": "ADD", "type": "STATUS_CHANGE"}
        server.post({**event, "period": "H1", "minute": 1, "detail": {"to": "LIVE"}})
        server.wait_for_seq(MATCH, 1)
        yield server


@pytest.fixture
def context(browser: Browser, server: OriginServer) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.add_init_script(PUSH_MANAGER)
    yield context
    context.close()


def subscriptions(data: Path) -> list[tuple[Any, ...]]:
    if not (data / STORE_FILE).exists():
        return []
    with closing(sqlite3.connect(data / STORE_FILE)) as db:
        return db.execute("SELECT endpoint, match_id, delay_s, language FROM subscriptions").fetchall()


def test_the_button_subscribes_shows_its_state_and_takes_it_back(
    context: BrowserContext, server: OriginServer, data: Path
) -> None:
    context.grant_permissions(["notifications"], origin=server.url)
    page = context.new_page()
    page.goto(f"{server.url}/match/{MATCH}?behind=30&lang=de")
    button = page.locator(".push button")
    expect(button).to_have_text("Bei Toren benachrichtigen")
    assert page.evaluate("globalThis.asked") == []
    button.click()
    expect(button).to_have_text("Nicht mehr benachrichtigen")
    expect(page.locator(".push [role=status]")).to_have_text(
        "Du wirst bei Toren dieses Spiels benachrichtigt."
    )
    assert subscriptions(data) == [(ENDPOINT, MATCH, 30, "de")]
    [[is_visible, key]] = page.evaluate("globalThis.asked")
    assert is_visible
    assert (len(key), key[0]) == (65, 4)
    assert page.evaluate("document.activeElement.closest('.push') !== null")
    # Another visit knows it without a request.
    page.reload()
    expect(button).to_have_text("Nicht mehr benachrichtigen")
    page.evaluate(
        "navigator.serviceWorker.ready.then(({pushManager}) => pushManager.subscribe("
        "{userVisibleOnly: true, applicationServerKey: new Uint8Array(65)}).then(() => null))"
    )
    button.click()
    expect(button).to_have_text("Bei Toren benachrichtigen")
    expect(page.locator(".push [role=status]")).to_be_hidden()
    assert subscriptions(data) == []
    assert page.evaluate("globalThis.made") is None
    assert page.evaluate("localStorage.getItem('touchline-push')") == "[]"


def test_another_delay_goes_to_the_origin_without_a_click(
    context: BrowserContext, server: OriginServer, data: Path
) -> None:
    context.grant_permissions(["notifications"], origin=server.url)
    page = context.new_page()
    page.goto(f"{server.url}/match/{MATCH}")
    button = page.locator(".push button")
    button.click()
    expect(button).to_have_text("Stop notifications of goals")
    assert [row[2] for row in subscriptions(data)] == [0]
    with page.expect_response(lambda response: response.url.endswith("/push")) as answer:
        page.goto(f"{server.url}/match/{MATCH}?behind=60")
    assert answer.value.status == 204
    assert [row[2] for row in subscriptions(data)] == [60]
    page.evaluate(
        "navigator.serviceWorker.ready.then(({pushManager}) => pushManager.subscribe("
        "{userVisibleOnly: true, applicationServerKey: new Uint8Array(65)}).then(() => null))"
    )
    button.click()
    expect(button).to_have_text("Notify me of goals")
    assert subscriptions(data) == []


def test_permission_is_asked_on_a_click_only_and_a_refusal_is_said(
    context: BrowserContext, server: OriginServer, data: Path
) -> None:
    context.add_init_script(
        "globalThis.requests = 0; Notification.requestPermission = async () => {"
        " globalThis.requests += 1;"
        " Object.defineProperty(Notification, 'permission', { get: () => 'denied' }); return 'denied'; }"
    )
    page = context.new_page()
    page.goto(f"{server.url}/match/{MATCH}")
    button = page.locator(".push button")
    expect(button).to_be_visible()
    assert page.evaluate("globalThis.requests") == 0
    button.click()
    expect(page.locator(".push [role=status]")).to_have_text(
        "This browser has blocked notifications from this site."
    )
    expect(button).to_have_text("Notify me of goals")
    assert page.evaluate("globalThis.requests") == 1
    assert page.evaluate("globalThis.asked") == []
    assert subscriptions(data) == []


def test_a_subscription_that_fails_is_said_and_can_be_tried_again(
    context: BrowserContext, server: OriginServer, data: Path
) -> None:
    context.grant_permissions(["notifications"], origin=server.url)
    page = context.new_page()
    page.goto(f"{server.url}/match/{MATCH}")
    page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    real = "globalThis.realFetch ??= globalThis.fetch;"
    page.evaluate(real + "globalThis.fetch = async () => new Response(null, { status: 503 }); null")
    button = page.locator(".push button")
    button.click()
    expect(page.locator(".push [role=status]")).to_have_text("That did not work. Try again in a moment.")
    expect(button).to_have_text("Notify me of goals")
    page.evaluate("globalThis.fetch = globalThis.realFetch; null")
    button.click()
    expect(button).to_have_text("Stop notifications of goals")
    assert len(subscriptions(data)) == 1
    button.click()
    expect(button).to_have_text("Notify me of goals")


def test_a_page_in_a_frame_of_somebody_else_has_no_button(
    context: BrowserContext, server: OriginServer
) -> None:
    page = context.new_page()
    page.goto(f"{server.url}/embed/{MATCH}")
    expect(page.locator("live-score")).to_be_visible()
    assert page.locator(".push").count() == 0


class Deliveries:
    """Delivers pushes to the service worker of a page as the browser does."""

    def __init__(self, page: Page, origin: str) -> None:
        self._origin = origin
        self._page = page
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._ids: list[str] = []
        self._session.on("ServiceWorker.workerRegistrationUpdated", self._add)
        self._session.send("ServiceWorker.enable")

    def _add(self, found: dict[str, Any]) -> None:
        self._ids += [one["registrationId"] for one in found["registrations"] if not one["isDeleted"]]

    def deliver(self, text: str) -> None:
        deadline = 200
        while not self._ids and deadline:
            self._page.wait_for_timeout(25)
            deadline -= 1
        given = {"origin": self._origin, "registrationId": self._ids[-1], "data": text}
        self._session.send("ServiceWorker.deliverPushMessage", given)


SHOWN = """navigator.serviceWorker.ready.then(async (registration) =>
  (await registration.getNotifications()).map(({ title, body, tag, lang, silent, renotify, data }) =>
    ({ title, body, tag, lang, silent, renotify, data })))"""


def wait_for_notifications(page: Page, titles: list[str]) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for _ in range(400):
        shown = page.evaluate(SHOWN)
        if [one["title"] for one in shown] == titles:
            return shown
        page.wait_for_timeout(25)
    raise AssertionError(f"{shown}: not {titles}")


def test_a_correction_replaces_the_goal_that_was_shown(context: BrowserContext, server: OriginServer) -> None:
    context.grant_permissions(["notifications"], origin=server.url)
    page = context.new_page()
    page.goto(f"{server.url}/match/{MATCH}")
    wait_until_true(page, "navigator.serviceWorker.controller !== null", 20_000)
    deliveries = Deliveries(page, server.url)
    goal = {
        "title": "France 1, Croatia 0",
        "body": "Goal · Kane · 12'",
        "tag": "t1",
        "path": f"match/{MATCH}?behind=30",
        "lang": "en",
        "renotify": True,
    }
    deliveries.deliver(json.dumps(goal))
    [first] = wait_for_notifications(page, ["France 1, Croatia 0"])
    assert (first["body"], first["tag"], first["silent"]) == ("Goal · Kane · 12'", "t1", False)
    assert first["data"] == {"path": f"match/{MATCH}?behind=30"}
    ruled_out = {**goal, "title": "France 0, Croatia 0", "body": "Goal ruled out: offside", "renotify": False}
    deliveries.deliver(json.dumps(ruled_out))
    [second] = wait_for_notifications(page, ["France 0, Croatia 0"])
    assert (second["body"], second["silent"]) == ("Goal ruled out: offside", True)
    # Another goal stands beside it, and what is none of ours is shown rather than dropped.
    deliveries.deliver(json.dumps({**goal, "tag": "t2"}))
    deliveries.deliver("no JSON")
    for _ in range(400):
        titles = sorted(one["title"] for one in page.evaluate(SHOWN))
        if len(titles) == 3:
            break
        page.wait_for_timeout(25)
    assert titles == ["France 0, Croatia 0", "France 1, Croatia 0", "Touchline"]


CLICK = """async (path) => {
  const asked = [];
  const real = { open: clients.openWindow, all: clients.matchAll };
  // Both need a hand on a real notification.
  clients.openWindow = async (url) => void asked.push(["open", url]);
  clients.matchAll = async (options) => (await real.all.call(clients, options)).map(({ url }) => ({
    url, focus: async () => void asked.push(["focus", url]),
  }));
  const waiting = [];
  const event = new Event("notificationclick");
  event.notification = { close: () => asked.push(["close"]), data: { path } };
  event.waitUntil = (promise) => waiting.push(promise);
  dispatchEvent(event);
  await Promise.all(waiting);
  clients.openWindow = real.open;
  clients.matchAll = real.all;
  return asked;
}"""


def test_a_click_opens_the_match_or_goes_to_its_page(context: BrowserContext, server: OriginServer) -> None:
    page = context.new_page()
    page.goto(f"{server.url}/match/{MATCH}")
    wait_until_true(page, "navigator.serviceWorker.controller !== null", 20_000)
    [worker] = context.service_workers
    here = f"{server.url}/match/{MATCH}"
    assert worker.evaluate(CLICK, f"match/{MATCH}?behind=30") == [["close"], ["focus", here]]
    other = f"{server.url}/match/other?behind=30"
    assert worker.evaluate(CLICK, "match/other?behind=30") == [["close"], ["open", other]]
    for path in (
        "https://evil.example/match/x",
        "//evil.example/match/x",
        "../x/y",
        "console/",
        "javascript:1",
    ):
        assert worker.evaluate(CLICK, path) == [["close"]]
