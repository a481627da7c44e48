"""The proxy before the lab's viewer: each condition as a reader meets it, and what it passes at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from origin.lab.network import CONNECTIONS_MAX, FRAMES_MAX, Condition, Network, running

FRAME = b'id: 17-4\nevent: score\ndata: {"t":"GOAL","e":"g1","tm":"home","m":3,"a":12,"s":[1,0]}\n\n'


class Upstream:
    """An origin that answers each request with its number, and a stream with what it is given."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.streams: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                head = connection.recv(65_536)
                self.requests.append(head)
                if head.startswith(b"GET /stream"):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                    self.streams.append(connection)
                    continue
                body = b"answer %d" % len(self.requests)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                connection.close()

    def send(self, frame: bytes) -> None:
        self.streams[-1].sendall(frame)

    def close(self) -> None:
        self.listener.close()
        for stream in self.streams:
            stream.close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def network(upstream: Upstream) -> Iterator[Network]:
    with running(upstream.port) as network:
        yield network


def connect(network: Network, path: str, method: str = "GET") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", network.port), timeout=20)
    sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: lab\r\n\r\n".encode())
    return sock


def get(network: Network, path: str, method: str = "GET") -> bytes:
    with connect(network, path, method) as sock:
        answer = b""
        with suppress(ConnectionResetError):
            while piece := sock.recv(65_536):
                answer += piece
        return answer


def read_until(sock: socket.socket, end: bytes) -> bytes:
    answer = b""
    while end not in answer:
        piece = sock.recv(65_536)
        assert piece, answer
        answer += piece
    return answer


def wait(condition: object) -> None:
    deadline = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def stream(network: Network, upstream: Upstream) -> socket.socket:
    opened = len(upstream.streams)
    sock = connect(network, "/stream/m1")
    read_until(sock, b"\r\n\r\n")
    wait(lambda: len(upstream.streams) > opened)
    return sock


def test_a_frame_passes_and_is_recorded_with_what_the_log_dated(network: Network, upstream: Upstream) -> None:
    with stream(network, upstream) as sock:
        upstream.send(FRAME)
        assert read_until(sock, b"\n\n") == FRAME
    wait(lambda: network.frames)
    [frame] = network.frames
    assert (frame["id"], frame["event"], frame["bytes"], frame["passed"]) == (
        "17-4",
        "score",
        len(FRAME),
        True,
    )
    assert frame["accepted_ms"] == 17 + 12


def test_a_muted_stream_stays_open_and_brings_nothing(network: Network, upstream: Upstream) -> None:
    with stream(network, upstream) as sock:
        network.change(Condition.MUTE)
        wait(lambda: network._silent)
        upstream.send(FRAME)
        wait(lambda: network.withheld == 1)
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        # The head of a new answer passes, and its body does not.
        with connect(network, "/api/match/m1/state") as muted:
            assert read_until(muted, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
            muted.settimeout(0.1)
            with pytest.raises(TimeoutError):
                muted.recv(1)
            network.change(Condition.GOOD)
            muted.settimeout(20)
            with suppress(ConnectionResetError):
                assert muted.recv(1) == b""
    assert network.frames[-1]["passed"] is False


def test_dropping_cuts_streams_and_nothing_else(network: Network, upstream: Upstream) -> None:
    with stream(network, upstream) as sock:
        network.drop()
        with suppress(ConnectionResetError):  # some systems say the end instead of the reset
            assert sock.recv(1) == b""
    assert get(network, "/match/m1").endswith(b"answer 2")


def test_offline_every_connection_is_reset(network: Network, upstream: Upstream) -> None:
    with stream(network, upstream) as sock:
        network.change(Condition.OFFLINE)
        with suppress(ConnectionResetError):
            assert sock.recv(1) == b""
    assert get(network, "/match/m1") == b""
    network.change(Condition.GOOD)
    assert get(network, "/match/m1").endswith(b"answer 2")


def test_a_stale_cache_answers_with_what_it_had_and_asks_nobody(network: Network, upstream: Upstream) -> None:
    first = get(network, "/api/match/m1/state")
    assert get(network, "/api/match/m1/state").endswith(b"answer 2")
    network.change(Condition.STALE)
    seen = len(upstream.requests)
    assert get(network, "/api/match/m1/state").endswith(b"answer 2")
    assert first.endswith(b"answer 1")
    assert get(network, "/api/match/m2/state").startswith(b"HTTP/1.1 504")
    assert get(network, "/stream/m1").startswith(b"HTTP/1.1 502")
    assert len(upstream.requests) == seen


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/ingest/canonical", b"405"),
        ("DELETE", "/match/m1", b"405"),
        ("GET", "/lab", b"404"),
        ("GET", "/lab/api/state", b"404"),
        ("GET", "http://elsewhere.example/", b"404"),
    ],
)
def test_only_what_a_viewer_reads_is_passed(
    network: Network, upstream: Upstream, method: str, path: str, status: bytes
) -> None:
    assert get(network, path, method)[9:12] == status
    assert upstream.requests == []


def test_viewers_and_recorded_frames_have_a_bound(network: Network, upstream: Upstream) -> None:
    with stream(network, upstream) as sock:
        for _ in range(FRAMES_MAX + 10):
            upstream.send(FRAME)
        wait(lambda: network.frames_seen == FRAMES_MAX + 10)
        assert len(network.frames) == FRAMES_MAX
        assert read_until(sock, FRAME)
        idle = [socket.create_connection(("127.0.0.1", network.port)) for _ in range(CONNECTIONS_MAX - 1)]
        wait(lambda: network.connections == CONNECTIONS_MAX)
        assert get(network, "/match/m1") == b""
        for one in idle:
            one.close()


def test_it_listens_on_loopback_alone(network: Network) -> None:
    listening = [
        line.split()[1]
        for name in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(name).read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{network.port:04X}") and line.split()[3] == "0A"
    ]
    assert listening == [f"0100007F:{network.port:04X}"]
