"""API-Football v3: the fixtures of ``/fixtures?live=all`` or ``/fixtures?id=``, with their events.

One answer has many matches, and no event has an id: each match becomes an anonymous ``VendorDocument``
(``origin.feeds.matching``).

* The answer has no time of its own, so a document is dated by when it was read; in a file, by the match's
  own clock. The clock of the match is its period and the elapsed minute.
* An own goal stands under the side that it is credited to.
* ``Missed Penalty`` is of type Goal, and none. A kick of the shoot-out is a Goal or a Missed Penalty at 120
  with ``extra`` as its number, and ``comments`` that say "Penalty Shootout"; in older ones they are empty.
* An event without its list (``events`` is missing, as in a list of fixtures) says nothing of what happened.
* A goal that VAR took back may stay as a goal, beside a ``Var`` row that says so. It is left out where the
  document's own score has fewer goals of that side than there are rows.
* A result that is known without its events is a SCORE_OVERRIDE, as in the other readers.
* A match whose fields cannot be read costs itself, and not the other matches of the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from origin.errors import FeedError
from origin.feeds import Warn
from origin.feeds.fixture import kicks_of_result
from origin.feeds.jsondoc import Node
from origin.feeds.matching import ROWS_MAX, MatchingFeed, row_id
from origin.feeds.vendor_document import VendorDocument
from shared_state import Event, InvalidEvent, Score
from shared_state.events import PERIOD_INDEX, default_period

__all__ = ["FIXTURES_MAX", "PREFIX", "SOURCE", "convert", "read_fixtures"]

SOURCE: Final = "api-football-v3"
PREFIX: Final = "af-"
KIND: Final = "API-Football v3"
# A Saturday has some 300 live matches.
FIXTURES_MAX: Final = 2_000
# A review is written some minutes after its goal.
REVIEW_MINUTES_MAX: Final = 6
_ID_MAX: Final = 2**53 - 1

_STATUSES: Final = {
    "TBD": ("SCHEDULED", "PRE"),
    "NS": ("SCHEDULED", "PRE"),
    "1H": ("LIVE", "H1"),
    "HT": ("HALF_TIME", "HT"),
    "2H": ("LIVE", "H2"),
    "BT": ("EXTRA_TIME", "BREAK_ET"),
    "P": ("PENALTIES", "PENS"),
    "FT": ("FT", "POST"),
    "AET": ("AET", "POST"),
    "PEN": ("FT_PENS", "POST"),
    "PST": ("POSTPONED", "PRE"),
    "CANC": ("CANCELLED", "PRE"),
    "AWD": ("AWARDED", "POST"),
    "WO": ("AWARDED", "POST"),
}
# Of these the period is that of the minute.
_OF_THE_MINUTE: Final = {
    "ET": "EXTRA_TIME",
    "LIVE": "LIVE",
    "INT": "INTERRUPTED",
    "SUSP": "SUSPENDED",
    "ABD": "ABANDONED",
}
_OVER: Final = frozenset({"FT", "AET", "FT_PENS", "AWARDED"})
_CARDS: Final = {
    "yellow card": "YELLOW_CARD",
    "second yellow card": "SECOND_YELLOW",
    "red card": "RED_CARD",
}
SHOOTOUT: Final = "penalty shootout"


def convert(source: BinaryIO, warn: Warn, /) -> Iterator[Event]:
    """Yield the events of an answer, those of one match in the order of play.

    Raises:
        FeedError: it is no answer of this API.
        OSError: it cannot be read.
    """
    for document in read_fixtures(Node.read(source), warn=warn):
        yield from sorted(MatchingFeed(document.match_id, warn).take(document), key=Event.order)


def read_fixtures(
    document: Node, *, now_ms: int | None = None, warn: Warn | None = None
) -> list[VendorDocument]:
    """Read an answer: every match in it.

    Args:
        document: the JSON.
        now_ms: when it was read, UTC milliseconds; None for a file.
        warn: called about each match that cannot be read; without it the first such error is raised.

    Raises:
        FeedError: it is no answer of this API, with the path and line.
    """
    document.require_kind(KIND)
    if not document.has("response"):
        errors = document.at("errors").value if document.has("errors") else None
        if errors:
            raise document.at("errors").error("the vendor answers with errors")
        raise document.at("response").error("is missing: an API-Football v3 answer has it")
    if (
        document.has("errors") and document.at("errors").value
    ):  # a quota or a bad key is an answer with status 200, and no matches
        raise document.at("errors").error("the vendor answers with errors")
    fixtures = list(document.at("response").items())
    if len(fixtures) > FIXTURES_MAX:
        raise document.at("response").error(f"has {len(fixtures)} matches, at most {FIXTURES_MAX} are read")
    found: dict[str, VendorDocument] = {}
    doubts: list[FeedError] = []
    for node in fixtures:
        try:
            one = _read_fixture(node, now_ms)
            if one.match_id in found:
                raise node.error(f"match {one.match_id} is in the answer twice")
            found[one.match_id] = one
        except FeedError as error:
            if warn is None:
                raise
            doubts.append(error)
    if doubts and not found:  # not one of them can be read: that is no answer
        raise doubts[0]
    for doubt in doubts:
        if warn is not None:
            warn(doubt)
    return list(found.values())


def _read_fixture(node: Node, now_ms: int | None) -> VendorDocument:
    fixture = node.at("fixture")
    match_id = f"{PREFIX}{fixture.at('id').integer(1, _ID_MAX)}"
    kickoff_ms = fixture.at("timestamp").integer(0, 2**40) * 1000 if fixture.has("timestamp") else None
    status_node = fixture.at("status")
    elapsed = status_node.at("elapsed").integer(0, 200) if status_node.has("elapsed") else None
    at_ms = now_ms
    if at_ms is None:
        at_ms = max(1, (kickoff_ms or 0) + 60_000 * (elapsed or 0))
    reading = _Reading(match_id, at_ms)
    reading.info(node, kickoff_ms)
    status = _status(status_node, elapsed)
    if status is not None:
        reading.event(status_node, "status", "STATUS_CHANGE", status[1], detail={"to": status[0]})
    goals = node.at("goals") if node.has("goals") else None
    score = _score(goals)
    listed = node.has("events")
    if listed:
        reading.rows_of(node)
        reading.leave_out_disallowed(score)
    if listed and score is not None and status is not None and status[0] in _OVER:
        reading.result(node, score, status[0])
    return VendorDocument(
        match_id=match_id,
        at_ms=at_ms,
        events=reading.events,
        rows=reading.rows if listed else {},
        complete=listed,
        score=score if listed else None,  # without rows there is nothing to compare it with
        score_error=None if goals is None else goals.error,
        doubts=reading.doubts,
        read_ms=now_ms,
        anonymous=True,
        competition_id=_league(node),
        clock=None if status is None else (PERIOD_INDEX[status[1]], elapsed or 0),
    )


class _Reading:
    """One match while it is made into events."""

    def __init__(self, match_id: str, at_ms: int) -> None:
        self.events: list[Event] = []
        self.rows: dict[str, int] = {"info": at_ms, "result": at_ms}
        self.doubts: list[FeedError] = []
        self._match_id = match_id
        self._at_ms = at_ms
        self._kicks = 0
        self._sides: dict[int, str] = {}

    def info(self, node: Node, kickoff_ms: int | None) -> None:
        """Teams, competition, kick-off and venue."""
        detail: dict[str, Any] = {"kickoff_ms": kickoff_ms}
        for side in ("home", "away"):
            team = node.at("teams").at(side)
            detail[side] = {"name": team.at("name").text()}
            if team.has("id"):
                self._sides[team.at("id").integer(0, _ID_MAX)] = side
        if node.has("league"):
            detail["competition"] = node.at("league").at("name").optional_text()
        if node.at("fixture").has("venue"):
            detail["venue"] = node.at("fixture").at("venue").at("name").optional_text()
        self.event(node, "info", "MATCH_INFO", "PRE", detail=detail)

    def rows_of(self, node: Node) -> None:
        """The list of events."""
        rows = list(node.at("events").items())
        if len(rows) > ROWS_MAX:
            raise node.at("events").error(f"has {len(rows)} events, at most {ROWS_MAX} are read")
        for index, row in enumerate(rows):
            self.rows[row_id(index)] = self._at_ms
            self._take(row, row_id(index))

    def leave_out_disallowed(self, score: Score | None) -> None:
        """Leave out goals that a VAR row took back, as many as the vendor's own score does not count."""
        if score is None:
            return
        reviews = [event for event in self.events if event.type == "VAR" and _takes_goal_back(event)]
        for side, counted in zip(("home", "away"), score, strict=True):
            for review in reviews:
                goals = [event for event in self.events if event.type == "GOAL" and event.team == side]
                if len(goals) <= counted or review.team != side:
                    continue
                alike = [goal for goal in goals if _is_reviewed(goal, review)]
                if alike:
                    named = [goal for goal in alike if goal.player == review.player is not None]
                    self.events.remove(max(named or alike, key=lambda goal: goal.order()[1:4]))

    def _take(self, row: Node, event_id: str) -> None:
        kind = (row.at("type").optional_text() or "").casefold()
        detail = row.at("detail").optional_text() or ""
        word = detail.casefold()
        time = row.at("time")
        minute = time.at("elapsed").integer(-10, 200) if time.has("elapsed") else None
        extra = time.at("extra").integer(-10, 200) if time.has("extra") else 0
        minute = None if minute is None or minute < 0 else minute
        extra = max(0, extra)
        player, second = _name(row, "player"), _name(row, "assist")
        fields: dict[str, Any] = {"minute": minute, "stoppage": extra, "player": player}
        type_, side = "", None
        if kind == "goal" and self._is_kick(row, word, minute, extra):
            self._kicks += 1
            fields = {
                "player": player,
                "detail": {"order": extra or self._kicks, "scored": "missed" not in word},
            }
            self.event(row, event_id, "SHOOTOUT_KICK", "PENS", team=self._side(row), **fields)
            return
        if kind == "goal" and "missed" in word:
            type_ = "PENALTY_MISSED"
        elif kind == "goal" and not any(gone in word for gone in ("cancel", "disallow")):
            type_, fields["player2"] = "GOAL", second
            fields["detail"] = {"own_goal": word == "own goal", "penalty": word == "penalty"}
        elif kind == "card":
            type_ = _CARDS.get(word, "")
        elif kind == "subst":
            type_, fields["player2"] = "SUBSTITUTION", second
        elif kind == "var":
            type_, fields["detail"] = "VAR", {"state": "CLOSED", "outcome": detail or None}
        if not type_:
            return
        side = self._side(row)
        self.event(row, event_id, type_, default_period(minute), team=side, **fields)

    def _is_kick(self, row: Node, word: str, minute: int | None, extra: int) -> bool:
        comments = row.at("comments").optional_text() if row.has("comments") else None
        if comments is not None:
            return comments.casefold() == SHOOTOUT
        return minute == 120 and extra > 0 and word in ("penalty", "missed penalty")

    def _side(self, row: Node) -> str:
        team = row.at("team")
        side = self._sides.get(team.at("id").integer(0, _ID_MAX))
        if side is None:
            raise team.at("id").error(f"must be one of the match's teams, got {team.at('id').value}")
        return side

    def result(self, node: Node, score: Score, status: str) -> None:
        """The result of a match that is over and has no goals listed, or was decided by a federation."""
        types = {event.type for event in self.events}
        if ("GOAL" not in types and score != (0, 0)) or status == "AWARDED":
            detail = {"home": score.home, "away": score.away}
            self.event(node.at("goals"), "result", "SCORE_OVERRIDE", "POST", detail=detail)
        if status != "FT_PENS" or "SHOOTOUT_KICK" in types or not node.has("score"):
            return
        pens = _score(node.at("score").at("penalty")) if node.at("score").has("penalty") else None
        for order, side in enumerate(kicks_of_result(pens or Score(0, 0)), start=1):
            self.rows[f"k{order:02}"] = self._at_ms
            detail = {"order": order, "scored": True}
            self.event(node.at("score"), f"k{order:02}", "SHOOTOUT_KICK", "PENS", team=side, detail=detail)

    def event(self, node: Node, event_id: str, type_: str, period: str, **fields: Any) -> None:
        """One event, or the error of the contract at its path."""
        try:
            event = Event(
                match_id=self._match_id, event_id=event_id, rev=self._at_ms, op="ADD", type=type_,
                period=period, source=SOURCE, **fields,
            )  # fmt: skip
        except InvalidEvent as error:
            raise node.invalid(error) from None
        self.events.append(event)


def _status(node: Node, elapsed: int | None) -> tuple[str, str] | None:
    """The match status and its period; None for a word that is not known, which must not stop the goals."""
    word = node.at("short").optional_text() or ""
    if word in _OF_THE_MINUTE:
        period = default_period(elapsed)
        return _OF_THE_MINUTE[word], "ET1" if word == "ET" and period in ("PRE", "H1", "H2") else period
    return _STATUSES.get(word)


def _takes_goal_back(review: Event) -> bool:
    words = (review.detail["outcome"] or "").casefold()
    return "goal" in words and any(word in words for word in ("disallow", "cancel"))


def _is_reviewed(goal: Event, review: Event) -> bool:
    """Whether a review may be of a goal: by when it came; the vendor writes it some minutes later."""
    if goal.minute is None or review.minute is None:
        return True
    later = review.minute + review.stoppage - goal.minute - goal.stoppage
    return -1 <= later <= REVIEW_MINUTES_MAX


def _league(node: Node) -> int | None:
    if not node.has("league") or not node.at("league").has("id"):
        return None
    return node.at("league").at("id").integer(0, _ID_MAX)


def _score(node: Node | None) -> Score | None:
    if node is None or not node.has("home") or not node.has("away"):
        return None
    return Score(*(node.at(side).integer(0, 199) for side in ("home", "away")))


def _name(row: Node, key: str) -> str | None:
    return row.at(key).at("name").optional_text() if row.has(key) else None
