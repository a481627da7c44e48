"""``touchline:…``: what a page's own script hears of a match, at both tiers and behind a spoiler delay."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from shared_state.jsontext import Json, JsonObject
from testkit.browser import wait_until_true
from testkit.services.origin import OriginServer

NUMBERS = count(1)
LISTEN = """
    window.heard = [];
    for (const name of ["goal", "correction", "status"])
      document.addEventListener(`touchline:${name}`, ({ type, detail, target }) =>
        window.heard.push({ name: type, tag: target.localName, shown: target.dataset.id, ...detail }));
    document.addEventListener("touchline:state", ({ detail }) => (window.state = detail));
"""

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(service_workers="block")
    context.add_init_script(LISTEN)
    yield context
    context.close()


def event(match_id: str, event_id: str, **fields: Json) -> JsonObject:
    return {"match_id": match_id, "event_id": event_id, "rev": 1, "op": "ADD", "period": "H1", **fields}


def goal(match_id: str, event_id: str, minute: int) -> JsonObject:
    return event(match_id, event_id, type="GOAL", minute=minute, team="home", player=f"Player {minute}")


def ruled_out(match_id: str, event_id: str, reason: str) -> JsonObject:
    retraction: JsonObject = {
        "match_id": match_id,
        "event_id": event_id,
        "rev": 2,
        "op": "RETRACT",
        "reason": reason,
    }
    return retraction


def begin(server: OriginServer) -> str:
    """A match with a goal that is old when the page is loaded."""
    match_id = f"events-{next(NUMBERS)}"
    live = event(match_id, "ko", type="STATUS_CHANGE", minute=0, detail={"to": "LIVE"})
    assert server.post(live, goal(match_id, "old", 2)) == 200
    server.wait_for_seq(match_id, 2)
    return match_id


def opened(context: BrowserContext, server: OriginServer, match_id: str, tier: int) -> Page:
    page = context.new_page()
    if tier == 1:
        page.add_init_script("delete globalThis.Worker")
    page.goto(f"{server.url}/match/{match_id}")
    expect(page.locator(f"live-score[data-tier='{tier}'][data-connection=open]")).to_be_attached(
        timeout=90_000
    )
    return page


def heard(page: Page, number: int) -> list[dict[str, Any]]:
    """What has been heard, once it is that many."""
    wait_until_true(page, f"window.heard.length >= {number}", 20_000)
    page.wait_for_timeout(500)  # so that one too many would be there too
    told: list[dict[str, Any]] = page.evaluate("window.heard")
    return told


@pytest.mark.parametrize("tier", [1, 2])
def test_each_change_is_heard_once_in_order_and_nothing_old(
    context: BrowserContext, server: OriginServer, tier: int
) -> None:
    match_id = begin(server)
    page = opened(context, server, match_id, tier)
    assert page.evaluate("window.heard") == []
    # Together, among changes that are none to a script; then one alone.
    cards = [event(match_id, f"c{n}", type="YELLOW_CARD", minute=n, team="away") for n in range(4, 14)]
    half_time = event(match_id, "ht", type="STATUS_CHANGE", period="HT", detail={"to": "HALF_TIME"})
    assert server.post(goal(match_id, "a", 3), *cards, goal(match_id, "b", 20), half_time) == 200
    heard(page, 3)
    assert server.post(ruled_out(match_id, "b", "VAR: offside")) == 200
    told = heard(page, 4)
    assert [(one["name"], one["eventId"]) for one in told] == [
        ("touchline:goal", "a"),
        ("touchline:goal", "b"),
        ("touchline:status", "ht"),
        ("touchline:correction", "b"),
    ]
    first, second, status, correction = told
    assert (first["match"], first["team"], first["player"], first["minute"]) == (
        match_id,
        "home",
        "Player 3",
        3,
    )
    assert (first["score"], second["score"]) == ({"home": 2, "away": 0}, {"home": 3, "away": 0})
    assert (status["from"], status["status"]) == ("LIVE", "HALF_TIME")
    assert (correction["what"], correction["reason"], correction["score"]) == (
        "goal_ruled_out",
        "VAR: offside",
        {"home": 2, "away": 0},
    )
    epoch = server.state(match_id)["epoch"]
    assert [one["id"] for one in told] == [f"{epoch}-{seq}" for seq in (3, 14, 15, 16)]
    assert {one["tag"] for one in told} == {"live-score"}
    state = page.evaluate("window.state")
    assert (state["match"], state["tier"], state["connection"]) == (match_id, tier, "open")


def test_behind_a_spoiler_delay_a_goal_is_heard_late_and_one_taken_back_never(
    context: BrowserContext, server: OriginServer
) -> None:
    match_id = begin(server)
    page = context.new_page()
    page.add_init_script("delete globalThis.Worker")
    page.add_init_script(
        "document.addEventListener('DOMContentLoaded',"
        " () => document.querySelector('live-score').setAttribute('delay', 2))"
    )
    page.goto(f"{server.url}/match/{match_id}")
    expect(page.locator("live-score[data-connection=open]")).to_be_attached(timeout=20_000)
    assert server.post(goal(match_id, "a", 3), goal(match_id, "b", 4)) == 200
    page.wait_for_timeout(700)
    assert page.evaluate("window.heard") == []
    assert server.post(ruled_out(match_id, "a", "VAR")) == 200
    told = heard(page, 1)
    assert [(one["name"], one["eventId"]) for one in told] == [("touchline:goal", "b")]


def test_a_page_that_polls_hears_them_too(context: BrowserContext, server: OriginServer) -> None:
    match_id = begin(server)
    page = context.new_page()
    page.add_init_script("delete globalThis.Worker")
    page.route("**/stream*", lambda route: route.fulfill(status=502, body="no"))
    page.route("**/stream/**", lambda route: route.fulfill(status=502, body="no"))
    page.goto(f"{server.url}/match/{match_id}")
    expect(page.locator("live-score[data-connection=polling]")).to_be_attached(timeout=30_000)
    assert server.post(goal(match_id, "a", 3), goal(match_id, "b", 4)) == 200
    assert [one["eventId"] for one in heard(page, 2)] == ["a", "b"]
