"""Three regions with events flowing through a real Kafka, and a viewer of every match in each.

``test_regions.py`` runs every fault once and briefly; ``bench/bench_cluster.py faults`` runs them for longer
and makes the table of ``docs/cluster.md``.

The regions are started once and stay up; each fault is played with matches of its own. A viewer keeps what it
received and when, and is compared with the log only at the end: fan-out must be right without the help of
a reducer that ignores duplicates.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from origin.bus import Bus, Published, Subscription, Suffix, open_bus
from origin.errors import BusError, EventLogError
from origin.eventlog import EventLog, LogRecord, open_eventlog
from origin.eventlog.kafka_topic import partition_of
from origin.eventlog.memory import wall_clock_ms
from shared_state import DeltaId, Event, Replica, decode_delta, encode_delta
from testkit.faults.bus_origin import follow
from testkit.services.kafka import KafkaBroker, KafkaCluster
from testkit.services.process import ServerProcess
from testkit.services.redis import RedisServer

__all__ = ["Game", "Outcome", "Region", "Regions", "Viewer"]

ROOT = Path(__file__).parents[2]
NAMES = ("eu", "us", "asia")
WORKERS = 2
PARTITIONS = 12
TIMEOUT_S = 3
SETTLE_S = 90.0


class Region:
    """A Redis, and fan-out workers in a group of their own."""

    def __init__(self, name: str, log_url: str, topic: str, directory: Path, embargo_s: float) -> None:
        self.name = name
        self.group = f"{topic}-{name}"
        self.embargo_s = embargo_s
        self.redis = RedisServer(directory)
        self.workers: list[ServerProcess] = []
        self._brokers = log_url.removeprefix("kafka://").partition("/")[0]
        self.log_path = directory / f"fanout-{topic}-{name}.log"
        self._env = {
            "EVENTLOG_URL": log_url,
            "BUS_URL": self.redis.url,
            "PYTHONPATH": str(ROOT),
        }

    def start_worker(self) -> ServerProcess:
        """One more ``touchline fanout``."""
        argv = [sys.executable, "-m", "origin", "fanout", "--group", self.group]
        return self._start([*argv, "--embargo", str(self.embargo_s)])

    def start_doomed(self, step: str) -> ServerProcess:
        """Start one more worker, which will be killed at that step; see ``doomed_fanout``."""
        return self._start([sys.executable, "-m", "testkit.faults.doomed_fanout", step, self.group])

    def kill_worker(self, number: int) -> None:
        """``kill -9``; another is started at once, as a supervisor would."""
        self.workers[number].kill()
        del self.workers[number]
        self.start_worker()

    def _start(self, argv: Sequence[str]) -> ServerProcess:
        worker = ServerProcess(argv, log_path=self.log_path, env=self._env, cwd=ROOT)
        self.workers.append(worker)
        return worker

    def wait_for_members(self, count: int) -> None:
        """Wait until the group has so many members; a killed one counts until its session has timed out."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            # A new client for each request. librdkafka 2.16 keeps asking the broker that once had the group,
            # even when that broker answers that it has it no longer. By default it also forgets a broker that
            # went away and still asks it, so requests stay unanswered once the broker is back, and one that
            # times out can abort the process (librdkafka 5511 and 4605).
            admin = AdminClient(
                {"bootstrap.servers": self._brokers, "log_level": 0, "metadata.recovery.strategy": "none"}
            )
            # A broker that was killed a moment ago may leave a request unanswered.
            with contextlib.suppress(KafkaException, TimeoutError):
                asked = admin.describe_consumer_groups([self.group], request_timeout=2)
                if len(asked[self.group].result(3).members) == count:
                    return
            assert time.monotonic() < deadline, f"{self.group} did not come to {count} members"
            time.sleep(0.05)

    def bus(self) -> Bus:
        """A connection of the test's own."""
        return open_bus(self.redis.url)

    def stop(self) -> None:
        for worker in self.workers:
            worker.kill()
        self.redis.stop()


class Regions:
    """All regions on one topic of a broker, up for as long as the block.

    Args:
        embargo: seconds by region's name; other regions have no embargo.
        names: the names of the regions.
        settings: further ones of the log's URL.
    """

    def __init__(
        self,
        kafka: KafkaBroker | KafkaCluster,
        directory: Path,
        *,
        embargo: Mapping[str, float] | None = None,
        names: Sequence[str] = NAMES,
        settings: str = "",
    ) -> None:
        self.kafka = kafka
        self.topic = f"regions-{uuid.uuid4().hex}"
        settings = f"partitions={PARTITIONS}&timeout_s={TIMEOUT_S}{settings and '&' + settings}"
        self.log_url = f"kafka://{kafka.address}/{self.topic}?{settings}"
        self.log: EventLog = open_eventlog(self.log_url)
        self.regions: list[Region] = []
        try:
            for name in names:
                embargo_s = (embargo or {}).get(name, 0.0)
                self.regions.append(Region(name, self.log_url, self.topic, directory, embargo_s))
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Regions:
        self.complete()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def __getitem__(self, name: str) -> Region:
        return next(region for region in self.regions if region.name == name)

    def complete(self) -> None:
        """Give every region its number of workers again; surplus ones are stopped."""
        for region in self.regions:
            region.workers = [worker for worker in region.workers if worker.running]
            for worker in region.workers[WORKERS:]:
                worker.stop()
            del region.workers[WORKERS:]
            while len(region.workers) < WORKERS:
                region.start_worker()
        for region in self.regions:
            region.wait_for_members(WORKERS)

    def stop(self) -> None:
        for region in self.regions:
            region.stop()
        self.log.close()


class Viewer:
    """A viewer of one match in one region from its beginning."""

    def __init__(self, match_id: str, region: Region) -> None:
        self.match_id = match_id
        self.region = region
        self.received: list[tuple[int, Published]] = []  # when, and what
        self.gaps: list[DeltaId] = []
        self.subscription: Subscription | None = None

    @property
    def position(self) -> DeltaId | None:
        return self.received[-1][1].id if self.received else None

    def join(self, bus: Bus, epoch: int) -> None:
        """Subscribe, and catch up from the first delta."""
        self.subscription = follow(bus, self.match_id, DeltaId(epoch, 0), self._on_delta, self.gaps.append)

    def _on_delta(self, published: Published) -> None:
        self.received.append((wall_clock_ms(), published))

    def steps(self, epoch: int) -> Iterator[tuple[Event, Replica]]:
        """Each event that was received, and the match after it."""
        replica = Replica.begin(self.match_id, epoch)
        for _, published in self.received:
            delta = decode_delta(self.match_id, published.id, published.delta)
            replica.receive(delta)
            yield delta.event, replica


@dataclass(frozen=True)
class Outcome:
    """What viewers in all regions noticed of a fault.

    Attributes:
        gap_s: the longest that a change took from its first being sent to a viewer in any region.
        deltas, lost, twice, gaps: over all viewers; an acknowledged event that the log lacks is lost, too.
        equal: whether every region's snapshot and every viewer's fold has the hash of the log's fold.
        same: whether every region without an embargo has the same bytes that the log folds to.
        sender_s: the longest that a change had to be sent repeatedly until it was acknowledged.
    """

    gap_s: float
    deltas: int
    lost: int
    twice: int
    gaps: int
    equal: bool
    same: bool
    sender_s: float = 0.0

    @property
    def right(self) -> bool:
        """Whether viewers noticed nothing but a delay."""
        return (self.lost, self.twice, self.gaps) == (0, 0, 0) and self.equal and self.same


class Game:
    """Matches that are played while something happens; one in each partition, so that all workers work."""

    def __init__(self, regions: Regions, events_per_s: float = 40.0) -> None:
        self.regions = regions
        self.match_ids = _one_in_each_partition(f"m{uuid.uuid4().hex[:8]}")
        self.viewers: list[Viewer] = []
        self.acknowledged: list[Event] = []
        self.refused = 0
        self._sender_s = 0.0
        self._period_s = 1 / events_per_s
        self._offered_ms: dict[tuple[str, str, int], int] = {}
        self._numbers = dict.fromkeys(self.match_ids, 0)
        self._buses: list[Bus] = []
        self._over = threading.Event()
        self._writer = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Game:
        try:
            self.regions.complete()
            for match_id in self.match_ids:
                self.send(self._next(match_id))
            for region in self.regions.regions:
                bus = region.bus()
                self._buses.append(bus)
                for match_id in self.match_ids:
                    self.wait(lambda b=bus, m=match_id: b.head(m) is not None, f"{match_id} in {region.name}")  # type: ignore[misc]
                    viewer = Viewer(match_id, region)
                    viewer.join(bus, self.epoch(match_id))
                    self.viewers.append(viewer)
        except BaseException:
            self.__exit__()
            raise
        self._writer.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        if self._writer.is_alive():
            self._writer.join(timeout=30)
        for bus in self._buses:
            bus.close()

    def send(self, event: Event) -> None:
        """Send until it is acknowledged, as ``touchline replay`` and every vendor does."""
        self._offered_ms.setdefault((event.match_id, event.event_id, event.rev), wall_clock_ms())
        offered_s = time.monotonic()
        while True:
            try:
                self.regions.log.append([event])
                self.acknowledged.append(event)
                self._sender_s = max(self._sender_s, time.monotonic() - offered_s)
                return
            except EventLogError:
                self.refused += 1
                if self._over.wait(0.1):
                    raise

    def epoch(self, match_id: str) -> int:
        return next(iter(self.regions.log.read_match(match_id))).appended_ms

    def heads(self, region: Region) -> dict[str, DeltaId]:
        """The last id that each viewer of a region received, by match."""
        return {
            viewer.match_id: viewer.position
            for viewer in self.viewers
            if viewer.region is region and viewer.position is not None
        }

    def settle(self) -> Outcome:
        """End the events, wait until every viewer has all of the log, and compare."""
        self._over.set()
        self._writer.join(timeout=SETTLE_S)
        assert not self._writer.is_alive()
        records = {match_id: self._records(match_id) for match_id in self.match_ids}
        folds = {match_id: _fold(match_id, of_match) for match_id, of_match in records.items()}
        heads = {match_id: replica.position for match_id, (replica, _) in folds.items()}
        self.wait(
            lambda: all(viewer.position == heads[viewer.match_id] for viewer in self.viewers),
            lambda: [
                f"{v.region.name} {v.match_id}: {v.position} of {heads[v.match_id]}"
                for v in self.viewers
                if v.position != heads[v.match_id]
            ],
        )
        in_log = {_key(record.event) for of_match in records.values() for record in of_match}
        lost = len({_key(event) for event in self.acknowledged} - in_log)
        twice = 0
        equal = same = True
        for viewer in self.viewers:
            replica, deltas = folds[viewer.match_id]
            seqs = [published.id.seq for _, published in viewer.received]
            lost += len(set(range(1, replica.position.seq + 1)) - set(seqs))
            twice += len(seqs) - len(set(seqs))
            *_, (_, at_end) = viewer.steps(replica.position.epoch)
            equal &= at_end.hash() == replica.hash()
        for region, bus in zip(self.regions.regions, self._buses, strict=True):
            for match_id, (replica, deltas) in folds.items():
                snapshot = bus.snapshot(match_id)
                assert snapshot is not None
                equal &= Replica.restore(snapshot.data).hash() == replica.hash()
                replay = bus.replay(match_id, DeltaId(replica.position.epoch, 0))
                kept = list(replay.deltas) if isinstance(replay, Suffix) else []
                viewer = next(v for v in self.viewers if v.region is region and v.match_id == match_id)
                same &= kept == [published for _, published in viewer.received]
                same &= [one.id for one in kept] == [one.id for one in deltas]
                same &= bool(region.embargo_s) or kept == deltas
        return Outcome(
            gap_s=max(self._late_ms(viewer) for viewer in self.viewers) / 1000,
            sender_s=round(self._sender_s, 3),
            deltas=sum(len(viewer.received) for viewer in self.viewers),
            lost=lost,
            twice=twice,
            gaps=sum(len(viewer.gaps) for viewer in self.viewers),
            equal=equal,
            same=same,
        )

    def _late_ms(self, viewer: Viewer) -> int:
        late = 0
        for received_ms, published in viewer.received:
            if published.id.seq > 1:  # the first was sent before there were viewers
                event = decode_delta(viewer.match_id, published.id, published.delta).event
                late = max(late, received_ms - self._offered_ms[(event.match_id, event.event_id, event.rev)])
        return late

    def _records(self, match_id: str) -> list[LogRecord]:
        deadline = time.monotonic() + SETTLE_S
        while True:
            try:
                return list(self.regions.log.read_match(match_id))
            except EventLogError:
                assert time.monotonic() < deadline

    def _write(self) -> None:
        number = 0
        with contextlib.suppress(EventLogError):  # it was ended while Kafka was down
            while not self._over.wait(self._period_s):
                event = self._next(self.match_ids[number % len(self.match_ids)])
                self.send(event)
                if number % 11 == 0:
                    self.send(event)  # a vendor that sends it again
                number += 1

    def _next(self, match_id: str) -> Event:
        self._numbers[match_id] += 1
        return _event(match_id, self._numbers[match_id])

    @staticmethod
    def wait(check: Callable[[], bool], what: object) -> None:
        """Wait until ``check`` is true."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            with contextlib.suppress(BusError):
                if check():
                    return
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {SETTLE_S} s for {what() if callable(what) else what}")
            time.sleep(0.02)


def _key(event: Event) -> tuple[str, str, int, str]:
    return event.match_id, event.event_id, event.rev, event.op


def _fold(match_id: str, records: Sequence[LogRecord]) -> tuple[Replica, list[Published]]:
    """The match as the log has it, and the deltas that lead there."""
    replica = Replica.begin(match_id, records[0].appended_ms)
    deltas = []
    for record in records:
        delta = replica.assign(record.event, record.appended_ms)
        if delta is not None:
            deltas.append(Published(delta.id, encode_delta(delta)))
    return replica, deltas


def _one_in_each_partition(prefix: str) -> list[str]:
    found: dict[int, str] = {}
    number = 0
    while len(found) < PARTITIONS:
        match_id = f"{prefix}-{number}"
        found.setdefault(partition_of(match_id, PARTITIONS), match_id)
        number += 1
    return list(found.values())


def _event(match_id: str, number: int) -> Event:
    """Goals, and every now and then one that is retracted or given to the other team."""
    op, of = {3: ("RETRACT", number - 2), 6: ("AMEND", number - 1)}.get(number % 7, ("ADD", number))
    fields: dict[str, Any] = {"match_id": match_id, "event_id": f"g{of}", "op": op, "rev": 1 + (of != number)}
    if op != "RETRACT":
        team = ("home", "away")[(number + (op == "AMEND")) % 2]
        fields |= {"type": "GOAL", "period": "H1", "minute": number % 45, "team": team}
    return Event.from_json(fields)
