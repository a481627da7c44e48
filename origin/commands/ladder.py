"""``touchline ladder``: show and set the step of the panic ladder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import click

from origin.bus import open_bus
from origin.config import Config
from origin.errors import ConfigError, OriginError
from origin.ladder.steps import STEP_NAMES, LadderError, LadderState, step_of
from origin.ladder.store import FileStore, LadderStore, file_of, store_of

__all__ = ["command"]

_BUSES = click.option(
    "--bus",
    "buses",
    multiple=True,
    metavar="URL",
    help="The bus of a region; again for each region. Default: BUS_URL.",
)


@click.group("ladder")
def command() -> None:
    """How far pages are asked to spare the servers: normal, retry, long-poll, poll, stale."""


@command.command("show")
@_BUSES
def show(buses: tuple[str, ...]) -> None:
    """The step of each region, and why."""

    def read(name: str, store: LadderStore) -> None:
        state = store.read()
        since = ""
        if state.set_ms:
            since = time.strftime(" since %Y-%m-%dT%H:%M:%SZ", time.gmtime(state.set_ms / 1_000))
        reason = f": {state.reason}" if state.reason else ""
        click.echo(f"{name}: {state.name}{since}{reason}")

    _in_each(buses, read)


@command.command("set")
@click.argument("step", type=click.Choice(STEP_NAMES))
@click.option("--reason", default="", metavar="TEXT", help="Why; it is in the logs of all workers.")
@_BUSES
def set_(step: str, reason: str, buses: tuple[str, ...]) -> None:
    """Set the step of each region. All of its workers have it within a second."""
    try:
        state = LadderState(step_of(step), reason, time.time_ns() // 1_000_000)
    except LadderError as error:
        raise click.ClickException(str(error)) from None

    def write(name: str, store: LadderStore) -> None:
        store.write(state)
        click.echo(f"{name}: {step}")

    _in_each(buses, write)


def _in_each(buses: tuple[str, ...], action: Callable[[str, LadderStore], None]) -> None:
    """Do something at the store of each region; one that does not answer keeps no other from it."""
    try:
        config = Config.from_env(os.environ)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    failed = []
    for url in buses or (config.bus_url,):
        name = _shown(url)
        try:
            with _store(url, config.eventlog_url) as store:
                action(name, store)
        except OriginError as error:
            failed.append(name)
            click.echo(f"{name}: {error}", err=True)
    if failed:
        raise click.ClickException(f"not done at {', '.join(failed)}")


@contextmanager
def _store(bus_url: str, eventlog_url: str) -> Iterator[LadderStore]:
    """The store that the origins of a bus read."""
    if bus_url.startswith("memory:"):
        path = file_of(eventlog_url)
        if path is None:
            raise LadderError(
                f"an origin with BUS_URL {bus_url} and EVENTLOG_URL {eventlog_url.partition(':')[0]}:… keeps"
                " its step in its own memory; set it by POST /ladder at its admin port"
            )
        yield FileStore(path)
        return
    bus = open_bus(bus_url)
    try:
        yield store_of(bus, eventlog_url)
    finally:
        bus.close()


def _shown(url: str) -> str:
    """A bus' address without a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
