"""What the origin counts, for Prometheus. One registry per application, so that tests can have several."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared_state import Event

__all__ = ["FEED_LABELS_MAX", "Metrics"]

# Names of sources that have their own latency; a source beyond these is counted as "other". Who has a key may
# write any name as a source, and each label is memory for as long as the process lives.
FEED_LABELS_MAX = 32
# From a goal that a push brings at once to a vendor's editor who enters it two minutes later.
_LATENCY_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0),
    *(90.0, 120.0, 300.0, 900.0),
)


class Metrics:
    """The counters of one process; ``docs/operations.md`` says what to watch."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ingest_accepted = Counter(
            "touchline_ingest_accepted_events",
            "Events acknowledged: the log has them on disk",
            ["feed"],
            registry=self.registry,
        )
        self.ingest_duplicates = Counter(
            "touchline_ingest_duplicate_requests",
            "Webhooks whose id was taken before; they were acknowledged and added nothing",
            ["feed"],
            registry=self.registry,
        )
        self.ingest_rejected = Counter(
            "touchline_ingest_rejected_requests",
            "Webhooks refused, by error code; nothing of them was kept",
            ["code"],
            registry=self.registry,
        )
        self.ingest_seconds = Histogram(
            "touchline_ingest_seconds",
            "From the first byte of a webhook to its acknowledgement",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
            registry=self.registry,
        )
        self.web_bus_breaker_open = Gauge(
            "touchline_web_bus_breaker_open",
            "Circuit breakers that are open: the list's, and one for each server of the bus",
            registry=self.registry,
        )
        self.web_bus_breaker_opened = Counter(
            "touchline_web_bus_breaker_opened",
            "Calls for pages and polls after which a server of the bus was left alone for a while",
            registry=self.registry,
        )
        self.web_stale_answers = Counter(
            "touchline_web_stale_answers",
            "Pages and polls of a match that showed it as it was known last, because the bus is slow or away",
            registry=self.registry,
        )
        self.web_beacons = Counter(
            "touchline_web_beacons",
            "Measurements of readers' browsers, by what became of them: taken, refused, too_many",
            ["result"],
            registry=self.registry,
        )
        self.web_goal_screen = Histogram(
            "touchline_web_goal_screen_seconds",
            "From the log's taking a goal or a retraction until a sampled reader's browser showed it",
            ["kind"],
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.published = Counter(
            "touchline_fanout_published_deltas",
            "Deltas this worker published on the bus",
            registry=self.registry,
        )
        self.purges = Counter(
            "touchline_fanout_purges",
            "Purges of caches after a correction, by how they ended: sent, failed, dropped",
            ["result"],
            registry=self.registry,
        )
        self.webhook_deliveries = Counter(
            "touchline_webhook_deliveries",
            "Webhooks to publishers, by how each attempt ended: delivered, failed, given_up, overflowed",
            ["endpoint", "result"],
            registry=self.registry,
        )
        self.webhook_pending = Gauge(
            "touchline_webhook_pending", "Webhooks that wait", ["endpoint"], registry=self.registry
        )
        self.webhook_oldest = Gauge(
            "touchline_webhook_oldest_seconds",
            "How long the oldest webhook that waits has waited",
            ["endpoint"],
            registry=self.registry,
        )
        self.push_sent = Counter(
            "touchline_push_sent",
            "Web pushes, by how each attempt ended: sent, failed, gone, given_up",
            ["result"],
            registry=self.registry,
        )
        self.push_waiting = Gauge("touchline_push_waiting", "Web pushes that wait", registry=self.registry)
        self.push_oldest = Gauge(
            "touchline_push_oldest_seconds",
            "For how long the oldest Web push that waits has been due",
            registry=self.registry,
        )
        self.push_subscriptions = Gauge(
            "touchline_push_subscriptions", "Subscriptions to Web Push", registry=self.registry
        )
        self.unchanged = Counter(
            "touchline_fanout_unchanged_events",
            "Events of the log that changed nothing: duplicates, lower revisions",
            registry=self.registry,
        )
        self.conflicts = Counter(
            "touchline_fanout_conflicting_events",
            "Events that reused a revision for another body",
            registry=self.registry,
        )
        self.fanout_seconds = Histogram(
            "touchline_fanout_seconds",
            "From an event's append to the log to its delta's publication on the bus",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0),
            registry=self.registry,
        )
        self.bus_retries = Counter(
            "touchline_fanout_bus_retries", "Publishes tried again after a bus error", registry=self.registry
        )
        self.refilled = Counter(
            "touchline_fanout_refilled_deltas",
            "Deltas published again to a bus that had lost them",
            registry=self.registry,
        )
        self.waiting_matches = Gauge(
            "touchline_fanout_waiting_matches",
            "Matches whose deltas the bus does not take at the moment",
            registry=self.registry,
        )
        self.foreign_epochs = Gauge(
            "touchline_fanout_foreign_epoch_matches",
            "Matches whose epoch on the bus is newer than in the log: nothing of them is published",
            registry=self.registry,
        )
        self.fanout_restarts = Counter(
            "touchline_fanout_restarts",
            "Times the embedded fan-out died of an unexpected error and was started again",
            registry=self.registry,
        )
        self.matches = Gauge(
            "touchline_fanout_matches", "Matches in this worker's memory", registry=self.registry
        )
        self.future_dated = Counter(
            "touchline_fanout_future_dated_events",
            "Events that the log dated more than a minute after this machine's clock when they were read",
            registry=self.registry,
        )
        self.clock_ahead = Gauge(
            "touchline_eventlog_clock_ahead_seconds",
            "How far this machine's clock has jumped ahead of the last hour's; 0 while it is believed",
            registry=self.registry,
        )
        self.eventlog_read_only = Gauge(
            "touchline_eventlog_read_only",
            "1 while the last write to the event log's file failed, as on a full disk; it can be read",
            registry=self.registry,
        )
        self.eventlog_free_bytes = Gauge(
            "touchline_eventlog_disk_free_bytes",
            "Space on the file system of the event log's file; -1 where the log is no file of this machine",
            registry=self.registry,
        )
        self.eventlog_free_bytes.set(-1)
        self.feed_polls = Counter(
            "touchline_feed_polls",
            "Requests to a vendor, by how they ended",
            ["feed", "result"],
            registry=self.registry,
        )
        self.feed_documents = Counter(
            "touchline_feed_documents",
            "Documents and pushed messages of a vendor that were read",
            ["feed", "kind"],
            registry=self.registry,
        )
        self.feed_dead_letters = Counter(
            "touchline_feed_dead_letters",
            "Documents and pushed messages of a vendor that could not be read",
            ["feed"],
            registry=self.registry,
        )
        self.feed_too_large = Counter(
            "touchline_feed_too_large_matches",
            "Documents and pushed messages refused because their match has as many events as it may have",
            ["feed"],
            registry=self.registry,
        )
        self.feed_score_alarms = Counter(
            "touchline_feed_score_alarms",
            "Documents whose own score is not what their goals make",
            ["feed"],
            registry=self.registry,
        )
        self.feed_reconnects = Counter(
            "touchline_feed_push_reconnects", "Push connections that ended", ["feed"], registry=self.registry
        )
        self.feed_outages = Counter(
            "touchline_feed_outages",
            "Times a match was marked as delayed because its vendor was silent",
            ["feed"],
            registry=self.registry,
        )
        self.feed_requests_left = Gauge(
            "touchline_feed_requests_left",
            "Requests to a vendor that are left of the day, where a setting or the vendor says how many",
            ["feed"],
            registry=self.registry,
        )
        self._feed_labels: set[str] = set()
        self.event_latency = Histogram(
            "touchline_feed_latency_seconds",
            "Of new events, by feed: vendor_received from when it happened until it came here, "
            "received_acknowledged until the log had it, log_published from there to the bus",
            ["feed", "step"],
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.feed_age_seconds = Gauge(
            "touchline_feed_age_seconds",
            "Since the vendor was last heard of a match: a good document, or a sign of life of its push",
            ["match_id"],
            registry=self.registry,
        )

        # An alert sees an increase only from a sample of before: these are there from the start, as 0.
        self.ingest_rejected.labels("eventlog_unavailable")
        for result in ("sent", "failed", "dropped"):
            self.purges.labels(result)
        for result in ("taken", "refused", "too_many"):
            self.web_beacons.labels(result)

    def begin_feed(self, feed: str) -> None:
        """Have the counters of a vendor's feed from the start, as 0: an alert sees their first increase."""
        for counter in (
            *(self.feed_dead_letters, self.feed_too_large, self.feed_score_alarms),
            *(self.feed_reconnects, self.feed_outages),
        ):
            counter.labels(feed)

    def observe_received(self, events: Iterable[Event], received_ms: int, acknowledged_ms: int) -> None:
        """Note how long new events took until they came, and until the log had them.

        An amendment keeps the time of what it amends, and says nothing of a latency. Nor does a tombstone.

        Args:
            events: what was appended.
            received_ms: when they came, UTC milliseconds.
            acknowledged_ms: when the log had them on disk.
        """
        for event in events:
            if event.op != "ADD":
                continue
            feed = self.feed_label(event.source)
            if event.source_ts is not None:
                self._observe(feed, "vendor_received", received_ms - event.source_ts)
            self._observe(feed, "received_acknowledged", acknowledged_ms - received_ms)

    def observe_published(self, source: str | None, late_ms: int) -> None:
        """Note how long a delta took from the log to the bus, an embargo not counted."""
        self._observe(self.feed_label(source), "log_published", late_ms)

    def feed_label(self, source: str | None) -> str:
        """A source as a label's value; ``other`` without one, and beyond the first ``FEED_LABELS_MAX``."""
        if source is None:
            return "other"
        if source not in self._feed_labels:
            if len(self._feed_labels) >= FEED_LABELS_MAX:
                return "other"
            self._feed_labels.add(source)
        return source

    def _observe(self, feed: str, step: str, late_ms: int) -> None:
        self.event_latency.labels(feed, step).observe(max(0, late_ms) / 1000)
