"""Bytes that one viewer of one real match sends and gets, by the way that it is told.

The final of 2018 is published delta by delta to a ``touchline serve``. Each kind of message is measured on
the wire there, after each delta: a request with the headers of a browser, an answer, a frame. Over the match
they are then counted, not waited for: so many polls fit between two deltas, so many slices and heartbeats.
Bytes are those of HTTP and WebSocket in both directions, without TLS, TCP or compression; heartbeats of a
WebSocket are taken to be as large as those of SSE.
"""

from __future__ import annotations

import json
import socket
import tempfile
import time
from pathlib import Path

from bench.world_cups import matches
from shared_state.jsontext import JsonObject
from testkit.services.origin import OriginServer

__all__ = ["TITLES", "measure"]

POLL_S = 5
SLICE_S = 10
HEARTBEAT_S = 15
MATCH_ID = "2018-07-15-france-croatia"
#: From ten minutes before the kick-off to ten after the end.
MATCH_S = 2 * 3600 + 600
TITLES = {
    "polling": f"polling the state each {POLL_S} s",
    "conditional": f"conditional polling each {POLL_S} s",
    "long_poll": f"long-poll, slices of {SLICE_S} s",
    "sse": f"SSE, heartbeats each {HEARTBEAT_S} s",
    "websocket": f"WebSocket, heartbeats each {HEARTBEAT_S} s",
}
# What a browser sends with a fetch; SSE and polls alike.
BROWSER = (
    "Host: scores.example\r\nConnection: keep-alive\r\nAccept: */*\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 "
    "Safari/537.36\r\nReferer: https://scores.example/match/2018-07-15-france-croatia\r\n"
    "Accept-Encoding: identity\r\nAccept-Language: en-GB,en;q=0.9\r\n"
)


class Wire:
    """A connection whose bytes are counted."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.buffer = b""

    def ask(self, path: str, headers: str = "") -> tuple[int, bytes]:
        """Bytes of a request and its answer, and the answer's head and body."""
        request = f"GET {path} HTTP/1.1\r\n{BROWSER}{headers}\r\n".encode()
        self.sock.sendall(request)
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, rest = self.buffer.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(rest) < length:
            self._more()
            rest = self.buffer.partition(b"\r\n\r\n")[2]
        self.buffer = rest[length:]
        return len(request) + len(head) + 4 + length, head + b"\r\n\r\n" + rest[:length]

    def _more(self) -> None:
        data = self.sock.recv(65_536)
        if not data:
            raise EOFError(f"the origin closed the connection after {self.buffer[-300:]!r}")
        self.buffer += data

    def open_stream(self, path: str, headers: str = "") -> int:
        """Bytes of the request of a stream; what comes is for ``take``."""
        own = BROWSER.replace("Connection: keep-alive\r\n", "") if headers else BROWSER
        request = f"GET {path} HTTP/1.1\r\n{own}{headers}\r\n".encode()
        self.sock.sendall(request)
        return len(request)

    def take(self, quiet_s: float = 0.4) -> bytes:
        """All that comes until nothing has come for so long."""
        self.sock.settimeout(quiet_s)
        try:
            while True:
                self._more()
        except TimeoutError:
            pass
        data, self.buffer = self.buffer, b""
        return data

    def close(self) -> None:
        self.sock.close()


def measure() -> JsonObject:
    """Bytes of a viewer in each way, and the sizes that they are made of."""
    events = next(match for match in matches() if match[0].match_id == MATCH_ID)
    with tempfile.TemporaryDirectory() as directory:
        server = OriginServer(Path(directory))
        try:
            server.start()
            return _measure(server, [event.to_json() | {"source_ts": None} for event in events])
        finally:
            server.kill()


def _id(server: OriginServer) -> str:
    state = json.loads(server.get(f"/api/match/{MATCH_ID}/state")[1])
    return f"{state['epoch']}-{state['seq']}"


def _measure(server: OriginServer, events: list[JsonObject]) -> JsonObject:
    assert server.post(events[0]) == 200
    server.wait_for_seq(MATCH_ID, 1)
    state_path, wire = f"/api/match/{MATCH_ID}/state", Wire(server.port)
    stream, messages = Wire(server.port), Wire(server.port)
    at = _id(server)
    sse = stream.open_stream(f"/stream/{MATCH_ID}?last_event_id={at}")
    opened = stream.take()
    heartbeat = len(opened.partition(b"event: heartbeat")[2]) + len(b"event: heartbeat")
    sse += len(opened)
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    websocket = messages.open_stream(f"/ws/match/{MATCH_ID}?last_event_id={at}", upgrade)
    websocket += len(messages.take())
    full_sizes, deltas_bytes = [], 0
    for event in events[1:]:
        assert server.post(event) == 200
        deadline_s = time.monotonic() + 10
        while (now := _id(server)) == at and time.monotonic() < deadline_s:
            time.sleep(0.02)
        if now == at:
            continue  # an event that changes nothing
        slice_ = time.time_ns() // 1_000_000_000 // SLICE_S
        deltas_bytes += wire.ask(f"/api/match/{MATCH_ID}/deltas/{at}/{slice_}")[0]
        full_sizes.append(wire.ask(state_path)[0])
        sse += len(stream.take())
        websocket += len(messages.take())
        at = now
    # What is said when nothing happens, at the end's sizes.
    answer = wire.ask(state_path)[1]
    tag = next(line for line in answer.split(b"\r\n") if line.lower().startswith(b"etag:"))[6:].decode()
    unchanged, answer = wire.ask(state_path, f"If-None-Match: {tag}\r\n")
    assert answer.startswith(b"HTTP/1.1 304 ")
    silence = wire.ask(f"/api/match/{MATCH_ID}/deltas/{at}/{time.time_ns() // 10**9 // SLICE_S - 1}")[0]
    for one in (wire, stream, messages):
        one.close()
    polls, changes = MATCH_S // POLL_S, len(full_sizes)
    mean_full = sum(full_sizes) / changes
    heartbeats = MATCH_S // HEARTBEAT_S
    return {
        "match": MATCH_ID,
        "seconds": MATCH_S,
        "changes": changes,
        "sizes": {
            "state": round(mean_full),
            "not_modified": unchanged,
            "silence": silence,
            "heartbeat": heartbeat,
        },
        "bytes": {
            "polling": round(polls * mean_full),
            "conditional": round((polls - changes) * unchanged + changes * mean_full),
            "long_poll": deltas_bytes + MATCH_S // SLICE_S * silence,
            "sse": sse + heartbeats * heartbeat,
            "websocket": websocket + heartbeats * heartbeat,
        },
    }
