"""A chart of horizontal bars as one SVG: a panel for each figure. Written by hand: no library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ["Bar", "Panel", "chart"]

WIDTH, LABEL_WIDTH, VALUE_WIDTH = 760, 230, 70
BAR, GAP, PANEL_HEAD, TOP = 16, 6, 34, 58


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        value: its length; None if it was not measured.
        shown: the text behind it.
        strong: whether its texts are bold.
    """

    label: str
    value: float | None
    shown: str
    colour: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """The bars of one figure; each panel has a scale of its own, from 0."""

    heading: str
    bars: Sequence[Bar]


def chart(title: str, panels: Sequence[Panel]) -> str:
    """The whole picture."""
    parts: list[str] = []
    y = TOP
    for panel in panels:
        drawn, height = _draw(panel, y)
        parts.append(drawn)
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


def _draw(panel: Panel, y: int) -> tuple[str, int]:
    longest = max((bar.value for bar in panel.bars if bar.value is not None), default=0) or 1
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH - 20
    parts = [f'<text x="20" y="{y + 20}" font-weight="600" fill="#16191d">{escape(panel.heading)}</text>']
    at = y + PANEL_HEAD
    for bar in panel.bars:
        middle = at + BAR - 4
        strong = ' font-weight="600"' if bar.strong else ""
        parts.append(
            f'<text x="{LABEL_WIDTH - 8}" y="{middle}" text-anchor="end" fill="#16191d"{strong}>'
            f"{escape(bar.label)}</text>"
        )
        # Something to see even where a value is next to nothing beside the longest.
        length = max(1.0, (bar.value or 0) / longest * room)
        if bar.value is not None:
            parts.append(
                f'<rect x="{LABEL_WIDTH}" y="{at}" width="{length:.1f}" height="{BAR}" rx="2" '
                f'fill="{bar.colour}"/>'
            )
        parts.append(
            f'<text x="{LABEL_WIDTH + (length if bar.value is not None else 0) + 6:.1f}" y="{middle}" '
            f'fill="#16191d"{strong}>{bar.shown}</text>'
        )
        at += BAR + GAP
    return "\n".join(parts), at - y + 8
