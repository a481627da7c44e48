"""``touchline dlq``: dead letters, the records of the event log that could not be read.

Each line of ``list`` is one JSON object: its position (which is its id), when and why it became a dead
letter, and its payload as text, or in base64 where it is not UTF-8. ``redrive`` appends a dead letter to the
log again if it can be read by now, say after an upgrade. ``discard`` removes one, for example once the right
event has been sent like any other.
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
    """Dead letters: records in EVENTLOG_URL that could not be read."""


@command.command("list")
def list_() -> None:
    """One line of JSON per dead letter, in the order of the log."""
    with _log() as log, output() as out:
        for letter in log.dead_letters().pending():
            out.write(compact(_to_json(letter)).encode("utf-8") + b"\n")


@command.command("redrive")
@click.argument("ids", nargs=-1)
def redrive(ids: Sequence[str]) -> None:
    """Append dead letters that can be read by now to the log again: those named, or all.

    A dead letter that still cannot be read stays, is reported on stderr, and makes the exit code 1.
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
    """Remove the dead letters named."""
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
    """The event of a dead letter, if it can be read by now.

    Raises:
        ValueError: nothing that belongs in the log.
    """
    if letter.is_document:  # whatever it can be read as
        raise ValueError("a vendor's document; its next good one says it all")
    return decode_event(letter.payload)


def _chosen(log: EventLog, ids: Sequence[str]) -> list[DeadLetter]:
    """The dead letters named, in the order of the log; all if none is named.

    Raises:
        click.UsageError: there is no such dead letter; nothing has been changed.
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
