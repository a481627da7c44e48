"""``touchline fanout``: the worker between the event log and a region's bus."""

from __future__ import annotations

import os

import click

from origin.bus import open_bus
from origin.commands.working import Seconds, run
from origin.config import Config
from origin.errors import ConfigError, OriginError
from origin.eventlog import open_eventlog
from origin.fanout.purge import PurgeHook
from origin.fanout.worker import FanOut
from origin.logs import configure_logging
from origin.metrics import Metrics
from origin.tracing import open_tracer

__all__ = ["command"]


@click.command("fanout")
@click.option("--group", default="fanout", show_default=True, help="Consumer group: one per region.")
@click.option(
    "--embargo",
    default=0.0,
    show_default=True,
    type=Seconds(0, 600),
    help="Seconds by which this region's deltas are delayed, to match its broadcast.",
)
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Serve Prometheus metrics on this port.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address of the metrics port.")
def command(group: str, embargo: float, metrics_port: int | None, metrics_host: str) -> None:
    """Read events from EVENTLOG_URL, fold them, and publish their deltas to BUS_URL."""
    metrics = Metrics()
    try:
        config = Config.from_env(os.environ)
        configure_logging(config.log_level, config.log_format)
        if config.embedded:
            raise ConfigError(
                f"BUS_URL {config.bus_url!r} is inside the origin's process, which runs its own fan-out"
            )
        tracer = open_tracer(config.traces_url, config.traces_ratio, "touchline-fanout")
        log, bus = open_eventlog(config.eventlog_url), open_bus(config.bus_url)
        purge = PurgeHook(config.purge_url, config.purge_token, metrics) if config.purge_url else None
        worker = FanOut(
            *(log, bus), group=group, embargo_s=embargo, metrics=metrics, purge=purge, tracer=tracer
        )
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    try:
        run(worker, metrics, metrics_port, metrics_host)
    finally:
        if purge is not None:
            purge.close()
        bus.close()
        log.close()
        tracer.close()
