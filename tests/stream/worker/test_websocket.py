"""WebSocket viewers of the stream worker: the same frames, and what a client may do wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from testkit.stream_app import EPOCH_MS
from testkit.stream_server import RawClient, StreamServer

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = (
    "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
)
MASK = b"\x01\x02\x03\x04"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    with StreamServer(
        tmp_path_factory.mktemp("ws"), heartbeat_s=0.6, websocket_message_max_bytes=1_000
    ) as running:
        running.publish("m1", "count=3")
        yield running


@pytest.fixture(autouse=True)
def _close_clients(server: StreamServer) -> Iterator[None]:
    yield
    server.close_clients()


def viewer(server: StreamServer, match_id: str = "m1", query: str = "") -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}/ws/match/{match_id}{query}", open_timeout=10)


def message(connection: ClientConnection, event: str) -> dict[str, Any]:
    """The next message of a kind."""
    while True:
        found: dict[str, Any] = json.loads(connection.recv(timeout=10))
        if found["event"] == event:
            return found


def raw(server: StreamServer) -> RawClient:
    """A connection after its handshake, of which every byte can be sent."""
    client = server.client()
    client.send(f"GET /ws/match/m1 HTTP/1.1\r\n{HANDSHAKE}\r\n")
    status, headers = client.head()
    accept = base64.b64encode(
        hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    ).decode()
    assert status == 101
    assert headers["sec-websocket-accept"] == accept.lower()
    return client


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes | None = MASK) -> bytes:
    """A client's frame."""
    head = bytes([(0x80 if fin else 0) | opcode])
    bit = 0x80 if mask else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    else:
        head += bytes([bit | 126]) + struct.pack("!H", len(payload))
    if mask:
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        head += mask
    return head + payload


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """A server's frames: opcode and payload."""
    found = []
    while data:
        opcode, length, start = data[0] & 15, data[1], 2
        assert not data[1] & 0x80, "a server must not mask"
        if length == 126:
            length, start = struct.unpack("!H", data[2:4])[0], 4
        found.append((opcode, data[start : start + length]))
        data = data[start + length :]
    return found


def close_code(client: RawClient) -> int:
    """The code with which the server ends a connection."""
    opcode, payload = frames_of(client.rest())[-1]
    assert opcode == 8
    code: int = struct.unpack("!H", payload[:2])[0]
    return code


def test_a_viewer_gets_what_an_sse_viewer_gets(server: StreamServer) -> None:
    sse = server.stream("m1")
    with viewer(server) as connection:
        assert message(connection, "retry")["data"]["retry_ms"] >= 1_000
        gap = message(connection, "gap")
        assert gap["data"]["snapshot"] == "/api/match/m1/state"
        last = server.publish("m1")
        score = message(connection, "score")
        assert score["id"] == last
        beat = message(connection, "heartbeat")["data"]
        if beat["seq"] == gap["data"]["seq"]:  # it was due before the hash at the new id had been read
            beat = message(connection, "heartbeat")["data"]
        assert f"{beat['epoch']}-{beat['seq']}" == last
    while (event := sse.event()).get("id") != last:
        pass
    assert json.loads(event["data"]) == score["data"]


def test_a_viewer_resumes_by_id(server: StreamServer) -> None:
    server.publish("resume", "count=5")
    with viewer(server, "resume", f"?last_event_id={EPOCH_MS}-2") as connection:
        ids = [message(connection, "score")["id"] for _ in range(3)]
    assert ids == [f"{EPOCH_MS}-{seq}" for seq in (3, 4, 5)]


def test_an_unknown_match_is_404(server: StreamServer) -> None:
    with pytest.raises(InvalidStatus) as refused:
        viewer(server, "none")
    assert refused.value.response.status_code == 404


def test_ping_is_answered_with_its_payload(server: StreamServer) -> None:
    with viewer(server) as connection:
        for _ in range(3):
            assert connection.ping(b"payload").wait(10)
        connection.send("what a viewer says is not heard")
        connection.send([b"not", b"even", b"in", b"parts"])
        assert connection.ping().wait(10)


def test_a_client_s_close_is_answered_with_its_code(server: StreamServer) -> None:
    with viewer(server) as connection:
        connection.close(4_000, "enough")
    assert connection.protocol.close_rcvd is not None
    assert connection.protocol.close_rcvd.code == 4_000


def test_a_close_without_a_code_is_answered_without_one(server: StreamServer) -> None:
    client = raw(server)
    client.send(frame(8))
    assert frames_of(client.rest())[-1] == (8, b"")


def test_permessage_deflate_is_not_negotiated(server: StreamServer) -> None:
    client = server.client()
    client.send(
        f"GET /ws/match/m1 HTTP/1.1\r\n{HANDSHAKE}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
    status, headers = client.head()
    assert status == 101
    assert "sec-websocket-extensions" not in headers


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(1, b"x" * 1_001), 1009),
        (frame(1, b"x" * 600, fin=False) + frame(0, b"x" * 600), 1009),
        (frame(1, b"hello", mask=None), 1002),
        (frame(0, b"no beginning"), 1002),
        (frame(1, b"a", fin=False) + frame(1, b"b"), 1002),
        (frame(3), 1002),
        (frame(11), 1002),
        (frame(9, b"p" * 126), 1002),
        (frame(9, b"p", fin=False), 1002),
        (bytes([0xC1]) + frame(1, b"rsv1")[1:], 1002),
        (frame(1, b"\xff\xfe"), 1007),
        (frame(8, b"\x03"), 1002),
        (frame(8, struct.pack("!H", 1_005)), 1002),
        (frame(8, struct.pack("!H", 1_000) + b"\xff"), 1007),
        (frame(9) * 2_000, 1008),
    ],
)
def test_what_is_wrong_is_answered_with_its_code_and_ends_nobody_else(
    server: StreamServer, sent: bytes, code: int
) -> None:
    bystander = raw(server)
    client = raw(server)
    client.send(sent)
    assert close_code(client) == code
    bystander.send(frame(9, b"still here"))
    bystander.until(b"\x8a\x0astill here")


def test_frames_may_come_byte_by_byte(server: StreamServer) -> None:
    client = raw(server)
    for byte in frame(9, b"slow ping") + frame(1, b"x" * 130) + frame(9, b"another"):
        client.send(bytes([byte]))
    client.until(b"\x8a\x09slow ping")
    client.until(b"\x8a\x07another")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Host: x\r\n", 426),
        (HANDSHAKE.replace("Version: 13", "Version: 8"), 426),
        (HANDSHAKE.replace(KEY, "c2hvcnQ="), 400),
        (HANDSHAKE.replace(KEY, "not base64"), 400),
        (HANDSHAKE.replace(f"Sec-WebSocket-Key: {KEY}\r\n", ""), 400),
        (HANDSHAKE.replace("Connection: Upgrade\r\n", ""), 426),
    ],
)
def test_a_wrong_handshake_is_refused(server: StreamServer, headers: str, status: int) -> None:
    client = server.client()
    client.send(f"GET /ws/match/m1 HTTP/1.1\r\n{headers}\r\n")
    found, answered, _ = client.answer()
    assert found == status
    if status == 426:
        assert answered["upgrade"] == "websocket"


def test_a_restart_is_told_with_its_wait(tmp_path_factory: pytest.TempPathFactory) -> None:
    with StreamServer(tmp_path_factory.mktemp("drain")) as own:
        own.publish("m1")
        with viewer(own) as connection:
            message(connection, "gap")
            own.process.stop()
            assert message(connection, "retry")["data"]["retry_ms"] >= 1_000
            with pytest.raises(ConnectionClosed) as closed:
                connection.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
