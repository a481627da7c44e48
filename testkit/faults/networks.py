"""A reverse proxy on loopback whose network misbehaves on request, and a generator of such networks.

It speaks HTTP/1.1 with one request a connection, so a connection that hangs holds nobody else up.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

__all__ = ["BadNetwork", "Behaviour", "Network", "Phase", "drawn_network", "running"]

PORTAL: Final = b"<html><title>Log in to the network</title><body>Accept the terms</body></html>"
#: Routes that a rule may single out; the first is all of them.
ROUTES: Final = ("", "^/stream", "^/api/", "^/match/[^/]+/fragment/", "/state$", "/deltas/")
DAY_S: Final = 86_400
#: How much later all comes by a way that is far.
FAR_S: Final = 6.0
#: What a page needs to be there at all.
PAGE: Final = "^/(match/[^/]+$|widget/)"


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
    FAR = "far"  #: all of it comes, seconds later


@dataclass(frozen=True, slots=True)
class Phase:
    """How the network is for some time.

    Attributes:
        seconds: how long.
        rules: pairs of a regular expression for the path and what becomes of such requests; the first counts.
        asleep: whether the page is frozen meanwhile.
        reloaded: whether the reader loads the page anew when it begins.
        set_s: by how many seconds the reader sets the clock when it begins.
        silent: whether connections that are open when it begins stay open and bring nothing more; else they
            are cut.
    """

    seconds: float
    rules: Sequence[tuple[str, Behaviour]] = ()
    asleep: bool = False
    reloaded: bool = False
    set_s: int = 0
    silent: bool = False

    def __str__(self) -> str:
        """As it stands in a report."""
        rules = ", ".join(f"{behaviour.value} {route or 'all'}" for route, behaviour in self.rules)
        more = [word for word in ("asleep", "reloaded", "silent") if getattr(self, word)]
        more += [f"clock set by {self.set_s} s"] if self.set_s else []
        return f"{self.seconds:.0f} s {'; '.join([rules or 'good', *more])}"


@dataclass(frozen=True, slots=True)
class Network:
    """One network over time.

    Attributes:
        seed: what it was drawn by.
        phases: one after another.
        clock_skew_s: the reader's clock less the true one at the start, seconds.
    """

    seed: int
    phases: Sequence[Phase]
    clock_skew_s: int

    def __str__(self) -> str:
        """As it stands in a report."""
        return f"network {self.seed}: clock {self.clock_skew_s:+} s; " + " | ".join(map(str, self.phases))


def drawn_network(seed: int, *, good_s: float = 8.0, bad_s: float = 26.0, long_s: float = 64.0) -> Network:
    """A network by a seed: the same for the same seed.

    Four of five have two bad phases, the fifth a long one: longer than an old score may be shown as live, and
    than the minute in which ages are written.

    Args:
        seed: any number.
        good_s: how long the first phase is, seconds. It passes the page, so that there is one to be right or
            wrong; in a quarter of all networks the rest may be bad.
        bad_s: how long each of two bad phases is.
        long_s: how long the only bad phase is.
    """
    draw, silent = random.Random(seed), random.Random(f"silent {seed}")
    bad = [behaviour for behaviour in Behaviour if behaviour is not Behaviour.PASS]
    first = [(PAGE, Behaviour.PASS), *_drawn_rules(draw, bad)] if draw.random() < 0.25 else []
    phases = [Phase(good_s, first)]
    for seconds in [long_s] if draw.random() < 0.2 else [bad_s, bad_s]:
        rules = _drawn_rules(draw, bad)
        asleep = draw.random() < 0.2
        # Only a cache brings a page where the network is bad for pages, too.
        for_page = next((done for route, done in rules if re.search(route, "/match/m")), Behaviour.STALE)
        reloaded = draw.random() < 0.25 and not asleep and for_page is Behaviour.STALE
        set_s = draw.choice((-DAY_S, -600, 600, DAY_S)) if draw.random() < 0.1 else 0
        phases.append(Phase(seconds, rules, asleep, reloaded, set_s, silent=silent.random() < 0.3))
    skew_s = draw.choice((0, 0, 90, -90, 3_600, -3_600, DAY_S, -DAY_S))
    return Network(seed, phases, skew_s)


def _drawn_rules(draw: random.Random, bad: Sequence[Behaviour]) -> Sequence[tuple[str, Behaviour]]:
    return [(draw.choice(ROUTES), draw.choice(bad)) for _ in range(draw.choice((1, 1, 2)))]


@dataclass(slots=True)
class BadNetwork:
    """The proxy, while it runs.

    Attributes:
        upstream: the origin's port.
        rules: as of ``Phase``; may be replaced at any time, and counts for new requests.
        seen: the requests: when by the monotonic clock, the path, and what became of it.
    """

    upstream: int
    rules: Sequence[tuple[str, Behaviour]] = ()
    port: int = 0
    seen: list[tuple[float, str, Behaviour]] = field(default_factory=list)
    _kept: dict[str, bytes] = field(default_factory=dict)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _silent: set[asyncio.StreamWriter] = field(default_factory=set)
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

    def change(self, rules: Sequence[tuple[str, Behaviour]], *, silent: bool = False) -> None:
        """Another network from now on: open connections are cut, or bring nothing more and stay open."""
        self.rules = rules
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._silence if silent else self._cut)

    def _silence(self) -> None:
        self._silent |= self._writers

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._writers.add(writer)
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # one of the two has gone, which is what this is about, or the proxy ends
        finally:
            await self._close(writer)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        """Close one side, and wait until its socket is closed."""
        try:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        finally:
            self._writers.discard(writer)
            self._silent.discard(writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        path = first.split(" ")[1]
        behaviour = self.behaviour(path)
        self.seen.append((time.monotonic(), path, behaviour))
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
        self._writers.add(to_origin)
        gone = asyncio.ensure_future(reader.read())
        try:
            to_origin.write(request)
            head = await from_origin.readuntil(b"\r\n\r\n")
            later = asyncio.get_running_loop().call_later
            if writer in self._silent:
                await gone
            elif behaviour is Behaviour.FAR:
                later(FAR_S, writer.write, head)
            else:
                writer.write(head)
            if behaviour is Behaviour.MUTE:
                await gone
                return
            whole, waiting, complete = head, b"", False
            while not gone.done():
                read = asyncio.ensure_future(from_origin.read(65_536))
                await asyncio.wait({read, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not read.done():
                    read.cancel()
                    break
                if writer in self._silent:
                    read.exception()
                    await gone
                    break
                piece = read.result()
                if not piece:
                    complete = True
                    writer.write(waiting)
                    if behaviour is Behaviour.FAR:
                        await asyncio.sleep(FAR_S)
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
                elif behaviour is Behaviour.FAR:
                    later(FAR_S, writer.write, piece)
                    piece = b""
                writer.write(piece)
                await writer.drain()
            # A cache keeps neither half an answer nor one that says "as you have it".
            if complete and not path.startswith("/stream") and head.startswith(b"HTTP/1.1 200 "):
                self._kept.setdefault(path, whole)
        finally:
            gone.cancel()
            to_origin.transport.abort()
            await self._close(to_origin)


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
        asyncio.run_coroutine_threadsafe(_stop(network, server), loop).result(timeout=60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        loop.close()


async def _stop(network: BadNetwork, server: asyncio.Server) -> None:
    """End every connection, and wait until their sockets are closed."""
    server.close()
    network._cut()
    serving = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    for _ in range(3):  # an aborted transport closes its socket one turn of the loop later
        await asyncio.sleep(0)
