"""What any stranger on the internet can do to an origin: the attackers of the tests and of the bench.

    python -m testkit.faults.strangers NAME --port PORT [--seconds 10] [--size 1.0] [--file /widget/…]

Each attack is a crowd of connections, and each connection follows a script: what it sends, whether it reads,
how it leaves. A crowd is a process of its own, so that it does not take the interpreter of the process that
measures. It connects to 127.0.0.1 only, opens a bounded number of connections, and ends by itself after
``--seconds`` or as soon as its standard input is closed. It prints ``in place`` when each script has begun
once, and at its end one line of JSON with what it saw. ``--size`` scales the number of connections.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import http.client
import json
import resource
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from shared_state.jsontext import JsonObject

__all__ = ["ATTACKS", "MATCH", "NAMES", "SPELLINGS", "Attack", "AttackProcess", "Target"]

#: The match that is attacked and probed; the origin must know it.
MATCH = "m1"

ROOT = Path(__file__).parents[2]
HOST = "Host: strangers.example\r\n"
_OPEN_FILES = 20_000
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with zero seconds: close() sends RST
_TURN_S = 0.005
_SLOW_READ_BYTES = 512
_SLOW_READ_S = 0.05
_OPENED_AT_ONCE = 200
_ANSWER = b"HTTP/1.1 "
# The first answer's status line; no status is longer.
_STATUS_BYTES = 12


class Reads(Enum):
    """What a connection takes of its answers."""

    ALL = "all"
    NOTHING = "nothing"
    SLOWLY = "slowly"  #: 512 bytes, 20 times a second


class Leaves(Enum):
    """How a connection ends once it has sent all that it has to send."""

    NEVER = "never"
    BY_FIN = "fin"
    BY_RST = "rst"


@dataclass(frozen=True, slots=True)
class Script:
    """What one connection does.

    Attributes:
        label: what it is called in the report.
        opening: what it sends as soon as it is connected.
        then: what it sends after the first bytes of an answer have come, ``then_times`` times over.
        pause_s: how long it waits before each time.
        receive_buffer: bytes of SO_RCVBUF; 0 leaves the kernel's.
    """

    label: str
    opening: bytes
    then: bytes = b""
    then_times: int = 0
    pause_s: float = 0.0
    reads: Reads = Reads.ALL
    leaves: Leaves = Leaves.NEVER
    receive_buffer: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """An origin on 127.0.0.1.

    Attributes:
        file: the path of a large file that it serves, for the attacks that read one.
        size: the share of an attack's full number of connections.
    """

    port: int
    file: str = ""
    size: float = 1.0

    def times(self, count: int) -> int:
        """How many connections stand for ``count`` at this size; at least one."""
        return max(1, round(count * self.size))

    def head(self) -> tuple[int, int]:
        """Epoch and seq of the match.

        Raises:
            OSError: the origin does not answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", f"/api/match/{MATCH}/state")
            state = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return int(state["epoch"]), int(state["seq"])


@dataclass(frozen=True, slots=True)
class Attack:
    """One kind of attack.

    Attributes:
        title: what goes on at full size, for a table.
        scripts: the connections that are open at the same time.
        per_s: how many connections are opened per second, at most.
        rounds: how often each script is begun, at most: a connection that has ended is opened again.
        open_files: the limit that the attacked origin has at full size; 0 for the machine's own.
    """

    name: str
    title: str
    scripts: Callable[[Target], list[Script]]
    per_s: float = 1_000.0
    rounds: int = 1
    open_files: int = 0


# what they send -----------------------------------------------------------------------------------

_UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def _get(target: str, *, headers: str = "", method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    return f"{method} {target} {version}\r\n{HOST}{headers}\r\n".encode("latin-1")


def _spellings() -> dict[str, bytes]:
    """Requests that name a stream, each in another way.

    WSGI decodes a path and Flask merges its slashes, so some of them reach a route of streams although they
    do not begin with its prefix. Some are wrong, and must be refused at once.
    """
    plain = (
        f"/stream/{MATCH}",
        f"/%73tream/{MATCH}",
        f"/s%74ream/{MATCH}",
        f"//stream/{MATCH}",
        f"///stream//{MATCH}",
        f"/stream//{MATCH}",
        f"/stream%2f{MATCH}",
        f"/stream%2F{MATCH}",
        f"%2fstream/{MATCH}",
        f"/./stream/{MATCH}",
        f"/%2e/stream/{MATCH}",
        f"/stream/./{MATCH}",
        f"/x/../stream/{MATCH}",
        f"/x/%2e%2e/stream/{MATCH}",
        f"/stream/x/../{MATCH}",
        f"/stream/{MATCH}/",
        f"/stream/{MATCH};a=b",
        f"/stream/{MATCH}#fragment",
        f"/stream/%{ord(MATCH[0]):02x}{MATCH[1:]}",
        f"/%73tream/{MATCH}?last_event_id=1-1",
        f"http://h/stream/{MATCH}",
        f"http://h/%73tream/{MATCH}",
        f"http://h//stream/{MATCH}",
        f"HTTP://h/%73tream/{MATCH}",
        f"/stream/score?matchId={MATCH}",
        f"/%73tream/score?matchId={MATCH}",
        f"/stream/%73core?matchId={MATCH}",
        f"/stream%2fscore?matchId={MATCH}",
        f"//stream/score?matchId={MATCH}",
    )
    sockets = (
        f"/ws/match/{MATCH}",
        f"/%77s/match/{MATCH}",
        f"/ws%2fmatch/{MATCH}",
        f"/ws/match%2f{MATCH}",
        f"//ws/match/{MATCH}",
        f"/ws//match/{MATCH}",
        f"/ws/./match/{MATCH}",
        f"/x/../ws/match/{MATCH}",
        f"http://h/%77s/match/{MATCH}",
    )
    requests = {target: _get(target, headers="Accept: text/event-stream\r\n") for target in plain}
    requests |= {f"{target} (upgrade)": _get(target, headers=_UPGRADE) for target in sockets}
    encoded = f"/%73tream/{MATCH}"
    requests |= {
        f"{encoded} HTTP/1.0": _get(encoded, version="HTTP/1.0"),
        f"HEAD {encoded}": _get(encoded, method="HEAD"),
        f"POST {encoded}": _get(encoded, method="POST", headers="Content-Length: 0\r\n"),
        f"{encoded} with a body": _get(encoded, headers="Content-Length: 4\r\n") + b"body",
        f"{encoded} behind a page": _get("/healthz") + _get(encoded),
        f"/stream/{MATCH} behind a page": _get("/healthz") + _get(f"/stream/{MATCH}"),
        f"/stream/{MATCH} behind empty lines": b"\r\n" * 8 + _get(f"/stream/{MATCH}"),
        f"/stream/{MATCH} behind two spaces": _get(f" /stream/{MATCH}"),
    }
    return requests


#: Requests for a stream, by a label that shows how each is spelled.
SPELLINGS = _spellings()


def _each_spelling(target: Target) -> list[Script]:
    return [Script(label, request) for _ in range(target.times(20)) for label, request in SPELLINGS.items()]


def _six_hundred_requests() -> bytes:
    kinds = (
        _get(f"/match/{MATCH}"),
        _get("/stream/none"),
        _get(f"/match/{MATCH}", method="HEAD"),
        _get("/healthz"),
        _get("/stream/none", method="HEAD"),
        _get(f"/stream/{MATCH}", method="OPTIONS"),
    )
    return b"".join(kinds) * 100


def _pipelining(reads: Reads) -> Callable[[Target], list[Script]]:
    def scripts(target: Target) -> list[Script]:
        script = Script("pipeline", _six_hundred_requests(), reads=reads, receive_buffer=4_096)
        return [script] * target.times(6)

    return scripts


def _half_requests(leaves: Leaves) -> Callable[[Target], list[Script]]:
    def scripts(target: Target) -> list[Script]:
        half = _get(f"/stream/{MATCH}")[:-8]
        return [Script("half", half, reads=Reads.NOTHING, leaves=leaves)] * target.times(1_500)

    return scripts


def _one_byte(target: Target) -> list[Script]:
    return [Script("byte", b"G")] * target.times(600)


def _idle(target: Target) -> list[Script]:
    return [Script("idle", _get("/healthz"))] * target.times(1_000)


def _stuck_readers(target: Target) -> list[Script]:
    script = Script("file", _get(target.file), reads=Reads.NOTHING, receive_buffer=4_096)
    return [script] * target.times(300)


def _frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """A masked WebSocket frame; the mask is zero, so the payload stands as it is."""
    length = len(payload)
    sized = bytes([0x80 | length]) if length < 126 else struct.pack(">BH", 0x80 | 126, length)
    return bytes([(0x80 if final else 0) | opcode]) + sized + bytes(4) + payload


def _frame_flood(target: Target) -> list[Script]:
    """Connections of 10,000 frames each: pings that ask for an answer, texts, and messages in pieces.

    Half of them send as fast as they can; the others few enough at a time not to be ended for it.
    """
    fifty = (
        _frame(9, b"x" * 10) * 20
        + _frame(9) * 10
        + _frame(1, b"x" * 40) * 10
        + _frame(2, b"", final=False)
        + _frame(0, b"", final=False) * 8
        + _frame(0)
    )
    handshake = _get(f"/ws/match/{MATCH}", headers=_UPGRADE)
    return [
        Script(
            "frames by fifty" if number % 2 else "frames at once",
            handshake,
            then=fifty,
            then_times=200,
            pause_s=_TURN_S if number % 2 else 0.0,
            leaves=Leaves.BY_FIN,
        )
        for number in range(target.times(6))
    ]


def _ahead(target: Target) -> list[Script]:
    """Viewers with an id that the match has not reached: only the bus can answer them. Each has its own."""
    epoch, seq = target.head()
    return [
        Script(
            "ahead", _get(f"/stream/{MATCH}", headers=f"Last-Event-ID: {epoch}-{seq + 1_000 + number}\r\n")
        )
        for number in range(target.times(6_000))
    ]


def _endless_pipeline(target: Target) -> list[Script]:
    """Requests without end, all answers read.

    Half of them ask for what the loop answers itself, and their last head is always one that the receive
    window has cut; the others ask for pages too.
    """
    one = _get("/stream/x", method="OPTIONS")
    return [
        Script("pages and streams", one, then=_six_hundred_requests(), then_times=100)
        if number % 2
        else Script("streams", one, then=one * 1_000, then_times=100)
        for number in range(target.times(6))
    ]


ATTACKS = (
    Attack("none", "none", lambda _: []),
    Attack("spellings", f"20 connections on each of {len(SPELLINGS)} spellings", _each_spelling, rounds=2),
    Attack(
        "pipeline-unread",
        "6 connections that pipeline 600 requests, reading nothing",
        _pipelining(Reads.NOTHING),
        rounds=20,
    ),
    Attack(
        "pipeline-slow",
        "6 connections that pipeline 600 requests, reading slowly",
        _pipelining(Reads.SLOWLY),
        rounds=20,
    ),
    Attack(
        "half-rst",
        "1,500 half requests, each reset; 600 files",
        _half_requests(Leaves.BY_RST),
        per_s=400,
        open_files=600,
    ),
    Attack(
        "half-fin",
        "1,500 half requests, each closed; 600 files",
        _half_requests(Leaves.BY_FIN),
        per_s=400,
        open_files=600,
    ),
    Attack(
        "one-byte",
        "600 connections that sent one byte; 400 files",
        _one_byte,
        per_s=600,
        rounds=3,
        open_files=400,
    ),
    Attack("idle", "1,000 idle keep-alives; 1,024 files", _idle, rounds=3, open_files=1_024),
    Attack(
        "stuck-readers",
        "300 readers of the largest file that read nothing",
        _stuck_readers,
        per_s=100,
        rounds=2,
    ),
    Attack(
        "frames",
        "6 × 10,000 WebSocket frames, again and again",
        _frame_flood,
        per_s=30,
        rounds=100,
    ),
    Attack(
        "ahead",
        "6,000 viewers ahead of the match, in one burst",
        _ahead,
        per_s=1_000_000,
    ),
    Attack(
        "endless",
        "6 connections that pipeline without end, reading all",
        _endless_pipeline,
        rounds=5,
    ),
)
NAMES = tuple(attack.name for attack in ATTACKS)


# the crowd ----------------------------------------------------------------------------------------


class _Connection:
    """One open connection and where it is in its script."""

    __slots__ = (
        "answers",
        "ended",
        "first",
        "moved_s",
        "next_s",
        "rounds_left",
        "script",
        "sock",
        "tail",
        "then_left",
        "unsent",
    )

    def __init__(self, script: Script, rounds_left: int, port: int) -> None:
        self.script = script
        self.rounds_left = rounds_left
        self.sock = socket.socket()
        self.sock.setblocking(False)
        if script.receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, script.receive_buffer)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unsent = memoryview(script.opening)
        self.then_left = script.then_times
        self.answers = 0
        self.first = b""
        self.tail = b""
        self.ended = False
        self.moved_s = time.monotonic()
        self.next_s = 0.0
        # EINPROGRESS: on loopback only while the accept queue is full.
        if (number := self.sock.connect_ex(("127.0.0.1", port))) not in (0, errno.EINPROGRESS):
            self.sock.close()
            raise OSError(number, "connect")

    @property
    def mask(self) -> int:
        """What epoll is asked for."""
        mask = 0 if self.ended else select.EPOLLRDHUP
        if self.unsent:
            mask |= select.EPOLLOUT
        if self.script.reads is Reads.ALL:
            mask |= select.EPOLLIN
        return mask

    @property
    def done(self) -> bool:
        """Whether all of the script has been sent."""
        return not self.unsent and not self.then_left

    @property
    def status(self) -> str:
        """The status of its first answer."""
        return self.first[len(_ANSWER) :].decode("latin-1") if self.first.startswith(b"HTTP/1.") else "none"

    def send(self) -> int:
        """Send what the kernel takes; how many bytes.

        Raises:
            OSError: the connection has ended.
        """
        try:
            sent = self.sock.send(self.unsent)
        except BlockingIOError:
            return 0
        self.unsent = self.unsent[sent:]
        self.moved_s = time.monotonic()
        self.go_on(self.moved_s)
        return sent

    def receive(self, at_most: int) -> int | None:
        """Read; how many bytes, or None at the end.

        Raises:
            OSError: the connection has ended.
        """
        try:
            data = self.sock.recv(at_most)
        except BlockingIOError:
            return 0
        if not data:
            return None
        if len(self.first) < _STATUS_BYTES:
            self.first = (self.first + data)[:_STATUS_BYTES]
        seen = self.tail + data
        self.answers += seen.count(_ANSWER)
        # Shorter than what is counted, so that nothing is counted twice.
        self.tail = seen[-(len(_ANSWER) - 1) :]
        self.moved_s = time.monotonic()
        self.go_on(self.moved_s)
        return len(data)

    def go_on(self, now_s: float) -> None:
        """Take up the next piece of the script, if it is due."""
        if not self.unsent and self.then_left and self.first and now_s >= self.next_s:
            self.then_left -= 1
            self.next_s = now_s + self.script.pause_s
            self.unsent = memoryview(self.script.then)

    def close(self) -> None:
        if self.script.leaves is Leaves.BY_RST:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()


class _Crowd:
    """All connections of one attack, on one epoll set."""

    def __init__(self, attack: Attack, target: Target, seconds: float) -> None:
        self._attack = attack
        self._port = target.port
        self._begun_s = time.monotonic()
        self._until_s = self._begun_s + seconds
        scripts = attack.scripts(target)
        self._size = len(scripts)
        # Scripts that no connection follows now, and how often each may still be begun.
        self._vacant = deque((script, attack.rounds) for script in scripts)
        self._epoll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._slow_read_s = 0.0
        self._opened = self._ended = self._failed = self._sent = self._received = self._answers = 0
        self._statuses: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._orphaned = False
        # /dev/null or a file cannot be waited for; then only the time ends it.
        with contextlib.suppress(PermissionError):
            self._epoll.register(sys.stdin.fileno(), select.EPOLLHUP)

    def run(self, in_place: Callable[[], None]) -> JsonObject:
        """Attack until the time is over; what was seen."""
        announced = False
        while (now_s := time.monotonic()) < self._until_s and not self._orphaned:
            self._open_more(now_s)
            if not announced and self._opened >= self._size:
                announced = True
                in_place()
            # EPOLLHUP and EPOLLERR come without being asked for.
            for fd, mask in self._epoll.poll(_TURN_S, 1_024):
                self._handle(fd, mask)
            self._go_on(now_s)
            if now_s - self._slow_read_s >= _SLOW_READ_S:
                self._slow_read_s = now_s
                self._read_slowly()
        return self._report()

    def _open_more(self, now_s: float) -> None:
        due = int((now_s - self._begun_s) * self._attack.per_s) + 1 - self._opened
        # Some at a time, so that those who are open get their turn.
        for _ in range(min(len(self._vacant), due, _OPENED_AT_ONCE)):
            script, rounds = self._vacant.popleft()
            self._opened += 1
            try:
                connection = _Connection(script, rounds - 1, self._port)
            except OSError:
                self._failed += 1
                self._leave_vacant(script, rounds - 1)
                continue
            fd = connection.sock.fileno()
            self._open[fd] = connection
            self._epoll.register(fd, connection.mask)

    def _handle(self, fd: int, mask: int) -> None:
        if fd == sys.stdin.fileno():
            self._orphaned = True
            return
        connection = self._open.get(fd)
        if connection is None:
            return
        before = connection.mask
        try:
            if mask & select.EPOLLIN and not self._receive(connection, 1 << 18):
                return
            if mask & select.EPOLLOUT and connection.unsent:
                self._sent += connection.send()
                if connection.done and connection.script.leaves is not Leaves.NEVER:
                    self._end(connection)
                    return
            if mask & (select.EPOLLHUP | select.EPOLLERR):
                self._end(connection, by_server=True)
                return
        except OSError:
            self._end(connection, by_server=True)
            return
        if mask & select.EPOLLRDHUP:
            if connection.script.reads is Reads.NOTHING:
                self._end(connection, by_server=True)
                return
            connection.ended = True  # what has come is still read, and the end behind it
        if connection.mask != before:
            self._epoll.modify(fd, connection.mask)

    def _go_on(self, now_s: float) -> None:
        """Take up the scripts whose pauses are over."""
        for connection in self._open.values():
            if connection.script.pause_s and connection.then_left and not connection.unsent:
                connection.go_on(now_s)
                if connection.unsent:
                    self._epoll.modify(connection.sock.fileno(), connection.mask)

    def _read_slowly(self) -> None:
        for connection in [one for one in self._open.values() if one.script.reads is Reads.SLOWLY]:
            try:
                self._receive(connection, _SLOW_READ_BYTES)
            except OSError:
                self._end(connection, by_server=True)

    def _receive(self, connection: _Connection, at_most: int) -> bool:
        """Read; False if that was the end of it."""
        size = connection.receive(at_most)
        if size is None:
            self._end(connection, by_server=True)
            return False
        self._received += size
        return True

    def _end(self, connection: _Connection, *, by_server: bool = False) -> None:
        fd = connection.sock.fileno()
        del self._open[fd]
        self._epoll.unregister(fd)
        connection.close()
        self._answers += connection.answers
        self._statuses[connection.script.label][connection.status] += 1
        self._ended += by_server
        self._leave_vacant(connection.script, connection.rounds_left)

    def _leave_vacant(self, script: Script, rounds: int) -> None:
        if rounds > 0:
            self._vacant.append((script, rounds))

    def _report(self) -> JsonObject:
        now_s = time.monotonic()
        still_open = list(self._open.values())
        kept = Counter(connection.script.label for connection in still_open)
        stalled_s = max((now_s - one.moved_s for one in still_open if not one.done), default=0.0)
        for connection in still_open:
            self._end(connection)
        self._epoll.close()
        return {
            "attack": self._attack.name,
            "opened": self._opened,
            "not_connected": self._failed,
            "ended_by_the_origin": self._ended,
            "open_at_the_end": len(still_open),
            "sent_bytes": self._sent,
            "received_bytes": self._received,
            "answers": self._answers,
            "stalled_s": round(stalled_s, 1),
            "first_statuses": {label: dict(count) for label, count in self._statuses.items()},
            "open_at_the_end_by_label": dict(kept),
        }


# the process --------------------------------------------------------------------------------------


class AttackProcess:
    """An attack that goes on in a process of its own.

    Args:
        name: one of ``NAMES``.
        seconds: when it ends if nobody ends it before.
    """

    def __init__(self, name: str, target: Target, *, seconds: float = 30.0) -> None:
        if name not in NAMES:
            raise ValueError(f"{name!r} is no attack; there are {', '.join(NAMES)}")
        argv = [sys.executable, "-m", "testkit.faults.strangers", name, "--port", str(target.port)]
        argv += ["--seconds", str(seconds), "--size", str(target.size), "--file", target.file]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        self._seconds = seconds

    def wait_in_place(self) -> None:
        """Wait until each connection has been opened once.

        Raises:
            RuntimeError: it has ended before.
        """
        line = self._output.readline()
        if line != b"in place\n":
            raise RuntimeError(f"the attack ended before it was in place: {line!r}")

    def finish(self) -> JsonObject:
        """End it; what it saw.

        Raises:
            RuntimeError: it ended with an error.
        """
        try:
            output, _ = self._process.communicate(timeout=self._seconds + 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        if self._process.returncode:
            raise RuntimeError(f"the attack ended with exit code {self._process.returncode}")
        report: JsonObject = json.loads(output.splitlines()[-1])
        return report

    @property
    def _output(self) -> IO[bytes]:
        return cast("IO[bytes]", self._process.stdout)

    def __enter__(self) -> AttackProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(timeout=10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack, as the module says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--size", type=float, default=1.0)
    parser.add_argument("--file", default="")
    chosen = parser.parse_args(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    attack = next(one for one in ATTACKS if one.name == chosen.name)
    crowd = _Crowd(attack, Target(chosen.port, chosen.file, chosen.size), chosen.seconds)
    print(json.dumps(crowd.run(lambda: print("in place", flush=True))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
