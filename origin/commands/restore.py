"""``touchline restore``: a SQLite log from a backup."""

from __future__ import annotations

from pathlib import Path

import click

from origin.commands.backup import run_copy
from origin.eventlog.sqlite_backup import restore

__all__ = ["command"]


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def command(file: Path) -> None:
    """Make the SQLite log of EVENTLOG_URL from FILE, a backup. No log may be there."""
    count = run_copy(f"restoring {file}", lambda path, bar: restore(file, path, bar.at))
    click.echo(f"{count} records restored from {file}")
