"""Clients that mean no harm, on fresh connections: how long each waits for an origin's answer."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from origin.ingest.signatures import signed_headers
from shared_state.jsontext import JsonObject
from testkit.services.origin import KEY

__all__ = ["KINDS", "Waited", "probe", "read_slowly"]

#: What is asked for: a match's page, ``/healthz``, an event by signed webhook, a new viewer's stream.
KINDS = ("page", "healthz", "ingest", "viewer")

_numbers = count(time.time_ns())


@dataclass(frozen=True, slots=True)
class Waited:
    """What became of one request.

    Attributes:
        seconds: from before the connection until the whole answer; a viewer's until its first frame.
        failure: why there was no right answer; empty if there was.
    """

    kind: str
    seconds: float
    failure: str


async def probe(kind: str, port: int, match_id: str, timeout_s: float) -> Waited:
    """Ask for one thing on a connection of its own.

    Args:
        kind: one of ``KINDS``.
    """
    began_s = time.monotonic()
    failure = ""
    try:
        async with asyncio.timeout(timeout_s):
            answer = await _exchange(port, _request(kind, match_id), _COMPLETE[kind])
        status = answer[9:12].decode("latin-1")
        if status != "200":
            failure = f"status {status}"
    except TimeoutError:
        failure = f"no answer within {timeout_s:g} s"
    except OSError as error:
        failure = type(error).__name__
    return Waited(kind, time.monotonic() - began_s, failure)


async def read_slowly(port: int, path: str, bytes_per_s: int, timeout_s: float) -> tuple[int, int]:
    """Read a file at a steady, slow rate; how many bytes came, and how many were announced."""
    loop = asyncio.get_running_loop()
    piece = bytes_per_s // 20
    received, size, head = 0, 0, b""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        sock.setblocking(False)
        try:
            async with asyncio.timeout(timeout_s):
                await loop.sock_connect(sock, ("127.0.0.1", port))
                await loop.sock_sendall(sock, _get(path))
                began_s = time.monotonic()
                while not size or received < size:
                    data = await loop.sock_recv(sock, piece)
                    if not data:
                        break
                    received += len(data)
                    if not size:
                        head += data
                        if (end := head.find(b"\r\n\r\n")) >= 0:
                            size = _content_length(head)
                            received = len(head) - end - 4
                    await asyncio.sleep(max(0.0, received / bytes_per_s - (time.monotonic() - began_s)))
        except OSError:  # a timeout is one
            pass
    return received, size


async def _exchange(port: int, request: bytes, complete: Callable[[bytes], bool]) -> bytes:
    loop = asyncio.get_running_loop()
    answer = b""
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, request)
        while not complete(answer):
            data = await loop.sock_recv(sock, 65_536)
            if not data:
                raise ConnectionError(f"closed after {len(answer)} bytes")
            answer += data
    return answer


def _request(kind: str, match_id: str) -> bytes:
    match kind:
        case "page":
            return _get(f"/match/{match_id}")
        case "healthz":
            return _get("/healthz")
        case "viewer":
            return _get(f"/stream/{match_id}", "Accept: text/event-stream\r\n")
        case _:
            number = next(_numbers)
            event: JsonObject = {
                "match_id": match_id,
                "event_id": f"n{number}",
                "rev": 1,
                "op": "ADD",
                "type": "YELLOW_CARD",
                "period": "H1",
                "minute": 10,
                "team": "home",
                "player": "P",
            }
            body = json.dumps(event).encode()
            headers = signed_headers(KEY, f"msg_{number}", int(time.time()), body)
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            lines += f"Content-Length: {len(body)}\r\nConnection: close\r\n"
            return f"POST /ingest/canonical HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode() + body


def _get(path: str, headers: str = "Connection: close\r\n") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()


def _is_whole(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    return end >= 0 and len(answer) - end - 4 >= _content_length(answer[:end])


def _has_a_frame(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 200 "):
        return b"\n\n" in body
    return _is_whole(answer)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0


_COMPLETE: dict[str, Callable[[bytes], bool]] = {
    "page": _is_whole,
    "healthz": _is_whole,
    "ingest": _is_whole,
    "viewer": _has_a_frame,
}
