"""A discrete-event simulation of the tree: a goal on its way, and what happens after a loss.

    log ─► fan-out of each region ─► Redis ─► processes of the stream tier ─► viewers

Every machine is simulated with its cores, its processes and, where viewers are on the same machine as in a
bench, the processes that receive. Viewers are not simulated one by one: those of one process are taken in
batches, and a batch has a core for its viewers times what one viewer was measured to cost. Of more machines
than ``MACHINES_MAX`` a region has representatives, since its machines are alike and do not touch each other.
So the work is bounded by ``BATCHES_MAX``, for a thousand viewers as for ten billion.

``origin.capacity.scenarios`` runs it for a plan; ``python -m bench.simulation`` compares it with real runs.
The same inputs and the same seed give the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple

import simpy

from origin.capacity.constants import InvalidInput
from origin.capacity.stream_tier import VIEWERS_MAX
from shared_state.jsontext import JsonObject
from shared_state.reconnect import BASE_MS, delay_ms

__all__ = [
    "BATCHES_MAX",
    "MACHINES_MAX",
    "Costs",
    "Fleet",
    "Goal",
    "Hop",
    "Point",
    "Recovery",
    "Returner",
    "advised",
    "again_and_again",
    "deliver",
    "recover",
]

BATCHES_MAX: Final = 8_000
# A batch that is only sent to costs less to simulate than one that comes back.
DELIVERED_BATCHES_MAX: Final = 48_000
MACHINES_MAX: Final = 256
# A core is given to another process after so much work, as a scheduler does it.
SLICE_S: Final = 0.002
CURVE_POINTS: Final = 120
# The fewest viewers of a batch that comes back: of a fleet, and of a bench on one machine.
BATCH: Final = 64
FINE_BATCH: Final = 8
# How often a viewer tries before it is counted as lost.
ATTEMPTS: Final = 8
# When the kernel of a viewer sends a SYN again that was dropped (Linux), from the first one on.
SYN_RETRIES_S: Final = (1.0, 3.0, 7.0, 15.0, 31.0, 63.0)
# A simulated second after which whoever is not back is counted as lost.
_END_S: Final = 3_600.0

Steps = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The machines of one region.

    Attributes:
        viewers: of the region, spread evenly over all processes.
        processes: of one machine.
        receivers: processes that receive on the same machine and share its cores; 0 if viewers are elsewhere.
        stands_for: regions that are like this one, itself counted.
        regions_simulated: so that the work is bounded over all of them.
    """

    viewers: int
    machines: int = 1
    processes: int = 1
    cores: int = 1
    receivers: int = 0
    stands_for: float = 1.0
    regions_simulated: int = 1

    def __post_init__(self) -> None:
        for name, high in (
            ("viewers", VIEWERS_MAX),
            ("machines", 10_000_000),
            ("processes", 100_000),
            ("cores", 4_096),
            ("receivers", 1_000),
            ("regions_simulated", 1_000),
        ):
            value = getattr(self, name)
            low = 0 if name == "receivers" else 1
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InvalidInput(f"{name}: {value!r} is no whole number between {low} and {high:,}")

    @property
    def simulated(self) -> int:
        """Machines that are simulated; each stands for ``machines / simulated``."""
        room = BATCHES_MAX // self.regions_simulated // self.processes
        return max(1, min(self.machines, MACHINES_MAX // self.regions_simulated, room))

    @property
    def viewers_per_process(self) -> float:
        """As they are spread: of a mean process."""
        return self.viewers / self.machines / self.processes

    def batches(self, smallest: int, most: int = BATCHES_MAX) -> int:
        """Into how many batches the viewers of one process are divided."""
        room = max(1, most // (self.simulated * self.processes * self.regions_simulated))
        return max(1, min(room, math.ceil(self.viewers_per_process / smallest)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What one viewer costs, in seconds of a core, and what the protocol prescribes, in seconds.

    Attributes:
        delivery_s, receipt_s: of a frame, at the server and, where that is the same machine, at the viewer.
        accept_s, connect_s: of a connection, likewise.
        close_s, lost_s: of a connection whose server died: for the kernel that closes it, and at the viewer.
        retry_min_s: the shortest wait that a server advises.
        jitter_s: over which a viewer spreads its first attempt by itself.
        hint_rate_per_s: viewers that a process believes it can take back in a second; it advises each viewer
            to wait for a share of ``viewers / hint_rate_per_s``, at least of 1 s.
        restart_s: from the loss until a successor accepts.
        accept_queue: connections that the kernel of a machine keeps meanwhile.
        share: of a core that this work may have; the rest is for other work.
    """

    delivery_s: float
    accept_s: float
    receipt_s: float = 0.0
    connect_s: float = 0.0
    close_s: float = 0.0
    lost_s: float = 0.0
    retry_min_s: float = 1.0
    jitter_s: float = BASE_MS / 1000
    hint_rate_per_s: float = 22_500.0
    restart_s: float = 0.0
    accept_queue: float = math.inf
    share: float = 1.0


class Hop(NamedTuple):
    """One part of a goal's way: its name, and when its last part was done, in ms from the post."""

    name: str
    done_ms: float


class Point(NamedTuple):
    """One point of a curve: the time in seconds, and the share of the viewers that are served by then."""

    at_s: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One event on its way to everybody; milliseconds from the post."""

    viewers: int
    first_ms: float
    p50_ms: float
    p99_ms: float
    last_ms: float
    hops: tuple[Hop, ...]
    curve: tuple[Point, ...]

    def to_json(self) -> JsonObject:
        """All figures by name."""
        return _json(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Viewers that come back after a loss; seconds from the loss.

    Attributes:
        back: how many are back in the end.
        refused: how often somebody was refused for want of room.
        dropped: how often a full accept queue dropped somebody, who then waited for a retransmission.
        queue_max: the longest that the accept queue of one machine became.
        last_s: when the last was back; those who are never back do not count.
    """

    viewers: int
    back: int
    refused: int
    dropped: int
    queue_max: int
    p50_s: float
    p99_s: float
    last_s: float
    curve: tuple[Point, ...]

    def to_json(self) -> JsonObject:
        """All figures by name."""
        return _json(self)


# Draws when one batch of viewers tries: from the loss on, the share of the viewers of its process that had
# come before it, and the random numbers. One time for each attempt.
Returner = Callable[[float, float, Random], Sequence[float]]


class _Served(NamedTuple):
    """A batch that was served from one moment to another."""

    begin_s: float
    end_s: float
    viewers: float


def deliver(
    fleets: Sequence[Fleet],
    costs: Costs,
    starts_s: Sequence[Callable[[int, Random], float]],
    seed: int,
    hops: Sequence[Hop] = (),
) -> Goal:
    """A goal, from when each process has it until each viewer has it.

    Args:
        fleets: one for each region.
        costs: what a viewer costs.
        starts_s: for each region, when its process of a given number has the event.
        seed: of what is drawn.
        hops: what came before, for the answer.
    """
    random = Random(seed)  # noqa: S311 - a simulation
    env = simpy.Environment()
    served: list[_Served] = []
    for fleet, start_s in zip(fleets, starts_s, strict=True):
        machines_each = fleet.machines / fleet.simulated
        stands_for = machines_each * fleet.stands_for
        for machine in range(fleet.simulated):
            cores = simpy.Resource(env, fleet.cores)
            inboxes = [simpy.Store(env) for _ in range(fleet.receivers)]
            for inbox in inboxes:
                env.process(_receive(env, cores, inbox, costs.receipt_s, stands_for, served))
            for process in range(fleet.processes):
                # Representatives are spread over the order in which Redis reaches all processes.
                number = round(machine * machines_each) * fleet.processes + process
                work = _send(env, cores, inboxes, fleet, costs, start_s(number, random), stands_for, served)
                env.process(work)
    env.run()
    viewers = sum(fleet.viewers * fleet.stands_for for fleet in fleets)
    p50_s, p99_s, last_s = _quantiles(served)
    first_s = min(one.begin_s for one in served) + costs.delivery_s / costs.share
    return Goal(
        viewers=_whole(viewers),
        first_ms=_round(first_s * 1000),
        p50_ms=_round(p50_s * 1000),
        p99_ms=_round(p99_s * 1000),
        last_ms=_round(last_s * 1000),
        hops=(*hops, Hop("last viewer", _round(last_s * 1000))),
        curve=_curve(served, viewers),
    )


def _send(
    env: simpy.Environment,
    cores: simpy.Resource,
    inboxes: Sequence[simpy.Store],
    fleet: Fleet,
    costs: Costs,
    start_s: float,
    stands_for: float,
    served: list[_Served],
) -> Steps:
    """One process sends to its viewers, batch after batch."""
    yield env.timeout(start_s)
    each_s = costs.delivery_s / costs.share
    batches = fleet.batches(max(1, int(SLICE_S / each_s)), DELIVERED_BATCHES_MAX)
    viewers = fleet.viewers_per_process / batches
    for number in range(batches):
        with cores.request() as core:
            yield core
            begin_s = env.now
            yield env.timeout(viewers * each_s)
        if inboxes:
            inboxes[number % len(inboxes)].put((begin_s, viewers))
        else:
            served.append(_Served(begin_s, env.now, viewers * stands_for))


def _receive(
    env: simpy.Environment,
    cores: simpy.Resource,
    inbox: simpy.Store,
    receipt_s: float,
    stands_for: float,
    served: list[_Served],
) -> Steps:
    """A process on the same machine that takes what is sent to its viewers."""
    while True:
        begin_s, viewers = yield inbox.get()
        with cores.request() as core:
            yield core
            yield env.timeout(viewers * receipt_s)
        served.append(_Served(begin_s, env.now, viewers * stands_for))


def advised(costs: Costs, viewers_per_process: float) -> Returner:
    """Viewers that come back as their server advised: once, since it is there again.

    A server draws each viewer's wait when it comes, over the viewers that are there by then. So those who
    came early come back early.
    """

    def draw(before: float, unit: float, random: Random) -> Sequence[float]:
        window_s = max(1.0, before * viewers_per_process / costs.hint_rate_per_s)
        hint_s = costs.retry_min_s + unit * window_s
        return again_and_again(hint_s + random.random() * costs.jitter_s, hint_s, random)

    return draw


def again_and_again(first_s: float, hint_s: float, random: Random) -> Sequence[float]:
    """A first attempt, and those of a viewer that fails, by the product's own schedule."""
    found = [first_s]
    for attempt in range(1, ATTEMPTS):
        found.append(found[-1] + delay_ms(attempt, random.random(), round(hint_s * 1000)) / 1000)
    return found


def recover(
    fleet: Fleet, costs: Costs, returns: Returner, seed: int, *, room_per_process: float = math.inf
) -> Recovery:
    """All viewers of a fleet are lost at once, and come back to it.

    Args:
        fleet: its viewers are those that are lost.
        costs: what a viewer costs.
        seed: of what is drawn.
        returns: when a batch tries, from when its connection was lost.
        room_per_process: viewers that a process can take; who comes when all are full is refused.
    """
    random = Random(seed)  # noqa: S311 - a simulation
    env = simpy.Environment()
    stands_for = fleet.machines / fleet.simulated * fleet.stands_for
    machines = [
        _Machine(env, fleet, costs, returns, random, room_per_process) for _ in range(fleet.simulated)
    ]
    env.run(until=_END_S)
    served = [one for machine in machines for one in machine.served]
    back = sum(one.viewers for one in served)
    p50_s, p99_s, last_s = _quantiles(served) if served else (0.0, 0.0, 0.0)
    return Recovery(
        viewers=_whole(fleet.viewers * fleet.stands_for),
        back=min(_whole(fleet.viewers * fleet.stands_for), round(back * stands_for)),
        refused=round(sum(machine.refused for machine in machines) * stands_for),
        dropped=round(sum(machine.dropped for machine in machines) * stands_for),
        queue_max=math.ceil(max(machine.queue_max for machine in machines)),
        p50_s=_round(p50_s),
        p99_s=_round(p99_s),
        last_s=_round(last_s),
        curve=_curve(served, fleet.viewers * fleet.stands_for / stands_for),
    )


class _Machine:
    """A machine whose processes died with their viewers, and which takes them back."""

    def __init__(
        self,
        env: simpy.Environment,
        fleet: Fleet,
        costs: Costs,
        returns: Returner,
        random: Random,
        room_per_process: float,
    ) -> None:
        self._env = env
        self._costs = costs
        self._returns = returns
        self._random = random
        self._cores = simpy.Resource(env, fleet.cores)
        self._queue = simpy.Store(env)
        self._queued = 0.0
        self._room = room_per_process * fleet.processes
        # Processes that share their cores with others are stopped in between; a batch of others is not.
        shared = fleet.receivers or fleet.processes > fleet.cores
        self._slice_s = SLICE_S if shared else math.inf
        self.queue_max = 0.0
        self.served: list[_Served] = []
        self.refused = 0.0
        self.dropped = 0.0
        batches = fleet.batches(FINE_BATCH if fleet.receivers else BATCH)
        viewers = fleet.viewers_per_process / batches
        # One draw from each stratum: so a few hundred batches too have a first and a last of a million.
        for _ in range(fleet.processes):
            units = [(number + random.random()) / batches for number in range(batches)]
            random.shuffle(units)
            env.process(self._lose(viewers, units))
            env.process(self._accept())

    def _lose(self, viewers: float, units: Sequence[float]) -> Steps:
        """The connections of one process are closed, one after the other."""
        costs = self._costs
        pending_s = 0.0
        for number, unit in enumerate(units):
            pending_s += viewers * costs.close_s
            if pending_s >= SLICE_S or number == len(units) - 1:
                with self._cores.request() as core:
                    yield core
                    yield self._env.timeout(pending_s)
                pending_s = 0.0
            self._env.process(self._come_back(viewers, (number + 0.5) / len(units), unit))

    def _come_back(self, viewers: float, before: float, unit: float) -> Steps:
        """A batch notices the loss, and tries again until it is taken or gives up."""
        yield from self._work(viewers * self._costs.lost_s)
        lost_s = self._env.now
        for attempt_s in self._returns(before, unit, self._random):
            yield self._env.timeout(max(0.0, lost_s + attempt_s - self._env.now))
            began_s = self._env.now
            for again_s in SYN_RETRIES_S:
                if self._room < viewers:
                    self.refused += viewers
                    break
                if self._queued + viewers <= self._costs.accept_queue:
                    self._room -= viewers
                    self._queued += viewers
                    self.queue_max = max(self.queue_max, self._queued)
                    self._queue.put((began_s, viewers))
                    return
                self.dropped += viewers
                yield self._env.timeout(began_s + again_s - self._env.now)

    def _accept(self) -> Steps:
        """A process that takes from the machine's queue as long as anybody comes."""
        costs = self._costs
        yield self._env.timeout(costs.restart_s)
        while True:
            began_s, viewers = yield self._queue.get()
            self._queued -= viewers
            yield from self._work(viewers * costs.accept_s / costs.share)
            if costs.connect_s:
                yield from self._work(viewers * costs.connect_s)
            self.served.append(_Served(min(began_s, self._env.now), self._env.now, viewers))

    def _work(self, seconds: float) -> Steps:
        """So much of a core, one slice after the other."""
        while seconds > 0:
            slice_s = min(seconds, self._slice_s)
            with self._cores.request() as core:
                yield core
                yield self._env.timeout(slice_s)
            seconds -= slice_s


def _quantiles(served: Sequence[_Served]) -> tuple[float, float, float]:
    """When the median, the 99th of a hundred and the last viewer were served."""
    ranked = sorted(served, key=lambda one: one.end_s)
    total = sum(one.viewers for one in ranked)
    found = []
    for share in (0.5, 0.99):
        sum_of = 0.0
        for one in ranked:
            sum_of += one.viewers
            if sum_of >= share * total * (1 - 1e-9):
                found.append(one.end_s)
                break
    return found[0], found[1], ranked[-1].end_s


def _curve(served: Sequence[_Served], viewers: float) -> tuple[Point, ...]:
    """How many are served by when, in at most so many points."""
    ranked = sorted(served, key=lambda one: one.end_s)
    step = max(1, math.ceil(len(ranked) / CURVE_POINTS))
    points, sum_of = [], 0.0
    for number, one in enumerate(ranked, 1):
        sum_of += one.viewers
        if number % step == 0 or number == len(ranked):
            points.append(Point(_round(one.end_s), _round(min(1.0, sum_of / viewers))))
    return tuple(points)


def _whole(viewers: float) -> int:
    """Regions that stand for others may have a part of a viewer; nobody is lost by rounding."""
    return max(1, round(viewers))


def _round(value: float) -> float:
    return round(value, 6)


def _json(result: Goal | Recovery) -> JsonObject:
    """Everything by name; hops and points as objects."""
    plain: JsonObject = {name: getattr(result, name) for name in result.__slots__}
    for name, value in plain.items():
        if isinstance(value, tuple):
            plain[name] = [one._asdict() for one in value]
    return plain
