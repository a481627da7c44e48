"""The head of a stream request: which requests are ours, and what they ask for.

Only bytes in and a value out; nothing here touches a socket. ``look`` decides on the first bytes, with as
little work as it can, since every page request passes it too; ``parse`` reads a whole head.
"""

from __future__ import annotations

import binascii
import re
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from origin.errors import RequestError
from origin.stream.http.sse import last_event_id
from shared_state import DeltaId

__all__ = ["Look", "StreamRequest", "Transport", "header_value", "look", "parse", "stream_path"]

_STREAM: Final = "/stream/"
_WEBSOCKET: Final = "/ws/match/"
_STREAM_BYTES: Final = _STREAM.encode()
_WEBSOCKET_BYTES: Final = _WEBSOCKET.encode()
_METHOD_MAX_BYTES: Final = 16
_MATCH_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_QUERY_FIELDS_MAX: Final = 16
_METHODS: Final = "GET, HEAD, OPTIONS"
_KEY_BYTES: Final = 16  # a Sec-WebSocket-Key is that many random bytes, in base64 (RFC 6455 section 4.2.1)


class Look(Enum):
    """What the first bytes of a connection are."""

    STREAM = "stream"  #: the whole head of a request for the hub
    PAGE = "page"  #: the whole head of a request for the thread pool
    MORE = "more"  #: a request head that is not all there
    NOT_HTTP = "not http"  #: it will never be a request


class Transport(Enum):
    """What carries the frames."""

    SSE = "sse"
    WEBSOCKET = "websocket"

    # Each viewer is looked up by it several times, and an Enum's own is a call of Python.
    __hash__ = object.__hash__


class StreamRequest(NamedTuple):
    """What a viewer asks for.

    Attributes:
        after: the id it resumes from; None for a new viewer.
        head: the whole head; what few need is read from it when they do.
        websocket_key: what the handshake answers to; empty for SSE.
    """

    method: str
    transport: Transport
    match_id: str
    after: DeltaId | None
    head: bytes
    websocket_key: bytes = b""

    @property
    def keep_alive(self) -> bool:
        """Whether further requests may follow an answer that ends."""
        lower = self.head.lower()
        return (
            b" http/1.1\r\n" in lower
            and b"close" not in (header_value(self.head, lower, b"\nconnection:") or b"").lower()
            and header_value(self.head, lower, b"\ncontent-length:") in (None, b"0")
            and header_value(self.head, lower, b"\ntransfer-encoding:") is None
        )

    @property
    def forwarded_for(self) -> str:
        """``X-Forwarded-For`` as it came; whether to believe it depends on who sent it."""
        return (header_value(self.head, self.head.lower(), b"\nx-forwarded-for:") or b"").decode("latin-1")


def look(data: bytes | bytearray, size: int) -> tuple[Look, int]:
    """Decide on the bytes that have come so far.

    Args:
        data: from the first byte of the request on; what lies beyond ``size`` is left from before.
        size: how many of them have come.

    Returns:
        What it is, and the length of the head once it is all there.
    """
    end = data.find(b"\r\n\r\n", 0, size)
    if end < 0:
        # A method, or the empty line that a client may send before it (RFC 9112 section 2.2).
        return (Look.MORE if 65 <= data[0] <= 90 or data[0] in b"\r\n" else Look.NOT_HTTP), 0
    at = data.find(b" ", 0, _METHOD_MAX_BYTES) + 1
    is_stream = data.startswith((_STREAM_BYTES, _WEBSOCKET_BYTES), at)
    return (Look.STREAM if is_stream else Look.PAGE), end + 4


def stream_path(path: str) -> bool:
    """Whether the hub answers this path."""
    return path.startswith((_STREAM, _WEBSOCKET))


class _Url:
    """What httptools calls while it reads: for the target alone.

    A call per header would cost more than the rest of the parser. It checks their syntax all the same,
    and ``_header`` then finds the few that matter.
    """

    __slots__ = ("url",)

    def __init__(self) -> None:
        self.url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url


def parse(head: bytes) -> StreamRequest:
    """Read a whole request head.

    Raises:
        RequestError: it cannot be granted.
    """
    found = _Url()
    parser = HttpRequestParser(found)
    try:
        parser.feed_data(head)
    except HttpParserUpgrade:
        pass  # not an error: the request asks for another protocol
    except HttpParserError as error:
        raise RequestError(400, "malformed_request", f"not an HTTP request: {error}") from None
    lower = head.lower()
    if b" http/1.1\r\n" not in lower:
        version = parser.get_http_version()
        if version != "1.0":
            raise RequestError(505, "http_version", f"HTTP {version} is not spoken here")
    elif b"\nhost:" not in lower:
        raise RequestError(400, "malformed_request", "an HTTP/1.1 request must have a Host")
    method = parser.get_method().decode("latin-1")
    transport, name, resume = _target(method, found.url)
    after = _after(header_value(head, lower, b"\nlast-event-id:"), resume)
    if transport is Transport.SSE:
        return StreamRequest(method, transport, name, after, head)
    key = _websocket_key(head, lower) if method == "GET" else b""
    return StreamRequest(method, transport, name, after, head, key)


@lru_cache(maxsize=256)
def _target(method: str, url: bytes) -> tuple[Transport, str, str | None]:
    """What a target names: the same for all who watch a match, whatever else they send.

    Returns:
        The transport, the match's id, and the id to resume from as the query has it.

    Raises:
        RequestError: it cannot be granted.
    """
    path, _, query_text = url.decode("latin-1").partition("?")
    if (fields := query_text.count("&") + 1) > _QUERY_FIELDS_MAX:
        raise RequestError(
            400, "malformed_request", f"a query of {fields} fields: at most {_QUERY_FIELDS_MAX} are read"
        )
    query = parse_qs(query_text) if query_text else {}
    is_sse = path.startswith(_STREAM)
    name = path[len(_STREAM if is_sse else _WEBSOCKET) :]
    if method not in ("GET", "HEAD", "OPTIONS"):
        raise RequestError(
            405, "method_not_allowed", f"{method} is not allowed here", headers={"Allow": _METHODS}
        )
    if is_sse and name == "score" and method != "OPTIONS":
        # As in the router: /stream/score is the stream by query, not a match called "score".
        name = query.get("matchId", [""])[0]
        if not name:
            raise RequestError(400, "missing_parameter", "matchId is required: /stream/score?matchId=<id>")
    if "%" in name:
        name = unquote(name)
    if not _MATCH_ID.fullmatch(name):
        raise RequestError(404, "unknown_match", f"no match {name[:64]!r}", match_id=name[:64])
    resume = query["last_event_id"][0] if "last_event_id" in query else None
    return Transport.SSE if is_sse else Transport.WEBSOCKET, name, resume


def header_value(head: bytes, lower: bytes, mark: bytes) -> bytes | None:
    """The value of a header.

    Args:
        head: the head, whose syntax has been checked.
        lower: the same in lower case.
        mark: a line feed, the name in lower case, and the colon.
    """
    at = lower.find(mark)
    if at < 0:
        return None
    at += len(mark)
    return head[at : head.find(b"\r", at)].strip()


@lru_cache(maxsize=256)
def _after(header: bytes | None, query: str | None) -> DeltaId | None:
    """Where to resume from. Those who lost the same server stand at the same id, nearly all."""
    return last_event_id(header.decode("latin-1") if header else None, query)


def _websocket_key(head: bytes, lower: bytes) -> bytes:
    """The key of a right handshake (RFC 6455 section 4.2.1)."""
    upgrade = header_value(lower, lower, b"\nupgrade:") or b""
    connection = header_value(lower, lower, b"\nconnection:") or b""
    if b"websocket" not in upgrade or b"upgrade" not in connection:
        raise RequestError(426, "upgrade_required", "this is a WebSocket", headers={"Upgrade": "websocket"})
    if header_value(head, lower, b"\nsec-websocket-version:") != b"13":
        raise RequestError(
            426,
            "websocket_version",
            "WebSocket version 13 is spoken here",
            headers={"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
        )
    key = header_value(head, lower, b"\nsec-websocket-key:") or b""
    try:
        right = len(binascii.a2b_base64(key, strict_mode=True)) == _KEY_BYTES
    except binascii.Error:
        right = False
    if not right:
        raise RequestError(400, "websocket_key", "Sec-WebSocket-Key must be 16 bytes in base64")
    return key
