"""Viewers whose requests are the same, byte for byte: read once, and answered by what is true for each."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from testkit.stream_app import EPOCH_MS
from testkit.stream_server import RawClient, StreamServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    with StreamServer(tmp_path_factory.mktemp("storm"), replay_window_deltas=8, heartbeat_s=1.0) as server:
        yield server


def told(client: RawClient) -> list[tuple[str, str]]:
    """The kinds and ids of what a viewer is told before its first heartbeat."""
    found = []
    while (event := client.event()).get("event") != "heartbeat":
        if "event" in event:
            found.append((event["event"], event["id"]))
    return found


def test_the_same_request_is_told_what_it_misses_by_now(server: StreamServer) -> None:
    first = server.publish("moves")
    watcher = server.stream("moves", f"Last-Event-ID: {first}\r\n")
    for count in (0, 1, 3, 30):  # the last is more than the worker keeps: the bus answers
        if count:
            server.publish("moves", f"count={count}")
            watcher.scores(count)
        head = 1 + sum(n for n in (0, 1, 3, 30) if n <= count)
        missed = [("score", f"{EPOCH_MS}-{seq}") for seq in range(2, head + 1)]
        viewers = [server.stream("moves", f"Last-Event-ID: {first}\r\n") for _ in range(4)]
        assert [told(viewer) for viewer in viewers] == [missed] * 4
    last = server.publish("moves")
    assert [viewer.scores(1) for viewer in (watcher, *viewers)] == [[last]] * 5


def test_who_names_no_id_is_sent_to_the_snapshot_of_now(server: StreamServer) -> None:
    head = server.publish("fresh")
    watcher = server.stream("fresh", f"Last-Event-ID: {head}\r\n")
    for turn in range(2):
        if turn:
            head = server.publish("fresh")
            assert watcher.scores(1) == [head], "the worker has heard of it"
        for _ in range(3):
            assert told(server.stream("fresh")) == [("gap", head)]
            time.sleep(0.01)


def test_each_is_refused_and_admitted_by_what_holds_at_its_time(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with StreamServer(tmp_path_factory.mktemp("full"), connections_max=3) as server:
        server.publish("m1")

        def ask() -> int:
            return server.ask().head()[0]

        for _ in range(2):
            assert [ask() for _ in range(5)] == [200, 200, 200, 503, 503]
            server.close_clients()
            server.wait_metric('touchline_stream_viewers{transport="sse"}', 0)
        assert server.metric('touchline_stream_accepted_total{transport="sse"}') == 6
        assert server.metric('touchline_stream_replays_total{answer="gap"}') == 6


def test_a_known_request_counts_however_its_bytes_come(server: StreamServer) -> None:
    """In two parts, with more behind it, and from one that is gone again."""
    server.publish("ways")
    head = b"GET /stream/ways HTTP/1.1\r\nHost: x\r\n\r\n"
    for _ in range(2):
        server.client().send(head)
    split = server.client()
    split.send(head[:20])
    time.sleep(1.2)  # longer than the kernel waits for a connection's first bytes
    split.send(head[20:])
    behind = server.client()
    behind.send(head + b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(3):
        gone = server.client()
        gone.send(head)
        gone.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
    for client in (split, behind):
        assert client.head()[0] == 200
    last = server.publish("ways")
    assert [client.scores(1) for client in (split, behind)] == [[last], [last]]
    assert b"page" not in behind._bytes  # the answer ends with the connection: nothing follows it


def test_more_kinds_of_viewers_than_are_remembered(server: StreamServer) -> None:
    server.publish("many")
    for number in range(1_100):
        client = server.stream("many", f"X-Kind: {number % 600}\r\n")
        client.close()
    last = server.stream("many", "X-Kind: 0\r\n")
    assert last.scores(0) == []
    id_ = server.publish("many")
    assert last.scores(1) == [id_]
