"""The beats in a real log, through a real fan-out to a bus: one server makes them, another takes over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from origin.bus import Published
from origin.bus.memory import MemoryBus
from origin.canary.beats import Beats
from origin.canary.match import Beat, beat, hour_of, is_canary, match_id_of, rev_in
from origin.errors import EventLogError
from origin.eventlog import Appended
from origin.eventlog.memory import MemoryEventLog
from origin.fanout.worker import FanOut
from shared_state import Event, Replica, decode_delta

HOUR_MS = 3_600_000
START_MS = 490_000 * HOUR_MS
CANARY = match_id_of(490_000)


@dataclass
class Region:
    """A log, a fan-out and a bus; time moves by hand."""

    log: MemoryEventLog = field(default_factory=MemoryEventLog)
    bus: MemoryBus = field(default_factory=MemoryBus)
    now_s: float = 0.0
    servers: list[Beats] = field(default_factory=list)
    reached: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.fanout = FanOut(self.log, self.bus, group=None)

    def server(self, *, hears: bool = True) -> Beats:
        beats = Beats(
            self.log,
            self.bus,
            1.0,
            now_ms=lambda: START_MS + round(self.now_s * 1_000),
            clock_s=lambda: self.now_s,
        )
        self.servers.append(beats)
        if hears:
            for hour in (0, 1):
                self._subscribe(beats, match_id_of(490_000 + hour))
        return beats

    def _subscribe(self, beats: Beats, match_id: str) -> None:
        def on_delta(published: Published) -> None:
            delta = decode_delta(match_id, published.id, published.delta)
            beats.heard(match_id, Beat(delta.id, delta.event.rev, None))

        self.bus.subscribe(match_id, on_delta)

    def seconds(self, count: int, *, fanout: bool = True) -> None:
        """Each server steps once a second, one after another."""
        for _ in range(count):
            for server in self.servers:
                self.now_s += 1.0 / len(self.servers)
                server.step()
                if fanout:
                    self.fanout.step(0.0)

    def seq(self, match_id: str = CANARY) -> int:
        head = self.bus.head(match_id)
        return 0 if head is None else head.seq


def test_everybody_makes_the_same_event() -> None:
    assert beat(CANARY, 7) == beat(CANARY, 7)
    assert is_canary(CANARY)
    assert not is_canary("touchline-cup-final")
    assert hour_of(START_MS + HOUR_MS - 1) == 490_000


def test_one_server_makes_a_beat_a_second() -> None:
    region = Region()
    region.server()
    region.seconds(20)
    assert 19 <= region.seq() <= 20


def test_of_several_servers_one_makes_them() -> None:
    region = Region()
    servers = [region.server() for _ in range(3)]
    region.seconds(30)
    assert 28 <= region.seq() <= 31
    assert sorted(server.appended for server in servers)[:2] == [0, 0]


def test_another_goes_on_where_the_first_has_ended() -> None:
    region = Region()
    region.server()
    second = region.server()
    region.seconds(10)
    assert second.appended == 0
    del region.servers[0]
    before = region.seq()
    region.seconds(10)
    assert region.seq() >= before + 9


def test_a_server_that_starts_later_goes_on_with_the_revisions_of_before() -> None:
    region = Region()
    region.server()
    region.seconds(10)
    region.servers.clear()
    region.server()
    before = region.seq()
    region.seconds(5)
    assert region.seq() >= before + 4


def test_the_match_does_not_grow() -> None:
    region = Region()
    region.server()
    region.seconds(50)
    snapshot = region.bus.snapshot(CANARY)
    assert snapshot is not None
    assert len(snapshot.data) < 1_000
    assert rev_in(snapshot.data) == region.seq()


def test_beats_that_nobody_hears_come_more_slowly_and_go_on_when_they_are_heard() -> None:
    region = Region()
    server = region.server()
    region.seconds(5)
    for _ in range(600):  # fan-out stands still
        region.now_s += server.step()
        if region.now_s > 605:
            break
    stalled = server.appended
    assert stalled < 110
    for _ in range(20):
        region.fanout.step(0.0)
    before = region.seq()
    region.seconds(10)
    assert region.seq() >= before + 8


def test_each_hour_has_its_own_and_the_last_one_is_ended() -> None:
    region = Region(now_s=3_590.0)
    region.server()
    region.seconds(30)
    following = match_id_of(490_001)
    assert region.seq(following) >= 18
    snapshot = region.bus.snapshot(CANARY)
    assert snapshot is not None
    assert Replica.restore(snapshot.data).match.status == "FT"


class FullLog(MemoryEventLog):
    """A log whose disk is full until somebody makes room."""

    is_full = True

    def append(self, events: Sequence[Event], *args: Any, **more: Any) -> Appended:
        if self.is_full:
            raise EventLogError("the disk is full")
        return super().append(events, *args, **more)


def test_a_log_that_takes_nothing_is_counted_and_tried_again() -> None:
    log = FullLog()
    region = Region(log)
    server = region.server()
    region.seconds(3)
    assert (server.appended, server.failed) == (0, 3)
    log.is_full = False
    region.seconds(3)
    assert region.seq() >= 2
