"""Answers to page requests whose readers take their time: they are buffered here, and take no thread.

A thread writes what the kernel takes at once and is done; the rest goes out from the loop as there is room.
So a client that reads nothing of three megabytes costs memory, of which there is a fixed amount, and never
the threads that everyone else's pages come from.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from origin.stream.net.connection_state import REACTIONS, Reaction, State, happening_of
from origin.stream.net.reactor import WRITABLE, Reactor

__all__ = ["PageSocket", "SlowResponses"]

logger = logging.getLogger(__name__)

# All that waits here, together.
_WAITING_MAX_BYTES: Final = 67_108_864
# What goes out to one reader before deltas and others have their turn.
_TURN_BYTES: Final = 262_144


def _nothing() -> None:
    """Nobody has to be called."""


class PageSocket(socket.socket):
    """The socket of a page request while a thread has it: writing to it never waits.

    Attributes:
        unsent: what the kernel did not take, in order.
        is_head: whether the request is a HEAD, whose answer has no body, whoever gives it.
    """

    __slots__ = ("is_head", "unsent")

    def __init__(self, family: int, fileno: int) -> None:
        super().__init__(family, socket.SOCK_STREAM, 0, fileno)
        self.unsent: deque[memoryview] = deque()
        self.is_head = False

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send what goes, keep the rest.

        Raises:
            OSError: the connection is gone.
        """
        # Bytes stay as they are until sent; anything else may be used again by whoever gave it.
        view = memoryview(data if isinstance(data, bytes) else bytes(data))
        if not self.unsent:
            try:
                while view:
                    view = view[self.send(view, flags | socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                pass
        if view:
            self.unsent.append(view)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """As ``sendall``: the kernel's own ``sendfile`` would wait for the reader.

        Raises:
            OSError: the connection is gone, or the file cannot be read.
        """
        file.seek(offset)
        data = file.read(-1 if count is None else count)
        self.sendall(data)
        return len(data)


class _Leaving:
    """One answer that is being sent."""

    __slots__ = ("done", "lost", "moved_s", "sock")

    def __init__(self, sock: PageSocket, done: Callable[[], None], lost: Callable[[], None]) -> None:
        self.sock = sock
        self.done = done
        self.lost = lost
        self.moved_s = time.monotonic()


class SlowResponses:
    """See the module. All of it runs on the reactor's thread.

    What is counted is memory: an object that many readers wait for, as a large file of the widget, counts
    once.

    Args:
        stalled_s: a reader that takes nothing for so long is closed.
        max_bytes: what may wait for all readers together. Beyond it, whoever has taken nothing for longest
            is closed.
    """

    def __init__(self, reactor: Reactor, *, stalled_s: float, max_bytes: int = _WAITING_MAX_BYTES) -> None:
        self._reactor = reactor
        self._stalled_s = stalled_s
        self._max_bytes = max_bytes
        self._bytes = 0
        # How many chunks are parts of each object, by its identity: an object stays for as long as one does.
        self._chunks_of: dict[int, int] = {}
        # Whoever took something last stands last.
        self._leaving: dict[int, _Leaving] = {}

    def __len__(self) -> int:
        return len(self._leaving)

    def take(self, sock: PageSocket, done: Callable[[], None], lost: Callable[[], None] = _nothing) -> None:
        """Send what a thread could not.

        Args:
            sock: with what is unsent.
            done: called once all of it is sent.
            lost: called instead if the reader is closed before.
        """
        sock.setblocking(False)
        fd = sock.fileno()
        self._leaving[fd] = _Leaving(sock, done, lost)
        for chunk in sock.unsent:
            self._count(chunk, 1)
        while self._bytes > self._max_bytes and len(self._leaving) > 1:
            self._drop(next(iter(self._leaving)), "memory is full")
        if fd not in self._leaving:
            return
        self._reactor.register(fd, self)
        # If there is room by now, this wakes the loop.
        self._reactor.want_room(fd, True)

    def on_event(self, fd: int, mask: int) -> None:
        """See ``EventHandler``."""
        leaving = self._leaving.get(fd)
        if leaving is None:
            return
        reaction = REACTIONS[State.ANSWERING][happening_of(mask)]
        if reaction is Reaction.CLOSE:
            self._drop(fd, "its reader is gone")
            return
        if not mask & WRITABLE:
            return
        try:
            complete = self._send(leaving)
        except BlockingIOError:
            return
        except OSError as error:
            self._drop(fd, str(error))
            return
        if not complete:
            self._reactor.want_room(fd, True)  # an edge: asked for again, or it would not come
            return
        del self._leaving[fd]
        self._reactor.unregister(fd)
        leaving.done()

    def drop_overdue(self, now_s: float) -> None:
        """Close those who have taken nothing for too long."""
        for fd, leaving in list(self._leaving.items()):
            if now_s - leaving.moved_s < self._stalled_s:
                break
            self._drop(fd, "its reader takes nothing")

    def evict(self) -> bool:
        """Close whoever has taken nothing for longest, for its file; whether there was one."""
        stuck = next(iter(self._leaving), None)
        if stuck is None:
            return False
        self._drop(stuck, "its file is needed")
        return True

    def close(self) -> None:
        """Close all."""
        for fd in list(self._leaving):
            self._drop(fd, "the worker ends")

    def _send(self, leaving: _Leaving) -> bool:
        """Write one turn's worth; whether that was all of it.

        Raises:
            BlockingIOError: the reader has to take some first.
            OSError: the connection is gone.
        """
        unsent = leaving.sock.unsent
        left = _TURN_BYTES
        while unsent and left > 0:
            sent = leaving.sock.send(unsent[0][:left])
            left -= sent
            unsent[0] = unsent[0][sent:]
            if not unsent[0]:
                self._count(unsent.popleft(), -1)
            leaving.moved_s = time.monotonic()
            fd = leaving.sock.fileno()
            self._leaving[fd] = self._leaving.pop(fd)
        return not unsent

    def _count(self, chunk: memoryview, more: int) -> None:
        """A chunk has come to wait, or waits no more."""
        whole = cast("bytes", chunk.obj)  # see ``PageSocket.sendall``
        key, before = id(whole), self._chunks_of.get(id(whole), 0)
        if not before:
            self._bytes += len(whole)
        if before + more:
            self._chunks_of[key] = before + more
        else:
            del self._chunks_of[key]
            self._bytes -= len(whole)

    def _drop(self, fd: int, why: str) -> None:
        leaving = self._leaving.pop(fd)
        logger.info("an answer was not sent to its end: %s", why)
        while leaving.sock.unsent:
            self._count(leaving.sock.unsent.popleft(), -1)
        self._reactor.unregister(fd)
        leaving.sock.close()
        leaving.lost()
