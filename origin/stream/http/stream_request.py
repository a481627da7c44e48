"""The head of a stream request: what a viewer asks for.

Only bytes in and a value out; nothing here touches a socket.
"""

from __future__ import annotations

import binascii
import re
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qs

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from origin.bus.list_cursor import ListCursor
from origin.canary.match import CANARY_PREFIX
from origin.errors import RequestError
from origin.stream.http.cache_headers import LATEST_SECOND, cache_headers
from origin.stream.http.request_head import (
    LONG_POLL_PATH,
    RequestLine,
    Target,
    check_host,
    header_value,
    header_values,
    request_line,
)
from origin.stream.http.sse import last_event_id
from shared_state import DeltaId, WireError

__all__ = [
    "MATCHES_MAX",
    "MULTI_PATH",
    "MULTI_TARGET_MAX_BYTES",
    "StreamRequest",
    "Transport",
    "check_syntax",
    "keeps_alive",
    "parse",
    "parse_long_poll",
    "parse_set",
]

#: The stream of several matches.
MULTI_PATH: Final = "/stream"
#: Of one stream.
MATCHES_MAX: Final = 200
#: As long as an address with the longest names and ids that many matches can have.
MULTI_TARGET_MAX_BYTES: Final = 20_480

_STREAM: Final = "/stream/"
_WEBSOCKET: Final = "/ws/match/"
# The canary is watched from within alone.
_MATCH_ID: Final = re.compile(rf"(?!{CANARY_PREFIX})[A-Za-z0-9_-]{{1,64}}")
_QUERY_FIELDS_MAX: Final = 16
#: Of the name of a list.
LIST_NAME_MAX: Final = 200
# One way to write a number, so that an answer has one address.
_SLICE: Final = re.compile(r"0|[1-9][0-9]{0,11}")
_METHODS: Final = "GET, HEAD, OPTIONS"
_KEY_BYTES: Final = 16  # a Sec-WebSocket-Key is that many random bytes, in base64 (RFC 6455 section 4.2.1)


class Transport(Enum):
    """What carries the frames."""

    SSE = "sse"
    WEBSOCKET = "websocket"
    LONG_POLL = "long_poll"  #: one answer to each request, held until there is one
    MULTI = "sse_multi"  #: SSE of several matches; each frame names its match

    # Each viewer is looked up by it several times, and an Enum's own is a call of Python.
    __hash__ = object.__hash__


class StreamRequest(NamedTuple):
    """What a viewer asks for.

    Attributes:
        after: the id it resumes from; None for a new viewer.
        head: the whole head; headers that few requests need are read from it on demand.
        websocket_key: what the handshake answers to; empty for SSE.
        flush: whether a comment follows what is sent, as a piece of its own, for scanners that hold the last.
        list_name: the list whose rows are streamed, a day or a competition; empty for all, None for none.
        slice_: of a long-poll, the slice of the server's time that it is about.
        list_after: where its viewer stands; None for a viewer that has no cursor.
        matches: of a stream of several matches: each, with the id to resume from; ``match_id`` is empty then.
    """

    method: str
    transport: Transport
    match_id: str
    after: DeltaId | None
    head: bytes
    websocket_key: bytes = b""
    flush: bool = False
    matches: tuple[tuple[str, DeltaId | None], ...] = ()
    list_name: str | None = None
    slice_: int = 0
    list_after: ListCursor | None = None

    @property
    def keep_alive(self) -> bool:
        """Whether further requests may follow an answer that ends."""
        return keeps_alive(self.head)

    @property
    def forwarded_for(self) -> list[str]:
        """Every ``X-Forwarded-For`` line as it came; whether to believe it depends on who sent it."""
        values = header_values(self.head, self.head.lower(), b"\nx-forwarded-for:")
        return [value.decode("latin-1") for value in values]


def keeps_alive(head: bytes) -> bool:
    """Whether further requests may follow one whose answer ends."""
    lower = head.lower()
    return (
        lower[: lower.find(b"\r\n")].endswith(b" http/1.1")
        and b"close" not in (header_value(head, lower, b"\nconnection:") or b"").lower()
        and header_value(head, lower, b"\ncontent-length:") in (None, b"0")
        and header_value(head, lower, b"\ntransfer-encoding:") is None
    )


class _SyntaxOnly:
    """What httptools calls while it reads: nothing.

    A call per header would cost more than the rest of the parser. It checks the syntax of all headers, and
    ``header_value`` then finds the few that matter.
    """

    __slots__ = ()


_SYNTAX_ONLY: Final = _SyntaxOnly()


def parse(head: bytes, line: RequestLine | None = None) -> StreamRequest:
    """Read a whole request head.

    Args:
        head: from the request line to the empty line.
        line: the request line, if it was read already.

    Raises:
        RequestError: it cannot be granted.
    """
    line = line or request_line(head)
    check_syntax(head)
    check_host(head, line.version)
    method = line.method
    if line.target.path == MULTI_PATH:
        return parse_set(method, line.target, head)
    if LONG_POLL_PATH.fullmatch(line.target.path):
        return parse_long_poll(method, line.target, head)
    transport, name, resume, flush = _asked(method, line.target.path, line.target.query)
    lower = head.lower()
    after = _after(header_value(head, lower, b"\nlast-event-id:"), resume)
    if transport is Transport.SSE:
        return StreamRequest(method, transport, name, after, head, flush=flush)
    key = _websocket_key(head, lower) if method == "GET" else b""
    return StreamRequest(method, transport, name, after, head, key)


def check_syntax(head: bytes) -> None:
    """Check the syntax of all header lines.

    Raises:
        RequestError: 400 it is not HTTP.
    """
    try:
        HttpRequestParser(_SYNTAX_ONLY).feed_data(head)
    except HttpParserUpgrade:
        pass  # not an error: the request asks for another protocol
    except HttpParserError as error:
        raise RequestError(400, "malformed_request", f"not an HTTP request: {error}") from None


@lru_cache(maxsize=256)
def _asked(method: str, path: str, query_text: str) -> tuple[Transport, str, str | None, bool]:
    """What a target names: the same for all who watch a match, whatever else they send.

    Returns:
        The transport, the match's id, the id to resume from as the query has it, and whether to flush.

    Raises:
        RequestError: it cannot be granted.
    """
    if (fields := query_text.count("&") + 1) > _QUERY_FIELDS_MAX:
        raise RequestError(
            400, "malformed_request", f"a query of {fields} fields: at most {_QUERY_FIELDS_MAX} are read"
        )
    query = parse_qs(query_text) if query_text else {}
    is_sse = path.startswith(_STREAM)
    name = path[len(_STREAM if is_sse else _WEBSOCKET) :]
    _check_method(method)
    if is_sse and name == "score" and method != "OPTIONS":
        # /stream/score is the stream by query, not a match called "score".
        name = query.get("matchId", [""])[0]
        if not name:
            raise RequestError(400, "missing_parameter", "matchId is required: /stream/score?matchId=<id>")
    if not _MATCH_ID.fullmatch(name):
        raise RequestError(404, "unknown_match", f"no match {name[:64]!r}", match_id=name[:64])
    resume = query["last_event_id"][0] if "last_event_id" in query else None
    flush = query.get("flush", [""])[-1] == "1"
    return Transport.SSE if is_sse else Transport.WEBSOCKET, name, resume, flush


def _check_method(method: str) -> None:
    if method not in ("GET", "HEAD", "OPTIONS"):
        raise RequestError(
            405, "method_not_allowed", f"{method} is not allowed here", headers={"Allow": _METHODS}
        )


def parse_set(method: str, target: Target, head: bytes) -> StreamRequest:
    """Read what a stream of several matches is asked for: ``?m=<match>@<epoch>-<seq>&m=<match>``.

    Raises:
        RequestError: 400 no match, too many, or one that cannot be or comes twice; 405; 414 a target that no
            such request needs.
    """
    _check_method(method)
    if len(target.encoded) > MULTI_TARGET_MAX_BYTES:
        raise RequestError(
            414, "uri_too_long", f"the address has {len(target.encoded)} bytes, of {MULTI_TARGET_MAX_BYTES}"
        )
    if method == "OPTIONS":
        return StreamRequest(method, Transport.MULTI, "", None, head)
    if (fields := target.query.count("&") + 1) > MATCHES_MAX + _QUERY_FIELDS_MAX:
        raise RequestError(
            400, "too_many_matches", f"a query of {fields} fields: at most {MATCHES_MAX} matches are streamed"
        )
    query = parse_qs(target.query, keep_blank_values=True)
    named = query.get("m", [])
    lists = query.get("list", [])
    if len(lists) > 1 or (lists and len(lists[0]) > LIST_NAME_MAX):
        raise RequestError(
            400, "bad_list", f"list={lists[-1][:64]!r}: one list, of at most {LIST_NAME_MAX} characters"
        )
    if not named and not lists:
        raise RequestError(400, "missing_parameter", f"no match in {target.query[:64]!r}: /stream?m=<id>")
    if len(named) > MATCHES_MAX:
        raise RequestError(
            400, "too_many_matches", f"{len(named)} matches: at most {MATCHES_MAX} are streamed at once"
        )
    matches: dict[str, DeltaId | None] = {}
    for text in named:
        name, _, id_text = text.partition("@")
        if not _MATCH_ID.fullmatch(name):
            raise RequestError(400, "bad_match_id", f"m={text[:128]!r}: must be <match> or <match>@<id>")
        if name in matches:
            raise RequestError(400, "match_named_twice", f"the match {name!r} is named twice", match_id=name)
        matches[name] = last_event_id(id_text, None)
    flush = query.get("flush", [""])[-1] == "1"
    return StreamRequest(
        method,
        Transport.MULTI,
        "",
        None,
        head,
        flush=flush,
        matches=tuple(matches.items()),
        list_name=lists[0] if lists else None,
        list_after=ListCursor.parse(query.get("list_id", [""])[-1]),
    )


def parse_long_poll(method: str, target: Target, head: bytes) -> StreamRequest:
    """Read a request for the deltas of a slice.

    Raises:
        RequestError: 400 an id or a slice that is none, or a query; 404 a name that no match can have; 405.
    """
    found = LONG_POLL_PATH.fullmatch(target.path)
    assert found is not None  # noqa: S101 - the path was recognised by the same pattern
    match_id, id_text, slice_text = found.groups()
    _check_method(method)
    if not _MATCH_ID.fullmatch(match_id):
        raise RequestError(
            404,
            "unknown_match",
            f"no match {match_id[:64]!r}",
            headers=cache_headers(LATEST_SECOND),
            match_id=match_id[:64],
        )
    if target.query:
        # Each query would be another address of the same answer, which a cache would ask for.
        raise RequestError(400, "unexpected_query", f"no query belongs here: {target.query[:64]!r}")
    try:
        after = DeltaId.parse(id_text)
    except WireError as error:
        raise RequestError(400, "bad_id", str(error)) from None
    if not _SLICE.fullmatch(slice_text):
        raise RequestError(400, "bad_slice", f"a slice is a number of at most 12 digits: {slice_text[:64]!r}")
    return StreamRequest(method, Transport.LONG_POLL, match_id, after, head, slice_=int(slice_text))


@lru_cache(maxsize=256)
def _after(header: bytes | None, query: str | None) -> DeltaId | None:
    """Where to resume from. Nearly all viewers that lost the same server stand at the same id."""
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
