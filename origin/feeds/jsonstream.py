"""JSON objects out of a stream that puts one after the other, with or without anything between them.

The bytes come in pieces of any size. An object is cut out where its last brace closes it, and only then
read, strictly. A piece is looked at once, however many pieces an object comes in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from origin.errors import FeedError
from origin.feeds.jsondoc import Node, parse_document

__all__ = ["OBJECT_MAX_BYTES", "JsonStream"]

# A push message is a few kilobytes; a whole timeline would not be pushed.
OBJECT_MAX_BYTES: Final = 1024 * 1024

_OUTSIDE: Final = re.compile(rb"[^ \t\r\n]")
_STRUCTURE: Final = re.compile(rb'[{}"]')
_IN_STRING: Final = re.compile(rb'["\\]')


class JsonStream:
    """Takes bytes, gives objects. After an error it is of no more use: connect anew and read the timeline."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0  # bytes of the buffer that were looked at
        self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> Iterator[Node]:
        """Yield the objects that end within ``data``.

        Raises:
            FeedError: there is something else than objects, or one is too large or not JSON.
        """
        self._buffer += data
        while (end := self._scan()) is not None:
            found = bytes(self._buffer[:end])
            del self._buffer[:end]
            self._at = 0
            yield parse_document(found)
        if len(self._buffer) > OBJECT_MAX_BYTES:
            raise FeedError(f"an object may be at most {OBJECT_MAX_BYTES} bytes", line=1)

    def close(self) -> None:
        """The stream has ended.

        Raises:
            FeedError: it ended within an object.
        """
        if self._buffer.strip(b" \t\r\n"):
            raise FeedError("the stream ended within an object", line=1)

    def _scan(self) -> int | None:
        """Where the object at the front of the buffer ends; None if its end has not come yet."""
        buffer = self._buffer
        while True:
            if not self._depth:
                begin = _OUTSIDE.search(buffer)
                if begin is None:
                    buffer.clear()
                    self._at = 0
                    return None
                del buffer[: begin.start()]
                if buffer[0] != ord("{"):
                    raise FeedError(f"expected an object, got {bytes(buffer[:20])!r}", line=1)
                self._at, self._depth = 1, 1
            found = (_IN_STRING if self._in_string else _STRUCTURE).search(buffer, self._at)
            if found is None:
                self._at = len(buffer)
                return None
            byte = found[0]
            if byte == b"\\":
                if found.end() == len(buffer):  # what it escapes has not come yet
                    self._at = found.start()
                    return None
                self._at = found.end() + 1
                continue
            self._at = found.end()
            if byte == b'"':
                self._in_string = not self._in_string
            else:
                self._depth += 1 if byte == b"{" else -1
                if not self._depth:
                    return self._at
