"""A JSON document read by path, so that whatever is wrong in it can be named by its path and line.

``Node`` is one value together with the way to it. A reader asks it for what it expects and gets that or
a ``FeedError``; it never sees a ``KeyError``, and never has to carry a path around. A line is worked out
only for an error, by walking the text once more: a good document costs nothing for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, TypeAlias

from origin.errors import FeedError
from origin.feeds import read_document
from origin.feeds.document_kind import PUSH, kind_of_bytes, kind_of_json
from shared_state import InvalidEvent
from shared_state.errors import shown
from shared_state.jsontext import MAX_DEPTH, Json, JsonObject, parse

__all__ = ["Node", "Path", "dotted", "line_of", "parse_document"]

Path: TypeAlias = tuple[str | int, ...]

_WHITE: Final = " \t\r\n"


def parse_document(data: bytes) -> Node:
    """Read bytes as one JSON value.

    Raises:
        FeedError: not UTF-8 or not JSON, with the line; a document of another kind by what it is.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _foreign(data) or FeedError(f"not UTF-8: {error.reason}", line=line) from None
    try:
        return Node(parse(text), (), text)
    except json.JSONDecodeError as error:
        fault = FeedError(f"not JSON: {error.msg} at column {error.colno}", line=error.lineno)
        raise _foreign(data) or fault from None
    except ValueError as error:
        raise _refused(text, error) from None


class Node:
    """One value of a document.

    Attributes:
        value: the plain JSON.
        path: the keys and indices that lead to it.
    """

    __slots__ = ("_text", "path", "value")

    def __init__(self, value: Json, path: Path, text: str) -> None:
        self.value = value
        self.path = path
        self._text = text

    @classmethod
    def read(cls, source: BinaryIO) -> Node:
        """Read a whole source.

        Raises:
            FeedError: too large, not UTF-8 or not JSON.
            OSError: it cannot be read.
        """
        return parse_document(read_document(source))

    def error(self, message: str) -> FeedError:
        """What is wrong with this value, to be raised or to warn with."""
        return FeedError(message, where=dotted(self.path), line=line_of(self._text, self.path))

    def invalid(self, error: InvalidEvent) -> FeedError:
        """An event made of this value breaks the contract."""
        return self.error(str(error))

    def require_kind(self, expected: str, reason: str = "") -> None:
        """Refuse a document that is known to be of another kind; one of no known kind is left to its reader.

        Args:
            expected: the kind, in the words of ``document_kind``.
            reason: what follows the words in the error.

        Raises:
            FeedError: it is of another kind, with what it is.
        """
        kind = kind_of_json(self.value)
        if kind not in (None, expected):
            raise self.error(f"is {kind}, not {expected}{reason}")

    def has(self, key: str) -> bool:
        """Whether an object has the key with a value that is not null."""
        return self.object().get(key) is not None

    def at(self, key: str) -> Node:
        """The value of a key; of null where it is missing, which the next question refuses by its path."""
        return Node(self.object().get(key), (*self.path, key), self._text)

    def items(self) -> Iterator[Node]:
        """The values of a list; of nothing, none."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            raise self._expected("a list")
        for index, item in enumerate(self.value):
            yield Node(item, (*self.path, index), self._text)

    def object(self) -> JsonObject:
        """The value as an object."""
        if not isinstance(self.value, dict):
            raise self._expected("an object")
        return self.value

    def text(self) -> str:
        """The value as text that is not blank, without white space around it."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self._expected("text")
        return self.value.strip()

    def optional_text(self) -> str | None:
        """As ``text``, or None where there is none or only white space."""
        if self.value is None or self.value == "":
            return None
        return self.text()

    def integer(self, least: int, most: int) -> int:
        """The value as an integer within bounds."""
        value: Any = self.value
        if type(value) is not int or not least <= value <= most:
            raise self._expected(f"an integer from {least} to {most}")
        return int(value)

    def boolean(self) -> bool:
        """The value as a truth value; nothing is false."""
        if self.value is None:
            return False
        if type(self.value) is not bool:
            raise self._expected("true or false")
        return self.value

    def _expected(self, what: str) -> FeedError:
        return self.error("is missing" if self.value is None else f"must be {what}, got {shown(self.value)}")


def _foreign(data: bytes) -> FeedError | None:
    """The error about bytes that are no single JSON value, by what they are; None for broken JSON."""
    kind = kind_of_bytes(data)
    if kind is None or kind.startswith("JSON"):
        return None
    wanted = "a timeline" if kind == PUSH else "one" if kind.startswith("several") else "JSON"
    return FeedError(f"is {kind}, not {wanted}", line=1)


def dotted(path: Path) -> str:
    """A path as people write it: ``rounds[2].matches[0].score``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def line_of(text: str, path: Path) -> int:
    """The line, counted from 1, of the value at a path; of its container where it is missing.

    Args:
        text: JSON that has been parsed without error.
        path: keys and indices.
    """
    at = _skip(text, 0)
    for step in path:
        found = _find(text, at, step)
        if found is None:
            break
        at = found
    return text.count("\n", 0, at) + 1


def _refused(text: str, error: ValueError) -> FeedError:
    """What ``parse`` has against text that the grammar of JSON allows, with its line."""
    found = _first_refusal(text)
    if found is None:  # a rule of ``parse`` that is not known here: better no line than a wrong one
        return FeedError(f"not JSON: {error}")
    at, reason = found
    return FeedError(f"not JSON: {reason}", line=text.count("\n", 0, at) + 1)


def _first_refusal(text: str) -> tuple[int, str] | None:
    """Where ``parse`` first objects, and to what: it is asked again, about the one token."""
    keys: list[set[str]] = []  # of each container that is open; a list's stays empty
    for token in _TOKEN.finditer(text):
        raw = token[0]
        asked = raw
        if raw in "{[":
            keys.append(set())
            if len(keys) <= MAX_DEPTH:
                continue
            asked = "[" * len(keys) + "]" * len(keys)
        elif raw in "}]":
            if keys:
                keys.pop()
            continue
        elif token["key"] is not None and keys:
            asked = raw = token["key"]
            key = _DECODER.decode(raw)
            if key in keys[-1]:
                asked = f"{{{raw}:0,{raw}:0}}"
            keys[-1].add(key)
        if asked is raw and not _is_suspect(raw):
            continue
        try:
            parse(asked)
        except ValueError as error:
            return token.start(), str(error)
    return None


def _is_suspect(token: str) -> bool:
    """Whether ``parse`` may object to a string, number or name at all: a document has millions."""
    if token[0] == '"':
        return "\\u" in token
    return len(token) > 15 or not token.lstrip("-").isdecimal()


def _find(text: str, at: int, step: str | int) -> int | None:
    """Where the value of a key or an index begins in the container that begins at ``at``."""
    is_object = text[at] == "{"
    index = 0
    at = _skip(text, at + 1)
    while text[at] not in "]}":
        key: str | int = index
        if is_object:
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)  # past the colon
        if key == step:
            return at
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
        index += 1
    return None


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _WHITE:
        at += 1
    return at


_DECODER: Final = json.JSONDecoder()
# What is no token of JSON, and white space, commas and colons, are passed over: the grammar is checked
# already, up to where ``parse`` objected. true, false and null are matched for NaN's sake.
_TOKEN: Final = re.compile(
    r"""(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|"(?:[^"\\]|\\.)*"|[{}\[\]]|[-+.\w]+""", re.DOTALL
)
