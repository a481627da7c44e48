"""One stream a page and one a browser: many matches, many tabs, HTTP/1.1, and a leader that is gone."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from itertools import count

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from shared_state.jsontext import Json, JsonObject
from testkit.browser import launch
from testkit.services.origin import OriginServer

NUMBERS = count(1)

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        yield server


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


def test_thirty_matches_on_somebody_elses_page(context: BrowserContext, server: OriginServer) -> None:
    matches = [begin(server) for _ in range(30)]
    elements = "".join(f"<live-score match={match}>{match}</live-score>" for match in matches)
    script = f"<script type=module src={server.url}/widget/live-score.js></script>"

    class Gazette(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<!doctype html>{script}{elements}".encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by its base
            """Nothing: the test's output is for the test."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gazette) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            page = context.new_page()
            streams: list[str] = []
            page.on("request", lambda request: note(request, streams))
            page.goto(f"http://localhost:{web.server_port}/")
            live(page, 30)
            for match in matches:
                goal(server, match, "g1")
            shows(page, "1–0", 30)
            assert len(streams) == 1
            page.evaluate("document.querySelector('live-score').remove()")
            goal(server, matches[-1], "g2")
            shows(page, "2–0")
            live(page, 29)
        finally:
            web.shutdown()
            thread.join()


def test_eight_tabs_are_live_by_one_stream(context: BrowserContext, server: OriginServer) -> None:
    match = begin(server)
    streams: list[str] = []
    context.on("request", lambda request: note(request, streams))
    pages = [context.new_page() for _ in range(8)]
    for page in pages:
        page.goto(f"{server.url}/match/{match}")
        live(page)
    goal(server, match, "g1")
    for page in pages:
        shows(page, "1–0")
    assert len(streams) == 1


@pytest.mark.parametrize("how", ["closed", "frozen"])
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
    else:
        session = context.new_cdp_session(leader)
        session.send("Page.setWebLifecycleState", {"state": "frozen"})
    goal(server, match, "g1")
    goal(server, other, "g1")
    shows(page, "1–0")
    shows(third, "1–0")
    live(page)
    live(third)
