"""What a reader must not miss: a goal, a goal taken back, a goal or a check that is not decided yet.

All of it is a function of matches. A moment compares the match with the one before its last delta; everything
else is read off the match alone, so that it is still there when the next delta follows within a second.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from shared_state.events import Event
from shared_state.match import Match, Score, is_scored_goal
from shared_state.timeline import place
from shared_state.wording import official_result, phase, score_shown

__all__ = ["Moment", "moment", "review", "taken_back"]

GOAL: Final = "goal"
CORRECTION: Final = "correction"
# Minutes of play for which a goal that was taken back, or an open check, is still what a reader asks about.
STILL_NEWS_MIN: Final = 5


class Moment(NamedTuple):
    """A change of the score that is shown.

    Attributes:
        kind: ``goal``, or ``correction`` where the score did not change by play.
        was: the score before.
    """

    kind: str
    was: Score


def moment(before: Match, after: Match) -> Moment | None:
    """What a delta did to the score that is shown; None for nothing."""
    if after.score == before.score or not score_shown(before) or not score_shown(after):
        return None
    rose = after.score.home >= before.score.home and after.score.away >= before.score.away
    if not rose or _revived(before, after):
        return Moment(CORRECTION, before.score)
    if after.goals == before.goals and official_result(after) is not None:
        return Moment(CORRECTION, before.score)
    return Moment(GOAL, before.score)


def taken_back(match: Match, before: Match | None = None) -> tuple[Event, Event] | None:
    """The goal that a page should say was taken back, with its retraction; None for none.

    Args:
        match: the match.
        before: the match before its last delta, where that is known: then a goal that this delta took back is
            told whenever it was scored. Otherwise only one of the last minutes of play, while the match runs.
    """
    gone = [pair for pair in match.retracted() if pair[0].type == "GOAL" and pair[0].period != "PENS"]
    if before is not None:
        for goal, retraction in gone:
            known = before.records.get(goal.event_id)
            if known is not None and known.live is not None:
                return goal, retraction
    if not gone or phase(match) not in ("live", "paused"):
        return None
    latest = gone[0]
    for pair in gone:
        if place(pair[0]) > place(latest[0]):
            latest = pair
    goals = [place(event) for event in match.events() if is_scored_goal(event)]
    if not _is_news(match, latest[0]) or (goals and max(goals) > place(latest[0])):
        return None
    return latest


def review(match: Match) -> Event | None:
    """The goal under review, or else the open check of the last minutes; None while nothing is looked at."""
    if phase(match) not in ("live", "paused"):
        return None
    found: Event | None = None
    for event in match.events():
        if is_scored_goal(event) and event.status == "PROVISIONAL":
            return event
        if event.type == "VAR" and event.detail["state"] == "OPEN" and _is_news(match, event):
            # A check of a goal that is gone has been decided, whether or not the source has closed it.
            target = match.records.get(event.detail["target_event_id"] or "")
            if target is None or target.live is not None:
                found = event
    return found


def _is_news(match: Match, event: Event) -> bool:
    """Whether play has not gone on for long since an event; one without a minute is news of its period."""
    period, minute, stoppage = match.clock
    if event.period != period:
        return False
    if event.minute is None or minute is None:
        return True
    return minute + stoppage - event.minute - event.stoppage <= STILL_NEWS_MIN


def _revived(before: Match, after: Match) -> bool:
    """Whether a goal stands again that had been taken back."""
    for goal, _ in before.retracted():
        now = after.records.get(goal.event_id)
        if goal.type == "GOAL" and now is not None and now.live is not None:
            return True
    return False
