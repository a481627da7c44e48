"""Twelve matches on somebody else's page, in every engine that readers have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from shared_state.jsontext import Json, JsonObject
from shared_state.languages import language_of
from testkit.engines import EnginePage
from testkit.publisher import Publisher
from testkit.services.origin import OriginServer

ELEMENTS = "[...document.querySelectorAll('live-score')]"
GOALS = f"{ELEMENTS}.map((e) => e.shadowRoot?.querySelector('.tl-goals')?.textContent)"
BOARDS = f"{ELEMENTS}.map((e) => e.shadowRoot.querySelector('.tl'))"
SPOKEN = ("en", "de", "ar")
ROWS = f"{ELEMENTS}.map((e) => e.shadowRoot.querySelector('[data-event=g1]'))"

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        yield server


def event(match: str, event_id: str, rev: int = 1, op: str = "ADD", **more: Json) -> JsonObject:
    return {"match_id": match, "event_id": event_id, "rev": rev, "op": op, **more}


def viewers(server: OriginServer) -> float:
    """How many streams are open at the origin."""
    text = server.get("/metrics")[1].decode()
    lines = re.findall("^touchline_stream_viewers{.*", text, re.MULTILINE)
    return sum(float(line.split()[-1]) for line in lines)


def test_twelve_matches_under_a_strict_policy_are_live_and_corrected_in_place(
    engine_page: EnginePage, server: OriginServer
) -> None:
    """In three languages; the page forbids all but the origin's script and data; nothing is inline."""
    page = engine_page
    matches = [f"engines-{n}" for n in range(12)]
    for match in matches:
        status = event(match, "ko", type="STATUS_CHANGE", period="H1", minute=0, detail={"to": "LIVE"})
        assert server.post(status) == 200
    for match in matches:
        server.wait_for_seq(match, 1)
    spoken = [SPOKEN[n % len(SPOKEN)] for n in range(12)]
    body = "".join(
        f"<live-score match={match} lang={lang}>{match}</live-score>"
        for match, lang in zip(matches, spoken, strict=True)
    )
    script = f"<script type=module src={server.url}/widget/live-score.js></script>"
    headers = {
        "Content-Security-Policy": f"default-src 'none'; script-src {server.url}; connect-src {server.url}"
    }
    with Publisher() as publisher:
        page.open(publisher.page("/twelve", f"<!doctype html>{script}{body}", headers=headers))
        page.wait_until_true(f"{ELEMENTS}.every((e) => e.dataset.connection === 'open')")
        page.wait_until_true(f"{GOALS}.every((goals) => goals === '0–0')")
        assert viewers(server) == 1
        goal: dict[str, Json] = {
            "type": "GOAL",
            "period": "H1",
            "minute": 3,
            "team": "home",
            "player": "Rossi",
        }
        assert server.post(*[event(match, "g1", **goal) for match in matches]) == 200
        page.wait_until_true(f"{GOALS}.every((goals) => goals === '1–0')")
        page.evaluate(f"void (globalThis.boards = {BOARDS})")
        retractions = [event(match, "g1", rev=2, op="RETRACT", reason="Ref. 7b") for match in matches]
        assert server.post(*retractions) == 200
        page.wait_until_true(f"{GOALS}.every((goals) => goals === '0–0')")
        assert page.evaluate(f"{ROWS}.every((row) => row.querySelector('s').textContent.includes('Rossi'))")
        assert page.evaluate(f"{ROWS}.every((row) => row.textContent.includes('Ref. 7b'))")
        said = json.dumps([language_of(lang).text("retracted.GOAL") for lang in spoken])
        assert page.evaluate(f"{ROWS}.every((row, n) => row.textContent.includes({said}[n]))"), said
        directions = page.evaluate(f"{BOARDS}.map((board) => getComputedStyle(board).direction)")
        assert directions == ["rtl" if lang == "ar" else "ltr" for lang in spoken]
        assert page.evaluate(f"{BOARDS}.every((board, n) => board === boards[n])")  # changed in place
        # The policy also refuses the page's own icon, and the worker that tier 2 would need.
        assert [error for error in page.errors() if "Security" not in error] == []
