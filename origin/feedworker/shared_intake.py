"""An intake as the tasks of the worker share it: one at a time, off the event loop, and how silent it is.

Reading a document takes tens of milliseconds and an append a disk's time; on the event loop either would
hold up the heartbeats of every other match.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from origin.feeds.vendor_document import VendorDocument
from origin.feedworker.intake import Intake

__all__ = ["SharedIntake"]


class SharedIntake:
    """One match of a running worker. Times are monotonic seconds.

    Attributes:
        match_id: the match.
        synced_s: when the last good reading of its document was asked for.
    """

    def __init__(self, intake: Intake, now_s: Callable[[], float] = time.monotonic) -> None:
        self.match_id = intake.match_id
        self.synced_s = -math.inf
        self._intake = intake
        self._now_s = now_s
        self._heard_s = now_s()
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether the match has ended."""
        return self._intake.over

    @property
    def remembers(self) -> bool:
        """Whether the document that was read last is remembered; else it has to be sent again."""
        return self._intake.remembers

    @property
    def silent_s(self) -> float:
        """Since the vendor was last heard of this match."""
        return self._now_s() - self._heard_s

    def heard(self, since_s: float = -math.inf) -> None:
        """The vendor gave a sign of life.

        Args:
            since_s: when its stream was opened. It counts only once the document was read after that:
                a stream says nothing of what came before it.
        """
        if self.synced_s >= since_s:
            self._heard_s = self._now_s()

    async def read(self, body: bytes | None, asked_s: float) -> None:
        """Take a document that was asked for at a moment; None: the vendor still has the last one.

        Raises:
            FeedError: it cannot be read.
            EventLogError: the log did not take it.
        """
        async with self._lock:
            if body is None:
                await asyncio.to_thread(self._intake.unchanged)
            else:
                await asyncio.to_thread(self._intake.read, body)
            self.synced_s = asked_s
            self.heard()

    async def pushed(self, document: VendorDocument) -> None:
        """Take a pushed message.

        Raises:
            FeedError: it cannot be read.
            EventLogError: the log did not take it.
        """
        async with self._lock:
            await asyncio.to_thread(self._intake.pushed, document)

    async def mark_delayed(self, silence_s: float) -> bool:
        """See ``Intake.mark_delayed``; nothing if the vendor was heard within ``silence_s`` after all.

        Raises:
            EventLogError: the log cannot be asked or did not take it.
        """
        async with self._lock:
            # A document may have been taken while this waited for its turn.
            return self.silent_s > silence_s and await asyncio.to_thread(self._intake.mark_delayed)

    def wake(self) -> None:
        """Have the document read again soon: something may have been missed."""
        self._wake.set()

    async def rest(self, at_least_s: float, at_most_s: float) -> None:
        """Wait, and after the least time only until ``wake``."""
        await asyncio.sleep(at_least_s)
        try:
            async with asyncio.timeout(max(0.0, at_most_s - at_least_s)):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
