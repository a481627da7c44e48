"""The five ways to follow a match: what one client of each sends and understands. Bytes, no sockets."""

from __future__ import annotations

import base64
import json
import re
from typing import Final, Literal, get_args

__all__ = ["PROTOCOLS", "Answer", "Follower", "Protocol", "ProtocolError", "follower"]

Protocol = Literal["poll", "conditional", "long-poll", "sse", "websocket"]
PROTOCOLS: Final[tuple[Protocol, ...]] = get_args(Protocol)

_ANSWER_MAX_BYTES: Final = 2**20
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_TAG: Final = re.compile(rb'\r\netag: *(?:W/)?"[0-9]+-([0-9]+)"', re.IGNORECASE)
_ETAG: Final = re.compile(rb"\r\netag: *([^\r\n]+)", re.IGNORECASE)
_SSE_ID: Final = re.compile(rb"(?:^|\n)id: [0-9]+-([0-9]+)\n")
_WEBSOCKET_ID: Final = re.compile(rb'\{"id":"[0-9]+-([0-9]+)"')
_KEY: Final = base64.b64encode(b"touchline lab ws")


class ProtocolError(Exception):
    """An answer that a client of this protocol cannot go on from; ``str()`` says which."""


class Answer:
    """What a client makes of the bytes that came.

    Attributes:
        seq: the newest position that they bring; 0 for none.
        request: what to send next at once; None for nothing, or for the next turn of the clock.
        complete: whether a request was answered.
    """

    __slots__ = ("complete", "request", "seq")

    def __init__(self, seq: int = 0, request: bytes | None = None, *, complete: bool = False) -> None:
        self.seq = seq
        self.request = request
        self.complete = complete


class Follower:
    """One client: makes requests and reads answers.

    Args:
        match_id: the match.
        after: the id that it has, ``<epoch>-<seq>``.
    """

    #: Whether a request is sent each turn of the clock.
    is_polling: bool = False

    def __init__(self, match_id: str, after: str) -> None:
        self.match_id = match_id
        self.after = after
        self.buffer = b""

    def request(self) -> bytes:
        """The next request, or the only one."""
        raise NotImplementedError

    def take(self, data: bytes) -> Answer:
        """Read what came.

        Raises:
            ProtocolError: it is no answer to go on from.
        """
        raise NotImplementedError

    def _whole_answer(self, data: bytes) -> tuple[int, bytes, bytes] | None:
        """Status, head and body of one answer; None while it is not there whole."""
        self.buffer += data
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            self._check_size()
            return None
        status = int(head[9:12])
        length = _LENGTH.search(head)
        size = 0 if status in (204, 304) else int(length[1]) if length else -1
        if size < 0:
            raise ProtocolError("an answer without Content-Length")
        if len(rest) < size:
            self._check_size()
            return None
        self.buffer = rest[size:]
        return status, head, rest[:size]

    def _check_size(self) -> None:
        if len(self.buffer) > _ANSWER_MAX_BYTES:
            raise ProtocolError(f"an answer of more than {_ANSWER_MAX_BYTES} bytes")


class _Poll(Follower):
    """``GET /score`` each turn of the clock; always the whole answer."""

    is_polling = True
    tag = b""

    def request(self) -> bytes:
        return b"GET /score?matchId=%b HTTP/1.1\r\nHost: lab\r\n%b\r\n" % (self.match_id.encode(), self.tag)

    def take(self, data: bytes) -> Answer:
        whole = self._whole_answer(data)
        if whole is None:
            return Answer()
        status, head, _ = whole
        if status not in (200, 304):
            raise ProtocolError(f"a poll was answered with {status}")
        self._remember(head)
        tag = _TAG.search(head)
        return Answer(int(tag[1]) if tag else 0, complete=True)

    def _remember(self, head: bytes) -> None:
        """Nothing: the next answer is whole again."""


class _ConditionalPoll(_Poll):
    """The same with ``If-None-Match``: 304 while nothing is new."""

    def _remember(self, head: bytes) -> None:
        if found := _ETAG.search(head):
            self.tag = b"If-None-Match: %b\r\n" % found[1].strip()


class _LongPoll(Follower):
    """By slices of time: each answer names the next address, which is asked for at once."""

    def __init__(self, match_id: str, after: str) -> None:
        super().__init__(match_id, after)
        self.slice = 0  # it is over, so it leads to the present one

    def request(self) -> bytes:
        path = f"/api/match/{self.match_id}/deltas/{self.after}/{self.slice}"
        return f"GET {path} HTTP/1.1\r\nHost: lab\r\n\r\n".encode()

    def take(self, data: bytes) -> Answer:
        whole = self._whole_answer(data)
        if whole is None:
            return Answer()
        status, _, body = whole
        content = json.loads(body)
        if status == 404 and "slice" in content.get("error", {}):
            self.slice = content["error"]["slice"]
            return Answer(0, self.request(), complete=True)
        if status != 200:
            raise ProtocolError(f"a long-poll was answered with {status}")
        if content.get("ended"):
            return Answer(0, complete=True)
        self.after, self.slice = content["next"]["id"], content["next"]["slice"]
        seq = int(self.after.partition("-")[2]) if content["deltas"] else 0
        return Answer(seq, self.request(), complete=True)


class _Sse(Follower):
    """One stream, resumed from the id."""

    _begun = False
    #: How the answer begins that opens it, and what it is called in an error.
    _opened = b"HTTP/1.1 200"
    _name = "a stream"

    def request(self) -> bytes:
        return (
            f"GET /stream/{self.match_id} HTTP/1.1\r\nHost: lab\r\nAccept: text/event-stream\r\n"
            f"Last-Event-ID: {self.after}\r\n\r\n"
        ).encode()

    def take(self, data: bytes) -> Answer:
        self.buffer += data
        if not self._begun:
            head, separator, rest = self.buffer.partition(b"\r\n\r\n")
            if not separator:
                return Answer()
            if not head.startswith(self._opened):
                raise ProtocolError(f"{self._name} was answered with {head[9:12].decode('latin-1')}")
            self._begun, self.buffer = True, rest
            return Answer(self._newest(), complete=True)
        return Answer(self._newest())

    def _newest(self) -> int:
        end = self.buffer.rfind(b"\n\n")
        if end < 0:
            self._check_size()
            return 0
        frames, self.buffer = self.buffer[: end + 2], self.buffer[end + 2 :]
        ids = _SSE_ID.findall(frames)
        return int(ids[-1]) if ids else 0


class _WebSocket(_Sse):
    """The same frames over a WebSocket. A server's frames are not masked, so ids are found as they stand."""

    _opened = b"HTTP/1.1 101"
    _name = "a WebSocket"

    def request(self) -> bytes:
        return (
            f"GET /ws/match/{self.match_id}?last_event_id={self.after} HTTP/1.1\r\nHost: lab\r\n"
            f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {_KEY.decode()}\r\n\r\n"
        ).encode()

    def _newest(self) -> int:
        newest = 0
        while len(self.buffer) >= 2:
            size, start = self.buffer[1] & 0x7F, 2
            if size == 126:
                size, start = int.from_bytes(self.buffer[2:4]), 4
            elif size == 127:
                size, start = int.from_bytes(self.buffer[2:10]), 10
            if size > _ANSWER_MAX_BYTES:
                raise ProtocolError(f"a message of {size} bytes")
            if len(self.buffer) < start + size:
                break
            if self.buffer[0] & 0x0F == 8:
                raise ProtocolError("the WebSocket was closed")
            found = _WEBSOCKET_ID.match(self.buffer, start)
            newest = int(found[1]) if found else newest
            self.buffer = self.buffer[start + size :]
        return newest


_FOLLOWERS: Final[dict[Protocol, type[Follower]]] = {
    "poll": _Poll,
    "conditional": _ConditionalPoll,
    "long-poll": _LongPoll,
    "sse": _Sse,
    "websocket": _WebSocket,
}


def follower(protocol: Protocol, match_id: str, after: str) -> Follower:
    """A new client of a protocol."""
    return _FOLLOWERS[protocol](match_id, after)
