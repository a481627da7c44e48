"""The vendor's client against servers that answer exactly what a test says, byte for byte."""

from __future__ import annotations

import asyncio
import email.utils
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from origin.feedworker.client import ClientLimits, Document, Validators, VendorClient, VendorError, shown_url

LIMITS = ClientLimits(connect_s=1.0, exchange_s=0.4, body_max_bytes=1_000)


@dataclass
class Told:
    """A server that answers each request with the next of its answers, and keeps what was asked."""

    url: str
    heads: list[bytes] = field(default_factory=list)


@contextmanager
def answering(*answers: bytes, drip_s: float = 0.0) -> Iterator[Told]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told = Told(f"http://127.0.0.1:{listener.getsockname()[1]}")
        stop = threading.Event()

        def serve() -> None:
            for answer in answers:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    told.heads.append(connection.recv(65_536))
                    try:
                        for at in range(0, len(answer), 1 if drip_s else len(answer)):
                            connection.sendall(answer[at : at + 1] if drip_s else answer)
                            if drip_s and stop.wait(drip_s):
                                return
                    except OSError:
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield told
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    given = {"Content-Length": str(len(body)), "Connection": "close"} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status} Told\r\n{lines}\r\n".encode() + body


def fetch(url: str, validators: Validators | None = None, key: str = "k") -> Document | None:
    async def once() -> Document | None:
        async with VendorClient({"x-api-key": key}, LIMITS) as client:
            return await client.fetch(url, validators or Validators())

    return asyncio.run(once())


def test_validators_are_kept_and_sent() -> None:
    when = "Sun, 15 Jul 2018 15:00:00 GMT"
    with answering(answer(200, b"one", ETag='"1"', Last_Modified=when), answer(304)) as told:
        document = fetch(told.url)
        assert document == Document(b"one", Validators('"1"', when))
        assert fetch(told.url, document.validators) is None
        assert b"if-none-match" not in told.heads[0].lower()
        asked = told.heads[1].lower()
        assert b'if-none-match: "1"' in asked
        assert f"if-modified-since: {when}".lower().encode() in asked


def test_a_304_that_nobody_asked_for_is_no_document() -> None:
    with answering(answer(304)) as told, pytest.raises(VendorError) as caught:
        fetch(told.url)
    assert caught.value.result == "client_error"


@pytest.mark.parametrize(
    ("text", "least_ms", "most_ms"),
    [
        ("7", 7_000, 7_000),
        (100, 60_000, 101_000),
        (-100, 0, 0),
        ("soon", None, None),
        ("-3", None, None),
        ("", None, None),
    ],
)
def test_how_long_a_vendor_asks_to_wait(text: str | int, least_ms: int | None, most_ms: int | None) -> None:
    if isinstance(text, int):  # seconds from now: written when the test runs, not when it is collected
        text = email.utils.formatdate(time.time() + text, usegmt=True)
    with answering(answer(503, Retry_After=text)) as told, pytest.raises(VendorError) as caught:
        fetch(told.url)
    hint_ms = caught.value.hint_ms
    if least_ms is None or most_ms is None:
        assert hint_ms is None
    else:
        assert hint_ms is not None
        assert least_ms <= hint_ms <= most_ms


def test_a_head_that_drips_is_given_up() -> None:
    with answering(answer(200, b"{}"), drip_s=0.05) as told, pytest.raises(VendorError) as caught:
        fetch(told.url)
    assert caught.value.result == "timeout"


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "", "http://[::", "file:///etc/passwd"])
def test_a_redirect_to_nowhere_is_not_followed(location: str) -> None:
    with answering(answer(302, Location=location)) as told, pytest.raises(VendorError) as caught:
        fetch(told.url)
    assert caught.value.result in ("redirect", "network")
    assert len(told.heads) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe\x00",
        b"HTTP/1.1 200\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_failed_attempt(raw: bytes) -> None:
    with answering(raw or b" ") as told, pytest.raises(VendorError):
        fetch(told.url)


def test_a_body_of_any_encoding_but_gzip_is_refused() -> None:
    with answering(answer(200, b"x", Content_Encoding="br")) as told, pytest.raises(VendorError) as caught:
        fetch(told.url)
    assert caught.value.result == "unreadable"


def test_no_message_shows_a_secret() -> None:
    with answering(answer(401)) as told, pytest.raises(VendorError) as caught:
        fetch(f"{told.url}/x?api_key=secret", key="secret")
    assert "secret" not in str(caught.value)
    assert (
        shown_url("https://user:secret@host.example:8/x?api_key=secret#secret") == "https://host.example:8/x"
    )


def test_a_header_that_cannot_be_sent_is_not_shown() -> None:
    async def fetch() -> None:
        async with VendorClient({"x-api-key": "secret\n"}, LIMITS) as client:
            await client.fetch(told.url)

    with answering(b"x") as told, pytest.raises(VendorError) as caught:
        asyncio.run(fetch())
    assert str(caught.value) == "LocalProtocolError"
