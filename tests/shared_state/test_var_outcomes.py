"""The words of a VAR check: every vendor's phrase, and whatever else stands there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_state.var_outcomes import VAR_OUTCOMES, var_words

# What API-Football says it sends (api-sports/public-roadmap 234).
API_FOOTBALL = {
    "Goal cancelled": "No goal",
    "Penalty confirmed": "Penalty stands",
    "Goal Disallowed - offside": "No goal: offside",
    "Goal confirmed": "Goal stands",
    "Penalty cancelled": "No penalty",
    "Goal Disallowed - handball": "No goal: handball",
    "Goal Disallowed": "No goal",
    "Goal Disallowed - Foul": "No goal: foul",
    "Card upgrade": "Card upgraded",
    "Penalty awarded": "Penalty given",
    "Card reviewed": "Card reviewed",
    "Red card cancelled": "No red card",
}


@pytest.mark.parametrize(("phrase", "words"), API_FOOTBALL.items())
def test_every_outcome_of_api_football_has_words(phrase: str, words: str) -> None:
    assert var_words(phrase) == words


@pytest.mark.parametrize("phrase", ["no_goal", "No goal", "NO-GOAL", " no  goal "])
def test_a_phrase_is_known_however_it_is_written(phrase: str) -> None:
    assert var_words(phrase) == "No goal"


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        (None, ""),
        ("", ""),
        ("ball_out_of_play", "Ball out of play"),
        ("Penalty: handball", "Penalty: handball"),
        ("Überprüfung läuft", "Überprüfung läuft"),
        ("<script>", "<script>"),
    ],
)
def test_an_unknown_phrase_is_shown_as_it_stands(phrase: str | None, words: str) -> None:
    assert var_words(phrase) == words


@given(st.none() | st.text())
def test_nothing_that_stands_there_is_fatal(phrase: str | None) -> None:
    assert isinstance(var_words(phrase), str)


def test_every_key_of_the_table_can_be_found() -> None:
    assert {phrase: var_words(phrase.upper()) for phrase in VAR_OUTCOMES} == dict(VAR_OUTCOMES)
