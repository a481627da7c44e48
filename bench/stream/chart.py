"""The comparison as one SVG: a panel for each figure, a bar for each server."""

from __future__ import annotations

from collections.abc import Sequence

from bench import bars
from bench.stream.compare import Measured
from bench.stream.report import FIGURES, FLOOR, OURS, Figure

PANEL_KEYS = (
    "cpu_per_delivery_us",
    "last_ms",
    "memory_per_connection_bytes",
    "cpu_per_accept_us",
    "reconnect_s",
)
COLOURS = {OURS: "#0b7a4b", FLOOR: "#8a8f98"}
PEER_COLOUR = "#5b7db1"


def chart(measured: Sequence[Measured], title: str) -> str:
    """The whole picture. Servers that were not measured are left to the table's notes."""
    present = [one for one in measured if one.samples]
    return bars.chart(title, [_panel(figure, present) for figure in FIGURES if figure.key in PANEL_KEYS])


def _panel(figure: Figure, measured: Sequence[Measured]) -> bars.Panel:
    values = [(one, one.median(figure.read)) for one in measured]
    return bars.Panel(
        f"{figure.title} ({figure.unit})",
        [
            bars.Bar(
                one.label,
                value,
                figure.shown(value),
                COLOURS.get(one.name, PEER_COLOUR),
                strong=one.name == OURS,
            )
            for one, value in values
        ],
    )
