"""A fan-out worker that is killed with -9 at one step: ``python -m testkit.faults.doomed_fanout STEP GROUP``.

A kill from outside seldom hits the moment between publish and commit. The worker, the log and the bus are
the product's; only the calls of the step are wrapped.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from origin.bus import open_bus
from origin.eventlog import open_eventlog
from origin.fanout.worker import FanOut

__all__ = ["STEPS", "main"]

STEPS = ("read", "before publish", "after publish", "before commit", "after commit")
# The calls before the fatal one, so that the worker has published and committed before it dies.
SURVIVED = 3


def main(step: str, group: str) -> None:
    """Work until the step has been reached often enough."""
    bus = open_bus(os.environ["BUS_URL"])
    worker = FanOut(open_eventlog(os.environ["EVENTLOG_URL"]), bus, group=group)
    owner: Any = bus if step.endswith("publish") else worker._consumer
    call = step.rpartition(" ")[2]
    name = {"read": "poll", "publish": "refill"}.get(call, call)
    setattr(owner, name, _deadly(getattr(owner, name), before=step.startswith("before")))
    worker.run()


def _deadly(call: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    calls = 0

    def watched(*arguments: Any) -> Any:
        nonlocal calls
        last = calls >= SURVIVED
        if before and last:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = call(*arguments)
        if answer != []:  # a poll that found nothing is no step
            calls += 1
            if last:
                os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return watched


if __name__ == "__main__":
    main(*sys.argv[1:])
