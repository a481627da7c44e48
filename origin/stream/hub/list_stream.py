"""The rows of the list of matches as a stream: each row that changes goes to those who watch a list with it.

One reader of the bus's rows serves all lists of a worker; it reads each half second, which costs what has
changed. A row is rendered once, by the code of the page. A cursor is the time at which a reading began, UTC
milliseconds, so that one of another process is good here, too: rows since a little before it are sent again,
which is harmless, since a row is the whole truth of its match.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar
from urllib.parse import quote

from origin.bus import Bus, MatchRow, RowReader
from origin.stream.hub.subscribers import MatchAudience
from shared_state.jsontext import compact

__all__ = ["ListHost", "ListStream", "RenderRow"]

_T = TypeVar("_T")

#: Makes the HTML of a row at a time (UTC milliseconds); and says until when it is right, None for ever.
RenderRow = Callable[[MatchRow, int], tuple[str, int | None]]

# Clocks of processes differ, and a reading takes a while.
_OVERLAP_MS: Final = 5_000
_ROWS_KEPT: Final = 1_000
_NO_LISTS: Final = frozenset[str]()


class ListHost(Protocol):
    """What the list needs of the hub."""

    bus: Bus

    def ask(self, read: Callable[[], _T], done: Callable[[_T | Exception], None]) -> None:
        """Have ``read`` run on a bus reader, and ``done`` with what it returned or raised back here."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A row as it is sent.

    Attributes:
        lists: those that it is in, or was.
        until_ms: until when its text is right.
    """

    row: MatchRow
    lists: frozenset[str]
    frame: bytes
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class _Reading:
    began_ms: int
    changes: list[_Change]
    gone: list[str]
    complete: bool


def _lists_of(row: MatchRow) -> frozenset[str]:
    """The names of the lists that a match is in; the list of all has an empty one."""
    return frozenset(("", row.day, row.summary.competition))


class ListStream:
    """See the module. On the reactor's thread, but for ``_read``.

    Args:
        host: the hub.
        render: makes the HTML of a row; None where no pages are served.
        new_audience: makes the audience of a list.
    """

    def __init__(
        self,
        host: ListHost,
        render: RenderRow | None,
        new_audience: Callable[[], MatchAudience],
    ) -> None:
        self._host = host
        self._render = render
        self._new_audience = new_audience
        self._reader: RowReader | None = None
        self._reading = False
        # Of the newest row of each match; only ``_read`` changes it, of which one runs at a time.
        self._newest: dict[str, _Change] = {}
        self._ticking: dict[str, int] = {}
        self._kept: deque[tuple[int, _Change]] = deque(maxlen=_ROWS_KEPT)
        self._known: dict[str, int] = {}
        self._from_ms: int | None = None
        self._waiting: list[Callable[[], None]] = []
        self._waiting_for_next: list[Callable[[], None]] = []
        self.audiences: dict[str, MatchAudience] = {}
        self.cursor_ms = 0

    @property
    def available(self) -> bool:
        """Whether there are lists here."""
        return self._render is not None

    @property
    def ready(self) -> bool:
        """Whether all rows have been read once."""
        return self._from_ms is not None

    def when_read(self, action: Callable[[], None]) -> None:
        """Have an action run after a reading that begins from now on: it has what was published before."""
        self._waiting_for_next.append(action)
        self.read()

    def has(self, name: str) -> bool:
        """Whether there is such a list."""
        return not name or name in self._known

    def audience_of(self, name: str) -> MatchAudience:
        """Those who watch a list."""
        audience = self.audiences.get(name)
        if audience is None:
            audience = self.audiences[name] = self._new_audience()
        return audience

    def answer(self, name: str, after_ms: int | None) -> bytes:
        """What a viewer of a list gets first: the rows since its cursor, or a gap."""
        oldest_ms = self._from_ms or 0
        if len(self._kept) == _ROWS_KEPT:
            oldest_ms = max(oldest_ms, self._kept[0][0] + _OVERLAP_MS)
        if after_ms is None or after_ms < oldest_ms:
            field = "day" if name[:1].isdigit() and len(name) == 10 else "competition"
            url = f"/?{field}={quote(name, safe='')}" if name else "/"
            data = compact({"list": True, "url": url})
            return f"event: gap\nid: list@{self.cursor_ms}\ndata: {data}\n\n".encode()
        newest: dict[str, _Change] = {}
        for at_ms, change in self._kept:
            if at_ms > after_ms - _OVERLAP_MS and name in change.lists:
                newest[change.row.match_id] = change
        return _frames(newest.values(), self.cursor_ms)

    def tick(self) -> None:
        """Read again, if anybody has ever watched a list; called each half second."""
        if self._reader is not None:
            self.read()
            for name in [name for name, audience in self.audiences.items() if not audience.size]:
                del self.audiences[name]

    def read(self) -> None:
        """Read what changed."""
        if not self._reading and self._render is not None:
            self._reading = True
            self._waiting += self._waiting_for_next
            self._waiting_for_next = []
            self._host.ask(self._read, self._answered)

    def _read(self) -> _Reading:
        """On a bus reader."""
        began_ms = time.time_ns() // 1_000_000
        if self._reader is None:
            self._reader = self._host.bus.row_reader()
        update = self._reader.read()
        changes, gone = [], []
        for match_id, row in update.rows.items():
            before = self._newest.get(match_id)
            if row is None:
                self._newest.pop(match_id, None)
                self._ticking.pop(match_id, None)
                gone.append(match_id)
            elif before is None or before.row != row:
                changes.append(self._changed(row, began_ms))
        for match_id, until_ms in list(self._ticking.items()):
            if until_ms <= began_ms:
                changes.append(self._changed(self._newest[match_id].row, began_ms))
        return _Reading(began_ms, changes, gone, update.complete)

    def _changed(self, row: MatchRow, now_ms: int) -> _Change:
        assert self._render is not None  # noqa: S101
        if self._from_ms is None:
            # Pages have the rows that are there at the beginning; rendering a season would take a second.
            html, until_ms = "", row.at(now_ms)[1]
        else:
            html, until_ms = self._render(row, now_ms)
        live = row.summary.phase in ("live", "paused")
        own = _lists_of(row)
        data = compact(
            {
                "match_id": row.match_id,
                "id": str(row.id),
                "live": live,
                "lists": sorted(filter(None, own)),
                "html": html,
            }
        )
        before = self._newest.get(row.match_id)
        lists = own | (_NO_LISTS if before is None else _lists_of(before.row))
        change = _Change(row, lists, data.encode(), until_ms)
        self._newest[row.match_id] = change
        self._ticking.pop(row.match_id, None)
        if until_ms is not None:
            self._ticking[row.match_id] = until_ms
        return change

    def _answered(self, reading: _Reading | Exception) -> None:
        self._reading = False
        if isinstance(reading, Exception):
            return  # the next tick tries again
        if reading.complete:
            # The cursor says until when a viewer knows all rows; of a part of the bus nothing was heard.
            self.cursor_ms = reading.began_ms
        for change in reading.changes:
            for name in change.lists:
                self._known[name] = reading.began_ms
        if self._from_ms is None:
            # What is there at the beginning is no change: the page has it.
            self._from_ms = reading.began_ms
        else:
            for change in reading.changes:
                self._kept.append((reading.began_ms, change))
            for name, audience in list(self.audiences.items()):
                frames = _frames((one for one in reading.changes if name in one.lists), self.cursor_ms)
                if frames:
                    audience.broadcast(frames, _ignore)
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()
        if self._waiting_for_next:
            self.read()


def _frames(changes: Iterable[_Change], cursor_ms: int) -> bytes:
    """The ``row`` events of changes, and the comment behind them."""
    frames = b"".join(
        b"event: row\nid: list@%d\ndata: %b\n\n" % (cursor_ms, change.frame) for change in changes
    )
    return frames + b":\n\n" if frames else b""


def _ignore(count: int) -> None:
    del count
