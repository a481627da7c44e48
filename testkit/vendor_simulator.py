"""Vendors that change their mind: each strategy gives the successive documents of one match.

A vendor is simulated: things happen, are touched again, retyped and deleted, and after each step the
whole match is written as the vendor would write it. Time moves on by at least a second a step, as in
life; nothing else is delayed. They shrink to few steps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.sax.saxutils import quoteattr

from hypothesis import strategies as st

from origin.feeds.jsondoc import Node, parse_document
from shared_state import Event, Match
from shared_state.jsontext import JsonObject

__all__ = ["SportradarStory", "opta_documents", "shown", "sportradar_documents", "sportradar_stories"]

BEGIN = datetime(2018, 7, 15, 15, 0, 0, tzinfo=UTC)
HOME, AWAY = "368", "535"
TEAMS = [HOME, AWAY]


def shown(match: Match, *leave_out: str) -> JsonObject:
    """What a reader sees of a match: all but how often each thing was said."""

    def body(event: Event) -> JsonObject:
        hidden = ("rev", "op", *leave_out)
        return {key: value for key, value in event.body().items() if key not in hidden}

    return {
        "status": match.status,
        "period": match.period,
        "score": match.score,
        "shootout": match.shootout,
        "events": sorted((body(event) for event in match.events()), key=lambda event: event["event_id"]),
    }


# --- Opta ----------------------------------------------------------------------------------------

_OPTA_NEW = st.fixed_dictionaries(
    {
        "what": st.just("new"),
        "type": st.sampled_from(
            [
                "goal",
                "own goal",
                "penalty",
                "pass",
                "card",
                "sub",
                "kick",
                "missed kick",
                "start",
                "end",
                "stop",
            ]
        ),
        "team": st.sampled_from(TEAMS),
        "period": st.integers(1, 5),
        "min": st.integers(0, 125),
        "second_team_late": st.booleans(),
    }
)
_OPTA_CHANGE = st.fixed_dictionaries(
    {
        "what": st.sampled_from(["touch", "move", "retype", "delete"]),
        "which": st.integers(0, 30),
        "bump_version": st.booleans(),
    }
)


@st.composite
def opta_documents(draw: st.DrawFn) -> list[bytes]:
    """F24 documents of one match, oldest first; each has all rows so far, in an order of its own.

    A deletion mostly leaves ``version`` as it was. Nothing that was deleted comes back: with this vendor
    a deletion is final.
    """
    steps: list[dict[str, Any]] = draw(st.lists(_OPTA_NEW | _OPTA_CHANGE, min_size=1, max_size=12))
    rows: list[dict[str, Any]] = []
    documents = []
    now = BEGIN
    for step in steps:
        now += timedelta(milliseconds=draw(st.integers(1_000, 90_000)))
        if step["what"] == "new":
            _opta_add(rows, step, now)
        elif rows:
            _opta_change(rows[step["which"] % len(rows)], step, now)
        documents.append(_f24(draw(st.permutations(rows)), now))
    return documents


def _opta_add(rows: list[dict[str, Any]], step: dict[str, Any], now: datetime) -> None:
    def add(type_id: int, team: str, period: int, *qualifiers: tuple[int, str]) -> None:
        number = len(rows)
        rows.append(
            {
                "id": str(1_000 + number),
                "event_id": str(number),
                "type_id": type_id,
                "period_id": period,
                "min": step["min"],
                "sec": number % 60,
                "team_id": team,
                "player_id": str(number),
                "timestamp": now,
                "last_modified": now,
                "version": now,
                "Q": list(qualifiers),
            }
        )

    team, period = step["team"], step["period"]
    other = AWAY if team == HOME else HOME
    in_play = min(period, 4)
    match step["type"]:
        case "goal":
            add(16, team, in_play)
        case "own goal":
            add(16, team, in_play, (28, ""))
        case "penalty":
            add(13, team, in_play, (9, ""))
        case "pass":
            add(1, team, period)
        case "card":
            add(17, team, period, (31 + step["min"] % 3, ""))
        case "sub":
            number = len(rows)
            add(18, team, in_play, (55, str(number + 1)))
            add(19, team, in_play, (55, str(number)))
        case "kick":
            add(16, team, 5)
        case "missed kick":
            add(15, team, 5)
        case kind:
            type_id = {"start": 32, "end": 30, "stop": 27}[kind]
            add(type_id, team, period)
            if not step["second_team_late"]:
                add(type_id, other, period)


def _opta_change(row: dict[str, Any], step: dict[str, Any], now: datetime) -> None:
    if row["type_id"] == 43:
        return
    row["last_modified"] = now
    if step["bump_version"]:
        row["version"] = now
    match step["what"]:
        case "move":
            row["min"] = (row["min"] + 1) % 120
        case "retype":
            row["type_id"] = 13 if row["type_id"] == 16 else 16
        case "delete":
            row["type_id"] = 43


def _f24(rows: list[dict[str, Any]], now: datetime) -> bytes:
    def text(value: object) -> str:
        # Local time without a zone; last_modified is cut to seconds.
        return value.isoformat(timespec="milliseconds")[:-6] if isinstance(value, datetime) else str(value)

    def element(row: dict[str, Any]) -> str:
        given = {
            **row,
            "last_modified": row["last_modified"].replace(microsecond=0),
            "version": int(row["version"].timestamp() * 1000),
        }
        attributes = " ".join(f"{key}={quoteattr(text(value))}" for key, value in given.items() if key != "Q")
        qualifiers = "".join(f'<Q id="1" qualifier_id="{id_}" value="{value}"/>' for id_, value in row["Q"])
        return f"<Event {attributes}>{qualifiers}</Event>"

    return (
        f'<Games timestamp="{text(now)}"><Game id="7" home_team_id="{HOME}" away_team_id="{AWAY}"'
        f' home_team_name="A" away_team_name="B">{"".join(map(element, rows))}</Game></Games>'
    ).encode()


# --- Sportradar ----------------------------------------------------------------------------------

_SR_NEW = st.fixed_dictionaries(
    {
        "what": st.just("new"),
        "type": st.sampled_from(
            [
                "score_change", "yellow_card", "substitution", "throw_in", "penalty_shootout",
                "video_assistant_referee", "video_assistant_referee_over", "injury_time_shown",
            ]
        ),
        "competitor": st.sampled_from(["home", "away"]),
        "minute": st.integers(1, 120),
        "id": st.integers(1, 2**40),
    }
)  # fmt: skip
_SR_CHANGE = st.fixed_dictionaries(
    {
        "what": st.sampled_from(["update", "remove"]),
        "which": st.integers(0, 30),
        "minute": st.integers(1, 120),
    }
)
_SR_STATUS = st.fixed_dictionaries(
    {
        "what": st.just("status"),
        "status": st.sampled_from(
            ["not_started", "live", "interrupted", "ended", "closed", "tomorrow's word"]
        ),
        "match_status": st.sampled_from(["1st_half", "halftime", "2nd_half", "penalties", "ap", "ended"]),
    }
)


@dataclass(frozen=True, slots=True)
class SportradarStory:
    """One match as the vendor reported it.

    Attributes:
        documents: its timelines, oldest first.
        messages: what was pushed meanwhile, oldest first.
    """

    documents: list[bytes]
    messages: list[Node]

    def lasting(self) -> list[Node]:
        """The messages about rows that the newest timeline still has."""
        rows = {row["id"] for row in json.loads(self.documents[-1])["timeline"]}
        return [message for message in self.messages if message.at("payload").at("event").value["id"] in rows]


@st.composite
def sportradar_stories(draw: st.DrawFn) -> SportradarStory:
    """Timelines and pushed messages of one match. The first thing that happened is never removed.

    An update overwrites ``time``. A removed event is just gone, and nothing is pushed of it. Sometimes the
    vendor's score is one that was true before. The clock of the timelines is not that of the events.
    """
    steps: list[dict[str, Any]] = draw(st.lists(_SR_NEW | _SR_CHANGE | _SR_STATUS, min_size=1, max_size=12))
    rows: list[dict[str, Any]] = [{"id": 0, "type": "match_started", "time": _text(BEGIN)}]
    status = {"status": "live", "match_status": "1st_half"}
    documents, messages = [], []
    scores = [(0, 0)]
    now = BEGIN
    skew = timedelta(seconds=draw(st.integers(-120, 120)))
    for step in steps:
        now += timedelta(seconds=draw(st.integers(1, 90)))
        said = None
        if step["what"] == "new":
            said = _sr_add(rows, step, now)
        elif step["what"] == "status":
            status = {key: step[key] for key in ("status", "match_status")}
        elif len(rows) > 1:
            index = 1 + step["which"] % (len(rows) - 1)
            if step["what"] == "remove":
                del rows[index]
            else:
                rows[index] |= {"time": _text(now), "updated": True, "match_time": step["minute"]}
                said = rows[index]
        goals = [row["competitor"] for row in rows if row["type"] == "score_change"]
        scores.append((goals.count("home"), goals.count("away")))
        home, away = draw(st.sampled_from(scores[-2:]))
        reported = {**status, "home_score": home, "away_score": away}
        documents.append(_timeline(rows, reported, now + skew))
        if said is not None:
            messages.append(_message(said, reported))
    return SportradarStory(documents, messages)


def sportradar_documents() -> st.SearchStrategy[list[bytes]]:
    """Timelines of one match, oldest first; see ``sportradar_stories``."""
    return sportradar_stories().map(lambda story: story.documents)


def _sr_add(rows: list[dict[str, Any]], step: dict[str, Any], now: datetime) -> dict[str, Any] | None:
    if step["id"] in {row["id"] for row in rows}:
        return None
    row = {
        "id": step["id"],
        "type": step["type"],
        "time": _text(now),
        "match_time": step["minute"],
        "competitor": step["competitor"],
        "injury_time_announced": 3,
        "status": ["scored", "missed", "not_taken_yet"][step["minute"] % 3],
        "players": [{"name": "Last, First", "type": "scorer"}],
    }
    rows.append(row)
    return row


def _message(row: dict[str, Any], status: dict[str, Any]) -> Node:
    """As it is pushed, at the moment it is."""
    message = {
        "payload": {"event": row, "sport_event_status": status},
        "metadata": {"sport_event_id": "sr:sport_event_id:7"},
    }
    return parse_document(json.dumps(message).encode())


def _timeline(rows: list[dict[str, Any]], status: dict[str, Any], now: datetime) -> bytes:
    return json.dumps(
        {
            "generated_at": _text(now),
            "sport_event": {
                "id": "sr:sport_event:7",
                "competitors": [{"name": side, "qualifier": side} for side in ("home", "away")],
            },
            "sport_event_status": status,
            "timeline": rows,
        }
    ).encode()


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
