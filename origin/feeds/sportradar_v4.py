"""Sportradar Soccer v4: the timeline of a match as JSON, and single events of the push stream.

A timeline is complete: what is not in it any more was taken back, and nothing else says so. A push message
is one event. Both become a ``VendorDocument``;
``VendorDocumentFeed`` decides what follows from a row that is gone.

* ``time`` is overwritten when an event is updated, so it is the revision; as the time of occurrence it
  is given only for an event that was never updated.
* A time in the future would outlast every true one after it: a reader that knows what time it is
  refuses one that is ahead by more than clocks differ.
* ``competitor`` of a ``score_change`` is the side that benefits, of an own goal too.
* The order of the list is not that of the ids, and the score of the feed can lag behind its events:
  goals are counted, and the vendor's score only compared. Only of a match that is over, and of which the
  timeline has no goal (it was not covered live) or whose result was decided by a federation, the vendor's
  score is the result: a SCORE_OVERRIDE.
* A ``score_change`` in the shoot-out is the other half of a ``penalty_shootout`` row, and no goal.
* A VAR check opens with one event and closes with another, and others may come between; the two are
  one VAR event here.
* The status of the match is one STATUS_CHANGE that is amended: the vendor says what it is now, and not
  in its events.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO, Final

from origin.errors import FeedError
from origin.feeds import Warn
from origin.feeds.document_kind import SPORTRADAR_V4_TIMELINE
from origin.feeds.fixture import kicks_of_result
from origin.feeds.jsondoc import Node, dotted
from origin.feeds.sportradar_status import (
    OVER,
    SHOOTOUT_PERIODS,
    has_not_begun,
    own_score,
    read_status,
    score_error,
    shootout_score,
)
from origin.feeds.vendor_document import AHEAD_MAX_MS, VendorDocument, VendorDocumentFeed
from shared_state import Event, InvalidEvent, Score
from shared_state.events import MATCH_ID_PATTERN, PERIOD_INDEX, default_period

__all__ = ["convert", "match_id_of", "read_push", "read_timeline"]

SOURCE: Final = "sportradar-v4"
# Of the event that is made of the vendor's result, for which it has no row; its own ids are numbers.
RESULT_ID: Final = "result"
_LAST_MINUTE: Final = 120
TIMELINE_MAX: Final = 5_000  # a match with every throw-in has some 1,500

_ID_PATTERN: Final = re.compile(r"(?:[a-z]+:)?(?:sport_event|match)(?:_id)?:([A-Za-z0-9_-]+)")

_PLAIN: Final = {
    "yellow_card": "YELLOW_CARD",
    "yellow_red_card": "SECOND_YELLOW",
    "red_card": "RED_CARD",
    "penalty_missed": "PENALTY_MISSED",
}
_PERIODS: Final = {
    ("regular_period", 1): "H1",
    ("regular_period", 2): "H2",
    ("overtime", 1): "ET1",
    ("overtime", 2): "ET2",
}


def convert(source: BinaryIO, warn: Warn, /) -> Iterator[Event]:
    """Yield the events of a timeline.

    Raises:
        FeedError: it is not one.
        OSError: it cannot be read.
    """
    document = read_timeline(Node.read(source))
    yield from sorted(VendorDocumentFeed(document.match_id, warn).take(document), key=Event.order)


def match_id_of(node: Node) -> str:
    """The match of ``sr:sport_event:N``, which is written ``sr:sport_event_id:N`` in some places.

    Raises:
        FeedError: it is no such id.
    """
    found = _ID_PATTERN.fullmatch(node.text())
    match_id = f"sr-{found[1]}" if found else ""
    if not MATCH_ID_PATTERN.fullmatch(match_id):
        raise node.error(f"must be sr:sport_event:N, got {node.value[:80]!r}")
    return match_id


def read_timeline(document: Node, *, now_ms: int | None = None) -> VendorDocument:
    """Read a timeline: all of a match.

    Args:
        document: the JSON.
        now_ms: UTC milliseconds; None for a document of which only its own time is known.

    Raises:
        FeedError: it is not one, or has a time in the future, with the path and line.
    """
    has_rows = isinstance(document.value, dict) and document.has("timeline")
    document.require_kind(SPORTRADAR_V4_TIMELINE, "" if has_rows else ": timeline is missing")
    sport_event = document.at("sport_event")
    match_id = match_id_of(sport_event.at("id"))
    reading = _Reading(match_id, document.at("generated_at"), now_ms)
    if not document.has("timeline") and not has_not_begun(document):
        raise document.at("timeline").error("is missing: a timeline has it, other documents do not")
    timeline = list(document.at("timeline").items())
    if len(timeline) > TIMELINE_MAX:
        raise document.at("timeline").error(f"has {len(timeline)} events, at most {TIMELINE_MAX} are read")
    if not any(node.object().get("type") == "penalty_shootout" for node in timeline):
        reading.kicks_by_score = True
    reading.shootout_begun_ms = min(
        (_time_ms(node.at("time")) for node in timeline if _in_shootout(node) and node.has("time")),
        default=None,
    )
    rows = {}
    for node in _without_doubles(timeline, reading.doubts):
        rows[_event_id(node)] = reading.take(node)
    reading.info(sport_event)
    score = _take_status(reading, document)
    result = reading.result(document, score)
    if rows:  # one without any says nothing of what stood before
        rows[RESULT_ID] = reading.at_ms
    return VendorDocument(
        match_id=match_id,
        at_ms=reading.at_ms,
        events=[*reading.events, *result],
        rows=rows,
        complete=True,
        score=score,
        score_error=score_error(document),
        doubts=reading.doubts,
        read_ms=now_ms,
    )


def read_push(message: Node, *, now_ms: int | None = None) -> VendorDocument | None:
    """Read one message of the push stream.

    A kick of a shoot-out is passed over: only the timeline has its number.

    Args:
        message: the JSON.
        now_ms: as for ``read_timeline``.

    Returns:
        None for a heartbeat.

    Raises:
        FeedError: it is neither a heartbeat nor an event, or has a time in the future.
    """
    if message.has("heartbeat"):
        return None
    payload = message.at("payload")
    match_id = match_id_of(message.at("metadata").at("sport_event_id"))
    node = payload.at("event")
    reading = _Reading(match_id, node.at("time"), now_ms)
    rows = {_event_id(node): reading.take(node)}
    is_goal = node.at("type").value == "score_change"
    if (is_goal and _in_shootout(node)) or any(event.type == "SHOOTOUT_KICK" for event in reading.events):
        reading.events, rows = [], {}  # a row without its event would be one that is a kick no more
    score = _take_status(reading, payload)
    return VendorDocument(
        match_id=match_id,
        at_ms=reading.at_ms,
        events=reading.events,
        rows=rows,
        pushed=True,
        score=score,
        score_error=score_error(payload),
        read_ms=now_ms,
    )


class _Reading:
    """One document while it is made into events."""

    def __init__(self, match_id: str, made: Node, now_ms: int | None) -> None:
        self._latest_ms = None if now_ms is None else now_ms + AHEAD_MAX_MS
        self.at_ms = self._past_ms(made)
        self.events: list[Event] = []
        self.doubts: list[FeedError] = []
        self.shootout_begun_ms: int | None = None  #: when the first row of the shoot-out happened
        self.kicks_by_score = False  #: whether the changes of score are all there is of the shoot-out
        self._match_id = match_id
        self._kicks = 0
        self._open_checks: list[int] = []

    def take(self, node: Node) -> int:
        """One event of the timeline; what means nothing here only counts as seen. Returns its revision."""
        type_ = node.at("type").text()
        rev = max(
            [self._past_ms(node.at(key)) for key in ("time", "updated_time") if node.has(key)],
            default=self.at_ms,
        )
        if type_ in _PLAIN:
            self._add(node, rev, _PLAIN[type_], team=_side(node), player=_player(node, 0))
        elif type_ == "score_change" and (_in_shootout(node) or self._since_shootout(node)):
            if self.kicks_by_score:
                self._take_kick(node, rev, scored=True)
        elif type_ == "score_change":
            method = node.at("method").optional_text()
            detail = {"own_goal": method == "own_goal", "penalty": method == "penalty"}
            scorer = _player(node, "scorer", "goal_scorer") or _player(node, 0)
            assist = _player(node, "assist")
            self._add(node, rev, "GOAL", team=_side(node), player=scorer, player2=assist, detail=detail)
        elif type_ == "substitution":
            on, off = _player(node, "substituted_in"), _player(node, "substituted_out")
            self._add(node, rev, "SUBSTITUTION", team=_side(node), player=on, player2=off)
        elif type_ == "injury_time_shown":
            if node.has("injury_time_announced"):
                minutes = node.at("injury_time_announced").integer(0, 99)
                self._add(node, rev, "STOPPAGE_ANNOUNCED", detail={"minutes": minutes})
        elif type_ == "penalty_shootout":
            self._kick(node, rev)
        elif type_ == "video_assistant_referee":
            self._open_checks.append(len(self.events))
            outcome = _words(node.at("description").optional_text())
            self._add(node, rev, "VAR", detail={"state": "OPEN", "outcome": outcome})
        elif type_ == "video_assistant_referee_over":
            self._close_check(node, rev)
        return rev

    def _since_shootout(self, node: Node) -> bool:
        """Whether a row that says nothing of its period happened in the shoot-out, and not before it."""
        if self.shootout_begun_ms is None or node.has("period_type") or not node.has("time"):
            return False
        # Its time is overwritten when it is touched again; the minute of a goal in play is not.
        minute = node.object().get("match_time")
        in_play = type(minute) is int and minute < _LAST_MINUTE
        touched = node.has("updated") or node.has("updated_time")
        return not in_play and not touched and _time_ms(node.at("time")) >= self.shootout_begun_ms

    def _past_ms(self, node: Node) -> int:
        """A time of something that has happened."""
        at_ms = _time_ms(node)
        if self._latest_ms is not None and at_ms > self._latest_ms:
            ahead = f"at most {AHEAD_MAX_MS // 60_000} minutes ahead of our clock"
            raise node.error(f"must be {ahead}, got {node.text()[:40]!r}")
        return at_ms

    def info(self, sport_event: Node) -> None:
        """Teams, competition, kick-off and venue."""
        teams = {}
        for competitor in sport_event.at("competitors").items():
            code = competitor.at("abbreviation").optional_text()
            sheet = {"name": competitor.at("name").text(), "code": code}
            teams[competitor.at("qualifier").text()] = sheet
        if set(teams) != {"home", "away"}:
            raise sport_event.at("competitors").error("must be one home and one away")
        detail = {
            **teams,
            "competition": _name(sport_event, "sport_event_context", "competition"),
            "kickoff_ms": self._kickoff_ms(sport_event.at("start_time")),
            "venue": _name(sport_event, "venue"),
        }
        self._event(sport_event, "info", self.at_ms, "MATCH_INFO", "PRE", detail=detail)

    def _kickoff_ms(self, start_time: Node) -> int | None:
        """The kick-off; a time that cannot be read costs a warning, and not the match."""
        if start_time.value is None:
            return None
        try:
            return _time_ms(start_time)
        except FeedError as doubt:
            self.doubts.append(doubt)
            return None

    def status(self, node: Node) -> None:
        """What the match is at now."""
        reached = max((event.period for event in self.events), key=PERIOD_INDEX.__getitem__, default="PRE")
        known = read_status(node, reached)
        if known is None:
            return
        self._event(node, "status", self.at_ms, "STATUS_CHANGE", known[1], detail={"to": known[0]})

    def result(self, document: Node, score: Score | None) -> list[Event]:
        """The result of a match that no rows make: the vendor's score, and the shoot-out's."""
        status = next((event.detail["to"] for event in self.events if event.type == "STATUS_CHANGE"), None)
        types = {event.type for event in self.events}
        if score is None or status not in (*OVER, "AWARDED") or ("GOAL" in types and status != "AWARDED"):
            return []
        node = document.at("sport_event_status")
        before = len(self.events)
        goals = Score(0, 0)
        for event in self.events:
            if event.type == "GOAL":
                goals = goals.plus(event.team, 1)
        if goals != score:
            detail = {"home": score.home, "away": score.away}
            self._event(node, RESULT_ID, self.at_ms, "SCORE_OVERRIDE", "POST", detail=detail)
        if status == "FT_PENS" and "SHOOTOUT_KICK" not in types:
            for order, side in enumerate(kicks_of_result(shootout_score(node)), start=1):
                detail = {"order": order, "scored": True}
                self._event(
                    node, f"k{order:02}", self.at_ms, "SHOOTOUT_KICK", "PENS", team=side, detail=detail
                )
        added = self.events[before:]
        del self.events[before:]
        return added

    def _kick(self, node: Node, rev: int) -> None:
        state = node.at("status").text()
        if state == "not_taken_yet":
            return
        if state not in ("scored", "missed"):
            raise node.at("status").error(f"must be scored, missed or not_taken_yet, got {state[:40]!r}")
        self._take_kick(node, rev, scored=state == "scored")

    def _take_kick(self, node: Node, rev: int, *, scored: bool) -> None:
        self._kicks += 1
        detail = {"order": self._kicks, "scored": scored}
        self._event(
            node, _event_id(node), rev, "SHOOTOUT_KICK", "PENS",
            team=_side(node), player=_player(node, 0), detail=detail,
        )  # fmt: skip

    def _close_check(self, node: Node, rev: int) -> None:
        """Close the check that was opened last; a check of which only the end is known stands alone."""
        words = node.at("decision") if node.has("decision") else node.at("description")
        outcome = _words(words.optional_text())
        if not self._open_checks:
            self._add(node, rev, "VAR", detail={"state": "CLOSED", "outcome": outcome})
            return
        index = self._open_checks.pop()
        opened = self.events[index]
        detail = {"state": "CLOSED", "outcome": outcome or opened.detail["outcome"]}
        try:
            self.events[index] = replace(opened, rev=max(opened.rev, rev), detail={**opened.detail, **detail})
        except InvalidEvent as error:
            raise node.invalid(error) from None

    def _add(self, node: Node, rev: int, type_: str, **fields: Any) -> None:
        minute = node.at("match_time").integer(0, 200) if node.has("match_time") else None
        stoppage = node.at("stoppage_time").integer(0, 99) if node.has("stoppage_time") else 0
        period = _period(node, minute)
        self._event(
            node, _event_id(node), rev, type_, period,
            minute=None if period == "PENS" else minute, stoppage=stoppage, **fields,
        )  # fmt: skip

    def _event(self, node: Node, event_id: str, rev: int, type_: str, period: str, **fields: Any) -> None:
        touched = node.has("updated") or node.has("updated_time") or not node.has("time")
        try:
            event = Event(
                match_id=self._match_id,
                event_id=event_id,
                rev=rev,
                op="ADD",
                type=type_,
                period=period,
                source=SOURCE,
                source_ts=None if touched else _time_ms(node.at("time")),
                **fields,
            )
        except InvalidEvent as error:
            raise node.invalid(error) from None
        self.events.append(event)


def _without_doubles(timeline: list[Node], doubts: list[FeedError]) -> Iterator[Node]:
    """The rows, each id once: of two rows with one id the one that was touched last, else the later one."""
    chosen: dict[str, Node] = {}
    for node in timeline:
        event_id = _event_id(node)
        earlier = chosen.get(event_id)
        if earlier is None:
            chosen[event_id] = node
            continue
        if node.value != earlier.value and _touched_ms(node) >= _touched_ms(earlier):
            chosen[event_id] = node
        left_out = earlier if chosen[event_id] is node else node
        kept = dotted(chosen[event_id].path)
        doubts.append(left_out.error(f"has the id of {kept}, and is left out"))
    yield from chosen.values()


def _touched_ms(node: Node) -> int:
    return max([_time_ms(node.at(key)) for key in ("time", "updated_time") if node.has(key)], default=0)


def _in_shootout(node: Node) -> bool:
    """Whether a row is of the shoot-out: by its period, or by a score that only the shoot-out has."""
    kind = node.object().get("period_type")
    if kind is None:
        return node.has("shootout_home_score") or node.has("shootout_away_score")
    return isinstance(kind, str) and kind in SHOOTOUT_PERIODS


def _event_id(node: Node) -> str:
    return str(node.at("id").integer(0, 2**53 - 1))


def _period(node: Node, minute: int | None) -> str:
    kind, number = node.object().get("period_type"), node.object().get("period")
    if _in_shootout(node):
        return "PENS"
    if isinstance(kind, str) and type(number) is int and (kind, number) in _PERIODS:
        return _PERIODS[kind, number]
    return default_period(minute)


def _side(node: Node) -> str:
    side = node.at("competitor").text()
    if side not in ("home", "away"):
        raise node.at("competitor").error(f"must be home or away, got {side[:40]!r}")
    return side


def _player(node: Node, *wanted: str | int) -> str | None:
    """The name of the player in a role, or at a place of the list; the vendor writes ``Last, First``."""
    for index, player in enumerate(node.at("players").items()):
        role = player.object().get("type")
        if role in wanted or (index in wanted and role not in ("assist", "goalkeeper")):
            name = player.at("name").optional_text()
            last, comma, first = (name or "").partition(", ")
            return f"{first} {last}".strip() if comma else name
    return None


def _take_status(reading: _Reading, parent: Node) -> Score | None:
    """Read the match's status, where there is one; returns the vendor's own score, where it has one."""
    if not parent.has("sport_event_status"):
        return None
    status = parent.at("sport_event_status")
    reading.status(status)
    return own_score(status)


def _name(node: Node, *path: str) -> str | None:
    for key in path:
        if not node.has(key):
            return None
        node = node.at(key)
    return node.at("name").optional_text()


def _words(code: str | None) -> str | None:
    """``no_goal`` as people write it: ``No goal``."""
    return code.replace("_", " ").capitalize() if code else None


def _time_ms(node: Node) -> int:
    text = node.text()
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(text)
        value = (moment - _EPOCH) // datetime.timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        value = -1
    if value <= 0:
        raise node.error(f"must be a time such as 2018-07-15T15:18:30+00:00, got {text[:40]!r}")
    return value


_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
