"""``touchline backup`` and what it shares with ``touchline restore``: copies of a SQLite log."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from origin.commands.progress import Bar, progress
from origin.config import Config
from origin.errors import ConfigError, OriginError
from origin.eventlog.sqlite import path_of
from origin.eventlog.sqlite_backup import back_up
from origin.logs import configure_logging

__all__ = ["command", "run_copy"]


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def command(file: Path) -> None:
    """Copy the SQLite log of EVENTLOG_URL to FILE, while it is in use. FILE must not exist."""
    count = run_copy(f"copying to {file}", lambda path, bar: back_up(path, file, bar.at))
    click.echo(f"{file}: {count} records")


def run_copy(what: str, copy: Callable[[Path, Bar], int]) -> int:
    """Call ``copy`` with the file of EVENTLOG_URL and a bar named ``what``; returns what it returns.

    Raises:
        click.ClickException: it failed, or the log is no file.
    """
    try:
        config = Config.from_env(os.environ)
        configure_logging(config.log_level, config.log_format)
        if not config.eventlog_url.startswith("sqlite:"):
            scheme = config.eventlog_url.partition(":")[0]
            raise ConfigError(f"EVENTLOG_URL {scheme!r}: only a SQLite log is a file")
        with progress(what) as bar:
            return copy(path_of(config.eventlog_url), bar)
    except OriginError as error:
        raise click.ClickException(str(error)) from None
