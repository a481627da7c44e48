"""``python -m bench.charts``: charts of what ``bench_fold``, ``bench_list`` and ``bench_restart`` measured.

Each is written beside its JSON and made of it alone, so a chart never needs another run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.bars import Bar, Panel, chart
from bench.results import RESULTS

NOW_COLOUR: Final = "#0b7a4b"
BEFORE_COLOUR: Final = "#8a8f98"


def fold_chart(kept: Mapping[str, Any]) -> str:
    """What one more event costs, over the length of its match."""
    lengths = kept["event_us_by_length"]
    batches = kept["fanout_us_by_length_and_batch"]
    panels = [
        Panel(
            "one more event: fold, hash and delta, median (microseconds)",
            [_bar(f"{int(length):,} events", one["median"], "{:.1f}") for length, one in lengths.items()],
        ),
        *(
            Panel(
                f"fan-out, batches of {int(size):,}: an event with its share of the snapshot (microseconds)",
                [
                    _bar(f"{int(length):,} events", by_size[size], "{:,.0f}")
                    for length, by_size in batches.items()
                ],
            )
            for size in ("1", "100", "1000")
        ),
    ]
    return chart("Cost of an event, by the length of its match", panels)


def list_chart(kept: Mapping[str, Any]) -> str:
    """What the list of matches costs, over the number of matches."""
    rows = kept["rows"]
    figures = (
        ("a request, nothing changed: CPU (microseconds)", "cpu_us_same", "{:,.0f}"),
        ("a request, a live match changed: CPU (microseconds)", "cpu_us_changed", "{:,.0f}"),
        ("the first request of a process: CPU (milliseconds)", "cpu_ms_first", "{:,.0f}"),
        ("memory of a match that ended (KiB)", "kib_per_ended_match", "{:.1f}"),
    )
    panels = [
        Panel(
            heading,
            [_bar(f"{row['matches']:,} matches", row[key], form) for row in rows if row[key] is not None],
        )
        for heading, key, form in figures
    ]
    return chart(f"The list of matches, {kept['live']} of them live", panels)


def restart_chart(kept: Mapping[str, Any]) -> str:
    """How long a start over a long log takes, before and after."""
    roots = kept["roots"]
    labels = [f"{'before' if one['root'] == 'base' else 'now'}, {one['start']} start" for one in roots]
    colours = [BEFORE_COLOUR if one["root"] == "base" else NOW_COLOUR for one in roots]
    figures = (
        ("until it is ready (seconds)", "seconds", "{:.1f}"),
        ("CPU (seconds)", "cpu_seconds", "{:.1f}"),
        ("memory at its peak (MiB)", "peak_mib", "{:,.0f}"),
    )
    panels = [
        Panel(
            heading,
            [
                _bar(label, one[key], form, colour)
                for label, one, colour in zip(labels, roots, colours, strict=True)
            ],
        )
        for heading, key, form in figures
    ]
    return chart(f"Start with {kept['events']:,} events of {kept['matches']:,} matches in the log", panels)


CHARTS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "fold": fold_chart,
    "list": list_chart,
    "restart": restart_chart,
}


def _bar(label: str, value: float, form: str, colour: str = NOW_COLOUR) -> Bar:
    return Bar(label, value, form.format(value), colour)


def main() -> None:
    """Write all charts."""
    for name, make in CHARTS.items():
        kept = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        path = RESULTS / f"{name}.svg"
        path.write_text(make(kept), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
