"""The comparison as one SVG: a panel for each figure, a bar for each server. Written by hand: no library."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.stream.compare import Measured
from bench.stream.report import FIGURES, FLOOR, OURS, Figure

PANEL_KEYS = (
    "cpu_per_delivery_us",
    "last_ms",
    "memory_per_connection_bytes",
    "cpu_per_accept_us",
    "reconnect_s",
)
WIDTH, LABEL_WIDTH, VALUE_WIDTH = 760, 230, 70
BAR, GAP, PANEL_HEAD, TOP = 16, 6, 34, 58
COLOURS = {OURS: "#0b7a4b", FLOOR: "#8a8f98"}
PEER_COLOUR = "#5b7db1"


def chart(measured: Sequence[Measured], title: str) -> str:
    """The whole picture. Servers that were not measured are left to the table's notes."""
    present = [one for one in measured if one.samples]
    parts: list[str] = []
    y = TOP
    for figure in FIGURES:
        if figure.key in PANEL_KEYS:
            panel, height = _panel(figure, present, y)
            parts.append(panel)
            y += height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 10}" '
        f'font-family="system-ui, sans-serif" font-size="13" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        # A ground of its own: readable on a dark page too.
        f'<rect width="{WIDTH}" height="{y + 10}" fill="#ffffff"/>\n'
        f'<text x="20" y="30" font-size="16" font-weight="600" fill="#16191d">{escape(title)}</text>\n'
        f'<text x="20" y="48" fill="#5a616b">shorter is better</text>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(figure: Figure, measured: Sequence[Measured], y: int) -> tuple[str, int]:
    values = [(one, one.median(figure.read)) for one in measured]
    longest = max((value for _, value in values if value is not None), default=0) or 1
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH - 20
    heading = f"{escape(figure.title)} ({escape(figure.unit)})"
    parts = [f'<text x="20" y="{y + 20}" font-weight="600" fill="#16191d">{heading}</text>']
    at = y + PANEL_HEAD
    for one, value in values:
        middle = at + BAR - 4
        strong = ' font-weight="600"' if one.name == OURS else ""
        parts.append(
            f'<text x="{LABEL_WIDTH - 8}" y="{middle}" text-anchor="end" fill="#16191d"{strong}>'
            f"{escape(one.label)}</text>"
        )
        # Something to see even where a value is next to nothing beside the longest.
        length = max(1.0, (value or 0) / longest * room)
        if value is not None:
            colour = COLOURS.get(one.name, PEER_COLOUR)
            parts.append(
                f'<rect x="{LABEL_WIDTH}" y="{at}" width="{length:.1f}" height="{BAR}" rx="2" '
                f'fill="{colour}"/>'
            )
        parts.append(
            f'<text x="{LABEL_WIDTH + (length if value is not None else 0) + 6:.1f}" y="{middle}" '
            f'fill="#16191d"{strong}>{figure.shown(value)}</text>'
        )
        at += BAR + GAP
    return "\n".join(parts), at - y + 8
