"""One match in the words of each vendor that sends snapshots: a shoot-out after an own goal and a penalty.

A 2-2 B: A's Ann 23', an own goal by A's Cid 45+2' for B, a penalty by B's Bob 80', A's Dan 90+8'; B wins 3-4.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["ESPN", "FOOTBALL_DATA", "STATS_PERFORM", "espn", "football_data", "stats_perform"]


def football_data(**changes: Any) -> dict[str, Any]:
    """``/v4/matches/7``."""

    def goal(minute: int, extra: int | None, type_: str, team: int, who: str, score: tuple[int, int]) -> Any:
        return {
            "minute": minute, "injuryTime": extra, "type": type_, "team": {"id": team, "name": "x"},
            "scorer": {"id": 1, "name": who}, "assist": None, "score": {"home": score[0], "away": score[1]},
        }  # fmt: skip

    kicks = [*[(10, True), (20, True)] * 3, (10, False), (20, True)]
    return {
        "id": 7, "utcDate": "2026-05-30T19:00:00Z", "status": "FINISHED", "minute": 120, "venue": "Park",
        "lastUpdated": "2026-05-30T22:00:00Z", "competition": {"id": 1, "name": "Cup"},
        "homeTeam": {"id": 10, "name": "A", "shortName": "A", "tla": "AAA"},
        "awayTeam": {"id": 20, "name": "B", "shortName": "B", "tla": "BBB"},
        "score": {
            "winner": "AWAY_TEAM", "duration": "PENALTY_SHOOTOUT", "fullTime": {"home": 5, "away": 6},
            "halfTime": {"home": 1, "away": 1}, "regularTime": {"home": 2, "away": 2},
            "extraTime": {"home": 0, "away": 0}, "penalties": {"home": 3, "away": 4},
        },
        "goals": [
            goal(23, None, "REGULAR", 10, "Ann", (1, 0)), goal(45, 2, "OWN", 10, "Cid", (1, 1)),
            goal(80, None, "PENALTY", 20, "Bob", (1, 2)), goal(90, 8, "REGULAR", 10, "Dan", (2, 2)),
        ],
        "penalties": [
            {"player": {"name": "K"}, "team": {"id": team}, "scored": made} for team, made in kicks
        ],
        "bookings": [
            {"minute": 60, "team": {"id": 20}, "player": {"name": "Eve"}, "card": "YELLOW_RED"},
            {"minute": 50, "team": {"id": 20}, "player": {"name": "Eve"}, "card": "YELLOW"},
        ],
        "substitutions": [
            {"minute": 70, "team": {"id": 10}, "playerOut": {"name": "Off"}, "playerIn": {"name": "On"}}
        ],
    } | changes  # fmt: skip


def espn(**changes: Any) -> dict[str, Any]:
    """A scoreboard with one match; ``changes`` are of the match."""

    def row(text: str, clock: str, team: str, who: str, **flags: bool) -> Any:
        return {
            "type": {"id": "70", "text": text}, "clock": {"value": 1380.0, "displayValue": clock},
            "team": {"id": team}, "scoringPlay": False, "redCard": False, "yellowCard": False,
            "penaltyKick": False, "ownGoal": False, "shootout": False,
            "athletesInvolved": [{"id": "1", "displayName": who}],
        } | flags  # fmt: skip

    kicks = [*[("10", True), ("20", True)] * 3, ("10", False), ("20", True)]
    match = {
        "id": "7", "date": "2026-05-30T19:00Z",
        "status": {
            "displayClock": "120'", "period": 5, "type": {"name": "STATUS_FINAL_PEN", "state": "post"},
        },
        "competitions": [
            {
                "id": "7", "venue": {"fullName": "Park"},
                "competitors": [
                    {
                        "homeAway": "home", "score": "2", "shootoutScore": 3.0,
                        "team": {"id": "10", "displayName": "A", "abbreviation": "AAA"},
                    },
                    {
                        "homeAway": "away", "score": "2", "shootoutScore": "4",
                        "team": {"id": "20", "displayName": "B", "abbreviation": "BBB"},
                    },
                ],
                "details": [
                    row("Goal", "23'", "10", "Ann", scoringPlay=True),
                    row("Own Goal", "45'+2'", "20", "Cid", scoringPlay=True, ownGoal=True),
                    row("Penalty - Scored", "80'", "20", "Bob", scoringPlay=True, penaltyKick=True),
                    row("Yellow Card", "50'", "20", "Eve", yellowCard=True),
                    row("Red Card", "60'", "20", "Eve", redCard=True, yellowCard=True),
                    row("Goal - Header", "90'+8'", "10", "Dan", scoringPlay=True),
                    *(
                        row("Penalty", "120'", team, "K", shootout=True, scoringPlay=made)
                        for team, made in kicks
                    ),
                ],
            }
        ],
    } | changes  # fmt: skip
    return {"leagues": [{"id": "1", "name": "Cup"}], "events": [match]}


def stats_perform(**details: Any) -> dict[str, Any]:
    """MA1 of one match; ``details`` are of ``matchDetails``."""

    def row(number: int, minute: int, period: int, team: str, **more: Any) -> Any:
        return {
            "contestantId": team, "periodId": period, "timeMin": minute, "optaEventId": str(number),
            "lastUpdated": f"2026-05-30T21:00:{number:02}Z",
        } | more  # fmt: skip

    def kick(number: int, minute: int, team: str, turn: int, outcome: str) -> Any:
        """The vendor gives a kick no period, and names who took it as if it was always scored."""
        found = row(number, minute, 5, team, scorerName="K", outcome=outcome, teamPenaltyNumber=turn)
        del found["periodId"]
        return found

    kicks = [*[("h", True), ("a", True)] * 3, ("h", False), ("a", True)]
    return {
        "matchInfo": {
            "id": "7", "date": "2026-05-30Z", "time": "19:00:00Z", "lastUpdated": "2026-05-30T22:00:00Z",
            "competition": {"name": "Cup"}, "venue": {"longName": "Park"},
            "contestant": [
                {"id": "h", "name": "A", "code": "AAA", "position": "home"},
                {"id": "a", "name": "B", "code": "BBB", "position": "away"},
            ],
        },
        "liveData": {
            "matchDetails": {
                "periodId": 14, "matchStatus": "Played",
                "scores": {
                    "ht": {"home": 1, "away": 1}, "ft": {"home": 2, "away": 2}, "et": {"home": 2, "away": 2},
                    "pen": {"home": 3, "away": 4}, "total": {"home": 5, "away": 6},
                },
            } | details,
            "goal": [
                row(1, 23, 1, "h", type="G", scorerName="Ann"),
                row(2, 47, 1, "h", type="OG", scorerName="Cid"),
                row(3, 80, 2, "a", type="PG", scorerName="Bob"),
                row(4, 98, 2, "h", type="G", scorerName="Dan"),
            ],
            "card": [
                row(5, 50, 2, "a", type="YC", playerName="Eve"),
                row(6, 60, 2, "a", type="Y2C", playerName="Eve"),
            ],
            "substitute": [row(7, 70, 2, "h", playerOnName="On", playerOffName="Off")],
            "penaltyShot": [
                kick(10 + n, 121 + n, team, n // 2 + 1, "scored" if made else ("missed", "saved")[n % 2])
                for n, (team, made) in enumerate(kicks)
            ],
            "VAR": [row(30, 46, 1, "a", type="Goal awarded", outcome="Confirmed")],
        },
    }  # fmt: skip


FOOTBALL_DATA: Final = football_data()
ESPN: Final = espn()
STATS_PERFORM: Final = stats_perform()
