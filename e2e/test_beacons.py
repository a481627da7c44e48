"""How late a reader sees a goal: one number from a sampled page, without a cookie, and from no other page."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from shared_state.jsontext import JsonObject
from testkit.services.origin import OriginServer

MATCH = "measured"
PATIENCE_S = 30.0

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        assert server.post(goal("g0")) == 200
        server.wait_for_seq(MATCH, 1)
        yield server


def goal(event_id: str, **fields: object) -> JsonObject:
    event: JsonObject = {"match_id": MATCH, "event_id": event_id, "rev": 1, "op": "ADD", "type": "GOAL"}
    return {**event, "period": "H1", "minute": 3, "team": "home", **fields}


def page_that_draws(browser: Browser, drawn: float) -> Page:
    """A page whose ``Math.random`` always draws the same; it notes what is sent to ``/beacon``."""
    context: BrowserContext = browser.new_context(service_workers="block")
    context.add_init_script(f"Math.random = () => {drawn}")
    return context.new_page()


def beacons_of(page: Page) -> list[Request]:
    found: list[Request] = []

    def note(request: Request) -> None:
        if request.url.endswith("/beacon"):
            found.append(request)

    page.on("request", note)
    return found


def taken(server: OriginServer) -> dict[str, int]:
    """How many measurements the origin has of each kind."""
    metrics = server.get("/metrics")[1].decode()
    found = re.findall(
        r'^touchline_web_goal_screen_seconds_count\{kind="(\w+)"\} (\S+)', metrics, re.MULTILINE
    )
    return {kind: int(float(count)) for kind, count in found}


def wait_for(server: OriginServer, expected: dict[str, int]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while taken(server) != expected:
        assert time.monotonic() < until_s, taken(server)
        time.sleep(0.05)


def follow(server: OriginServer, page: Page) -> None:
    """A goal, and its retraction, before the reader's eyes."""
    page.wait_for_selector("live-score[data-connection=open]", timeout=PATIENCE_S * 1_000)
    assert server.post(goal("g1", player="Scorer")) == 200
    expect(page.locator("live-score")).to_contain_text("Scorer", timeout=PATIENCE_S * 1_000)
    assert server.post(goal("g1", op="RETRACT", reason="offside")) == 200
    expect(page.locator("live-score")).to_contain_text("offside", timeout=PATIENCE_S * 1_000)


@contextmanager
def gazette(body: str) -> Iterator[str]:
    """A page of another site; its address."""

    class Gazette(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<!doctype html><meta charset=utf-8><title>Gazette</title>{body}".encode())

        def log_message(self, *args: object) -> None:
            pass

    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gazette)
    thread = threading.Thread(target=site.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{site.server_port}/"
    finally:
        site.shutdown()
        site.server_close()


def test_a_sampled_page_of_ours_reports_a_goal_and_its_retraction_without_a_cookie(
    browser: Browser, server: OriginServer
) -> None:
    page = page_that_draws(browser, 0.0005)
    beacons = beacons_of(page)
    with page.expect_request(re.compile("goal-screen")):
        page.goto(f"{server.url}/match/{MATCH}")
    follow(server, page)
    wait_for(server, {"goal": 1, "retract": 1})
    until_s = time.monotonic() + PATIENCE_S
    while len(beacons) < 2 and time.monotonic() < until_s:
        page.wait_for_timeout(25)  # what the browser has sent is told to us a little later
    assert [re.sub(r"\d+", "MS", request.post_data or "") for request in beacons] == ["goal MS", "retract MS"]
    for request in beacons:
        assert "cookie" not in request.all_headers()
    page.context.close()


def test_a_page_that_is_not_drawn_loads_nothing_and_sends_nothing(
    browser: Browser, server: OriginServer
) -> None:
    page = page_that_draws(browser, 0.001)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server.url}/match/{MATCH}")
    follow(server, page)
    assert [url for url in asked if "goal-screen" in url or "beacon" in url] == []
    assert taken(server) == {}
    page.context.close()


@pytest.mark.parametrize("asks", [True, False], ids=["with measure.js", "with the loader alone"])
def test_a_publisher_s_page_reports_only_if_it_asks(
    browser: Browser, server: OriginServer, asks: bool
) -> None:
    script = '<script type="module" src="{}/widget/{}"></script>'
    body = script.format(server.url, "live-score.js") + f'<live-score match="{MATCH}"></live-score>'
    if asks:
        body = script.format(server.url, "measure.js") + body
    page = page_that_draws(browser, 0.0005)
    beacons = beacons_of(page)
    with gazette(body) as url:
        page.goto(url)
        follow(server, page)
        if asks:
            wait_for(server, {"goal": 1, "retract": 1})
            page.wait_for_timeout(25)
    assert bool(beacons) is asks
    page.context.close()


def test_what_a_reader_delays_on_purpose_is_not_reported(browser: Browser, server: OriginServer) -> None:
    script = '<script type="module" src="{}/widget/{}"></script>'
    body = script.format(server.url, "measure.js") + script.format(server.url, "live-score.js")
    page = page_that_draws(browser, 0.0005)
    beacons = beacons_of(page)
    with gazette(body + f'<live-score match="{MATCH}" delay="1"></live-score>') as url:
        page.goto(url)
        follow(server, page)
    assert beacons == []
    page.context.close()
