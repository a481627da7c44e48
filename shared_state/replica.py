"""A match and its position in the stream of deltas: the same object in fan-out, page and browser.

Fan-out *assigns*: it takes canonical events in log order and gives each one that changes the match the
next id. A viewer *receives*: it takes deltas with their ids and either is in step or knows that it is
not. Waiting is a value, never an exception: a gap in the deltas is news about the network, not an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from shared_state.errors import InvalidEvent
from shared_state.events import Event
from shared_state.match import Match, apply, match_hash
from shared_state.wire import Delta, DeltaId, decode_snapshot, encode_snapshot

__all__ = ["Receipt", "Replica"]

# Deltas buffered while an earlier one is missing. A stream is in order, so a gap is one lost message or a
# different epoch; past this many the snapshot is smaller than what is waiting.
BUFFERED_MAX = 64


class Receipt(Enum):
    """What became of a delta or a heartbeat."""

    APPLIED = "applied"  #: the match moved on
    DUPLICATE = "duplicate"  #: it was known already; nothing moved
    WAITING = "waiting"  #: an earlier delta is missing; this one is buffered until it comes
    IN_STEP = "in_step"  #: a heartbeat found nothing missing and nothing wrong
    NEED_SNAPSHOT = "need_snapshot"  #: only the snapshot can help; the state still is the last good one


@dataclass(slots=True)
class Replica:
    """One match with its position.

    Attributes:
        position: the id of the last delta in ``match``.
        accepted_ms: when the log took that delta's event, UTC milliseconds; None before any.
    """

    match: Match
    position: DeltaId
    accepted_ms: int | None = None
    _held: dict[int, Delta] = field(default_factory=dict)

    @classmethod
    def begin(cls, match_id: str, epoch: int) -> Replica:
        """A match of which nothing has happened yet."""
        return cls(Match(match_id=match_id), DeltaId(epoch, 0))

    @classmethod
    def restore(cls, snapshot: bytes | str) -> Replica:
        """Go on from a snapshot.

        Raises:
            WireError: it cannot be read, or its hash is wrong.
        """
        return cls(*decode_snapshot(snapshot))

    def snapshot(self) -> bytes:
        """The snapshot to go on from elsewhere."""
        return encode_snapshot(self.match, self.position, self.accepted_ms)

    def hash(self) -> str:
        """The hash of the state."""
        return match_hash(self.match)

    def assign(self, event: Event, accepted_ms: int) -> Delta | None:
        """Fold an event of the log and give it the next id; None if it changes nothing.

        Raises:
            InvalidEvent: the event is of another match; nothing changes.
        """
        match = apply(self.match, event)
        return None if match is self.match else self._number(match, event, accepted_ms)

    def restate(self, event: Event, accepted_ms: int) -> Delta:
        """Fold an event and give it the next id, even if it changes nothing.

        For a region that publishes its events in another order than the log's (``origin.fanout.sequencer``)
        and has to use every id once.

        Raises:
            InvalidEvent: the event is of another match; nothing changes.
        """
        return self._number(apply(self.match, event), event, accepted_ms)

    def _number(self, match: Match, event: Event, accepted_ms: int) -> Delta:
        self.match = match
        self.position = DeltaId(self.position.epoch, self.position.seq + 1)
        self.accepted_ms = accepted_ms
        return Delta(self.position, event, accepted_ms, match.score, match.shootout)

    def receive(self, delta: Delta) -> Receipt:
        """Take a delta off the stream, in whatever order deltas come.

        A delta whose score is not the one it leads to here means that this replica is wrong, whatever
        its position says; the state is kept as it was and a snapshot is asked for.

        Raises:
            InvalidEvent: the delta is of another match; nothing changes.
        """
        if delta.event.match_id != self.match.match_id:  # before it is buffered: see Raises
            raise InvalidEvent(
                "match_id", delta.event.match_id, f"must be {self.match.match_id}, the match of this replica"
            )
        epoch, seq = self.position
        if delta.id.epoch != epoch:
            return Receipt.NEED_SNAPSHOT
        if delta.id.seq <= seq:
            return Receipt.DUPLICATE
        if delta.id.seq > seq + 1:
            if len(self._held) >= BUFFERED_MAX:
                return Receipt.NEED_SNAPSHOT
            self._held[delta.id.seq] = delta
            return Receipt.WAITING
        following: Delta | None = delta
        while following is not None:
            match = apply(self.match, following.event)
            if (match.score, match.shootout) != (following.score, following.shootout):
                return Receipt.NEED_SNAPSHOT
            self.match, self.position, self.accepted_ms = match, following.id, following.accepted_ms
            following = self._held.pop(self.position.seq + 1, None)
        return Receipt.APPLIED

    def check(self, head: DeltaId, hash_: str) -> Receipt:
        """Compare with a heartbeat, which has the server's position and hash.

        Returns:
            ``IN_STEP``; ``WAITING`` if deltas up to ``head`` are still to come; ``NEED_SNAPSHOT`` if the
            log was rebuilt or the same position has another state.
        """
        if head.epoch != self.position.epoch:
            return Receipt.NEED_SNAPSHOT
        if head.seq != self.position.seq:
            # Ahead of the heartbeat is as good as in step: it was written before the last delta.
            return Receipt.WAITING if head.seq > self.position.seq else Receipt.IN_STEP
        return Receipt.IN_STEP if hash_ == self.hash() else Receipt.NEED_SNAPSHOT
