"""Figures to JSON, to a Markdown table, and to ratios that mean something on another machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.stream.compare import Measured, Sample

# What is compared; smaller is better in all of them.
FLOOR, OURS = "floor", "ours"


@dataclass(frozen=True, slots=True)
class Figure:
    """One column: what it is called, where it comes from, how it is written."""

    key: str
    title: str
    unit: str
    read: Callable[[Sample], float | None]
    digits: int = 0
    scale: float = 1

    def shown(self, value: float | None) -> str:
        return "–" if value is None else f"{value * self.scale:,.{self.digits}f}"


def _if_delivered(read: Callable[[Sample], float]) -> Callable[[Sample], float | None]:
    return lambda sample: read(sample) if sample.deliveries else None


def _if_connected(read: Callable[[Sample], float]) -> Callable[[Sample], float | None]:
    return lambda sample: read(sample) if sample.connected else None


FIGURES = (
    Figure(
        "cpu_per_delivery_us", "CPU per delivery", "µs", _if_delivered(lambda s: s.cpu_per_delivery_us), 1
    ),
    Figure("p50_ms", "p50", "ms", _if_delivered(lambda s: s.p50_ms)),
    Figure("p99_ms", "p99", "ms", _if_delivered(lambda s: s.p99_ms)),
    Figure("last_ms", "last viewer", "ms", _if_delivered(lambda s: s.last_ms)),
    Figure(
        "memory_per_connection_bytes",
        "memory per connection",
        "kB",
        _if_delivered(lambda s: s.memory_per_connection_bytes),
        1,
        1e-3,
    ),
    Figure("cpu_per_accept_us", "CPU per accept", "µs", _if_connected(lambda s: s.cpu_per_accept_us)),
    Figure("connect_s", "all connected", "s", _if_connected(lambda s: s.connect_s), 1),
    Figure("reconnect_s", "all back after a kill", "s", lambda s: s.reconnect_s, 1),
)


def ratios(measured: Sequence[Measured]) -> dict[str, dict[str, object]]:
    """Ours against the floor and against whichever peer is best, figure by figure."""
    by_name = {one.name: one for one in measured}
    peers = [one for one in measured if one.name != FLOOR and not one.name.startswith(OURS)]
    found: dict[str, dict[str, object]] = {}
    for figure in FIGURES:
        mine = by_name[OURS].median(figure.read) if OURS in by_name else None
        floor = by_name[FLOOR].median(figure.read) if FLOOR in by_name else None
        best = min(
            ((value, peer.name) for peer in peers if (value := peer.median(figure.read)) is not None),
            default=None,
        )
        row: dict[str, object] = {"floor": floor, "ours": mine}
        if best is not None:
            row["best_peer"] = best[1]
            row["best_peer_value"] = best[0]
        if mine is not None and floor:
            row["ours_to_floor"] = round(mine / floor, 3)
        if mine is not None and best is not None and best[0]:
            row["ours_to_best_peer"] = round(mine / best[0], 3)
        found[figure.key] = row
    return found


def comparison_table(measured: Sequence[Measured]) -> str:
    """One line a server; the ratio to the floor beside the CPU, since that is what can be carried over."""
    floor = next((one.median(FIGURES[0].read) for one in measured if one.name == FLOOR), None)
    lines = [
        "| server | " + " | ".join(f"{figure.title}, {figure.unit}" for figure in FIGURES) + " | × floor |",
        "|---" * (len(FIGURES) + 2) + "|",
    ]
    notes = []
    for one in measured:
        cells = [figure.shown(one.median(figure.read)) for figure in FIGURES]
        cpu = one.median(FIGURES[0].read)
        times = f"{cpu / floor:.2f}" if cpu is not None and floor else "–"
        lines.append(f"| {one.label} | " + " | ".join(cells) + f" | {times} |")
        if one.missing:
            notes.append(f"- {one.label} was not measured: {one.missing}.")
        else:
            notes.append(f"- {one.label}: {one.version}.")
            problems = sorted(
                {problem.splitlines()[0] for sample in one.samples for problem in sample.problems}
            )
            notes += [f"  - {problem}" for problem in problems]
    return "\n".join(lines) + "\n\n" + "\n".join(notes) + "\n"


def comparison_json(measured: Sequence[Measured]) -> dict[str, object]:
    return {
        "medians": {
            one.name: {figure.key: one.median(figure.read) for figure in FIGURES}
            for one in measured
            if not one.missing
        },
        "ratios": ratios(measured),
        "servers": [asdict(one) for one in measured],
    }


def write_json(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
