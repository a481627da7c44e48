"""JSON as this project writes and reads it: canonical bytes out, nothing ambiguous in.

Canonical means: keys sorted, no white space, UTF-8 unescaped, no floats' NaN or Infinity. Two equal
values have equal bytes on every Python, which is what the state hash rests on.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn, TypeAlias

__all__ = [
    "MAX_DEPTH",
    "MAX_INTEGER",
    "Json",
    "JsonObject",
    "canonical",
    "check_plain",
    "compact",
    "parse",
    "quoted",
]

# ``Any`` inside: JSON is checked where it is read (events.py, wire.py), field by field.
Json: TypeAlias = Any
JsonObject: TypeAlias = dict[str, Any]

# A canonical event nests three deep (event, detail, team). Deeper input is hostile or broken, and
# refusing it here keeps every recursive walk behind this line bounded.
MAX_DEPTH = 16
# Integers JSON readers agree on (RFC 8259 section 6); larger ones change value in a browser.
MAX_INTEGER = 2**53 - 1

# So many brackets may be left open for the reader to say where; far fewer than its stack has room for.
_OPEN_MAX = 100
_STRINGS = re.compile(rb'"[^"]*"')
_NO_BRACKETS = bytes(code for code in range(256) if code not in b'"[]{}')

# Made once: json.dumps makes an encoder for each call, which costs a fifth of writing an event.
_write_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_write_canonical = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False
).encode


def compact(value: Json) -> str:
    """JSON text in the order given, without white space."""
    return _write_compact(value)


def canonical(value: Json) -> str:
    """JSON text with sorted keys, without white space: equal values give equal text."""
    return _write_canonical(value)


def quoted(text: str) -> str:
    """The canonical JSON of a text."""
    return json.encoder.encode_basestring(text)


def parse(text: bytes | str) -> Json:
    """Read one JSON value strictly.

    Raises:
        ValueError: not UTF-8, not JSON, a key twice, NaN or Infinity, a lone surrogate, an integer
            beyond 2**53-1, a float beyond double precision, or nested deeper than ``MAX_DEPTH``.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if text.startswith("\ufeff"):
            raise ValueError("a BOM is not JSON")
        _check_nesting(text)
        value = _read(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if _may_be_refused(text):
        check_plain(value, MAX_DEPTH)
    return value


def _check_nesting(text: str) -> None:
    """Refuse text that is nested deeper than a reader's stack, before reading it ends a browser's Python.

    Innermost pairs of brackets go, one level at a time; what is open then is too deep, or was never closed.
    """
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return
    data = text.encode("utf-8", "surrogatepass")
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = _STRINGS.sub(b"", data.translate(None, _NO_BRACKETS))
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    if brackets.count(b"{") + brackets.count(b"[") > _OPEN_MAX:
        raise ValueError("nested too deep")


def _may_be_refused(text: str) -> bool:
    """Whether what was read of the text needs to be walked through; an event's text is not in doubt.

    Only an escape makes a surrogate of text that UTF-8 can carry, and what has few brackets is not deep.
    """
    if "\\u" in text or text.count("{") + text.count("[") > MAX_DEPTH:
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _object(pairs: list[tuple[str, Json]]) -> JsonObject:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"key {key!a} stands twice")
            seen.add(key)
    return result


def _integer(digits: str) -> int:
    # Measured before int(): a million digits must not cost quadratic time (CVE-2020-10735).
    if len(digits) > 17:
        raise ValueError(f"integer {digits[:20]}… is beyond 2**53-1")
    number = int(digits)
    if abs(number) > MAX_INTEGER:
        raise ValueError(f"integer {digits} is beyond 2**53-1")
    return number


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"number {digits[:20]} is beyond double precision")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once, as the encoders above.
_read = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_refuse_constant,
    parse_int=_integer,
    parse_float=_float,
).decode


def check_plain(value: Json, depth: int) -> None:
    """Refuse what would not come back from ``parse(compact(value))`` as it went.

    Args:
        value: of any origin; exact types are asked for, since JSON has no tuple and no integer key.
        depth: how many objects and lists may stand inside one another.

    Raises:
        ValueError: nested deeper, text that no UTF-8 can carry, a number out of range, or no JSON at all.
    """
    kind = type(value)
    if kind is str:
        _check_text(value)
    elif kind is dict or kind is list:
        if depth == 0:
            raise ValueError("nested too deep")
        if kind is dict:
            for key in value:
                if type(key) is not str:
                    raise ValueError(f"a key must be text, not {type(key).__name__}")
                _check_text(key)
        for item in value.values() if kind is dict else value:
            check_plain(item, depth - 1)
    elif kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise ValueError("an integer is beyond 2**53-1")
    elif kind is float:
        if not math.isfinite(value):
            raise ValueError("NaN and Infinity are not JSON")
    elif value is not None and kind is not bool:
        raise ValueError(f"{kind.__name__} is not JSON")


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"text {ascii(text)[:40]} has a lone surrogate") from None
