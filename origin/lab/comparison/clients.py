"""A process of clients of one protocol: ``python -m origin.lab.comparison.clients``.

It reads one line of JSON, the ``Orders``, connects, waits for the line ``go``, and writes a line of JSON
each half second. It ends at the next line, when its standard input ends, so it does not outlive the process
that started it, and after its time in any case.
"""

from __future__ import annotations

import json
import os
import random
import resource
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from heapq import heapify, heapreplace
from typing import Final, cast

from origin.lab.comparison.protocols import Follower, Protocol, ProtocolError, follower

__all__ = ["Orders", "main"]

_REPORT_S: Final = 0.5
_CONNECT_BATCH: Final = 50
_READ_BYTES: Final = 65_536
_WORD_S: Final = 300.0
_READ_OUT_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a process of clients does.

    Attributes:
        protocol: how they follow the match.
        port: of 127.0.0.1.
        match_id: the match.
        after: the id that all of them have, ``<epoch>-<seq>``.
        clients: how many.
        interval_s: between two polls of one client.
        seconds_max: after so many it ends by itself.
        seed: of the moments at which polling clients begin.
    """

    protocol: Protocol
    port: int
    match_id: str
    after: str
    clients: int
    interval_s: float
    seconds_max: float
    seed: int = 1

    def to_line(self) -> str:
        """As the process reads it."""
        return json.dumps(asdict(self)) + "\n"


@dataclass(slots=True)
class _Client:
    follower: Follower
    seen: int
    sock: socket.socket | None = None
    unsent: bytes = b""
    waits: bool = False


@dataclass(slots=True)
class _Counts:
    requests: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    begun: int = 0
    reconnects: int = 0
    late_polls: int = 0
    failures: dict[str, int] = field(default_factory=dict)


class _Crowd:
    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.counts = _Counts()
        #: Whether the match is over: what is on its way is read, and nothing more is asked for.
        self.is_over = False
        #: By seq: the UTC seconds at which a client had it, as they came since the last report.
        self.receipts: dict[int, list[float]] = {}
        self.selector = selectors.DefaultSelector()
        base = int(orders.after.partition("-")[2])
        self.clients = [
            _Client(follower(orders.protocol, orders.match_id, orders.after), base)
            for _ in range(orders.clients)
        ]

    def connect(self, client: _Client) -> None:
        sock = socket.create_connection(("127.0.0.1", self.orders.port), timeout=30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        client.sock, client.follower.buffer, client.waits = sock, b"", False
        self.selector.register(sock, selectors.EVENT_READ, client)

    def close(self, client: _Client) -> None:
        if client.sock is not None:
            self.selector.unregister(client.sock)
            client.sock.close()
            client.sock = None

    def send(self, client: _Client, request: bytes) -> None:
        if client.sock is None:
            self.counts.reconnects += 1
            self.connect(client)
        client.waits = True
        self.counts.requests += 1
        self.counts.bytes_up += len(request)
        cast("socket.socket", client.sock).send(
            request
        )  # a few hundred bytes on a connection whose buffer is empty

    def read(self, client: _Client) -> None:
        try:
            data = cast("socket.socket", client.sock).recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(client, "closed by the server" if client.waits else "")
            return
        self.counts.bytes_down += len(data)
        try:
            answer = client.follower.take(data)
        except (ProtocolError, ValueError) as error:
            self._end(client, str(error))
            return
        if answer.seq > client.seen:
            now_s = time.time()
            for seq in range(client.seen + 1, answer.seq + 1):
                self.receipts.setdefault(seq, []).append(now_s)
            client.seen = answer.seq
        if answer.complete:
            client.waits = False
        if answer.request is not None and not self.is_over:
            self.send(client, answer.request)

    def _end(self, client: _Client, why: str) -> None:
        self.close(client)
        if why:
            self.counts.failures[why] = self.counts.failures.get(why, 0) + 1

    def report(self, phase: str) -> None:
        receipts = {str(seq): [round(at_s, 6) for at_s in times] for seq, times in self.receipts.items()}
        self.receipts = {}
        line = {"phase": phase, "at_s": time.time(), **asdict(self.counts), "receipts": receipts}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def main() -> int:
    """Follow the match until standard input ends."""
    orders = Orders(**json.loads(sys.stdin.buffer.readline()))
    # Ctrl-C reaches every process of the terminal; this one ends when the one that started it does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = _Crowd(orders)
    for number, client in enumerate(crowd.clients):
        crowd.connect(client)
        if not client.follower.is_polling:
            crowd.send(client, client.follower.request())
        if number % _CONNECT_BATCH == 0:
            _turn(crowd, 0)
    crowd.counts.begun = len(crowd.clients)
    stdin = sys.stdin.fileno()
    os.set_blocking(stdin, False)
    crowd.selector.register(stdin, selectors.EVENT_READ, None)
    crowd.report("ready")
    # All protocols begin at the same moment, when they are told to.
    if not _wait_for(crowd, b"go"):
        return 0
    draw = random.Random(orders.seed)  # noqa: S311 - moments of polling
    polling = orders.protocol in ("poll", "conditional")
    now_s = time.monotonic()
    end_s, report_s = now_s + orders.seconds_max, now_s + _REPORT_S
    # Each client has its own moment in the interval, as a crowd that came over time has.
    due = [
        (now_s + draw.random() * orders.interval_s, number)
        for number in range(orders.clients if polling else 0)
    ]
    heapify(due)
    while now_s < end_s:
        next_s = min(report_s, due[0][0] if due else report_s)
        if _turn(crowd, max(0.0, next_s - time.monotonic())) is not None:
            break
        now_s = time.monotonic()
        while due and due[0][0] <= now_s:
            at_s, number = due[0]
            client = crowd.clients[number]
            if client.waits:
                crowd.counts.late_polls += (
                    1  # its last answer is still to come: a browser would not ask either
                )
            else:
                crowd.send(client, client.follower.request())
            heapreplace(due, (at_s + orders.interval_s, number))
        if now_s >= report_s:
            crowd.report("running")
            report_s = now_s + _REPORT_S
    _read_out(crowd)
    crowd.report("done")
    return 0


def _read_out(crowd: _Crowd) -> None:
    """Read what is on its way still, and ask for nothing more: a machine that is busy answers late."""
    crowd.is_over = True
    deadline_s, received = time.monotonic() + _READ_OUT_S, -1
    while time.monotonic() < deadline_s:
        before, received = received, sum(map(len, crowd.receipts.values()))
        waits = any(client.waits for client in crowd.clients if client.follower.is_polling)
        if received == before and not waits:
            return
        _turn(crowd, _REPORT_S)


def _wait_for(crowd: _Crowd, word: bytes) -> bool:
    """Read what comes until standard input brings a word; False if it ended, or brought another."""
    deadline_s = time.monotonic() + _WORD_S
    while time.monotonic() < deadline_s:
        told = _turn(crowd, _REPORT_S)
        if told is not None:
            return told.strip() == word
    return False


def _turn(crowd: _Crowd, timeout_s: float) -> bytes | None:
    """Read what came; what standard input brought, empty at its end, or None for nothing."""
    told = None
    for key, _ in crowd.selector.select(timeout_s):
        if key.data is not None:
            crowd.read(key.data)
            continue
        with suppress(BlockingIOError):
            told = os.read(sys.stdin.fileno(), 1_024)
    return told


if __name__ == "__main__":
    sys.exit(main())
