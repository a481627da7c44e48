"""The status of a match in Sportradar v4, and the vendor's own scores beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from origin.errors import FeedError
from origin.feeds.jsondoc import Node
from shared_state import Score

__all__ = [
    "OVER",
    "SHOOTOUT_PERIODS",
    "has_not_begun",
    "own_score",
    "read_status",
    "score_error",
    "shootout_score",
]

# match_status says more than status: it is looked at first.
_MATCH_STATUSES: Final = {
    "1st_half": ("LIVE", "H1"),
    "halftime": ("HALF_TIME", "HT"),
    "2nd_half": ("LIVE", "H2"),
    "awaiting_extra_time": ("EXTRA_TIME", "BREAK_ET"),
    "overtime": ("EXTRA_TIME", "ET1"),
    "1st_extra": ("EXTRA_TIME", "ET1"),
    "extra_time_halftime": ("EXTRA_TIME", "ET_HT"),
    "2nd_extra": ("EXTRA_TIME", "ET2"),
    "awaiting_penalties": ("PENALTIES", "BREAK_PENS"),
    "penalties": ("PENALTIES", "PENS"),
    "aet": ("AET", "POST"),
    "ap": ("FT_PENS", "POST"),
}
# Of these the period is that of the last thing that happened.
_STOPPED: Final = {"interrupted": "INTERRUPTED", "suspended": "SUSPENDED", "abandoned": "ABANDONED"}
OVER: Final = frozenset({"FT", "AET", "FT_PENS"})
_RUNNING: Final = frozenset({"live", "started", "inprogress"})
# The match is over, however it came to that.
_PLAYED_OUT: Final = frozenset({"ended", "closed"})
SHOOTOUT_PERIODS: Final = frozenset({"penalties", "penalty_shootout"})
_STATUSES: Final = {
    "not_started": ("SCHEDULED", "PRE"),
    "delayed": ("DELAYED", "PRE"),
    "start_delayed": ("DELAYED", "PRE"),
    "postponed": ("POSTPONED", "PRE"),
    "cancelled": ("CANCELLED", "PRE"),
    "ended": ("FT", "POST"),
    "closed": ("FT", "POST"),
    "awarded": ("AWARDED", "POST"),
    "walkover": ("AWARDED", "POST"),
}


def read_status(node: Node, reached: str) -> tuple[str, str] | None:
    """What the match is at now, and in which period.

    Args:
        node: ``sport_event_status``.
        reached: the period of the last thing that happened.

    Returns:
        None for a word that is not known: it must not stop the goals.

    Raises:
        FeedError: a field is of another type.
    """
    status = node.at("status").optional_text() or ""
    match_status = node.at("match_status").optional_text() or ""
    if status in _PLAYED_OUT and node.at("decided_by_fed").boolean():
        return ("AWARDED", "POST")
    known = _MATCH_STATUSES.get(match_status)
    for word in (status, match_status):
        if word in _STOPPED:
            known = (_STOPPED[word], reached)
    if known is None:
        known = _STATUSES.get(match_status) or _STATUSES.get(status)
    if known is None and status in _RUNNING:
        known = ("LIVE", "H1" if reached == "PRE" else reached)
    return known


def has_not_begun(document: Node) -> bool:
    """Whether a document without a timeline says of itself that nothing can be in it yet."""
    if not document.has("sport_event_status"):
        return False
    status = document.at("sport_event_status")
    known = _STATUSES.get(status.at("status").optional_text() or "")
    return known is not None and known[1] == "PRE" and own_score(status) in (None, Score(0, 0))


def shootout_score(status: Node) -> Score:
    """The result of the shoot-out, of the period's own score; 0-0 where it is not there."""
    for period in status.at("period_scores").items():
        kind = period.at("type").value
        if isinstance(kind, str) and kind in SHOOTOUT_PERIODS:
            return own_score(period) or Score(0, 0)
    return Score(0, 0)


def score_error(parent: Node) -> Callable[[str], FeedError]:
    """Makes the error about the vendor's score, at the path and line where it stands."""
    return lambda message: parent.at("sport_event_status").at("home_score").error(message)


def own_score(status: Node) -> Score | None:
    """The score that stands in a status, or in one of its periods; None where none does.

    Raises:
        FeedError: a count is none.
    """
    if not status.has("home_score") or not status.has("away_score"):
        return None
    return Score(*(status.at(f"{side}_score").integer(0, 199) for side in ("home", "away")))
