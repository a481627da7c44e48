"""Canonical JSONL (docs/protocol.md section 1): one event a line, read strictly, a line at a time.

A byte order mark at the start, CRLF, blank lines and a last line without its end are let through: each
is what some editor or shell does to a good file. Everything else that is not an event is refused by its
line's number. Memory is one line's, however long the file.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from json import JSONDecodeError
from typing import BinaryIO, Final

from origin.errors import FeedError
from origin.feeds import Warn
from origin.feeds.document_kind import HEAD_BYTES, kind_of_bytes
from shared_state import Event, InvalidEvent
from shared_state.jsontext import canonical, parse

__all__ = ["LINE_MAX_BYTES", "convert", "events_of_lines", "to_line"]

# The largest event by its contract has 8,000 characters of detail, up to 12 bytes each as \u escapes.
LINE_MAX_BYTES: Final = 128 * 1024


def convert(source: BinaryIO, warn: Warn, /) -> Iterator[Event]:  # noqa: ARG001  a line is right or wrong
    """Yield the events of a JSONL source; see ``events_of_lines``."""
    return events_of_lines(source)


def events_of_lines(source: BinaryIO) -> Iterator[Event]:
    """Yield the events of a JSONL source.

    Raises:
        FeedError: a line is not an event; ``line`` is its number, counted from 1.
        OSError: the source cannot be read.
    """
    number = 0
    beginning = True
    while True:
        line = source.readline(LINE_MAX_BYTES + 1)
        if not line:
            return
        number += 1
        if len(line) > LINE_MAX_BYTES:
            raise FeedError(f"a line may be at most {LINE_MAX_BYTES} bytes", line=number)
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            event = _event(line, number, source if beginning else None)
            beginning = False
            yield event


def to_line(event: Event) -> bytes:
    """The event as one line of canonical JSONL: the same bytes for the same event."""
    return canonical(event.to_json()).encode("utf-8") + b"\n"


def _event(line: bytes, number: int, rest: BinaryIO | None) -> Event:
    """Read one line; ``rest`` is what follows it, for the first one, which may be no line at all."""
    try:
        return Event.from_json(parse(line))
    except InvalidEvent as error:
        raise FeedError(str(error), line=number) from None
    except UnicodeDecodeError as error:
        fault = FeedError(f"not UTF-8: {error.reason} at byte {error.start + 1}", line=number)
        raise _foreign(line, rest) or fault from None
    except JSONDecodeError as error:
        # Its own "line 1 column 9" would count within this line, and mislead.
        fault = FeedError(f"not JSON: {error.msg} at character {error.pos + 1}", line=number)
        raise _foreign(line, rest) or fault from None
    except ValueError as error:
        raise FeedError(f"not JSON: {error}", line=number) from None


def _foreign(line: bytes, rest: BinaryIO | None) -> FeedError | None:
    """The error about a file that is not text in lines at all, by what it is; None where it may be."""
    kind = None if rest is None else kind_of_bytes(line + rest.read(HEAD_BYTES))
    if kind is None or "JSON" in kind:
        return None
    return FeedError(f"is {kind}, not UTF-8 JSON lines", line=1)
