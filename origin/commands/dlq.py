"""``touchline dlq``: the records that the event log set aside because nobody could use them.

Each line of ``list`` is one JSON object: its place (which is its id), when and why it was set aside, and
its payload as text, or in base64 where it is not UTF-8. A letter that can be read by now, say after an
upgrade, is appended to the log again by ``redrive``; the right event in place of a wrong one is sent like
any other, and the letter ``discard``ed.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import click

from origin.commands.files import output
from origin.config import Config
from origin.errors import OriginError
from origin.eventlog import EventLog, open_eventlog
from origin.eventlog.codec import decode_event
from origin.eventlog.deadletter import DeadLetter
from origin.logs import configure_logging
from shared_state import Event
from shared_state.jsontext import JsonObject, compact

__all__ = ["command"]


@click.group("dlq")
def command() -> None:
    """Records that EVENTLOG_URL holds and nobody can use."""


@command.command("list")
def list_() -> None:
    """One line of JSON per letter, by place in the log."""
    with _log() as log, output() as out:
        for letter in log.dead_letters().pending():
            out.write(compact(_to_json(letter)).encode("utf-8") + b"\n")


@command.command("redrive")
@click.argument("ids", nargs=-1)
def redrive(ids: Sequence[str]) -> None:
    """Append letters that can be read by now to the log again: those named, or all.

    What still cannot be read stays where it is, is told on standard error, and makes the exit code 1.
    """
    failed = 0
    with _log() as log:
        for letter in _chosen(log, ids):
            try:
                event = _event(letter)
            except ValueError as error:
                click.echo(f"{letter.id}: stays: {error}", err=True)
                failed += 1
                continue
            # The key keeps a command that died before the removal from appending a second time where
            # the log knows all keys; where it does not, the fold takes the second for what it is.
            log.append([event], key=f"dlq:{letter.id}")
            log.dead_letters().remove(letter)
            click.echo(f"{letter.id}: appended: {event.match_id} {event.event_id}")
    sys.exit(1 if failed else 0)


@command.command("discard")
@click.argument("ids", nargs=-1, required=True)
def discard(ids: Sequence[str]) -> None:
    """Forget the letters named."""
    with _log() as log:
        for letter in _chosen(log, ids):
            log.dead_letters().remove(letter)
            click.echo(f"{letter.id}: discarded")


@contextmanager
def _log() -> Iterator[EventLog]:
    try:
        config = Config.from_env(os.environ)
        configure_logging(config.log_level)
        with closing(open_eventlog(config.eventlog_url)) as log:
            yield log
    except OriginError as error:
        raise click.ClickException(str(error)) from None


def _event(letter: DeadLetter) -> Event:
    """What a letter says by now.

    Raises:
        ValueError: nothing that belongs in the log.
    """
    if letter.is_document:  # whatever it can be read as
        raise ValueError("a vendor's document; its next good one says it all")
    return decode_event(letter.payload)


def _chosen(log: EventLog, ids: Sequence[str]) -> list[DeadLetter]:
    """The letters named, in their order in the log; all if none is.

    Raises:
        click.UsageError: there is no such letter; nothing has been done.
    """
    letters = log.dead_letters().pending()
    unknown = set(ids) - {letter.id for letter in letters}
    if unknown:
        raise click.UsageError(f"no such letter: {' '.join(sorted(unknown))}")
    return [letter for letter in letters if not ids or letter.id in ids]


def _to_json(letter: DeadLetter) -> JsonObject:
    shown: JsonObject = {"id": letter.id, "at_ms": letter.at_ms, "reason": letter.reason}
    try:
        return shown | {"payload": letter.payload.decode("utf-8")}
    except UnicodeDecodeError:
        return shown | {"payload_base64": base64.b64encode(letter.payload).decode("ascii")}
