"""One stream a page and one a browser: many matches, many tabs, HTTP/1.1, and a leader that is gone."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from shared_state.jsontext import Json, JsonObject
from testkit.services.origin import OriginServer

NUMBERS = count(1)

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(service_workers="block")
    context.add_init_script("delete globalThis.Worker")
    yield context
    context.close()


def begin(server: OriginServer) -> str:
    match_id = f"shared-{next(NUMBERS)}"
    post(server, match_id, "ko", type="STATUS_CHANGE", minute=0, detail={"to": "LIVE"})
    server.wait_for_seq(match_id, 1)
    return match_id


def post(server: OriginServer, match_id: str, event_id: str, **event: Json) -> None:
    body: JsonObject = {
        "match_id": match_id,
        "event_id": event_id,
        "rev": 1,
        "op": "ADD",
        "period": "H1",
        **event,
    }
    assert server.post(body) == 200


def goal(server: OriginServer, match_id: str, event_id: str) -> None:
    post(server, match_id, event_id, type="GOAL", minute=3, team="home")


def note(request: Request, streams: list[str]) -> None:
    if "/stream" in request.url:
        streams.append(request.url)


def live(page: Page, number: int = 1) -> None:
    expect(page.locator("live-score[data-connection='open']")).to_have_count(number, timeout=15_000)


def shows(page: Page, goals: str, number: int = 1) -> None:
    expect(page.locator(".tl-goals").get_by_text(goals)).to_have_count(number, timeout=30_000)


@contextlib.contextmanager
def gazette(server: OriginServer, matches: Sequence[str]) -> Iterator[str]:
    """Somebody else's page with these matches, over HTTP/1.1; its URL. ``?alone`` forbids it the origin."""
    elements = "".join(f"<live-score match={match}>{match}</live-score>" for match in matches)
    script = f"<script type=module src={server.url}/widget/live-score.js></script>"

    class Gazette(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            if self.path.endswith("?alone"):
                self.send_header("Content-Security-Policy", "connect-src 'none'")
            self.end_headers()
            self.wfile.write(f"<!doctype html>{script}{elements}".encode())

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


def test_thirty_matches_on_somebody_elses_page(context: BrowserContext, server: OriginServer) -> None:
    matches = [begin(server) for _ in range(30)]
    with gazette(server, matches) as url:
        page = context.new_page()
        streams: list[str] = []
        page.on("request", lambda request: note(request, streams))
        began_s = time.monotonic()
        page.goto(url)
        live(page, 30)
        print(f"thirty matches are live after {time.monotonic() - began_s:.2f} s")
        for match in matches:
            goal(server, match, "g1")
        shows(page, "1–0", 30)
        assert len(streams) == 1
        page.evaluate("document.querySelector('live-score').remove()")
        goal(server, matches[-1], "g2")
        shows(page, "2–0")
        live(page, 29)


def test_more_matches_than_one_address_holds_are_all_live(
    context: BrowserContext, server: OriginServer
) -> None:
    """Two hundred of the longest ids over HTTP/1.1: several streams, and connections for their boards."""
    matches = [f"long-{next(NUMBERS)}".ljust(64, "x") for _ in range(200)]
    event: JsonObject = {"event_id": "ko", "rev": 1, "op": "ADD", "period": "H1", "minute": 0}
    begin = [
        {"match_id": match, **event, "type": "STATUS_CHANGE", "detail": {"to": "LIVE"}} for match in matches
    ]
    assert server.post(*begin) == 200
    for match in matches:
        server.wait_for_seq(match, 1)
    with gazette(server, matches) as url:
        page = context.new_page()
        streams: list[str] = []
        page.on("request", lambda request: note(request, streams))
        page.goto(url)
        live(page, 200)
        assert len(streams) <= 4
        assert all(len(stream) < 6_200 for stream in streams)
        for match in (matches[0], matches[100], matches[-1]):
            goal(server, match, "g1")
        shows(page, "1–0", 3)


def test_eight_tabs_are_live_by_one_stream(context: BrowserContext, server: OriginServer) -> None:
    match = begin(server)
    streams: list[str] = []
    context.on("request", lambda request: note(request, streams))
    pages = [context.new_page() for _ in range(8)]
    for page in pages:
        began_s = time.monotonic()
        page.goto(f"{server.url}/match/{match}")
        live(page)
        print(f"a tab is live after {time.monotonic() - began_s:.2f} s")
    goal(server, match, "g1")
    for page in pages:
        shows(page, "1–0")
    assert len(streams) == 1


def test_a_tab_that_may_not_connect_does_not_keep_the_others(
    context: BrowserContext, server: OriginServer
) -> None:
    """The first tab of a site leads, and that page's policy forbids it every connection."""
    match = begin(server)
    with gazette(server, [match]) as url:
        alone, page = context.new_page(), context.new_page()
        alone.goto(f"{url}?alone")
        expect(alone.locator("live-score[data-connection='waiting']")).to_have_count(1, timeout=15_000)
        page.goto(url)
        expect(page.locator("live-score[data-connection='open']")).to_have_count(1, timeout=40_000)
        goal(server, match, "g1")
        shows(page, "1–0")


@pytest.mark.parametrize("how", ["closed", "frozen", "hung"])
def test_another_tab_leads_when_the_leader_is_gone(
    context: BrowserContext, server: OriginServer, how: str
) -> None:
    match, other = begin(server), begin(server)
    leader, page, third = context.new_page(), context.new_page(), context.new_page()
    leader.goto(f"{server.url}/match/{match}")
    live(leader)
    page.goto(f"{server.url}/match/{match}")
    third.goto(f"{server.url}/match/{other}")
    live(page)
    live(third)
    if how == "closed":
        leader.close()
    elif how == "frozen":
        session = context.new_cdp_session(leader)
        session.send("Page.setWebLifecycleState", {"state": "frozen"})
    else:  # a script of its page runs, and nothing else does
        leader.evaluate(
            "setTimeout(() => { const until = Date.now() + 25_000; while (Date.now() < until); })"
        )
    goal(server, match, "g1")
    goal(server, other, "g1")
    shows(page, "1–0")
    shows(third, "1–0")
    live(page)
    live(third)
    if how == "hung":  # it comes back with all that its connection has got meanwhile
        expect(leader.locator(".tl-goals").get_by_text("1–0")).to_have_count(1, timeout=60_000)
        live(leader)
        live(page)
        live(third)
