"""What moves on a page that shows a match: nothing as it loads, and the score when it changes."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from shared_state.jsontext import Json, JsonObject
from testkit.services.origin import OriginServer

pytestmark = [pytest.mark.browser, pytest.mark.services]

# Google's bound for "good" is 0.1; a score above a story must not move the story at all.
CLS_MAX = 0.02
SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => { for (const entry of list.getEntries()) window.shifts += entry.value; })
  .observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, service_workers="block")
    context.add_init_script("delete globalThis.Worker")
    context.add_init_script(SHIFTS)
    yield context
    context.close()


def post(server: OriginServer, match_id: str, event_id: str, **event: Json) -> None:
    body: JsonObject = {"match_id": match_id, "event_id": event_id, "rev": 1, "op": "ADD", **event}
    assert server.post(body) == 200


def goal(server: OriginServer, match_id: str, event_id: str, minute: int) -> None:
    post(server, match_id, event_id, type="GOAL", minute=minute, team="home", player="Bukayo Saka")


def begin(server: OriginServer, match_id: str) -> None:
    sides: JsonObject = {
        "home": {"name": "Arsenal", "code": "ARS", "color": "#ef0107"},
        "away": {"name": "Liverpool", "code": "LIV"},
        "competition": "Premier League",
        "venue": "Emirates Stadium",
    }
    post(server, match_id, "info", type="MATCH_INFO", detail=sides)
    now_ms = time.time_ns() // 1_000_000 - 20 * 60_000
    ko: JsonObject = {"type": "STATUS_CHANGE", "period": "H1", "minute": 0, "detail": {"to": "LIVE"}}
    post(server, match_id, "ko", **ko, source_ts=now_ms)
    goal(server, match_id, "g1", 12)
    server.wait_for_seq(match_id, 3)


@contextmanager
def gazette(head: str, body: str) -> Iterator[str]:
    """A page of another site with a story in it; its address."""
    story = "<p>Paragraph of the article.</p>" * 40
    html = (
        f"<!doctype html><meta name=viewport content='width=device-width'>{head}<h1>Story</h1>{body}{story}"
    )

    class Gazette(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by its base
            """Nothing: the test's output is for the test."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gazette) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{web.server_port}/"
        finally:
            web.shutdown()
            thread.join()


def is_live(page: Page) -> None:
    expect(page.locator("live-score[data-connection='open']")).to_have_count(1, timeout=20_000)
    expect(page.locator("live-score .tl-goals")).to_have_count(1)


def shifts(page: Page) -> float:
    page.wait_for_timeout(500)
    found: float = page.evaluate("window.shifts")
    return found


def test_our_own_page_does_not_move_as_it_loads(context: BrowserContext, server: OriginServer) -> None:
    begin(server, "own")
    page = context.new_page()
    page.goto(f"{server.url}/match/own")
    is_live(page)
    assert shifts(page) <= CLS_MAX


@pytest.mark.parametrize(("size", "height"), [("card", 268), ("ticker", 42)])
def test_a_story_below_a_score_does_not_move(
    context: BrowserContext, server: OriginServer, size: str, height: int
) -> None:
    """With the rule that widget/README.md gives; the page's author cannot know what the score will need."""
    begin(server, f"story-{size}")
    head = (
        f"<style>live-score{{display:block;min-height:{height}px}}</style>"
        f"<script type=module src='{server.url}/widget/live-score.js'></script>"
    )
    with gazette(head, f"<live-score match=story-{size} size={size}><a href=#>Live</a></live-score>") as url:
        page = context.new_page()
        page.goto(url)
        is_live(page)
        assert shifts(page) <= CLS_MAX
        assert page.locator("live-score").evaluate("node => node.offsetHeight") == height


def test_a_stylesheet_that_does_not_come_leaves_a_page_that_can_be_read(
    context: BrowserContext, server: OriginServer
) -> None:
    begin(server, "plain")
    head = f"<script type=module src='{server.url}/widget/live-score.js'></script>"
    context.route("**/live-score-*.css", lambda route: route.fulfill(status=404))
    with gazette(head, "<live-score match=plain></live-score>") as url:
        page = context.new_page()
        page.goto(url)
        is_live(page)
        page.wait_for_timeout(1_200)
        expect(page.locator("live-score .tl-goals")).to_be_visible()
        heights = page.locator("live-score svg").evaluate_all(
            "pictures => pictures.map((picture) => picture.getBoundingClientRect().height)"
        )
        assert len(heights) > 3
        assert max(heights) <= 48


def test_a_page_that_loads_after_a_goal_is_calm_and_the_next_goal_turns_the_figure(
    context: BrowserContext, server: OriginServer
) -> None:
    begin(server, "calm")
    head = f"<script type=module src='{server.url}/widget/live-score.js'></script>"
    with gazette(head, "<live-score match=calm></live-score>") as url:
        page = context.new_page()
        page.goto(url)
        is_live(page)
        article = page.locator("live-score article")
        assert article.get_attribute("data-moment") is None
        goal(server, "calm", "g2", 20)
        expect(page.locator("live-score .tl-goals")).to_have_text("2–0")
        expect(article).to_have_attribute("data-moment", "goal")
        expect(page.locator("live-score .tl-goals b").first).to_have_attribute("data-was", "1")
        retraction: JsonObject = {"match_id": "calm", "event_id": "g2", "rev": 2, "op": "RETRACT"}
        assert server.post({**retraction, "reason": "VAR: offside"}) == 200
        expect(article).to_have_attribute("data-moment", "correction")
        expect(page.locator("live-score .tl-banner")).to_contain_text("Goal ruled out (VAR: offside)")
        expect(page.locator("live-score .tl-banner")).to_be_visible()


def test_what_a_reader_opened_stays_open(context: BrowserContext, server: OriginServer) -> None:
    begin(server, "kicks")
    post(
        server, "kicks", "p", type="STATUS_CHANGE", period="PENS", detail={"to": "PENALTIES"}, source_ts=None
    )

    def kick(order: int) -> None:
        detail: JsonObject = {"order": order, "scored": True}
        post(server, "kicks", f"k{order}", type="SHOOTOUT_KICK", period="PENS", team="home", detail=detail)

    kick(1)
    server.wait_for_seq("kicks", 5)
    page = context.new_page()
    page.goto(f"{server.url}/match/kicks")
    is_live(page)
    page.locator("live-score summary").click()
    expect(page.locator("live-score details[open]")).to_have_count(1)
    kick(2)
    expect(page.locator("live-score details .tl-row")).to_have_count(2)
    expect(page.locator("live-score details[open]")).to_have_count(1)


def test_the_line_runs_with_the_minute(context: BrowserContext, server: OriginServer) -> None:
    begin(server, "line")
    page = context.new_page()
    page.goto(f"{server.url}/match/line")
    is_live(page)
    # 21 of 101 minutes, though the last event was in the twelfth.
    expect(page.locator("live-score .tl-elapsed")).to_have_attribute("x2", "20.8%")
