"""What the list of matches costs an origin: CPU per request and memory per match, over the number of matches.

    python -m bench.bench_list [--sizes 100 1000 1001 10000 100000] [--requests 300]

Each size is a process of its own, with the embedded bus and 100 live matches of 40 events; all others ended.

* same: a request after which nothing changed
* changed: a request after one live match has changed, the publish not included
* first: the first request of the process, which reads all rows
* memory: what one more ended match takes, from the resident size before and after
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.results import keep, percentile
from origin.bus import Bus, Published
from origin.config import Config
from origin.web.app import create_app
from origin.web.origin import origin_of
from shared_state import DeltaId, Event, Replica, encode_delta
from shared_state.jsontext import JsonObject

EPOCH = 1_795_780_800_000
DAY_MS = 86_400_000
LIVE = 100
EVENTS = 40
NAME = "match-000000"


def played(status: str) -> tuple[list[Published], bytes]:
    """The deltas and the snapshot of one match, by the name ``NAME``."""
    replica = Replica.begin(NAME, EPOCH)
    teams = {"home": {"name": f"Home {NAME}"}, "away": {"name": f"Away {NAME}"}}
    bodies: list[JsonObject] = [
        {
            "type": "MATCH_INFO",
            "period": "PRE",
            "detail": {**teams, "competition": "League", "kickoff_ms": EPOCH},
        },
        {"type": "STATUS_CHANGE", "minute": 0, "source_ts": EPOCH, "detail": {"to": "LIVE"}},
        *({"type": "GOAL", "minute": n, "team": "home", "player": f"Player {n}"} for n in range(EVENTS - 3)),
        {"type": "STATUS_CHANGE", "period": "POST", "source_ts": EPOCH + 1, "detail": {"to": status}},
    ]
    deltas = []
    for number, body in enumerate(bodies):
        fields = {"match_id": NAME, "event_id": f"e{number}", "rev": 1, "op": "ADD"}
        made = replica.assign(Event.from_json(fields | body), EPOCH + number)
        if made is not None:
            deltas.append(Published(made.id, encode_delta(made)))
    return deltas, replica.snapshot()


def publish(bus: Bus, number: int, match: tuple[list[Published], bytes]) -> None:
    """Publish a match under a name and on a day of its own.

    The hash in its snapshot is that of the first name; the list does not look at it.
    """
    deltas, snapshot = match
    name = f"match-{number:06}"
    named = snapshot.replace(NAME.encode(), name.encode())
    dated = named.replace(b'"kickoff_ms":%d' % EPOCH, b'"kickoff_ms":%d' % (EPOCH + number % 300 * DAY_MS))
    # Bytes of its own, as in an origin: no two matches share a delta.
    bus.refill(name, [Published(DeltaId(*p.id), bytes(bytearray(p.delta))) for p in deltas], dated)


def resident_kib() -> int:
    """The resident size of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def cpu_us(run: Callable[[], object]) -> float:
    """The CPU time of this process for one call."""
    begin = time.process_time()
    run()
    return (time.process_time() - begin) * 1e6


def measure(size: int, requests: int) -> JsonObject:
    """One row of the table."""
    config: dict[str, Any] = {"eventlog_url": "memory://", "ingest_keys": ()}
    app = create_app(Config(**config), start=False)
    bus = origin_of(app).bus
    live, ended = played("HALF_TIME"), played("FT")
    again = [played("INTERRUPTED"), live]
    for number in range(LIVE):
        publish(bus, number, live)
    client = app.test_client()

    def get() -> None:
        response = client.get("/")
        assert response.status_code == 200, response.status
        response.close()

    few = min(size, 2 * LIVE + 300)  # the last ended ones stay in memory whole, and are not what grows
    for number in range(LIVE, few):
        publish(bus, number, ended)
    small_kib = resident_kib()
    for number in range(few, size):
        publish(bus, number, ended)
    first = cpu_us(get)
    grown_kib = resident_kib() - small_kib
    same = [cpu_us(get) for _ in range(requests)]
    changed = []
    for number in range(requests):
        deltas, snapshot = again[number % 2]
        epoch = EPOCH + number + 1
        newer = snapshot.replace(b'"epoch":%d' % EPOCH, b'"epoch":%d' % epoch)
        publish(bus, number % LIVE, ([Published(DeltaId(epoch, p.id.seq), p.delta) for p in deltas], newer))
        changed.append(cpu_us(get))
    origin_of(app).close()
    return {
        "matches": size,
        "cpu_us_same": round(percentile(same, 50)),
        "cpu_us_changed": round(percentile(changed, 50)),
        "cpu_us_changed_p99": round(percentile(changed, 99)),
        "cpu_ms_first": round(first / 1000, 1),
        "kib_per_ended_match": round(grown_kib / (size - few), 2) if size - few >= 1_000 else None,
    }


def main() -> int:
    """Measure each size, keep the table, print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 1_001, 10_000, 100_000])
    parser.add_argument("--requests", type=int, default=300)
    given = parser.parse_args()
    rows = []
    for size in given.sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(measure, (size, given.requests)))
        print(rows[-1], flush=True)
    print(keep("list", {"live": LIVE, "events": EVENTS, "requests": given.requests, "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
