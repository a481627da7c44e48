"""Several workers that take from the same queues, and one or all of them full."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.stream_server import StreamServer

HOLDS = 6
LOOK_S = 0.25  # how often a full worker looks at what the others leave


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StreamServer]:
    with StreamServer(tmp_path, workers=2, connections_max=HOLDS) as server:
        server.publish("m1")
        server.process.stop()
        server.restart()  # now both workers know the match
        server.process.wait_until(lambda: len(server.process.children) == 2)
        yield server


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_full_worker_leaves_a_viewer_to_one_that_has_room(server: StreamServer) -> None:
    """The other is busy for a moment, as all are in a storm."""
    _, second = server.process.children
    for attempt in range(1, 5):  # a machine that stands still for a moment looks like a worker that does
        with stopped(second):
            held = [server.stream("m1") for _ in range(HOLDS)]
            late = server.ask()
            time.sleep(LOOK_S * 1.2)
        status, _ = late.head()
        if status == 200:
            break
        assert attempt < 4, "refused, though the other had room"
        for client in (*held, late):
            client.close()
        time.sleep(1)


def test_where_all_are_full_viewers_are_told_so_and_pages_are_served(server: StreamServer) -> None:
    for _ in range(2 * HOLDS):
        server.stream("m1")
    refused = [server.ask() for _ in range(3)]
    assert server.get("/page") == b"page"
    for client in refused:
        status, headers, _ = client.answer()
        assert status == 503
        assert int(headers["retry-after"]) >= 1


def test_connections_without_a_request_do_not_make_a_pool_look_full(tmp_path: Path) -> None:
    """Each worker would leave the next viewers to the other, and take two of them four times a second."""
    with (
        StreamServer(tmp_path, workers=2, connections_max=1_000, first_bytes_s=60) as server,
        contextlib.ExitStack() as stack,
    ):
        server.publish("m1")
        server.process.stop()
        server.restart()  # now both workers know the match
        server.process.wait_until(lambda: len(server.process.children) == 2)
        for _ in range(2_400):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            idle.sendall(b"GET /stream/m1 HTTP/1.1\r\nHo")
        time.sleep(1.5)  # until both have taken what they take of them
        clients = [server.ask() for _ in range(800)]
        patience_until = time.monotonic() + 20  # by turns of two they would need 50 s
        for client in clients:
            client.sock.settimeout(max(0.1, patience_until - time.monotonic()))
            assert client.head()[0] == 200
        server.close_clients()


def test_the_last_place_is_given_and_no_more(server: StreamServer) -> None:
    clients = [server.ask() for _ in range(2 * HOLDS)]  # all at once
    assert [client.head()[0] for client in clients] == [200] * len(clients)
