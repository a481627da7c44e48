"""The reader of HTML for pages with Trusted Types, in a browser: it makes the tree that Chromium makes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from shared_state import Event, Replica
from shared_state.view import scoreboard
from testkit.browser import launch
from tests.events_by_hand import add, goal, retract, status
from widget.build.bundle import SOURCES

FINAL = Path(__file__).parents[2] / "origin" / "demo" / "final-2018.jsonl"
EPOCH = 1_531_666_800_000
BY_HAND = (
    status("ko", "LIVE", "H1", source_ts=EPOCH),
    goal("g1", "home", 3, '<b>O\'Neill</b> & "Søn"'),
    goal("g2", "away", 4, "&lt;script&gt;alert(1)&lt;/script&gt;"),
    retract("g2", reason="VAR: \u201coffside\u201d \U0001f3f3"),
    add("y1", "YELLOW_CARD", team="home", minute=9, player="سالم الدوسري"),
)
COMPARE = """async ([source, html]) => {
    const { readHtml } = await import(source);
    const template = document.createElement("template");
    template.innerHTML = html;
    return readHtml(html).isEqualNode(template.content);
}"""
READ = """async ([source, html]) => {
    const { readHtml } = await import(source);
    try {
        return readHtml(html).childNodes.length;
    } catch (error) {
        return String(error);
    }
}"""
SOURCE = "data:text/javascript;base64," + base64.b64encode((SOURCES / "html-reader.js").read_bytes()).decode()

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with launch() as browser:
        yield browser.new_page()


@pytest.mark.parametrize("source", ["the final of 2018", "by hand"])
def test_it_makes_the_tree_that_the_browser_makes(page: Page, source: str) -> None:
    events: tuple[Event, ...] = BY_HAND
    if source != "by hand":
        events = tuple(Event.from_json(json.loads(line)) for line in FINAL.read_text("utf-8").splitlines())
    replica = Replica.begin(events[0].match_id, EPOCH)
    for event in events:
        replica.assign(event, EPOCH)
        html = scoreboard(replica.match, replica.position, now_ms=EPOCH)
        assert page.evaluate(COMPARE, [SOURCE, html]), html


@pytest.mark.parametrize(
    "html",
    [
        "<script>1</script>",
        '<p onclick="1">x</p>',
        '<a href="javascript:alert(1)">x</a>',
        '<a href="java&#115;cript:alert(1)">x</a>',
        '<a href="\u0001javascript:alert(1)">x</a>',
        '<a href=" data:text/html,x">x</a>',
        '<svg><a xlink:href="javascript:1">x</a></svg>',
        '<svg><use href="https://x.example/#a"></use></svg>',
        '<img src="javascript:1">',
        '<iframe src="https://x.example/"></iframe>',
        '<form action="https://x.example/"></form>',
        '<p style="position:fixed">x</p>',
        "<style>*{}</style>",
        "<SCRIPT>1</SCRIPT>",
        "<p>x",
        "<p>x</b>",
        "x</p>",
        "<p a='1'>x</p>",
        "<p x<y>",
    ],
)
def test_nothing_that_runs_is_made(page: Page, html: str) -> None:
    assert "Error" in str(page.evaluate(READ, [SOURCE, html]))
