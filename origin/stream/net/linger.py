"""Connections to which everything was sent, and whose client may still be sending.

Closed at once with bytes of the client unread, the kernel resets the connection, and the client loses
what was sent to it last (RFC 9112 section 9.6). So our side is ended, what comes is thrown away, and the
rest is closed when the client has seen the end, or after two seconds.
"""

from __future__ import annotations

import socket
import time
from typing import Final

from origin.stream.net.connection_state import REACTIONS, Reaction, State, happening_of
from origin.stream.net.reactor import READABLE, Reactor

__all__ = ["Linger"]

_LINGER_S: Final = 2.0
# What is thrown away in one turn of the loop; a client that sends more than that behind a refusal is cut off.
_READS_MAX: Final = 16
_READ_BYTES: Final = 65_536


class Linger:
    """See the module."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._leaving: dict[int, tuple[socket.SocketType, float]] = {}

    def __len__(self) -> int:
        return len(self._leaving)

    def take(self, sock: socket.SocketType) -> None:
        """End a connection to which everything has been written."""
        fd = sock.fileno()
        self._leaving[fd] = (sock, time.monotonic() + _LINGER_S)
        self._reactor.register(fd, self)
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(fd)
            return
        self.on_event(fd, READABLE)

    def on_event(self, fd: int, mask: int) -> None:
        """See ``EventHandler``."""
        match REACTIONS[State.LINGERING][happening_of(mask)]:
            case Reaction.CLOSE:
                self._close(fd)
            case Reaction.DISCARD if not self._discard(fd):
                self._close(fd)
            case _:
                pass

    def drop_overdue(self, now_s: float) -> None:
        """Close those whose time is up; they stand in the order of it."""
        for fd, (_, deadline_s) in list(self._leaving.items()):
            if deadline_s > now_s:
                break
            self._close(fd)

    def evict(self) -> bool:
        """Close the oldest for its file; whether there was one."""
        oldest = next(iter(self._leaving), None)
        if oldest is None:
            return False
        self._close(oldest)
        return True

    def close(self) -> None:
        """Close all."""
        for fd in list(self._leaving):
            self._close(fd)

    def _close(self, fd: int) -> None:
        sock, _ = self._leaving.pop(fd)
        self._reactor.unregister(fd)
        sock.close()

    def _discard(self, fd: int) -> bool:
        """Throw away what has come; False if nothing more will."""
        sock, _ = self._leaving[fd]
        try:
            for _ in range(_READS_MAX):
                if not sock.recv(_READ_BYTES):
                    return False
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False
