"""A part that hangs stops nothing else: real servers, with a Redis that is stopped or a locked log."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from origin.bus import open_bus
from origin.ingest.signatures import signed_headers
from origin.web.pages import AS_OF_STEP_MS
from testkit.poster import MATCH, event
from testkit.services.link import Link
from testkit.services.origin import KEY, OriginServer
from testkit.services.postgres import PostgresServer
from testkit.services.redis import RedisCluster, RedisServer
from tests.web.test_board import Season
from tests.web.test_served import ask

pytestmark = pytest.mark.services

# More than there are threads for pages.
CROWD = 64
# Threads that take webhooks.
INGEST_THREADS = 8
# So many of them may wait for one server of the bus.
WAIT_FOR_BUS_MAX = 3
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


def wait_until(check: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[OriginServer]:
    """An origin with more readers than page threads, and a Redis that hangs."""
    with RedisServer(tmp_path) as redis:
        server = OriginServer(tmp_path, env={"BUS_URL": f"{redis.url}?timeout_s={HANGS_S}"})
        server.start()
        redis.pause()
        sockets = crowd(server.port, b"GET /match/m HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            yield server
            # A few wait for the Redis; the others were refused, though it has not answered yet.
            wait_until(lambda: answered(sockets) >= CROWD - WAIT_FOR_BUS_MAX)
            assert 0 < CROWD - answered(sockets) <= WAIT_FOR_BUS_MAX
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


def webhook(number: int) -> bytes:
    """A signed webhook with one goal."""
    body = json.dumps(event(f"g{number}")).encode()
    signed = signed_headers(KEY, f"msg_{number}", int(time.time()), body)
    headers = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    head = f"POST /ingest/canonical HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def send(port: int, request: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.sendall(request)
    return sock


def whole_answer(sock: socket.socket) -> bytes:
    sock.setblocking(True)
    sock.settimeout(30)
    answer = b""
    while data := sock.recv(65_536):
        answer += data
    return answer


def post(port: int, number: int) -> bytes:
    """The answer to a webhook."""
    with send(port, webhook(number)) as sock:
        return whole_answer(sock)


LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
db.execute("ROLLBACK")
"""


@contextlib.contextmanager
def locked(log_path: Path) -> Iterator[None]:
    """Another process has the write lock of the log."""
    argv = [sys.executable, "-c", LOCK, str(log_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"locked\n"
        try:
            yield
        finally:
            process.stdin.close()


def test_a_locked_log_stops_no_page_and_a_full_ingest_says_so_at_once(tmp_path: Path) -> None:
    server = OriginServer(tmp_path).start()
    sockets: list[socket.socket] = []
    try:
        assert post(server.port, 0).startswith(b"HTTP/1.1 200 ")
        while ask(server.port, f"/match/{MATCH}")[0] != 200:
            time.sleep(0.01)
        with locked(server.log_path):
            sockets = [send(server.port, webhook(number)) for number in range(1, CROWD)]
            for _ in range(20):
                for path in ("/", f"/match/{MATCH}", f"/score?matchId={MATCH}", "/healthz", "/readyz"):
                    assert ask(server.port, path)[0] == 200
            assert 0 < answered(sockets) < len(sockets), (
                "some wait for the log, the rest were answered at once"
            )
            # Those that wait, and those that wait for them, have one deadline: it does not add up.
            answers = [whole_answer(sock) for sock in sockets]
        codes = [json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] for answer in answers]
        assert set(codes) == {"ingest_busy", "eventlog_unavailable"}
        assert all(b"\r\nRetry-After: 1\r\n" in answer for answer in answers)
        # What was refused is taken when it is sent again, and nothing twice.
        for number in range(1, 4):
            assert post(server.port, number).startswith(b"HTTP/1.1 200 ")
    finally:
        for sock in sockets:
            sock.close()
        server.stop()


def test_a_webhook_does_not_wait_for_the_deadlines_of_those_before_it(tmp_path: Path) -> None:
    """The database of the log hangs; a call on it may last longer than a webhook waits for a thread."""
    database = PostgresServer()
    link = Link(tmp_path, database.port)
    url = database.new_database().replace(f":{database.port}/", f":{link.port}/")
    server = OriginServer(tmp_path, env={"EVENTLOG_URL": f"{url}?partitions=2&timeout_s=8"})
    sockets: list[socket.socket] = []
    try:
        server.start()
        assert post(server.port, 0).startswith(b"HTTP/1.1 200 ")
        link.cut()
        sockets = [send(server.port, webhook(number)) for number in range(1, CROWD)]
        answers = [whole_answer(sock) for sock in sockets]
        codes = [json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] for answer in answers]
        # Only those that had a thread at once waited for the database.
        assert codes.count("eventlog_unavailable") == INGEST_THREADS
        assert codes.count("ingest_busy") == len(codes) - INGEST_THREADS
        assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
        assert all(b"\r\nRetry-After: 1\r\n" in answer for answer in answers)
        link.heal()
        wait_until(lambda: post(server.port, CROWD).startswith(b"HTTP/1.1 200 "))
    finally:
        for sock in sockets:
            sock.close()
        link.heal()
        server.stop()
        link.stop()
        database.stop()


def test_webhooks_are_taken_while_all_pages_wait(hanging: OriginServer) -> None:
    """The log of this origin works; its Redis hangs, and with it every page."""
    for number in range(5):
        assert post(hanging.port, number).startswith(b"HTTP/1.1 200 ")


def test_the_list_is_shown_as_it_was_while_redis_hangs(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as redis:
        with contextlib.closing(open_bus(redis.url)) as bus:
            Season(bus).play(MATCH, "LIVE")
        server = OriginServer(tmp_path, env={"BUS_URL": f"{redis.url}?timeout_s=1"}).start()
        try:
            fresh = ask(server.port, "/")[2]
            assert f"/match/{MATCH}".encode() in fresh
            assert b"not up to date" not in fresh
            redis.pause()
            deadline_s = time.monotonic() + 20
            while b"not up to date" not in ask(server.port, "/")[2]:
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
            answers = [ask(server.port, "/") for _ in range(30)]
            assert all(status == 200 and f"/match/{MATCH}".encode() in body for status, _, body in answers)
            # One request waited for Redis; those after it do not, and the page says how old it is.
            assert b"not up to date" in answers[-1][2]
            assert b"all were read at <time datetime=" in answers[-1][2]
            metrics = ask(server.port, "/metrics")[2]
            assert b"touchline_web_bus_breaker_open 1.0" in metrics
            opened = float(metrics.split(b"\ntouchline_web_bus_breaker_opened_total ")[1].split()[0])
            assert 1 <= opened < 10, "it is asked for again now and then, not by each reader"
            redis.resume()
            deadline_s = time.monotonic() + 20
            while b"not up to date" in ask(server.port, "/")[2]:
                assert time.monotonic() < deadline_s
                time.sleep(0.1)
            assert b"touchline_web_bus_breaker_open 0.0" in ask(server.port, "/metrics")[2]
        finally:
            redis.resume()
            server.stop()


def paths_of(match_id: str) -> tuple[str, ...]:
    """Everything of one match that is read from the bus."""
    return (
        f"/match/{match_id}",
        f"/embed/{match_id}",
        f"/score?matchId={match_id}",
        f"/api/match/{match_id}/state",
    )


def test_a_match_is_shown_as_it_was_known_last_while_redis_hangs(tmp_path: Path) -> None:
    """Each command hangs for a minute, so what is answered has not waited for one."""
    with RedisServer(tmp_path) as redis:
        with contextlib.closing(open_bus(redis.url)) as bus:
            Season(bus).play(MATCH, "LIVE")
            Season(bus).play("other", "LIVE")
        server = OriginServer(tmp_path, env={"BUS_URL": f"{redis.url}?timeout_s={HANGS_S}"}).start()
        try:
            before_ms = time.time_ns() // 1_000_000
            fresh = {path: ask(server.port, path) for path in paths_of(MATCH)}
            after_ms = time.time_ns() // 1_000_000
            assert all(_says_fresh(headers) for _, headers, _ in fresh.values())
            for path in paths_of(MATCH)[2:]:
                assert before_ms <= int(fresh[path][1]["touchline-as-of"]) <= after_ms
            made = re.search(rb' data-as-of="([0-9]+)"', fresh[f"/match/{MATCH}"][2])
            assert made
            assert before_ms - AS_OF_STEP_MS < int(made[1]) <= after_ms
            # The page is the same one at the next moment, unless ten seconds are just over.
            answers = []
            for _ in range(2):
                tag = ask(server.port, f"/match/{MATCH}")[1]["etag"]
                answers.append(ask(server.port, f"/match/{MATCH}", f"If-None-Match: {tag}\r\n")[0])
            assert 304 in answers
            redis.pause()
            waiting = [
                send(server.port, f"GET /score?matchId={MATCH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                for _ in range(CROWD)
            ]
            wait_until(lambda: answered(waiting) >= CROWD - WAIT_FOR_BUS_MAX)
            for path in paths_of(MATCH):
                status, headers, body = ask(server.port, path, f"If-None-Match: {fresh[path][1]['etag']}\r\n")
                assert status == 200, "304 would say that nothing has changed"
                assert "etag" not in headers
                assert "last-modified" not in headers
                assert headers["cache-control"] == "public, max-age=0, s-maxage=1"
                as_of_ms = int(headers["touchline-as-of"])
                assert before_ms <= as_of_ms <= time.time_ns() // 1_000_000
                if path.startswith(("/match/", "/embed/")):
                    assert f' data-as-of="{as_of_ms}"'.encode() in body
                    assert b"may be out of date: it was read at <time datetime=" in body
                else:
                    assert json.loads(body) == json.loads(fresh[path][2])
            # Nothing is known of the other one. It is refused at once, and asked for again in a second.
            for path in (*paths_of("other"), "/match/other/fragment/1-1", "/api/match/other/deltas/1-1"):
                status, headers, _ = ask(server.port, path)
                assert (status, headers["retry-after"]) == (503, "1")
            metrics = ask(server.port, "/metrics")[2]
            assert b"touchline_web_bus_breaker_open 1.0" in metrics
            assert b"\ntouchline_web_stale_answers_total 0" not in metrics
            redis.resume()
            for path in (*paths_of(MATCH), *paths_of("other")):
                wait_until(lambda path=path: _is_fresh(server.port, path))  # type: ignore[misc]
            assert b"touchline_web_bus_breaker_open 0.0" in ask(server.port, "/metrics")[2]
            for sock in waiting:
                sock.close()
        finally:
            redis.resume()
            server.stop()


def _is_fresh(port: int, path: str) -> bool:
    status, headers, _ = ask(port, path)
    return status == 200 and _says_fresh(headers)


def _says_fresh(headers: Mapping[str, str]) -> bool:
    return "etag" in headers and "stale-if-error" in headers["cache-control"]


def test_matches_of_other_shards_are_read_while_one_hangs(tmp_path: Path) -> None:
    cluster = RedisCluster(tmp_path, replicas=0)
    try:
        with contextlib.closing(open_bus(cluster.url)) as bus:
            names = [f"m{number}" for number in range(12)]
            for name in names:
                Season(bus).play(name, "LIVE")
            owners = {name: cluster.owner(f"touchline:{{{name}}}:state") for name in names}
        hung = owners[names[0]]
        alive = [name for name in names if owners[name] is not hung]
        assert alive
        server = OriginServer(tmp_path, env={"BUS_URL": f"{cluster.url}?timeout_s={HANGS_S}"}).start()
        try:
            for name in names:
                assert ask(server.port, f"/match/{name}")[0] == 200
            hung.pause()
            waiting = crowd(server.port, f"GET /match/{names[0]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_until(lambda: answered(waiting) >= CROWD - WAIT_FOR_BUS_MAX)
            for name in alive:
                for path in paths_of(name):
                    assert _is_fresh(server.port, path)
            assert not _says_fresh(ask(server.port, f"/match/{names[0]}")[1])
            for sock in waiting:
                sock.close()
        finally:
            hung.resume()
            server.stop()
    finally:
        cluster.stop()
