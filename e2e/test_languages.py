"""Languages in a browser: several on a page, both tiers, and a title that follows the score."""

from __future__ import annotations

import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from shared_state.jsontext import Json, JsonObject
from shared_state.languages import LANGUAGES
from testkit.browser import wait_until_true
from testkit.services.origin import OriginServer

NUMBERS = count(1)
pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, service_workers="block")
    yield context
    context.close()


def without_runtime(page: Page) -> None:
    page.add_init_script("delete globalThis.Worker")


class Played:
    """A match that a test plays."""

    def __init__(self, server: OriginServer) -> None:
        self.id, self.seq, self._server = f"spoken-{next(NUMBERS)}", 0, server
        sides: JsonObject = {"home": {"name": "Rovers"}, "away": {"name": "United"}}
        self.post(("info", {"type": "MATCH_INFO", "detail": sides}))
        self.post(("ko", {"type": "STATUS_CHANGE", "period": "H1", "minute": 0, "detail": {"to": "LIVE"}}))

    def post(self, *events: tuple[str, JsonObject]) -> str:
        bodies = [
            {"match_id": self.id, "event_id": id_, "rev": 1, "op": "ADD", **body} for id_, body in events
        ]
        assert self._server.post(*bodies) == 200
        self.seq += len(bodies)
        state = self._server.wait_for_seq(self.id, self.seq)
        return f"{state['epoch']}-{state['seq']}"

    def goal(self, event_id: str, minute: int, team: str = "home", **more: Json) -> str:
        body: JsonObject = {"type": "GOAL", "period": "H1", "minute": minute, "team": team, "player": "Smith"}
        return self.post((event_id, {**body, **more}))

    def address(self, tag: str = "") -> str:
        return f"{self._server.url}/match/{self.id}" + (f"?lang={tag}" if tag else "")


@contextmanager
def elsewhere(html: str) -> Iterator[str]:
    """A page of a publisher, on another origin."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode() if self.path == "/" else b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as host:
        thread = threading.Thread(target=host.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{host.server_port}/"
        finally:
            host.shutdown()
            thread.join()


def at_tier(page: Page, tier: int) -> None:
    count_of = page.locator("live-score").count()
    expect(page.locator(f"live-score[data-tier='{tier}']")).to_have_count(count_of, timeout=60_000)


def listen(page: Page) -> None:
    """Keep what is put into the page's live regions."""
    page.evaluate(
        """() => { window.said = [];
          for (const element of document.querySelectorAll("live-score")) {
            const place = element.shadowRoot ?? element;
            const region = place.querySelector("[role=status]");
            new MutationObserver((changes) => { for (const change of changes)
              for (const node of change.addedNodes) said.push([region.lang, node.textContent]);
            }).observe(region, { childList: true });
          } }"""
    )


def heard(page: Page, id_: str) -> list[list[str]]:
    """What was said up to an id, and once more nothing."""
    wait_until_true(
        page, f"[...document.querySelectorAll('live-score')].every((e) => e.dataset.id === '{id_}')", 20_000
    )
    page.wait_for_timeout(500)
    said: list[list[str]] = page.evaluate("said.splice(0)")
    return said


@pytest.mark.parametrize("tier", [1, 2])
def test_a_publishers_page_has_one_match_in_three_languages(
    context: BrowserContext, server: OriginServer, tier: int
) -> None:
    played = Played(server)
    element = f'<live-score match="{played.id}"'
    html = (
        f'<!doctype html><html lang="de-AT"><title>Gazette</title>'
        f'<script type=module src="{server.url}/widget/live-score.js"></script>'
        f'{element} id=de></live-score>{element} id=ar lang="ar"></live-score>'
        f'<section lang="ja_JP">{element} id=ja></live-score></section>'
        f'{element} id=xx lang="xx"></live-score>'
    )
    with elsewhere(html) as url:
        page = context.new_page()
        if tier == 1:
            without_runtime(page)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        at_tier(page, tier)
        listen(page)
        id_ = played.goal("g1", 18, detail={"own_goal": True})
        said = heard(page, id_)
        for tag, words in (
            ("de", "Eigentor"),
            ("ar", "هدف عكسي"),
            ("ja", "オウンゴール"),
            ("xx", "Own goal"),
        ):
            board = page.locator(f"#{tag} article")
            expect(board).to_contain_text(words)
            expect(board).to_have_attribute("lang", "en" if tag == "xx" else tag)
            expect(board).to_have_attribute("dir", "rtl" if tag == "ar" else "ltr")
        # One element speaks, in its own language, however many show the match.
        assert said == [["de", "Tor! Rovers 1, United 0. Smith (Eigentor), 18'."]]
        assert page.title() == "Gazette"
        assert errors == []


def test_an_element_follows_a_change_of_language(context: BrowserContext, server: OriginServer) -> None:
    played = Played(server)
    played.goal("g1", 18)
    page = context.new_page()
    without_runtime(page)
    page.goto(played.address())
    at_tier(page, 1)
    board = page.locator("live-score article")
    expect(board).to_contain_text("First half")
    listen(page)
    page.evaluate("document.querySelector('live-score').lang = 'fr'")
    expect(board).to_contain_text("Première mi-temps")
    page.evaluate("document.querySelector('live-score').removeAttribute('lang')")
    page.evaluate("document.documentElement.lang = 'pl'")
    expect(board).to_contain_text("Pierwsza połowa", timeout=10_000)
    page.wait_for_timeout(500)
    assert page.evaluate("said") == []


@pytest.mark.parametrize("tier", [1, 2])
def test_each_is_announced_once_in_order_and_together_what_comes_together(
    context: BrowserContext, server: OriginServer, tier: int
) -> None:
    played = Played(server)
    page = context.new_page()
    if tier == 1:
        without_runtime(page)
    page.goto(played.address("de"))
    at_tier(page, tier)
    page.wait_for_timeout(500)
    listen(page)
    assert heard(page, f"{page.locator('live-score').get_attribute('data-id')}") == []

    def says(id_: str) -> list[str]:
        return [text for _, text in heard(page, id_)]

    def status(event_id: str, to: str, period: str, source_ts: int) -> str:
        detail: JsonObject = {"to": to}
        body: JsonObject = {
            "type": "STATUS_CHANGE",
            "period": period,
            "detail": detail,
            "source_ts": source_ts,
        }
        return played.post((event_id, body))

    def kick(order: int, team: str, *, scored: bool) -> tuple[str, JsonObject]:
        detail: JsonObject = {"order": order, "scored": scored}
        body: JsonObject = {"type": "SHOOTOUT_KICK", "period": "PENS", "team": team, "player": "Jones"}
        return f"k{order}", {**body, "detail": detail}

    # Two goals and a card of one webhook are one sentence.
    rows = [
        ("g1", {"type": "GOAL", "minute": 10, "team": "home", "player": "Smith"}),
        ("y1", {"type": "YELLOW_CARD", "minute": 10, "team": "away", "player": "Jones"}),
        ("g2", {"type": "GOAL", "minute": 11, "team": "away", "player": "Jones"}),
    ]
    assert says(played.post(*[(id_, {"period": "H1", **body}) for id_, body in rows])) == [
        "Tor! Rovers 1, United 0. Smith, 10'. Tor! Rovers 1, United 1. Jones, 11'."
    ]
    gone: JsonObject = {"rev": 2, "op": "RETRACT", "reason": "VAR: offside"}
    assert says(played.post(("g2", gone))) == ["Korrektur: Tor aberkannt (VAR: Abseits). Rovers 1, United 0."]
    assert says(status("ht", "HALF_TIME", "HT", 1_000_000_000_000)) == ["Halbzeit. Rovers 1, United 0."]
    assert says(status("h2", "LIVE", "H2", 1_000_000_000_001)) == ["Anpfiff zur zweiten Halbzeit."]
    missed: JsonObject = {"type": "PENALTY_MISSED", "period": "H2", "minute": 70, "team": "home"}
    assert says(played.post(("pm", missed))) == ["Elfmeter verschossen, Rovers, 70'."]
    assert says(status("i1", "INTERRUPTED", "H2", 1_000_000_000_002)) == ["Spiel unterbrochen."]
    assert says(status("i2", "LIVE", "H2", 1_000_000_000_003)) == ["Das Spiel läuft wieder."]
    assert says(status("pp", "PENALTIES", "PENS", 1_000_000_000_004)) == [
        "Elfmeterschießen. Rovers 1, United 0."
    ]
    assert says(played.post(kick(1, "home", scored=True))) == [
        "Verwandelt, Jones, Rovers. Elfmeterschießen 1–0."
    ]
    assert says(played.post(kick(2, "away", scored=False))) == [
        "Verschossen, Jones, United. Elfmeterschießen 1–0."
    ]
    assert says(status("ft", "FT_PENS", "POST", 1_000_000_000_005)) == [
        "Abpfiff. Rovers 1, United 0. Elfmeterschießen 1–0."
    ]


@pytest.mark.parametrize("tier", [1, 2])
def test_title_heading_and_structured_data_follow_the_score(
    context: BrowserContext, server: OriginServer, tier: int
) -> None:
    played = Played(server)
    page = context.new_page()
    if tier == 1:
        without_runtime(page)
    page.goto(played.address())
    at_tier(page, tier)
    ruled_out: JsonObject = {"rev": 2, "op": "RETRACT", "reason": "VAR: offside"}
    changes: tuple[tuple[Callable[[], str], str, str], ...] = (
        (lambda: played.goal("g1", 10), "Rovers 1–0 United · 10'", "Rovers 1–0 United, 10 minutes"),
        (lambda: played.goal("g2", 11), "Rovers 2–0 United · 11'", "Rovers 2–0 United, 11 minutes"),
        (lambda: played.post(("g2", ruled_out)), "Rovers 1–0 United · 10'", "Rovers 1–0 United, 10 minutes"),
    )
    for change, title, description in changes:
        id_ = change()
        expect(page.locator(f"live-score article[data-id='{id_}']")).to_be_attached(timeout=20_000)
        expect(page).to_have_title(f"{title} · Touchline")
        expect(page.locator("h1")).to_have_text(title)
        text = page.evaluate("document.querySelector('script[type=\"application/ld+json\"]').textContent")
        data = json.loads(text)
        assert data["description"] == description
        assert (data["@type"], data["homeTeam"]["name"]) == ("SportsEvent", "Rovers")
    over: JsonObject = {"type": "STATUS_CHANGE", "period": "H2", "detail": {"to": "POSTPONED"}}
    played.post(("s", {**over, "source_ts": 1_000_000_000_000}))
    wait_until_true(
        page,
        "JSON.parse(document.querySelector('script[type=\"application/ld+json\"]').textContent).eventStatus"
        " === 'https://schema.org/EventPostponed'",
        20_000,
    )


def test_the_title_lets_the_minute_run(context: BrowserContext, server: OriginServer) -> None:
    played = Played(server)
    begun_ms = time.time_ns() // 1_000_000 - 12 * 60_000
    body: JsonObject = {
        "type": "STATUS_CHANGE",
        "period": "H1",
        "detail": {"to": "LIVE"},
        "source_ts": begun_ms,
    }
    played.post(("ko", {**body, "rev": 2, "op": "AMEND"}))
    page = context.new_page()
    without_runtime(page)
    page.goto(played.address("ja"))
    expect(page).to_have_title("Rovers 0–0 United · 13分 · Touchline")
    played.goal("g1", 11)
    expect(page).to_have_title("Rovers 1–0 United · 13分 · Touchline")
    expect(page.locator(".tl-chip")).to_have_text("13分")


def test_the_icon_shows_what_happened_while_nobody_looked(
    context: BrowserContext, server: OriginServer
) -> None:
    played = Played(server)
    page = context.new_page()
    without_runtime(page)
    page.goto(played.address())
    at_tier(page, 1)
    icon = "document.querySelector('link[rel=icon]').href"
    hide = (
        "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        "document.dispatchEvent(new Event('visibilitychange')); }"
    )
    page.evaluate(hide, True)
    id_ = played.goal("g1", 10)
    expect(page.locator(f"live-score article[data-id='{id_}']")).to_be_attached(timeout=20_000)
    wait_until_true(page, f"{icon}.includes('icon-news')", 5_000)
    page.evaluate(hide, False)
    wait_until_true(page, f"!{icon}.includes('icon-news')", 5_000)


def test_nothing_that_was_there_before_is_announced(context: BrowserContext, server: OriginServer) -> None:
    """A page out of a cache, a quarter of an hour old, that polls: the goal since is shown, not spoken."""
    played = Played(server)
    page = context.new_page()
    without_runtime(page)
    fresh = page.request.get(played.address()).text()
    as_of = fresh.partition('data-as-of="')[2].partition('"')[0]
    old = fresh.replace(f'data-as-of="{as_of}"', f'data-as-of="{int(as_of) - 900_000}"')
    id_ = played.goal("g1", 10)
    page.route(played.address(), lambda route: route.fulfill(body=old, content_type="text/html"))
    page.route(re.compile("/stream[/?]"), lambda route: route.abort())
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => { window.said = []; document.addEventListener("
        "'live-score:change', ({ detail }) => said.push(detail.announce)); })"
    )
    page.goto(played.address())
    expect(page.locator(f"live-score article[data-id='{id_}']")).to_be_attached(timeout=30_000)
    assert [text for text in page.evaluate("said") if text] == []
    later = played.goal("g2", 11)
    expect(page.locator(f"live-score article[data-id='{later}']")).to_be_attached(timeout=30_000)
    assert [text for text in page.evaluate("said") if text] == ["Goal! Rovers 2, United 0. Smith, 11'."]


def test_a_list_stays_in_its_language_when_rows_come_by_the_stream(
    context: BrowserContext, server: OriginServer
) -> None:
    played = Played(server)
    page = context.new_page()
    without_runtime(page)
    page.goto(f"{server.url}/?lang=de")
    row = page.locator(f"li[data-match='{played.id}']")
    expect(row).to_contain_text("1'")
    expect(page.locator("live-scores[data-connection='open']")).to_be_attached(timeout=20_000)
    over: JsonObject = {"type": "STATUS_CHANGE", "period": "HT", "detail": {"to": "HALF_TIME"}}
    played.post(("ht", {**over, "source_ts": 1_000_000_000_000}))
    expect(row.locator(".match-status")).to_have_text(LANGUAGES["de"].text("chip.HALF_TIME"), timeout=10_000)
    expect(row.locator("a")).to_have_attribute("href", f"/match/{played.id}?lang=de")
    assert "Halftime" not in (row.text_content() or "")
