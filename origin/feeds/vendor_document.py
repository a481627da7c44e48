"""Successive documents of one match to canonical events: what is new, what changed, what was taken back.

Vendors send the complete match again and again. ``VendorDocumentFeed`` remembers what it last emitted for
each event and emits only what differs. However the documents come, late, twice, in any order, the match ends
as the newest of them alone describes it.

Rules
-----
1. A row's own revision decides which version of it is the newer one; of two with the same revision it is
   that of the newer document. A row is never set back.
2. A deletion that the vendor states is final.
3. A row that is still there, but no more as an event (retyped, or merged into another), is retracted.
4. A goal under a new id, in a complete document that lacks a known goal and whose own score agrees with its
   goals, is that goal where the two are alike (``origin.feeds.pairing``): it was entered again. Where they
   are not alike, the goal that is gone is retracted with the document that has the other. So is a goal under
   a new id in a pushed message whose score is already made by the goals that are known.
   A row that is gone is retracted only where the vendor has no other way to say it, and then only if the
   document is complete, newer than all before, newer than the last sight of that row, not empty, and either
   the second such in a row, or still the vendor's newest after five minutes, or the vendor's score for
   that side fell. A score that fell takes no more goals than it fell by, none that are counted in what it
   is now, and the latest first.
5. An inferred retraction (3, 4) is undone by a newer document that has the event again.
6. The time of occurrence is the first one known: some vendors overwrite it with that of the last touch.
7. The vendor's own score changes nothing. Where it differs from the goals, that is an alarm. A reader that
   makes a SCORE_OVERRIDE of it, since it is a result without rows, raises none.
8. Documents are compared with documents. A pushed message is dated by what happened, not by when the vendor
   sent it: it describes its own row, and nothing of the age, the rows or the score of a document. So what
   it says of a document's matters, the status and the sight of a row, is dated by the documents' clock at
   the moment it came, where its own is further ahead than documents lag.

Revisions come out of the documents, so a feed that starts anew repeats the same ones. What documents do not
contain (rules 3 to 5) needs the events that were sent before: give them to the new feed. Their revisions may
be higher than those of the rows they came from, so one document is measured by them, and the next by what
that one said.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from origin.errors import FeedError
from origin.feeds import Warn
from origin.feeds.pairing import pair, words
from shared_state import Event, Score
from shared_state.jsontext import JsonObject

__all__ = [
    "AHEAD_MAX_MS",
    "LAG_MAX_MS",
    "MISSES_TO_RETRACT",
    "STANDS_MS",
    "VendorDocument",
    "VendorDocumentFeed",
]

# One document without a row may be a vendor's cache that lags; two in a row, each newer, are an answer.
MISSES_TO_RETRACT: Final = 2
# Clocks that are set at all agree better. A time further ahead would outlast every true one after it.
AHEAD_MAX_MS: Final = 300_000
# A cache lags by seconds: what it still says after so long is what the vendor says.
STANDS_MS: Final = 300_000
# Documents may lag so far behind the stream and not undo what it said.
LAG_MAX_MS: Final = 10_000
# What vendors have no row for: it is amended, and never gone.
_WITHOUT_ROW: Final = frozenset({"MATCH_INFO", "STATUS_CHANGE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorDocument:
    """One document about one match, or one pushed message, in no vendor's terms.

    Attributes:
        at_ms: when the vendor made it, UTC milliseconds; of a message, when what it reports happened.
        events: what stands, each an ADD with the revision of its row.
        rows: the revision of each row in the document, whether an event was made of it or not. Where
            ``complete`` or ``pushed``, revisions are UTC milliseconds.
        deleted: the revision of each row that the document says is deleted.
        complete: the document has every row of the match, and a row that is gone means a deletion.
        pushed: it is a message about a single row.
        score: the vendor's own score.
        score_error: makes an error that names where that score stands; None where nobody knows.
        doubts: what the document says that is left out, or against itself.
        read_ms: when it was read, by our own clock; None if nobody says.
        anonymous: its rows have no ids but placeholders: ``origin.feeds.matching`` finds which is which.
        clock: the vendor's clock of the match: the index of the period, and the minute; None without one.
        competition_id: the vendor's number of the competition; None where it says none.
    """

    match_id: str
    at_ms: int
    events: Sequence[Event]
    rows: Mapping[str, int]
    deleted: Mapping[str, int] = field(default_factory=dict)
    complete: bool = False
    pushed: bool = False
    score: Score | None = None
    score_error: Callable[[str], FeedError] | None = None
    doubts: Sequence[FeedError] = ()
    read_ms: int | None = None
    anonymous: bool = False
    clock: tuple[int, int] | None = None
    competition_id: int | None = None


class VendorDocumentFeed:
    """One match as one vendor reports it.

    Args:
        match_id: the match; documents of others are refused.
        warn: called with alarms; nothing else comes of them.
        known: the events that were sent before, in the order they were sent.
    """

    def __init__(self, match_id: str, warn: Warn, known: Iterable[Event] = ()) -> None:
        self._match_id = match_id
        self._warn = warn
        self._newest_ms = -1  # of documents alone
        self._newest_read_ms: int | None = None  # by our own clock; None if it says nothing of rows
        # By how much documents' own time was behind our clock, at the least: their age, and the clocks.
        self._behind_ms: int | None = None
        self._score: Score | None = None
        self._sent: dict[str, Event] = {}
        self._seen: dict[str, int] = {}
        self._deleted: set[str] = set()
        self._sights: dict[str, int] = {}
        self._misses: dict[str, int] = {}
        self._first_ids: dict[str, str] = {}  # of goals that were entered again, by their later ids
        self._documented: set[str] = set()  # the rows of the newest complete document
        for event in known:
            self._sent[event.event_id] = event
            self._seen[event.event_id] = self._sights[event.event_id] = event.rev
        # Whose revision is that of an event in the log, not yet that of a row.
        self._recalled = set(self._sent)

    @property
    def begun(self) -> bool:
        """Whether a document was taken."""
        return self._newest_ms >= 0

    @property
    def newest_ms(self) -> int:
        """When the newest document was made; -1 before the first."""
        return self._newest_ms

    def check_match(self, document: VendorDocument) -> None:
        """Refuse a document of another match.

        Raises:
            FeedError: it is one.
        """
        if document.match_id != self._match_id:
            raise FeedError(f"document of match {document.match_id}, expected {self._match_id}")

    def add(self, document: VendorDocument) -> list[Event]:
        """The events of a document that was made before the newest, of which only new rows are believed."""
        events = list(self._versions(document, False))
        self._remember(document, False)
        return events

    def take(self, document: VendorDocument, *, trust_score: bool = True) -> list[Event]:
        """What the document adds to, changes in, or takes back from what was said before.

        Args:
            document: the document or message.
            trust_score: whether a score that fell takes a missing goal back at once. It does not where
                nothing shows that the document is newer than the last.

        Raises:
            FeedError: it is of another match; nothing changes.
        """
        self.check_match(document)
        newer = not document.pushed and document.at_ms > self._newest_ms
        if document.complete and not newer:  # it can only lack what came since
            return self.stands(document.read_ms, document.rows) if document.at_ms == self._newest_ms else []
        if document.pushed:
            document = self._as_documents_date_it(document)
        document = self._with_known_ids(document)
        fresh = {id_ for id_ in document.rows if id_ not in self._documented and id_ not in self._recalled}
        events = [
            *self._deletions(document),
            *self._versions(document, newer),
            *self._demoted(document, newer),
        ]
        if document.complete:
            added = _goals(event for event in document.events if event.event_id in fresh)
            events += self._gone(document, _Counted(added, trust_score))
            self._documented = set(document.rows)
        self._remember(document, newer)
        for doubt in document.doubts:
            self._warn(doubt)
        if newer:
            self._newest_ms = document.at_ms
            self._newest_read_ms = document.read_ms if document.rows else None
            self._check_score(document)
        if document.complete and document.read_ms is not None:
            behind_ms = document.read_ms - document.at_ms
            self._behind_ms = behind_ms if self._behind_ms is None else min(self._behind_ms, behind_ms)
        return events

    def stands(self, now_ms: int | None, rows: Collection[str] = ()) -> list[Event]:
        """What is taken back because the newest document is the vendor's last word: it lacks it for long.

        Args:
            now_ms: when the vendor said that it still is, by the clock of ``VendorDocument.read_ms``.
            rows: those of the document, if it was sent again.
        """
        if now_ms is None or self._newest_read_ms is None or now_ms < self._newest_read_ms + STANDS_MS:
            return []
        missed = [event for event in self._live() if event.event_id in self._misses.keys() - rows]
        return [self._retract(event.event_id, event.rev) for event in missed]

    def _as_documents_date_it(self, message: VendorDocument) -> VendorDocument:
        """The message with what has no row dated by the documents' clock, if its own is ahead of that."""
        latest_ms = self._latest_ms(message)
        if latest_ms is None:
            return message
        events = [
            event if event.event_id in message.rows else replace(event, rev=min(event.rev, latest_ms))
            for event in message.events
        ]
        return replace(message, events=events)

    def _latest_ms(self, message: VendorDocument) -> int | None:
        """What a document may say that was made now, and lags no further than documents do."""
        if message.read_ms is None or self._behind_ms is None:
            return None
        return message.read_ms - self._behind_ms + LAG_MAX_MS

    def _live(self) -> list[Event]:
        return [event for event in self._sent.values() if event.op != "RETRACT"]

    def _seen_rev(self, row: str, document: VendorDocument) -> int:
        """The revision that a version of the row has to reach."""
        seen = self._seen.get(row, 0)
        return 0 if document.complete and _impossible(seen, document) else seen

    def _deletions(self, document: VendorDocument) -> Iterator[Event]:
        for event_id, rev in document.deleted.items():
            if event_id not in self._deleted:
                self._deleted.add(event_id)
                yield self._retract(event_id, rev)

    def _versions(self, document: VendorDocument, newer: bool) -> Iterator[Event]:
        for event in document.events:
            event_id = event.event_id
            row = document.rows.get(event_id)
            # An event made of two rows has the higher revision of both, and so has what the log recalls.
            rev = event.rev if row is None or event_id in self._recalled else row
            seen = self._seen_rev(event_id, document)
            again = rev == seen and newer and row is not None
            if event_id in self._deleted or not (rev > seen or again):
                continue
            self._seen[event_id] = event.rev if row is None else row
            self._recalled.discard(event_id)
            sent = self._sent.get(event_id)
            if sent is None:
                self._sent[event_id] = event
                yield event
                continue
            # From a tombstone nothing can be compared; it has no time either.
            version = replace(event, source_ts=_first_known(sent.source_ts, event.source_ts))
            if _content(version) == _content(sent):
                continue
            amended = replace(version, rev=max(event.rev, sent.rev + 1), op="AMEND")
            self._sent[event_id] = amended
            yield amended

    def _demoted(self, document: VendorDocument, newer: bool) -> Iterator[Event]:
        made = {event.event_id for event in document.events}
        for event in self._live():
            rev = document.rows.get(event.event_id)
            if rev is None or event.event_id in made:
                continue
            seen = self._seen_rev(event.event_id, document)
            if rev > seen or (rev == seen and newer):
                yield self._retract(event.event_id, rev)

    def _with_known_ids(self, document: VendorDocument) -> VendorDocument:
        """The document with a goal that was entered again under its first id, where the score says it is one.

        A vendor that deletes a goal and enters it anew gives it another id. Without this the new row would be
        added at once, and the old one be taken back only by the next document.
        """
        document = _renamed(
            document, {new: old for new, old in self._first_ids.items() if old not in document.rows}
        )
        if document.pushed:
            return self._with_id_by_pushed_score(document)
        gone = {
            event.event_id: event
            for event in self._live()
            if event.type == "GOAL"
            and event.event_id not in document.rows
            and event.event_id not in document.deleted
            and _later(document, self._sights[event.event_id])
        }
        fresh = [
            event
            for event in document.events
            if event.type == "GOAL" and event.event_id in document.rows and event.event_id not in self._sent
        ]
        if not document.complete or not gone or not fresh:
            return document
        if document.score is None or _goals(document.events) != document.score:
            # Only what says the very same, which one that starts anew meets again.
            said = {words(event) for event in fresh}
            gone = {event_id: event for event_id, event in gone.items() if words(event) in said}
            fresh = [event for event in fresh if words(event) in {words(event) for event in gone.values()}]
        goals = [event for event in document.events if event.type == "GOAL"]
        standing = [event for event in self._live() if event.type == "GOAL"]
        ids = pair(fresh, gone, {}, document.score, all_rows=goals, all_known=standing)
        self._first_ids |= ids
        return _renamed(document, ids)

    def _with_id_by_pushed_score(self, message: VendorDocument) -> VendorDocument:
        """The message with a goal that it counts among those that are known, under the id of that one.

        The message says nothing of what is gone. But with another goal there would be more than its score.
        """
        standing = [event for event in self._live() if event.type == "GOAL"]
        fresh = [
            event for event in message.events if event.type == "GOAL" and event.event_id not in self._sent
        ]
        if not fresh or message.score is None or _goals(standing) != message.score:
            return message
        known = {event.event_id: event for event in standing}
        ids = pair(fresh, known, {}, message.score, all_rows=standing, all_known=standing)
        self._first_ids |= ids
        return _renamed(message, ids)

    def _gone(self, document: VendorDocument, counted: _Counted) -> Iterator[Event]:
        if not document.rows:  # a document without any row means an outage, not a deletion
            return
        missed = []
        for event in self._live():
            event_id = event.event_id
            if event_id in document.rows or event.type in _WITHOUT_ROW:
                continue
            if not _later(document, self._sights[event_id]):
                continue
            self._misses[event_id] = self._misses.get(event_id, 0) + 1
            if self._misses[event_id] >= MISSES_TO_RETRACT:
                yield self._retract(event_id, event.rev)
            else:
                missed.append(event)
        for event in self._fallen(missed, document, counted):
            yield self._retract(event.event_id, event.rev)

    def _fallen(
        self, missed: Sequence[Event], document: VendorDocument, counted: _Counted
    ) -> Iterator[Event]:
        """Of the goals that are missing for the first time, those that the score fell by.

        Where the document's own score agrees with its own goals, it did so too by each goal that is new in
        the document and did not raise it: a goal was replaced by another.
        """
        score = document.score
        if score is None:
            return
        agrees = _goals(document.events) == score
        goals = _goals(self._live())
        for index, side in enumerate(("home", "away")):
            most = 0
            if self._score is not None and counted.trust_score:
                most = min(self._score[index], goals[index]) - score[index]
            if agrees:
                replaced = goals[index] - score[index]
                most = max(most, min(replaced, counted.added[index]))
            gone = [event for event in missed if event.type == "GOAL" and event.team == side]
            # By where it stands in play: a time that was overwritten is not known.
            gone.sort(key=lambda event: event.order()[1:], reverse=True)
            yield from gone[: max(0, most)]

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
        self._misses.pop(event_id, None)
        return tombstone

    def _remember(self, document: VendorDocument, newer: bool) -> None:
        """What the document has, and how new each row in it is."""
        revisions = {event.event_id: event.rev for event in document.events} | dict(document.rows)
        latest_ms = self._latest_ms(document)
        for row, rev in revisions.items():
            if newer and row in self._recalled and self._may_replace(row, document):
                self._recalled.discard(row)
                self._seen[row] = rev
            self._seen[row] = max(rev, self._seen.get(row, 0))
            sight = document.at_ms if document.complete else rev
            if document.pushed and latest_ms is not None:
                sight = min(sight, latest_ms)
            if sight > self._sights.get(row, -1):
                self._sights[row] = sight
                self._misses.pop(row, None)

    def _may_replace(self, row: str, document: VendorDocument) -> bool:
        if document.complete:
            return _later(document, self._seen[row])
        # A deletion that was stated once is final, and the log does not say which were.
        return self._sent[row].op != "RETRACT"

    def _check_score(self, document: VendorDocument) -> None:
        if document.score is None:
            return
        if document.rows:  # what an empty document says is no measure either
            self._score = document.score
        if any(event.type == "SCORE_OVERRIDE" for event in document.events):
            return  # the vendor's score is what is shown
        goals = _goals(self._live())
        if goals == document.score:
            return
        message = (
            f"match {self._match_id}: the goals make {goals.home}-{goals.away}, "
            f"the vendor says {document.score.home}-{document.score.away}"
        )
        alarm = FeedError(message) if document.score_error is None else document.score_error(message)
        alarm.evidence["alarm"] = "score"
        self._warn(alarm)


def _renamed(document: VendorDocument, ids: Mapping[str, str]) -> VendorDocument:
    if not ids.keys() & document.rows.keys():
        return document
    taken: set[str] = set()
    events: list[Event] = []
    rows: dict[str, int] = {}
    for event in document.events:
        event_id = ids.get(event.event_id, event.event_id)
        if event_id not in taken:  # of two later ids of one goal the first is meant
            taken.add(event_id)
            events.append(event if event_id == event.event_id else replace(event, event_id=event_id))
    for row, rev in document.rows.items():
        rows[ids.get(row, row)] = max(rev, rows.get(ids.get(row, row), 0))
    deleted = {ids.get(row, row): rev for row, rev in document.deleted.items()}
    return replace(document, events=events, rows=rows, deleted=deleted)


@dataclass(frozen=True, slots=True)
class _Counted:
    """What is known of the score beside the document's own.

    Attributes:
        added: its goals that the document before did not have.
        trust_score: whether a score that fell is an answer.
    """

    added: Score
    trust_score: bool


def _later(document: VendorDocument, than_ms: int) -> bool:
    """Whether a complete document was made after a moment; after one that cannot have been, it was."""
    return document.at_ms > than_ms or _impossible(than_ms, document)


def _impossible(at_ms: int, document: VendorDocument) -> bool:
    """Whether a time that is in the log is in the future: such were taken before they were refused."""
    return document.read_ms is not None and at_ms > document.read_ms + AHEAD_MAX_MS


def _goals(events: Iterable[Event]) -> Score:
    score = Score(0, 0)
    for event in events:
        if event.type == "GOAL":
            score = score.plus(event.team, 1)
    return score


def _first_known(*times: int | None) -> int | None:
    return min((time for time in times if time is not None), default=None)


def _content(event: Event) -> JsonObject:
    """What the event says, without how often it was said."""
    return {key: value for key, value in event.body().items() if key not in ("rev", "op")} | (
        {"op": "RETRACT"} if event.op == "RETRACT" else {}
    )
