"""What an audience goes through, simulated for the fleet that ``origin.capacity.model`` plans for it.

goal            one goal, from the log to the last viewer of every region
storm           all servers of all regions lose all viewers at once
region-loss     one region is gone; its viewers go to the others once names lead there
cache-collapse  all caches are gone; who was behind them comes to the origins
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType
from typing import Final

from origin.capacity.constants import InvalidInput
from origin.capacity.model import Inputs, Plan, plan
from origin.capacity.simulation import (
    Costs,
    Fleet,
    Goal,
    Hop,
    Recovery,
    Returner,
    advised,
    again_and_again,
    deliver,
    recover,
)
from origin.capacity.stream_tier import StreamTier
from origin.capacity.upstream import upstream
from origin.stream.hub.config import StreamConfig
from shared_state.jsontext import JsonObject
from shared_state.reconnect import delay_ms

__all__ = ["SCENARIOS", "SEED_MAX", "Outcome", "simulate"]

SEED_MAX: Final = 2**63
REGIONS_SIMULATED: Final = 8
# What a process believes to take back in a second, until viewers have come in numbers and it was measured.
_HINT_RATE_UNSET: Final = StreamConfig().accept_rate_per_s
_ATTEMPTS_MAX: Final = 64
_PATIENCE_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a scenario came to.

    Attributes:
        results: by name; a scenario with alternatives has one for each.
        figures: what is asked first, by name with its unit.
        findings: what breaks, and why, in sentences.
    """

    scenario: str
    seed: int
    plan: Plan
    results: Mapping[str, Goal | Recovery]
    figures: Mapping[str, float]
    findings: tuple[str, ...]

    def to_json(self) -> JsonObject:
        """Everything, with the plan and its inputs."""
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "figures": dict(self.figures),
            "findings": list(self.findings),
            "results": {name: one.to_json() for name, one in self.results.items()},
            "plan": self.plan.to_json(),
        }


def simulate(scenario: str, inputs: Inputs, seed: int = 1) -> Outcome:
    """Run one scenario. The same arguments give the same outcome.

    Raises:
        InvalidInput: there is no such scenario or seed, or it cannot happen with these inputs.
        TooTight: no fleet can be planned for these inputs.
    """
    if scenario not in SCENARIOS:
        raise InvalidInput(f"scenario {scenario!r}: known are {', '.join(SCENARIOS)}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEED_MAX:
        raise InvalidInput(f"seed: {seed!r} is no whole number between 0 and {SEED_MAX - 1:,}")
    return SCENARIOS[scenario](plan(inputs), seed)


def _goal(made: Plan, seed: int) -> Outcome:
    """One goal on its way to everybody."""
    inputs, value = made.inputs, made.inputs.value
    simulated = min(inputs.regions, REGIONS_SIMULATED)
    way = upstream(
        inputs,
        # Rounded to the plan's three digits, the rarest events would be none.
        max(made.deltas_per_s, 0.001),
        made.fanout_workers,
        made.redis_instances,
        made.stream.processes if made.stream else 1,
        simulated,
        seed,
    )
    hops = (
        Hop("acknowledged by the log", round(way.acknowledged_s * 1000, 3)),
        Hop("at the last region", round(max(way.arrived_s) * 1000, 3)),
        Hop("published there", round(max(way.published_s) * 1000, 3)),
    )
    subscriber_s = max(0.0, value("redis_publish_100_s") - value("redis_publish_s")) / 100

    def starts(begin_s: float) -> Callable[[int, Random], float]:
        # Redis has written it to its last subscriber when it is published, and to the first so much sooner.
        last = made.stream.processes if made.stream else 1
        return lambda number, _: begin_s - max(0, last - 1 - number) * subscriber_s

    results: dict[str, Goal] = {}
    for name, fleet, costs in _audiences(made, simulated):
        fleets = [
            _like(fleet, 1.0 if not region else (inputs.regions - 1) / max(1, simulated - 1))
            for region in range(simulated)
        ]
        late_s = value("cache_late_s") if name == "behind caches" else 0.0
        results[name] = deliver(
            fleets, costs, [starts(published_s + late_s) for published_s in way.published_s], seed, hops
        )
    last_ms = max(one.last_ms for one in results.values())
    streams = results.get("streams")
    findings = []
    if streams and streams.last_ms > inputs.within_ms:
        findings.append(
            f"the last viewer with a stream is reached after {streams.last_ms:,.0f} ms, not within"
            f" {inputs.within_ms:,}: the plan counts from the post in one region, and"
            f" {max(way.arrived_s) * 1000:.0f} ms go to the log and to the other regions"
        )
    if way.acknowledged_s > 2 * value("acknowledged_max_s"):
        findings.append(
            f"the log acknowledges the goal after {way.acknowledged_s * 1000:,.0f} ms:"
            f" {made.deltas_per_s:,.0f} events a second queue for it, and it takes"
            f" {value('log_appends_per_s'):,.0f} one by one"
        )
    return Outcome(
        scenario="goal",
        seed=seed,
        plan=made,
        results=MappingProxyType(results),
        figures={
            "last_viewer_ms": last_ms,
            "last_viewer_with_network_ms": round(last_ms + value("network_viewer_s") * 1000, 3),
        },
        findings=tuple(findings),
    )


def _audiences(made: Plan, regions_simulated: int) -> Sequence[tuple[str, Fleet, Costs]]:
    """Those with streams and those behind caches, of one region, with what serves them."""
    inputs, value = made.inputs, made.inputs.value
    cached = round(inputs.viewers * inputs.cached_share)
    found = []
    if made.stream is not None:
        costs = Costs(
            delivery_s=value("delivery_s") + inputs.tls * value("tls_delivery_s"),
            accept_s=_accept_s(inputs),
            share=value("core_share"),
        )
        found.append(("streams", _fleet(made, made.stream, regions_simulated), costs))
    if cached:
        nodes = max(1, made.cache_nodes // inputs.regions - round(value("spare_machines")))
        here = math.ceil(cached / inputs.regions)
        fleet = Fleet(
            viewers=here,
            stands_for=cached / inputs.regions / here,
            machines=nodes,
            processes=inputs.cores,
            cores=inputs.cores,
            regions_simulated=regions_simulated,
        )
        answer_s = value("cache_answer_s") + inputs.tls * value("tls_delivery_s")
        costs = Costs(delivery_s=answer_s, accept_s=answer_s, share=value("core_share"))
        found.append(("behind caches", fleet, costs))
    return found


def _storm(made: Plan, seed: int) -> Outcome:
    """All viewers with a stream are lost in the same moment, in every region."""
    inputs, tier = made.inputs, _needs_streams(made)
    fleet = _like(_fleet(made, tier), inputs.regions)
    share_of_process = fleet.viewers_per_process

    def rate(per_s: float) -> Costs:
        # More processes than cores are simulated as one for each core, which takes what they all take.
        merged = tier.processes_per_machine / fleet.processes
        return _accepting(made, hint_rate_per_s=per_s * merged)

    planned, unset = rate(tier.accept_rate_per_s), rate(_HINT_RATE_UNSET)
    results = {
        "as planned": recover(fleet, planned, advised(planned, share_of_process), seed),
        "accept rate not set": recover(fleet, unset, advised(unset, share_of_process), seed),
        "no advice from the server": recover(fleet, planned, _unadvised(planned), seed),
        "everybody at once": recover(fleet, planned, _at_once, seed),
    }
    findings = []
    for name, one in results.items():
        if one.dropped:
            findings.append(
                f"{name}: the accept queues overflow ({one.dropped:,} times); those dropped send again"
                f" after 1, 3, 7, 15, 31 and 63 s, and the last is back after {one.last_s:,.1f} s"
            )
        if one.back < one.viewers:
            findings.append(f"{name}: {one.viewers - one.back:,} are not back after all of that")
    return Outcome(
        scenario="storm",
        seed=seed,
        plan=made,
        results=MappingProxyType(results),
        figures={
            "all_back_s": results["as planned"].last_s,
            "all_back_accept_rate_not_set_s": results["accept rate not set"].last_s,
            "planned_back_s": made.back_s,
            "queue_max": results["as planned"].queue_max,
        },
        findings=tuple(findings),
    )


def _region_loss(made: Plan, seed: int) -> Outcome:
    """One region is gone, with its Redis and its servers."""
    inputs, value, tier = made.inputs, made.inputs.value, _needs_streams(made)
    if inputs.regions < 2:
        raise InvalidInput("regions: 1 cannot lose one of them: there is none left for its viewers to go to")
    whole = _fleet(made, tier)
    others = inputs.regions - 1
    # What each of the others gets of the lost region's viewers.
    here = math.ceil(whole.viewers / others)
    share = replace(whole, viewers=here, stands_for=whole.stands_for * whole.viewers / here)
    merged = tier.processes_per_machine / whole.processes
    room = max(0.0, tier.connections_max * merged - whole.viewers_per_process)
    costs = _accepting(made, hint_rate_per_s=tier.accept_rate_per_s * merged, restart_s=0.0)
    back = recover(
        share,
        costs,
        _redirected(costs, whole.viewers_per_process, value("redirect_s")),
        seed,
        room_per_process=room,
    )
    crowded = replace(whole, viewers=whole.viewers + round(back.back / others))
    sending = Costs(
        delivery_s=value("delivery_s") + inputs.tls * value("tls_delivery_s"),
        accept_s=_accept_s(inputs),
        share=value("core_share"),
    )
    begin_s = value("cluster_first_s")
    after = deliver([crowded], sending, [lambda *_: begin_s], seed)
    before = deliver([whole], sending, [lambda *_: begin_s], seed)
    findings = []
    if back.back < back.viewers:
        findings.append(
            f"{back.viewers - back.back:,} of {back.viewers:,} find no room: the other regions have room for"
            f" {room * whole.processes * whole.machines * others:,.0f} more; plan more regions, or a"
            f" room_factor of {inputs.regions / others:.2f} and more"
        )
    if after.last_ms > inputs.within_ms:
        findings.append(
            f"the next goal reaches the last viewer of a region after {after.last_ms:,.0f} ms, not within"
            f" {inputs.within_ms:,}: its machines have {crowded.viewers / whole.viewers - 1:.0%} more viewers"
        )
    return Outcome(
        scenario="region-loss",
        seed=seed,
        plan=made,
        results=MappingProxyType(
            {"back in other regions": back, "a goal before": before, "a goal after": after}
        ),
        figures={
            "all_back_s": back.last_s,
            "without_room": float(back.viewers - back.back),
            "last_viewer_before_ms": before.last_ms,
            "last_viewer_after_ms": after.last_ms,
        },
        findings=tuple(findings),
    )


def _cache_collapse(made: Plan, seed: int) -> Outcome:
    """All caches are gone at once; who was behind them comes to the origins, or gives up."""
    inputs, value, tier = made.inputs, made.inputs.value, made.stream
    cached = round(inputs.viewers * inputs.cached_share)
    if not cached:
        raise InvalidInput(f"cached_share: {inputs.cached_share!r} leaves nobody behind a cache")
    here = math.ceil(cached / inputs.regions)
    machines = tier.machines if tier else max(1, round(value("spare_machines")))
    processes = min(inputs.cores, tier.processes_per_machine) if tier else inputs.cores
    fleet = Fleet(
        viewers=here, machines=machines, processes=processes, cores=inputs.cores, stands_for=cached / here
    )
    merged = tier.processes_per_machine / processes if tier else 1.0
    of_process = tier.viewers_per_process * merged if tier else 0.0
    files = (tier.connections_max if tier else inputs.open_files) * merged
    costs = Costs(
        delivery_s=value("delivery_s"),
        # Each of them is a new connection with a long-poll on it.
        accept_s=_accept_s(inputs) + value("origin_answer_s"),
        accept_queue=value("accept_queue"),
        share=value("accept_share"),
    )
    alone = recover(fleet, costs, _unadvised(costs), seed, room_per_process=max(0.0, files - of_process))
    # With caches the origin answers each address once for each node; without them, everybody.
    quiet = cached * value("poll_requests_per_s")
    answers_cores = quiet * value("origin_answer_s")
    nodes = max(1, made.cache_nodes)
    addresses = inputs.deltas_per_match / value("match_s") + value("poll_requests_per_s")
    collapsed = nodes * inputs.matches * addresses * value("origin_requests_per_address")
    cores = machines * inputs.cores * inputs.regions
    load = (
        f"the origins get {quiet:,.0f} long-polls a second instead of at most {collapsed:,.0f}:"
        f" {answers_cores:,.1f} of their {cores:,} cores, in quiet time"
    )
    findings = [load]
    if alone.back < alone.viewers:
        findings.append(
            f"{alone.viewers - alone.back:,} of {alone.viewers:,} find no room at the origins, and show the"
            " last state with its age until the caches are back"
        )
    if alone.dropped:
        findings.append(f"the accept queues overflow ({alone.dropped:,} times)")
    return Outcome(
        scenario="cache-collapse",
        seed=seed,
        plan=made,
        results=MappingProxyType({"at the origins": alone}),
        figures={
            "all_back_s": alone.last_s,
            "without_room": float(alone.viewers - alone.back),
            "origin_requests_per_s": round(quiet, 3),
            "origin_requests_per_s_with_caches": round(collapsed, 3),
            "origin_core_share": round(answers_cores / cores, 6),
        },
        findings=tuple(findings),
    )


SCENARIOS: Final[Mapping[str, Callable[[Plan, int], Outcome]]] = MappingProxyType(
    {
        "goal": _goal,
        "storm": _storm,
        "region-loss": _region_loss,
        "cache-collapse": _cache_collapse,
    }
)


def _needs_streams(made: Plan) -> StreamTier:
    if made.stream is None:
        raise InvalidInput(f"cached_share: {made.inputs.cached_share!r} leaves nobody with a stream to lose")
    return made.stream


def _fleet(made: Plan, tier: StreamTier, regions_simulated: int = 1) -> Fleet:
    """The stream tier of one region; processes that share a core are simulated as one."""
    inputs = made.inputs
    streaming = inputs.viewers - round(inputs.viewers * inputs.cached_share)
    here = math.ceil(streaming / inputs.regions)
    return Fleet(
        viewers=here,
        stands_for=streaming / inputs.regions / here,
        machines=tier.machines,
        processes=min(tier.processes_per_machine, inputs.cores),
        cores=inputs.cores,
        regions_simulated=regions_simulated,
    )


def _like(fleet: Fleet, regions: float) -> Fleet:
    """The same for so many regions."""
    return replace(fleet, stands_for=fleet.stands_for * regions)


def _accept_s(inputs: Inputs) -> float:
    return inputs.value("accept_s") + inputs.tls * inputs.value("tls_accept_s")


def _accepting(made: Plan, *, hint_rate_per_s: float, restart_s: float | None = None) -> Costs:
    value = made.inputs.value
    return Costs(
        delivery_s=value("delivery_s"),
        accept_s=_accept_s(made.inputs),
        retry_min_s=value("retry_min_s"),
        hint_rate_per_s=hint_rate_per_s,
        restart_s=value("restart_s") if restart_s is None else restart_s,
        accept_queue=value("accept_queue"),
        share=value("accept_share"),
    )


def _unadvised(costs: Costs) -> Returner:
    """Viewers that have no advice: they spread their attempts by themselves, each over twice the time."""
    return lambda _before, unit, random: again_and_again(unit * costs.jitter_s, 0.0, random)


def _at_once(_before: float, _unit: float, random: Random) -> Sequence[float]:
    """Viewers that all try at once first, as those of a client without jitter do."""
    return again_and_again(0.0, 0.0, random)


def _redirected(costs: Costs, viewers_per_process: float, redirect_s: float) -> Returner:
    """Viewers whose attempts reach nobody until the names lead elsewhere."""

    def draw(before: float, unit: float, random: Random) -> Sequence[float]:
        window_s = max(1.0, before * viewers_per_process / costs.hint_rate_per_s)
        hint_ms = round(1000 * (costs.retry_min_s + unit * window_s))
        found, at_s = [], 0.0
        for attempt in range(_ATTEMPTS_MAX):
            at_s += delay_ms(attempt, random.random(), hint_ms) / 1000
            if at_s > redirect_s + _PATIENCE_S:
                break
            if at_s >= redirect_s:
                found.append(at_s)
        return found

    return draw
