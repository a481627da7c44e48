"""The start of a child process that a signal must not make nobody's."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

__all__ = ["start"]

#: How much later a signal is delivered that came during a start, seconds.
AGAIN_S = 0.2


def start(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a child; SIGINT and SIGTERM that come meanwhile are delivered once the caller has it.

    An exception from within ``subprocess.Popen`` (Ctrl-C is one) would leave a child that runs and that
    nobody knows. Only the main thread is interrupted by signals, so elsewhere nothing is put off.

    Args:
        argv: the command line.
        options: as ``subprocess.Popen`` takes them.

    Raises:
        OSError: it cannot be started.
    """
    if threading.current_thread() is not threading.main_thread():
        return subprocess.Popen(list(argv), **options)  # noqa: S603
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    # Ignored signals stay so; a handler that Python did not set cannot be put back.
    before = {number: signal.getsignal(number) for number in numbers}
    before = {n: handler for n, handler in before.items() if handler not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, note)
    try:
        child = subprocess.Popen(list(argv), **options)  # noqa: S603
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        # Not from here, where the caller does not have the child yet: a moment later, to the main thread.
        threading.Timer(AGAIN_S, signal.pthread_kill, [threading.get_ident(), came[0]]).start()
    return child
