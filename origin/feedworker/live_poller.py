"""Several matches of a vendor in one request, within its quota, and the matches that appear in it.

API-Football's ``?live=all`` has no match that is over, and none that has not begun. So a match that was live
and is no more is asked for by its id until it is known to have ended, twenty at a time; and once an hour the
fixtures of the day are read, which makes the matches to come. Other vendors have all of these in one document
(``origin.feedworker.plan``), and a match is asked for by its id only where that document lacks it.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Final

from origin.errors import EventLogError, FeedError
from origin.feeds.vendor_document import VendorDocument
from origin.feedworker.client import Validators, VendorClient, VendorError, shown_url
from origin.feedworker.counted import fetch_counted
from origin.feedworker.dead_letters import BoundedDeadLetters
from origin.feedworker.formats import Format, guarded
from origin.feedworker.intake import Intake
from origin.feedworker.plan import RequestPlan
from origin.feedworker.quota import Quota
from origin.metrics import Metrics
from shared_state import delay_ms

__all__ = ["FOLLOWED_MAX", "LivePoller"]

logger = logging.getLogger(__name__)

# Matches of one worker; each costs memory for its events.
FOLLOWED_MAX: Final = 2_000
SCHEDULE_MS: Final = 3_600_000
# A goal, a kick-off or an end is followed by edits for so long.
ACTIVE_MS: Final = 180_000
# A match is expected to be played for so long after its kick-off.
PLAYED_MS: Final = 2 * 3_600_000 + 1_800_000
# The corrections of a match that is over.
OVER_INTERVAL_MS: Final = 600_000
OVER_DOUBLINGS_MAX: Final = 6


class LivePoller:
    """One vendor.

    Args:
        url: of its API, without a path; where the plan says so, of the document.
        plan: its requests.
        follow: our ids of the matches to follow; empty for all.
        leagues: the vendor's numbers of the competitions to follow; empty for all.
        intake: makes the intake of a match.
        least_s: the shortest interval between two requests, seconds.
        over_s: how often a match that is over is read again, for corrections, seconds.
        silence_s: without a good answer for so long, the matches that are live are marked as delayed.
    """

    def __init__(
        self,
        client: VendorClient,
        url: str,
        format_: Format,
        plan: RequestPlan,
        intake: Callable[[str], Intake],
        dead_letters: BoundedDeadLetters,
        quota: Quota,
        *,
        follow: Collection[str] = (),
        leagues: Collection[int] = (),
        least_s: float = 15.0,
        over_s: float = OVER_INTERVAL_MS / 1000,
        silence_s: float = 60.0,
        metrics: Metrics,
        now_ms: Callable[[], int],
        random_unit: Callable[[], float],
    ) -> None:
        self._client = client
        self._url = url.rstrip("/") if plan.current else url
        self._format = format_
        self._plan = plan
        self._make_intake = intake
        self._dead_letters = dead_letters
        self._quota = quota
        self._follow = frozenset(follow)
        self._leagues = frozenset(leagues)
        self._least_ms = round(least_s * 1000)
        self._over_ms = round(over_s * 1000)
        self._silence_s = silence_s
        self._failing_since_s: float | None = None
        self._metrics = metrics
        self._now_ms = now_ms
        self._random_unit = random_unit
        self._intakes: dict[str, Intake] = {}
        self._live: set[str] = set()
        self._begun: set[str] = set()  # was live, and is not known to be over
        self._over_read_ms: dict[str, int] = {}
        self._over_reads: Counter[str] = Counter()
        self._kickoffs: dict[str, int] = {}
        self._heard_s: dict[str, float] = {}
        self._scheduled_ms: int | None = None
        self._active_ms = 0
        self._failures = 0
        self._overflowed = False

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            hint_ms = await self._turn()
            await self._mark_silence()
            await asyncio.sleep(self._wait_ms(hint_ms) / 1000)

    def _wait_ms(self, hint_ms: int | None) -> int:
        now_ms = self._now_ms()
        if self._failures:
            backoff = delay_ms(self._failures - 1, self._random_unit(), hint_ms)
            return max(backoff, self._quota.wait_ms(now_ms, 0, now_ms, active=False))
        near = any(abs(at_ms - now_ms) < ACTIVE_MS for at_ms in self._kickoffs.values())
        until_ms = max((at_ms + PLAYED_MS for at_ms in self._kickoffs.values()), default=0)
        until_ms = max(until_ms, now_ms + PLAYED_MS // 2 if self._live or self._begun else 0)
        if not self._live and not self._begun and not near:
            # Nothing is played: until the next kick-off, or the next reading of the day's fixtures.
            ahead = [at_ms - now_ms for at_ms in self._kickoffs.values() if at_ms > now_ms]
            idle_ms = min([SCHEDULE_MS, *ahead])
            return max(self._least_ms, min(idle_ms, self._over_ms))
        active = near or now_ms - self._active_ms < ACTIVE_MS
        return self._quota.wait_ms(now_ms, self._least_ms, until_ms, active=active)

    async def _turn(self) -> int | None:
        """The requests of one turn; how long the vendor asks to wait, if one failed."""
        now_ms = self._now_ms()
        plan = self._plan
        scheduled = self._scheduled_ms is not None and now_ms - self._scheduled_ms < SCHEDULE_MS
        if plan.day and not scheduled:
            day = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC).date().isoformat()
            hint_ms = await self._ask(plan.day.format(day=day))
            if self._failed():
                return hint_ms
            self._scheduled_ms = now_ms
        seen: set[str] = set()
        numbers = [self._format.vendor_id(match_id) for match_id in self._follow]
        for path in plan.current_paths(numbers, self._leagues):
            hint_ms = await self._ask(path, seen)
            if self._failed():
                return hint_ms
        live = {match_id for match_id in seen if self._intakes[match_id].running} if plan.has_all else seen
        self._live = live
        self._begun |= live
        missing = self._missing(now_ms, seen)
        by_number = {self._format.vendor_id(match_id): match_id for match_id in missing}
        for path in plan.ids_paths(by_number):
            hint_ms = await self._ask(path)
            if self._failed():
                return hint_ms
        for match_id in missing:
            if match_id in self._over_read_ms:
                self._over_read_ms[match_id] = now_ms
                self._over_reads[match_id] += 1
        return None

    async def _mark_silence(self) -> None:
        """Mark the live matches where the vendor has failed for long; the first good answer takes it back."""
        if not self._failures:
            self._failing_since_s = None
            return
        now_s = time.monotonic()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if now_s - self._failing_since_s < self._silence_s:
            return
        for match_id in sorted(self._live | self._begun):
            try:
                await asyncio.to_thread(self._intakes[match_id].mark_delayed)
            except EventLogError as error:
                logger.error("%s: could not be marked as delayed: %s", match_id, error)

    def _failed(self) -> bool:
        return self._failures > 0

    def _missing(self, now_ms: int, seen: Collection[str]) -> list[str]:
        """Matches to be asked for by their ids: gone from the live ones, or over and due for corrections."""
        for match_id, intake in self._intakes.items():
            if match_id in self._heard_s and not intake.running:
                # An age that grows because nothing is asked any more is no news of the vendor.
                self._forget_age(match_id)
            # One that ended while no worker ran is known from the fixtures of the day alone.
            ended = intake.over or self._kickoffs.get(match_id, now_ms) < now_ms - PLAYED_MS
            if ended and match_id not in self._live:
                self._over_read_ms.setdefault(match_id, 0)
            if intake.over:
                self._begun.discard(match_id)
        # Corrections become rarer, and requests are counted: each reading doubles the wait for the next.
        due = [
            match_id
            for match_id, at_ms in self._over_read_ms.items()
            if now_ms - at_ms
            >= self._over_ms << min(OVER_DOUBLINGS_MAX, max(0, self._over_reads[match_id] - 3))
        ]
        wanted = (self._begun - self._live) | set(due)
        # Where the document has matches that are over, it has their corrections too.
        return sorted(wanted - set(seen) if self._plan.has_all else wanted)

    async def _ask(self, path: str, seen: set[str] | None = None) -> int | None:
        """One request, and what its answer has into the log."""
        hint_ms: int | None = None
        body = b""
        try:
            answer = await fetch_counted(
                self._client,
                self._quota,
                self._url + path,
                Validators(),
                self._now_ms,
                lambda left: self._metrics.feed_requests_left.labels(self._format.name).set(left),
            )
            if answer is None:  # only what is asked for conditionally is answered so
                raise VendorError("unreadable", "304 to a request without a condition")
            body = answer.body
            await asyncio.to_thread(self._take, body, seen)
        except VendorError as error:
            result, problem, hint_ms = error.result, str(error), error.hint_ms
            if error.body:
                await self._dead_letters.keep("fixtures", error.body, problem)
        except FeedError as error:
            result, problem = "unreadable", str(error)
            await self._dead_letters.keep("fixtures", body, error)
        except EventLogError as error:
            result, problem = "log", str(error)
        else:
            result, problem = "ok", ""
        self._metrics.feed_polls.labels(self._format.name, result).inc()
        self._failures = self._failures + 1 if problem else 0
        if problem:
            logger.error("%s %s: %s", self._format.name, shown_url(self._url), problem)
        return hint_ms

    def _take(self, body: bytes, seen: set[str] | None) -> None:
        for document in guarded(self._format.read, body, self._now_ms()):
            if not self._followed(document):
                continue
            intake = self._intakes.get(document.match_id)
            if intake is None:
                if len(self._intakes) >= FOLLOWED_MAX:
                    self._overflow()
                    continue
                intake = self._intakes[document.match_id] = self._make_intake(document.match_id)
            if seen is not None:
                seen.add(document.match_id)
            for event in document.events:
                if event.type == "MATCH_INFO" and event.detail["kickoff_ms"] is not None:
                    self._kickoffs[document.match_id] = event.detail["kickoff_ms"]
            try:
                if intake.take(document):
                    self._active_ms = self._now_ms()
                self._heard(document.match_id)
            except FeedError as error:  # this match is too large, or a fault of ours is in it: not the others
                logger.error("%s: %s", document.match_id, error)

    def _heard(self, match_id: str) -> None:
        if not self._intakes[match_id].running:
            return
        if match_id not in self._heard_s:
            since: Callable[[], float] = lambda: self._age_s(match_id)  # noqa: E731
            self._metrics.feed_age_seconds.labels(match_id).set_function(since)
        self._heard_s[match_id] = time.monotonic()

    def _age_s(self, match_id: str) -> float:
        heard_s = self._heard_s.get(match_id)
        return 0.0 if heard_s is None else time.monotonic() - heard_s

    def _forget_age(self, match_id: str) -> None:
        del self._heard_s[match_id]
        self._metrics.feed_age_seconds.remove(match_id)

    def _followed(self, document: VendorDocument) -> bool:
        if self._follow and document.match_id not in self._follow:
            return False
        return not self._leagues or document.competition_id in self._leagues

    def _overflow(self) -> None:
        if not self._overflowed:
            self._overflowed = True
            logger.error("more than %d matches: the rest is left out; name those to follow", FOLLOWED_MAX)
