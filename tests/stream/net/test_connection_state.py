"""The table of a connection's life is complete, and what it says is what happens, on real sockets."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from origin.bus.memory import MemoryBus
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.hub import Hub
from origin.stream.net.connection_state import (
    REACTIONS,
    TRANSITIONS,
    Happening,
    IllegalTransition,
    Reaction,
    State,
    happening_of,
)
from origin.stream.net.slow_responses import PageSocket, SlowResponses
from origin.stream.worker.connections import Connection, Connections
from testkit.worlds.hub import Bench, Jobs


@pytest.mark.parametrize("state", State)
def test_every_happening_has_a_row_in_every_state(state: State) -> None:
    assert set(REACTIONS[state]) == set(Happening)


def test_every_state_can_be_reached_and_left() -> None:
    reached = {state for edges in TRANSITIONS.values() for state in edges}
    assert reached == set(State)
    for state, edges in TRANSITIONS.items():
        assert State.CLOSED in edges or state is State.CLOSED
    assert not TRANSITIONS[State.CLOSED]


@pytest.mark.parametrize("state", State)
def test_a_connection_goes_along_the_edges_only(state: State) -> None:
    for after in State:
        connection = Connection(socket.socket(), None, None)
        with contextlib.closing(connection.sock):
            connection.state = state
            if after in TRANSITIONS[state]:
                connection.move(after)
                assert connection.state is after
            else:
                with pytest.raises(IllegalTransition, match=f"from {state.value!r} to {after.value!r}"):
                    connection.move(after)


@pytest.mark.parametrize(
    ("mask", "happening"),
    [
        (select.EPOLLIN, Happening.READABLE),
        (select.EPOLLIN | select.EPOLLRDHUP, Happening.PEER_ENDED),
        (select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP, Happening.GONE),
        (select.EPOLLERR, Happening.GONE),
        (select.EPOLLOUT, Happening.WRITABLE),
    ],
)
def test_of_several_events_the_one_that_ends_most_counts(mask: int, happening: Happening) -> None:
    assert happening_of(mask) is happening


# --- on real sockets: what the table says is what is done


class Door:
    """Connections at a TCP listener, their hub, and clients."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.world = self.bench.world
        self.pages: list[Connection] = []
        self.connections = Connections(self.world.hub, self.pages.append)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.clients: list[socket.socket] = []

    def client(self, data: bytes = b"") -> socket.socket:
        client = socket.create_connection(self.listener.getsockname())
        client.settimeout(5)
        self.clients.append(client)
        if data:
            client.sendall(data)
        time.sleep(0.01)  # the kernel's own time between two sockets
        self.connections.accept(self.listener, None, 100)
        self.turn()
        return client

    def turn(self) -> None:
        for _ in range(3):
            time.sleep(0.01)
            self.world.turn()

    @property
    def open(self) -> int:
        return self.connections.unfinished

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.connections.close_all()
        for page in self.pages:
            page.sock.close()
        self.listener.close()
        self.bench.end()


@pytest.fixture
def door() -> Iterator[Door]:
    with contextlib.closing(Door()) as door:
        yield door


HALF = b"GET /stream/m1 HTTP/1.1\r\nHo"
WHOLE = b"GET /stream/m1 HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = b"POST /ingest/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345"


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def shut(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("begun", [b"", b"G", HALF, BODY])
@pytest.mark.parametrize("leave", [reset, shut, socket.socket.close])
def test_half_a_request_and_an_end_behind_it_is_dropped_at_once(
    door: Door, begun: bytes, leave: Callable[[socket.socket], None]
) -> None:
    client = door.client(begun)
    assert door.open == 1
    leave(client)
    door.turn()
    assert door.open == 0
    assert not door.world.hub.reactor.handlers


def test_a_whole_request_and_an_end_behind_it_is_answered(door: Door) -> None:
    door.bench.publish()
    client = socket.create_connection(door.listener.getsockname())
    door.clients.append(client)
    client.sendall(WHOLE)
    shut(client)
    time.sleep(0.01)
    door.connections.accept(door.listener, None, 100)
    door.turn()
    door.world.jobs.run(100)
    door.turn()
    client.settimeout(5)
    assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")


def parked(door: Door) -> socket.socket:
    door.bench.publish()
    client = door.client(WHOLE)
    assert door.world.hub.parked == 1
    return client


def test_a_parked_client_that_ends_its_side_is_answered_all_the_same(door: Door) -> None:
    client = parked(door)
    shut(client)
    door.turn()
    assert door.world.hub.parked == 1
    door.world.jobs.run(100)
    door.turn()
    assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert door.world.hub.viewers == 1


def test_a_parked_client_that_is_reset_is_forgotten(door: Door) -> None:
    reset(parked(door))
    door.turn()
    assert door.world.hub.parked == 0
    door.world.jobs.run(100)
    door.turn()
    assert door.world.hub.viewers == 0
    assert not door.world.hub.reactor.handlers


def streaming(door: Door) -> socket.socket:
    client = parked(door)
    door.world.jobs.run(100)
    door.turn()
    assert door.world.hub.viewers == 1
    assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
    return client


def test_a_viewer_that_ends_its_side_gets_the_next_delta(door: Door) -> None:
    client = streaming(door)
    shut(client)
    door.turn()
    assert door.world.hub.viewers == 1
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while client.recv(65_536):
            pass
    client.settimeout(5)
    door.bench.publish()
    door.turn()
    assert b"event: score" in client.recv(65_536)
    client.close()
    door.bench.publish()
    door.turn()
    door.bench.publish()
    door.turn()
    assert door.world.hub.viewers == 0


@pytest.mark.parametrize("leave", [reset, socket.socket.close])
def test_a_viewer_that_left_is_gone_without_any_delta(
    door: Door, leave: Callable[[socket.socket], None]
) -> None:
    leave(streaming(door))
    door.turn()
    assert door.world.hub.viewers == 0
    assert not door.world.hub.reactor.handlers


def test_a_deadline_refuses_what_began_and_closes_what_did_not(door: Door) -> None:
    begun, body, idle = door.client(HALF), door.client(BODY), door.client()
    door.connections.drop_overdue(time.monotonic() + 60)
    assert begun.recv(65_536).startswith(b"HTTP/1.1 408 ")
    assert body.recv(65_536).startswith(b"HTTP/1.1 408 ")
    assert idle.recv(65_536) == b""
    assert door.open == 0


def test_eviction_closes_heads_and_refuses_bodies(door: Door) -> None:
    half, body = door.client(HALF), door.client(BODY)
    assert door.connections.evict()
    assert half.recv(65_536) == b""
    assert door.connections.evict()
    assert body.recv(65_536).startswith(b"HTTP/1.1 503 ")
    assert not door.connections.evict()
    assert door.world.hub.metrics.evicted == 2


@pytest.mark.parametrize("state", [State.READING_HEAD, State.READING_BODY, State.PARKED])
def test_a_mistake_of_ours_ends_that_connection_alone(
    door: Door, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    other = door.client(HALF)
    data = {State.READING_HEAD: HALF, State.READING_BODY: BODY, State.PARKED: WHOLE}[state]
    if state is State.PARKED:
        door.bench.publish()
    client = door.client(data)

    def mistaken(*arguments: object) -> None:
        raise ZeroDivisionError

    step = {State.READING_HEAD: "_handle_head", State.READING_BODY: "_take_body", State.PARKED: "_admit"}[
        state
    ]
    with monkeypatch.context() as patch:
        patch.setattr(door.connections, step, mistaken)
        if state is State.PARKED:
            door.world.jobs.run(100)
        else:
            client.sendall(b"st: x\r\n\r\n" if state is State.READING_HEAD else b"678")
        door.turn()
    assert client.recv(65_536) == b""
    assert door.open == 1
    assert door.world.hub.parked == 0
    assert [error.splitlines()[-1] for error in door.world.errors] == ["ZeroDivisionError"]
    door.world.errors.clear()
    other.sendall(b"st: x\r\n\r\n")
    door.turn()
    door.world.jobs.run(100)
    door.turn()
    assert other.recv(65_536).startswith(b"HTTP/1.1 ")


def answering() -> tuple[SlowResponses, PageSocket, socket.socket, list[str], Hub]:
    hub = Hub(MemoryBus(), StreamConfig(), readers=Jobs(), connections_max=10)
    slow = SlowResponses(hub.reactor, stalled_s=10.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    page = PageSocket(ours.family, ours.detach())
    page.sendall(b"x" * 20_000_000)
    done: list[str] = []
    slow.take(page, lambda: done.append("done"), lambda: done.append("lost"))
    return slow, page, client, done, hub


def test_a_slow_reader_that_ends_its_side_gets_the_rest() -> None:
    slow, page, client, done, hub = answering()
    shut(client)
    got = 0
    while got < 20_000_000:
        hub.reactor.dispatch(0.05)
        got += len(client.recv(1 << 20))
    hub.reactor.dispatch(0.05)
    assert (done, len(slow)) == (["done"], 0)
    for one in (page, client, hub):
        one.close()


def test_a_slow_reader_that_is_reset_is_lost() -> None:
    slow, _, client, done, hub = answering()
    reset(client)
    hub.reactor.dispatch(1.0)
    assert (done, len(slow)) == (["lost"], 0)
    hub.close()


def test_the_table_names_what_a_thread_s_connection_can_meet() -> None:
    # It is in no epoll set, so only a mistake of the thread itself ends it.
    assert {
        happening for happening, do in REACTIONS[State.WITH_THREAD].items() if do is not Reaction.IGNORE
    } == {Happening.MISTAKE}
