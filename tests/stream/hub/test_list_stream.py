"""The list of matches as a stream, with the rows that the list page has."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from origin.bus import Published
from origin.bus.memory import MemoryBus
from origin.config import Config
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.hub import Hub
from origin.stream.worker.connections import Connections
from origin.web.app import create_app
from origin.web.pages import render_row
from shared_state import Event, Replica, encode_delta


class Lists:
    """A hub over a memory bus, with the pages' own renderer."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.app = create_app(Config(), start=False)
        self.readers = ThreadPoolExecutor(1)
        self.hub = Hub(
            self.bus,
            StreamConfig(heartbeat_s=1.0, broadcast_interval_s=0.0),
            readers=self.readers,
            connections_max=100,
            rng=random.Random(1),
            render_row=partial(render_row, self.app),
        )
        self.connections = Connections(self.hub, lambda connection: connection.sock.close())
        self.clients: list[socket.socket] = []
        self.replicas: dict[str, Replica] = {}

    def announce(self, match_id: str, competition: str) -> None:
        sides = {side: {"name": side, "code": side[:3].upper()} for side in ("home", "away")}
        detail = {**sides, "competition": competition, "kickoff_ms": 1_700_000_000_000}
        info = {"match_id": match_id, "event_id": "info", "rev": 1, "op": "ADD", "type": "MATCH_INFO"}
        self._publish(match_id, Event.from_json({**info, "detail": detail}))

    def goal(self, match_id: str) -> str:
        fields = {"event_id": f"g{time.monotonic_ns()}", "rev": 1, "op": "ADD", "type": "GOAL"}
        event = Event.from_json(
            {**fields, "match_id": match_id, "period": "H1", "minute": 1, "team": "home", "detail": {}}
        )
        return self._publish(match_id, event)

    def _publish(self, match_id: str, event: Event) -> str:
        replica = self.replicas.setdefault(match_id, Replica.begin(match_id, 1_700_000_000_000))
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


def test_rows_come_with_their_matches_and_a_cursor_resumes() -> None:
    lists = Lists()
    try:
        lists.goal("a")
        client = lists.ask("list=&m=a")
        first = lists.until(client, b'"list":"')
        assert b'"list":true,"url":"/"' in first
        assert first.count(b"event: gap") == 2  # of the list, and of the match
        id_ = lists.goal("a")
        (row,) = rows_in(lists.until(client, b"</li>"))
        # No event has said that it kicked off.
        assert (row["match_id"], row["id"], row["live"]) == ("a", id_, False)
        assert str(row["html"]).startswith(f'<li data-match="a" data-id="{id_}">')
        cursor = lists.hub._several.lists.cursor_ms
        back = lists.ask(f"list=&list_id={cursor}")
        assert [one["id"] for one in rows_in(lists.until(back, b'"list":"'))] == [id_]
        late = lists.ask("list=&list_id=1")
        assert b'"list":true' in lists.until(late, b'"list":"')
    finally:
        lists.end()


def test_a_list_that_is_not_there_is_404() -> None:
    lists = Lists()
    try:
        lists.goal("a")
        assert lists.until(lists.ask("list=Nobody+Plays"), b"unknown_list").startswith(b"HTTP/1.1 404")
    finally:
        lists.end()


def test_a_list_that_began_since_the_last_reading_is_there() -> None:
    lists = Lists()
    try:
        lists.goal("a")
        lists.until(lists.ask("list="), b'"list":"')
        lists.announce("b", "New Cup")
        assert b'"list":true' in lists.until(lists.ask("list=New+Cup"), b'"list":"')
    finally:
        lists.end()


def test_a_list_that_is_not_there_yet_does_not_end_the_stream_of_matches() -> None:
    lists = Lists()
    try:
        id_ = lists.goal("a")
        client = lists.ask("list=New+Cup&m=a")
        assert f"id: a@{id_}".encode() in lists.until(client, b'"list":"')
        lists.announce("b", "New Cup")
        (row,) = rows_in(lists.until(client, b"</li>"))
        assert (row["match_id"], row["lists"]) == ("b", ["2023-11-14", "New Cup"])
    finally:
        lists.end()


def test_the_cursor_stands_still_while_a_part_of_the_bus_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lists = Lists()
    try:
        lists.goal("a")
        lists.until(lists.ask("list="), b'"list":"')
        reader = lists.hub._several.lists._reader
        assert reader is not None
        read = reader.read
        monkeypatch.setattr(reader, "read", lambda: replace(read(), complete=False))
        cursor = lists.hub._several.lists.cursor_ms
        client = lists.ask("list=")
        lists.goal("a")
        lists.until(client, b"</li>")
        assert lists.hub._several.lists.cursor_ms == cursor
        monkeypatch.undo()
        lists.goal("a")
        lists.until(client, b"</li>")
        assert lists.hub._several.lists.cursor_ms > cursor
    finally:
        lists.end()


def test_many_lists_that_are_not_there_share_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = Lists()
    try:
        lists.goal("a")
        lists.until(lists.ask("list="), b'"list":"')
        stream = lists.hub._several.lists
        read, gate = stream._read, threading.Event()
        readings: list[int] = []

        def slow_read() -> object:
            readings.append(1)
            gate.wait(10)
            return read()

        monkeypatch.setattr(stream, "_read", slow_read)
        clients = [lists.ask(f"list=Nobody+{number}") for number in range(50)]
        deadline_s = time.monotonic() + 10
        while lists.hub.parked < len(clients):
            assert time.monotonic() < deadline_s
            lists.hub.reactor.dispatch(0.02)
        assert len(readings) == 1
        gate.set()
        while lists.hub.parked:
            assert time.monotonic() < deadline_s
            lists.hub.reactor.dispatch(0.02)
        # Those who came during a reading have waited for the next, together.
        assert len(readings) == 2
        for client in clients:
            assert lists.until(client, b"unknown_list").startswith(b"HTTP/1.1 404")
    finally:
        lists.end()
