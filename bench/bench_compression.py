"""What each coding and level makes of a page, and the CPU it takes: the ground of the levels in use.

    python -m bench.bench_compression        → bench/results/compression.json, .md

The page and the snapshot are those of the 2018 final at its end; the large one has the events of a match at
the bound of `TOUCHLINE_MATCH_MAX_EVENTS`, a tenth of it. CPU is the least of some runs, in this process.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import brotli

from bench.results import keep
from origin.web.compression import LARGE_BYTES
from shared_state.jsontext import JsonObject
from testkit.services.origin import OriginServer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FINAL = Path(__file__).parents[1] / "origin" / "demo" / "final-2018.jsonl"
MATCH, LAST = "2018-07-15-france-croatia", 28
LARGE_MATCH, LARGE_EVENTS = "large", 2_500
LEVELS = {"br": (1, 3, 4, 5, 6), "zstd": (1, 3, 5, 7, 9), "gzip": (1, 4, 5, 6)}
CODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "br": lambda body, level: brotli.compress(body, quality=level),
    "zstd": lambda body, level: zstd.compress(body, level=level),
    "gzip": lambda body, level: gzip.compress(body, level, mtime=0),
}


def bodies() -> dict[str, bytes]:
    """What the product itself answers."""
    with tempfile.TemporaryDirectory() as directory, OriginServer(Path(directory)) as origin:
        origin.post_file(FINAL, last=LAST)
        origin.wait_for_seq(MATCH, LAST)
        for first in range(0, LARGE_EVENTS, 500):
            assert origin.post(*(booking(number) for number in range(first, first + 500))) == 200
        origin.wait_for_seq(LARGE_MATCH, LARGE_EVENTS)
        paths = {
            "page": f"/match/{MATCH}",
            "snapshot": f"/api/match/{MATCH}/state",
            "large page": f"/match/{LARGE_MATCH}",
        }
        return {name: origin.get(path)[1] for name, path in paths.items()}


def booking(number: int) -> JsonObject:
    """One of very many events of a match."""
    return {
        "match_id": LARGE_MATCH,
        "event_id": f"b{number * 7919 % 100_003}",
        "rev": 1,
        "op": "ADD",
        "type": "YELLOW_CARD",
        "period": "H1",
        "minute": number % 45,
        "team": ("home", "away")[number % 2],
        "player": f"Player {number * 31 % 997}",
    }


def measure(body: bytes, repeats: int) -> list[JsonObject]:
    """Each coding at each level."""
    rows: list[JsonObject] = []
    for coding, levels in LEVELS.items():
        for level in levels:
            best_s, packed = float("inf"), b""
            for _ in range(repeats):
                began_s = time.process_time()
                packed = CODERS[coding](body, level)
                best_s = min(best_s, time.process_time() - began_s)
            cpu_ms = round(best_s * 1_000, 3)
            rows.append({"coding": coding, "level": level, "bytes": len(packed), "cpu_ms": cpu_ms})
    return rows


def main() -> None:
    """Measure and keep."""
    found = {
        name: (len(body), measure(body, 3 if len(body) > LARGE_BYTES else 40))
        for name, body in bodies().items()
    }
    path = keep(
        "compression", {name: {"bytes": size, "rows": [*rows]} for name, (size, rows) in found.items()}
    )
    lines = ["# Codings of a page", ""]
    for name, (size, rows) in found.items():
        lines += [
            f"## {name}, {size:,} bytes",
            "",
            "| coding | level | bytes | CPU, ms |",
            "|---|--:|--:|--:|",
        ]
        lines += [
            f"| {row['coding']} | {row['level']} | {row['bytes']:,} | {row['cpu_ms']} |" for row in rows
        ]
        lines.append("")
    path.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
