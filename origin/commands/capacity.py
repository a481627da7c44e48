"""``touchline capacity``: measures one process of the stream tier here, and plans for N viewers from that.

``capacity plan`` and ``capacity simulate`` measure nothing: they plan all tiers, and simulate what happens to
them, from figures that ship with the package (``origin.capacity.constants``).
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from origin.capacity.measure import SAMPLE_MAX, SAMPLE_MIN, MeasureError, believable_sample, measure
from origin.capacity.model import BOUNDS, Inputs, InvalidInput, plan
from origin.capacity.report import outcome_lines, plan_lines
from origin.capacity.scenarios import SCENARIOS, SEED_MAX, simulate
from origin.capacity.stream_tier import (
    HEARTBEAT_S,
    RETRY_MIN_MS,
    VIEWERS_MAX,
    Demand,
    Measured,
    StreamTier,
    TooTight,
    assumptions,
    stream_tier,
    warnings,
)
from origin.stream.hub.config import FILES_RESERVED
from shared_state.jsontext import JsonObject, compact

__all__ = ["command", "settings"]


@click.group("capacity", invoke_without_command=True)
@click.option("--viewers", type=click.IntRange(1, VIEWERS_MAX), help="At the same time.  [required]")
@click.option(
    "--within-ms",
    default=500,
    show_default=True,
    type=click.IntRange(1, 60_000),
    help="From the post of an event to the last viewer.",
)
@click.option("--cores", type=click.IntRange(1, 4_096), help="Of one machine; this machine's if not given.")
@click.option(
    "--open-files",
    type=click.IntRange(1, 2**31),
    help="The hard limit of one process; this machine's if not given.",
)
@click.option(
    "--sample",
    default=5_000,
    show_default=True,
    type=click.IntRange(SAMPLE_MIN, SAMPLE_MAX),
    help="Viewers to measure with, on loopback. More are more exact.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.pass_context
def command(
    context: click.Context,
    viewers: int | None,
    within_ms: int,
    cores: int | None,
    open_files: int | None,
    sample: int,
    *,
    as_json: bool,
) -> None:
    """Plan for N viewers from what one process costs on this machine, measured in a few seconds.

    Everything runs on loopback and is ended again. The machine should be idle. A delivery to few viewers is
    cheaper than one to many: for a million viewers, measure with as many as one process will have.
    """
    if context.invoked_subcommand is not None:
        given = [
            name
            for name in ("viewers", "within_ms", "cores", "open_files", "sample", "as_json")
            if context.get_parameter_source(name) is not ParameterSource.DEFAULT
        ]
        if given:
            option = "--json" if given[0] == "as_json" else f"--{given[0].replace('_', '-')}"
            raise click.UsageError(f"{option} belongs behind `{context.invoked_subcommand}`")
        return
    if viewers is None:
        raise click.UsageError("Missing option '--viewers'.")
    if not Path("/proc/self/smaps_rollup").exists():
        raise click.ClickException("there is no /proc to measure by: this needs Linux")
    # A supervisor's SIGTERM ends this as Ctrl-C does, and with it the server it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    demand = Demand(
        viewers=viewers,
        within_ms=within_ms,
        cores=cores or len(os.sched_getaffinity(0)),
        open_files=open_files or hard,
    )
    try:
        measured, seen = measure(believable_sample(sample, hard))
        made = stream_tier(measured, demand)
    except TooTight as error:
        raise click.UsageError(str(error)) from None
    except MeasureError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(compact(_json(demand, measured, seen, made)))
    else:
        click.echo("\n".join(_lines(demand, measured, seen, made)))


def _audience(function: Callable[..., None]) -> Callable[..., None]:
    """The options that say what is planned for."""
    defaults = Inputs()
    helps = {
        "viewers": "At the same time.",
        "regions": "Each with its own fan-out, Redis and stream tier.",
        "matches": "Live at the same time.",
        "deltas_per_match": "Over the whole match.",
        "cached_share": "Of the viewers, those who long-poll through caches.",
        "within_ms": "From the post of an event to the last viewer with a stream.",
        "cores": "Of one machine.",
        "open_files": "The hard limit of one process.",
    }
    options = [
        click.option(
            f"--{name.replace('_', '-')}",
            type=float if name == "cached_share" else int,
            default=getattr(defaults, name),
            show_default=True,
            help=f"{text} {BOUNDS[name].low:g} to {BOUNDS[name].high:,.0f}.",
        )
        for name, text in helps.items()
    ]
    options += [
        click.option("--tls", is_flag=True, help="The machines of the stream tier end TLS too."),
        click.option(
            "--set",
            "changes",
            multiple=True,
            metavar="CONSTANT=VALUE",
            help="Another value of a constant; --json has all of them, with their sources. May be repeated.",
        ),
        click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _inputs(given: dict[str, Any], changes: Sequence[str]) -> Inputs:
    values: dict[str, float] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        try:
            values[name] = float(text)
        except ValueError:
            equals = ""
        if not equals:
            raise click.UsageError(f"--set {change!r} is not CONSTANT=VALUE with a number")
    return Inputs.from_json({**given, "constants": values})


@command.command("plan")
@_audience
def plan_command(*, changes: Sequence[str], as_json: bool, **given: Any) -> None:
    """Plan all tiers, their cost and what breaks first, from figures that ship with the package."""
    try:
        made = plan(_inputs(given, changes))
    except (InvalidInput, TooTight) as error:
        raise click.UsageError(str(error)) from None
    click.echo(compact(made.to_json()) if as_json else "\n".join(plan_lines(made)))


@command.command("simulate")
@click.argument("scenario", type=click.Choice(list(SCENARIOS)))
@_audience
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0, SEED_MAX - 1), help="Of what is drawn."
)
def simulate_command(
    scenario: str, *, seed: int, changes: Sequence[str], as_json: bool, **given: Any
) -> None:
    """Simulate a goal, a reconnect storm, the loss of a region or of all caches, for the planned fleet.

    The same options give the same figures. It takes seconds, however many viewers there are.
    """
    try:
        outcome = simulate(scenario, _inputs(given, changes), seed)
    except (InvalidInput, TooTight) as error:
        raise click.UsageError(str(error)) from None
    click.echo(compact(outcome.to_json()) if as_json else "\n".join(outcome_lines(outcome)))


def _json(demand: Demand, measured: Measured, seen: JsonObject, made: StreamTier) -> JsonObject:
    return {
        "asked": asdict(demand),
        "measured": asdict(measured) | seen,
        "assumed": {name: {"value": value, "why": why} for name, value, why in assumptions()},
        "plan": made.to_json(),
        "settings": settings(made),
        "warnings": warnings(made),
    }


def settings(made: StreamTier) -> JsonObject:
    """What to copy into the configuration of each machine, by where it goes."""
    return {
        "command": f"touchline serve --workers {made.processes_per_machine}",
        "systemd": {"LimitNOFILE": made.open_files},
        "environment": {
            "TOUCHLINE_STREAM_CONNECTIONS_MAX": made.connections_max,
            "TOUCHLINE_STREAM_ACCEPT_RATE_PER_S": made.accept_rate_per_s,
            "TOUCHLINE_STREAM_RETRY_MIN_MS": RETRY_MIN_MS,
            "TOUCHLINE_STREAM_HEARTBEAT_S": HEARTBEAT_S,
        },
        "proxy": {
            "connections": made.proxy_connections,
            "open_files": made.proxy_connections + FILES_RESERVED,
            "source_addresses": made.proxy_addresses,
        },
    }


def _lines(demand: Demand, measured: Measured, seen: JsonObject, made: StreamTier) -> Iterator[str]:
    yield (
        f"{demand.viewers:,} viewers, the last of them reached within {demand.within_ms} ms, machines of"
        f" {demand.cores} cores, {demand.open_files:,} open files a process"
    )
    yield ""
    yield (
        f"Measured here, with {seen['sample_viewers']:,} viewers on loopback and {seen['sample_events']}"
        f" events, in {seen['took_s']} s"
    )
    yield from _table(
        ("CPU for a viewer that comes", f"{measured.accept_s * 1e6:.1f} µs"),
        (
            "CPU for an event to one viewer",
            f"{measured.delivery_s * 1e6:.1f} µs, its receipt on loopback included",
        ),
        ("memory of the process for a viewer", f"{measured.viewer_bytes:,.0f} bytes"),
        ("memory of a process without viewers", f"{measured.process_bytes / 1e6:.0f} MB"),
        ("post to the first viewer", f"{measured.first_s * 1000:.1f} ms"),
        ("post to the last of the sample", f"{seen['sample_last_ms']} ms, their reading here included"),
        ("an event as sent", f"{measured.frame_bytes} bytes"),
    )
    yield ""
    yield "Assumed, not measured"
    yield from _table(*((name, f"{value:g}  {why}") for name, value, why in assumptions()))
    yield ""
    yield "Plan: arithmetic from these figures"
    yield from _table(
        ("viewers a core can reach in time", f"{made.viewers_per_core_by_latency:,}"),
        ("viewers a core can send heartbeats", f"{made.viewers_per_core_by_heartbeats:,}"),
        ("viewers a process can hold by its files", f"{made.viewers_per_process_by_files:,}"),
        ("cores", f"{made.cores:,}"),
        ("machines", f"{made.machines:,}, of {made.viewers_per_machine:,} viewers"),
        ("processes", f"{made.processes:,}: {made.processes_per_machine:,} a machine"),
        ("viewers of a process", f"{made.viewers_per_process:,}"),
        ("memory", f"{made.memory_megabytes:,} MB: {made.memory_megabytes_per_machine:,} MB a machine"),
        ("the last viewer is reached after", f"{made.last_ms:,} ms"),
        ("network of a machine for one event", f"{made.event_megabytes:,} MB"),
        ("heartbeats take", f"{made.steady_core_share:.1%} of each core"),
        ("reconnect window after a full loss", f"{made.reconnect_window_s:,} s"),
        ("everybody back after", f"{made.back_s:,} s, if the servers are"),
    )
    yield ""
    yield "Settings of each machine"
    given = settings(made)
    proxy = given["proxy"]
    yield f"  {given['command']}"
    yield f"  LimitNOFILE={given['systemd']['LimitNOFILE']}"
    yield from (f"  {name}={value:g}" for name, value in given["environment"].items())
    yield (
        f"  proxies: {proxy['connections']:,} connections and {proxy['open_files']:,} open files together,"
        f" from {proxy['source_addresses']} source address{'es' * (proxy['source_addresses'] > 1)}"
    )
    yield from (f"Warning: {warning}" for warning in warnings(made))


def _table(*rows: tuple[str, str]) -> Iterator[str]:
    width = max(len(name) for name, _ in rows)
    return (f"  {name:<{width}}  {value}" for name, value in rows)
