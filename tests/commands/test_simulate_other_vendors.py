"""The guide for football-data.org, and the same with ESPN's form and MA1, against the simulated vendor."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from origin.eventlog import open_eventlog
from origin.feedworker.simulated_api_football import KEY
from shared_state import Event, Score, fold
from tests.commands.test_simulate_vendor import touchline


@pytest.mark.parametrize(
    ("vendor_name", "feed", "match_id", "path"),
    [
        ("football-data", "football-data-v4", "fd-1", "/v4/matches/{id}"),
        ("football-data", "football-data-v4", "", ""),
        ("espn", "espn-scoreboard", "espn-1", "/scoreboard"),
        ("espn", "espn-scoreboard", "", "/scoreboard"),
        ("stats-perform", "stats-perform-ma1", "sp-1", "/match"),
        ("stats-perform", "stats-perform-ma1", "", "/match"),
    ],
)
def test_the_final_ends_with_the_truth(
    tmp_path: Path, vendor_name: str, feed: str, match_id: str, path: str
) -> None:
    """One match that is named, with a request of its own; none is named, and one request has all."""
    followed = ["--match", match_id] if match_id else []
    match_id = match_id or {"football-data": "fd-1", "espn": "espn-1", "stats-perform": "sp-1"}[vendor_name]
    url = f"sqlite:{tmp_path / 'log.db'}"
    vendor = touchline("simulate-vendor", vendor_name, "--port", "0", "--seconds", "8")
    ingest = None
    events: list[Event] = []
    try:
        assert vendor.stdout is not None
        found = re.match(r"(http://127\.0\.0\.1:\d+)/", vendor.stdout.readline())
        assert found
        ingest = touchline(
            "ingest", "--feed", feed, *followed, "--url", found[1] + path,
            "--interval", "0.1", "--interval-over", "0.5",
            EVENTLOG_URL=url, TOUCHLINE_FEED_KEY=KEY,
        )  # fmt: skip
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            time.sleep(0.3)
            log = open_eventlog(url)
            events = [record.event for record in log.read_match(match_id)]
            log.close()
            if fold(match_id, events).status == "FT":
                break
    finally:
        for process in (vendor, ingest):
            if process is not None:
                process.terminate()
                process.wait(20)
                assert process.stdout is not None
                process.stdout.close()
    match = fold(match_id, events)
    assert (match.score, match.status) == (Score(4, 2), "FT")
    assert match.info is not None
    assert match.info.detail["home"]["name"] == "France"
    assert any(event.op == "AMEND" and event.type == "GOAL" for event in events)
