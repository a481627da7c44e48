"""``touchline push``: goals as Web Push to browsers that have asked for them."""

from __future__ import annotations

import os
from pathlib import Path

import click

from origin.commands.working import run
from origin.config import Config
from origin.errors import ConfigError, OriginError
from origin.eventlog import open_eventlog
from origin.logs import configure_logging
from origin.metrics import Metrics
from origin.notify.push_keys import make_key
from origin.notify.push_worker import PushWorker

__all__ = ["command"]


@click.group("push")
def command() -> None:
    """Goals as Web Push, to browsers that have asked for them."""


def _config() -> tuple[Config, Path]:
    config = Config.from_env(os.environ)
    if not config.push_data_dir:
        raise ConfigError("TOUCHLINE_PUSH_DATA_DIR must be set to the directory of the subscriptions")
    return config, Path(config.push_data_dir)


@command.command("keys")
def keys() -> None:
    """Make the key that browsers subscribe to, in TOUCHLINE_PUSH_DATA_DIR. One that is there is kept."""
    try:
        public = make_key(_config()[1])
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    click.echo(public)


@command.command("run")
@click.option("--group", default="push", show_default=True, help="Consumer group of the event log.")
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Serve Prometheus metrics on loopback.")
def run_(group: str, metrics_port: int | None) -> None:
    """Read goals from EVENTLOG_URL and send them, until SIGTERM or Ctrl-C."""
    metrics = Metrics()
    try:
        config, directory = _config()
        configure_logging(config.log_level, config.log_format)
        contact = config.push_contact or config.public_url
        if not contact.startswith(("mailto:", "https://")):
            raise ConfigError(
                "TOUCHLINE_PUSH_CONTACT must be mailto:you@example.com or https://…: push services refuse"
                " senders that they cannot reach"
            )
        log = open_eventlog(config.eventlog_url)
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    try:
        worker = PushWorker(
            log, directory=directory, contact=contact, metrics=metrics, group=group,
            rate_per_s=config.push_rate, allow_private=config.push_allow_private,
        )  # fmt: skip
        run(worker, metrics, metrics_port)
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    finally:
        log.close()
