"""The crest of a side: its image where the source names one, else a monogram in the side's colour.

Colours go into the HTML as attributes of SVG (``fill``), which a Content-Security-Policy without inline
styles permits. Luminance is that of WCAG 2.2, in whole numbers, so that every runtime draws the same picture.
"""

from __future__ import annotations

from html import escape
from typing import Final

from shared_state.language import Language
from shared_state.match import Match
from shared_state.names import initials
from shared_state.wording import side_code, side_name

__all__ = ["contrast", "crest_html", "graphic_color", "luminance", "side_color", "text_color"]

# Deep enough for white letters, and told apart from each other. A side without a colour gets one by its name.
_COLORS: Final = (
    *("#b3261e", "#1d4ed8", "#0f766e", "#7c3aed", "#b45309", "#be185d"),
    *("#15803d", "#0369a1", "#4338ca", "#9a3412", "#475569", "#a21caf"),
)
_WHITE: Final = "#ffffff"
_BLACK: Final = "#000000"
# Light of each sixteenth of a channel, in millionths; between them it is near to straight.
_LIGHT: Final = (
    *(0, 5182, 14444, 29557, 51269, 80220, 116971, 162029, 215861),
    *(278894, 351533, 434154, 527115, 630757, 745404, 871367, 1009000),
)
# Graphics need 3:1 (WCAG 2.2, 1.4.11). A colour of this luminance has it on white and on the dark ground.
_DARKEST: Final = 133_000
_LIGHTEST: Final = 295_000
_STEPS: Final = 32


def side_color(match: Match, team: str) -> str:
    """The colour of ``home`` or ``away`` as ``#rrggbb``: the source's, else one by the side's name.

    Two sides that have the same colour by their names are told apart: the away side gets the next one.
    """
    given = _given(match, team, "color")
    if given:
        return given
    number = _number(match, team)
    if team == "away" and not _given(match, "home", "color") and number == _number(match, "home"):
        number = (number + 1) % len(_COLORS)
    return _COLORS[number]


def luminance(color: str) -> int:
    """The relative luminance of ``#rrggbb``, in millionths: 0 for black, 1,000,000 for white."""
    red, green, blue = _channels(color)
    return min(1_000_000, (2126 * _light(red) + 7152 * _light(green) + 722 * _light(blue)) // 10_000)


def contrast(one: str, other: str) -> int:
    """The contrast of two colours in hundredths: 2,100 for black on white."""
    first, second = luminance(one), luminance(other)
    return (max(first, second) + 50_000) * 100 // (min(first, second) + 50_000)


def text_color(ground: str) -> str:
    """Black or white, whichever can be read on a ground: at least 4.5:1."""
    return _WHITE if contrast(_WHITE, ground) >= 450 else _BLACK


def graphic_color(color: str) -> str:
    """The colour, made as much darker or lighter as it takes to be seen on a light and on a dark ground."""
    light = luminance(color)
    if _DARKEST <= light <= _LIGHTEST:
        return color
    low, high = 1, _STEPS
    while low < high:
        middle = (low + high) // 2
        mixed = luminance(_mixed(color, middle, darker=light > _LIGHTEST))
        if mixed <= _LIGHTEST if light > _LIGHTEST else mixed >= _DARKEST:
            high = middle
        else:
            low = middle + 1
    return _mixed(color, low, darker=light > _LIGHTEST)


def _mixed(color: str, step: int, *, darker: bool) -> str:
    """A colour, by so many steps of ``_STEPS`` nearer to black or to white."""
    mixed: list[int] = []
    for channel in _channels(color):
        if darker:
            mixed.append(channel * (_STEPS - step) // _STEPS)
        else:
            mixed.append(channel + (255 - channel) * step // _STEPS)
    return "#" + "".join([_hex(channel) for channel in mixed])


def crest_html(match: Match, team: str, language: Language) -> str:
    """The crest as a picture for the eye only; the name stands beside it."""
    color = side_color(match, team)
    letters = initials(side_name(match, team, language), side_code(match, team))
    # The size of letters by their number: three of them fill the disc.
    size = (15, 13, 11)[min(len(letters), 3) - 1]
    url = _given(match, team, "crest")
    if url:
        # An image that does not come leaves its letters; the stylesheet draws them like a monogram.
        image = (
            f'<img class="tl-badge" src="{escape(url)}" alt="{escape(letters)}" width="32" height="32"'
            ' loading="lazy" decoding="async" referrerpolicy="no-referrer"/>'
        )
        return f'<span class="tl-crest" part="crest" aria-hidden="true">{image}</span>'
    # Sizes are attributes too: without its stylesheet a picture must not fill the page.
    monogram = (
        '<svg class="tl-monogram" width="32" height="32" viewBox="0 0 32 32">'
        f'<circle cx="16" cy="16" r="15.5" fill="{color}"/>'
        f'<text x="16" y="16" dy=".36em" fill="{text_color(color)}" font-size="{size}"'
        f' text-anchor="middle">{escape(letters)}</text></svg>'
    )
    return f'<span class="tl-crest" part="crest" aria-hidden="true">{monogram}</span>'


def _given(match: Match, team: str, key: str) -> str:
    if match.info is None:
        return ""
    return str(match.info.detail[team].get(key) or "")


def _number(match: Match, team: str) -> int:
    """Which of ``_COLORS`` a side has by its name; the same everywhere and always."""
    total = 0
    for letter in side_name(match, team):
        total = (total * 31 + ord(letter)) % 1_000_003
    return total % len(_COLORS)


def _channels(color: str) -> list[int]:
    return [int(color[at : at + 2], 16) for at in (1, 3, 5)]


def _hex(channel: int) -> str:
    return "0123456789abcdef"[channel // 16] + "0123456789abcdef"[channel % 16]


def _light(channel: int) -> int:
    step, rest = channel // 16, channel % 16
    return _LIGHT[step] + (_LIGHT[step + 1] - _LIGHT[step]) * rest // 16
