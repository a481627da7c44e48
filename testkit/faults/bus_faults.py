"""A region with events flowing and viewers connected, and what can happen to its Redis.

``test_bus_faults.py`` runs every fault once and briefly; ``bench/bench_bus.py faults`` runs them for longer
and makes the table of ``docs/bus.md``.

A viewer here keeps what it received and when. Only at the end is it folded and compared with the log: the
bus must be right without the help of a reducer that ignores duplicates.
"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from origin.bus import Bus, Published, open_bus
from origin.errors import BusError
from origin.eventlog import EventLog, open_eventlog
from origin.eventlog.memory import MemoryEventLog, wall_clock_ms
from origin.fanout.worker import FanOut
from shared_state import DeltaId, Event, Replica, decode_delta
from testkit.faults.bus_origin import follow
from testkit.services.clock import WallClock
from testkit.services.link import Link
from testkit.services.redis import RedisCluster, RedisSentinels, RedisServer
from testkit.services.redis_refusals import (
    cannot_save,
    is_a_replica,
    is_full,
    may_not_write,
    takes_writes_again,
)

__all__ = ["FAULTS", "Fault", "Outcome", "Region", "run_fault"]

SETTLE_S = 60.0
ROOT = Path(__file__).parents[2]
TEN_YEARS_MS = 3_650 * 86_400_000
FLOOD_EVENTS = 5_000
FLOOD_BATCH = 500


class Viewer:
    """One viewer of one match.

    Args:
        far: whether its origin reaches Redis by the link that a fault cuts.
    """

    def __init__(self, match_id: str, base: bytes, *, far: bool = False) -> None:
        self.match_id = match_id
        self.far = far
        self.base = Replica.restore(base)
        self.received: list[tuple[float, Published]] = []  # when (monotonic), and what
        self.gaps: list[DeltaId] = []

    @property
    def position(self) -> DeltaId:
        return self.received[-1][1].id if self.received else self.base.position

    def on_delta(self, published: Published) -> None:
        self.received.append((time.monotonic(), published))

    def fold(self) -> Replica:
        """The match as this viewer has it."""
        replica = Replica(self.base.match, self.base.position)
        for _, published in self.received:
            replica.receive(decode_delta(self.match_id, published.id, published.delta))
        return replica

    def late_s(self, sent_s: Mapping[tuple[str, str, int], float]) -> float:
        """The longest that an event took from its sender to this viewer.

        Args:
            sent_s: monotonic time at which the log was given each event, by match, event id and revision.
        """
        late = 0.0
        for received_s, published in self.received:
            event = decode_delta(self.match_id, published.id, published.delta).event
            late = max(late, received_s - sent_s[self.match_id, event.event_id, event.rev])
        return late


class Origin:
    """An origin as a process of its own, so that it can be killed. Its viewers come back by id."""

    def __init__(self, url: str, viewers: Sequence[Viewer]) -> None:
        self._url = url
        self._viewers = {viewer.match_id: viewer for viewer in viewers}
        self._stopping = False
        self._child = self._start()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """``kill -9``; it is started again at once."""
        self._child.kill()

    def stop(self) -> None:
        self._stopping = True
        self._child.kill()
        self._thread.join(timeout=10)

    def _start(self) -> subprocess.Popen[bytes]:
        wanted = [f"{match_id}={viewer.position}" for match_id, viewer in self._viewers.items()]
        return subprocess.Popen(
            [sys.executable, "-m", "testkit.faults.bus_origin", self._url, *wanted],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )

    def _read(self) -> None:
        while not self._stopping:
            assert self._child.stdout is not None
            for line in self._child.stdout:
                if not line.endswith(b"\n"):
                    break  # cut off by the kill: it comes again
                match_id, kind, id_, delta = line[:-1].split(b" ", 3)
                viewer = self._viewers[match_id.decode()]
                at = DeltaId.parse(id_.decode())
                if kind == b"delta":
                    viewer.on_delta(Published(at, delta))
                else:
                    viewer.gaps.append(at)
            self._child.stdout.close()
            self._child.wait()
            if not self._stopping:
                self._child = self._start()


@dataclass
class Region:
    """One region: a log, a fan-out worker, a bus in ``service``, origins and their viewers.

    Attributes:
        clock: the wall clock of the servers, the log and the worker, if it can be set.
        link: how one of the origins reaches Redis; None: as the others do.
        log_path: the file of the log; None: it is in memory.
        target: the key whose server a fault hits; empty: those of the first match.
    """

    service: RedisServer | RedisSentinels | RedisCluster
    events_per_s: float = 40.0
    options: str = ""
    pause_s: float = 4.0
    match_ids: tuple[str, ...] = ("fra-cro", "bel-eng")
    own_process: bool = False
    clock: WallClock | None = None
    link: Link | None = None
    log_path: Path | None = None
    target: str = ""
    viewers: list[Viewer] = field(default_factory=list)
    buses: list[Bus] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._now_ms = wall_clock_ms if self.clock is None else self.clock.now_ms
        self.log: EventLog = (
            MemoryEventLog(self._now_ms)
            if self.log_path is None
            else open_eventlog(f"sqlite:///{self.log_path}")
        )
        self._numbers = dict.fromkeys(self.match_ids, 0)
        self._numbering = threading.Lock()
        self.sent_s: dict[tuple[str, str, int], float] = {}
        self.target = self.target or f"touchline:{{{self.match_ids[0]}}}:stream"
        self._stop_writing = threading.Event()

    @property
    def url(self) -> str:
        return f"{self.service.url}?{self.options}"

    def __enter__(self) -> Region:
        self.publisher = open_bus(self.url)
        self.fanout = FanOut(self.log, self.publisher, group="region", now_ms=self._now_ms)
        self._fanout_thread = threading.Thread(target=self.fanout.run, daemon=True)
        self._fanout_thread.start()
        for match_id in self.match_ids:
            for _ in range(3):
                self._append(match_id)
        self.wait(lambda: all(self._published(m) for m in self.match_ids), "the first events")
        # One of the origins is behind the link, if there is one.
        for url in (
            self.url,
            self.url if self.link is None else f"redis://127.0.0.1:{self.link.port}?{self.options}",
        ):
            bus = open_bus(url)
            self.buses.append(bus)
            for match_id in self.match_ids:
                for _ in range(3):
                    viewer = self._viewer(match_id, far=self.link is not None and url != self.url)
                    follow(bus, match_id, viewer.position, viewer.on_delta, viewer.gaps.append)
        if self.own_process:
            self.origins.append(Origin(self.url, [self._viewer(match_id) for match_id in self.match_ids]))
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop_writing.set()
        self._writer.join(timeout=10)
        self.fanout.stop()
        self._fanout_thread.join(timeout=30)
        for origin in self.origins:
            origin.stop()
        for bus in (*self.buses, self.publisher):
            bus.close()
        self.log.close()

    def flood(self, match_id: str, count: int) -> None:
        """Give the log many events of one match, as fast as it takes them."""
        for _ in range(count // FLOOD_BATCH):
            self._append(match_id, FLOOD_BATCH)

    def others(self) -> list[str]:
        """The matches that a fault of the target's server does not hit: those of other servers.

        Where there is one server for all, the matches other than the first.
        """
        if isinstance(self.service, RedisCluster):
            hit = self.service.owner(self.target)
            names = {match_id: f"touchline:{{{match_id}}}:stream" for match_id in self.match_ids}
            return [match_id for match_id, key in names.items() if self.service.owner(key) is not hit]
        return list(self.match_ids[1:])

    def settle(self) -> None:
        """End the events, and wait until every viewer has all of the log."""
        self._stop_writing.set()
        self._writer.join(timeout=10)
        heads = {match_id: self.fold(match_id).position for match_id in self.match_ids}
        self.wait(
            lambda: all(viewer.position == heads[viewer.match_id] for viewer in self.viewers),
            lambda: f"{heads}, have {[str(viewer.position) for viewer in self.viewers]}",
        )

    def fold(self, match_id: str) -> Replica:
        """The match as the log has it."""
        records = list(self.log.read_match(match_id))
        replica = Replica.begin(match_id, records[0].appended_ms)
        for record in records:
            replica.assign(record.event, record.appended_ms)
        return replica

    def wait_healthy(self) -> None:
        """Wait until every origin is ready."""
        self.wait(lambda: all(bus.health().ok for bus in self.buses), "health")

    def _viewer(self, match_id: str, *, far: bool = False) -> Viewer:
        snapshot = self.publisher.snapshot(match_id)
        assert snapshot is not None
        self.viewers.append(Viewer(match_id, snapshot.data, far=far))
        return self.viewers[-1]

    def _published(self, match_id: str) -> bool:
        head = self.publisher.head(match_id)
        return head is not None and head.seq >= 3

    def _write(self) -> None:
        number = 0
        while not self._stop_writing.wait(1 / self.events_per_s):
            self._append(self.match_ids[number % len(self.match_ids)])
            number += 1

    def _append(self, match_id: str, count: int = 1) -> None:
        with self._numbering:
            first = self._numbers[match_id] + 1
            self._numbers[match_id] += count
            events = [_event(match_id, number) for number in range(first, first + count)]
            now_s = time.monotonic()
            self.sent_s |= {(match_id, event.event_id, event.rev): now_s for event in events}
        self.log.append(events)

    @staticmethod
    def wait(check: Callable[[], bool], what: str | Callable[[], str]) -> None:
        """Wait until ``check`` is true."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            with contextlib.suppress(BusError):
                if check():
                    return
            shown = what if isinstance(what, str) else what()
            assert time.monotonic() < deadline, f"waited {SETTLE_S} s for {shown}"
            time.sleep(0.02)


def _event(match_id: str, number: int) -> Event:
    """Goals, and every now and then one that is retracted or given to the other team."""
    op, of = {3: ("RETRACT", number - 2), 6: ("AMEND", number - 1)}.get(number % 7, ("ADD", number))
    fields: dict[str, Any] = {"match_id": match_id, "event_id": f"g{of}", "op": op, "rev": 1 + (of != number)}
    if op != "RETRACT":
        team = ("home", "away")[(number + (op == "AMEND")) % 2]
        fields |= {"type": "GOAL", "period": "H1", "minute": number % 45, "team": team}
    return Event.from_json(fields)


@dataclass(frozen=True)
class Outcome:
    """What viewers noticed of a fault.

    Attributes:
        gap_s: the longest that an event took from its sender to a viewer.
        other_gap_s: the same of another match: one of another server, at an origin that is not cut off.
        lost, twice: deltas, over all viewers.
        gaps: times a viewer was sent to the snapshot.
        equal: whether every viewer's fold has the hash of the log's.
    """

    gap_s: float
    other_gap_s: float
    deltas: int
    lost: int
    twice: int
    gaps: int
    equal: bool


def run_fault(region: Region, inject: Callable[[Region], None], before_s: float, after_s: float) -> Outcome:
    """Inject a fault into a region with events flowing, and compare every viewer with the log."""
    with region:
        time.sleep(before_s)
        others = region.others()
        inject(region)
        time.sleep(after_s)
        region.settle()
        region.wait_healthy()
        lost = twice = 0
        folds = {match_id: region.fold(match_id) for match_id in region.match_ids}
        for viewer in region.viewers:
            seqs = [published.id.seq for _, published in viewer.received]
            first, last = viewer.base.position.seq + 1, folds[viewer.match_id].position.seq
            lost += len(set(range(first, last + 1)) - set(seqs))
            twice += len(seqs) - len(set(seqs))
        return Outcome(
            gap_s=max(viewer.late_s(region.sent_s) for viewer in region.viewers),
            other_gap_s=max(
                viewer.late_s(region.sent_s)
                for viewer in region.viewers
                if viewer.match_id in others and not viewer.far
            ),
            deltas=sum(len(viewer.received) for viewer in region.viewers),
            lost=lost,
            twice=twice,
            gaps=sum(len(viewer.gaps) for viewer in region.viewers),
            equal=all(v.fold().hash() == folds[v.match_id].hash() for v in region.viewers),
        )


# The faults --------------------------------------------------------------------------------------


def _servers(region: Region) -> list[RedisServer]:
    service = region.service
    servers = [service] if isinstance(service, RedisServer) else service.servers
    return [server for server in servers if server.process.running]


def _primary(region: Region) -> RedisServer:
    service = region.service
    if isinstance(service, RedisServer):
        return service
    if isinstance(service, RedisSentinels):
        return service.primary()
    return service.owner(region.target)


def _nothing(region: Region) -> None:
    """No fault: what the others are compared with."""


def _kill_primary(region: Region) -> None:
    _primary(region).kill()


def _pause_primary(region: Region) -> None:
    primary = _primary(region)
    primary.pause()
    time.sleep(region.pause_s)
    primary.resume()


def _promote_replica(region: Region) -> None:
    before = _primary(region)
    if isinstance(region.service, RedisSentinels):
        region.service.fail_over()
    else:
        assert isinstance(region.service, RedisCluster)
        region.service.fail_over(f"touchline:{{{region.match_ids[0]}}}:stream")
    region.wait(lambda: _primary(region) is not before, "the promotion")
    time.sleep(3.0)  # the old primary takes writes until a Sentinel has demoted it


def _move_slot(region: Region) -> None:
    """Resharding: a match moves to another shard while it is played."""
    assert isinstance(region.service, RedisCluster)
    name = f"touchline:{{{region.match_ids[0]}}}"
    region.service.move_slot(f"{name}:stream", f"{name}:state")
    time.sleep(1.0)


def _restart_empty(region: Region) -> None:
    server = _primary(region)
    server.kill()
    time.sleep(0.5)
    server.start()


def _restart_origin(region: Region) -> None:
    for _ in range(2):
        for origin in region.origins:
            origin.kill()
        time.sleep(1.5)


def _cut_pub_sub(region: Region) -> None:
    for _ in range(3):
        for server in _servers(region):
            server.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]
        time.sleep(0.3)


def _hit_buffer_limit(region: Region) -> None:
    """A burst larger than the limit: Redis closes the live connections of all origins in the middle of it."""
    server = _primary(region)
    server.client.config_set("client-output-buffer-limit", "pubsub 1 1 1")
    burst = "for i = 1, 400 do redis.call('PUBLISH', ARGV[1], ARGV[2]) end"
    channel = f"touchline:{{{region.match_ids[0]}}}:live"
    for _ in range(3):
        server.client.eval(burst, 0, channel, f"{region.viewers[0].base.position} " + "x" * 200)
        time.sleep(0.3)
    assert "output buffer limits" in server.process.log_path.read_text()
    server.client.config_set("client-output-buffer-limit", "pubsub 33554432 8388608 60")


def _set_clock_back(region: Region) -> None:
    """Set the clock back by an hour, and later by another day, while deltas flow."""
    server = _primary(region)
    assert region.clock is not None
    for hours in (1, 25):
        before_s: Any = server.client.time()
        region.clock.shift(-hours * 3_600_000)
        after_s: Any = server.client.time()
        assert before_s[0] - after_s[0] > 3_000, "the server's clock was set back"
        time.sleep(0.5)


def _flood_one_match(region: Region) -> None:
    region.flood(region.match_ids[0], FLOOD_EVENTS)


def _set_clock_ahead_and_back(region: Region) -> None:
    """The clock of the servers, the log and the worker jumps ahead by ten years and back, twice."""
    assert region.clock is not None
    server = _primary(region)
    for _ in range(2):
        before_s: Any = server.client.time()
        region.clock.shift(TEN_YEARS_MS)
        after_s: Any = server.client.time()
        assert after_s[0] - before_s[0] > TEN_YEARS_MS // 2_000, "the server's clock was set ahead"
        time.sleep(1.5)
        region.clock.shift(0)
        time.sleep(1.5)


def _slow_down_log(region: Region) -> None:
    """The log's file is locked again and again, for as long as a write to a slow disk takes."""
    assert region.log_path is not None
    with contextlib.closing(sqlite3.connect(region.log_path, timeout=5.0, isolation_level=None)) as other:
        until_s = time.monotonic() + region.pause_s
        while time.monotonic() < until_s:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(0.25)
            other.execute("ROLLBACK")
            time.sleep(0.15)


def _refuse_writes(refuse: Callable[[RedisServer], None]) -> Callable[[Region], None]:
    def inject(region: Region) -> None:
        server = _primary(region)
        refuse(server)
        time.sleep(region.pause_s)
        takes_writes_again(server)

    return inject


def _cut_off_origin(region: Region) -> None:
    """One origin is cut off from Redis with its connections left open; the others and the worker are not."""
    assert region.link is not None
    region.link.cut()
    time.sleep(region.pause_s)
    region.link.heal()


def _cut_off_primary(region: Region) -> None:
    """The primary is cut off from everybody, replicas and Sentinels too, and comes back as an old one."""
    assert isinstance(region.service, RedisSentinels)
    assert region.service.link is not None
    old = region.service.primary()
    region.service.link.cut()
    region.wait(lambda: _primary(region) is not old, "the promotion")
    time.sleep(region.pause_s)
    region.service.link.heal()


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Attributes:
        whole_bus: whether all matches are on the server that the fault hits, so that there is no other match.
        target: as ``Region.target``.
    """

    name: str
    setup: str
    inject: Callable[[Region], None]
    whole_bus: bool = False
    target: str = ""
    log_on_disk: bool = False
    own_process: bool = False
    own_clock: bool = False
    own_link: bool = False

    @contextlib.contextmanager
    def region(self, directory: Path, *, events_per_s: float, pause_s: float) -> Iterator[Region]:
        """A region with the servers it happens to; not entered yet."""
        clock = WallClock(directory) if self.own_clock else None
        with contextlib.ExitStack() as running:
            service: RedisServer | RedisSentinels | RedisCluster
            link = None
            if self.setup == "redis":
                service = RedisServer(directory, env=None if clock is None else clock.env)
                if self.own_link:
                    link = Link(directory, service.port)
                    running.callback(link.stop)
            elif self.setup == "sentinel":
                service = RedisSentinels(directory, linked=self.own_link)
            else:
                service = RedisCluster(directory, replicas=1)
            running.callback(service.stop)
            yield Region(
                service,
                events_per_s=events_per_s,
                pause_s=pause_s,
                own_process=self.own_process,
                clock=clock,
                link=link,
                log_path=directory / "log.sqlite" if self.log_on_disk else None,
                target=self.target,
            )


FAULTS = (
    Fault("none", "redis", _nothing),
    Fault("primary killed with -9", "sentinel", _kill_primary, whole_bus=True),
    Fault("primary killed with -9", "cluster", _kill_primary),
    Fault("primary paused", "redis", _pause_primary, whole_bus=True),
    Fault("primary paused", "sentinel", _pause_primary, whole_bus=True),
    Fault("primary paused", "cluster", _pause_primary),
    Fault("primary with the list of matches paused", "cluster", _pause_primary, target="touchline:matches"),
    Fault("replica promoted while publishes are in flight", "sentinel", _promote_replica),
    Fault("replica promoted while publishes are in flight", "cluster", _promote_replica),
    Fault("match moved to another shard", "cluster", _move_slot),
    Fault("Redis killed and restarted empty", "redis", _restart_empty, whole_bus=True),
    Fault("Redis killed and restarted empty", "cluster", _restart_empty),
    Fault("origin killed and restarted, twice", "redis", _restart_origin, own_process=True),
    Fault("Pub/Sub connections cut, three times", "redis", _cut_pub_sub),
    Fault("Pub/Sub connections cut, three times", "cluster", _cut_pub_sub),
    Fault("client output buffer limit hit, three times", "redis", _hit_buffer_limit),
    Fault("clock of Redis set back by an hour, then a day", "redis", _set_clock_back, own_clock=True),
    Fault("all clocks ten years ahead and back, twice", "redis", _set_clock_ahead_and_back, own_clock=True),
    Fault("one origin cut off", "redis", _cut_off_origin, own_link=True),
    Fault("primary cut off from everybody", "sentinel", _cut_off_primary, own_link=True, whole_bus=True),
    Fault("flood of 5,000 events of one match", "redis", _flood_one_match),
    Fault("log slow: its file locked for 0.25 s at a time", "redis", _slow_down_log, log_on_disk=True),
    Fault("Redis cannot save: MISCONF", "redis", _refuse_writes(cannot_save), whole_bus=True),
    Fault("Redis made a replica: READONLY", "redis", _refuse_writes(is_a_replica), whole_bus=True),
    Fault("Redis full: OOM", "cluster", _refuse_writes(is_full)),
    Fault("Redis takes away the right to write: NOPERM", "cluster", _refuse_writes(may_not_write)),
)
