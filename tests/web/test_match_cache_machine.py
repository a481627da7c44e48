"""When an answer of the bus counts: whatever comes between, no board goes back or claims a later date."""

from __future__ import annotations

import time
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from origin.bus import Published, Snapshot
from origin.bus.memory import MemoryBus
from origin.errors import BusError
from origin.metrics import Metrics
from origin.web.bus_breaker import Breakers, GuardedBus
from origin.web.match_cache import Matches, Scoreboard
from shared_state import DeltaId, Event, Replica, encode_delta

MATCH = "m"
EPOCH_MS = 1_795_780_800_000


class InterruptedBus(MemoryBus):
    """A bus to which something happens before or after it has looked, or that does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asking = False
        self.away = False
        self.before: Callable[[], None] | None = None
        self.after: Callable[[], None] | None = None

    def head(self, match_id: str) -> DeltaId | None:
        if not self.asking:
            return super().head(match_id)
        self._meanwhile("before")
        answer = super().head(match_id)
        self._meanwhile("after")
        return answer

    def snapshot(self, match_id: str) -> Snapshot | None:
        if not self.asking:
            return super().snapshot(match_id)
        self._meanwhile("before")
        self.asking = False
        answer = super().snapshot(match_id)
        self.asking = True
        self._meanwhile("after")
        return answer

    def _meanwhile(self, when: str) -> None:
        if self.away:
            raise BusError("away")
        happens: Callable[[], None] | None = getattr(self, when)
        setattr(self, when, None)
        if happens is not None:
            self.asking = False
            happens()
            self.asking = True


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class MatchCacheMachine(RuleBasedStateMachine):
    """Changes, rebuilt logs, readers between readers, and a bus that comes and goes."""

    def __init__(self) -> None:
        super().__init__()
        self.bus = InterruptedBus()
        metrics = Metrics()
        self.matches = Matches(GuardedBus(self.bus, Breakers(open_s=0, metrics=metrics)), metrics)
        self.replica = Replica.begin(MATCH, EPOCH_MS)
        self.epochs = 1
        #: When an id stopped being the newest, by this machine's clock.
        self.left_ms: dict[DeltaId, int] = {}
        #: The newest id that anybody was given.
        self.given: DeltaId | None = None

    @initialize()
    def begin(self) -> None:
        self.change()

    @rule()
    def change(self) -> None:
        """One event more."""
        time.sleep(0.002)  # dates are in milliseconds: two moments must differ
        head = self.bus.head(MATCH)
        number = self.replica.position.seq + 1
        event = {
            "match_id": MATCH,
            "event_id": f"e{number}",
            "rev": 1,
            "op": "ADD",
            "type": "GOAL",
            "team": "home",
        }
        made = self.replica.assign(
            Event.from_json({**event, "period": "H1", "minute": 1}), self.replica.position.epoch + number
        )
        assert made is not None
        if head is not None:
            self.left_ms[head] = now_ms()
        self.bus.publish(MATCH, Published(made.id, encode_delta(made)), self.replica.snapshot())
        time.sleep(0.002)

    @rule()
    def rebuild(self) -> None:
        """The log was lost, and begins again: a later epoch, lower numbers."""
        self.epochs += 1
        self.replica = Replica.begin(MATCH, EPOCH_MS + self.epochs * 1_000)
        self.change()

    @rule(away=st.booleans())
    def come_or_go(self, away: bool) -> None:
        self.bus.away = away

    @rule(
        before=st.sampled_from(["", "change", "rebuild", "read"]),
        after=st.sampled_from(["", "change", "rebuild", "read", "change and read", "rebuild and read"]),
    )
    def read(self, before: str = "", after: str = "") -> None:
        """A reader asks; before and after the bus has looked, something else happens."""
        least = self.bus.head(MATCH)
        given = self.given
        self.bus.before, self.bus.after = self._doing(before), self._doing(after)
        began_ms = now_ms()
        self.bus.asking = True
        try:
            board = self.matches.latest(MATCH)
        except BusError:
            assert self.bus.away
            assert given is None
            return
        finally:
            self.bus.asking = False
            self.bus.before = self.bus.after = None
        assert board.as_of_ms <= self.left_ms.get(board.id, now_ms())
        assert board.replica.hash() == board.hash
        if self.bus.away:
            assert board.stale
            assert given is not None
            assert board.id >= given
            assert board.as_of_ms <= began_ms
        else:
            assert not board.stale
            assert least is not None
            assert board.id >= least
            assert board.as_of_ms >= began_ms - 1
        self._note(board)

    def _note(self, board: Scoreboard) -> None:
        if self.given is None or board.id > self.given:
            self.given = board.id

    def _doing(self, what: str) -> Callable[[], None] | None:
        if not what:
            return None

        def do() -> None:
            before, after = self.bus.before, self.bus.after
            for word in what.split(" and "):
                getattr(self, word)()
            self.bus.before, self.bus.after = before, after

        return do

    @invariant()
    def what_is_kept_is_the_newest_that_was_given(self) -> None:
        kept = self.matches._seen_last(MATCH)
        assert (kept and kept.id) == self.given


MatchCacheMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestMatchCache = MatchCacheMachine.TestCase
