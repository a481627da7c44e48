"""The vocabulary: one immutable, validated event (docs/protocol.md section 1).

An ``Event`` that exists is a valid one. Construction fills the defaults of ``detail``, so that two
ways to write the same fact compare equal; what it cannot read it refuses by the field's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from shared_state.details import (
    DETAILS,
    EVENT_ID_MAX_CHARS,
    MINUTE_MAX,
    NAME_MAX_CHARS,
    REASON_MAX_CHARS,
    STATUSES,
    TYPE_MAX_CHARS,
    checked_detail,
    integer,
    matching,
    one_of,
    optional,
    text,
)
from shared_state.errors import InvalidEvent
from shared_state.jsontext import Json, JsonObject, canonical, quoted

__all__ = [
    "DETAILS",
    "MATCH_ID_PATTERN",
    "OPS",
    "PERIODS",
    "PERIOD_INDEX",
    "STATUSES",
    "TYPES",
    "TYPES_OF_PLAY",
    "Event",
    "Op",
    "default_period",
]

Op = Literal["ADD", "AMEND", "RETRACT"]

OPS: Final = ("ADD", "AMEND", "RETRACT")
# In the order of play: the index is part of the order of events.
PERIODS: Final = ("PRE", "H1", "HT", "H2", "BREAK_ET", "ET1", "ET_HT", "ET2", "BREAK_PENS", "PENS", "POST")
PERIOD_INDEX: Final[Mapping[str, int]] = {name: index for index, name in enumerate(PERIODS)}
TEAMS: Final = ("home", "away")
CONFIDENCES: Final = ("PROVISIONAL", "CONFIRMED")

MATCH_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def default_period(minute: int | None) -> str:
    """The period a displayed minute falls in when nothing else is said; ``PRE`` without a minute."""
    if minute is None:
        return "PRE"
    for last_minute, period in ((45, "H1"), (90, "H2"), (105, "ET1")):
        if minute <= last_minute:
            return period
    return "ET2"


TYPES: Final = tuple(DETAILS)
# What shows how far play has come. An unknown type is shown as nothing, the minute included; a note may be
# about any moment, also one to come; line-ups and statistics are about the match as a whole, and readers of a
# release that does not know them have the same clock.
TYPES_OF_PLAY: Final = frozenset(TYPES) - {"NOTE", "LINE_UP", "STAT"}
# These are of a side; without one there is nothing to count or to list.
_NEEDS_TEAM: Final = frozenset({"GOAL", "SHOOTOUT_KICK", "LINE_UP"})
# These need no period: they are about the match as a whole.
_WHOLE_MATCH: Final = frozenset({"MATCH_INFO", "LINE_UP", "STAT"})

_check_match_id = matching(MATCH_ID_PATTERN)
_check_event_id = text(EVENT_ID_MAX_CHARS)
_check_rev = integer(1)
_check_op = one_of(OPS)
_check_type = text(TYPE_MAX_CHARS)
_check_period = one_of(PERIODS)
_check_minute = optional(integer(0, MINUTE_MAX))
_check_stoppage = integer(0, MINUTE_MAX)
_check_team = optional(one_of(TEAMS))
_check_player = optional(text(NAME_MAX_CHARS, 0))
_check_confidence = one_of(CONFIDENCES)
_check_reason = optional(text(REASON_MAX_CHARS, 0))
_check_source = optional(text(NAME_MAX_CHARS, 0))
_check_source_ts = optional(integer(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One revision of one thing that happened in a match, as a source reported it.

    A RETRACT is only its identity, revision, reason and time: whatever else came with it is dropped,
    since the event it takes back keeps its own body.

    Two events that differ in ``source`` alone are equal: it is provenance, and no part of the state.

    Attributes:
        type: one of ``TYPES``, or an unknown name, which is kept and shown as nothing; ``""`` in a RETRACT.
        minute, stoppage: as displayed; 45+2 is 45 and 2.
        team: the side credited; an own goal is credited to the other side than the scorer's.
        source_ts: UTC milliseconds, when the source says.

    Raises:
        InvalidEvent: a field breaks the contract; nothing is constructed.
    """

    match_id: str
    event_id: str
    rev: int
    op: Op
    type: str = ""
    period: str = "PRE"
    minute: int | None = None
    stoppage: int = 0
    team: Literal["home", "away"] | None = None
    player: str | None = None
    player2: str | None = None
    detail: JsonObject = field(default_factory=dict)
    status: Literal["PROVISIONAL", "CONFIRMED"] = "CONFIRMED"
    reason: str | None = None
    source: str | None = field(default=None, compare=False)
    source_ts: int | None = None
    # The canonical text of the body, written once: a match of 200 events is hashed at every delta.
    _text: str | None = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_match_id("match_id", self.match_id)
        _check_event_id("event_id", self.event_id)
        _check_rev("rev", self.rev)
        _check_op("op", self.op)
        _check_reason("reason", self.reason)
        _check_source("source", self.source)
        _check_source_ts("source_ts", self.source_ts)
        if self.op == "RETRACT":
            for name, bare in _RETRACT_BARE:
                object.__setattr__(self, name, bare)
            object.__setattr__(self, "detail", {})
            return
        _check_type("type", self.type)
        _check_period("period", self.period)
        _check_minute("minute", self.minute)
        _check_stoppage("stoppage", self.stoppage)
        _check_team("team", self.team)
        _check_player("player", self.player)
        _check_player("player2", self.player2)
        _check_confidence("status", self.status)
        if self.team is None and self.type in _NEEDS_TEAM:
            raise InvalidEvent("team", None, f"must be home or away for {self.type}")
        object.__setattr__(self, "detail", checked_detail(self.type, self.detail))

    @classmethod
    def from_json(cls, value: Json) -> Event:
        """Read a canonical event. Unknown keys are ignored, so that feeds may say more than we know.

        Raises:
            InvalidEvent: not an object, or a field breaks the contract.
        """
        if not isinstance(value, Mapping):
            raise InvalidEvent("event", value, "must be an object")
        for name in ("match_id", "event_id", "rev", "op"):
            if value.get(name) is None:
                raise InvalidEvent(name, None, "is required")
        given = {name: item for name, item in value.items() if item is not None and name in _FIELDS}
        if given["op"] in ("ADD", "AMEND"):
            if "type" not in given:
                raise InvalidEvent("type", None, f"is required for {given['op']}")
            minute = _check_minute("minute", given.get("minute"))
            if "period" not in given:
                if minute is None and given["type"] not in _WHOLE_MATCH:
                    raise InvalidEvent("period", None, "is required where there is no minute")
                given["period"] = default_period(minute)
        return cls(**given)

    def body(self) -> JsonObject:
        """What this revision says, without where it came from: equal bodies are the same fact.

        ``source`` is provenance: two feeds that report one fact agree.
        """
        body: JsonObject = {"event_id": self.event_id, "rev": self.rev, "op": self.op}
        if self.op != "RETRACT":
            body |= {
                "type": self.type,
                "period": self.period,
                "minute": self.minute,
                "stoppage": self.stoppage,
                "team": self.team,
                "player": self.player,
                "player2": self.player2,
                "detail": self.detail,
                "status": self.status,
            }
        return body | {"reason": self.reason, "source_ts": self.source_ts}

    def text(self) -> str:
        """The canonical JSON of the body."""
        text = self._text
        if text is None:
            text = self._written()
            object.__setattr__(self, "_text", text)
        return text

    def _written(self) -> str:
        """``canonical(self.body())``, put together by hand in half the time."""
        last = f'"reason":{_quoted(self.reason)},"rev":{self.rev},"source_ts":{_number(self.source_ts)}'
        event_id = _quoted(self.event_id)
        if self.op == "RETRACT":
            return f'{{"event_id":{event_id},"op":"RETRACT",{last}}}'
        return (
            f'{{"detail":{canonical(self.detail) if self.detail else "{}"},"event_id":{event_id},'
            f'"minute":{_number(self.minute)},"op":"{self.op}","period":"{self.period}",'
            f'"player":{_quoted(self.player)},"player2":{_quoted(self.player2)},{last},'
            f'"status":"{self.status}","stoppage":{self.stoppage},"team":{_quoted(self.team)},'
            f'"type":{_quoted(self.type)}}}'
        )

    def to_json(self) -> JsonObject:
        """The canonical event, every field of the contract present."""
        return {"match_id": self.match_id, **self.body(), "source": self.source}

    def order(self) -> tuple[int, int, int, int, str]:
        """The place among the match's events: by the source's time, period, clock, then id.

        It comes from the event alone, never from its arrival. An event without a time comes before
        all that have one: it cannot overrule a dated status.
        """
        return (
            -1 if self.source_ts is None else self.source_ts,
            PERIOD_INDEX[self.period],
            -1 if self.minute is None else self.minute,
            self.stoppage,
            self.event_id,
        )

    def precedence(self) -> tuple[int, int, str]:
        """Which of two revisions of one ``event_id`` is in force: revision, then time, then body.

        Total over bodies, so that no order of arrival can change the winner.
        """
        return (self.rev, -1 if self.source_ts is None else self.source_ts, self.text())


def _quoted(text: str | None) -> str:
    return "null" if text is None else quoted(text)


def _number(number: int | None) -> str:
    return "null" if number is None else str(number)


_FIELDS: Final = frozenset(name for name, field_ in Event.__dataclass_fields__.items() if field_.init)
_RETRACT_BARE: Final = (
    ("type", ""),
    ("period", "PRE"),
    ("minute", None),
    ("stoppage", 0),
    ("team", None),
    ("player", None),
    ("player2", None),
    ("status", "CONFIRMED"),
)
