"""``touchline log``: what the event log has of a match, who brought it, and how to set its dates right.

Each line of ``show`` is one JSON object: where the record is (``partition``, ``offset``), when the log took
it (``appended_ms``, and ``time`` in UTC), the ``key`` that signed it and the ``webhook_id`` it came in, and
the ``event``. ``key`` and ``webhook_id`` are null for records that did not come by a webhook (a vendor's
feed, a dead letter that was redriven) and for those of versions that did not keep them.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from datetime import UTC, datetime

import click

from origin.commands.files import output
from origin.commands.heal_dates import heal_dates
from origin.commands.log_prune import prune
from origin.config import Config
from origin.errors import OriginError
from origin.eventlog import LogRecord, open_eventlog
from origin.eventlog.codec import names_of
from origin.logs import configure_logging
from shared_state.events import MATCH_ID_PATTERN
from shared_state.jsontext import JsonObject, compact

__all__ = ["command"]


@click.group("log")
def command() -> None:
    """The event log of EVENTLOG_URL."""


command.add_command(heal_dates)
command.add_command(prune)


@command.command("show")
@click.argument("match", metavar="MATCH")
def show(match: str) -> None:
    """Print one line of JSON per record of MATCH, oldest first; the exit code is 1 if there is none."""
    if not MATCH_ID_PATTERN.fullmatch(match):
        raise click.BadParameter(f"{match!r}: must be 1 to 64 of A-Z a-z 0-9 _ -", param_hint="MATCH")
    found = False
    try:
        config = Config.from_env(os.environ)
        configure_logging(config.log_level, config.log_format)
        with closing(open_eventlog(config.eventlog_url)) as log, output() as out:
            for record in log.read_match(match):
                out.write(compact(_to_json(record)).encode("utf-8") + b"\n")
                found = True
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    if not found:
        click.echo(f"touchline: the log has no record of match {match}", err=True)
        sys.exit(1)


def _to_json(record: LogRecord) -> JsonObject:
    seconds, millis = divmod(record.appended_ms, 1_000)
    try:
        time = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"
    except (ValueError, OverflowError, OSError):  # a log's clock can have been anywhere
        time = None
    key_name, webhook_id = names_of(record.signed_by)
    return {
        "partition": record.partition,
        "offset": record.offset,
        "appended_ms": record.appended_ms,
        "time": time,
        "key": key_name,
        "webhook_id": webhook_id,
        **({} if record.traceparent is None else {"traceparent": record.traceparent}),
        "event": record.event.to_json(),
    }
