"""A part that hangs stops nothing else: real servers, with a Redis that is stopped or a locked log."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.services.origin import OriginServer
from testkit.services.redis import RedisServer
from tests.web.test_served import ask

pytestmark = pytest.mark.services

# More than there are threads for pages.
CROWD = 64
# A command to a server that hangs lasts this long: no test waits for it.
HANGS_S = 60


def crowd(port: int, request: bytes) -> list[socket.socket]:
    """So many connections with a request each."""
    sockets = []
    for _ in range(CROWD):
        sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        sock.sendall(request)
        sockets.append(sock)
    return sockets


def answered(sockets: list[socket.socket]) -> int:
    """How many of them have an answer by now."""
    count = 0
    for sock in sockets:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            count += bool(sock.recv(1, socket.MSG_PEEK))
    return count


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[OriginServer]:
    """An origin all of whose page threads wait for a Redis that hangs."""
    with RedisServer(tmp_path) as redis:
        server = OriginServer(tmp_path, env={"BUS_URL": f"{redis.url}?timeout_s={HANGS_S}"})
        server.start()
        redis.pause()
        sockets = crowd(server.port, b"GET /match/m HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            yield server
            assert answered(sockets) == 0
        finally:
            for sock in sockets:
                sock.close()
            redis.resume()
            server.stop()


def test_healthz_waits_for_no_thread(hanging: OriginServer) -> None:
    for method in ("GET", "HEAD", "GET"):
        status, _, body = ask(hanging.port, "/healthz", method=method)
        assert status == 200
        assert (json.loads(body) == {"status": "alive"}) if method == "GET" else (body == b"")
    with socket.create_connection(("127.0.0.1", hanging.port), timeout=20) as sock:
        for _ in range(3):  # on one connection, as a load balancer does
            sock.sendall(b"GET /healthz?probe HTTP/1.1\r\nHost: x\r\n\r\n")
            head = sock.recv(65_536)
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nConnection: keep-alive\r\n" in head
    assert ask(hanging.port, "/healthz", "Bad Header: 1\r\n")[0] == 400


def test_healthz_is_the_same_from_the_loop_and_from_flask(tmp_path: Path) -> None:
    server = OriginServer(tmp_path, admin=True).start()
    try:
        status, headers, body = ask(server.port, "/healthz")
        # The admin port has Flask's own answer.
        from_flask = ask(server.admin_port, "/healthz")
        assert (status, body) == (from_flask[0], from_flask[2])
        of_servers = {"date", "server", "connection", "content-length"}
        assert {name: value for name, value in headers.items() if name not in of_servers} == {
            name: value for name, value in from_flask[1].items() if name not in of_servers
        }
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert ask(server.port, "/healthz", method="POST")[0] == 405
        options = ask(server.port, "/healthz", method="OPTIONS")
        assert (options[0], set(options[1]["allow"].split(", "))) == (200, {"get", "head", "options"})
    finally:
        server.stop()
