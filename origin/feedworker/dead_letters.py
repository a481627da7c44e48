"""What a vendor sent and nobody can read: kept as dead letters, within bounds.

A vendor whose outage page has the time of day in it sends another document at every poll. So a dead
letter is cut, and each source fills only so many an hour; what is beyond is counted, and said in the log.
After some months a document is of no use to anybody, and is removed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Final

from origin.errors import EventLogError, FeedError
from origin.eventlog import EventLog
from origin.eventlog.deadletter import DeadLetter
from origin.eventlog.memory import wall_clock_ms
from origin.metrics import Metrics

__all__ = ["DEAD_LETTERS_PER_HOUR", "DEAD_LETTER_MAX_BYTES", "BoundedDeadLetters"]

logger = logging.getLogger(__name__)

DEAD_LETTER_MAX_BYTES: Final = 256 * 1024  # below what a Kafka broker takes by default
DEAD_LETTERS_PER_HOUR: Final = 30
REASON_MAX_CHARS: Final = 400
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS


class BoundedDeadLetters:
    """The dead letters of one feed; any thread may call it.

    Args:
        kept_days: documents of all feeds that are older are removed, at most once an hour, when another one
            comes; 0: never.
    """

    def __init__(
        self,
        log: EventLog,
        feed: str,
        metrics: Metrics,
        *,
        now_ms: Callable[[], int] = wall_clock_ms,
        kept_days: int = 0,
    ) -> None:
        self._log = log
        self._feed = feed
        self._metrics = metrics
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._kept: dict[str, dict[int, int]] = {}
        self._kept_days = kept_days
        self._next_removal_ms = 0

    def add(self, what: str, payload: bytes, reason: FeedError | str) -> None:
        """Keep it, if there is room. A log that cannot be reached loses a dead letter, never an event.

        Args:
            what: where it came from: the match, or the push stream.
            payload: all of it, or the first of it.
            reason: what is wrong with it.
        """
        source = f"{self._feed} {what}"
        reason = " ".join(_placed(reason).split())[:REASON_MAX_CHARS]
        self._metrics.feed_dead_letters.labels(self._feed).inc()
        if len(payload) > DEAD_LETTER_MAX_BYTES:
            reason += f" (the first {DEAD_LETTER_MAX_BYTES} of {len(payload)} bytes)"
        letter = DeadLetter.of_document(source, self._now_ms(), reason, payload[:DEAD_LETTER_MAX_BYTES])
        if not self._room(source, letter):
            logger.warning("%s: %s (not kept: %s an hour are)", source, reason, DEAD_LETTERS_PER_HOUR)
            return
        logger.warning("%s: %s; kept as dead letter %s", source, reason, letter.id)
        try:
            self._log.dead_letters().add(letter)
            self._remove_old(letter.at_ms)
        except EventLogError as error:
            logger.error("%s: could not be dead-lettered: %s", source, error)

    async def keep(self, what: str, payload: bytes, reason: FeedError | str) -> None:
        """As ``add``, in a thread: a log that hangs would hold up every match of an event loop."""
        await asyncio.to_thread(self.add, what, payload, reason)

    def _remove_old(self, now_ms: int) -> None:
        with self._lock:
            if not self._kept_days or now_ms < self._next_removal_ms:
                return
            self._next_removal_ms = now_ms + _HOUR_MS
        self._log.dead_letters().forget_documents(now_ms - self._kept_days * _DAY_MS)

    def _room(self, source: str, letter: DeadLetter) -> bool:
        """Whether this hour has room for it; for one that is kept already there always is."""
        with self._lock:
            kept = self._kept.setdefault(source, {})
            for offset, at_ms in list(kept.items()):
                if at_ms <= letter.at_ms - _HOUR_MS:
                    del kept[offset]
            if letter.offset not in kept and len(kept) >= DEAD_LETTERS_PER_HOUR:
                return False
            kept.setdefault(letter.offset, letter.at_ms)
            return True


def _placed(reason: FeedError | str) -> str:
    """What is wrong, and where in the document."""
    if isinstance(reason, str):
        return reason
    line = reason.evidence.get("line")
    return ": ".join(filter(None, (f"line {line}" if line else "", reason.where, str(reason))))
