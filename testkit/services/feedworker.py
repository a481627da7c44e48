"""A feed worker in a thread of the test, on a SQLite log, against a simulated vendor."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from origin.eventlog import EventLog
from origin.eventlog.memory import wall_clock_ms
from origin.eventlog.sqlite import SqliteEventLog
from origin.feeds.vendor_document import VendorDocumentFeed
from origin.feedworker.client import ClientLimits
from origin.feedworker.formats import open_format
from origin.feedworker.poller import Intervals
from origin.feedworker.worker import FeedWorker
from origin.metrics import Metrics
from shared_state import Event, Match, fold
from shared_state.jsontext import JsonObject, canonical
from testkit.services.vendor import KEY, Vendor
from testkit.services.vendor_matches import OptaMatch, SportradarMatch
from testkit.vendor_simulator import shown

__all__ = ["Working", "alone", "expected", "match_id_of", "seen", "wait_until", "working"]

PATIENCE_S = 30.0
INTERVALS = Intervals(running_s=0.03, over_s=0.03, silence_s=30.0, heartbeat_s=1.0)
LIMITS = ClientLimits(connect_s=2.0, exchange_s=0.5, body_max_bytes=1_000_000)


def match_id_of(match: OptaMatch | SportradarMatch) -> str:
    return f"{'opta' if isinstance(match, OptaMatch) else 'sr'}-{match.number}"


def alone(vendor: Vendor, number: str | None = None) -> Match:
    """What the vendor's document alone tells, now."""
    match = vendor.matches[number] if number else next(iter(vendor.matches.values()))
    with vendor.lock:
        document = match.document()
    (snapshot,) = open_format(match.feed).read(document, wall_clock_ms())
    return fold(snapshot.match_id, VendorDocumentFeed(snapshot.match_id, lambda _: None).take(snapshot))


def expected(vendor: Vendor, number: str | None = None) -> JsonObject:
    """What a reader sees of ``alone``."""
    return seen(alone(vendor, number))


def seen(match: Match) -> JsonObject:
    """What a reader sees.

    Two things depend on the documents before the last: the time of occurrence is the first one that was
    sent, and a goal that was entered again keeps its first id (decision 55).
    """
    view = shown(match, "source_ts")
    events = [{**event, "event_id": ""} if event["type"] == "GOAL" else event for event in view["events"]]
    return view | {"events": sorted(events, key=canonical)}


def wait_until(ready: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s {what}"
        time.sleep(0.01)


class Working:
    """A worker that runs."""

    def __init__(self, worker: FeedWorker, log: EventLog, metrics: Metrics, vendor: Vendor) -> None:
        self.worker = worker
        self.log = log
        self.metrics = metrics
        self.vendor = vendor

    def events(self, match_id: str) -> list[Event]:
        return [record.event for record in self.log.read_match(match_id)]

    def match(self, match_id: str | None = None) -> Match:
        match_id = match_id or match_id_of(next(iter(self.vendor.matches.values())))
        return fold(match_id, self.events(match_id))

    def settle(self, number: str | None = None) -> Match:
        """Wait until the log folds to what the vendor's document alone does."""
        wanted = expected(self.vendor, number)
        match = self.vendor.matches[number] if number else next(iter(self.vendor.matches.values()))
        match_id = match_id_of(match)
        try:
            wait_until(lambda: seen(self.match(match_id)) == wanted)
        except AssertionError:
            assert seen(self.match(match_id)) == wanted
        return self.match(match_id)

    def polled(self, times: int = 1) -> None:
        """Wait for so many further requests."""
        target = len(self.vendor.requests) + times
        wait_until(lambda: len(self.vendor.requests) >= target, f"for {times} requests")

    def faulted(self) -> None:
        """Wait until every fault that was ordered has been met, and one good answer after it."""
        wait_until(lambda: not self.vendor.pending_faults, "for the faults")
        self.polled(2)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@contextmanager
def working(
    vendor: Vendor, path: Path, *, push: bool = False, log: EventLog | None = None, **given: Any
) -> Iterator[Working]:
    """Run a worker on all the vendor's matches, and stop it at the end."""
    own = log is None
    log = log or SqliteEventLog(path)
    metrics = Metrics()
    first = next(iter(vendor.matches.values()))
    settings = {
        "push_url": vendor.push_url if push else None,
        "key": KEY,
        "intervals": INTERVALS,
        "limits": LIMITS,
        "metrics": metrics,
        # Nearly no waiting after a failure: a share of a second, doubling.
        "random_unit": lambda: 0.02,
    } | given
    matches = [match_id_of(match) for match in vendor.matches.values()]
    worker = FeedWorker(open_format(first.feed), log, matches, vendor.template, **settings)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield Working(worker, log, metrics, vendor)
        assert thread.is_alive(), "the worker has died"
    finally:
        worker.stop()
        thread.join(20)
        assert not thread.is_alive()
        if own:
            log.close()
