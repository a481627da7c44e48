"""Which row of a snapshot is which event: for feeds whose rows have no ids, or new ids for old things.

The contract for readers
------------------------
A reader of a feed without ids makes a ``VendorDocument`` with ``anonymous=True``. Each of its rows has the
placeholder id ``row_id(index)``, in ``events`` and in ``rows`` (a row of which no event is made stands in
``rows`` alone). What a document has once (``info``, ``status``, ``result``) has that fixed id. All
revisions are ``at_ms``, which is when the document was read, if it has no time of its own. ``clock`` is the
vendor's own clock of the match, ``(index of the period, minute)``; by it a newer document is known from a
cached one.
``complete`` is true where the feed lists all events. ``MatchingFeed`` takes such documents, and has the
methods of ``VendorDocumentFeed``. ``Format(..., undated=True)`` is all that the feed worker needs to know.

Documents whose rows have ids are taken too, where nothing says when they were made (Stats Perform MA1): they
are paired by their ids, and believed by the rules at the end.

How rows are paired
-------------------
1. A row that says what a known event says is that event. Two equal rows are two events.
2. The other rows are paired with the other live events of their family (goals; cards; substitutions; VAR;
   kicks; …) by a minimum-cost assignment over names, minute, side, flags, and the place among the goals
   of the side, which is the running score. A goal that changes its scorer, its minute or its side stays the
   same event. Where the document's own score says that the number of goals did not change, a goal that
   was entered again in other words is the same goal too. Where the score says that a row is missing, only
   what is nearly equal is paired.
3. A row that is nearly equal to an event that was taken back is that event, and revives it.
4. Every other row is a new event: ``goal-3`` is the third goal that the log knows of this feed. So ids
   need no memory beside the log, and a feed that starts anew gives the same ones.

The same pairing serves feeds that have ids (``VendorDocumentFeed``, rule 4): a goal under an id that nobody
knows, in a document that lacks a known goal, and whose own score agrees with its goals, is that goal.

When a document is believed
---------------------------
A document without a time may come from a cache, and be older than what was read before it.

1. One that equals an earlier one, and not the newest, is left out until it has stood for ``CACHE_MS``.
2. Of one whose clock is behind that of the newest, only rows that were never seen are taken, until it
   has stood for ``CACHE_MS``.
3. A row that is gone is taken back as ``VendorDocumentFeed`` says; its rule about a score that fell
   counts only where the document's clock has moved on since the last one, or a VAR row is new.
4. A known name is lost only by the second document without it, or with another change of its row.
5. A score that falls, while its rows stay, makes the latest goal of that side PROVISIONAL. The next document
   that says so takes it back. It stays so while the score stays below the rows, and is revived after.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from origin.feeds import Warn
from origin.feeds.pairing import age, pair, words
from origin.feeds.vendor_document import VendorDocument, VendorDocumentFeed
from shared_state import Event, Score

__all__ = ["CACHE_MS", "ROWS_MAX", "MatchingFeed", "is_row_id", "row_id"]

# A cache lags by seconds. What is still said after so long is what the vendor says.
CACHE_MS: Final = 30_000
# Documents of the last minutes that a cache may still have.
REMEMBERED_MAX: Final = 64
# More rows of one match than any match has; a reader refuses more, since pairing costs their cube.
ROWS_MAX: Final = 400

_ROW_ID: Final = re.compile(r"row-[0-9]{4}")


def row_id(index: int) -> str:
    """The placeholder id of the row at an index, counted from 0."""
    return f"row-{index:04}"


def is_row_id(event_id: str) -> bool:
    """Whether an id is a placeholder."""
    return _ROW_ID.fullmatch(event_id) is not None


class MatchingFeed:
    """One match of a feed without ids or dates; see the module. It has ``VendorDocumentFeed``'s methods.

    Args:
        match_id: the match; documents of others are refused.
        warn: called with alarms; nothing else comes of them.
        known: the events of this feed that the log has, in the order they were appended.
    """

    def __init__(self, match_id: str, warn: Warn, known: Iterable[Event] = ()) -> None:
        known = list(known)
        self._inner = VendorDocumentFeed(match_id, warn, known)
        # What each event said when it was last live: a tombstone has no words, and may be revived.
        self._said: dict[str, Event] = {}
        self._dead: set[str] = set()
        self._numbers: Counter[str] = Counter()
        self._keep(known)
        self._clock: tuple[int, int] = (-1, -1)
        self._clock_ms = 0
        self._newest: object = None
        self._older: dict[object, int] = {}  # when each earlier document was last the newest
        self._doubted: object = None
        self._doubted_ms: int | None = None
        self._score: Score | None = None
        self._nameless: set[str] = set()

    @property
    def begun(self) -> bool:
        """Whether a document was taken."""
        return self._inner.begun

    def take(self, document: VendorDocument) -> list[Event]:
        """What the document adds to, changes in, or takes back from what was said before.

        Raises:
            FeedError: it is of another match; nothing changes.
        """
        self._inner.check_match(document)
        if document.at_ms < self._inner.newest_ms:
            return []
        content = _document_words(document)
        doubted = self._is_doubted(document, content)
        if doubted == "cached":
            return []
        paired = self._paired(document, only_new=doubted == "behind")
        if doubted == "behind":
            events = [event for event in paired.events if event.event_id in paired.rows]
            fresh = [event for event in events if event.event_id not in self._said]
            # Only its new rows are believed: nothing of it says what is gone, or what the status is.
            rows = {event.event_id: event.rev for event in fresh}
            document = replace(paired, events=fresh, rows=rows, complete=False, score=None, score_error=None)
            emitted = self._inner.add(document)
            self._keep(emitted)
            return emitted
        moved = document.clock is None or document.clock > self._clock
        var_is_new = any(event.type == "VAR" and event.event_id not in self._said for event in paired.events)
        emitted = self._inner.take(paired, trust_score=moved or var_is_new)
        self._keep(emitted)
        self._older.pop(content, None)
        if self._newest is not None and self._newest != content:
            self._older[self._newest] = document.at_ms
            while len(self._older) > REMEMBERED_MAX:
                del self._older[next(iter(self._older))]
        self._newest = content
        if document.clock is not None:
            self._clock = document.clock
        if document.score is not None:
            self._score = document.score
        return emitted

    def stands(self, now_ms: int | None, rows: Iterable[str] = ()) -> list[Event]:
        """See ``VendorDocumentFeed.stands``."""
        del rows  # placeholders say nothing
        events = self._inner.stands(now_ms)
        self._keep(events)
        return events

    def _is_doubted(self, document: VendorDocument, content: object) -> str | None:
        """Whether it may come from a cache: ``cached``, ``behind``, or None."""
        reason = None
        if content in self._older:
            reason = "cached"
        elif document.clock is not None and document.clock < self._clock:
            reason = "behind"
        if reason is None:
            self._doubted_ms = None
            return None
        if self._doubted_ms is None:
            self._doubted_ms = document.at_ms
        if document.at_ms - self._doubted_ms >= CACHE_MS:
            self._doubted_ms = None
            return None
        return reason

    def _paired(self, document: VendorDocument, *, only_new: bool) -> VendorDocument:
        """The document with ids in place of placeholders."""
        rows = [event for event in document.events if is_row_id(event.event_id)]
        live = {id_: event for id_, event in self._said.items() if id_ not in self._dead}
        dead = {id_: self._said[id_] for id_ in self._dead if id_ in self._said}
        ids = pair(rows, live, dead, document.score)
        numbers = Counter(self._numbers)
        events: list[Event] = []
        for event in document.events:
            if not is_row_id(event.event_id):
                events.append(event)
                continue
            event_id = ids.get(event.event_id)
            if event_id is None:
                kind = event.type.lower().replace("_", "-")
                numbers[kind] += 1
                event_id = ids[event.event_id] = f"{kind}-{numbers[kind]}"
            events.append(replace(event, event_id=event_id))
        if not only_new:
            events = self._with_known_names(events)
            events = self._by_fallen_score(document, events)
        renamed = {
            ids.get(row, row): rev for row, rev in document.rows.items() if row in ids or not is_row_id(row)
        }
        return replace(document, events=events, rows=renamed, anonymous=False)

    def _with_known_names(self, events: list[Event]) -> list[Event]:
        """A name that is missing once may be a cache's; it is kept until a second document lacks it.

        Only where nothing else changed: a row with other words is an edit, and its name went with it.
        """
        result: list[Event] = []
        nameless: set[str] = set()
        for event in events:
            said = self._said.get(event.event_id)
            lost = (
                said is not None
                and any(
                    getattr(said, name) is not None and getattr(event, name) is None
                    for name in ("player", "player2")
                )
                and words(replace(event, player=said.player, player2=said.player2)) == words(said)
            )
            if said is not None and lost and event.event_id not in self._nameless:
                nameless.add(event.event_id)
                event = replace(
                    event, player=event.player or said.player, player2=event.player2 or said.player2
                )
            result.append(event)
        self._nameless = nameless
        return result

    def _by_fallen_score(self, document: VendorDocument, events: list[Event]) -> list[Event]:
        """Rule 5: a score below its rows, after it was not."""
        score = document.score
        if score is None:
            return events
        left_out: set[str] = set()
        provisional: set[str] = set()
        for index, side in enumerate(("home", "away")):
            goals = [event for event in events if event.type == "GOAL" and event.team == side]
            surplus = len(goals) - score[index]
            if surplus <= 0:
                continue
            latest = sorted(goals, key=lambda goal: (goal.order()[1:4], age(goal.event_id)), reverse=True)
            # Taken back before, and the score still says so; also where that was before this process began.
            dead = [goal.event_id for goal in latest if goal.event_id in self._dead][:surplus]
            doubted = [
                goal.event_id
                for goal in latest
                if goal.event_id in self._said
                and goal.event_id not in self._dead
                and self._said[goal.event_id].status == "PROVISIONAL"
            ]
            left_out.update(dead)
            surplus -= len(dead)
            before = self._score[index] if self._score is not None else 0
            fell = min(surplus, max(0, before - score[index]))
            confirmed = doubted[:surplus]
            left_out.update(confirmed)
            fresh = [
                goal.event_id
                for goal in latest
                if goal.event_id not in left_out and goal.event_id in self._said
            ]
            provisional.update(fresh[: max(0, min(fell, surplus - len(confirmed)))])
        return [
            replace(event, status="PROVISIONAL") if event.event_id in provisional else event
            for event in events
            if event.event_id not in left_out
        ]

    def _keep(self, events: Iterable[Event]) -> None:
        for event in events:
            kind, _, number = event.event_id.rpartition("-")
            if kind and number.isdecimal() and len(number) < 9:
                self._numbers[kind] = max(self._numbers[kind], int(number))
            if event.op == "RETRACT":
                self._dead.add(event.event_id)
            else:
                self._said[event.event_id] = event
                self._dead.discard(event.event_id)


def _document_words(document: VendorDocument) -> object:
    """What a document says, whatever the order of its rows."""
    said = Counter(
        (None if is_row_id(event.event_id) else event.event_id, words(event), event.status)
        for event in document.events
    )
    return (document.clock, document.score, frozenset(said.items()))
