"""A client of the long-poll route by docs/protocol.md, on one kept connection, for tests of caches."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

__all__ = ["LongPoller"]

_AGAIN_S = 0.3


class LongPoller:
    """Follows ``next`` from an id on.

    Attributes:
        id: where it stands.
        ids: the deltas that came, in order; a gap begins it anew.
        statuses: how often each status was answered; 0 for a connection that failed.
        asked: how many requests it made for deltas.
    """

    def __init__(self, port: int, match_id: str, id_: str, slice_: int = 0) -> None:
        self.id = id_
        self.ids: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.asked = 0
        self._port = port
        self._match_id = match_id
        self._slice = slice_
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run_until(self, id_: str, timeout_s: float = 60.0) -> None:
        """Poll until it stands at this id."""
        async with asyncio.timeout(timeout_s):
            while self.id != id_:
                await self._poll()
        self.close()

    async def _poll(self) -> None:
        self.asked += 1
        status, body = await self._get(f"/api/match/{self._match_id}/deltas/{self.id}/{self._slice}")
        self.statuses[status] += 1
        match status:
            case 200:
                assert body["after"] == self.id
                self.ids += [delta_id for delta_id, _ in body["deltas"]]
                self.id, self._slice = body["next"]["id"], body["next"]["slice"]
            case 410:
                await self._begin_anew()
            case 404 if body["error"]["code"] == "slice_to_come":
                self._slice = body["error"]["slice"]
                await asyncio.sleep(_AGAIN_S)
            case _:
                assert status in (0, 404, 502, 503), (status, body)
                await asyncio.sleep(_AGAIN_S)

    async def _begin_anew(self) -> None:
        """The snapshot, past the cache: what it has may be of the epoch that is gone."""
        status, state = await self._get(f"/api/match/{self._match_id}/state", "Cache-Control: no-cache\r\n")
        if status == 200:
            self.id = f"{state['epoch']}-{state['seq']}"
            self.ids = []
            self._slice = 0
        await asyncio.sleep(_AGAIN_S)

    async def _get(self, path: str, headers: str = "") -> tuple[int, dict[str, Any]]:
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.split("content-length: ")[1].split("\r\n")[0])
            body = await reader.readexactly(length)
        except (OSError, EOFError):
            self.close()
            return 0, {}
        if "connection: close" in head:
            self.close()
        return int(head.split(" ")[1]), json.loads(body)

    def close(self) -> None:
        """Leave."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
