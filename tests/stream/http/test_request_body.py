"""Where a message ends: whatever comes in, in whatever pieces, and what all of it may cost in memory."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from itertools import pairwise

import pytest
from gunicorn.config import Config
from gunicorn.http import get_parser
from gunicorn.http.errors import (
    ChunkMissingTerminator,
    InvalidChunkExtension,
    InvalidChunkSize,
    ParseException,
)
from hypothesis import given
from hypothesis import strategies as st

from origin.bus.memory import MemoryBus
from origin.errors import RequestError
from origin.stream.http.request_body import begin, expects_continue
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.hub import Hub
from origin.stream.net.reactor import Reactor
from origin.stream.net.slow_responses import PageSocket, SlowResponses
from origin.stream.worker.connections import Connection, Connections
from testkit.worlds.hub import Jobs

LIMIT = 1_000
# What gunicorn refuses besides: it answers 400 and closes. That the message has no end is not among it.
STRICTER = (ParseException, ChunkMissingTerminator, InvalidChunkExtension, InvalidChunkSize)


def head(*lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"POST /a HTTP/{version}", "Host: x", *lines, "", ""]).encode()


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def gunicorn_reads(message: bytes) -> tuple[bytes, bytes]:
    """The body that gunicorn's parser finds in a message, and what it leaves of it."""
    parser = get_parser(Config(), [message], ("127.0.0.1", 1))
    body = next(parser).body.read()
    return body, parser.unreader.take_buffered()


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=12),
    in_chunks=st.booleans(),
    cuts=st.lists(st.integers(0, 600), max_size=12),
    behind=st.binary(max_size=20),
)
def test_it_ends_where_gunicorn_s_parser_ends(
    pieces: list[bytes], in_chunks: bool, cuts: list[int], behind: bytes
) -> None:
    content = b"".join(pieces)
    first = head("Transfer-Encoding: chunked" if in_chunks else f"Content-Length: {len(content)}")
    coming = chunked(pieces) if in_chunks else content
    body = begin(first, LIMIT)
    message = first
    if body is not None:
        at = 0
        for start, stop in pairwise(sorted({0, len(coming), *(cut for cut in cuts if cut < len(coming))})):
            assert body.wanted > 0
            # A measured body is never read past its end, whatever stands there.
            piece = (coming[start:stop] if in_chunks else coming[start:stop] + behind)[: body.wanted]
            piece = piece[: stop - start]
            body.take(piece)
            at += len(piece)
        assert at == len(coming)
        assert body.wanted == 0
        message = bytes(body.message)
    else:
        assert not content
    assert message == first + (coming if body is not None else b"")
    assert gunicorn_reads(message) == (content, b"")


LINES = [
    *(
        "Content-Length: 3",
        "content-length:7",
        "Content-Length: 0",
        "CONTENT-LENGTH: 1001",
        "Content-Length:",
    ),
    *("Content-Length: 3, 3", "Content-Length : 3", "Content-Length: \u00b2", "Transfer-Encoding: chunked"),
    *("Transfer-Encoding: gzip", "Transfer-Encoding: Chunked", "Transfer-Encoding: identity, chunked"),
    *(" Content-Length: 3", "X: Content-Length: 3", "X-Content-Length: 3", "Expect: 100-continue"),
]


@given(
    st.lists(st.sampled_from(LINES), max_size=4),
    st.sampled_from(["1.0", "1.1"]),
    st.lists(st.binary(max_size=30) | st.sampled_from([b"3\r\n", b"abc\r\n", b"0\r\n", b"\r\n"]), max_size=6),
)
def test_gunicorn_never_wants_more_than_it_is_given(
    lines: list[str], version: str, coming: list[bytes]
) -> None:
    """What both take for a whole message has one end; all else is refused by one of them."""
    first = "\r\n".join([f"POST /a HTTP/{version}", "Host: x", *lines, "", ""]).encode("latin-1")
    try:
        body = begin(first, LIMIT)
        for piece in coming:
            if body is not None and body.wanted:
                body.take(piece[: body.wanted])
    except RequestError:
        return
    if body is not None and body.wanted:
        return
    message = first if body is None else bytes(body.message)
    parser = get_parser(Config(), [message], ("127.0.0.1", 1))
    try:
        request = next(parser)
        content = request.body.read()
    except STRICTER:
        return
    if body is None:
        assert content == b""
    assert parser.unreader.take_buffered().strip(b"\r\n") == b""


def test_a_header_s_name_within_a_value_is_not_that_header() -> None:
    assert begin(head("X-Note: content-length: 7", "X-Content-Length: 7"), LIMIT) is None


@pytest.mark.parametrize(
    ("lines", "version", "expects"),
    [
        (["Expect: 100-continue"], "1.1", True),
        (["expect:100-Continue "], "1.1", True),
        (["Expect: 100-continue"], "1.0", False),
        (["Expect: cake"], "1.1", False),
        (["X-Expect: 100-continue"], "1.1", False),
        ([], "1.1", False),
    ],
)
def test_only_who_says_so_waits_for_100(lines: list[str], version: str, expects: bool) -> None:
    assert expects_continue(head(*lines, version=version)) is expects


def test_what_chunks_cost_besides_their_content_is_bounded() -> None:
    body = begin(head("Transfer-Encoding: chunked"), LIMIT)
    assert body is not None
    costly = b"1;" + b"x" * 20 + b"\r\na\r\n"
    for _ in range(2_000):
        body.take(costly)
    with pytest.raises(RequestError, match="larger than 1000 bytes"):
        body.take(costly * 1_000)
    assert len(body.message) < 100_000


# --- memory


class Port:
    """Connections without a server: connections are pairs, whole messages are kept."""

    def __init__(self, *, bodies_max_bytes: int) -> None:
        self.hub = Hub(MemoryBus(), StreamConfig(), readers=Jobs(), connections_max=100)
        self.taken: list[Connection] = []
        self.connections = Connections(
            self.hub, self.taken.append, body_max_bytes=LIMIT, bodies_max_bytes=bodies_max_bytes
        )
        self._clients: list[socket.socket] = []

    def connect(self, first: bytes) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._clients.append(theirs)
        for one in (ours, theirs):
            one.setblocking(False)
        theirs.sendall(first)
        self.connections.add(ours, "", None)
        return theirs

    def turn(self) -> None:
        self.hub.reactor.dispatch()

    def close(self) -> None:
        self.connections.close_all()
        for connection in self.taken:
            connection.sock.close()
        self.hub.close()
        for client in self._clients:
            client.close()


@pytest.fixture
def port() -> Iterator[Port]:
    with contextlib.closing(Port(bodies_max_bytes=4 * LIMIT)) as port:
        yield port


def test_who_has_been_sending_longest_gives_way_when_memory_is_full(port: Port) -> None:
    begun = head(f"Content-Length: {LIMIT}") + b"x" * (LIMIT - 1)
    slow = [port.connect(begun) for _ in range(4)]
    with pytest.raises(BlockingIOError):
        slow[0].recv(1)
    late = port.connect(begun)
    answer = slow[0].recv(65_536)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: " in answer
    assert b'"too_many_bodies"' in answer
    late.sendall(b"x")
    port.turn()
    assert [connection.message[-LIMIT:] for connection in port.taken] == [b"x" * LIMIT]
    for client in slow[1:]:
        with pytest.raises(BlockingIOError):
            client.recv(1)


def test_what_a_thread_holds_counts_until_it_is_done(port: Port) -> None:
    whole = head(f"Content-Length: {LIMIT}") + b"x" * LIMIT
    for _ in range(4):
        port.connect(whole)
    assert len(port.taken) == 4
    assert port.connect(whole).recv(65_536).startswith(b"HTTP/1.1 503 ")
    done = port.taken.pop()
    done.sock.close()
    port.connections.lost(done)
    port.connect(whole)
    assert len(port.taken) == 4


def test_those_who_leave_or_are_refused_leave_no_bytes_behind(port: Port) -> None:
    for _ in range(20):
        port.connect(head(f"Content-Length: {LIMIT}") + b"x" * (LIMIT - 1)).close()
        port.connect(head("Transfer-Encoding: chunked") + b"3\r\nabcde")
        port.turn()
    port.connect(head(f"Content-Length: {LIMIT}") + b"x" * LIMIT)
    assert len(port.taken) == 1


def test_pages_without_bodies_are_served_when_memory_is_full(port: Port) -> None:
    for _ in range(4):
        port.connect(head(f"Content-Length: {LIMIT}") + b"x" * LIMIT)
    port.connect(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert port.taken[-1].message.startswith(b"GET /healthz ")


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    with contextlib.closing(Reactor()) as reactor:
        yield reactor


def answering(size: int) -> tuple[PageSocket, socket.socket]:
    """A connection to which an answer was written, and its client."""
    ours, theirs = socket.socketpair()
    page = PageSocket(ours.family, ours.detach())
    theirs.settimeout(5)
    page.sendall(bytearray(b"a" * size))
    return page, theirs


def test_an_answer_that_waits_goes_out_as_it_is_read(reactor: Reactor) -> None:
    departures = SlowResponses(reactor, stalled_s=10.0)
    page, client = answering(3_000_000)
    page.sendall(b"b")
    done: list[str] = []
    departures.take(page, lambda: done.append("done"))
    got = b""
    while len(got) < 3_000_001:
        reactor.dispatch()
        got += client.recv(65_536)
    reactor.dispatch()
    assert (got[-2:], done, len(departures)) == (b"ab", ["done"], 0)
    page.close()
    client.close()


def test_whoever_has_taken_nothing_for_longest_gives_way_when_memory_is_full(reactor: Reactor) -> None:
    departures = SlowResponses(reactor, stalled_s=10.0, max_bytes=7_000_000)
    pairs = [answering(3_000_000) for _ in range(3)]
    for page, _ in pairs[:2]:
        departures.take(page, lambda: None)
    pairs[0][1].recv(1_000_000)  # the first reads, so the second gives way
    reactor.dispatch()
    departures.take(pairs[2][0], lambda: None)
    assert [page.fileno() >= 0 for page, _ in pairs] == [True, False, True]
    departures.close()
    assert len(departures) == 0
    for _, client in pairs:
        client.close()


def test_readers_of_one_file_share_its_memory(reactor: Reactor) -> None:
    file = b"f" * 3_000_000
    slow_responses = SlowResponses(reactor, stalled_s=10.0, max_bytes=7_000_000)
    pairs = []
    for _ in range(20):
        page, client = answering(0)
        page.sendall(file)
        slow_responses.take(page, lambda: None)
        pairs.append((page, client))
    assert all(page.fileno() >= 0 for page, _ in pairs)
    # An answer of its own counts by itself, and what is counted once is given back once.
    for _ in range(2):
        page, client = answering(3_000_000)
        slow_responses.take(page, lambda: None)
        pairs.append((page, client))
    assert [page.fileno() >= 0 for page, _ in pairs].count(False) == 20
    slow_responses.close()
    assert slow_responses._bytes == 0
    for _, client in pairs:
        client.close()


def test_a_reader_that_takes_nothing_or_is_gone_is_closed(reactor: Reactor) -> None:
    departures = SlowResponses(reactor, stalled_s=0.0)
    page, client = answering(3_000_000)
    departures.take(page, lambda: None)
    departures.drop_overdue(float("inf"))
    assert page.fileno() < 0
    client.close()
    page, client = answering(3_000_000)
    departures.take(page, lambda: None)
    client.close()
    reactor.dispatch()
    assert page.fileno() < 0
    assert len(departures) == 0


def test_a_file_is_written_without_waiting_too() -> None:
    page, client = answering(0)
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.flush()
        assert page.sendfile(file, 2, 5) == 5
    assert client.recv(100) == b"23456"
    page.close()
    client.close()
