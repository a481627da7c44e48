"""Which delta stands at which id: a function of the log alone, the same for every worker and every region.

``DirectSequencer`` tells a match's events in log order. ``EmbargoedSequencer`` tells them a fixed time
later, for a region whose broadcast lags, and never shows as standing what was taken back within that time.
It works because a match is a function of the *set* of its events:
within a region they may be told in another order.

Under an embargo, id by id, where the log has event *e* of some ``event_id`` at that id:

1. If *e* does not stand in the region yet, and is known to have been taken back (the retraction was in
   the log by this id's own release time), that retraction is told first: the goal will be born dead. What
   stands already is left standing until the retraction's own time: telling it sooner would be a spoiler.
2. Where the log has that retraction and it has been told already, the event it displaced is told: a row,
   struck through from the start.
3. Otherwise *e*.

Every id is used once, so ids have no gap; once all is told the set is the same as everywhere, and so is the
hash. What is known at a release is cut at the release time as the *log* dates it, not at when this worker
happened to read: so a restarted worker, and a refilled bus, have the same bytes again.

The log's clock may go back, as when Kafka's partition moves to a broker whose clock is slower. Within a
match it is not let: a record is dated no earlier than the ones before it, by everyone alike.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from origin.eventlog import LogRecord
from shared_state import Delta, Event, Match, Replica, apply

__all__ = ["DirectSequencer", "EmbargoedSequencer", "Sequencer", "begin"]


class Sequencer(Protocol):
    """One match between the log and the bus.

    Attributes:
        told: the match as the region has been told it, with the last id.
    """

    told: Replica

    def take(self, record: LogRecord) -> None:
        """A record of this match, in log order; one that was taken before is passed over."""

    def due_ms(self, record: LogRecord) -> int:
        """When a record that was taken may be released, UTC milliseconds; 0 for at once.

        By then all that the log took up to that moment must have been taken.
        """

    def release(self, record: LogRecord) -> Delta | None:
        """What to tell for a record that was taken, in log order; None if it changed nothing."""


def begin(match_id: str, epoch: int, hold_ms: int) -> Sequencer:
    """A match of which nothing has been taken yet."""
    return EmbargoedSequencer(match_id, epoch, hold_ms) if hold_ms else DirectSequencer(match_id, epoch)


class DirectSequencer:
    """Tells each event as it comes."""

    def __init__(self, match_id: str, epoch: int) -> None:
        self.told = Replica.begin(match_id, epoch)
        self._taken = -1
        self._dated_ms = epoch

    def take(self, record: LogRecord) -> None:
        """See ``Sequencer.take``: nothing is done ahead of the release."""

    def due_ms(self, record: LogRecord) -> int:
        """See ``Sequencer.due_ms``."""
        del record
        return 0

    def release(self, record: LogRecord) -> Delta | None:
        """See ``Sequencer.release``."""
        if record.offset <= self._taken:
            return None
        self._taken = record.offset
        self._dated_ms = max(self._dated_ms, record.appended_ms)
        return self.told.assign(record.event, self._dated_ms)


@dataclass(frozen=True, slots=True)
class _Slot:
    """An id that the log's order gave to an event, not told yet.

    Attributes:
        dated_ms: when the log took it, no earlier than the records before it.
        changes: whether there is such an id at all.
    """

    record: LogRecord
    dated_ms: int
    changes: bool


class EmbargoedSequencer:
    """Tells each event ``hold_ms`` after the log took it.

    Attributes:
        complete_until_ms: up to when all that the log took has been taken here, UTC milliseconds.
    """

    def __init__(self, match_id: str, epoch: int, hold_ms: int) -> None:
        self.told = Replica.begin(match_id, epoch)
        self._hold_ms = hold_ms
        self._numbered = Match(match_id=match_id)  # all that was taken: decides which record has an id
        self._known = Match(match_id=match_id)  # what the log had at the release time of the present id
        self._due = Match(match_id=match_id)  # what the log's own order would have told by now
        self._slots: deque[_Slot] = deque()
        self._unknown: deque[_Slot] = deque()
        self._taken = -1
        self._dated_ms = epoch
        self.complete_until_ms = 0

    def take(self, record: LogRecord) -> None:
        """See ``Sequencer.take``."""
        if record.offset <= self._taken:
            return
        self._taken = record.offset
        self._dated_ms = max(self._dated_ms, record.appended_ms)
        numbered = apply(self._numbered, record.event)
        slot = _Slot(record, self._dated_ms, numbered is not self._numbered)
        self._slots.append(slot)
        self._unknown.append(slot)
        self._numbered = numbered

    def due_ms(self, record: LogRecord) -> int:
        """See ``Sequencer.due_ms``."""
        if not self._slots or self._slots[0].record.offset != record.offset:
            return 0  # it was released before
        return self._slots[0].dated_ms + self._hold_ms

    def release(self, record: LogRecord) -> Delta | None:
        """See ``Sequencer.release``."""
        if not self._slots or self._slots[0].record.offset != record.offset:
            return None  # it was released before
        slot = self._slots.popleft()
        release_ms = slot.dated_ms + self._hold_ms
        while self._unknown and self._unknown[0].dated_ms <= release_ms:
            self._known = apply(self._known, self._unknown.popleft().record.event)
        self._due = apply(self._due, record.event)
        if not slot.changes:
            return None
        return self.told.restate(self._choose(record.event), release_ms)

    def _choose(self, event: Event) -> Event:
        """The event to tell at the id that the log's order gives to ``event``."""
        told = self.told.match.records.get(event.event_id)
        told_retraction = None if told is None else told.tombstone
        if event.op == "RETRACT":
            if told_retraction is None or told_retraction.precedence() < event.precedence():
                return event
            displaced = self._due.records[event.event_id].body
            return event if displaced is None else displaced
        if told is not None and told.live is not None:
            return event
        fate = self._known.records[event.event_id].tombstone
        if fate is not None and (told_retraction is None or told_retraction.precedence() < fate.precedence()):
            return fate
        return event
