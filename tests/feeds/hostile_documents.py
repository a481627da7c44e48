"""Documents that are damaged: cut anywhere, or with any field of another type, missing or doubled.

``python -m tests.feeds.hostile_documents COUNT [SEED [FORMAT …]]`` reads that many of them, and prints how
many gave events and how many one typed error. Anything else ends it with the document that did it.
"""

from __future__ import annotations

import copy
import io
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from origin.errors import FeedError
from origin.feeds import open_converter
from origin.feeds.opta_f24 import read_f7
from origin.feedworker.simulated_api_football import event, final_2018
from tests.feeds.snapshot_documents import ESPN, FOOTBALL_DATA, STATS_PERFORM

__all__ = ["SOURCES", "damaged", "read_one"]

DATA: Final = Path(__file__).parents[1] / "data"

# What a field may hold instead of what it should.
VALUES: Final[list[Any]] = [
    None, True, False, 0, -1, 1, 2.5, 10**15, "", " ", "x", "2018-07-15", "2018-07-15T15:00:00",
    "90+3", "\u0000", "é" * 200, [], [1], [None], [2, 1], [[]], {}, {"name": "x"}, {"id": 1}, "sr:match:1",
    "25-3-2018",
]  # fmt: skip
TEXTS: Final = [
    "", " ", "x", "0", "-1", "5", "14", "16", "17", "27", "30", "43", "47", "70", "171", "277", "1e9",
    "99999999999",
    "2018-07-15T15:00:00", "9999-12-31T23:59:59", "0001-01-01T00:00:00", "²", "é" * 200, "368", "535",
]  # fmt: skip


def _openfootball() -> list[bytes]:
    """Three matches of each form."""
    found = []
    for name in ("worldcup-2018.json", "worldcup-2018-full.json", "euro-2020.json"):
        document = json.loads((DATA / "openfootball" / name).read_bytes())
        rows = document.get("matches") or [row for part in document["rounds"] for row in part["matches"]]
        found.append({**document, "rounds": [{"name": "R", "matches": rows[-3:]}], "matches": rows[-3:]})
        del found[-1]["matches" if document.get("rounds") else "rounds"]
    old = {
        "name": "Cup",
        "rounds": [
            {
                "name": "Final",
                "matches": [
                    {
                        "num": 1, "date": "2018-05-01", "time": "18:00", "timezone": "UTC+3",
                        "team1": {"key": "a", "name": "Redtown", "code": "RED"},
                        "team2": {"key": "b", "name": "Bluetown", "code": "BLU"},
                        "score1": 1, "score2": 1, "score1i": 0, "score2i": 1, "score1et": 1, "score2et": 1,
                        "score1p": 4, "score2p": 3, "stadium": {"key": "x", "name": "Park"},
                        "city": "Redtown",
                        "goals1": [{"name": "A", "minute": 90, "offset": 2, "score1": 1, "score2": 1}],
                        "goals2": [{"name": "B", "minute": 5, "score1": 0, "score2": 1}],
                    },
                    {"num": 62, "date": "2018-05-02", "time": "20:45 CET", "team1": "N.N.", "team2": "N.N."},
                    {"num": 63, "date": "2018-05-02", "time": "20:45 CET", "team1": "N.N.", "team2": "N.N."},
                    {"date": "2018-05-03", "team1": "Redtown", "team2": "Bluetown", "score": [2, 0]},
                ],
            }
        ],
    }  # fmt: skip
    return [json.dumps(document, indent=1).encode() for document in (*found, old)]


def _timelines() -> list[bytes]:
    timeline = json.loads((DATA / "vendor" / "sportradar-v4-timeline.json").read_bytes())
    status = {
        "status": "closed", "match_status": "ap", "home_score": 1, "away_score": 1, "decided_by_fed": False,
        "period_scores": [{"type": "penalties", "home_score": 4, "away_score": 2}],
    }  # fmt: skip
    kick = {
        "id": 900, "type": "penalty_shootout", "time": "2018-07-15T17:00:00+00:00", "competitor": "home",
        "period_type": "penalties", "status": "scored", "players": [{"name": "A, B"}],
    }  # fmt: skip
    pair = {**kick, "id": 901, "type": "score_change", "shootout_home_score": 1}
    ended = {**timeline, "sport_event_status": status, "timeline": [*timeline["timeline"][-4:], kick, pair]}
    uncovered = {**timeline, "sport_event_status": status, "timeline": []}
    return [json.dumps(document, indent=1).encode() for document in (timeline, ended, uncovered)]


def _f24() -> list[bytes]:
    document = (DATA / "vendor" / "opta-f24.xml").read_bytes()
    more = (
        b'<Event id="1" event_id="1" type_id="70" period_id="1" min="44" sec="0" team_id="368" '
        b'last_modified="2018-07-15T15:44:00"><Q qualifier_id="277" value="3"/></Event>'
        b'<Event id="2" event_id="2" type_id="47" period_id="2" min="60" sec="0" team_id="368" player_id="6" '
        b'last_modified="2018-07-15T15:44:00"><Q qualifier_id="31" value=""/></Event>'
        b'<Event id="3" event_id="3" type_id="27" period_id="2" min="61" sec="0" team_id="535" '
        b'last_modified="2018-07-15T15:44:00"><Q qualifier_id="41" value="Injury"/></Event></Game>'
    )
    scored = document.replace(b"<Game ", b'<Game home_score="4" away_score="2" ')
    return [scored.replace(b"</Game>", more)]


def _api_football() -> list[bytes]:
    """The final while it is played, and when it is over with every kind of row."""
    match = final_2018()
    while match.to_come:
        match.advance()
    extra = [
        event(1, 1, 120, "Goal", "Missed Penalty", "A", extra=1),
        event(1, 2, 90, "subst", "Substitution 1", "B", extra=3),
        event(1, 2, 91, "Var", "Goal Disallowed - offside", "C"),
        event(1, 1, 95, "Card", "Red Card", None),
    ]
    running = match.fixture()
    match.advance()
    over = match.fixture()
    over["events"] += extra
    over["score"]["penalty"] = {"home": 4, "away": 2}
    over["fixture"]["status"] = {"short": "PEN", "elapsed": 120, "extra": 3}
    uncovered = {**over, "events": []}
    return [
        json.dumps({"errors": [], "response": list(fixtures)}, indent=1).encode()
        for fixtures in ([running], [over], [uncovered, over])
    ]


SOURCES: Final[dict[str, list[bytes]]] = {
    "openfootball": _openfootball(),
    "sportradar-v4": _timelines(),
    "opta-f24": _f24(),
    "api-football-v3": _api_football(),
    "football-data-v4": [json.dumps(FOOTBALL_DATA, indent=1).encode()],
    "espn-scoreboard": [json.dumps(ESPN, indent=1).encode()],
    "stats-perform-ma1": [json.dumps(STATS_PERFORM, indent=1).encode()],
    "f7": [(DATA / "vendor" / "opta-f7.xml").read_bytes()],
}


def damaged(draw: random.Random, name: str) -> bytes:
    """One document of a format with one to three injuries."""
    data = draw.choice(SOURCES[name])
    for _ in range(draw.randint(1, 3)):
        injury = draw.choice([_cut, _splice, _field, _field, _field])
        data = injury(draw, data)
    return data


def _cut(draw: random.Random, data: bytes) -> bytes:
    return data[: draw.randint(0, len(data))]


def _splice(draw: random.Random, data: bytes) -> bytes:
    at, length = draw.randint(0, len(data)), draw.randint(0, 3)
    return data[:at] + draw.randbytes(draw.randint(0, 3)) + data[at + length :]


def _field(draw: random.Random, data: bytes) -> bytes:
    """One field with another value, away, or there twice."""
    if data.lstrip()[:1] == b"<":
        return _attribute(draw, data)
    try:
        document = json.loads(data)
    except ValueError:
        return data
    places = list(_places(document))
    if not places:
        return data
    document = copy.deepcopy(document)
    container, key = draw.choice(list(_places(document)))
    match draw.randint(0, 3):
        case 0 if isinstance(container, dict):
            del container[key]
        case 1 if isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        case _:
            container[key] = copy.deepcopy(draw.choice(VALUES))
    return json.dumps(document, indent=1).encode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((value, key))
        found += _places(inner)
    return found


_ATTRIBUTE: Final = re.compile(rb'([\w.]+)="([^"]*)"')


def _attribute(draw: random.Random, data: bytes) -> bytes:
    found = list(_ATTRIBUTE.finditer(data))
    if not found:
        return data
    place = draw.choice(found)
    text = draw.choice(TEXTS).encode()
    changed = draw.choice([b"", place[1] + b'="' + text + b'"', b'x="' + place[2] + b'"'])
    return data[: place.start()] + changed + data[place.end() :]


def read_one(name: str, data: bytes) -> str:
    """Read a document as its command does.

    Returns:
        ``events`` or ``error``.

    Raises:
        AssertionError: an error or a warning says neither line nor path.
        Exception: whatever the reader raises that it should not.
    """
    doubts: list[FeedError] = []
    outcome = "events"
    try:
        if name == "f7":
            read_f7(io.BytesIO(data))
        else:
            for _ in open_converter(name)(io.BytesIO(data), doubts.append):
                pass
    except FeedError as error:
        doubts.append(error)
        outcome = "error"
    for doubt in doubts:
        line = doubt.evidence.get("line")
        assert isinstance(line, int), f"no line: {doubt}"
        # To XML a carriage return alone ends a line too.
        assert 1 <= line <= data.count(b"\n") + data.count(b"\r") + 1, f"line {line}: {doubt}"
    return outcome


def main(count: int, seed: int, names: Sequence[str] = tuple(SOURCES)) -> Counter[str]:
    """Read so many documents of these formats.

    Raises:
        Exception: the first document that gives neither events nor one typed error.
    """
    draw = random.Random(seed)
    outcomes: Counter[str] = Counter()
    for number in range(count):
        name = draw.choice(names)
        data = damaged(draw, name)
        try:
            outcomes[f"{name} {read_one(name, data)}"] += 1
        except Exception:
            path = Path(f"hostile-{number}.{name}")
            path.write_bytes(data)
            print(f"document {number} of seed {seed} is kept in {path}", file=sys.stderr)
            raise
    return outcomes


if __name__ == "__main__":
    given = [int(text) for text in (*sys.argv[1:3], "1")[:2]]
    names = sys.argv[3:] or list(SOURCES)
    for outcome, times in sorted(main(given[0], given[1], names).items()):
        print(f"{outcome}: {times}")
