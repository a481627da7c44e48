"""Opta's XML, read in a stream and without trust: F24's rows, and the names in F7.

Nothing is kept but what is asked for, so memory is that of the rows. A document type, an entity, a
nesting or a number of rows that no real file has is refused, with the line.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from origin.errors import FeedError
from origin.feeds import DOCUMENT_MAX_BYTES
from origin.feeds.document_kind import SOCCER_DOCUMENTS, kind_of_bytes, kind_of_xml, production_of
from shared_state import Score
from shared_state.errors import shown

__all__ = ["DELETED", "Document", "Game", "Names", "Row", "read_f7", "read_f24"]

DELETED: Final = 43
# F1, F3, F7, F9 and F40 share this root element.
FAMILY_ROOT: Final = "SoccerFeed"

CHUNK_BYTES: Final = 64 * 1024
DEPTH_MAX: Final = 16  # F24 has 4 levels, F7 has 9
ROWS_MAX: Final = 20_000  # the largest match seen has 1,665
QUALIFIERS_MAX: Final = 200
NAMES_MAX: Final = 5_000
SCORE_MAX: Final = 199  # the record is 149; more is something else
# Qualifiers that F70 and F73 add to a shot; F24 may have them too, but it also has line-ups and periods.
EXPECTED_GOALS: Final = frozenset({321, 322})
MATCH_ROWS: Final = frozenset({30, 32, 34, 37})
# Rev: seconds of last_modified, and the milliseconds of `version` that fall into that second.
_SECOND: Final = 2_048
# Zones of the world differ by multiples of this, and `last_modified` does not say its zone.
_QUARTER_MS: Final = 900_000
# A time further ahead would outlast every true one after it. Zones differ by as much: a wrong one costs
# the running minute, and not the match.
AHEAD_MAX_MS: Final = 26 * 3_600_000


@dataclass(frozen=True, slots=True)
class Row:
    """One ``Event`` element; ids and numbers as the vendor gives them.

    Attributes:
        id: unique in the match; ``event_id`` is unique only within its team.
        rev: rises with ``(last_modified, version)``.
        modified_ms: the time that ``rev`` stands for.
        timestamp_ms: when it happened.
        line: where it stands.
    """

    id: str
    event_id: str
    type_id: int
    period_id: int
    min: int
    sec: int
    team_id: str
    player_id: str
    rev: int
    modified_ms: int
    timestamp_ms: int | None
    line: int
    qualifiers: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Game:
    """One ``Game`` element with its rows, the newest of each id.

    Attributes:
        kickoff_ms: of ``game_date``, UTC milliseconds; None where it is missing, unreadable or before 1970.
        score: the vendor's own, of ``home_score`` and ``away_score``; None where it gives none.
        doubts: what is wrong with an attribute that only decorates the match.
    """

    id: str
    attributes: Mapping[str, str]
    line: int
    rows: dict[str, Row] = field(default_factory=dict)
    kickoff_ms: int | None = None
    score: Score | None = None
    doubts: list[FeedError] = field(default_factory=list)


@dataclass(slots=True)
class Document:
    """One F24 document."""

    at_ms: int | None
    games: list[Game]


@dataclass(frozen=True, slots=True)
class Names:
    """Names by the ids of F24, which lack the letter that F7 puts before them."""

    players: Mapping[str, str] = field(default_factory=dict)
    teams: Mapping[str, str] = field(default_factory=dict)


def read_f24(source: BinaryIO, zone: datetime.tzinfo = datetime.UTC, now_ms: int | None = None) -> Document:
    """Read an F24 document.

    Args:
        source: the XML.
        zone: of the times in it, which carry none.
        now_ms: UTC milliseconds; None for a document of which only its own time is known.

    Raises:
        FeedError: it is not F24, breaks a limit, or has a time in the future; ``line`` says where.
        OSError: it cannot be read.
    """
    target = _F24Target(zone, None if now_ms is None else now_ms + AHEAD_MAX_MS)
    _parse(source, target)
    if not target.seen_root:
        raise FeedError("is not F24: no Games element", line=1)
    if not target.document.games:
        raise FeedError("is F24 without a match: no Game element", line=1)
    for game in target.document.games:
        if _has_shots_alone(game):
            message = "is not F24: it is Opta F70 or F73, shots with their expected goals"
            raise FeedError(message, where="Games/Game", line=game.line)
    return target.document


def _has_shots_alone(game: Game) -> bool:
    """Whether it has shots with expected goals, in the form of F24, and no match around them."""
    rows = game.rows.values()
    is_rated = any(row.qualifiers.keys() & EXPECTED_GOALS for row in rows)
    return is_rated and not any(row.type_id in MATCH_ROWS for row in rows)


def read_f7(source: BinaryIO) -> Names:
    """Read the names in an F7 document.

    Raises:
        FeedError: it is not F7, has no name, or breaks a limit; ``line`` says where.
        OSError: as ``read_f24``.
    """
    target = _F7Target()
    _parse(source, target)
    if not target.seen_root:
        raise FeedError("is not F7: no SoccerFeed element", line=1)
    if not target.players and not target.teams:
        raise FeedError("is not F7: it names no team and no player", line=1)
    return Names(target.players, target.teams)


class _Target:
    """What the parser calls. ``line`` is set by ``_parse``."""

    line: Callable[[], int]
    feed: str  #: the feed that is expected, such as ``F24``
    root: str  #: its root element

    def __init__(self) -> None:
        self.path: list[str] = []
        self.seen_root = False
        self._production: str | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition("}")[2]  # whatever its namespace
        if len(self.path) >= DEPTH_MAX:
            raise self.error("nested too deep")
        self.path.append(tag)
        if len(self.path) <= 2:
            self._check_kind(tag, attributes)
        self.begin(tag, attributes)

    def end(self, tag: str) -> None:
        self.finish(tag.rpartition("}")[2])
        self.path.pop()

    def data(self, text: str) -> None:
        """Text between tags."""

    def comment(self, text: str) -> None:
        """A comment; the one before the root element can say which feed this is."""
        if not self.path:
            self._production = production_of(text) or self._production

    def _check_kind(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Refuse a document of another kind by its production header, its root or its declared type."""
        document_type = ""
        if len(self.path) == 1:
            self.seen_root = tag == self.root
            is_other = self._production not in (None, self.feed)
            if not is_other and (self.seen_root or tag == FAMILY_ROOT):
                return  # the element below the root distinguishes that family
        elif self.path[0] != FAMILY_ROOT or tag != "SoccerDocument":
            return
        else:
            document_type = attributes.get("Type", "")
            if self.root == FAMILY_ROOT and document_type not in SOCCER_DOCUMENTS:
                return
        kind = kind_of_xml(self.path[0], self._production, document_type)
        what = f"it is {kind}" if kind else f"its root element is {shown(self.path[0])}"
        raise self.error(f"is not {self.feed}: {what}")

    def close(self) -> None:
        """The end of the document."""

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def finish(self, tag: str) -> None:
        """An element ends."""

    def error(self, message: str, line: int | None = None) -> FeedError:
        where = "/".join(self.path)
        return FeedError(message, where=where, line=self.line() if line is None else line)

    def integer(self, attributes: Mapping[str, str], name: str, most: int, default: int | None = None) -> int:
        text = attributes.get(name)
        if not text and default is not None:
            return default
        if text is None:
            raise self.error(f"{name} is missing")
        if not (text.isascii() and text.isdecimal() and len(text) <= 17 and int(text) <= most):
            raise self.error(f"{name} must be a whole number of at most {most}, got {shown(text)}")
        return int(text)

    def identity(self, attributes: Mapping[str, str], name: str) -> str:
        text = attributes.get(name, "")
        if not 1 <= len(text) <= 40 or not text.isprintable():
            raise self.error(f"{name} must be 1 to 40 characters, got {shown(text)}")
        return text


class _F24Target(_Target):
    feed = "F24"
    root = "Games"

    def __init__(self, zone: datetime.tzinfo, latest_ms: int | None) -> None:
        super().__init__()
        self._latest_ms = latest_ms
        self.document = Document(None, [])
        self._zone = zone
        self._row: Row | None = None

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "Games" and len(self.path) == 1:
            if attributes.get("timestamp"):
                self.document.at_ms = self._time_ms(attributes, "timestamp")
        elif tag == "Game" and self.path == ["Games", "Game"]:
            self.document.games.append(self._read_game(attributes))
        elif tag == "Event" and self.path == ["Games", "Game", "Event"]:
            if len(self.document.games[-1].rows) >= ROWS_MAX:
                raise self.error(f"more than {ROWS_MAX} events")
            self._row = self._read_row(attributes)
        elif tag == "Q" and self._row is not None:
            if len(self._row.qualifiers) >= QUALIFIERS_MAX:
                raise self.error(f"more than {QUALIFIERS_MAX} qualifiers")
            qualifier = self.integer(attributes, "qualifier_id", 99_999)
            self._row.qualifiers[qualifier] = attributes.get("value", "")

    def finish(self, tag: str) -> None:
        if tag == "Event" and self._row is not None:
            rows = self.document.games[-1].rows
            known = rows.get(self._row.id)
            if known is None or _place(self._row) > _place(known):
                rows[self._row.id] = self._row
            self._row = None

    def _read_game(self, attributes: Mapping[str, str]) -> Game:
        game = Game(self.identity(attributes, "id"), dict(attributes), self.line())
        try:
            given = attributes.get("game_date")
            game.kickoff_ms = self._local_ms(given, "game_date") if given else None
        except FeedError as doubt:
            game.doubts.append(doubt)
        if game.kickoff_ms is not None and game.kickoff_ms < 0:
            game.kickoff_ms = None  # before 1970 the contract has no number
        try:
            if attributes.get("home_score") and attributes.get("away_score"):
                game.score = Score(
                    self.integer(attributes, "home_score", SCORE_MAX),
                    self.integer(attributes, "away_score", SCORE_MAX),
                )
        except FeedError as doubt:
            game.doubts.append(doubt)
        return game

    def _read_row(self, attributes: Mapping[str, str]) -> Row:
        # Unix time of the same clock, whatever its zone: only its order matters.
        modified_ms = self._time_ms(attributes, "last_modified")
        rev = _revision(modified_ms, self.integer(attributes, "version", 2**53 - 1, default=0))
        return Row(
            id=self.identity(attributes, "id"),
            event_id=attributes.get("event_id", ""),
            type_id=self.integer(attributes, "type_id", 99_999),
            period_id=self.integer(attributes, "period_id", 99, default=0),
            min=self.integer(attributes, "min", 900, default=0),
            sec=self.integer(attributes, "sec", 59, default=0),
            team_id=attributes.get("team_id", ""),
            player_id=attributes.get("player_id", ""),
            rev=rev,
            # Scaled, so that within a second it rises too.
            modified_ms=rev * 1000 // _SECOND,
            timestamp_ms=self._time_ms(attributes, "timestamp") if attributes.get("timestamp") else None,
            line=self.line(),
        )

    def _time_ms(self, attributes: Mapping[str, str], name: str) -> int:
        text = attributes.get(name)
        if text is None:
            raise self.error(f"{name} is missing")
        value = self._local_ms(text, name)
        if value < 0:
            raise self.error(f"{name} must be a time such as 2018-07-15T16:18:30, got {shown(text)}")
        if self._latest_ms is not None and value > self._latest_ms:
            ahead = f"at most {AHEAD_MAX_MS // 3_600_000} hours ahead of our clock"
            raise self.error(f"{name} must be {ahead}, got {shown(text)}")
        return value

    def _local_ms(self, text: str, name: str) -> int:
        """A time in the feed's zone as UTC milliseconds; negative before 1970."""
        try:
            moment = datetime.datetime.fromisoformat(text.strip())
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=self._zone)
            return (moment - _EPOCH) // datetime.timedelta(milliseconds=1)
        except (ValueError, OverflowError):
            wanted = f"{name} must be a time such as 2018-07-15T16:18:30"
            raise self.error(f"{wanted}, got {shown(text)}") from None


_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class _F7Target(_Target):
    feed = "F7"
    root = FAMILY_ROOT

    def __init__(self) -> None:
        super().__init__()
        self.players: dict[str, str] = {}
        self.teams: dict[str, str] = {}
        self._team: str | None = None
        self._player: str | None = None
        self._parts: dict[str, str] = {}
        self._text: list[str] = []

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        self._text = []
        if tag == "Team":
            self._team = attributes.get("uID", "").removeprefix("t") or None
        elif tag == "Player":
            self._player = attributes.get("uID", "").removeprefix("p") or None
            self._parts = {}
        if len(self.players) > NAMES_MAX or len(self.teams) > NAMES_MAX:
            raise self.error(f"more than {NAMES_MAX} names")

    def data(self, text: str) -> None:
        if self._player or self._team:
            self._text.append(text)

    def finish(self, tag: str) -> None:
        text = " ".join("".join(self._text).split())[:128]
        self._text = []
        if self._player and tag in ("First", "Last", "Known"):
            self._parts[tag] = text
        elif self._player and tag == "Player":
            full = " ".join(part for part in (self._parts.get("First"), self._parts.get("Last")) if part)
            name = self._parts.get("Known") or full
            if name:
                self.players[self._player] = name[:128]
            self._player = None
        elif self._team and tag == "Name" and self.path[-2] == "Team" and text:
            self.teams[self._team] = text
        elif tag == "Team":
            self._team = None


def _place(row: Row) -> tuple[bool, int]:
    """Which of two rows with one id counts: a deletion is final, whatever came with it."""
    return (row.type_id == DELETED, row.rev)


def _revision(modified_ms: int, version_ms: int) -> int:
    """A number that rises with ``(last_modified, version)``.

    ``last_modified`` is cut to seconds. ``version``, in milliseconds, orders what happens within one; but
    most deletions leave it as it was, hours before, and then it must count for nothing.
    """
    past_ms = (version_ms - modified_ms) % _QUARTER_MS
    return modified_ms // 1000 * _SECOND + (past_ms + 1 if past_ms < _SECOND - 1 else 0)


def _parse(source: BinaryIO, target: _Target) -> None:
    parser: Any = DefusedXMLParser(target=target, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    target.line = lambda: int(parser.parser.CurrentLineNumber)
    size = 0
    try:
        while chunk := source.read(CHUNK_BYTES):
            if not size:
                _refuse_foreign(chunk, source)
            size += len(chunk)
            if size > DOCUMENT_MAX_BYTES:
                raise target.error(f"a document may be at most {DOCUMENT_MAX_BYTES} bytes")
            parser.feed(chunk)
        parser.close()
    except ParseError as error:
        line, column = error.position
        if not size:
            raise FeedError("is empty (not XML: no element found)", line=line) from None
        reason = str(error).split(": ")[0]
        raise FeedError(f"not XML: {reason} at column {column + 1}", line=line) from None
    except DefusedXmlException as error:
        raise FeedError(f"not allowed: {type(error).__name__}", line=target.line()) from None
    except (LookupError, ValueError) as error:  # an encoding that does not exist, or cannot be read here
        raise FeedError(f"not XML: {error}", line=target.line()) from None


def _refuse_foreign(head: bytes, source: BinaryIO) -> None:
    """Refuse what is no XML by what it is.

    Args:
        head: how the document begins.
        source: the rest of it; read only where the beginning does not say what it is.
    """
    kind = kind_of_bytes(head)
    if kind is not None and kind.startswith(("JSON", "several JSON")):
        kind = kind_of_bytes(head + source.read(DOCUMENT_MAX_BYTES))
    # XML may be in UTF-16, and an empty document has an error of its own.
    if kind is not None and not kind.startswith(("XML", "UTF-", "empty")):
        raise FeedError(f"is {kind}, not XML", line=1)
