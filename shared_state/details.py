"""What each type of event may say in its ``detail``, and the checks that every field goes through.

A check takes a field's name and its value and gives the value back, or raises ``InvalidEvent``. A key that
may be left out has a default, which is filled in, or is ``ABSENT``, and then stays out. LINE_UP and STAT came
after the first release: all their optional keys are of the second kind, and values are kept as they came. A
reader of a release that does not know the types keeps them so too, and both have the same hash
(docs/decisions.md, 77).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from shared_state.errors import InvalidEvent
from shared_state.jsontext import MAX_INTEGER, Json, JsonObject, canonical, check_plain

__all__ = [
    "ABSENT",
    "DETAILS",
    "EVENT_ID_MAX_CHARS",
    "MINUTE_MAX",
    "NAME_MAX_CHARS",
    "REASON_MAX_CHARS",
    "REQUIRED",
    "STATUSES",
    "TYPE_MAX_CHARS",
    "Check",
    "boolean",
    "checked_detail",
    "integer",
    "matching",
    "one_of",
    "optional",
    "text",
]

Check = Callable[[str, Json], Json]

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
URL_MAX_CHARS: Final = 512
_NOT_IN_URLS: Final = "\"'<>`\\^{|}"
# A team begins with eleven; youth and friendly matches name up to thirty substitutes.
STARTING_MAX: Final = 15
BENCH_MAX: Final = 30
POSITIONS: Final = ("GK", "DF", "MF", "FW")
STAT_MAX: Final = 1_000_000
STAT_KEY: Final = re.compile(r"[a-z0-9_]{1,32}")


def text(max_chars: int, min_chars: int = 1) -> Check:
    """Text of so many characters, which UTF-8 can carry."""

    def check(name: str, value: Json) -> str:
        if not isinstance(value, str) or not min_chars <= len(value) <= max_chars:
            raise InvalidEvent(name, value, f"must be text of {min_chars} to {max_chars} characters")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidEvent(name, value, "must be text that UTF-8 can carry") from None
        return value

    return check


def integer(least: int, most: int = MAX_INTEGER) -> Check:
    """An integer within both bounds."""

    def check(name: str, value: Json) -> int:
        # bool is an int to Python and a mistake here.
        if type(value) is not int or not least <= value <= most:
            raise InvalidEvent(name, value, f"must be an integer from {least} to {most}")
        return value

    return check


def one_of(choices: tuple[str, ...]) -> Check:
    """One of these texts."""

    def check(name: str, value: Json) -> str:
        if not isinstance(value, str) or value not in choices:
            raise InvalidEvent(name, value, f"must be one of {' '.join(choices)}")
        return value

    return check


def boolean(name: str, value: Json) -> bool:
    """True or false, and no number."""
    if type(value) is not bool:
        raise InvalidEvent(name, value, "must be true or false")
    return value


def optional(check: Check) -> Check:
    """The same check, or null."""

    def check_optional(name: str, value: Json) -> Json:
        return None if value is None else check(name, value)

    return check_optional


def matching(pattern: re.Pattern[str]) -> Check:
    """Text that matches as a whole."""

    def check(name: str, value: Json) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise InvalidEvent(name, value, f"must match {pattern.pattern}")
        return value

    return check


def _team_sheet(name: str, value: Json) -> JsonObject:
    if not isinstance(value, Mapping):
        raise InvalidEvent(name, value, "must be an object with name and code")
    sheet: JsonObject = {
        "name": text(NAME_MAX_CHARS)(f"{name}.name", value.get("name")),
        "code": optional(text(16))(f"{name}.code", value.get("code")),
    }
    # Of a later release than the two above: a sheet without them is what it was.
    for key, check in (("crest", _image_url), ("color", _color)):
        if value.get(key) is not None:
            sheet[key] = check(f"{name}.{key}", value[key])
    return sheet


def _image_url(name: str, value: Json) -> str:
    """An address that a page may put into an ``<img>`` as it is: https, and nothing that needs escaping."""
    usable = isinstance(value, str) and len(value) <= URL_MAX_CHARS and value.startswith("https://")
    host = value[8:].partition("/")[0] if usable else ""
    if not host or not all("!" <= letter <= "~" and letter not in _NOT_IN_URLS for letter in value):
        raise InvalidEvent(
            name, value, f"must be https://host/path of at most {URL_MAX_CHARS} printable ASCII characters"
        )
    if "@" in host:
        raise InvalidEvent(name, value, "must not have a user in front of its host")
    return str(value)


def _color(name: str, value: Json) -> str:
    if (
        not isinstance(value, str)
        or len(value) != 7
        or value[0] != "#"
        or not all(digit in "0123456789abcdefABCDEF" for digit in value[1:])
    ):
        raise InvalidEvent(name, value, "must be # and six hexadecimal digits")
    return value


def _list_of(least: int, most: int, check: Check) -> Check:
    def check_list(name: str, value: Json) -> Json:
        if type(value) is not list or not least <= len(value) <= most:
            raise InvalidEvent(name, value, f"must be a list of {least} to {most}")
        for index, item in enumerate(value):
            check(f"{name}.{index}", item)
        return value

    return check_list


def _player(name: str, value: Json) -> Json:
    """One player of a line-up; further keys are kept."""
    if not isinstance(value, Mapping):
        raise InvalidEvent(name, value, "must be an object with name")
    text(NAME_MAX_CHARS)(f"{name}.name", value.get("name"))
    optional(integer(0, MINUTE_MAX))(f"{name}.number", value.get("number"))
    optional(one_of(POSITIONS))(f"{name}.position", value.get("position"))
    optional(boolean)(f"{name}.captain", value.get("captain"))
    return value


REQUIRED: Final = object()
#: The default of a key that stays out if it is left out.
ABSENT: Final = object()

# By type: key -> (check, default); a detail without the key takes the default, if there is one.
DETAILS: Final[Mapping[str, Mapping[str, tuple[Check, object]]]] = {
    "GOAL": {"own_goal": (boolean, False), "penalty": (boolean, False)},
    "PENALTY_MISSED": {},
    "SHOOTOUT_KICK": {"order": (integer(1, MINUTE_MAX), REQUIRED), "scored": (boolean, REQUIRED)},
    "YELLOW_CARD": {},
    "SECOND_YELLOW": {},
    "RED_CARD": {},
    "SUBSTITUTION": {},
    "VAR": {
        "state": (one_of(("OPEN", "CLOSED")), REQUIRED),
        "outcome": (optional(text(REASON_MAX_CHARS)), None),
        "target_event_id": (optional(text(EVENT_ID_MAX_CHARS)), None),
    },
    "STOPPAGE_ANNOUNCED": {"minutes": (integer(0, MINUTE_MAX), REQUIRED)},
    "STATUS_CHANGE": {"to": (one_of(STATUSES), REQUIRED)},
    "SCORE_OVERRIDE": {
        "home": (integer(0, MINUTE_MAX), REQUIRED),
        "away": (integer(0, MINUTE_MAX), REQUIRED),
    },
    "MATCH_INFO": {
        "home": (_team_sheet, REQUIRED),
        "away": (_team_sheet, REQUIRED),
        "competition": (optional(text(NAME_MAX_CHARS)), None),
        "kickoff_ms": (optional(integer(0)), None),
        "venue": (optional(text(NAME_MAX_CHARS)), None),
    },
    "NOTE": {"text": (text(TEXT_MAX_CHARS), REQUIRED)},
    "LINE_UP": {
        "formation": (optional(text(16)), ABSENT),
        "starting": (_list_of(1, STARTING_MAX, _player), REQUIRED),
        "bench": (optional(_list_of(0, BENCH_MAX, _player)), ABSENT),
        "coach": (optional(text(NAME_MAX_CHARS)), ABSENT),
    },
    "STAT": {
        "key": (matching(STAT_KEY), REQUIRED),
        "home": (integer(0, STAT_MAX), REQUIRED),
        "away": (integer(0, STAT_MAX), REQUIRED),
    },
}
# Types whose known keys alone could make a detail larger than one may be.
_LISTS: Final = frozenset({"LINE_UP"})


def checked_detail(type_: str, detail: Json) -> JsonObject:
    """The detail with its defaults filled, in the contract's order; keys it does not name are kept, last.

    One order, so that a reader who filled in a default writes the same snapshot as who was given it.

    Raises:
        InvalidEvent: a key is missing or breaks the contract.
    """
    if not isinstance(detail, Mapping):
        raise InvalidEvent("detail", detail, "must be an object")
    known = DETAILS.get(type_, {})
    checked: JsonObject = {}
    for key, (check, default) in known.items():
        if key in detail:
            checked[key] = check(f"detail.{key}", detail[key])
        elif default is REQUIRED:
            raise InvalidEvent(f"detail.{key}", None, f"is required for {type_}")
        elif default is not ABSENT:
            checked[key] = default
    checked |= {key: value for key, value in detail.items() if key not in known}
    if type_ in _LISTS or any(key not in known for key in detail):
        try:
            check_plain(checked, DETAIL_MAX_DEPTH)
        except ValueError as error:
            raise InvalidEvent("detail", detail, f"must be plain JSON ({error})") from None
        if len(canonical(checked).encode("utf-8")) > DETAIL_MAX_BYTES:
            raise InvalidEvent("detail", detail, f"must be at most {DETAIL_MAX_BYTES} bytes of JSON")
    return checked
