"""The rows of the list of matches as a stream: each row that changes goes to those who watch a list with it.

One reader of the bus's rows serves all lists of a worker; it reads each half second, which costs what has
changed. A row is rendered once, by the code of the page. A row that cannot be rendered is tried again at the
next reading, and keeps no other back.

A viewer resumes by a cursor (``list_cursor.py``). If the digest in it is that of the list here, nothing was
missed. Else it gets the rows that changed since a little before its time, which is harmless, since a row is
the whole truth of its match. If these are not all here, it fetches the page again. So a cursor's time may not
be later than what was read and sent: it stands still while a part of the bus does not answer, and while rows
of a list wait for their turn.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from socket import SocketType
from typing import Final, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

from origin.bus import Bus, MatchRow, RowReader
from origin.bus.list_cursor import ListCursor, row_digest
from origin.canary.match import without_canaries
from origin.stream.hub.match_stream import FLUSH_S
from origin.stream.hub.subscribers import MatchAudience
from shared_state.jsontext import compact

__all__ = ["ListHost", "ListStream", "RenderRow"]

_T = TypeVar("_T")

logger = logging.getLogger(__name__)

#: Makes the HTML of a row at a time (UTC milliseconds); and says until when it is right, None for ever.
RenderRow = Callable[[MatchRow, int], tuple[str, int | None]]

# Clocks of processes differ.
_OVERLAP_MS: Final = 5_000
# Of all lists: so long viewers can resume.
_ROWS_KEPT: Final = 1_000
# Of one list, in one frame; a reading is each half second, so twice as many a second.
_ROWS_AT_ONCE: Final = 50
# Of one list: where more rows wait than these, its viewers fetch the page again. It is what a viewer that
# comes back gets at most, too.
_ROWS_WAITING: Final = 200
_ANSWERS_MAX: Final = 64
# Lists of which is remembered since when their rows are kept.
_DROPPED_MAX: Final = 10_000
# A row that cannot be rendered holds back cursors for so long; then viewers elsewhere may have it earlier.
_UNRENDERED_MS: Final = 60_000
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_NO_LISTS: Final = frozenset[str]()


class ListHost(Protocol):
    """What the list needs of the hub."""

    bus: Bus

    def ask(self, read: Callable[[], _T], done: Callable[[_T | Exception], None]) -> None:
        """Have ``read`` run on a bus reader, and ``done`` with what it returned or raised back here."""

    def call_later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Have ``action`` run on the reactor's thread after a time."""

    def broadcast_began(self, viewers: int) -> None:
        """A fan-out begins."""

    def broadcast_ended(self) -> None:
        """It has ended."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A row as it is sent.

    Attributes:
        lists: those that it is in, or was.
        data: the JSON of its event.
    """

    row: MatchRow
    lists: frozenset[str]
    data: bytes


class _Rows(NamedTuple):
    """The rows of a list: how many, and their digest."""

    matches: int
    digest: int


@dataclass(slots=True)
class _Reading:
    """What one reading found.

    Attributes:
        began_ms, ended_ms: when, UTC milliseconds.
        complete: whether all parts of the bus answered, and no row failed lately.
        changes: the rows that changed.
        left: the lists that a match has left without a row, because the bus does not know it any more.
        rows: of each list that changed, what is in it now.
    """

    began_ms: int
    ended_ms: int = 0
    complete: bool = True
    changes: list[_Change] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    rows: dict[str, _Rows] = field(default_factory=dict)


@dataclass(slots=True)
class _Watched:
    """A list that somebody watches.

    Attributes:
        audience: who.
        cursor: where they stand, when all that was read has been sent.
        waiting: the rows that wait for their turn, by match.
    """

    audience: MatchAudience
    cursor: ListCursor
    waiting: dict[str, _Change] = field(default_factory=dict)


def _lists_of(row: MatchRow) -> frozenset[str]:
    """The names of the lists that a match is in; the list of all has an empty one."""
    return frozenset(("", row.day, row.summary.competition))


class ListStream:
    """See the module. On the reactor's thread, but for ``_read`` and what it calls.

    Args:
        host: the hub.
        render: makes the HTML of a row; None where no pages are served.
        new_audience: makes the audience of a list.
        on_read: called when the rows have been read, with the number of that reading.
    """

    def __init__(
        self,
        host: ListHost,
        render: RenderRow | None,
        new_audience: Callable[[], MatchAudience],
        on_read: Callable[[int], None],
    ) -> None:
        self._host = host
        self._render = render
        self._new_audience = new_audience
        self._on_read = on_read
        # The reading that somebody waits for; the one that began last; and whether it still goes on.
        self._wanted = 0
        self._began = 0
        self._reading = False
        # Only ``_read`` uses these, of which one runs at a time: the newest row of each match, when its text
        # runs on, what changed and is not rendered yet, and the rows of each list.
        self._reader: RowReader | None = None
        self._rendered_once = False
        self._newest: dict[str, MatchRow] = {}
        self._ticking: dict[str, int] = {}
        self._unrendered: dict[str, MatchRow | None] = {}
        # Rows that failed, and since when.
        self._failing: dict[str, tuple[MatchRow | None, int]] = {}
        self._rows_read: dict[str, _Rows] = {}
        # What the loop knows.
        self._rows: dict[str, _Rows] = {}
        self._kept: deque[tuple[int, _Change]] = deque()
        # By list: what changed up to then is not kept any more, UTC milliseconds.
        self._dropped_ms: dict[str, int] = {}
        self._from_ms: int | None = None
        self._complete_ms = 0
        #: Whether the last reading found all rows.
        self.complete = False
        self._watched: dict[str, _Watched] = {}
        self._answers: dict[tuple[str, ListCursor], bytes] = {}

    @property
    def available(self) -> bool:
        """Whether there are lists here."""
        return self._render is not None

    @property
    def ready(self) -> bool:
        """Whether all rows have been read once."""
        return self._from_ms is not None

    def want(self) -> int:
        """Have the rows read, now or after the reading that goes on: all who ask meanwhile share that one.

        Returns:
            The number of a reading that begins from now on, and so has what was published before. It, or a
            later one if it fails, is given to ``on_read``.
        """
        self._wanted = wanted = self._began + 1
        self.read()
        return wanted

    def has(self, name: str) -> bool:
        """Whether there is such a list."""
        return not name or name in self._rows

    def cursor(self, name: str) -> ListCursor:
        """Where a list stands here."""
        watched = self._watched.get(name)
        if watched is not None:
            return watched.cursor
        return ListCursor(self._complete_ms, self._digest(name))

    def join(self, name: str, fd: int, sock: SocketType | None) -> MatchAudience:
        """A viewer watches a list from now on; without its socket, it is slow."""
        watched = self._watched.get(name)
        if watched is None:
            watched = self._watched[name] = _Watched(self._new_audience(), self.cursor(name))
        watched.audience.join(fd, sock)
        return watched.audience

    def audience_of(self, name: str) -> MatchAudience:
        """Those who watch a list; there must be one."""
        return self._watched[name].audience

    def leave(self, name: str, fd: int) -> None:
        """A viewer does not watch a list any more."""
        audience = self._watched[name].audience
        audience.leave(fd)
        if not audience.size:
            del self._watched[name]

    def answer(self, name: str, after: ListCursor | None) -> bytes:
        """What a viewer of a list gets first: the rows since its cursor, or a gap."""
        if after is None:
            return self._gap(name)
        known = self._answers.get((name, after))
        if known is None:
            if len(self._answers) >= _ANSWERS_MAX:
                self._answers.clear()
            known = self._answers[name, after] = self._answer(name, after)
        return known

    def _answer(self, name: str, after: ListCursor) -> bytes:
        oldest_ms = max(self._from_ms or 0, self._dropped_ms.get(name, 0)) + _OVERLAP_MS
        if after.at_ms < oldest_ms and after.digest != self._digest(name):
            return self._gap(name)
        newest: dict[str, _Change] = {}
        for at_ms, change in self._kept:
            if at_ms > after.at_ms - _OVERLAP_MS and name in change.lists:
                newest[change.row.match_id] = change
        if len(newest) > _ROWS_WAITING:
            return self._gap(name)
        return _frames(newest.values(), self.cursor(name))

    def _gap(self, name: str) -> bytes:
        url = (
            "/"
            if not name
            else f"/?{'day' if _DAY.fullmatch(name) else 'competition'}={quote(name, safe='')}"
        )
        data = compact({"list": True, "url": url})
        return f"event: gap\nid: list@{self.cursor(name)}\ndata: {data}\n\n".encode()

    def _digest(self, name: str) -> int:
        rows = self._rows.get(name)
        return 0 if rows is None else rows.digest

    def tick(self) -> None:
        """Read again, if anybody has ever watched a list; called each half second."""
        if self._wanted:
            self.read()

    def read(self) -> None:
        """Read what changed."""
        if not self._reading and self._render is not None:
            self._reading = True
            self._began += 1
            self._host.ask(self._read, self._answered)

    # --- on a bus reader

    def _read(self) -> _Reading:
        reading = _Reading(_now_ms())
        if self._reader is None:
            self._reader = self._host.bus.row_reader()
        update = self._reader.read()
        # The reader will not say these again: whatever happens, they are kept until they are rendered.
        self._unrendered.update(without_canaries(update.rows))
        reading.complete = update.complete
        for match_id, until_ms in self._ticking.items():
            if until_ms <= reading.began_ms:
                self._unrendered.setdefault(match_id, self._newest[match_id])
        for match_id, row in list(self._unrendered.items()):
            try:
                self._take(match_id, row, reading)
            except Exception:  # a row that breaks the template must not cost the others
                failed, since_ms = self._failing.get(match_id, (None, 0))
                if failed != row:
                    since_ms = reading.began_ms
                    self._failing[match_id] = (row, since_ms)
                    logger.exception("the row of match %s cannot be rendered", match_id)
                if reading.began_ms - since_ms < _UNRENDERED_MS:
                    reading.complete = False
            else:
                del self._unrendered[match_id]
                self._failing.pop(match_id, None)
        self._rendered_once = True
        reading.ended_ms = _now_ms()
        return reading

    def _take(self, match_id: str, row: MatchRow | None, reading: _Reading) -> None:
        """Take a row in the place of the one before; nothing is changed if it cannot be rendered."""
        before = self._newest.get(match_id)
        if row is None:
            if before is not None:
                self._place(before, None, reading)
                del self._newest[match_id]
                self._ticking.pop(match_id, None)
                reading.left |= _lists_of(before)
            return
        now_ms = reading.began_ms
        if before == row and self._ticking.get(match_id, now_ms + 1) > now_ms:
            return
        if self._rendered_once:
            assert self._render is not None  # noqa: S101
            html, until_ms = self._render(row, now_ms)
            live = row.summary.phase in ("live", "paused")
            own = _lists_of(row)
            named = sorted(filter(None, own))
            data = compact(
                {"match_id": match_id, "id": str(row.id), "live": live, "lists": named, "html": html}
            )
            lists = own | (_NO_LISTS if before is None else _lists_of(before))
            reading.changes.append(_Change(row, lists, data.encode()))
        else:
            # Pages have the rows that are there at the beginning; rendering a season would take a second.
            until_ms = row.at(now_ms)[1]
        self._place(before, row, reading)
        self._newest[match_id] = row
        self._ticking.pop(match_id, None)
        if until_ms is not None:
            self._ticking[match_id] = until_ms

    def _place(self, before: MatchRow | None, row: MatchRow | None, reading: _Reading) -> None:
        """Count a row in its lists; a list in which no row is left is none."""
        for one, by in ((before, -1), (row, 1)):
            if one is None:
                continue
            digest = row_digest(one.match_id, one.id)
            for name in _lists_of(one):
                rows = self._rows_read.get(name, _Rows(0, 0))
                reading.rows[name] = rows = _Rows(rows.matches + by, rows.digest ^ digest)
                if rows.matches:
                    self._rows_read[name] = rows
                else:
                    del self._rows_read[name]

    # --- back on the loop

    def _answered(self, reading: _Reading | Exception) -> None:
        self._reading = False
        if isinstance(reading, Exception):
            return  # the next tick tries again
        self._answers.clear()
        for name, rows in reading.rows.items():
            if rows.matches:
                self._rows[name] = rows
            else:
                self._rows.pop(name, None)
        self.complete = reading.complete
        if reading.complete:
            self._complete_ms = reading.began_ms
        if self._from_ms is None:
            # What is there at the beginning is no change: the page has it.
            self._from_ms = reading.ended_ms
        else:
            for change in reading.changes:
                self._keep(reading.ended_ms, change)
            for name in reading.left:
                # There is no row to send; the page does not have it.
                self._drop(name, reading.ended_ms)
            for name, watched in list(self._watched.items()):
                self._send(name, watched, reading)
        # Those who come now have the reading's rows by their answer.
        self._on_read(self._began)
        if self._wanted > self._began:
            self.read()

    def _keep(self, at_ms: int, change: _Change) -> None:
        self._kept.append((at_ms, change))
        if len(self._kept) > _ROWS_KEPT:
            dropped_ms, dropped = self._kept.popleft()
            for name in dropped.lists:
                self._drop(name, dropped_ms)

    def _drop(self, name: str, at_ms: int) -> None:
        """Something that changed a list is not kept any more."""
        if len(self._dropped_ms) >= _DROPPED_MAX:
            self._from_ms = max(self._from_ms or 0, *self._dropped_ms.values())
            self._dropped_ms.clear()
        self._dropped_ms[name] = max(at_ms, self._dropped_ms.get(name, 0))

    def _send(self, name: str, watched: _Watched, reading: _Reading) -> None:
        """Send a list's viewers what changed, as much as may go at once."""
        waiting = watched.waiting
        waiting.update((one.row.match_id, one) for one in reading.changes if name in one.lists)
        if name in reading.left or len(waiting) > _ROWS_WAITING:
            waiting.clear()
            watched.cursor = ListCursor(self._complete_ms, self._digest(name))
            self._broadcast(watched.audience, self._gap(name))
            return
        sent = [waiting.pop(match_id) for match_id in list(waiting)[:_ROWS_AT_ONCE]]
        if not waiting:
            watched.cursor = ListCursor(self._complete_ms, self._digest(name))
        if sent:
            self._broadcast(watched.audience, _frames(sent, watched.cursor))

    def _broadcast(self, audience: MatchAudience, frames: bytes) -> None:
        self._host.broadcast_began(audience.size)
        try:
            audience.broadcast(frames, _ignore)
        finally:
            self._host.broadcast_ended()
        if audience.flushing:
            self._host.call_later(FLUSH_S, partial(audience.flush, tuple(audience.flushing)))


def _frames(changes: Iterable[_Change], cursor: ListCursor) -> bytes:
    """The ``row`` events of changes, and the comment behind them."""
    id_ = str(cursor).encode()
    frames = b"".join(b"event: row\nid: list@%b\ndata: %b\n\n" % (id_, change.data) for change in changes)
    return frames + b":\n\n" if frames else b""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _ignore(count: int) -> None:
    del count
