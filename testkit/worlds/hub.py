"""A hub, a bus with faults and viewers with real sockets, all on one thread and stepped by a test.

What may block in production runs here when the test says so: the bus readers are a list of jobs, and the
bus's thread is the test itself.
"""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from origin.bus import Published, Subscription
from origin.bus.memory import MemoryBus
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.hub import Hub
from origin.stream.worker.connections import Connections
from shared_state import DeltaId, Event, Receipt, Replica, decode_delta, encode_delta

__all__ = ["EPOCH", "MATCH", "Bench", "FaultyBus", "Jobs", "Viewer", "World"]

MATCH = "m1"
EPOCH = 1_700_000_000_000


class FaultyBus(MemoryBus):
    """A memory bus whose live deltas can be lost, doubled and out of order, which no bus promises to do.

    Attributes:
        lose: how many of the next live deltas are lost.
        hold: whether live deltas are held back until ``release``.
        on_told: called with each live delta as it is given to the subscriber.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lose = 0
        self.hold = False
        self.on_told: Callable[[Published], None] = _ignore
        self._held: list[tuple[Callable[[Published], None], Published]] = []
        self._told: list[tuple[Callable[[Published], None], Published]] = []
        self._gap_listeners: list[Callable[[DeltaId], None]] = []

    def subscribe(
        self,
        match_id: str,
        on_delta: Callable[[Published], None],
        on_gap: Callable[[DeltaId], None] | None = None,
    ) -> Subscription:
        def tell(published: Published) -> None:
            if self.lose:
                self.lose -= 1
            elif self.hold:
                self._held.append((on_delta, published))
            else:
                self._told.append((on_delta, published))
                self.on_told(published)
                on_delta(published)

        if on_gap is not None:
            self._gap_listeners.append(on_gap)
        return super().subscribe(match_id, tell)

    def release(self, *, backwards: bool) -> None:
        """Deliver what was held back."""
        self.hold = False
        held, self._held = self._held, []
        for on_delta, published in reversed(held) if backwards else held:
            self.on_told(published)
            on_delta(published)

    def repeat(self, index: int) -> None:
        """Deliver a delta again that was delivered before."""
        if self._told:
            on_delta, published = self._told[index % len(self._told)]
            on_delta(published)

    def trim(self, keep: int) -> None:
        """Forget all but the latest deltas, as a bounded replay does."""
        channel = self._channels.get(MATCH)
        if channel is not None:
            while len(channel.replay) > keep:
                channel.replay.popleft()

    def say_gap(self) -> None:
        """What a bus says that lost live deltas for good."""
        snapshot = self.snapshot(MATCH)
        if snapshot is not None:
            for on_gap in self._gap_listeners:
                on_gap(snapshot.id)

    def forget_listeners(self) -> None:
        """The process that subscribed is gone."""
        self._held.clear()
        self._told.clear()
        self._gap_listeners.clear()
        self.close()


def _ignore(published: Published) -> None:
    del published


class Jobs(Executor):
    """Bus reads that run when the test says so."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._waiting.append(lambda: fn(*args, **kwargs))
        return Future()

    def run(self, count: int) -> int:
        """Run some; how many there were to run."""
        ran = self._waiting[:count]
        del self._waiting[:count]
        for job in ran:
            job()
        return len(ran)


class Viewer:
    """One reader with its replica; it does what docs/protocol.md tells a client to do.

    Attributes:
        stands: the id this connection has been brought to; the next delta must follow it.
        reading: False for one that takes nothing.
    """

    def __init__(self, bus: FaultyBus, *, websocket: bool = False, several: bool = False) -> None:
        self._bus = bus
        self._several = several
        self._websocket = websocket
        self.replica: Replica | None = None
        self.stands: DeltaId | None = None
        self.reading = True
        self.sock: socket.socket | None = None
        self._bytes = b""
        self._headed = False
        self._resumes: DeltaId | None = None

    def connect(self, sock: socket.socket) -> None:
        """Ask for the stream, from where it stands."""
        self.sock = sock
        self._bytes, self._headed = b"", False
        after = self.replica.position if self.replica is not None else None
        self.stands = after
        resume = f"?last_event_id={after}" if after is not None else ""
        if self._several:
            # The other one is a match that nobody knows.
            place = f"@{after}" if after is not None else ""
            sock.sendall(f"GET /stream?m={MATCH}{place}&m=nobody HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            # Its answer comes when it is known, which may be after a heartbeat.
            self.stands = None
            self._resumes = after
        elif self._websocket:
            sock.sendall(
                f"GET /ws/match/{MATCH}{resume} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
        else:
            sock.sendall(f"GET /stream/{MATCH}{resume} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def disconnect(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def read(self) -> bool:
        """Take what is there; whether there was anything."""
        if self.sock is None or not self.reading:
            return False
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return False
        except ConnectionError:
            data = b""
        if not data:
            self.disconnect()
            return True
        self._bytes += data
        for event in self._events():
            self._handle(event)
        return True

    def _events(self) -> list[dict[str, Any]]:
        if not self._headed:
            if b"\r\n\r\n" not in self._bytes:
                return []
            head, _, self._bytes = self._bytes.partition(b"\r\n\r\n")
            self._headed = True
            if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")):
                assert head.startswith((b"HTTP/1.1 503", b"HTTP/1.1 404")), head
                self.disconnect()
                return []
        return self._messages() if self._websocket else self._sse()

    def _sse(self) -> list[dict[str, Any]]:
        whole, mark, self._bytes = self._bytes.rpartition(b"\n\n")
        events = []
        for block in (whole + mark).decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if "data" in fields:
                event = {"event": fields["event"], "data": json.loads(fields["data"])}
                events.append({**event, "id": fields["id"]} if "id" in fields else event)
        return events

    def _messages(self) -> list[dict[str, Any]]:
        events = []
        while len(self._bytes) >= 2:
            opcode, length, start = self._bytes[0], self._bytes[1], 2
            if length == 126:
                length, start = int.from_bytes(self._bytes[2:4], "big"), 4
            if len(self._bytes) < start + length:
                break
            if opcode == 0x81:
                events.append(json.loads(self._bytes[start : start + length]))
            self._bytes = self._bytes[start + length :]
        return events

    def _handle(self, event: dict[str, Any]) -> None:
        data = event["data"]
        if self._several:
            if event["event"] == "end":
                assert data == {"match_id": "nobody", "reason": "unknown_match"}
                return
            if event["event"] == "heartbeat":
                if MATCH not in data["matches"]:
                    return
                id_, data["hash"] = data["matches"][MATCH]
                data["epoch"], data["seq"] = DeltaId.parse(id_)
            else:
                name, _, event["id"] = event["id"].partition("@")
                assert name == MATCH
            if self.stands is None:
                self.stands = self._resumes  # nothing, or what was missed, is its answer; or a gap
        match event["event"]:
            case "gap":
                self.stands = DeltaId.parse(event["id"])
                self._fetch_snapshot()
            case "score":
                self._take(DeltaId.parse(event["id"]), json.dumps(data))
            case "heartbeat" if self.replica is not None:
                if (
                    self.replica.check(DeltaId(data["epoch"], data["seq"]), data["hash"])
                    is Receipt.NEED_SNAPSHOT
                ):
                    self._fetch_snapshot()

    def _take(self, id_: DeltaId, delta: str) -> None:
        # The promise under test: never a hole, never a part, never twice.
        assert self.stands is not None, f"{id_} came before any answer"
        assert id_ == (self.stands.epoch, self.stands.seq + 1), f"{id_} came at {self.stands}"
        self.stands = id_
        assert self.replica is not None
        if self.replica.receive(decode_delta(MATCH, id_, delta)) is Receipt.NEED_SNAPSHOT:
            self._fetch_snapshot()

    def _fetch_snapshot(self) -> None:
        snapshot = self._bus.snapshot(MATCH)
        assert snapshot is not None
        self.replica = Replica.restore(snapshot.data)


class _Errors(logging.Handler):
    """Keeps what the reactor logs instead of dying of it."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(self.format(record))


class World:
    """The hub with its loop.

    Attributes:
        errors: what went wrong in it, by its log.
    """

    def __init__(self, bus: FaultyBus, config: StreamConfig) -> None:
        self.errors: list[str] = []
        self._handler = _Errors(self.errors)
        logging.getLogger("origin.stream").addHandler(self._handler)
        self.bus = bus
        self._config = config
        self._ahead_s = 0.0
        self.start()

    def start(self) -> None:
        self.jobs = Jobs()
        self.hub = Hub(self.bus, self._config, readers=self.jobs, connections_max=1_000)
        self._connections = Connections(self.hub, lambda connection: connection.sock.close())

    def connect(self, viewer: Viewer) -> None:
        ours, theirs = socket.socketpair()
        for one in (ours, theirs):
            one.setblocking(False)
        viewer.connect(theirs)
        self.add(ours)

    def add(self, sock: socket.socket) -> None:
        """Take a connection, whatever its client is."""
        self._connections.add(sock, "", None)

    def accept(self, listener: socket.socket) -> None:
        """Take the connections that wait at a listener."""
        self._connections.accept(listener, None, 100)

    def turn(self) -> None:
        """One round of the loop."""
        self.hub.reactor.dispatch()

    def beat(self, rounds: int) -> None:
        """Let time pass, with heartbeats to every slice in each round."""
        for _ in range(rounds * 30):
            self._ahead_s += self._config.heartbeat_s / 30
            self.hub.tick(time.monotonic() + self._ahead_s)
            self.turn()

    def stop(self) -> None:
        """The process ends: every socket is closed."""
        self._connections.close_all()
        self.hub.close()
        self.bus.forget_listeners()
        self._ahead_s = 0.0

    def end(self) -> None:
        """The end of the test."""
        self.stop()
        logging.getLogger("origin.stream").removeHandler(self._handler)


class Bench:
    """A world, its log, and one step for all that is ready."""

    def __init__(self, **config: Any) -> None:
        self.bus = FaultyBus()
        defaults: dict[str, Any] = {
            "heartbeat_s": 30.0,
            "replay_window_deltas": 4,
            "stalled_s": 1e6,
            "broadcast_interval_s": 0.0,
        }
        self.world = World(self.bus, StreamConfig(**{**defaults, "bus_wait_s": 1e6, **config}))
        self.origin = Replica.begin(MATCH, EPOCH)
        self.viewers: list[Viewer] = []

    def publish(self, count: int = 1) -> DeltaId:
        for _ in range(count):
            number = self.origin.position.seq + 1
            event = Event(
                match_id=MATCH,
                event_id=f"g{number}",
                rev=1,
                op="ADD",
                type="GOAL",
                period="H1",
                minute=1,
                team="home",
            )
            delta = self.origin.assign(event, EPOCH + number)
            assert delta is not None
            self.bus.publish(MATCH, Published(delta.id, encode_delta(delta)), self.origin.snapshot())
        return self.origin.position

    def viewer(self, *, at: int | None = None, websocket: bool = False) -> Viewer:
        """A viewer that asks; with ``at``, one that has the match up to that seq."""
        viewer = Viewer(self.bus, websocket=websocket)
        if at is not None:
            viewer.replica = Replica.begin(MATCH, EPOCH)
            viewer.replica.position = DeltaId(EPOCH, at)
        self.viewers.append(viewer)
        self.world.connect(viewer)
        return viewer

    def settle(self) -> None:
        for _ in range(20):
            self.world.turn()
            self.world.jobs.run(100)
            for viewer in self.viewers:
                viewer.read()

    def end(self) -> None:
        """The end of the test, in which nothing may have gone wrong."""
        for viewer in self.viewers:
            viewer.disconnect()
        self.world.end()
        assert not self.world.errors

    def seq(self, viewer: Viewer) -> int | None:
        return None if viewer.stands is None else viewer.stands.seq
