"""One corpus on every runtime, each reply compared byte for byte with CPython's.

    python -m tests.widget.equality [--scale N] [--runtime NAME …]

The runtimes are MicroPython and Pyodide, under Node and in a browser. The counts are printed; the exit code
is 1 where a reply differs. Scale 1 is what the suite runs; ``make soak`` runs 43, with every match of both
World Cups.
"""

from __future__ import annotations

import argparse
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from playwright.sync_api import Page

from testkit.browser import launch
from testkit.built_widget import DIST, manifest
from testkit.services.process import require_program
from tests.widget.corpus import Walk, corpus
from widget.build.bundle import npm_packages

__all__ = ["RUNTIMES", "Result", "in_browser", "main", "run", "summary", "under_node"]

HERE: Final = Path(__file__).parent
RUNTIMES: Final = ("micropython-node", "pyodide-node", "micropython-browser", "pyodide-browser")
# A page asks its worker one request after another; so many walks cross to the page at once.
WALKS_AT_ONCE: Final = 200

Corpus = Mapping[str, Sequence[Walk]]
# By part: "replies", "equal", "worded" (only a reason's text differs), and "first" that differs in more.
Result = dict[str, dict[str, Any]]

# Boots one worker of the reducer as runtime.js does.
PAGE: Final = """<!doctype html><title>equality</title><script type="module">
import { compare } from "/compare.mjs";
const url = (path) => new URL("/dist/" + path, location.href).href;
const parts = {
  micropython: async (files) => ({
    wasm: await (await fetch(url(files["micropython.wasm"].path))).arrayBuffer(),
    image: await (await fetch(url(files["touchline.romfs"].path))).arrayBuffer(),
  }),
  pyodide: async (files) => ({
    runtime: url(files["runtime/pyodide.mjs"].path.replace(/[^/]*$/, "")),
    bundle: url(files["touchline.zip"].path),
  }),
};
window.boot = async (engine) => {
  const { files } = await (await fetch("/dist/manifest.json")).json();
  const port = new Worker(url(files[`${engine}-worker.js`].path), { type: "module" });
  const next = () => new Promise((resolve) => (port.onmessage = ({ data }) => resolve(data)));
  port.postMessage({ type: "boot", ...(await parts[engine](files)) });
  const ready = await next();
  if (ready.type !== "ready") throw new Error(ready.reason);
  let n = 0;
  window.run = (corpus) => compare(corpus, async (request) => {
    port.postMessage({ type: "call", n: ++n, request });
    const { type, reply, reason } = await next();
    if (type !== "reply") throw new Error(reason);
    return reply;
  });
};
window.loaded = true;
</script>"""


class _Files(http.server.SimpleHTTPRequestHandler):
    """The build, the comparing script and the page, under the policy that our own pages have."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by its base
        """Nothing: the counts are what is printed."""

    def do_GET(self) -> None:
        if self.path == "/":
            body = PAGE.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            super().do_GET()

    def end_headers(self) -> None:
        policy = (
            "default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; connect-src 'self'"
        )
        self.send_header("Content-Security-Policy", policy + "; worker-src 'self'")
        super().end_headers()

    def translate_path(self, path: str) -> str:
        root, name = (DIST, path.removeprefix("/dist/")) if path.startswith("/dist/") else (HERE, path[1:])
        return str(root / name)

    extensions_map = {  # noqa: RUF012 - named so by its base
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }


def under_node(engine: str, walks: Corpus) -> Result:
    """Run the corpus under Node: ``micropython`` or ``pyodide``."""
    argv = [require_program("node"), str(HERE / "runtimes.mjs"), engine, str(DIST), str(npm_packages())]
    done = subprocess.run(argv, input=json.dumps(walks), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{engine} under Node failed: {done.stderr[-2_000:]}")
    result: Result = json.loads(done.stdout)
    return result


def in_browser(page: Page, engine: str, walks: Corpus) -> Result:
    """Run the corpus in a worker of a page, under ``script-src … 'wasm-unsafe-eval'``."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            page.goto(f"http://127.0.0.1:{web.server_port}/")
            page.evaluate("(engine) => boot(engine)", engine)
            total: Result = {}
            for part, rows in walks.items():
                for at in range(0, len(rows), WALKS_AT_ONCE):
                    chunk = {part: rows[at : at + WALKS_AT_ONCE]}
                    found = page.evaluate("(corpus) => run(corpus)", chunk)[part]
                    known = total.setdefault(part, {"replies": 0, "equal": 0, "worded": 0, "first": None})
                    for name in ("replies", "equal", "worded"):
                        known[name] += found[name]
                    known["first"] = known["first"] or found["first"]
            return total
        finally:
            web.shutdown()
            thread.join()


def run(runtime: str, walks: Corpus) -> Result:
    """Run the corpus on one of ``RUNTIMES``."""
    engine, _, place = runtime.partition("-")
    if place == "node":
        return under_node(engine, walks)
    with launch() as browser:
        return in_browser(browser.new_page(), engine, walks)


def summary(runtime: str, result: Result) -> str:
    """The counts as lines of text."""
    lines = [f"{runtime}:"]
    for part, found in result.items():
        wrong = found["replies"] - found["equal"] - found["worded"]
        lines.append(
            f"  {part:<22}{found['equal']:>7} of {found['replies']:>6} replies equal,"
            f" {found['worded']:>4} but for the wording of a reason, {wrong} wrong"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.widget.equality", description=__doc__)
    parser.add_argument("--scale", type=int, default=1, help="how many times the suite's corpus; default: 1")
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="default: all")
    options = parser.parse_args(argv)
    manifest()
    start = perf_counter()
    walks = corpus(options.scale)
    count = sum(len(walk) for part in walks.values() for walk in part)
    print(f"corpus of {count} requests, scale {options.scale}, {perf_counter() - start:.0f} s")
    wrong = 0
    for runtime in options.runtime or RUNTIMES:
        start = perf_counter()
        result = run(runtime, walks)
        print(summary(runtime, result), f"\n  {perf_counter() - start:.0f} s", flush=True)
        for part, found in result.items():
            if found["first"] is not None:
                wrong += 1
                print(f"  first in {part}: {json.dumps(found['first'], ensure_ascii=False, indent=2)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
