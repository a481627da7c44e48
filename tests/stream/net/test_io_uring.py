"""The ring against the kernel it runs on: each socket gets the frame once, or is named with what it took."""

from __future__ import annotations

import errno
import signal
import socket
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from origin.stream.hub import subscribers
from origin.stream.hub.config import StreamConfig
from origin.stream.net import io_uring as ring
from origin.stream.net.io_uring import Ring
from testkit.services.process import unavailable
from testkit.worlds.hub import Bench

Pairs = list[tuple[socket.socket, socket.socket]]

FRAME = b"id: 1-1\nevent: score\ndata: {}\n\n"
NO_SUCH_CALL = 9_999


def open_ring(entries: int) -> Ring:
    try:
        return Ring(entries)
    except OSError as error:
        unavailable(f"io_uring ({error})")


@pytest.fixture
def a_ring() -> Iterator[Callable[[int], Ring]]:
    rings: list[Ring] = []

    def make(entries: int) -> Ring:
        rings.append(open_ring(entries))
        return rings[-1]

    yield make
    for made in rings:
        made.close()


@pytest.fixture
def pairs() -> Iterator[Callable[[int], Pairs]]:
    """Connected TCP sockets, ours first."""
    made: Pairs = []

    def connect(count: int) -> Pairs:
        with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
            for _ in range(count):
                theirs = socket.create_connection(listener.getsockname())
                ours, _ = listener.accept()
                ours.setblocking(False)
                theirs.setblocking(False)
                made.append((ours, theirs))
        return made[-count:]

    yield connect
    for pair in made:
        for one in pair:
            one.close()


def numbers(pairs: Pairs) -> array[int]:
    return array("i", [ours.fileno() for ours, _ in pairs])


def fill(sock: socket.socket) -> int:
    """Send until the kernel takes no more; how many bytes it took."""
    sent = 0
    try:
        while True:
            sent += sock.send(bytes(65_536))
    except BlockingIOError:
        return sent


def read(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 20)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("entries", [1, 2, 64, 100, 1_024])
@pytest.mark.parametrize("count", [1, 63, 64, 65, 300])
def test_each_gets_each_frame_once_and_in_order(
    a_ring: Callable[[int], Ring], pairs: Callable[[int], Pairs], entries: int, count: int
) -> None:
    made, viewers = a_ring(entries), pairs(count)
    for round_ in range(5):  # the rings' ends fall on other places each time
        frames = [b"%d-%d" % (round_, number) for number in range(3)]
        for frame in frames:
            assert made.send(numbers(viewers), frame) == []
        assert {read(theirs) for _, theirs in viewers} == {b"".join(frames)}


def test_each_that_does_not_take_all_is_named_with_what_it_took(
    a_ring: Callable[[int], Ring], pairs: Callable[[int], Pairs]
) -> None:
    made, viewers = a_ring(8), pairs(40)
    fill(viewers[3][0])
    viewers[17][1].close()
    assert made.send(numbers(viewers), FRAME) == [(viewers[3][0].fileno(), -errno.EAGAIN)]
    fds = numbers(viewers)
    fds[30] = 1_000_000  # no file
    # The reader that had gone when the frame came has said so by now.
    assert made.send(fds, FRAME) == [
        (viewers[3][0].fileno(), -errno.EAGAIN),
        (viewers[17][0].fileno(), -errno.EPIPE),
        (1_000_000, -errno.EBADF),
    ]
    taken = [read(theirs) for index, (_, theirs) in enumerate(viewers) if index not in (3, 17, 30)]
    assert set(taken) == {FRAME * 2}
    assert read(viewers[30][1]) == FRAME


def test_of_a_frame_too_large_a_part_is_taken_and_counted(
    a_ring: Callable[[int], Ring], pairs: Callable[[int], Pairs]
) -> None:
    made, viewers = a_ring(4), pairs(6)
    frame = bytes(range(256)) * 40_000
    rest = made.send(numbers(viewers), frame)
    assert [fd for fd, _ in rest] == list(numbers(viewers))
    for (_, theirs), (_, sent) in zip(viewers, rest, strict=True):
        assert 0 < sent < len(frame)
        got = b""
        while data := read(theirs):
            got += data
        assert got == frame[:sent]


def test_what_the_kernel_refuses_is_done_by_nobody_and_the_ring_goes_on(
    a_ring: Callable[[int], Ring], pairs: Callable[[int], Pairs], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, viewers = a_ring(16), pairs(20)
    monkeypatch.setattr(ring, "_NR_ENTER", NO_SUCH_CALL)
    refused = made.send(numbers(viewers), b"refused")
    assert refused == [(fd, -errno.ENOSYS) for fd in numbers(viewers)]
    monkeypatch.undo()
    for _ in range(3):
        assert made.send(numbers(viewers), FRAME) == []
    assert {read(theirs) for _, theirs in viewers} == {FRAME * 3}


def test_signals_in_the_middle_leave_nobody_out(
    a_ring: Callable[[int], Ring], pairs: Callable[[int], Pairs]
) -> None:
    made, viewers = a_ring(64), pairs(200)
    came = 0

    def count(*_: object) -> None:
        nonlocal came
        came += 1

    before = signal.signal(signal.SIGALRM, count)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        rounds = 0
        while came < 50 or rounds < 50:
            rounds += 1
            assert made.send(numbers(viewers), FRAME) == []
            assert {read(theirs) for _, theirs in viewers} == {FRAME}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_its_memory_and_files_are_given_back() -> None:
    def open_files() -> set[str]:
        return {path.name for path in Path("/proc/self/fd").iterdir()}

    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count("io_uring")

    before, mapped = open_files(), mappings()
    for _ in range(50):
        made = open_ring(1_024)
        assert mappings() > mapped
        made.close()
        assert mappings() == mapped
    assert open_files() == before


def test_what_a_signal_s_handler_interrupts_is_not_sent_later(
    a_ring: Callable[[int], Ring], pairs: Callable[[int], Pairs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler raises before the call: the entries that it leaves name memory that goes away."""
    made, viewers = a_ring(8), pairs(4)
    really = ring._call

    class Interrupted(BaseException):
        """What a worker's signal handler raises."""

    def interrupt(*arguments: int) -> int:
        raise Interrupted

    monkeypatch.setattr(ring, "_call", interrupt)
    fds = array("i", [ours.fileno() for ours, _ in viewers])
    with pytest.raises(Interrupted):
        made.send(fds, b"the frame of an ended fan-out")
    monkeypatch.setattr(ring, "_call", really)
    assert made.send(fds, FRAME) == []
    assert [theirs.recv(1_000) for _, theirs in viewers] == [FRAME] * 4


@pytest.mark.parametrize("size", [40, 200])
def test_viewers_are_told_by_the_ring_and_the_slow_and_the_gone_are_no_trouble(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    really = Ring.send

    def spy(self: Ring, fds: array[int], frame: bytes) -> list[tuple[int, int]]:
        sent.append(len(fds))
        return really(self, fds, frame)

    monkeypatch.setattr(Ring, "send", spy)
    monkeypatch.setattr(subscribers, "RING_FROM_VIEWERS", 4)
    bench = Bench(send_buffer_bytes=4_096, pending_max_bytes=1_000_000)
    bench.publish()
    viewers = [bench.viewer(websocket=index % 2 == 0) for index in range(size)]
    bench.settle()
    slow, gone = viewers[5], viewers[9]
    slow.reading = False
    for index in range(60):
        if index == 30:
            gone.disconnect()
        bench.publish(3)
        bench.world.turn()
        for viewer in viewers:
            viewer.read()
    assert bench.world.hub.viewers == size - 1
    slow.reading = True
    bench.settle()
    assert {bench.seq(viewer) for viewer in viewers if viewer is not gone} == {181}
    assert sum(sent) > 60
    assert min(sent) >= 4
    assert bench.world.hub.metrics.ring_entries == 1_024
    bench.end()


@pytest.mark.parametrize(
    ("settings", "call"), [({"ring_entries": 0}, 425), ({}, NO_SUCH_CALL)], ids=["off", "forbidden"]
)
def test_without_a_ring_all_are_told_one_by_one(
    settings: dict[str, Any], call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "_NR_SETUP", call)
    monkeypatch.setattr(Ring, "send", None)
    bench = Bench(**settings)
    assert bench.world.hub.metrics.ring_entries == 0
    bench.publish()
    viewers = [bench.viewer() for _ in range(100)]
    bench.settle()
    bench.publish(2)
    bench.settle()
    assert [bench.seq(viewer) for viewer in viewers] == [3] * 100
    bench.end()


def test_any_number_of_entries_that_a_setting_may_have_is_one(a_ring: Callable[[int], Ring]) -> None:
    for entries in (1, 1_000, 32_768, 10**12):
        a_ring(StreamConfig(ring_entries=entries).ring_entries)
