"""Clients that send many requests: each gets its answers in turn, and none keeps the loop for itself."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator

import pytest

from testkit.stream_server import StreamServer

OPTIONS = b"OPTIONS /stream/x HTTP/1.1\r\nHost: x\r\n\r\n"
PAGE = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    with StreamServer(tmp_path_factory.mktemp("stream"), first_bytes_s=5.0) as running:
        yield running


def answers_to(server: StreamServer, data: bytes) -> tuple[int, bool]:
    """Send all of it while reading; how many answers came, and whether the server closed the connection."""
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.setblocking(False)
        rest, got, closed = memoryview(data), b"", False
        deadline = time.monotonic() + 30
        quiet_since = time.monotonic()
        while time.monotonic() < deadline and not closed and (rest or time.monotonic() < quiet_since + 1.5):
            readable, writable, _ = select.select([client], [client] if rest else [], [], 0.1)
            try:
                if readable:
                    received = client.recv(1 << 20)
                    closed = not received
                    got += received
                    quiet_since = time.monotonic()
                if writable:
                    rest = rest[client.send(rest) :]
            except (ConnectionResetError, BrokenPipeError):
                closed = True
    return got.count(b"HTTP/1.1 2"), closed


@pytest.mark.parametrize(("request_", "count"), [(OPTIONS, 700), (PAGE, 200)])
def test_all_of_a_long_pipeline_is_answered(server: StreamServer, request_: bytes, count: int) -> None:
    assert answers_to(server, request_ * count) == (count, False)


@pytest.mark.parametrize("request_", [OPTIONS, PAGE])
def test_a_connection_ends_after_a_thousand_requests(server: StreamServer, request_: bytes) -> None:
    assert answers_to(server, request_ * 1_200) == (1_000, True)


def test_what_lies_half_in_the_kernel_never_stops_both_sides(server: StreamServer) -> None:
    """A pipeline larger than the receive window, whose heads are cut anywhere by it."""
    padded = b"OPTIONS /stream/x HTTP/1.1\r\nHost: x\r\nX-Pad: %b\r\n\r\n" % (b"p" * 4_000)
    assert answers_to(server, padded * 900) == (900, False)


def test_viewers_and_pages_are_served_while_others_pipeline(server: StreamServer) -> None:
    server.publish("busy")
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(6)]
    try:
        for client in clients:
            client.setblocking(False)
            try:
                client.send(OPTIONS * 600)
            except BlockingIOError:
                continue
        viewer = server.stream("busy")
        assert server.get("/page")
        last = server.publish("busy")
        assert viewer.scores(1) == [last]
    finally:
        for client in clients:
            client.close()
        server.close_clients()


def test_who_takes_no_answers_to_what_it_sends_is_closed(server: StreamServer) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(("127.0.0.1", server.port))
        client.settimeout(20)
        sent = 0
        with pytest.raises((ConnectionResetError, BrokenPipeError)):  # noqa: PT012 - either may say it
            while sent < 200_000_000:
                sent += client.send(OPTIONS * 100)
