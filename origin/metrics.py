"""What the origin counts, for Prometheus. One registry per application, so that tests can have several."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["Metrics"]


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
        self.feed_age_seconds = Gauge(
            "touchline_feed_age_seconds",
            "Since the vendor was last heard of a match: a good document, or a sign of life of its push",
            ["match_id"],
            registry=self.registry,
        )
