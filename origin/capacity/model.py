"""The plan for an audience: every tier, what it costs, and what breaks first. Arithmetic only, no I/O.

    inputs = Inputs.from_json({"viewers": 50_000_000, "regions": 6, "constants": {"price_egress_gb": 0.02}})
    made = plan(inputs)
    made.to_json()

The same code is behind ``touchline capacity plan`` and the lab's capacity planner. Inputs and plans are plain
dataclasses; ``to_json`` and ``from_json`` are their form on the wire. Each constant that a plan was made with
is in it with its source (``origin.capacity.constants``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final, NamedTuple

from origin.capacity.constants import InvalidInput
from origin.capacity.inputs import BOUNDS, Inputs
from origin.capacity.limits import Limit, limits, on_the_wire, publish_s
from origin.capacity.stream_tier import (
    Demand,
    Measured,
    Policy,
    StreamTier,
    TooTight,
    stream_tier,
)
from shared_state.jsontext import JsonObject
from shared_state.reconnect import HINT_CAP_MS

__all__ = [
    "BOUNDS",
    "Comparison",
    "Inputs",
    "Instances",
    "InvalidInput",
    "Limit",
    "Plan",
    "TooTight",
    "plan",
]


_GB: Final = 1e9
# Of the first design of this project, which estimated before anything was measured; taken as for 50 million.
_SEED_VIEWERS: Final = 50_000_000
_SEED: Final[Mapping[str, float]] = {
    "servers": 1_000,
    "gigabytes_per_goal": 6.0,
    "bytes_per_connection": 10_000,
    "last_viewer_s": 2.0,
}


@dataclass(frozen=True, slots=True)
class Instances:
    """Machines of one kind, over all regions.

    Attributes:
        role: what they do.
        why: the arithmetic behind the count, in words.
        usd_per_hour: of one of them.
    """

    role: str
    count: int
    why: str
    usd_per_hour: float


class Comparison(NamedTuple):
    """A figure of the seed design beside this plan's.

    Attributes:
        seed: what the first design estimated, scaled to the viewers of this plan where it grows with them.
        ratio: the seed's divided by this plan's: above 1, this plan needs less.
    """

    figure: str
    seed: float
    planned: float
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an audience needs.

    Attributes:
        inputs: what the plan was made with, constants and sources included.
        stream: the stream tier of one region, None if all viewers come through caches.
        stream_servers: machines of the stream tier, spare ones included, over all regions.
        fanout_workers: of one region.
        kafka_partitions: of the topic.
        deltas_per_s: of all matches together, in the busiest second.
        redis_core_share: of the one core that the Redis of a region uses then.
        redis_instances: of one region, by matches, each with a replica.
        redis_output_bytes_per_s: what the Redis of a region sends to its stream workers then.
        redis_memory_bytes: of one region.
        cache_nodes: of all regions.
        gigabytes_per_goal: to all viewers, headers included.
        bits_per_s_per_machine: of one stream machine while it sends a goal.
        bytes_per_connection: of a viewer with a stream, the kernel's part included.
        last_viewer_ms: from the post to the last viewer with a stream, without the network.
        reconnect_window_s: over which viewers that lost their servers are spread.
        back_s: until all of them are back, if the servers are back before they come.
        monthly_usd: machines and traffic.
        limits: what has an end, the nearest first.
    """

    inputs: Inputs
    stream: StreamTier | None
    stream_servers: int
    fanout_workers: int
    kafka_partitions: int
    deltas_per_s: float
    redis_core_share: float
    redis_instances: int
    redis_output_bytes_per_s: float
    redis_memory_bytes: float
    cache_nodes: int
    gigabytes_per_goal: float
    bits_per_s_per_machine: float
    bytes_per_connection: float
    last_viewer_ms: float
    reconnect_window_s: float
    back_s: float
    instances: tuple[Instances, ...]
    machines_usd: float
    traffic_usd: float
    monthly_usd: float
    seed: tuple[Comparison, ...]
    limits: tuple[Limit, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> JsonObject:
        """Everything by name."""
        plain = {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if one.name not in ("inputs", "stream", "instances", "seed", "limits", "warnings")
        }
        return {
            "inputs": self.inputs.to_json(),
            **plain,
            "stream": None if self.stream is None else asdict(self.stream),
            "instances": [asdict(one) for one in self.instances],
            "seed": [one._asdict() for one in self.seed],
            "limits": [one._asdict() for one in self.limits],
            "warnings": list(self.warnings),
        }


def plan(inputs: Inputs) -> Plan:
    """How many of everything, what it costs, and what breaks first.

    Raises:
        TooTight: the latency or the open-files limit leaves no room for a single viewer.
    """
    value = inputs.value
    cached = round(inputs.viewers * inputs.cached_share)
    streaming = inputs.viewers - cached
    tier = _stream_tier(inputs, math.ceil(streaming / inputs.regions)) if streaming else None
    spare = round(value("spare_machines"))
    servers = inputs.regions * (tier.machines + spare) if tier else 0

    deltas_per_s = inputs.matches * inputs.deltas_per_match / value("match_s") * value("burst_factor")
    workers = max(2, math.ceil(deltas_per_s / (value("fanout_events_per_s") * value("fanout_share"))))
    partitions = max(math.ceil(value("partitions_min")), math.ceil(workers * value("partitions_per_worker")))
    subscribers = tier.processes if tier else 1
    redis_core_share = deltas_per_s * publish_s(inputs, subscribers)
    redis_instances = max(1, math.ceil(redis_core_share / value("redis_share")))

    frame_bytes = on_the_wire(inputs, "frame_bytes")
    answer_bytes = on_the_wire(inputs, "answer_bytes")
    goal_bytes = streaming * frame_bytes + cached * answer_bytes
    sending_s = max(1e-3, tier.last_ms / 1000 - value("first_s")) if tier else math.inf
    cache_nodes = _cache_nodes(inputs, cached)
    connection_bytes = (
        value("viewer_bytes") + value("kernel_bytes_per_viewer") + inputs.tls * value("tls_viewer_bytes")
    )
    instances = (
        Instances(
            "stream server",
            servers,
            f"{tier.machines:,} a region and {spare} spare" if tier else "no viewer has a stream",
            inputs.cores * value("price_core_hour"),
        ),
        Instances(
            "cache node", cache_nodes, "by connections and by CPU", inputs.cores * value("price_core_hour")
        ),
        Instances(
            "Redis",
            2 * redis_instances * inputs.regions,
            f"{redis_instances} a region, each with a replica",
            value("price_redis_hour"),
        ),
        Instances(
            "fan-out worker",
            workers * inputs.regions,
            f"{workers} a region, a core each",
            value("price_core_hour"),
        ),
        Instances("Kafka broker", round(value("brokers")), "three replicas", value("price_broker_hour")),
    )
    hours = value("hours_per_month")
    machines_usd = hours * sum(one.count * one.usd_per_hour for one in instances)
    traffic_usd = _match_bytes(inputs, streaming, cached) * value("match_days_per_month") / _GB
    traffic_usd *= value("price_egress_gb")
    last_ms = float(tier.last_ms) if tier else 0.0
    return Plan(
        inputs=inputs,
        stream=tier,
        stream_servers=servers,
        fanout_workers=workers,
        kafka_partitions=partitions,
        deltas_per_s=round(deltas_per_s, 3),
        redis_core_share=round(redis_core_share, 6),
        redis_instances=redis_instances,
        redis_output_bytes_per_s=round(deltas_per_s * subscribers * value("frame_bytes"), 1),
        redis_memory_bytes=round(inputs.matches * value("redis_match_bytes")),
        cache_nodes=cache_nodes,
        gigabytes_per_goal=round(goal_bytes / _GB, 6),
        bits_per_s_per_machine=round(tier.viewers_per_machine * frame_bytes * 8 / sending_s) if tier else 0,
        bytes_per_connection=round(connection_bytes, 1),
        last_viewer_ms=last_ms,
        reconnect_window_s=tier.reconnect_window_s if tier else 0.0,
        back_s=tier.back_s if tier else 0.0,
        instances=instances,
        machines_usd=round(machines_usd, 2),
        traffic_usd=round(traffic_usd, 2),
        monthly_usd=round(machines_usd + traffic_usd, 2),
        seed=_compared(inputs, servers + cache_nodes, goal_bytes, connection_bytes, last_ms),
        limits=limits(inputs, tier, deltas_per_s, workers, partitions, redis_instances),
        warnings=_warnings(inputs, tier, redis_instances),
    )


def _stream_tier(inputs: Inputs, viewers: int) -> StreamTier:
    """The stream tier of one region."""
    value = inputs.value
    measured = Measured(
        accept_s=value("accept_s") + inputs.tls * value("tls_accept_s"),
        delivery_s=value("delivery_s") + inputs.tls * value("tls_delivery_s"),
        viewer_bytes=value("viewer_bytes") + inputs.tls * value("tls_viewer_bytes"),
        process_bytes=round(value("process_bytes")),
        first_s=value("first_s"),
        frame_bytes=round(value("frame_bytes") + inputs.tls * value("tls_record_bytes")),
    )
    demand = Demand(
        viewers=viewers, within_ms=inputs.within_ms, cores=inputs.cores, open_files=inputs.open_files
    )
    return stream_tier(measured, demand, Policy(**{one.name: value(one.name) for one in fields(Policy)}))


def _match_bytes(inputs: Inputs, streaming: int, cached: int) -> float:
    """What all viewers receive over a match, of which each watches one: deltas, heartbeats, answers."""
    value = inputs.value
    heartbeats = value("match_s") / value("heartbeat_s") * on_the_wire(inputs, "heartbeat_bytes")
    deltas = inputs.deltas_per_match * on_the_wire(inputs, "frame_bytes")
    answers = inputs.deltas_per_match + value("match_s") * value("poll_requests_per_s")
    return streaming * (deltas + heartbeats) + cached * answers * on_the_wire(inputs, "answer_bytes")


def _cache_nodes(inputs: Inputs, cached: int) -> int:
    """Cache nodes of all regions: by connections, and by what answering everybody at a goal costs."""
    if not cached:
        return 0
    value = inputs.value
    here = math.ceil(cached / inputs.regions)
    answer_s = value("cache_answer_s") + inputs.tls * value("tls_delivery_s")
    cores = here * answer_s / (inputs.within_ms / 1000 * value("core_share"))
    nodes = max(math.ceil(here / value("cache_connections_max")), math.ceil(cores / inputs.cores))
    return inputs.regions * (nodes + round(value("spare_machines")))


def _compared(
    inputs: Inputs, servers: int, goal_bytes: float, connection_bytes: float, last_ms: float
) -> tuple[Comparison, ...]:
    """The seed design's estimates beside this plan's figures."""
    scale = inputs.viewers / _SEED_VIEWERS
    rows = (
        ("servers", _SEED["servers"] * scale, float(servers)),
        ("gigabytes per goal", _SEED["gigabytes_per_goal"] * scale, goal_bytes / _GB),
        ("bytes per connection", _SEED["bytes_per_connection"], connection_bytes),
        ("seconds to the last viewer", _SEED["last_viewer_s"], last_ms / 1000),
    )
    return tuple(
        Comparison(name, round(seed, 6), round(planned, 6), round(seed / planned, 3) if planned else 0.0)
        for name, seed, planned in rows
    )


def _warnings(inputs: Inputs, tier: StreamTier | None, redis_instances: int) -> tuple[str, ...]:
    found = []
    if tier and tier.reconnect_window_s * 1000 + inputs.value("retry_min_s") * 1000 > HINT_CAP_MS:
        found.append(
            f"viewers believe no wait of more than {HINT_CAP_MS // 1000} s: after a full loss they come back"
            " sooner than they can be taken; add cores"
        )
    if redis_instances > 1:
        found.append(
            f"{redis_instances} Redis in a region, by matches: the deltas of one match go through one of them"
        )
    if inputs.cached_share > 0:
        found.append(
            "viewers behind caches are reached later than those with a stream: see bench/results/cdn.md"
        )
    return tuple(found)
