"""``touchline capacity``: measures one process of the stream tier here, and plans for N viewers from that."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from origin.capacity.measure import SAMPLE_MAX, SAMPLE_MIN, MeasureError, believable_sample, measure
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


@click.command("capacity")
@click.option("--viewers", required=True, type=click.IntRange(1, VIEWERS_MAX), help="At the same time.")
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
def command(
    viewers: int, within_ms: int, cores: int | None, open_files: int | None, sample: int, *, as_json: bool
) -> None:
    """Plan for N viewers from what one process costs on this machine, measured in a few seconds.

    Everything runs on loopback and is ended again. The machine should be idle. A delivery to few viewers is
    cheaper than one to many: for a million viewers, measure with as many as one process will have.
    """
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
