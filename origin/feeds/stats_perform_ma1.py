"""Stats Perform MA1: a match, or a list of matches, as JSON.

* Rows have ids (``optaEventId``, that of F24) and the time of their last change (``lastUpdated``). A row that
  is gone was taken back: nothing else says so.
* ``timeMin`` is the displayed minute. The side of an own goal is the scorer's own: the other is credited.
* ``scores.total`` contains the kicks of a shoot-out, ``scores.pen``. A kick has a ``scorerName`` whether it
  was scored or not, and no period.
* ``period[].announcedInjuryTime`` is the added time that was shown, in seconds.
* Nothing says when the document was made: it is dated by when it was read, and may come from a cache. By
  the clock of the match (``matchTime``) a newer one is known (``origin.feeds.matching``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from origin.feeds import Warn
from origin.feeds.jsondoc import Node
from origin.feeds.matching import MatchingFeed
from origin.feeds.snapshot_reading import (
    OVER,
    ROW_MINUTE_MAX,
    SnapshotReading,
    bounded_items,
    match_id_of,
    read_each,
    time_ms,
)
from origin.feeds.vendor_document import AHEAD_MAX_MS, VendorDocument
from shared_state import Event, Score
from shared_state.events import PERIOD_INDEX

__all__ = ["MATCHES_MAX", "PREFIX", "SOURCE", "convert", "read_documents"]

SOURCE: Final = "stats-perform-ma1"
PREFIX: Final = "sp-"
KIND: Final = "Stats Perform MA1"
MATCHES_MAX: Final = 1_000
ROWS_MAX: Final = 400
PERIODS_MAX: Final = 20

# The minute at which the added time of a period is announced: the last one of its regular time.
_ANNOUNCED_AT: Final = {1: 45, 2: 90, 3: 105, 4: 120}
_PERIODS: Final = {
    1: "H1", 2: "H2", 3: "ET1", 4: "ET2", 5: "PENS", 10: "HT", 11: "BREAK_ET", 12: "ET_HT", 13: "BREAK_PENS",
    14: "POST", 16: "PRE",
}  # fmt: skip
_RUNNING: Final = {
    "H1": "LIVE", "HT": "HALF_TIME", "H2": "LIVE", "BREAK_ET": "EXTRA_TIME", "ET1": "EXTRA_TIME",
    "ET_HT": "EXTRA_TIME", "ET2": "EXTRA_TIME", "BREAK_PENS": "PENALTIES", "PENS": "PENALTIES",
}  # fmt: skip
_STATUSES: Final = {
    "Fixture": ("SCHEDULED", "PRE"),
    "Postponed": ("POSTPONED", "PRE"),
    "Cancelled": ("CANCELLED", "PRE"),
    "Awarded": ("AWARDED", "POST"),
}
_CARDS: Final = {"YC": "YELLOW_CARD", "Y2C": "SECOND_YELLOW", "RC": "RED_CARD"}
_GOALS: Final = frozenset({"G", "PG", "OG"})


def convert(source: BinaryIO, warn: Warn, /) -> Iterator[Event]:
    """Yield the events of a document's matches.

    Raises:
        FeedError: it is none.
        OSError: it cannot be read.
    """
    for document in read_documents(Node.read(source)):
        yield from sorted(MatchingFeed(document.match_id, warn).take(document), key=Event.order)


def read_documents(
    document: Node, *, now_ms: int | None = None, warn: Warn | None = None
) -> Iterator[VendorDocument]:
    """Read one match, or the matches of ``match``.

    Args:
        document: the JSON.
        now_ms: when it was read, UTC milliseconds; None for a file.
        warn: called for a match of a list that cannot be read, which then costs itself alone; None for an
            error.

    Raises:
        FeedError: it is none, or has a time in the future, with the path and line.
    """
    document.require_kind(KIND)
    if document.has("match"):
        matches = bounded_items(document.at("match"), MATCHES_MAX)
        yield from read_each(matches, lambda match: _read(match, now_ms), warn)
    else:
        yield _read(document, now_ms)


def _read(match: Node, now_ms: int | None) -> VendorDocument:
    info = match.at("matchInfo")
    live = match.at("liveData") if match.has("liveData") else None
    rows = [] if live is None else _rows_of(live)
    latest_ms = max([_changed_ms(row, now_ms) for _, row in rows], default=1)
    if info.has("lastUpdated"):
        latest_ms = max(latest_ms, _changed_ms(info, now_ms))
    # An answer is newer than the last touch of any row: a row may have gone since.
    reading = SnapshotReading(match_id_of(info.at("id"), PREFIX), SOURCE, max(now_ms or 0, latest_ms))
    sheets: dict[str, dict[str, str | None]] = {}
    sides: dict[str, str] = {}
    for contestant in bounded_items(info.at("contestant"), 10):
        side = contestant.at("position").text()
        if side not in ("home", "away"):
            raise contestant.at("position").error(f"must be home or away, got {side[:40]!r}")
        code = (contestant.at("code").optional_text() or "")[:16] or None
        # A team of a round that is not drawn yet has no id and no name, but may have a phrase for it.
        name = contestant.at("name").optional_text() or contestant.at("phrase").optional_text() or "TBD"
        sheets[side] = {"name": name, "code": code}
        if contestant.has("id"):
            sides[contestant.at("id").text()] = side
    if set(sheets) != {"home", "away"}:
        raise info.at("contestant").error("must be one home and one away")
    _info(reading, info, sheets)
    kicks = 0
    for kind, row in rows:
        kicks += _take(reading, kind, row, sides, kicks)
    details = live.at("matchDetails") if live is not None and live.has("matchDetails") else None
    if details is not None:
        _added_time(reading, details)
    status = None if details is None else _status(details, reading.reached)
    if details is None:
        status = ("SCHEDULED", "PRE")
    if status is not None:
        reading.status(info if details is None else details, *status)
    score = None
    if details is not None and details.has("scores"):
        scores = details.at("scores")
        pens, total = _pair(scores, "pen"), _pair(scores, "total")
        score = _without(total, pens)
        over = status is not None and (status[0] in OVER or status[0] == "AWARDED")
        no_goals = reading.goals == (0, 0) or (status is not None and status[0] == "AWARDED")
        if over and score is not None and no_goals and reading.goals != score:
            reading.result(scores, score, "POST")
        if over and pens is not None and not kicks:
            reading.kicks_by_result(scores, pens)
    return VendorDocument(
        match_id=reading.match_id,
        at_ms=reading.at_ms,
        events=reading.events,
        rows=reading.rows,
        complete=live is not None,
        score=score,
        score_error=lambda message: match.at("liveData").at("matchDetails").error(message),
        doubts=reading.doubts,
        read_ms=now_ms,
        clock=_clock(details, reading.reached if status is None else status[1]),
    )


def _clock(details: Node | None, period: str) -> tuple[int, int]:
    """How far the match is by the vendor's clock."""
    minute = details.object().get("matchTime") if details is not None else None
    return PERIOD_INDEX[period], minute if type(minute) is int and 0 <= minute <= ROW_MINUTE_MAX else 0


def _added_time(reading: SnapshotReading, details: Node) -> None:
    """The time to be added to each period, as it was announced."""
    for node in bounded_items(details.at("period"), PERIODS_MAX):
        number = node.at("id").integer(0, 99) if node.has("id") else 0
        if not node.has("announcedInjuryTime") or number not in _ANNOUNCED_AT:
            continue
        seconds = node.at("announcedInjuryTime").integer(0, 99 * 60)
        if seconds:
            reading.add(
                node, f"added-{number}", "STOPPAGE_ANNOUNCED", _PERIODS[number],
                minute=_ANNOUNCED_AT[number], stoppage=0, detail={"minutes": -(-seconds // 60)},
            )  # fmt: skip


def _rows_of(live: Node) -> list[tuple[str, Node]]:
    keys = ("goal", "card", "substitute", "missedPen", "penaltyShot", "VAR")
    return [(key, row) for key in keys for row in bounded_items(live.at(key), ROWS_MAX)]


def _changed_ms(node: Node, now_ms: int | None) -> int:
    """When a row was touched last; a time in the future would outlast every true one after it."""
    if not node.has("lastUpdated"):
        return 1
    at_ms = max(1, time_ms(node.at("lastUpdated")))
    if now_ms is not None and at_ms > now_ms + AHEAD_MAX_MS:
        text = node.at("lastUpdated").text()[:40]
        ahead = f"at most {AHEAD_MAX_MS // 60_000} minutes ahead of our clock"
        raise node.at("lastUpdated").error(f"must be {ahead}, got {text!r}")
    return at_ms


def _info(reading: SnapshotReading, info: Node, sheets: dict[str, dict[str, str | None]]) -> None:
    competition = info.at("competition").at("name").optional_text() if info.has("competition") else None
    venue = info.at("venue").at("longName").optional_text() if info.has("venue") else None
    date, time = info.object().get("date"), info.object().get("time")
    kickoff, kickoff_text = info.at("date"), None
    if isinstance(date, str) and isinstance(time, str):  # 2020-02-17Z and 20:00:00Z
        kickoff_text = f"{date.rstrip('Z')}T{time}"
    elif isinstance(date, str):  # the day alone is no moment
        kickoff = info.at("time")
    reading.info(
        info,
        sheets["home"],
        sheets["away"],
        competition=competition,
        kickoff=kickoff,
        venue=venue,
        kickoff_text=kickoff_text,
    )


def _take(reading: SnapshotReading, kind: str, row: Node, sides: dict[str, str], kicks: int) -> int:
    """One row; returns 1 for a kick of the shoot-out."""
    rev = _changed_ms(row, None)
    period = _PERIODS.get(row.at("periodId").integer(0, 99) if row.has("periodId") else 0, "POST")
    minute = row.at("timeMin").integer(0, 200) if row.has("timeMin") else None
    event_id = _event_id(kind, row)
    side = sides.get(row.at("contestantId").text()) if row.has("contestantId") else None
    fields: dict[str, object] = {"team": side, "rev": rev}
    if row.has("timestamp"):
        fields["source_ts"] = max(1, time_ms(row.at("timestamp")))
    type_: str | None = None
    if kind == "goal":
        word = row.at("type").text()
        type_ = "GOAL" if word in _GOALS and side is not None else None
        fields["detail"] = {"own_goal": word == "OG", "penalty": word == "PG"}
        if word == "OG" and side is not None:
            fields["team"] = "away" if side == "home" else "home"
        fields["player"] = row.at("scorerName").optional_text()
        fields["player2"] = row.at("assistPlayerName").optional_text()
    elif kind == "card":
        type_ = _CARDS.get(row.at("type").text())
        fields["player"] = row.at("playerName").optional_text() or row.at("officialName").optional_text()
    elif kind == "substitute":
        type_ = "SUBSTITUTION"
        fields["player"] = row.at("playerOnName").optional_text()
        fields["player2"] = row.at("playerOffName").optional_text()
    elif kind == "missedPen" and period != "PENS":
        type_ = "PENALTY_MISSED"
        fields["player"] = row.at("playerName").optional_text()
    elif kind == "penaltyShot" and side is not None:
        fields["player"] = row.at("scorerName").optional_text() or row.at("playerName").optional_text()
        scored = row.at("outcome").text().lower() == "scored"
        fields["detail"] = {"order": kicks + 1, "scored": scored}
        reading.add(row, event_id, "SHOOTOUT_KICK", "PENS", **fields)  # type: ignore[arg-type]
        return 1
    elif kind == "VAR":
        type_ = "VAR"
        words = next(
            (row.at(key).optional_text() for key in ("outcome", "decision", "type") if row.has(key)), None
        )
        fields["detail"] = {"state": "CLOSED", "outcome": words}
    if type_ is None:
        reading.seen(event_id, rev)
        reading.doubts.append(row.error("says what is not known here, and is left out"))
        return 0
    reading.in_play(row, event_id, type_, period, minute, 0, **fields)
    return 0


def _event_id(kind: str, row: Node) -> str:
    """The vendor's id of the row; of a substitution that has none, what it is made of."""
    if row.has("optaEventId"):
        value = row.at("optaEventId").value
        return str(value)[:64] if type(value) is int else row.at("optaEventId").text()[:64]
    keys = (
        "periodId",
        "timeMin",
        "contestantId",
        "playerId",
        "playerOnId",
        "playerOffId",
        "teamPenaltyNumber",
    )
    parts = [str(row.value[key])[:32] for key in keys if isinstance(row.value.get(key), str | int)]
    return "-".join((kind, *parts))[:120]


def _status(details: Node, reached: str) -> tuple[str, str] | None:
    """The status, and its period; None for a word that is not known: it must not stop the goals."""
    word = details.at("matchStatus").text()
    period = _PERIODS.get(details.at("periodId").integer(0, 99) if details.has("periodId") else 0)
    if word == "Played":
        scores = details.at("scores") if details.has("scores") else None
        if scores is not None and scores.has("pen"):
            return "FT_PENS", "POST"
        return ("AET" if scores is not None and scores.has("et") else "FT"), "POST"
    if word == "Playing":
        period = period if period in _RUNNING else ("H1" if reached == "PRE" else reached)
        return (_RUNNING[period], period) if period in _RUNNING else None
    if word in ("Suspended", "Abandoned"):
        return word.upper(), reached
    return _STATUSES.get(word)


def _pair(node: Node, key: str) -> Score | None:
    if not node.has(key):
        return None
    pair = node.at(key)
    return Score(pair.at("home").integer(0, 99), pair.at("away").integer(0, 99))


def _without(total: Score | None, pens: Score | None) -> Score | None:
    if total is None or pens is None or total.home < pens.home or total.away < pens.away:
        return total
    return Score(total.home - pens.home, total.away - pens.away)
