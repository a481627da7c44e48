"""Two tabs of a real Chromium that wait for one address behind a cache: neither waits for the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from testkit.browser import launch, wait_until_true
from testkit.services.caches import start_cache
from testkit.services.counting_relay import CountingRelay
from testkit.services.origin import OriginServer

pytestmark = [pytest.mark.browser, pytest.mark.services]

MATCH = "m1"
# Follows `next` until it is at an id, as docs/protocol.md says; what it asked for is kept in order.
WALK = """([match, from, until, mode]) => {
  globalThis.asked = [];
  globalThis.stands = from;
  globalThis.failed = "";
  (async () => {
    let slice = 0;
    while (globalThis.stands !== until) {
      const url = `/api/match/${match}/deltas/${globalThis.stands}/${slice}`;
      globalThis.asked.push(url);
      const answer = await fetch(url, { cache: mode });
      const body = await answer.json();
      if (answer.status === 404 && body.error.code === "slice_to_come") {
        slice = body.error.slice;
        continue;
      }
      if (answer.status !== 200) throw new Error(`${url}: ${answer.status}`);
      globalThis.stands = body.next.id;
      slice = body.next.slice;
    }
  })().catch((error) => (globalThis.failed = String(error)));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launch() as browser:
        yield browser


def goal(origin: OriginServer, number: int) -> str:
    event = {"match_id": MATCH, "rev": 1, "op": "ADD", "type": "GOAL", "period": "H1", "team": "home"}
    assert origin.post({**event, "event_id": f"g{number}", "minute": number}) == 200
    state = origin.wait_for_seq(MATCH, number)
    return f"{state['epoch']}-{state['seq']}"


@pytest.mark.parametrize("mode", ["default", "no-store"])
def test_both_follow_the_chain_whichever_way_they_use_the_browsers_cache(
    browser: Browser, tmp_path: Path, mode: str
) -> None:
    """Chromium has equal requests in its cache's way wait for each other.

    An answer that may be kept for ever then serves both, so the second tab is never a slice behind; by
    "no-store", which the widget uses, both ask, and the cache in front makes one request of them.
    """
    env = {"TOUCHLINE_STREAM_LONG_POLL_SLICE_S": "1"}
    with (
        OriginServer(tmp_path, env=env) as origin,
        CountingRelay(origin.port) as relay,
        start_cache("nginx", relay.port) as cache,
    ):
        first = goal(origin, 1)
        epoch = first.partition("-")[0]
        context = browser.new_context()
        tabs = [context.new_page() for _ in range(2)]
        for tab in tabs:
            tab.goto(f"{cache.url}/")  # a page of ours, whose policy lets it fetch from here
        for tab in tabs:
            tab.evaluate(WALK, [MATCH, first, f"{epoch}-3", mode])
        time.sleep(2.5)  # more than two slices of silence
        goal(origin, 2)
        for tab in tabs:
            # The answer to both tabs is one: the second does not begin to wait when the first has its answer.
            wait_until_true(tab, f"globalThis.failed || globalThis.stands === '{epoch}-2'", 5_000)
            assert tab.evaluate("globalThis.failed") == ""
        goal(origin, 3)
        for tab in tabs:
            wait_until_true(tab, f"globalThis.stands === '{epoch}-3'", 5_000)
        asked = [set(tab.evaluate("globalThis.asked")) for tab in tabs]
        assert len(asked[0] & asked[1]) >= 3, "they waited for the same addresses"
        polls = {path: seen for path, seen in relay.seen.items() if path.count("/") == 6}
        assert set(polls.values()) == {1}, polls
        assert set(polls) == asked[0] | asked[1]
        context.close()


def test_two_tabs_of_the_match_page_show_the_goal_by_long_poll(browser: Browser, tmp_path: Path) -> None:
    """No stream comes through, as behind a proxy that keeps bodies back."""
    with (
        OriginServer(tmp_path) as origin,
        CountingRelay(origin.port) as relay,
        start_cache("nginx", relay.port) as cache,
    ):
        goal(origin, 1)
        context = browser.new_context(service_workers="block")
        context.route("**/stream?*", lambda route: route.abort())
        context.route("**/stream/**", lambda route: route.abort())
        tabs = [context.new_page() for _ in range(2)]
        for tab in tabs:
            tab.goto(f"{cache.url}/match/{MATCH}")
        deadline_s = time.monotonic() + 60
        while not any(path.count("/") == 6 for path in relay.seen):
            assert time.monotonic() < deadline_s, "no tab ever polled"
            tabs[0].wait_for_timeout(200)
        goal(origin, 2)
        for tab in tabs:
            expect(tab.locator(".tl-goals").get_by_text("2").first).to_be_visible(timeout=15_000)
        polls = {path: seen for path, seen in relay.seen.items() if path.count("/") == 6}
        assert set(polls.values()) == {1}, polls
        context.close()
