"""A progress bar for what takes long: on a terminal, on standard error, and nowhere else.

In a pipe, in a log file and in CI there is none, so no program has to remove it. Where standard output is the
terminal too, a bar is only right for a command that prints nothing until its end: such a command says so.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

__all__ = ["Bar", "progress"]

#: What is done sooner needs no bar, seconds.
AFTER_S: Final = 0.5
_REFRESH_S: Final = 0.1


class Bar:
    """What a command says of its progress. It costs two assignments, so it may be called for each line.

    Attributes:
        done: how much is done, in the unit of ``total``.
        total: how much there is; None while that is not known.
        is_bytes: whether both are bytes.
    """

    __slots__ = ("_print", "done", "is_bytes", "total")

    def __init__(self) -> None:
        self.done = 0
        self.total: int | None = None
        self.is_bytes = False
        self._print = _echo

    def at(self, done: int, total: int | None = None) -> None:
        """Say how much is done, and of how much if that is known."""
        self.done = done
        if total is not None:
            self.total = total

    def say(self, line: str) -> None:
        """Print a line on standard error; above the bar where there is one."""
        self._print(line)


@contextmanager
def progress(what: str, *, prints_meanwhile: bool = False) -> Iterator[Bar]:
    """Show a bar while the block runs, if it runs for longer than half a second.

    Args:
        what: what is being done: ``reading file.jsonl``.
        prints_meanwhile: whether the block writes to standard output; then there is no bar where that is a
            terminal.
    """
    bar = Bar()
    if not _is_terminal(2) or (prints_meanwhile and _is_terminal(1)):
        yield bar
        return
    ended = threading.Event()
    thread = threading.Thread(target=_show, args=(bar, what, ended), daemon=True)
    thread.start()
    try:
        yield bar
    finally:
        # The bar is gone before anything else is printed, also after an error or Ctrl-C.
        ended.set()
        thread.join()


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor) and os.environ.get("TERM") != "dumb"
    except OSError:  # it is closed
        return False


def _echo(line: str) -> None:
    click.echo(line, err=True)


def _show(bar: Bar, what: str, ended: threading.Event) -> None:
    if ended.wait(AFTER_S):
        return
    # Imported here: most commands end before.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )  # fmt: skip
    from rich.text import Text

    console = Console(file=sys.stderr)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn() if bar.is_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as shown:
        task = shown.add_task(what, total=bar.total)
        bar._print = lambda line: console.print(Text(line), soft_wrap=True)
        try:
            while not ended.wait(_REFRESH_S):
                shown.update(task, completed=bar.done, total=bar.total)
        finally:
            bar._print = _echo
