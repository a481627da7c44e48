"""A child whose start is interrupted is ended by whoever started it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The signal comes while ``Popen`` is at work, when the child runs already.
SCRIPT = """
import signal, subprocess, sys, time
from origin.child_process import start

signal.signal(signal.SIGTERM, signal.default_int_handler)
made = subprocess.Popen.__init__

def interrupted(self, *args, **options):
    made(self, *args, **options)
    signal.raise_signal({number})

subprocess.Popen.__init__ = interrupted
try:
    with start(["sleep", "60"]) as child:
        print(child.pid, flush=True)
        try:
            time.sleep(30)
        finally:
            child.terminate()
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_amid_a_start_is_delivered_once_the_child_is_known(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("{number}", str(int(number)))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    pid, said = done.stdout.split()
    assert said == "interrupted"
    assert not Path(f"/proc/{pid}").exists()
