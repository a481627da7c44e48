"""``touchline log``: what is in the event log, and how to set it right."""

from __future__ import annotations

import click

from origin.commands.heal_dates import heal_dates

__all__ = ["command"]


@click.group("log")
def command() -> None:
    """The records of EVENTLOG_URL."""


command.add_command(heal_dates)
