"""The feed worker against a vendor that behaves: polls, pushes, outages, restarts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from origin.errors import ConfigError
from origin.eventlog.memory import MemoryEventLog
from origin.feedworker.formats import open_format
from origin.feedworker.intake import DELAYED_ID
from origin.feedworker.poller import SPACING_S, Intervals
from origin.feedworker.worker import FeedWorker
from shared_state import Event, Score
from testkit.services.feedworker import INTERVALS, match_id_of, wait_until, working
from testkit.services.vendor import Vendor
from testkit.services.vendor_matches import OptaMatch, SportradarMatch

VENDORS = [OptaMatch, SportradarMatch]


@pytest.mark.parametrize("kind", VENDORS)
def test_a_match_is_read_as_it_is_played(kind: type[OptaMatch | SportradarMatch], tmp_path: Path) -> None:
    with Vendor(kind()) as vendor, working(vendor, tmp_path / "log.db") as work:
        for _ in range(5):
            vendor.act("advance", 5)
            work.polled(1)
        assert work.settle().score == Score(4, 2)
        assert work.match().status == "FT"
        assert work.count("touchline_feed_polls_total", feed=kind.feed, result="ok") > 3
        assert work.log.dead_letters().pending() == []


@pytest.mark.parametrize("kind", VENDORS)
def test_what_is_taken_back_is_taken_back(kind: type[OptaMatch | SportradarMatch], tmp_path: Path) -> None:
    with Vendor(kind()) as vendor, working(vendor, tmp_path / "log.db") as work:
        vendor.act("advance", 6)
        work.settle()
        for action in ("invent", "touch", "delete", "invent", "retype", "advance"):
            vendor.act(action)
            work.settle()
        assert len(work.match().retracted()) == 2


def test_what_does_not_change_is_not_appended(tmp_path: Path) -> None:
    with Vendor(OptaMatch()) as vendor, working(vendor, tmp_path / "log.db") as work:
        vendor.act("advance", 30)
        work.settle()
        before = work.events("opta-958113")
        work.polled(5)
        assert work.events("opta-958113") == before


@pytest.mark.parametrize("kind", VENDORS)
def test_a_worker_that_starts_anew_appends_nothing_twice(
    kind: type[OptaMatch | SportradarMatch], tmp_path: Path
) -> None:
    match = kind()
    with Vendor(match) as vendor:
        with working(vendor, tmp_path / "log.db") as work:
            vendor.act("advance", 30)
            vendor.act("invent")
            work.settle()
            vendor.act("delete")
            work.settle()
            before = work.events(match_id_of(match))
        with working(vendor, tmp_path / "log.db") as work:
            work.polled(5)
            assert work.events(match_id_of(match)) == before
            vendor.act("invent")
            work.settle()
            assert work.events(match_id_of(match))[: len(before)] == before


def test_an_unchanged_document_is_not_sent_again(tmp_path: Path) -> None:
    with Vendor(SportradarMatch(), etags=True) as vendor, working(vendor, tmp_path / "log.db") as work:
        vendor.act("advance", 3)
        work.settle()
        work.polled(3)
        assert work.count("touchline_feed_polls_total", feed="sportradar-v4", result="unchanged") >= 2
        vendor.act("advance")
        work.settle()


def test_several_matches_in_one_process(tmp_path: Path) -> None:
    one, two = SportradarMatch(), SportradarMatch()
    two.number = "2"
    with Vendor(one, two) as vendor, working(vendor, tmp_path / "log.db", push=True) as work:
        vendor.act("advance", 5, one.number)
        vendor.act("advance", 30, two.number)
        work.settle(one.number)
        work.settle(two.number)
        assert (work.match("sr-2").status, work.match(match_id_of(one)).status) == ("FT", "LIVE")
        assert len([request for request in vendor.requests if request.what == "subscribe"]) == 1


def test_a_push_comes_before_the_next_poll(tmp_path: Path) -> None:
    slow = replace(INTERVALS, running_s=3_000.0)
    with Vendor(SportradarMatch()) as vendor:
        vendor.act("advance", 2)
        with working(vendor, tmp_path / "log.db", push=True, intervals=slow) as work:
            work.settle()
            wait_until(lambda: vendor.streams)
            vendor.act("advance", 1)
            wait_until(lambda: work.match().score == Score(1, 0))
            # One reading at the start, and one because the stream was opened.
            assert len([request for request in vendor.requests if request.what == "ok"]) <= 2
            # Counted once the log has it, so a moment after the score can be seen.
            counted = {"feed": "sportradar-v4", "kind": "push"}
            wait_until(lambda: work.count("touchline_feed_documents_total", **counted) == 1)


def test_after_a_lost_connection_the_timeline_is_read_again(tmp_path: Path) -> None:
    slow = replace(INTERVALS, running_s=3_000.0)
    with Vendor(SportradarMatch()) as vendor:
        vendor.act("advance", 2)
        with working(vendor, tmp_path / "log.db", push=True, intervals=slow) as work:
            work.settle()
            wait_until(lambda: vendor.streams)
            vendor.fail_push("drop", "drop")
            vendor.act("advance", 2)
            vendor.fail_push("cut")
            work.settle()
            assert work.match().score == Score(1, 0)


@pytest.mark.parametrize("fault", ["mute", "blank", "endless"])
def test_a_silent_stream_is_given_up(fault: str, tmp_path: Path) -> None:
    """Silent is one without an object, whatever else it sends."""
    with Vendor(SportradarMatch()) as vendor:
        impatient = replace(INTERVALS, heartbeat_s=0.5)
        with working(vendor, tmp_path / "log.db", push=True, intervals=impatient) as work:
            wait_until(lambda: vendor.streams)
            vendor.fail_push(fault)
            wait_until(lambda: work.count("touchline_feed_push_reconnects_total", feed="sportradar-v4") >= 1)
            vendor.heal()
            vendor.act("advance", 30)
            work.settle()


def test_the_key_is_sent_to_the_vendor_alone(tmp_path: Path) -> None:
    with Vendor(SportradarMatch()) as vendor, working(vendor, tmp_path / "log.db", push=True) as work:
        vendor.fail("away")
        vendor.act("advance", 3)
        work.faulted()
        work.settle()
        hosts = {request.headers["host"].split(":")[0]: request.headers for request in vendor.requests}
        assert set(hosts) == {"127.0.0.1", "localhost"}
        assert "x-api-key" not in hosts["localhost"]
        streams = [request for request in vendor.requests if request.what == "stream"]
        assert all("x-api-key" in request.headers for request in streams)  # the same origin


def test_a_score_that_is_not_what_the_goals_make_is_an_alarm_and_changes_nothing(tmp_path: Path) -> None:
    match = SportradarMatch()
    with Vendor(match) as vendor, working(vendor, tmp_path / "log.db") as work:
        vendor.act("advance", 5)
        work.settle()
        status = match.status
        match.status = lambda: status() | {"home_score": 7}  # type: ignore[method-assign]
        wait_until(lambda: work.count("touchline_feed_score_alarms_total", feed="sportradar-v4") >= 1)
        assert work.settle().score == Score(1, 1)


# --- Outages -------------------------------------------------------------------------------------

IMPATIENT = replace(INTERVALS, silence_s=0.4)


@pytest.mark.parametrize("kind", VENDORS)
def test_an_outage_marks_the_match_and_is_taken_back(
    kind: type[OptaMatch | SportradarMatch], tmp_path: Path
) -> None:
    with Vendor(kind()) as vendor, working(vendor, tmp_path / "log.db", intervals=IMPATIENT) as work:
        vendor.act("advance", 6)
        before = work.settle()
        assert before.status == "LIVE"
        for _ in range(2):  # a second outage is marked again
            vendor.down = "500"
            wait_until(lambda: work.match().status == "DELAYED")
            assert (work.match().period, work.match().score) == (before.period, before.score)
            vendor.act("advance", 1)
            vendor.heal()
            assert work.settle().status == "LIVE"
        assert work.count("touchline_feed_outages_total", feed=kind.feed) == 2
        (mark,) = {
            event.event_id for event in work.events(match_id_of(kind())) if event.source == "touchline"
        }
        assert mark == DELAYED_ID


def test_an_outage_never_covers_the_end_of_a_match(tmp_path: Path) -> None:
    with Vendor(OptaMatch()) as vendor, working(vendor, tmp_path / "log.db", intervals=IMPATIENT) as work:
        vendor.act("advance", 30)
        work.settle()
        vendor.down = "500"
        work.polled(4)
        wait_until(lambda: work.count("touchline_feed_age_seconds", match_id="opta-958113") > 1)
        assert work.match().status == "FT"
        assert work.count("touchline_feed_outages_total", feed="opta-f24") == 0


def test_an_outage_gives_way_to_an_end_that_an_editor_posts(tmp_path: Path) -> None:
    with Vendor(OptaMatch()) as vendor, working(vendor, tmp_path / "log.db", intervals=IMPATIENT) as work:
        vendor.act("advance", 6)
        work.settle()
        vendor.down = "500"
        wait_until(lambda: work.match().status == "DELAYED")
        end = {"match_id": "opta-958113", "event_id": "desk", "rev": 1, "op": "ADD", "type": "STATUS_CHANGE"}
        end |= {"period": "POST", "detail": {"to": "ABANDONED"}, "source_ts": 1_700_000_000_000}
        work.log.append([Event.from_json(end)])
        wait_until(lambda: work.match().status == "ABANDONED")


def test_a_match_that_is_not_played_yet_is_not_marked(tmp_path: Path) -> None:
    match = OptaMatch()
    match.reschedule("2099-07-15T15:00:00")
    with Vendor(match) as vendor, working(vendor, tmp_path / "log.db", intervals=IMPATIENT) as work:
        vendor.act("advance", 1)
        work.settle()
        vendor.down = "500"
        wait_until(lambda: work.count("touchline_feed_age_seconds", match_id="opta-958113") > 1)
        assert work.match().status == "SCHEDULED"


def test_a_match_that_should_have_begun_is_marked(tmp_path: Path) -> None:
    with Vendor(OptaMatch()) as vendor, working(vendor, tmp_path / "log.db", intervals=IMPATIENT) as work:
        vendor.act("advance", 1)
        assert work.settle().status == "SCHEDULED"
        vendor.down = "500"
        wait_until(lambda: work.match().status == "DELAYED")


def test_a_worker_that_starts_anew_takes_back_the_mark_of_the_last(tmp_path: Path) -> None:
    with Vendor(SportradarMatch()) as vendor:
        with working(vendor, tmp_path / "log.db", intervals=IMPATIENT) as work:
            vendor.act("advance", 6)
            work.settle()
            vendor.down = "404"
            wait_until(lambda: work.match().status == "DELAYED")
        vendor.heal()
        with working(vendor, tmp_path / "log.db") as work:
            assert work.settle().status == "LIVE"


def test_a_stream_that_lives_is_a_sign_of_life_once_the_timeline_was_read(tmp_path: Path) -> None:
    with (
        Vendor(SportradarMatch()) as vendor,
        working(vendor, tmp_path / "log.db", push=True, intervals=IMPATIENT) as work,
    ):
        vendor.act("advance", 6)
        work.settle()
        wait_until(lambda: vendor.streams)
        work.polled(3)
        vendor.fail(*["500"] * 10_000)
        begun = len(vendor.requests)
        wait_until(lambda: len(vendor.requests) > begun + 4)
        assert work.match().status == "LIVE"
        vendor.fail_push("cut")  # what was pushed meanwhile nobody can tell
        wait_until(lambda: work.match().status == "DELAYED")
        vendor.heal()
        assert work.settle().status == "LIVE"


# --- Settings ------------------------------------------------------------------------------------


def test_settings_that_contradict_each_other_are_refused() -> None:
    log = MemoryEventLog()
    opta = open_format("opta-f24")
    with pytest.raises(ConfigError, match="opta-NUMBER"):
        FeedWorker(opta, log, ["sr-1"], "http://127.0.0.1/")
    with pytest.raises(ConfigError, match=r"\{id\}"):
        FeedWorker(opta, log, ["opta-1", "opta-2"], "http://127.0.0.1/")
    with pytest.raises(ConfigError, match="push"):
        FeedWorker(opta, log, ["opta-1"], "http://127.0.0.1/", push_url="http://127.0.0.1/")
    with pytest.raises(ConfigError, match="feed 'x'"):
        open_format("x")
    assert Intervals().running_s > SPACING_S
