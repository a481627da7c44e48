"""How the worker commands run: metrics on loopback if asked for, until a signal says to end."""

from __future__ import annotations

import math
import signal
from types import FrameType
from typing import Any, Protocol

import click

from origin.eventlog.clock import MACHINE_CLOCK
from origin.metrics import Metrics

__all__ = ["Seconds", "Worker", "certificates", "run"]

#: The option of commands that ask addresses with TLS.
certificates = click.option(
    "--ca",
    "ca_file",
    default="",
    metavar="FILE",
    help="Certificates that are trusted instead of the system's.",
)


class Seconds(click.FloatRange):
    """A number of seconds within a range; no comparison would find ``nan`` outside of one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As its base does."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return number


class Worker(Protocol):
    """What runs until ``stop`` is called."""

    def run(self) -> None:
        """Work until ``stop``."""

    def stop(self) -> None:
        """Ask ``run`` to return. Called from a signal handler."""


def run(worker: Worker, metrics: Metrics, metrics_port: int | None, metrics_host: str = "127.0.0.1") -> None:
    """Run a worker in this process until SIGTERM or Ctrl-C."""
    metrics.clock_ahead.set_function(MACHINE_CLOCK.ahead_s)
    if metrics_port is not None:
        from prometheus_client import start_http_server

        start_http_server(metrics_port, addr=metrics_host, registry=metrics.registry)

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    worker.run()
