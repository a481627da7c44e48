"""The guide "From zero to live with a free key", run against the vendor that plays the 2018 final."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from origin.eventlog import open_eventlog
from origin.feedworker.simulated_api_football import KEY
from shared_state import Event, Score, fold

MATCH = "af-1"


def touchline(*arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "origin", *arguments],
        env={**os.environ, **more},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_from_zero_to_live(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'log.db'}"
    vendor = touchline("simulate-vendor", "api-football", "--port", "0", "--seconds", "8")
    ingest = None
    try:
        assert vendor.stdout is not None
        found = re.match(r"(http://127\.0\.0\.1:\d+) ", vendor.stdout.readline())
        assert found
        ingest = touchline(
            "ingest", "--feed", "api-football-v3", "--url", found[1], "--requests-per-day", "0",
            "--interval", "0.1", "--interval-over", "0.5",
            EVENTLOG_URL=url, TOUCHLINE_FEED_KEY=KEY,
        )  # fmt: skip
        until_s = time.monotonic() + 60
        events: list[Event] = []
        while time.monotonic() < until_s:
            time.sleep(0.3)
            log = open_eventlog(url)
            events = [record.event for record in log.read_match(MATCH)]
            log.close()
            if fold(MATCH, events).status == "FT":
                break
    finally:
        for process in (vendor, ingest):
            if process is not None:
                process.terminate()
                process.communicate(timeout=20)  # which closes its pipe too
    match = fold(MATCH, events)
    assert (match.score, match.status) == (Score(4, 2), "FT")
    assert match.info is not None
    assert match.info.detail["home"]["name"] == "France"
    assert any(event.op == "AMEND" and event.type == "GOAL" for event in events)
