"""The Content-Security-Policy in a real Chromium: all tiers run under it, and what it is for is stopped."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from testkit.services.origin import OriginServer

MATCH = "2018-07-15-france-croatia"
FINAL = Path(__file__).parents[1] / "origin" / "demo" / "final-2018.jsonl"
EARLY, ALL = 6, 28
VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture(params=["demo", "plain"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OriginServer]:
    env = {"TOUCHLINE_DEMO": "1"} if request.param == "demo" else {}
    with OriginServer(tmp_path, env=env) as server:
        yield server


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.add_init_script(VIOLATIONS)
    yield context
    context.close()


def play(server: OriginServer, first: int, last: int) -> str:
    server.post_file(FINAL, first=first, last=last)
    state = server.wait_for_seq(MATCH, last)
    return f"{state['epoch']}-{state['seq']}"


def watched(context: BrowserContext) -> tuple[Page, list[str]]:
    """A page, and every error and warning that its console shows, its workers' included."""
    page = context.new_page()
    said: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # A frame shows no icon, so the embed names none; opened by itself, it has the browser ask for one.
        is_icon = message.location["url"].endswith("/favicon.ico")
        if message.type in ("error", "warning") and not is_icon:
            said.append(f"{message.text} {message.location['url']}")

    context.on("console", listen)
    page.on("pageerror", lambda error: said.append(str(error)))
    return page, said


def test_every_tier_runs_under_the_policy(context: BrowserContext, server: OriginServer) -> None:
    """Without 'unsafe-eval', blob: or anything inline; on the second visit with a service worker."""
    play(server, 0, EARLY)
    page, said = watched(context)
    answer = page.goto(f"{server.url}/match/{MATCH}")
    assert answer
    policy = answer.headers["content-security-policy"]
    assert "'wasm-unsafe-eval'" in policy
    assert "'unsafe-eval'" not in policy
    tier_2 = page.locator("live-score[data-tier='2']")
    expect(tier_2).to_be_attached(timeout=60_000)
    page.wait_for_function("navigator.serviceWorker.getRegistration().then((one) => Boolean(one?.active))")
    page.reload()
    expect(tier_2).to_be_attached(timeout=60_000)
    id_ = play(server, EARLY, ALL)
    expect(page.locator(f"live-score article[data-id='{id_}']")).to_be_attached(timeout=20_000)
    expect(page.locator("live-score .tl-goals")).to_have_text("4–2")
    page.goto(f"{server.url}/")
    expect(page.locator("a.match")).to_have_count(1)
    page.goto(f"{server.url}/embed/{MATCH}?theme=dark")
    expect(tier_2).to_be_attached(timeout=60_000)
    assert page.evaluate("window.violations") == []
    assert said == []


def test_a_script_that_got_into_a_page_does_not_run(context: BrowserContext, server: OriginServer) -> None:
    play(server, 0, EARLY)
    page, said = watched(context)
    page.goto(f"{server.url}/match/{MATCH}")
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.injected = true";
            document.body.append(script);
            const image = new Image();
            image.src = "http://127.0.0.1:9/stolen";
            document.body.append(image);
        }"""
    )
    page.wait_for_function("window.violations.length >= 2")
    assert page.evaluate("window.injected") is None
    assert [text for text in said if "Content Security Policy" in text]


def test_the_snippet_names_the_site_that_the_reader_sees(
    context: BrowserContext, browser: Browser, server: OriginServer
) -> None:
    play(server, 0, EARLY)
    page = context.new_page()
    page.goto(f"{server.url}/match/{MATCH}")
    frame, element = page.locator("details.embed code").all()
    expect(frame).to_contain_text(f'<iframe src="{server.url}/embed/{MATCH}"')
    expect(element).to_contain_text(f'src="{server.url}/widget/live-score.js"')
    expect(page.locator("[data-tl-site-note]")).to_have_count(0)
    plain = browser.new_context(java_script_enabled=False)
    page = plain.new_page()
    page.goto(f"{server.url}/match/{MATCH}")
    page.locator("details.embed summary").click()
    expect(page.locator("[data-tl-site-note]")).to_be_visible()
    expect(page.locator("details.embed code").first).to_contain_text(f'src="/embed/{MATCH}"')
    plain.close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Somebody else's site; its pages have a policy where their name says so."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by its base
        """Nothing: the test's output is for the test."""

    policy = ""

    def end_headers(self) -> None:
        if self.policy:
            self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()


@pytest.fixture
def third_party(tmp_path: Path, server: OriginServer) -> Iterator[str]:
    site = tmp_path / "site"
    site.mkdir()
    frames = "".join(
        f"<iframe name={path.split('/')[0]} src='{server.url}/{path}'></iframe>" for path in FRAMED
    )
    (site / "frames.html").write_text(f"<!doctype html><title>Gazette</title>{frames}")
    (site / "script.html").write_text(
        f"<!doctype html><title>Gazette</title><script type=module src='{server.url}/widget/live-score.js'>"
        f"</script><live-score match='{MATCH}'></live-score>"
    )

    class Handler(QuietHandler):
        # What widget/README.md asks of a page under a policy.
        policy = (
            f"default-src 'none'; script-src {server.url} 'wasm-unsafe-eval'; connect-src {server.url}; "
            f"worker-src blob: {server.url}; frame-src {server.url}"
        )

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site))) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://localhost:{web.server_port}"
        web.shutdown()
        thread.join()


FRAMED = (f"embed/{MATCH}", f"match/{MATCH}", "healthz", "embed/nobody-nowhere")


def test_only_an_embed_can_be_framed(context: BrowserContext, server: OriginServer, third_party: str) -> None:
    play(server, 0, EARLY)
    page, _ = watched(context)
    page.goto(f"{third_party}/frames.html")
    expect(page.frame_locator("iframe >> nth=0").locator("live-score article")).to_be_attached()
    expect(page.frame_locator("iframe >> nth=3").locator("main")).to_contain_text("nobody-nowhere")
    refused = [frame for frame in page.frames[1:] if frame.url.startswith("chrome-error:")]
    assert len(refused) == 2


def test_the_widget_runs_on_a_site_with_the_policy_its_readme_names(
    context: BrowserContext, server: OriginServer, third_party: str
) -> None:
    play(server, 0, EARLY)
    page, said = watched(context)
    page.goto(f"{third_party}/script.html")
    expect(page.locator("live-score[data-tier='2']")).to_be_attached(timeout=60_000)
    id_ = play(server, EARLY, ALL)
    expect(page.locator(f"live-score article[data-id='{id_}']")).to_be_attached(timeout=20_000)
    assert page.evaluate("window.violations") == []
    assert said == []
