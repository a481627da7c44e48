"""The capacity simulation against real runs of the stream tier on this machine.

    python -m bench.simulation train      # real runs for the parameters (minutes; the machine must be quiet)
    python -m bench.simulation validate   # real runs beside their predictions
    python -m bench.simulation validate --connections 1000
    python -m bench.simulation recorded   # the same comparison with runs that bench/results has; no load
    python -m bench.simulation fit        # origin/capacity/measurements.json from bench/results; no load
    python -m bench.simulation chart      # docs/images/capacity-50m.svg, simulated; no load

The runs of ``train`` are of 2,000 and 18,000 viewers in one process and of 36,000 in three. No run that is
predicted is among them. Until there are such runs, the parameters are those of other benches' runs, of 18,000
viewers in one process and 200,000 in eleven.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.results import LOAD_AT_START, RESULTS, keep
from bench.simulation.fit import write_measurements
from bench.simulation.machine import Machine, Observed, Size, fit_machine, observe
from bench.stream.compare import say
from bench.stream.ours import Ours
from bench.stream.run import build
from bench.stream.scale import measure_scale
from shared_state.jsontext import JsonObject

TRAIN = (Size(2_000, 1), Size(18_000, 1), Size(36_000, 3))
TRAINED = "simulation-train"
PREDICTED = (1_000, 10_000, 50_000)
CONNECTIONS_MAX = 200_000
# What one process may have, with room for one that comes back.
PER_PROCESS = 18_000
GOAL_PERCENT = 15.0
# Of the last minute; what a bench before this one leaves is less.
QUIET_LOAD = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; the exit code is 1 if a prediction misses the goal."""
    options = _options(arguments)
    if options.command == "fit":
        print(write_measurements())
        return 0
    if options.command == "chart":
        # Only here: it simulates, which takes a while.
        from bench.simulation.chart import write_chart

        print(write_chart())
        return 0
    if options.command == "recorded":
        return _compare("simulation-recorded", _recorded(), *_fitted_from_others(), [])
    missing = Ours(3).missing()
    if missing:
        say(f"!!! NOT MEASURED: {missing}")
        return 1
    build()
    if LOAD_AT_START > QUIET_LOAD:
        say(
            f"!!! load {LOAD_AT_START:.1f} at the start: the machine is not quiet, and errors will be its own"
        )
    if options.command == "train":
        samples = [one for size in TRAIN for one in _run(size, options.repeat, options.publishes)]
        print(keep(TRAINED, {"samples": samples}))
        return 0
    sizes = [Size(count, 1 if count <= PER_PROCESS else 3) for count in options.connections]
    sizes = [Size(one.connections, max(one.workers, -(-one.connections // PER_PROCESS))) for one in sizes]
    machine, source = _trained()
    runs = {size: _run(size, options.repeat, options.publishes) for size in sizes}
    rows = [(f"{size.connections:,}, {size.workers}", observe(samples)) for size, samples in runs.items()]
    return _compare(
        "simulation", rows, machine, source, [one for samples in runs.values() for one in samples]
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("train", "validate", "recorded", "fit", "chart"))
    parser.add_argument(
        "--connections", type=int, nargs="+", default=list(PREDICTED), help="for validate, one run for each"
    )
    parser.add_argument("--repeat", type=int, default=3, help="starts of everything, for each size")
    parser.add_argument("--publishes", type=int, default=8, help="events measured at each start")
    options = parser.parse_args(arguments)
    for count in options.connections:
        if not 1 <= count <= CONNECTIONS_MAX:
            parser.error(f"--connections {count}: from 1 to {CONNECTIONS_MAX:,}")
        if any(count == size.connections for size in TRAIN):
            parser.error(f"--connections {count}: the parameters are fitted from such a run")
    for name in ("repeat", "publishes"):
        if not 1 <= getattr(options, name) <= 50:
            parser.error(f"--{name} {getattr(options, name)}: from 1 to 50")
    return options


def _run(size: Size, repeat: int, publishes: int) -> list[JsonObject]:
    """Real runs of one size: connect, publish, kill all server processes."""
    samples = []
    for repetition in range(1, repeat + 1):
        say(f"[{repetition}/{repeat}] {size.connections:,} viewers, {size.workers} server processes")
        sample = measure_scale(size.connections, size.workers, publishes, ("all",))
        if sample.problems:
            say(f"    not counted: {'; '.join(sample.problems)}")
            continue
        samples.append(asdict(sample))
    if not samples:
        raise SystemExit(f"no run of {size} was without problems")
    return samples


def _trained() -> tuple[Machine, str]:
    """The parameters from the kept runs of ``train``, else from those of other benches; and where from."""
    path = RESULTS / f"{TRAINED}.json"
    if not path.exists():
        say(f"{path} is not there: the parameters are from other benches' runs; `train` makes better ones")
        return _fitted_from_others()
    samples = _kept(path)
    small, one, several = (
        observe([sample for sample in samples if (sample["connections"], sample["worker_count"]) == key])
        for key in ((size.connections, size.workers) for size in TRAIN)
    )
    return fit_machine(small, one, several), f"bench/results/{TRAINED}.json"


def _fitted_from_others() -> tuple[Machine, str]:
    """The parameters from runs of other benches: 18,000 viewers of one process, and 200,000 of eleven."""
    house = json.loads((RESULTS / "stream-house-after.json").read_text(encoding="utf-8"))
    ours = house["medians"]["ours"]
    pages = _kept(RESULTS / "stream-pages.json")
    first_ms = statistics.median(one["first_ms"] for sample in pages for one in sample["quiet"])
    one = Observed(Size(18_000, 1), first_ms, ours["last_ms"], ours["connect_s"], ours["reconnect_s"])
    several = observe(_kept(RESULTS / "stream-scale200k.json"))
    files = ("stream-house-after", "stream-pages", "stream-scale200k")
    return fit_machine(one, one, several), ", ".join(f"bench/results/{name}.json" for name in files)


def _recorded() -> list[tuple[str, Observed]]:
    """Runs that other benches have kept, of which none was used for the parameters."""
    compare = json.loads((RESULTS / "stream-compare.json").read_text(encoding="utf-8"))["medians"]["ours"]
    before = json.loads((RESULTS / "stream-house-before.json").read_text(encoding="utf-8"))["medians"]["ours"]
    scale = observe(_kept(RESULTS / "stream-scale.json"))
    size = Size(18_000, 1)
    return [
        ("18,000, 1 (stream-compare)", Observed(size, 0, compare["last_ms"], 0, compare["reconnect_s"])),
        ("18,000, 1 (stream-house-before)", Observed(size, 0, before["last_ms"], 0, before["reconnect_s"])),
        (f"{scale.size.connections:,}, {scale.size.workers} (stream-scale)", scale),
    ]


def _kept(path: Path) -> list[dict[str, Any]]:
    samples: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["samples"]
    return samples


def _compare(
    name: str,
    rows: Sequence[tuple[str, Observed]],
    machine: Machine,
    source: str,
    samples: list[JsonObject],
) -> int:
    """Print and keep predicted beside measured; 1 if an error is above the goal."""
    compared: list[JsonObject] = []
    for label, observed in rows:
        figures = [("last viewer, ms", machine.last_ms(observed.size), observed.last_ms)]
        if observed.back_s is not None:
            figures.append(("all back, s", machine.back_s(observed.size), observed.back_s))
        compared += [
            {
                "run": label,
                "figure": figure,
                "predicted": round(predicted, 2),
                "measured": round(measured, 2),
                "error_percent": round((predicted / measured - 1) * 100, 1),
            }
            for figure, predicted, measured in figures
        ]
    table = _table(compared)
    parameters = machine.to_json()
    kept: JsonObject = {
        "goal_percent": GOAL_PERCENT,
        "fitted_from": source,
        "parameters": parameters,
        "compared": compared,
        "samples": samples,
    }
    path = keep(name, kept)
    head = f"# Predicted and measured\n\n`{json.loads(path.read_text())['command']}`\n\n"
    source_line = f"Fitted from {source}."
    fitted = ", ".join(f"{key} {value}" for key, value in parameters.items())
    path.with_suffix(".md").write_text(
        f"{head}{table}\n{source_line} Parameters: {fitted}.\n", encoding="utf-8"
    )
    print(table)
    return 1 if any(abs(one["error_percent"]) > GOAL_PERCENT for one in compared) else 0


def _table(compared: Sequence[JsonObject]) -> str:
    lines = [
        "| viewers, server processes | figure | predicted | measured | error |",
        "|---|---|--:|--:|--:|",
    ]
    lines += [
        f"| {one['run']} | {one['figure']} | {one['predicted']:,} | {one['measured']:,}"
        f" | {one['error_percent']:+.1f} % |"
        for one in compared
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
