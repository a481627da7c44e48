"""Every fault of a vendor, over real HTTP: in the end the log tells what the vendor's last document tells.

What the log had before a fault is still there after it, in place; the worker lives; what could not be read
is among the dead letters.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from origin.errors import EventLogError
from origin.eventlog import Appended, SignedBy
from origin.eventlog.memory import MemoryEventLog, wall_clock_ms
from origin.eventlog.sqlite import SqliteEventLog
from origin.feeds.vendor_document import STANDS_MS
from origin.feedworker.dead_letters import DEAD_LETTER_MAX_BYTES, DEAD_LETTERS_PER_HOUR
from shared_state import Event, Score, fold
from testkit.command import ROOT, touchline
from testkit.services.feedworker import INTERVALS, expected, match_id_of, seen, wait_until, working
from testkit.services.process import ServerProcess
from testkit.services.vendor import ACTIONS, FAULTS, KEY, PUSH_FAULTS, Vendor
from testkit.services.vendor_matches import OptaMatch, SportradarMatch

VENDORS = [OptaMatch, SportradarMatch]
# What each leaves among the dead letters, as far as it leaves anything.
LETTERS = {
    "half": "not XML|not JSON",
    "garbage": "not XML|not JSON|no Games element",
    "absurd": "is neither team|must be home or away",
    "entities": "DTDForbidden|not JSON",
    "deep": "nested too deep",
    "empty": "not XML|not JSON",
    "other": "the document has no match",
    "huge": "at most 1000000 bytes",
    "bomb": "at most 1000000 bytes",
    "notgzip": "is not gzip",
}
RESULTS = {
    "stall": "timeout",
    "drip": "timeout",
    "500": "server_error",
    "401": "refused",
    "404": "client_error",
    "429": "limited",
    "cut": "network",
    "half": "unreadable",
    "garbage": "unreadable",
    "absurd": "unreadable",
    "entities": "unreadable",
    "deep": "unreadable",
    "other": "unreadable",
    "empty": "unreadable",
    "huge": "too_large",
    "bomb": "too_large",
    "notgzip": "unreadable",
    "redirect": "ok",
    "loop": "redirect",
    "stale": "ok",
    "same": "ok",
}


@pytest.mark.parametrize("kind", VENDORS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_document(kind: type[OptaMatch | SportradarMatch], fault: str, tmp_path: Path) -> None:
    match = kind()
    with Vendor(match) as vendor, working(vendor, tmp_path / "log.db") as work:
        vendor.act("advance", 6)
        vendor.act("invent")
        work.settle()
        before = work.events(match_id_of(match))
        vendor.fail(fault)
        vendor.act("delete")
        vendor.act("advance", 12)
        work.faulted()
        work.settle()
        assert work.events(match_id_of(match))[: len(before)] == before
        result = RESULTS.get(fault, "client_error")  # to another origin: without the key, 401
        if fault != "away":
            assert work.count("touchline_feed_polls_total", feed=kind.feed, result=result) >= 1
        letters = work.log.dead_letters().pending()
        assert len(letters) == (fault in LETTERS)
        for letter in letters:
            assert letter.is_document
            assert letter.reason.startswith(f"{kind.feed} {match_id_of(match)}: ")
            assert any(part in letter.reason for part in LETTERS[fault].split("|"))
            assert len(letter.payload) <= DEAD_LETTER_MAX_BYTES


@pytest.mark.parametrize("fault", PUSH_FAULTS)
def test_a_fault_of_the_stream(fault: str, tmp_path: Path) -> None:
    with Vendor(SportradarMatch()) as vendor, working(vendor, tmp_path / "log.db", push=True) as work:
        vendor.act("advance", 2)
        work.settle()
        wait_until(lambda: vendor.streams)
        vendor.fail_push(fault)
        vendor.act("advance", 8)
        work.settle()
        if fault in ("garbage", "unreadable", "future"):
            wait_until(lambda: work.log.dead_letters().pending())
            (letter,) = work.log.dead_letters().pending()
            assert letter.reason.startswith("sportradar-v4 push stream: ")
        vendor.heal()
        wait_until(lambda: vendor.streams)
        vendor.act("advance", 20)
        assert work.settle().status == "FT"


def test_garbage_can_be_listed_and_is_not_driven_again(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with Vendor(OptaMatch()) as vendor, working(vendor, path) as work:
        vendor.fail("garbage", "garbage", "garbage")
        work.faulted()
        vendor.act("advance", 3)
        work.settle()
    env = {"EVENTLOG_URL": f"sqlite:///{path}"}
    (line,) = touchline("dlq", "list", env=env).lines
    letter = json.loads(line)
    assert letter["payload"] == "<html>502 Bad Gateway</html>"
    assert letter["reason"].startswith("opta-f24 opta-958113: line 1: ")
    assert touchline("dlq", "redrive", letter["id"], env=env).code == 1
    assert touchline("dlq", "discard", letter["id"], env=env).code == 0
    assert touchline("dlq", "list", env=env).lines == []


def test_a_vendor_of_ever_new_garbage_does_not_fill_the_log(tmp_path: Path) -> None:
    with (
        Vendor(OptaMatch()) as vendor,
        working(vendor, tmp_path / "log.db", random_unit=lambda: 0.0005) as work,
    ):
        vendor.down = "half"  # each with another time in it
        wait_until(
            lambda: (
                work.count("touchline_feed_dead_letters_total", feed="opta-f24") > DEAD_LETTERS_PER_HOUR + 3
            )
        )
        assert len(work.log.dead_letters().pending()) == DEAD_LETTERS_PER_HOUR
        vendor.heal()
        vendor.act("advance", 30)
        work.settle()


def test_a_vendor_that_asks_to_wait_is_left_alone(tmp_path: Path) -> None:
    with Vendor(OptaMatch()) as vendor, working(vendor, tmp_path / "log.db") as work:
        work.polled(1)
        vendor.fail("429")
        work.faulted()
        what = [request.what for request in vendor.requests]
        limited = what.index("429")
        assert vendor.requests[limited + 1].at_s - vendor.requests[limited].at_s >= 1.0


def test_a_vendor_that_is_away_from_the_start(tmp_path: Path) -> None:
    vendor = Vendor(SportradarMatch())
    with working(vendor, tmp_path / "log.db", push=True) as work:
        # It listens, and nobody answers yet.
        wait_until(lambda: work.count("touchline_feed_polls_total", feed="sportradar-v4", result="timeout"))
        with vendor:
            vendor.act("advance", 30)
            work.settle()


class FailingLog(MemoryEventLog):
    """A log whose appends fail while ``broken``; some of them although they were taken."""

    broken = False
    taken = False

    def append(
        self,
        events: object,
        key: str | None = None,
        signed_by: SignedBy | None = None,
        traceparent: str | None = None,
    ) -> Appended:
        if self.broken:
            self.taken = not self.taken
            if self.taken:
                super().append(events, key, signed_by, traceparent)  # type: ignore[arg-type]
            raise EventLogError("no answer")
        return super().append(events, key, signed_by, traceparent)  # type: ignore[arg-type]


@pytest.mark.parametrize("push", [False, True])
def test_what_the_log_did_not_take_is_read_again(push: bool, tmp_path: Path) -> None:
    log = FailingLog()
    with (
        Vendor(SportradarMatch(), etags=True) as vendor,
        working(vendor, tmp_path, log=log, push=push) as work,
    ):
        vendor.act("advance", 3)
        work.settle()
        log.broken = True
        for _ in range(4):
            vendor.act("advance", 3)
            work.polled(1)
        log.broken = False
        work.settle()


@pytest.mark.parametrize("etags", [False, True])
def test_a_goal_that_was_deleted_while_no_worker_ran_is_taken_back(etags: bool, tmp_path: Path) -> None:
    """By the second timeline that lacks it; where the vendor has no newer one, once that stood for long."""
    log = FailingLog()
    ahead_ms = 0

    def now_ms() -> int:
        return wall_clock_ms() + ahead_ms

    with Vendor(SportradarMatch(), etags=etags) as vendor:
        with working(vendor, tmp_path, log=log) as work:
            vendor.act("advance", 4)
            assert work.settle().score == Score(1, 0)
        vendor.act("delete")
        with working(vendor, tmp_path, log=log, now_ms=now_ms) as work:
            if etags:
                work.polled(4)
                assert work.count("touchline_feed_polls_total", feed="sportradar-v4", result="unchanged") >= 2
                assert work.match().score == Score(1, 0)
                log.broken = log.taken = True  # the next append is not taken, and must not be forgotten
                ahead_ms = STANDS_MS
                wait_until(
                    lambda: work.count("touchline_feed_polls_total", feed="sportradar-v4", result="log")
                )
                log.broken = False
                work.polled(4)
                ahead_ms = 2 * STANDS_MS
            assert work.settle().score == Score(0, 0)


# --- Sequences -----------------------------------------------------------------------------------

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("act"), st.sampled_from(ACTIONS)),
        st.tuples(st.just("act"), st.just("advance")),
        # Those that only cost time are above.
        st.tuples(st.just("fail"), st.sampled_from(sorted({*FAULTS} - {"stall", "drip", "429", "bomb"}))),
        st.tuples(
            st.just("fail_push"), st.sampled_from(sorted({*PUSH_FAULTS} - {"mute", "blank", "endless"}))
        ),
        st.tuples(st.just("poll"), st.just("")),
        st.tuples(st.just("restart"), st.just("")),
    ),
    min_size=4,
    max_size=16,
)


@pytest.mark.parametrize("kind", VENDORS)
@settings(max_examples=12)
@given(steps=_STEPS, advanced=st.integers(3, 12))
def test_any_sequence_ends_as_the_last_document_alone(
    kind: type[OptaMatch | SportradarMatch], steps: list[tuple[str, str]], advanced: int
) -> None:
    match = kind()
    push = kind is SportradarMatch
    runs: list[list[tuple[str, str]]] = [[]]
    for step in steps:
        if step[0] == "restart":
            runs.append([])
        else:
            runs[-1].append(step)
    with tempfile.TemporaryDirectory() as directory, Vendor(match) as vendor:
        path = Path(directory) / "log.db"
        vendor.act("advance", advanced)
        before: list[Event] = []
        for run in runs:
            with working(vendor, path, push=push) as work:
                for what, name in run:
                    if what == "poll":
                        work.polled(1)
                    else:
                        getattr(vendor, what)(name)
                after = work.events(match_id_of(match))
                assert after[: len(before)] == before
                before = after
        vendor.heal()
        with working(vendor, path, push=push) as work:
            work.settle()
            assert work.events(match_id_of(match))[: len(before)] == before


# --- kill -9 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", VENDORS)
def test_a_killed_worker_is_followed_by_one_that_loses_nothing(
    kind: type[OptaMatch | SportradarMatch], tmp_path: Path
) -> None:
    match = kind()
    path = tmp_path / "log.db"
    with Vendor(match) as vendor:
        argv = [sys.executable, "-W", "error", "-m", "origin", "ingest", "--feed", kind.feed]
        argv += ["--match", match_id_of(match), "--interval", "0.05", "--interval-over", "0.05"]
        argv += ["--silence", "0.5"]
        env = {
            "EVENTLOG_URL": f"sqlite:///{path}",
            "PYTHONPATH": str(ROOT),
            "TOUCHLINE_FEED_URL": vendor.template,
            "TOUCHLINE_FEED_KEY": KEY,
            "TOUCHLINE_LOG_LEVEL": "debug",
        }
        if kind is SportradarMatch:
            env["TOUCHLINE_FEED_PUSH_URL"] = vendor.push_url
        log = SqliteEventLog(path)

        def events() -> list[Event]:
            return [record.event for record in log.read_match(match_id_of(match))]

        before: list[Event] = []
        for turn in range(3):
            worker = ServerProcess(argv, log_path=tmp_path / "worker.log", env=env)
            vendor.act("advance", 4)
            vendor.act("invent")
            known = len(before)
            worker.wait_until(lambda: len(events()) > known)  # noqa: B023  called before it changes
            for _ in range(3):  # killed within what comes now, or after it
                vendor.act("advance", 1)
                time.sleep(0.03 * turn)
            worker.kill()
            vendor.act("delete")
            assert events()[: len(before)] == before
            before = events()
        with ServerProcess(argv, log_path=tmp_path / "worker.log", env=env) as worker:
            wanted = expected(vendor)
            worker.wait_until(lambda: seen(fold(match_id_of(match), events())) == wanted)
            assert worker.stop() == 0
        assert events()[: len(before)] == before
        log.close()
    told = (tmp_path / "worker.log").read_text()
    assert KEY not in told
    assert "in-the-query" not in told


def test_an_outage_of_minutes_is_one_mark(tmp_path: Path) -> None:
    """Marked once, however often it is looked at, and whoever else waits."""
    impatient = replace(INTERVALS, silence_s=0.2)
    with Vendor(OptaMatch()) as vendor, working(vendor, tmp_path / "log.db", intervals=impatient) as work:
        vendor.act("advance", 6)
        work.settle()
        vendor.down = "stall"
        wait_until(lambda: work.match().status == "DELAYED")
        wait_until(lambda: work.count("touchline_feed_age_seconds", match_id="opta-958113") > 1)
        vendor.down = None
        work.settle()
        marks = [event.op for event in work.events("opta-958113") if event.source == "touchline"]
        assert marks == ["ADD", "RETRACT"] * (len(marks) // 2)
