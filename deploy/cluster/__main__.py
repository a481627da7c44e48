"""``make demo-cluster``: start every tier, play a real match through them, say where to look.

With ``--status`` it starts nothing, and reports how the cluster of another terminal is; with ``--kill``,
``--hang`` and ``--wake`` it does that to one of its processes (docs/drills.md).
"""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click

from deploy.cluster.child import ClusterError
from deploy.cluster.drills import SIGNALS, Supervisor, drill, processes
from deploy.cluster.status import read_status, show
from deploy.cluster.tiers import STATE, Addresses, Cluster
from origin.commands.demo import FINAL, RESULTS, events_of, play
from origin.commands.replay import ReplayError, Sender, deliveries
from origin.ingest.signatures import parse_key

__all__ = ["command"]

WATCH_S = 2.0
SETTLE_S = 20.0


@click.command("cluster")
@click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(1, 65533),
    help="Readers' port of the first region; the others follow.",
)
@click.option(
    "--speed",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Match minutes a minute.",
)
@click.option(
    "--embargo",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0, 600),
    help="Seconds of embargo on the last region.",
)
@click.option(
    "--canary",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 60),
    help="Seconds between two beats of the canary; 0: none.",
)
@click.option("--once", is_flag=True, help="End after the final whistle instead of waiting for Ctrl-C.")
@click.option("--status", is_flag=True, help="How the running cluster is; exit code 1 if a tier is down.")
@click.option("--watch", is_flag=True, help="With --status: again every two seconds.")
@click.option("--processes", "listed", is_flag=True, help="The names of its processes, with their ids.")
@click.option("--kill", metavar="NAME", help="End one with -9; it is started again after 3 s.")
@click.option("--hang", metavar="NAME", help="Stop one where it is; its connections stay open.")
@click.option("--wake", metavar="NAME", help="Let it go on.")
def command(
    port: int,
    speed: float,
    embargo: float,
    canary: float,
    *,
    once: bool,
    status: bool,
    watch: bool,
    listed: bool,
    **drills: str | None,
) -> None:
    """Kafka, three regions and nginx on this machine, and a real match through all of them."""
    # A supervisor's SIGTERM ends everything as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if status or watch:
            sys.exit(_status(watch=watch))
        if listed:
            for name, pid in sorted(processes().items()):
                click.echo(f"{pid:>8}  {name}")
            return
        if asked := [(action, drills[action]) for action in SIGNALS if drills[action]]:
            for action, child in asked:
                click.echo(f"{action} {child}: process {drill(action, str(child))}")
            return
        _demo(port, speed, embargo, canary, once=once)
    except (ClusterError, ReplayError) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo()


def _status(*, watch: bool) -> int:
    while True:
        lines = read_status(Addresses.load())
        if watch:
            click.clear()
        click.echo(show(lines))
        if not watch:
            return 0 if all(line.ok for line in lines) else 1
        time.sleep(WATCH_S)


def _demo(port: int, speed: float, embargo: float, canary: float, *, once: bool) -> None:
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="touchline-cluster-") as directory,
        Cluster(
            Path(directory),
            base_port=port,
            embargo_s=embargo,
            canary_s=canary,
            report=lambda line: click.echo(line, err=True),
        ) as cluster,
        _announced(cluster.addresses),
        Supervisor(cluster, lambda line: click.echo(line, err=True)) as supervisor,
    ):
        sender = Sender(
            urlsplit(cluster.regions[0].url),
            parse_key(cluster.secret),
            report=lambda line: click.echo(line, err=True),
        )
        with contextlib.closing(sender):
            for delivery in deliveries(events_of(RESULTS), paced=False):
                sender.send(delivery)
            match_id = events_of(FINAL)[0].match_id
            click.echo(f"Touchline cluster, up after {time.monotonic() - began:.0f} s: {match_id}")
            for region in cluster.regions:
                embargo_text = f"   {region.embargo_s:g} s later" if region.embargo_s else ""
                click.echo(f"  {region.name:<5} {region.url}/match/{match_id}{embargo_text}")
            click.echo("  state python -m deploy.cluster --status   (--watch)")
            click.echo("  drill python -m deploy.cluster --kill redis-eu   (docs/drills.md)")
            click.echo(f"  logs  {directory}")
            click.echo(show(read_status(cluster.addresses)))
            play(sender, speed)
        _settle(cluster.addresses, canary)
        click.echo(show(read_status(cluster.addresses)))
        if not once:
            click.echo("Full time. The pages stay; Ctrl-C ends everything.")
            while (dead := supervisor.given_up) is None:
                time.sleep(1.0)
            raise ClusterError(f"{dead.name} ends again and again:\n{dead.log_tail()}")


@contextlib.contextmanager
def _announced(addresses: Addresses) -> Iterator[None]:
    addresses.save()
    try:
        yield
    finally:
        STATE.unlink(missing_ok=True)


def _settle(addresses: Addresses, canary: float) -> None:
    """Wait until every region has everything: the one under embargo is late by that.

    The canary goes on, and those of its beats that are under embargo are behind for ever.
    """
    embargo_s = max(region.embargo_s for region in addresses.regions)
    deadline = time.monotonic() + SETTLE_S + embargo_s
    while time.monotonic() < deadline:
        lines = [line for line in read_status(addresses) if line.tier.startswith("fan-out")]
        beats = round(embargo_s / canary) + 3 if canary else 0
        if all(any(line.text.endswith(f"lag {lag} events") for lag in range(beats + 1)) for line in lines):
            return
        time.sleep(0.5)


if __name__ == "__main__":
    command(prog_name="python -m deploy.cluster")
