"""Listens to a vendor's push stream: one connection for all matches of the worker.

The stream has no memory. So each time it is opened, and each time a heartbeat, an unreadable message or a
log that did not take one leaves a doubt, the matches' documents are read again; what was pushed meanwhile
and is in the document too changes nothing. A stream without a whole message for longer than its heartbeats
allow is given up, whatever bytes it sends, and opened anew from the address that was configured: where it
redirected to is good only once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from origin.errors import EventLogError, FeedError
from origin.feeds.jsondoc import Node
from origin.feeds.jsonstream import JsonStream
from origin.feeds.vendor_document import VendorDocument
from origin.feedworker.client import VendorClient, VendorError, shown_url
from origin.feedworker.dead_letters import BoundedDeadLetters
from origin.feedworker.formats import guarded
from origin.feedworker.shared_intake import SharedIntake
from origin.metrics import Metrics
from shared_state import delay_ms
from shared_state.jsontext import canonical

__all__ = ["STREAM", "PushReader"]

logger = logging.getLogger(__name__)

STREAM: Final = "push stream"


class PushReader:
    """One stream.

    Args:
        read: makes a message, and what time it is, into a document; None for a heartbeat.
        intakes: by match; messages of other matches are passed over.
        heartbeat_s: without a whole message for so long, the stream is given up.
        feed: its name in the metrics.
        now_ms: UTC milliseconds.
        random_unit: draws from [0, 1).
    """

    def __init__(
        self,
        client: VendorClient,
        url: str,
        read: Callable[[Node, int], VendorDocument | None],
        intakes: Mapping[str, SharedIntake],
        dead_letters: BoundedDeadLetters,
        *,
        heartbeat_s: float,
        feed: str,
        metrics: Metrics,
        now_ms: Callable[[], int],
        random_unit: Callable[[], float],
    ) -> None:
        self._client = client
        self._url = url
        self._read = read
        self._intakes = intakes
        self._dead_letters = dead_letters
        self._heartbeat_s = heartbeat_s
        self._feed = feed
        self._metrics = metrics
        self._now_ms = now_ms
        self._random_unit = random_unit
        self._opened_s = 0.0
        self._heartbeat_to: int | None = None

    async def run(self) -> None:
        """Listen until cancelled."""
        failures = 0
        while True:
            begin_s = time.monotonic()
            hint_ms = None
            try:
                await self._listen()
                problem = "it ended"
            except VendorError as error:
                problem, hint_ms = str(error), error.hint_ms
            except FeedError as error:
                problem = str(error)
            # One that held for a while was a good one; one that opens and breaks at once is not.
            held = time.monotonic() - begin_s > self._heartbeat_s
            failures = 0 if held else failures + 1
            wait_ms = delay_ms(max(0, failures - 1), self._random_unit(), hint_ms)
            self._metrics.feed_reconnects.labels(self._feed).inc()
            level = logging.WARNING if failures < 2 else logging.ERROR
            where = shown_url(self._url)
            logger.log(level, "%s %s: %s; again in %.1f s", self._feed, where, problem, wait_ms / 1000)
            await asyncio.sleep(wait_ms / 1000)

    async def _listen(self) -> None:
        """Listen to one connection until it ends.

        Raises:
            VendorError: it could not be opened, broke, or fell silent.
            FeedError: what came is no stream of objects.
        """
        async with self._client.stream(self._url) as pieces:
            self._opened_s, self._heartbeat_to = time.monotonic(), None
            self._read_again()
            objects = JsonStream()
            now_s = asyncio.get_running_loop().time
            deadline_s = now_s() + self._heartbeat_s
            while True:
                try:
                    async with asyncio.timeout_at(deadline_s):
                        piece = await anext(pieces, None)
                except TimeoutError:
                    raise VendorError("timeout", f"no message for {self._heartbeat_s:g} s") from None
                if piece is None:
                    return
                try:
                    for node in objects.feed(piece):
                        await self._take(node)
                        # Of messages, not of bytes: white space may come for ever. And not while one is
                        # taken: how long the log needs says nothing of the vendor.
                        deadline_s = now_s() + self._heartbeat_s
                except FeedError as error:
                    await self._dead_letters.keep(STREAM, piece, error)
                    raise

    async def _take(self, message: Node) -> None:
        for intake in self._intakes.values():
            intake.heard(self._opened_s)
        try:
            document = guarded(self._read, message, self._now_ms())
        except FeedError as error:
            self._read_again()  # first: the log may hang
            await self._dead_letters.keep(STREAM, canonical(message.value).encode(), error)
            return
        if document is None:
            self._heartbeat(message.value)
            return
        concerned = self._intakes.get(document.match_id)
        if concerned is None:
            return
        try:
            await concerned.pushed(document)
        except FeedError as error:  # of this match alone: the stream has others
            await self._dead_letters.keep(concerned.match_id, canonical(message.value).encode(), error)
        except EventLogError as error:
            logger.error("%s %s: %s", self._feed, concerned.match_id, error)
            concerned.wake()

    def _heartbeat(self, message: Any) -> None:
        """A heartbeat names the span it is for; between two of them nothing may be left out."""
        beat = message["heartbeat"]
        begin, end, every = (
            (beat.get("from"), beat.get("to"), beat.get("interval"))
            if isinstance(beat, dict)
            else (None,) * 3
        )
        known = self._heartbeat_to
        self._heartbeat_to = end if type(end) is int else None
        if known is not None and type(begin) is int and type(every) is int and begin > known + every:
            self._read_again()

    def _read_again(self) -> None:
        for intake in self._intakes.values():
            intake.wake()
