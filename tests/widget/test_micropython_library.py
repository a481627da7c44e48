"""The stand-ins for the standard library, compared on CPython with what they stand in for.

What asks JavaScript is compared where there is one: tests/widget/test_lowering.py and test_equality.py.
"""

from __future__ import annotations

import ast
import json
import struct
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.built_widget import run_node
from tests import strategies
from tests.widget.corpus import HOSTILE
from widget.build.bundle import LIBRARY_FILES, library_sources

MODULES = [import_module(f"widget.python.micropython_library.{name}") for name in LIBRARY_FILES]
# As the build has it: one module, in which no two files define one name.
library: Any = SimpleNamespace(**{name: value for module in MODULES for name, value in vars(module).items()})

HOOKS: dict[str, Any] = {
    "object_pairs_hook": lambda pairs: ("object", tuple(pairs)),
    "parse_constant": lambda name: f"constant {name}",
    "parse_int": lambda digits: f"int {digits}",
    "parse_float": lambda digits: f"float {digits}",
}
SHALLOW = [text for text in HOSTILE if max(text.count("["), text.count("{")) < 40]


def bound_by(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return []


def read(decoder: Any, text: str) -> object:
    try:
        return ("value", decoder(**HOOKS).decode(text))
    except ValueError as error:
        return ("refused", str(error))


def assert_reads_alike(text: str) -> None:
    wanted = read(json.JSONDecoder, text)
    found = read(library.JSONDecoder, text)
    assert found == wanted, text


def test_no_two_files_define_one_name() -> None:
    names = [
        name
        for source in library_sources()
        for statement in ast.parse(source).body
        if not isinstance(statement, ast.Import | ast.ImportFrom | ast.Try)
        for name in bound_by(statement)
        if name != "__all__"
    ]
    assert len(names) > 80
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("text", SHALLOW)
def test_hostile_json_is_read_or_refused_in_the_same_words(text: str) -> None:
    assert_reads_alike(text)


@given(strategies.json_values().map(json.dumps), st.data())
def test_json_is_read_as_the_original_reads_it(text: str, data: st.DataObject) -> None:
    assert_reads_alike(text)
    broken = data.draw(strategies.mutations(text.encode())).decode("utf-8", "replace")
    if max(broken.count("["), broken.count("{")) < 40:
        assert_reads_alike(broken)


def test_nesting_is_bounded_before_the_stack_ends() -> None:
    for opening in ("[", '{"a":'):
        with pytest.raises(RuntimeError):
            library.JSONDecoder(**HOOKS).decode(opening * 100_000)


@given(strategies.json_values(12), st.booleans())
def test_json_is_written_as_the_original_writes_it(value: Any, sort_keys: bool) -> None:
    options: dict[str, Any] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    wanted = json.JSONEncoder(sort_keys=sort_keys, **options).encode(value)
    assert library.JSONEncoder(sort_keys=sort_keys, **options).encode(value) == wanted


def test_a_request_is_read_with_its_surrogates() -> None:
    for text in (
        '{"a":"\\ud83d\\ude00","b":[1,2.5]}',
        '{"a":"\\uD83D\\uDE00"}',
        '{"a":"\\ud83d"}',
        '{"a":1}',
    ):
        assert library.read_request(text) == json.loads(text)


def test_javascripts_digits_are_pythons() -> None:
    bits = [
        struct.unpack("<d", struct.pack("<Q", (n * 0x9E3779B97F4A7C15) % 2**64))[0] for n in range(1, 10_000)
    ]
    numbers = [number for number in bits if number == number and abs(number) != float("inf")]
    numbers += (
        [10.0**n for n in range(-30, 30)]
        + [n / 8 for n in range(-99, 99) if n]
        + [2.0**53, 1e21, 1e-7, 123456.0]
    )
    script = "print(input.map((bits) => String(new Float64Array(new Int32Array(bits).buffer)[0])));"
    pairs = [struct.unpack("<ii", struct.pack("<d", number)) for number in numbers]
    # A process takes so much in one argument.
    texts = [text for at in range(0, len(pairs), 3_000) for text in run_node(script, pairs[at : at + 3_000])]
    assert len(texts) > 9_000
    assert [library.python_digits(text) for text in texts] == [repr(number) for number in numbers]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers())), st.booleans())
def test_sorting_is_stable(items: list[tuple[int, int]], reverse: bool) -> None:
    def key(item: tuple[int, int]) -> int:
        return item[0]

    assert library.sorted(items, key, reverse) == sorted(items, key=key, reverse=reverse)
    library.method_sort(items, key=key, reverse=reverse)
    assert items == sorted(items, key=key, reverse=reverse)


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_a_moment_has_the_date_that_the_calendar_gives_it(milliseconds: int) -> None:
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    found = library.datetime(1970, 1, 1, tzinfo=library.UTC) + library.timedelta(milliseconds=milliseconds)
    assert found.isoformat(timespec="seconds") == start.isoformat(timespec="seconds")
    assert (found.weekday(), found.strftime("%d %H")) == (start.weekday(), start.strftime("%d %H"))
    again = library.datetime(found.year, found.month, found.day, tzinfo=library.UTC)
    assert (again.year, again.month, again.day) == (start.year, start.month, start.day)


@pytest.mark.parametrize("milliseconds", [-62_135_596_800_001, 253_402_300_800_000, 10**18])
def test_what_is_no_date_overflows(milliseconds: int) -> None:
    with pytest.raises(OverflowError):
        library.datetime(1970, 1, 1, tzinfo=library.UTC) + library.timedelta(milliseconds=milliseconds)


@given(st.floats(-1e15, 1e15), st.integers(0, 6))
def test_fixed_digits_are_rounded_as_the_original_rounds(number: float, digits: int) -> None:
    for width in ("", "12", "012", "+"):
        assert library.format_fixed(number, digits, width) == format(number, f"{width}.{digits}f")


@given(st.text(st.characters(codec="ascii"), max_size=12), st.integers(0, 9), st.sampled_from("<>^"))
def test_texts_are_filled_up_as_the_original_does(text: str, width: int, align: str) -> None:
    assert library.format_padded(text, "*", align, width, None) == format(text, f"*{align}{width}")
    assert library.method_center(text, width, "*") == text.center(width, "*")
    assert library.method_zfill(text, width) == text.zfill(width)
    assert library.method_splitlines(text) == text.splitlines()
    assert library.method_split(text) == text.split()
    assert library.method_strip(text) == text.strip()
    assert library.method_isalnum(text) == text.isalnum()
    assert library.method_capitalize(text) == text.capitalize()
    assert library.repr(text) == repr(text)
    assert library.escape(text) == import_module("html").escape(text)


@given(
    st.lists(st.integers(), max_size=9),
    *[st.none() | st.integers(-12, 12)] * 2,
    st.integers(-3, 3).filter(bool),
)
def test_slices_with_a_step(items: list[int], start: int | None, stop: int | None, step: int) -> None:
    assert library.stepped(items, start, stop, step) == items[start:stop:step]


def test_what_is_not_stood_in_for_says_so() -> None:
    with pytest.raises(NotImplementedError):
        library.JSONEncoder()
    with pytest.raises(NotImplementedError):
        library.datetime(2026, 1, 1)
    with pytest.raises(NotImplementedError):
        library.method_encode("x", "latin-1")
    with pytest.raises(NotImplementedError):
        library.datetime(1970, 1, 1, tzinfo=library.UTC).strftime("%A")
