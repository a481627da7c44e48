"""Gives the bus again, from the log, what the bus has lost.

A loss is found in two ways. On a timer, the bus's head of every match that this worker published is
compared with the last id it published: that finds a fail-over to a replica that lagged, and a Redis that
came back empty. Matches that were published before this worker started, or by another worker, are unknown
to it. But a bus that was emptied has lost its completeness marker too (``Bus.is_complete``), and then the
whole log is read to find the matches that are missing. That work is done in small steps, between events.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from concurrent import futures
from typing import TypeVar

from origin.bus import Bus
from origin.bus.server_calls import PATIENCE_S, ServerCalls
from origin.errors import BusError, EventLogError
from origin.eventlog import EventLog
from origin.metrics import Metrics
from shared_state import DeltaId

__all__ = ["Repairer"]

_Answer = TypeVar("_Answer")

logger = logging.getLogger(__name__)

# The longest that a lost delta stays unnoticed while nothing happens in its match.
CHECK_S = 2.0
# A restoration that could not be finished, because a shard does not answer, is repeated after this.
RESTORE_AGAIN_S = 10.0
# Matches that are compared on the timer, by one request to each server: 5,000 take some 60 ms.
PUBLISHED_MAX = 5_000


class Repairer:
    """See the module.

    Args:
        calls: the calls on the servers of the bus.
        refill: given a match and an id, gives the bus all deltas of the match that are due, and at least
            those up to the id; returns the match's last published id, or None if nothing was due.
        restores: whether to restore an emptied bus. False for a worker that reads the whole log at every
            start anyway.
    """

    def __init__(
        self,
        log: EventLog,
        bus: Bus,
        calls: ServerCalls,
        refill: Callable[[str, DeltaId | None], DeltaId | None],
        metrics: Metrics,
        *,
        restores: bool,
    ) -> None:
        self._log = log
        self._bus = bus
        self._calls = calls
        self._refill = refill
        self._metrics = metrics
        self._restores = restores
        self._published: OrderedDict[str, DeltaId] = OrderedDict()
        self._unreached: set[str] = set()
        self._foreign: set[str] = set()
        self._repair: Iterator[None] | None = None
        self._is_waiting = False
        # Whether the bus may have its completeness marker although it lacks matches.
        self._marker_doubtful = False
        self._next_check_s = 0.0
        self._next_restore_s = 0.0

    @property
    def busy(self) -> bool:
        """Whether a repair has begun and has another step to do now."""
        return self._repair is not None and not self._is_waiting

    def note_published(self, match_id: str, id_: DeltaId) -> None:
        """The bus was given this id of a match: from now on a bus that has less has lost something."""
        self._published[match_id] = max(id_, self._published.get(match_id, id_))
        self._published.move_to_end(match_id)
        if len(self._published) > PUBLISHED_MAX:
            forgotten, _ = self._published.popitem(last=False)
            self._unreached.discard(forgotten)

    def work(self) -> None:
        """Do one step of what is due: restoring an emptied bus takes minutes, and events come meanwhile.

        Raises:
            BusError, EventLogError: this repair has ended; the next check begins another.
        """
        if self._repair is None:
            now_s = time.monotonic()
            if now_s < self._next_check_s:
                return
            self._next_check_s = now_s + CHECK_S
            self._repair = self._repair_steps(now_s)
        try:
            next(self._repair)
        except StopIteration:
            self._repair = None
        except (BusError, EventLogError):
            self._repair = None
            raise

    def _repair_steps(self, now_s: float) -> Iterator[None]:
        yield from self._check_heads()
        if not self._restores or now_s < self._next_restore_s:
            return
        if self._marker_doubtful or not (yield from self._answer_of(self._bus.is_complete)):
            self._next_restore_s = now_s + RESTORE_AGAIN_S
            yield from self._restore()

    def _answer_of(self, ask: Callable[[], _Answer]) -> Generator[None, None, _Answer]:
        """Ask all servers of the bus; where there are several, events go on while one of them hangs.

        Raises:
            BusError: as ``ask``.
        """
        if not self._bus.is_sharded():
            return ask()
        asked = self._calls.submit("all", ask)
        futures.wait([asked], PATIENCE_S)
        try:
            while not asked.done():
                self._is_waiting = True
                yield
        finally:
            self._is_waiting = False
        return asked.result()

    def _check_heads(self) -> Iterator[None]:
        """Refill every match of which the bus has less than this worker published.

        The first match that cannot be refilled ends the round, and comes last in the next one: while a
        server hangs, an attempt may cost half a second in which events of other matches wait.
        """
        published = dict(self._published)
        behind: list[str] = []
        failed: list[BusError | EventLogError] = []
        names = list(published)
        heads = yield from self._answer_of(lambda: self._bus.heads(names))
        for match_id, head in heads.items():
            if isinstance(head, BusError):
                failed.append(head)
                continue
            self._check_epoch(match_id, published[match_id], head)
            if head is None or head < published[match_id]:
                behind.append(match_id)
        for match_id in sorted(behind, key=self._unreached.__contains__):
            try:
                self._refill(match_id, published[match_id])
            except (BusError, EventLogError) as error:
                failed.append(error)
                self._unreached.add(match_id)
                break
            self._unreached.discard(match_id)
            yield
        if failed:
            logger.warning("cannot check or refill %d matches on the bus: %s", len(failed), failed[-1])

    def _restore(self) -> Iterator[None]:
        """Refill every match of which the bus has less than the log, one match per step.

        Raises:
            BusError, EventLogError: the log cannot be read, or the completeness marker cannot be set.
        """
        reader = self._log.consumer(None)
        # By match: how many records it has, so the highest seq it can have. It has a lower one if some of
        # its records changed nothing.
        seqs: dict[str, int] = {}
        try:
            # A blocking poll under load never reports the end of the log.
            while records := reader.poll(0.0):
                for record in records:
                    seqs[record.event.match_id] = seqs.get(record.event.match_id, 0) + 1
                yield
        finally:
            reader.close()
        if (yield from self._refill_lacking(seqs)):
            return
        self._marker_doubtful = True
        yield from self._answer_of(self._bus.mark_complete)
        # The bus may have been emptied after it was given some matches and before the marker was set, so
        # all matches are checked once more. If it is emptied later, it loses the marker with them.
        self._marker_doubtful = (yield from self._refill_lacking(seqs)) > 0

    def _refill_lacking(self, seqs: dict[str, int]) -> Generator[None, None, int]:
        """Refill the matches that may stand below their seq; returns how many may still lack something."""
        failed: list[BusError | EventLogError] = []
        # One request for all heads: a shard that hangs then costs one timeout, not one per match.
        names = list(seqs)
        heads = yield from self._answer_of(lambda: self._bus.heads(names))
        for match_id, head in heads.items():
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

    def _check_epoch(self, match_id: str, position: DeltaId, head: DeltaId | None) -> None:
        """Log an error if the bus has a newer epoch of a match: it then refuses all ids of this log."""
        if head is not None and head.epoch > position.epoch:
            if match_id not in self._foreign:
                logger.error(
                    "match %s: the bus stands at %s, of a newer epoch than the log's %s, and refuses every"
                    " delta; delete the match's keys on the bus (docs/bus.md)",
                    match_id,
                    head,
                    position,
                )
            self._foreign.add(match_id)
        else:
            self._foreign.discard(match_id)
        self._metrics.foreign_epochs.set(len(self._foreign))
