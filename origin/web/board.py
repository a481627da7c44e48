"""The list of matches: rows kept in order, read anew only where they changed, as pages that are built once.

A season has ten thousand matches of which a hundred are live. So nothing here walks all of them for a
request: a reading asks the bus for the rows that changed, a change moves one row within sorted lists, and a
page is built once for all who ask for it until a row changes or a minute on it runs on (decision 44).
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from origin.bus import Bus, MatchRow, RowReader
from origin.bus.list_cursor import ListCursor, row_digest
from origin.canary.match import without_canaries
from origin.errors import BusError
from origin.web.bus_breaker import SLOW_S, Breaker, BusBusyError
from shared_state.view import PHASE_RANK, Summary

__all__ = ["PAGE_ROWS", "Board", "BuiltPage", "PageContent", "View"]

#: The rows of one page.
PAGE_ROWS: Final = 100
# Built pages of some 50 KB each.
_PAGES_MAX: Final = 64
_TAG_CHARS: Final = 32  # 128 bits: no two pages of one address will ever meet
# Of one list: with more changes than these, it is cheaper to sort it.
_INSERTS_MAX: Final = 32
# Days and competitions that a page links to.
_DAYS_AROUND: Final = 3
_COMPETITIONS_MAX: Final = 24
# A page waits so long for a reading that another request has begun.
_WAIT_S: Final = 0.5
_DAY_MS: Final = 86_400_000
# The first members of the ranks of matches that run.
_LIVE: Final = (PHASE_RANK["live"], PHASE_RANK["paused"])
#: The day of matches of which no source said when they begin. No view that a reader asks for has it.
UNDATED: Final = "undated"

_Rank = tuple[int, int, str]


class View(NamedTuple):
    """Which matches a list has.

    Attributes:
        day: the UTC day of the kick-off, ``2026-11-27``; empty for all days.
        competition: the name; empty for all.
    """

    day: str = ""
    competition: str = ""


@dataclass(frozen=True, slots=True)
class PageContent:
    """What a page shows.

    Attributes:
        rows: the rows in the order in which they are to be read.
        view, number: which page it is; the first has the number 1.
        numbers: how many pages the list has.
        days: days near this one that have matches.
        competitions: the competitions of the rows.
        complete: False where a part of the bus does not answer: some rows stand as they were, or are missing.
        read_ms: when the rows were last read, all of them, UTC milliseconds; None if they never were.
        ids: by match: the id of what its row shows.
        cursor: from where the stream of this list goes on; empty if the rows were never all read.
    """

    rows: Sequence[Summary]
    view: View
    number: int
    numbers: int
    days: Sequence[str]
    competitions: Sequence[str]
    complete: bool
    read_ms: int | None
    ids: Mapping[str, str] = field(default_factory=dict)
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class BuiltPage:
    """A page as bytes, with the tag of what it shows: of all of them but the cursor."""

    body: bytes
    tag: str


@dataclass(frozen=True, slots=True)
class _Kept:
    """A built page, for as long as nothing on it changes.

    Attributes:
        version: of the board.
        from_ms, until_ms: the UTC milliseconds between which it is right.
    """

    page: BuiltPage
    version: int
    from_ms: int
    until_ms: float


class Board:
    """The rows of all matches, as this process read them last. Thread-safe.

    Args:
        bus: where the rows are.
        fresh_s: a reading is good for so long, seconds. 0 where one costs next to nothing.
        breaker: while it is open the rows stand as they were, and nobody waits for the bus; None: readings
            are always waited for.
    """

    def __init__(self, bus: Bus, fresh_s: float = 0.0, breaker: Breaker | None = None) -> None:
        #: As of the argument; it may change while the board is in use.
        self.fresh_s = fresh_s
        self._breaker = breaker
        self._read_ms: int | None = None
        self._bus = bus
        # Made by the first reading: it may start threads, and this process may yet fork.
        self._reader: RowReader | None = None
        # Readings, one at a time; and what they change, which pages are built from.
        self._reading = threading.Lock()
        self._started = self._finished = 0
        self._read_s = -math.inf
        self._failed: BusError | None = None
        self._lock = threading.Lock()
        self._version = 0
        self._complete = False
        self._known = False
        self._rows: dict[str, MatchRow] = {}
        self._views: dict[View, list[_Rank]] = {View(): []}
        # By list: the digest of its rows, see ``ListCursor``.
        self._digests: dict[View, int] = {}
        self._days: list[str] = []
        self._building = threading.Lock()
        self._pages: OrderedDict[tuple[View, int, str], _Kept] = OrderedDict()

    def refresh(self) -> None:
        """Bring the rows up to date.

        All who wait share one reading that began after they came: they see what was published before. If
        there are rows to show, nobody waits for longer than ``_WAIT_S`` for another's reading, and
        nobody waits at all while the breaker is open.

        Raises:
            BusError: the bus does not answer, and never has since this origin started.
        """
        seen = self._started
        if self._breaker is not None and self._breaker.refuses():
            self._check_known("the bus is slow or away, and is not asked now")
            return
        without_rows_s = -1.0 if self._breaker is None else SLOW_S
        if not self._reading.acquire(timeout=_WAIT_S if self._known else without_rows_s):
            self._check_known("the list of matches is being read")
            return
        try:
            if self._finished <= seen and time.monotonic() - self._read_s >= self.fresh_s:
                self._started += 1
                self._failed = self._read_if_closed()
                self._finished = self._started
                self._read_s = time.monotonic()
            failed = self._failed
        finally:
            self._reading.release()
        if failed is not None and not self._known:
            raise failed

    def rows(self, view: View = View()) -> list[MatchRow]:  # noqa: B008 - it is immutable
        """All rows of a list in their order, as they were read last."""
        with self._lock:
            return [self._rows[match_id] for _, _, match_id in self._views.get(view, ())]

    @property
    def read_ms(self) -> int | None:
        """When all rows were last read, UTC milliseconds; None if they never were."""
        return self._read_ms

    def is_complete(self) -> bool:
        """Whether the last reading found every match up to date."""
        return self._complete

    def page(
        self,
        view: View,
        number: int,
        now_ms: int,
        render: Callable[[PageContent], str],
        kind: str = "page",
    ) -> BuiltPage | None:
        """One page of a list.

        Args:
            view: the list.
            number: the page; the first is 1.
            now_ms: UTC milliseconds, to let the minutes run to.
            render: makes the HTML of a page that is not built yet.
            kind: what ``render`` makes of the content; pages of another kind are kept beside.

        Returns:
            The page; None if there is none: the first page of all matches is always there.
        """
        if view.day == UNDATED:
            return None
        key = (view, number, kind)
        with self._building:
            kept = self._pages.get(key)
            if kept is not None and kept.version == self._version and kept.from_ms <= now_ms < kept.until_ms:
                self._pages.move_to_end(key)
                return kept.page
            found = self._content(view, number, now_ms)
            if found is None:
                self._pages.pop(key, None)
                return None
            content, version, until_ms = found
            body = render(content).encode()
            page = BuiltPage(body, _tag(body, content.cursor))
            self._pages[key] = _Kept(page, version, now_ms, until_ms)
            self._pages.move_to_end(key)
            if len(self._pages) > _PAGES_MAX:
                self._pages.popitem(last=False)
            return page

    def _content(self, view: View, number: int, now_ms: int) -> tuple[PageContent, int, float] | None:
        """The content of a page, the version it is of, and until when it is right; None if there is none."""
        with self._lock:
            ranks = self._views.get(view)
            if ranks is None:
                return None
            numbers = max(1, -(-len(ranks) // PAGE_ROWS))
            if not 1 <= number <= numbers:
                return None
            rows = self._reading_order(view, number, now_ms)
            version, complete, read_ms = self._version, self._complete, self._read_ms
            digest = self._digests.get(view, 0)
            place = bisect_left(self._days, view.day or _day(now_ms))
            days = self._days[max(0, place - _DAYS_AROUND) : place + _DAYS_AROUND + 1]
        texts, until_ms = [], float((now_ms // _DAY_MS + 1) * _DAY_MS)
        for row in rows:
            text, until = row.at(now_ms)
            texts.append(text)
            if until is not None and until < until_ms:
                until_ms = until
        ids = {row.match_id: str(row.id) for row in rows}
        cursor = "" if read_ms is None else str(ListCursor(read_ms, digest))
        competitions = sorted({text.competition for text in texts if text.competition})[:_COMPETITIONS_MAX]
        content = PageContent(
            texts, view, number, numbers, days, competitions, complete, read_ms, ids, cursor
        )
        return content, version, until_ms

    def _reading_order(self, view: View, number: int, now_ms: int) -> list[MatchRow]:
        """The rows of a page: by day, of a day by competition, and of these the live ones first.

        Only the days that the page shows are walked. Without a day in the view: first today, then the days to
        come, then matches without a day, then the days before, the latest first.
        """
        days = [view.day] if view.day else self._days_in_order(now_ms)
        blocks = [View(day, view.competition) for day in days]
        start, rows = (number - 1) * PAGE_ROWS, list[MatchRow]()
        end = start + PAGE_ROWS
        for block in blocks:
            ranks = self._views.get(block, ())
            if start < len(ranks) and end > 0:
                in_order = self._by_competition(ranks)
                rows += in_order[max(0, start) : end]
            start -= len(ranks)
            end -= len(ranks)
        return rows

    def _days_in_order(self, now_ms: int) -> list[str]:
        """All days in the order in which they are to be read, with that of matches without a day."""
        today, *beside = (_day(now_ms + offset * _DAY_MS) for offset in (0, -1, 1))
        place = bisect_left(self._days, today)
        # A match that began before midnight by UTC, or one of its tomorrow, runs now: it comes first.
        first = [day for day in beside if (ranks := self._views.get(View(day))) and ranks[0][0] in _LIVE]
        others = [*self._days[place:], UNDATED, *reversed(self._days[:place])]
        return [*first, *(day for day in others if day not in first)]

    def _by_competition(self, ranks: Sequence[_Rank]) -> list[MatchRow]:
        """The rows of a day; competitions with a live match first, then by their names."""
        groups: dict[str, list[MatchRow]] = {}
        for _, _, match_id in ranks:
            row = self._rows[match_id]
            groups.setdefault(row.summary.competition, []).append(row)

        def key(competition: str) -> tuple[bool, bool, str, str]:
            has_live = groups[competition][0].summary.rank[0] in _LIVE  # they are sorted by it
            return (not has_live, not competition, competition.casefold(), competition)

        return [row for competition in sorted(groups, key=key) for row in groups[competition]]

    def _check_known(self, otherwise: str) -> None:
        if not self._known:
            raise BusBusyError(otherwise)

    def _read_if_closed(self) -> BusError | None:
        """Read what changed, behind the breaker; the error if that cannot be done."""
        if self._breaker is None:
            return self._read()
        try:
            with self._breaker.call():
                error = self._read()
                if error is not None:
                    raise error
        except BusError as error:
            return error
        return None

    def _read(self) -> BusError | None:
        if self._reader is None:
            self._reader = self._bus.row_reader()
        # A row that changes while the others are read may be missed by this reading.
        began_ms = time.time_ns() // 1_000_000
        try:
            update = self._reader.read()
        except BusError as error:
            with self._lock:
                if self._complete:
                    self._complete = False
                    self._version += 1
            return error
        with self._lock:
            if update.complete:
                self._read_ms = began_ms
            changed = {
                match_id: row
                for match_id, row in without_canaries(update.rows).items()
                if row != self._rows.get(match_id)
            }
            if changed or update.complete != self._complete:
                self._version += 1
            self._complete, self._known = update.complete, True
            self._change(changed)
        return None

    def _change(self, changed: dict[str, MatchRow | None]) -> None:
        """Put rows in the place of their predecessors."""
        removed: dict[View, list[_Rank]] = {}
        added: dict[View, list[_Rank]] = {}
        for match_id, row in changed.items():
            before = self._rows.pop(match_id, None)
            if row is not None:
                self._rows[match_id] = row
            for ranks_of, one in ((removed, before), (added, row)):
                if one is not None:
                    digest = row_digest(match_id, one.id)
                    for view in _views_of(one):
                        self._digests[view] = self._digests.get(view, 0) ^ digest
                        ranks_of.setdefault(view, []).append(one.summary.rank)
        for view in removed.keys() | added.keys():
            self._change_view(view, removed.get(view, ()), added.get(view, ()))

    def _change_view(self, view: View, removed: Sequence[_Rank], added: Sequence[_Rank]) -> None:
        ranks = self._views.get(view)
        if ranks is None:
            ranks = self._views[view] = []
            if view.day not in ("", UNDATED) and not view.competition:
                insort(self._days, view.day)
        if len(removed) + len(added) <= _INSERTS_MAX:
            for rank in removed:
                del ranks[bisect_left(ranks, rank)]
            for rank in added:
                insort(ranks, rank)
        else:
            gone = set(removed)
            ranks[:] = sorted([*(rank for rank in ranks if rank not in gone), *added])
        if not ranks and view != View():
            del self._views[view]
            self._digests.pop(view, None)
            if view.day not in ("", UNDATED) and not view.competition:
                self._days.remove(view.day)


def _tag(body: bytes, cursor: str) -> str:
    """The tag of a page. Two processes with the same rows have the same one, whenever each read them."""
    shown = body.replace(f'data-list-id="{cursor}"'.encode(), b"")
    return hashlib.sha256(shown).hexdigest()[:_TAG_CHARS]


def _day(utc_ms: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(utc_ms / 1_000))


def _views_of(row: MatchRow) -> set[View]:
    """The lists that a match is in."""
    day, competition = row.day or UNDATED, row.summary.competition
    return {View(), View(day), View("", competition), View(day, competition)}
