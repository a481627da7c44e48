"""How long an origin with a long log takes until it is ready: the embedded fan-out reads all of it.

    python -m bench.bench_restart [--events 1000000] [--matches 10000] [--at-once 100] [--root DIR ...]

The log is SQLite's, the bus is in memory, as ``touchline serve`` has them by default. A season is played
``--at-once`` matches at a time; the events of those come in turns. Each root is a checkout of this project,
or this one if none is named; each gets the same file and two processes of its own, one after the other: the
second start finds the checkpoints that the first one has left, where there are any.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.results import keep
from origin.eventlog.sqlite import SqliteEventLog
from shared_state import Event

HERE = Path(__file__).parent.parent
EPOCH = 1_531_663_200_000
APPEND = 1_000
CHECKPOINTS_S = 15  # an idle worker writes 500 checkpoints in 0.2 s
TYPES = ("GOAL", "YELLOW_CARD", "SUBSTITUTION", "NOTE", "RED_CARD", "VAR", "STATUS_CHANGE")
DETAILS = {
    "NOTE": {"text": "Corner, taken from the left, cleared"},
    "VAR": {"state": "OPEN"},
    "STATUS_CHANGE": {"to": "LIVE"},
}

# Runs in each root, with its own sources. It prints the seconds until ``caught_up`` and the memory.
RESTART = """
import json, resource, sys, threading, time
from pathlib import Path
from origin.bus.memory import MemoryBus
from origin.eventlog.sqlite import SqliteEventLog
from origin.fanout.worker import FanOut
bus = MemoryBus()
begin, cpu = time.perf_counter(), time.process_time()
worker = FanOut(SqliteEventLog(Path(sys.argv[1])), bus, group=None)
thread = threading.Thread(target=worker.run)
thread.start()
while not worker.caught_up:
    time.sleep(0.01)
print(json.dumps({
    "seconds": round(time.perf_counter() - begin, 2),
    "cpu_seconds": round(time.process_time() - cpu, 2),
    "matches": len(bus.matches()),
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
}))
sys.stdout.flush()
time.sleep(float(sys.argv[2]))
worker.stop()
thread.join()
"""


def season(events: int, matches: int, at_once: int) -> Iterator[Event]:
    """The events of ``matches`` matches, ``at_once`` of them in turns."""
    each = events // matches
    for first in range(0, matches, at_once):
        playing = range(first, min(first + at_once, matches))
        for number in range(each):
            for match in playing:
                type_ = TYPES[number % len(TYPES)]
                yield Event(
                    match_id=f"m{match}",
                    event_id=f"e{number}",
                    rev=1,
                    op="ADD",
                    type=type_,
                    period="H1" if number * 2 < each else "H2",
                    minute=1 + number * 90 // each,
                    team="home" if number % 2 else "away",
                    player="A. Player",
                    detail=DETAILS.get(type_, {}),
                    source_ts=EPOCH + number * 60_000,
                )


def write(path: Path, events: Iterator[Event]) -> None:
    log = SqliteEventLog(path)
    batch: list[Event] = []
    for event in events:
        batch.append(event)
        if len(batch) == APPEND:
            log.append(batch)
            batch = []
    if batch:
        log.append(batch)
    log.close()


def main() -> int:
    """Write the log, let each root read it, keep and print what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--matches", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=100, help="matches whose events come in turns")
    parser.add_argument("--root", type=Path, action="append", help="a checkout; may be given several times")
    asked = parser.parse_args()
    measured = []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log.db"
        begin = time.perf_counter()
        write(path, season(asked.events, asked.matches, asked.at_once))
        print(f"log of {asked.events} events written in {time.perf_counter() - begin:.0f} s", flush=True)
        for root in asked.root or [HERE]:
            for start, stays_s in (("first", CHECKPOINTS_S), ("second", 0)):
                done = subprocess.run(
                    [sys.executable, "-c", RESTART, str(path), str(stays_s)],
                    cwd=root,
                    env={**os.environ, "PYTHONPATH": str(root.resolve())},
                    capture_output=True,
                    text=True,
                    check=True,
                )
                took = json.loads(done.stdout)
                measured.append({"root": root.resolve().name, "start": start, **took})
                print(f"{root.resolve().name}, {start} start: {took}", flush=True)
    print(
        keep(
            "restart",
            {"events": asked.events, "matches": asked.matches, "at_once": asked.at_once, "roots": measured},
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
