"""``touchline deletion-cost``: tells Kubernetes which pod of the stream tier has the fewest viewers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType

import click

from origin.capacity.deletion_cost import ClusterApi, DeletionCost
from origin.commands.working import Seconds
from origin.errors import OriginError

__all__ = ["command"]


@click.command("deletion-cost")
@click.option("--namespace", required=True, help="Where the pods are.")
@click.option("--selector", required=True, help="Labels of the stream tier's pods: a=b,c=d.")
@click.option(
    "--admin-port",
    default=9000,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Where each pod serves /metrics.",
)
@click.option(
    "--interval",
    default=30.0,
    show_default=True,
    type=Seconds(0.1, 3600),
    help="Seconds between two looks.",
)
@click.option("--api", metavar="URL", help="Of the cluster's API. Default: as in a pod.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --api: the token.",
)
@click.option("--once", is_flag=True, help="Look once, and end.")
def command(
    namespace: str,
    selector: str,
    admin_port: int,
    interval: float,
    api: str | None,
    token_file: Path | None,
    *,
    once: bool,
) -> None:
    """Write each stream pod's viewers into its annotation controller.kubernetes.io/pod-deletion-cost.

    When pods are removed, Kubernetes then takes those with the fewest viewers. See docs/deployment.md.
    """
    if (api is None) != (token_file is None):
        raise click.UsageError("--api and --token-file belong together")
    try:
        if api is not None and token_file is not None:
            cluster = ClusterApi(api, token_file, None)
        else:
            cluster = ClusterApi.of_pod(os.environ)
        costs = DeletionCost(cluster, namespace, selector, admin_port=admin_port, interval_s=interval)
        if once:
            click.echo(f"{costs.look()} pods have another deletion cost")
            return
    except OriginError as error:
        raise click.ClickException(str(error)) from None

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        costs.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    costs.run()
