"""The one line that a screen reader speaks when a match changes; empty when it should keep quiet.

Only what a listener would turn the head for: a goal, a red card, the end, and whatever takes one of
these back. What was announced and then taken back is always announced again, as a correction.
"""

from __future__ import annotations

from typing import Final

from shared_state.corrections import ResolvedEvent
from shared_state.events import Event
from shared_state.match import Match
from shared_state.timeline import retraction_text
from shared_state.wording import ENDED, minute_text, pair, score_sentence, side_name, status_words

__all__ = ["announcement"]

RED: Final = ("RED_CARD", "SECOND_YELLOW")


def announcement(before: Match, after: Match, event: Event) -> str:
    """What to say about ``event``, which made ``after`` out of ``before``.

    A goal that is re-credited to another player, or turned into an own goal, moves no score and says
    nothing; one that goes to the other side is a correction.
    """
    known = before.records.get(event.event_id)
    was = None if known is None else known.live
    record = after.records.get(event.event_id)
    now = None if record is None else record.live
    if was is None and now is not None and now.type == "GOAL" and after.score != before.score:
        return _goal(after, now, revived=known is not None and known.body is not None)
    if was is not None and now is None and record is not None:
        return _taken_back(before, after, was, record)
    if after.score != before.score:
        return f"Correction: the score is {score_sentence(after)}."
    if after.shootout != before.shootout and was is not None:
        return f"Correction: {_shootout(after)}."
    if _is_red(now) and not _is_red(was) and now is not None:
        return f"{_card(now)}, {_who(after, now)}."
    if _is_red(was) and not _is_red(now) and was is not None:
        return f"Correction: no red card, {_who(after, was)}."
    return _status(before, after)


def _goal(match: Match, goal: Event, *, revived: bool) -> str:
    if revived:
        opening = "Correction: the goal stands."
    elif goal.status == "PROVISIONAL":
        opening = "Goal, under review."
    else:
        opening = "Goal!"
    flags = " (own goal)" if goal.detail["own_goal"] else " (penalty)" if goal.detail["penalty"] else ""
    scorer = f" {goal.player}{flags}{_when(goal)}." if goal.player else ""
    return f"{opening} {score_sentence(match)}.{scorer}"


def _taken_back(before: Match, after: Match, was: Event, record: ResolvedEvent) -> str:
    if record.tombstone is None:
        return ""
    text = retraction_text(was, record.tombstone)
    text = text[0].lower() + text[1:]
    if was.type == "GOAL":
        return f"Correction: {text}. {score_sentence(after)}."
    if was.type == "SHOOTOUT_KICK":
        return f"Correction: {text}. {_shootout(after)}."
    if _is_red(was):
        return f"Correction: {text}, {_who(after, was)}."
    if after.score != before.score:
        return f"Correction: the score is {score_sentence(after)}."
    return _status(before, after)


def _status(before: Match, after: Match) -> str:
    # An award after full time ends nothing anew, and takes nothing back: it is news of its own.
    if (after.status == "AWARDED") != (before.status == "AWARDED"):
        words = "Result awarded" if after.status == "AWARDED" else _not_awarded(after)
        return f"{words}. {score_sentence(after)}."
    if after.status in ENDED and before.status not in ENDED:
        words = "Full time" if after.status != "AET" else "Full time, after extra time"
        shootout = f" {_shootout(after)}." if after.status == "FT_PENS" else ""
        return f"{words}. {score_sentence(after)}.{shootout}"
    if before.status in ENDED and after.status not in ENDED:
        return f"Correction: not full time, {status_words(after)}. {score_sentence(after)}."
    return ""


def _not_awarded(after: Match) -> str:
    return f"Correction: result not awarded, {status_words(after)}"


def _is_red(event: Event | None) -> bool:
    return event is not None and event.type in RED


def _card(event: Event) -> str:
    return "Red card" if event.type == "RED_CARD" else "Second yellow card, sent off"


def _who(match: Match, event: Event) -> str:
    side = "" if event.team is None else side_name(match, event.team)
    names = ", ".join(name for name in (event.player, side) if name)
    return f"{names or 'player not named'}{_when(event)}"


def _when(event: Event) -> str:
    return "" if event.minute is None else f", {minute_text(event.minute, event.stoppage)}"


def _shootout(match: Match) -> str:
    return f"Shoot-out {pair(match.shootout)}" if match.shootout is not None else "No shoot-out"
