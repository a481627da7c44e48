"""Which revision of an event is in force (docs/protocol.md section 2).

Rules
-----
1. What is known of one ``event_id`` is the *set* of its revisions; a ``ResolvedEvent`` is a function of that
   set. Whoever adds a rule here keeps it a function of the set, or two viewers will differ for ever.
2. Of all ADD and AMEND the greatest by ``Event.precedence`` is the body; of all RETRACT the greatest
   is the tombstone. Maximum is associative, commutative and idempotent: order, duplicates and replays
   cannot matter.
3. A tombstone is in force while its revision is at least the body's. It may be alone: the ADD that comes
   later is born dead. Only a body of a *higher* revision revives the event, and then the tombstone is
   dropped, since no set that contains that body can put it in force again.
4. A dead record keeps its body. A reader is shown what was taken back, and why.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared_state.events import Event

__all__ = ["ResolvedEvent", "is_conflict", "resolve"]


@dataclass(frozen=True, slots=True)
class ResolvedEvent:
    """The revisions in force of one ``event_id``; at least one of the two is there."""

    body: Event | None
    tombstone: Event | None

    @property
    def live(self) -> Event | None:
        """The revision that counts; None while the event is retracted."""
        return self.body if self.tombstone is None else None


def resolve(known: ResolvedEvent | None, event: Event) -> ResolvedEvent:
    """The revisions in force once ``event`` is known too.

    Returns:
        The very same ``known`` if the event changes nothing (a duplicate, a lower revision, the loser
        of a conflict), else a new record.
    """
    if known is None:
        return ResolvedEvent(None, event) if event.op == "RETRACT" else ResolvedEvent(event, None)
    if event.op == "RETRACT":
        if known.body is not None and known.body.rev > event.rev:
            return known
        if known.tombstone is not None and not _outranks(event, known.tombstone):
            return known
        return ResolvedEvent(known.body, event)
    if known.body is not None and not _outranks(event, known.body):
        return known
    in_force = known.tombstone is not None and known.tombstone.rev >= event.rev
    return ResolvedEvent(event, known.tombstone if in_force else None)


def is_conflict(known: ResolvedEvent | None, event: Event) -> bool:
    """Whether a source reused a revision for another body: worth a warning, whichever wins."""
    if known is None:
        return False
    rival = known.tombstone if event.op == "RETRACT" else known.body
    return rival is not None and rival.rev == event.rev and rival.precedence() != event.precedence()


def _outranks(event: Event, other: Event) -> bool:
    if event.rev != other.rev:  # the common case, without writing JSON
        return event.rev > other.rev
    return event.precedence() > other.precedence()
