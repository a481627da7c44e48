"""Errors name the field and show the value, on one line, whatever the value is."""

from __future__ import annotations

from typing import Any

import pytest

from shared_state import InvalidEvent, SharedStateError, WireError
from shared_state.errors import SHOWN_VALUE_MAX_CHARS, shown


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        ("Mandžukić", "'Mandžukić'"),
        ("a\nb", r"'a\nb'"),
        ("\ud800", r"'\ud800'"),
        ("\u202e", r"'\u202e'"),
        ("x" * 200, "'" + "x" * 78 + "…"),
        ("x" * 78, "'" + "x" * 78 + "'"),
        ([1, {"a": "\ud800"}], r"[1, {'a': '\ud800'}]"),
        (nested(100_000), "a list too large to show"),
        (10**5_000, "a int too large to show"),
    ],
    ids=range(10),
)
def test_a_value_is_shown_short_and_encodable(value: object, text: str) -> None:
    assert shown(value) == text
    assert len(shown(value)) <= SHOWN_VALUE_MAX_CHARS
    assert "\n" not in shown(value)
    shown(value).encode("utf-8")


def test_invalid_event_carries_its_evidence() -> None:
    error = InvalidEvent("detail.scored", 1, "must be true or false")
    assert str(error) == "detail.scored: must be true or false, got 1"
    assert (error.field, error.value, error.requirement) == ("detail.scored", 1, "must be true or false")
    assert error.code == "invalid_event"


def test_wire_error_carries_its_evidence() -> None:
    error = WireError("s must be two counts", [1])
    assert str(error) == "s must be two counts, got [1]"
    assert (error.value, error.code) == ([1], "wire_error")


def test_one_root() -> None:
    assert issubclass(InvalidEvent, SharedStateError)
    assert issubclass(WireError, SharedStateError)
    assert issubclass(SharedStateError, ValueError)
    assert SharedStateError.code == "shared_state_error"
