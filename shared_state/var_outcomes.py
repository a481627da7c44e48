"""What a VAR check came to, in words: one table for the words of all vendors.

The log keeps what the vendor said; only the view translates it. So a vendor's new phrase is shown as it
stands at once, and what was logged before the table knew a phrase reads better from the day it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["VAR_OUTCOMES", "var_words"]

# Keys are in small letters, with single spaces in place of every other sign.
VAR_OUTCOMES: Final[Mapping[str, str]] = {
    # Of a goal.
    "goal": "Goal",
    "goal awarded": "Goal given",
    "goal given": "Goal given",
    "goal confirmed": "Goal stands",
    "goal stands": "Goal stands",
    "goal not confirmed": "No goal",
    "goal under review": "Goal under review",
    "no goal": "No goal",
    "goal not awarded": "No goal",
    "goal cancelled": "No goal",
    "goal disallowed": "No goal",
    "goal disallowed offside": "No goal: offside",
    "goal disallowed handball": "No goal: handball",
    "goal disallowed foul": "No goal: foul",
    "goal ruled out": "No goal",
    "offside": "Offside",
    "no offside": "No offside",
    # Of a penalty.
    "penalty": "Penalty",
    "penalty awarded": "Penalty given",
    "penalty given": "Penalty given",
    "penalty confirmed": "Penalty stands",
    "penalty stands": "Penalty stands",
    "penalty under review": "Penalty under review",
    "no penalty": "No penalty",
    "no penalty awarded": "No penalty",
    "penalty not awarded": "No penalty",
    "penalty cancelled": "No penalty",
    "penalty disallowed": "No penalty",
    "penalty overturned": "No penalty",
    "penalty retake": "Penalty to be taken again",
    "penalty to be retaken": "Penalty to be taken again",
    # Of a card.
    "card reviewed": "Card reviewed",
    "card upgrade": "Card upgraded",
    "card upgraded": "Card upgraded",
    "card changed": "Card changed",
    "card cancelled": "No card",
    "red card": "Red card",
    "red card awarded": "Red card",
    "red card given": "Red card",
    "red card confirmed": "Red card stands",
    "red card under review": "Red card under review",
    "no red card": "No red card",
    "red card cancelled": "No red card",
    "red card not given": "No red card",
    "yellow card given": "Yellow card",
    "no yellow card": "No yellow card",
    "yellow card cancelled": "No yellow card",
    # Of who it was, and of nothing in particular.
    "mistaken identity": "Mistaken identity",
    "player changed": "Mistaken identity",
    "confirmed": "Decision stands",
    "cancelled": "Decision overturned",
    "overturned": "Decision overturned",
    "decision overturned": "Decision overturned",
    "decision stands": "Decision stands",
    "decision unchanged": "Decision stands",
    "upheld": "Decision stands",
    "not given": "Not given",
    "other": "",
    "unknown": "",
    "not sure": "",
}
_SPELLINGS: Final[Mapping[str, str]] = {"canceled": "cancelled", "pen": "penalty", "redcard": "red card"}


def var_words(outcome: str | None) -> str:
    """A vendor's phrase in the words that a reader is shown.

    Args:
        outcome: ``Goal Disallowed - offside``, ``no_goal``, or what an editor wrote.

    Returns:
        The words of the table; a phrase that is not in it as it stands, ``_`` read as a space; empty for
        none, and for a phrase that says nothing.
    """
    if not outcome:
        return ""
    known = VAR_OUTCOMES.get(_key(outcome))
    if known is not None:
        return known
    # A code, such as ball_out_of_play, has neither spaces nor capitals of its own.
    is_code = "_" in outcome and outcome.isascii() and outcome.replace("_", "").isalnum()
    return outcome.replace("_", " ").strip().capitalize() if is_code else outcome


def _key(outcome: str) -> str:
    """The phrase as the table has it."""
    plain = "".join(sign if sign.isalnum() else " " for sign in outcome.lower())
    return " ".join(_SPELLINGS.get(word, word) for word in plain.split())
