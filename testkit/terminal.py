"""Runs the ``touchline`` command in a terminal of its own (a pty), as a person does."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from testkit.command import ROOT, TOUCHLINE

__all__ = ["run_in_terminal"]


def run_in_terminal(
    *argv: str | Path,
    env: Mapping[str, str] | None = None,
    until: bytes = b"",
    then: Callable[[], object] | None = None,
    stdout: int | None = None,
) -> bytes:
    """Run it, and return what the terminal got.

    Args:
        argv: after ``touchline``.
        env: further variables.
        until: once the terminal got this, ``then`` is called; empty: the command is let run to its end.
        then: None: the command gets Ctrl-C.
        stdout: a descriptor for standard output; None: the terminal, as standard error always is.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*TOUCHLINE, *map(str, argv)],
        stdin=theirs,
        stdout=theirs if stdout is None else stdout,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120", **(env or {})},
        start_new_session=True,
    )
    os.close(theirs)
    got, deadline_s, called = b"", time.monotonic() + 60, False
    with contextlib.closing(os.fdopen(ours, "rb", buffering=0)) as terminal:
        while time.monotonic() < deadline_s:
            if not select.select([terminal], [], [], 0.2)[0]:
                if process.poll() is not None:
                    break
                continue
            try:
                piece = terminal.read(65_536)
            except OSError:  # EIO: nobody has the other end any more
                break
            if not piece:
                break
            got += piece
            if until and until in got and not called:
                if then is None:
                    process.send_signal(signal.SIGINT)
                else:
                    then()
                called = True
        if process.poll() is None and time.monotonic() >= deadline_s:
            process.kill()
    process.wait(timeout=10)
    return got
