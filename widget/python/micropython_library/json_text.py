"""JSON: read strictly, and written with an order."""

import json as _native_json
import math
import re as _native_re

from widget.python.micropython_library.mappings import sorted
from widget.python.micropython_library.numbers import float_text, to_float
from widget.python.micropython_library.runtime import _plain_dict, dict
from widget.python.micropython_library.text import _utf8

__all__ = [
    "JSONDecoder",
    "JSONEncoder",
    "check_nesting",
    "encode_basestring",
    "read_request",
]

# Its patterns end at a NUL, so that one is looked for apart.
_CONTROL = _native_re.compile("[\x01-\x1f]")
_CONTROL_BYTE = _native_re.compile(b"[\x01-\x1f]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x08": "\\b", "\x0c": "\\f"}


def encode_basestring(text):
    """A text as JSON, escaped where it has to be."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if '"' in text:
        text = text.replace('"', '\\"')
    if "\0" in text or _CONTROL.search(text):
        text = "".join([_SHORT.get(sign) or "\\u%04x" % ord(sign) if sign < " " else sign for sign in text])
    return '"' + text + '"'


def _written(value, sort_keys):
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is dict or kind is _plain_dict:
        keys = sorted(value) if sort_keys else value
        pairs = [encode_basestring(key) + ":" + _written(value[key], sort_keys) for key in keys]
        return "{" + ",".join(pairs) + "}"
    if kind is list or isinstance(value, tuple):
        return "[" + ",".join([_written(item, sort_keys) for item in value]) + "]"
    if kind is float:
        if not math.isfinite(value):
            raise ValueError("Out of range float values are not JSON compliant")
        return float_text(value)
    raise TypeError("Object of type %s is not JSON serializable" % kind.__name__)


class JSONEncoder:
    """``json.JSONEncoder`` without white space."""

    def __init__(self, *, ensure_ascii=True, separators=None, allow_nan=True, sort_keys=False):
        if ensure_ascii or allow_nan or separators != (",", ":"):
            raise NotImplementedError("JSON that is written in another way")
        self._sort_keys = sort_keys

    def encode(self, value):
        return _written(value, self._sort_keys)


# Beyond what ``shared_state`` accepts, and far from the end of MicroPython's own stack.
_NESTED_MAX = 60


def check_nesting(text):
    """The reader counts as it reads: see ``JSONDecoder``."""


_ESCAPES = {34: '"', 92: "\\", 47: "/", 98: "\b", 102: "\f", 110: "\n", 114: "\r", 116: "\t"}
_HEXADECIMAL = b"0123456789abcdefABCDEF"


class JSONDecoder:
    """``json.JSONDecoder``: one value, strictly, over UTF-8.

    Bytes are indexed in no time; MicroPython counts a text's characters from its beginning for each index.
    Two NULs stand behind the end: no rule takes one, so no index falls behind them.
    """

    def __init__(self, *, object_pairs_hook, parse_constant, parse_int, parse_float):
        self._pairs_hook = object_pairs_hook
        self._constant = parse_constant
        self._integer = parse_int
        self._real = parse_float

    def decode(self, text):
        data = _utf8(text)
        self._plain = not _CONTROL_BYTE.search(data) and b"\0" not in data
        self._data = data + b"\0\0"
        value, at = self._value(self._space(0), _NESTED_MAX)
        at = self._space(at)
        if at != len(data):
            raise self._refused("Extra data", at)
        self._data = b""
        return value

    def _refused(self, what, at):
        """The error as CPython words it; places are counted in characters."""
        before = self._data[:at]
        characters = 0
        for byte in before:
            if not 0x80 <= byte < 0xC0:
                characters += 1
        lines = before.split(b"\n")
        column = 1
        for byte in lines[-1]:
            if not 0x80 <= byte < 0xC0:
                column += 1
        return ValueError("%s: line %d column %d (char %d)" % (what, len(lines), column, characters))

    def _space(self, at):
        data = self._data
        while data[at] in b" \t\n\r":
            at += 1
        return at

    def _value(self, at, depth):
        """The value that begins at ``at``, and where it ends."""
        data = self._data
        first = data[at]
        if first == 34:
            return self._string(at + 1)
        if first == 123:
            return self._object(at + 1, depth)
        if first == 91:
            return self._array(at + 1, depth)
        if 48 <= first <= 57 or first == 45:
            return self._digits(at)
        if first == 110 and data[at : at + 4] == b"null":
            return None, at + 4
        if first == 116 and data[at : at + 4] == b"true":
            return True, at + 4
        if first == 102 and data[at : at + 5] == b"false":
            return False, at + 5
        if first == 78 and data[at : at + 3] == b"NaN":
            return self._constant("NaN"), at + 3
        if first == 73 and data[at : at + 8] == b"Infinity":
            return self._constant("Infinity"), at + 8
        raise self._refused("Expecting value", at)

    def _text(self, start, end):
        part = self._data[start:end]
        if not self._plain:
            for at in range(len(part)):
                if part[at] < 32:
                    raise self._refused("Invalid control character at", start + at)
        try:
            return part.decode()
        except UnicodeError:  # a lone surrogate, on CPython
            return part.decode("utf-8", "surrogatepass")

    def _string(self, at):
        data = self._data
        begin = at - 1
        parts = []
        while True:
            end = data.find(b'"', at)
            slash = data.find(b"\\", at, end) if end >= 0 else data.find(b"\\", at)
            if end < 0 and slash < 0:
                self._text(at, len(data) - 2)
                raise self._refused("Unterminated string starting at", begin)
            if slash < 0:
                last = self._text(at, end)
                if not parts:
                    return last, end + 1
                parts.append(last)
                return "".join(parts), end + 1
            parts.append(self._text(at, slash))
            code = data[slash + 1]
            at = slash + 2
            if code == 117:
                code, at = self._code_unit(at)
                if 0xD800 <= code < 0xDC00 and data[at : at + 2] == b"\\u":
                    low, after = self._code_unit(at + 2)
                    if 0xDC00 <= low < 0xE000:
                        code, at = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), after
                parts.append(chr(code))
            elif code in _ESCAPES:
                parts.append(_ESCAPES[code])
            elif slash + 1 >= len(data) - 2:
                raise self._refused("Unterminated string starting at", begin)
            else:
                raise self._refused("Invalid \\escape", slash)

    def _code_unit(self, at):
        digits = self._data[at : at + 4]
        for digit in digits:
            if digit not in _HEXADECIMAL:
                raise self._refused("Invalid \\uXXXX escape", at - 1)
        return int(digits.decode(), 16), at + 4

    def _digits(self, start):
        data = self._data
        at = start
        if data[at] == 45:
            at += 1
            if data[at : at + 8] == b"Infinity":
                return self._constant("-Infinity"), at + 8
        if data[at] == 48:
            at += 1
        elif 49 <= data[at] <= 57:
            at = self._past_digits(at)
        else:
            raise self._refused("Expecting value", start)
        real = False
        if data[at] == 46 and 48 <= data[at + 1] <= 57:
            real = True
            at = self._past_digits(at + 1)
        if data[at] in b"eE":
            end = at + 1
            if data[end] in b"+-":
                end += 1
            if 48 <= data[end] <= 57:
                real = True
                at = self._past_digits(end)
        digits = data[start:at].decode()
        return (self._real if real else self._integer)(digits), at

    def _past_digits(self, at):
        data = self._data
        while 48 <= data[at] <= 57:
            at += 1
        return at

    def _object(self, at, depth):
        if depth <= 0:
            raise RuntimeError("maximum recursion depth exceeded")
        data = self._data
        pairs = []
        at = self._space(at)
        if data[at] == 125:
            return self._pairs_hook(pairs), at + 1
        while True:
            if data[at] != 34:
                raise self._refused("Expecting property name enclosed in double quotes", at)
            key, at = self._string(at + 1)
            at = self._space(at)
            if data[at] != 58:
                raise self._refused("Expecting ':' delimiter", at)
            value, at = self._value(self._space(at + 1), depth - 1)
            pairs.append((key, value))
            at = self._space(at)
            if data[at] == 125:
                return self._pairs_hook(pairs), at + 1
            if data[at] != 44:
                raise self._refused("Expecting ',' delimiter", at)
            at = self._space(at + 1)

    def _array(self, at, depth):
        if depth <= 0:
            raise RuntimeError("maximum recursion depth exceeded")
        data = self._data
        items = []
        at = self._space(at)
        if data[at] == 93:
            return items, at + 1
        while True:
            value, at = self._value(at, depth - 1)
            items.append(value)
            at = self._space(at)
            if data[at] == 93:
                return items, at + 1
            if data[at] != 44:
                raise self._refused("Expecting ',' delimiter", at)
            at = self._space(at + 1)


def read_request(text):
    """``json.loads`` of what our own loader wrote; its keys' order is not asked for.

    MicroPython's own reader is the faster one, and makes two signs of an escaped pair of surrogates.
    """
    if "\\ud" in text or "\\uD" in text:
        reader = JSONDecoder(object_pairs_hook=dict, parse_constant=None, parse_int=int, parse_float=to_float)
        return reader.decode(text)
    return _native_json.loads(text)
