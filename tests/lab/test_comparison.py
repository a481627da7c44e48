"""The comparison's bounds, and what each protocol's client makes of bytes. e2e/test_lab.py runs one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from origin.lab.comparison.protocols import ProtocolError, follower
from origin.lab.comparison.run import Request, RequestedError, percentile, window


@pytest.mark.parametrize(
    ("clients", "minutes", "scale", "why"),
    [
        (0, 30, None, "clients 0: must be from 1 to 2000"),
        (2_001, 30, None, "clients 2001: must be from 1 to 2000"),
        (10, 9, None, "minutes 9: must be from 10 to 30"),
        (10, 31, None, "minutes 31: must be from 10 to 30"),
        (10, 30, 61.0, "scale 61: must be from 1 to 60"),
        (10, 30, 0.5, "scale 0.5: must be from 1 to 60"),
        (2_000, 30, None, "2000 clients for 30 minutes take 1800 s at a scale of 1: at most 900 s"),
    ],
)
def test_a_run_that_would_be_too_large_or_too_long_is_refused_by_name(
    clients: int, minutes: int, scale: float | None, why: str
) -> None:
    with pytest.raises(RequestedError) as refused:
        Request.of(clients, minutes, scale)
    assert str(refused.value).startswith(why)


def test_the_scale_follows_from_what_a_machine_keeps_up_with() -> None:
    assert (Request.of(10).scale, Request.of(50).scale, Request.of(200).scale) == (60, 30, 7)
    assert Request.of(2_000, 10).wall_s == 600


def test_the_match_is_the_real_one_from_its_second_half() -> None:
    before, within = window(30)
    assert len(before) == 12
    assert [event["event_id"] for _, event in within] == [
        *("ko2", "g4", "v2", "g4", "v2", "s1", "g5", "g6", "g7", "s2", "s3"),
    ]
    assert all(0 <= at_s < 30 * 60 for at_s, _ in within)


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([], 0.5) is None
    assert percentile([1.0], 0.99) == 1
    assert [percentile([1.0, 2.0, 3.0, 4.0], share) for share in (0.25, 0.5, 0.99)] == [1, 2, 4]


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = "".join(f"\r\n{name}: {value}" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}{lines}\r\n\r\n".encode() + body


def test_a_poll_reads_its_position_and_a_conditional_one_sends_it_back() -> None:
    for name in ("poll", "conditional"):
        client = follower(name, "m1", "17-3")
        assert b"If-None-Match" not in client.request()
        whole = answer(200, b"{}", ETag='"17-4"')
        assert not client.take(whole[:20]).complete
        taken = client.take(whole[20:])
        assert (taken.seq, taken.complete) == (4, True)
        assert (b'If-None-Match: "17-4"' in client.request()) == (name == "conditional")
    assert client.take(b'HTTP/1.1 304 X\r\nETag: "17-4"\r\n\r\n').complete


def test_a_long_poll_goes_where_the_answer_says() -> None:
    client = follower("long-poll", "m1", "17-3")
    assert b" /api/match/m1/deltas/17-3/0 " in client.request()
    quiet = client.take(answer(200, b'{"deltas":[],"next":{"id":"17-3","slice":9}}'))
    assert (quiet.seq, quiet.complete) == (0, True)
    assert quiet.request is not None
    assert b"/17-3/9 " in quiet.request
    news = client.take(answer(200, b'{"deltas":[["17-4",{}]],"next":{"id":"17-4","slice":9}}'))
    assert news.seq == 4


def test_streams_find_ids_however_the_bytes_are_cut() -> None:
    sse = b"HTTP/1.1 200 OK\r\n\r\nid: 17-4\nevent: score\ndata: {}\n\n"
    sse += b":\n\nid: 17-5\nevent: score\ndata: {}\n\n"
    message = b'{"id":"17-5","event":"score","data":{}}'
    websocket = b"HTTP/1.1 101 X\r\n\r\n" + bytes([0x81, len(message)]) + message
    long_message = b'{"id":"17-6","event":"score","data":{"x":"' + b"x" * 200 + b'"}}'
    websocket += bytes([0x81, 126]) + len(long_message).to_bytes(2, "big") + long_message
    for name, data, newest in (("sse", sse, 5), ("websocket", websocket, 6)):
        client = follower(name, "m1", "17-3")  # type: ignore[arg-type]
        found = [client.take(data[at : at + 1]).seq for at in range(len(data))]
        assert max(found) == newest
        assert follower(name, "m1", "17-3").take(data).seq == newest  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("poll", answer(503)),
        ("conditional", b"HTTP/1.1 200 X\r\n\r\n"),
        ("long-poll", answer(410, b"{}")),
        ("sse", b"HTTP/1.1 503 X\r\n\r\n"),
        ("websocket", b"HTTP/1.1 400 X\r\n\r\n"),
        ("websocket", b"HTTP/1.1 101 X\r\n\r\n\x88\x00"),
    ],
)
def test_an_answer_that_is_none_is_a_failure_and_not_a_receipt(name: Any, data: bytes) -> None:
    with pytest.raises(ProtocolError):
        follower(name, "m1", "17-3").take(data)


class _Slow(BaseHTTPRequestHandler):
    """An origin that holds each answer for a moment, and counts."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        time.sleep(0.2)
        body = b'{"n":%d}' % len(self.asked)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "public, max-age=31536000, immutable")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


def test_the_cache_asks_once_for_all_who_wait_and_keeps_what_is_immutable() -> None:
    import http.client

    with ThreadingHTTPServer(("127.0.0.1", 0), _Slow) as origin:
        threading.Thread(target=origin.serve_forever, daemon=True).start()
        argv = [sys.executable, "-m", "origin.lab.comparison.cache", str(origin.server_port)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cache:
            assert cache.stdout is not None
            assert cache.stdin is not None
            port = int(cache.stdout.readline())
            answers: list[bytes] = []

            def ask() -> None:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                for _ in range(2):
                    connection.request("GET", "/api/match/m1/deltas/17-3/9")
                    answers.append(connection.getresponse().read())
                connection.request("GET", "/metrics")
                assert connection.getresponse().status == 404
                connection.close()

            threads = [threading.Thread(target=ask) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(timeout=20)
            assert answers == [b'{"n":1}'] * 20
            assert _Slow.asked == ["/api/match/m1/deltas/17-3/9"]
            # It ends with the process that started it.
            cache.stdin.close()
            counts = json.loads(cache.stdout.readlines()[-1])
            assert (counts["requests"], counts["upstream_requests"]) == (20, 1)
            assert cache.wait(timeout=20) == 0
        origin.shutdown()
