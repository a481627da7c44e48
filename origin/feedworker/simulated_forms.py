"""The matches of the simulated vendor in the words of others: football-data.org, ESPN and Stats Perform.

The match is played, edited and answered with faults by ``simulated_api_football``; here is only how the same
match looks in another form.
"""

from __future__ import annotations

import datetime
from typing import Any, Final

__all__ = ["as_espn", "as_football_data", "as_ma1"]

_FOOTBALL_DATA: Final = {"NS": "TIMED", "1H": "IN_PLAY", "HT": "PAUSED", "2H": "IN_PLAY", "FT": "FINISHED"}
_ESPN: Final = {
    "NS": "STATUS_SCHEDULED",
    "1H": "STATUS_FIRST_HALF",
    "HT": "STATUS_HALFTIME",
    "2H": "STATUS_SECOND_HALF",
    "FT": "STATUS_FULL_TIME",
}


def as_football_data(fixture: dict[str, Any]) -> dict[str, Any]:
    """``/v4/matches/{id}`` of football-data.org.

    Args:
        fixture: one entry of API-Football's ``response``.
    """
    short = fixture["fixture"]["status"]["short"]
    half_time = 0 if short in ("HT", "2H", "FT") else None
    rows = fixture.get("events", [])

    def row(event: dict[str, Any], **more: Any) -> dict[str, Any]:
        time = event["time"]
        return {"minute": time["elapsed"], "injuryTime": time["extra"], "team": event["team"], **more}

    goals = [
        row(
            event,
            type={"Own Goal": "OWN", "Penalty": "PENALTY"}.get(event["detail"], "REGULAR"),
            scorer=event["player"],
            assist=event["assist"],
        )
        for event in rows
        if event["type"] == "Goal"
    ]
    cards = [
        row(event, player=event["player"], card="RED" if event["detail"] == "Red Card" else "YELLOW")
        for event in rows
        if event["type"] == "Card"
    ]
    return {
        "id": fixture["fixture"]["id"],
        "utcDate": _iso(fixture),
        "status": _FOOTBALL_DATA[short],
        "minute": fixture["fixture"]["status"]["elapsed"],
        "venue": fixture["fixture"]["venue"]["name"],
        "competition": fixture["league"],
        "homeTeam": fixture["teams"]["home"],
        "awayTeam": fixture["teams"]["away"],
        "score": {
            "duration": "REGULAR",
            "fullTime": fixture["goals"],
            "halfTime": {"home": half_time, "away": half_time},
        },
        "goals": goals,
        "bookings": cards,
        "substitutions": [],
        "penalties": [],
    }


def as_espn(fixtures: list[dict[str, Any]]) -> dict[str, Any]:
    """A scoreboard of ESPN's site API.

    Args:
        fixtures: entries of API-Football's ``response``.
    """
    return {
        "leagues": [fixtures[0]["league"]] if fixtures else [],
        "events": [_espn_event(one) for one in fixtures],
    }


def _espn_event(fixture: dict[str, Any]) -> dict[str, Any]:
    status = fixture["fixture"]["status"]
    details = []
    for event in fixture.get("events", []):
        if event["type"] not in ("Goal", "Card"):
            continue
        time, name = event["time"], event["player"]["name"]
        clock = f"{time['elapsed']}'" + (f"+{time['extra']}'" if time["extra"] else "")
        details.append(
            {
                "type": {"text": event["detail"]},
                "clock": {"displayValue": clock},
                "team": {"id": str(event["team"]["id"])},
                "scoringPlay": event["type"] == "Goal",
                "ownGoal": event["detail"] == "Own Goal",
                "penaltyKick": event["detail"] == "Penalty",
                "yellowCard": event["detail"] == "Yellow Card",
                "redCard": event["detail"] == "Red Card",
                "shootout": False,
                "athletesInvolved": [{"displayName": name}] if name else [],
            }
        )
    competitors = [
        {
            "homeAway": side,
            "score": str(fixture["goals"][side]),
            "team": {"id": str(fixture["teams"][side]["id"]), "displayName": fixture["teams"][side]["name"]},
        }
        for side in ("home", "away")
    ]
    return {
        "id": str(fixture["fixture"]["id"]),
        "date": _iso(fixture),
        "status": {
            "period": 2 if status["short"] in ("2H", "FT") else 1,
            "displayClock": f"{status['elapsed'] or 0}'",
            "type": {"name": _ESPN[status["short"]], "state": _ESPN_STATES.get(status["short"], "in")},
        },
        "competitions": [
            {
                "competitors": competitors,
                "details": details,
                "venue": {"fullName": fixture["fixture"]["venue"]["name"]},
            }
        ],
    }


_ESPN_STATES: Final = {"NS": "pre", "FT": "post"}
_MA1: Final = {"NS": "Fixture", "1H": "Playing", "HT": "Playing", "2H": "Playing", "FT": "Played"}
_MA1_PERIODS: Final = {"NS": 16, "1H": 1, "HT": 10, "2H": 2, "FT": 14}
_MA1_GOALS: Final = {"Own Goal": "OG", "Penalty": "PG"}


def as_ma1(fixture: dict[str, Any]) -> dict[str, Any]:
    """One match of Stats Perform's MA1. Its rows have ids, and the time of their last change.

    Args:
        fixture: one entry of API-Football's ``response``, with ``row_id`` and ``changed_s`` of each row.
    """
    short = fixture["fixture"]["status"]["short"]
    teams = {side: fixture["teams"][side] for side in ("home", "away")}
    rows: dict[str, list[dict[str, Any]]] = {"goal": [], "card": [], "VAR": []}
    for event in fixture.get("events", []):
        time, team = event["time"], event["team"]["id"]
        changed = datetime.datetime.fromtimestamp(event["changed_s"], datetime.UTC)
        row = {
            "optaEventId": str(event["row_id"]),
            "contestantId": str(team),
            "periodId": 1 if time["elapsed"] <= 45 else 2,
            "timeMin": time["elapsed"] + (time["extra"] or 0),
            "lastUpdated": changed.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        name = event["player"]["name"]
        if event["type"] == "Goal":
            word = _MA1_GOALS.get(event["detail"], "G")
            if word == "OG":  # MA1 has the side of the scorer
                row["contestantId"] = str(next(one["id"] for one in teams.values() if one["id"] != team))
            row |= {"type": word, "scorerName": name, "assistPlayerName": event["assist"]["name"]}
            rows["goal"].append(row)
        elif event["type"] == "Card":
            row |= {"type": "RC" if event["detail"] == "Red Card" else "YC", "playerName": name}
            rows["card"].append(row)
        else:
            rows["VAR"].append(row | {"decision": event["detail"]})
    match: dict[str, Any] = {
        "matchInfo": {
            "id": str(fixture["fixture"]["id"]),
            "date": _iso(fixture)[:10] + "Z",
            "time": _iso(fixture)[11:],
            "competition": {"id": "cup", "name": fixture["league"]["name"]},
            "contestant": [
                {"id": str(team["id"]), "name": team["name"], "position": side}
                for side, team in teams.items()
            ],
            "venue": {"longName": fixture["fixture"]["venue"]["name"]},
        }
    }
    if short != "NS":
        details: dict[str, Any] = {"matchStatus": _MA1[short], "periodId": _MA1_PERIODS[short]}
        if _MA1[short] == "Playing":
            details["matchTime"] = fixture["fixture"]["status"]["elapsed"] or 0
        match["liveData"] = {"matchDetails": details | {"scores": {"total": fixture["goals"]}}, **rows}
    return match


def _iso(fixture: dict[str, Any]) -> str:
    moment = datetime.datetime.fromtimestamp(fixture["fixture"]["timestamp"], datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
