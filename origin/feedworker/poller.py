"""Reads the document of one match again and again, at intervals that no two matches share.

A failure is tried again after ``delay_ms`` (full jitter, doubling to a cap), and never sooner than the
vendor asked. Where it refuses the key or counts requests, never sooner than the ordinary interval either.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from origin.errors import EventLogError, FeedError
from origin.feedworker.client import Validators, VendorClient, VendorError, shown_url
from origin.feedworker.counted import fetch_counted
from origin.feedworker.dead_letters import BoundedDeadLetters
from origin.feedworker.quota import Quota
from origin.feedworker.shared_intake import SharedIntake
from origin.metrics import Metrics
from shared_state import delay_ms

__all__ = ["Intervals", "Poller"]

logger = logging.getLogger(__name__)

JITTER: Final = 0.1  # of an interval, to either side
# However often the stream says that something may be missing.
SPACING_S: Final = 1.0
# What is left of a day is for matches that are played for so long.
PLAYED_MS: Final = 2 * 3_600_000 + 1_800_000
_COUNTED: Final = frozenset({"refused", "limited"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How often a document is read.

    Attributes:
        running_s: while the match may change at any moment.
        over_s: after its end, for the corrections that come for a day.
        silence_s: without a sign of life for so long, a running match is marked as delayed.
        heartbeat_s: without a whole message for so long, a stream is given up.
    """

    running_s: float = 5.0
    over_s: float = 60.0
    silence_s: float = 60.0
    heartbeat_s: float = 15.0


class Poller:
    """One match.

    Args:
        url: of its document.
        feed: its name in the metrics.
        quota: of the key, which all matches of the worker share.
        sharing: how many they are.
        now_ms: UTC milliseconds.
        random_unit: draws from [0, 1).
    """

    def __init__(
        self,
        client: VendorClient,
        url: str,
        intake: SharedIntake,
        dead_letters: BoundedDeadLetters,
        intervals: Intervals,
        *,
        feed: str,
        quota: Quota,
        sharing: int,
        metrics: Metrics,
        now_ms: Callable[[], int],
        random_unit: Callable[[], float],
    ) -> None:
        self._client = client
        self._url = url
        self._intake = intake
        self._dead_letters = dead_letters
        self._intervals = intervals
        self._feed = feed
        self._quota = quota
        self._sharing = sharing
        self._now_ms = now_ms
        self._metrics = metrics
        self._random_unit = random_unit
        self._validators = Validators()
        self._failures = 0
        self._problem = ""

    async def run(self) -> None:
        """Poll until cancelled."""
        interval_s = self._intervals.running_s
        # All matches of a worker start at once; their vendor need not see that.
        await self._intake.rest(0.0, self._random_unit() * min(interval_s, 1.0))
        while True:
            hint_ms = await self._poll()
            interval_s = self._intervals.over_s if self._intake.over else self._intervals.running_s
            spacing_s = min(SPACING_S, interval_s)
            if not self._failures:
                jitter = 1 + JITTER * (2 * self._random_unit() - 1)
                allowed_s = self._allowed_ms(interval_s) / 1000
                if allowed_s > interval_s:  # a push that wakes it does not make requests more
                    spacing_s = interval_s = allowed_s
                await self._intake.rest(spacing_s * jitter, interval_s * jitter)
            else:
                wait_s = delay_ms(self._failures - 1, self._random_unit(), hint_ms) / 1000
                wait_s = max(
                    wait_s, self._quota.wait_ms(self._now_ms(), 0, self._now_ms(), active=False) / 1000
                )
                await self._intake.rest(wait_s, wait_s)

    def _allowed_ms(self, interval_s: float) -> int:
        now_ms = self._now_ms()
        return self._quota.wait_ms(
            now_ms, round(interval_s * 1000), now_ms + PLAYED_MS, active=False, sharing=self._sharing
        )

    async def _poll(self) -> int | None:
        """Read it once; how long the vendor asks to wait, if it failed."""
        asked_s = time.monotonic()
        hint_ms, body = None, b""
        try:
            known = self._validators if self._intake.remembers else Validators()
            left = self._metrics.feed_requests_left
            document = await fetch_counted(
                self._client, self._quota, self._url, known, self._now_ms,
                lambda number: left.labels(self._feed).set(number),
            )  # fmt: skip
            if document is not None:
                body = document.body
            await self._intake.read(None if document is None else body, asked_s)
        except VendorError as error:
            result, problem, hint_ms = error.result, str(error), error.hint_ms
            if result in _COUNTED:
                hint_ms = max(hint_ms or 0, round(self._intervals.running_s * 1000))
            if error.body:
                await self._dead_letters.keep(self._intake.match_id, error.body, problem)
        except FeedError as error:
            result, problem = "unreadable", str(error)
            await self._dead_letters.keep(self._intake.match_id, body, error)
        except EventLogError as error:
            result, problem = "log", str(error)
        else:
            result, problem = ("unchanged" if document is None else "ok"), ""
            if document is not None:  # and it is in the log: what is not has to be sent again
                self._validators = document.validators
        self._metrics.feed_polls.labels(self._feed, result).inc()
        self._report(result, problem)
        return hint_ms

    def _report(self, result: str, problem: str) -> None:
        """Log what is new about the vendor: not the hundredth time what it was."""
        self._failures = self._failures + 1 if problem else 0
        if result != self._problem and (problem or self._problem):
            what = f"{self._feed} {self._intake.match_id} {shown_url(self._url)}"
            if problem:
                logger.error("%s: %s", what, problem)
            else:
                logger.warning("%s: is read again", what)
        self._problem = result if problem else ""
