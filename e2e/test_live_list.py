"""The list of matches as a page and as ``<live-scores>`` on somebody else's page: live by one stream."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import count

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from shared_state.jsontext import Json, JsonObject
from testkit.browser import wait_until_true
from testkit.services.origin import OriginServer

NUMBERS = count(1)
DAY = "2026-11-27"
KICKOFF_MS = 1_795_806_000_000  # 19:00 UTC on that day

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(service_workers="block")
    context.add_init_script("delete globalThis.Worker")
    yield context
    context.close()


def post(server: OriginServer, match_id: str, event_id: str, **event: Json) -> None:
    body: JsonObject = {"match_id": match_id, "event_id": event_id, "rev": 1, "op": "ADD", **event}
    assert server.post(body) == 200


def announce(server: OriginServer, competition: str) -> str:
    """A match that is to come; its name."""
    match_id = f"listed-{next(NUMBERS)}"
    sides: JsonObject = {
        "home": {"name": f"Home {match_id}", "code": "HOM"},
        "away": {"name": f"Away {match_id}", "code": "AWA"},
        "competition": competition,
        "kickoff_ms": KICKOFF_MS,
    }
    post(server, match_id, "info", type="MATCH_INFO", detail=sides)
    return match_id


def kick_off(server: OriginServer, match_id: str) -> None:
    now_ms = time.time_ns() // 1_000_000
    post(server, match_id, "ko", type="STATUS_CHANGE", period="H1", detail={"to": "LIVE"}, source_ts=now_ms)


def goal(server: OriginServer, match_id: str, event_id: str) -> None:
    post(server, match_id, event_id, type="GOAL", period="H1", minute=3, team="home")


def begin(server: OriginServer, competition: str) -> str:
    match_id = announce(server, competition)
    kick_off(server, match_id)
    server.wait_for_seq(match_id, 2)
    return match_id


def row(page: Page, match_id: str) -> Locator:
    return page.locator(f"li[data-match='{match_id}']")


def score(page: Page, match_id: str) -> Locator:
    return row(page, match_id).locator(".match-side b")


def is_open(page: Page) -> None:
    expect(page.locator("live-scores[data-connection='open']")).to_have_count(1, timeout=15_000)


def watch(page: Page) -> list[str]:
    """The paths that a page asks for, as they come."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.split("/", 3)[3]))
    return asked


def streams(asked: list[str]) -> list[str]:
    return [path for path in asked if path.startswith("stream")]


@contextmanager
def gazette(server: OriginServer, body: str) -> Iterator[str]:
    """A page of another site with the widget in it; its address."""
    script = f"<script type=module src={server.url}/widget/live-score.js></script>"

    class Gazette(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<!doctype html>{script}{body}".encode())

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


def test_a_goal_and_its_retraction_replace_the_row(context: BrowserContext, server: OriginServer) -> None:
    match_id = begin(server, "Goals")
    page = context.new_page()
    page.goto(f"{server.url}/?competition=Goals")
    is_open(page)
    asked = watch(page)
    page.evaluate(f"document.querySelector(\"li[data-match='{match_id}'] a\").focus()")
    goal(server, match_id, "g1")
    expect(score(page, match_id)).to_have_text(["1", "0"])
    goal(server, match_id, "g2")
    expect(score(page, match_id)).to_have_text(["2", "0"])
    assert (
        server.post({"match_id": match_id, "event_id": "g2", "rev": 2, "op": "RETRACT", "reason": "VAR"})
        == 200
    )
    expect(score(page, match_id)).to_have_text(["1", "0"])
    # In place: the reader's focus stays, and nothing is fetched.
    focused = f"document.activeElement.closest('li')?.dataset.match === '{match_id}'"
    wait_until_true(page, focused, 1_000)
    assert asked == []
    assert page.locator("[role=status], [aria-live]").count() == 0


def test_matches_that_appear_and_kick_off_come_to_their_places(
    context: BrowserContext, server: OriginServer
) -> None:
    first, coming = begin(server, "Places"), announce(server, "Places")
    page = context.new_page()
    page.goto(f"{server.url}/?competition=Places")
    is_open(page)
    # One day, one competition; what runs is first.
    expect(page.locator("live-scores h3")).to_have_text(["Places"])
    assert page.locator("live-scores li").evaluate_all("rows => rows.map((row) => row.dataset.match)") == [
        first,
        coming,
    ]
    kick_off(server, coming)
    expect(row(page, coming).locator("[data-phase=live]")).to_have_count(1, timeout=15_000)
    new = begin(server, "Places")
    expect(row(page, new)).to_have_count(1, timeout=15_000)
    goal(server, new, "g1")
    expect(score(page, new)).to_have_text(["1", "0"])
    expect(row(page, first)).to_have_count(1)
    is_open(page)


def test_a_list_of_a_day_and_a_competition_ignores_other_matches(
    context: BrowserContext, server: OriginServer
) -> None:
    match_id = begin(server, "Narrow")
    page = context.new_page()
    page.goto(f"{server.url}/?day={DAY}&competition=Narrow")
    is_open(page)
    asked = watch(page)
    other = begin(server, "Elsewhere")
    goal(server, other, "g1")
    goal(server, match_id, "g1")
    expect(score(page, match_id)).to_have_text(["1", "0"])
    assert asked == []
    expect(row(page, other)).to_have_count(0)


def test_changes_of_many_matches_are_fetched_together(context: BrowserContext, server: OriginServer) -> None:
    begin(server, "Burst")
    page = context.new_page()
    page.goto(f"{server.url}/?competition=Burst")
    is_open(page)
    asked = watch(page)
    new = [begin(server, "Burst") for _ in range(20)]
    for match_id in new:
        expect(row(page, match_id)).to_have_count(1, timeout=15_000)
    assert 1 <= len(asked) <= 8, asked


def test_offline_has_its_age_and_catches_up(context: BrowserContext, server: OriginServer) -> None:
    match_id = begin(server, "Offline")
    page = context.new_page()
    page.goto(f"{server.url}/?competition=Offline")
    is_open(page)
    context.set_offline(True)
    expect(page.locator("live-scores[data-connection='offline']")).to_have_count(1, timeout=15_000)
    expect(page.locator("live-scores .tl-age")).to_contain_text("Not connected. As of", timeout=15_000)
    goal(server, match_id, "g1")
    new = begin(server, "Offline")
    expect(score(page, match_id)).to_have_text(["0", "0"])
    context.set_offline(False)
    expect(score(page, match_id)).to_have_text(["1", "0"], timeout=15_000)
    expect(row(page, new)).to_have_count(1, timeout=15_000)
    is_open(page)
    expect(page.locator("live-scores .tl-age")).to_have_text("")


def test_without_a_stream_the_list_is_polled(context: BrowserContext, server: OriginServer) -> None:
    match_id = begin(server, "Polled")
    page = context.new_page()
    page.route("**/stream*", lambda route: route.fulfill(status=502, body="no"))
    page.goto(f"{server.url}/?competition=Polled")
    expect(page.locator("live-scores[data-connection='polling']")).to_have_count(1, timeout=20_000)
    goal(server, match_id, "g1")
    expect(score(page, match_id)).to_have_text(["1", "0"], timeout=20_000)
    page.unroute("**/stream*")
    expect(page.locator("live-scores[data-connection='open']")).to_have_count(1, timeout=60_000)


def test_a_list_and_a_match_on_another_site_share_a_stream(
    context: BrowserContext, server: OriginServer
) -> None:
    match_id, other = begin(server, "Abroad"), begin(server, "Abroad")
    elements = (
        f"<live-scores competition=Abroad>Scores</live-scores><live-score match={match_id}></live-score>"
        "<live-scores day=2001-01-01>No match today</live-scores>"
    )
    with gazette(server, elements) as address:
        page = context.new_page()
        asked = watch(page)
        page.goto(address)
        is_open(page)
        expect(page.locator("live-score[data-connection='open']")).to_have_count(1, timeout=15_000)
        asked.clear()
        goal(server, match_id, "g1")
        goal(server, other, "g1")
        expect(score(page, match_id)).to_have_text(["1", "0"])
        expect(score(page, other)).to_have_text(["1", "0"])
        expect(page.locator(".tl-goals")).to_have_text("1–0")
        assert streams(asked) == []
        link = row(page, match_id).locator("a").get_attribute("href")
        assert link == f"{server.url}/match/{match_id}"
        expect(page.get_by_text("No match today")).to_be_visible()


def test_a_day_without_a_match_is_said_in_the_language_of_the_page(
    context: BrowserContext, server: OriginServer
) -> None:
    elements = (
        "<live-scores competition=Nowhere></live-scores><live-scores lang=de day=2001-01-01></live-scores>"
    )
    with gazette(server, elements) as address:
        page = context.new_page()
        page.goto(address)
        english, german = page.locator("live-scores").all()
        expect(english.locator(".tl-unknown")).to_have_text("No matches yet.", timeout=20_000)
        expect(german.locator("article[lang=de] .tl-unknown")).to_have_text(
            "Noch keine Spiele.", timeout=20_000
        )
        begin(server, "Nowhere")
        # As if it had been asked for again, which takes half a minute.
        english.evaluate("(element) => element.setAttribute('page', '1')")
        expect(english.locator("li[data-match]")).to_have_count(1, timeout=20_000)
        expect(english.locator(".tl-unknown")).to_have_count(0)


def test_tabs_with_different_lists_share_a_stream(context: BrowserContext, server: OriginServer) -> None:
    one, two = begin(server, "Tab one"), begin(server, "Tab two")
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url.split("/", 3)[3]))
    pages = [context.new_page() for _ in range(8)]
    for number, page in enumerate(pages):
        page.goto(f"{server.url}/?competition=Tab%20{'two' if number % 2 else 'one'}")
        is_open(page)
    asked.clear()
    goal(server, one, "g1")
    goal(server, two, "g1")
    for number, page in enumerate(pages):
        expect(score(page, two if number % 2 else one)).to_have_text(["1", "0"], timeout=15_000)
    assert streams(asked) == []
    pages[0].close()  # the leader
    goal(server, one, "g2")
    goal(server, two, "g2")
    for number, page in enumerate(pages[1:], 1):
        expect(score(page, two if number % 2 else one)).to_have_text(["2", "0"], timeout=20_000)


def test_without_javascript_the_list_is_the_server_s(browser: Browser, server: OriginServer) -> None:
    match_id = begin(server, "Plain")
    goal(server, match_id, "g1")
    server.wait_for_seq(match_id, 3)
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(f"{server.url}/?competition=Plain")
        expect(score(page, match_id)).to_have_text(["1", "0"])
        expect(page.locator("noscript")).to_have_count(1)
    finally:
        context.close()


def fixture(server: OriginServer, competition: str, kickoff_ms: int, *, status: str = "") -> str:
    match_id = f"listed-{next(NUMBERS)}"
    teams: JsonObject = {
        "home": {"name": f"Home {match_id}"},
        "away": {"name": f"Away {match_id}"},
        "competition": competition,
        "kickoff_ms": kickoff_ms,
    }
    post(server, match_id, "info", type="MATCH_INFO", detail=teams)
    if status:
        kick_off(server, match_id)
    server.wait_for_seq(match_id, 2 if status else 1)
    return match_id


@pytest.mark.parametrize(
    ("zone", "hours"), [("UTC", 0), ("Asia/Tokyo", 9), ("America/Los_Angeles", -8), ("Asia/Kathmandu", 5.75)]
)
def test_each_match_is_below_its_day_in_the_reader_s_zone(
    browser: Browser, server: OriginServer, zone: str, hours: float
) -> None:
    competition = f"Zone {zone}"
    today_ms = int(time.time() // 86_400) * 86_400_000
    kickoffs = [today_ms + hour * 3_600_000 for hour in (30, 34, 40, 46, 52)]
    for kickoff_ms in kickoffs:
        fixture(server, competition, kickoff_ms)
    context = browser.new_context(service_workers="block", timezone_id=zone, locale="en-GB")
    context.add_init_script("delete globalThis.Worker")
    page = context.new_page()
    page.goto(f"{server.url}/?competition={competition.replace('/', '%2F').replace(' ', '%20')}")
    is_open(page)
    local = [time.gmtime(kickoff_ms / 1_000 + hours * 3_600) for kickoff_ms in kickoffs]
    now = time.gmtime(time.time() + hours * 3_600)
    days = sorted({time.strftime("%Y-%m-%d", at) for at in local})
    headings = page.locator("live-scores h2 time")
    expect(headings).to_have_count(len(days))
    assert headings.evaluate_all("all => all.map((one) => one.dateTime)") == days
    shown = page.locator("live-scores li time").all_inner_texts()
    assert [text.split()[-1] for text in shown] == [time.strftime("%H:%M", at) for at in local]
    for text, at in zip(shown, local, strict=True):
        away = (date(*at[:3]) - date(*now[:3])).days
        word = {0: "Today", 1: "Tomorrow"}.get(away, time.strftime("%a", at))
        assert text.startswith(word), (text, word)
    # What comes by the stream is written alike.
    match_id = page.locator("live-scores li").last.get_attribute("data-match")
    assert match_id is not None
    kick_off(server, match_id)
    expect(row(page, match_id).locator("[data-phase=live]")).to_have_count(1, timeout=15_000)
    context.close()


def test_a_kick_off_that_is_past_says_so_without_a_delta(
    context: BrowserContext, server: OriginServer
) -> None:
    match_id = fixture(server, "Overdue", time.time_ns() // 1_000_000 + 6_000)
    page = context.new_page()
    page.goto(f"{server.url}/?competition=Overdue")
    is_open(page)
    expect(row(page, match_id).locator("time")).to_have_text(re.compile("^(Today|Tomorrow) "))
    expect(row(page, match_id).locator(".match-due")).to_be_hidden()
    expect(row(page, match_id).locator(".match-due")).to_be_visible(timeout=15_000)
    expect(row(page, match_id).locator(".match-silent")).to_be_hidden()


def test_the_dot_of_a_running_minute_goes_with_the_connection(
    context: BrowserContext, server: OriginServer
) -> None:
    match_id = fixture(server, "Dot", time.time_ns() // 1_000_000, status="LIVE")
    page = context.new_page()
    page.goto(f"{server.url}/?competition=Dot")
    is_open(page)
    chip = f"document.querySelector(\"li[data-match='{match_id}'] .match-status\")"
    dot = f"getComputedStyle({chip}, '::before').display"
    assert page.evaluate(dot) != "none"
    context.set_offline(True)
    wait_until_true(page, f"{dot} === 'none'", 15_000)
    context.set_offline(False)
    wait_until_true(page, f"{dot} !== 'none'", 20_000)


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_a_list_of_long_names_moves_nothing_and_fits(
    context: BrowserContext, server: OriginServer, width: int
) -> None:
    competition = f"Wide {width}"
    for number in range(6):
        match_id = fixture(server, competition, KICKOFF_MS + number, status="LIVE" if number % 2 else "")
        long: JsonObject = {
            "home": {"name": "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogoch"},
            "away": {"name": "Borussia Mönchengladbach 1900 " * 3},
            "competition": competition,
            "kickoff_ms": KICKOFF_MS + number,
        }
        assert (
            server.post(
                {
                    "match_id": match_id,
                    "event_id": "info",
                    "rev": 2,
                    "op": "AMEND",
                    "type": "MATCH_INFO",
                    "detail": long,
                }
            )
            == 200
        )
    server.wait_for_seq(match_id, 3)
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 900})
    page.add_init_script(
        "window.moved = 0; new PerformanceObserver((list) => { for (const one of list.getEntries())"
        " window.moved += one.value; }).observe({ type: 'layout-shift', buffered: true });"
    )
    page.goto(f"{server.url}/?competition={competition.replace(' ', '%20')}")
    is_open(page)
    page.wait_for_timeout(1_500)
    assert page.evaluate("window.moved") <= 0.02
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_text_of_200_percent_breaks_no_ordinary_name(context: BrowserContext, server: OriginServer) -> None:
    match_id = fixture(server, "Large", KICKOFF_MS, status="LIVE")
    info: JsonObject = {"home": {"name": "Wolverhampton Wanderers"}, "away": {"name": "Liverpool"}}
    detail: JsonObject = {**info, "competition": "Large", "kickoff_ms": KICKOFF_MS}
    amended: JsonObject = {"match_id": match_id, "event_id": "info", "rev": 2, "op": "AMEND"}
    assert server.post({**amended, "type": "MATCH_INFO", "detail": detail}) == 200
    server.wait_for_seq(match_id, 3)
    page = context.new_page()
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(f"{server.url}/?competition=Large")
    is_open(page)
    page.evaluate(
        """() => {
          const sheet = new CSSStyleSheet();
          sheet.replaceSync("live-scores { font-size: 32px !important }");
          document.adoptedStyleSheets = [sheet];
        }"""
    )
    name = row(page, match_id).locator(".match-away bdi")
    height = "one => one.getBoundingClientRect().height / parseFloat(getComputedStyle(one).lineHeight)"
    assert name.evaluate(height) < 1.5  # "Liverpool" stands on one line
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_no_word_of_an_ordinary_name_is_broken_at_320_px(
    context: BrowserContext, server: OriginServer
) -> None:
    match_id = fixture(server, "Narrow", KICKOFF_MS, status="LIVE")
    sides: JsonObject = {"home": {"name": "Wolverhampton"}, "away": {"name": "Mönchengladbach"}}
    detail: JsonObject = {**sides, "competition": "Narrow", "kickoff_ms": KICKOFF_MS}
    amended: JsonObject = {"match_id": match_id, "event_id": "info", "rev": 2, "op": "AMEND"}
    assert server.post({**amended, "type": "MATCH_INFO", "detail": detail}) == 200
    server.wait_for_seq(match_id, 3)
    page = context.new_page()
    page.set_viewport_size({"width": 320, "height": 900})
    page.goto(f"{server.url}/?competition=Narrow&lang=de")
    is_open(page)
    expect(row(page, match_id).locator(".match-side bdi")).to_have_count(2)
    height = "one => one.getBoundingClientRect().height / parseFloat(getComputedStyle(one).lineHeight)"
    for name in row(page, match_id).locator(".match-side bdi").all():
        assert name.evaluate(height) < 1.5


def test_only_a_page_with_a_list_asks_for_the_module_of_lists(
    context: BrowserContext, server: OriginServer
) -> None:
    match_id = fixture(server, "Lazy", KICKOFF_MS, status="LIVE")
    with gazette(server, f"<live-score match={match_id}></live-score>") as address:
        page = context.new_page()
        asked = watch(page)
        page.goto(address)
        expect(page.locator("live-score[data-connection='open']")).to_have_count(1, timeout=15_000)
        assert not [path for path in asked if "live-list-" in path]
        page.evaluate("document.body.append(document.createElement('live-scores'))")
        is_open(page)
        assert len([path for path in asked if "live-list-" in path]) == 1


def test_a_module_that_did_not_come_is_asked_for_again(context: BrowserContext, server: OriginServer) -> None:
    match_id = fixture(server, "Retried", KICKOFF_MS, status="LIVE")
    page = context.new_page()
    failed: list[str] = []

    def fail_once(route: Route) -> None:
        if failed:
            route.continue_()
        else:
            failed.append(route.request.url)
            route.abort()

    page.route("**/widget/live-list-*", fail_once)
    page.goto(f"{server.url}/?competition=Retried")
    expect(row(page, match_id)).to_have_count(1)  # what the server rendered stays
    is_open(page)
    assert failed


@pytest.mark.parametrize("width", [320, 390])
def test_no_name_is_broken_within_a_word(context: BrowserContext, server: OriginServer, width: int) -> None:
    """A word that is wider than its line is shortened; the names wrap between words."""
    match_id = f"listed-{next(NUMBERS)}"
    names = (
        "Borussia Verein für Leibesübungen Mönchengladbach",
        "Llanfairpwllgwyngyllgogerychwyrndrobwll FC",
    )
    home, away = ({"name": name, "code": name[:3].upper()} for name in names)
    detail: JsonObject = {"home": home, "away": away, "competition": "Words", "kickoff_ms": KICKOFF_MS}
    post(server, match_id, "info", type="MATCH_INFO", detail=detail)
    server.wait_for_seq(match_id, 1)
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{server.url}/?competition=Words")
    sides = row(page, match_id).locator(".match-side bdi")
    expect(sides).to_have_text(names)
    lines_of_words = """(bdi) => {
      const text = bdi.firstChild;
      return [...text.data.matchAll(/\\S+/g)].map((word) => {
        const range = document.createRange();
        range.setStart(text, word.index);
        range.setEnd(text, word.index + word[0].length);
        return new Set([...range.getClientRects()].map(({ top }) => top)).size;
      });
    }"""
    assert [sides.nth(n).evaluate(lines_of_words) for n in (0, 1)] == [[1] * 5, [1] * 2]
    assert page.evaluate("document.documentElement.scrollWidth") == width
