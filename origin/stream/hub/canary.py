"""A viewer of the canary within the worker: what it has heard came through log, fan-out, bus and stream.

It is a viewer like any other, over a pair of sockets instead of a network: the frames are made, sent and read
as for everybody. So where the loop hangs, or the bus is silent, it hears nothing either.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from origin.canary.match import Beat, CanaryPosition, hour_of, match_id_of
from origin.stream.http.stream_request import StreamRequest, Transport
from origin.stream.hub.decisions import Admit
from shared_state import DeltaId, WireError

if TYPE_CHECKING:
    from origin.stream.hub.hub import Hub

__all__ = ["CanaryViewer"]

logger = logging.getLogger(__name__)

_READ_BYTES: Final = 65_536


class _Delta(msgspec.Struct):
    """What is read of a delta and of a gap."""

    e: str = ""
    r: int = 1
    a: int = 0


_delta_in = msgspec.json.Decoder(_Delta).decode


class CanaryViewer:
    """See the module. Everything runs on the reactor's thread.

    Args:
        hub: whose viewer it is.
        on_beat: called with the id of the match and the beat.
        now_ms: UTC milliseconds; only the hour of it counts.

    Attributes:
        position: how far it has heard; None for not at all.
    """

    def __init__(
        self,
        hub: Hub,
        on_beat: Callable[[str, Beat], None],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.position: CanaryPosition | None = None
        self._hub = hub
        self._on_beat = on_beat
        self._now_ms = now_ms
        self._hour = -1
        self._sock: socket.socket | None = None
        self._bytes = b""

    def look(self) -> None:
        """See that it watches the canary of this hour; called about twice a second, until the hub ends."""
        if self._hub.draining:
            self.leave()
            return
        hour = hour_of(self._now_ms())
        if hour != self._hour:
            self.leave()
            self._hour = hour
        if self._sock is None:
            self._join(match_id_of(hour))

    def _join(self, match_id: str) -> None:
        stream = self._hub.stream_of(match_id)
        if stream is None:
            # Nobody may have appended the first beat of the hour yet; then it is looked for again.
            if not self._hub.is_unknown(match_id):
                self._hub.open_stream(match_id)
            return
        if stream.opening:
            return
        # Not by ``decide``: a worker that is full must still know how late it is.
        ours, theirs = socket.socketpair()
        for one in (ours, theirs):
            one.setblocking(False)
        self._sock, self._bytes = theirs, b""
        self._hub.reactor.register(theirs.fileno(), self)
        request = StreamRequest("GET", Transport.SSE, match_id, None, b"")
        answer = stream.gap_answer(Transport.SSE)
        bare = socket.SocketType(ours.family, ours.type, 0, ours.detach())
        if not self._hub.admit(bare, request, Admit(stream.subscribers[Transport.SSE], answer)):
            self.leave()

    def leave(self) -> None:
        """Stop watching, until ``look`` is called again."""
        if self._sock is not None:
            self._hub.reactor.unregister(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def on_event(self, fd: int, mask: int) -> None:
        """See ``EventHandler``."""
        del fd, mask
        sock = self._sock
        while sock is not None:
            try:
                data = sock.recv(_READ_BYTES)
            except BlockingIOError:
                return None
            except OSError as error:
                logger.info("the canary's viewer lost its connection: %s", error)
                data = b""
            if not data:
                return self.leave()
            self._take(data)
        return None

    def _take(self, data: bytes) -> None:
        # Frames end with an empty line; what follows the last one is the beginning of the next.
        *frames, self._bytes = (self._bytes + data).split(b"\n\n")
        for frame in frames:
            fields = dict(line.partition(b": ")[::2] for line in frame.split(b"\n"))
            if fields.get(b"event") in (b"score", b"gap") and b"id" in fields:
                try:
                    self._heard(DeltaId.parse(fields[b"id"].decode("ascii")), fields)
                except (WireError, msgspec.DecodeError, UnicodeDecodeError) as error:
                    logger.warning("a frame of the canary cannot be read: %s", error)

    def _heard(self, id_: DeltaId, fields: dict[bytes, bytes]) -> None:
        self.position = CanaryPosition(self._hour, id_)
        if fields[b"event"] == b"score":
            delta = _delta_in(fields[b"data"])
            beat = Beat(id_, delta.r if delta.e == "beat" else 0, id_.epoch + delta.a)
            self._on_beat(match_id_of(self._hour), beat)
