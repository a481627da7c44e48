"""Which delta has which id: a function of the log alone, the same for every worker and every region.

``DirectSequencer`` publishes a match's events in log order. ``EmbargoedSequencer`` publishes them a fixed
time later, for a region whose broadcast lags, and never shows as standing what was retracted within that
time. It may reorder events within a region, because a match is a function of the *set* of its events.

Under an embargo, for each id, let *e* be the event that the log's order gives to that id:

1. If *e* does not stand in the region yet, and the log already has its retraction at this id's own release
   time, the retraction is published first: the goal is then ruled out before it appears. An event that
   already stands keeps standing until the retraction's own release time, because publishing the retraction
   sooner would be a spoiler.
2. If *e* is a retraction that has been published already, the event that it displaced is published: a row
   that is struck through from the start.
3. Otherwise *e* is published.

Every id is used once, so the ids have no gap. When all is published, the set is the same as everywhere
else, and so is the hash. What is known at a release is cut off at the release time by the *log's* dates,
not by when this worker read the records: so a restarted worker and a refilled bus get the same bytes again.

The log's clock may go back, for example when a Kafka partition moves to a broker whose clock is slower.
Within a match every worker dates a record no earlier than the records before it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from origin.eventlog import LogRecord
from shared_state import Delta, Event, Match, Replica, apply

__all__ = ["DirectSequencer", "EmbargoedSequencer", "Sequencer", "begin"]


class Sequencer(Protocol):
    """Assigns ids to the changes of one match.

    Attributes:
        published_replica: the match as this region has it published, with the last id.
    """

    published_replica: Replica

    def take(self, record: LogRecord) -> None:
        """Take a record of this match, in log order; nothing if it was taken before."""

    def due_ms(self, record: LogRecord) -> int:
        """When a record that was taken may be released, UTC milliseconds; 0 for at once.

        Before the release, every record of the match that the log took up to that time must be taken.
        """

    def release(self, record: LogRecord) -> Delta | None:
        """The delta to publish for a record that was taken, in log order; None if it changed nothing."""


def begin(match_id: str, epoch: int, embargo_ms: int) -> Sequencer:
    """The sequencer of a match of which no record has been taken yet; 0 is no embargo."""
    return EmbargoedSequencer(match_id, epoch, embargo_ms) if embargo_ms else DirectSequencer(match_id, epoch)


class DirectSequencer:
    """Publishes each event as it comes."""

    def __init__(self, match_id: str, epoch: int) -> None:
        self.published_replica = Replica.begin(match_id, epoch)
        self._last_offset = -1
        self._dated_ms = epoch

    def take(self, record: LogRecord) -> None:
        """See ``Sequencer.take``: nothing is done ahead of the release."""

    def due_ms(self, record: LogRecord) -> int:
        """See ``Sequencer.due_ms``."""
        del record
        return 0

    def release(self, record: LogRecord) -> Delta | None:
        """See ``Sequencer.release``."""
        if record.offset <= self._last_offset:
            return None
        self._last_offset = record.offset
        self._dated_ms = max(self._dated_ms, record.appended_ms)
        return self.published_replica.assign(record.event, self._dated_ms)


@dataclass(frozen=True, slots=True)
class _Slot:
    """A record that was taken and not released yet, with the id that the log's order gives to it.

    Attributes:
        dated_ms: when the log took it, no earlier than the records before it, UTC milliseconds.
        changes: whether it changes the match, and so has an id at all.
    """

    record: LogRecord
    dated_ms: int
    changes: bool


class EmbargoedSequencer:
    """Publishes each event ``embargo_ms`` after the log took it.

    Attributes:
        complete_until_ms: every record that the log took up to this time has been taken here, UTC
            milliseconds.
    """

    def __init__(self, match_id: str, epoch: int, embargo_ms: int) -> None:
        self.published_replica = Replica.begin(match_id, epoch)
        self._embargo_ms = embargo_ms
        self._taken = Match(match_id=match_id)  # all that was taken: decides which record has an id
        self._known = Match(match_id=match_id)  # what the log had at the release time of the current id
        self._due = Match(match_id=match_id)  # what the log's own order would have published by now
        self._slots: deque[_Slot] = deque()
        self._unknown: deque[_Slot] = deque()
        self._last_offset = -1
        self._dated_ms = epoch
        self.complete_until_ms = 0

    def take(self, record: LogRecord) -> None:
        """See ``Sequencer.take``."""
        if record.offset <= self._last_offset:
            return
        self._last_offset = record.offset
        self._dated_ms = max(self._dated_ms, record.appended_ms)
        taken = apply(self._taken, record.event)
        slot = _Slot(record, self._dated_ms, taken is not self._taken)
        self._slots.append(slot)
        self._unknown.append(slot)
        self._taken = taken

    def due_ms(self, record: LogRecord) -> int:
        """See ``Sequencer.due_ms``."""
        if not self._slots or self._slots[0].record.offset != record.offset:
            return 0  # it was released before
        return self._slots[0].dated_ms + self._embargo_ms

    def release(self, record: LogRecord) -> Delta | None:
        """See ``Sequencer.release``."""
        if not self._slots or self._slots[0].record.offset != record.offset:
            return None  # it was released before
        slot = self._slots.popleft()
        release_ms = slot.dated_ms + self._embargo_ms
        while self._unknown and self._unknown[0].dated_ms <= release_ms:
            self._known = apply(self._known, self._unknown.popleft().record.event)
        self._due = apply(self._due, record.event)
        if not slot.changes:
            return None
        return self.published_replica.restate(self._choose(record.event), release_ms)

    def _choose(self, event: Event) -> Event:
        """The event to publish at the id that the log's order gives to ``event``; see the module's rules."""
        published = self.published_replica.match.records.get(event.event_id)
        published_retraction = None if published is None else published.tombstone
        if event.op == "RETRACT":
            if published_retraction is None or published_retraction.precedence() < event.precedence():
                return event
            displaced = self._due.records[event.event_id].body
            return event if displaced is None else displaced
        if published is not None and published.live is not None:
            return event
        retraction = self._known.records[event.event_id].tombstone
        if retraction is not None and (
            published_retraction is None or published_retraction.precedence() < retraction.precedence()
        ):
            return retraction
        return event
