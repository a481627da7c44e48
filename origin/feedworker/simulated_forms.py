"""The matches of the simulated vendor in the words of other vendors: football-data.org and ESPN.

The match is played, edited and answered with faults by ``simulated_api_football``; here is only how the same
match looks in another form.
"""

from __future__ import annotations

import datetime
from typing import Any, Final

__all__ = ["as_espn", "as_football_data"]

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
            "type": {"name": _ESPN[status["short"]]},
        },
        "competitions": [
            {
                "competitors": competitors,
                "details": details,
                "venue": {"fullName": fixture["fixture"]["venue"]["name"]},
            }
        ],
    }


def _iso(fixture: dict[str, Any]) -> str:
    moment = datetime.datetime.fromtimestamp(fixture["fixture"]["timestamp"], datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
