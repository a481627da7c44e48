"""A small collapsing cache before one origin: ``python -m origin.lab.comparison.cache PORT``.

Equal requests that wait share one request to the origin, and what the origin calls immutable is kept. It
stands for the caches that long polling is made for, where nginx or a CDN would be; it listens on 127.0.0.1,
prints its port, and a line of counts each half second. It ends when its standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
import signal
import sys
from typing import Final, cast

__all__ = ["CollapsingCache", "main"]

_KEPT_MAX: Final = 256
_HEAD_MAX_BYTES: Final = 8_192
_REPORT_S: Final = 0.5
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_IMMUTABLE: Final = re.compile(rb"\r\ncache-control:[^\r\n]*immutable", re.IGNORECASE)


class CollapsingCache:
    """What is kept, and what is asked for now.

    Args:
        upstream: the origin's port.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.requests = 0
        self.upstream_requests = 0
        self.upstream_bytes_up = 0
        self.upstream_bytes_down = 0
        self._kept: dict[bytes, bytes] = {}
        self._asked: dict[bytes, asyncio.Task[bytes]] = {}

    def answer(self, target: bytes, connection: _Connection) -> None:
        """Give a connection the answer to a request, now or once it is there."""
        self.requests += 1
        if (kept := self._kept.get(target)) is not None:
            connection.write(kept)
            return
        task = self._asked.get(target)
        if task is None:
            task = self._asked[target] = asyncio.get_running_loop().create_task(self._fetch(target))
        task.add_done_callback(lambda done: connection.write(done.result() if not done.cancelled() else b""))

    async def _fetch(self, target: bytes) -> bytes:
        request = b"GET %b HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n" % target
        self.upstream_requests += 1
        self.upstream_bytes_up += len(request)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
            try:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1])) if length else await reader.read()
            finally:
                writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n{}"
        finally:
            self._asked.pop(target, None)
        self.upstream_bytes_down += len(head) + len(body)
        # Readers' connections stay open whatever became of ours.
        head = re.sub(rb"\r\nconnection:[^\r\n]*", b"", head, flags=re.IGNORECASE)
        if not length:
            head = head[:-2] + b"Content-Length: %d\r\n\r\n" % len(body)
        if head.startswith(b"HTTP/1.1 200 ") and _IMMUTABLE.search(head):
            self._kept[target] = head + body
            while len(self._kept) > _KEPT_MAX:
                del self._kept[next(iter(self._kept))]
        return head + body


class _Connection(asyncio.Protocol):
    def __init__(self, cache: CollapsingCache) -> None:
        self._cache = cache
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _HEAD_MAX_BYTES and self._transport is not None:
            self._transport.abort()
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            method, _, rest = head.partition(b" ")
            target = rest.partition(b" ")[0]
            if method != b"GET" or not target.startswith(b"/api/match/"):
                self.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            else:
                self._cache.answer(target, self)

    def write(self, answer: bytes) -> None:
        """Send an answer; nothing once the reader has gone."""
        if self._transport is not None and answer:
            self._transport.write(answer)


async def _run(upstream: int) -> None:
    loop = asyncio.get_running_loop()
    cache = CollapsingCache(upstream)
    server = await loop.create_server(lambda: _Connection(cache), "127.0.0.1", 0, backlog=4_096)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    ended = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(ended), sys.stdin)
    reading = asyncio.ensure_future(ended.read())
    while not reading.done():
        await asyncio.wait({reading}, timeout=_REPORT_S)
        counts = {
            "requests": cache.requests,
            "upstream_requests": cache.upstream_requests,
            "upstream_bytes_up": cache.upstream_bytes_up,
            "upstream_bytes_down": cache.upstream_bytes_down,
        }
        sys.stdout.write(json.dumps(counts) + "\n")
        sys.stdout.flush()
    server.close()


def main() -> int:
    """Serve until standard input ends."""
    # Ctrl-C reaches every process of the terminal; this one ends when the one that started it does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(_run(int(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
