"""What five protocols cost for the same match: requests, bytes, CPU at the origin, latency.

    python -m bench.bench_protocols [--clients 50 200] [--minutes 30]

It is the comparison of the lab (docs/lab.md) by command: an origin process and a process of clients for each
protocol, side by side, half an hour of the 2018 final in scaled time. Kept in
``bench/results/protocols.json`` and ``.md``. All clients are on this machine, at most 2,000 of each protocol.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from bench.results import RESULTS, keep
from origin.lab.comparison.run import CLIENTS_MAX, Comparison, Request, RequestedError

NAMES: Final = {
    "poll": "poll each 5 s",
    "conditional": "conditional poll each 5 s",
    "long-poll": "long poll through a cache",
    "sse": "SSE",
    "websocket": "WebSocket",
}
_HEAD: Final = (
    "| clients of each | protocol | requests | at the origin | MB up | MB down | CPU of the origin, s"
    " | p50, ms | p99, ms |"
)


def measure(asked: Request) -> dict[str, Any]:
    """One comparison.

    Raises:
        RuntimeError: it failed, or a client missed an event.
    """
    comparison = Comparison(asked)
    comparison.start()
    comparison.wait()
    state = comparison.state()
    if state["phase"] != "done":
        raise RuntimeError(state["error"])
    for row in state["rows"]:
        if row["received"] != row["expected"] or row["failures"]:
            raise RuntimeError(
                f"{row['protocol']}: {row['received']} of {row['expected']}: {row['failures']}"
            )
    del state["samples"], state["samples_before"]
    return state


def table(runs: list[dict[str, Any]]) -> str:
    """The rows of all runs, as Markdown."""
    lines = [_HEAD, "|--:|---|--:|--:|--:|--:|--:|--:|--:|"]
    for run in runs:
        for row in run["rows"]:
            cpu = f"{row['cpu_s']:.2f}"
            if row["cache_cpu_s"] is not None:
                cpu += f" + {row['cache_cpu_s']:.2f} of the cache"
            cells = (
                f"{run['clients']:,}",
                NAMES[row["protocol"]],
                f"{row['requests']:,}",
                f"{row['origin_requests']:,}",
                f"{row['bytes_up'] / 1e6:.2f}",
                f"{row['bytes_down'] / 1e6:.2f}",
                cpu,
                f"{row['p50_ms']:,.1f}",
                f"{row['p99_ms']:,.1f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, nargs="+", default=[50, 200], help=f"at most {CLIENTS_MAX}")
    parser.add_argument("--minutes", type=int, default=30, help="of the match, 10 to 30")
    given = parser.parse_args()
    try:
        requests = [Request.of(clients, given.minutes) for clients in given.clients]
    except RequestedError as error:
        parser.error(str(error))
    runs = [measure(asked) for asked in requests]
    path = keep("protocols", {"runs": runs})
    scales = ", ".join(f"{run['clients']:,} clients at {run['scale']:g} times its speed" for run in runs)
    text = (
        f"# Five protocols, the same {given.minutes} minutes of a match\n\n"
        f"`{' '.join(['python -m bench.bench_protocols', *sys.argv[1:]])}`: {scales}. A polling client asks"
        " each 5 s of the match; its latency is as measured, of the scaled interval. Everything is on one"
        " machine. Polls that were due while the last one was not answered are left out.\n\n" + table(runs)
    )
    (RESULTS / "protocols.md").write_text(text, encoding="utf-8")
    print(text, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
