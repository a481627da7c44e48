"""A hub whose viewers watch lists of matches, with the pages' own renderer; stepped by a test."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from flask import Flask

from origin.bus import Bus, MatchRow, Published
from origin.bus.memory import MemoryBus
from origin.config import Config
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.hub import Hub
from origin.stream.worker.connections import Connections
from origin.web.app import create_app
from origin.web.pages import render_row
from shared_state import DeltaId, Event, Replica, encode_delta

__all__ = ["ListViewer", "Lists", "app_over", "rows_in"]

_ROW = re.compile(r'data-match="([^"]+)" data-id="([^"]+)"')

Render = Callable[[MatchRow, int], tuple[str, int | None]]


class Lists:
    """A hub over a memory bus, with the pages' own renderer."""

    def __init__(self, bus: Bus | None = None, render: Render | None = None, **config: Any) -> None:
        self.bus = bus or MemoryBus()
        self.app = create_app(Config(), start=False)
        self.readers = ThreadPoolExecutor(1)
        self.hub = Hub(
            self.bus,
            StreamConfig(**{"heartbeat_s": 1.0, "broadcast_interval_s": 0.0, **config}),
            readers=self.readers,
            connections_max=100,
            rng=random.Random(1),
            render_row=render or partial(render_row, self.app),
        )
        self.connections = Connections(self.hub, lambda connection: connection.sock.close())
        self.clients: list[socket.socket] = []
        self.replicas: dict[str, Replica] = {}
        self.number = 0

    def goal(self, match_id: str) -> str:
        return self.publish(match_id, type="GOAL", period="H1", minute=1, team="home", detail={})

    def info(self, match_id: str, competition: str, **detail: Any) -> str:
        teams = {"home": {"name": "Home"}, "away": {"name": "Away"}}
        detail = {**teams, "competition": competition, **detail}
        return self.publish(match_id, type="MATCH_INFO", period="PRE", detail=detail)

    def publish(self, match_id: str, **fields: Any) -> str:
        replica = self.replicas.setdefault(match_id, Replica.begin(match_id, 1_700_000_000_000))
        self.number += 1
        fields = {"event_id": f"e{self.number:06}", "rev": 1, "op": "ADD", "match_id": match_id, **fields}
        event = Event.from_json(fields)
        delta = replica.assign(event, 1_700_000_000_000)
        assert delta is not None
        self.bus.publish(match_id, Published(delta.id, encode_delta(delta)), replica.snapshot())
        return str(delta.id)

    def ask(self, query: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        theirs.sendall(f"GET /stream?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.connections.add(ours, "", None)
        self.clients.append(theirs)
        return theirs

    def until(self, client: socket.socket, mark: bytes) -> bytes:
        """What comes up to a mark, while the hub's loop runs."""
        data = b""
        deadline_s = time.monotonic() + 10
        while mark not in data:
            assert time.monotonic() < deadline_s, data
            self.hub.reactor.dispatch(0.02)
            self.hub.tick(time.monotonic())
            with contextlib.suppress(BlockingIOError):
                data += client.recv(65_536)
        return data

    def cursor(self, name: str = "") -> str:
        return str(self.hub._several.lists.cursor(name))

    def turn(self, turns: int = 1) -> None:
        """Let the hub's loop run, with a reading of the rows each time."""
        for _ in range(turns):
            self.hub.reactor.dispatch(0.02)
            self.hub.tick(time.monotonic())
            time.sleep(0.02)

    def end(self) -> None:
        for client in self.clients:
            client.close()
        self.connections.close_all()
        self.hub.close()
        self.readers.shutdown()


def rows_in(data: bytes) -> list[dict[str, object]]:
    blocks = [block.decode().split("\n") for block in data.split(b"\n\n")]
    fields = [dict(line.split(": ", 1) for line in block if ": " in line) for block in blocks]
    return [json.loads(one["data"]) for one in fields if one.get("event") == "row"]


def app_over(bus: Bus) -> Flask:
    """The pages of another process, whose list of matches is read from this bus."""
    app = create_app(Config(), start=False)
    app.extensions["touchline"].board._bus = bus
    return app


class ListViewer:
    """A reader of a list: it has the page, takes rows, and fetches the page again after a gap.

    Args:
        app: where its pages come from.
        name: the competition; empty for all matches.

    Attributes:
        rows: the ids of its rows, by match.
        cursor: where it stands.
        gaps: how many it got.
    """

    def __init__(self, app: Flask, name: str = "") -> None:
        self._app, self._name = app, name
        self.rows: dict[str, DeltaId] = {}
        self.cursor = ""
        self.gaps = 0
        self._sock: socket.socket | None = None
        self._bytes = b""

    def load(self) -> None:
        """Fetch the page."""
        page = self._app.test_client().get(f"/?competition={self._name}" if self._name else "/").text
        for match_id, id_text in _ROW.findall(page):
            self._take(match_id, id_text)
        if not self.cursor:
            self.cursor = page.split('data-list-id="')[1].split('"')[0]

    def connect(self, worker: Lists) -> None:
        """Go to a worker, from where it stands."""
        self._sock, self._bytes = worker.ask(f"list={self._name}&list_id={self.cursor}"), b""

    def disconnect(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def read(self) -> None:
        """Take what is there."""
        if self._sock is None:
            return
        with contextlib.suppress(BlockingIOError):
            self._bytes += self._sock.recv(1 << 20)
        whole, mark, self._bytes = self._bytes.rpartition(b"\n\n")
        for block in (whole + mark).decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            match fields.get("event"):
                case "row":
                    data = json.loads(fields["data"])
                    self._take(data["match_id"], data["id"])
                    self.cursor = fields["id"]
                case "gap":
                    self.cursor = fields["id"]
                    self.gaps += 1
                    self.load()
                case "heartbeat":
                    self.cursor = json.loads(fields["data"])["list"]

    def _take(self, match_id: str, id_text: str) -> None:
        self.rows[match_id] = max(DeltaId.parse(id_text), self.rows.get(match_id, DeltaId(0, 0)))
