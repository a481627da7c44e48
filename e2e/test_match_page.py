"""A real match reaches a real browser: the whole path, as a reader sees it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from shared_state import Replica
from shared_state.jsontext import compact
from testkit.browser import wait_until_true
from testkit.services.origin import OriginServer

MATCH = "2018-07-15-france-croatia"
FINAL = Path(__file__).parents[1] / "origin" / "demo" / "final-2018.jsonl"
# Lines of the file: up to the amended scorer, up to the goal under review, the retraction, all.
KICKED_OFF, SCORER_WRONG, SCORER_AMENDED, UNDER_REVIEW, RULED_OUT, ALL = 2, 5, 6, 15, 16, 28

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OriginServer]:
    with OriginServer(tmp_path, env={"TOUCHLINE_DEMO": "1"}) as server:
        yield server


def play(server: OriginServer, first: int, last: int) -> str:
    """Post these lines of the final; the id at which the match stands then."""
    server.post_file(FINAL, first=first, last=last)
    state = server.wait_for_seq(MATCH, last)
    return f"{state['epoch']}-{state['seq']}"


def at_tier(page: Page, tier: int) -> None:
    expect(page.locator(f"live-score[data-tier='{tier}']")).to_be_attached(timeout=60_000)


def shows(page: Page, id_: str) -> None:
    expect(page.locator(f"live-score article[data-id='{id_}']")).to_be_attached(timeout=20_000)


def without_runtime(page: Page) -> None:
    """Keep tier 2 from starting, as an old browser would. Not by a route: a service worker passes it by."""
    page.add_init_script("delete globalThis.Worker")


def test_the_first_paint_needs_no_javascript(browser: Browser, server: OriginServer) -> None:
    id_ = play(server, 0, SCORER_AMENDED)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{server.url}/match/{MATCH}")
    article = page.locator("live-score article")
    expect(article).to_have_attribute("data-id", id_)
    expect(article).to_contain_text("France")
    expect(article).to_contain_text("Ivan Perišić")
    expect(page.locator(".tl-goals")).to_have_text("1–1")
    context.close()


def test_tier_1_shows_a_goal_and_its_correction(page: Page, server: OriginServer) -> None:
    play(server, 0, KICKED_OFF)
    without_runtime(page)
    page.goto(f"{server.url}/match/{MATCH}")
    at_tier(page, 1)
    shows(page, play(server, KICKED_OFF, SCORER_WRONG))
    expect(page.locator("live-score .tl-players")).to_contain_text("Luka Modrić")
    shows(page, play(server, SCORER_WRONG, SCORER_AMENDED))
    expect(page.locator("live-score .tl-players")).to_contain_text("Ivan Perišić")
    expect(page.locator("live-score .tl-players")).not_to_contain_text("Luka Modrić")
    shows(page, play(server, SCORER_AMENDED, UNDER_REVIEW))
    expect(page.locator("live-score .tl-goals")).to_have_text("2–2")
    shows(page, play(server, UNDER_REVIEW, RULED_OUT))
    expect(page.locator("live-score .tl-goals")).to_have_text("2–1")
    row = page.locator("live-score [data-event='g4']")
    expect(row.locator("s")).to_contain_text("Ante Rebić")
    expect(row).to_contain_text("VAR: offside")
    assert page.locator("live-score").get_attribute("data-tier") == "1"


def test_python_takes_over_and_ends_with_the_servers_hash(page: Page, server: OriginServer) -> None:
    play(server, 0, KICKED_OFF)
    page.goto(f"{server.url}/match/{MATCH}")
    at_tier(page, 2)
    fragments: list[str] = []
    page.on("request", lambda request: fragments.append(request.url) if "/fragment/" in request.url else None)
    shows(page, play(server, KICKED_OFF, RULED_OUT))
    row = page.locator("live-score [data-event='g4']")
    expect(row.locator("s")).to_contain_text("Ante Rebić")
    expect(row).to_contain_text("VAR: offside")
    id_ = play(server, RULED_OUT, ALL)
    shows(page, id_)
    expect(page.locator("live-score .tl-goals")).to_have_text("4–2")
    hash_ = server.state(MATCH)["hash"]
    expect(page.locator("[data-tl-hash]")).to_have_text(hash_)
    assert fragments == []  # folded here, not fetched


def test_both_tiers_show_the_same_picture(browser: Browser, server: OriginServer) -> None:
    id_ = play(server, 0, RULED_OUT - 1)
    pictures = []
    pages = [browser.new_page(), browser.new_page()]
    without_runtime(pages[0])
    for page, tier in zip(pages, (1, 2), strict=True):
        page.goto(f"{server.url}/match/{MATCH}")
        at_tier(page, tier)
    id_ = play(server, RULED_OUT - 1, RULED_OUT)
    for page in pages:
        shows(page, id_)
        pictures.append(page.locator("live-score article").evaluate("node => node.outerHTML"))
        page.close()
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("tier", [1, 2])
def test_a_killed_server_costs_nothing_but_time(page: Page, server: OriginServer, tier: int) -> None:
    play(server, 0, SCORER_WRONG)
    if tier == 1:
        without_runtime(page)
    page.goto(f"{server.url}/match/{MATCH}")
    at_tier(page, tier)
    server.kill()
    expect(page.locator("live-score article")).to_contain_text("France")
    expect(page.locator("live-score:not([data-connection='open'])")).to_be_attached(timeout=20_000)
    server.start()
    shows(page, play(server, SCORER_WRONG, RULED_OUT))
    id_ = play(server, RULED_OUT, ALL)
    shows(page, id_)
    expect(page.locator("live-score .tl-goals")).to_have_text("4–2")
    if tier == 2:
        expect(page.locator("[data-tl-hash]")).to_have_text(server.state(MATCH)["hash"])


def test_the_panel_says_what_is_going_on(page: Page, server: OriginServer) -> None:
    play(server, 0, KICKED_OFF)
    page.goto(f"{server.url}/match/{MATCH}")
    at_tier(page, 2)
    id_ = play(server, KICKED_OFF, SCORER_WRONG)
    expect(page.locator("[data-tl-id]")).to_have_text(id_)
    expect(page.locator("[data-tl-tier]")).to_have_attribute("data-tl-tier", "2")
    expect(page.locator("[data-tl-latency]")).to_contain_text("ms")


def test_offline_the_page_stays_and_catches_up(
    page: Page, context: BrowserContext, server: OriginServer
) -> None:
    play(server, 0, KICKED_OFF)
    page.goto(f"{server.url}/match/{MATCH}")
    at_tier(page, 2)
    context.set_offline(True)
    expect(page.locator("live-score:not([data-connection='open'])")).to_be_attached(timeout=50_000)
    expect(page.locator("live-score article")).to_contain_text("France")
    id_ = play(server, KICKED_OFF, RULED_OUT)
    context.set_offline(False)
    shows(page, id_)
    expect(page.locator("[data-tl-hash]")).to_have_text(server.state(MATCH)["hash"])


def test_a_reload_offline_shows_the_last_state(
    page: Page, context: BrowserContext, server: OriginServer
) -> None:
    id_ = play(server, 0, SCORER_AMENDED)
    page.goto(f"{server.url}/match/{MATCH}")
    at_tier(page, 2)
    page.evaluate("navigator.serviceWorker.ready")
    page.reload()
    at_tier(page, 2)
    server.kill()
    context.set_offline(True)
    page.reload()
    shows(page, id_)
    expect(page.locator("live-score article")).to_contain_text("Ivan Perišić")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by its base
        """Nothing: the test's output is for the test."""


@pytest.fixture
def third_party(tmp_path: Path, server: OriginServer) -> Iterator[str]:
    """Somebody else's site, on another origin, with both kinds of embed."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "script.html").write_text(
        f"<!doctype html><title>Gazette</title><script type=module src='{server.url}/widget/live-score.js'>"
        f"</script><live-score match='{MATCH}'></live-score>"
    )
    (site / "frame.html").write_text(
        f"<!doctype html><title>Gazette</title><iframe src='{server.url}/embed/{MATCH}' width=360 height=600>"
        "</iframe>"
    )
    (site / "sandbox.html").write_text(
        f"<!doctype html><iframe sandbox=allow-scripts src='{server.url}/embed/{MATCH}'></iframe>"
    )
    handler = partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://localhost:{web.server_port}"
        web.shutdown()
        thread.join()


def test_a_script_tag_works_on_another_origin(page: Page, server: OriginServer, third_party: str) -> None:
    play(server, 0, KICKED_OFF)
    page.goto(f"{third_party}/script.html")
    at_tier(page, 2)
    id_ = play(server, KICKED_OFF, ALL)
    shows(page, id_)
    expect(page.locator("live-score .tl-goals")).to_have_text("4–2")
    assert page.locator("live-score").evaluate("node => node.shadowRoot !== null")


def test_an_iframe_works_on_another_origin(page: Page, server: OriginServer, third_party: str) -> None:
    play(server, 0, KICKED_OFF)
    page.goto(f"{third_party}/frame.html")
    frame = page.frame_locator("iframe")
    expect(frame.locator("live-score[data-tier='2']")).to_be_attached(timeout=60_000)
    id_ = play(server, KICKED_OFF, ALL)
    expect(frame.locator(f"live-score article[data-id='{id_}']")).to_be_attached(timeout=20_000)


def test_a_sandboxed_iframe_works_without_storage_and_workers(
    page: Page, server: OriginServer, third_party: str
) -> None:
    play(server, 0, KICKED_OFF)
    page.goto(f"{third_party}/sandbox.html")
    frame = page.frame_locator("iframe")
    expect(frame.locator("live-score[data-connection='open']")).to_be_attached(timeout=20_000)
    id_ = play(server, KICKED_OFF, ALL)
    expect(frame.locator(f"live-score article[data-id='{id_}']")).to_be_attached(timeout=20_000)


def test_an_unknown_match_says_so_and_breaks_nothing(page: Page, server: OriginServer) -> None:
    play(server, 0, KICKED_OFF)
    answer = page.goto(f"{server.url}/match/nobody-nowhere")
    assert answer
    assert answer.status == 404
    expect(page.locator("main")).to_contain_text("nobody-nowhere")


def test_the_snapshot_of_the_end_is_the_recorded_result(server: OriginServer) -> None:
    play(server, 0, ALL)
    replica = Replica.restore(compact(server.state(MATCH)))
    assert replica.match.score == (4, 2)
    assert replica.match.status == "FT"


@pytest.mark.parametrize("theme", ["", "dark"])
def test_it_is_printed_dark_on_white(browser: Browser, server: OriginServer, theme: str) -> None:
    play(server, 0, RULED_OUT)
    context = browser.new_context(color_scheme="dark", service_workers="block")
    page = context.new_page()
    page.goto(f"{server.url}/match/{MATCH}")
    expect(page.locator("live-score[data-connection='open']")).to_be_attached(timeout=60_000)
    page.evaluate(f"document.querySelector('live-score').setAttribute('theme', '{theme}')")
    page.emulate_media(media="print")
    for selector in (".tl-goals", ".tl-name", "[data-event='g4'] s", "[data-event='g1']"):
        colour = f"getComputedStyle(document.querySelector(`{selector}`)).color"
        channels = f"{colour}.match(/[0-9.]+/g).slice(0, 3).map(Number)"
        # Colours move to their new value over a moment.
        wait_until_true(page, f"{channels}.reduce((sum, one) => sum + one) < 3 * 128", 10_000)
    context.close()
