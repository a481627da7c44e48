"""``touchline serve`` itself: headers from a peer, the admin port, and several workers that answer as one."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from origin.bus import Bus, Published, open_bus
from shared_state import Event, Replica, encode_delta
from testkit.poster import MATCH, event
from testkit.services.origin import OriginServer
from testkit.services.redis import RedisServer

pytestmark = pytest.mark.services


def until(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


# --- one worker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    with OriginServer(tmp_path_factory.mktemp("one"), admin=True) as server:
        server.post(event("g1"))
        server.wait_for_seq(MATCH, 1)
        yield server


def ask(port: int, path: str, headers: str = "", method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """One request, as bytes: no client library would send some of these headers."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(65_536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    return int(status.split(" ")[1]), dict(line.lower().split(": ", 1) for line in lines), body


@pytest.mark.parametrize(
    "header",
    [
        "SCRIPT_NAME: /match",
        "SCRIPT_NAME: /zzz",
        "Script-Name: /zzz",
        "script_name: /",
        "PATH_INFO: /healthz",
    ],
)
def test_a_peer_cannot_move_the_application(server: OriginServer, header: str) -> None:
    """The peer is on loopback, which gunicorn trusts as a proxy."""
    status, headers, body = ask(server.port, f"/match/{MATCH}", f"{header}\r\n")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f'<live-score match="{MATCH}">'.encode() in body
    assert b"/zzz" not in body


def test_admin_routes_are_on_the_admin_port_alone(server: OriginServer) -> None:
    for path in ("/metrics", "/readyz"):
        status, _, body = ask(server.port, path)
        assert (status, json.loads(body)["error"]["code"]) == (404, "not_found")
        assert ask(server.admin_port, path)[0] == 200
    assert ask(server.port, "/healthz")[0] == ask(server.admin_port, "/healthz")[0] == 200
    assert b"touchline_stream_viewers" in ask(server.admin_port, "/metrics")[2]
    assert json.loads(ask(server.admin_port, "/readyz")[2]) == {"status": "ready", "reasons": []}


def test_the_admin_port_has_nothing_else(server: OriginServer) -> None:
    for path in ("/", f"/match/{MATCH}", f"/score?matchId={MATCH}", "/ingest/canonical", "/widget/sw.js"):
        status, headers, _ = ask(server.admin_port, path, "Accept: text/html\r\n")
        assert (status, headers["content-type"]) == (404, "application/json"), path
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_head_and_options_on_the_admin_port(server: OriginServer) -> None:
    status, headers, body = ask(server.admin_port, "/metrics", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 1_000
    status, headers, _ = ask(server.admin_port, "/readyz", method="OPTIONS")
    assert (status, "get" in headers["allow"]) == (200, True)
    assert ask(server.admin_port, "/readyz", method="POST")[0] == 405


def test_silent_clients_of_the_admin_port_cost_the_public_port_nothing(server: OriginServer) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.admin_port)))
        assert ask(server.port, f"/match/{MATCH}")[0] == 200
    # They are gone, and the port answers again.
    until(lambda: server.status("/readyz", server.admin_port) == 200, "the admin port did not come back")


def test_an_admin_port_that_is_taken_is_named(tmp_path: Path) -> None:
    from testkit.command import touchline

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        ran = touchline(
            *("serve", "--port", "0", "--admin-port", str(port)),
            env={"EVENTLOG_URL": f"sqlite:///{tmp_path}/log.db"},
        )
    assert ran.code == 1
    assert f"127.0.0.1:{port} cannot be listened on" in ran.err


# --- several workers


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


@pytest.fixture(params=[True, False], ids=["admin port", "public port"])
def pool(tmp_path: Path, redis: RedisServer, request: pytest.FixtureRequest) -> Iterator[OriginServer]:
    (tmp_path / "tmp").mkdir()
    env = {"BUS_URL": redis.url, "TMPDIR": str(tmp_path / "tmp")}
    with OriginServer(tmp_path, env=env, workers=2, admin=request.param) as server:
        until(lambda: len(workers(server)) == 2, "two workers")
        yield server


def workers(server: OriginServer) -> dict[str, str]:
    found: dict[str, str] = json.loads(server.get("/readyz", server.admin_port)[1])["workers"]
    return found


def metrics(server: OriginServer) -> dict[str, float]:
    """Every sample by its name and the values of its labels."""
    text = server.get("/metrics", server.admin_port)[1].decode()
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def publish(bus: Bus, match_id: str) -> None:
    replica = Replica.begin(match_id, 1_700_000_000_000)
    delta = replica.assign(Event.from_json(event("g1", match_id=match_id)), 1_700_000_000_001)
    assert delta
    bus.publish(match_id, Published(delta.id, encode_delta(delta)), replica.snapshot())


def posts(server: OriginServer, count: int) -> None:
    """From several connections at once, so that no worker gets all of them."""
    threads = [
        threading.Thread(target=server.post, args=(event(f"n{number}", match_id="posted"),))
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def viewer(port: int) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", f"/stream/{MATCH}")
    response = connection.getresponse()
    assert response.status == 200
    return response


def test_two_workers_answer_as_one_whoever_is_asked(
    pool: OriginServer, redis: RedisServer, tmp_path: Path
) -> None:
    bus = open_bus(redis.url)
    publish(bus, MATCH)
    bus.close()
    posts(pool, 24)
    viewers = [viewer(pool.port) for _ in range(12)]
    counters = {
        "touchline_ingest_accepted_events_total canonical": 24,
        "touchline_ingest_seconds_count": 24,
        "touchline_ingest_seconds_bucket +Inf": 24,
        "touchline_stream_accepted_total sse": 12,
    }

    def settled() -> bool:
        now = metrics(pool)
        return all(now.get(name) == value for name, value in counters.items())

    until(settled, "the sum of both workers")
    assert metrics(pool)["touchline_stream_viewers sse"] == 12
    for _ in range(10):  # whichever of them takes the request
        assert metrics(pool)["touchline_ingest_accepted_events_total canonical"] == 24
    assert set(workers(pool).values()) == {"ready"}

    killed = int(next(iter(workers(pool))))
    os.kill(killed, signal.SIGKILL)
    until(lambda: str(killed) not in workers(pool) and len(workers(pool)) == 2, "another worker")
    now = metrics(pool)
    assert {name: now[name] for name in counters} == counters
    survivors = now["touchline_stream_viewers sse"]
    assert survivors <= 12
    for response in viewers:
        response.close()
    until(lambda: metrics(pool)["touchline_stream_viewers sse"] == 0, "all have left")

    def closed() -> float:
        found = metrics(pool).items()
        return sum(value for name, value in found if name.startswith("touchline_stream_closed_total"))

    # Those of the killed worker left without a word.
    until(lambda: closed() == survivors, "each of the others was counted when it left")

    posts(pool, 8)
    until(lambda: metrics(pool)["touchline_ingest_accepted_events_total canonical"] == 32, "eight more")
    directories = list((tmp_path / "tmp").glob("touchline-workers-*"))
    assert len(directories) == 1
    assert len(list(directories[0].glob("worker-*.json"))) == 2
    pool.stop()
    assert list((tmp_path / "tmp").glob("touchline-workers-*")) == []


def test_a_pool_whose_bus_is_away_is_not_ready(pool: OriginServer, redis: RedisServer) -> None:
    redis.kill()
    until(lambda: pool.status("/readyz", pool.admin_port) == 503, "no bus")
    reasons = json.loads(pool.get("/readyz", pool.admin_port)[1])["reasons"]
    assert reasons
    until(lambda: "ready" not in workers(pool).values(), "both workers know")
    assert pool.status("/healthz") == 200
    redis.start()
    until(lambda: pool.status("/readyz", pool.admin_port) == 200, "the bus is back")


def test_a_worker_that_ends_in_good_order_leaves_its_last_numbers(pool: OriginServer) -> None:
    """Its last second is in the sum too, although nobody asked for it."""
    posts(pool, 10)
    for pid in list(workers(pool)):
        os.kill(int(pid), signal.SIGTERM)  # as gunicorn does when it reloads
        until(lambda pid=pid: pid not in workers(pool) and len(workers(pool)) == 2, "another worker")  # type: ignore[misc]
    assert metrics(pool)["touchline_ingest_accepted_events_total canonical"] == 10


def test_the_admin_port_says_that_all_end(tmp_path: Path, redis: RedisServer) -> None:
    env = {"BUS_URL": redis.url, "TOUCHLINE_STREAM_DRAIN_NOTICE_S": "3"}
    with OriginServer(tmp_path, env=env, workers=2, admin=True) as server:
        assert server.process
        server.process.signal(signal.SIGTERM)
        until(lambda: server.status("/readyz", server.admin_port) == 503, "not ready while it ends")

        def workers() -> set[str]:
            answer = json.loads(server.get("/readyz", server.admin_port)[1])
            assert answer["reasons"] == ["this process is ending"]
            return set(answer["workers"].values())

        # The signal reaches one after the other, and each reports once a second.
        until(lambda: workers() == {"ending"}, "all workers say that they end")
