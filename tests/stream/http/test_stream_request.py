"""Request heads: whatever comes in, out comes a request or a refusal, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.errors import RequestError
from origin.stream.http.stream_request import StreamRequest, Transport, parse
from shared_state import DeltaId

PIECES = [
    *(b"GET ", b"HEAD ", b"OPTIONS ", b"POST ", b"get ", b"PRI * HTTP/2.0\r\n\r\n"),
    *(b"/stream/", b"/stream/score", b"/ws/match/", b"m1", b"%20", b"%zz", b"?", b"&", b"=", b"matchId=m1"),
    *(b"last_event_id=7-3", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"\r\n", b"\n", b": ", b"Host: x\r\n"),
    *(
        b"Last-Event-ID: 7-3\r\n",
        b"Connection: close\r\n",
        b"Upgrade: websocket\r\n",
        b"Connection: Upgrade\r\n",
    ),
    *(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Sec-WebSocket-Version: 13\r\n"),
    *(
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b" folded\r\n",
        b"\x00",
        b"\xff",
        b"\xc3\xa9",
    ),
    *(b"&a=1" * 20, b"?" + b"&" * 40, b"9" * 5_000, b"last_event_id=" + b"7" * 5_000 + b"-3", b";a=1" * 20),
]
heads = st.one_of(
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)), max_size=14).map(b"".join),
    st.lists(st.sampled_from(PIECES[13:]), max_size=8).map(
        lambda lines: b"GET /stream/m1 HTTP/1.1\r\nHost: x\r\n" + b"".join(lines)
    ),
)


@given(heads)
def test_any_head_is_a_request_or_a_refusal(head: bytes) -> None:
    head += b"\r\n\r\n"
    try:
        request = parse(head)
    except RequestError:
        return
    assert isinstance(request, StreamRequest)
    assert request.method in ("GET", "HEAD", "OPTIONS")
    assert isinstance(request.keep_alive, bool)
    assert isinstance(request.forwarded_for, list)


def head_of(target: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: x", *lines, "", ""]).encode()


def test_a_query_of_many_fields_is_refused_by_their_number() -> None:
    assert parse(head_of("/stream/m1?last_event_id=7-3" + "&a=1" * 15)).after == DeltaId(7, 3)
    with pytest.raises(RequestError, match="17 fields") as refused:
        parse(head_of("/stream/m1?last_event_id=7-3" + "&a=1" * 16))
    assert refused.value.status == 400


def test_a_request_says_all_that_matters() -> None:
    request = parse(head_of("/stream/m1?last_event_id=7-1", "last-event-ID:  7-3 ", "X-Forwarded-For: a, b"))
    assert request.method == "GET"
    assert request.transport is Transport.SSE
    assert request.match_id == "m1"
    assert request.after == DeltaId(7, 3)  # the header wins
    assert request.forwarded_for == ["a, b"]
    assert request.keep_alive


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (head_of("/stream/m1"), True),
        (head_of("/stream/m1", "Connection: Close"), False),
        (head_of("/stream/m1", "Connection: keep-alive", version="1.0"), False),
        (head_of("/stream/m1", "Content-Length: 0"), True),
        (head_of("/stream/m1", "Content-Length: 3"), False),
        (head_of("/stream/m1", "Transfer-Encoding: chunked"), False),
    ],
)
def test_a_connection_is_kept_only_when_the_next_request_can_be_found(head: bytes, keep_alive: bool) -> None:
    assert parse(head).keep_alive is keep_alive


def test_a_header_s_name_within_another_s_value_is_not_that_header() -> None:
    request = parse(head_of("/stream/m1", "X-Note: last-event-id: 7-3", "X-Last-Event-ID: 7-4"))
    assert request.after is None
