"""What the bus has lost is given to it again from the log.

Two ways of finding out. Matches told by this worker are compared with their heads on a timer: a fail-over
to a replica that lagged, a Redis that came back empty. Matches told before it started, or by another
worker, it does not know; but a bus that was emptied has lost its mark, too (``Bus.is_complete``), and then
the log is read through for what is missing. That is done a piece at a time, between goals.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator

from origin.bus import Bus
from origin.errors import BusError, EventLogError
from origin.eventlog import EventLog
from origin.metrics import Metrics
from shared_state import DeltaId

__all__ = ["Repairer"]

logger = logging.getLogger(__name__)

# How long a bus that lost its last deltas may go unnoticed while nothing happens in a match.
CHECK_S = 2.0
# What could not be restored, since its shard is away, is looked for again after this.
RESTORE_AGAIN_S = 10.0
# Matches compared on the timer, in one question to each server: 5,000 take some 60 ms.
TOLD_MAX = 5_000


class Repairer:
    """See the module.

    Args:
        refill: gives the bus all that is due of one match, and at least up to an id; returns where it stands.
        restores: False where the whole log is read from the start anyway.
    """

    def __init__(
        self,
        log: EventLog,
        bus: Bus,
        refill: Callable[[str, DeltaId | None], DeltaId | None],
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
        self._mending: Iterator[None] | None = None
        # Whether the mark may stand on a bus that lacks matches.
        self._doubtful = False
        self._next_check_s = 0.0
        self._next_restore_s = 0.0

    @property
    def busy(self) -> bool:
        """Whether there is a piece of work to do now."""
        return self._mending is not None

    def told(self, match_id: str, id_: DeltaId) -> None:
        """The bus was given this id: it must never be found to have less."""
        self._told[match_id] = max(id_, self._told.get(match_id, id_))
        self._told.move_to_end(match_id)
        if len(self._told) > TOLD_MAX:
            forgotten, _ = self._told.popitem(last=False)
            self._unreached.discard(forgotten)

    def work(self) -> None:
        """Do what is due, or one piece of it: an emptied bus takes minutes, and goals come meanwhile.

        Raises:
            BusError, EventLogError: it will be due again.
        """
        if self._mending is None:
            now_s = time.monotonic()
            if now_s < self._next_check_s:
                return
            self._next_check_s = now_s + CHECK_S
            self._mending = self._mend(now_s)
        try:
            next(self._mending)
        except StopIteration:
            self._mending = None
        except (BusError, EventLogError):
            self._mending = None
            raise

    def _mend(self, now_s: float) -> Iterator[None]:
        yield from self._check_heads()
        if not self._restores or now_s < self._next_restore_s:
            return
        if self._doubtful or not self._bus.is_complete():
            self._next_restore_s = now_s + RESTORE_AGAIN_S
            yield from self._restore()

    def _check_heads(self) -> Iterator[None]:
        """Refill every match that the bus has less of than it was given here.

        One that cannot be refilled comes last the next time, and ends this round: while a shard hangs, each
        costs a timeout, in which goals of other matches wait.
        """
        told = dict(self._told)
        behind: list[str] = []
        unknown: list[BusError | EventLogError] = []
        for match_id, head in self._bus.heads(list(told)).items():
            if isinstance(head, BusError):
                unknown.append(head)
                continue
            self._judge_epoch(match_id, told[match_id], head)
            if head is None or head < told[match_id]:
                behind.append(match_id)
        for match_id in sorted(behind, key=self._unreached.__contains__):
            try:
                self._refill(match_id, told[match_id])
            except (BusError, EventLogError) as error:
                unknown.append(error)
                self._unreached.add(match_id)
                break
            self._unreached.discard(match_id)
            yield
        if unknown:
            logger.warning("%d matches are not known to be whole on the bus: %s", len(unknown), unknown[-1])

    def _restore(self) -> Iterator[None]:
        """Refill every match of which the bus has less than the log; a piece of work at each step.

        Raises:
            BusError, EventLogError: the log cannot be read, or the bus not be marked.
        """
        reader = self._log.consumer(None)
        # By match: the records there are, so the seq at which it may stand; lower where some changed nothing.
        seqs: dict[str, int] = {}
        try:
            # Without waiting: where events come all the time, there would always be another.
            while records := reader.poll(0.0):
                for record in records:
                    seqs[record.event.match_id] = seqs.get(record.event.match_id, 0) + 1
                yield
        finally:
            reader.close()
        if (yield from self._refill_lacking(seqs)):
            return
        self._doubtful = True
        self._bus.mark_whole()
        # It may have been emptied before it was marked, and after it had some of them. From here on it loses
        # the mark with them.
        self._doubtful = (yield from self._refill_lacking(seqs)) > 0

    def _refill_lacking(self, seqs: dict[str, int]) -> Generator[None, None, int]:
        """Refill those that may not have come to their seq; returns how many may still lack something."""
        failed: list[BusError | EventLogError] = []
        # At once, and not each before its refill: a shard that hangs costs one timeout, not one per match.
        for match_id, head in self._bus.heads(list(seqs)).items():
            if isinstance(head, BusError):
                failed.append(head)
            elif head is None or head.seq < seqs[match_id]:
                try:
                    position = self._refill(match_id, None)
                    seqs[match_id] = 0 if position is None else position.seq
                except (BusError, EventLogError) as error:
                    failed.append(error)
                yield
        if failed:
            logger.warning("%d matches could not be restored yet: %s", len(failed), failed[-1])
        return len(failed)

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
