"""The identity of a match for feeds that give it none, and the moment of its kick-off.

``2018-07-15-france-croatia``: date, home, away, by the codes where the feed has them. Date and teams
say which match it is to anybody; a round's name does not, since teams can meet twice in one round.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from origin.feeds.jsondoc import Node

__all__ = [
    "MATCH_ID_MAX_CHARS",
    "day_comes_first",
    "is_ambiguous_date",
    "kickoff_ms",
    "match_id",
    "read_date",
    "slug",
]

# 64 characters of a match_id, less the date and two dashes, for two teams.
SLUG_MAX_CHARS: Final = 26
MATCH_ID_MAX_CHARS: Final = 64
MONTHS: Final = 12
DIGEST_CHARS: Final = 8
# The farthest there is, UTC+14, is in Kiribati; the farthest west is UTC-12.
ZONE_MAX: Final = datetime.timedelta(hours=14)

_DATE_FORMATS: Final = ("%Y-%m-%d", "%Y %b %d", "%Y %B %d")
_TIME_PATTERN: Final = re.compile(r"([0-9]{1,2})[:.]([0-9]{2})(?::[0-9]{2})?(?:\s*([^\s0-9:.].*))?", re.ASCII)
_ZONE_PATTERN: Final = re.compile(r"(?:UTC|GMT)?(?:([+-])([0-9]{1,2})(?::?([0-9]{2}))?)?", re.ASCII)
# Names of zones that mean one thing in football's files, in hours; others are names of several zones.
_NAMED_ZONES: Final = {
    "Z": "+0", "WET": "+0", "WEST": "+1", "CET": "+1", "CEST": "+2", "EET": "+2", "EEST": "+3", "MSK": "+3",
}  # fmt: skip
# How people write a plus or minus that is none: both at once, for zero, or with typography.
_SIGNS: Final = str.maketrans({"±": "+", "−": "-", "–": "-"})
_DAY_MONTH_PATTERN: Final = re.compile(r"([0-9]{1,2})[-./]([0-9]{1,2})[-./]([0-9]{4})", re.ASCII)


def match_id(date: datetime.date, home: Mapping[str, str | None], away: Mapping[str, str | None]) -> str:
    """The id of the match of two teams, ``{name, code}`` each, on a date."""
    return f"{date.isoformat()}-{_team_slug(home)}-{_team_slug(away)}"


def slug(text: str) -> str:
    """A name in the letters of a match_id; short, and different for different names.

    What the letters cannot distinguish (a name in another script, or one too long) gets a digest.
    """
    # Letters that have no decomposition, and would be lost with the accents.
    plain = text.casefold().translate(_NO_DECOMPOSITION)
    decomposed = unicodedata.normalize("NFKD", plain)
    kept = "".join(char for char in decomposed if not unicodedata.combining(char))
    words = re.findall(r"[a-z0-9]+", kept)
    result = "-".join(words)
    lost = any(char.isalnum() and not char.isascii() for char in kept)
    if not result or lost or len(result) > SLUG_MAX_CHARS:
        digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:DIGEST_CHARS]
        result = f"{result[: SLUG_MAX_CHARS - DIGEST_CHARS - 1].strip('-')}-{digest}".strip("-")
    return result


_NO_DECOMPOSITION: Final = str.maketrans(
    {"ø": "o", "đ": "d", "ł": "l", "æ": "ae", "œ": "oe", "ı": "i", "ð": "d", "þ": "th"}
)


def _team_slug(team: Mapping[str, str | None]) -> str:
    return slug(team.get("code") or team["name"] or "")


def day_comes_first(dates: Iterable[object]) -> bool | None:
    """In which order the dates of a file have day and month, where they are numbers before the year.

    Returns:
        True for ``25-3-2018``, False for ``3-25-2018``; None where no date says, or two contradict.
    """
    orders = set()
    for date in dates:
        found = _DAY_MONTH_PATTERN.fullmatch(date.strip()) if isinstance(date, str) else None
        if found is not None and max(int(found[1]), int(found[2])) > MONTHS:
            orders.add(int(found[1]) > MONTHS)
    return orders.pop() if len(orders) == 1 else None


def is_ambiguous_date(node: Node, day_first: bool | None) -> bool:
    """Whether a date such as ``8-3-2018`` is one of two days, and nothing in its file says which."""
    found = _DAY_MONTH_PATTERN.fullmatch(node.value.strip()) if isinstance(node.value, str) else None
    return found is not None and day_first is None and found[1] != found[2]


def read_date(node: Node, day_first: bool | None = None) -> datetime.date:
    """A date as ``2018-06-14`` or ``2018 Jun 14``, or ``14-6-2018`` where the order is known.

    Args:
        node: the date.
        day_first: of the numbers before the year; None where nobody knows.

    Raises:
        FeedError: it is none of these.
    """
    text = node.text()
    found = _DAY_MONTH_PATTERN.fullmatch(text)
    if found is not None and (day_first is not None or found[1] == found[2]):
        day, month = (found[1], found[2]) if day_first else (found[2], found[1])
        text = f"{found[3]}-{month:0>2}-{day:0>2}"
    for form in _DATE_FORMATS:
        try:
            return datetime.datetime.strptime(text, form).replace(tzinfo=datetime.UTC).date()
        except ValueError:
            continue
    raise node.error(f"must be a date such as 2018-06-14, got {node.text()[:40]!r}")


def kickoff_ms(date: datetime.date, time: str | None, zone: str | None, node: Node) -> int | None:
    """When the match began, UTC milliseconds.

    Args:
        date: the day at the ground.
        time: ``18:00``, or ``18:00 UTC+3``; None if it is not known.
        zone: ``UTC+3``, where it stands apart from the time.
        node: where the time stands, for the error.

    Returns:
        None if the time or its zone is not known, or before 1970, which the contract has no number for.

    Raises:
        FeedError: the time or the zone is none.
    """
    if time is None:
        return None
    found = _TIME_PATTERN.fullmatch(time)
    if found is None:
        raise node.error(f"must be a time such as 18:00 UTC+3, got {time[:40]!r}")
    try:
        clock = datetime.time(int(found[1]), int(found[2]), tzinfo=datetime.UTC)
    except ValueError:
        raise node.error(f"must be a time such as 18:00 UTC+3, got {time[:40]!r}") from None
    zone = found[3] or zone
    if zone is None:
        return None
    zone_text = zone.replace(" ", "").translate(_SIGNS).upper()
    offset = _ZONE_PATTERN.fullmatch(_NAMED_ZONES.get(zone_text, zone_text))
    if offset is None:
        raise node.error(f"must have a zone such as UTC+3, got {zone[:40]!r}")
    hours, minutes = int(offset[2] or 0), int(offset[3] or 0)
    ahead = datetime.timedelta(hours=hours, minutes=minutes)
    if minutes > 59 or ahead > ZONE_MAX:
        raise node.error(f"must have a zone from UTC-14:00 to UTC+14:00, got {zone[:40]!r}")
    local = datetime.datetime.combine(date, clock)
    try:
        moment = local + ahead if offset[1] == "-" else local - ahead
    except OverflowError:  # the first day of year 1, or the last of 9999
        return None
    utc_ms = int(moment.timestamp()) * 1000
    return utc_ms if utc_ms >= 0 else None
