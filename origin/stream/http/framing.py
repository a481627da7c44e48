"""What a viewer's bytes look like, for each transport. Built once, and sent to all as the same ``bytes``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from typing import NamedTuple, Protocol

from wsproto.frame_protocol import CloseReason, FrameProtocol
from wsproto.utilities import generate_accept_token

from origin.bus import Published
from origin.errors import RequestError
from origin.ladder.advice import Advice
from origin.stream.http.cache_headers import NO_STORE, for_shared_caches
from origin.stream.http.cors import READABLE_BY_ANY_STREAM
from origin.stream.http.sse import (
    COMMENT,
    STREAM_HEADERS,
    delta_frame,
    end_frame,
    end_json,
    gap_frame,
    gap_json,
    heartbeat_frame,
    heartbeat_json,
    match_delta_frame,
    match_gap_frame,
    retry_frame,
    websocket_message,
)
from origin.stream.http.stream_request import StreamRequest
from shared_state import DeltaId
from shared_state.jsontext import compact

__all__ = [
    "SERVICE_RESTART",
    "FixedAnswer",
    "Framing",
    "MatchOfSeveralFraming",
    "SseFraming",
    "WebSocketFraming",
    "answer",
    "answer_no_more",
    "head_of",
    "refusal",
    "text_frame",
]

_REASONS = {
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    403: "Forbidden",
    408: "Request Timeout",
    410: "Gone",
    414: "URI Too Long",
    417: "Expectation Failed",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
# RFC 6455's registry: the server goes away and a new one comes; the viewer should reconnect.
SERVICE_RESTART = 1012
_STREAM_HEADER_BYTES = "".join(f"{name}: {value}\r\n" for name, value in STREAM_HEADERS.items()).encode()


class Framing(Protocol):
    """One transport."""

    def opening(self, request: StreamRequest, retry_ms: int) -> bytes:
        """The head of the answer, and what the viewer alone gets."""

    def deltas(self, published: Iterable[Published]) -> bytes:
        """Any number of deltas."""

    def gap(self, match_id: str, head: DeltaId) -> bytes:
        """Only the snapshot helps."""

    def heartbeat(self, head: DeltaId, hash_: str, server_ms: int, advice: Advice) -> bytes:
        """Where the match stands, and what the server tells its pages beside."""

    def goodbye(self, retry_ms: int) -> bytes:
        """The last a viewer gets: when to come back."""

    def end(self, match_id: str, reason: str) -> bytes:
        """The match says no more."""

    def probe(self) -> bytes:
        """A few bytes without a meaning, for a client that may have left; empty where it is sure to have."""


class SseFraming:
    """``text/event-stream``. The answer has no length and ends with the connection.

    Chunks would cost bytes on each frame, and give a viewer nothing: the id says what it has.
    """

    def __init__(self) -> None:
        self._head = b""
        self._head_second = 0

    def opening(self, request: StreamRequest, retry_ms: int) -> bytes:
        """See ``Framing.opening``."""
        del request
        return self.head() + b"retry: %d\n\n" % retry_ms

    def head(self) -> bytes:
        """The head of an answer, with the ``Date`` of this second."""
        second = int(time.time())
        if second != self._head_second:
            self._head_second = second
            self._head = b"HTTP/1.1 200 OK\r\nDate: %b\r\n%bConnection: close\r\n\r\n" % (
                formatdate(second, usegmt=True).encode(),
                _STREAM_HEADER_BYTES,
            )
        return self._head

    def deltas(self, published: Iterable[Published]) -> bytes:
        """See ``Framing.deltas``."""
        frames = b"".join(map(delta_frame, published))
        return frames + COMMENT if frames else b""

    def gap(self, match_id: str, head: DeltaId) -> bytes:
        """See ``Framing.gap``."""
        return gap_frame(match_id, head)

    def heartbeat(self, head: DeltaId, hash_: str, server_ms: int, advice: Advice) -> bytes:
        """See ``Framing.heartbeat``."""
        return heartbeat_frame(head, hash_, server_ms, advice)

    def goodbye(self, retry_ms: int) -> bytes:
        """See ``Framing.goodbye``."""
        return retry_frame(retry_ms)

    def end(self, match_id: str, reason: str) -> bytes:
        """See ``Framing.end``."""
        return end_frame(match_id, reason)

    def probe(self) -> bytes:
        """See ``Framing.probe``: a comment."""
        return COMMENT


class MatchOfSeveralFraming(SseFraming):
    """The frames of one match on a stream of several: the id of each names the match."""

    def __init__(self, match_id: str) -> None:
        super().__init__()
        self._match_id = match_id

    def deltas(self, published: Iterable[Published]) -> bytes:
        """See ``Framing.deltas``."""
        frames = b"".join(match_delta_frame(self._match_id, one) for one in published)
        return frames + COMMENT if frames else b""

    def gap(self, match_id: str, head: DeltaId) -> bytes:
        """See ``Framing.gap``."""
        return match_gap_frame(match_id, head)


class WebSocketFraming:
    """JSON text messages, unmasked as a server's must be, hence the same for all."""

    def opening(self, request: StreamRequest, retry_ms: int) -> bytes:
        """See ``Framing.opening``."""
        accept = generate_accept_token(request.websocket_key)
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        ) + _retry_message(retry_ms)

    def deltas(self, published: Iterable[Published]) -> bytes:
        """See ``Framing.deltas``."""
        return b"".join(text_frame(websocket_message("score", one.delta, one.id)) for one in published)

    def gap(self, match_id: str, head: DeltaId) -> bytes:
        """See ``Framing.gap``."""
        return text_frame(websocket_message("gap", gap_json(match_id, head), head))

    def heartbeat(self, head: DeltaId, hash_: str, server_ms: int, advice: Advice) -> bytes:
        """See ``Framing.heartbeat``."""
        return text_frame(websocket_message("heartbeat", heartbeat_json(head, hash_, server_ms, advice)))

    def goodbye(self, retry_ms: int) -> bytes:
        """See ``Framing.goodbye``."""
        close = FrameProtocol(client=False, extensions=[]).close(SERVICE_RESTART, "restarting")
        return _retry_message(retry_ms) + bytes(close)

    def end(self, match_id: str, reason: str) -> bytes:
        """See ``Framing.end``: and the close frame that ends the stream."""
        close = FrameProtocol(client=False, extensions=[]).close(CloseReason.NORMAL_CLOSURE, reason)
        return text_frame(websocket_message("end", end_json(match_id, reason))) + bytes(close)

    def probe(self) -> bytes:
        """See ``Framing.probe``: a WebSocket is ended by a close frame; TCP alone means that it is gone."""
        return b""


def text_frame(message: str) -> bytes:
    """One whole WebSocket message."""
    return bytes(FrameProtocol(client=False, extensions=[]).send_data(message))


def _retry_message(retry_ms: int) -> bytes:
    return text_frame(websocket_message("retry", compact({"retry_ms": retry_ms})))


def answer(status: int, headers: dict[str, str], body: bytes = b"", *, keep_alive: bool) -> bytes:
    """A whole HTTP answer that ends. Without a word about caches it is not kept."""
    policy = headers.get("Cache-Control", NO_STORE)
    headers = {"Cache-Control": policy, "CDN-Cache-Control": for_shared_caches(policy), **headers}
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}", f"Date: {formatdate(usegmt=True)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if status != 204:
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: keep-alive" if keep_alive else "Connection: close")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def head_of(whole: bytes) -> bytes:
    """The answer to a HEAD, from that to a GET."""
    return whole[: whole.index(b"\r\n\r\n") + 4]


def answer_no_more(*, keep_alive: bool) -> bytes:
    """The answer to a viewer who has all of a match that is over."""
    headers = {"X-Content-Type-Options": "nosniff", **READABLE_BY_ANY_STREAM}
    return answer(204, headers, keep_alive=keep_alive)


class FixedAnswer(NamedTuple):
    """A page whose answer never changes, so that the loop gives it and no thread is waited for.

    Attributes:
        headers: those of the application, without Content-Length.
    """

    headers: Mapping[str, str]
    body: bytes

    def encode(self, *, keep_alive: bool, with_body: bool) -> bytes:
        """The bytes of the answer; without the body for a HEAD."""
        whole = answer(200, dict(self.headers), self.body, keep_alive=keep_alive)
        return whole if with_body else whole[: -len(self.body)]


def refusal(error: RequestError, *, keep_alive: bool, with_body: bool = True) -> bytes:
    """An answer in the one error shape; any page may read it."""
    headers = {
        "Content-Type": "application/json",
        "X-Content-Type-Options": "nosniff",
        **READABLE_BY_ANY_STREAM,
        **error.headers,
    }
    body = json.dumps(error.to_json(), separators=(",", ":")).encode()
    whole = answer(error.status, headers, body, keep_alive=keep_alive)
    return whole if with_body else whole[: -len(body)]
