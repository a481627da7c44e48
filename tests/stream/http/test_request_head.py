"""One reading of a head: what the stream worker decides by is what WSGI gets, however a path is spelt."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from gunicorn.config import Config as GunicornConfig
from gunicorn.http import get_parser
from gunicorn.util import unquote_to_wsgi_str
from hypothesis import given
from hypothesis import strategies as st

from origin.errors import RequestError
from origin.stream.http.request_head import canonical_head, check_host, request_line

SPELLINGS = [
    "/stream/m1",
    "/%73tream/m1",
    "//stream/m1",
    "/stream//m1",
    "/stream%2fm1",
    "/stream%2Fm1",
    "http://h/stream/m1",
    "http://h/%73tream/m1",
    "HTTP://h:1//stream/m1",
    "/./stream/m1",
    "/x/../stream/m1",
    "/x/%2e%2e/stream/m1",
    "/%2e/stream/m1",
    "/../../stream/m1",
    "/stream/x/../m1",
    "/stream/m1#part",
    "///stream///m1",
]


def head_of(target: str, *lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", *(lines or ("Host: x",)), "", ""]).encode("latin-1")


def wsgi_path(head: bytes) -> tuple[str, str]:
    """PATH_INFO and QUERY_STRING as gunicorn reads them."""
    config: Any = GunicornConfig()
    request = next(get_parser(config, [head], ("127.0.0.1", 1)))
    return unquote_to_wsgi_str(request.path), request.query


@pytest.mark.parametrize("target", SPELLINGS)
def test_every_spelling_of_a_stream_s_path_is_that_path(target: str) -> None:
    read = request_line(head_of(target)).target
    assert (read.path, read.is_stream) == ("/stream/m1", True)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/%2573tream/m1", "/%73tream/m1"),  # decoded once, not twice
        ("/streams/m1", "/streams/m1"),
        ("/match/stream/m1", "/match/stream/m1"),
        ("/ws/other", "/ws/other"),
        ("/", "/"),
        ("http://h", "/"),
        ("http://h?q=/stream/m1", "/"),
        ("/?/stream/m1", "/"),
        ("/a/", "/a/"),
        ("/a/.", "/a/"),
        ("/a/b/..", "/a/"),
        ("/%zz", "/%zz"),
        ("*", "*"),
    ],
)
def test_other_paths_are_no_streams(target: str, path: str) -> None:
    read = request_line(head_of(target)).target
    assert (read.path, read.is_stream) == (path, False)


segments = st.one_of(
    st.sampled_from(
        ["stream", "%73tream", "ws", "match", "m1", "", ".", "..", "%2e", "%2E%2e", "%2f", "%25", "%"]
    ),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="?# "), max_size=4),
    st.integers(0, 255).map(lambda code: f"%{code:02x}"),
)
targets = st.tuples(
    st.sampled_from(["", "http://h", "https://h:8", "//"]),
    st.lists(segments, min_size=1, max_size=6).map("/".join),
    st.sampled_from(["", "?", "?a=b", "?last_event_id=7-3", "?/../x"]),
).map(lambda parts: f"{parts[0]}/{parts[1]}{parts[2]}")


@given(targets)
def test_the_application_gets_the_path_that_the_worker_decided_by(target: str) -> None:
    head = head_of(target)
    line = request_line(head)
    path, query = wsgi_path(canonical_head(head, line))
    assert path == line.target.path
    assert query == line.target.query
    # What was read once reads the same again, so no third reader can disagree.
    assert request_line(canonical_head(head, line)).target.path == line.target.path


@given(targets)
def test_no_path_that_reaches_the_application_begins_as_a_stream_s(target: str) -> None:
    head = head_of(target)
    line = request_line(head)
    if not line.target.is_stream:
        path, _ = wsgi_path(canonical_head(head, line))
        assert not path.startswith(("/stream/", "/ws/match/"))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_request_line_or_refused(data: bytes) -> None:
    try:
        line = request_line(data + b"\r\n\r\n")
    except RequestError:
        return
    assert line.target.path.startswith(("/", "*"))


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /x HTTP/2.0\r\n", 505),
        (b"GET /x HTTP/0.9\r\n", 505),
        (b"GET /x\r\n", 505),
        (b"GET  /x HTTP/1.1\r\n", 400),
        (b"GET /x y HTTP/1.1\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\n", 405),
    ],
)
def test_what_is_no_request_line_is_refused(line: bytes, status: int) -> None:
    with pytest.raises(RequestError) as refused:
        request_line(line + b"X: HTTP/1.1\r\n\r\n")
    assert refused.value.status == status


def test_the_version_is_the_request_line_s_and_not_a_header_s() -> None:
    assert request_line(b"GET / HTTP/1.0\r\nX: a HTTP/1.1\r\n\r\n").version == "1.0"


@pytest.mark.parametrize(
    "host", ["a", "a.example", "a.example:80", "127.0.0.1:8000", "[::1]", "[::1]:80", "xn--a"]
)
def test_a_host_is_taken(host: str) -> None:
    check_host(head_of("/", f"Host: {host}"), "1.1")


@pytest.mark.parametrize(
    "lines",
    [
        ("X: y",),
        ("Host: a", "Host: a"),
        ("Host: a", "host: b"),
        ("Host:",),
        ('Host: a"><script>',),
        ("Host: a b",),
        ("Host: a/b",),
        ("Host: a@b",),
        ("Host: [::1",),
        ("Host: a:x",),
        ("Host: a:999999",),
    ],
)
def test_a_missing_doubled_or_malformed_host_is_400(lines: tuple[str, ...]) -> None:
    with pytest.raises(RequestError) as refused:
        check_host(head_of("/", *lines), "1.1")
    assert refused.value.status == 400


def test_http_1_0_needs_no_host() -> None:
    check_host(head_of("/", "X: y", version="1.0"), "1.0")


def test_a_path_of_any_bytes_survives() -> None:
    path = "/" + quote(bytes(range(1, 256)).replace(b"/", b"").replace(b".", b""), safe="")
    head = head_of(path)
    assert wsgi_path(canonical_head(head, request_line(head)))[0] == request_line(head).target.path
