"""``touchline dlq`` as a shell runs it, on a SQLite log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from origin.eventlog import EventLog, open_eventlog
from origin.eventlog.codec import encode_event
from origin.eventlog.deadletter import DeadLetter
from shared_state import Event
from testkit.command import Ran, dlq

EVENT = Event(match_id="m1", event_id="e1", rev=1, op="ADD", type="RED_CARD", period="H1", team="home")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/log.db"


@pytest.fixture
def log(url: str) -> Iterator[EventLog]:
    with closing(open_eventlog(url)) as log:
        yield log


def test_nothing_set_aside(url: str) -> None:
    assert dlq(url, "list") == Ran(0, b"", "")
    assert dlq(url, "redrive") == Ran(0, b"", "")


def test_what_can_be_read_by_now_is_driven_again(url: str, log: EventLog) -> None:
    letters = log.dead_letters()
    letters.add(DeadLetter(0, 5, 1_531_666_800_000, "of a later version", encode_event(EVENT)))
    letters.add(DeadLetter(0, 3, 1_531_666_800_000, "not JSON", b"\xff{"))
    listed = [json.loads(line) for line in dlq(url, "list").lines]
    assert [letter["id"] for letter in listed] == ["0-3", "0-5"]
    assert listed[0]["payload_base64"] == "/3s="
    assert json.loads(listed[1]["payload"])["event_id"] == "e1"

    ran = dlq(url, "redrive")
    assert ran.code == 1
    assert ran.out == b"0-5: appended: m1 e1\n"
    assert ran.err.startswith("0-3: stays: ")
    assert [record.event for record in log.read_match("m1")] == [EVENT]
    assert [letter.id for letter in letters.pending()] == ["0-3"]

    assert dlq(url, "discard", "0-3").code == 0
    assert letters.pending() == []


def test_a_letter_is_chosen_by_its_id(url: str, log: EventLog) -> None:
    for offset in (1, 2):
        log.dead_letters().add(DeadLetter(0, offset, 0, "some reason", encode_event(EVENT)))
    assert dlq(url, "redrive", "0-2").code == 0
    assert [letter.id for letter in log.dead_letters().pending()] == ["0-1"]
    unknown = dlq(url, "discard", "0-1", "0-9")
    assert unknown.code == 2
    assert "no such letter: 0-9" in unknown.err
    assert [letter.id for letter in log.dead_letters().pending()] == ["0-1"]


def test_log_that_cannot_be_opened(tmp_path: Path) -> None:
    ran = dlq(f"sqlite:///{tmp_path}", "list")  # a directory
    assert ran.code == 1
    assert ran.err.startswith("Error: the event log")
    assert "Traceback" not in ran.err
