"""``touchline dlq``: the dead letters of the event log, which are records that cannot be used.

Each line of ``list`` is one JSON object: the id (partition and offset), when and why the record was
dead-lettered, and its payload as text, or in base64 if it is not UTF-8. ``redrive`` appends dead letters to
the log again that have become readable, for example after an upgrade. To replace a wrong event, send the
right one like any other event and ``discard`` the dead letter.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import click

from origin.commands.files import output
from origin.commands.progress import progress
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
    """Dead letters: records of EVENTLOG_URL that cannot be used."""


@command.command("list")
def list_() -> None:
    """Print one line of JSON per dead letter, by partition and offset."""
    with _log() as log, output() as out:
        for letter in log.dead_letters().pending():
            out.write(compact(_to_json(letter)).encode("utf-8") + b"\n")


@command.command("redrive")
@click.argument("ids", nargs=-1)
def redrive(ids: Sequence[str]) -> None:
    """Append dead letters that can be read by now to the log again: the given ones, or all.

    One that still cannot be read stays, is reported on standard error, and makes the exit code 1.
    """
    failed = 0
    with _log() as log, progress("appending dead letters", prints_meanwhile=True) as bar:
        letters = _chosen(log, ids)
        for count, letter in enumerate(letters):
            bar.at(count, len(letters))
            try:
                event = _event(letter)
            except ValueError as error:
                bar.say(f"{letter.id}: stays: {error}")
                failed += 1
                continue
            # If an earlier run died before the removal, the key keeps this one from appending again. A log
            # that does not know all keys appends it twice; the second changes nothing when it is folded.
            log.append([event], key=f"dlq:{letter.id}")
            log.dead_letters().remove(letter)
            click.echo(f"{letter.id}: appended: {event.match_id} {event.event_id}")
    sys.exit(1 if failed else 0)


@command.command("discard")
@click.argument("ids", nargs=-1, required=True)
def discard(ids: Sequence[str]) -> None:
    """Remove the given dead letters."""
    with _log() as log:
        for letter in _chosen(log, ids):
            log.dead_letters().remove(letter)
            click.echo(f"{letter.id}: discarded")


@contextmanager
def _log() -> Iterator[EventLog]:
    try:
        config = Config.from_env(os.environ)
        configure_logging(config.log_level, config.log_format)
        with closing(open_eventlog(config.eventlog_url)) as log:
            yield log
    except OriginError as error:
        raise click.ClickException(str(error)) from None


def _event(letter: DeadLetter) -> Event:
    """The event that a dead letter can be read as.

    Raises:
        ValueError: it cannot be read, or is a vendor's document, which must not be in the log.
    """
    if letter.is_document:
        raise ValueError("a vendor's document; the vendor's next good document replaces it")
    return decode_event(letter.payload)


def _chosen(log: EventLog, ids: Sequence[str]) -> list[DeadLetter]:
    """The dead letters of these ids, in the order of the log; all if there is no id.

    Raises:
        click.UsageError: an id is unknown; nothing has been done.
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
