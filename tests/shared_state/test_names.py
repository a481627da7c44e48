"""Short names: by a table of real sides, and for any name by properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_state.names import INITIALS_MAX, SHORT_MAX_CHARS, initials, short_name, surname
from tests import strategies


@pytest.mark.parametrize(
    ("name", "code", "short"),
    [
        ("France", "FRA", "France"),
        ("Borussia Mönchengladbach", "BMG", "B. M'gladbach"),
        ("Borussia Dortmund", "BVB", "B. Dortmund"),
        ("1. FC Kaiserslautern", "FCK", "K'lautern"),
        ("Manchester United", "MUN", "Man Utd"),
        ("Manchester City", "MCI", "Man City"),
        ("Tottenham Hotspur", "TOT", "Tottenham"),
        ("Newcastle United", "NEW", "Newcastle"),
        ("Paris Saint-Germain", "PSG", "Paris SG"),
        # Two lines of whole words, rather than a name that is another side's.
        ("Papua New Guinea", "PNG", "Papua New Guinea"),
        ("United Arab Emirates", "UAE", "United Arab Emirates"),
        ("Sheffield Wednesday", "SHW", "Sheffield Wednesday"),
        ("الهلال السعودي", "HIL", "الهلال السعودي"),
        # No line has room for a word of it.
        ("Borussia Verein für Leibesübungen 1900 Mönchengladbach", "BMG", "BMG"),
        ("Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch Football Club", None, "Llanfairpwll…"),
    ],
)
def test_a_short_name_is_one_that_readers_know(name: str, code: str | None, short: str) -> None:
    assert short_name(name, code) == short


@given(strategies.hostile_text(80), st.none() | st.just("ABC"), st.integers(3, 30))
def test_no_word_of_a_short_name_has_to_be_broken(name: str, code: str | None, limit: int) -> None:
    short = short_name(name, code, limit)
    assert short
    assert short_name(name, code, limit) == short
    assert short == name or all(len(word) <= limit for word in short.split(" "))
    assert len(short) <= max(2 * limit, len(name))


@pytest.mark.parametrize(
    ("name", "code", "letters"),
    [
        ("France", "FRA", "FRA"),
        ("Real Madrid", None, "RM"),
        ("1. FC Köln", None, "Köl"),
        ("Ajax", "AJAX1", "Aja"),
        ("النصر", None, "الن"),
    ],
)
def test_initials(name: str, code: str | None, letters: str) -> None:
    assert initials(name, code) == letters


@given(strategies.hostile_text(60))
def test_there_are_always_one_to_three_initials(name: str) -> None:
    assert 1 <= len(initials(name)) <= INITIALS_MAX
    assert surname(name)


def test_a_surname_is_the_last_word() -> None:
    assert [surname(player) for player in ("Kylian Mbappé", "Jorginho", "  ")] == ["Mbappé", "Jorginho", "  "]
    assert SHORT_MAX_CHARS == 13
