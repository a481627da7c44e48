"""The ``touchline`` command. One file per subcommand in ``origin.commands``, imported when it is used."""

from __future__ import annotations

from importlib import import_module

import click

from origin.logs import configure_logging

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "backup": "Copy a SQLite log to a file, while it is in use.",
    "capacity": "The plan for N viewers, from figures measured on this machine.",
    "console": "Accounts of the operators' console: add, remove, revoke.",
    "convert": "A vendor's file to canonical JSON lines.",
    "deletion-cost": "Tells Kubernetes which pod of the stream tier has the fewest viewers.",
    "demo": "Everything in one go on this machine: origin, a real match, the widget.",
    "dlq": "Dead letters, records of the event log that could not be read: list, redrive, discard.",
    "doctor": "What is wrong with a set-up, seen from outside, and what to change.",
    "fanout": "The worker between the event log and a region's bus.",
    "fold": "Canonical JSON lines to one line per match.",
    "ingest": "A vendor's feed into the event log.",
    "ladder": "The step of the panic ladder: show it, set it.",
    "log": "What the event log has of a match and which key brought it; dates that a wrong clock has left.",
    "notify": "Signed webhooks to publishers: goals, corrections, changes of status.",
    "push": "Goals as Web Push, to browsers that have asked for them; the key for that.",
    "replay": "Post a canonical file to a running origin, in real or scaled time.",
    "restore": "Make a SQLite log from a backup.",
    "schedule": "From a list of fixtures, when the stream tier needs how many pods.",
    "serve": "The origin under gunicorn.",
    "simulate-vendor": "A vendor on loopback that plays a real match and edits what it said.",
    "status": "Tiers, lag and viewers of running processes, live.",
}


class _LazyGroup(click.Group):
    """A group that imports a subcommand only when it is asked for: ``fold`` must not pay for Flask."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"origin.commands.{cmd_name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup)
@click.version_option(package_name="touchline")
def main() -> None:
    """Live sports scores that reach millions of fans within a second of the whistle."""
    configure_logging()
