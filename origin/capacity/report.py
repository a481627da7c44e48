"""Plans and outcomes of simulations as lines of text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from origin.capacity.constants import ASSUMED, GIVEN
from origin.capacity.model import Limit, Plan
from origin.capacity.scenarios import Outcome
from origin.capacity.simulation import Goal

__all__ = ["outcome_lines", "plan_lines", "table"]


def table(*rows: tuple[str, str]) -> Iterator[str]:
    """Names and what stands beside them, in two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    return (f"  {name:<{width}}  {value}" for name, value in rows)


def plan_lines(made: Plan) -> Iterator[str]:
    """A plan: what is needed, what it costs, what breaks first, and where its figures are from."""
    inputs = made.inputs
    yield (
        f"{inputs.viewers:,} viewers in {inputs.regions:,} region{'s' * (inputs.regions > 1)},"
        f" {inputs.cached_share:.0%} of them behind caches, {inputs.matches:,} matches of"
        f" {inputs.deltas_per_match:,} deltas{', TLS' * inputs.tls}"
    )
    yield ""
    yield "Plan: arithmetic from the figures below"
    yield from table(
        ("stream servers", f"{made.stream_servers:,}, of {inputs.cores:,} cores"),
        ("cache nodes", f"{made.cache_nodes:,}"),
        ("fan-out workers of a region", f"{made.fanout_workers:,}"),
        ("Kafka partitions", f"{made.kafka_partitions:,}"),
        ("Redis of a region", f"{made.redis_instances:,}, with {made.redis_core_share:.2%} of a core"),
        ("deltas in the busiest second", f"{made.deltas_per_s:,.1f}"),
        ("a goal to everybody", f"{made.gigabytes_per_goal:,.3f} GB"),
        ("a machine while it sends a goal", f"{made.bits_per_s_per_machine / 1e9:,.2f} Gbit/s"),
        ("memory of a connection", f"{made.bytes_per_connection:,.0f} bytes, the kernel's part included"),
        ("the last viewer with a stream", f"{made.last_viewer_ms:,.0f} ms, without the network"),
        ("reconnect window after a full loss", f"{made.reconnect_window_s:,.1f} s"),
        ("everybody back after", f"{made.back_s:,.1f} s"),
    )
    yield ""
    yield "Instances, and what they cost in a month"
    yield from table(
        *((one.role, f"{one.count:,}  {one.why}, {one.usd_per_hour:.3f} USD/h") for one in made.instances),
        ("machines", f"{made.machines_usd:,.0f} USD"),
        ("traffic", f"{made.traffic_usd:,.0f} USD"),
        ("together", f"{made.monthly_usd:,.0f} USD"),
    )
    yield ""
    yield "Beside the seed design's estimates (its figure, this plan's, ratio)"
    yield from table(
        *((one.figure, f"{one.seed:,.4g}  {one.planned:,.4g}  {one.ratio:.2f}") for one in made.seed)
    )
    yield ""
    yield "What breaks first"
    yield from table(*((one.name, _limit(one)) for one in made.limits))
    yield ""
    yield "Measured"
    measured = [one for one in inputs.constants.items() if one[1].source not in (ASSUMED, GIVEN)]
    yield from table(*((name, f"{one.value:g} {one.unit}  {one.source}") for name, one in measured))
    yield ""
    yield "Assumed, not measured (change one with --set NAME=VALUE)"
    assumed = [one for one in inputs.constants.items() if one[1].source in (ASSUMED, GIVEN)]
    yield from table(
        *(
            (name, f"{one.value:g} {one.unit}  {one.meaning}{' (given)' * (one.source == GIVEN)}")
            for name, one in assumed
        )
    )
    yield from (f"Warning: {warning}" for warning in made.warnings)


def _limit(one: Limit) -> str:
    at = "" if one.breaks_at_viewers is None else f", breaks at {one.breaks_at_viewers:,} viewers"
    help_ = "" if one.more_machines_help else "; more machines do not help"
    return f"{one.share:.1%} ({one.used:,.4g} of {one.limit:,.4g} {one.unit}{at}{help_}): {one.why}"


def outcome_lines(outcome: Outcome) -> Iterator[str]:
    """What a scenario came to."""
    inputs = outcome.plan.inputs
    yield (
        f"{outcome.scenario}: {inputs.viewers:,} viewers in {inputs.regions:,}"
        f" region{'s' * (inputs.regions > 1)}, {outcome.plan.stream_servers:,} stream servers and"
        f" {outcome.plan.cache_nodes:,} cache nodes as `capacity plan` has them, seed {outcome.seed}"
    )
    yield ""
    yield from table(*((name, f"{value:,.6g}") for name, value in outcome.figures.items()))
    for name, result in outcome.results.items():
        yield ""
        yield name
        if isinstance(result, Goal):
            yield from table(
                *((f"{hop.name}", f"{hop.done_ms:,.1f} ms") for hop in result.hops),
                ("first, p50, p99", f"{result.first_ms:,.1f}, {result.p50_ms:,.1f}, {result.p99_ms:,.1f} ms"),
            )
        else:
            yield from table(
                ("back", f"{result.back:,} of {result.viewers:,}"),
                ("p50, p99, last", f"{result.p50_s:,.2f}, {result.p99_s:,.2f}, {result.last_s:,.2f} s"),
                ("longest accept queue of a machine", f"{result.queue_max:,}"),
                ("dropped by a full accept queue", f"{result.dropped:,}"),
                ("refused for want of room", f"{result.refused:,}"),
            )
    yield ""
    yield from outcome.findings
