"""One attempt: where it may go, how long it may take, and what is made of answers that are none."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.ports import free_port
from origin.notify import sender
from origin.notify.endpoints import Endpoint
from origin.notify.sender import Outcome, is_public, send
from testkit.faults.bad_proxies import bad_server
from testkit.services.certificates import Authority, Certificate
from testkit.services.webhook_receiver import WebhookReceiver

SECRET = b"s" * 32


def endpoint(url: str, *, allow_private: bool = True) -> Endpoint:
    return Endpoint("desk", url, (SECRET,), allow_private=allow_private)


def sent(talk: Callable[[socket.socket], None]) -> Outcome:
    with bad_server(talk) as port:
        return send(endpoint(f"http://127.0.0.1:{port}/hook"), "msg_1", b"{}", time.time())


def saying(answer: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    return talk


def test_a_delivery_is_signed_by_every_secret() -> None:
    for secret in (b"a" * 32, b"b" * 32):
        with WebhookReceiver(secret) as receiver:
            both = Endpoint("desk", receiver.url, (b"a" * 32, b"b" * 32), allow_private=True)
            assert send(both, "msg_1", b'{"type":"goal"}', time.time()) == Outcome(True)
            [one] = receiver.received
        assert (one.signed, one.id, one.body, one.path) == (True, "msg_1", b'{"type":"goal"}', "/hook")


def failed(reason: str, *, is_final: bool = False, retry_after_s: float | None = None) -> Outcome:
    return Outcome(False, reason, is_final, retry_after_s)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", Outcome(True)),
        (b"HTTP/1.0 200\r\n\r\n", Outcome(True)),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Outcome(True)),
        (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n", failed("status 302 Found")),
        (b"HTTP/1.1 410 Gone\r\n\r\n", failed("status 410 Gone", is_final=True)),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n", failed(
            "status 503 Service"
        " Unavailable", retry_after_s=7.0)),
        (b"HTTP/1.1 429 x\r\nretry-after: 999999\r\n\r\n", failed("status 429 Too Many"
        " Requests", retry_after_s=3600.0)),
        (b"HTTP/1.1 429 x\r\nRetry-After: soon\r\n\r\n", failed("status 429 Too Many Requests")),
        (b"HTTP/1.1 429 x\r\nRetry-After: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n", failed("status 429 Too"
        " Many Requests", retry_after_s=0.0)),
        (b"220 smtp.example\r\n\r\n", failed("the answer is no HTTP: b'220 smtp.example\\r\\n\\r\\n'")),
        (b"", failed("the connection was closed before an answer came")),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 50_000, failed("the head of the answer is longer than 16384"
        " bytes")),
    ],
)  # fmt: skip
def test_what_is_made_of_an_answer(answer: bytes, outcome: Outcome) -> None:
    assert sent(saying(answer)) == outcome


def test_an_attempt_has_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "ATTEMPT_S", 1.0)

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(100):
            connection.sendall(b"a")
            time.sleep(0.1)

    def silent(connection: socket.socket) -> None:
        time.sleep(5)

    for talk in (drip, silent):
        assert sent(talk) == Outcome(False, "no answer within 1 s")


def test_nobody_listens_there() -> None:
    outcome = send(endpoint(f"http://127.0.0.1:{free_port()}/"), "msg_1", b"{}", time.time())
    assert "ConnectionRefused" in outcome.reason


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "198.18.0.1", "192.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
        "fc00::1", "ff02::1",
        "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "2002:a00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_what_is_no_public_address(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_what_is_one(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1"])
def test_a_private_network_is_refused_however_it_is_written(host: str) -> None:
    asked = threading.Event()

    def talk(connection: socket.socket) -> None:
        asked.set()

    with bad_server(talk) as port:
        url = f"https://{host}:{port}/"
        outcome = send(endpoint(url, allow_private=False), "msg_1", b"{}", time.time())
    assert not outcome.delivered
    assert (
        "no public address" in outcome.reason or "gaierror" in outcome.reason or "refused" in outcome.reason
    )
    assert not asked.is_set()


def test_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in ("8.8.8.8", "10.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
    outcome = send(endpoint("https://rebind.example/", allow_private=False), "msg_1", b"{}", time.time())
    assert "10.0.0.1, which is no public address" in outcome.reason


@contextlib.contextmanager
def tls_receiver(certificate: Certificate) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65_536)
            secure.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    with bad_server(talk) as port:
        yield port


@pytest.mark.parametrize(("host", "trusted"), [("localhost", True), ("other.example", False)])
def test_a_certificate_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool
) -> None:
    authority = Authority(tmp_path / "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    with tls_receiver(authority.certificate("server", host=host)) as port:
        outcome = send(endpoint(f"https://localhost:{port}/"), "msg_1", b"{}", time.time())
    assert outcome.delivered == trusted
    assert trusted or "CERTIFICATE_VERIFY_FAILED" in outcome.reason
