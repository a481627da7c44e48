"""football-data.org v4: a match, or a list of matches, as JSON.

* Rows (``goals bookings substitutions penalties``) have no ids: ``origin.feeds.matching`` finds which is
  which. A document without the key ``goals`` (the free plan) has no rows to compare: its score is shown.
* ``score.fullTime`` is the running score, and after a shoot-out contains its kicks: those are subtracted,
  only where ``score.penalties`` is there.
* The side of an own goal is the one whose running score rose; where the row has no running score, its team.
* Nothing has a time of change but ``lastUpdated``, which caches repeat. A document is dated by when it was
  read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from origin.errors import FeedError
from origin.feeds import Warn
from origin.feeds.jsondoc import Node
from origin.feeds.matching import ROWS_MAX, MatchingFeed, row_id
from origin.feeds.snapshot_reading import (
    OVER,
    SnapshotReading,
    bounded_items,
    match_id_of,
    period_of_minute,
    read_each,
    time_ms,
)
from origin.feeds.vendor_document import VendorDocument
from shared_state import Event, Score
from shared_state.events import PERIOD_INDEX

__all__ = ["MATCHES_MAX", "PREFIX", "SOURCE", "convert", "read_documents"]

SOURCE: Final = "football-data-v4"
PREFIX: Final = "fd-"
KIND: Final = "football-data.org v4"
MATCHES_MAX: Final = 2_000  # a league's season has 552 at the most

_STATUSES: Final = {
    "SCHEDULED": ("SCHEDULED", "PRE"),
    "TIMED": ("SCHEDULED", "PRE"),
    "POSTPONED": ("POSTPONED", "PRE"),
    "CANCELLED": ("CANCELLED", "PRE"),
    "CANCELED": ("CANCELLED", "PRE"),
    "AWARDED": ("AWARDED", "POST"),
}
_ENDS: Final = {"REGULAR": "FT", "EXTRA_TIME": "AET", "PENALTY_SHOOTOUT": "FT_PENS"}
_CARDS: Final = {
    "YELLOW": "YELLOW_CARD",
    "YELLOW_CARD": "YELLOW_CARD",
    "YELLOW_RED": "SECOND_YELLOW",
    "YELLOW_RED_CARD": "SECOND_YELLOW",
    "RED": "RED_CARD",
    "RED_CARD": "RED_CARD",
}


def convert(source: BinaryIO, warn: Warn, /) -> Iterator[Event]:
    """Yield the events of a document's matches.

    Raises:
        FeedError: it is none.
        OSError: it cannot be read.
    """
    for document in read_documents(Node.read(source)):
        yield from sorted(MatchingFeed(document.match_id, warn).take(document), key=Event.order)


def read_documents(
    document: Node, *, now_ms: int | None = None, warn: Warn | None = None
) -> Iterator[VendorDocument]:
    """Read ``/v4/matches/{id}``, ``/v4/matches`` or ``/v4/competitions/{code}/matches``.

    Args:
        document: the JSON.
        now_ms: when it was read, UTC milliseconds; None for a file.
        warn: called for a match of a list that cannot be read, which then costs itself alone; None for an
            error.

    Raises:
        FeedError: it is none, with the path and line.
    """
    document.require_kind(KIND)
    if document.has("matches"):
        matches = bounded_items(document.at("matches"), MATCHES_MAX)
        yield from read_each(matches, lambda match: _read(match, now_ms, document.at("competition")), warn)
    elif isinstance(document.object().get("matches"), list):
        return
    else:
        yield _read(document, now_ms, document.at("competition"))


def _read(match: Node, now_ms: int | None, competition: Node) -> VendorDocument:
    match_id = match_id_of(match.at("id"), PREFIX)
    at_ms = now_ms if now_ms is not None else _file_ms(match)
    reading = SnapshotReading(match_id, SOURCE, at_ms)
    sides = {}
    sheets = {}
    for side in ("home", "away"):
        team = match.at(f"{side}Team")
        # The teams of a round that is not drawn yet have neither a name nor an id.
        name = team.at("name").optional_text() or team.at("shortName").optional_text() or "TBD"
        sheets[side] = {"name": name, "code": (team.at("tla").optional_text() or "")[:16] or None}
        if team.has("id"):
            sides[team.at("id").integer(0, 2**53 - 1)] = side
    own = match.at("competition") if match.has("competition") else competition
    reading.info(
        match,
        sheets["home"],
        sheets["away"],
        competition=own.at("name").optional_text() if own.value is not None else None,
        kickoff=match.at("utcDate"),
        venue=match.at("venue").optional_text(),
    )
    score_node = match.at("score")
    duration = _optional(score_node, "duration") or "REGULAR"
    rows = _Rows(match, reading, sides, extra_time=duration != "REGULAR")
    has_rows = match.has("goals")
    rows.goals()
    rows.bookings()
    rows.substitutions()
    pens = _pair(score_node, "penalties") if duration == "PENALTY_SHOOTOUT" else None
    if duration == "PENALTY_SHOOTOUT":
        rows.kicks()
    status = _status(match, duration, reading.reached)
    if status is not None:
        reading.status(match.at("status"), *status)
    score = _score(score_node, pens)
    begun = status is not None and status[1] != "PRE"
    of_result = not has_rows or (status is not None and (status[0] in OVER or status[0] == "AWARDED"))
    no_goals = reading.goals == (0, 0) or (status is not None and status[0] == "AWARDED")
    if score is not None and begun and of_result and no_goals and (not has_rows or reading.goals != score):
        reading.result(score_node, score, status[1] if status is not None else "POST")
    if pens is not None and pens != (0, 0) and not rows.kicked:
        reading.kicks_by_result(score_node, pens)
    minute = _minute(match)
    period = status[1] if status is not None else reading.reached
    return VendorDocument(
        match_id=match_id,
        at_ms=at_ms,
        events=reading.events,
        rows=reading.rows,
        complete=has_rows,
        score=score,
        score_error=lambda message: score_node.at("fullTime").error(message),
        doubts=reading.doubts,
        read_ms=now_ms,
        anonymous=True,
        competition_id=_competition_id(own),
        clock=(PERIOD_INDEX[period], minute or 0),
    )


class _Rows:
    """The rows of one match."""

    def __init__(
        self, match: Node, reading: SnapshotReading, sides: dict[int, str], *, extra_time: bool
    ) -> None:
        self._match = match
        self._reading = reading
        self._sides = sides
        self._extra_time = extra_time
        self._count = 0
        self.kicked = False

    def goals(self) -> None:
        rows = self._items("goals")
        before: dict[int, Score] = {0: Score(0, 0)}
        for row in rows:
            running = _pair(row, "score")
            if running is not None:
                before[sum(running)] = running
        for row in rows:
            type_ = row.at("type").optional_text() or "REGULAR"
            detail = {"own_goal": type_ == "OWN", "penalty": type_ == "PENALTY"}
            side = _risen(_pair(row, "score"), before) or self._side(row)
            if side is None:
                self._left_out(row)
                continue
            self._add(
                row, "GOAL", team=side, player=_name(row, "scorer"), player2=_name(row, "assist"),
                detail=detail,
            )  # fmt: skip

    def bookings(self) -> None:
        for row in self._items("bookings"):
            type_ = _CARDS.get(row.at("card").text())
            if type_ is None:
                self._left_out(row.at("card"))
            else:
                self._add(row, type_, team=self._side(row), player=_name(row, "player"))

    def substitutions(self) -> None:
        for row in self._items("substitutions"):
            on, off = _name(row, "playerIn"), _name(row, "playerOut")
            self._add(row, "SUBSTITUTION", team=self._side(row), player=on, player2=off)

    def kicks(self) -> None:
        for order, row in enumerate(self._items("penalties"), start=1):
            side = self._side(row)
            if side is None:
                self._left_out(row)
                continue
            self.kicked = True
            detail = {"order": order, "scored": row.at("scored").boolean()}
            self._reading.add(
                row, self._next(), "SHOOTOUT_KICK", "PENS",
                team=side, player=_name(row, "player"), detail=detail,
            )  # fmt: skip

    def _items(self, key: str) -> list[Node]:
        return bounded_items(self._match.at(key), ROWS_MAX // 4)

    def _next(self) -> str:
        self._count += 1
        return row_id(self._count - 1)

    def _left_out(self, row: Node) -> None:
        self._reading.seen(self._next())
        self._reading.doubts.append(row.error("says what is not known here, and is left out"))

    def _side(self, row: Node) -> str | None:
        team = row.at("team")
        if team.value is None or not team.has("id"):
            return None
        return self._sides.get(team.at("id").integer(0, 2**53 - 1))

    def _add(self, row: Node, type_: str, **fields: object) -> None:
        minute = row.at("minute").integer(0, 200) if row.has("minute") else None
        stoppage = row.at("injuryTime").integer(0, 99) if row.has("injuryTime") else 0
        if minute is None:
            period, stoppage = ("POST", 0)
        else:
            period = period_of_minute(minute, extra_time=self._extra_time)
        self._reading.in_play(row, self._next(), type_, period, minute, stoppage, **fields)


def _competition_id(competition: Node) -> int | None:
    number = competition.object().get("id") if competition.value is not None else None
    return number if type(number) is int else None


def _risen(running: Score | None, before: dict[int, Score]) -> str | None:
    """The side whose score rose to the running score of a goal; None where the rows do not say."""
    if running is None:
        return None
    earlier = before.get(sum(running) - 1)
    if earlier is None:
        return None
    rise = (running.home - earlier.home, running.away - earlier.away)
    return {(1, 0): "home", (0, 1): "away"}.get(rise)


def _status(match: Node, duration: str, reached: str) -> tuple[str, str] | None:
    """The status, and its period; None for a word that is not known: it must not stop the goals."""
    word = match.at("status").text()
    minute = _minute(match)
    if word == "FINISHED":
        return _ENDS.get(duration, "FT"), "POST"
    if word in ("SUSPENDED", "INTERRUPTED"):
        return "SUSPENDED" if word == "SUSPENDED" else "INTERRUPTED", reached
    if word == "PAUSED":
        if duration == "PENALTY_SHOOTOUT":
            return "PENALTIES", "BREAK_PENS"
        if duration == "EXTRA_TIME":
            return "EXTRA_TIME", "ET_HT" if (minute or 0) > 90 else "BREAK_ET"
        return "HALF_TIME", "HT"
    if word not in ("IN_PLAY", "LIVE", "EXTRA_TIME", "PENALTY_SHOOTOUT"):
        return _STATUSES.get(word)
    if word == "PENALTY_SHOOTOUT" or duration == "PENALTY_SHOOTOUT":
        return "PENALTIES", "PENS"
    if word == "EXTRA_TIME" or duration == "EXTRA_TIME":
        return "EXTRA_TIME", "ET2" if (minute or 0) > 105 or reached == "ET2" else "ET1"
    # The vendor has no word for the half. It records the score at half-time when there was one.
    second = (minute or 0) > 45 or reached == "H2" or _pair(match.at("score"), "halfTime") is not None
    return "LIVE", "H2" if second else "H1"


def _score(node: Node, pens: Score | None) -> Score | None:
    """The score without the kicks of the shoot-out; None where there is none."""
    full = _pair(node, "fullTime")
    if full is None or pens is None:
        return full
    if full.home >= pens.home and full.away >= pens.away:
        return Score(full.home - pens.home, full.away - pens.away)
    return full  # it does not contain the kicks


def _pair(node: Node, key: str) -> Score | None:
    if node.value is None or not node.has(key):
        return None
    pair = node.at(key)
    if not pair.has("home") or not pair.has("away"):
        return None
    return Score(pair.at("home").integer(0, 99), pair.at("away").integer(0, 99))


def _optional(node: Node, key: str) -> str | None:
    return None if node.value is None else node.at(key).optional_text()


def _name(row: Node, key: str) -> str | None:
    return row.at(key).at("name").optional_text() if row.has(key) else None


def _minute(match: Node) -> int | None:
    """The running minute, which is a number, or text such as ``45``."""
    value = match.object().get("minute")
    if isinstance(value, str):
        digits = value.strip().partition("+")[0].strip("'")
        if digits.isascii() and digits.isdecimal() and int(digits[:4]) <= 200:
            return int(digits[:4])
        return None
    return match.at("minute").integer(0, 200) if match.has("minute") else None


def _file_ms(match: Node) -> int:
    """When a file was made, as far as it says: a time that cannot be read costs the date and no more."""
    for key in ("lastUpdated", "utcDate"):
        if match.has(key):
            try:
                return max(1, time_ms(match.at(key)))
            except FeedError:
                continue
    return 1
