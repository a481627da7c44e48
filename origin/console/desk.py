"""A match as its operators see it: the fold of the log's records, and the one place to change it.

A desk reads the log behind the last record that it knows, so whatever comes into the match by webhook, by
feed or by another worker's operators is here too. What operators enter is compared with the newest revisions
under a lock that all workers of a machine share (decision 87): of two who change one revision, the second is
refused.
"""

from __future__ import annotations

import fcntl
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from origin.console.entries import Entry, rev_of, to_events
from origin.errors import RequestError
from origin.eventlog import EventLog, LogRecord
from origin.ingest.service import OPERATOR_PREFIX, Ingest
from shared_state import Event, Match, apply
from shared_state.jsontext import JsonObject
from shared_state.wording import ticking

__all__ = ["ConflictError", "Desk", "Desks", "Logged"]

#: What of a match goes to a browser: a match of a feed may have thousands of events.
EVENTS_SHOWN_MAX: Final = 400
RECORDS_SHOWN_MAX: Final = 400
#: How often a desk looks for new records. A log that takes long to be read is asked less often.
POLL_S: Final = 0.25
_POLL_SHARE: Final = 8
_LOCKS: Final = 16
_LOCK_WAIT_S: Final = 6.0


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry that is in the log.

    Attributes:
        duplicate: whether it was there before it was sent this time.
        revs: the revision of each event that it changed.
        appended_ms: when the log took it, UTC milliseconds.
    """

    entry_id: str
    duplicate: bool
    revs: dict[str, int]
    appended_ms: int

    def to_json(self) -> JsonObject:
        """The acknowledgement."""
        return {
            "t": "logged",
            "id": self.entry_id,
            "duplicate": self.duplicate,
            "revs": dict(self.revs),
            "appended_ms": self.appended_ms,
        }


class ConflictError(RequestError):
    """Somebody changed an event that this entry changes too, after its operator last saw it."""

    def __init__(self, conflicts: list[JsonObject]) -> None:
        super().__init__(
            409, "conflict", "somebody else has changed this meanwhile", conflicts=list(conflicts)
        )


@dataclass(slots=True)
class _Author:
    """Who brought the revision in force of an event."""

    name: str
    appended_ms: int


@dataclass(slots=True)
class _Entered:
    """An entry of an operator, as the log has it."""

    appended_ms: int
    revs: dict[str, int] = field(default_factory=dict)


class Desk:
    """See the module. For any number of threads.

    Attributes:
        version: rises with every record that was read.
    """

    def __init__(self, match_id: str, log: EventLog, ingest: Ingest, locks: _EditLocks) -> None:
        self.match_id = match_id
        self.version = 0
        self._log = log
        self._ingest = ingest
        self._locks = locks
        self._lock = threading.Lock()
        self._match = Match(match_id=match_id)
        self._offset = -1
        self._records: deque[JsonObject] = deque(maxlen=RECORDS_SHOWN_MAX)
        self._authors: dict[str, _Author] = {}
        self._entered: dict[str, _Entered] = {}
        self._next_poll_s = 0.0

    def poll(self) -> None:
        """Read what is new in the log, if it is time to.

        Raises:
            EventLogError: the log cannot be read.
        """
        if time.monotonic() < self._next_poll_s or not self._lock.acquire(blocking=False):
            return
        try:
            self._read()
        finally:
            self._lock.release()

    def submit(self, operator: str, entry: Entry) -> Logged:
        """Put an entry into the log.

        Raises:
            ConflictError: an event was changed after the operator saw it; nothing was changed by this.
            RequestError: as ``Ingest.accept_from_operator``; nothing was changed.
            EventLogError: the log cannot be read; the same entry may be sent again.
        """
        with self._locks.holding(self.match_id), self._lock:
            self._read()
            known = self._logged(entry.id, duplicate=True)
            if known is not None:
                return known
            conflicts = [
                self._conflict(change.event_id, change.base_rev)
                for change in entry.changes
                if rev_of(self._match, change.event_id) != change.base_rev
            ]
            if conflicts:
                raise ConflictError(conflicts)
            events = to_events(entry, self._match, time.time_ns() // 1_000_000)
            accepted = self._ingest.accept_from_operator(operator, entry.id, events)
            self._read()
            logged = self._logged(entry.id, duplicate=accepted.duplicate)
            if logged is None:
                # The id was used in another match: the log has it, and appends nothing.
                raise RequestError(409, "entry_id_used", "this entry's id was used for another match")
            return logged

    def view(self) -> JsonObject:
        """The match and its newest records, as the browser gets them."""
        with self._lock:
            match = self._match
            events, retracted = match.events(), match.retracted()
            running = ticking(match)
            clock = match.clock
            return {
                "match_id": self.match_id,
                "known": bool(match.records),
                "info": None if match.info is None else match.info.detail,
                "status": match.status,
                "period": match.period,
                "score": match.score.to_json(),
                "shootout": None if match.shootout is None else match.shootout.to_json(),
                "clock": {"period": clock.period, "minute": clock.minute, "stoppage": clock.stoppage},
                "running": None
                if running is None
                else {"start_ms": running.start_ms, "base": running.base, "limit": running.limit},
                "events": [self._event(event) for event in events[-EVENTS_SHOWN_MAX:]],
                "retracted": [
                    {**self._event(event), "rev": tombstone.rev, "reason": tombstone.reason}
                    for event, tombstone in retracted[-EVENTS_SHOWN_MAX:]
                ],
                "left_out": max(0, len(events) - EVENTS_SHOWN_MAX),
                "records": list(self._records),
            }

    def _event(self, event: Event) -> JsonObject:
        author = self._authors.get(event.event_id)
        return {
            **event.body(),
            "by": "" if author is None else author.name,
            "by_ms": 0 if author is None else author.appended_ms,
        }

    def _conflict(self, event_id: str, seen_rev: int) -> JsonObject:
        """What the browser shows beside its own version."""
        record = self._match.records.get(event_id)
        author = self._authors.get(event_id)
        return {
            "event_id": event_id,
            "seen_rev": seen_rev,
            "rev": rev_of(self._match, event_id),
            "retracted": record is not None and record.tombstone is not None,
            "theirs": None if record is None or record.body is None else record.body.body(),
            "reason": None if record is None or record.tombstone is None else record.tombstone.reason,
            "by": "" if author is None else author.name,
            "by_ms": 0 if author is None else author.appended_ms,
        }

    def _logged(self, entry_id: str, *, duplicate: bool) -> Logged | None:
        entered = self._entered.get(entry_id)
        return None if entered is None else Logged(entry_id, duplicate, entered.revs, entered.appended_ms)

    def _read(self) -> None:
        began_s = time.monotonic()
        for record in self._log.read_match(self.match_id, self._offset):
            self._take(record)
        now_s = time.monotonic()
        self._next_poll_s = now_s + max(POLL_S, _POLL_SHARE * (now_s - began_s))

    def _take(self, record: LogRecord) -> None:
        event, signed_by = record.event, record.signed_by
        self._offset = record.offset
        self.version += 1
        name = event.source or "" if signed_by is None else signed_by.key_name
        after = apply(self._match, event)
        if after is not self._match:
            self._authors[event.event_id] = _Author(name, record.appended_ms)
        self._match = after
        webhook_id = "" if signed_by is None else signed_by.webhook_id
        if name.startswith(OPERATOR_PREFIX):
            entered = self._entered.setdefault(webhook_id, _Entered(record.appended_ms))
            entered.revs[event.event_id] = event.rev
        self._records.append(
            {
                "offset": record.offset,
                "appended_ms": record.appended_ms,
                "key": name,
                "webhook_id": webhook_id,
                "event": event.body(),
            }
        )


class Desks:
    """The desks that are open in this process: one a match, for as long as a window has it open."""

    def __init__(self, log: Callable[[], EventLog], ingest: Callable[[], Ingest], directory: Path) -> None:
        self._log = log
        self._ingest = ingest
        self._locks = _EditLocks(directory)
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Desk, int]] = {}

    @contextmanager
    def opened(self, match_id: str) -> Iterator[Desk]:
        """The desk of a match, for as long as the block."""
        with self._lock:
            desk, windows = self._open.get(match_id) or (self._new(match_id), 0)
            self._open[match_id] = (desk, windows + 1)
        try:
            yield desk
        finally:
            with self._lock:
                windows = self._open[match_id][1] - 1
                if windows:
                    self._open[match_id] = (desk, windows)
                else:
                    del self._open[match_id]

    def _new(self, match_id: str) -> Desk:
        return Desk(match_id, self._log(), self._ingest(), self._locks)

    def __len__(self) -> int:
        return len(self._open)


class _EditLocks:
    """One who changes a match at a time, over all workers of this machine: files that are locked.

    There are a few files for all matches, by their ids' checksums: an entry holds one for milliseconds.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def holding(self, match_id: str) -> Iterator[None]:
        """Hold the lock of a match.

        Raises:
            RequestError: 503 somebody else had it for too long.
        """
        path = self._directory / f"entries-{zlib.crc32(match_id.encode()) % _LOCKS}.lock"
        until_s = time.monotonic() + _LOCK_WAIT_S
        with path.open("a") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until_s:
                        raise RequestError(
                            503,
                            "desk_busy",
                            "other entries wait for the log; this one was not taken",
                            headers={"Retry-After": "1"},
                        ) from None
                    time.sleep(0.01)
            yield  # the lock goes with the file
