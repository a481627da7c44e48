"""Starlette on uvicorn with uvloop and httptools, a queue per client: the usual asyncio SSE server."""

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette  # type: ignore[import-not-found,import-untyped,unused-ignore]
from starlette.requests import Request  # type: ignore[import-not-found,import-untyped,unused-ignore]
from starlette.responses import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route  # type: ignore[import-not-found,import-untyped,unused-ignore]

clients: set[asyncio.Queue[bytes]] = set()


async def frames() -> AsyncIterator[bytes]:
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    clients.add(queue)
    try:
        # The same first bytes as the Flask peer's, so that both start a stream alike.
        yield b":\n\n"
        while True:
            yield await queue.get()
    finally:
        clients.discard(queue)


async def stream(_request: Request) -> Response:
    return StreamingResponse(frames(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def publish(request: Request) -> Response:
    frame = await request.body()
    for queue in list(clients):
        queue.put_nowait(frame)
    return PlainTextResponse(str(len(clients)))


app = Starlette(routes=[Route("/stream", stream), Route("/publish", publish, methods=["POST"])])
