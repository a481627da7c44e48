"""Entries: what becomes of them in the log, and who is refused when two change one event."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.console.desk import ConflictError, Desk, Desks
from origin.console.entries import AGE_MAX_MS, parse_entry
from origin.errors import RequestError
from origin.eventlog import EventLog, open_eventlog
from origin.ingest.service import Ingest
from shared_state import Event
from shared_state.jsontext import JsonObject

MATCH = "ajax-psv"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = open_eventlog(f"sqlite:///{tmp_path / 'log.db'}")
    yield log
    log.close()


def desks_of(log: EventLog, directory: Path) -> Desks:
    """As in one worker."""
    ingest = Ingest(log, (), max_events=100, now_s=time.time)
    return Desks(lambda: log, lambda: ingest, directory)


@pytest.fixture
def desk(log: EventLog, tmp_path: Path) -> Iterator[Desk]:
    with desks_of(log, tmp_path).opened(MATCH) as desk:
        yield desk


def goal(base_rev: int = 0, op: str = "ADD", event_id: str = "g1", **fields: object) -> JsonObject:
    body = {} if op == "RETRACT" else {"type": "GOAL", "minute": 12, "team": "home", "player": "Taylor"}
    return {"op": op, "event_id": event_id, "base_rev": base_rev, **body, **fields}


def enter(desk: Desk, operator: str, *changes: JsonObject, id_: str = "", **fields: object) -> dict[str, Any]:
    entry = parse_entry({"id": id_ or f"entry-{time.time_ns()}", "changes": list(changes), **fields})
    return dict(desk.submit(operator, entry).to_json())


def test_an_entry_is_in_the_log_under_its_operator_and_its_id(desk: Desk, log: EventLog) -> None:
    logged = enter(desk, "ana", goal(), id_="entry-0001")
    (record,) = log.read_match(MATCH)
    assert record.signed_by is not None
    assert (record.signed_by.key_name, record.signed_by.webhook_id) == ("console:ana", "entry-0001")
    assert (record.event.event_id, record.event.rev, record.event.source) == ("g1", 1, "console")
    assert logged["revs"] == {"g1": 1}
    assert logged["appended_ms"] == record.appended_ms
    (shown,) = desk.view()["events"]
    assert (shown["by"], shown["player"]) == ("console:ana", "Taylor")


def test_the_same_entry_again_is_in_the_log_once(desk: Desk, log: EventLog, tmp_path: Path) -> None:
    first = enter(desk, "ana", goal(), id_="entry-0001")
    enter(desk, "ana", goal(1, "AMEND", player="Godts"))
    assert enter(desk, "ana", goal(), id_="entry-0001") == {**first, "duplicate": True}
    # In another worker, which has not seen it come.
    with desks_of(log, tmp_path).opened(MATCH) as other:
        assert enter(other, "ana", goal(), id_="entry-0001")["duplicate"] is True
    assert len(list(log.read_match(MATCH))) == 2


def test_an_entry_of_several_changes_is_taken_whole_or_not(desk: Desk, log: EventLog) -> None:
    enter(desk, "ana", goal())
    review = {
        "op": "ADD",
        "event_id": "v1",
        "base_rev": 0,
        "type": "VAR",
        "minute": 13,
        "detail": {"state": "OPEN", "target_event_id": "g1"},
    }
    with pytest.raises(ConflictError):
        enter(desk, "ana", review, goal(7, "AMEND", status="PROVISIONAL"))
    with pytest.raises(RequestError, match="minute"):
        enter(desk, "ana", review, goal(1, "AMEND", minute="late"))
    assert len(list(log.read_match(MATCH))) == 1
    enter(desk, "ana", review, goal(1, "AMEND", status="PROVISIONAL"))
    assert len(list(log.read_match(MATCH))) == 3


def test_who_changes_what_has_changed_is_refused_with_both_versions(desk: Desk, log: EventLog) -> None:
    enter(desk, "ana", goal())
    enter(desk, "ana", goal(1, "AMEND", player="Godts", reason="Last touch"))
    with pytest.raises(ConflictError) as refused:
        enter(desk, "ben", goal(1, "AMEND", player="Weghorst"))
    (conflict,) = refused.value.evidence["conflicts"]
    assert (conflict["seen_rev"], conflict["rev"], conflict["by"]) == (1, 2, "console:ana")
    assert conflict["theirs"]["player"] == "Godts"
    with pytest.raises(ConflictError):
        enter(desk, "ben", goal(1, "RETRACT"))
    with pytest.raises(ConflictError):
        enter(desk, "ben", goal())  # the id is taken
    enter(desk, "ben", goal(2, "RETRACT", reason="VAR: offside"))
    with pytest.raises(ConflictError) as refused:
        enter(desk, "ana", goal(2, "AMEND"))
    assert refused.value.evidence["conflicts"][0]["retracted"] is True
    assert [record.event.rev for record in log.read_match(MATCH)] == [1, 2, 3]
    enter(desk, "ana", goal(3, "AMEND"))  # it stands again
    assert len(desk.view()["events"]) == 1


def test_of_many_who_change_one_revision_in_several_workers_one_is_taken(
    log: EventLog, tmp_path: Path
) -> None:
    workers = [desks_of(open_eventlog(f"sqlite:///{tmp_path / 'log.db'}"), tmp_path) for _ in range(4)]
    with workers[0].opened(MATCH) as desk:
        enter(desk, "ana", goal())
    outcomes: list[str] = []
    ready = threading.Barrier(8)

    def change(number: int) -> None:
        with workers[number % 4].opened(MATCH) as desk:
            ready.wait()
            try:
                enter(desk, f"n{number}", goal(1, "AMEND", player=f"P{number}"), id_=f"entry-{number:04}")
            except ConflictError:
                outcomes.append("refused")
            else:
                outcomes.append("taken")

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 7 + ["taken"]
    assert [record.event.rev for record in log.read_match(MATCH)] == [1, 2]


def test_what_comes_by_other_ways_is_on_the_desk(desk: Desk, log: EventLog) -> None:
    enter(desk, "ana", goal())
    event = Event.from_json(
        {
            "match_id": MATCH,
            "event_id": "g1",
            "rev": 2,
            "op": "RETRACT",
            "source": "a feed",
            "reason": "offside",
        }
    )
    log.append([event])
    with pytest.raises(ConflictError) as refused:
        enter(desk, "ana", goal(1, "AMEND"))
    assert refused.value.evidence["conflicts"][0]["by"] == "a feed"


def test_events_are_dated_when_their_keys_were_pressed(desk: Desk) -> None:
    began_ms = time.time_ns() // 1_000_000
    enter(desk, "ana", goal(), age_ms=60_000)
    enter(desk, "ana", goal(1, "AMEND", player="Godts"))
    (shown,) = desk.view()["events"]
    # The amendment keeps the date, and so its place among the others.
    assert began_ms - 60_000 <= shown["source_ts"] <= began_ms - 60_000 + 30_000
    with pytest.raises(RequestError, match="more than a day ago"):
        enter(desk, "ana", goal(2, "AMEND"), age_ms=AGE_MAX_MS + 1)


def test_a_status_counts_behind_one_that_a_feed_dated_ahead(desk: Desk, log: EventLog) -> None:
    ahead_ms = time.time_ns() // 1_000_000 + 120_000
    event = {
        "match_id": MATCH,
        "event_id": "ko",
        "rev": 1,
        "op": "ADD",
        "type": "STATUS_CHANGE",
        "period": "H1",
    }
    log.append([Event.from_json({**event, "detail": {"to": "LIVE"}, "source_ts": ahead_ms})])
    half_time = {"op": "ADD", "event_id": "ht", "base_rev": 0, "type": "STATUS_CHANGE", "period": "HT"}
    enter(desk, "ana", {**half_time, "detail": {"to": "HALF_TIME"}})
    assert desk.view()["status"] == "HALF_TIME"
    enter(
        desk,
        "ana",
        {**half_time, "op": "AMEND", "base_rev": 1, "detail": {"to": "LIVE"}, "at_ms": ahead_ms - 1},
    )
    assert desk.view()["status"] == "LIVE"


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({"changes": [goal()]}, "id None"),
        ({"id": "short", "changes": [goal()]}, "id 'short'"),
        ({"id": "entry-0001", "changes": []}, "1 to 8"),
        ({"id": "entry-0001", "changes": [goal(event_id=f"g{n}") for n in range(9)]}, "1 to 8"),
        ({"id": "entry-0001", "changes": [goal(), goal()]}, "each event once"),
        ({"id": "entry-0001", "age_ms": -1, "changes": [goal()]}, "age_ms -1"),
        ({"id": "entry-0001", "age_ms": True, "changes": [goal()]}, "age_ms True"),
        ({"id": "entry-0001", "changes": ["goal"]}, "must be an object"),
        ({"id": "entry-0001", "changes": [goal(op="DELETE")]}, "op 'DELETE'"),
        ({"id": "entry-0001", "changes": [goal(base_rev=1)]}, "base_rev 1"),
        ({"id": "entry-0001", "changes": [goal(op="AMEND")]}, "base_rev 0"),
        ({"id": "entry-0001", "changes": [goal(event_id="a b")]}, "event_id 'a b'"),
        ({"id": "entry-0001", "changes": [goal(match_id="other")]}, "no key 'match_id'"),
        ({"id": "entry-0001", "changes": [goal(source="a feed")]}, "no key 'source'"),
        ({"id": "entry-0001", "changes": [goal(at_ms=1)]}, "at_ms 1"),
    ],
)
def test_what_is_no_entry_is_refused_by_name(message: JsonObject, named: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_entry(message)
    assert named in str(refused.value)


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)


@given(
    st.dictionaries(st.sampled_from(["id", "age_ms", "changes", "t"]), VALUES | st.lists(VALUES, max_size=3))
    | st.fixed_dictionaries(
        {
            "id": st.just("entry-0001"),
            "changes": st.lists(
                st.dictionaries(st.sampled_from([*goal(), "detail", "at_ms", "period"]), VALUES), max_size=3
            ),
        }
    )
)
def test_any_message_is_read_or_refused(message: JsonObject) -> None:
    try:
        entry = parse_entry(message)
    except RequestError:
        return
    assert 1 <= len(entry.changes) <= 8


def test_a_desk_is_there_as_long_as_a_window_has_it_open(log: EventLog, tmp_path: Path) -> None:
    desks = desks_of(log, tmp_path)
    with desks.opened(MATCH) as first:
        with desks.opened(MATCH) as second:
            assert second is first
        assert len(desks) == 1
    assert len(desks) == 0
