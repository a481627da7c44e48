"""Finds matches that this worker has not opened, for the viewers of several matches.

A set may name 200 matches that somebody made up. Whoever asks while a question is under way waits for the
next one, which is about the heads of all matches that are asked for by then: so a set costs the bus one
request for each server, and a crowd of sets no more. Of the matches that the bus knows a few are opened at a
time, so that viewers of one match need not wait for the sets of others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Final, Protocol, TypeVar

from origin.bus import Bus
from origin.errors import BusError
from origin.stream.hub.match_stream import MatchStream
from shared_state import DeltaId

__all__ = ["Found", "LookupHost", "MatchLookups"]

_T = TypeVar("_T")

# Of one question; a server is blocked for about a millisecond by so many.
_IDS_AT_ONCE: Final = 500
# Matches that are being opened at the same time.
_OPENING_AT_ONCE: Final = 32

#: Called with the match, which is open or being opened; None if there is no such match; or the error that
#: kept the bus from answering.
Found = Callable[[MatchStream | Exception | None], None]


class LookupHost(Protocol):
    """What looking for a match needs of the hub."""

    bus: Bus

    def ask(self, read: Callable[[], _T], done: Callable[[_T | Exception], None]) -> None:
        """Have ``read`` run on a bus reader, and ``done`` with what it returned or raised back here."""

    def stream_of(self, match_id: str) -> MatchStream | None:
        """The match, if it is open or being opened."""

    def open_stream(self, match_id: str) -> MatchStream:
        """Open a match that the bus knows."""

    def remember_unknown(self, match_id: str) -> None:
        """The bus said that there is no such match."""


class MatchLookups:
    """See the module. Everything runs on the reactor's thread."""

    def __init__(self, host: LookupHost) -> None:
        self._host = host
        self._waiting: dict[str, list[Found]] = {}
        # Those of ``_waiting`` that no question is about yet.
        self._unasked: dict[str, None] = {}
        self._asking = False
        # Those that the bus knows, and that have yet to be opened.
        self._to_open: deque[str] = deque()
        self._opening: set[MatchStream] = set()

    def find(self, match_id: str, found: Found) -> None:
        """Have a match looked for; ``found`` is called later, never at once."""
        waiting = self._waiting.get(match_id)
        if waiting is None:
            self._waiting[match_id] = [found]
            self._unasked[match_id] = None
            self._ask()
        else:
            waiting.append(found)

    def _ask(self) -> None:
        if self._asking or not self._unasked:
            return
        self._asking = True
        match_ids = list(islice(self._unasked, _IDS_AT_ONCE))
        for match_id in match_ids:
            del self._unasked[match_id]
        self._host.ask(partial(self._host.bus.heads, match_ids), partial(self._answered, match_ids))

    def _answered(
        self, match_ids: list[str], heads: Mapping[str, DeltaId | BusError | None] | Exception
    ) -> None:
        self._asking = False
        for match_id in match_ids:
            head = heads if isinstance(heads, Exception) else heads.get(match_id)
            if isinstance(head, DeltaId):
                self._to_open.append(match_id)
                continue
            if head is None:
                self._host.remember_unknown(match_id)
            self._resolve(match_id, head)
        self._open_next()
        self._ask()

    def _open_next(self) -> None:
        while self._to_open and len(self._opening) < _OPENING_AT_ONCE:
            match_id = self._to_open.popleft()
            stream = self._host.stream_of(match_id)
            if stream is None:
                stream = self._host.open_stream(match_id)
                self._opening.add(stream)
            self._resolve(match_id, stream)

    def opened(self, stream: MatchStream) -> None:
        """A match is open, or could not be opened: the next one can be."""
        if stream in self._opening:
            self._opening.discard(stream)
            self._open_next()

    def _resolve(self, match_id: str, found: MatchStream | Exception | None) -> None:
        for call in self._waiting.pop(match_id, ()):
            call(found)
