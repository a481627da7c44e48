"""Statistics of a match: the latest STAT of each key that we know, both sides' numbers beside a bar."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

from shared_state.crest import graphic_color, side_color
from shared_state.events import Event
from shared_state.jsontext import JsonObject
from shared_state.language import Language
from shared_state.match import Match

__all__ = ["STAT_KEYS", "statistics", "statistics_html"]

PLAIN: Final = ""
PER_CENT: Final = "%"
HUNDREDTHS: Final = "."

#: By key, in the order in which they are shown: how its numbers are written.
STAT_KEYS: Final[Mapping[str, str]] = {
    "possession": PER_CENT,
    "xg": HUNDREDTHS,
    "shots": PLAIN,
    "shots_on_target": PLAIN,
    "big_chances": PLAIN,
    "corners": PLAIN,
    "offsides": PLAIN,
    "fouls": PLAIN,
    "saves": PLAIN,
    "passes": PLAIN,
    "pass_accuracy": PER_CENT,
    "tackles": PLAIN,
}


def statistics(match: Match) -> dict[str, Event]:
    """The latest STAT in force of each key."""
    return {event.detail["key"]: event for event in match.events() if event.type == "STAT"}


def statistics_html(match: Match, language: Language) -> str:
    """The section with what is known; empty for nothing. A key that we have no words for is not shown."""
    known = statistics(match)
    if not known:
        return ""
    home, away = (graphic_color(side_color(match, team)) for team in ("home", "away"))
    rows = "".join(
        _row(language.text(f"stat.{key}"), form, known[key].detail, home, away)
        for key, form in STAT_KEYS.items()
        if key in known
    )
    if not rows:
        return ""
    heading = escape(language.text("label.statistics"))
    return (
        f'<div class="tl-section tl-stats" role="group" part="stats" aria-label="{heading}">'
        f'<h2 class="tl-heading">{heading}</h2><dl>{rows}</dl></div>'
    )


def _row(words: str, form: str, detail: JsonObject, home_color: str, away_color: str) -> str:
    home, away = detail["home"], detail["away"]
    whole = home + away
    # In halves of the width, from the middle outwards: equal numbers have bars of equal length.
    left = home * 495 // whole if whole else 0
    right = away * 495 // whole if whole else 0
    bars = "".join(
        f'<rect x="{_percent(x)}" width="{_percent(width)}" height="6" rx="3" fill="{color}"/>'
        for x, width, color in ((495 - left, left, home_color), (505, right, away_color))
        if width
    )
    more = " tl-more-of" if home != away else ""
    return (
        f'<div class="tl-stat"><dt>{escape(words)}</dt>'
        f'<dd class="tl-stat-home{more if home > away else ""}">{_number(home, form)}</dd>'
        f'<dd class="tl-stat-away{more if away > home else ""}">{_number(away, form)}</dd>'
        '<dd class="tl-bars" aria-hidden="true"><svg class="tl-bar" width="100%" height="6">'
        f"{bars}</svg></dd></div>"
    )


def _number(value: int, form: str) -> str:
    if form == HUNDREDTHS:
        return f"{value // 100}.{value % 100:02d}"
    return f"{value}{form}"


def _percent(thousandths: int) -> str:
    return f"{thousandths // 10}.{thousandths % 10}%"
