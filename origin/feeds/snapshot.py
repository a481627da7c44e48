"""Successive documents of one match to canonical events: what is new, what changed, what was taken back.

Vendors send the whole match again and again. ``SnapshotFeed`` holds what it last said of each event and
says only what differs. However its documents come, late, twice, in any order, the match ends as the
newest alone would tell it.

Rules
-----
1. A row's own revision decides which telling of it is the newer one; a document's time decides only
   between tellings with the same revision. A row is never set back.
2. A deletion that the vendor states is final.
3. A row that is still there, but no more as an event (retyped, or merged into another), is retracted.
4. A row that is gone is retracted only where the vendor has no other way to say it, and then only if the
   document is whole, newer than all before, not empty, and either the second such in a row, or the
   vendor's score for that side fell with a goal that is gone.
5. An inferred retraction (3, 4) is undone by a newer document that has the event again.
6. The time of occurrence is the first one known: some vendors overwrite it with that of the last touch.
7. The vendor's own score changes nothing. Where it differs from the goals, that is an alarm.

Revisions come out of the documents, so a feed that starts anew repeats the same ones. What documents
cannot tell (rules 3 to 5) needs the events that were sent before: give them to the new feed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from origin.errors import FeedError
from origin.feeds import Warn
from shared_state import Event, Score
from shared_state.jsontext import JsonObject

__all__ = ["MISSES_TO_RETRACT", "Snapshot", "SnapshotFeed"]

# One document without a row may be a vendor's cache that lags; two in a row, each newer, are an answer.
MISSES_TO_RETRACT: Final = 2
# What vendors have no row for: it is amended, and never gone.
_WITHOUT_ROW: Final = frozenset({"MATCH_INFO", "STATUS_CHANGE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One document about one match, in no vendor's terms.

    Attributes:
        at_ms: when the vendor made it, UTC milliseconds.
        events: what stands, each an ADD with the revision of its row.
        rows: the revision of each row in the document, whether an event was made of it or not.
        deleted: the revision of each row that the document says is deleted.
        whole: the document has every row of the match, and a row that is gone means a deletion.
        score: the vendor's own score.
    """

    match_id: str
    at_ms: int
    events: Sequence[Event]
    rows: Mapping[str, int]
    deleted: Mapping[str, int] = field(default_factory=dict)
    whole: bool = False
    score: Score | None = None


class SnapshotFeed:
    """One match as one vendor tells it.

    Args:
        match_id: the match; documents of others are refused.
        warn: called with alarms; nothing else comes of them.
        known: the events that were sent before, in the order they were sent.
    """

    def __init__(self, match_id: str, warn: Warn, known: Iterable[Event] = ()) -> None:
        self._match_id = match_id
        self._warn = warn
        self._newest_ms = -1
        self._score: Score | None = None
        self._sent: dict[str, Event] = {}
        self._seen: dict[str, int] = {}
        self._deleted: set[str] = set()
        self._misses: dict[str, int] = {}
        for event in known:
            self._sent[event.event_id] = event
            self._seen[event.event_id] = event.rev

    def take(self, snapshot: Snapshot) -> list[Event]:
        """What the document adds to, changes in, or takes back from what was said before.

        Raises:
            FeedError: it is of another match; nothing changes.
        """
        if snapshot.match_id != self._match_id:
            raise FeedError(f"document of match {snapshot.match_id}, expected {self._match_id}")
        newer = snapshot.at_ms > self._newest_ms
        if snapshot.whole and not newer:
            return []  # a whole document that is not newer can only lack what came since
        events = [
            *self._deletions(snapshot),
            *self._tellings(snapshot, newer),
            *self._demoted(snapshot, newer),
        ]
        if snapshot.whole:
            events += self._gone(snapshot)
        self._seen.update({row: rev for row, rev in snapshot.rows.items() if rev > self._seen.get(row, 0)})
        if newer:
            self._newest_ms = snapshot.at_ms
            self._check_score(snapshot)
        return events

    def _live(self) -> list[Event]:
        return [event for event in self._sent.values() if event.op != "RETRACT"]

    def _deletions(self, snapshot: Snapshot) -> Iterator[Event]:
        for event_id, rev in snapshot.deleted.items():
            if event_id not in self._deleted:
                self._deleted.add(event_id)
                yield self._retract(event_id, rev)

    def _tellings(self, snapshot: Snapshot, newer: bool) -> Iterator[Event]:
        for event in snapshot.events:
            event_id = event.event_id
            self._misses.pop(event_id, None)
            seen = self._seen.get(event_id, 0)
            if event_id in self._deleted or event.rev < seen or (event.rev == seen and not newer):
                continue
            self._seen[event_id] = event.rev
            sent = self._sent.get(event_id)
            if sent is None:
                self._sent[event_id] = event
                yield event
                continue
            # From a tombstone nothing can be compared; it has no time either.
            told = replace(event, source_ts=_first_known(sent.source_ts, event.source_ts))
            if _content(told) == _content(sent):
                continue
            amended = replace(told, rev=max(event.rev, sent.rev + 1), op="AMEND")
            self._sent[event_id] = amended
            yield amended

    def _demoted(self, snapshot: Snapshot, newer: bool) -> Iterator[Event]:
        told = {event.event_id for event in snapshot.events}
        for event in self._live():
            rev = snapshot.rows.get(event.event_id)
            if rev is None or event.event_id in told:
                continue
            if rev > self._seen[event.event_id] or newer:
                yield self._retract(event.event_id, rev)

    def _gone(self, snapshot: Snapshot) -> Iterator[Event]:
        if not snapshot.rows:  # a document without any row tells of an outage, not of a deletion
            return
        for event in self._live():
            if event.event_id in snapshot.rows or event.type in _WITHOUT_ROW:
                continue
            misses = self._misses[event.event_id] = self._misses.get(event.event_id, 0) + 1
            if misses >= MISSES_TO_RETRACT or self._score_fell(event, snapshot.score):
                del self._misses[event.event_id]
                yield self._retract(event.event_id, event.rev)

    def _score_fell(self, event: Event, score: Score | None) -> bool:
        if event.type != "GOAL" or score is None or self._score is None:
            return False
        side = 0 if event.team == "home" else 1
        return score[side] < self._score[side]

    def _retract(self, event_id: str, rev: int) -> Event:
        sent = self._sent.get(event_id)
        tombstone = Event(
            match_id=self._match_id,
            event_id=event_id,
            rev=rev if sent is None else max(rev, sent.rev),
            op="RETRACT",
            source=None if sent is None else sent.source,
        )
        self._sent[event_id] = tombstone
        return tombstone

    def _check_score(self, snapshot: Snapshot) -> None:
        if snapshot.score is None:
            return
        self._score = snapshot.score
        goals = Score(0, 0)
        for event in self._live():
            if event.type == "GOAL":
                goals = goals.plus(event.team, 1)
        if goals != snapshot.score:
            self._warn(
                FeedError(
                    f"match {self._match_id}: the goals make {goals.home}-{goals.away}, "
                    f"the vendor says {snapshot.score.home}-{snapshot.score.away}",
                    alarm="score",
                )
            )


def _first_known(*times: int | None) -> int | None:
    return min((time for time in times if time is not None), default=None)


def _content(event: Event) -> JsonObject:
    """What the event says, without how often it was said."""
    return {key: value for key, value in event.body().items() if key not in ("rev", "op")} | (
        {"op": "RETRACT"} if event.op == "RETRACT" else {}
    )
