"""``touchline log heal-dates``: sets dates right that a clock in the future has left in a log.

For SQLite, where the clock was that of an origin, and for PostgreSQL, where it was the server's.

Without ``--apply`` it only prints what it would change, one line of JSON per match: how many records, and
the date that the last of them gets (UTC milliseconds). Before ``--apply``, stop every process that uses the
log; an open file is refused.
"""

from __future__ import annotations

import os
from collections import Counter

import click

from origin.commands.files import output
from origin.commands.progress import Bar, progress
from origin.config import Config
from origin.errors import ConfigError, OriginError
from origin.eventlog.heal import Healing, heal_sqlite
from origin.eventlog.sqlite import path_of
from origin.logs import configure_logging
from shared_state.jsontext import JsonObject, compact

__all__ = ["heal_dates"]


@click.command("heal-dates")
@click.option("--apply", "apply_", is_flag=True, help="Change the log. Stop all that use it first.")
@click.option(
    "--epochs", is_flag=True, help="Also matches that began in the future: their ids change for all viewers."
)
def heal_dates(apply_: bool, epochs: bool) -> None:
    """Set dates of EVENTLOG_URL right that are in the future."""
    try:
        config = Config.from_env(os.environ)
        configure_logging(config.log_level, config.log_format)
        with progress("looking at dates") as bar:
            healing = _heal(config.eventlog_url, bar, apply=apply_, with_epochs=epochs)
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    with output() as out:
        for line in _lines(healing):
            out.write(compact(line).encode("utf-8") + b"\n")
    if not apply_ and healing.dates:
        click.echo("nothing was changed; stop all that use the log, and repeat with --apply", err=True)


def _heal(url: str, bar: Bar, *, apply: bool, with_epochs: bool) -> Healing:
    """As ``heal_sqlite``, for any URL.

    Raises:
        ConfigError: the log cannot be healed, or psycopg is not installed.
        EventLogError: as ``heal_sqlite``.
    """
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        return heal_sqlite(path_of(url), apply=apply, with_epochs=with_epochs, seen=bar.at)
    if scheme not in ("postgres", "postgresql"):
        raise ConfigError(
            f"EVENTLOG_URL {scheme!r}: only a SQLite log and one in PostgreSQL can be healed"
            " (docs/operations.md, Clocks)"
        )
    try:
        from origin.eventlog.heal_postgres import heal_postgres
        from origin.eventlog.postgres_session import PostgresSettings
    except ImportError as error:
        raise ConfigError(f"EVENTLOG_URL {scheme!r} needs a package that is not installed: {error}") from None
    return heal_postgres(PostgresSettings.from_url(url), apply=apply, with_epochs=with_epochs, seen=bar.at)


def _lines(healing: Healing) -> list[JsonObject]:
    counts = Counter(record.match_id for record in healing.dates)
    dates = {record.match_id: record.appended_ms for record in healing.dates}
    lines: list[JsonObject] = [
        {
            "match_id": match_id,
            "records": counts[match_id],
            "dated_ms": dates[match_id],
            "new_epoch": match_id in healing.epochs_changed,
        }
        for match_id in healing.matches
    ]
    lines += [{"match_id": match_id, "records": 0, "left": "epoch"} for match_id in healing.epochs_left]
    return lines
