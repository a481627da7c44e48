"""``touchline schedule``: from a list of fixtures, when the stream tier needs how many pods."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from origin.capacity.schedule import Kickoff, cron, windows
from origin.commands.files import complaint
from origin.errors import FeedError
from origin.feeds.canonical import events_of_lines

__all__ = ["command"]

_COLUMNS = ("kickoff", "viewers", "match")


@click.command("schedule")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--viewers", default=100_000, show_default=True, type=click.IntRange(0, 1_000_000_000),
    help="Expected at the same time of a match that has no number of its own.",
)  # fmt: skip
@click.option(
    "--viewers-per-pod", default=9_000, show_default=True, type=click.IntRange(1, 10_000_000),
    help="stream.autoscaling.targetViewers of the chart.",
)  # fmt: skip
@click.option(
    "--pods-max", default=160, show_default=True, type=click.IntRange(1, 100_000),
    help="stream.autoscaling.maxReplicas of the chart; a window that needs more is refused.",
)  # fmt: skip
@click.option(
    "--before", default=45, show_default=True, type=click.IntRange(0, 1440),
    help="Minutes before its beginning in which a match already has its pods.",
)  # fmt: skip
@click.option(
    "--after", default=165, show_default=True, type=click.IntRange(1, 1440),
    help="Minutes after its beginning: extra time and penalties take 150.",
)  # fmt: skip
@click.option(
    "--from", "begin", metavar="TIME",
    help="ISO 8601 with a time zone. Default: now. What is over is left out.",
)  # fmt: skip
@click.option("--days", default=31, show_default=True, type=click.IntRange(1, 300), help="How far ahead.")
def command(
    file: Path,
    viewers: int,
    viewers_per_pod: int,
    pods_max: int,
    before: int,
    after: int,
    begin: str | None,
    days: int,
) -> None:
    """From a list of fixtures, when the stream tier needs how many pods, as values of the Helm chart.

    FILE is CSV with the columns kickoff (ISO 8601 with a time zone), viewers (may be empty) and match, or
    canonical JSON lines, as touchline convert writes them, whose events have kickoff_ms.
    """
    try:
        first = datetime.now(UTC) if begin is None else _moment(begin, "--from")
        text = file.read_text(encoding="utf-8")
        read = _of_events if text.lstrip().startswith("{") else _of_csv
        kickoffs = list(read(text, viewers))
        made = windows(
            kickoffs,
            viewers_per_pod=viewers_per_pod,
            before=timedelta(minutes=before),
            after=timedelta(minutes=after),
            begin=first,
            end=first + timedelta(days=days),
        )
        for window in made:
            if window.pods > pods_max:
                raise ValueError(
                    f"{window.begin.isoformat()}: {window.pods} pods for {', '.join(window.names)}, more than"
                    f" --pods-max {pods_max}"
                )
    except FeedError as error:
        raise click.ClickException(complaint(str(file), error)) from None
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{file}: {error}") from None
    click.echo("stream:\n  autoscaling:\n    scheduleTimezone: UTC")
    if not made:
        click.echo(f"    schedule: []  # {len(kickoffs)} matches, none in these {days} days")
        return
    click.echo("    schedule:")
    for window in made:
        start, end = json.dumps(cron(window.begin)), json.dumps(cron(window.end))
        names = ", ".join("".join(c if c.isprintable() else "?" for c in name) for name in window.names)
        click.echo(f"      - {{start: {start}, end: {end}, replicas: {window.pods}}}  # {names}")


def _moment(text: str, what: str) -> datetime:
    """A time with its zone.

    Raises:
        ValueError: it is none.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{what} {text!r}: no time like 2026-07-19T19:00:00+00:00") from None
    if moment.tzinfo is None:
        raise ValueError(f"{what} {text!r}: has no time zone")
    return moment


def _of_csv(text: str, viewers: int) -> Iterator[Kickoff]:
    rows = csv.DictReader(io.StringIO(text))
    if tuple(rows.fieldnames or ()) != _COLUMNS:
        raise ValueError(f"columns {rows.fieldnames!r}: expected {','.join(_COLUMNS)}")
    for row in rows:
        where = f"line {rows.line_num}:"
        if None in row or None in row.values():
            raise ValueError(f"{where} {len(_COLUMNS)} columns expected")
        said = (row["viewers"] or "").strip()
        if said and not (said.isascii() and said.isdigit()):
            raise ValueError(f"{where} viewers {said!r}: no number")
        yield Kickoff(
            _moment(row["kickoff"], f"{where} kickoff"), int(said) if said else viewers, row["match"].strip()
        )


def _of_events(text: str, viewers: int) -> Iterator[Kickoff]:
    """The latest ``kickoff_ms`` of each match; a later event has a match that was moved."""
    found: dict[str, int] = {}
    for event in events_of_lines(io.BytesIO(text.encode())):
        at_ms = event.detail.get("kickoff_ms")
        if isinstance(at_ms, int) and math.isfinite(at_ms):
            found[event.match_id] = at_ms
    for match_id, at_ms in found.items():
        yield Kickoff(datetime.fromtimestamp(at_ms / 1000, UTC), viewers, match_id)
