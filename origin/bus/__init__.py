"""Seam 2, the regional bus: bounded replay, the latest snapshot, and live deltas, in one atomic step.

They are one seam because a snapshot's id must always be a valid id to resume from. One file per
implementation, chosen by the URL's scheme and imported only then:

======================================  =========================================================
``memory://``                           this process only, the embedded default
``redis://`` ``rediss://``              one Redis
``redis+sentinel://h1:p,h2:p/service``  Redis behind Sentinel
``redis+cluster://``                    a Redis cluster
======================================  =========================================================

``tests/bus/test_bus.py`` runs the same suite against each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from origin.backends import open_backend
from origin.bus.match_row import MatchRow
from origin.errors import BusError
from origin.provenance import Provenance
from shared_state import DeltaId

__all__ = [
    "Bus",
    "BusHealth",
    "DormantMatches",
    "Exchanged",
    "Gap",
    "MatchRow",
    "Published",
    "Replay",
    "RowReader",
    "RowUpdate",
    "SharesRecords",
    "Snapshot",
    "Subscription",
    "Suffix",
    "UpToDate",
    "check_run",
    "follows",
    "open_bus",
]


@dataclass(frozen=True, slots=True)
class Published:
    """One delta as it travels: its id and its bytes (``shared_state.encode_delta``).

    Attributes:
        provenance: for log lines and traces, where fan-out gave it. It is no part of the delta, and no viewer
            gets it.
    """

    id: DeltaId
    delta: bytes
    provenance: Provenance | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The latest snapshot of a match (``shared_state.encode_snapshot``) and its id."""

    id: DeltaId
    data: bytes


@dataclass(frozen=True, slots=True)
class UpToDate:
    """Nothing was missed."""


@dataclass(frozen=True, slots=True)
class Suffix:
    """All deltas that were missed, contiguous, oldest first."""

    deltas: Sequence[Published]


@dataclass(frozen=True, slots=True)
class Gap:
    """What was missed is no longer on the bus, or is of another epoch; only the snapshot helps.

    Attributes:
        head: the latest id of the match; None if the bus does not know the match.
    """

    head: DeltaId | None


Replay: TypeAlias = UpToDate | Suffix | Gap


@dataclass(frozen=True, slots=True)
class BusHealth:
    """Whether an origin on this bus delivers every delta to its viewers, and in time.

    Attributes:
        ok: False sends the origin unready: new viewers are better served elsewhere.
        reason: one line of text for the operator; empty while ``ok``.
        lagging: subscribed matches whose latest delta has not been delivered here.
        healed: deltas since the start that were lost on the way and read again from the bus.
    """

    ok: bool = True
    reason: str = ""
    lagging: int = 0
    healed: int = 0


@dataclass(frozen=True, slots=True)
class RowUpdate:
    """What changed in the list of matches since the reading before.

    Attributes:
        rows: by match: its newest row, or None if the bus no longer knows the match. A match whose row is
            unchanged may be here too.
        complete: False where a part of the bus does not answer: its matches may be missing or out of date.
    """

    rows: Mapping[str, MatchRow | None]
    complete: bool = True


class RowReader(Protocol):
    """Reads the rows of all matches, and then only those that changed. For one thread at a time."""

    def read(self) -> RowUpdate:
        """The rows that changed since the last reading that returned; all of them the first time.

        It writes nothing: a bus that refuses writes can be read.

        Raises:
            BusError: the service does not answer. Reading again is safe, and misses nothing.
        """


class Subscription(Protocol):
    """A live subscription; ``close`` is idempotent, and no callback runs after it returns."""

    def close(self) -> None:
        """End it."""


class Bus(Protocol):
    """The regional bus. Every method may be called from any thread."""

    def publish(self, match_id: str, published: Published, snapshot: bytes) -> bool:
        """Store the delta, replace the snapshot and broadcast the delta to all subscribers, as one step.

        The stored deltas have no holes: the id must follow the match's head, or be the first (seq 1) of a
        match that the bus does not know or of a newer epoch, which replaces the older one.

        Returns:
            False if the match already stands at that id or a later one: nothing was stored or broadcast.
            That makes a redelivered event and a second worker harmless.

        Raises:
            BusBehindError: the bus lacks deltas before this one, because it lost data; nothing was done.
                ``refill`` from ``error.head`` on.
            BusError: it may or may not have been done; publishing it again is safe.
        """

    def refill(self, match_id: str, deltas: Sequence[Published], snapshot: bytes) -> int:
        """Store a run of deltas and the snapshot at its last id, as one step: no reader sees a part of it.

        So a worker publishes what it read together, and gives a bus that lost data what it lacks.

        Args:
            match_id: the match.
            deltas: of one epoch, contiguous, oldest first; the last has the id of ``snapshot``. Passing
                all deltas of the match is always right: those that the bus has are skipped.
            snapshot: as in ``publish``.

        Returns:
            How many deltas were added, and broadcast to all subscribers.

        Raises:
            BusBehindError: the bus lacks deltas before the first one; nothing was done.
            BusError: it may or may not have been done; refilling again is safe.
            ValueError: ``deltas`` is empty, of several epochs or not contiguous.
        """

    def head(self, match_id: str) -> DeltaId | None:
        """The latest id of a match; None if the bus does not know the match.

        Much cheaper than the snapshot. A publisher asks on a timer, because it would otherwise notice only
        at the next event that a bus lost its last deltas in a fail-over.

        Raises:
            BusError: the service does not answer.
        """

    def heads(self, match_ids: Sequence[str]) -> dict[str, DeltaId | BusError | None]:
        """The latest id of each of several matches.

        Each server that has some of them gets one request. A server that does not answer affects only its
        own matches, and costs its timeout once.

        Returns:
            By match: its latest id, None if the bus does not know it, or the error that kept its server
            from answering.
        """

    def snapshot(self, match_id: str) -> Snapshot | None:
        """The latest snapshot; None if the bus does not know the match.

        Raises:
            BusError: the service does not answer.
        """

    def replay(self, match_id: str, after: DeltaId) -> Replay:
        """The deltas after an id: none, all of them, or a gap; never a part of them.

        Raises:
            BusError: the service does not answer.
        """

    def subscribe(
        self,
        match_id: str,
        on_delta: Callable[[Published], None],
        on_gap: Callable[[DeltaId], None] | None = None,
    ) -> Subscription:
        """Call ``on_delta`` with every delta published from now on, in order, on a thread of the bus.

        Subscribe first, then replay, then drop what came twice by seq: the other order loses what is
        published in between.

        Each id follows the one before (or is seq 1 of a newer epoch) and none comes twice, whatever
        happens to connections and servers meanwhile: what was missed is read again from the bus. If
        the bus no longer has it, ``on_gap`` is called with the latest id of the match: only the
        snapshot helps, and the next delta follows that id.

        Both callbacks must return at once and must not raise.

        Raises:
            BusError: the service does not answer; there is no subscription.
        """

    def server_of(self, match_id: str) -> str:
        """The name of the server that has a match, as far as known: matches of one server fail together.

        Empty where the bus is in this process, or the server is not known. It asks nobody.
        """

    def is_sharded(self) -> bool:
        """Whether matches are on several servers, of which one can hang while the others answer."""

    def matches(self) -> list[str]:
        """The ids of all matches that the bus knows, in no particular order.

        Raises:
            BusError: the service does not answer.
        """

    def row_reader(self) -> RowReader:
        """A new reader of the rows of all matches, which has read nothing yet.

        A row is kept beside its match's snapshot and changes with it. Reading costs what has changed, and not
        what there is.
        """

    def is_complete(self) -> bool:
        """Whether the bus still has everything that it had at ``mark_complete``.

        False for a bus, or a shard of one, that is new or was emptied.

        Raises:
            BusError: the service, or a part of it, does not answer.
        """

    def mark_complete(self) -> None:
        """Record on the bus that it was given every match of the log.

        The record is kept beside the data and lost with it: so a worker learns that matches are gone which
        it never published itself.

        Raises:
            BusError: the record may be missing.
        """

    def health(self) -> BusHealth:
        """Whether live deltas arrive; returns at once what was found last, for ``/readyz``."""

    def close(self) -> None:
        """End all subscriptions and close all connections."""


@runtime_checkable
class DormantMatches(Protocol):
    """A bus that can know a match by its row, and gets the rest of it where somebody asks for it."""

    def adopt(
        self, row: MatchRow, load: Callable[[], tuple[Snapshot, Sequence[Published]]]
    ) -> DeltaId | None:
        """Know a match by its row; nothing if the bus knows the match already.

        Args:
            row: the match at its latest id.
            load: gives the snapshot at the id of the row and all deltas up to it. It is called where they are
                asked for, on the thread of who asks, and may be called again. It raises ``BusError`` if it
                cannot give them.

        Returns:
            The id at which the match stands on the bus. None if somebody has subscribed to it before
            anything was known of it: it must be given whole, for its subscribers are owed the deltas.
        """


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What a worker gets for its report.

    Attributes:
        ladder: the state of the ladder; empty if none was ever set.
        reports: those of the other workers that have reported within the last seconds.
    """

    ladder: bytes
    reports: Sequence[bytes]


@runtime_checkable
class SharesRecords(Protocol):
    """A bus through which the workers of a region tell each other how they are, beside the matches."""

    def exchange(self, worker: str, report: bytes, known_ladder: bytes) -> Exchanged:
        """Leave a report and read those of the others; called about once a second.

        Args:
            worker: the name of this worker, as no other has it.
            report: at most 128 bytes; empty: the worker leaves.
            known_ladder: the state of the ladder that it read last. A bus that has lost it takes this one.

        Raises:
            BusError: the service does not answer.
        """

    def read_ladder(self) -> bytes:
        """The state of the ladder; empty if none was ever set.

        Raises:
            BusError: the service does not answer.
        """

    def write_ladder(self, state: bytes) -> None:
        """Set the state of the ladder, for all workers of the region.

        Raises:
            BusError: it may or may not have been done.
        """


def follows(id_: DeltaId, head: DeltaId | None) -> bool:
    """Whether a delta may come right after ``head``: the next of its epoch, or the first of a newer one."""
    if head is None or id_.epoch > head.epoch:
        return id_.seq == 1
    return id_ == (head.epoch, head.seq + 1)


def check_run(deltas: Sequence[Published]) -> None:
    """Check that deltas are one unbroken run of one epoch.

    Raises:
        ValueError: there are none, they begin before seq 1, or one does not follow the one before.
    """
    if not deltas or deltas[0].id.seq < 1:
        raise ValueError(f"there must be a delta of seq 1 or more, got {deltas[0].id if deltas else 'none'}")
    epoch, seq = deltas[0].id
    for offset, published in enumerate(deltas):
        if published.id != (epoch, seq + offset):
            raise ValueError(f"{DeltaId(epoch, seq + offset)} was to come, got {published.id}")


_IMPLEMENTATIONS = {
    "memory": "origin.bus.memory",
    "redis": "origin.bus.redis",
    "rediss": "origin.bus.redis",
    "redis+sentinel": "origin.bus.redis",
    "redis+cluster": "origin.bus.redis",
}


def open_bus(url: str) -> Bus:
    """Open the bus that a URL names.

    Raises:
        ConfigError: the scheme is unknown, or a package that it needs is not installed.
        BusError: the service does not answer.
    """
    bus: Bus = open_backend("BUS_URL", url, _IMPLEMENTATIONS)
    return bus
