"""The match: one immutable value, folded from the set of its events.

Rules
-----
1. ``derive`` says what a match is, given the records of its events; ``fold`` is ``resolve`` over all
   events, then ``derive``. Nothing in it depends on the order of arrival.
2. ``apply`` is the incremental path, and equals ``fold`` (tested as a property). It moves the counts by
   the difference of one record, and looks again at all records only for the few types of which the
   latest decides.
3. An event that changes nothing returns the *same* object: ``apply(m, e) is m`` is how callers know
   that there is no delta to publish.
4. The score is counted from GOAL; the shoot-out is counted apart and never added, also where a feed
   reports its kicks as goals; a SCORE_OVERRIDE changes what is shown and leaves the goals. VAR moves
   nothing by itself. Full time closes nothing.
5. No clock, no randomness, no I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shared_state.corrections import ResolvedEvent, resolve
from shared_state.errors import InvalidEvent
from shared_state.events import PERIOD_INDEX, TYPES_OF_PLAY, Event
from shared_state.jsontext import JsonObject, canonical

__all__ = [
    "Clock",
    "Match",
    "Score",
    "apply",
    "derive",
    "fold",
    "hash_of_state",
    "is_scored_goal",
    "match_hash",
    "state_json",
    "state_text",
]

HASH_CHARS: Final = 16


class Score(NamedTuple):
    """Counted for one side and the other."""

    home: int
    away: int

    def plus(self, team: str | None, count: int) -> Score:
        """The score with ``count`` more for ``team``."""
        if team == "home":
            return Score(self.home + count, self.away)
        return Score(self.home, self.away + count)

    def to_json(self) -> JsonObject:
        """``{"home": …, "away": …}``."""
        return {"home": self.home, "away": self.away}


class Clock(NamedTuple):
    """The furthest moment of any event of play in force; the minute is None when none has one."""

    period: str
    minute: int | None
    stoppage: int


NO_SCORE: Final = Score(0, 0)
# Of these the latest in the order of events decides; everything else is a count or a row.
_DECIDING: Final = ("STATUS_CHANGE", "MATCH_INFO", "SCORE_OVERRIDE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A match as its events so far make it.

    Attributes:
        records: the revisions in force of each ``event_id``.
        goals: counted from GOAL events, whatever an override shows.
        kicks_scored, kicks_taken: of the shoot-out.
        deciding: the latest live event of each deciding type, where there is one.
    """

    match_id: str
    records: Mapping[str, ResolvedEvent] = field(default_factory=dict)
    goals: Score = NO_SCORE
    kicks_scored: Score = NO_SCORE
    kicks_taken: int = 0
    deciding: Mapping[str, Event] = field(default_factory=dict)

    @property
    def score(self) -> Score:
        """The score to show: the goals, unless an official result overrides them."""
        override = self.deciding.get("SCORE_OVERRIDE")
        if override is None:
            return self.goals
        return Score(override.detail["home"], override.detail["away"])

    @property
    def shootout(self) -> Score | None:
        """Kicks scored by each side; None while there is no shoot-out."""
        return self.kicks_scored if self.kicks_taken or self.status == "PENALTIES" else None

    @property
    def status(self) -> str:
        """The match status by the latest STATUS_CHANGE; SCHEDULED before any."""
        change = self.deciding.get("STATUS_CHANGE")
        return "SCHEDULED" if change is None else str(change.detail["to"])

    @property
    def period(self) -> str:
        """The period that the latest STATUS_CHANGE names; PRE before any."""
        change = self.deciding.get("STATUS_CHANGE")
        return "PRE" if change is None else change.period

    @property
    def info(self) -> Event | None:
        """The latest MATCH_INFO."""
        return self.deciding.get("MATCH_INFO")

    @property
    def clock(self) -> Clock:
        """How far the match is known to be: the period, and the furthest minute known of it."""
        period = self.period
        minute: int | None = None
        stoppage = 0
        for record in self.records.values():
            event = record.live
            if event is None or event.minute is None or event.type not in TYPES_OF_PLAY:
                continue
            further = (event.minute, event.stoppage) > (-1 if minute is None else minute, stoppage)
            if PERIOD_INDEX[event.period] > PERIOD_INDEX[period]:
                period, minute, stoppage = event.period, event.minute, event.stoppage
            elif event.period == period and further:
                minute, stoppage = event.minute, event.stoppage
        return Clock(period, minute, stoppage)

    def events(self) -> list[Event]:
        """The live events in their own order."""
        live = (record.live for record in self.records.values())
        return sorted((event for event in live if event is not None), key=Event.order)

    def retracted(self) -> list[tuple[Event, Event]]:
        """Each event that was taken back, with the RETRACT that did it, in the events' order."""
        pairs = [
            (record.body, record.tombstone)
            for record in self.records.values()
            if record.body is not None and record.tombstone is not None
        ]
        return sorted(pairs, key=lambda pair: pair[0].order())

    def pending(self) -> list[Event]:
        """Each RETRACT whose event has not come yet, by ``event_id``."""
        waiting = (record.tombstone for record in self.records.values() if record.body is None)
        return sorted((event for event in waiting if event is not None), key=lambda event: event.event_id)


def apply(match: Match, event: Event) -> Match:
    """The match once ``event`` is known too; the same object if that changes nothing.

    Raises:
        InvalidEvent: the event is of another match; the match is unchanged.
    """
    known = match.records.get(event.event_id)
    record = _resolved(match.match_id, known, event)
    if record is known:
        return match
    before = None if known is None else known.live
    after = record.live
    records = {**match.records, event.event_id: record}
    goals, scored, taken, deciding = match.goals, match.kicks_scored, match.kicks_taken, match.deciding
    for counted, count in ((before, -1), (after, +1)):
        if counted is None:
            continue
        if is_scored_goal(counted):
            goals = goals.plus(counted.team, count)
        elif counted.type == "SHOOTOUT_KICK":
            taken += count
            if counted.detail["scored"]:
                scored = scored.plus(counted.team, count)
        elif counted.type in _DECIDING:
            deciding = _decide(records.values())
    return Match(
        match_id=match.match_id,
        records=records,
        goals=goals,
        kicks_scored=scored,
        kicks_taken=taken,
        deciding=deciding,
    )


def fold(match_id: str, events: Iterable[Event]) -> Match:
    """The match that this set of events makes, in whatever order they come.

    Raises:
        InvalidEvent: an event is of another match.
    """
    records: dict[str, ResolvedEvent] = {}
    for event in events:
        records[event.event_id] = _resolved(match_id, records.get(event.event_id), event)
    return derive(match_id, records)


def derive(match_id: str, records: Mapping[str, ResolvedEvent]) -> Match:
    """The match that these records make."""
    goals = scored = NO_SCORE
    taken = 0
    for record in records.values():
        event = record.live
        if event is None:
            continue
        if is_scored_goal(event):
            goals = goals.plus(event.team, 1)
        elif event.type == "SHOOTOUT_KICK":
            taken += 1
            if event.detail["scored"]:
                scored = scored.plus(event.team, 1)
    return Match(
        match_id=match_id,
        records=records,
        goals=goals,
        kicks_scored=scored,
        kicks_taken=taken,
        deciding=_decide(records.values()),
    )


def is_scored_goal(event: Event) -> bool:
    """Whether a live event adds one to the score: a GOAL in the period PENS is a kick of the shoot-out."""
    return event.type == "GOAL" and event.period != "PENS"


def state_json(match: Match) -> JsonObject:
    """All that a match is, as JSON: equal for equal sets of events, whatever their order."""
    shootout = match.shootout
    clock = match.clock
    return {
        "match_id": match.match_id,
        "status": match.status,
        "period": match.period,
        "clock": {"period": clock.period, "minute": clock.minute, "stoppage": clock.stoppage},
        "score": match.score.to_json(),
        "goals": match.goals.to_json(),
        "shootout": None if shootout is None else shootout.to_json(),
        "events": [event.body() for event in match.events()],
        "retracted": [
            {"event": event.body(), "retraction": retraction.body()}
            for event, retraction in match.retracted()
        ],
        "pending": [event.body() for event in match.pending()],
    }


def state_text(match: Match) -> str:
    """``canonical(state_json(match))``, put together from the texts that the events keep."""
    shootout, clock = match.shootout, match.clock
    members = {
        "clock": canonical({"period": clock.period, "minute": clock.minute, "stoppage": clock.stoppage}),
        "events": _list_text(event.text() for event in match.events()),
        "goals": canonical(match.goals.to_json()),
        "match_id": canonical(match.match_id),
        "pending": _list_text(event.text() for event in match.pending()),
        "period": canonical(match.period),
        "retracted": _list_text(
            f'{{"event":{event.text()},"retraction":{retraction.text()}}}'
            for event, retraction in match.retracted()
        ),
        "score": canonical(match.score.to_json()),
        "shootout": canonical(None if shootout is None else shootout.to_json()),
        "status": canonical(match.status),
    }
    return "{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}"


def _list_text(texts: Iterable[str]) -> str:
    return f"[{','.join(texts)}]"


def match_hash(match: Match) -> str:
    """16 hex characters of SHA-256 over the canonical JSON of the state (docs/protocol.md section 3)."""
    return hash_of_state(state_text(match))


def hash_of_state(text: str) -> str:
    """The hash of what ``state_text`` returned, for callers who need both."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:HASH_CHARS]


def _resolved(match_id: str, known: ResolvedEvent | None, event: Event) -> ResolvedEvent:
    if event.match_id != match_id:
        raise InvalidEvent("match_id", event.match_id, f"must be {match_id}, the match it is applied to")
    return resolve(known, event)


def _decide(records: Iterable[ResolvedEvent]) -> dict[str, Event]:
    deciding: dict[str, Event] = {}
    for record in records:
        event = record.live
        if event is None or event.type not in _DECIDING:
            continue
        incumbent = deciding.get(event.type)
        if incumbent is None or event.order() > incumbent.order():
            deciding[event.type] = event
    return deciding
