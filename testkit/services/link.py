"""A network that a test can partition: a child that forwards bytes, and stops without closing connections.

    python -m testkit.services.link <port to listen on> <port it leads to>

While it is cut, connections stay open, the kernel accepts new ones, and no answer comes: both ends see a
network partition. After ``heal`` the bytes in transit arrive, as TCP's retransmissions would bring them.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from deploy.ports import free_port
from testkit.services.process import ServerProcess, listening

__all__ = ["Link"]

PIECE_BYTES = 65_536


class Link:
    """A network path to one server of the loopback; listens on ``port``, or on a free one."""

    def __init__(self, directory: Path, to_port: int, port: int = 0) -> None:
        self.port = port or free_port()
        self._process = ServerProcess(
            [sys.executable, "-m", "testkit.services.link", str(self.port), str(to_port)],
            log_path=directory / f"link-{self.port}.log",
            cwd=Path(__file__).parents[2],
        )
        self._process.wait_until(lambda: listening(self.port))

    def cut(self) -> None:
        """Stop forwarding, in both directions."""
        self._process.signal(signal.SIGSTOP)

    def heal(self) -> None:
        """Forward again."""
        self._process.signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        self.heal()
        self._process.stop()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def _serve(port: int, to_port: int) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", to_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pass_on(reader, there_writer), _pass_on(there_reader, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
