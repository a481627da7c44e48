"""axe-core finds nothing in any state of the element and the pages, in both themes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from shared_state.jsontext import Json, JsonObject
from testkit.engines import EnginePage, View, launch_engine
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
REVIEW: Final[JsonObject] = {"type": "VAR", "period": "H1", "minute": 13, "team": "home"}
SHOOTOUT: Final[JsonObject] = {"type": "SHOOTOUT_KICK", "period": "PENS", "team": "home", "player": "Kane"}
SUBSTITUTION: Final[JsonObject] = {
    "type": "SUBSTITUTION",
    "period": "H1",
    "minute": 41,
    "team": "home",
    "player": "Brobbey",
    "player2": "Akpom",
}
STATES: Final[dict[str, list[JsonObject]]] = {
    "before": [],
    "live": [KICK_OFF, goal(player2="Bukayo Saka"), goal("g2", "away", detail={"penalty": True})],
    "half-time": [KICK_OFF, goal(), status("HALF_TIME", "HT", minute=45)],
    "under-review": [
        KICK_OFF,
        goal(status="PROVISIONAL"),
        {**REVIEW, "detail": {"state": "OPEN", "outcome": "Possible offside", "target_event_id": "g1"}},
    ],
    "ruled-out": [KICK_OFF, goal(), {"event_id": "g1", "rev": 2, "op": "RETRACT", "reason": "VAR: offside"}],
    "amended": [KICK_OFF, goal(), goal(rev=2, op="AMEND", player="Kane", reason="Scorer changed")],
    "cards": [
        KICK_OFF,
        {"type": "YELLOW_CARD", "period": "H1", "minute": 20, "team": "away", "player": "Rice"},
        {"type": "SECOND_YELLOW", "period": "H1", "minute": 30, "team": "away", "player": "Rice"},
        {"type": "RED_CARD", "period": "H1", "minute": 38, "team": "home", "player": "Henderson"},
        {"type": "PENALTY_MISSED", "period": "H1", "minute": 40, "team": "home", "player": "Berghuis"},
        SUBSTITUTION,
        {"type": "STOPPAGE_ANNOUNCED", "period": "H1", "minute": 45, "detail": {"minutes": 6}},
    ],
    "shoot-out": [
        KICK_OFF,
        status("PENALTIES", "PENS"),
        {**SHOOTOUT, "detail": {"order": 1, "scored": True}},
        {**SHOOTOUT, "team": "away", "detail": {"order": 2, "scored": False}},
    ],
    "full-time": [KICK_OFF, goal(), status("FT", "POST")],
    "interrupted": [KICK_OFF, goal(), status("INTERRUPTED", "H1", minute=33, reason="Fog")],
    "abandoned": [KICK_OFF, goal(), status("ABANDONED", "H1", minute=33, reason="Floodlight failure")],
    "postponed": [status("POSTPONED", "PRE", reason="Waterlogged pitch")],
    "awarded": [
        KICK_OFF,
        {"type": "SCORE_OVERRIDE", "period": "POST", "detail": {"home": 0, "away": 3}, "reason": "Committee"},
        status("AWARDED", "POST", reason="Committee"),
    ],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        for match, events in STATES.items():
            sides = {side: {"name": side.title(), "code": side[:3].upper()} for side in ("home", "away")}
            kickoff_ms = int(time.time() * 1000) + (3_600_000 if match == "before" else -1_800_000)
            detail = {**sides, "competition": "Cup", "venue": "Wembley", "kickoff_ms": kickoff_ms}
            info: JsonObject = {"event_id": "info", "type": "MATCH_INFO", "period": "PRE", "detail": detail}
            posted = [
                {"match_id": match, "event_id": f"e{n}", "rev": 1, "op": "ADD", **event}
                for n, event in enumerate([info, *events])
            ]
            assert server.post(*posted) == 200
            server.wait_for_seq(match, len(posted))
        yield server


@pytest.fixture(scope="module", params=["light", "dark"])
def page(request: pytest.FixtureRequest) -> Iterator[EnginePage]:
    with launch_engine("chromium", View(dark=request.param == "dark")) as engine:
        yield engine.new_page()


def violations(page: EnginePage) -> Any:
    # What is fading in has no contrast yet. The mark of a running match moves without end.
    page.wait_until_true(
        "document.getAnimations().every(({ playState, effect }) =>"
        " playState !== 'running' || effect.getComputedTiming().iterations === Infinity)"
    )
    page.evaluate(f"(() => {{ {axe_source()}; return null; }})()")
    return page.evaluate(RUN)


def test_no_state_of_the_element_has_a_fault(page: EnginePage, server: OriginServer) -> None:
    """All states on one page of somebody else, a match that nobody knows among them."""
    section = "<section><h2>{0}</h2><live-score match={0}></live-score></section>"
    elements = "".join(section.format(match) for match in [*STATES, "nobody"])
    style = "<style>:root { color-scheme: light dark }</style>"
    script = f"<script type=module src={server.url}/widget/live-score.js></script>"
    head = f"<!doctype html><html lang=en><title>Gazette</title>{style}{script}"
    with Publisher() as publisher:
        page.open(publisher.page("/states", f"{head}<main><h1>Sports</h1>{elements}</main>"))
        boards = "[...document.querySelectorAll('live-score')].map((e) => e.shadowRoot?.querySelector('.tl'))"
        page.wait_until_true(f"{boards}.every(Boolean)")
        page.wait_until_true("document.querySelector('[match=nobody]').dataset.connection === 'unknown'")
        assert violations(page) == []


@pytest.mark.parametrize(
    "path", ["/", "/match/ruled-out", "/match/before", "/match/nobody", "/embed/shoot-out"]
)
def test_no_page_of_ours_has_a_fault(page: EnginePage, server: OriginServer, path: str) -> None:
    page.open(server.url + path)
    assert violations(page) == []
