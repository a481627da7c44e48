"""The backend that Pushpin asks about each new viewer: hold the stream, channel `bench`.

It is not Pushpin, so neither its CPU nor its memory is counted; it only has to be fast enough.
usage: pushpin_origin.py PORT
"""

import asyncio
import sys

# The first bytes are the same comment that the Python peers send.
BODY = b":\n\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream\r\n"
    b"Cache-Control: no-store\r\n"
    b"Grip-Hold: stream\r\n"
    b"Grip-Channel: bench\r\n"
    b"Content-Length: 3\r\n\r\n"
) + BODY


class Origin(asyncio.Protocol):
    """Answers every request head with the same instruction; the connection stays open for the next."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.head += data
        while b"\r\n\r\n" in self.head:
            self.head = self.head.split(b"\r\n\r\n", 1)[1]
            if self.transport is not None:
                self.transport.write(ANSWER)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(
        Origin, "127.0.0.1", int(sys.argv[1]), backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
