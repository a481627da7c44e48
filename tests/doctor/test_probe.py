"""What a server may cost who examines it: time, bytes, requests."""

from __future__ import annotations

import contextlib
import gzip
import socket
import time

import pytest

from origin.doctor import probe as probing
from origin.doctor.probe import NotAnswered, Probe
from origin.doctor.report import Report, printable
from testkit.faults.bad_proxies import bad_server

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def asked(talk: bytes, *, then_wait: bool = False, **options: float) -> probing.Answer:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(talk)
        if then_wait:
            connection.recv(1)

    with bad_server(answer) as port:
        return Probe(timeout_s=2).get(f"http://127.0.0.1:{port}/", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("talk", "why"),
    [
        (b"", "closed before an answer"),
        (b"220 smtp.example ESMTP\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000, "longer than|no HTTP"),
    ],
)
def test_what_is_no_answer(talk: bytes, why: str) -> None:
    with pytest.raises(NotAnswered, match=why):
        asked(talk)


def test_a_head_that_drips_is_given_up() -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(100):
            connection.sendall(b"a")
            time.sleep(0.1)

    with bad_server(drip) as port, pytest.raises(NotAnswered, match="no complete head within 1 s"):
        Probe(timeout_s=1).get(f"http://127.0.0.1:{port}/")


def test_a_body_without_end_is_given_up() -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(HEAD + b"\r\n")
        with contextlib.suppress(OSError):
            while True:
                sent += connection.send(b"x" * 65_536)

    with bad_server(flood) as port:
        answer = Probe(timeout_s=10).get(f"http://127.0.0.1:{port}/", body_max_bytes=100_000)
    assert not answer.ended
    assert len(answer.raw) < 400_000


def test_a_body_that_hangs_is_what_came_of_it() -> None:
    answer = asked(HEAD + b"Content-Length: 10\r\n\r\nabc", then_wait=True)
    assert (answer.status, answer.raw, answer.ended) == (200, b"abc", False)


def test_a_body_that_is_cut_is_known_as_cut() -> None:
    assert asked(HEAD + b"Content-Length: 10\r\n\r\nabc").cut
    assert not asked(HEAD + b"\r\nabc").cut


def test_a_bomb_does_not_go_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "DECODED_MAX_BYTES", 10_000)
    bomb = gzip.compress(bytes(1_000_000))
    answer = asked(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
    with pytest.raises(ValueError, match="more than 10000 bytes"):
        answer.body()


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_body_that_is_not_what_its_coding_says(coding: str) -> None:
    answer = asked(HEAD + f"Content-Encoding: {coding}\r\nContent-Length: 5\r\n\r\nplain".encode())
    with pytest.raises(ValueError, match=coding):
        answer.body()
    assert answer.text() == ""


def test_redirects_have_an_end() -> None:
    def circle(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")

    with bad_server(circle) as port, pytest.raises(NotAnswered, match="more than 5 redirects"):
        Probe().follow(f"http://127.0.0.1:{port}/")


def test_a_redirect_elsewhere_is_not_followed() -> None:
    def away(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n")

    with bad_server(away) as port, pytest.raises(NotAnswered, match="http"):
        Probe().follow(f"http://127.0.0.1:{port}/")


def test_an_examination_has_so_many_requests() -> None:
    probe = Probe()
    probe.asked = probing.REQUESTS_MAX
    with pytest.raises(NotAnswered, match="not asked"):
        probe.get("http://127.0.0.1:9/")


def test_what_a_server_says_moves_no_cursor() -> None:
    report = Report()
    report.error("x", "http://a/\x1b[2J", "\x1b]0;title\x07" + "a" * 1_000, "change")
    shown = report.findings[0].to_json()
    assert "\x1b" not in str(shown)
    assert len(printable("a" * 1_000)) <= 400
