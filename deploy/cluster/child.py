"""One child process: started with a log of its own, ended by its own process id."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["Child", "ClusterError", "program"]


class ClusterError(Exception):
    """The cluster cannot be had; the message is for whoever typed the command."""


def program(name: str, package: str) -> str:
    """The path of a program.

    Raises:
        ClusterError: it is not installed.
    """
    # Debian keeps servers in sbin, which a user's PATH may lack.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        raise ClusterError(f"{name} is not installed (Debian: apt install {package}, or make test)")
    return found


class Child:
    """A program that runs until it is ended.

    Args:
        name: what it is called in messages, and its log.
        argv: the command line.
        directory: where its log is written.
        env: the whole environment; the parent's by default.
    """

    def __init__(
        self, name: str, argv: Sequence[str], directory: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log_path = directory / f"{name}.log"
        self._argv = list(argv)
        self._env = env
        self._popen = self._begin()

    @property
    def pid(self) -> int:
        """The process id of the present or last run."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def start(self) -> None:
        """Start it again, after ``kill``."""
        self._popen = self._begin()

    def _begin(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                # A session of its own: Ctrl-C in the terminal reaches the launcher alone, which ends the
                # tiers in their order.
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], deadline: float) -> None:
        """Wait for ``ready``, until a time of the monotonic clock.

        Raises:
            ClusterError: it ended, or the time came; with the end of its log.
        """
        while not ready():
            if not self.running:
                raise ClusterError(f"{self.name} ended before it was ready:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ClusterError(f"{self.name} was not ready in time:\n{self.log_tail()}")
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        if self.running:
            self._popen.send_signal(number)

    def kill(self) -> None:
        """``kill -9``, with the processes it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def end(self, deadline: float) -> None:
        """Wait for the end that was asked for by a signal; ``kill`` when its time has come."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(max(0.0, deadline - time.monotonic()))
        self.kill()  # also what a supervisor left behind

    def log_tail(self) -> str:
        """The end of what it wrote."""
        try:
            return self.log_path.read_text("utf-8", errors="replace")[-2_000:].strip()
        except OSError:
            return ""
