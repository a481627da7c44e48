"""What readers wait for, by line and device: first paint, live, Python ready, an event until it is seen.

    python -m bench.bench_readers [--loads 3] [--events 20] [--lines full,slower,1600,400]

Chromium comes to a ``touchline serve`` through one shaped line (``testkit.services.shaped_line``) with every
byte of page, workers and service worker:

* ``full``: as it is; ``slower``: the page's main thread four times slower (not its workers, which the browser
  does not slow down);
* ``1600``: 1.6 Mbit/s down, 750 kbit/s up, 150 ms; ``400``: 400 kbit/s each way, 400 ms.

Pages: ``own``, the match's page of the origin, and ``third``, another site's page with one element and the
loader. Each visit is cold (an empty cache) and then warm (the same reader again). Python is tier 2
(MicroPython), and tier 3 (Pyodide) where a third page asks for it by ``runtime="pyodide"``. Events are posted
after Python is ready, the line's delay is in them. ``bench/results/readers.json`` and ``.md``, medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, BrowserContext, Page

from bench.bench_browser import MATCH, note
from bench.results import RESULTS, keep
from shared_state.jsontext import JsonObject
from testkit.browser import launch, wait_until_true
from testkit.publisher import Publisher
from testkit.services.origin import OriginServer
from testkit.services.shaped_line import Line, ShapedLine, shaped_line

LINES: Final[Mapping[str, tuple[str, Line, int]]] = {
    "full": ("full speed", Line(), 1),
    "slower": ("main thread 4 × slower", Line(), 4),
    "1600": ("1.6 Mbit/s, 150 ms", Line(1_600_000, 750_000, 0.150), 1),
    "400": ("400 kbit/s, 400 ms", Line(400_000, 400_000, 0.400), 1),
}
# Whose page, and the tier that is waited for. 4 MB of Pyodide over 400 kbit/s is 80 s: nobody waits for it.
VISITS: Final = (("own", 2), ("third", 2), ("third", 3))
PAUSE_S: Final = 0.3
MARKS: Final = """
window.marks = { long: 0, longest: 0, shift: 0 };
addEventListener("live-score:state", ({ detail }) => {
  const now = performance.now();
  if (detail.connection === "open") window.marks.live ??= now;
  if (detail.tier >= 2) window.marks[`tier${detail.tier}`] ??= now;
}, true);
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) {
    window.marks.long += duration;
    window.marks.longest = Math.max(window.marks.longest, duration);
  }
}).observe({ type: "longtask", buffered: true });
new PerformanceObserver((list) => {
  for (const { value, hadRecentInput } of list.getEntries()) if (!hadRecentInput) window.marks.shift += value;
}).observe({ type: "layout-shift", buffered: true });
"""
# The element has its board in a shadow tree on another site's page, and as its child on ours.
WATCH: Final = """
() => {
  window.seen = {};
  const element = document.querySelector("live-score");
  const root = element.shadowRoot ?? element;
  const note = () => {
    const board = root.querySelector("article");
    if (board && !(board.dataset.id in window.seen))
      window.seen[board.dataset.id] = performance.timeOrigin + performance.now();
  };
  new MutationObserver(note).observe(root, { childList: true, subtree: true, attributes: true });
}
"""


class Reader:
    """One browser's way to one origin and one publisher."""

    def __init__(self, server: OriginServer, publisher: Publisher, line: ShapedLine, slower: int) -> None:
        self.server = server
        self.line = line
        self._slower = slower
        origin, site = line.ports
        self._own = f"http://127.0.0.1:{origin}/match/{MATCH}"
        self._third = {}
        for tier, runtime in ((2, "micropython"), (3, "pyodide")):
            publisher.page(
                f"/tier-{tier}",
                f"<!doctype html><meta name=viewport content='width=device-width'><title>A page</title>"
                f"<p>News.<script type=module src=http://127.0.0.1:{origin}/widget/live-score.js></script>"
                f"<live-score match={MATCH} runtime={runtime}></live-score>",
            )
            self._third[tier] = f"http://localhost:{site}/tier-{tier}"

    def visit(self, context: BrowserContext, whose: str, tier: int, events: int) -> JsonObject:
        """Milliseconds since navigation began, and bytes of the line until Python was ready."""
        page = context.new_page()
        page.add_init_script(MARKS)
        if self._slower > 1:
            context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": self._slower})
        before, _ = self.line.bytes
        page.goto(self._own if whose == "own" else self._third[tier], wait_until="commit")
        wait_until_true(page, f"Boolean(window.marks?.live && window.marks?.tier{tier})", 120_000)
        after, _ = self.line.bytes
        marks: dict[str, float] = page.evaluate("window.marks")
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1")
        row: JsonObject = {
            "first_paint_ms": round(paint),
            "live_ms": round(marks["live"]),
            "python_ms": round(marks[f"tier{tier}"]),
            "kb": round((after - before) / 1_000, 1),
            "long_tasks_ms": round(marks["long"]),
            "longest_task_ms": round(marks["longest"]),
            "layout_shift": round(marks["shift"], 3),
        }
        if events:
            row["event_ms"] = self._event_ms(page, events)
        page.close()
        return row

    def _event_ms(self, page: Page, events: int) -> float:
        page.evaluate(WATCH)
        state = self.server.state(MATCH)
        epoch, seq = state["epoch"], state["seq"]
        assert isinstance(seq, int)
        posted: dict[str, float] = {}
        for number in range(seq, seq + events):
            posted[f"{epoch}-{number + 1}"] = time.time() * 1_000
            assert self.server.post(note(number)) == 200
            page.wait_for_timeout(PAUSE_S * 1_000)
        wait_until_true(page, f"Boolean(window.seen['{epoch}-{seq + events}'])", 30_000)
        seen: dict[str, float] = page.evaluate("window.seen")
        return round(statistics.median(seen[id_] - posted[id_] for id_ in posted if id_ in seen), 1)


def measure(browser: Browser, name: str, loads: int, events: int) -> list[JsonObject]:
    """All visits over one line."""
    title, line, slower = LINES[name]
    rows = []
    for whose, tier in VISITS:
        if tier == 3 and name == "400":
            continue
        with (
            tempfile.TemporaryDirectory() as directory,
            OriginServer(Path(directory)) as server,
            Publisher() as publisher,
            shaped_line(line, [server.port, publisher.port]) as shaped,
        ):
            assert server.post(*[note(number) for number in range(20)]) == 200
            server.wait_for_seq(MATCH, 20)
            reader = Reader(server, publisher, shaped, slower)
            visits: dict[str, list[JsonObject]] = {"cold": [], "warm": []}
            for load in range(loads):
                context = browser.new_context(viewport={"width": 390, "height": 844})
                visits["cold"].append(reader.visit(context, whose, tier, 0))
                time.sleep(2)  # the service worker settles, as in the time between two visits
                visits["warm"].append(reader.visit(context, whose, tier, events if load == 0 else 0))
                context.close()
        for kind, found in visits.items():
            keys = [key for key in found[-1] if key != "event_ms"]
            row: JsonObject = {"line": name, "title": title, "page": whose, "tier": tier, "visit": kind}
            row |= {key: statistics.median(_number(visit[key]) for visit in found) for key in keys}
            if "event_ms" in found[0]:
                row["event_ms"] = found[0]["event_ms"]
            rows.append(row)
            print(row, flush=True)
    return rows


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value


def table(rows: list[JsonObject]) -> str:
    """The rows as Markdown."""
    columns: tuple[str, ...] = (
        "line",
        "page, Python",
        "visit",
        "first paint, ms",
        "live, ms",
        "Python ready, ms",
    )
    columns = (*columns, "event → seen, ms", "KB", "long tasks, ms", "longest, ms", "layout shift")
    lines = [f"| {' | '.join(columns)} |", f"|---|---|---|{'--:|' * (len(columns) - 3)}"]
    for row in rows:
        cells = [row["title"], f"{row['page']}, tier {row['tier']}", row["visit"]]
        cells += [f"{row[key]:.0f}" for key in ("first_paint_ms", "live_ms", "python_ms")]
        cells += [row.get("event_ms", ""), f"{row['kb']:.0f}"]
        cells += [f"{row[key]:.0f}" for key in ("long_tasks_ms", "longest_task_ms")]
        lines.append(f"| {' | '.join(map(str, [*cells, row['layout_shift']]))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="what readers wait for, by line and device")
    parser.add_argument("--loads", type=int, default=3)
    parser.add_argument("--events", type=int, default=20)
    parser.add_argument("--lines", default=",".join(LINES))
    parser.add_argument("--name", default="readers", help="of the files in bench/results")
    options = parser.parse_args()
    names = options.lines.split(",")
    if unknown := set(names) - set(LINES):
        parser.error(f"no such line: {', '.join(sorted(unknown))}")
    with launch() as browser:
        rows = [row for name in names for row in measure(browser, name, options.loads, options.events)]
        version = browser.version
    keep(options.name, {"browser": version, "rows": rows})
    text = table(rows)
    title = "# What readers wait for, by line and device\n\n"
    (RESULTS / f"{options.name}.md").write_text(title + text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
