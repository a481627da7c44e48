"""A reader's line: bytes to several servers share one rate and one delay, as on a phone's connection.

The browser's own throttling misses workers and service workers; here every byte goes through. What is simple
about it: no loss, and a new connection waits one round trip before its first byte, as TCP's handshake does.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Line", "ShapedLine", "shaped_line"]

PIECE_BYTES = 8_192


@dataclass(frozen=True, slots=True)
class Line:
    """What a line is like.

    Attributes:
        down_bit_per_s: towards the reader; no bound if 0.
        up_bit_per_s: from the reader; no bound if 0.
        round_trip_s: to the servers and back, seconds.
    """

    down_bit_per_s: float = 0.0
    up_bit_per_s: float = 0.0
    round_trip_s: float = 0.0


class _Direction:
    """One way of the line: pieces leave one after the other, at its rate."""

    def __init__(self, bit_per_s: float, delay_s: float) -> None:
        self._bit_per_s = bit_per_s
        self._delay_s = delay_s
        self._free_at_s = 0.0
        self.bytes = 0

    def arrival_s(self, size: int, now_s: float) -> float:
        """When a piece that is sent now has arrived."""
        self.bytes += size
        if self._bit_per_s:
            self._free_at_s = max(self._free_at_s, now_s) + size * 8 / self._bit_per_s
            return self._free_at_s + self._delay_s
        return now_s + self._delay_s


class ShapedLine:
    """A running line.

    Attributes:
        ports: where the servers are found through it, in their order.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._down = _Direction(line.down_bit_per_s, line.round_trip_s / 2)
        self._up = _Direction(line.up_bit_per_s, line.round_trip_s / 2)
        self.ports: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def bytes(self) -> tuple[int, int]:
        """Bytes so far, towards the reader and from it."""
        return self._down.bytes, self._up.bytes

    async def _serve(self, to_port: int) -> asyncio.Server:
        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(self._line.round_trip_s)
            # What ends with the line is cancelled, and asyncio would print that.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                there_reader, there_writer = await asyncio.open_connection("127.0.0.1", to_port)
                await asyncio.gather(
                    _carry(reader, there_writer, self._up), _carry(there_reader, writer, self._down)
                )
            writer.close()

        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        self.ports.append(server.sockets[0].getsockname()[1])
        return server

    async def _close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Direction) -> None:
    loop = asyncio.get_running_loop()
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=64)

    async def arrive() -> None:
        while True:
            at_s, piece = await on_the_way.get()
            await asyncio.sleep(at_s - loop.time())
            if not piece:
                writer.close()
                return
            writer.write(piece)
            await writer.drain()

    async def leave() -> None:
        piece = b"-"
        while piece:
            try:
                piece = await reader.read(PIECE_BYTES)
            except OSError:
                piece = b""
            await on_the_way.put((way.arrival_s(len(piece), loop.time()), piece))

    with contextlib.suppress(OSError):
        await asyncio.gather(arrive(), leave())


@contextmanager
def shaped_line(line: Line, to_ports: Sequence[int]) -> Iterator[ShapedLine]:
    """A line to these servers of the loopback; it ends with the block."""
    running = ShapedLine(line)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    servers: list[asyncio.Server] = []
    try:
        servers.extend(
            asyncio.run_coroutine_threadsafe(running._serve(port), loop).result(10) for port in to_ports
        )
        yield running
    finally:
        for server in servers:
            loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(running._close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
