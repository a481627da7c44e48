"""What a page's own script may be notified of when a match changes: goals, corrections and changes of status.

The server writes them into the fragment of the change (``data-notifications``), and the reducer in the
browser gives the same; ``widget/src/notifications.js`` sends each as an event of ``<live-score>``. Like the
announcements they are computed from the match before and after one delta, so they need neither a clock nor
a memory, and whoever has the delta computes the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shared_state.corrections import ResolvedEvent
from shared_state.events import Event
from shared_state.jsontext import JsonObject
from shared_state.match import Match, Score
from shared_state.wire import DeltaId
from shared_state.wording import official_result

__all__ = ["CORRECTED", "notifications"]

#: What a correction can be about, by its ``what``.
CORRECTED: Final = (
    "goal_ruled_out",
    "goal_restored",
    "goal_amended",
    "score",
    "red_card_rescinded",
    "shootout_kick",
)
_RED: Final = ("RED_CARD", "SECOND_YELLOW")


def notifications(before: Match, after: Match, event: Event, id_: DeltaId) -> Sequence[JsonObject]:
    """What to notify of once ``event`` made ``after`` out of ``before``.

    Args:
        before: the match at the delta before.
        after: the match at this one.
        event: the event that the delta brought.
        id_: the delta's id.

    Returns:
        At most one ``goal`` or ``correction``, then at most one ``status``, each with ``type``, ``id``,
        ``score`` and the members that docs/embedding.md names.
    """
    known, record = before.records.get(event.event_id), after.records.get(event.event_id)
    was = None if known is None else known.live
    now = None if record is None else record.live
    found: list[JsonObject] = []
    play = _of_play(before, after, was, now, known, record)
    if play is not None:
        found.append(play)
    if after.status != before.status:
        found.append(
            {"type": "status", "status": after.status, "from": before.status, "period": after.period}
        )
    common: JsonObject = {"id": str(id_), "score": after.score.to_json()}
    if after.shootout is not None:
        common["shootout"] = after.shootout.to_json()
    return [{**one, "eventId": event.event_id, **common} for one in found]


def _of_play(
    before: Match,
    after: Match,
    was: Event | None,
    now: Event | None,
    known: ResolvedEvent | None,
    record: ResolvedEvent | None,
) -> JsonObject | None:
    moved = after.score != before.score
    if was is None and now is not None and now.type == "GOAL" and moved:
        if known is not None and known.body is not None:
            return _correction("goal_restored", now, now.reason)
        return _goal(now)
    if was is not None and now is None:
        reason = None if record is None or record.tombstone is None else record.tombstone.reason
        if was.type == "GOAL":
            return _correction("goal_ruled_out", was, reason)
        if was.type == "SHOOTOUT_KICK":
            return _correction("shootout_kick", was, reason)
        if was.type in _RED:
            return _correction("red_card_rescinded", was, reason)
    if (
        was is not None
        and now is not None
        and was.type == now.type == "GOAL"
        and _credit(was) != _credit(now)
    ):
        return _correction("goal_amended", now, now.reason)
    if was is not None and now is not None and was.type in _RED and now.type not in _RED:
        return _correction("red_card_rescinded", was, now.reason)
    if moved:
        if now is not None and now.type == "SCORE_OVERRIDE" and official_result(after) is None:
            # A feed that lists no goals says them by its running score.
            scorer = _scored(before.score, after.score)
            if scorer is not None:
                return _goal(now, scorer)
        return _correction("score", now or was, None if now is None else now.reason)
    if after.shootout != before.shootout and was is not None:
        return _correction("shootout_kick", now or was, None if now is None else now.reason)
    return None


def _goal(goal: Event, team: str | None = None) -> JsonObject:
    is_listed = goal.type == "GOAL"
    return {
        "type": "goal",
        **_subject(goal),
        "team": team or goal.team,
        "ownGoal": bool(is_listed and goal.detail["own_goal"]),
        "penalty": bool(is_listed and goal.detail["penalty"]),
        "underReview": is_listed and goal.status == "PROVISIONAL",
    }


def _correction(what: str, event: Event | None, reason: str | None) -> JsonObject:
    subject: JsonObject = {"team": None, "player": None, "period": None, "minute": None, "stoppage": 0}
    return {
        "type": "correction",
        "what": what,
        "reason": reason,
        **(subject if event is None else _subject(event)),
    }


def _subject(event: Event) -> JsonObject:
    return {
        "team": event.team,
        "player": event.player,
        "period": event.period,
        "minute": event.minute,
        "stoppage": event.stoppage,
    }


def _credit(goal: Event) -> tuple[object, ...]:
    """What a reader sees of a goal; its confirmation is no correction."""
    detail = goal.detail
    return goal.team, goal.player, goal.minute, goal.stoppage, detail["own_goal"], detail["penalty"]


def _scored(before: Score, after: Score) -> str | None:
    """The side whose score rose by one while the other's stood; None for any other change."""
    if (after.home, after.away) == (before.home + 1, before.away):
        return "home"
    return "away" if (after.home, after.away) == (before.home, before.away + 1) else None
