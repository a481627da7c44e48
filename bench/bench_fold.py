"""Deltas folded per second on this Python, against a floor measured in the same run.

    python -m bench.bench_fold [--repeats 7]

The floor is ``json.loads`` of the very same bytes: no reader of these deltas can be faster. A ratio of two
rates taken in turns on one machine holds on another machine, and on a busy one; a rate alone does not.

* decode: bytes to a validated ``Delta``
* receive: a ``Replica`` takes the deltas of its match one after the other, bytes to state
* hash: the state's hash after each, what a heartbeat costs
* fold: the canonical events of a match, folded at once

Then what one more event costs, by how many the match has: folded, hashed and written as a delta; and what
fan-out pays for it, with one snapshot for each batch of 1 to 1,000 events. Every fifth event of that match
changes its status, every tenth amends an event and every tenth takes back the latest.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.results import keep
from bench.world_cups import EPOCH, FILES, matches, published
from shared_state import DeltaId, Event, Replica, decode_delta, encode_delta, fold
from shared_state.jsontext import JsonObject

Wire = list[tuple[DeltaId, bytes]]

LENGTHS = (10, 100, 1_000, 10_000)
BATCHES = (1, 10, 100, 1_000)
# Events that are measured one after the other from a length on; a short match is not made much longer.
CHAIN_MAX = 200
MEASURED = 1_000


def corpus() -> tuple[list[tuple[str, Wire]], list[list[Event]]]:
    """Each match as (match_id, ids and bytes), and as its events."""
    events = list(matches())
    wires = []
    for match in events:
        deltas = published(match, dated=True)
        wires.append((match[0].match_id, [(delta.id, encode_delta(delta)) for delta in deltas]))
    return wires, events


def floor(wires: list[tuple[str, Wire]]) -> None:
    for _, wire in wires:
        for _, data in wire:
            json.loads(data)


def decode(wires: list[tuple[str, Wire]]) -> None:
    for match_id, wire in wires:
        for id_, data in wire:
            decode_delta(match_id, id_, data)


def receive(wires: list[tuple[str, Wire]]) -> None:
    for match_id, wire in wires:
        viewer = Replica.begin(match_id, EPOCH)
        for id_, data in wire:
            viewer.receive(decode_delta(match_id, id_, data))


def hash_each(wires: list[tuple[str, Wire]]) -> None:
    for match_id, wire in wires:
        viewer = Replica.begin(match_id, EPOCH)
        for id_, data in wire:
            viewer.receive(decode_delta(match_id, id_, data))
            viewer.hash()


def fold_each(events: list[list[Event]]) -> None:
    for match in events:
        fold(match[0].match_id, match)


def long_match(first: int, count: int) -> list[Event]:
    """Some events of a match that never ends, beginning with the given number."""
    events = []
    for number in range(first, first + count):
        fields: dict[str, Any] = {"match_id": "long", "event_id": f"e{number}", "rev": 1, "op": "ADD"}
        fields |= {"period": "H2", "minute": 46 + number % 45, "team": "home", "source_ts": EPOCH + number}
        if number % 10 == 7:
            fields |= {
                "event_id": f"e{number - 5}",
                "rev": 2,
                "op": "AMEND",
                "type": "GOAL",
                "player": "B. Player",
            }
        elif number % 10 == 9:
            fields |= {"event_id": f"e{number - 1}", "rev": 2, "op": "RETRACT", "reason": "offside"}
        elif number % 5 == 0:
            fields |= {"type": "STATUS_CHANGE", "detail": {"to": "LIVE"}}
        else:
            fields |= {"type": ("GOAL", "YELLOW_CARD", "SUBSTITUTION")[number % 3], "player": "A. Player"}
        events.append(Event(**fields))
    return events


def grown(length: int) -> Replica:
    """A replica of the long match after so many events, hashed as fan-out has it."""
    replica = Replica.begin("long", EPOCH)
    for event in long_match(0, length):
        replica.assign(event, EPOCH)
    replica.hash()
    return replica


def event_us(length: int) -> JsonObject:
    """Microseconds of one more event: fold, hash, delta."""
    whole = grown(length)
    chain = min(length, CHAIN_MAX)
    took: list[float] = []
    while len(took) < MEASURED:
        replica = Replica(whole.match, whole.position)
        for event in long_match(length, chain):
            begin = time.perf_counter()
            delta = replica.assign(event, EPOCH)
            replica.hash()
            if delta is not None:
                encode_delta(delta)
            took.append((time.perf_counter() - begin) * 1e6)
    return {"median": round(statistics.median(took), 1), "mean": round(statistics.fmean(took), 1)}


def fanout_us(length: int, batch: int) -> float:
    """Microseconds of one more event in fan-out, where a batch has one snapshot."""
    whole = grown(length)
    whole.snapshot()
    took: list[float] = []
    for _ in range(5):
        replica = Replica(whole.match, whole.position)
        events = long_match(length, batch)
        begin = time.perf_counter()
        for event in events:
            delta = replica.assign(event, EPOCH)
            if delta is not None:
                encode_delta(delta)
        replica.snapshot()
        took.append((time.perf_counter() - begin) / batch * 1e6)
    return round(statistics.median(took), 1)


def seconds(run: Callable[[], None]) -> float:
    """How long it takes once, without the collector's pauses."""
    gc.collect()
    gc.disable()
    try:
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin
    finally:
        gc.enable()


def main() -> int:
    """Measure in turns, keep the medians, print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7, help="turns; the median of each is kept")
    repeats = parser.parse_args().repeats
    wires, events = corpus()
    deltas = sum(len(wire) for _, wire in wires)
    runs: dict[str, Callable[[], None]] = {
        "floor": lambda: floor(wires),
        "decode": lambda: decode(wires),
        "receive": lambda: receive(wires),
        "hash": lambda: hash_each(wires),
        "fold": lambda: fold_each(events),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(seconds(run))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    gc.collect()
    gc.disable()
    try:
        by_length = {str(length): event_us(length) for length in LENGTHS}
        fanout = {
            str(length): {str(batch): fanout_us(length, batch) for batch in BATCHES} for length in LENGTHS
        }
    finally:
        gc.enable()
    path = keep(
        "fold",
        {
            "files": [file.name for file in FILES],
            "matches": len(wires),
            "deltas": deltas,
            "repeats": repeats,
            "deltas_per_second": {name: round(deltas / taken) for name, taken in medians.items()},
            # Taken turn by turn, so that a slow moment slows both sides of a ratio.
            "times_the_floor": {
                name: round(statistics.median(a / b for a, b in zip(taken, times["floor"], strict=True)), 1)
                for name, taken in times.items()
            },
            "event_us_by_length": by_length,
            "fanout_us_by_length_and_batch": fanout,
        },
    )
    for name, taken in medians.items():
        print(f"{name:8} {deltas / taken:10,.0f} deltas/s  {taken / medians['floor']:6.1f} × the floor")
    for length, took in by_length.items():
        batches = ", ".join(f"{us} in a batch of {batch}" for batch, us in fanout[length].items())
        print(
            f"{length:>6} events: {took['median']} µs for one more (mean {took['mean']}); fan-out {batches}"
        )
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
