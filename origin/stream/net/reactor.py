"""One thread's epoll set, and the door through which other threads reach that thread.

The standard ``selectors`` keeps a key object, a callback and a dictionary entry for each socket, half a
kilobyte in all; with 50,000 sockets that is more than everything else a viewer costs. Here a socket is
its number, and what that leads to is shared: all viewers of a match have one handler.

Registration is edge-triggered: a handler hears once that bytes came, and a request head that is looked
at and left in the kernel does not wake the loop again.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__ = ["READABLE", "WRITABLE", "EventHandler", "Reactor"]

logger = logging.getLogger(__name__)

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
_BASE_MASK = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
# Events taken at once: enough to be cheap in a storm, few enough that deltas are not kept waiting.
_EVENTS_MAX = 1_024


class EventHandler(Protocol):
    """Whoever has a connection at the moment."""

    def on_event(self, fd: int, mask: int) -> None:
        """Bytes came, there is room to write, or the other side is gone."""


class Reactor:
    """An epoll set whose own number can be put in another loop's selector."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.handlers: dict[int, EventHandler] = {}
        self._inbox: deque[Callable[[], None]] = deque()
        self._woken = False
        # Held while the descriptor is written to or given up: a late poster must not write to whatever the
        # system gives its number to next.
        self._wake_lock = threading.Lock()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake_fd, select.EPOLLIN)

    def fileno(self) -> int:
        """Readable whenever ``dispatch`` has something to do."""
        return self._epoll.fileno()

    def register(self, fd: int, handler: EventHandler) -> None:
        """Give a connection to a handler, or to another one.

        Raises:
            OSError: the kernel does not take it; it is as it was.
        """
        if fd not in self.handlers:
            self._epoll.register(fd, _BASE_MASK)
        self.handlers[fd] = handler

    def want_room(self, fd: int, wanted: bool) -> None:
        """Whether the handler wants an event when there is room to write."""
        self._epoll.modify(fd, _BASE_MASK | WRITABLE if wanted else _BASE_MASK)

    def unregister(self, fd: int) -> None:
        """Forget a connection, which stays open; nothing if it is not registered."""
        if self.handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def post(self, action: Callable[[], None]) -> None:
        """Have ``action`` run on the reactor's thread, in the order posted. From any thread.

        Nothing happens once the reactor is closed: nobody is there to run it.
        """
        self._inbox.append(action)
        # One wake-up for all that is posted until the loop looks. The loop lowers the flag *before* it
        # empties the inbox, so an action posted after that raises it again.
        if not self._woken:
            with self._wake_lock:
                if self._wake_fd < 0:
                    self._inbox.clear()
                elif not self._woken:
                    self._woken = True
                    os.eventfd_write(self._wake_fd, 1)

    def dispatch(self, timeout_s: float = 0.0) -> None:
        """Handle what is there; wait up to ``timeout_s`` for the first of it."""
        handlers = self.handlers
        woken = False
        for fd, mask in self._epoll.poll(timeout_s, _EVENTS_MAX):
            # One may have been closed by the handling of another in this same round.
            handler = handlers.get(fd)
            if handler is not None:
                self._handle(handler, fd, mask)
            elif fd == self._wake_fd:
                woken = True
        # After the sockets: no handler can then meet an event that was meant for a number's last owner.
        if woken:
            os.eventfd_read(self._wake_fd)
            self._woken = False
            inbox = self._inbox
            for _ in range(len(inbox)):
                action = inbox.popleft()
                try:
                    action()
                except Exception:
                    logger.exception("what another thread asked for failed")

    def _handle(self, handler: EventHandler, fd: int, mask: int) -> None:
        try:
            handler.on_event(fd, mask)
        except Exception:  # a mistake over one viewer must not end the others
            logger.exception("a connection could not be handled")

    def close(self) -> None:
        """Close the set; whoever has a connection closes it."""
        self._epoll.close()
        with self._wake_lock:
            wake_fd, self._wake_fd = self._wake_fd, -1
            self._woken = False
        os.close(wake_fd)
