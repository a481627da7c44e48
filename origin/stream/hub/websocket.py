"""WebSocket viewers. All get the same bytes; what they send is read by wsproto.

A viewer says nothing but ping, pong and close, so the parser of its frames is made when it first says
something. What is wrong is answered with a close frame that says so (RFC 6455 section 7.4.1) and ends
the viewer, never anybody else.
"""

from __future__ import annotations

from socket import SocketType
from typing import Final, cast

from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

from origin.stream.http.framing import WebSocketFraming
from origin.stream.http.stream_request import Transport
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.subscribers import Drop, Subscribers
from origin.stream.net.io_uring import Ring
from origin.stream.net.reactor import Reactor

__all__ = ["WebSocketSubscribers"]

# Pings that come in one read: a browser sends none, a library one at a time.
_FRAMES_MAX: Final = 64


class _Reader:
    """One viewer's frames.

    Attributes:
        message_bytes: the length so far of a message that has not ended.
    """

    __slots__ = ("message_bytes", "protocol")

    def __init__(self) -> None:
        self.protocol = FrameProtocol(client=False, extensions=[])
        self.message_bytes = 0


class WebSocketSubscribers(Subscribers):
    """See ``Subscribers``.

    ``permessage-deflate`` is not negotiated: it would make every frame a viewer's own.
    """

    def __init__(self, reactor: Reactor, config: StreamConfig, drop: Drop, ring: Ring | None) -> None:
        super().__init__(Transport.WEBSOCKET, WebSocketFraming(), reactor, config, drop, ring)
        self._readers: dict[int, _Reader] = {}

    def remove(self, fd: int) -> SocketType:
        """See ``Subscribers.remove``."""
        self._readers.pop(fd, None)
        return super().remove(fd)

    def heard(self, fd: int, data: bytes) -> bool:
        """Handle a viewer's frames; False if that ended it."""
        reader = self._readers.get(fd)
        if reader is None:
            reader = self._readers[fd] = _Reader()
        protocol = reader.protocol
        protocol.receive_bytes(data)
        try:
            for count, frame in enumerate(protocol.received_frames()):
                if count >= _FRAMES_MAX:
                    return self._end(fd, CloseReason.POLICY_VIOLATION, "too many frames at once")
                if frame.opcode is Opcode.PING:
                    self.write(fd, bytes(protocol.pong(cast("bytes", frame.payload))))
                    if fd not in self._readers:
                        return False  # the answer could not be written, which ended it
                elif frame.opcode is Opcode.CLOSE:
                    code, _ = cast("tuple[int, str]", frame.payload)
                    return self._end(fd, code, "", why="left")
                elif not frame.opcode.iscontrol():
                    reader.message_bytes += len(frame.payload)
                    if reader.message_bytes > self._config.websocket_message_max_bytes:
                        return self._end(fd, CloseReason.MESSAGE_TOO_BIG, "viewers have nothing to say")
                    if frame.message_finished:
                        reader.message_bytes = 0
        except ParseFailed as error:
            return self._end(fd, error.code, str(error))
        return True

    def _end(self, fd: int, code: int, reason: str, why: str = "protocol") -> bool:
        """Say goodbye and end a viewer."""
        close = FrameProtocol(client=False, extensions=[]).close(code, reason or None)
        self.write(fd, bytes(close))
        if fd in self._readers:
            self._drop(fd, why)
        return False
