"""Twelve matches in three languages on another site's page with a strict policy, in each engine.

    python -m bench.bench_twelve [--loads 5] [--engines chromium,firefox,webkit]

How long after the navigation began all twelve are live (their stream has brought a frame), and how long after
the retractions of twelve goals were posted the last of the twelve boards has changed. The browser's cache is
empty at the first load and warm at the others; medians, and the first beside them. Everything is on one
machine, so there is no network in the figures. ``bench/results/twelve.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final, cast

from bench.results import RESULTS, keep
from shared_state.jsontext import JsonObject
from testkit.engines import ENGINES, Engine, EngineName, launch_engine
from testkit.publisher import Publisher
from testkit.services.origin import OriginServer

COUNT: Final = 12
SPOKEN: Final = ("en", "de", "ar")
WATCH: Final = """
globalThis.live = {};
globalThis.corrected = {};
addEventListener("touchline:state", ({ detail }) => {
  if (detail.connection === "open") live[detail.match] ??= performance.now();
}, true);
addEventListener("touchline:correction", ({ detail }) => { corrected[detail.match] = Date.now(); }, true);
"""


def event(match: str, event_id: str, body: JsonObject, op: str = "ADD", rev: int = 1) -> JsonObject:
    """A canonical event."""
    return {"match_id": match, "event_id": event_id, "rev": rev, "op": op, **body}


def visit(engine: Engine, server: OriginServer, address: str, matches: list[str], number: int) -> JsonObject:
    """One load, then a goal in each match and its retraction."""
    page = engine.new_page()
    page.open(address)
    page.wait_until_true(f"Object.keys(live).length === {COUNT}")
    live_ms = page.evaluate("Math.max(...Object.values(live))")
    goal: JsonObject = {"type": "GOAL", "period": "H1", "minute": 3, "team": "home", "player": "Rossi"}
    assert server.post(*[event(match, f"g{number}", goal) for match in matches]) == 200
    scores = (
        "[...document.querySelectorAll('live-score')].map((e) => e.shadowRoot.querySelector('.tl-goals'))"
    )
    page.wait_until_true(f"{scores}.every((goals) => goals.textContent === '1–0')")
    time.sleep(0.5)
    posted_ms = time.time_ns() / 1e6
    taken_back = [event(match, f"g{number}", {"reason": "offside"}, "RETRACT", 2) for match in matches]
    assert server.post(*taken_back) == 200
    page.wait_until_true(f"Object.keys(corrected).length === {COUNT}")
    corrected_ms = page.evaluate("Math.max(...Object.values(corrected))")
    page.close()
    assert isinstance(live_ms, int | float)
    assert isinstance(corrected_ms, int | float)
    return {"live_ms": round(live_ms), "corrected_ms": round(corrected_ms - posted_ms)}


def measure(name: EngineName, loads: int) -> JsonObject:
    """All loads of one engine."""
    matches = [f"twelve-{n}" for n in range(COUNT)]
    with (
        tempfile.TemporaryDirectory() as directory,
        OriginServer(Path(directory)) as server,
        Publisher() as publisher,
        launch_engine(name) as engine,
    ):
        for match in matches:
            live: JsonObject = {
                "type": "STATUS_CHANGE",
                "period": "H1",
                "minute": 0,
                "detail": {"to": "LIVE"},
            }
            assert server.post(event(match, "ko", live)) == 200
        for match in matches:
            server.wait_for_seq(match, 1)
        publisher.page("/watch.js", WATCH, content_type="text/javascript")
        elements = "".join(
            f"<live-score match={match} lang={SPOKEN[n % 3]}>{match}</live-score>"
            for n, match in enumerate(matches)
        )
        loader = f"{server.url}/widget/live-score.js"
        script = f"<script src=/watch.js></script><script type=module src={loader}></script>"
        policy = f"default-src 'none'; script-src 'self' {server.url}; connect-src {server.url}"
        address = publisher.page(
            "/twelve", f"<!doctype html>{script}{elements}", headers={"Content-Security-Policy": policy}
        )
        rows = [visit(engine, server, address, matches, number) for number in range(loads)]
    return {
        "engine": name,
        "first_live_ms": rows[0]["live_ms"],
        "live_ms": statistics.median(cast("float", row["live_ms"]) for row in rows[1:] or rows),
        "corrected_ms": statistics.median(cast("float", row["corrected_ms"]) for row in rows),
        "loads": rows,
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="twelve matches on another site's page, in each engine")
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--engines", default=",".join(ENGINES))
    options = parser.parse_args()
    names = options.engines.split(",")
    if unknown := set(names) - set(ENGINES):
        parser.error(f"no such engine: {', '.join(sorted(unknown))}")
    rows = [measure(cast("EngineName", name), options.loads) for name in names]
    lines = ["| engine | live, first load, ms | live, later loads, ms | corrected, ms |", "|---|--:|--:|--:|"]
    lines += [
        f"| {row['engine']} | {row['first_live_ms']} | {row['live_ms']:.0f} | {row['corrected_ms']:.0f} |"
        for row in rows
    ]
    text = "\n".join(lines) + "\n"
    keep("twelve", {"rows": rows})
    title = "# Twelve matches on another site's page\n\n"
    (RESULTS / "twelve.md").write_text(title + text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
