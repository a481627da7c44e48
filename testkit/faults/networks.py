"""A reverse proxy on loopback whose network misbehaves on request, and a generator of such networks.

It speaks HTTP/1.1 with one request a connection, so a connection that hangs holds nobody else up.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

__all__ = ["BadNetwork", "Behaviour", "Network", "Phase", "drawn_network", "running"]

PORTAL: Final = b"<html><title>Log in to the network</title><body>Accept the terms</body></html>"
#: Routes that a rule may single out; the first is all of them.
ROUTES: Final = ("", "^/stream", "^/api/", "^/match/[^/]+/fragment/", "/state$", "/deltas/")
DAY_S: Final = 86_400


class Behaviour(Enum):
    """What becomes of a request."""

    PASS = "pass"  #: it is passed on, and so is the answer
    MUTE = "mute"  #: the head of the answer passes, its body does not
    LATE = "late"  #: each piece of a body comes with the next one
    HANG = "hang"  #: nothing is answered
    PORTAL = "portal"  #: 200 with a page of its own
    BAD_GATEWAY = "bad gateway"  #: 502
    STALE = "stale"  #: a cache that answers with what it got first
    CUT = "cut"  #: the connection ends after some bytes of the answer
    SLOW = "slow"  #: some hundred bytes at a time, with waits


@dataclass(frozen=True, slots=True)
class Phase:
    """How the network is for some time.

    Attributes:
        seconds: how long.
        rules: pairs of a regular expression for the path and what becomes of such requests; the first counts.
        asleep: whether the page is frozen meanwhile.
    """

    seconds: float
    rules: Sequence[tuple[str, Behaviour]] = ()
    asleep: bool = False


@dataclass(frozen=True, slots=True)
class Network:
    """One network over time.

    Attributes:
        phases: one after another.
        clock_skew_s: the reader's clock less the true one, seconds.
    """

    phases: Sequence[Phase]
    clock_skew_s: int


def drawn_network(seed: int, phases: int = 3, seconds: float = 8.0) -> Network:
    """A network by a seed: the same for the same seed.

    Args:
        seed: any number.
        phases: how many; the first passes everything, so that there is a page to be right or wrong.
        seconds: how long each is.
    """
    draw = random.Random(seed)
    bad = [behaviour for behaviour in Behaviour if behaviour is not Behaviour.PASS]
    drawn = [Phase(seconds / 2)]
    for _ in range(phases):
        rules = [(draw.choice(ROUTES), draw.choice(bad)) for _ in range(draw.choice((1, 1, 2)))]
        drawn.append(Phase(seconds, rules, asleep=draw.random() < 0.2))
    skew_s = draw.choice((0, 0, 90, -90, 3_600, -3_600, DAY_S, -DAY_S))
    return Network(drawn, skew_s)


@dataclass(slots=True)
class BadNetwork:
    """The proxy, while it runs.

    Attributes:
        upstream: the origin's port.
        rules: as of ``Phase``; may be replaced at any time, and counts for new requests.
        seen: the paths asked for.
    """

    upstream: int
    rules: Sequence[tuple[str, Behaviour]] = ()
    port: int = 0
    seen: list[str] = field(default_factory=list)
    _kept: dict[str, bytes] = field(default_factory=dict)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """Where readers find it."""
        return f"http://127.0.0.1:{self.port}"

    def behaviour(self, path: str) -> Behaviour:
        """What becomes of a request for a path now."""
        for pattern, behaviour in self.rules:
            if re.search(pattern, path):
                return behaviour
        return Behaviour.PASS

    def change(self, rules: Sequence[tuple[str, Behaviour]]) -> None:
        """Another network from now on: open connections that it concerns are cut."""
        self.rules = rules
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._writers.add(writer)
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # one of the two has gone, which is what this is about
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        path = first.split(" ")[1]
        self.seen.append(path)
        behaviour = self.behaviour(path)
        if behaviour is Behaviour.HANG:
            await reader.read()
        elif behaviour is Behaviour.PORTAL:
            writer.write(_page(b"200 OK", PORTAL))
        elif behaviour is Behaviour.BAD_GATEWAY:
            writer.write(_page(b"502 Bad Gateway", b"<h1>Bad gateway</h1>"))
        elif behaviour is Behaviour.STALE and path in self._kept:
            writer.write(self._kept[path])
        else:
            sent = [
                line for line in lines if not line.lower().startswith(("connection:", "accept-encoding:"))
            ]
            request = "\r\n".join([first, *sent, "Connection: close", "", ""]).encode("latin-1")
            await self._pass_on(path, behaviour, request, reader, writer)
        await writer.drain()

    async def _pass_on(
        self,
        path: str,
        behaviour: Behaviour,
        request: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        from_origin, to_origin = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            to_origin.write(request)
            head = await from_origin.readuntil(b"\r\n\r\n")
            writer.write(head)
            if behaviour is Behaviour.MUTE:
                await reader.read()
                return
            whole, waiting = head, b""
            gone = asyncio.ensure_future(reader.read())
            while not gone.done():
                read = asyncio.ensure_future(from_origin.read(65_536))
                await asyncio.wait({read, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not read.done():
                    read.cancel()
                    break
                piece = read.result()
                if not piece:
                    writer.write(waiting)
                    break
                whole += piece if not path.startswith("/stream") else b""
                if behaviour is Behaviour.LATE:
                    piece, waiting = waiting, piece
                elif behaviour is Behaviour.CUT:
                    writer.write(piece[: len(piece) // 2])
                    await writer.drain()
                    writer.transport.abort()
                    return
                elif behaviour is Behaviour.SLOW:
                    for at in range(0, len(piece), 400):
                        writer.write(piece[at : at + 400])
                        await writer.drain()
                        await asyncio.sleep(0.1)
                    piece = b""
                writer.write(piece)
                await writer.drain()
            gone.cancel()
            if not path.startswith("/stream"):
                self._kept.setdefault(path, whole)
        finally:
            to_origin.transport.abort()


def _page(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: text/html\r\nAccess-Control-Allow-Origin: *\r\n" % status
    return head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


@contextlib.contextmanager
def running(upstream: int) -> Iterator[BadNetwork]:
    """A proxy before the origin at a port, in a thread of its own."""
    network = BadNetwork(upstream)
    loop = asyncio.new_event_loop()
    network._loop = loop
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    start = asyncio.start_server(network.serve, "127.0.0.1", 0)
    server = asyncio.run_coroutine_threadsafe(start, loop).result(timeout=5)
    network.port = server.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    """End every connection, and wait until their sockets are closed."""
    server.close()
    serving = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    await asyncio.sleep(0.1)
