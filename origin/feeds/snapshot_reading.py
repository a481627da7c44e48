"""What the readers of whole-match snapshots share: one document while it is made into events."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from origin.errors import FeedError
from origin.feeds import Warn
from origin.feeds.fixture import kicks_of_result
from origin.feeds.jsondoc import Node
from origin.feeds.vendor_document import VendorDocument
from shared_state import Event, InvalidEvent, Score
from shared_state.events import MATCH_ID_PATTERN, PERIOD_INDEX

__all__ = [
    "OVER",
    "ROW_MINUTE_MAX",
    "SnapshotReading",
    "bounded_items",
    "match_id_of",
    "period_of_minute",
    "read_each",
    "time_ms",
]

OVER: Final = frozenset({"FT", "AET", "FT_PENS"})
# Of the event that is made of the vendor's score, for which it has no row.
RESULT_ID: Final = "result"
ROW_MINUTE_MAX: Final = 200
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# The last minute of each period's regular time.
_LIMITS: Final[Mapping[str, int]] = {"H1": 45, "H2": 90, "ET1": 105, "ET2": 120}


def match_id_of(node: Node, prefix: str) -> str:
    """Our id of a match: the prefix, and the vendor's own id, a number or text.

    Raises:
        FeedError: it is no such id.
    """
    value = node.value
    number = str(value) if type(value) is int and value >= 0 else node.text()
    match_id = prefix + number
    if not MATCH_ID_PATTERN.fullmatch(match_id):
        raise node.error(f"must be letters, digits, - and _, got {number[:80]!r}")
    return match_id


def time_ms(node: Node, text: str | None = None) -> int:
    """A time with its zone, as UTC milliseconds.

    Args:
        node: where it stands.
        text: the time, where it is put together of several values; None for what stands there.

    Raises:
        FeedError: it is none.
    """
    text = node.text() if text is None else text
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(text)
        value = (moment - _EPOCH) // datetime.timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        value = -1
    if value < 0:
        raise node.error(f"must be a time such as 2018-07-15T15:00:00Z, got {text[:40]!r}")
    return value


def bounded_items(node: Node, most: int) -> list[Node]:
    """The values of a list that may be missing.

    Raises:
        FeedError: it has more than ``most``.
    """
    items = list(node.items())
    if len(items) > most:
        raise node.error(f"has {len(items)} entries, at most {most} are read")
    return items


def read_each(
    matches: Iterable[Node], read: Callable[[Node], VendorDocument], warn: Warn | None
) -> Iterator[VendorDocument]:
    """Read the matches of a list.

    Args:
        matches: where each stands.
        read: reads one.
        warn: called with the error of one that cannot be read; the others are read all the same. None where
            the first error ends the reading.

    Raises:
        FeedError: one cannot be read; with ``warn``, none could be read: then the document is a bad one.
    """
    errors: list[FeedError] = []
    any_read = False
    for match in matches:
        try:
            document = read(match)
        except FeedError as error:
            if warn is None:
                raise
            errors.append(error)
        else:
            any_read = True
            yield document
    if errors and not any_read:
        raise errors[0]
    for doubt in errors:
        if warn is not None:
            warn(doubt)


def period_of_minute(minute: int, *, extra_time: bool) -> str:
    """The period of a displayed minute whose stoppage is apart from it."""
    if minute <= 45:
        return "H1"
    if minute <= 90 or not extra_time:
        return "H2"
    return "ET1" if minute <= 105 else "ET2"


class SnapshotReading:
    """One match of one document.

    Attributes:
        events: what was made so far.
        rows: the revision of each of them, and of rows of which nothing was made.
        doubts: what was left out.
    """

    def __init__(self, match_id: str, source: str, at_ms: int) -> None:
        self.match_id = match_id
        self.at_ms = at_ms
        self.events: list[Event] = []
        self.rows: dict[str, int] = {}
        self.doubts: list[FeedError] = []
        self._source = source

    @property
    def reached(self) -> str:
        """The period of the last thing that happened."""
        return max((event.period for event in self.events), key=PERIOD_INDEX.__getitem__, default="PRE")

    @property
    def goals(self) -> Score:
        """What the goals make."""
        score = Score(0, 0)
        for event in self.events:
            if event.type == "GOAL":
                score = score.plus(event.team, 1)
        return score

    def seen(self, event_id: str, rev: int | None = None) -> None:
        """Note a row of which no event is made."""
        self.rows[event_id] = self.at_ms if rev is None else rev

    def add(
        self, node: Node, event_id: str, type_: str, period: str, *, rev: int | None = None, **fields: Any
    ) -> None:
        """Make an event of a value.

        Raises:
            FeedError: it breaks the contract of events.
        """
        self.seen(event_id, rev)
        try:
            event = Event(
                match_id=self.match_id,
                event_id=event_id,
                rev=self.rows[event_id],
                op="ADD",
                type=type_,
                period=period,
                source=self._source,
                **fields,
            )
        except InvalidEvent as error:
            raise node.invalid(error) from None
        self.events.append(event)

    def in_play(
        self,
        node: Node,
        event_id: str,
        type_: str,
        period: str,
        minute: int | None,
        stoppage: int,
        **fields: Any,
    ) -> None:
        """As ``add``, at a minute; one beyond the period's regular time is written with its stoppage."""
        limit = _LIMITS.get(period)
        if minute is not None and limit is not None and minute > limit:
            stoppage, minute = stoppage + minute - limit, limit
        self.add(node, event_id, type_, period, minute=minute, stoppage=min(stoppage, 99), **fields)

    def info(
        self,
        node: Node,
        home: Mapping[str, str | None],
        away: Mapping[str, str | None],
        *,
        competition: str | None,
        kickoff: Node,
        venue: str | None,
        kickoff_text: str | None = None,
    ) -> None:
        """Teams, competition, kick-off and venue; a kick-off that cannot be read costs a warning."""
        kickoff_ms = None
        if kickoff.value is not None:
            try:
                kickoff_ms = time_ms(kickoff, kickoff_text)
            except FeedError as doubt:
                self.doubts.append(doubt)
        detail = {
            "home": dict(home), "away": dict(away), "competition": competition, "kickoff_ms": kickoff_ms,
            "venue": venue,
        }  # fmt: skip
        self.add(node, "info", "MATCH_INFO", "PRE", detail=detail)

    def status(self, node: Node, to: str, period: str) -> None:
        """What the match is at now."""
        self.add(node, "status", "STATUS_CHANGE", period, detail={"to": to})

    def result(self, node: Node, score: Score, period: str) -> None:
        """The vendor's score, where no rows make it."""
        self.add(node, RESULT_ID, "SCORE_OVERRIDE", period, detail={"home": score.home, "away": score.away})

    def kicks_by_result(self, node: Node, pens: Score) -> None:
        """The scored kicks of a shoot-out of which only the result is known."""
        for order, side in enumerate(kicks_of_result(pens), start=1):
            detail = {"order": order, "scored": True}
            self.add(node, f"k{order:03}", "SHOOTOUT_KICK", "PENS", team=side, detail=detail)
