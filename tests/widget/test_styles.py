"""The styles keep what their first lines promise: contrast in light and dark, nothing from outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WIDGET = Path(__file__).parents[2] / "widget" / "src"
STYLES = ("live-score.css", "page.css")
AA_TEXT = 4.5  # WCAG 2.2, 1.4.3


def palettes(name: str) -> list[dict[str, str]]:
    """The colours of each block that sets any: what a later block leaves out, the first has set."""
    css = re.sub(r"/\*.*?\*/", "", (WIDGET / name).read_text("utf-8"), flags=re.DOTALL)
    found: list[dict[str, str]] = []
    for block in re.findall(r"\{([^{}]*)\}", css):
        colours = dict(re.findall(r"--(?:_theme-)?([a-z]+):\s*(#[0-9a-f]{6});", block))
        if "ink" in colours:
            found.append({**(found[0] if found else {}), **colours})
    return found


def luminance(colour: str) -> float:
    def linear(channel: int) -> float:
        part = channel / 255
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_measured_as_wcag_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(
    ("name", "grounds", "texts", "count"),
    [
        ("live-score.css", ("bg", "quiet", "flash"), ("ink", "muted", "accent", "negative", "notice"), 4),
        ("page.css", ("ground", "surface"), ("ink", "muted", "accent", "notice"), 2),
    ],
)
def test_every_text_can_be_read_on_every_ground(
    name: str, grounds: tuple[str, ...], texts: tuple[str, ...], count: int
) -> None:
    found = palettes(name)
    assert len(found) == count
    for palette in found:
        for ground in grounds:
            for text in texts:
                ratio = contrast(palette[text], palette[ground])
                assert ratio >= AA_TEXT, f"{text} on {ground} is {ratio:.2f}:1 in {palette}"


def test_words_on_the_accent_and_on_amber_can_be_read() -> None:
    for palette in palettes("live-score.css"):
        assert contrast(palette["onaccent"], palette["accent"]) >= AA_TEXT
        assert contrast(palette["ink"], palette["amber"]) >= AA_TEXT


@pytest.mark.parametrize("name", STYLES)
def test_nothing_is_fetched_from_a_style(name: str) -> None:
    css = (WIDGET / name).read_text("utf-8")
    assert "url(" not in css
    assert "@import" not in css
    assert "@font-face" not in css


def test_the_scoreboard_has_no_side_that_only_one_writing_direction_knows() -> None:
    css = (WIDGET / "live-score.css").read_text("utf-8")
    assert not re.findall(r"(?:margin|padding|border)-(?:left|right)|text-align: (?:left|right)|float:", css)
