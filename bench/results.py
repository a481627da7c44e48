"""How a result is kept: what was measured, by which command, on which machine."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from shared_state.jsontext import JsonObject

__all__ = ["RESULTS", "keep", "machine", "percentile", "spread"]

# Read when a bench is loaded: afterwards it is the bench's own load.
LOAD_AT_START = os.getloadavg()[0]
RESULTS = Path(__file__).parent / "results"


def machine() -> JsonObject:
    """What the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_at_start": round(LOAD_AT_START, 2),
    }


def keep(name: str, measured: JsonObject) -> Path:
    """Write ``bench/results/<name>.json``, with the command that made it."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    # As it is typed: ``python -m`` and the module, whatever the path of this machine's python is.
    program = Path(sys.argv[0])
    module = program.parent.name if program.stem == "__main__" else program.stem
    result = {
        "command": " ".join(["python -m", f"bench.{module}", *sys.argv[1:]]),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        **measured,
    }
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of all are not above."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]


def spread(values: Sequence[float], digits: int = 1) -> JsonObject:
    """Median, 99th percentile, extremes and count."""
    return {
        "count": len(values),
        "min": round(min(values), digits),
        "p50": round(statistics.median(values), digits),
        "p99": round(percentile(values, 99), digits),
        "max": round(max(values), digits),
    }
