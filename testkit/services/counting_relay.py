"""A relay between a cache and the real origin that counts the requests for each address."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter

__all__ = ["CountingRelay"]

_REQUEST = re.compile(rb"(?:^|\r\n\r\n)[A-Z]+ (\S+) HTTP/1\.[01]\r\n")
_PIECE = 65_536


class CountingRelay:
    """Passes bytes on both ways; an origin that is away is a connection that is closed at once.

    Attributes:
        port: where it listens.
        seen: how often each target was asked for.
    """

    def __init__(self, origin_port: int) -> None:
        self.seen: Counter[str] = Counter()
        self.port = 0
        self._origin_port = origin_port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1_024) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._started.set()
            await self._stop.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_origin, to_origin = await asyncio.open_connection("127.0.0.1", self._origin_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            self._pass_on(reader, to_origin, True), self._pass_on(from_origin, writer, False)
        )

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, are_requests: bool
    ) -> None:
        try:
            while piece := await reader.read(_PIECE):
                if are_requests:
                    self.seen.update(target.decode() for target in _REQUEST.findall(piece))
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def __enter__(self) -> CountingRelay:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *failure: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
