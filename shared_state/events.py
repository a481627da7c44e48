"""The vocabulary: one immutable, validated event (docs/protocol.md section 1).

An ``Event`` that exists is a valid one. Construction fills the defaults of ``detail``, so that two
ways to write the same fact compare equal; what it cannot read it refuses by the field's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from shared_state.errors import InvalidEvent
from shared_state.jsontext import MAX_INTEGER, Json, JsonObject, canonical, check_plain, quoted

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
STATUSES: Final = (
    "SCHEDULED",
    "DELAYED",
    "LIVE",
    "HALF_TIME",
    "EXTRA_TIME",
    "PENALTIES",
    "INTERRUPTED",
    "SUSPENDED",
    "FT",
    "AET",
    "FT_PENS",
    "POSTPONED",
    "CANCELLED",
    "ABANDONED",
    "AWARDED",
)
TEAMS: Final = ("home", "away")
CONFIDENCES: Final = ("PROVISIONAL", "CONFIRMED")

MATCH_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
EVENT_ID_MAX_CHARS: Final = 128
NAME_MAX_CHARS: Final = 128
TYPE_MAX_CHARS: Final = 64
REASON_MAX_CHARS: Final = 500
TEXT_MAX_CHARS: Final = 2_000
# Displayed minutes pass 120 in the stoppage of extra time; three digits leave room for any error of
# a feed that is still worth showing.
MINUTE_MAX: Final = 999
# A NOTE of 2,000 characters is the largest known detail; unknown types get the same room.
DETAIL_MAX_BYTES: Final = 8_000
# A snapshot nests a detail four deep, and a reader refuses what is nested deeper than jsontext.MAX_DEPTH:
# an event that no snapshot can carry must not get into the log.
DETAIL_MAX_DEPTH: Final = 8

_Check = Callable[[str, Json], Json]


def default_period(minute: int | None) -> str:
    """The period a displayed minute falls in when nothing else is said; ``PRE`` without a minute."""
    if minute is None:
        return "PRE"
    for last_minute, period in ((45, "H1"), (90, "H2"), (105, "ET1")):
        if minute <= last_minute:
            return period
    return "ET2"


def _text(max_chars: int, min_chars: int = 1) -> _Check:
    def check(name: str, value: Json) -> str:
        if not isinstance(value, str) or not min_chars <= len(value) <= max_chars:
            raise InvalidEvent(name, value, f"must be text of {min_chars} to {max_chars} characters")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidEvent(name, value, "must be text that UTF-8 can carry") from None
        return value

    return check


def _integer(least: int, most: int = MAX_INTEGER) -> _Check:
    def check(name: str, value: Json) -> int:
        # bool is an int to Python and a mistake here.
        if type(value) is not int or not least <= value <= most:
            raise InvalidEvent(name, value, f"must be an integer from {least} to {most}")
        return value

    return check


def _one_of(choices: tuple[str, ...]) -> _Check:
    def check(name: str, value: Json) -> str:
        if not isinstance(value, str) or value not in choices:
            raise InvalidEvent(name, value, f"must be one of {' '.join(choices)}")
        return value

    return check


def _boolean(name: str, value: Json) -> bool:
    if type(value) is not bool:
        raise InvalidEvent(name, value, "must be true or false")
    return value


def _optional(check: _Check) -> _Check:
    def check_optional(name: str, value: Json) -> Json:
        return None if value is None else check(name, value)

    return check_optional


def _matching(pattern: re.Pattern[str]) -> _Check:
    def check(name: str, value: Json) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise InvalidEvent(name, value, f"must match {pattern.pattern}")
        return value

    return check


def _team_sheet(name: str, value: Json) -> JsonObject:
    if not isinstance(value, Mapping):
        raise InvalidEvent(name, value, "must be an object with name and code")
    return {
        "name": _text(NAME_MAX_CHARS)(f"{name}.name", value.get("name")),
        "code": _optional(_text(16))(f"{name}.code", value.get("code")),
    }


_REQUIRED: Final = object()

# By type: key -> (check, default); a detail without the key takes the default, if there is one.
DETAILS: Final[Mapping[str, Mapping[str, tuple[_Check, object]]]] = {
    "GOAL": {"own_goal": (_boolean, False), "penalty": (_boolean, False)},
    "PENALTY_MISSED": {},
    "SHOOTOUT_KICK": {"order": (_integer(1, MINUTE_MAX), _REQUIRED), "scored": (_boolean, _REQUIRED)},
    "YELLOW_CARD": {},
    "SECOND_YELLOW": {},
    "RED_CARD": {},
    "SUBSTITUTION": {},
    "VAR": {
        "state": (_one_of(("OPEN", "CLOSED")), _REQUIRED),
        "outcome": (_optional(_text(REASON_MAX_CHARS)), None),
        "target_event_id": (_optional(_text(EVENT_ID_MAX_CHARS)), None),
    },
    "STOPPAGE_ANNOUNCED": {"minutes": (_integer(0, MINUTE_MAX), _REQUIRED)},
    "STATUS_CHANGE": {"to": (_one_of(STATUSES), _REQUIRED)},
    "SCORE_OVERRIDE": {
        "home": (_integer(0, MINUTE_MAX), _REQUIRED),
        "away": (_integer(0, MINUTE_MAX), _REQUIRED),
    },
    "MATCH_INFO": {
        "home": (_team_sheet, _REQUIRED),
        "away": (_team_sheet, _REQUIRED),
        "competition": (_optional(_text(NAME_MAX_CHARS)), None),
        "kickoff_ms": (_optional(_integer(0)), None),
        "venue": (_optional(_text(NAME_MAX_CHARS)), None),
    },
    "NOTE": {"text": (_text(TEXT_MAX_CHARS), _REQUIRED)},
}
TYPES: Final = tuple(DETAILS)
# What shows how far play has come. An unknown type is shown as nothing, the minute included; a note may be
# about any moment, also one to come.
TYPES_OF_PLAY: Final = frozenset(TYPES) - {"NOTE"}
# These count for a side; without one there is nothing to count.
_NEEDS_TEAM: Final = frozenset({"GOAL", "SHOOTOUT_KICK"})

_check_match_id = _matching(MATCH_ID_PATTERN)
_check_event_id = _text(EVENT_ID_MAX_CHARS)
_check_rev = _integer(1)
_check_op = _one_of(OPS)
_check_type = _text(TYPE_MAX_CHARS)
_check_period = _one_of(PERIODS)
_check_minute = _optional(_integer(0, MINUTE_MAX))
_check_stoppage = _integer(0, MINUTE_MAX)
_check_team = _optional(_one_of(TEAMS))
_check_player = _optional(_text(NAME_MAX_CHARS, 0))
_check_confidence = _one_of(CONFIDENCES)
_check_reason = _optional(_text(REASON_MAX_CHARS, 0))
_check_source = _optional(_text(NAME_MAX_CHARS, 0))
_check_source_ts = _optional(_integer(0))


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
        object.__setattr__(self, "detail", _checked_detail(self.type, self.detail))

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
                if minute is None and given["type"] != "MATCH_INFO":
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


def _checked_detail(type_: str, detail: Json) -> JsonObject:
    """The detail with its defaults filled, in the contract's order; keys it does not name are kept, last.

    One order, so that a reader who filled in a default writes the same snapshot as who was given it.
    """
    if not isinstance(detail, Mapping):
        raise InvalidEvent("detail", detail, "must be an object")
    known = DETAILS.get(type_, {})
    checked: JsonObject = {}
    for key, (check, default) in known.items():
        if key in detail:
            checked[key] = check(f"detail.{key}", detail[key])
        elif default is _REQUIRED:
            raise InvalidEvent(f"detail.{key}", None, f"is required for {type_}")
        else:
            checked[key] = default
    checked |= {key: value for key, value in detail.items() if key not in known}
    if len(checked) > len(known):
        try:
            check_plain(checked, DETAIL_MAX_DEPTH)
        except ValueError as error:
            raise InvalidEvent("detail", detail, f"must be plain JSON ({error})") from None
        if len(canonical(checked).encode("utf-8")) > DETAIL_MAX_BYTES:
            raise InvalidEvent("detail", detail, f"must be at most {DETAIL_MAX_BYTES} bytes of JSON")
    return checked
