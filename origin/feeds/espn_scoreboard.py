"""ESPN's site API: the scoreboard as JSON. Unofficial: ESPN publishes no contract for it, and may change it.

* ``details`` (goals, cards, kicks) have no ids: ``origin.feeds.matching`` finds which is which. They have no
  substitutions.
* The minute is in ``clock.displayValue`` (``90'+8'``); ``clock.value`` stands still in stoppage time.
* ``team`` of an own goal is the side that it is credited to.
* ``score`` is without the shoot-out, which stands apart as ``shootoutScore``: text, an integer, or ``3.0``.
* The document has no time of its own and is dated by when it was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from origin.errors import FeedError
from origin.feeds import Warn
from origin.feeds.jsondoc import Node
from origin.feeds.matching import ROWS_MAX, MatchingFeed, row_id
from origin.feeds.snapshot_reading import (
    OVER,
    SnapshotReading,
    bounded_items,
    match_id_of,
    period_of_minute,
    read_each,
    time_ms,
)
from origin.feeds.vendor_document import VendorDocument
from shared_state import Event, Score
from shared_state.events import PERIOD_INDEX

__all__ = ["MATCHES_MAX", "PREFIX", "SOURCE", "convert", "read_documents"]

SOURCE: Final = "espn-scoreboard"
PREFIX: Final = "espn-"
KIND: Final = "an ESPN scoreboard"
MATCHES_MAX: Final = 2_000

_CLOCK: Final = re.compile(r"([0-9]{1,3})'?(?:\s*\+\s*([0-9]{1,2})'?)?", re.ASCII)
_STATUSES: Final = {
    "STATUS_SCHEDULED": ("SCHEDULED", "PRE"),
    "STATUS_TBD": ("SCHEDULED", "PRE"),
    "STATUS_DELAYED": ("DELAYED", "PRE"),
    "STATUS_RAIN_DELAY": ("DELAYED", "PRE"),
    "STATUS_FIRST_HALF": ("LIVE", "H1"),
    "STATUS_HALFTIME": ("HALF_TIME", "HT"),
    "STATUS_SECOND_HALF": ("LIVE", "H2"),
    "STATUS_END_OF_REGULATION": ("EXTRA_TIME", "BREAK_ET"),
    "STATUS_OVERTIME": ("EXTRA_TIME", "ET1"),
    "STATUS_FIRST_HALF_EXTRA_TIME": ("EXTRA_TIME", "ET1"),
    "STATUS_HALFTIME_ET": ("EXTRA_TIME", "ET_HT"),
    "STATUS_EXTRA_TIME_HALF_TIME": ("EXTRA_TIME", "ET_HT"),
    "STATUS_SECOND_HALF_EXTRA_TIME": ("EXTRA_TIME", "ET2"),
    "STATUS_END_OF_EXTRATIME": ("PENALTIES", "BREAK_PENS"),
    "STATUS_SHOOTOUT": ("PENALTIES", "PENS"),
    "STATUS_FULL_TIME": ("FT", "POST"),
    "STATUS_FINAL": ("FT", "POST"),
    "STATUS_FINAL_AET": ("AET", "POST"),
    "STATUS_FINAL_PEN": ("FT_PENS", "POST"),
    "STATUS_POSTPONED": ("POSTPONED", "PRE"),
    "STATUS_CANCELED": ("CANCELLED", "PRE"),
    "STATUS_CANCELLED": ("CANCELLED", "PRE"),
    "STATUS_FORFEIT": ("AWARDED", "POST"),
}
# Of these the period is that of the last thing that happened.
_AS_REACHED: Final = {"STATUS_ABANDONED": "ABANDONED", "STATUS_SUSPENDED": "SUSPENDED"}
_RUNNING: Final = "in"
_PERIODS: Final = {1: "H1", 2: "H2", 3: "ET1", 4: "ET2", 5: "PENS"}


def convert(source: BinaryIO, warn: Warn, /) -> Iterator[Event]:
    """Yield the events of a scoreboard's matches.

    Raises:
        FeedError: it is none.
        OSError: it cannot be read.
    """
    for document in read_documents(Node.read(source)):
        yield from sorted(MatchingFeed(document.match_id, warn).take(document), key=Event.order)


def read_documents(
    document: Node, *, now_ms: int | None = None, warn: Warn | None = None
) -> Iterator[VendorDocument]:
    """Read a scoreboard.

    Args:
        document: the JSON.
        now_ms: when it was read, UTC milliseconds; None for a file.
        warn: called for a match that cannot be read, which then costs itself alone; None for an error.

    Raises:
        FeedError: it is none, with the path and line.
    """
    document.require_kind(KIND)
    if "events" not in document.object():
        raise document.at("events").error("is missing: a scoreboard has it")
    competition = None
    leagues = bounded_items(document.at("leagues"), MATCHES_MAX)
    for league in leagues:
        competition = competition or league.at("name").optional_text()
    league_id = _number(leagues[0].object().get("id")) if len(leagues) == 1 else None
    matches = bounded_items(document.at("events"), MATCHES_MAX)
    yield from read_each(matches, lambda match: _read(match, now_ms, competition, league_id), warn)


def _league_of(match: Node) -> int | None:
    """The competition of a match, which only its ``uid`` has: ``s:600~l:700~e:704279``."""
    uid = match.object().get("uid")
    parts = uid.split("~") if isinstance(uid, str) and len(uid) < 200 else []
    return next((_number(part[2:]) for part in parts if part.startswith("l:")), None)


def _number(value: object) -> int | None:
    if type(value) is int:
        return value
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value, re.ASCII) else None


def _read(match: Node, now_ms: int | None, competition: str | None, league_id: int | None) -> VendorDocument:
    contests = bounded_items(match.at("competitions"), MATCHES_MAX)
    if not contests:
        raise match.at("competitions").error("must have one entry")
    contest = contests[0]
    at_ms = now_ms if now_ms is not None else _file_ms(match)
    reading = SnapshotReading(match_id_of(match.at("id"), PREFIX), SOURCE, at_ms)
    sheets: dict[str, dict[str, str | None]] = {}
    sides: dict[str, str] = {}
    counts: dict[str, tuple[int | None, int | None]] = {}
    for competitor in bounded_items(contest.at("competitors"), 10):
        side = competitor.at("homeAway").text()
        if side not in ("home", "away"):
            raise competitor.at("homeAway").error(f"must be home or away, got {side[:40]!r}")
        team = competitor.at("team")
        name = team.at("displayName").optional_text() or team.at("name").text()
        sheets[side] = {"name": name, "code": (team.at("abbreviation").optional_text() or "")[:16] or None}
        sides[_id(team.at("id"))] = side
        counts[side] = (_count(competitor.at("score")), _count(competitor.at("shootoutScore")))
    if set(sheets) != {"home", "away"}:
        raise contest.at("competitors").error("must be one home and one away")
    venue = contest.at("venue").at("fullName").optional_text() if contest.has("venue") else None
    reading.info(
        match, sheets["home"], sheets["away"],
        competition=competition, kickoff=match.at("date"), venue=venue,
    )  # fmt: skip
    status_node = match.at("status") if match.has("status") else contest.at("status")
    type_node = status_node.at("type")
    word = type_node.at("name").text()
    state = type_node.object().get("state")
    period_number = status_node.object().get("period")
    number = period_number if type(period_number) is int else 0
    kicked = _rows(contest, reading, sides, extra_time=number > 2 or word in _WITH_EXTRA_TIME)
    status = _status(word, state, number, reading.reached)
    if status is not None:
        reading.status(status_node, *status)
    score = _pair(counts, 0)
    pens = _pair(counts, 1)
    over = status is not None and (status[0] in OVER or status[0] == "AWARDED")
    no_goals = reading.goals == (0, 0) or (status is not None and status[0] == "AWARDED")
    has_rows = contest.has("details")
    begun = status is not None and status[1] != "PRE"
    if score is not None and begun and (over or not has_rows) and no_goals and reading.goals != score:
        reading.result(contest, score, "POST" if status is None else status[1])
    if status is not None and status[0] == "FT_PENS" and pens is not None and not kicked:
        reading.kicks_by_result(contest, pens)
    minute = _minute(status_node.at("displayClock"))[0]
    return VendorDocument(
        match_id=reading.match_id,
        at_ms=at_ms,
        events=reading.events,
        rows=reading.rows,
        complete=has_rows,
        score=score,
        score_error=lambda message: contest.at("competitors").error(message),
        doubts=reading.doubts,
        read_ms=now_ms,
        anonymous=True,
        competition_id=_league_of(match) or league_id,
        clock=(PERIOD_INDEX[reading.reached if status is None else status[1]], minute or 0),
    )


_WITH_EXTRA_TIME: Final = frozenset({"STATUS_FINAL_AET", "STATUS_FINAL_PEN", "STATUS_SHOOTOUT"})


def _rows(contest: Node, reading: SnapshotReading, sides: dict[str, str], *, extra_time: bool) -> bool:
    """Make the rows into events; returns whether there were kicks of a shoot-out."""
    kicks = 0
    for index, row in enumerate(bounded_items(contest.at("details"), ROWS_MAX)):
        event_id = row_id(index)
        side = sides.get(_id(row.at("team").at("id"))) if row.has("team") else None
        player = next(
            (who.at("displayName").optional_text() for who in row.at("athletesInvolved").items()), None
        )
        words = (row.at("type").at("text").optional_text() or "").lower() if row.has("type") else ""
        type_, detail = _type(row, words)
        if type_ is None or (side is None and type_ in ("GOAL", "SHOOTOUT_KICK")):
            reading.seen(event_id)
            reading.doubts.append(row.error("says what is not known here, and is left out"))
            continue
        if type_ == "SHOOTOUT_KICK":
            kicks += 1
            ordered = {"order": kicks, **detail}
            reading.add(row, event_id, type_, "PENS", team=side, player=player, detail=ordered)
            continue
        minute, stoppage = _minute(row.at("clock").at("displayValue")) if row.has("clock") else (None, 0)
        period = "POST" if minute is None else period_of_minute(minute, extra_time=extra_time)
        reading.in_play(
            row, event_id, type_, period, minute, stoppage, team=side, player=player, detail=detail
        )
    return kicks > 0


def _type(row: Node, words: str) -> tuple[str | None, dict[str, bool]]:
    scores = row.at("scoringPlay").boolean()
    if row.at("shootout").boolean():
        return "SHOOTOUT_KICK", {"scored": scores}
    if scores:
        own, penalty = row.at("ownGoal").boolean(), row.at("penaltyKick").boolean()
        return "GOAL", {"own_goal": own, "penalty": penalty and not own}
    if row.at("redCard").boolean():
        second = row.at("yellowCard").boolean() or "second yellow" in words
        return ("SECOND_YELLOW" if second else "RED_CARD"), {}
    if row.at("yellowCard").boolean():
        return "YELLOW_CARD", {}
    if row.at("penaltyKick").boolean():
        return "PENALTY_MISSED", {}
    return None, {}


def _status(word: str, state: object, number: int, reached: str) -> tuple[str, str] | None:
    """The status, and its period; None where neither is known: it must not stop the goals.

    Args:
        word: the name of the status. ESPN has more of them than anybody has listed.
        state: ``pre``, ``in`` or ``post``, which stands beside every name.
        number: the vendor's number of the period; 0 for none.
        reached: the period of the last thing that happened.
    """
    if word in _AS_REACHED:
        return _AS_REACHED[word], reached
    if word == "STATUS_OVERTIME" and number == 4:
        return "EXTRA_TIME", "ET2"
    if word in _STATUSES:
        return _STATUSES[word]
    if state == "pre":
        return "SCHEDULED", "PRE"
    if state == "post":
        # Without a name that is known, whether it was decided after extra time stands in the period alone.
        return {3: "AET", 4: "AET", 5: "FT_PENS"}.get(number, "FT"), "POST"
    if state != _RUNNING and word != "STATUS_IN_PROGRESS":
        return None
    period = _PERIODS.get(number, "H1" if reached == "PRE" else reached)
    return ("PENALTIES" if period == "PENS" else "EXTRA_TIME" if number > 2 else "LIVE"), period


def _id(node: Node) -> str:
    return str(node.value) if type(node.value) is int else node.text()


def _count(node: Node) -> int | None:
    """A number of goals, which is text, an integer, or a float without a fraction."""
    value = node.value
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 3:
        return int(value)
    if isinstance(value, float) and value.is_integer() and 0 <= value <= 99:
        return int(value)
    return node.integer(0, 99)


def _pair(counts: dict[str, tuple[int | None, int | None]], index: int) -> Score | None:
    home, away = counts["home"][index], counts["away"][index]
    return None if home is None or away is None else Score(home, away)


def _minute(node: Node) -> tuple[int | None, int]:
    """``90'+8'`` as 90 and 8; no minute where there is none, or where it cannot be read."""
    if not isinstance(node.value, str):
        return None, 0
    found = _CLOCK.fullmatch(node.value.strip())
    if found is None or int(found[1]) > 200:
        return None, 0
    return int(found[1]), int(found[2] or 0)


def _file_ms(match: Node) -> int:
    """The date of a file that has none: its match's; one that cannot be read costs the date alone."""
    try:
        return max(1, time_ms(match.at("date"))) if match.has("date") else 1
    except FeedError:
        return 1
