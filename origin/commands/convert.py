"""``touchline convert``: a vendor's file to canonical JSON lines."""

from __future__ import annotations

import datetime
import zoneinfo
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from origin.commands.files import BadInput, complaint, output, read_from
from origin.commands.progress import progress
from origin.errors import ConfigError, FeedError
from origin.feeds import FORMATS, open_converter
from origin.feeds.canonical import to_line

if TYPE_CHECKING:
    from origin.feeds.opta_f24 import Names

__all__ = ["command"]


def _zone(context: click.Context, parameter: click.Parameter, text: str | None) -> datetime.tzinfo | None:
    """Read a zone by its name.

    Raises:
        click.BadParameter: there is none of that name.
    """
    if text is None:
        return None
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise click.BadParameter(f"{text!r}: no such time zone", context, parameter) from None


@click.command("convert")
@click.argument("format_", metavar="FORMAT", type=click.Choice(FORMATS))
@click.argument("file", metavar="FILE")
@click.option("--match", "match_id", metavar="ID", help="Only the match with this id.")
@click.option("--names", metavar="F7", help="The F7 file with the names of players, for opta-f24.")
@click.option(
    "--zone", callback=_zone, metavar="ZONE",
    help="Of the times in opta-f24, which carry none: Europe/London.  [default: UTC]",
)  # fmt: skip
def command(
    format_: str, file: str, match_id: str | None, names: str | None, zone: datetime.tzinfo | None
) -> None:
    """Turn a vendor's FILE (- is standard input) into canonical JSON lines, one event each.

    Lines are written as they are read: if FILE turns out to be bad half-way, those before stand, and the
    exit code is 2. What FILE says against itself is a warning on standard error.

    FORMAT is one of: api-football-v3, canonical, espn-scoreboard (unofficial), football-data-v4,
    openfootball, opta-f24, sportradar-v4, stats-perform-ma1.
    """
    try:
        convert = open_converter(format_)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    given: dict[str, Any] = {}
    if zone is not None:
        if format_ != "opta-f24":
            raise click.UsageError("--zone is for opta-f24 alone: other formats have zones in them")
        given["zone"] = zone
    if names is not None:
        if format_ != "opta-f24":
            raise click.UsageError("--names is for opta-f24 alone: other formats have the names in them")
        given["names"] = _names(names)
    if given:
        convert = partial(convert, **given)

    # Warnings of other matches say nothing about the one that was asked for, but only the reader can
    # say which match a line of the file is about: all are shown.
    found = False
    with output() as stream, progress(f"reading {file}", prints_meanwhile=True) as bar:

        def warn(doubt: FeedError) -> None:
            bar.say(complaint(file, doubt).replace(": ", ": warning: ", 1))

        for event in read_from(file, lambda source: convert(source, warn), bar):
            if match_id is None or event.match_id == match_id:
                found = True
                stream.write(to_line(event))
    if match_id is not None and not found:
        raise BadInput(complaint(file, FeedError(f"no match {match_id!r} in it")))


def _names(file: str) -> Names:
    """The names in an F7 file."""
    from origin.feeds import opta_f24

    (names,) = read_from(file, lambda source: iter([opta_f24.read_f7(source)]))
    return names
