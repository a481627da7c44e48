"""A reader's side: bytes and time until something is seen, and from a posted event to the changed page.

    python -m bench.bench_browser [--events 200] [--loads 5]

One machine runs origin, poster and Chromium, so the figures include no network: they are what the software
adds. Posting and painting are read off the same system clock.

* latency: the poster notes the time, posts one signed event, and a MutationObserver in the page notes when
  the scoreboard of that id is in the DOM. Tier 1 with the runtime blocked, tier 2 after it took over.
* load: first contentful paint, first live state (tier 1 connected), Python ready (tier 2); bytes by what
  came over the network, for a new visitor (cold: empty cache) and a returning one (warm).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page

from bench.results import keep, spread
from shared_state.jsontext import JsonObject
from testkit.browser import launch, wait_until_true
from testkit.services.origin import OriginServer

MATCH = "bench-match"
PAUSE_S = 0.04
WATCH = """
() => {
  window.seen = {};
  const widget = document.querySelector("live-score");
  const note = () => {
    const article = widget.querySelector("article");
    if (article && !(article.dataset.id in window.seen))
      window.seen[article.dataset.id] = performance.timeOrigin + performance.now();
  };
  new MutationObserver(note).observe(widget, { childList: true, subtree: true, attributes: true });
}
"""
MARKS = """
addEventListener("live-score:state", event => {
  window.marks ??= {};
  const { tier, connection } = event.detail;
  if (connection === "open") window.marks["live"] ??= performance.now();
  if (tier === 2) window.marks["python"] ??= performance.now();
}, true);
"""


def note(number: int) -> JsonObject:
    """An event that changes the page."""
    return {
        "match_id": MATCH,
        "event_id": f"n{number}",
        "rev": 1,
        "op": "ADD",
        "type": "GOAL",
        "period": "H1",
        "minute": 1 + number % 45,
        "team": "home" if number % 2 else "away",
        "player": f"Player {number}",
    }


def latencies(browser: Browser, tier: int, events: int) -> JsonObject:
    """From the post of an event to its scoreboard in the DOM, milliseconds."""
    with tempfile.TemporaryDirectory() as directory, OriginServer(Path(directory)) as server:
        server.post(note(0))
        server.wait_for_seq(MATCH, 1)
        page = browser.new_page()
        if tier == 1:
            page.route("**/*.wasm", lambda route: route.abort())
        page.goto(f"{server.url}/match/{MATCH}")
        page.wait_for_selector(f"live-score[data-tier='{tier}'][data-connection='open']", timeout=60_000)
        page.evaluate(WATCH)
        epoch = server.state(MATCH)["epoch"]
        posted: dict[str, float] = {}
        for number in range(1, events + 1):
            posted[f"{epoch}-{number + 1}"] = time.time() * 1000
            server.post(note(number))
            page.wait_for_timeout(PAUSE_S * 1000)
        page.wait_for_selector(f"live-score article[data-id='{epoch}-{events + 1}']")
        seen: dict[str, float] = page.evaluate("window.seen")
        page.close()
    # A burst may skip to the newest; what was never shown has no latency, and is counted.
    taken = [seen[id_] - posted[id_] for id_ in posted if id_ in seen]
    return {"tier": tier, "skipped": len(posted) - len(taken), "posted_to_dom_ms": spread(taken)}


def load(context: BrowserContext, server: OriginServer) -> JsonObject:
    """One visit: milliseconds since navigation began, and bytes over the network."""
    page = context.new_page()
    page.add_init_script(MARKS)
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    received: list[float] = []
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto(f"{server.url}/match/{MATCH}")
    wait_until_true(page, "Boolean(window.marks && window.marks.python)", 60_000)
    marks: dict[str, float] = page.evaluate("window.marks")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1")
    document = page.evaluate("performance.getEntriesByType('navigation')[0].transferSize")
    loader = _transferred(page, "live-score")
    page.close()
    return {
        "first_paint_ms": paint,
        "live_ms": marks["live"],
        "python_ms": marks["python"],
        "document_bytes": document,
        "loader_bytes": loader,
        "page_bytes_total": sum(received),
    }


def _transferred(page: Page, name: str) -> int:
    found: int = page.evaluate(
        "name => performance.getEntriesByType('resource').filter(e => e.name.includes(name) &&"
        " e.initiatorType === 'script').reduce((sum, e) => sum + e.transferSize, 0)",
        name,
    )
    return found


def loads(browser: Browser, count: int) -> JsonObject:
    """Cold and warm visits, interleaved."""
    cold, warm = [], []
    with tempfile.TemporaryDirectory() as directory, OriginServer(Path(directory)) as server:
        server.post(*[note(number) for number in range(20)])
        server.wait_for_seq(MATCH, 20)
        for _ in range(count):
            context = browser.new_context()
            cold.append(load(context, server))
            time.sleep(1)  # let the service worker settle, as the time between two visits does
            warm.append(load(context, server))
            context.close()
        runtime = Path(__file__).parents[1] / "widget" / "dist"
        files = {path.name: path.stat().st_size for path in sorted(runtime.rglob("*.br"))}
    return {"cold": _medians(cold), "warm": _medians(warm), "brotli_bytes": files}


def _medians(visits: list[JsonObject]) -> JsonObject:
    return {key: round(statistics.median(visit[key] for visit in visits), 1) for key in visits[0]}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--loads", type=int, default=5)
    options = parser.parse_args()
    with launch() as browser:
        measured = {
            "browser": browser.version,
            "latency": [latencies(browser, tier, options.events) for tier in (1, 2)],
            "load": loads(browser, options.loads),
        }
    print(keep("browser", measured).read_text())


if __name__ == "__main__":
    main()
