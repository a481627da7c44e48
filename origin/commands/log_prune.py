"""``touchline log prune``: removes matches that are over and have not changed for long from a SQLite log.

Without ``--apply`` it only prints what it would remove, one line of JSON per match: its number of records,
the date of the last one (UTC milliseconds), its status, and whether it is removed. Matches without a final
status are left unless ``--unfinished`` is given. Before ``--apply``, stop every process that uses the log; an
open file is refused.
"""

from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime

import click

from origin.commands.files import output
from origin.commands.progress import progress
from origin.config import Config
from origin.errors import ConfigError, OriginError
from origin.eventlog.clock import wall_clock_ms
from origin.eventlog.prune import prune_sqlite
from origin.eventlog.sqlite import path_of
from origin.logs import configure_logging
from shared_state.jsontext import compact

__all__ = ["prune"]


@click.command("prune")
@click.option(
    "--before", required=True, type=click.DateTime(["%Y-%m-%d"]), metavar="DATE",
    help="Matches whose last record is older than this UTC day: 2026-01-31.",
)  # fmt: skip
@click.option("--unfinished", is_flag=True, help="Also matches that never came to an end.")
@click.option("--apply", "apply_", is_flag=True, help="Change the log. Stop all that use it first.")
def prune(before: datetime, unfinished: bool, apply_: bool) -> None:
    """Remove old matches from EVENTLOG_URL for good."""
    now_ms = wall_clock_ms()
    before_ms = int(before.replace(tzinfo=UTC).timestamp() * 1_000)
    if before_ms > now_ms:
        raise click.BadParameter(f"{before:%Y-%m-%d} is in the future", param_hint="--before")
    try:
        config = Config.from_env(os.environ)
        configure_logging(config.log_level, config.log_format)
        if not config.eventlog_url.startswith("sqlite:"):
            raise ConfigError(
                f"EVENTLOG_URL {config.eventlog_url.partition(':')[0]!r}: only a SQLite log is pruned here"
                " (docs/operations.md, How long things are kept)"
            )
        path = path_of(config.eventlog_url)
        with progress("reading old matches") as bar:
            found = prune_sqlite(
                path, before_ms, apply=apply_, now_ms=now_ms, with_unfinished=unfinished, seen=bar.at
            )
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    with output() as out:
        for match in found:
            out.write(compact(dataclasses.asdict(match)).encode("utf-8") + b"\n")
    if not apply_ and any(match.pruned for match in found):
        click.echo("nothing was removed; stop all that use the log, and repeat with --apply", err=True)
