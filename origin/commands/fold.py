"""``touchline fold``: canonical JSON lines to one line per match."""

from __future__ import annotations

from dataclasses import dataclass, field

import click

from origin.commands.files import output, read_from
from origin.feeds.canonical import events_of_lines
from shared_state import Event, Record, resolve
from shared_state.jsontext import compact
from shared_state.match import derive, match_hash, state_json

__all__ = ["Folding", "command"]


@dataclass(slots=True)
class Folding:
    """One match while its events are read.

    It holds what stands of each event and no more, so a file may repeat and correct itself without end.

    Attributes:
        seq: how many events changed the match: the number the fan-out worker would be at.
    """

    seq: int = 0
    records: dict[str, Record] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Fold one event in. Equal to ``shared_state.apply``, without a copy of the match for each event."""
        known = self.records.get(event.event_id)
        record = resolve(known, event)
        if record is not known:
            self.records[event.event_id] = record
            self.seq += 1

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


@click.command("fold")
@click.argument("file", metavar="[FILE]", default="-")
def command(file: str) -> None:
    """Fold canonical JSON lines into one line of JSON per match, in the order the matches first appear.

    FILE may hold several matches; - or nothing is standard input. Nothing is printed before all of it has
    been read, since its last line may correct its first: a bad line anywhere means no output at all.
    """
    matches: dict[str, Folding] = {}
    for event in read_from(file, events_of_lines):
        matches.setdefault(event.match_id, Folding()).take(event)
    with output() as stream:
        for match_id, folding in matches.items():
            stream.write(folding.line(match_id))
