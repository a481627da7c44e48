"""Times in canonical events: what is refused, and which statuses without a time get one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from origin.errors import RequestError
from origin.eventlog import EventLog
from origin.eventlog.memory import MemoryEventLog
from origin.ingest.service import Ingest
from origin.ingest.signatures import signed_headers
from origin.ingest.times import EARLIEST_MS, KICKOFF_AHEAD_MS, SOURCE_AHEAD_MS
from shared_state import Event, Match, fold
from shared_state.jsontext import MAX_INTEGER, JsonObject
from testkit.poster import MATCH, Poster, event
from tests.events_by_hand import MATCH_ID, status

KEY = b"k" * 32
NOW_MS = 1_764_000_000_000
MINUTE_MS = 60_000


class Sender:
    """Posts to an ingest over a log in memory, at a time that the test sets."""

    def __init__(self, log: EventLog | None = None) -> None:
        self.log = log or MemoryEventLog()
        self.now_ms = NOW_MS
        self._numbers = itertools.count()

    def post(self, *events: JsonObject | Event, webhook_id: str = "") -> None:
        """One delivery.

        Raises:
            RequestError: it was refused.
        """
        ingest = Ingest(self.log, [KEY], max_events=1_000, now_s=lambda: self.now_ms / 1_000)
        values = [item.to_json() if isinstance(item, Event) else item for item in events]
        body = json.dumps(values).encode()
        webhook_id = webhook_id or f"msg_{next(self._numbers)}"
        ingest.accept("canonical", signed_headers(KEY, webhook_id, self.now_ms // 1_000, body), body)

    def events(self) -> list[Event]:
        return [record.event for record in self.log.read_match(MATCH_ID)]

    def match(self) -> Match:
        return fold(MATCH_ID, self.events())


@pytest.fixture
def sender() -> Sender:
    return Sender()


def kickoff(value: int) -> JsonObject:
    teams = {side: {"name": side, "code": None} for side in ("home", "away")}
    return event("info", "MATCH_INFO", period="PRE", detail={**teams, "kickoff_ms": value})


def dated(value: int) -> JsonObject:
    return event("g1", source_ts=value)


def retraction(value: int) -> JsonObject:
    return {"match_id": MATCH, "event_id": "g1", "rev": 1, "op": "RETRACT", "source_ts": value}


@pytest.mark.parametrize(
    ("build", "field", "latest_ms"),
    [
        (dated, "source_ts", NOW_MS + SOURCE_AHEAD_MS),
        (retraction, "source_ts", NOW_MS + SOURCE_AHEAD_MS),
        (kickoff, "detail.kickoff_ms", NOW_MS + KICKOFF_AHEAD_MS),
    ],
)
def test_a_time_that_no_clock_can_have_said_is_refused_by_name(
    sender: Sender, build: Callable[[int], JsonObject], field: str, latest_ms: int
) -> None:
    too_early = (0, NOW_MS // 1_000, EARLIEST_MS - 1)
    too_late = (latest_ms + 1, NOW_MS * 1_000, MAX_INTEGER)
    for value in (*too_early, *too_late):
        with pytest.raises(RequestError) as caught:
            sender.post(event("before"), build(value))
        error = caught.value
        assert (error.status, error.code) == (422, "invalid_event")
        assert error.evidence == {"event": 2, "field": field}
        assert f"{field}: must be UTC milliseconds from 2000-01-01 to" in str(error)
        assert str(value) in str(error)
    assert sender.events() == []
    for value in (EARLIEST_MS, NOW_MS, latest_ms):
        sender.post(build(value))


@pytest.mark.parametrize(
    ("value", "unit"), [(NOW_MS // 1_000, "looks like seconds"), (NOW_MS * 1_000, "looks like microseconds")]
)
def test_a_time_in_another_unit_is_recognised(sender: Sender, value: int, unit: str) -> None:
    with pytest.raises(RequestError, match=unit):
        sender.post(dated(value))
    with pytest.raises(RequestError, match=unit):
        sender.post(kickoff(value))


def test_a_kickoff_ms_of_another_type_is_not_ours(sender: Sender) -> None:
    sender.post(event("x", "SOMETHING_ELSE", detail={"kickoff_ms": 5}))
    assert sender.events()[0].detail == {"kickoff_ms": 5}


def test_the_status_of_an_operator_counts_without_a_time(poster: Poster, app: Flask) -> None:
    """Over HTTP, with the clock of this machine, as docs/operations.md says."""
    live = event("s1", "STATUS_CHANGE", period="H1", detail={"to": "LIVE"}, source_ts=NOW_MS)
    cancelled = event("op1", "STATUS_CHANGE", period="POST", minute=None, detail={"to": "CANCELLED"})
    poster.publish(live)
    poster.publish(cancelled)
    state = poster.client.get(f"/api/match/{MATCH}/state").json
    assert state
    assert state["status"] == "CANCELLED"


def test_it_is_dated_with_the_time_at_which_it_came(sender: Sender) -> None:
    sender.post(status("s1", "LIVE", "H1", source_ts=NOW_MS - MINUTE_MS))
    sender.post(status("op1", "SUSPENDED", "H1"))
    assert sender.events()[-1].source_ts == NOW_MS
    sender.now_ms += MINUTE_MS
    sender.post(status("s2", "LIVE", "H1", source_ts=sender.now_ms))  # the feed goes on, and counts again
    assert sender.match().status == "LIVE"


def test_a_feed_whose_clock_is_ahead_does_not_outrank_it(sender: Sender) -> None:
    sender.post(status("s1", "LIVE", "H1", source_ts=NOW_MS + SOURCE_AHEAD_MS))
    sender.post(status("op1", "CANCELLED", "POST"))
    assert sender.match().status == "CANCELLED"


@pytest.mark.parametrize("future_ms", [NOW_MS * 1_000, MAX_INTEGER])
def test_a_date_from_the_future_in_an_older_log_is_healed_by_it(sender: Sender, future_ms: int) -> None:
    sender.log.append([status("s1", "LIVE", "H1", source_ts=future_ms)])
    sender.post(status("op1", "FT", "POST"))
    assert sender.match().status == "FT"


def test_in_one_delivery_it_counts_too_and_the_order_is_kept(sender: Sender) -> None:
    sender.post(
        status("s1", "LIVE", "H1", source_ts=NOW_MS),
        status("other", "LIVE", "H1", match_id="m2"),
        status("op1", "CANCELLED", "POST"),
        event("g1"),
    )
    assert [item.event_id for item in sender.events()] == ["s1", "op1", "g1"]
    assert sender.match().status == "CANCELLED"
    assert next(sender.log.read_match("m2")).event.source_ts is None


def test_a_feed_without_times_is_left_alone(sender: Sender) -> None:
    """Its statuses come late and in any order: the hash is that of the file."""
    feed = [
        status("s1", "LIVE", "H1"),
        status("s2", "HALF_TIME", "HT"),
        status("s3", "LIVE", "H2"),
        status("s4", "FT", "POST"),
    ]
    for item in reversed(feed):
        sender.post(item)
    sender.post(Event.from_json(event("g1", source_ts=NOW_MS)))  # a dated goal decides about no status
    sender.post(feed[0])
    assert all(item.source_ts is None for item in sender.events() if item.type == "STATUS_CHANGE")
    assert sender.match().status == "FT"


def test_a_retracted_status_dates_nothing(sender: Sender) -> None:
    sender.post(status("s1", "LIVE", "H1", source_ts=NOW_MS))
    sender.post({"match_id": MATCH_ID, "event_id": "s1", "rev": 2, "op": "RETRACT"})
    sender.post(status("op1", "CANCELLED", "POST"))
    assert sender.events()[-1].source_ts is None
    assert sender.match().status == "CANCELLED"


def test_the_same_webhook_again_is_the_same_event(sender: Sender) -> None:
    sender.post(status("s1", "LIVE", "H1", source_ts=NOW_MS))
    sender.post(status("op1", "CANCELLED", "POST"), webhook_id="once")
    sender.now_ms += MINUTE_MS
    sender.post(status("op1", "CANCELLED", "POST"), webhook_id="once")
    assert len(sender.events()) == 2


def test_the_same_event_in_another_webhook_is_no_conflict(sender: Sender) -> None:
    """Also what Kafka does with a repeated webhook that comes to another process."""
    sender.post(status("s1", "LIVE", "H1", source_ts=NOW_MS))
    sender.post(status("op1", "CANCELLED", "POST"))
    sender.now_ms += MINUTE_MS
    sender.post(status("s2", "DELAYED", "PRE", source_ts=sender.now_ms))
    sender.post(status("op1", "CANCELLED", "POST"))
    _, first, _, again = sender.events()
    assert first == again
    assert sender.match().status == "DELAYED"


def test_an_amended_status_stays_at_its_place(sender: Sender) -> None:
    sender.post(status("s1", "LIVE", "H1", source_ts=NOW_MS - 1))
    sender.post(status("op1", "CANCELLED", "POST"))
    sender.now_ms += MINUTE_MS
    sender.post(status("s1", "DELAYED", "PRE", op="AMEND", rev=2))
    assert sender.match().status == "CANCELLED"
    sender.post(status("op1", "POSTPONED", "POST", op="AMEND", rev=2))
    assert sender.match().status == "POSTPONED"
    assert {item.source_ts for item in sender.events() if item.event_id == "op1"} == {NOW_MS}


def test_an_event_that_is_known_without_a_time_is_dated_only_by_a_new_revision(sender: Sender) -> None:
    sender.post(status("op1", "CANCELLED", "POST"))
    sender.post(status("s1", "LIVE", "H1", source_ts=NOW_MS))
    sender.post(status("op1", "CANCELLED", "POST"))
    assert sender.match().status == "LIVE"
    sender.post(status("op1", "CANCELLED", "POST", op="AMEND", rev=2))
    assert sender.match().status == "CANCELLED"


@given(st.permutations(range(4)))
def test_what_the_log_has_folds_to_one_state_in_every_order(order: list[int]) -> None:
    """Dating happens before the log: the state stays a function of the set of events in it."""
    sender = Sender()
    deliveries = [
        status("s1", "LIVE", "H1", source_ts=NOW_MS - 2),
        status("s2", "HALF_TIME", "HT", source_ts=NOW_MS - 1),
        status("op1", "CANCELLED", "POST"),
        status("op1", "POSTPONED", "POST", op="AMEND", rev=2),
    ]
    for number in order:
        sender.now_ms += MINUTE_MS
        sender.post(deliveries[number])
    events = sender.events()
    assert fold(MATCH_ID, events) == fold(MATCH_ID, reversed(events))
