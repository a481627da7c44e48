"""What a VAR check came to: one table for the words of all vendors, and what each means.

The log keeps what the vendor said; only the view translates it. So a vendor's new phrase is shown as it
stands at once, and what was logged before the table knew a phrase reads better from the day it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared_state.language import ENGLISH, Language

__all__ = ["VAR_OUTCOMES", "reason_words", "var_words"]

# Keys are in small letters, with single spaces in place of every other sign; ``var.`` before a value is the
# key of its text. Empty: the phrase says nothing.
_MEANINGS: Final[Mapping[str, str]] = {
    # Of a goal.
    "goal": "goal",
    "goal awarded": "goal_given",
    "goal given": "goal_given",
    "goal confirmed": "goal_stands",
    "goal stands": "goal_stands",
    "goal not confirmed": "no_goal",
    "goal under review": "goal_under_review",
    "no goal": "no_goal",
    "goal not awarded": "no_goal",
    "goal cancelled": "no_goal",
    "goal disallowed": "no_goal",
    "goal disallowed offside": "no_goal_offside",
    "goal disallowed handball": "no_goal_handball",
    "goal disallowed foul": "no_goal_foul",
    "goal ruled out": "no_goal",
    "offside": "offside",
    "no offside": "no_offside",
    # Of a penalty.
    "penalty": "penalty",
    "penalty awarded": "penalty_given",
    "penalty given": "penalty_given",
    "penalty confirmed": "penalty_stands",
    "penalty stands": "penalty_stands",
    "penalty under review": "penalty_under_review",
    "no penalty": "no_penalty",
    "no penalty awarded": "no_penalty",
    "penalty not awarded": "no_penalty",
    "penalty cancelled": "no_penalty",
    "penalty disallowed": "no_penalty",
    "penalty overturned": "no_penalty",
    "penalty retake": "penalty_again",
    "penalty to be retaken": "penalty_again",
    # Of a card.
    "card reviewed": "card_reviewed",
    "card upgrade": "card_upgraded",
    "card upgraded": "card_upgraded",
    "card changed": "card_changed",
    "card cancelled": "no_card",
    "red card": "red_card",
    "red card awarded": "red_card",
    "red card given": "red_card",
    "red card confirmed": "red_card_stands",
    "red card under review": "red_card_under_review",
    "no red card": "no_red_card",
    "red card cancelled": "no_red_card",
    "red card not given": "no_red_card",
    "yellow card given": "yellow_card",
    "no yellow card": "no_yellow_card",
    "yellow card cancelled": "no_yellow_card",
    # Of who it was, and of nothing in particular.
    "mistaken identity": "mistaken_identity",
    "player changed": "mistaken_identity",
    "confirmed": "decision_stands",
    "cancelled": "decision_overturned",
    "overturned": "decision_overturned",
    "decision overturned": "decision_overturned",
    "decision stands": "decision_stands",
    "decision unchanged": "decision_stands",
    "upheld": "decision_stands",
    "not given": "not_given",
    "other": "",
    "unknown": "",
    "not sure": "",
}
#: The words in English by the phrase.
VAR_OUTCOMES: Final[Mapping[str, str]] = {
    phrase: ENGLISH.text(f"var.{meaning}") if meaning else "" for phrase, meaning in _MEANINGS.items()
}
# What an editor of ours writes. English shows it as it stands.
_WRITTEN: Final[Mapping[str, str]] = {
    "no goal offside": "no_goal_offside",
    "no goal handball": "no_goal_handball",
    "no goal foul": "no_goal_foul",
}
_SPELLINGS: Final[Mapping[str, str]] = {"canceled": "cancelled", "pen": "penalty", "redcard": "red card"}


def var_words(outcome: str | None, language: Language = ENGLISH) -> str:
    """A vendor's phrase in the words that a reader is shown.

    Args:
        outcome: ``Goal Disallowed - offside``, ``no_goal``, or what an editor wrote.
        language: of the words.

    Returns:
        The words of the table; a phrase that is not in it as it stands, ``_`` read as a space; empty for
        none, and for a phrase that says nothing.
    """
    if not outcome:
        return ""
    key = _key(outcome)
    meaning = _MEANINGS.get(key)
    if meaning is None and language is not ENGLISH:
        meaning = _WRITTEN.get(key)
    if meaning is not None:
        return language.text(f"var.{meaning}") if meaning else ""
    # A code, such as ball_out_of_play, has neither spaces nor capitals of its own.
    is_code = "_" in outcome and outcome.isascii() and outcome.replace("_", "").isalnum()
    return outcome.replace("_", " ").strip().capitalize() if is_code else outcome


def _key(outcome: str) -> str:
    """The phrase as the table has it."""
    plain = "".join(sign if sign.isalnum() else " " for sign in outcome.lower())
    return " ".join(_SPELLINGS.get(word, word) for word in plain.split())


# A reason that is one of these alone, or behind "VAR", is no sentence of an editor's.
_REASONS: Final = frozenset({"offside", "handball", "foul", "retaken"})


def reason_words(reason: str, language: Language = ENGLISH) -> str:
    """A correction's reason as a reader is shown it.

    Args:
        reason: ``offside``, ``VAR: handball``, or what an editor wrote.
        language: of the words.

    Returns:
        In English, and for an editor's sentence, the reason as it stands; else its one word translated.
    """
    if language is ENGLISH:
        return reason
    words = _key(reason).split(" ")
    by_var = len(words) == 2 and words[0] == "var"
    if words[-1] not in _REASONS or not (by_var or len(words) == 1):
        return reason
    text = language.text(f"reason.{words[-1]}")
    return f"VAR: {text}" if by_var else text
