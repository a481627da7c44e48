"""Canonical JSONL: what an editor may do to a good file is let through, all else is refused by its line."""

from __future__ import annotations

import contextlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.errors import ConfigError, FeedError
from origin.feeds import FORMATS, open_converter
from origin.feeds.canonical import LINE_MAX_BYTES, events_of_lines, to_line
from shared_state import Event

GOAL = b'{"match_id":"m","event_id":"g1","rev":1,"op":"ADD","type":"GOAL","minute":5,"team":"home"}'
CARD = b'{"match_id":"m","event_id":"c1","rev":1,"op":"ADD","type":"YELLOW_CARD","minute":7,"team":"away"}'


def read(data: bytes) -> list[Event]:
    return list(events_of_lines(io.BytesIO(data)))


@pytest.mark.parametrize(
    "data",
    [
        GOAL + b"\n" + CARD + b"\n",
        GOAL + b"\n" + CARD,
        GOAL + b"\r\n" + CARD + b"\r\n",
        b"\xef\xbb\xbf" + GOAL + b"\n" + CARD + b"\n",
        b"\n\n" + GOAL + b"\n  \t\n" + CARD + b"\n\n",
        b"  " + GOAL + b"\n" + CARD + b" \n",
    ],
)
def test_a_good_file_is_read_however_it_was_saved(data: bytes) -> None:
    assert [event.event_id for event in read(data)] == ["g1", "c1"]


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf", b"\r\n\r\n"])
def test_an_empty_file_has_no_events(data: bytes) -> None:
    assert read(data) == []


@pytest.mark.parametrize(
    ("data", "line", "what"),
    [
        (GOAL[:-1], 1, "not JSON"),
        (GOAL + b"\n\n" + GOAL[:40] + b"\n", 3, "not JSON"),
        (GOAL + b"\n\x00\x01\x02", 2, "not JSON"),
        (GOAL + b"\n" + '"Müller"'.encode()[:3], 2, "not UTF-8"),
        (GOAL + b"\n" + GOAL.replace(b'"rev":1', b'"rev":0'), 2, "rev: must be an integer"),
        (GOAL.replace(b'"op":"ADD"', b'"op":"PUT"'), 1, "op: must be one of"),
        (GOAL.replace(b',"rev":1', b""), 1, "rev: is required"),
        (GOAL + GOAL, 1, "Extra data"),
        (b"[]", 1, "must be an object"),
        (b'{"a":1,"a":2}', 1, "stands twice"),
        (b"[" * 10_000, 1, "nested too deep"),
        (b"1" * 5_000, 1, "beyond 2**53-1"),
        (b"NaN", 1, "NaN is not JSON"),
        (GOAL + b"\n" + b"x" * (LINE_MAX_BYTES + 1), 2, "at most"),
        (b"\xef\xbb\xbf\xef\xbb\xbf" + GOAL, 1, "not JSON"),
        (GOAL.decode().encode("utf-16"), 1, "not UTF-8"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(data: bytes, line: int, what: str) -> None:
    with pytest.raises(FeedError) as caught:
        read(data)
    assert what in str(caught.value)
    assert caught.value.evidence["line"] == line


def test_events_before_a_bad_line_come_first() -> None:
    events = events_of_lines(io.BytesIO(GOAL + b"\n{"))
    assert next(events).event_id == "g1"
    with pytest.raises(FeedError):
        next(events)


def test_what_is_written_is_read_back_and_written_the_same() -> None:
    for event in read(GOAL + b"\n" + CARD):
        line = to_line(event)
        assert read(line) == [event]
        assert to_line(read(line)[0]) == line
        assert json.loads(line)["source"] is None


@given(st.binary(max_size=300))
def test_any_bytes_give_events_or_one_typed_error(data: bytes) -> None:
    with contextlib.suppress(FeedError):
        read(data)


def test_an_unknown_format_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=" ".join(FORMATS)):
        open_converter("opta")
