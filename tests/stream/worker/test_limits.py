"""The stream worker at its limits: slow viewers, too many viewers, too few files, a bus that fails."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
from pathlib import Path

from shared_state import DeltaId
from testkit.services.process import require_program
from testkit.stream_app import EPOCH_MS
from testkit.stream_server import RawClient, StreamServer


def seqs(client: RawClient) -> list[int]:
    """The seqs of all whole ``score`` events until the stream ends."""
    return [DeltaId.parse(event["id"]).seq for event in client.events() if event.get("event") == "score"]


def test_a_viewer_that_does_not_read_is_closed_and_resumes_by_id(tmp_path: Path) -> None:
    with StreamServer(tmp_path, pending_max_bytes=20_000, send_buffer_bytes=4_096) as server:
        server.publish("m1")
        slow = server.stream("m1", receive_buffer=2_048)
        quick = server.stream("m1")
        for _ in range(12):
            # The publisher waits for nobody: it goes on when the slow viewer holds all it can.
            last = DeltaId.parse(server.publish("m1", "count=10&size=900"))
            assert quick.scores(10)[-1] == str(last)
        server.wait_metric('touchline_stream_closed_total{why="slow"}', 1)
        got = seqs(slow)
        assert got == list(range(2, 2 + len(got)))  # a beginning without holes
        assert len(got) < 120
        again = server.stream("m1", f"Last-Event-ID: {EPOCH_MS}-{got[-1]}\r\n")
        assert [DeltaId.parse(id_).seq for id_ in again.scores(121 - got[-1])] == list(
            range(got[-1] + 1, 122)
        )


def test_a_viewer_that_pauses_within_its_bound_loses_nothing(tmp_path: Path) -> None:
    with StreamServer(tmp_path, pending_max_bytes=500_000, send_buffer_bytes=4_096) as server:
        server.publish("m1")
        slow = server.stream("m1", receive_buffer=2_048)
        server.publish("m1", "count=100&size=900")
        time.sleep(0.3)
        assert slow.scores(100) == [f"{EPOCH_MS}-{seq}" for seq in range(2, 102)]
        last = server.publish("m1")  # it is one of the others again
        assert slow.scores(1) == [last]
        assert server.metric('touchline_stream_viewers{transport="sse"}') == 1


def test_a_viewer_that_takes_nothing_for_long_is_closed(tmp_path: Path) -> None:
    with StreamServer(
        tmp_path, pending_max_bytes=500_000, send_buffer_bytes=4_096, stalled_s=0.5, heartbeat_s=1.0
    ) as server:
        server.publish("m1")
        server.stream("m1", receive_buffer=2_048)
        server.publish("m1", "count=100&size=900")
        server.wait_metric('touchline_stream_closed_total{why="slow"}', 1)


def test_more_viewers_than_the_process_holds_get_503_with_a_drawn_wait(tmp_path: Path) -> None:
    with StreamServer(tmp_path, connections_max=2) as server:
        server.publish("m1")
        held = [server.stream("m1") for _ in range(2)]
        waits = set()
        for _ in range(8):
            client = server.client()
            client.send("GET /stream/m1 HTTP/1.1\r\nHost: x\r\n\r\n")
            status, headers, body = client.answer()
            error = json.loads(body)["error"]
            assert (status, error["code"]) == (503, "too_many_viewers")
            assert int(headers["retry-after"]) >= 1
            assert headers["access-control-expose-headers"] == "retry-after"
            waits.add(error["retry_ms"])
        assert len(waits) > 4  # drawn for each
        assert server.get("/page") == b"page"
        held[0].close()
        server.wait_metric('touchline_stream_viewers{transport="sse"}', 1)
        server.stream("m1")
        assert server.metric('touchline_stream_refused_total{code="too_many_viewers"}') == 8


def test_one_address_has_its_own_limit_behind_a_trusted_proxy_too(tmp_path: Path) -> None:
    def ask(forwarded: str) -> int:
        header = f"X-Forwarded-For: {forwarded}\r\n" if forwarded else ""
        return server.ask("m1", header).head()[0]

    with StreamServer(tmp_path, connections_per_address_max=2) as server:
        server.publish("m1")
        assert [ask("") for _ in range(3)] == [200, 200, 503]
        # gunicorn trusts loopback: these are three viewers behind a proxy, one with an invented hop.
        assert [ask("203.0.113.7") for _ in range(3)] == [200, 200, 503]
        assert ask("203.0.113.8") == 200
        assert ask("203.0.113.9, 203.0.113.7") == 503
        # A subscriber's IPv6 addresses are one.
        assert [ask(f"2001:db8:1:2::{n}") for n in range(3)] == [200, 200, 503]
        server.close_clients()
        server.wait_metric('touchline_stream_viewers{transport="sse"}', 0)
        assert [ask("") for _ in range(3)] == [200, 200, 503]


def test_when_files_run_out_the_held_are_served_and_the_rest_wait(tmp_path: Path) -> None:
    with StreamServer(tmp_path, connections_max=1_000, open_files=120) as server:
        server.publish("m1")
        held = [server.stream("m1") for _ in range(20)]
        publisher = server.client()
        publisher.send("GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        assert publisher.answer()[2] == b"page"
        crowd = [server.client() for _ in range(100)]
        time.sleep(0.3)
        publisher.send("POST /publish/m1? HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        last = json.loads(publisher.answer()[2])["id"]
        assert [client.scores(1) for client in held] == [[last]] * 20
        for client in crowd:
            client.close()
        assert server.get("/page") == b"page"


def test_a_bus_that_does_not_answer_is_503_and_not_a_hang(tmp_path: Path) -> None:
    with StreamServer(tmp_path, bus_wait_s=0.3, heartbeat_s=1.0) as server:
        server.publish("m1")
        for match_id, code in (("bus-fails", "bus_unavailable"), ("bus-hangs", "bus_unavailable")):
            client = server.ask(match_id)
            status, headers, body = client.answer()
            assert (status, json.loads(body)["error"]["code"]) == (503, code)
            assert int(headers["retry-after"]) >= 1
        server.stream("m1")  # others are served meanwhile


def test_who_acknowledges_nothing_is_ended_by_the_kernel() -> None:
    """What the worker relies on: a connection inherits its listener's TCP_USER_TIMEOUT."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 45_000)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 45_000


def test_behind_the_proxy_protocol_a_stream_still_takes_no_thread(tmp_path: Path) -> None:
    with StreamServer(tmp_path, "--proxy-protocol", "v1") as server:
        proxied = "PROXY TCP4 203.0.113.7 127.0.0.1 5000 80\r\n"

        def ask(request: str) -> RawClient:
            client = server.client()
            client.send(proxied + request)
            return client

        publish = "POST /publish/m1? HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        assert ask(publish).answer()[0] == 200
        viewers = [ask("GET /stream/m1 HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(12)]  # of four threads
        assert [viewer.head()[0] for viewer in viewers] == [200] * 12
        last = json.loads(ask(publish).answer()[2])["id"]
        assert [viewer.scores(1) for viewer in viewers] == [[last]] * 12


def test_with_tls_of_its_own_gunicorn_serves_pages_as_ever(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(require_program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    with StreamServer(tmp_path, "--keyfile", str(key), "--certfile", str(certificate)) as server:
        context = ssl.create_default_context(cafile=str(certificate))
        with (
            socket.create_connection(("127.0.0.1", server.port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            tls.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b""
            while data := tls.recv(65_536):
                answer += data
        assert answer.endswith(b"page")
