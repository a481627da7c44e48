"""The model of this machine in a bench: server processes, and load processes that share its cores with them.

Its parameters come from runs of sizes that are not those it is compared with. Four of them are found by the
model itself: with them it takes as long as the run took.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.stream.load import MAX_PER_PROCESS
from origin.capacity.constants import measured_constants
from origin.capacity.simulation import Costs, Fleet, advised, deliver, recover
from origin.eventlog.sqlite import FOREIGN_POLL_S
from origin.stream.hub.drain import SHARE_FOR_ACCEPTING
from shared_state.jsontext import JsonObject

__all__ = ["Machine", "Observed", "Size", "fit_machine", "observe"]

SEED = 1
# Of one core and one viewer; nothing that was ever measured here came near it.
_DEAREST_S = 200e-6
_STEPS = 14


@dataclass(frozen=True, slots=True)
class Size:
    """One run: so many viewers, so many server processes."""

    connections: int
    workers: int

    @property
    def fleet(self) -> Fleet:
        """The machine as the simulation has it."""
        return Fleet(
            viewers=self.connections,
            processes=self.workers,
            cores=os.cpu_count() or 1,
            receivers=-(-self.connections // MAX_PER_PROCESS),
        )


@dataclass(frozen=True, slots=True)
class Observed:
    """What a run was, or what it is predicted to be.

    Attributes:
        first_ms: from the publish to the first viewer, median.
        last_ms: to the last viewer, median.
        connect_s: until all were connected.
        back_s: from the kill of all server processes until all were back; None without a kill.
    """

    size: Size
    first_ms: float
    last_ms: float
    connect_s: float
    back_s: float | None


def observe(samples: Sequence[Mapping[str, Any]]) -> Observed:
    """The medians over the samples of one size, as ``bench.stream.scale`` has them.

    Only a kill that was the first of its sample counts: after another one, the servers advise longer waits.
    """
    received = [one for sample in samples for one in sample["received"] if one["delivered"]]
    kills = [
        sample["outages"][0]["seconds"]
        for sample in samples
        if sample["outages"] and sample["outages"][0]["killed_workers"] == sample["worker_count"]
    ]
    return Observed(
        size=Size(samples[0]["connections"], samples[0]["worker_count"]),
        first_ms=statistics.median(one["first_ms"] for one in received),
        last_ms=statistics.median(one["last_ms"] for one in received),
        connect_s=statistics.median(sample["connect_s"] for sample in samples),
        back_s=statistics.median(kills) if kills else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The parameters; seconds of a core for one viewer, but for ``first_s``.

    Attributes:
        first_s: from the publish until a single process begins to send.
        connect_s: of the load client, for a connection.
        close_s, lost_s: for a connection whose server died, of the kernel and of the load client.
    """

    first_s: float
    delivery_s: float
    receipt_s: float
    accept_s: float
    connect_s: float
    close_s: float
    lost_s: float

    def costs(self) -> Costs:
        """As the simulation takes them; clients and servers keep to the product's own schedule."""
        return Costs(
            delivery_s=self.delivery_s,
            receipt_s=self.receipt_s,
            accept_s=self.accept_s,
            connect_s=self.connect_s,
            close_s=self.close_s,
            lost_s=self.lost_s,
            # Viewers of a bench come in numbers, so a process has measured what it takes.
            hint_rate_per_s=SHARE_FOR_ACCEPTING / self.accept_s,
            accept_queue=16 * 4_096,
        )

    def last_ms(self, size: Size) -> float:
        """From the publish to the last viewer."""
        # Beside several workers, fan-out is a process of its own, which looks for appends of others so often.
        waits_s = FOREIGN_POLL_S / 2 if size.workers > 1 else 0.0
        begin_s = self.first_s + waits_s
        return deliver([size.fleet], self.costs(), [lambda *_: begin_s], SEED).last_ms

    def back_s(self, size: Size) -> float:
        """From the kill of all server processes until all viewers are back."""
        costs, fleet = self.costs(), size.fleet
        return recover(fleet, costs, advised(costs, fleet.viewers_per_process), SEED).last_s

    def to_json(self) -> JsonObject:
        """All parameters in microseconds, by name."""
        return {f"{name[:-2]}_us": round(value * 1e6, 3) for name, value in asdict(self).items()}


def fit_machine(small: Observed, one: Observed, several: Observed) -> Machine:
    """The parameters from three runs.

    Args:
        small: few viewers and one server process: what there is before the first delivery.
        one: many viewers of one server process: what its thread needs, with a core of its own.
        several: so many of several processes that all cores are busy: what the load client needs beside them.
            Without a kill, only its deliveries count: a loss is taken to cost the load client what it costs
            the kernel, and a connection what it costs where the load client has a core of its own.

    Raises:
        ValueError: the run of one process has no kill of it.
    """
    if one.back_s is None:
        raise ValueError(f"the run of {one.size} has no kill of all its processes")
    accept_s = measured_constants()["accept_s"].value
    cores = os.cpu_count() or 1
    if several.back_s is None:
        connect_s = one.connect_s / one.size.connections
    else:
        connect_s = max(0.0, cores * several.connect_s / several.size.connections - accept_s)
    found = {
        "first_s": small.first_ms / 1000,
        "delivery_s": (one.last_ms - one.first_ms) / 1000 / one.size.connections,
        "receipt_s": 0.0,
        "accept_s": accept_s,
        "connect_s": connect_s,
        "close_s": 0.0,
        "lost_s": 0.0,
    }

    def solve(name: str, predict: Callable[[Machine], float], measured: float) -> None:
        low, high = 0.0, _DEAREST_S
        for _ in range(_STEPS):
            middle = (low + high) / 2
            if predict(Machine(**{**found, name: middle})) < measured:
                low = middle
            else:
                high = middle
        found[name] = low

    solve("delivery_s", lambda machine: machine.last_ms(one.size), one.last_ms)
    solve("receipt_s", lambda machine: machine.last_ms(several.size), several.last_ms)
    solve("close_s", lambda machine: machine.back_s(one.size), one.back_s)
    if several.back_s is None:
        found["lost_s"] = found["close_s"]
    else:
        solve("lost_s", lambda machine: machine.back_s(several.size), several.back_s)
    return Machine(**found)
