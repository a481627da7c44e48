"""Calls on several servers, each server's in a thread of its own: one that hangs delays its own alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from queue import SimpleQueue
from typing import Any, TypeVar

from origin.errors import BusError

__all__ = ["PATIENCE_S", "ServerCalls"]

_Result = TypeVar("_Result")

# A server that works answers within milliseconds. While a caller waits, the matches of the others wait too.
PATIENCE_S = 0.1


class ServerCalls:
    """Calls on the servers of one bus. Thread-safe.

    A caller waits for a moment. If the server has not answered by then, the call goes on without it, and
    until it has ended all others on that server are refused at once. So every call must be safe to repeat.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: dict[str, _ServerThread] = {}
        self._late: dict[str, Future[Any]] = {}
        self._closed = False

    def call(self, server: str, function: Callable[[], _Result], patience_s: float = PATIENCE_S) -> _Result:
        """Call a function in the thread of a server, and wait for its result.

        Args:
            server: the name of the server.
            function: may block; it is safe to repeat.
            patience_s: how long to wait, seconds.

        Raises:
            BusError: an earlier call on that server has not ended, or this one has not; it may succeed later.
            Exception: what the function raises.
        """
        if self.is_busy(server):
            raise BusError(f"the server {server} of the bus has not answered an earlier call yet")
        asked = self.submit(server, function)
        try:
            return asked.result(patience_s)
        except FutureTimeoutError:
            if asked.done():
                return asked.result()
            with self._lock:
                self._late[server] = asked
            raise BusError(f"the server {server} of the bus has not answered within {patience_s} s") from None

    def submit(self, server: str, function: Callable[[], _Result]) -> Future[_Result]:
        """Call a function in the thread of a server, after those that were submitted before.

        Raises:
            BusError: these calls are closed.
        """
        with self._lock:
            if self._closed:
                raise BusError("the bus is closed")
            thread = self._threads.get(server)
            if thread is None:
                thread = self._threads[server] = _ServerThread(server)
        return thread.submit(function)

    def is_busy(self, server: str) -> bool:
        """Whether a call on this server was too late for its caller and has not ended."""
        if not self._late:
            return False
        with self._lock:
            asked = self._late.get(server)
            if asked is not None and asked.done():
                del self._late[server]
                return False
            return asked is not None

    @property
    def any_busy(self) -> bool:
        """Whether there may be a server that is busy."""
        return bool(self._late)

    def close(self) -> None:
        """End the threads once their calls have ended; does not wait for them."""
        with self._lock:
            self._closed = True
            threads, self._threads = list(self._threads.values()), {}
        for thread in threads:
            thread.end()


class _ServerThread:
    def __init__(self, server: str) -> None:
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        # A daemon: a process that ends does not wait for a server that hangs.
        threading.Thread(target=self._run, name=f"bus-calls-{server}", daemon=True).start()

    def submit(self, function: Callable[[], _Result]) -> Future[_Result]:
        asked: Future[_Result] = Future()
        self._queue.put((asked, function))
        return asked

    def end(self) -> None:
        self._queue.put(None)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            asked, function = item
            try:
                asked.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is raised in the caller
                asked.set_exception(error)
