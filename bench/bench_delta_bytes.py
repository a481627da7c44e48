"""Bytes of a delta over every match of two World Cups: what a reader pays for one change.

    python -m bench.bench_delta_bytes

Measured is the JSON of the delta, without its id and before any compression or framing. ``undated`` is as the
files tell it; ``dated`` has the ``source_ts`` that live feeds send. Goal: median at most 120.
"""

from __future__ import annotations

import statistics
import sys

from bench.results import keep, percentile
from bench.world_cups import FILES, matches, published
from shared_state import encode_delta
from shared_state.jsontext import JsonObject

GOAL_MEDIAN_BYTES = 120


def measure(*, dated: bool) -> JsonObject:
    """The sizes, of all and by type of event."""
    sizes: dict[str, list[int]] = {}
    for match in matches():
        for delta in published(match, dated=dated):
            sizes.setdefault(delta.event.type, []).append(len(encode_delta(delta)))
    every = [size for group in sizes.values() for size in group]
    return {
        "deltas": len(every),
        "median": statistics.median(every),
        "p95": percentile(every, 95),
        "max": max(every),
        "by_type": {
            type_: {"count": len(group), "median": statistics.median(group), "p95": percentile(group, 95)}
            for type_, group in sorted(sizes.items(), key=lambda item: -len(item[1]))
        },
    }


def main() -> int:
    """Measure, keep, print; 1 if the goal is missed, which no busy machine can cause."""
    undated, dated = measure(dated=False), measure(dated=True)
    path = keep(
        "delta_bytes",
        {
            "files": [file.name for file in FILES],
            "matches": sum(1 for _ in matches()),
            "goal_median": GOAL_MEDIAN_BYTES,
            "undated": undated,
            "dated": dated,
        },
    )
    for name, sizes in (("undated", undated), ("dated", dated)):
        print(
            f"{name}: {sizes['deltas']} deltas, median {sizes['median']:g} bytes, "
            f"p95 {sizes['p95']}, max {sizes['max']}"
        )
    print(path)
    return 0 if max(undated["median"], dated["median"]) <= GOAL_MEDIAN_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
