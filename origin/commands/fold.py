"""``touchline fold``: canonical JSON lines to one line per match."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

import click

from origin.commands.files import complaint, output, read_from
from origin.commands.progress import progress
from origin.errors import FeedError
from origin.feeds.canonical import events_of_lines
from shared_state import Event, ResolvedEvent, is_conflict, resolve
from shared_state.jsontext import compact
from shared_state.match import derive, match_hash, state_json

__all__ = ["Folding", "command"]


@dataclass(slots=True)
class Folding:
    """One match while its events are read.

    It keeps the revisions in force of each event and no more, so a file may repeat and correct itself
    without end.

    Attributes:
        seq: how many events changed the match: the number the fan-out worker would be at.
    """

    seq: int = 0
    records: dict[str, ResolvedEvent] = field(default_factory=dict)

    def take(self, event: Event) -> bool:
        """Fold one event in. Equal to ``shared_state.apply``, without a copy of the match for each event.

        Returns:
            Whether it reuses a revision for another body.
        """
        known = self.records.get(event.event_id)
        record = resolve(known, event)
        if record is not known:
            self.records[event.event_id] = record
            self.seq += 1
        return is_conflict(known, event)

    def line(self, match_id: str) -> bytes:
        """The match as docs/protocol.md section 5 prints it."""
        match = derive(match_id, self.records)
        state = state_json(match)
        shown = {
            "match_id": match_id,
            "seq": self.seq,
            **{key: state[key] for key in ("status", "period", "score", "shootout", "events")},
            "hash": match_hash(match),
        }
        return compact(shown).encode("utf-8") + b"\n"


class _Lines:
    """Counts the lines that are taken from a source."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.count = 0

    def readline(self, limit: int = -1) -> bytes:
        line = self._source.readline(limit)
        self.count += bool(line)
        return line

    def read(self, limit: int = -1) -> bytes:
        """What follows the lines that were taken: for the error about a file that is not text in lines."""
        return self._source.read(limit)


def _numbered(source: BinaryIO) -> Iterator[tuple[int, Event]]:
    """The events with their lines. A reader takes one line at a time: the last one taken is the event's."""
    lines = _Lines(source)
    for event in events_of_lines(cast("BinaryIO", lines)):
        yield lines.count, event


@click.command("fold")
@click.argument("file", metavar="[FILE]", default="-")
def command(file: str) -> None:
    """Fold canonical JSON lines into one line of JSON per match, in the order the matches first appear.

    FILE may have several matches; - or nothing is standard input. Nothing is printed before all of it has
    been read, since its last line may correct its first: a bad line anywhere means no output at all.
    A revision that is used for two different bodies is a warning on standard error.
    """
    matches: dict[str, Folding] = {}
    with progress(f"reading {file}") as bar:
        for line, event in read_from(file, _numbered, bar):
            if matches.setdefault(event.match_id, Folding()).take(event):
                doubt = (
                    f"warning: match {event.match_id}: event {event.event_id} reuses revision {event.rev} for"
                    " another body; the later source_ts, then the greater JSON, stands"
                )
                bar.say(complaint(file, FeedError(doubt, line=line)))
    with output() as stream:
        for match_id, folding in matches.items():
            stream.write(folding.line(match_id))
