"""Honest clients get their answers while strangers attack: those of ``bench.front_door``, in small numbers.

Nothing here asserts how long an answer takes, only that it comes while the attack goes on. The limits that
would end an attack by themselves are set beyond the length of a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testkit.built_widget import manifest
from testkit.faults.honest_clients import KINDS, Waited, probe, read_slowly
from testkit.faults.strangers import MATCH, AttackProcess, Target
from testkit.services.origin import OriginServer

ANSWERED_S = 10.0
SLOW_READER_BYTES_PER_S = 1_500_000
FEW_FILES = 200
PATIENT = {"TOUCHLINE_STREAM_FIRST_BYTES_S": "60", "TOUCHLINE_STREAM_KEEP_ALIVE_S": "60"}

Start = Callable[[int], OriginServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts an origin with a limit of open files, 0 for none of its own; it knows the match."""
    servers: list[OriginServer] = []

    def started(open_files: int) -> OriginServer:
        server = OriginServer(tmp_path, env=PATIENT, open_files=open_files)
        servers.append(server)
        server.start()
        teams = {"home": {"name": "Home", "code": "HOM"}, "away": {"name": "Away", "code": "AWY"}}
        info = {"match_id": MATCH, "event_id": "info", "rev": 1, "op": "ADD", "type": "MATCH_INFO"}
        assert server.post({**info, "detail": teams}) == 200
        server.wait_for_seq(MATCH, 1)
        return server

    yield started
    for server in servers:
        server.kill()


async def _ask_for_all(port: int) -> list[Waited]:
    return await asyncio.gather(*(probe(kind, port, MATCH, ANSWERED_S) for kind in KINDS))


def assert_answered(server: OriginServer) -> None:
    """A page, ``/healthz``, ingest and a new viewer are answered as they should be."""
    asked = asyncio.run(_ask_for_all(server.port))
    assert {one.kind: one.failure for one in asked} == dict.fromkeys(KINDS, "")


def worker_files(server: OriginServer) -> int:
    """How many files the worker has open."""
    assert server.process is not None
    (worker,) = server.process.children
    return len(list(Path(f"/proc/{worker}/fd").iterdir()))


def largest_file() -> str:
    """The path of the largest file of the widget."""
    files = manifest()["files"].values()
    return f"/widget/{max(files, key=lambda file: file['bytes'])['path']}"


@pytest.mark.parametrize(
    ("attack", "size", "connections", "open_files"),
    [
        pytest.param("spellings", 0.1, 92, 0, id="streams in all spellings"),
        pytest.param("pipeline-unread", 1.0, 6, 0, id="pipelines whose answers nobody reads"),
        pytest.param("pipeline-slow", 1.0, 6, 0, id="pipelines whose answers are read slowly"),
        pytest.param("half-rst", 0.3, 450, FEW_FILES, id="half requests that are reset"),
        pytest.param("half-fin", 0.3, 450, FEW_FILES, id="half requests that are closed"),
        pytest.param("one-byte", 0.5, 300, FEW_FILES, id="more one-byte connections than files"),
        pytest.param("idle", 0.3, 300, FEW_FILES, id="more idle keep-alives than files"),
        pytest.param("stuck-readers", 0.1, 30, 0, id="readers that read nothing"),
        pytest.param("stuck-readers", 0.9, 250, FEW_FILES, id="more readers that read nothing than files"),
        pytest.param("frames", 0.4, 2, 0, id="a flood of WebSocket frames"),
        pytest.param("ahead", 0.1, 600, 0, id="viewers ahead of the match"),
        pytest.param("endless", 0.4, 2, 0, id="pipelines without end"),
    ],
)
def test_an_attack_keeps_nobody_else_from_an_answer(
    start: Start, attack: str, size: float, connections: int, open_files: int
) -> None:
    file = largest_file() if attack == "stuck-readers" else ""
    server = start(open_files)
    with AttackProcess(attack, Target(server.port, file, size), seconds=60) as strangers:
        strangers.wait_in_place()
        assert_answered(server)
        time.sleep(1)
        assert_answered(server)
        report = strangers.finish()
    assert report["opened"] >= connections
    assert_answered(server)


def test_refused_connections_that_nobody_closes_give_way(start: Start) -> None:
    """Each lingers until its client has seen the end, which these never do; more of them come than files."""
    server = start(FEW_FILES)
    with contextlib.ExitStack() as stack:
        for _ in range(3 * FEW_FILES):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(b"\x16\x03\x01 not HTTP")
        assert_answered(server)


@pytest.mark.parametrize("attack", ["half-rst", "half-fin"])
def test_half_a_request_leaves_nothing_behind_once_its_client_is_gone(start: Start, attack: str) -> None:
    server = start(0)
    before = worker_files(server)
    with AttackProcess(attack, Target(server.port, size=0.2), seconds=60) as strangers:
        strangers.wait_in_place()
        assert strangers.finish()["opened"] == 300
    deadline = time.monotonic() + ANSWERED_S
    while (kept := worker_files(server) - before) > 10:  # the log and the threads may have opened a few
        assert time.monotonic() < deadline, f"{kept} files are still open for clients that are gone"
        time.sleep(0.1)


def test_a_slow_reader_gets_the_whole_file_beside_readers_that_read_nothing(start: Start) -> None:
    file = largest_file()
    server = start(0)

    async def read() -> tuple[int, int]:
        reading = asyncio.create_task(read_slowly(server.port, file, SLOW_READER_BYTES_PER_S, 60))
        await asyncio.sleep(0.5)  # it is the one that has been there for longest
        with AttackProcess("stuck-readers", Target(server.port, file, 0.2), seconds=60) as strangers:
            received = await reading
            assert strangers.finish()["opened"] >= 60
        return received

    received, size = asyncio.run(read())
    assert received == size > 1_000_000


def test_a_pipeline_that_reads_its_answers_goes_on_or_is_ended(start: Start) -> None:
    """A head that is cut by the receive window must not keep the window shut."""
    server = start(0)
    request = b"OPTIONS /stream/x HTTP/1.1\r\nHost: a\r\n\r\n"
    count = 50_000
    unsent = memoryview(request * count)
    answers, tail, ended = 0, b"", False
    with socket.create_connection(("127.0.0.1", server.port)) as sock, selectors.DefaultSelector() as ready:
        sock.setblocking(False)
        ready.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while answers < count and not ended:
            events = ready.select(ANSWERED_S)
            assert events, f"nothing moves: {answers} answers, {len(unsent) // len(request)} requests unsent"
            mask = events[0][1]
            try:
                if mask & selectors.EVENT_WRITE:
                    unsent = unsent[sock.send(unsent) :]
                    if not unsent:
                        ready.modify(sock, selectors.EVENT_READ)
                if mask & selectors.EVENT_READ:
                    data = sock.recv(1 << 20)
                    ended = not data
                    answers += (tail + data).count(b"HTTP/1.1 ")
                    tail = (tail + data)[-8:]
            except BlockingIOError:
                pass
            except ConnectionError:
                ended = True
    assert answers > 0
    assert_answered(server)
