"""Appends per second to each event log, beside a plain synced file: ``python -m bench.bench_eventlog``.

An append returns when the events are safe, so its floor is the disk's: one write and one ``fdatasync`` of
the same bytes. Each log is measured right after the floor, in turns, since the disk's speed changes with
whatever else the machine does; what is kept is the ratio. Appends come one after the other, as from one
webhook sender, and from eight threads at once.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.results import keep, spread
from origin.eventlog import EventLog, open_eventlog
from origin.eventlog.codec import encode_event
from shared_state import Event
from shared_state.jsontext import JsonObject
from testkit.services.kafka import KafkaBroker
from testkit.services.postgres import PostgresServer

ROUND_S = 1.0
ROUNDS = 5
BATCHES = (1, 100)
THREADS = 8
MATCHES = 40
MATCH_READ_EVENTS = 200


def goal(number: int, match_id: str) -> Event:
    """An event of usual size."""
    return Event(
        match_id=match_id,
        event_id=f"opta-{number:09d}",
        rev=1,
        op="ADD",
        type="GOAL",
        period="H2",
        minute=67,
        team="home",
        player="Vinícius Júnior",
        player2="Jude Bellingham",
        source="opta-f24",
        source_ts=1_531_666_800_000 + number,
    )


def rate(call: Callable[[int], object], threads: int) -> float:
    """Calls per second, over ``ROUND_S``."""
    done = [0] * threads
    end = time.perf_counter() + ROUND_S

    def work(thread: int) -> None:
        while time.perf_counter() < end:
            call(thread * 1_000_000 + done[thread])
            done[thread] += 1

    started = time.perf_counter()
    workers = [threading.Thread(target=work, args=[thread]) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - started)


def measure(log: EventLog, floor: Path) -> JsonObject:
    """One log beside the floor."""
    result: JsonObject = {}
    # Made beforehand: the log is measured, not the making of events. Repeated events cost a log the same.
    events = [[goal(number, f"m{match}") for number in range(max(BATCHES))] for match in range(MATCHES)]
    with floor.open("ab", buffering=0) as file:
        for size in BATCHES:
            payload = b"".join(encode_event(goal(number, "m0")) for number in range(size))

            def sync(number: int, payload: bytes = payload) -> None:
                del number
                file.write(payload)
                os.fdatasync(file.fileno())

            def append(number: int, size: int = size) -> None:
                log.append(events[number % MATCHES][:size])

            for threads in (1, THREADS):
                append(0)
                floors, rates = [], []
                for _ in range(ROUNDS):
                    floors.append(rate(sync, 1))
                    rates.append(rate(append, threads))
                result[f"batch_{size}_threads_{threads}"] = {
                    "appends_per_s": spread(rates),
                    "floor_syncs_per_s": spread(floors),
                    "ratio_to_floor": round(statistics.median(map(float.__truediv__, rates, floors)), 3),
                    "events_per_s": round(statistics.median(rates) * size),
                }
    return result


def read_back(log: EventLog) -> JsonObject:
    """How fast a new group reads everything, and what one match costs among the others."""
    reader = log.consumer(None)
    started, count = time.perf_counter(), 0
    while records := reader.poll(0.5, limit=5_000):
        count += len(records)
        elapsed = time.perf_counter() - started
    reader.close()
    log.append([goal(number, "once") for number in range(MATCH_READ_EVENTS)])
    times_ms: list[float] = []
    for _ in range(6):
        begun = time.perf_counter()
        assert len(list(log.read_match("once"))) == MATCH_READ_EVENTS
        times_ms.append((time.perf_counter() - begun) * 1000)
    return {
        "records": count,
        "read_records_per_s": round(count / elapsed),
        "read_match_first_ms": round(times_ms[0], 1),
        "read_match_again_ms": spread(times_ms[1:]),
    }


@contextlib.contextmanager
def logs(directory: Path) -> Iterator[dict[str, Callable[[], str]]]:
    """URLs by name; a server is started when its URL is asked for, and ended with the block."""
    with contextlib.ExitStack() as servers:

        def kafka() -> str:
            (directory / "kafka").mkdir()
            broker = KafkaBroker(directory / "kafka")
            servers.callback(broker.stop)
            return f"kafka://{broker.address}/match-scores"

        def postgres() -> str:
            server = PostgresServer()
            servers.callback(server.stop)
            return server.new_database()

        yield {
            "memory": lambda: "memory://",
            "sqlite": lambda: f"sqlite:///{directory}/log.db",
            "postgres": postgres,
            "kafka": kafka,
        }


def main() -> None:
    """Measure all and keep the figures."""
    measured: JsonObject = {}
    with tempfile.TemporaryDirectory() as name, logs(Path(name)) as urls:
        for scheme, url in urls.items():
            with contextlib.closing(open_eventlog(url())) as log:
                measured[scheme] = {**measure(log, Path(name) / "floor"), **read_back(log)}
            for key, value in measured[scheme].items():
                print(scheme, key, value, flush=True)
    print(keep("eventlog", {"bytes_per_event": len(encode_event(goal(1, "m0"))), **measured}))


if __name__ == "__main__":
    main()
