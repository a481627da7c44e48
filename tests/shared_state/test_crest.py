"""Crests: colours that can be read and seen on light and dark ground, and images that cannot carry markup."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_state import Event, InvalidEvent, Match, fold
from shared_state.crest import contrast, crest_html, graphic_color, luminance, side_color, text_color
from shared_state.language import ENGLISH
from tests import strategies

# The grounds of live-score.css.
GROUNDS = ("#ffffff", "#15181c")
colors = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


def exact_luminance(color: str) -> float:
    """WCAG 2.2's own formula."""

    def linear(channel: int) -> float:
        part = channel / 255
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(color[at : at + 2], 16)) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def exact_contrast(one: str, other: str) -> float:
    light, dark = sorted((exact_luminance(one), exact_luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def sides(home: dict[str, Any], away: dict[str, Any]) -> Match:
    detail = {"home": home, "away": away}
    return fold(
        "m",
        [
            Event.from_json(
                {
                    "match_id": "m",
                    "event_id": "i",
                    "rev": 1,
                    "op": "ADD",
                    "type": "MATCH_INFO",
                    "detail": detail,
                }
            )
        ],
    )


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def tags(html: str) -> Tags:
    parser = Tags()
    parser.feed(html)
    parser.close()
    return parser


@given(colors)
def test_whole_numbers_are_near_to_wcags_luminance(color: str) -> None:
    assert luminance(color) / 1e6 == pytest.approx(exact_luminance(color), abs=0.004)
    assert contrast(color, "#ffffff") / 100 == pytest.approx(exact_contrast(color, "#ffffff"), rel=0.06)


@given(colors)
def test_letters_can_be_read_on_any_colour(color: str) -> None:
    assert exact_contrast(text_color(color), color) >= 4.45


@given(colors)
def test_a_mark_can_be_seen_on_a_light_and_on_a_dark_ground(color: str) -> None:
    assert min(exact_contrast(graphic_color(color), ground) for ground in GROUNDS) >= 3


@given(strategies.hostile_text(), strategies.hostile_text())
def test_sides_without_colours_get_two_that_stay_theirs(home: str, away: str) -> None:
    match = sides({"name": home}, {"name": away})
    first, second = side_color(match, "home"), side_color(match, "away")
    assert first != second
    assert (first, second) == (side_color(match, "home"), side_color(match, "away"))
    assert side_color(sides({"name": home}, {"name": "Another"}), "home") == first


def test_a_given_colour_is_taken() -> None:
    match = sides({"name": "France", "color": "#0055A4"}, {"name": "Croatia"})
    assert side_color(match, "home") == "#0055A4"
    assert 'fill="#0055A4"' in crest_html(match, "home", ENGLISH)


def test_a_crest_costs_no_layout_and_tells_its_host_nothing() -> None:
    url = "https://crests.example/fra.svg?size=64&v=2"
    parser = tags(crest_html(sides({"name": "France", "crest": url}, {"name": "Croatia"}), "home", ENGLISH))
    (image,) = [attributes for tag, attributes in parser.tags if tag == "img"]
    assert image["src"] == url
    # Its letters are what is left if it does not come.
    assert (image["width"], image["height"], image["alt"]) == ("32", "32", "Fra")
    assert (image["loading"], image["referrerpolicy"]) == ("lazy", "no-referrer")


def test_a_monogram_has_a_size_without_a_stylesheet() -> None:
    parser = tags(crest_html(sides({"name": "France"}, {"name": "Croatia"}), "home", ENGLISH))
    (svg,) = [attributes for tag, attributes in parser.tags if tag == "svg"]
    assert (svg["width"], svg["height"]) == ("32", "32")


@given(strategies.hostile_text(), st.none() | strategies.hostile_text(16))
def test_a_name_cannot_leave_its_monogram(name: str, code: str | None) -> None:
    parser = tags(crest_html(sides({"name": name, "code": code}, {"name": "B"}), "home", ENGLISH))
    assert [tag for tag, _ in parser.tags] == ["span", "svg", "circle", "text"]


@pytest.mark.parametrize(
    "url",
    [
        "http://crests.example/a.png",
        "//crests.example/a.png",
        "javascript:alert(1)",
        "data:image/svg+xml,<svg/>",
        "https://",
        "https:///a.png",
        "https://user@crests.example/a.png",
        "https://crests.example/a b.png",
        'https://crests.example/"onerror=alert(1)',
        "https://crests.example/\n",
        "https://crests.example/é.png",
        "https://crests.example/" + "a" * 512,
        "",
        7,
    ],
)
def test_a_crest_that_is_no_plain_https_address_is_refused_by_name(url: object) -> None:
    with pytest.raises(InvalidEvent, match=r"detail\.home\.crest"):
        sides({"name": "France", "crest": url}, {"name": "Croatia"})


@pytest.mark.parametrize("color", ["red", "#fff", "#12345g", "#1234567", "url(x)", 0xFF0000, ""])
def test_a_colour_that_is_none_is_refused_by_name(color: object) -> None:
    with pytest.raises(InvalidEvent, match=r"detail\.away\.color"):
        sides({"name": "France"}, {"name": "Croatia", "color": color})
