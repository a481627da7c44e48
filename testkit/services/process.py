"""One child process of the tests: started, waited for, ended, and its output shown when it fails."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import pytest

__all__ = ["ServerProcess", "listening", "require_program", "unavailable"]


def listening(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def unavailable(what: str) -> NoReturn:
    """A service cannot be had: loud everywhere, and with ``CI`` set a failure, never a skip."""
    message = f"{what} cannot be had on this machine; run `make setup`"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    print(f"\n!!! {message}", file=sys.stderr)
    pytest.skip(message)


def require_program(*names: str) -> str:
    """The path of the first of these programs that is installed."""
    for name in names:
        # Debian keeps servers in sbin, which a user's PATH may lack.
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
        if found:
            return found
    unavailable(" or ".join(names))


class ServerProcess:
    """A server as a child process. Output goes to ``log_path`` and is shown when start-up fails."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.argv = list(argv)
        self.log_path = log_path
        with log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def children(self) -> list[int]:
        """The direct children of this child (Linux); none once it has ended."""
        try:
            listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except OSError:
            return []
        return [int(child) for child in listed.split()]

    def wait_until(self, ready: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Wait for ``ready``; fails with the child's output if it ends or takes too long."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self.running:
                self._fail(f"ended with {self._popen.returncode} before it was ready")
            if ready():
                return
            time.sleep(0.02)
        self._fail(f"was not ready after {timeout_s} s")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this child alone."""
        if self.running:
            self._popen.send_signal(number)

    def kill(self) -> None:
        """``kill -9`` for the child and the children of its own session."""
        if self.running:
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait(timeout=10)

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM, then SIGKILL if it does not end in time; returns its exit code."""
        if self.running:
            self._popen.terminate()
            try:
                self._popen.wait(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._popen.wait(timeout=10)

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _fail(self, what: str) -> NoReturn:
        self.stop()
        output = self.log_path.read_text(errors="replace")[-4_000:]
        raise AssertionError(f"{' '.join(self.argv[:4])} … {what}:\n{output}")
