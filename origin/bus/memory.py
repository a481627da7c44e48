"""The bus inside one process: the embedded default, and the reference the contract suite compares with.

The deltas and snapshots of matches that are played or to come are in memory. Of those that ended, the
``ENDED_IN_MEMORY`` that changed last are, too; the others are in a temporary file (``EndedMatches``), and
only their row of the list stays. They are read, replayed, corrected and subscribed to like any other.
"""

from __future__ import annotations

import itertools
import logging
import sqlite3
import threading
import time
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from origin.bus import (
    BusHealth,
    Gap,
    MatchRow,
    Published,
    Replay,
    RowUpdate,
    Snapshot,
    Subscription,
    Suffix,
    UpToDate,
    check_run,
    follows,
)
from origin.bus.ended_matches import EndedMatches
from origin.bus.match_row import ENDED_STATUSES, status_of
from origin.errors import BusBehindError, BusError
from origin.logs import structured_logger
from origin.provenance import log_deltas
from shared_state import DeltaId

__all__ = ["MemoryBus", "open_url"]

logger = logging.getLogger(__name__)
_log = structured_logger(__name__)

# A match has 100 to 300 deltas; one that is amended all evening stays within ten times that.
REPLAY_MAX_DELTAS = 2_000
# A weekend's results, which most readers ask for and most corrections are about.
ENDED_IN_MEMORY = 200
# Dormant matches of which the deltas and the snapshot stay for a while after they were read.
LOADED_MAX = 200
LOADED_MAX_BYTES = 64 * 2**20  # of all of them; the one that was read last stays whatever its size
_DELTA_BYTES = 200  # of Python's objects, besides the text
# One publish looks at so few of them.
_PUT_AT_ONCE = 4
# If the temporary file cannot be written to, the next attempt is so much later.
PUT_AGAIN_S = 60.0
_FILE_ERRORS = (sqlite3.Error, zlib.error, msgspec.DecodeError)


_Loaded: TypeAlias = tuple[Snapshot, Sequence[Published]]


@dataclass(slots=True)
class _Channel:
    """The replay, the snapshot and the subscribers of one match, and its row once somebody has read it.

    Attributes:
        dormant: what the match becomes again once nobody is subscribed, as long as it has not changed.
    """

    replay: deque[Published] = field(default_factory=lambda: deque(maxlen=REPLAY_MAX_DELTAS))
    snapshot: Snapshot | None = None
    subscribers: dict[int, Callable[[Published], None]] = field(default_factory=dict)
    row: MatchRow | None = None
    dormant: _Dormant | None = None


@dataclass(frozen=True, slots=True)
class _Dormant:
    """What stays in memory of a match whose deltas and snapshot are elsewhere.

    Attributes:
        load: gets them; None if they are in the temporary file.
        loading: one thread at a time gets them, the others wait for it.
    """

    head: DeltaId
    row: MatchRow | None
    load: Callable[[], _Loaded] | None = None
    loading: threading.Lock = field(default_factory=threading.Lock)


class MemoryBus:
    """See ``origin.bus.Bus``."""

    def __init__(self) -> None:
        # One lock for all matches: publish keeps it while it calls subscribers, so that deltas reach
        # each subscriber in order and none after its subscription is closed. A subscriber only puts the
        # delta on a queue, so that takes microseconds. Reentrant: a callback may unsubscribe.
        self._lock = threading.RLock()
        self._channels: dict[str, _Channel] = {}
        self._dormant: dict[str, _Dormant] = {}  # those that are not among the channels
        # What was got of dormant matches last, for those who read on in them.
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        self._loaded_bytes = 0
        self._ended_here: OrderedDict[str, None] = OrderedDict()  # ended and among the channels, oldest first
        self._file = EndedMatches()
        self._put_again_s = 0.0
        # The number of the last change of each match, the latest last.
        self._changes: dict[str, int] = {}
        self._change = 0
        self._next_subscriber = 0
        self._complete = False

    def publish(self, match_id: str, published: Published, snapshot: bytes) -> bool:
        """See ``Bus.publish``."""
        return self.refill(match_id, [published], snapshot) > 0

    def refill(self, match_id: str, deltas: Sequence[Published], snapshot: bytes) -> int:
        """See ``Bus.refill``."""
        check_run(deltas)
        head = self.head(match_id)
        if head is None or deltas[-1].id > head:
            self._load(match_id)
        with self._lock:
            head = self.head(match_id)
            fresh = [published for published in deltas if head is None or published.id > head]
            if not fresh:
                return 0
            if not follows(fresh[0].id, head):
                raise BusBehindError(match_id, fresh[0].id, head)
            channel = self._channel(match_id)
            if head is not None and head.epoch != fresh[0].id.epoch:
                channel.replay.clear()
            channel.replay.extend(fresh)
            channel.snapshot = Snapshot(fresh[-1].id, snapshot)
            channel.row = None
            channel.dormant = None
            self._note_change(match_id)
            for published in fresh:
                for on_delta in list(channel.subscribers.values()):
                    on_delta(published)
            self._ended_here.pop(match_id, None)
            if status_of(snapshot) in ENDED_STATUSES:
                self._ended_here[match_id] = None
                self._put_away()
        if fresh[-1].provenance is not None and logger.isEnabledFor(logging.INFO):
            log_deltas(_log, "stored", match_id, fresh)
        return len(fresh)

    def head(self, match_id: str) -> DeltaId | None:
        """See ``Bus.head``."""
        with self._lock:
            channel = self._channels.get(match_id)
            if channel is not None and channel.snapshot is not None:
                return channel.snapshot.id
            dormant = self._dormant.get(match_id)
            return None if dormant is None else dormant.head

    def heads(self, match_ids: Sequence[str]) -> dict[str, DeltaId | BusError | None]:
        """See ``Bus.heads``."""
        return {match_id: self.head(match_id) for match_id in match_ids}

    def adopt(self, row: MatchRow, load: Callable[[], _Loaded]) -> DeltaId | None:
        """See ``DormantMatches.adopt``."""
        match_id = row.match_id
        with self._lock:
            if match_id not in self._channels and match_id not in self._dormant:
                self._dormant[match_id] = _Dormant(row.id, row, load)
                self._note_change(match_id)
            return self.head(match_id)

    def snapshot(self, match_id: str) -> Snapshot | None:
        """See ``Bus.snapshot``."""
        self._load(match_id)
        with self._lock:
            channel = self._channels.get(match_id)
            if channel is not None:
                return channel.snapshot
            return self._read_dormant(match_id)[0] if match_id in self._dormant else None

    def replay(self, match_id: str, after: DeltaId) -> Replay:
        """See ``Bus.replay``."""
        if after != self.head(match_id):
            self._load(match_id)
        with self._lock:
            head = self.head(match_id)
            if head is None:
                return Gap(None)
            if after == head:
                return UpToDate()
            if after.epoch != head.epoch or after.seq > head.seq:
                return Gap(head)
            channel = self._channels.get(match_id)
            replay = self._read_dormant(match_id)[1] if channel is None else channel.replay
            missed = [published for published in replay if published.id > after]
        # Nothing is missing if and only if the count is the distance.
        return Suffix(missed) if len(missed) == head.seq - after.seq else Gap(head)

    def subscribe(
        self,
        match_id: str,
        on_delta: Callable[[Published], None],
        on_gap: Callable[[DeltaId], None] | None = None,
    ) -> Subscription:
        """See ``Bus.subscribe``; nothing gets lost within a process, so ``on_gap`` is never called."""
        del on_gap
        self._load(match_id)
        with self._lock:
            self._next_subscriber += 1
            key = self._next_subscriber
            self._channel(match_id).subscribers[key] = on_delta
        return _MemorySubscription(self, match_id, key)

    def unsubscribe(self, match_id: str, key: int) -> None:
        """Forget one subscriber; nothing if it is forgotten already."""
        with self._lock:
            channel = self._channels.get(match_id)
            if channel is None:
                return
            channel.subscribers.pop(key, None)
            if channel.snapshot is None and not channel.subscribers:
                del self._channels[match_id]  # or made-up match ids would fill the memory
            elif channel.dormant is not None and not channel.subscribers:
                self._dormant[match_id] = channel.dormant
                self._ended_here.pop(match_id, None)
                del self._channels[match_id]

    def server_of(self, match_id: str) -> str:
        """See ``Bus.server_of``."""
        del match_id
        return ""

    def is_sharded(self) -> bool:
        """See ``Bus.is_sharded``."""
        return False

    def matches(self) -> list[str]:
        """See ``Bus.matches``."""
        with self._lock:
            return list(self._changes)

    def row_reader(self) -> _MemoryRowReader:
        """See ``Bus.row_reader``."""
        return _MemoryRowReader(self)

    def rows_after(self, change: int) -> tuple[int, dict[str, MatchRow | None]]:
        """The rows that changed after a change.

        Args:
            change: the number of the last change that is known; 0 for none.

        Returns:
            The number of the last change there is, and the rows. What was published with bytes that are no
            snapshot has none.
        """
        with self._lock:
            names = []
            for match_id, number in reversed(self._changes.items()):
                if number <= change:
                    break
                names.append(match_id)
            last = self._change
        rows: dict[str, MatchRow | None] = {}
        for match_id in names:
            row = self._row(match_id)
            if row is not None:
                rows[match_id] = row
        return last, rows

    def is_complete(self) -> bool:
        """See ``Bus.is_complete``."""
        return self._complete

    def mark_complete(self) -> None:
        """See ``Bus.mark_complete``."""
        self._complete = True

    def health(self) -> BusHealth:
        """See ``Bus.health``."""
        return BusHealth()

    def close(self) -> None:
        """See ``Bus.close``."""
        with self._lock:
            for channel in self._channels.values():
                channel.subscribers.clear()
            self._file.close()

    def _note_change(self, match_id: str) -> None:
        self._change += 1
        self._changes.pop(match_id, None)
        self._changes[match_id] = self._change

    def _row(self, match_id: str) -> MatchRow | None:
        with self._lock:
            channel = self._channels.get(match_id)
            if channel is None:
                dormant = self._dormant.get(match_id)
                return None if dormant is None else dormant.row
            row, snapshot = channel.row, channel.snapshot
        if row is not None or snapshot is None:
            return row
        row = MatchRow.of_snapshot(snapshot.data)  # without the lock: no publisher waits for a reader
        with self._lock:
            if channel.snapshot is snapshot:
                channel.row = row
        return row

    def _channel(self, match_id: str) -> _Channel:
        """The channel of a match; it is read back from the file, or new.

        Raises:
            BusError: it cannot be read back.
        """
        channel = self._channels.get(match_id)
        if channel is None:
            channel = _Channel()
            dormant = self._dormant.get(match_id)
            if dormant is not None:
                channel.snapshot, deltas = self._read_dormant(match_id)
                channel.replay.extend(deltas)
                channel.row = dormant.row
                del self._dormant[match_id]
                loaded = self._loaded.pop(match_id, None)
                self._loaded_bytes -= _bytes_of(loaded) if loaded is not None else 0
                if dormant.load is not None:
                    channel.dormant = dormant
                else:
                    self._ended_here[match_id] = None
            self._channels[match_id] = channel
        return channel

    def _load(self, match_id: str) -> None:
        """Get what a dormant match has elsewhere; without the lock, because it may take long.

        Raises:
            BusError: it cannot be got.
        """
        with self._lock:
            dormant = self._dormant.get(match_id)
        if dormant is None or dormant.load is None:
            return
        with dormant.loading:
            with self._lock:
                if match_id in self._loaded:
                    self._loaded.move_to_end(match_id)
                    return
            loaded = dormant.load()
            with self._lock:
                if self._dormant.get(match_id) is dormant:
                    self._loaded[match_id] = loaded
                    self._loaded_bytes += _bytes_of(loaded)
                    while len(self._loaded) > 1 and (
                        len(self._loaded) > LOADED_MAX or self._loaded_bytes > LOADED_MAX_BYTES
                    ):
                        self._loaded_bytes -= _bytes_of(self._loaded.popitem(last=False)[1])

    def _read_dormant(self, match_id: str) -> _Loaded:
        dormant = self._dormant[match_id]
        if dormant.load is not None:
            # It was loaded a moment ago, unless many others have been since.
            return self._loaded.get(match_id) or dormant.load()
        try:
            return self._file.get(match_id)
        except (KeyError, *_FILE_ERRORS) as error:
            # Fan-out finds that the match is gone, and refills it from the log.
            del self._dormant[match_id]
            self._changes.pop(match_id, None)
            raise BusError(
                f"the match {match_id!r} cannot be read from the temporary file: {error}"
            ) from error

    def _put_away(self) -> None:
        """Put the matches that ended longest ago into the file, down to as many as may be in memory."""
        if len(self._ended_here) <= ENDED_IN_MEMORY or time.monotonic() < self._put_again_s:
            return
        for match_id in list(itertools.islice(self._ended_here, _PUT_AT_ONCE)):
            if len(self._ended_here) <= ENDED_IN_MEMORY:
                return
            channel = self._channels[match_id]
            if channel.subscribers or channel.snapshot is None:
                self._ended_here.move_to_end(match_id)  # it has viewers; the next ones are looked at first
                continue
            try:
                self._file.put(match_id, channel.snapshot, channel.replay)
            except sqlite3.Error as error:
                logger.warning("matches that ended stay in memory: no temporary file: %s", error)
                self._put_again_s = time.monotonic() + PUT_AGAIN_S
                return
            row = channel.row or MatchRow.of_snapshot(channel.snapshot.data)
            self._dormant[match_id] = _Dormant(channel.snapshot.id, row)
            del self._channels[match_id], self._ended_here[match_id]


class _MemoryRowReader:
    """See ``origin.bus.RowReader``."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._change = 0

    def read(self) -> RowUpdate:
        """See ``RowReader.read``."""
        self._change, rows = self._bus.rows_after(self._change)
        return RowUpdate(rows)


@dataclass(frozen=True, slots=True)
class _MemorySubscription:
    bus: MemoryBus
    match_id: str
    key: int

    def close(self) -> None:
        """See ``Subscription.close``."""
        self.bus.unsubscribe(self.match_id, self.key)


def _bytes_of(loaded: _Loaded) -> int:
    snapshot, deltas = loaded
    return len(snapshot.data) + sum(len(published.delta) + _DELTA_BYTES for published in deltas)


def open_url(url: str) -> MemoryBus:
    """A new bus; ``memory://`` takes no settings."""
    del url
    return MemoryBus()
