"""The autoscaler of the stream tier, simulated second by second: pure, and the same for the same seed.

What is simulated is a HorizontalPodAutoscaler as Kubernetes documents it (its period, tolerance, policies
and stabilisation windows), pods that need time to start, a load balancer that gives each ready pod its
turn, and viewers who stay where they are until they leave or their pod goes. That viewers do not move to
new pods is what makes this tier different from one that serves requests: a pod that is full stays full.

``deploy.scaling`` runs it with the values of the Helm chart.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal

__all__ = ["Audience", "Outcome", "Policy", "Replicas", "Scaling", "Tier", "simulate"]

# Of Kubernetes: how often an autoscaler looks, and the difference from its target that it passes over.
HPA_PERIOD_S: Final = 15
HPA_TOLERANCE: Final = 0.1
# The metrics server reports a pod's CPU as a mean over about so long.
CPU_WINDOW_S: Final = 30
# A viewer who waits longer has noticed.
NOTICED_S: Final = 10
# Over how many moments of the retry window those who were refused come back.
_RETRY_STEPS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """What one pod is, and costs.

    Attributes:
        connections_max: viewers; more are refused with a time to come back at.
        accept_s: CPU seconds of the accept of one viewer.
        delivery_s: CPU seconds of one delta to one viewer; a heartbeat costs the same.
        heartbeat_s: seconds between two heartbeats.
        retry_min_s: the shortest time after which a refused viewer comes back.
        accept_rate_per_s: by which the time to come back is computed.
        start_s: the shortest and the longest time from a pod's creation to its being ready.
        leave_s: seconds for which a pod that is to go still takes viewers (its preStop).
    """

    connections_max: int
    accept_s: float
    delivery_s: float
    heartbeat_s: float
    retry_min_s: float
    accept_rate_per_s: float
    start_s: tuple[float, float]
    leave_s: int


@dataclass(frozen=True, slots=True)
class Policy:
    """How many pods may be added or removed in ``period_s``: the larger of two.

    Attributes:
        stabilization_s: the most careful recommendation of so many seconds counts.
        pods: a number.
        percent: of those that there are; 0 if only the number counts.
    """

    stabilization_s: int
    pods: int
    percent: int
    period_s: int


@dataclass(frozen=True, slots=True)
class Replicas:
    """At least so many pods from ``begin_s`` until ``end_s``."""

    begin_s: int
    end_s: int
    pods: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """The settings under test.

    Attributes:
        signal: ``viewers``, or ``cpu`` in cores.
        target: of the signal, for each pod in the mean.
        scrape_s: how old the signal may be.
        fewest_first: whether the pod with the fewest viewers goes first (its deletion cost), or any.
    """

    signal: Literal["viewers", "cpu"]
    target: float
    pods_min: int
    pods_max: int
    scrape_s: int
    up: Policy
    down: Policy
    schedule: Sequence[Replicas] = ()
    fewest_first: bool = True


@dataclass(frozen=True, slots=True)
class Audience:
    """Who comes and what happens, as functions of the second.

    Attributes:
        seconds: how long it is looked at.
        arrivals: viewers who come in that second.
        leaving: the share of the viewers who leave in that second.
        deltas: deltas in that second.
        viewers: who are there at the beginning, with the pods that they need.
    """

    seconds: int
    arrivals: Callable[[int], float]
    leaving: Callable[[int], float]
    deltas: Callable[[int], float]
    viewers: int = 0


@dataclass(slots=True)
class Outcome:
    """What became of it.

    Attributes:
        arrived: viewers who came, each once.
        refused: answers of "full", several for a viewer who tries several times.
        noticed: viewers who waited for longer than ``NOTICED_S`` before they were taken, or never were.
        longest_wait_s: of those who were taken.
        moved: viewers whose pod was taken away by the autoscaler while they watched.
        pods_most: pods at the same time, ready or starting.
        fullest: viewers of the fullest pod, ever.
        busiest: CPU of the busiest pod in its busiest second, in cores.
        pod_hours: what was paid for.
        waiting: viewers who are outside at the end.
        viewers: viewers at the end.
    """

    arrived: int = 0
    refused: int = 0
    noticed: int = 0
    longest_wait_s: int = 0
    moved: int = 0
    pods_most: int = 0
    fullest: int = 0
    busiest: float = 0.0
    pod_hours: float = 0.0
    waiting: int = 0
    viewers: int = 0


@dataclass(slots=True)
class _Pod:
    ready_s: float
    viewers: int = 0
    accepting: float = 0.0
    cpu: deque[float] = field(default_factory=lambda: deque(maxlen=CPU_WINDOW_S))
    leaves_s: float = math.inf


def simulate(tier: Tier, scaling: Scaling, audience: Audience, seed: int) -> Outcome:
    """One run.

    Args:
        tier: what a pod is and costs.
        scaling: the settings.
        audience: who comes.
        seed: of everything that is drawn; the same seed gives the same outcome.

    Raises:
        ValueError: a number of the settings cannot be; it is named.
    """
    if not 0 < scaling.pods_min <= scaling.pods_max:
        raise ValueError(
            f"pods_min {scaling.pods_min}, pods_max {scaling.pods_max}: at least 1, and in order"
        )
    if scaling.target <= 0:
        raise ValueError(f"target {scaling.target!r}: more than nothing")
    return _Run(tier, scaling, audience, Random(seed)).outcome()  # noqa: S311


class _Run:
    def __init__(self, tier: Tier, scaling: Scaling, audience: Audience, random: Random) -> None:
        self._tier, self._scaling, self._audience, self._random = tier, scaling, audience, random
        self._out = Outcome(arrived=audience.viewers)
        # By the second in which they come: who came first when, and how many of them.
        self._due: dict[int, dict[int, int]] = {}
        self._carry_in, self._carry_out = 0.0, 0.0
        needed = scaling.pods_min
        if audience.viewers:
            # As the signal under test would have it after a long quiet time, but with room for everybody.
            room = math.ceil(audience.viewers / tier.connections_max)
            needed = max(needed, room, self._desired_of(audience.viewers, audience.deltas(0)))
        self._pods = [_Pod(0.0) for _ in range(max(needed, self._scheduled(0)))]
        for number, pod in enumerate(self._pods):
            pod.viewers = audience.viewers // len(self._pods) + (number < audience.viewers % len(self._pods))
        self._signal, self._rate = 0.0, 0.0
        self._recommended: deque[tuple[int, int]] = deque()
        self._changes: deque[tuple[int, int]] = deque()

    def outcome(self) -> Outcome:
        for now in range(self._audience.seconds):
            # Deltas and heartbeats that each viewer gets in this second.
            self._rate = self._audience.deltas(now) + 1 / self._tier.heartbeat_s
            self._leave(now)
            self._arrive(now)
            self._work(now)
            if now % self._scaling.scrape_s == 0:
                self._signal = self._measure(now)
            if now % HPA_PERIOD_S == 0:
                self._scale(now)
            self._go(now)
        out = self._out
        out.waiting = sum(sum(cohort.values()) for cohort in self._due.values())
        out.noticed += out.waiting
        out.viewers = sum(pod.viewers for pod in self._pods)
        out.pod_hours = round(out.pod_hours, 1)
        return out

    # ---- viewers

    def _leave(self, now: int) -> None:
        share = self._audience.leaving(now)
        if share <= 0:
            return
        for pod in self._pods:
            wanted = pod.viewers * share + self._carry_out
            gone = min(pod.viewers, int(wanted))
            self._carry_out = wanted - gone
            pod.viewers -= gone

    def _arrive(self, now: int) -> None:
        """Those who come now and those who come back are given to the ready pods in turn."""
        wanted = self._audience.arrivals(now) + self._carry_in
        new = int(wanted)
        self._carry_in = wanted - new
        self._out.arrived += new
        cohorts = self._due.pop(now, {})
        if new:
            cohorts[now] = cohorts.get(now, 0) + new
        total = sum(cohorts.values())
        if not total:
            return
        ready = [pod for pod in self._pods if pod.ready_s <= now < pod.leaves_s]
        self._random.shuffle(ready)
        taken = 0
        for number, pod in enumerate(ready):
            share = total // len(ready) + (number < total % len(ready))
            accepted = min(share, self._tier.connections_max - pod.viewers, self._accepts(pod))
            pod.viewers += accepted
            taken += accepted
            pod.accepting = accepted * self._tier.accept_s
        self._out.refused += total - taken
        self._settle(now, cohorts, taken)

    def _accepts(self, pod: _Pod) -> int:
        """How many viewers a pod's one core takes in a second beside its deliveries."""
        left = 1.0 - self._deliveries_cpu(pod)
        return max(0, int(left / self._tier.accept_s))

    def _settle(self, now: int, cohorts: dict[int, int], taken: int) -> None:
        """The oldest tries are not favoured: of each cohort the same share is taken."""
        total = sum(cohorts.values())
        left = total - taken
        # A refused viewer is told a time within the window that the tier needs for as many as a pod has.
        window = max(1.0, self._tier.connections_max / self._tier.accept_rate_per_s)
        seen = refused = 0
        for first in sorted(cohorts):
            count = cohorts[first]
            # Rounded so that the parts make the whole: nobody is lost, and nobody comes twice.
            seen += count
            out = left * seen // total - refused
            refused += out
            waited = now - first
            if count - out > 0:
                self._out.longest_wait_s = max(self._out.longest_wait_s, waited)
                if waited > NOTICED_S:
                    self._out.noticed += count - out
            for step in range(_RETRY_STEPS):
                part = out // _RETRY_STEPS + (step < out % _RETRY_STEPS)
                if part:
                    later = self._tier.retry_min_s + window * (step + self._random.random()) / _RETRY_STEPS
                    due = self._due.setdefault(now + max(1, round(later)), {})
                    due[first] = due.get(first, 0) + part

    # ---- pods

    def _deliveries_cpu(self, pod: _Pod) -> float:
        return pod.viewers * self._rate * self._tier.delivery_s

    def _work(self, now: int) -> None:
        out = self._out
        out.pods_most = max(out.pods_most, len(self._pods))
        out.pod_hours += len(self._pods) / 3600
        for pod in self._pods:
            if pod.ready_s <= now:
                cpu = pod.accepting + self._deliveries_cpu(pod)
                pod.accepting = 0.0
                pod.cpu.append(min(1.0, cpu))
                out.busiest = max(out.busiest, cpu)
                out.fullest = max(out.fullest, pod.viewers)

    def _measure(self, now: int) -> float:
        pods = [pod for pod in self._pods if pod.ready_s <= now < pod.leaves_s]
        if self._scaling.signal == "viewers":
            return float(sum(pod.viewers for pod in pods))
        return sum(sum(pod.cpu) / max(1, len(pod.cpu)) for pod in pods)

    def _desired_of(self, viewers: int, deltas: float) -> int:
        if self._scaling.signal == "viewers":
            signal = float(viewers)
        else:
            signal = viewers * (deltas + 1 / self._tier.heartbeat_s) * self._tier.delivery_s
        return min(self._scaling.pods_max, max(1, math.ceil(signal / self._scaling.target)))

    def _scheduled(self, now: int) -> int:
        return max((one.pods for one in self._scaling.schedule if one.begin_s <= now < one.end_s), default=0)

    def _current(self) -> list[_Pod]:
        return [pod for pod in self._pods if pod.leaves_s == math.inf]

    def _scale(self, now: int) -> None:
        """One look of the autoscaler."""
        scaling, current = self._scaling, self._current()
        count = len(current)
        ratio = self._signal / (scaling.target * count)
        desired = count if abs(ratio - 1) <= HPA_TOLERANCE else math.ceil(self._signal / scaling.target)
        desired = max(desired, self._scheduled(now), scaling.pods_min)
        desired = min(desired, scaling.pods_max)
        self._recommended.append((now, desired))
        longest = max(scaling.up.stabilization_s, scaling.down.stabilization_s)
        while self._recommended[0][0] < now - longest:
            self._recommended.popleft()
        lowest = min(self._since(now - scaling.up.stabilization_s))
        highest = max(self._since(now - scaling.down.stabilization_s))
        if lowest > count:
            self._add(now, min(lowest, self._limit(now, scaling.up, count, +1)))
        elif highest < count:
            self._remove(now, max(highest, self._limit(now, scaling.down, count, -1)))

    def _since(self, begin_s: int) -> Iterator[int]:
        return (desired for at, desired in self._recommended if at >= begin_s)

    def _limit(self, now: int, policy: Policy, count: int, sign: int) -> int:
        """How many pods the policies allow by now."""
        changed = sum(by for at, by in self._changes if at > now - policy.period_s and by * sign > 0)
        before = count - changed
        step = max(policy.pods, math.ceil(before * policy.percent / 100))
        return before + sign * step

    def _add(self, now: int, wanted: int) -> None:
        added = wanted - len(self._current())
        if added > 0:
            self._changes.append((now, added))
            low, high = self._tier.start_s
            self._pods += [_Pod(now + self._random.uniform(low, high)) for _ in range(added)]

    def _remove(self, now: int, wanted: int) -> None:
        current = self._current()
        removed = len(current) - wanted
        if removed <= 0:
            return
        self._changes.append((now, -removed))
        self._random.shuffle(current)
        # Kubernetes takes pods that are not ready first, then by deletion cost.
        current.sort(key=lambda pod: (pod.ready_s <= now, pod.viewers if self._scaling.fewest_first else 0))
        for pod in current[:removed]:
            pod.leaves_s = now + self._tier.leave_s if pod.ready_s <= now else now

    def _go(self, now: int) -> None:
        """Pods whose time is over close their viewers, who come back over the window that they are given."""
        gone = [pod for pod in self._pods if pod.leaves_s <= now]
        if not gone:
            return
        self._pods = [pod for pod in self._pods if pod.leaves_s > now]
        for pod in gone:
            self._out.moved += pod.viewers
            window = max(1, math.ceil(pod.viewers / self._tier.accept_rate_per_s))
            for second in range(window):
                part = pod.viewers // window + (second < pod.viewers % window)
                due = self._due.setdefault(now + 1 + round(self._tier.retry_min_s) + second, {})
                came = now + 1 + round(self._tier.retry_min_s) + second
                due[came] = due.get(came, 0) + part
