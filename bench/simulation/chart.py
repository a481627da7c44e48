"""One picture of what fifty million viewers go through, simulated: how many are served by when.

Written as SVG by hand, as ``bench/bars.py`` does; the same seed draws the same picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from bench.stream.server import PROJECT_DIR
from origin.capacity.model import Inputs
from origin.capacity.scenarios import Outcome, simulate
from origin.capacity.simulation import Point

__all__ = ["AUDIENCE", "draw", "write_chart"]

# A World Cup final: one match that everybody watches, and seven that hardly anybody does.
AUDIENCE: Final = {"viewers": 50_000_000, "regions": 6, "matches": 8}
TARGET: Final = PROJECT_DIR / "docs" / "images" / "capacity-50m.svg"
WIDTH, LEFT, RIGHT, PLOT, HEAD, FOOT = 760, 56, 20, 150, 44, 46
COLOURS: Final = ("#0b7a4b", "#b3541e", "#5b7db1", "#8a3d8f")


class Line(NamedTuple):
    """One curve."""

    label: str
    points: Sequence[Point]


class Panel(NamedTuple):
    """Curves over one axis of time.

    Attributes:
        unit_s: the length of the unit that the axis counts in.
        until_s: where the axis ends.
    """

    heading: str
    unit: str
    unit_s: float
    until_s: float
    lines: Sequence[Line]


def write_chart(target: Path = TARGET) -> Path:
    """Simulate, and write the picture."""
    inputs = Inputs.from_json(AUDIENCE)
    target.write_text(
        draw(*(simulate(name, inputs) for name in ("goal", "storm", "region-loss"))), encoding="utf-8"
    )
    return target


def draw(goal: Outcome, storm: Outcome, loss: Outcome) -> str:
    """The picture of three outcomes."""
    viewers = goal.plan.inputs.viewers
    streams, back = goal.results["streams"].curve, loss.results["back in other regions"].curve
    panels = [
        Panel(
            "one goal: viewers that have it, by milliseconds from the post, without the last mile",
            "ms",
            0.001,
            _round_up(streams[-1].at_s, 0.1),
            [Line("all regions", streams)],
        ),
        Panel(
            "all servers lost at once: viewers that are back, by seconds",
            "s",
            1.0,
            30.0,
            [Line(name, one.curve) for name, one in storm.results.items()],
        ),
        Panel(
            "one region lost: its viewers that are back in others, by seconds",
            "s",
            1.0,
            _round_up(back[-1].at_s, 10.0),
            [Line("names lead elsewhere after 30 s", back)],
        ),
    ]
    parts, y = [], 54
    for panel in panels:
        parts.append(_panel(panel, y))
        y += HEAD + PLOT + FOOT + 18 * (len(panel.lines) > 1)
    title = f"Simulated: {viewers:,} viewers, {goal.plan.stream_servers:,} stream servers"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
        f'font-family="system-ui, sans-serif" font-size="13" role="img">\n<title>{escape(title)}</title>\n'
        # A ground of its own: readable on a dark page too.
        f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>\n'
        f'<text x="20" y="30" font-size="16" font-weight="600" fill="#16191d">{escape(title)}</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _panel(panel: Panel, top: int) -> str:
    width = WIDTH - LEFT - RIGHT
    y0 = top + HEAD + PLOT
    parts = [f'<text x="20" y="{top + 24}" font-weight="600" fill="#16191d">{escape(panel.heading)}</text>']
    for share in (0, 0.5, 1):
        y = y0 - share * PLOT
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{LEFT + width}" y2="{y}" stroke="#d6dae0"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end" fill="#5a616b">{share:.0%}</text>')
    for step in range(6):
        x = LEFT + width * step / 5
        at = panel.until_s * step / 5 / panel.unit_s
        anchor = "end" if step == 5 else "middle"
        parts.append(
            f'<text x="{x:.0f}" y="{y0 + 18}" text-anchor="{anchor}" fill="#5a616b">'
            f"{at:,.0f} {panel.unit}</text>"
        )
    for line, colour in zip(panel.lines, COLOURS, strict=False):
        seen = [point for point in line.points if point.at_s <= panel.until_s]
        points = [(0.0, 0.0), *((point.at_s, point.share) for point in seen)]
        if seen:
            points.append((panel.until_s, seen[-1].share))
        path = " ".join(
            f"{LEFT + at / panel.until_s * width:.1f},{y0 - share * PLOT:.1f}" for at, share in points
        )
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5" '
            'stroke-linejoin="round"/>'
        )
    if len(panel.lines) > 1:
        x = LEFT
        for line, colour in zip(panel.lines, COLOURS, strict=False):
            parts.append(f'<rect x="{x}" y="{y0 + 32}" width="14" height="4" rx="2" fill="{colour}"/>')
            parts.append(f'<text x="{x + 20}" y="{y0 + 38}" fill="#16191d">{escape(line.label)}</text>')
            x += 44 + 7 * len(line.label)
    return "\n".join(parts)


def _round_up(value: float, step: float) -> float:
    return step * -(-value // step)
