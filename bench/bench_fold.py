"""Deltas folded per second on this Python, against a floor measured in the same run.

    python -m bench.bench_fold [--repeats 7]

The floor is ``json.loads`` of the very same bytes: no reader of these deltas can be faster. A ratio of two
rates taken in turns on one machine holds on another machine, and on a busy one; a rate alone does not.

* decode: bytes to a validated ``Delta``
* receive: a ``Replica`` takes the deltas of its match one after the other, bytes to state
* hash: the state's hash after each, what a heartbeat costs
* fold: the canonical events of a match, folded at once
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable

from bench.results import keep
from bench.world_cups import EPOCH, FILES, matches, published
from shared_state import DeltaId, Event, Replica, decode_delta, encode_delta, fold

Wire = list[tuple[DeltaId, bytes]]


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
        },
    )
    for name, taken in medians.items():
        print(f"{name:8} {deltas / taken:10,.0f} deltas/s  {taken / medians['floor']:6.1f} × the floor")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
