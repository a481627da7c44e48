"""What the loader fetches after the first score (afterwards.js), and a page where that does not come."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from shared_state.jsontext import Json, JsonObject
from testkit.browser import wait_until_true
from testkit.built_widget import manifest
from testkit.services.origin import OriginServer

NUMBERS = count(1)
AFTERWARDS = "**/afterwards-*.js*"
RECORDER = """
window.goals = [];
document.addEventListener("touchline:goal", ({ detail }) => window.goals.push(detail.eventId));
"""
# What a network may have in a file's place: nothing, a portal's page, its script, its page called a script.
WRONG_ANSWERS = {
    "nothing": None,
    "a page": {"status": 200, "content_type": "text/html", "body": "<title>Log in</title>"},
    "a script": {"status": 200, "content_type": "text/javascript", "body": "export const portal = 1;"},
    "a wrong name": {
        "status": 200,
        "content_type": "text/javascript",
        "body": "<title>Log in</title>",
    },
}

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    manifest()
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        yield server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    # Routes do not see a service worker's requests.
    context: BrowserContext = browser.new_context(service_workers="block")
    context.add_init_script(RECORDER)
    yield context.new_page()
    context.close()


class Match:
    """A match that has begun."""

    def __init__(self, server: OriginServer) -> None:
        self.server = server
        self.match_id = f"afterwards-{next(NUMBERS)}"
        self.url = f"{server.url}/match/{self.match_id}"
        self.seq = 0
        sides: JsonObject = {"home": {"name": "Ayr", "code": "AYR"}, "away": {"name": "Bute", "code": "BUT"}}
        self.post(event_id="info", type="MATCH_INFO", detail=sides)
        self.post(event_id="ko", type="STATUS_CHANGE", minute=0, detail={"to": "LIVE"})

    def post(self, **event: Json) -> str:
        """Post one event; the id at which the match stands then."""
        body: JsonObject = {"match_id": self.match_id, "rev": 1, "op": "ADD", "period": "H1", **event}
        assert self.server.post(body) == 200
        self.seq += 1
        state = self.server.wait_for_seq(self.match_id, self.seq)
        return f"{state['epoch']}-{state['seq']}"

    def goal(self, event_id: str) -> str:
        return self.post(event_id=event_id, type="GOAL", minute=self.seq, team="home", player="P. Ayr")


def answered(page: Page, wrong: str, times: int) -> list[str]:
    """Have the file answered wrong so many times; the addresses that are asked for."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        other = WRONG_ANSWERS[wrong]
        if len(asked) > times:
            route.continue_()
        elif other is None:
            route.abort()
        else:
            route.fulfill(**other)  # type: ignore[arg-type]

    page.route(AFTERWARDS, answer)
    return asked


@pytest.mark.parametrize("wrong", WRONG_ANSWERS)
def test_a_page_without_a_stream_polls_once_what_polls_has_come(
    page: Page, server: OriginServer, wrong: str
) -> None:
    match = Match(server)
    page.route("**/stream/**", lambda route: route.abort())
    asked = answered(page, wrong, 2)
    page.goto(match.url)
    expect(page.locator("live-score[data-connection='polling']")).to_be_attached(timeout=30_000)
    # A browser remembers by its address what failed, but for a preload that brought nothing.
    assert len(asked) == 3
    assert len(set(asked)) >= 2
    assert asked.count(asked[-1]) == 1
    goal = match.goal("g1")
    expect(page.locator(f"live-score article[data-id='{goal}']")).to_be_attached(timeout=30_000)


def test_a_goal_is_shown_before_what_tells_of_it_has_come_and_told_of_then(
    page: Page, server: OriginServer
) -> None:
    match = Match(server)
    page.route(AFTERWARDS, lambda route: route.abort())
    page.goto(match.url)
    expect(page.locator("live-score[data-connection='open']")).to_be_attached(timeout=30_000)
    first = match.goal("g1")
    expect(page.locator(f"live-score article[data-id='{first}']")).to_be_attached(timeout=20_000)
    assert page.evaluate("window.goals") == []
    page.unroute(AFTERWARDS)
    wait_until_true(page, "window.goals.length > 0", 30_000)
    second = match.goal("g2")
    expect(page.locator(f"live-score article[data-id='{second}']")).to_be_attached(timeout=20_000)
    assert page.evaluate("window.goals") == ["g1", "g2"]


def test_a_page_that_loses_all_before_it_came_says_how_old_it_is(page: Page, server: OriginServer) -> None:
    match = Match(server)
    page.route(AFTERWARDS, lambda route: route.abort())
    page.goto(match.url)
    expect(page.locator("live-score[data-connection='open']")).to_be_attached(timeout=30_000)
    age = page.locator("live-score [data-tl-age]")
    expect(age).to_have_text("")
    page.context.set_offline(True)
    expect(age).to_contain_text("As of", timeout=15_000)
    page.unroute(AFTERWARDS)
    page.context.set_offline(False)
    expect(age).to_have_text("", timeout=30_000)
    # Its words have come since.
    page.context.set_offline(True)
    expect(age).to_contain_text("ago", timeout=15_000)


def test_a_delayed_page_shows_what_came_before_the_delay_was_there(page: Page, server: OriginServer) -> None:
    match = Match(server)
    asked = answered(page, "nothing", 2)
    page.goto(match.url)
    page.evaluate("document.querySelector('live-score').setAttribute('delay', '1')")
    expect(page.locator("live-score[data-connection='open']")).to_be_attached(timeout=40_000)
    goal = match.goal("g1")
    expect(page.locator(f"live-score article[data-id='{goal}']")).to_be_attached(timeout=40_000)
    wait_until_true(page, "window.goals.length > 0", 30_000)
    assert len(asked) >= 3


def test_tier_2_starts_once_its_script_has_come(page: Page, server: OriginServer) -> None:
    match = Match(server)
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) > 2:
            route.continue_()
        else:
            route.abort()

    page.route("**/runtime-*.js*", answer)
    page.goto(match.url)
    goal = match.goal("g1")
    expect(page.locator(f"live-score article[data-id='{goal}']")).to_be_attached(timeout=20_000)
    expect(page.locator("live-score[data-tier='2']")).to_be_attached(timeout=40_000)
    assert len(asked) == len(set(asked)) == 3
