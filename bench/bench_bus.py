"""What the bus costs in Redis, and what viewers notice when Redis fails.

    python -m bench.bench_bus publish [--repeats 5]    publishes/s and Redis' CPU with 1, 10, 100 origins
    python -m bench.bench_bus step    [--repeats 5]    the atomic step as a script, a Function, a MULTI
    python -m bench.bench_bus replay  [--repeats 5]    100 missed deltas to 10,000 viewers; memory per match
    python -m bench.bench_bus faults  [--repeats 3]    the table of faults

Redis' CPU is what Redis says of itself (``INFO cpu``) over the time it was measured: on a shared machine
it is the figure to compare, since it does not depend on what else ran on the cores. ``/s`` does.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from redis import Redis

from bench.results import RESULTS, keep, percentile
from origin.bus import Bus, Published, Suffix, open_bus
from origin.bus.redis_store import PUBLISH_SCRIPT
from shared_state import DeltaId, Event, Replica, encode_delta
from shared_state.jsontext import JsonObject
from testkit.faults.bus_faults import FAULTS, Fault, Outcome, run_fault
from testkit.services.redis import RedisServer

EPOCH = 1_531_666_800_000
MATCH_DELTAS = 150  # a feed that reports goals, cards, substitutions, shots worth a note, and corrections
MATCHES = 50  # played at once on a busy Saturday
ORIGINS = (1, 10, 100)
VIEWERS = 10_000
MISSED = 100
PAUSE_S = 10.0
WHOLE_BUS = " (all on that server)"


def whole_match() -> list[tuple[Published, bytes]]:
    """Every delta of a made-up match, each with the snapshot after it."""
    draw = random.Random(2018)
    replica = Replica.begin("match", EPOCH)
    steps = []
    for number in range(1, MATCH_DELTAS + 1):
        minute = number * 95 // MATCH_DELTAS
        fields: dict[str, Any] = {
            "match_id": "match",
            "event_id": f"e{number}",
            "rev": 1,
            "op": "ADD",
            "minute": minute,
            "period": "H1" if minute <= 45 else "H2",
            "team": draw.choice(["home", "away"]),
            "player": draw.choice(["Mandžukić", "Griezmann", "Perišić", "Pogba", "Mbappé", "Kanté"]),
            "source_ts": EPOCH + minute * 60_000,
        }
        kind = draw.choices(["GOAL", "YELLOW_CARD", "SUBSTITUTION", "NOTE", "RETRACT"], [3, 4, 6, 80, 2])[0]
        if kind == "NOTE":
            fields |= {"type": kind, "detail": {"text": "Shot from outside the box, wide of the left post"}}
        elif kind == "RETRACT":
            fields |= {"op": kind, "event_id": f"e{max(1, number - 1)}", "reason": "VAR: offside"}
        else:
            fields |= {"type": kind}
        delta = replica.assign(Event.from_json(fields), EPOCH + minute * 60_000 + 500)
        if delta is not None:
            steps.append((Published(delta.id, encode_delta(delta)), replica.snapshot()))
    return steps


@contextlib.contextmanager
def redis() -> Iterator[tuple[RedisServer, Bus]]:
    with tempfile.TemporaryDirectory() as directory:
        server = RedisServer(Path(directory))
        # Without this the figures would include a check each second.
        bus = open_bus(f"{server.url}?timeout_s=10&check_s=60")
        try:
            yield server, bus
        finally:
            bus.close()
            server.stop()


def cpu_s(client: Redis) -> float:
    """The CPU time that a Redis has used so far."""
    cpu: Any = client.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


# publishes/s -------------------------------------------------------------------------------------


def origins_elsewhere(port: int, channels: list[str], count: int) -> subprocess.Popen[str]:
    """``count`` connections that subscribe to all channels, in a process of their own."""
    command = [sys.executable, "-m", "bench.bench_bus", "drain", str(port), str(count), *channels]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def drain(port: int, count: int, channels: list[str]) -> None:
    """Be those connections: read and count bytes until stdin ends, then print the count."""
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(f"SUBSCRIBE {' '.join(channels)}\r\n".encode())
        answer = b""
        while answer.count(b"\r\n:") < len(channels):  # each confirmation ends with a number
            answer += connection.recv(65536)
        selector.register(connection, selectors.EVENT_READ, connection)
    print("ready", flush=True)
    read = 0
    while True:
        for ready, _ in selector.select():
            if ready.data is None:
                # All that was sent before has arrived by now.
                for other in list(selector.get_map().values()):
                    if other.data is not None:
                        other.data.setblocking(False)
                        with contextlib.suppress(BlockingIOError):
                            while data := other.data.recv(1 << 20):
                                read += len(data)
                print(read, flush=True)
                return
            read += len(ready.data.recv(1 << 20))


def publish_all(bus: Bus, names: list[str], steps: list[tuple[Published, bytes]]) -> int:
    done = 0
    for published, snapshot in steps:
        for name in names:
            done += bus.publish(name, published, snapshot)
    return done


def measure_publish(repeats: int) -> JsonObject:
    steps = whole_match()
    names = [f"m{number}" for number in range(MATCHES)]
    rows = []
    for origins in (0, *ORIGINS):
        rates, cpus = [], []
        for _ in range(repeats):
            with redis() as (server, bus):
                channels = [f"touchline:{{{name}}}:live" for name in names]
                child = origins_elsewhere(server.port, channels, origins) if origins else None
                before_cpu, before = cpu_s(server.client), time.perf_counter()
                done = publish_all(bus, names, steps)
                took, cpu = time.perf_counter() - before, cpu_s(server.client) - before_cpu
                if child is not None:
                    time.sleep(0.5)
                    read = int(child.communicate(timeout=30)[0])
                    expected = origins * sum(
                        message_bytes(channel, p) for channel in channels for p, _ in steps
                    )
                    assert read == expected, f"{read} bytes of {expected} came"
            rates.append(done / took)
            cpus.append(cpu / done * 1e6)
        row = {
            "origins": origins,
            "publishes_per_s": round(statistics.median(rates)),
            "publishes_per_s_all": [round(rate) for rate in rates],
            "redis_cpu_us_per_publish": round(statistics.median(cpus), 1),
            "redis_cpu_us_per_publish_all": [round(cpu, 1) for cpu in cpus],
            "redis_cpu_percent_at_100_per_s": round(statistics.median(cpus) / 100, 2),
        }
        print(row, flush=True)
        rows.append(row)
    return {
        "matches": MATCHES,
        "deltas_per_match": len(steps),
        "delta_bytes": round(statistics.mean(len(p.delta) for p, _ in steps)),
        "snapshot_bytes": round(statistics.mean(len(s) for _, s in steps)),
        "publishers": 1,
        "rows": rows,
    }


def message_bytes(channel: str, published: Published) -> int:
    """The length of one message as Redis pushes it, bytes."""
    data = f"{published.id} ".encode() + published.delta
    parts = (b"message", channel.encode(), data)
    return 4 + sum(1 + len(str(len(part))) + 2 + len(part) + 2 for part in parts)


# The atomic step ---------------------------------------------------------------------------------


def measure_step(repeats: int) -> JsonObject:
    """The same work three ways; MULTI cannot decide, so its caller would have to know the head."""
    steps = whole_match()
    body = PUBLISH_SCRIPT.strip()
    function = f"#!lua name=touchline\nredis.register_function('publish', function(KEYS, ARGV)\n{body}\nend)"

    def keys_and_args(name: str, published: Published, snapshot: bytes) -> tuple[Any, ...]:
        stream, state, channel = (f"touchline:{{{name}}}:{part}" for part in ("stream", "state", "live"))
        fixed = (stream, state, "PUBLISH", channel, 2000, 86400, 86400, snapshot)
        return (*fixed, *published.id, b"", name, 10_000, published.delta)

    def by_script(server: RedisServer) -> Callable[[str, Published, bytes], object]:
        sha: Any = server.client.script_load(PUBLISH_SCRIPT)
        return lambda *given: server.client.evalsha(sha, 2, *keys_and_args(*given))

    def by_function(server: RedisServer) -> Callable[[str, Published, bytes], object]:
        server.client.function_load(function)
        return lambda *given: server.client.fcall("publish", 2, *keys_and_args(*given))

    def by_multi(server: RedisServer) -> Callable[[str, Published, bytes], object]:
        def publish(name: str, published: Published, snapshot: bytes) -> None:
            stream, state, _, channel, limit, ttl, *_ = keys_and_args(name, published, snapshot)
            pipeline = server.client.pipeline(transaction=True)
            pipeline.xadd(stream, {"d": published.delta}, id=str(published.id), maxlen=limit)
            pipeline.hset(state, mapping={"id": str(published.id), "snapshot": snapshot})
            pipeline.expire(stream, ttl)
            pipeline.expire(state, ttl)
            pipeline.publish(channel, f"{published.id} ".encode() + published.delta)
            pipeline.execute()

        return publish

    rows = []
    for name, variant in (("script", by_script), ("function", by_function), ("multi", by_multi)):
        rates, cpus = [], []
        for _ in range(repeats):
            with redis() as (server, _):
                publish = variant(server)
                before_cpu, before = cpu_s(server.client), time.perf_counter()
                for published, snapshot in steps:
                    for number in range(20):
                        publish(f"m{number}", published, snapshot)
                done = 20 * len(steps)
                rates.append(done / (time.perf_counter() - before))
                cpus.append((cpu_s(server.client) - before_cpu) / done * 1e6)
        row = {
            "way": name,
            "publishes_per_s": round(statistics.median(rates)),
            "redis_cpu_us_per_publish": round(statistics.median(cpus), 1),
            "redis_cpu_us_per_publish_all": [round(cpu, 1) for cpu in cpus],
        }
        print(row, flush=True)
        rows.append(row)
    return {"rows": rows}


# Replay and memory -------------------------------------------------------------------------------


def measure_replay(repeats: int) -> JsonObject:
    steps = whole_match()
    head = steps[-1][0].id
    after = DeltaId(EPOCH, head.seq - MISSED)
    runs = []
    for _ in range(repeats):
        with redis() as (server, bus):
            publish_all(bus, ["m"], steps)
            bus.replay("m", after)
            before_cpu, before = cpu_s(server.client), time.perf_counter()
            with ThreadPoolExecutor(8) as threads:
                seconds = list(threads.map(lambda _, bus=bus: timed_replay(bus, after), range(VIEWERS)))
            took, cpu = time.perf_counter() - before, cpu_s(server.client) - before_cpu
        run = {
            "seconds": round(took, 2),
            "redis_cpu_s": round(cpu, 3),
            "p50_ms": round(statistics.median(seconds) * 1000, 2),
            "p99_ms": round(percentile(seconds, 99) * 1000, 2),
        }
        print(run, flush=True)
        runs.append(run)
    result: JsonObject = {"viewers": VIEWERS, "missed": MISSED, "threads": 8, "runs": runs}
    result["median"] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    result["memory"] = measure_memory(steps)
    print(result["median"], result["memory"], flush=True)
    return result


def timed_replay(bus: Bus, after: DeltaId) -> float:
    before = time.perf_counter()
    answer = bus.replay("m", after)
    assert isinstance(answer, Suffix)
    assert len(answer.deltas) == MISSED
    return time.perf_counter() - before


def measure_memory(steps: list[tuple[Published, bytes]]) -> JsonObject:
    """The memory of many complete matches, as Redis counts it."""
    matches = 500
    with redis() as (server, bus):
        bus.matches()
        before: Any = server.client.info("memory")
        deltas = [published for published, _ in steps]
        for number in range(matches):
            bus.refill(f"m{number}", deltas, steps[-1][1])
        after: Any = server.client.info("memory")
        stream: Any = server.client.memory_usage("touchline:{m0}:stream", samples=0)
        state: Any = server.client.memory_usage("touchline:{m0}:state", samples=0)
    return {
        "matches": matches,
        "bytes_per_match": round((after["used_memory"] - before["used_memory"]) / matches),
        "stream_bytes": stream,
        "state_bytes": state,
        "wire_bytes": sum(len(p.delta) for p in deltas) + len(steps[-1][1]),
    }


# Faults ------------------------------------------------------------------------------------------


def measure_faults(repeats: int) -> JsonObject:
    rows = []
    for fault in FAULTS:
        outcomes = [run_once(fault) for _ in range(repeats)]
        row: JsonObject = {
            "fault": shown_name(fault.name),
            "setup": fault.setup,
            "gap_s": round(statistics.median(o.gap_s for o in outcomes), 2),
            "gap_s_all": [round(o.gap_s, 2) for o in outcomes],
            "other_gap_s": round(max(o.other_gap_s for o in outcomes), 2),
            "whole_bus": fault.whole_bus,
            "deltas": sum(o.deltas for o in outcomes),
            "lost": sum(o.lost for o in outcomes),
            "twice": sum(o.twice for o in outcomes),
            "sent_to_snapshot": sum(o.gaps for o in outcomes),
            "equal": all(o.equal for o in outcomes),
        }
        print(row, flush=True)
        rows.append(row)
    (RESULTS / "bus-faults.md").write_text(fault_table(rows), "utf-8")
    return {"repeats": repeats, "rows": rows}


def shown_name(name: str) -> str:
    for lasts in ("paused", "cut off"):
        name = name.replace(lasts, f"{lasts} for {PAUSE_S:.0f} s")
    return name


def run_once(fault: Fault) -> Outcome:
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        region = stack.enter_context(fault.region(directory, events_per_s=20.0, pause_s=PAUSE_S))
        return run_fault(region, fault.inject, before_s=1.0, after_s=2.0)


def fault_table(rows: list[JsonObject]) -> str:
    lines = [
        "| fault | bus | gap, s (median; all) | another match, s | deltas | lost | twice | equal |",
        "|---|---|---|--:|--:|--:|--:|---|",
    ]
    lines += [
        f"| {row['fault']} | {row['setup']} | {row['gap_s']} ({', '.join(map(str, row['gap_s_all']))})"
        f" | {row['other_gap_s']}{WHOLE_BUS if row['whole_bus'] else ''}"
        f" | {row['deltas']} | {row['lost']} | {row['twice']} | {'yes' if row['equal'] else 'NO'} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


MEASURES: dict[str, tuple[Callable[[int], JsonObject], int]] = {
    "publish": (measure_publish, 5),
    "step": (measure_step, 5),
    "replay": (measure_replay, 5),
    "faults": (measure_faults, 3),
}


def main() -> int:
    if sys.argv[1:2] == ["drain"]:
        drain(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
        return 0
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("--repeats", type=int)
    arguments = parser.parse_args()
    measure, repeats = MEASURES[arguments.what]
    print(keep(f"bus-{arguments.what}", measure(arguments.repeats or repeats)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
