"""Measures the stream tier: see README.md in this folder.

    python -m bench.stream.run                            all servers, 18,000 connections each
    python -m bench.stream.run --scale 50000 --workers 3  ours: several processes behind one port, kill -9
    python -m bench.stream.run --pages                    ours: the same with and without page load

The table goes to standard output; JSON, table and chart to bench/results/stream-<name>.*
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import statistics
import subprocess
import sys
from dataclasses import asdict

from bench.stream import meter
from bench.stream.chart import chart
from bench.stream.compare import Plan, compare, say
from bench.stream.load import MAX_PER_PROCESS
from bench.stream.ours import Ours, OursAllDifferent, OursOneByOne, OursSeveral
from bench.stream.peer_servers import PEERS, Floor
from bench.stream.report import comparison_json, comparison_table, write_json
from bench.stream.scale import PagesSample, ScaleSample, measure_pages, measure_scale
from bench.stream.server import BIN_DIR, PROJECT_DIR, STREAM_DIR, Server

RESULTS_DIR = PROJECT_DIR / "bench" / "results"
# In the order of the table: the floor, ours, then the peers.
ORDER: tuple[type[Server], ...] = (Floor, Ours, OursSeveral, OursOneByOne, OursAllDifferent, *PEERS)
SERVERS = {kind.name: kind for kind in ORDER}


def main() -> int:
    options = read_options()
    build()
    facts: dict[str, object] = {
        "command": shlex.join(["python", "-m", "bench.stream.run", *sys.argv[1:]]),
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": meter.machine(),
    }
    if options.scale:
        return run_scale(options, facts)
    if options.pages:
        return run_pages(options, facts)
    return run_comparison(options, facts)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--connections", type=int, default=18_000, help="per server (default 18000)")
    parser.add_argument("--servers", default=",".join(SERVERS), help=f"default {','.join(SERVERS)}")
    parser.add_argument("--repeat", type=int, default=3, help="times all over again, interleaved (default 3)")
    parser.add_argument("--publishes", type=int, default=10, help="events measured each time (default 10)")
    parser.add_argument("--no-reconnect", action="store_true", help="leave the kill out")
    parser.add_argument(
        "--scale", type=int, metavar="CONNECTIONS", help="ours alone, over --workers processes"
    )
    parser.add_argument("--workers", type=int, default=3, help="server processes for --scale (default 3)")
    parser.add_argument("--kill", default="one,all", help="with --scale: one, all or both (default), or none")
    parser.add_argument("--pages", action="store_true", help="ours alone, with and without page load")
    parser.add_argument("--name", help="of the result files: stream-<name>.json (default: by mode)")
    options = parser.parse_args()
    unknown = set(options.servers.split(",")) - set(SERVERS)
    if unknown:
        parser.error(f"unknown servers {', '.join(sorted(unknown))}; known: {', '.join(SERVERS)}")
    if not set(options.kill.split(",")) <= {"one", "all", "none"}:
        parser.error(f"--kill {options.kill}: one, all, one,all or none")
    if not 1 <= options.connections <= MAX_PER_PROCESS:
        parser.error(f"--connections must be 1 to {MAX_PER_PROCESS}: one process has 20,000 open files")
    return options


def build() -> None:
    """The two C programs; make does nothing when they are there."""
    subprocess.run(
        ["make", "--quiet", "-C", str(STREAM_DIR), f"OUT={BIN_DIR}"], check=True, stdout=sys.stderr
    )


def run_comparison(options: argparse.Namespace, facts: dict[str, object]) -> int:
    name = options.name or "compare"
    plan = Plan(options.connections, options.publishes, reconnect=not options.no_reconnect)
    kinds = [SERVERS[server] for server in SERVERS if server in options.servers.split(",")]
    measured = compare(kinds, plan, options.repeat)
    table = comparison_table(measured)
    title = f"{plan.connections:,} viewers in one process, one event to all of them"
    write_json(
        RESULTS_DIR / f"stream-{name}.json",
        {**facts, "plan": asdict(plan), "repeat": options.repeat, **comparison_json(measured)},
    )
    (RESULTS_DIR / f"stream-{name}.md").write_text(f"{_head(title, facts)}\n{table}")
    (RESULTS_DIR / f"stream-{name}.svg").write_text(chart(measured, title))
    print(table)
    failed = [one.name for one in measured if any(not sample.deliveries for sample in one.samples)]
    if failed:
        say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def run_scale(options: argparse.Namespace, facts: dict[str, object]) -> int:
    name = options.name or f"scale-{options.scale}"
    kills = tuple(kill for kill in options.kill.split(",") if kill != "none")
    samples: list[ScaleSample] = []
    missing = Ours(options.workers).missing()
    if missing:
        say(f"!!! NOT MEASURED: {missing}")
        return 1
    for repetition in range(1, options.repeat + 1):
        say(f"[{repetition}/{options.repeat}] {options.scale} connections, {options.workers} workers")
        samples.append(measure_scale(options.scale, options.workers, options.publishes, kills))
    table = scale_table(samples)
    write_json(
        RESULTS_DIR / f"stream-{name}.json", {**facts, "samples": [asdict(sample) for sample in samples]}
    )
    title = f"{options.scale:,} viewers on {options.workers} workers behind one port"
    (RESULTS_DIR / f"stream-{name}.md").write_text(f"{_head(title, facts)}\n{table}")
    print(table)
    return 1 if any(sample.problems for sample in samples) else 0


def scale_table(samples: list[ScaleSample]) -> str:
    lines = [
        "| run | connected | in s | p50 ms | p99 ms | last viewer ms | CPU per delivery µs | MB per worker |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for number, sample in enumerate(samples, 1):
        lines.append(
            f"| {number} | {sample.connected:,} | {sample.connect_s:.1f} | {sample.median_ms('p50_ms'):.0f} "
            f"| {sample.median_ms('p99_ms'):.0f} | {sample.median_ms('last_ms'):.0f} "
            f"| {sample.cpu_per_delivery_us:.1f} | {max(sample.resident_mb, default=0):.0f} |"
        )
    lines += ["", "| run | kill -9 of | lost | back | in s | have the event of the outage | missed |"]
    lines.append("|---|---|---|---|---|---|---|")
    for number, sample in enumerate(samples, 1):
        lines += [
            f"| {number} | {outage.killed_workers} of {sample.worker_count} | {outage.lost:,} "
            f"| {outage.back:,} | {outage.seconds:.1f} | {outage.delivered:,} | {outage.missed:,} |"
            for outage in sample.outages
        ]
    problems = [f"- run {n}: {problem}" for n, sample in enumerate(samples, 1) for problem in sample.problems]
    return "\n".join(lines + (["", *problems] if problems else [])) + "\n"


def run_pages(options: argparse.Namespace, facts: dict[str, object]) -> int:
    name = options.name or "pages"
    samples: list[PagesSample] = []
    for repetition in range(1, options.repeat + 1):
        say(f"[{repetition}/{options.repeat}] {options.connections} connections, pages beside them")
        samples.append(measure_pages(options.connections, options.publishes))
    lines = [
        "| run | pages/s | last viewer ms, Flask at rest | at full load | ratio |",
        "|---|---|---|---|---|",
    ]
    for number, sample in enumerate(samples, 1):
        quiet, busy = (
            statistics.median(one.last_ms for one in received) for received in (sample.quiet, sample.busy)
        )
        lines.append(
            f"| {number} | {sample.pages_per_s:.0f} | {quiet:.0f} | {busy:.0f} | {sample.ratio:.2f} |"
        )
    table = "\n".join(lines) + "\n"
    write_json(
        RESULTS_DIR / f"stream-{name}.json", {**facts, "samples": [asdict(sample) for sample in samples]}
    )
    title = f"{options.connections:,} viewers and pages in one process"
    (RESULTS_DIR / f"stream-{name}.md").write_text(f"{_head(title, facts)}\n{table}")
    print(table)
    return 0


def _head(title: str, facts: dict[str, object]) -> str:
    machine = facts["machine"]
    assert isinstance(machine, dict)
    return (
        f"## {title}\n\n`{facts['command']}`, {facts['when']}, {machine['cores']} cores "
        f"({machine['processor']}), {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}; the load client runs on the same cores.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
