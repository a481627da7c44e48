"""The body of a page request, put together before a thread gets it.

Only bytes in; nothing here touches a socket. gunicorn's own parser reads the whole message again, and
decides what it means; this one only has to know where it ends, and to refuse whatever two parsers could
end in two places.
"""

from __future__ import annotations

from typing import Final, Protocol

from httptools import HttpParserError, HttpRequestParser

from origin.errors import RequestError
from origin.stream.http.request_head import header_value

__all__ = ["CONTINUE", "Body", "begin", "body_too_large", "expects_continue"]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_READ_MAX_BYTES: Final = 262_144
_LENGTH_DIGITS_MAX: Final = 18
# What chunks may cost besides what they carry, at most: as much again, and this. The application counts the
# body itself, byte by byte.
_CHUNKING_MAX_BYTES: Final = 65_536
# Chunks are read behind a head of our own: what else the real one asks for is gunicorn's to judge.
_CHUNKED_HEAD: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class Body(Protocol):
    """A message whose body is coming.

    Attributes:
        message: the head, and what has come behind it.
    """

    message: bytearray

    @property
    def wanted(self) -> int:
        """How many bytes to read next, at most; 0 once all is there."""

    def take(self, data: bytes) -> None:
        """Add what was read.

        Raises:
            RequestError: 400 not a body; 413 too large.
        """


def begin(head: bytes, limit: int) -> Body | None:
    """What follows a head.

    Args:
        head: the whole head, with the empty line.
        limit: the most bytes a body may have.

    Returns:
        A body that has yet to come; None if the head is the whole message.

    Raises:
        RequestError: 400 where the message ends cannot be said for sure; 413 the body is too large; 501 it
            is coded in a way that is not understood here.
    """
    lower = head.lower()
    if b"content-length" not in lower and b"transfer-encoding" not in lower:
        return None
    lengths, codings = _framing(lower)
    if codings:
        if lengths:
            raise _malformed("Content-Length and Transfer-Encoding contradict each other")
        if not _is_http_1_1(lower):
            raise _malformed("Transfer-Encoding is not of HTTP/1.0")
        if codings != [b"chunked"]:
            shown = b", ".join(codings)[:40].decode("latin-1")
            raise RequestError(501, "transfer_coding", f"Transfer-Encoding {shown!r}: only chunked is read")
        return _Chunked(head, limit)
    if not lengths:
        return None
    if len(lengths) > 1 or not lengths[0].isdigit():
        shown = b", ".join(lengths)[:40].decode("latin-1")
        raise _malformed(f"Content-Length {shown!r}: must be one whole number")
    digits = lengths[0].lstrip(b"0")
    if len(digits) > _LENGTH_DIGITS_MAX or int(digits or b"0") > limit:
        raise body_too_large(limit)
    return _Measured(head, int(digits)) if digits else None


def expects_continue(head: bytes) -> bool:
    """Whether the client waits for a go-ahead before it sends its body (RFC 9110 section 10.1.1)."""
    lower = head.lower()
    return _is_http_1_1(lower) and header_value(lower, lower, b"\nexpect:") == b"100-continue"


def body_too_large(limit: int) -> RequestError:
    """The refusal of a body of more than ``limit`` bytes."""
    return RequestError(413, "body_too_large", f"the body is larger than {limit} bytes", limit=limit)


class _Measured:
    """A body whose length was announced: read to its end and no further."""

    __slots__ = ("_end", "message")

    def __init__(self, head: bytes, length: int) -> None:
        self.message = bytearray(head)
        self._end = len(head) + length

    @property
    def wanted(self) -> int:
        return min(self._end - len(self.message), _READ_MAX_BYTES)

    def take(self, data: bytes) -> None:
        self.message += data


class _Chunked:
    """A body in chunks. What stands behind it would be lost, so nothing may."""

    __slots__ = ("_behind", "_complete", "_limit", "_most", "_parser", "message")

    def __init__(self, head: bytes, limit: int) -> None:
        self.message = bytearray(head)
        self._limit = limit
        self._most = len(head) + 2 * limit + _CHUNKING_MAX_BYTES
        self._complete = False
        self._behind = False
        # No call for each chunk: a megabyte in chunks of one byte must not cost a second of the loop.
        self._parser = HttpRequestParser(self)
        self._parser.feed_data(_CHUNKED_HEAD)

    def on_message_begin(self) -> None:
        """Called by the parser: of the next message, if one is complete."""
        self._behind = self._complete

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._complete = True

    @property
    def wanted(self) -> int:
        return 0 if self._complete else _READ_MAX_BYTES

    def take(self, data: bytes) -> None:
        if len(self.message) + len(data) > self._most:
            raise body_too_large(self._limit)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            if not self._complete:
                raise _malformed(f"not a chunked body: {error}") from None
            self._behind = True
        if self._behind:
            raise _malformed("a request behind a chunked one must wait for the answer")
        self.message += data


def _framing(lower: bytes) -> tuple[list[bytes], list[bytes]]:
    """The values of Content-Length and of Transfer-Encoding in a head in lower case."""
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for line in lower.split(b"\r\n"):
        name, _, value = line.partition(b":")
        bare = name.strip()
        if bare not in (b"content-length", b"transfer-encoding"):
            continue
        if bare != name:  # read as another header by one server, and as this one by the next
            raise _malformed(f"white space around the name {bare.decode()}")
        (lengths if bare == b"content-length" else codings).append(value.strip())
    return lengths, codings


def _is_http_1_1(lower: bytes) -> bool:
    """Whether the request line, and not some header, says so."""
    return lower[: lower.find(b"\r\n")].endswith(b" http/1.1")


def _malformed(message: str) -> RequestError:
    return RequestError(400, "malformed_request", message)
