"""The viewers that get the same frames, and the loop that sends to them.

A viewer is its bare socket, in one of a few dictionaries; there is nothing else for it. The kernel's send
is the cost of a delivery, and nothing stands around it per viewer: a ring sends to hundreds in one call
where the kernel has one for us, else a bare loop does. A viewer that does not take a whole frame at once is
moved to ``_slow``, where it has a buffer and a bound, and neither meets it again.
"""

from __future__ import annotations

import select
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from socket import SocketType
from typing import Final

from origin.stream.http.framing import Framing
from origin.stream.http.sse import COMMENT
from origin.stream.http.stream_request import Transport
from origin.stream.hub.config import StreamConfig
from origin.stream.net.connection_state import REACTIONS, Happening, Reaction, State, happening_of
from origin.stream.net.io_uring import Ring
from origin.stream.net.reactor import READABLE, WRITABLE, Reactor

__all__ = ["BLOCK_BITS", "RING_FROM_VIEWERS", "SLICES", "Audience", "Drop", "MatchAudience", "Subscribers"]

# Heartbeats go to one slice at a time, so that 50,000 sends never come in one burst.
SLICES: Final = 30
# Sockets with neighbouring numbers lie side by side in the kernel and here; served one after another
# they cost a few per cent less than in any other order.
BLOCK_BITS: Final = 5
# To fewer, sending one by one costs less than preparing the ring: both take 19 us for sixteen.
RING_FROM_VIEWERS: Final = 16
_READ_BYTES: Final = 4_096
# A viewer has at most a few control frames to say; one that sends this much at once is no viewer.
_READS_MAX: Final = 16

Drop = Callable[[int, str], None]
_STREAMING: Final = REACTIONS[State.STREAMING]


@dataclass(slots=True)
class _Pending:
    """What one slow viewer has not taken yet.

    Attributes:
        sock: its socket.
        allowed_bytes: what may wait: the bound, and above it what it got when it came.
        progress_s: when it last took some, on the monotonic clock.
    """

    sock: SocketType
    allowed_bytes: int
    progress_s: float
    chunks: deque[memoryview] = field(default_factory=deque)
    size: int = 0


class Audience:
    """Who gets the same frames: sockets by their numbers, in slices; and those of them that are slow.

    Args:
        framing: how the bytes look.
        drop: ends a viewer, with the reason.
        ring: sends to many at once; None where the kernel has none for us.

    Attributes:
        size: how many there are.
        flushing: those who get a comment, as a piece of its own, half a second behind what is sent.
    """

    _slow: Mapping[int, object]

    def __init__(self, framing: Framing, drop: Drop, ring: Ring | None) -> None:
        self.framing = framing
        self._drop = drop
        self._ring = ring
        self._slices: list[dict[int, SocketType]] = [{} for _ in range(SLICES)]
        self.size = 0
        self.flushing: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        for viewers in self._slices:
            yield from viewers
        yield from self._slow

    def broadcast(self, frame: bytes, count_sent: Callable[[int], None]) -> None:
        """Send one frame to all.

        Args:
            frame: the bytes.
            count_sent: called now and then with how many more were sent to.
        """
        # Taken first: a viewer that this frame makes slow has it in its buffer already.
        slow = list(self._slow)
        for index in range(SLICES):
            count = self.send_slice(index, frame)
            if count:
                count_sent(count)
        for fd in slow:
            if fd in self._slow:
                self.defer(fd, memoryview(frame))

    def send_slice(self, index: int, frame: bytes) -> int:
        """Send one frame to a slice of the viewers that are not slow.

        Returns:
            How many have it.
        """
        viewers = self._slices[index]
        return self._send_to(viewers, frame) if viewers else 0

    def _send_to(self, viewers: dict[int, SocketType], frame: bytes) -> int:
        """Send one frame to viewers that are not slow; how many have it."""
        size = len(frame)
        short: list[tuple[int, int]] = []
        gone: list[int] = []
        unsent: Iterable[SocketType] = viewers.values()
        if self._ring is not None and len(viewers) >= RING_FROM_VIEWERS:
            part = self._ring.send(array("i", viewers), frame)
            short += [(fd, sent) for fd, sent in part if sent >= 0]
            # Whatever the ring could not do is tried by the loop, which knows what an error means.
            unsent = [viewers[fd] for fd, sent in part if sent < 0]
        for sock in unsent:
            try:
                if (sent := sock.send(frame)) != size:
                    short.append((sock.fileno(), sent))
            except BlockingIOError:
                short.append((sock.fileno(), 0))
            except OSError:
                gone.append(sock.fileno())
        total = len(viewers) - len(gone)
        for fd in gone:
            self._drop(fd, "gone")
        for fd, sent in short:
            self.defer(fd, memoryview(frame)[sent:])
        return total

    def slice_of(self, index: int) -> list[int]:
        """The viewers of a slice that are not slow."""
        return list(self._slices[index])

    def flush(self, fds: Iterable[int]) -> None:
        """Send a comment to those of these viewers that want one."""
        for fd in fds:
            if fd in self.flushing:
                self.write(fd, COMMENT)

    def write(self, fd: int, data: bytes, extra_bytes: int = 0) -> None:
        """Send to one viewer alone, behind whatever waits for it."""
        raise NotImplementedError

    def defer(self, fd: int, rest: memoryview, extra_bytes: int = 0) -> None:
        """Keep what a viewer did not take, or end it."""
        raise NotImplementedError


class MatchAudience(Audience):
    """Those of the viewers of several matches who watch one match.

    Args:
        framing, drop, ring: see ``Audience``.
        sockets: all viewers of several matches.
    """

    def __init__(self, framing: Framing, sockets: Subscribers, drop: Drop, ring: Ring | None) -> None:
        super().__init__(framing, drop, ring)
        self._sockets = sockets
        self._slow: dict[int, None] = {}

    def join(self, fd: int, sock: SocketType | None) -> None:
        """A viewer watches the match from now on; without its socket, it is slow."""
        self.size += 1
        self.place(fd, sock)

    def leave(self, fd: int) -> None:
        """A viewer does not watch the match any more."""
        self.size -= 1
        self.flushing.discard(fd)
        self._slow.pop(fd, None)
        self._slices[(fd >> BLOCK_BITS) % SLICES].pop(fd, None)

    def place(self, fd: int, sock: SocketType | None) -> None:
        """A viewer has become slow (no socket), or takes frames at once again."""
        if sock is None:
            self._slices[(fd >> BLOCK_BITS) % SLICES].pop(fd, None)
            self._slow[fd] = None
        else:
            self._slow.pop(fd, None)
            self._slices[(fd >> BLOCK_BITS) % SLICES][fd] = sock

    def write(self, fd: int, data: bytes, extra_bytes: int = 0) -> None:
        """See ``Audience.write``."""
        self._sockets.write(fd, data, extra_bytes)

    def defer(self, fd: int, rest: memoryview, extra_bytes: int = 0) -> None:
        """See ``Audience.defer``."""
        self._sockets.defer(fd, rest, extra_bytes)


class Subscribers(Audience):
    """The sockets of viewers, what waits for the slow ones, and what they say.

    Args:
        transport: what carries them; ``name`` is its name in the metrics.
        framing: how their bytes look.
        reactor: where their sockets are registered.
        config: the bounds.
        drop: ends a viewer, with the reason.
        ring: sends to many at once; None where the kernel has none for us.
    """

    def __init__(
        self,
        transport: Transport,
        framing: Framing,
        reactor: Reactor,
        config: StreamConfig,
        drop: Drop,
        ring: Ring | None,
    ) -> None:
        self.transport = transport
        self.name: str = transport.value  # a property of the enum would be a call for each viewer
        super().__init__(framing, drop, ring)
        self._reactor = reactor
        self._config = config
        self._slow: dict[int, _Pending] = {}
        # Viewers that have ended their side, and took what was sent to them since.
        self._half_closed: set[int] = set()
        #: What a new viewer gets behind its answer; None where ``opening_end`` has to be asked for it.
        self.opening_end_known: bytes | None = b""
        #: A heartbeat, where the transport has one there.
        self.opening_end: Callable[[], bytes] = bytes
        # Slow viewers to which nothing more will be said.
        self._finishing: set[int] = set()

    def add(self, sock: SocketType, fd: int, opening: bytes) -> None:
        """Take a viewer that is registered with the reactor, and send what it alone gets."""
        self.size += 1
        self._slices[(fd >> BLOCK_BITS) % SLICES][fd] = sock
        self._send(sock, fd, opening)

    def remove(self, fd: int) -> SocketType:
        """Forget a viewer, and give up its socket."""
        self.size -= 1
        self._half_closed.discard(fd)
        self._finishing.discard(fd)
        self.flushing.discard(fd)
        pending = self._slow.pop(fd, None)
        return self._slices[(fd >> BLOCK_BITS) % SLICES].pop(fd) if pending is None else pending.sock

    def write(self, fd: int, data: bytes, extra_bytes: int = 0) -> None:
        """Send to one viewer alone, behind whatever waits for it.

        Args:
            fd: the viewer.
            data: the bytes.
            extra_bytes: so much more may wait for it from now on.
        """
        pending = self._slow.get(fd)
        if pending is not None:
            pending.allowed_bytes += extra_bytes
            self.defer(fd, memoryview(data))
            return
        self._send(self._slices[(fd >> BLOCK_BITS) % SLICES][fd], fd, data)

    def _send(self, sock: SocketType, fd: int, data: bytes) -> None:
        """Send to one viewer for whom nothing waits."""
        try:
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(fd, "gone")
            return
        if sent != len(data):
            # What it gets on arrival is bounded by the replay window, not by the pending bound.
            self.defer(fd, memoryview(data)[sent:], extra_bytes=len(data))

    def end(self, fd: int, data: bytes) -> None:
        """Send to a viewer the last that it gets."""
        self.write(fd, data)
        if self._reactor.handlers.get(fd) is self:
            self.finish(fd)

    def finish(self, fd: int) -> None:
        """End a viewer once it has taken all that waits for it."""
        if fd in self._slow:
            self._finishing.add(fd)
        else:
            self._drop(fd, "ended")

    def drop_stalled(self, now_s: float) -> None:
        """End viewers that have taken nothing for too long."""
        for fd, pending in list(self._slow.items()):
            if now_s - pending.progress_s > self._config.stalled_s:
                self._drop(fd, "slow")

    def on_event(self, fd: int, mask: int) -> None:
        """See ``EventHandler``."""
        if _STREAMING[happening_of(mask)] is Reaction.CLOSE:
            self._drop(fd, "gone")
            return
        # What came before an end is read first, and the end with it.
        if mask & (READABLE | select.EPOLLRDHUP) and not self.read(fd):
            return
        if mask & WRITABLE:
            self._flush(fd)

    def read(self, fd: int) -> bool:
        """Take what a viewer says; False if that ended it."""
        pending = self._slow.get(fd)
        sock = self._slices[(fd >> BLOCK_BITS) % SLICES][fd] if pending is None else pending.sock
        for _ in range(_READS_MAX):
            try:
                data = sock.recv(_READ_BYTES)
            except BlockingIOError:
                return True
            except OSError:
                self._drop(fd, "gone")
                return False
            if not data:
                return self._peer_ended(fd)
            if not self.heard(fd, data):
                return False
            if len(data) < _READ_BYTES:
                return True
        self._drop(fd, "talkative")
        return False

    def _peer_ended(self, fd: int) -> bool:
        """A viewer will say no more; False if that ended it.

        One that only ended its side still reads. One that left looks the same, until it is sent something:
        its kernel answers that with a reset, which ends it here.
        """
        probe = self.framing.probe()
        if not probe or _STREAMING[Happening.PEER_ENDED] is not Reaction.PROBE:
            self._drop(fd, "gone")
            return False
        if fd not in self._half_closed:
            self._half_closed.add(fd)
            self.write(fd, probe)
        return fd in self._half_closed

    def heard(self, fd: int, data: bytes) -> bool:
        """Handle what a viewer says; False if that ended it. An SSE viewer has nothing to say."""
        del fd, data
        return True

    def defer(self, fd: int, rest: memoryview, extra_bytes: int = 0) -> None:
        """Keep what a viewer did not take, or end it."""
        pending = self._slow.get(fd)
        if pending is None:
            sock = self._slices[(fd >> BLOCK_BITS) % SLICES].pop(fd)
            allowed = self._config.pending_max_bytes + extra_bytes
            pending = self._slow[fd] = _Pending(sock, allowed, time.monotonic())
            self._reactor.want_room(fd, True)
            self._became_slow(fd)
        if pending.size + len(rest) > pending.allowed_bytes:
            self._drop(fd, "slow")
            return
        pending.chunks.append(rest)
        pending.size += len(rest)

    def _flush(self, fd: int) -> None:
        pending = self._slow.get(fd)
        if pending is None:
            return
        chunks = pending.chunks
        while chunks:
            try:
                sent = pending.sock.send(chunks[0])
            except BlockingIOError:
                return
            except OSError:
                self._drop(fd, "gone")
                return
            pending.size -= sent
            pending.progress_s = time.monotonic()
            if sent < len(chunks[0]):
                chunks[0] = chunks[0][sent:]
            else:
                chunks.popleft()
        del self._slow[fd]
        self._slices[(fd >> BLOCK_BITS) % SLICES][fd] = pending.sock
        self._reactor.want_room(fd, False)
        self._became_fast(fd, pending.sock)
        if fd in self._finishing:
            self._drop(fd, "ended")

    def _became_slow(self, fd: int) -> None:
        """A viewer has not taken a whole frame."""

    def _became_fast(self, fd: int, sock: SocketType) -> None:
        """A slow viewer has taken all that waited for it."""
