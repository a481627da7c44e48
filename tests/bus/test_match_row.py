"""A row of the list, made from a snapshot alone, is what the restored match would show."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.bus.match_row import MatchRow, status_of
from shared_state import Event, Replica
from shared_state.view import summary_row
from shared_state.wording import believed_until, ticking
from tests.strategies import MATCH_ID, histories

EPOCH = 1_531_666_800_000


def replica_of(events: list[Event]) -> Replica:
    replica = Replica.begin(MATCH_ID, EPOCH)
    for number, event in enumerate(events):
        replica.assign(event, EPOCH + number)
    return replica


@given(events=histories(), now_ms=st.integers(EPOCH - 10**7, EPOCH + 10**8))
def test_a_row_shows_what_the_match_shows(events: list[Event], now_ms: int) -> None:
    replica = replica_of(events)
    row = MatchRow.of_snapshot(replica.snapshot())
    assert row is not None
    assert row.summary == summary_row(replica.match)
    assert (row.id, row.hash, row.status) == (replica.position, replica.hash(), replica.match.status)
    shown, until_ms = row.at(now_ms)
    # A page lets the minute run by itself, and says when it is doubtful: by what is beside the words.
    assert shown.running == ticking(replica.match) or shown.running is None
    assert shown.doubtful_ms in (None, believed_until(replica.match))
    text = shown._replace(running=None, doubtful_ms=None, overdue=0)
    assert text == summary_row(replica.match, now_ms)
    if until_ms is not None:
        assert until_ms > now_ms
    assert summary_row(replica.match, (until_ms or now_ms + 60_000) - 1) == text
    assert MatchRow.decode(row.encode()) == row
    assert status_of(replica.snapshot()) == row.status


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b'{"epoch":1,"seq":1,"status":"LIVE"}', b"null"]
)
def test_what_is_no_snapshot_has_no_row(data: bytes) -> None:
    assert MatchRow.of_snapshot(data) is None


@pytest.mark.parametrize("data", [None, b"", b"\xff", b"[2,[]]", b"{}", b'[1,[[1,1],"h"]]'])
def test_a_row_of_another_version_is_none(data: bytes | None) -> None:
    assert MatchRow.decode(data) is None


def test_a_row_that_an_older_version_wrote_is_made_anew() -> None:
    """Its words are of that version: before layout 3, one without goals said that its result was official."""
    row = MatchRow.of_snapshot(replica_of([]).snapshot())
    assert row is not None
    layout, body = msgspec.json.decode(row.encode())
    assert MatchRow.decode(msgspec.json.encode([layout, body])) == row
    for other in (layout - 1, layout + 1, 0):
        assert MatchRow.decode(msgspec.json.encode([other, body])) is None


def test_what_a_row_says_changes_only_with_its_layout() -> None:
    """If this fails, what a row says has changed: raise the layout of rows, and write the new bytes here."""
    decided = {"match_id": MATCH_ID, "rev": 1, "op": "ADD"}
    events = [
        Event.from_json(
            decided
            | {"event_id": "o", "type": "SCORE_OVERRIDE", "period": "H1"}
            | {"detail": {"home": 1, "away": 0}}
        ),
        Event.from_json(
            decided | {"event_id": "s", "type": "STATUS_CHANGE", "period": "H1", "detail": {"to": "LIVE"}}
        ),
    ]
    running = MatchRow.of_snapshot(replica_of(events[:2]).snapshot())
    over = Event.from_json(
        decided | {"event_id": "t", "type": "STATUS_CHANGE", "period": "POST", "detail": {"to": "AWARDED"}}
    )
    awarded = MatchRow.of_snapshot(replica_of([*events, over]).snapshot())
    assert running is not None
    assert awarded is not None
    assert running.encode() == (
        b'[5,[[1531666800000,2],"6533312ce00e599e","LIVE",[[0,0,"fra-cro"],"fra-cro","live",'
        b'["chip.period.H1",[]],"Home","Away",1,0,[],"","",false,null,0,null,null,"",""],null,null]]'
    )
    assert awarded.encode() == (
        b'[5,[[1531666800000,3],"9af4bb4831afb5f4","AWARDED",[[3,0,"fra-cro"],"fra-cro","over",'
        b'["chip.AWARDED",[]],"Home","Away",1,0,[["note.official",[]]],"","",false,null,0,null,null,"",""],null,null]]'
    )


def test_the_status_of_a_snapshot_is_not_that_of_an_event_in_it() -> None:
    assert status_of(b'{"status":"LIVE","events":[{"status":"FT"}]}') == "LIVE"
    assert status_of(b'{"events":[{"status":"FT"}],"status":"LIVE"}') == "LIVE"
    assert status_of(b'{"events":[{"status":"FT"}]}') == ""


def test_a_row_of_a_running_match_without_news_says_so() -> None:
    begun_ms = 1_800_000_000_000
    body = {"match_id": "m", "event_id": "s", "rev": 1, "op": "ADD", "type": "STATUS_CHANGE", "period": "H1"}
    begun = Event.from_json({**body, "source_ts": begun_ms, "detail": {"to": "LIVE"}})
    replica = Replica.begin("m", EPOCH)
    replica.assign(begun, EPOCH)
    row = MatchRow.of_snapshot(replica.snapshot())
    assert row is not None
    late_ms = begun_ms + 75 * 60_000
    assert row.at(late_ms - 1)[0].note == ""
    assert row.at(late_ms + 360 * 60_000)[0].note == "updates delayed"
