"""How many requests of the day are left is a metric, of a worker that polls the simulated vendor."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from random import Random

import pytest

from origin.eventlog import open_eventlog
from origin.feedworker.formats import open_format
from origin.feedworker.poller import Intervals
from origin.feedworker.simulated_api_football import KEY, ApiFootball, drawn
from origin.feedworker.worker import FeedWorker
from origin.metrics import Metrics

PATIENCE_S = 30.0
PER_DAY = 1_000


@pytest.mark.parametrize(
    ("feed", "matches", "path"),
    [("api-football-v3", [], ""), ("football-data-v4", ["fd-1"], "/v4/matches/{id}")],
)
def test_each_request_is_counted(feed: str, matches: list[str], path: str, tmp_path: Path) -> None:
    metrics = Metrics()
    log = open_eventlog(f"sqlite:{tmp_path / 'log.db'}")
    match = drawn(1, Random(1))
    match.advance()
    with ApiFootball(match) as vendor:
        worker = FeedWorker(
            open_format(feed), log, matches, vendor.url + path, key=KEY, metrics=metrics,
            requests_per_day=PER_DAY, intervals=Intervals(running_s=0.05, over_s=0.05, silence_s=60),
            random_unit=lambda: 0.0,
        )  # fmt: skip
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            until_s = time.monotonic() + PATIENCE_S
            left = None
            while left is None:
                assert time.monotonic() < until_s
                time.sleep(0.05)
                left = metrics.registry.get_sample_value("touchline_feed_requests_left", {"feed": feed})
        finally:
            worker.stop()
            thread.join(10)
    log.close()
    assert 0 < left < PER_DAY
