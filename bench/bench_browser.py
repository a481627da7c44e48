"""A reader's side: bytes and time until something is seen, and from a posted event to the changed page.

    python -m bench.bench_browser [--events 200] [--loads 5] [--part latency|runtimes|load …]

One machine runs origin, poster and Chromium, so the figures include no network: they are what the software
adds. Posting and painting are read off the same system clock.

* latency: the poster notes the time, posts one signed event, and a MutationObserver in the page notes when
  the scoreboard of that id is in the DOM. Tier 1 with the runtime blocked, tier 2 after it took over.
* runtimes: bytes of the light path; time from navigation to tier 2 (cold, warm, and with the page's main
  thread four times slower, which a worker is not); time for each delta of the World Cups in a worker; memory
  of the renderer with one and with ten live elements.
* load: first contentful paint, first live state (tier 1 connected), Python ready (tier 2); bytes by what
  came over the network, for a new visitor (cold: empty cache) and a returning one (warm).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, CDPSession, Page

from bench.results import keep, spread
from bench.world_cups import EPOCH, matches, published
from shared_state import Replica, encode_delta
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


# What a reader's browser fetches for tier 2.
LIGHT_PATH = (
    *("live-score.js", "afterwards.js", "runtime.js"),
    *("micropython-worker.js", "micropython.wasm", "touchline.romfs"),
)
READY = """
addEventListener("live-score:state", ({ detail }) => {
  window.marks ??= {};
  if (detail.tier >= 1) window.marks["tier1"] ??= performance.now();
  if (detail.tier >= 2) window.marks[`tier${detail.tier}`] ??= performance.now();
  if (detail.bootMs) window.marks[`boot${detail.tier}`] ??= detail.bootMs;
}, true);
"""
# Folds deltas in a worker of one runtime as runtime.js does, and gives the milliseconds of each.
FOLD = """
async ([engine, files, walks]) => {
  const url = (name) => new URL("/widget/" + files[name].path, location.href).href;
  const bytes = async (name) => (await fetch(url(name))).arrayBuffer();
  const parts = engine === "micropython"
    ? { wasm: await bytes("micropython.wasm"), image: await bytes("touchline.romfs") }
    : { runtime: url("runtime/pyodide.mjs").replace(/[^/]*$/, ""), bundle: url("touchline.zip") };
  const worker = new Worker(url(`${engine}-worker.js`), { type: "module" });
  const next = () => new Promise((resolve) => (worker.onmessage = ({ data }) => resolve(data)));
  worker.postMessage({ type: "boot", ...parts });
  const ready = await next();
  if (ready.type !== "ready") throw new Error(ready.reason);
  const taken = [];
  for (const { match, snapshot, deltas } of walks) {
    const ask = async (more) => {
      worker.postMessage({ type: "call", n: 1, request: JSON.stringify({ slot: match, match, ...more }) });
      const { reply, reason } = await next();
      if (!reply) throw new Error(reason);
    };
    await ask({ op: "restore", snapshot });
    for (const delta of deltas) {
      const start = performance.now();
      await ask({ op: "receive", deltas: [delta] });
      taken.push(performance.now() - start);
    }
    await ask({ op: "close" });
  }
  worker.terminate();
  return { boot: ready.bootMs, taken };
}
"""
FOLDED_MATCHES = 16
SLOWER = 4


def runtimes(browser: Browser, count: int) -> JsonObject:
    """Tiers 2 and 3: bytes, readiness, milliseconds for a delta, memory."""
    dist = Path(__file__).parents[1] / "widget" / "dist"
    files = json.loads((dist / "manifest.json").read_bytes())["files"]
    light = {name: files[name]["br"] for name in LIGHT_PATH}
    with tempfile.TemporaryDirectory() as directory, OriginServer(Path(directory)) as server:
        names = [MATCH, *(f"{MATCH}-{number}" for number in range(1, 10))]
        for name in names:
            server.post(*[{**note(number), "match_id": name} for number in range(20)])
            server.wait_for_seq(name, 20)
        ready: dict[str, list[JsonObject]] = {"cold": [], "warm": [], "cold_slower": []}
        for _ in range(count):
            for slower in (1, SLOWER):
                context = browser.new_context(service_workers="block")
                cold = _ready(context, server, slower)
                ready["cold_slower" if slower > 1 else "cold"].append(cold)
                if slower == 1:
                    ready["warm"].append(_ready(context, server, slower))
                context.close()
        return {
            "light_path_brotli_bytes": {**light, "total": sum(light.values())},
            "ready_ms": {name: _medians(visits) for name, visits in ready.items()},
            "delta_ms": {
                engine: _folded(browser, server, engine, files) for engine in ("micropython", "pyodide")
            },
            "memory_mib": {
                "tier 1, one element": _memory(browser, server, [MATCH], "none"),
                "tier 2, one element": _memory(browser, server, [MATCH], "micropython"),
                "tier 2, ten elements": _memory(browser, server, names, "micropython"),
                "tier 3, one element": _memory(browser, server, [MATCH], "pyodide"),
            },
        }


def _ready(context: BrowserContext, server: OriginServer, slower: int) -> JsonObject:
    page = context.new_page()
    page.add_init_script(READY)
    if slower > 1:
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
    page.goto(f"{server.url}/match/{MATCH}")
    wait_until_true(page, "Boolean(window.marks && window.marks.tier2)", 60_000)
    marks: dict[str, float] = page.evaluate("window.marks")
    page.close()
    return {"tier_1": marks["tier1"], "tier_2": marks["tier2"], "boot_in_worker": marks.get("boot2", -1)}


def _folded(browser: Browser, server: OriginServer, engine: str, files: JsonObject) -> JsonObject:
    walks = []
    for events in list(matches())[:: 128 // FOLDED_MATCHES]:
        deltas = [[str(of.id), encode_delta(of).decode()] for of in published(events, dated=True)]
        begin = Replica.begin(events[0].match_id, EPOCH).snapshot().decode()
        walks.append({"match": events[0].match_id, "snapshot": begin, "deltas": deltas})
    page = browser.new_page()
    page.goto(f"{server.url}/")
    found = page.evaluate(FOLD, [engine, files, walks])
    page.close()
    return {
        "boot_ms": round(found["boot"], 1),
        "deltas": len(found["taken"]),
        "each_ms": spread(found["taken"]),
    }


def _memory(browser: Browser, server: OriginServer, names: list[str], runtime: str) -> float:
    """The renderer's own memory (Pss) with these matches live, MiB."""
    session = browser.new_browser_cdp_session()
    before = _renderers(session)  # of Chromium's first tab, which is larger than some of these pages
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    elements = "".join(f"<live-score match={name} runtime={runtime}></live-score>" for name in names)
    script = "<script type=module src=/widget/live-score.js></script>"
    page.route(
        "**/memory",
        lambda route: route.fulfill(body=f"<!doctype html>{script}{elements}", content_type="text/html"),
    )
    page.goto(f"{server.url}/memory")
    tier = {"none": 1, "micropython": 2, "pyodide": 3}[runtime]
    found = page.locator(f"live-score[data-tier='{tier}']")
    deadline_s = time.monotonic() + 60
    while found.count() < len(names) and time.monotonic() < deadline_s:
        page.wait_for_timeout(100)
    page.wait_for_timeout(2_000)
    # The one that Chromium keeps ready for the next page is the smaller of the new ones.
    sizes = [_pss_mib(process) for process in _renderers(session) - before]
    session.detach()
    context.close()
    return round(max(sizes), 1)


def _renderers(session: CDPSession) -> set[int]:
    """The processes that render pages."""
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    return {process["id"] for process in processes if process["type"] == "renderer"}


def _pss_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument(
        "--part", action="append", choices=("latency", "runtimes", "load"), help="default: all"
    )
    options = parser.parse_args()
    parts = options.part or ["latency", "runtimes", "load"]
    with launch() as browser:
        measured: JsonObject = {"browser": browser.version}
        if "latency" in parts:
            measured["latency"] = [latencies(browser, tier, options.events) for tier in (1, 2)]
        if "runtimes" in parts:
            measured["runtimes"] = runtimes(browser, options.loads)
        if "load" in parts:
            measured["load"] = loads(browser, options.loads)
    name = "browser" if options.part is None else f"browser-{'-'.join(parts)}"
    print(keep(name, measured).read_text())


if __name__ == "__main__":
    main()
