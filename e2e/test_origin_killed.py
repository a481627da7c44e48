"""A page behind a cache whose origin is killed in mid-match keeps its score and true age, then is right."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from testkit.services.caches import start_cache
from testkit.services.origin import OriginServer

MATCH = "2018-07-15-france-croatia"
FINAL = Path(__file__).parents[1] / "origin" / "demo" / "final-2018.jsonl"
# Lines of the file, up to the second goal and up to the end.
TWO_GOALS, ALL = 6, 28
AWAY_S = 8.0

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.mark.parametrize("kind", ["nginx", "lua", "varnish"])
def test_a_page_goes_on_with_its_true_age_and_is_right_after_the_return(
    browser: Browser, tmp_path: Path, kind: str
) -> None:
    with OriginServer(tmp_path) as origin, start_cache(kind, origin.port) as cache:
        origin.post_file(FINAL, last=TWO_GOALS)
        before = origin.wait_for_seq(MATCH, TWO_GOALS)
        page = browser.new_page()
        page.goto(f"{cache.url}/match/{MATCH}")
        score = page.locator(".tl-score").first
        shown = score.inner_text()
        expect(page.locator("live-score[data-connection='open']")).to_be_attached(timeout=15_000)
        page.wait_for_timeout(1_500)
        killed_ms = time.time_ns() // 1_000_000
        origin.kill()
        page.wait_for_timeout(AWAY_S * 1_000)
        assert score.inner_text() == shown, "the page never blanks"
        # A reader that comes now gets the cache's copy, which names the time at which it was true.
        late = browser.new_page()
        response = late.goto(f"{cache.url}/match/{MATCH}")
        assert response is not None
        assert late.locator(".tl-score").first.inner_text() == shown
        # Read off the page as served: a board that the widget has filled since has no time of the server's.
        as_of = re.search(r'data-as-of="(\d+)"', response.text())
        assert as_of is not None
        assert 0 < int(as_of[1]) <= killed_ms
        for reader in (page, late):
            expect(reader.locator("live-score")).to_contain_text("Not connected. As of")
        origin.start()
        origin.post_file(FINAL, first=TWO_GOALS, last=ALL)
        after = origin.wait_for_seq(MATCH, ALL)
        assert after["score"] != before["score"]
        for reader in (page, late):
            expect(reader.locator(".tl-score").first).not_to_have_text(shown, timeout=3_000)
            reader.close()
