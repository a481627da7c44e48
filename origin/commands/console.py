"""``touchline console``: who may sign in to the operators' console, and whose sessions end now.

It writes the files below ``TOUCHLINE_CONSOLE_DATA_DIR``, which running workers read again: nothing has to be
restarted.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from origin.config import Config
from origin.errors import OriginError

if TYPE_CHECKING:
    from origin.console.accounts import Accounts
    from origin.console.store import Store

__all__ = ["command"]

# 24 characters: more than anybody guesses, and few enough to type once.
_GENERATED_BYTES = 18


@click.group("console")
def command() -> None:
    """Accounts of the operators' console, in the directory of TOUCHLINE_CONSOLE_DATA_DIR."""


@command.command("add-user")
@click.argument("name", metavar="NAME")
@click.option("--generate", is_flag=True, help="Make up a password and print it, instead of asking for one.")
def add_user(name: str, *, generate: bool) -> None:
    """Add the account NAME, or give it another password, which ends its sessions.

    The password is asked for twice in a terminal, else read from the first line of standard input.
    """
    try:
        accounts, _ = _files()
        password = secrets.token_urlsafe(_GENERATED_BYTES) if generate else _asked()
        accounts.add(name, password)
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    if generate:
        click.echo(password)
    click.echo(f"touchline: {name} may sign in", err=True)


@command.command("remove-user")
@click.argument("name", metavar="NAME")
def remove_user(name: str) -> None:
    """Remove the account NAME and end its sessions."""
    try:
        accounts, store = _files()
        accounts.remove(name)
        ended = store.end_all(name)
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"touchline: {name} may no longer sign in; {ended} sessions ended", err=True)


@command.command("revoke")
@click.argument("name", metavar="NAME")
def revoke(name: str) -> None:
    """End all sessions of NAME, however they were begun; the account stays."""
    try:
        _, store = _files()
        ended = store.end_all(name)
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"touchline: {ended} sessions of {name} ended", err=True)


@command.command("list-users")
def list_users() -> None:
    """Print the local accounts, one a line."""
    try:
        accounts, _ = _files()
        for name in accounts.names():
            click.echo(name)
    except OriginError as error:
        raise click.ClickException(str(error)) from None


def _files() -> tuple[Accounts, Store]:
    from origin.console.accounts import Accounts
    from origin.console.config import ACCOUNTS_FILE, STORE_FILE
    from origin.console.store import Store

    Config.from_env(os.environ)  # a misspelt setting must not be another directory
    directory = os.environ.get("TOUCHLINE_CONSOLE_DATA_DIR", "")
    if not directory:
        raise click.UsageError(
            "TOUCHLINE_CONSOLE_DATA_DIR is not set: it names the directory of the console's files"
        )
    path = Path(directory)
    return Accounts(path / ACCOUNTS_FILE), Store(path / STORE_FILE, time.time)


def _asked() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")
