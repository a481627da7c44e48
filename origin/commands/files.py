"""How commands read and write: bad input is one line ``file:line: what is wrong`` and exit code 2.

Line 0 is the file itself: it is missing, or cannot be read. A reader of our output that goes away
(``| head``) ends the command without a word.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import click

from origin.commands.progress import Bar
from origin.errors import FeedError

__all__ = ["BadInput", "complaint", "from_secret_file", "output", "read_from"]

STDIN = "-"
Item = TypeVar("Item")


class BadInput(click.ClickException):
    """The input is at fault; nothing else is printed than its one line."""

    exit_code = 2

    def show(self, file: object = None) -> None:
        """Print the line, without click's prefix: the line begins with the file, as compilers do it."""
        del file
        click.echo(self.message, err=True)


def complaint(name: str, error: FeedError) -> str:
    """The one line about a file."""
    where = f"{error.where}: " if error.where else ""
    return _one_line(f"{_shown(name)}:{error.evidence.get('line', 0)}: {where}{error}")


def read_from(
    name: str, read: Callable[[BinaryIO], Iterator[Item]], bar: Bar | None = None
) -> Iterator[Item]:
    """Open a file, or standard input for ``-``, and yield what ``read`` makes of it.

    Args:
        name: of the file.
        read: reads it.
        bar: gets how many bytes were read, of how many.

    Raises:
        BadInput: the file cannot be opened or read, or ``read`` refused it.
    """
    try:
        if name == STDIN:
            # By its number, since Python has no sys.stdin where the shell closed it.
            with os.fdopen(0, "rb", closefd=False) as source:
                yield from _counted(source, read, bar)
        else:
            with Path(name).open("rb") as source:
                yield from _counted(source, read, bar)
    except FeedError as error:
        raise BadInput(complaint(name, error)) from None
    except OSError as error:
        raise BadInput(_one_line(f"{_shown(name)}:0: cannot be read: {error.strerror or error}")) from None
    except ValueError as error:  # a name with a NUL in it
        raise BadInput(_one_line(f"{_shown(name)}:0: cannot be read: {error}")) from None


def _counted(source: BinaryIO, read: Callable[[BinaryIO], Iterator[Item]], bar: Bar | None) -> Iterator[Item]:
    """What ``read`` makes of a file, with a bar about how far the file was read."""
    if bar is None:
        yield from read(source)
        return
    status = os.fstat(source.fileno())
    if not stat.S_ISREG(status.st_mode):
        # Of a pipe nobody knows how long it is: what came out of it is counted.
        for count, item in enumerate(read(source), start=1):
            bar.at(count)
            yield item
        return
    bar.is_bytes = True
    bar.at(0, status.st_size)
    for count, item in enumerate(read(source)):
        if count % 256 == 0:
            # Where the operating system has read to, a buffer ahead of the reader.
            bar.at(os.lseek(source.fileno(), 0, os.SEEK_CUR))
        yield item


def from_secret_file(name: str) -> Callable[[], str | None]:
    """The default of an option whose setting ``name`` may be given as a file, by ``name`` with ``_FILE``.

    The default raises ``click.ClickException`` if the file cannot be read.
    """

    def default() -> str | None:
        # Imported here: most commands that read files need no settings.
        from origin.config import setting_of
        from origin.errors import ConfigError

        try:
            return setting_of(os.environ, name)
        except ConfigError as error:
            raise click.ClickException(str(error)) from None

    return default


@contextmanager
def output() -> Iterator[BinaryIO]:
    """Standard output as bytes, flushed at the end.

    Raises:
        click.ClickException: it cannot be written to, other than because its reader has gone.
    """
    if sys.stdout is None:
        raise click.ClickException("standard output is closed")
    stream = sys.stdout.buffer
    try:
        yield stream
        stream.flush()
    except OSError as error:
        # What is still buffered is tried again when the interpreter ends; let it go nowhere, silently.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            sys.exit(1)
        raise click.ClickException(f"cannot write to standard output: {error.strerror}") from None


def _shown(name: str) -> str:
    return "<stdin>" if name == STDIN else click.format_filename(name)


def _one_line(text: str) -> str:
    """The text with whatever would break the line written as an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
