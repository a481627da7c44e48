"""``touchline notify``: signed webhooks to publishers, and those that could not be delivered."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import click

from origin.commands.files import output
from origin.commands.working import Seconds, run
from origin.config import Config
from origin.errors import OriginError
from origin.eventlog import open_eventlog
from origin.logs import configure_logging
from origin.metrics import Metrics
from origin.notify.endpoints import EndpointFile
from origin.notify.outbox import Delivery, Outbox
from origin.notify.worker import NotifyWorker
from shared_state.jsontext import JsonObject, compact

__all__ = ["command"]

_outbox_option = click.option(
    "--outbox", default="var/webhooks.db", show_default=True, type=click.Path(path_type=Path, dir_okay=False),
    help="The file with what is not delivered yet.",
)  # fmt: skip


@click.group("notify")
def command() -> None:
    """Signed webhooks of goals, corrections and changes of status."""


@command.command("run")
@click.option(
    "--endpoints", required=True, type=click.Path(path_type=Path, dir_okay=False),
    help="The file that says who gets what; it is read again when it has changed.",
)  # fmt: skip
@_outbox_option
@click.option("--group", default="notify", show_default=True, help="Consumer group of the event log.")
@click.option(
    "--give-up", "give_up_s", default=86_400.0, show_default=True, type=Seconds(1, 604_800),
    help="Seconds after which a delivery is given up.",
)  # fmt: skip
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Serve Prometheus metrics on loopback.")
def run_(endpoints: Path, outbox: Path, group: str, give_up_s: float, metrics_port: int | None) -> None:
    """Read events from EVENTLOG_URL and send what endpoints want of them, until SIGTERM or Ctrl-C."""
    metrics = Metrics()
    try:
        config = Config.from_env(os.environ)
        configure_logging(config.log_level, config.log_format)
        file = EndpointFile(endpoints)
        log = open_eventlog(config.eventlog_url)
        worker = NotifyWorker(
            log, group=group, outbox_path=outbox, endpoint_file=file, metrics=metrics,
            public_url=config.public_url, give_up_s=give_up_s,
        )  # fmt: skip
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    try:
        run(worker, metrics, metrics_port)
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    finally:
        log.close()


@command.command("list")
@_outbox_option
@click.option("--waiting", is_flag=True, help="What still waits, instead of what was given up.")
def list_(outbox: Path, waiting: bool) -> None:
    """Print one line of JSON per delivery that was given up, oldest first."""
    with _outbox(outbox) as box, output() as out:
        for delivery in box.all(failed=not waiting):
            out.write(compact(_to_json(delivery)).encode("utf-8") + b"\n")


@command.command("redrive")
@_outbox_option
@click.argument("ids", nargs=-1)
def redrive(outbox: Path, ids: Sequence[str]) -> None:
    """Have deliveries that were given up tried again, under their old ids: the given ones, or all."""
    with _outbox(outbox) as box:
        chosen = _chosen(box, ids)
        box.redrive([delivery.number for delivery in chosen], time.time_ns() // 1_000_000)
    for delivery in chosen:
        click.echo(f"{delivery.id}: {delivery.webhook_id} to {delivery.endpoint} again")


@command.command("discard")
@_outbox_option
@click.argument("ids", nargs=-1, required=True)
def discard(outbox: Path, ids: Sequence[str]) -> None:
    """Remove the given deliveries that were given up."""
    with _outbox(outbox) as box:
        chosen = _chosen(box, ids)
        box.discard([delivery.number for delivery in chosen])
    for delivery in chosen:
        click.echo(f"{delivery.id}: discarded")


@contextmanager
def _outbox(path: Path) -> Iterator[Outbox]:
    if not path.is_file():
        raise click.ClickException(f"there is no outbox {str(path)!r}")
    try:
        with closing(Outbox(path)) as box:
            yield box
    except OriginError as error:
        raise click.ClickException(str(error)) from None


def _chosen(box: Outbox, ids: Sequence[str]) -> list[Delivery]:
    """Those of these ids; all if there is no id.

    Raises:
        click.UsageError: an id is unknown; nothing has been done.
    """
    failed = box.all(failed=True)
    unknown = set(ids) - {delivery.id for delivery in failed}
    if unknown:
        raise click.UsageError(f"no such delivery was given up: {' '.join(sorted(unknown))}")
    return [delivery for delivery in failed if not ids or delivery.id in ids]


def _to_json(delivery: Delivery) -> JsonObject:
    return {
        "id": delivery.id,
        "endpoint": delivery.endpoint,
        "webhook_id": delivery.webhook_id,
        "match_id": delivery.match_id,
        "kind": delivery.kind,
        "made_ms": delivery.made_ms,
        "attempts": delivery.attempts,
        "failed_ms": delivery.failed_ms,
        "reason": delivery.reason,
        "body": delivery.body.decode("utf-8"),
    }
