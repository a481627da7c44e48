"""What happens to one match of a feed worker, or in one part of it, stops no other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from origin.eventlog import LogRecord
from origin.eventlog.deadletter import DeadLetter, MemoryDeadLetters
from origin.eventlog.limits import MatchLimits
from origin.eventlog.memory import MemoryEventLog
from origin.feedworker.formats import open_format
from origin.feedworker.intake import DELAYED_ID, Intake
from origin.metrics import Metrics
from shared_state import Event, fold
from shared_state.jsontext import MAX_INTEGER
from testkit.services.feedworker import INTERVALS, match_id_of, wait_until, working
from testkit.services.vendor import Vendor
from testkit.services.vendor_matches import OptaMatch, SportradarMatch

# --- A log that hangs ----------------------------------------------------------------------------


class Hanging(MemoryDeadLetters):
    """Takes no letter until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.let_go = threading.Event()

    def add(self, letter: DeadLetter) -> None:
        self.asked.set()
        self.let_go.wait(60)
        super().add(letter)


class HangingLog(MemoryEventLog):
    def __init__(self) -> None:
        super().__init__()
        self.letters = Hanging()

    def dead_letters(self) -> MemoryDeadLetters:
        return self.letters


@contextmanager
def hanging() -> Iterator[HangingLog]:
    log = HangingLog()
    try:
        yield log
    finally:
        log.letters.let_go.set()


def test_garbage_for_one_match_while_the_log_hangs_holds_up_no_other(tmp_path: Path) -> None:
    one, two = OptaMatch(), OptaMatch()
    two.number = "2"
    with Vendor(one, two) as vendor:
        one.document = lambda: b"<html>502</html>"  # type: ignore[method-assign]
        with hanging() as log, working(vendor, tmp_path, log=log) as work:
            assert log.letters.asked.wait(20)
            vendor.act("advance", 30, two.number)
            assert work.settle(two.number).status == "FT"
            log.letters.let_go.set()
            wait_until(lambda: log.letters.pending())


@pytest.mark.parametrize("fault", ["garbage", "unreadable"])
def test_garbage_in_the_stream_while_the_log_hangs_holds_up_no_match(fault: str, tmp_path: Path) -> None:
    with (
        Vendor(SportradarMatch()) as vendor,
        hanging() as log,
        working(vendor, tmp_path, log=log, push=True) as work,
    ):
        wait_until(lambda: vendor.streams)
        vendor.fail_push(fault)
        vendor.act("advance", 1)
        assert log.letters.asked.wait(20)
        vendor.act("advance", 30)
        assert work.settle().status == "FT"
        log.letters.let_go.set()  # or the worker would not end
        wait_until(lambda: log.letters.pending())


# --- A fault of ours -----------------------------------------------------------------------------


class FaultyLog(MemoryEventLog):
    """Fails for one match as nothing should: not with an error of its contract."""

    def __init__(self, match_id: str) -> None:
        super().__init__()
        self.faulty: str | None = match_id

    def read_match(self, match_id: str, after: int = -1) -> Iterator[LogRecord]:
        if match_id == self.faulty:
            raise ZeroDivisionError("nobody foresaw this")
        return super().read_match(match_id, after)


def test_a_fault_in_one_match_is_loud_and_ends_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = SportradarMatch(), SportradarMatch()
    two.number = "2"
    log = FaultyLog(match_id_of(one))
    with (
        caplog.at_level(logging.ERROR),
        Vendor(one, two) as vendor,
        working(vendor, tmp_path, log=log, push=True) as work,
    ):
        vendor.act("advance", 5, one.number)
        wait_until(lambda: work.count("touchline_feed_polls_total", feed=one.feed, result="fault") >= 2)
        vendor.act("advance", 30, two.number)
        assert work.settle(two.number).status == "FT"
        log.faulty = None
        work.settle(one.number)  # begun again after a pause
    told = [record for record in caplog.records if "a fault of ours" in record.getMessage()]
    assert any(match_id_of(one) in record.getMessage() for record in told)
    assert not any("sr-2" in record.getMessage() for record in told)
    assert "nobody foresaw this" in caplog.text  # with the traceback


def test_a_fault_while_a_match_is_marked_is_tried_again(tmp_path: Path) -> None:
    match = OptaMatch()
    log = FaultyLog("")
    impatient = replace(INTERVALS, silence_s=0.4)
    with Vendor(match) as vendor, working(vendor, tmp_path, log=log, intervals=impatient) as work:
        vendor.act("advance", 6)
        work.settle()
        log.faulty = match_id_of(match)
        vendor.down = "500"
        wait_until(lambda: work.count("touchline_feed_polls_total", feed=match.feed, result="fault") >= 1)
        log.faulty = None
        wait_until(lambda: work.match().status == "DELAYED")
        vendor.heal()
        assert work.settle().status == "LIVE"


# --- The end of time -----------------------------------------------------------------------------


def running(match_id: str, event_id: str) -> Event:
    status = {"match_id": match_id, "event_id": event_id, "rev": 1, "op": "ADD", "type": "STATUS_CHANGE"}
    return Event.from_json(status | {"period": "H1", "detail": {"to": "LIVE"}, "source_ts": MAX_INTEGER})


@pytest.mark.parametrize(("event_id", "marked"), [("desk", True), ("~desk", False)])
def test_a_status_at_the_end_of_time_is_covered_as_far_as_it_can_be(event_id: str, marked: bool) -> None:
    """There is no later moment; at the same one the id decides, and a mark that shows nothing is not made."""
    log = MemoryEventLog()
    log.append([running("opta-1", event_id)])
    intake = Intake("opta-1", open_format("opta-f24"), log, Metrics())
    assert intake.mark_delayed() is marked
    match = fold("opta-1", [record.event for record in log.read_match("opta-1")])
    assert match.status == ("DELAYED" if marked else "LIVE")
    assert (DELAYED_ID in match.records) is marked
    intake.unchanged()
    assert fold("opta-1", [record.event for record in log.read_match("opta-1")]).status == "LIVE"


def test_marks_end_where_revisions_do() -> None:
    log = MemoryEventLog()
    log.append([running("opta-1", "desk")])
    mark = {"match_id": "opta-1", "event_id": DELAYED_ID, "rev": MAX_INTEGER, "op": "RETRACT"}
    log.append([Event.from_json(mark)])
    assert not Intake("opta-1", open_format("opta-f24"), log, Metrics()).mark_delayed()


def test_a_match_that_is_too_large_is_dead_lettered_with_an_alarm(tmp_path: Path) -> None:
    log = MemoryEventLog()
    with (
        Vendor(SportradarMatch()) as vendor,
        working(vendor, tmp_path, log=log, push=True, match_limits=MatchLimits(max_events=2)) as work,
    ):
        wait_until(lambda: vendor.streams)
        vendor.act("advance", 30)
        wait_until(lambda: log.dead_letters().pending())
        assert work.count("touchline_feed_too_large_matches_total", feed="sportradar-v4") > 0
    assert "it would have more than 2" in log.dead_letters().pending()[0].reason
    assert log.size_of(match_id_of(SportradarMatch())).events <= 2


def test_a_pushed_message_of_a_match_that_is_too_large_does_not_end_the_stream(tmp_path: Path) -> None:
    log = MemoryEventLog()
    with (
        Vendor(SportradarMatch()) as vendor,
        working(vendor, tmp_path, log=log, push=True, match_limits=MatchLimits(max_events=1)) as work,
    ):
        wait_until(lambda: vendor.streams)
        reconnects = work.count("touchline_feed_push_reconnects_total", feed="sportradar-v4")
        vendor.act("advance", 30)
        wait_until(lambda: len(log.dead_letters().pending()) > 1)
        work.polled(3)
        assert work.count("touchline_feed_push_reconnects_total", feed="sportradar-v4") == reconnects


def test_a_status_at_the_end_of_time_ends_no_match(tmp_path: Path) -> None:
    one, two = OptaMatch(), OptaMatch()
    two.number = "2"
    log = MemoryEventLog()
    log.append([running(match_id_of(one), "~desk")])
    impatient = replace(INTERVALS, silence_s=0.4)
    with Vendor(one, two) as vendor, working(vendor, tmp_path, log=log, intervals=impatient) as work:
        vendor.act("advance", 6, two.number)
        work.settle(two.number)
        vendor.down = "500"
        wait_until(lambda: work.match("opta-2").status == "DELAYED")
        vendor.heal()
        vendor.act("advance", 30, two.number)
        assert work.settle(two.number).status == "FT"


# --- Two clocks ----------------------------------------------------------------------------------


def test_timelines_that_lag_behind_the_stream_still_take_back(tmp_path: Path) -> None:
    match = SportradarMatch()
    match.behind = timedelta(seconds=2)
    with Vendor(match) as vendor, working(vendor, tmp_path / "log.db", push=True) as work:
        wait_until(lambda: vendor.streams)
        for _ in range(3):
            vendor.act("advance", 2)
            vendor.act("invent")
            work.settle()
            vendor.act("delete")
            vendor.act("advance")
            work.settle()
        assert len(work.match().retracted()) >= 3


def test_one_message_from_the_future_changes_nothing_and_is_kept(tmp_path: Path) -> None:
    with Vendor(SportradarMatch()) as vendor, working(vendor, tmp_path / "log.db", push=True) as work:
        vendor.act("advance", 5)
        work.settle()
        wait_until(lambda: vendor.streams)
        vendor.fail_push("future")
        vendor.act("advance", 1)
        wait_until(lambda: work.log.dead_letters().pending())
        (letter,) = work.log.dead_letters().pending()
        assert "payload.event.time: must be at most 5 minutes ahead of our clock" in letter.reason
        assert work.settle().status == "LIVE"
        vendor.act("advance", 30)
        assert work.settle().status == "FT"
