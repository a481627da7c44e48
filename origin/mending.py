"""What the bus has lost is given to it again from the log.

Two ways of finding out. Matches told by this worker are compared with their heads on a timer: a fail-over
to a replica that lagged, a Redis that came back empty. Matches told before it started, or by another
worker, it does not know; but a bus that was emptied has lost its mark, too (``Bus.is_whole``), and then the
log is read through for what is missing. That is done a piece at a time, between goals.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

from origin.bus import Bus
from origin.errors import BusError, EventLogError
from origin.eventlog import EventLog
from origin.metrics import Metrics
from shared_state import DeltaId

__all__ = ["Mender"]

logger = logging.getLogger(__name__)

# How long a bus that lost its last deltas may go unnoticed while nothing happens in a match.
CHECK_S = 2.0
# What could not be restored, since its shard is away, is looked for again after this.
RESTORE_AGAIN_S = 10.0
# Matches compared on the timer; a question each, so this bounds what a check costs.
TOLD_MAX = 5_000
SCAN_POLL_S = 0.2


class Mender:
    """See the module.

    Args:
        refill: gives the bus one match's history, up to an id or, for None, all that is due.
        restores: False where the whole log is read from the start anyway.
    """

    def __init__(
        self,
        log: EventLog,
        bus: Bus,
        refill: Callable[[str, DeltaId | None], None],
        metrics: Metrics,
        *,
        restores: bool,
    ) -> None:
        self._log = log
        self._bus = bus
        self._refill = refill
        self._metrics = metrics
        self._restores = restores
        self._told: OrderedDict[str, DeltaId] = OrderedDict()
        self._unreached: set[str] = set()
        self._foreign: set[str] = set()
        self._restoring: Iterator[None] | None = None
        self._next_check_s = 0.0
        self._next_restore_s = 0.0

    @property
    def busy(self) -> bool:
        """Whether there is a piece of work to do now."""
        return self._restoring is not None

    def told(self, match_id: str, id_: DeltaId) -> None:
        """The bus was given this id: it must never be found to have less."""
        self._told[match_id] = max(id_, self._told.get(match_id, id_))
        self._told.move_to_end(match_id)
        if len(self._told) > TOLD_MAX:
            forgotten, _ = self._told.popitem(last=False)
            self._unreached.discard(forgotten)

    def work(self) -> None:
        """Do what is due, or one piece of it.

        Raises:
            BusError, EventLogError: it will be due again.
        """
        if self._restoring is not None:
            try:
                next(self._restoring)
            except StopIteration:
                self._restoring = None
            except (BusError, EventLogError):
                self._restoring = None
                raise
            return
        now_s = time.monotonic()
        if now_s < self._next_check_s:
            return
        self._next_check_s = now_s + CHECK_S
        self.check_heads()
        if self._restores and now_s >= self._next_restore_s and not self._bus.is_whole():
            self._next_restore_s = now_s + RESTORE_AGAIN_S
            self._restoring = self.restore()

    def check_heads(self) -> int:
        """Refill every match that the bus has less of than it was given here; returns how many.

        A match that cannot be asked about is asked about last the next time, and ends this round: while a
        shard hangs, each question to it costs a timeout, in which goals of other matches wait.
        """
        refilled = 0
        for match_id, position in sorted(self._told.items(), key=lambda told: told[0] in self._unreached):
            try:
                head = self._bus.head(match_id)
                if head is None or head < position:
                    self._refill(match_id, position)
                    refilled += 1
            except (BusError, EventLogError) as error:
                logger.warning("match %s is not known to be whole on the bus: %s", match_id, error)
                self._unreached.add(match_id)
                break
            self._unreached.discard(match_id)
            self._judge_epoch(match_id, position, head)
        return refilled

    def restore(self) -> Iterator[None]:
        """Refill every match of the log that the bus does not know; a piece of work at each step.

        Raises:
            BusError, EventLogError: the log cannot be read, or the bus not be marked.
        """
        reader = self._log.consumer(None)
        match_ids: dict[str, None] = {}
        try:
            while records := reader.poll(SCAN_POLL_S):
                match_ids.update((record.event.match_id, None) for record in records)
                yield
        finally:
            reader.close()
        failed = 0
        # At once, and not each before its refill: a shard that hangs costs one timeout, not one per match.
        for match_id, head in self._bus.heads(list(match_ids)).items():
            try:
                if isinstance(head, BusError):
                    raise head
                if head is None:
                    self._refill(match_id, None)
            except (BusError, EventLogError) as error:
                logger.warning("match %s could not be restored yet: %s", match_id, error)
                failed += 1
            yield
        if not failed:
            self._bus.mark_whole()

    def _judge_epoch(self, match_id: str, position: DeltaId, head: DeltaId | None) -> None:
        """Say it loudly if the bus stands in a newer epoch: it takes what this log says for old news."""
        if head is not None and head.epoch > position.epoch:
            if match_id not in self._foreign:
                logger.error(
                    "match %s: the bus stands at %s, of a newer epoch than the log's %s, and takes nothing;"
                    " delete the match's keys on the bus (docs/bus.md)",
                    match_id,
                    head,
                    position,
                )
            self._foreign.add(match_id)
        else:
            self._foreign.discard(match_id)
        self._metrics.foreign_epochs.set(len(self._foreign))
