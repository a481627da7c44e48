"""100 missed deltas to 10,000 viewers that come back at once: real connections, origin, Redis.

    python -m bench.bench_reconnect [--viewers 10000] [--missed 100] [--repeats 3]

The origin is killed with -9 with all its viewers. While it is down the log gets ``--missed`` events, which
the fan-out worker puts into Redis. Then the origin is started again, and each viewer comes back with the id
that it had. Its memory being gone, the origin must read them from Redis. Needs ``make -C bench/stream``.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from typing import Any

from redis import Redis

from bench.bench_bus import cpu_s
from bench.results import keep
from bench.stream import meter
from bench.stream.compare import publish_when_up, say, warm_up
from bench.stream.load import LoadClient
from bench.stream.ours import MATCH, Ours
from bench.stream.server import BIN_DIR, kill_each
from origin.bus import open_bus
from origin.eventlog import open_eventlog
from shared_state import Event
from shared_state.jsontext import JsonObject

ORIGIN_WORKERS = 2


class RestartedOrigin(Ours):
    """An origin that can be down for a while, with its log and its Redis going on."""

    def kill_origin(self) -> int:
        """All processes that serve; when, in monotonic ns."""
        assert self._process is not None
        since_ns = kill_each(meter.tree(self._process.pid))
        self._process.wait()
        return since_ns

    def start_origin(self) -> None:
        """Start it again on its port."""
        self._launch_again()

    def append(self, first: int, count: int) -> None:
        """Events that the vendor sends by another way meanwhile; returns once Redis has them."""
        settings = self.environment()
        fields: JsonObject = {"op": "ADD", "rev": 1, "type": "YELLOW_CARD", "period": "H1", "minute": 10}
        events = [
            Event.from_json(
                fields | {"match_id": MATCH, "event_id": f"b{n}", "team": "home", "player": "Kanté"}
            )
            for n in range(first, first + count)
        ]
        with (
            contextlib.closing(open_eventlog(settings["EVENTLOG_URL"])) as log,
            contextlib.closing(open_bus(settings["BUS_URL"])) as bus,
        ):
            log.append(events)
            deadline = time.monotonic() + 30
            while (head := bus.head(MATCH)) is None or head.seq < first + count - 1:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"Redis stands at {head}, not at {first + count - 1}")
                time.sleep(0.02)

    def redis_work(self) -> tuple[float, int]:
        """What Redis has used so far, in seconds, and how many commands it has answered."""
        with contextlib.closing(Redis(port=self.redis_port)) as client:
            stats: Any = client.info("stats")
            return cpu_s(client), int(stats["total_commands_processed"])


def measure(viewers: int, missed: int) -> JsonObject:
    """One start of everything, one outage."""
    with (
        RestartedOrigin(ORIGIN_WORKERS) as server,
        LoadClient(
            BIN_DIR / "load", server.targets, server.path, viewers, resume=True, per_source=server.per_source
        ) as load,
    ):
        opened = load.open(120)
        if opened.connected != viewers:
            raise RuntimeError(f"only {opened.connected} of {viewers} connected")
        number, padding = warm_up(server, load, 30)
        before = load.totals()
        since_ns = server.kill_origin()
        server.append(number, missed)
        used_s, commands = server.redis_work()
        started_ns = time.monotonic_ns()
        server.start_origin()
        back = load.back(since_ns, 120)
        after_used_s, after_commands = server.redis_work()
        number += missed
        sent_ns = publish_when_up(server, number, padding)
        received = load.wait(number, sent_ns, viewers, 60)
        after = load.totals()
    back_s = back.seconds - (started_ns - since_ns) / 1e9
    run: JsonObject = {
        "back": back.live,
        "back_s_after_start": round(back_s, 2),
        "frames": after["frames"] - before["frames"],
        "have_the_next": received.delivered,
        "missed": after["missed"] - before["missed"],
        "twice": after["duplicates"] - before["duplicates"],
        "sent_to_snapshot": after["gap_events"] - before["gap_events"],
        "redis_cpu_s": round(after_used_s - used_s, 3),
        "redis_commands": after_commands - commands,
    }
    say(str(run))
    return run


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--viewers", type=int, default=10_000)
    parser.add_argument("--missed", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    runs = [measure(arguments.viewers, arguments.missed) for _ in range(arguments.repeats)]
    result: JsonObject = {"viewers": arguments.viewers, "missed": arguments.missed, "runs": runs}
    result["median"] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    print(keep("bus-reconnect", result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
