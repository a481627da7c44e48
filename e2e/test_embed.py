"""Embedding: the dialog on a match's page, its snippets, and a frame that has the height of its match."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from shared_state.jsontext import JsonObject
from testkit.browser import wait_until_true
from testkit.services.origin import OriginServer

MATCH = "embedded"

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        teams: JsonObject = {"home": {"name": 'Home "A"'}, "away": {"name": "Away"}}
        info: JsonObject = {"type": "MATCH_INFO", "period": "PRE", "detail": teams}
        goal: JsonObject = {"type": "GOAL", "period": "H1", "minute": 3, "team": "home", "player": "P"}
        bodies = [
            {"match_id": MATCH, "event_id": f"e{n}", "rev": 1, "op": "ADD", **body}
            for n, body in enumerate((info, goal))
        ]
        assert server.post(*bodies) == 200
        server.wait_for_seq(MATCH, 2)
        yield server


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(service_workers="block", viewport={"width": 1280, "height": 900})
    context.add_init_script("delete globalThis.Worker")
    yield context
    context.close()


@contextmanager
def gazette(body: str) -> Iterator[str]:
    """A page of another site; its address."""

    class Gazette(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<!doctype html><body>{body}".encode())

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


def opened(context: BrowserContext, server: OriginServer) -> Page:
    page = context.new_page()
    page.goto(f"{server.url}/match/{MATCH}")
    # By keyboard alone.
    page.locator(".embed-open").focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog.embed-dialog")).to_be_visible()
    return page


def snippet(page: Page) -> str:
    return page.locator("dialog.embed-dialog code").inner_text()


def test_the_script_snippet_works_on_another_site(context: BrowserContext, server: OriginServer) -> None:
    page = opened(context, server)
    page.locator("select[name=theme]").select_option("dark")
    page.locator("select[name=size]").select_option("card")
    text = snippet(page)
    assert f'src="{server.url}/widget/live-score.js"' in text
    assert re.search(rf'<live-score match="{MATCH}" size="card" theme="dark"></live-score>', text)
    page.locator("input[name=pinned]").check()
    pinned = snippet(page)
    assert 'integrity="sha256-' in pinned
    assert "/widget/live-score.js" not in pinned
    for body in (text, pinned):
        with gazette(body) as address:
            other = context.new_page()
            other.goto(address)
            expect(other.locator("live-score .tl-goals")).to_have_text("1–0", timeout=20_000)
            assert other.locator("live-score").get_attribute("theme") == "dark"
            other.close()
    with gazette(pinned.replace("sha256-", "sha256-A")) as address:
        other = context.new_page()
        other.goto(address)
        other.wait_for_timeout(500)
        assert other.evaluate("customElements.get('live-score') === undefined")


def test_a_frame_has_the_height_of_its_match_and_takes_none_from_others(
    context: BrowserContext, server: OriginServer
) -> None:
    page = opened(context, server)
    page.locator("input[value=iframe]").check()
    text = snippet(page)
    assert f'src="{server.url}/embed/{MATCH}"' in text
    assert 'title="Home &#34;A&#34; 1–0 Away' in text
    lie = "parent.postMessage({type:'touchline:height',height:999},'*')"
    liar = f'<iframe id=liar srcdoc="<script>{lie}</script>"></iframe>'
    with gazette(text + liar) as address:
        other = context.new_page()
        other.goto(address)
        wait_until_true(other, "/^[0-9]+px$/.test(document.querySelector('iframe').style.height)", 20_000)
        told = other.evaluate("parseInt(document.querySelector('iframe').style.height)")
        inside = (
            other.frame_locator("iframe >> nth=0")
            .locator("main")
            .evaluate("main => Math.ceil(main.getBoundingClientRect().height)")
        )
        assert told == inside
        assert 100 < told < 900
        assert other.evaluate("document.getElementById('liar').style.height") == ""
        # What is no height of a score is none, whoever says it.
        other.frame_locator("iframe >> nth=0").locator("main").evaluate(
            """() => [9, 1e9, -5, "100", NaN, 100.5].forEach((height) =>
                 parent.postMessage({ type: "touchline:height", height }, "*"))"""
        )
        other.wait_for_timeout(300)
        assert other.evaluate("parseInt(document.querySelector('iframe').style.height)") == told


def test_the_preview_follows_the_choices_and_ends_with_the_dialog(
    context: BrowserContext, server: OriginServer
) -> None:
    page = opened(context, server)
    preview = page.frame_locator(".embed-preview iframe")
    expect(preview.locator("live-score .tl-goals")).to_have_text("1–0", timeout=20_000)
    page.locator("select[name=theme]").select_option("dark")
    page.locator("select[name=size]").select_option("ticker")
    expect(preview.locator("live-score[theme=dark][size=ticker]")).to_have_count(1, timeout=20_000)
    page.locator("select[name=lang]").select_option("de")
    expect(preview.locator("html[lang=de]")).to_have_count(1, timeout=20_000)
    page.locator("input[value=oembed]").check()
    assert snippet(page).startswith(f"{server.url}/oembed?url=http%3A%2F%2F127.0.0.1")
    page.keyboard.press("Escape")
    expect(page.locator("dialog.embed-dialog")).to_be_hidden()
    expect(page.locator(".embed-preview iframe")).not_to_have_attribute("src", re.compile(""))
    assert page.evaluate("document.activeElement.className") == "embed-open"


def test_what_is_copied_is_what_is_shown(context: BrowserContext, server: OriginServer) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    page = opened(context, server)
    page.locator(".embed-copy").click()
    expect(page.locator(".embed-copy")).to_have_text("Copied")
    expect(page.locator(".embed-dialog [role=status]")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == snippet(page)


def test_without_javascript_the_snippets_are_there(browser: Browser, server: OriginServer) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{server.url}/match/{MATCH}")
    expect(page.locator(".embed-open")).to_have_count(0)
    page.locator("details.embed summary").click()
    expect(page.locator("details.embed")).to_contain_text(f'<live-score match="{MATCH}">')
    expect(page.locator("details.embed")).to_contain_text('integrity="sha256-')
    expect(page.locator("details.embed")).to_contain_text("/oembed?url=")
    context.close()
