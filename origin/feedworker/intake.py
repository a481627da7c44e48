"""One match of a vendor into the log: only what changed, and a mark while the vendor is silent.

Rules
-----
1. What a document says is appended before anything else is remembered of it. If the log does not take it,
   all that was derived is forgotten and read back from the log: memory never knows more than the log.
2. An event that changes nothing is not appended. So a worker that starts anew, with the log as its only
   memory, appends nothing that is there already.
3. Only this vendor's events are what the vendor said before. What an editor posted under the same id
   stands by its higher revision until the vendor says something newer.
4. A silent vendor marks a running match: a STATUS_CHANGE to DELAYED under an id of our own, later than
   every status. The first good document takes it back in the same append that brings what was missed, so
   the true status stands again, whatever it is by then. A status that ends a match is never covered, and
   neither is one that is dated so late that nothing can be later.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from typing import Final

from origin.errors import FeedError, MatchPrunedError, MatchTooLargeError
from origin.eventlog import EventLog, SignedBy
from origin.eventlog.limits import MatchLimits
from origin.eventlog.memory import wall_clock_ms
from origin.feeds.matching import MatchingFeed
from origin.feeds.vendor_document import VendorDocument, VendorDocumentFeed
from origin.feedworker.formats import Format, guarded
from origin.logs import structured_logger
from origin.metrics import Metrics
from origin.provenance import Provenance
from origin.tracing import NO_TRACES, Tracer
from shared_state import Event, Match, apply, fold
from shared_state.jsontext import MAX_INTEGER
from shared_state.match import derive

__all__ = ["DELAYED_ID", "Intake"]

logger = logging.getLogger(__name__)
_log = structured_logger(__name__)

DELAYED_ID: Final = "touchline-delayed"
SOURCE: Final = "touchline"
# Doubts about one match that are remembered as logged; a feed that varies its words must not fill memory.
DOUBTS_MAX: Final = 100
# A worker that starts in the middle of a match appends all that has happened.
_EVENTS_LOGGED: Final = 20
# Of these a viewer expects news at any moment. INTERRUPTED is already the truth.
_RUNNING: Final = frozenset({"LIVE", "HALF_TIME", "EXTRA_TIME", "PENALTIES"})
_OVER: Final = frozenset({"FT", "AET", "FT_PENS", "POSTPONED", "CANCELLED", "ABANDONED", "AWARDED"})


class Intake:
    """One match. One caller at a time."""

    def __init__(
        self,
        match_id: str,
        format_: Format,
        log: EventLog,
        metrics: Metrics,
        *,
        now_ms: Callable[[], int] = wall_clock_ms,
        match_limits: MatchLimits | None = None,
        tracer: Tracer = NO_TRACES,
    ) -> None:
        self.match_id = match_id
        self._tracer = tracer
        self._format = format_
        self._log = log
        self._metrics = metrics
        self._now_ms = now_ms
        self._match_limits = match_limits or MatchLimits()
        self._match = Match(match_id=match_id)
        self._feed: VendorDocumentFeed | MatchingFeed | None = None
        self._doubts: set[str] = set()

    @property
    def over(self) -> bool:
        """Whether the match has ended, as far as is known."""
        return self._match.status in _OVER

    @property
    def running(self) -> bool:
        """Whether it has begun and not ended, as far as is known."""
        return not self.over and (self._match.status != "SCHEDULED" or self._match.period != "PRE")

    @property
    def remembers(self) -> bool:
        """Whether the document that was read last is remembered; else it has to be sent again."""
        return self._feed is not None and self._feed.begun

    def read(self, body: bytes) -> None:
        """Take a whole document; when this returns the log has what it changes.

        Raises:
            FeedError: it cannot be read, is of other matches, or the match would be too large; nothing
                changes.
            EventLogError: the log did not take it; nothing is remembered of it.
        """
        read = guarded(self._format.read, body, self._now_ms())
        documents = [found for found in read if found.match_id == self.match_id]
        if not documents:
            raise FeedError(f"the document has no match {self.match_id}")
        for document in documents:
            self._append_derived(lambda feed, one=document: guarded(feed.take, one), alive=True)  # type: ignore[misc]
        self._metrics.feed_documents.labels(self._format.name, "poll").inc()

    def take(self, document: VendorDocument) -> bool:
        """Take one match of an answer that has many; when this returns the log has what it changes.

        Returns:
            Whether the match is another one now.

        Raises:
            FeedError: it is of another match, or the match would be too large; nothing changes.
            EventLogError: as ``read``.
        """
        before = self._match
        self._append_derived(lambda feed: guarded(feed.take, document), alive=True)
        self._metrics.feed_documents.labels(self._format.name, "poll").inc()
        return self._match is not before

    def unchanged(self) -> None:
        """The vendor still has the document that was read last: an outage ends, and what it lacks is gone.

        Raises:
            EventLogError: as ``read``.
        """
        self._append_derived(lambda feed: feed.stands(self._now_ms()), alive=True)

    def pushed(self, document: VendorDocument) -> None:
        """Take one pushed message. It does not end an outage: what came before it may be lost.

        Raises:
            FeedError: it is of another match, or the match would be too large; nothing changes.
            EventLogError: as ``read``.
        """
        self._append_derived(lambda feed: guarded(feed.take, document), alive=False)
        self._metrics.feed_documents.labels(self._format.name, "push").inc()

    def mark_delayed(self) -> bool:
        """The vendor is silent: mark the match if it runs; take the mark back if it has ended meanwhile.

        Returns:
            Whether it was marked now.

        Raises:
            EventLogError: the log cannot be asked or did not take it.
        """
        self._open()  # others may have appended: an editor who ends the match by hand is not to be covered
        true = derive(
            self.match_id, {id_: record for id_, record in self._match.records.items() if id_ != DELAYED_ID}
        )
        if self._marked():
            if true.status in _OVER:
                self._append([self._unmark()])
            return False
        if true.status not in _RUNNING and not self._overdue(true):
            return False
        status = true.deciding.get("STATUS_CHANGE")
        latest_ms = -1 if status is None or status.source_ts is None else status.source_ts
        mark = Event(
            match_id=self.match_id,
            event_id=DELAYED_ID,
            rev=min(self._mark_rev() + 1, MAX_INTEGER),
            op="ADD",
            type="STATUS_CHANGE",
            period=true.period,
            detail={"to": "DELAYED"},
            reason="no live data at the moment",
            source=SOURCE,
            source_ts=min(max(self._now_ms(), latest_ms + 1), MAX_INTEGER),
        )
        if apply(self._match, mark).status != "DELAYED":
            doubt = f"{true.status} at {latest_ms} (UTC ms) cannot be covered by a mark"
            self._warn(FeedError(f"match {self.match_id}: {doubt}"))
            return False
        self._append([mark])
        self._metrics.feed_outages.labels(self._format.name).inc()
        return True

    def _append_derived(
        self, derived: Callable[[VendorDocumentFeed | MatchingFeed], list[Event]], *, alive: bool
    ) -> None:
        received_ms = self._now_ms()
        feed = self._feed or self._open()
        try:
            events = derived(feed)
            if alive and self._marked():
                events.append(self._unmark())
            self._append(events, bounded=True, received_ms=received_ms)
        except BaseException:
            self._feed = None  # it may know what the log does not
            raise

    def _open(self) -> VendorDocumentFeed | MatchingFeed:
        """Read back what the log has of the match."""
        self._feed = None
        events = [record.event for record in self._log.read_match(self.match_id)]
        self._match = fold(self.match_id, events)
        known = (event for event in events if event.source == self._format.source)
        self._feed = self._format.feed(self.match_id, self._warn, known)
        return self._feed

    def _append(
        self, events: Iterable[Event], *, bounded: bool = False, received_ms: int | None = None
    ) -> None:
        """Append what changes the match.

        Args:
            events: in order.
            bounded: whether a match that is too large is refused; our own marks are few, and always taken.
            received_ms: when they came; None for our own marks, which nobody sent.

        Raises:
            FeedError: the match would be too large, or was removed from the log.
            EventLogError: as ``read``.
        """
        match = self._match
        fresh = []
        for event in events:
            after = apply(match, event)
            if after is not match:
                fresh.append(event)
                match = after
        if not fresh:
            return
        if bounded:
            self._check_size(fresh)
        # The same in the log lines of all tiers, as the webhook-id of a webhook is.
        signed_by = SignedBy(f"feed:{self._format.name}", f"feed_{secrets.token_hex(8)}")
        traceparent = self._append_traced(fresh, signed_by, received_ms)
        self._match = match
        _log.info(
            "appended",
            match_id=self.match_id,
            **Provenance(signed_by.webhook_id, signed_by.key_name, traceparent).fields(),
            changes=[f"{event.event_id}/{event.rev} {event.op}" for event in fresh[:_EVENTS_LOGGED]],
        )
        if received_ms is not None:
            self._metrics.observe_received(fresh, received_ms, self._now_ms())

    def _append_traced(self, events: list[Event], signed_by: SignedBy, received_ms: int | None) -> str:
        """Append; returns the ``traceparent`` of the records, empty where there is no trace.

        Raises:
            FeedError, EventLogError: as ``_append``.
        """
        try:
            if not self._tracer.on:
                self._log.append(events, signed_by=signed_by)
                return ""
            span = self._tracer.start(
                "feed",
                start_ns=None if received_ms is None else received_ms * 1_000_000,
                attributes={
                    "touchline.feed": self._format.name,
                    "touchline.match_id": self.match_id,
                    "touchline.webhook_id": signed_by.webhook_id,
                },
            )
            try:
                self._log.append(events, signed_by=signed_by, traceparent=span.traceparent or None)
            except BaseException as error:
                span.end(error=type(error).__name__)
                raise
            span.end({"touchline.events": len(events)})
        except MatchPrunedError as error:
            raise FeedError(str(error)) from error
        return span.traceparent

    def _check_size(self, events: list[Event]) -> None:
        try:
            self._match_limits.check(self._log, events)
        except MatchTooLargeError as error:
            self._metrics.feed_too_large.labels(self._format.name).inc()
            raise FeedError(str(error)) from error

    def _marked(self) -> bool:
        known = self._match.records.get(DELAYED_ID)
        return known is not None and known.live is not None

    def _mark_rev(self) -> int:
        """The revision of the latest mark; 0 before the first. A tombstone of that revision takes it back."""
        known = self._match.records.get(DELAYED_ID)
        marks = () if known is None else (known.body, known.tombstone)
        return max((event.rev for event in marks if event is not None), default=0)

    def _unmark(self) -> Event:
        return Event(
            match_id=self.match_id,
            event_id=DELAYED_ID,
            rev=self._mark_rev(),
            op="RETRACT",
            reason="live data is back",
            source=SOURCE,
        )

    def _overdue(self, match: Match) -> bool:
        """Whether it should have begun by now."""
        kickoff_ms = None if match.info is None else match.info.detail["kickoff_ms"]
        return match.status == "SCHEDULED" and kickoff_ms is not None and kickoff_ms < self._now_ms()

    def _warn(self, doubt: FeedError) -> None:
        if doubt.evidence.get("alarm") == "score":
            self._metrics.feed_score_alarms.labels(self._format.name).inc()
        if str(doubt) not in self._doubts:  # every poll repeats it, the log has it once
            if len(self._doubts) >= DOUBTS_MAX:
                self._doubts.clear()
            self._doubts.add(str(doubt))
            logger.warning("%s: %s", self._format.name, doubt)
