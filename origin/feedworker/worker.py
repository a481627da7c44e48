"""The worker: several matches of one vendor in one process, each on its own, over one event loop.

What happens to one match stops no other: a vendor that answers one URL with garbage is backed off from on
that URL alone, and a fault of ours ends only the task that it is in, which is begun again. Stop it at any
moment, with SIGKILL too: the log has all that was acknowledged to nobody else, and the next worker begins
by reading it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from origin.errors import ConfigError, EventLogError
from origin.eventlog import EventLog
from origin.eventlog.limits import MatchLimits
from origin.eventlog.memory import wall_clock_ms
from origin.feedworker.client import ClientLimits, VendorClient
from origin.feedworker.dead_letters import BoundedDeadLetters
from origin.feedworker.formats import Format
from origin.feedworker.intake import Intake
from origin.feedworker.live_poller import LivePoller
from origin.feedworker.plan import RequestPlan
from origin.feedworker.poller import Intervals, Poller
from origin.feedworker.push import STREAM, PushReader
from origin.feedworker.quota import Quota
from origin.feedworker.shared_intake import SharedIntake
from origin.metrics import Metrics
from origin.tracing import NO_TRACES, Tracer
from shared_state import delay_ms

__all__ = ["FeedWorker", "check_settings"]

logger = logging.getLogger(__name__)

# What failed as nothing should is begun again after this at least, and what failed again after more.
FAULT_PAUSE_MS: Final = 1_000
# What ran for so long did not fail at once.
HELD_S: Final = 60.0
# What a header can carry. The newline that ends the file of a secret is not part of it.
_KEY: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")


def check_settings(
    format_: Format,
    matches: Sequence[str],
    url: str,
    push_url: str | None,
    key: str | None,
    leagues: Sequence[int] = (),
) -> None:
    """Refuse what no worker can work with; the arguments are those of ``FeedWorker``.

    Raises:
        ConfigError: a value cannot be, or two contradict each other. The key is never shown.
    """
    for match_id in matches:
        format_.vendor_id(match_id)
    if push_url is not None and format_.read_push is None:
        raise ConfigError(f"feed {format_.name} has no push stream")
    plan = format_.plan_for(matches, url)
    if plan is None and not matches:
        raise ConfigError(f"feed {format_.name} needs --match" + (" for {id}" if format_.plan else ""))
    if leagues and (plan is None or not plan.has_leagues):
        raise ConfigError(
            f"--league {leagues[0]}: feed {format_.name} has no competitions to choose from here"
        )
    if len(matches) > 1 and plan is None and "{id}" not in url:
        raise ConfigError("the URL of several matches needs {id} where the vendor's number stands")
    if key and not _KEY.fullmatch(key):
        raise ConfigError("TOUCHLINE_FEED_KEY must be printable ASCII, without white space at its ends")


class FeedWorker:
    """One vendor's matches.

    Args:
        matches: our ids of them.
        url: of a match's document, with ``{id}`` where the vendor's own number stands.
        push_url: of the vendor's stream, if it has one.
        key: sent to the vendor in the header that it looks for.
        requests_per_day: that the key has; 0 for no limit.
        leagues: the vendor's numbers of the competitions to follow, for such a feed; empty for all.
        dead_letter_days: how long documents that could not be read are kept; 0: for ever.
        tracer: for the trace of each document that changes a match.

    Raises:
        ConfigError: see ``check_settings``.
    """

    def __init__(
        self,
        format_: Format,
        log: EventLog,
        matches: Sequence[str],
        url: str,
        *,
        push_url: str | None = None,
        key: str | None = None,
        intervals: Intervals | None = None,
        limits: ClientLimits | None = None,
        match_limits: MatchLimits | None = None,
        metrics: Metrics | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
        random_unit: Callable[[], float] = random.random,
        requests_per_day: int = 0,
        leagues: Sequence[int] = (),
        dead_letter_days: int = 0,
        tracer: Tracer = NO_TRACES,
    ) -> None:
        check_settings(format_, matches, url, push_url, key, leagues)
        self._format = format_
        self._urls = {match_id: url.replace("{id}", format_.vendor_id(match_id)) for match_id in matches}
        self._push_url = push_url
        self._plan = format_.plan_for(matches, url)
        self._headers: Mapping[str, str] = {format_.key_header: key} if key else {}
        self._plain_headers = {} if format_.plan is None else format_.plan.headers
        self._intervals = intervals or Intervals()
        self._limits = limits or ClientLimits()
        self._metrics = metrics or Metrics()
        self._metrics.begin_feed(format_.name)
        self._now_ms = now_ms
        self._random_unit = random_unit
        self._intake = functools.partial(
            Intake,
            format_=format_,
            log=log,
            metrics=self._metrics,
            now_ms=now_ms,
            match_limits=match_limits,
            tracer=tracer,
        )
        self._url, self._matches, self._leagues = url, tuple(matches), tuple(leagues)
        self._quota = Quota(requests_per_day)
        self._intakes = [] if self._plan is not None else [self._intake(match_id) for match_id in self._urls]
        self._dead_letters = BoundedDeadLetters(
            log, format_.name, self._metrics, now_ms=now_ms, kept_days=dead_letter_days
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()

    def run(self) -> None:
        """Work until ``stop``."""
        asyncio.run(self._run())

    def stop(self) -> None:
        """End soon; from any thread or signal handler."""
        if self._loop is None or self._loop.is_closed():
            self._stopped.set()
        else:
            self._loop.call_soon_threadsafe(self._stopped.set)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        shared = {intake.match_id: SharedIntake(intake) for intake in self._intakes}
        async with (
            VendorClient(self._headers, self._limits, plain_headers=self._plain_headers) as client,
            asyncio.TaskGroup() as group,
        ):
            parts: list[tuple[str, Callable[[], Awaitable[None]]]] = []
            for match_id, intake in shared.items():
                parts.append((match_id, self._poller(client, match_id, intake).run))
                parts.append((match_id, functools.partial(self._watch, intake)))
            if self._plan is not None:
                parts.append(("fixtures", self._live_poller(client, self._plan).run))
            if self._push_url is not None and self._format.read_push is not None:
                reader = PushReader(
                    client,
                    self._push_url,
                    self._format.read_push,
                    shared,
                    self._dead_letters,
                    heartbeat_s=self._intervals.heartbeat_s,
                    feed=self._format.name,
                    metrics=self._metrics,
                    now_ms=self._now_ms,
                    random_unit=self._random_unit,
                )
                parts.append((STREAM, reader.run))
            tasks = [group.create_task(self._kept(name, run)) for name, run in parts]
            await self._stopped.wait()
            for task in tasks:
                task.cancel()

    async def _kept(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run it until cancelled: a fault of ours in it is loud, costs a pause, and ends nothing else."""
        faults = 0
        while True:
            begin_s = time.monotonic()
            try:
                await run()
            except Exception:
                faults = 1 if time.monotonic() - begin_s > HELD_S else faults + 1
                wait_ms = delay_ms(faults - 1, self._random_unit(), FAULT_PAUSE_MS)
                self._metrics.feed_polls.labels(self._format.name, "fault").inc()
                logger.exception(
                    "%s %s: a fault of ours; again in %.1f s", self._format.name, name, wait_ms / 1000
                )
                await asyncio.sleep(wait_ms / 1000)

    def _live_poller(self, client: VendorClient, plan: RequestPlan) -> LivePoller:
        return LivePoller(
            client,
            self._url,
            self._format,
            plan,
            self._intake,
            self._dead_letters,
            self._quota,
            follow=self._matches,
            leagues=self._leagues,
            least_s=self._intervals.running_s,
            over_s=self._intervals.over_s,
            silence_s=self._intervals.silence_s,
            metrics=self._metrics,
            now_ms=self._now_ms,
            random_unit=self._random_unit,
        )

    def _poller(self, client: VendorClient, match_id: str, intake: SharedIntake) -> Poller:
        return Poller(
            client,
            self._urls[match_id],
            intake,
            self._dead_letters,
            self._intervals,
            feed=self._format.name,
            quota=self._quota,
            sharing=len(self._intakes),
            metrics=self._metrics,
            now_ms=self._now_ms,
            random_unit=self._random_unit,
        )

    async def _watch(self, intake: SharedIntake) -> None:
        """Mark the match while its vendor is silent."""
        silence_s = self._intervals.silence_s
        self._metrics.feed_age_seconds.labels(intake.match_id).set_function(lambda: intake.silent_s)
        while True:
            await asyncio.sleep(silence_s / 4)
            if intake.silent_s <= silence_s:
                continue
            try:
                if await intake.mark_delayed(silence_s):
                    logger.error(
                        "%s: nothing heard for %.0f s, marked as delayed", intake.match_id, intake.silent_s
                    )
            except EventLogError as error:
                logger.error("%s: could not be marked as delayed: %s", intake.match_id, error)
