"""Long-polls by slices of time, through a real gunicorn: who follows ``next`` gets every delta once."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from testkit.stream_app import EPOCH_MS
from testkit.stream_server import StreamServer

SLICE_S = 0.5


class Polled(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    with StreamServer(
        tmp_path_factory.mktemp("polls"), long_poll_slice_s=SLICE_S, heartbeat_s=0.6, unknown_match_s=0.2
    ) as running:
        yield running


def poll(server: StreamServer, path: str, connection: HTTPConnection | None = None) -> Polled:
    one = connection or HTTPConnection("127.0.0.1", server.port, timeout=20)
    one.request("GET", path)
    response = one.getresponse()
    data = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    if connection is None:
        one.close()
    return Polled(response.status, headers, json.loads(data))


def address(match: str, id_: str, slice_: int) -> str:
    return f"/api/match/{match}/deltas/{id_}/{slice_}"


def current() -> int:
    return int(time.time() / SLICE_S)


def test_all_deltas_behind_an_id_are_one_answer_at_once(server: StreamServer) -> None:
    head = server.publish("many", "count=50")
    got = poll(server, address("many", f"{EPOCH_MS}-0", current()))
    assert got.status == 200
    assert [id_ for id_, _ in got.body["deltas"]] == [f"{EPOCH_MS}-{seq}" for seq in range(1, 51)]
    assert got.body["next"]["id"] == head
    assert got.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "vary" not in got.headers
    assert int(got.headers["content-length"]) > 0


def test_silence_is_said_at_the_end_of_its_slice_and_dated_with_it(server: StreamServer) -> None:
    head = server.publish("quiet", "count=1")
    slice_ = current()
    got = poll(server, address("quiet", head, slice_))
    assert (got.status, got.body["deltas"], got.body["next"]["id"]) == (200, [], head)
    assert got.body["as_of"] == (slice_ + 1) * int(SLICE_S * 1_000)
    assert time.time() * 1_000 >= got.body["as_of"]
    assert got.body["next"]["slice"] > slice_
    assert "immutable" in got.headers["cache-control"]


def test_a_past_slice_without_a_delta_is_answered_at_once_and_leads_to_the_present(
    server: StreamServer,
) -> None:
    head = server.publish("past", "count=1")
    got = poll(server, address("past", head, 5))
    assert (got.body["deltas"], got.body["as_of"]) == ([], 6 * int(SLICE_S * 1_000))
    assert got.body["next"]["slice"] >= current() - 1


def test_a_held_request_gets_the_next_delta_and_its_connection_serves_on(server: StreamServer) -> None:
    head = server.publish("held", "count=1")
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        found: list[str] = []
        id_, slice_ = head, current()

        def publish_slowly() -> None:
            for _ in range(5):
                time.sleep(0.3)
                server.publish("held", "count=1")

        publisher = threading.Thread(target=publish_slowly)
        publisher.start()
        while len(found) < 5:
            got = poll(server, address("held", id_, slice_), connection)
            assert got.status == 200
            found += [each for each, _ in got.body["deltas"]]
            id_, slice_ = got.body["next"]["id"], got.body["next"]["slice"]
        publisher.join()
        assert found == [f"{EPOCH_MS}-{seq}" for seq in range(2, 7)]
    finally:
        connection.close()


def test_what_was_answered_once_may_be_replayed_at_any_later_time(server: StreamServer) -> None:
    """A cache that keeps every answer for ever leads a late client to the end, and to every delta once."""
    kept: dict[str, Polled] = {}

    def through_the_cache(path: str) -> Polled:
        while path not in kept:
            got = poll(server, path)
            if got.status == 503:
                # On a busy machine the bus is not heard of for seconds. No cache keeps this answer.
                assert got.headers["cache-control"] == "no-store"
                time.sleep(SLICE_S)
                continue
            assert got.status == 200, got.body
            kept[path] = got
        return kept[path]

    server.publish("kept", "count=1")
    id_, slice_ = f"{EPOCH_MS}-0", current()
    for count in (0, 3, 0, 2, 0):
        if count:
            server.publish("kept", f"count={count}")
        for _ in range(3):
            got = through_the_cache(address("kept", id_, slice_))
            id_, slice_ = got.body["next"]["id"], got.body["next"]["slice"]
    late_id, late_slice, found = f"{EPOCH_MS}-0", 0, []
    for _ in range(200):
        got = through_the_cache(address("kept", late_id, late_slice))
        found += [each for each, _ in got.body["deltas"]]
        late_id, late_slice = got.body["next"]["id"], got.body["next"]["slice"]
        if len(found) == 6:
            break
    assert found == [f"{EPOCH_MS}-{seq}" for seq in range(1, 7)]


@pytest.mark.parametrize(
    ("path", "status", "code", "cache"),
    [
        ("/api/match/bad/deltas/{epoch}-1/{soon}", 404, "slice_to_come", "s-maxage=1"),
        ("/api/match/bad/deltas/{epoch}-9/{now}", 404, "unknown_id", "s-maxage=1"),
        ("/api/match/bad/deltas/7-1/{now}", 410, "gap", "s-maxage=5"),
        ("/api/match/nobody/deltas/{epoch}-1/{now}", 404, "unknown_match", "s-maxage=1"),
        ("/api/match/bus-fails/deltas/{epoch}-1/{now}", 503, "bus_unavailable", "no-store"),
        ("/api/match/no.body/deltas/{epoch}-1/{now}", 404, "unknown_match", "s-maxage=1"),
        ("/api/match/bad/deltas/{epoch}-1/x", 400, "bad_slice", "no-store"),
        ("/api/match/bad/deltas/{epoch}-1/01", 400, "bad_slice", "no-store"),
        ("/api/match/bad/deltas/{epoch}-1/-1", 400, "bad_slice", "no-store"),
        ("/api/match/bad/deltas/{epoch}-1/99999999999999999999", 400, "bad_slice", "no-store"),
        ("/api/match/bad/deltas/x/{now}", 400, "bad_id", "no-store"),
        ("/api/match/bad/deltas/{epoch}-1/{now}?x=1", 400, "unexpected_query", "no-store"),
    ],
)
def test_what_cannot_be_answered_is_named_and_hardly_cached(
    server: StreamServer, path: str, status: int, code: str, cache: str
) -> None:
    server.publish("bad", "count=1")
    now = current()
    got = poll(server, path.format(epoch=EPOCH_MS, now=now, soon=now + 1_000))
    assert (got.status, got.body["error"]["code"]) == (status, code)
    assert cache in got.headers["cache-control"]
    if status == 410:
        assert got.body["error"]["snapshot"] == "/api/match/bad/state"


def test_held_requests_are_counted_and_forgotten_with_their_clients(server: StreamServer) -> None:
    head = server.publish("count", "count=1")
    clients = [server.client() for _ in range(20)]
    for client in clients:
        client.send(f"GET {address('count', head, current() + 1)} HTTP/1.1\r\nHost: x\r\n\r\n")
    deadline = time.monotonic() + 10
    while server.metric("touchline_stream_polls_held") < 20:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    server.close_clients()
    while server.metric("touchline_stream_polls_held"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_head_and_preflight_say_what_get_would_and_hold_nothing(server: StreamServer) -> None:
    head = server.publish("heads", "count=2")
    client = server.client()
    for path, status, cache, length in [
        (address("heads", f"{EPOCH_MS}-0", current()), 200, "immutable", True),
        (address("heads", head, current() + 1), 200, "no-store", False),
        (address("heads", "7-1", current()), 410, "s-maxage=5", True),
    ]:
        client.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n")
        got, headers = client.head()
        assert (got, "content-length" in headers) == (status, length)
        assert cache in headers["cache-control"]
    client.send(f"OPTIONS {address('heads', head, current())} HTTP/1.1\r\nHost: x\r\n\r\n")
    got, headers = client.head()
    assert (got, headers["allow"]) == (204, "get, head, options")
    client.send(f"POST {address('heads', head, current())} HTTP/1.1\r\nHost: x\r\n\r\n")
    got, headers = client.head()
    assert (got, headers["allow"]) == (405, "get, head, options")


def test_held_requests_count_against_the_limit_of_their_address(tmp_path: Path) -> None:
    """Also those that came while the match was being opened, when nobody was held yet."""
    with StreamServer(
        tmp_path, connections_per_address_max=2, long_poll_slice_s=2.0, heartbeat_s=1.0
    ) as server:
        head = server.publish("m1")
        slice_ = int(time.time() / 2.0)
        clients = [server.client() for _ in range(6)]
        for client in clients:
            client.send(f"GET {address('m1', head, slice_ + 1)} HTTP/1.1\r\nHost: x\r\n\r\n")
        statuses = sorted(client.head()[0] for client in clients)
        assert statuses == [200, 200, 503, 503, 503, 503]
        server.wait_metric("touchline_stream_polls_held", 0)
        again = server.client()
        again.send(f"GET {address('m1', f'{EPOCH_MS}-0', slice_)} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert again.answer()[0] == 200


def test_a_worker_that_ends_sends_the_held_away(tmp_path: Path) -> None:
    with StreamServer(tmp_path) as server:
        head = server.publish("m1")
        client = server.client()
        client.send(f"GET {address('m1', head, int(time.time() / 10) + 1)} HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_metric("touchline_stream_polls_held", 1)
        server.process.signal(signal.SIGTERM)
        status, headers, body = client.answer()
        assert (status, json.loads(body)["error"]["code"]) == (503, "ending")
        assert int(headers["retry-after"]) >= 1
        assert headers["cache-control"] == "no-store"


def test_held_requests_get_their_delta_when_files_run_out(tmp_path: Path) -> None:
    with StreamServer(tmp_path, connections_max=1_000, open_files=120) as server:
        head = server.publish("m1")
        held = [server.client() for _ in range(20)]
        for client in held:
            client.send(f"GET {address('m1', head, int(time.time() / 10) + 1)} HTTP/1.1\r\nHost: x\r\n\r\n")
        publisher = server.client()
        publisher.send("GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        assert publisher.answer()[2] == b"page"
        for _ in range(100):
            server.client()
        time.sleep(0.3)
        publisher.send("POST /publish/m1? HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        last = json.loads(publisher.answer()[2])["id"]
        assert [json.loads(client.answer()[2])["next"]["id"] for client in held] == [last] * 20


def test_a_match_that_is_over_says_so_at_once_and_for_a_minute(tmp_path: Path) -> None:
    with StreamServer(tmp_path, ended_after_s=0.0, heartbeat_s=0.6) as server:
        head = server.publish("m1", "status=FT")
        got = poll(server, address("m1", head, int(time.time() / 10)))
        assert (got.status, got.body["deltas"], got.body["ended"]) == (200, [], True)
        assert got.headers["cache-control"] == "public, max-age=60"
