"""axe-core finds nothing in any state of the element and the pages, in both themes and every engine.

All states are elements on one page of somebody else, which axe-core reads once. Of our own pages, each of
which takes a run of its own, every engine reads those that differ most in what they have.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final, cast

import pytest

from shared_state.jsontext import Json, JsonObject
from testkit.engines import ENGINES, EngineName, EnginePage, View, launch_engine
from testkit.match_states import states
from testkit.npm import axe_source
from testkit.publisher import Publisher
from testkit.services.origin import OriginServer

TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OPTIONS: Final = f'{{ runOnly: {TAGS}, resultTypes: ["violations"] }}'
RUN: Final = f"""axe.run(document, {OPTIONS}).then(({{ violations }}) =>
    violations.flatMap(({{ id, nodes }}) => nodes.map((node) => id + " " + node.target.flat().join(" "))))"""

pytestmark = [pytest.mark.browser, pytest.mark.services]


def status(to: str, period: str, **more: Json) -> JsonObject:
    return {"type": "STATUS_CHANGE", "period": period, "detail": {"to": to}, **more}


def goal(event_id: str = "g1", team: str = "home", **more: Json) -> JsonObject:
    more = {"period": "H1", "minute": 12, "player": "Jude Bellingham", **more}
    return {"event_id": event_id, "type": "GOAL", "team": team, **more}


KICK_OFF: Final = status("LIVE", "H1", minute=0)
SUBSTITUTION: Final[JsonObject] = {
    "type": "SUBSTITUTION",
    "period": "H1",
    "minute": 41,
    "team": "home",
    "player": "Brobbey",
    "player2": "Akpom",
}
# What those of testkit.match_states do not have.
STATES: Final[dict[str, list[JsonObject]]] = {
    "in-an-hour": [],
    "amended": [
        KICK_OFF,
        goal(player2="Bukayo Saka"),
        goal(rev=2, op="AMEND", player="Kane", reason="Scorer"),
    ],
    "cards": [
        KICK_OFF,
        {"type": "YELLOW_CARD", "period": "H1", "minute": 20, "team": "away", "player": "Rice"},
        {"type": "SECOND_YELLOW", "period": "H1", "minute": 30, "team": "away", "player": "Rice"},
        {"type": "RED_CARD", "period": "H1", "minute": 38, "team": "home", "player": "Henderson"},
        {"type": "PENALTY_MISSED", "period": "H1", "minute": 40, "team": "home", "player": "Berghuis"},
        SUBSTITUTION,
        {"type": "STOPPAGE_ANNOUNCED", "period": "H1", "minute": 45, "detail": {"minutes": 6}},
    ],
    "interrupted": [KICK_OFF, goal(), status("INTERRUPTED", "H1", minute=33, reason="Fog")],
}
MATCHES: Final = (*STATES, *(state.name for state in states()))
PATHS: Final = (
    "/match/second-half", "/match/ruled-out", "/", "/match/in-an-hour", "/match/nobody", "/embed/shootout",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        for match, events in STATES.items():
            sides = {side: {"name": side.title(), "code": side[:3].upper()} for side in ("home", "away")}
            kickoff_ms = int(time.time() * 1000) + (3_600_000 if match == "in-an-hour" else -1_800_000)
            detail = {**sides, "competition": "Cup", "venue": "Wembley", "kickoff_ms": kickoff_ms}
            info: JsonObject = {"event_id": "info", "type": "MATCH_INFO", "period": "PRE", "detail": detail}
            posted = [
                {"match_id": match, "event_id": f"e{n}", "rev": 1, "op": "ADD", **event}
                for n, event in enumerate([info, *events])
            ]
            assert server.post(*posted) == 200
            server.wait_for_seq(match, len(posted))
        for state in states():
            events = state.posted_at(int(time.time() * 1000))
            assert server.post(*events) == 200
            server.wait_for_seq(state.name, len(events))
        yield server


@pytest.fixture(scope="module", params=[f"{name}-{theme}" for name in ENGINES for theme in ("light", "dark")])
def view(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def page(view: str) -> Iterator[EnginePage]:
    name, _, theme = view.partition("-")
    with launch_engine(cast("EngineName", name), View(dark=theme == "dark")) as engine:
        page = engine.new_page()
        # An engine that ignores the theme would be tested in one of them twice.
        assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is (theme == "dark")
        yield page


def violations(page: EnginePage) -> Any:
    # What is fading in has no contrast yet. The mark of a running match moves without end, and a banner is
    # there for three minutes.
    page.wait_until_true(
        "document.getAnimations().every(({ playState, effect }) =>"
        " playState !== 'running' || effect.getComputedTiming().activeDuration > 60_000)"
    )
    page.evaluate(f"(() => {{ {axe_source()}; return null; }})()")
    return page.evaluate(RUN)


def test_no_state_of_the_element_has_a_fault(page: EnginePage, server: OriginServer) -> None:
    """All states on one page of somebody else, a match that nobody knows among them."""
    section = "<section><h2>{0}</h2><live-score match={0}></live-score></section>"
    elements = "".join(section.format(match) for match in [*MATCHES, "nobody"])
    # With a ground of its own: axe-core takes Firefox's default dark one for white.
    colours = "background: light-dark(#fff, #111); color: light-dark(#111, #eee)"
    style = f"<style>:root {{ color-scheme: light dark; {colours} }}</style>"
    script = f"<script type=module src={server.url}/widget/live-score.js></script>"
    head = f"<!doctype html><html lang=en><title>Gazette</title>{style}{script}"
    with Publisher() as publisher:
        page.open(publisher.page("/states", f"{head}<main><h1>Sports</h1>{elements}</main>"))
        boards = "[...document.querySelectorAll('live-score')].map((e) => e.shadowRoot?.querySelector('.tl'))"
        page.wait_until_true(f"{boards}.every(Boolean)")
        page.wait_until_true("document.querySelector('[match=nobody]').dataset.connection === 'unknown'")
        assert violations(page) == []


def test_no_page_of_ours_has_a_fault(page: EnginePage, view: str, server: OriginServer) -> None:
    for path in PATHS if view.startswith("chromium") else PATHS[:2]:
        page.open(server.url + path)
        # The heading of an embed is that of the page around its frame.
        allowed = ["page-has-heading-one html"] if path.startswith("/embed/") else []
        assert violations(page) == allowed, path
