"""Clients that send slowly, send too much or read slowly, through a real gunicorn: threads wait for none."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from testkit.stream_server import RawClient, StreamServer

LIMIT = 1_048_576
# Ten times the threads of these servers.
CROWD = 40


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    with StreamServer(
        tmp_path_factory.mktemp("bodies"), heartbeat_s=0.6, first_bytes_s=3.0, stalled_s=2.0
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _close_clients(server: StreamServer) -> Iterator[None]:
    yield
    server.close_clients()


def post(path: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode() + body


def chunks(body: bytes, size: int) -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def code(body: bytes) -> str:
    error: str = json.loads(body)["error"]["code"]
    return error


def assert_pages_are_served(server: StreamServer) -> None:
    """Within the client's own patience, which is far shorter than what the crowd would cost."""
    asking = server.client()
    asking.sock.settimeout(1)
    asking.send("GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
    assert asking.answer()[2] == b"page"


# --- those who begin a body and do not end it


CHUNKED = "Transfer-Encoding: chunked"
UNENDING = {
    "a body that stops": post("/echo", "Content-Length: 100", body=b"abc"),
    "a body that never begins": post("/echo", "Content-Length: 9"),
    "a GET with a body": b"GET /page HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
    "chunks that stop": post("/echo", CHUNKED, body=b"5\r\nabc"),
    "chunks without the last": post("/echo", CHUNKED, body=b"3\r\nabc\r\n"),
    "a trailer that stops": post("/echo", CHUNKED, body=b"0\r\nX-Trailer: "),
    "a body behind a page": b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
    + post("/echo", "Content-Length: 100", body=b"abc"),
    "half a head behind a page": b"GET /page HTTP/1.1\r\nHost: x\r\n\r\nGET /pa",
    "a body behind a body": post("/echo", "Content-Length: 3", body=b"abc")
    + post("/echo", "Content-Length: 100", body=b"abc"),
}


@pytest.mark.parametrize("how", UNENDING)
def test_a_message_that_does_not_end_takes_no_thread(server: StreamServer, how: str) -> None:
    begun, match_id = UNENDING[how], how.replace(" ", "-")
    server.publish(match_id)
    viewer = server.stream(match_id)
    crowd = [server.client() for _ in range(CROWD)]
    for client in crowd:
        client.send(begun)
    for _ in range(3):
        assert_pages_are_served(server)
    last = server.publish(match_id)
    assert viewer.scores(1) == [last]


def test_a_slow_body_gets_408_however_steadily_it_comes(server: StreamServer) -> None:
    client = server.client()
    client.send(post("/echo", "Content-Length: 1000"))
    began_s = time.monotonic()
    client.sock.settimeout(0.1)
    answer = b""
    while not answer:
        assert time.monotonic() - began_s < 8
        idle = server.client()  # those who came since must not stand in the way of its end
        assert idle.sock.fileno() > 0
        client.send(b"x")
        try:
            answer = client.sock.recv(65_536)
        except TimeoutError:
            continue
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert code(answer.partition(b"\r\n\r\n")[2]) == "request_timeout"


def test_a_kept_connection_has_no_longer_than_a_first_one(server: StreamServer) -> None:
    client = server.client()
    client.send(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.answer()[2] == b"page"
    client.send(b"GET /pa")
    assert client.answer()[0] == 408


def test_who_leaves_within_a_body_is_forgotten(server: StreamServer) -> None:
    for _ in range(CROWD):
        client = server.client()
        client.send(post("/echo", "Content-Length: 100000", body=b"x" * 50_000))
        client.close()
    assert_pages_are_served(server)


# --- what is refused


@pytest.mark.parametrize(
    "request_", [post("/echo", f"Content-Length: {LIMIT + 1}"), post("/echo", "Content-Length: " + "9" * 400)]
)
def test_a_length_that_is_too_large_is_413_at_once(server: StreamServer, request_: bytes) -> None:
    client = server.client()
    client.send(request_)
    status, headers, body = client.answer()
    assert (status, code(body)) == (413, "body_too_large")
    assert headers["connection"] == "close"
    assert client.rest() == b""


def test_whoever_sends_on_behind_a_413_still_reads_it(server: StreamServer) -> None:
    client = server.client()
    client.send(post("/echo", f"Content-Length: {LIMIT + 1}"))
    client.send(b"x" * 500_000)
    status, _, body = client.answer()
    assert (status, code(body)) == (413, "body_too_large")


def test_chunks_that_are_too_many_are_413(server: StreamServer) -> None:
    client = server.client()
    client.send(post("/echo", CHUNKED))
    piece = chunks(b"x" * 65_536, 65_536)[:-5]
    answered = False
    for _ in range(80):
        try:
            client.send(piece)
        except ConnectionError:
            answered = True
            break
    if not answered:
        status, _, body = client.answer()
        assert (status, code(body)) == (413, "body_too_large")


MALFORMED = {
    "length and chunks": post("/echo", "Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"),
    "two lengths": post("/echo", "Content-Length: 3", "Content-Length: 3", body=b"abc"),
    "a list of lengths": post("/echo", "Content-Length: 3, 3", body=b"abc"),
    "a negative length": post("/echo", "Content-Length: -1"),
    "a signed length": post("/echo", "Content-Length: +3", body=b"abc"),
    "a length in hex": post("/echo", "Content-Length: 0x3", body=b"abc"),
    "no length": post("/echo", "Content-Length:", body=b"abc"),
    "a space before the colon": post("/echo", "Content-Length : 3", body=b"abc"),
    "a folded name": post("/echo", "X: y", " Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunks of HTTP/1.0": b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no chunk": post("/echo", CHUNKED, body=b"hello\r\n\r\n"),
    "a chunk longer than it says": post("/echo", CHUNKED, body=b"3\r\nabcd\r\n0\r\n\r\n"),
    "a request behind chunks": post("/echo", CHUNKED, body=chunks(b"abc", 3)) + post("/echo"),
    "rubbish behind chunks": post("/echo", CHUNKED, body=chunks(b"abc", 3)) + b"\x00\x01",
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=list(MALFORMED))
def test_a_message_whose_end_is_not_sure_is_400(server: StreamServer, request_: bytes) -> None:
    client = server.client()
    client.send(request_)
    status, headers, body = client.answer()
    assert (status, code(body)) == (400, "malformed_request")
    assert headers["connection"] == "close"
    assert client.rest() == b""


def test_another_coding_is_501(server: StreamServer) -> None:
    client = server.client()
    client.send(post("/echo", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"))
    status, _, body = client.answer()
    assert (status, code(body)) == (501, "transfer_coding")


def test_a_refused_head_has_no_body(server: StreamServer) -> None:
    client = server.client()
    client.send(b"HEAD /page HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n")
    assert client.head()[0] == 400
    assert client.rest() == b""


# --- what is served


def test_a_body_may_come_in_small_pieces_and_the_next_request_behind_it(server: StreamServer) -> None:
    client = server.client()
    body = bytes(range(256)) * 4
    message = post("/echo", "Content-Length: 1024", body=body)
    for _ in range(2):
        for at in range(0, len(message), 7):
            client.send(message[at : at + 7])
            time.sleep(0.001)
        assert client.answer()[2] == body
    client.send(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.answer()[2] == b"page"


@pytest.mark.parametrize("size", [1, 3, 1_000, 200_000])
def test_a_body_in_chunks_is_read_and_the_connection_kept(server: StreamServer, size: int) -> None:
    client = server.client()
    body = b"0123456789" * 20_000 if size > 3 else b"0123456789" * 2_000
    for _ in range(2):
        client.send(post("/echo", CHUNKED))
        client.send(chunks(body, size))
        assert client.answer()[2] == body
    client.send(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.answer()[2] == b"page"


def test_chunks_may_have_extensions_and_trailers(server: StreamServer) -> None:
    client = server.client()
    client.send(post("/echo", CHUNKED, "Upgrade: h2c", "Connection: Upgrade"))
    for byte in b"3;name=value\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n":
        client.send(bytes([byte]))
    assert client.answer()[2] == b"abc"


def test_the_largest_body_is_taken(server: StreamServer) -> None:
    client = server.client()
    body = b"b" * LIMIT
    client.send(post("/echo", f"Content-Length: {LIMIT}", body=body))
    assert client.answer()[2] == body
    client.send(post("/echo", CHUNKED, body=chunks(body, 10_000)))
    assert client.answer()[2] == body


def test_requests_behind_a_measured_body_are_answered_in_turn(server: StreamServer) -> None:
    server.publish("behind")
    client = server.client()
    client.send(
        post("/echo", "Content-Length: 3", body=b"abc")
        + b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
        + post("/echo", "Content-Length: 0")
        + post("/echo", "Content-Length: 4", body=b"defg")
        + b"OPTIONS /stream/behind HTTP/1.1\r\nHost: x\r\n\r\n"
        + b"GET /stream/behind HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert [client.answer()[2] for _ in range(4)] == [b"abc", b"page", b"", b"defg"]
    assert client.answer()[0] == 204
    assert client.head()[0] == 200
    last = server.publish("behind")
    assert client.scores(1) == [last]


def test_who_ends_its_side_behind_a_body_is_answered(server: StreamServer) -> None:
    client = server.client()
    client.send(post("/echo", "Content-Length: 3", body=b"abc"))
    client.sock.shutdown(socket.SHUT_WR)
    assert client.answer()[2] == b"abc"


def test_a_body_the_page_does_not_read_does_no_harm(server: StreamServer) -> None:
    client = server.client()
    for _ in range(2):
        client.send(b"GET /page HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nGET /page")
        assert client.answer()[2] == b"page"


@pytest.mark.parametrize("framing", ["Content-Length: 3", CHUNKED])
def test_who_waits_to_be_told_to_send_is_told_once(server: StreamServer, framing: str) -> None:
    client = server.client()
    client.send(post("/echo", framing, "Expect: 100-Continue"))
    assert client.head() == (100, {})
    client.send(b"abc" if framing != CHUNKED else chunks(b"abc", 3))
    assert client.answer()[::2] == (200, b"abc")
    # Who does not wait is not told.
    client.send(post("/echo", "Content-Length: 3", "Expect: 100-continue", body=b"abc"))
    assert client.answer()[::2] == (200, b"abc")
    client.send(post("/echo", f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"))
    assert client.answer()[0] == 413


def test_curl_sends_what_it_asked_to_send(server: StreamServer) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl here")
    body = "c" * 100_000
    for framing in ([], ["--header", CHUNKED]):
        done = subprocess.run(
            [
                *(curl, "--silent", "--show-error", "--max-time", "10", "--data-binary", "@-"),
                *("--header", "Expect: 100-continue", *framing, f"http://127.0.0.1:{server.port}/echo"),
            ],
            input=body,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == body


# --- those who do not read, and those who do not leave


def slow_reader(server: StreamServer, request_: str) -> RawClient:
    client = server.client(receive_buffer=4_096)
    client.send(request_)
    return client


LARGE = "GET /large?size=4000000 HTTP/1.1\r\nHost: x\r\n\r\n"


def test_who_reads_nothing_of_an_answer_takes_no_thread(server: StreamServer) -> None:
    server.publish("large")
    viewer = server.stream("large")
    crowd = [slow_reader(server, LARGE) for _ in range(12)]
    for _ in range(3):
        assert_pages_are_served(server)
    last = server.publish("large")
    assert viewer.scores(1) == [last]
    # Those who do read have all of it, and their connection.
    reading = server.client()
    for _ in range(2):
        reading.send(LARGE)
        assert reading.answer()[2] == b"l" * 4_000_000
    # The others are closed when they have taken nothing for long, and hear of no end that is none.
    time.sleep(3.0)
    for client in crowd:
        got = b""
        with contextlib.suppress(ConnectionError):
            got = client.rest()
        assert len(got) < 4_000_000


def test_a_slow_reader_gets_the_whole_answer_and_its_next_one(server: StreamServer) -> None:
    client = slow_reader(server, LARGE + "GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
    status, headers = client.head()
    assert (status, headers["content-length"]) == (200, "4000000")
    left = 4_000_000 - len(client._bytes)
    client._bytes = b""
    while left:
        left -= len(client.sock.recv(min(left, 100_000)))
        time.sleep(0.002)
    assert client.answer()[2] == b"page"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_answer_that_closes_is_sent_to_its_end_first(server: StreamServer, version: str) -> None:
    client = slow_reader(server, LARGE.replace("1.1", version).replace("Host", "Connection: close\r\nHost"))
    assert client.head()[0] == 200
    time.sleep(0.3)
    assert client.rest() == b"l" * 4_000_000


def test_a_page_that_streams_is_sent_in_order(server: StreamServer) -> None:
    client = slow_reader(server, "GET /pieces HTTP/1.0\r\n\r\n")
    client.head()
    assert client.rest() == b"".join(b"%07d\n" % number for number in range(100_000))


def test_who_does_not_close_behind_its_last_answer_keeps_nobody_waiting(server: StreamServer) -> None:
    server.publish("last")
    viewer = server.stream("last")
    crowd = [server.client() for _ in range(CROWD)]
    for client in crowd:
        client.send("GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert [client.answer()[2] for client in crowd] == [b"page"] * CROWD
    assert_pages_are_served(server)
    last = server.publish("last")
    viewer.sock.settimeout(1)
    assert viewer.scores(1) == [last]


def test_streams_open_while_bodies_come(server: StreamServer) -> None:
    crowd: list[Callable[[bytes], None]] = []
    for _ in range(CROWD):
        client = server.client()
        client.send(post("/echo", "Content-Length: 100000", body=b"x" * 99_000))
        crowd.append(client.send)
    server.publish("while")
    viewers = [server.stream("while") for _ in range(20)]
    for send in crowd:
        send(b"x")
    last = server.publish("while")
    assert [viewer.scores(1) for viewer in viewers] == [[last]] * 20
