"""The match: one immutable value, folded from the set of its events.

Rules
-----
1. ``derive`` says what a match is, given the records of its events; ``fold`` is ``resolve`` over all
   events, then ``derive``. Nothing in it depends on the order of arrival.
2. ``apply`` is the incremental path, and equals ``fold`` (tested as a property). It moves the counts and
   the index (``records``) by the difference of one record. It never looks at all records, except once to
   make the index of a match that has none yet.
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
from shared_state.events import PERIOD_INDEX, PERIODS, Event
from shared_state.jsontext import JsonObject
from shared_state.records import DECIDING, Index, Records

__all__ = [
    "HASH_CHARS",
    "Clock",
    "Match",
    "Score",
    "apply",
    "derive",
    "fold",
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
    records: Records = field(default_factory=Records)
    goals: Score = NO_SCORE
    kicks_scored: Score = NO_SCORE
    kicks_taken: int = 0
    deciding: Mapping[str, Event] = field(default_factory=dict)
    # Made when it is first asked for, and from then on handed from each match to the next: who only wants
    # the score of a match pays nothing for it. Threads that make it at once make the same.
    _index: Index | None = field(default=None, compare=False, repr=False)
    # A scoreboard asks for them a dozen times.
    _events: list[Event] | None = field(default=None, compare=False, repr=False)

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
        furthest = self.index().furthest()
        if furthest is None or furthest[0] < PERIOD_INDEX[self.period]:
            return Clock(self.period, None, 0)
        return Clock(PERIODS[furthest[0]], furthest[1], furthest[2])

    def index(self) -> Index:
        """What is known about all records at once."""
        index = self._index
        if index is None:
            index = Index.of(self.records.values())
            object.__setattr__(self, "_index", index)
        return index

    def events(self) -> list[Event]:
        """The live events in their own order. The list is the match's own, and must not be changed."""
        events = self._events
        if events is None:
            live = (record.live for record in self.records.values())
            events = sorted((event for event in live if event is not None), key=Event.order)
            object.__setattr__(self, "_events", events)
        return events

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
    records = match.records.with_record(event.event_id, record)
    goals, scored, taken = match.goals, match.kicks_scored, match.kicks_taken
    for counted, count in ((before, -1), (after, +1)):
        if counted is None:
            continue
        if is_scored_goal(counted):
            goals = goals.plus(counted.team, count)
        elif counted.type == "SHOOTOUT_KICK":
            taken += count
            if counted.detail["scored"]:
                scored = scored.plus(counted.team, count)
    deciding = match.deciding
    index = match._index
    if before is not None and deciding.get(before.type) is before:
        # The event that decided is gone or another one now: only the index knows the one that comes next.
        index = match.index().moved(known, record)
        deciding = {type_: latest for type_, latest in deciding.items() if type_ != before.type}
        next_id = index.latest(before.type)
        if next_id is not None and (latest := records[next_id].live) is not None:
            deciding[before.type] = latest
    elif index is not None:
        index = index.moved(known, record)
    if after is not None and after.type in DECIDING:
        incumbent = deciding.get(after.type)
        if incumbent is None or after.order() > incumbent.order():
            deciding = {**deciding, after.type: after}
    return Match(
        match_id=match.match_id,
        records=records,
        goals=goals,
        kicks_scored=scored,
        kicks_taken=taken,
        deciding=deciding,
        _index=index,
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
    """The match that these records make; the mapping is kept, and must not be changed any more."""
    goals = scored = NO_SCORE
    taken = 0
    deciding: dict[str, Event] = {}
    for record in records.values():
        event = record.live
        if event is None:
            continue
        type_ = event.type
        if type_ == "GOAL" and is_scored_goal(event):
            goals = goals.plus(event.team, 1)
        elif type_ == "SHOOTOUT_KICK":
            taken += 1
            if event.detail["scored"]:
                scored = scored.plus(event.team, 1)
        elif type_ in DECIDING:
            incumbent = deciding.get(type_)
            if incumbent is None or event.order() > incumbent.order():
                deciding[type_] = event
    return Match(
        match_id=match_id,
        records=records if isinstance(records, Records) else Records(records),
        goals=goals,
        kicks_scored=scored,
        kicks_taken=taken,
        deciding=deciding,
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


def state_text(match: Match, first_members: str = "") -> str:
    """``canonical(state_json(match))``, put together from the texts that the events keep.

    Args:
        match: the match.
        first_members: members to put before those of the state, as ``"name":value`` with commas between them.
    """
    text = _summary(match)
    retracted = [
        f'{{"event":{event.text()},"retraction":{retraction.text()}}}'
        for event, retraction in match.retracted()
    ]
    # Joined at once, since a long match's text is megabytes and each copy of it costs more than the events.
    members = [
        f'"clock":{text.clock}',
        *_list_member("events", [event.text() for event in match.events()]),
        f'"goals":{text.goals},"match_id":{text.match_id}',
        *_list_member("pending", [event.text() for event in match.pending()]),
        f'"period":{text.period}',
        *_list_member("retracted", retracted),
        f'"score":{text.score},"shootout":{text.shootout},"status":{text.status}}}',
    ]
    members[0] = f"{{{first_members},{members[0]}" if first_members else f"{{{members[0]}"
    return ",".join(members)


def _list_member(name: str, items: list[str]) -> list[str]:
    """``"name":[…]`` cut at its commas."""
    if not items:
        return [f'"{name}":[]']
    items[0] = f'"{name}":[{items[0]}'
    items[-1] += "]"
    return items


def match_hash(match: Match) -> str:
    """16 hex characters over the state (docs/protocol.md section 3).

    It is SHA-256 over the canonical JSON of the state, in which one number stands for all events: the sum
    of the SHA-256 digests of the records, modulo 2**256. A sum has no order, and moves by the difference
    of one record.
    """
    text = _summary(match)
    hashed = (
        f'{{"clock":{text.clock},"goals":{text.goals},"match_id":{text.match_id},"period":{text.period},'
        f'"records":"{match.index().digests:064x}","score":{text.score},"shootout":{text.shootout},'
        f'"status":{text.status}}}'
    )
    return hashlib.sha256(hashed.encode()).hexdigest()[:HASH_CHARS]


class _Summary(NamedTuple):
    """The members of the state that are no lists, each as canonical JSON."""

    clock: str
    goals: str
    match_id: str
    period: str
    score: str
    shootout: str
    status: str


def _summary(match: Match) -> _Summary:
    period, minute, stoppage = match.clock
    shown = "null" if minute is None else minute
    shootout = match.shootout
    # Written by hand, since it is written for every delta: names of periods, statuses and matches are
    # letters, digits, - and _, which JSON does not escape.
    return _Summary(
        clock=f'{{"minute":{shown},"period":"{period}","stoppage":{stoppage}}}',
        goals=_score_text(match.goals),
        match_id=f'"{match.match_id}"',
        period=f'"{match.period}"',
        score=_score_text(match.score),
        shootout="null" if shootout is None else _score_text(shootout),
        status=f'"{match.status}"',
    )


def _score_text(score: Score) -> str:
    return f'{{"away":{score.away},"home":{score.home}}}'


def _resolved(match_id: str, known: ResolvedEvent | None, event: Event) -> ResolvedEvent:
    if event.match_id != match_id:
        raise InvalidEvent("match_id", event.match_id, f"must be {match_id}, the match it is applied to")
    return resolve(known, event)
