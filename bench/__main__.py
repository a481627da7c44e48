"""``make bench``: every measurement that fits a quarter of an hour, one after the other.

The stream tier's comparison with its peers takes longer and installs them; see ``bench/stream``.
"""

from __future__ import annotations

import subprocess
import sys

SUITE = (
    ("bench.bench_fold",),
    ("bench.bench_delta_bytes",),
    ("bench.bench_eventlog",),
    ("bench.bench_list",),
    ("bench.bench_bus", "publish", "--repeats", "3"),
    ("bench.bench_bus", "replay", "--repeats", "1"),
    ("bench.bench_browser",),
    ("bench.front_door",),
)


def main() -> int:
    """Run the suite; the exit code is that of the first one that failed."""
    for command in SUITE:
        print(f"== python -m {' '.join(command)}", flush=True)
        done = subprocess.run([sys.executable, "-m", *command], check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
