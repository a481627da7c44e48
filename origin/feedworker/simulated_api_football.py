"""API-Football on loopback: matches that are played, edited, and answered with faults.

It answers ``/v4/matches/1``, ``/v4/matches`` and ``/v4/matches?ids=1,2`` as football-data.org,
``/scoreboard`` as ESPN, ``/match`` as Stats Perform MA1 (``simulated_forms``), and
``/fixtures?live=all``, ``/fixtures?ids=1-2`` and ``/fixtures?date=…`` as the vendor does: a match
that is over is gone from ``live=all``. ``advance`` makes the next thing happen in a match; ``edit`` changes,
deletes, re-enters or reorders what it said.

``touchline simulate-vendor api-football`` plays the 2018 final with it, so that anyone can see live
corrections without a key.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from types import TracebackType
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from origin.feedworker.simulated_forms import as_espn, as_football_data, as_ma1

__all__ = [
    "EDITS",
    "FAULTS",
    "KEY",
    "ApiFootball",
    "FixtureMatch",
    "drawn",
    "event",
    "final_2018",
    "play",
    "without_changes",
]

KEY: Final = "a free key"
EDITS: Final = ("scorer", "minute", "name", "delete", "again", "reorder", "duplicate", "var")
FAULTS: Final = ("500", "429", "garbage", "half", "stale", "quota", "drop", "stall", "other")
KICKOFF_S: Final = 1_531_666_800
_NAMES: Final = ("A. One", "B. Two", "C. Three", "D. Four", "E. Five", "F. Six")


class FixtureMatch:
    """One match while it is played.

    Args:
        number: the vendor's.
        script: its events in the order of play, as the vendor writes them.
        teams: the names of both.
    """

    def __init__(self, number: int, script: list[dict[str, Any]], teams: tuple[str, str]) -> None:
        self.number = number
        self.teams = teams
        self.events: list[dict[str, Any]] = []
        self._rows = 0
        self.to_come = deque(script)
        self.short = "NS"
        self.elapsed: int | None = None
        self.older: deque[dict[str, Any]] = deque(maxlen=3)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.short == "FT"

    def advance(self) -> None:
        """The next thing happens: the kick-off, an event, the end."""
        self.older.append(self.changed_fixture())
        if self.short == "NS":
            self.short, self.elapsed = "1H", 1
        elif self.to_come:
            row = self.to_come.popleft()
            self.elapsed = max(self.elapsed or 0, row["time"]["elapsed"])
            self.short = "1H" if self.elapsed <= 45 else "2H"
            self._enter(row)
        else:
            self.short, self.elapsed = "FT", 90

    def edit(self, what: str, draw: Random) -> None:
        """The vendor changes what it said; its own score goes with it."""
        self.older.append(self.changed_fixture())
        goals = [row for row in self.events if row["type"] == "Goal"]
        if what == "reorder":
            draw.shuffle(self.events)
        if not goals:
            return
        row = draw.choice(goals)
        match what:
            case "scorer":
                row["player"] = {"id": None, "name": draw.choice(_NAMES)}
                _touch(row)
            case "minute":
                row["time"] = {"elapsed": max(1, row["time"]["elapsed"] - 1), "extra": None}
                _touch(row)
            case "name":
                row["assist"] = {"id": None, "name": draw.choice(_NAMES)}
                _touch(row)
            case "delete":
                self.events.remove(row)
            case "again":
                self.events.remove(row)
                self._enter({**copy.deepcopy(row), "player": {"id": None, "name": draw.choice(_NAMES)}})
            case "duplicate":
                self._enter(copy.deepcopy(row))
            case "var":
                self.events.remove(row)
                self._enter({**row, "type": "Var", "detail": "Goal Disallowed - offside"})

    def _enter(self, row: dict[str, Any]) -> None:
        """Add a row under an id that no row had before."""
        self._rows += 1
        row["row_id"] = 100 * self.number + self._rows
        _touch(row)
        self.events.append(row)

    def score(self) -> dict[str, int]:
        """Of its goals."""
        sides = [row["team"]["id"] - 10 * self.number for row in self.events if row["type"] == "Goal"]
        return {"home": sides.count(1), "away": sides.count(2)}

    def fixture(self) -> dict[str, Any]:
        """As the vendor answers it."""
        return without_changes(self.changed_fixture())

    def changed_fixture(self) -> dict[str, Any]:
        """As ``fixture``, each row with its id and the time of its change, for a form that has these."""
        home, away = self.teams
        return copy.deepcopy(
            {
                "fixture": {
                    "id": self.number,
                    "timestamp": KICKOFF_S,
                    "status": {"short": self.short, "elapsed": self.elapsed},
                    "venue": {"name": "Park"},
                },
                "league": {"id": 1, "name": "World Cup"},
                "teams": {
                    "home": {"id": 10 * self.number + 1, "name": home},
                    "away": {"id": 10 * self.number + 2, "name": away},
                },
                "goals": self.score(),
                "score": {"penalty": {"home": None, "away": None}},
                "events": self.events,
            }
        )


def without_changes(fixture: dict[str, Any]) -> dict[str, Any]:
    """The fixture without what this vendor's rows do not have."""
    if "events" not in fixture:
        return fixture
    rows = [
        {key: value for key, value in row.items() if key not in ("row_id", "changed_s")}
        for row in fixture["events"]
    ]
    return {**fixture, "events": rows}


def _touch(row: dict[str, Any]) -> None:
    row["changed_s"] = time.time()


def final_2018(number: int = 1) -> FixtureMatch:
    """The final of the World Cup of 2018: its goals, and two cards."""
    rows = [
        event(number, side, minute, type_, detail, player) for minute, side, type_, detail, player in _FINAL
    ]
    return FixtureMatch(number, rows, ("France", "Croatia"))


_FINAL: Final = (
    (18, 1, "Goal", "Own Goal", "Mario Mandžukić"),
    (27, 1, "Card", "Yellow Card", "N'Golo Kanté"),
    (28, 2, "Goal", "Normal Goal", "Ivan Perišić"),
    (38, 1, "Goal", "Penalty", "Antoine Griezmann"),
    (41, 1, "Card", "Yellow Card", "Lucas Hernández"),
    (59, 1, "Goal", "Normal Goal", "Paul Pogba"),
    (65, 1, "Goal", "Normal Goal", "Kylian Mbappé"),
    (69, 2, "Goal", "Normal Goal", "Mario Mandžukić"),
)


def event(
    number: int, side: int, minute: int, type_: str, detail: str, player: str | None, *, extra: int = 0
) -> dict[str, Any]:
    """One row of ``events``."""
    return {
        "time": {"elapsed": minute, "extra": extra or None},
        "team": {"id": 10 * number + side, "name": str(side)},
        "player": {"id": None, "name": player},
        "assist": {"id": None, "name": None},
        "type": type_,
        "detail": detail,
        "comments": None,
    }


def drawn(number: int, draw: Random) -> FixtureMatch:
    """A match of a Saturday."""
    rows = []
    for minute in sorted(draw.sample(range(2, 90), draw.randint(2, 9))):
        side, name = draw.choice((1, 2)), draw.choice((*_NAMES, None))
        card = draw.random() < 0.3
        type_, detail = ("Card", "Yellow Card") if card else ("Goal", "Normal Goal")
        rows.append(event(number, side, minute, type_, detail, name))
    return FixtureMatch(number, rows, (f"Reds {number}", f"Blues {number}"))


class ApiFootball:
    """The server; a context manager.

    Attributes:
        matches: by number.
        faults: of the next answers.
        requests: the path and query of each request.
        remaining: requests that the quota has left, as the headers say.
        per_minute: what football-data.org allows, which its headers say; None where they say nothing.
    """

    def __init__(self, *matches: FixtureMatch, port: int = 0) -> None:
        self.matches = {match.number: match for match in matches}
        self.faults: deque[str] = deque()
        self.requests: list[str] = []
        self.remaining = 100_000
        self.per_minute: int | None = None
        self._minute = (0, 0)
        self.lock = threading.RLock()
        self.closing = threading.Event()
        vendor = self

        class Handler(_Handler):
            api = vendor

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def left_of_minute(self) -> tuple[int, int] | None:
        """Count one request: what is left of the minute, below 0 for one too many; and its seconds left."""
        if self.per_minute is None:
            return None
        minute, second = divmod(int(time.time()), 60)
        used = self._minute[1] + 1 if self._minute[0] == minute else 1
        self._minute = (minute, used)
        return self.per_minute - used, 60 - second

    def __enter__(self) -> ApiFootball:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: ApiFootball
    _left: tuple[int, int] | None = None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: tests read ``requests``."""

    def do_GET(self) -> None:
        api = self.api
        with api.lock:
            api.requests.append(self.path)
            api.remaining -= 1
            self._left = api.left_of_minute()
            fault = api.faults.popleft() if api.faults else None
            body = json.dumps(self._answered(fault)).encode()
        if KEY not in (self.headers.get(name) for name in ("x-apisports-key", "X-Auth-Token", "x-api-key")):
            return self._send(401, b"{}")
        if self._left is not None and self._left[0] < 0:
            return self._send(429, b"{}", {"Retry-After": str(self._left[1])})
        match fault:
            case "500":
                return self._send(500, b"{}")
            case "429":
                return self._send(429, b"{}", {"Retry-After": "1"})
            case "garbage":
                body = b"<html>busy</html>"
            case "half":
                body = body[: len(body) // 2]
            case "quota":
                body = json.dumps({"errors": {"requests": "limit for the day"}, "response": []}).encode()
            case "stall":
                api.closing.wait(1.0)
            case "other":
                body = json.dumps({"timeline": [], "sport_event": {"id": "sr:sport_event:1"}}).encode()
        return self._send(200, body)

    def _answered(self, fault: str | None) -> dict[str, Any]:
        query = parse_qs(urlsplit(self.path).query)
        matches = list(self.api.matches.values())
        if "ids" in query:
            wanted = set(query["ids"][0].replace(",", "-").split("-"))
            found = [match for match in matches if str(match.number) in wanted]
        elif "live" in query:
            found = [match for match in matches if match.short not in ("NS", "FT")]
        else:
            found = matches
        fixtures = [
            match.older[0] if fault == "stale" and match.older else match.changed_fixture() for match in found
        ]
        if "date" in query:
            for fixture in fixtures:
                del fixture["events"]
        if fault == "drop":
            fixtures = fixtures[1:]
        path = urlsplit(self.path).path
        if path.startswith("/v4/matches/"):
            number = path.rpartition("/")[2]
            found_here = [one for one in fixtures if str(one["fixture"]["id"]) == number]
            return as_football_data(found_here[0]) if found_here else {"message": "no such match"}
        if path == "/v4/matches":
            return {"matches": [as_football_data(one) for one in fixtures]}
        if path.endswith("/scoreboard"):
            return as_espn(fixtures)
        if path.endswith("/match"):
            return {"match": [as_ma1(one) for one in fixtures]}
        fixtures = [without_changes(one) for one in fixtures]
        return {"get": "fixtures", "errors": [], "results": len(fixtures), "response": fixtures}

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-ratelimit-requests-remaining", str(max(0, self.api.remaining)))
        if self._left is not None:
            self.send_header("X-Requests-Available-Minute", str(max(0, self._left[0])))
            self.send_header("X-RequestCounter-Reset", str(self._left[1]))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def play(vendor: ApiFootball, match: FixtureMatch, seconds: float, draw: Random) -> None:
    """Play a match to its end while a server shows it, edits between its events.

    Args:
        vendor: the server.
        match: one of its matches.
        seconds: how long the match takes.
        draw: which edits come, and where.
    """
    pause_s = seconds / (2 * len(match.to_come) + 3)
    while not match.over and not vendor.closing.wait(pause_s):
        with vendor.lock:
            match.advance()
        if match.over or not match.to_come or vendor.closing.wait(pause_s):
            continue
        with vendor.lock:
            if draw.random() < 0.5:
                match.edit(draw.choice(("scorer", "minute", "again", "name", "reorder")), draw)
