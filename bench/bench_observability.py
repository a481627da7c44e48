"""What log lines and traces cost fan-out and the stream tier per delta, and that they cost nothing while off.

    python -m bench.bench_observability [--before COMMIT] [--rounds 15]

The same work is done by this checkout and, with ``--before``, by another commit's, in turns: 2,000 goals of
20 matches through a fan-out worker with log and bus in memory, and 300 goals to 200 viewers of one match over
socket pairs, of which only the hub's own turns count. All in processor time, so other work on the machine
matters little.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import timeit
from pathlib import Path
from typing import Final

from bench.results import RESULTS, keep
from origin.bus import Published
from origin.stream.hub.broadcast_report import report_broadcast
from origin.stream.hub.metrics import StreamMetrics
from origin.tracing import NO_TRACES
from shared_state import DeltaId
from shared_state.jsontext import JsonObject
from testkit.services.otlp import OtlpCollector

ROOT: Final = Path(__file__).parent.parent

# Runs in either checkout, so it uses only what both have. It prints microseconds per delta.
WORK: Final = """
import json, logging, os, sys, time
mode = sys.argv[1]
tracer = {}
if mode in ("info", "traces"):
    from origin.logs import configure_logging
    from origin.tracing import NO_TRACES, open_tracer
    configure_logging("info" if mode == "info" else "warning", "json")
    if mode == "traces":
        tracer = {"tracer": open_tracer(os.environ["COLLECTOR"], 1.0, "bench")}
from origin.bus.memory import MemoryBus
from origin.eventlog import SignedBy
from origin.eventlog.memory import MemoryEventLog
from origin.fanout.worker import FanOut
from shared_state import Event
from testkit.worlds.hub import MATCH, Bench

def goal(match, number):
    return Event(match_id=match, event_id=f"g{number}", rev=1, op="ADD", type="GOAL", period="H1",
                 minute=number % 45, team="home")

log, bus = MemoryEventLog(), MemoryBus()
worker = FanOut(log, bus, group="g", **tracer)
while not worker.caught_up:
    worker.step(0.0)
trace = {} if mode != "traces" else {"traceparent": "00-" + "4" * 32 + "-" + "5" * 16 + "-01"}
spent = 0.0
for number in range(100):
    for match in range(20):
        log.append([goal(f"m{match}", number)], signed_by=SignedBy("key-1", f"msg_{match}_{number}"), **trace)
    begun = time.thread_time()
    while worker.step(0.0):
        pass
    spent += time.thread_time() - begun
fanout = spent / 2_000 * 1e6

world = Bench()
if mode == "traces":
    world.world.hub.tracer = tracer["tracer"]
world.publish()
viewers = [world.viewer() for _ in range(200)]
world.settle()
spent = 0.0
about = ()
if mode != "off":
    from origin.provenance import Provenance
    about = (Provenance("msg_1", "key-1", trace.get("traceparent", "")),)
from origin.bus import Published
from shared_state import encode_delta
from testkit.worlds.hub import EPOCH
for number in range(300):
    seq = world.origin.position.seq + 1
    delta = world.origin.assign(goal(MATCH, seq), EPOCH + seq)
    world.bus.publish(MATCH, Published(delta.id, encode_delta(delta), *about), world.origin.snapshot())
    begun = time.thread_time()
    world.world.turn()
    world.world.turn()
    spent += time.thread_time() - begun
    if number % 20 == 0:
        for viewer in viewers:
            viewer.read()
stream = spent / 300 * 1e6
print(json.dumps([fanout, stream]))
if mode == "traces":
    tracer["tracer"].close()
"""


def measured(root: Path, mode: str, collector: str) -> tuple[float, float]:
    """Microseconds per delta of fan-out and of the stream tier, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", WORK, mode],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "COLLECTOR": collector},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        timeout=120,
    )
    fanout, stream = json.loads(done.stdout)
    return fanout, stream


def checkout(commit: str, into: Path) -> Path:
    """The files of a commit."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(into, filter="data")
    return into


def report_us() -> float:
    """What the stream tier does for each delta and worker while logs and traces are off, in microseconds.

    It is the latency of goals, which is always measured.
    """
    delta = Published(DeltaId(1, 1), b'{"e":"g1","t":"GOAL","m":1,"tm":"home","a":5,"s":[1,0]}')
    metrics, calls = StreamMetrics(), 20_000
    spent = timeit.repeat(
        lambda: report_broadcast(metrics, NO_TRACES, "m", (delta,), 0.0, 200), number=calls, repeat=9
    )
    return min(spent) / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", default="", help="a commit to compare with")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    collector = OtlpCollector()
    with tempfile.TemporaryDirectory() as folder:
        modes = [("off", ROOT, "off"), ("info", ROOT, "info"), ("traces", ROOT, "traces")]
        if arguments.before:
            modes.insert(0, ("before", checkout(arguments.before, Path(folder)), "off"))
        found: dict[str, list[tuple[float, float]]] = {name: [] for name, _, _ in modes}
        for _ in range(arguments.rounds):
            for name, root, mode in modes:
                found[name].append(measured(root, mode, collector.url))
    collector.close()
    report = round(report_us(), 1)
    result: JsonObject = {
        name: {
            "fanout_us": round(statistics.median(pair[0] for pair in pairs), 1),
            "fanout_us_least": round(min(pair[0] for pair in pairs), 1),
            "stream_us": round(statistics.median(pair[1] for pair in pairs), 1),
            "stream_us_least": round(min(pair[1] for pair in pairs), 1),
        }
        for name, pairs in found.items()
    }
    keep("observability", {"rounds": arguments.rounds, "us_per_delta": result, "off_report_us": report})
    note = (
        f"While off, all that is new in the stream tier is {report} µs for each delta and worker,"
        " however many watch: the latency of goals, which is always measured. The rest of the difference is"
        " noise of the machine."
    )
    shown = {
        "before": f"before (`{arguments.before}`)",
        "off": "off (level `warning`, no traces)",
        "info": "log level `info`, JSON",
        "traces": "traces on, all recorded",
    }
    lines = [
        "# Log lines and traces, per delta",
        "",
        f"Processor time in microseconds, median and least of {arguments.rounds} processes each, in turns.",
        "`python -m bench.bench_observability`. Stream: one delta to 200 viewers.",
        "",
        "| | fan-out, median | least | stream, median | least |",
        "|---|--:|--:|--:|--:|",
        *(
            f"| {shown[name]} | {one['fanout_us']} | {one['fanout_us_least']} | {one['stream_us']} |"
            f" {one['stream_us_least']} |"
            for name, one in result.items()
        ),
        "",
        note,
    ]
    (RESULTS / "observability.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
