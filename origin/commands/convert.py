"""``touchline convert``: a vendor's file to canonical JSON lines."""

from __future__ import annotations

from functools import partial

import click

from origin.commands.files import BadInput, complaint, output, read_from
from origin.errors import ConfigError, FeedError
from origin.feeds import FORMATS, Converter, open_converter
from origin.feeds.canonical import to_line

__all__ = ["command"]


@click.command("convert")
@click.argument("format_", metavar="FORMAT", type=click.Choice(FORMATS))
@click.argument("file", metavar="FILE")
@click.option("--match", "match_id", metavar="ID", help="Only the match with this id.")
@click.option("--names", metavar="F7", help="The F7 file with the names of players, for opta-f24.")
def command(format_: str, file: str, match_id: str | None, names: str | None) -> None:
    """Turn a vendor's FILE (- is standard input) into canonical JSON lines, one event each.

    Lines are written as they are read: if FILE turns out to be bad half-way, those before stand, and the
    exit code is 2. What FILE says against itself is a warning on standard error.

    FORMAT is one of: canonical, openfootball, opta-f24, sportradar-v4.
    """
    try:
        convert = open_converter(format_)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    if names is not None:
        if format_ != "opta-f24":
            raise click.UsageError("--names is for opta-f24 alone: other formats have the names in them")
        convert = _with_names(names)

    # Warnings of other matches say nothing about the one that was asked for, but only the reader can
    # say which match a line of the file is about: all are shown.
    def warn(doubt: FeedError) -> None:
        click.echo(complaint(file, doubt).replace(": ", ": warning: ", 1), err=True)

    found = False
    with output() as stream:
        for event in read_from(file, lambda source: convert(source, warn)):
            if match_id is None or event.match_id == match_id:
                found = True
                stream.write(to_line(event))
    if match_id is not None and not found:
        raise BadInput(complaint(file, FeedError(f"no match {match_id!r} in it")))


def _with_names(file: str) -> Converter:
    """The converter of opta-f24 with the names of an F7 file."""
    from origin.feeds import opta_f24

    (names,) = read_from(file, lambda source: iter([opta_f24.read_f7(source)]))
    return partial(opta_f24.convert, names=names)
