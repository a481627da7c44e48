"""JSON: one way to write it, and only one way to read it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from shared_state.jsontext import MAX_DEPTH, MAX_INTEGER, canonical, check_plain, compact, parse
from tests import strategies


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("{} {}", "Extra data"),
        ("[1,]", "Expecting value|Illegal trailing comma"),
        ("{'a':1}", "Expecting property name"),
        ("01", "Extra data"),
        ('"a\nb"', "Invalid control character"),
        ('"\\x"', "Invalid \\\\escape"),
        ("\ufeff{}", "BOM"),
        (b"\xff", "utf-8"),
        (b"\xed\xa0\x80", "utf-8"),  # a surrogate in UTF-8's clothes
        ("NaN", "NaN is not JSON"),
        ("[Infinity]", "Infinity is not JSON"),
        ("-Infinity", "-Infinity is not JSON"),
        ("1e999", "beyond double precision"),
        ("-1e999", "beyond double precision"),
        ("9007199254740992", "beyond 2"),
        ("-9007199254740992", "beyond 2"),
        ("9" * 1_000_000, "beyond 2"),
        ('"\\ud800"', "lone surrogate"),
        ('{"\\udfff":1}', "lone surrogate"),
        ('["\\ud800"]', "lone surrogate"),
        ('{"a":1,"b":2,"a":1}', "key 'a' stands twice"),
        ('[{"a":{"b":1,"b":2}}]', "key 'b' stands twice"),
        ("[" * 17 + "]" * 17, "nested too deep"),
        ('{"a":' * 17 + "1" + "}" * 17, "nested too deep"),
        ("[" * 1_000_000, "nested too deep"),
        ('{"a":' * 1_000_000, "nested too deep"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else repr(value),
)
def test_ambiguous_or_broken_json_is_refused(text: bytes | str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9007199254740991", MAX_INTEGER),
        ("-9007199254740991", -MAX_INTEGER),
        ("1e3", 1000.0),
        ("-0", 0),
        ("1e-999", 0.0),
        ("0." + "1" * 100_000, 0.1111111111111111),
        ('"\\ud83d\\ude00"', "😀"),
        (b'"\xc3\xa9"', "é"),
        (' {"a" : [ ] }\n', {"a": []}),
        ("true", True),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_edge_of_what_is_read(text: bytes | str, value: Any) -> None:
    assert parse(text) == value
    assert type(parse(text)) is type(value)


def test_deepest_that_is_read() -> None:
    assert json.dumps(parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)) == "[" * MAX_DEPTH + "]" * MAX_DEPTH


def test_canonical_sorts_at_every_depth_and_escapes_nothing_it_need_not() -> None:
    value = {"z": 1, "é": {"b": [1.0, True, None], "a": "</script>\u2028"}}
    assert canonical(value) == '{"z":1,"é":{"a":"</script>\u2028","b":[1.0,true,null]}}'
    assert compact(value) == '{"z":1,"é":{"b":[1.0,true,null],"a":"</script>\u2028"}}'


@pytest.mark.parametrize("write", [canonical, compact])
def test_nan_is_not_written(write: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(float("nan"))


@pytest.mark.parametrize(
    "value",
    [(1,), {1: 2}, {True: 1}, b"x", {1}, 1j, float("inf"), MAX_INTEGER + 1, -MAX_INTEGER - 1, "\ud800", [[]]],
    ids=repr,
)
def test_what_would_not_come_back_is_not_plain(value: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON|key|beyond|surrogate|deep"):
        check_plain(value, 1)


@given(strategies.json_values())
def test_plain_json_comes_back_as_it_went(value: Any) -> None:
    check_plain(value, MAX_DEPTH)
    for write in (canonical, compact):
        assert canonical(parse(write(value))) == canonical(value)
        assert canonical(parse(write(value).encode())) == canonical(value)


@given(strategies.hostile_bytes())
def test_any_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    try:
        value = parse(data)
    except ValueError:
        return
    check_plain(value, MAX_DEPTH)
    assert canonical(parse(canonical(value))) == canonical(value)
