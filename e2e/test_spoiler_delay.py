"""A reader behind a late broadcast sees and hears nothing ahead of it, at both tiers, whatever they do."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from e2e.test_runtime import Feed
from testkit.browser import wait_until_true
from testkit.built_widget import manifest
from testkit.services.origin import OriginServer

NUMBERS = count(1)
SCORE = "live-score .tl-goals"
# Everything that was on the screen or spoken, not only the last.
RECORDER = """
window.rows = new Set(); window.goals = new Set(); window.titles = new Set();
    window.spoken = []; window.heard = [];
const look = () => {
  const element = document.querySelector("live-score");
  const place = element?.shadowRoot ?? element;
  for (const row of place?.querySelectorAll("[data-event]") ?? []) window.rows.add(row.dataset.event);
  for (const goals of place?.querySelectorAll(".tl-goals") ?? []) window.goals.add(goals.textContent);
  for (const line of place?.querySelectorAll("[role=status] p") ?? []) window.spoken.push(line.textContent);
  window.titles.add(document.title);
};
document.addEventListener("DOMContentLoaded", () => {
  look();
  setInterval(look, 20);
  for (const name of ["goal", "correction", "status"]) {
    document.addEventListener(`touchline:${name}`, ({ detail }) => {
      window.heard.push(`${name} ${detail.eventId}`);
    });
  }
});
"""

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    manifest()
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        yield server


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.add_init_script(RECORDER)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def feed(server: OriginServer, page: Page) -> Feed:
    """A match that has been live for longer than the delays of these tests."""
    feed = Feed(server, f"spoiler{next(NUMBERS)}")
    page.wait_for_timeout(4_500)
    return feed


def opened(page: Page, url: str, tier: int) -> None:
    if tier == 1:
        page.add_init_script("delete globalThis.Worker")
    page.goto(url)
    expect(page.locator(f"live-score[data-tier='{tier}']")).to_be_attached(timeout=60_000)


def seen(page: Page) -> list[list[str]]:
    lists: list[list[str]] = page.evaluate("[[...goals], [...rows], spoken, heard].map((list) => [...list])")
    return lists


@pytest.mark.parametrize("tier", [1, 2])
def test_a_goal_taken_back_within_the_delay_is_never_seen_nor_heard(
    page: Page, feed: Feed, tier: int
) -> None:
    opened(page, f"{feed.url}?behind=4", tier)
    feed.goal("gone", 3)
    page.wait_for_timeout(500)
    feed.retract("gone")
    last = feed.goal("stays", 9)
    expect(page.locator(f"article[data-id='{last}']")).to_be_attached(timeout=15_000)
    wait_until_true(page, "spoken.length > 0 && heard.length > 0", 5_000)
    page.wait_for_timeout(500)
    goals, rows, spoken, heard = seen(page)
    assert goals == ["0–0", "1–0"]
    assert "gone" not in rows
    assert not any("P. gone" in text or "orrection" in text for text in spoken)
    assert heard == ["goal stays"]
    assert not any("2–0" in title for title in page.evaluate("[...titles]"))
    assert page.locator("live-score").get_attribute("data-tier") == str(tier)


@pytest.mark.parametrize("tier", [1, 2])
def test_a_reload_within_the_delay_does_not_spoil(page: Page, feed: Feed, tier: int) -> None:
    opened(page, f"{feed.url}?behind=4", tier)
    feed.goal("g1", 3)
    page.reload()
    expect(page.locator("live-score[data-connection=open]")).to_be_attached(timeout=20_000)
    assert seen(page)[0] == ["0–0"]
    expect(page.locator(SCORE)).to_have_text("1–0", timeout=10_000)
    wait_until_true(page, "heard.length > 0", 5_000)
    assert seen(page)[3] == ["goal g1"]


def test_an_element_of_somebody_elses_page_begins_behind(
    page: Page, server: OriginServer, feed: Feed, tmp_path: Path
) -> None:
    feed.goal("g1", 3)
    html = f'<!doctype html><script type="module" src="{server.url}/widget/live-score.js"></script>'
    html += f'<live-score match="{feed.match_id}" delay="4" max-tier="1"></live-score>'
    (tmp_path / "index.html").write_text(html, encoding="utf-8")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            page.goto(f"http://localhost:{web.server_port}/")
            expect(page.locator(SCORE)).to_have_text("0–0", timeout=10_000)
            expect(page.locator(SCORE)).to_have_text("1–0", timeout=10_000)
        finally:
            web.shutdown()
            thread.join()
    assert seen(page)[0] == ["0–0", "1–0"]


def test_a_change_of_the_delay_shows_nothing_that_is_held(page: Page, feed: Feed) -> None:
    opened(page, f"{feed.url}?behind=3", 1)
    feed.goal("g1", 3)
    page.wait_for_timeout(500)
    page.evaluate("document.querySelector('live-score').delay = 6")
    page.wait_for_timeout(3_500)
    expect(page.locator(SCORE)).to_have_text("0–0")
    expect(page.locator(SCORE)).to_have_text("1–0", timeout=6_000)
    feed.goal("g2", 4)
    page.evaluate("document.querySelector('live-score').removeAttribute('delay')")
    expect(page.locator(SCORE)).to_have_text("2–0", timeout=3_000)
    assert seen(page)[0] == ["0–0", "1–0", "2–0"]


def test_two_elements_of_one_page_have_a_delay_each(page: Page, feed: Feed) -> None:
    opened(page, feed.url, 1)
    feed.goal("g1", 3)
    expect(page.locator(SCORE)).to_have_text("1–0")
    element = f"<live-score id=late match={feed.match_id} delay=3 max-tier=1></live-score>"
    page.evaluate(f"document.body.insertAdjacentHTML('beforeend', '{element}')")
    expect(page.locator("#late .tl-goals")).to_have_text("0–0")
    expect(page.locator("#late .tl-goals")).to_have_text("1–0", timeout=10_000)


def test_a_tab_with_a_delay_beside_one_without(context: BrowserContext, page: Page, feed: Feed) -> None:
    opened(page, feed.url, 1)
    feed.goal("g1", 3)
    expect(page.locator(SCORE)).to_have_text("1–0")
    late = context.new_page()
    opened(late, f"{feed.url}?behind=4", 1)
    assert seen(late)[0] == ["0–0"]
    expect(late.locator(SCORE)).to_have_text("1–0", timeout=10_000)


def test_offline_a_late_reader_has_the_kept_state_of_their_own_delay(
    context: BrowserContext, page: Page, feed: Feed
) -> None:
    late = f"{feed.url}?behind=60"
    opened(page, late, 1)
    page.evaluate("navigator.serviceWorker.ready.then(() => {})")
    page.reload()
    expect(page.locator("live-score[data-connection=open]")).to_be_attached(timeout=20_000)
    now = context.new_page()
    opened(now, feed.url, 1)
    feed.goal("g1", 3)
    expect(now.locator(SCORE)).to_have_text("1–0")
    now.wait_for_timeout(500)
    context.set_offline(True)
    page.goto(late)
    page.wait_for_timeout(1_500)
    assert "1–0" not in seen(page)[0]
    assert "g1" not in seen(page)[1]
    context.set_offline(False)


def test_without_a_stream_a_late_reader_stays_behind(page: Page, feed: Feed) -> None:
    page.route("**/stream/**", lambda route: route.fulfill(status=502, body="no"))
    page.route("**/deltas/**", lambda route: route.fulfill(status=502, body="no"))
    opened(page, f"{feed.url}?behind=4", 1)
    expect(page.locator("live-score[data-connection=polling]")).to_be_attached(timeout=30_000)
    feed.goal("gone", 3)
    page.wait_for_timeout(300)
    feed.retract("gone")
    feed.goal("stays", 4)
    expect(page.locator(SCORE)).to_have_text("1–0", timeout=30_000)
    goals, rows, *_ = seen(page)
    assert "2–0" not in goals
    assert "gone" not in rows


def test_a_delay_that_was_chosen_is_remembered(page: Page, server: OriginServer, feed: Feed) -> None:
    feed.goal("g1", 3)
    page.goto(f"{server.url}/match/{feed.match_id}?lang=de")
    page.locator("[data-tl-delay] summary").click()
    page.locator("[data-tl-delay] select").select_option("60")
    page.locator("[data-tl-delay] form button").click()
    page.wait_for_url("**?behind=60&lang=de")
    expect(page.locator("live-score[delay='60']")).to_be_attached()
    # From the list one comes to the page with the delay, and never sees the other.
    page.goto(server.url)
    row = page.locator(f"[data-match='{feed.match_id}'] b").first
    expect(row).to_be_hidden()
    page.locator("[data-tl-cover] button").click()
    expect(row).to_be_visible()
    page.goto(f"{server.url}/match/{feed.match_id}", wait_until="commit")
    page.wait_for_url("**?behind=60")
    expect(page.locator("live-score[delay='60']")).to_be_attached()
    assert not any("1–0" in title for title in page.evaluate("[...titles]"))
    page.locator("[data-tl-delay] summary").click()
    page.locator("[data-tl-delay] select").select_option("0")
    page.locator("[data-tl-delay] form button").click()
    page.wait_for_url(f"**/match/{feed.match_id}")
    expect(page.locator(SCORE)).to_have_text("1–0")
    page.goto(server.url)
    expect(row).to_be_visible()


def test_the_control_needs_no_javascript(browser: Browser, server: OriginServer, feed: Feed) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    feed.goal("g1", 3)
    page.goto(feed.url)
    page.locator("[data-tl-delay] summary").click()
    page.locator("[data-tl-delay] select").select_option("60")
    page.locator("[data-tl-delay] form button").click()
    expect(page).to_have_url(f"{feed.url}?behind=60")
    expect(page.locator(SCORE, has_text="1–0")).to_have_count(0)
    page.locator("[data-tl-delay] summary").click()
    page.locator("[data-tl-delay] select").select_option("0")
    page.locator("[data-tl-delay] form button").click()
    expect(page).to_have_url(feed.url)
    context.close()


@pytest.mark.parametrize("offset_s", [2, 5, 9])
def test_the_screen_says_by_how_much_it_is_late(page: Page, feed: Feed, offset_s: int) -> None:
    page.goto(feed.url)
    expect(page.locator("live-score[data-connection=open]")).to_be_attached(timeout=20_000)
    page.locator("[data-tl-delay] summary").click()
    goal = page.get_by_role("button", name="My screen shows the goal now")
    expect(goal).to_be_visible()
    goal.click()
    expect(page.locator("[data-tl-sync-none]")).to_contain_text("No such moment")
    feed.goal("g1", 3)
    # By the log's own time: what the test waits for is not part of the delay.
    expect(page.locator(SCORE)).to_have_text("1–0")
    page.evaluate(
        "async (offsetMs) => {"
        "  const element = document.querySelector('live-score');"
        f"  const state = await (await fetch('/api/match/{feed.match_id}/state')).json();"
        "  const waitMs = state.accepted_ms + offsetMs - element.serverMs;"
        "  await new Promise((resolve) => setTimeout(resolve, waitMs));"
        "  document.querySelector('[data-tl-sync] button[value=goal]').click();"
        "}",
        offset_s * 1_000,
    )
    page.wait_for_url("**?behind=*")
    assert abs(int(page.url.partition("behind=")[2]) - offset_s) <= 1
