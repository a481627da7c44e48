"""What a screen reader speaks when a match changes; empty when it should keep quiet.

Only what a listener would turn the head for: a goal, a missed penalty, a red card, each kick of a shoot-out,
the beginning and the end of each part of the match, an interruption, and whatever takes one of these back.
What was announced and then taken back is always announced again, as a correction.
"""

from __future__ import annotations

from typing import Final

from shared_state.corrections import ResolvedEvent
from shared_state.events import Event
from shared_state.language import ENGLISH, Language
from shared_state.match import Match
from shared_state.timeline import retraction_key
from shared_state.var_outcomes import reason_words
from shared_state.wording import ENDED, minute_text, pair, score_sentence, side_name, status_words

__all__ = ["announcement"]

RED: Final = ("RED_CARD", "SECOND_YELLOW")
# Statuses with a sentence of their own, whatever was before.
_STOPPED: Final = ("INTERRUPTED", "SUSPENDED", "POSTPONED", "CANCELLED", "ABANDONED")
# Of these the score is news as well.
_WITH_SCORE: Final = ("SUSPENDED", "ABANDONED")
_PLAYED: Final = ("LIVE", "EXTRA_TIME")


def announcement(before: Match, after: Match, event: Event, language: Language = ENGLISH) -> str:
    """What to say about ``event``, which made ``after`` out of ``before``.

    A goal that is re-credited to another player, or turned into an own goal, moves no score and says
    nothing; one that goes to the other side is a correction.
    """
    return " ".join(_sentences(before, after, event, language))


def _sentences(before: Match, after: Match, event: Event, language: Language) -> list[str]:
    known = before.records.get(event.event_id)
    was = None if known is None else known.live
    record = after.records.get(event.event_id)
    now = None if record is None else record.live
    if was is None and now is not None and now.type == "GOAL" and after.score != before.score:
        return _goal(after, now, known is not None and known.body is not None, language)
    if was is not None and now is None and record is not None:
        return _taken_back(before, after, was, record, language)
    if after.score != before.score:
        return [language.text("say.score.corrected", score=score_sentence(after, language))]
    if now is not None and was is None and now.type == "SHOOTOUT_KICK":
        return _kick(after, now, known is not None and known.body is not None, language)
    if after.shootout != before.shootout and was is not None:
        return [language.text("say.correction", what=_shootout_inside(after, language))]
    if _is_red(now) and not _is_red(was) and now is not None:
        return [_event(after, now, language)]
    if _is_red(was) and not _is_red(now) and was is not None:
        what = language.text("say.no_red")
        return [language.text("say.correction.who", what=what, who=_who(after, was, language))]
    if now is not None and was is None and now.type == "PENALTY_MISSED":
        return [_event(after, now, language)]
    return _status(before, after, event, language)


def _goal(match: Match, goal: Event, revived: bool, language: Language) -> list[str]:
    if revived:
        opening = "say.goal.stands"
    elif goal.status == "PROVISIONAL":
        opening = "say.goal.review"
    else:
        opening = "say.goal"
    said = [language.text(opening), _score(match, language)]
    if goal.player:
        key = "say.scorer"
        if goal.detail["own_goal"]:
            key += ".own_goal"
        elif goal.detail["penalty"]:
            key += ".penalty"
        if goal.minute is None:
            said.append(language.text(key, player=goal.player))
        else:
            minute = minute_text(goal.minute, goal.stoppage, language)
            said.append(language.text(f"{key}.minute", player=goal.player, minute=minute))
    return said


def _taken_back(
    before: Match, after: Match, was: Event, record: ResolvedEvent, language: Language
) -> list[str]:
    if record.tombstone is None:
        return []
    if was.type == "GOAL":
        return [_correction(was, record.tombstone, language), _score(after, language)]
    if was.type == "SHOOTOUT_KICK":
        return [_correction(was, record.tombstone, language), _shootout(after, language)]
    if _is_red(was) or was.type == "PENALTY_MISSED":
        return [_correction(was, record.tombstone, language, _who(after, was, language))]
    if after.score != before.score:
        return [language.text("say.score.corrected", score=score_sentence(after, language))]
    return _status(before, after, record.tombstone, language)


def _correction(was: Event, tombstone: Event, language: Language, who: str = "") -> str:
    what = language.text(f"say.retracted{retraction_key(was)}")
    key, values = "say.correction", {"what": what}
    if tombstone.reason:
        key, values["reason"] = f"{key}.reason", reason_words(tombstone.reason, language)
    if who:
        key, values["who"] = f"{key}.who", who
    return language.text(key, **values)


def _kick(match: Match, kick: Event, revived: bool, language: Language) -> list[str]:
    outcome = "stands" if revived else "scored" if kick.detail["scored"] else "missed"
    side = "" if kick.team is None else side_name(match, kick.team, language)
    who = ", ".join([name for name in (kick.player, side) if name])
    return [language.text(f"say.kick.{outcome}", who=who), _shootout(match, language)]


def _status(before: Match, after: Match, event: Event, language: Language) -> list[str]:
    # An award after full time ends nothing anew, and takes nothing back: it is news of its own.
    if (after.status == "AWARDED") != (before.status == "AWARDED"):
        if after.status == "AWARDED":
            return [language.text("say.awarded"), _score(after, language)]
        return [_status_correction("say.not_awarded", after, language), _score(after, language)]
    if after.status in ENDED and before.status not in ENDED:
        ended = "say.after_extra_time" if after.status == "AET" else "say.full_time"
        said = [language.text(ended), _score(after, language)]
        return [*said, _shootout(after, language)] if after.status == "FT_PENS" else said
    if before.status in ENDED and after.status not in ENDED:
        return [_status_correction("say.not_over", after, language), _score(after, language)]
    if event.op != "ADD":
        # What was said of the status was wrong; what it is now is said instead.
        if before.status == after.status:
            return []
        return [language.text("say.correction", what=status_words(after, language))]
    return _part_of_play(before, after, language)


def _part_of_play(before: Match, after: Match, language: Language) -> list[str]:
    """What begins or ends with a new status, or a new period of the same one."""
    was, now = before.status, after.status
    if now == was:
        # A period that another event reached first is no news; the status of one that begins is.
        moved = "ET_HT" in (before.period, after.period) and before.period != after.period
        if now != "EXTRA_TIME" or not moved:
            return []
        key = "say.extra_half_time" if after.period == "ET_HT" else "say.resumed"
        return [language.text(key)]
    if now in _STOPPED:
        said = [language.text(f"say.{now}")]
        return [*said, _score(after, language)] if now in _WITH_SCORE else said
    if now == "DELAYED":
        return [language.text("say.DELAYED")] if after.period == "PRE" else []
    if now == "HALF_TIME":
        return [language.text("say.half_time"), _score(after, language)]
    if now == "PENALTIES":
        return [language.text("say.shootout_begins"), _score(after, language)]
    if was in ("INTERRUPTED", "SUSPENDED") and now in _PLAYED:
        return [language.text("say.resumed")]
    if now == "EXTRA_TIME":
        return [language.text("say.extra_time"), _score(after, language)]
    if now == "LIVE" and was in ("SCHEDULED", "DELAYED", "POSTPONED") and after.period in ("PRE", "H1"):
        return [language.text("say.kickoff")]
    if now == "LIVE" and was == "HALF_TIME":
        return [language.text("say.second_half")]
    return []


def _status_correction(key: str, after: Match, language: Language) -> str:
    what = language.text(key, status=status_words(after, language))
    return language.text("say.correction", what=what)


def _is_red(event: Event | None) -> bool:
    return event is not None and event.type in RED


def _event(match: Match, event: Event, language: Language) -> str:
    who = _who(match, event, language)
    return language.text("say.event", what=language.text(f"say.{event.type}"), who=who)


def _who(match: Match, event: Event, language: Language) -> str:
    side = "" if event.team is None else side_name(match, event.team, language)
    names = ", ".join([name for name in (event.player, side) if name]) or language.text("say.unnamed")
    if event.minute is None:
        return names
    minute = minute_text(event.minute, event.stoppage, language)
    return language.text("say.who.minute", names=names, minute=minute)


def _score(match: Match, language: Language) -> str:
    return language.text("say.score", score=score_sentence(match, language))


def _shootout(match: Match, language: Language) -> str:
    if match.shootout is None:
        return language.text("say.no_shootout")
    return language.text("say.shootout", score=pair(match.shootout))


def _shootout_inside(match: Match, language: Language) -> str:
    """The same in the middle of a sentence."""
    if match.shootout is None:
        return language.text("say.inside.no_shootout")
    return language.text("say.inside.shootout", score=pair(match.shootout))
