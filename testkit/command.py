"""Runs the ``touchline`` command as a child process, as a shell would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "TOUCHLINE", "Ran", "dlq", "touchline"]

ROOT = Path(__file__).parents[1]
TOUCHLINE = [sys.executable, "-c", "from origin.cli import main; main(prog_name='touchline')"]


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[bytes]:
        return self.out.splitlines()


def touchline(*argv: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Ran:
    """Run it to its end; warnings of Python are errors there too."""
    done = subprocess.run(
        [TOUCHLINE[0], "-W", "error", *TOUCHLINE[1:], *map(str, argv)],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
    )
    return Ran(done.returncode, done.stdout, done.stderr.decode())


def dlq(url: str, *argv: str) -> Ran:
    """``touchline dlq`` on this log."""
    return touchline("dlq", *argv, env={"EVENTLOG_URL": url})
