"""What the service worker keeps, and what it must never keep. A real nginx is in front, and the publisher."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from shared_state.jsontext import JsonObject
from testkit.browser import wait_until_true
from testkit.services.origin import OriginServer
from testkit.services.site import Site

NUMBERS = count(1)
SCRIPT = "<script type=module src=/widget/live-score.js></script>"
WITHOUT_WORKER = "delete globalThis.Worker"
# The addresses of all that this browser keeps for the site, with the text of each page.
KEPT = """(async () => {
  const kept = {};
  for (const name of await caches.keys()) {
    if (!name.includes("pages")) continue;
    const cache = await caches.open(name);
    for (const request of await cache.keys()) {
      const found = await cache.match(request); // which may have gone since
      if (found) kept[new URL(request.url).pathname] = await found.text();
    }
  }
  return kept;
})()"""

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.add_init_script(WITHOUT_WORKER)
    yield context
    context.close()


def begin(server: OriginServer) -> str:
    match = f"kept-{next(NUMBERS)}"
    event: JsonObject = {"match_id": match, "event_id": "ko", "rev": 1, "op": "ADD", "type": "STATUS_CHANGE"}
    assert server.post({**event, "period": "H1", "minute": 0, "detail": {"to": "LIVE"}}) == 200
    server.wait_for_seq(match, 1)
    return match


def goal(server: OriginServer, match: str, event_id: str = "g1") -> None:
    event: JsonObject = {"match_id": match, "event_id": event_id, "rev": 1, "op": "ADD", "type": "GOAL"}
    assert server.post({**event, "period": "H1", "minute": 3, "team": "home"}) == 200


def is_kept(path: str) -> str:
    return f"({KEPT}).then((kept) => '{path}' in kept)"


def live(page: Page) -> None:
    expect(page.locator("live-score[data-connection='open']")).to_be_attached(timeout=20_000)


def under_its_worker(page: Page) -> None:
    """Until the service worker controls the page and has kept its files."""
    page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    wait_until_true(page, "navigator.serviceWorker.controller !== null", 20_000)


def test_a_page_of_ours_is_kept_and_a_portals_is_not(context: BrowserContext, server: OriginServer) -> None:
    match = begin(server)
    with Site(server) as site:
        page = context.new_page()
        page.goto(f"{site.url}/match/{match}")
        live(page)
        under_its_worker(page)
        wait_until_true(page, is_kept(f"/match/{match}"), 20_000)
        # A portal answers everything with a page of its own, an element of ours in it or not.
        site.configure(portal="<title>Portal</title><live-score></live-score> Log in")
        page.reload()  # past the browser's own cache, which may still show the page for five seconds
        expect(page).to_have_title("Portal")
        site.stop()
        page.goto(f"{site.url}/match/{match}")
        expect(page.locator("live-score .tl-goals")).to_have_text("0–0")


@pytest.mark.parametrize("policy", ["private", "no-store", "public, max-age=0, private"])
def test_what_somebody_made_private_is_not_kept(
    context: BrowserContext, server: OriginServer, policy: str
) -> None:
    """Nor what was kept of it before."""
    match = begin(server)
    with Site(server) as site:
        page = context.new_page()
        page.goto(f"{site.url}/match/{match}")
        live(page)
        under_its_worker(page)
        wait_until_true(page, is_kept(f"/match/{match}"), 20_000)
        site.configure(cache_control=policy)
        page.reload()
        live(page)
        wait_until_true(page, f"{is_kept(f'/match/{match}')}.then((kept) => !kept)", 20_000)


def test_no_page_of_a_publisher_is_kept(context: BrowserContext, server: OriginServer) -> None:
    """The publisher has our paths on its own host, and pages that name its readers."""
    match = begin(server)
    own = f"Alice {SCRIPT}<live-score match={match}></live-score>"
    with Site(server, pages={"/": own, "/account": own, "/match/alice": own}) as site:
        page = context.new_page()
        page.goto(f"{site.url}/account")
        live(page)
        page.wait_for_timeout(500)
        registrations = "navigator.serviceWorker.getRegistrations().then((found) => found.length)"
        assert page.evaluate(registrations) == 0
        # A page of ours at the same host has one, whose scope is the whole host.
        page.goto(f"{site.url}/match/{match}")
        live(page)
        under_its_worker(page)
        for path in ("/account", "/", "/match/alice"):
            page.goto(site.url + path)
            live(page)
        wait_until_true(page, is_kept(f"/match/{match}"), 20_000)
        kept = page.evaluate(KEPT)
        assert sorted(kept) == [f"/match/{match}"]
        assert not [path for path, text in kept.items() if "Alice" in text]


def test_a_publisher_may_ask_for_it(context: BrowserContext, server: OriginServer) -> None:
    match = begin(server)
    meta = "<meta name=touchline-offline content=keep>"
    own = f"{meta}{SCRIPT}<live-score match={match}></live-score>"
    with Site(server, pages={"/report": own}) as site:
        page = context.new_page()
        page.goto(f"{site.url}/report")
        live(page)
        under_its_worker(page)
        assert page.evaluate(KEPT) == {}  # its own page is not one of ours


def test_below_a_path(context: BrowserContext, tmp_path: Path) -> None:
    """https://x.example/scores/: pages, links, files, stream, fragments and the service worker's scope."""
    site = Site.below("/scores")
    with (
        OriginServer(tmp_path, env={"TOUCHLINE_PUBLIC_URL": f"{site.url}/scores"}) as server,
        site.of(server),
    ):
        match = begin(server)
        page = context.new_page()
        failed: list[str] = []
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        page.goto(f"{site.url}/scores/?page=1")  # redirected to the one address of the list
        assert page.url == f"{site.url}/scores/"
        expect(page.locator("live-scores[data-connection='open']")).to_be_attached(timeout=20_000)
        page.locator(f"a[href='/scores/match/{match}']").click()
        live(page)
        goal(server, match)
        expect(page.locator("live-score .tl-goals")).to_have_text("1–0")
        under_its_worker(page)
        scope = "navigator.serviceWorker.ready.then((registration) => registration.scope)"
        assert page.evaluate(scope) == f"{site.url}/scores/"
        page.locator("a.wordmark").click()
        expect(page).to_have_url(f"{site.url}/scores/")
        wait_until_true(page, is_kept(f"/scores/match/{match}"), 20_000)
        assert failed == []
        site.stop()
        page.goto(f"{site.url}/scores/match/{match}")
        expect(page.locator("live-score .tl-goals")).to_have_text("1–0")


def test_behind_a_password(browser: Browser, server: OriginServer) -> None:
    """A staging site with HTTP basic authentication: live, with Python, and through the service worker."""
    match = begin(server)
    with Site(server, user="ada", password="lovelace") as site:
        context = browser.new_context(http_credentials={"username": "ada", "password": "lovelace"})
        page = context.new_page()
        refused: list[str] = []
        page.goto(f"{site.url}/match/{match}")
        page.on("response", lambda answer: refused.append(answer.url) if answer.status == 401 else None)
        expect(page.locator("live-score[data-tier='2']")).to_be_attached(timeout=60_000)
        live(page)
        goal(server, match)
        expect(page.locator("live-score .tl-goals")).to_have_text("1–0")
        under_its_worker(page)
        page.reload()
        live(page)
        assert refused == []
        context.close()


@pytest.mark.parametrize(
    "storage",
    [
        "CacheStorage.prototype.open = () => Promise.reject(new DOMException('denied', 'SecurityError'))",
        "Cache.prototype.put = () => Promise.reject(new DOMException('full', 'QuotaExceededError'))",
        "Cache.prototype.put = Cache.prototype.match = () => new Promise(() => {})",
        (
            "for (const name of ['localStorage', 'sessionStorage', 'indexedDB', 'caches']) "
            "Object.defineProperty(globalThis, name, "
            "{ get() { throw new DOMException('denied', 'SecurityError') } })"
        ),
    ],
    ids=["denied", "full", "never-answers", "throws"],
)
def test_storage_that_fails_costs_nothing(browser: Browser, server: OriginServer, storage: str) -> None:
    match = begin(server)
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.add_init_script(f"{WITHOUT_WORKER}; {storage}")
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{server.url}/match/{match}")
    live(page)
    goal(server, match)
    expect(page.locator("live-score .tl-goals")).to_have_text("1–0")
    assert errors == []
    context.close()


def test_a_service_worker_without_room_serves_all_the_same(
    context: BrowserContext, server: OriginServer
) -> None:
    match = begin(server)
    page = context.new_page()
    page.goto(f"{server.url}/match/{match}")
    live(page)
    under_its_worker(page)
    session = context.new_cdp_session(page)
    session.send("Storage.overrideQuotaForOrigin", {"origin": server.url, "quotaSize": 1})
    page.evaluate("caches.keys().then((names) => Promise.all(names.map((name) => caches.delete(name))))")
    page.reload()
    live(page)
    # The page and its files came through the service worker, which could store none of them.
    assert page.evaluate("navigator.serviceWorker.controller !== null")
    goal(server, match)
    expect(page.locator("live-score .tl-goals")).to_have_text("1–0")
    deadline_s = time.monotonic() + 2
    while time.monotonic() < deadline_s:
        assert page.evaluate(KEPT) == {}
        page.wait_for_timeout(250)


def test_a_page_that_was_on_its_way_when_the_service_worker_came_is_kept(
    context: BrowserContext, server: OriginServer
) -> None:
    """Another tab brings the service worker while this page is still being fetched."""
    match = begin(server)
    held: list[Route] = []
    context.route(f"**/match/{match}", lambda route: held.append(route), times=1)
    slow = context.new_page()
    slow.goto(f"{server.url}/healthz")  # of the same origin, without a service worker
    slow.evaluate(f"void setTimeout(() => location.assign('/match/{match}'))")
    deadline_s = time.monotonic() + 20
    while not held:
        assert time.monotonic() < deadline_s, "the page was not asked for"
        slow.wait_for_timeout(25)
    first = context.new_page()
    first.goto(f"{server.url}/")
    under_its_worker(first)
    held[0].continue_()
    live(slow)
    under_its_worker(slow)
    wait_until_true(slow, is_kept(f"/match/{match}"), 20_000)
