"""A Saturday in scaled time: matches with edits and faults, through the real worker and log, of each feed.

``python -m tests.faults.test_saturday [SEED [SEEDS [FEED …]]]`` plays it whole: 40 matches for each seed.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from origin.eventlog import EventLog, open_eventlog
from origin.feeds import open_converter
from origin.feeds.pairing import words
from origin.feedworker.formats import open_format
from origin.feedworker.poller import Intervals
from origin.feedworker.simulated_api_football import (
    EDITS,
    FAULTS,
    KEY,
    ApiFootball,
    FixtureMatch,
    drawn,
    without_changes,
)
from origin.feedworker.simulated_forms import as_espn, as_football_data, as_ma1
from origin.feedworker.worker import FeedWorker
from shared_state import Match, fold

# The vendor's day runs this many times as fast as ours, for the worker too: what a cache is measured by.
SPEED = 600
READ_S = 0.05
SLOW = ("429", "stall")


class ScaledClock:
    """UTC milliseconds that begin now and run faster."""

    def __init__(self) -> None:
        self._begin_s = time.time()

    def __call__(self) -> int:
        return round((self._begin_s + (time.time() - self._begin_s) * SPEED) * 1000)


def stands(match: Match) -> Counter[Any]:
    return Counter((event.type, words(event)) for event in match.events())


class Form(NamedTuple):
    """How a vendor answers: the path of its list, its prefix of match ids, and one match as a document."""

    path: str
    prefix: str
    document: Callable[[dict[str, Any]], dict[str, Any]]


FORMS = {
    "api-football-v3": Form(
        "", "af-", lambda fixture: {"errors": [], "response": [without_changes(fixture)]}
    ),
    "football-data-v4": Form("", "fd-", as_football_data),
    "espn-scoreboard": Form("/scoreboard", "espn-", lambda fixture: as_espn([fixture])),
    "stats-perform-ma1": Form("/match", "sp-", as_ma1),
}


def last_document(feed: str, match: FixtureMatch) -> Match:
    """What the vendor's document alone says now."""
    form = FORMS[feed]
    body = json.dumps(form.document(match.changed_fixture())).encode()
    return fold(f"{form.prefix}{match.number}", open_converter(feed)(io.BytesIO(body), lambda _: None))


def saturday(
    count: int, directory: Path, seed: int, deadline_s: float, feed: str = "api-football-v3"
) -> dict[int, tuple[Match, Match]]:
    """Play a day; for each match what the log makes of it, and what the vendor's last document says."""
    draw = Random(seed)
    matches = [drawn(number, draw) for number in range(1, count + 1)]
    log = open_eventlog(f"sqlite:{directory / 'log.db'}")
    with ApiFootball(*matches) as vendor:
        workers: list[tuple[FeedWorker, threading.Thread]] = []

        def begin() -> None:
            worker = FeedWorker(
                open_format(feed), log, [], vendor.url + FORMS[feed].path, key=KEY,
                intervals=Intervals(running_s=READ_S, over_s=0.2, silence_s=600), now_ms=ScaledClock(),
                random_unit=lambda: 0.0,
            )  # fmt: skip
            thread = threading.Thread(target=worker.run)
            thread.start()
            workers.append((worker, thread))

        def end() -> None:
            worker, thread = workers[-1]
            worker.stop()
            thread.join(10)
            assert not thread.is_alive()

        begin()
        turns = 0
        while not all(match.over for match in matches):
            turns += 1
            with vendor.lock:
                for match in matches:
                    if match.over or draw.random() < 0.5:
                        continue
                    if match.events and draw.random() < 0.25:
                        match.edit(draw.choice(EDITS), draw)
                    else:
                        match.advance()
                if draw.random() < 0.3:
                    vendor.faults.append(draw.choice([fault for fault in FAULTS if fault not in SLOW]))
                if turns % 10 == 3:  # these cost a second each, so they are met now and then
                    vendor.faults.append(SLOW[turns // 10 % len(SLOW)])
            if turns == 8:  # the worker begins anew: what it knows is what the log has
                end()
                begin()
            time.sleep(0.06)
        vendor.faults.extend(["429", "stall"])
        truth = {}
        for match in matches:
            truth[match.number] = last_document(feed, match)
        until_s = time.monotonic() + deadline_s
        while time.monotonic() < until_s:
            ids = {number: f"{FORMS[feed].prefix}{number}" for number in truth}
            found = {
                number: fold(id_, [record.event for record in log.read_match(id_)])
                for number, id_ in ids.items()
            }
            if all(stands(found[number]) == stands(truth[number]) for number in truth):
                break
            time.sleep(0.3)
        end()
    log.close()
    return {number: (found[number], truth[number]) for number in truth}


@pytest.mark.parametrize("feed", sorted(FORMS))
def test_a_saturday_ends_with_the_truth(feed: str, tmp_path: Path) -> None:
    for found, truth in saturday(6, tmp_path, seed=14, deadline_s=40, feed=feed).values():
        assert stands(found) == stands(truth)
        assert (found.score, found.status) == (truth.score, "FT")


def status_of(log: EventLog, match_id: str) -> str:
    return fold(match_id, [record.event for record in log.read_match(match_id)]).status


def wait_for(log: EventLog, match_id: str, status: str) -> None:
    until_s = time.monotonic() + 30
    while status_of(log, match_id) != status:
        assert time.monotonic() < until_s, f"{match_id} is {status_of(log, match_id)}, not {status}"
        time.sleep(0.1)


def test_a_vendor_that_fails_for_long_marks_its_live_matches(tmp_path: Path) -> None:
    match = drawn(1, Random(1))
    log = open_eventlog(f"sqlite:{tmp_path / 'log.db'}")
    with ApiFootball(match) as vendor:
        worker = FeedWorker(
            open_format("api-football-v3"), log, [], vendor.url, key=KEY,
            intervals=Intervals(running_s=READ_S, over_s=0.2, silence_s=0.3), random_unit=lambda: 0.1,
        )  # fmt: skip
        thread = threading.Thread(target=worker.run)
        thread.start()
        wait_for(log, "af-1", "SCHEDULED")
        with vendor.lock:
            match.advance()
        wait_for(log, "af-1", "LIVE")
        with vendor.lock:
            vendor.faults.extend(["500"] * 40)
        wait_for(log, "af-1", "DELAYED")
        with vendor.lock:
            vendor.faults.clear()
        wait_for(log, "af-1", "LIVE")
        worker.stop()
        thread.join(10)
        assert not thread.is_alive()
    log.close()


def main() -> None:
    """Play Saturdays whole, and print what of each does not end with the truth."""
    given = [int(text) for text in sys.argv[1:3]]
    first, seeds = (*given, *[14, 1][len(given) :])
    failed = False
    for feed in sys.argv[3:] or ["api-football-v3"]:
        for seed in range(first, first + seeds):
            with tempfile.TemporaryDirectory() as directory:
                played = saturday(40, Path(directory), seed, deadline_s=120, feed=feed)
            lost = sum((stands(truth) - stands(found)).total() for found, truth in played.values())
            twice = sum((stands(found) - stands(truth)).total() for found, truth in played.values())
            other = sum(
                (found.score, found.status) != (truth.score, "FT") for found, truth in played.values()
            )
            events = sum(stands(truth).total() for _, truth in played.values())
            print(
                f"{feed} seed {seed}: {len(played)} matches, {events} events, {lost} lost, {twice} twice, "
                f"{other} with another score or status",
                flush=True,
            )
            failed |= bool(lost or twice or other)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
