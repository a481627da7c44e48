"""The corpus of the core's benchmarks: every match of the World Cups of 2014 and 2018, as deltas.

What a live feed adds and these files do not have is put in: the log begins an hour before kick-off, and
takes each event some seconds after its minute, so that the times in a delta have a real number of digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from origin.feeds import open_converter
from shared_state import Delta, Event, Replica

__all__ = ["EPOCH", "FILES", "matches", "published"]

DATA = Path(__file__).parent.parent / "tests" / "data" / "openfootball"
FILES = (DATA / "worldcup-2014-full.json", DATA / "worldcup-2018-full.json")
EPOCH = 1_531_663_200_000
KICKOFF_MS = 3_600_000
MINUTE_MS = 60_000
HALF_TIME_MIN = 18  # a quarter of an hour, and what was added to the half
ACCEPTED_AFTER_MS = 4_321  # how long a feed is behind its own clock


def matches() -> Iterator[list[Event]]:
    """Each match as the canonical events that ``touchline convert openfootball`` makes of it."""
    for path in FILES:
        with path.open("rb") as source:
            match: list[Event] = []
            for event in open_converter("openfootball")(source, lambda _: None):
                if match and event.match_id != match[0].match_id:
                    yield match
                    match = []
                match.append(event)
            yield match


def published(events: list[Event], *, dated: bool) -> list[Delta]:
    """The deltas of one match; ``dated`` adds the ``source_ts`` that feeds of today send."""
    origin = Replica.begin(events[0].match_id, EPOCH)
    deltas = []
    now_ms = 0
    for event in events:
        if event.minute is not None:
            pause = HALF_TIME_MIN if event.period not in ("PRE", "H1") else 0
            now_ms = KICKOFF_MS + (event.minute + event.stoppage + pause) * MINUTE_MS
        elif event.period != "PRE":
            now_ms += MINUTE_MS
        published = replace(event, source_ts=EPOCH + now_ms) if dated else event
        delta = origin.assign(published, EPOCH + now_ms + ACCEPTED_AFTER_MS)
        if delta is not None:
            deltas.append(delta)
    return deltas
