"""The network before the lab's viewer: a reverse proxy on loopback that misbehaves on request.

The viewer is a real browser page, and what happens to it happens on its real connections: they are cut,
they fall silent, or a cache answers in the origin's place. The proxy also records each frame of the
viewer's stream.

It listens on 127.0.0.1 alone, passes GET and HEAD to one port of this machine, and of the lab's own paths
only the viewer's page. One request a connection, so that one that hangs holds up no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from shared_state import DeltaId, WireError, decode_delta
from shared_state.jsontext import JsonObject

__all__ = ["CONNECTIONS_MAX", "FRAMES_MAX", "Condition", "Network", "running"]

CONNECTIONS_MAX: Final = 64
FRAMES_MAX: Final = 200
_HEAD_MAX_BYTES: Final = 16_384
_HEAD_S: Final = 10.0
_KEPT_MAX: Final = 64
_KEPT_MAX_BYTES: Final = 2**21
_FRAME_MAX_BYTES: Final = 2**20
_DATA_SHOWN: Final = 300
_VIEWER: Final = "/lab/viewer/"
_MUTED: Final = re.compile("^/(stream|ws|api|score|match)")
_STREAM: Final = re.compile("^/(stream|ws)")
# A cache keeps what a poll or a page gets; the files of the widget never change and need none.
_CACHED: Final = re.compile("^/(api|score|match|lab/viewer)")


class Condition(Enum):
    """How the network is."""

    GOOD = "good"  #: everything passes
    MUTE = "mute"  #: connections stay open and heads pass, and no body comes any more
    OFFLINE = "offline"  #: every connection is reset
    STALE = "stale"  #: a cache that does not reach the origin answers with what it got before


@dataclass(slots=True)
class Network:
    """The proxy while it runs.

    Attributes:
        upstream: the origin's port on 127.0.0.1.
        port: the proxy's own.
        condition: how the network is now; set it by ``change``.
        frames: the newest frames of the viewer's streams, oldest first, as JSON.
        frames_seen: how many there were.
        requests: how many requests came.
        bytes_down: bytes of answers that were passed on.
        withheld: frames that came from the origin and did not reach the viewer.
    """

    upstream: int
    port: int = 0
    condition: Condition = Condition.GOOD
    frames: deque[JsonObject] = field(default_factory=lambda: deque(maxlen=FRAMES_MAX))
    frames_seen: int = 0
    requests: int = 0
    bytes_down: int = 0
    withheld: int = 0
    _kept: dict[str, bytes] = field(default_factory=dict)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _silent: set[asyncio.StreamWriter] = field(default_factory=set)
    _streams: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None

    def change(self, condition: Condition) -> None:
        """Another network from now on, for open connections too."""
        self.condition = condition
        if self._loop is None:
            return
        if condition is Condition.MUTE:
            self._loop.call_soon_threadsafe(self._silence)
        else:
            # A network that is good again brings no old connection back: the viewer has to find that out.
            cut = self._cut_silent if condition is Condition.GOOD else self._cut
            self._loop.call_soon_threadsafe(cut)

    def drop(self) -> None:
        """Cut the viewer's streams once."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cut_streams)

    @property
    def connections(self) -> int:
        """Connections of the viewer that are open now."""
        return len(self._writers)

    def _silence(self) -> None:
        self._silent |= self._writers

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _cut_silent(self) -> None:
        for writer in list(self._silent):
            writer.transport.abort()

    def _cut_streams(self) -> None:
        for writer in list(self._streams):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the viewer."""
        if len(self._writers) >= CONNECTIONS_MAX or self.condition is Condition.OFFLINE:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # one of the two has gone, or sent no request
        except asyncio.CancelledError:
            pass  # the proxy ends
        finally:
            self._writers.discard(writer)
            self._silent.discard(writer)
            self._streams.discard(writer)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_S)
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.rpartition(" ")[0]
        self.requests += 1
        if method not in ("GET", "HEAD"):
            writer.write(_refusal("405 Method Not Allowed", "the lab's network passes GET and HEAD"))
        elif not path.startswith("/") or (path.startswith("/lab") and not path.startswith(_VIEWER)):
            writer.write(_refusal("404 Not Found", "this path is not for viewers"))
        elif self.condition is Condition.STALE and _STREAM.match(path):
            writer.write(_refusal("502 Bad Gateway", "no stream behind this cache"))
        elif self.condition is Condition.STALE and path in self._kept:
            writer.write(self._kept[path])
        elif self.condition is Condition.STALE and _CACHED.match(path):
            writer.write(
                _refusal("504 Gateway Timeout", "this cache has it not, and does not reach the origin")
            )
        else:
            dropped = ("connection:", "accept-encoding:", "upgrade:")
            sent = [line for line in lines if not line.lower().startswith(dropped)]
            request = "\r\n".join([first, *sent, "Connection: close", "", ""]).encode("latin-1")
            await self._pass_on(path, request, reader, writer)
        await writer.drain()

    async def _pass_on(
        self, path: str, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        from_origin, to_origin = await asyncio.open_connection("127.0.0.1", self.upstream)
        gone = asyncio.ensure_future(reader.read(1))
        recorder = _Recorder(self, writer) if _STREAM.match(path) else None
        try:
            to_origin.write(request)
            head = await from_origin.readuntil(b"\r\n\r\n")
            writer.write(head)
            if recorder is not None:
                self._streams.add(writer)
            if self.condition is Condition.MUTE and _MUTED.match(path):
                self._silent.add(writer)
            whole: bytes | None = head if _CACHED.match(path) else None
            while not gone.done():
                read = asyncio.ensure_future(from_origin.read(65_536))
                await asyncio.wait({read, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not read.done():
                    read.cancel()
                    return
                piece = read.result()
                if not piece:
                    break
                is_passed = writer not in self._silent
                if recorder is not None:
                    recorder.take(piece, is_passed=is_passed)
                if is_passed:
                    writer.write(piece)
                    self.bytes_down += len(piece)
                    await writer.drain()
                if whole is not None:
                    whole = whole + piece if len(whole) + len(piece) <= _KEPT_MAX_BYTES else None
            if writer in self._silent:
                await gone
            # A cache keeps neither half an answer nor one that says "as you have it".
            if (
                whole is not None
                and head.startswith(b"HTTP/1.1 200 ")
                and self.condition is not Condition.MUTE
            ):
                self._keep(path, whole)
        finally:
            gone.cancel()
            to_origin.transport.abort()

    def _keep(self, path: str, answer: bytes) -> None:
        self._kept.pop(path, None)
        self._kept[path] = answer
        while len(self._kept) > _KEPT_MAX:
            del self._kept[next(iter(self._kept))]


class _Recorder:
    """Reads the frames of one stream as they pass."""

    def __init__(self, network: Network, writer: asyncio.StreamWriter) -> None:
        self._network = network
        self._writer = writer
        self._buffer = b""

    def take(self, piece: bytes, *, is_passed: bool) -> None:
        """Record the frames that end in this piece."""
        self._buffer += piece
        *frames, self._buffer = self._buffer.split(b"\n\n")
        if len(self._buffer) > _FRAME_MAX_BYTES:
            self._buffer = b""
        for frame in frames:
            if frame.startswith(b":") or not frame:
                continue
            network = self._network
            network.frames_seen += 1
            network.withheld += not is_passed
            network.frames.append(_described(frame, network.frames_seen, is_passed=is_passed))


def _described(frame: bytes, number: int, *, is_passed: bool) -> JsonObject:
    fields: dict[str, str] = {}
    for line in frame.decode("utf-8", "replace").split("\n"):
        name, _, value = line.partition(":")
        fields.setdefault(name, value.removeprefix(" "))
    at_ms = time.time() * 1_000
    described: JsonObject = {
        "n": number,
        "at_ms": round(at_ms, 2),
        "event": fields.get("event", "retry" if "retry" in fields else ""),
        "id": fields.get("id", ""),
        "bytes": len(frame) + 2,
        "passed": is_passed,
        "data": fields.get("data", fields.get("retry", ""))[:_DATA_SHOWN],
    }
    if described["event"] == "score":
        match_id, _, id_text = fields.get("id", "").rpartition("@")
        with contextlib.suppress(WireError, ValueError):
            delta = decode_delta(match_id or "-", DeltaId.parse(id_text), fields["data"].encode())
            described["accepted_ms"] = delta.accepted_ms
            described["latency_ms"] = round(at_ms - delta.accepted_ms, 1)
    return described


def _refusal(status: str, text: str) -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode() + body


@contextlib.contextmanager
def running(upstream: int) -> Iterator[Network]:
    """The network before the origin at a port, on a thread of its own, for as long as the block."""
    network = Network(upstream)
    loop = asyncio.new_event_loop()
    network._loop = loop
    thread = threading.Thread(target=loop.run_forever, name="lab-network", daemon=True)
    thread.start()
    start = asyncio.start_server(network.serve, "127.0.0.1", 0, limit=_HEAD_MAX_BYTES)
    server = asyncio.run_coroutine_threadsafe(start, loop).result(timeout=10)
    network.port = server.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        asyncio.run_coroutine_threadsafe(_stop(network, server), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


async def _stop(network: Network, server: asyncio.Server) -> None:
    server.close()
    network._cut()
    serving = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    for _ in range(3):  # an aborted transport closes its socket one turn of the loop later
        await asyncio.sleep(0)
