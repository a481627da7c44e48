"""What strangers may have in memory, and how much of a turn they may have, before others are served."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from origin.bus.memory import MemoryBus
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.hub import Hub
from origin.stream.worker import connections as module
from origin.stream.worker.connections import Connection, Connections
from testkit.worlds.hub import Jobs

OPTIONS = b"OPTIONS /stream/x HTTP/1.1\r\nHost: x\r\n\r\n"


class Port:
    """Connections without a server; each client has the address that it is given."""

    def __init__(self) -> None:
        self.hub = Hub(MemoryBus(), StreamConfig(), readers=Jobs(), connections_max=100)
        self.pages: list[Connection] = []
        self.pages_max = 100
        self.connections = Connections(
            self.hub, self.pages.append, has_room_for_page=lambda: len(self.pages) < self.pages_max
        )
        self._clients: list[socket.socket] = []

    def connect(self, address: str, first: bytes) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._clients.append(theirs)
        for one in (ours, theirs):
            one.setblocking(False)
        theirs.sendall(first)
        self.connections.add(ours, (address, 1), None)
        return theirs

    def close(self) -> None:
        self.connections.close_all()
        for page in self.pages:
            page.sock.close()
        self.hub.close()
        for client in self._clients:
            client.close()


@pytest.fixture
def port() -> Iterator[Port]:
    with contextlib.closing(Port()) as port:
        yield port


def is_open(client: socket.socket) -> bool:
    try:
        return client.recv(65_536) != b""
    except BlockingIOError:
        return True


def test_heads_that_fill_memory_give_way_by_address(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HEADS_MAX_BYTES", 100_000)
    part = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"p" * 9_970
    honest = port.connect("198.51.100.1", b"GET / HTTP/1.1\r\n")
    flood = [port.connect("203.0.113.9", part) for _ in range(30)]
    assert port.connections._head_bytes <= 100_000
    assert is_open(honest)
    still = [is_open(client) for client in flood]
    assert still == [False] * (30 - still.count(True)) + [True] * still.count(True)  # the oldest went first
    assert 5 <= still.count(True) < 30
    honest.sendall(b"Host: x\r\n\r\n")
    port.hub.reactor.dispatch()
    assert port.pages[-1].message.startswith(b"GET / HTTP/1.1\r\nHost: x\r\n")


def test_all_that_was_counted_is_given_back(port: Port) -> None:
    for number in range(20):
        port.connect(f"198.51.100.{number}", OPTIONS * 3 + OPTIONS[: number + 1]).close()
        port.connect("203.0.113.9", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234").close()
        port.connect("203.0.113.9", b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n" + OPTIONS)
    for page in port.pages:
        page.sock.close()
        port.connections.lost(page)
    port.pages.clear()
    for _ in range(20):
        port.hub.reactor.dispatch()
    port.connections.close_all()
    assert (port.connections._head_bytes, port.connections._body_bytes) == (0, 0)
    assert len(port.connections) == 0


def test_a_turn_answers_a_few_requests_of_a_connection(port: Port) -> None:
    greedy = port.connect("203.0.113.9", OPTIONS * 40)
    other = port.connect("198.51.100.1", OPTIONS * 2)
    assert greedy.recv(65_536).count(b"HTTP/1.1 204") == 4
    assert other.recv(65_536).count(b"HTTP/1.1 204") == 2
    port.hub.reactor.dispatch()
    assert greedy.recv(65_536).count(b"HTTP/1.1 204") == 4
    for _ in range(20):
        port.hub.reactor.dispatch()
    assert greedy.recv(65_536).count(b"HTTP/1.1 204") == 32
    assert port.connections._head_bytes == 0  # both stay, and nothing of theirs waits
    assert port.connections.unfinished == 2


def test_pages_that_no_thread_has_time_for_are_refused_at_once(port: Port) -> None:
    port.pages_max = 2
    page = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
    post = b"POST /ingest/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    first = [port.connect("198.51.100.1", request) for request in (page, post)]
    late = [port.connect("198.51.100.2", request) for request in (page, post)]
    for client in first:
        with pytest.raises(BlockingIOError):
            client.recv(1)
    for client in late:
        answer = client.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"too_many_pages"' in answer
        assert b"\r\nRetry-After: 1\r\n" in answer
    assert port.connect("198.51.100.2", OPTIONS).recv(65_536).startswith(b"HTTP/1.1 204 ")
    assert len(port.pages) == 2
