"""Opta F24: the rows of a whole match as XML, to canonical events.

``rows → VendorDocument → VendorDocumentFeed``. What each row becomes:

==================  ================================================================================
type 16             GOAL; with qualifier 28 an own goal, credited to the other side; 9 a penalty; in
                    period 5 a SHOOTOUT_KICK that was scored
type 13 14 15       PENALTY_MISSED with qualifier 9; in period 5 a kick that was not scored
type 17             a card: qualifier 31 yellow, 32 second yellow, 33 red; none where it was rescinded
                    (qualifier 171, or a row of type 47 about it)
type 18 and 19      one SUBSTITUTION: the two rows name each other in qualifier 55
type 32 30          the start and end of a period: STATUS_CHANGE. Both teams have a row; the home
                    team's counts, the away team's only while there is no other. Where the last period
                    has no end, the end of the match (type 30 or 37 in period 14) ends it
type 27 28          play is interrupted, and goes on; likewise. A stop with qualifier 41 is the
                    treatment of a player, and no interruption
type 70             STOPPAGE_ANNOUNCED with the minutes of qualifier 277; likewise
type 43             the row of this id is deleted, whatever it was
==================  ================================================================================

All else (passes, line-ups, formations) only counts as seen. ``min`` and ``sec`` are elapsed time, which
is shown rounded up: 77:01 and 78:00 are 78, 92:11 is 90+3. ``timestamp`` is the time of occurrence and
stays when a row is touched again; ``last_modified`` and ``version`` make the revision. The times carry no
zone; UTC is assumed, unless the caller knows better.
``game_date`` is the kick-off; ``home_score`` and ``away_score`` are only compared with the goals.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, BinaryIO, Final

from origin.errors import FeedError
from origin.feeds import Warn
from origin.feeds.opta_xml import DELETED, Game, Names, Row, read_f7, read_f24
from origin.feeds.vendor_document import VendorDocument, VendorDocumentFeed
from shared_state import Event, InvalidEvent
from shared_state.errors import shown
from shared_state.events import MATCH_ID_PATTERN

__all__ = ["Names", "convert", "read_documents", "read_f7"]

SOURCE: Final = "opta-f24"
NO_NAMES: Final = Names()

_GOAL: Final = 16
_NOT_SCORED: Final = frozenset({13, 14, 15})
_CARD: Final = 17
_OFF: Final = 18
_ON: Final = 19
_PERIOD_END: Final = 30
_PERIOD_START: Final = 32
_STOP: Final = 27
_RESUME: Final = 28
_COLLECTION_END: Final = 37
_RESCINDED: Final = 47
_ADDED_TIME: Final = 70
_Q_PENALTY: Final = 9
_Q_OWN_GOAL: Final = 28
_Q_INJURY: Final = 41
_Q_RELATED: Final = 55
_Q_RESCINDED: Final = 171
_Q_ADDED_MINUTES: Final = 277
_CARDS: Final = {31: "YELLOW_CARD", 32: "SECOND_YELLOW", 33: "RED_CARD"}

_PERIODS: Final = {
    1: "H1",
    2: "H2",
    3: "ET1",
    4: "ET2",
    5: "PENS",
    10: "HT",
    14: "POST",
    15: "PRE",
    16: "PRE",
}
_SHOOTOUT: Final = 5
_MATCH_OVER: Final = 14
# The two teams' rows about one stop may differ by some seconds.
_SAME_STOP_SEC: Final = 5
_ADDED_MINUTES_MAX: Final = 99
# Where each period begins on the clock, in minutes.
_FIRST_MINUTES: Final = {1: 0, 2: 45, 3: 90, 4: 105}
# The last minute on the clock of each period; what is past it is stoppage time.
_LAST_MINUTES: Final = {1: 45, 2: 90, 3: 105, 4: 120}
_ENDED: Final = {2: "FT", 4: "AET", 5: "FT_PENS"}
_STARTED: Final = {1: "LIVE", 2: "LIVE", 3: "EXTRA_TIME", 4: "EXTRA_TIME", 5: "PENALTIES"}


def convert(
    source: BinaryIO, warn: Warn, /, names: Names = NO_NAMES, zone: datetime.tzinfo = datetime.UTC
) -> Iterator[Event]:
    """Yield the events of an F24 document; deletions come as RETRACT.

    Args:
        source: the XML.
        warn: called with what the document says against itself.
        names: of players and teams, from F7.
        zone: as for ``read_f24``.

    Raises:
        FeedError: it is not F24.
        OSError: it cannot be read.
    """
    for document in read_documents(source, names=names, zone=zone):
        events = VendorDocumentFeed(document.match_id, warn).take(document)
        yield from sorted(events, key=Event.order)


def read_documents(
    source: BinaryIO,
    *,
    names: Names = NO_NAMES,
    zone: datetime.tzinfo = datetime.UTC,
    now_ms: int | None = None,
) -> Iterator[VendorDocument]:
    """Read a document: one vendor document for each of its matches.

    Args:
        source: the XML.
        names: as for ``convert``.
        zone: as for ``read_f24``.
        now_ms: as for ``read_f24``.

    Raises:
        FeedError: it is not F24, or has a time in the future.
        OSError: it cannot be read.
    """
    f24 = read_f24(source, zone, now_ms)
    for game in f24.games:
        yield _Reading(game, f24.at_ms, names).document()


class _Reading:
    """One ``Game`` while it is made into events."""

    def __init__(self, game: Game, at_ms: int | None, names: Names) -> None:
        self._game = game
        self._names = names
        self._match_id = f"opta-{game.id}"
        if not MATCH_ID_PATTERN.fullmatch(self._match_id):
            raise FeedError(f"Game id {game.id!r} must be letters and digits", line=game.line)
        self._home = game.attributes.get("home_team_id", "")
        self._away = game.attributes.get("away_team_id", "")
        if not self._home or not self._away or self._home == self._away:
            raise FeedError("home_team_id and away_team_id must be two teams", line=game.line)
        self._live = [row for row in game.rows.values() if row.type_id != DELETED]
        self._doubts = list(game.doubts)
        newest_ms = max((row.modified_ms for row in game.rows.values()), default=0)
        # Without its own time a document is as new as the newest of its rows.
        self._at_ms = newest_ms if at_ms is None else at_ms

    def document(self) -> VendorDocument:
        """Everything the rows say."""
        events = [
            *self._info(),
            *self._statuses(),
            *self._goals_and_cards(),
            *self._substitutions(),
            *self._kicks(),
            *self._added_time(),
        ]
        rows = self._game.rows.values()
        return VendorDocument(
            match_id=self._match_id,
            at_ms=self._at_ms,
            events=events,
            rows={row.id: row.rev for row in rows if row.type_id != DELETED},
            deleted={row.id: row.rev for row in rows if row.type_id == DELETED},
            score=self._game.score,
            score_error=lambda message: self._doubt(message, self._game.line),
            doubts=self._doubts,
        )

    @staticmethod
    def _doubt(message: str, line: int) -> FeedError:
        return FeedError(message, where="Games/Game", line=line)

    def _info(self) -> Iterator[Event]:
        given = self._game.attributes
        home, away = (
            self._names.teams.get(team) or given.get(f"{side}_team_name")
            for side, team in (("home", self._home), ("away", self._away))
        )
        if not home or not away:  # without names there is nothing that a reader could use
            return
        detail = {
            "home": {"name": home, "code": None},
            "away": {"name": away, "code": None},
            "competition": given.get("competition_name") or None,
            "kickoff_ms": self._game.kickoff_ms,
            "venue": None,
        }
        yield self._event("info", max(1, self._at_ms), "MATCH_INFO", "PRE", self._game.line, detail=detail)

    def _statuses(self) -> Iterator[Event]:
        starts = self._once_per_team(_PERIOD_START, lambda row: row.period_id)
        ends = self._once_per_team(_PERIOD_END, lambda row: row.period_id)
        for period, row in starts.items():
            if period in _STARTED:
                yield self._status(row, _PERIODS[period], _STARTED[period])
        for period, row in ends.items():
            following = [start for start in starts if period < start <= _SHOOTOUT]
            match period, min(following, default=None):
                case (1, _):
                    yield self._status(row, "HT", "HALF_TIME")
                case (3, _):
                    yield self._status(row, "ET_HT", "EXTRA_TIME")
                case (2 | 4, 5):
                    yield self._status(row, "BREAK_PENS", "PENALTIES")
                case (2, 3 | 4):
                    yield self._status(row, "BREAK_ET", "EXTRA_TIME")
                case (2 | 4 | 5, _):
                    yield self._status(row, "POST", _ENDED[period])
        yield from self._end_without_its_row(starts, ends)
        yield from self._interruptions()

    def _end_without_its_row(self, starts: Mapping[int, Row], ends: Mapping[int, Row]) -> Iterator[Event]:
        """The end of a match whose last period has no end, of the row that ends the match."""
        collected = self._once_per_team(_COLLECTION_END, lambda row: row.period_id)
        over = ends.get(_MATCH_OVER) or collected.get(_MATCH_OVER)
        # A period was played where anything happened in it, whether or not it has its own rows.
        played = {row.period_id for row in self._live} | starts.keys() | ends.keys()
        last = max(played & _STARTED.keys(), default=0)
        if over is not None and last in _ENDED and last not in ends:
            yield self._status(over, "POST", _ENDED[last])

    def _interruptions(self) -> Iterator[Event]:
        """Stops and resumptions of play; one that ends no interruption changes nothing."""
        treated = [row for row in self._live if row.type_id == _STOP and _Q_INJURY in row.qualifiers]
        stops = [
            row
            for row in self._once_per_team(_STOP, _moment).values()
            if not any(_is_same_stop(row, other) for other in treated)
        ]
        resumptions = self._once_per_team(_RESUME, _moment).values()
        interrupted = False
        # At one moment the stop comes first: play cannot go on before it was stopped.
        for row in sorted((*stops, *resumptions), key=lambda row: (*_moment(row), row.type_id, row.id)):
            if row.type_id == _STOP:
                interrupted = True
                yield self._status(row, _PERIODS.get(row.period_id, "PRE"), "INTERRUPTED")
            elif interrupted and row.period_id in _STARTED:
                interrupted = False
                yield self._status(row, _PERIODS[row.period_id], _STARTED[row.period_id])

    def _added_time(self) -> Iterator[Event]:
        """The time to be added as it was announced: both teams may have a row about one announcement."""
        announced = self._once_per_team(
            _ADDED_TIME, lambda row: (row.period_id, row.qualifiers.get(_Q_ADDED_MINUTES))
        )
        for row in announced.values():
            text = row.qualifiers.get(_Q_ADDED_MINUTES, "")
            if not text:
                continue
            if text.isascii() and text.isdecimal() and len(text) < 4 and int(text) <= _ADDED_MINUTES_MAX:
                yield self._of_row(row, "STOPPAGE_ANNOUNCED", detail={"minutes": int(text)})
            else:
                wanted = f"added time must be at most {_ADDED_MINUTES_MAX} minutes"
                self._doubts.append(self._doubt(f"{wanted}, got {shown(text)}", row.line))

    def _once_per_team(self, type_id: int, what: Callable[[Row], Hashable]) -> dict[Any, Row]:
        """The rows of a type that both teams have: the home team's, or the only one there is."""
        found: dict[Any, Row] = {}
        for row in self._live:
            if row.type_id == type_id:
                known = found.get(what(row))
                if known is None or self._place(row) < self._place(known):
                    found[what(row)] = row
        return found

    def _place(self, row: Row) -> tuple[bool, str]:
        return (row.team_id != self._home, row.id)

    def _goals_and_cards(self) -> Iterator[Event]:
        rescinded = self._rescinded()
        for row in self._live:
            if row.period_id == _SHOOTOUT and row.type_id != _CARD:
                continue
            if row.type_id == _GOAL:
                own = _Q_OWN_GOAL in row.qualifiers
                side = self._side(row)
                credited = ("away" if side == "home" else "home") if own else side
                detail = {"own_goal": own, "penalty": _Q_PENALTY in row.qualifiers}
                yield self._of_row(row, "GOAL", team=credited, player=self._player(row), detail=detail)
            elif row.type_id in _NOT_SCORED and _Q_PENALTY in row.qualifiers:
                yield self._of_row(row, "PENALTY_MISSED", team=self._side(row), player=self._player(row))
            elif row.type_id == _CARD and row.id not in rescinded:
                colour = next((_CARDS[q] for q in (32, 33, 31) if q in row.qualifiers), None)
                if colour is not None:
                    yield self._of_row(row, colour, team=self._side(row), player=self._player(row))

    def _rescinded(self) -> set[str]:
        """The ids of the cards that were taken back: they say so themselves, or another row does."""
        cards = [row for row in self._live if row.type_id == _CARD]
        found = {row.id for row in cards if _Q_RESCINDED in row.qualifiers}
        for row in self._live:
            if row.type_id != _RESCINDED:
                continue
            of_player = [
                card for card in cards if (card.team_id, card.player_id) == (row.team_id, row.player_id)
            ]
            related = [card for card in of_player if card.event_id == row.qualifiers.get(_Q_RELATED)]
            colours = row.qualifiers.keys() & _CARDS.keys()
            same_colour = [card for card in of_player if card.qualifiers.keys() & colours]
            candidates = related or same_colour or ([] if colours else of_player)
            if candidates and not found & {card.id for card in candidates}:
                nearest = min(
                    candidates, key=lambda card: (abs(_elapsed_sec(card) - _elapsed_sec(row)), card.id)
                )
                found.add(nearest.id)
        return found

    def _substitutions(self) -> Iterator[Event]:
        """One event for the two rows, under the id of the row of who goes off."""
        on = {(row.team_id, row.event_id): row for row in self._live if row.type_id == _ON}
        paired = set()
        for row in self._live:
            if row.type_id != _OFF:
                continue
            partner = on.get((row.team_id, row.qualifiers.get(_Q_RELATED, "")))
            if partner is not None:
                paired.add(partner.id)
            yield self._of_row(
                row,
                "SUBSTITUTION",
                rev=max(row.rev, partner.rev) if partner else row.rev,
                team=self._side(row),
                player=self._player(partner) if partner else None,
                player2=self._player(row),
            )
        for row in on.values():
            if row.id not in paired:
                yield self._of_row(row, "SUBSTITUTION", team=self._side(row), player=self._player(row))

    def _kicks(self) -> Iterator[Event]:
        kicks = [
            row
            for row in self._live
            if row.period_id == _SHOOTOUT and (row.type_id == _GOAL or row.type_id in _NOT_SCORED)
        ]
        kicks.sort(key=lambda row: (row.timestamp_ms or 0, row.min, row.sec, row.id))
        for order, row in enumerate(kicks, start=1):
            detail = {"order": order, "scored": row.type_id == _GOAL}
            yield self._of_row(
                row, "SHOOTOUT_KICK", team=self._side(row), player=self._player(row), detail=detail
            )

    def _side(self, row: Row) -> str:
        if row.team_id == self._home:
            return "home"
        if row.team_id == self._away:
            return "away"
        raise FeedError(f"team_id {row.team_id!r} is neither team of the match", line=row.line)

    def _player(self, row: Row) -> str | None:
        """The name; nothing for a player no F7 names, and for cards of the bench."""
        return self._names.players.get(row.player_id)

    def _status(self, row: Row, period: str, to: str) -> Event:
        return self._event(
            row.id,
            row.rev,
            "STATUS_CHANGE",
            period,
            row.line,
            detail={"to": to},
            source_ts=row.timestamp_ms,
        )

    def _of_row(self, row: Row, type_: str, *, rev: int | None = None, **fields: Any) -> Event:
        minute, stoppage = _displayed(row)
        period = _PERIODS.get(row.period_id, "PRE")
        return self._event(
            row.id,
            row.rev if rev is None else rev,
            type_,
            period,
            row.line,
            minute=minute,
            stoppage=stoppage,
            source_ts=row.timestamp_ms,
            **fields,
        )

    def _event(self, event_id: str, rev: int, type_: str, period: str, line: int, **fields: Any) -> Event:
        try:
            return Event(
                match_id=self._match_id,
                event_id=event_id,
                rev=rev,
                op="ADD",
                type=type_,
                period=period,
                source=SOURCE,
                **fields,
            )
        except InvalidEvent as error:
            raise FeedError(str(error), line=line) from None


def _moment(row: Row) -> tuple[int, int, int]:
    return (row.period_id, row.min, row.sec)


def _elapsed_sec(row: Row) -> int:
    return row.min * 60 + row.sec


def _is_same_stop(row: Row, other: Row) -> bool:
    apart_sec = abs(_elapsed_sec(row) - _elapsed_sec(other))
    return row.period_id == other.period_id and apart_sec <= _SAME_STOP_SEC


def _displayed(row: Row) -> tuple[int | None, int]:
    """Elapsed time as people show it: rounded up to minutes, and 92:11 is 90+3.

    The first second of a period belongs to that period's first minute: 45:00 of the second half is 46.
    """
    if row.period_id not in _LAST_MINUTES:
        return None, 0
    minute = row.min + 1 if row.sec or _elapsed_sec(row) == _FIRST_MINUTES[row.period_id] * 60 else row.min
    last = _LAST_MINUTES[row.period_id]
    return (minute, 0) if minute <= last else (last, minute - last)
