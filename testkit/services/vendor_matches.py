"""The 2018 final as two vendors tell it while it is played, row by row, with what they take back.

The rows are those of ``tests/data/vendor``; their times of entry are the simulated vendor's own. What each
vendor hides is hidden here too: Opta's deletions leave ``version`` as it was, Sportradar's are just gone.
"""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ET
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

__all__ = ["ABSURD", "OptaMatch", "SportradarMatch"]

DATA = Path(__file__).parents[2] / "tests" / "data" / "vendor"
BEGIN = datetime(2018, 7, 15, 15, 0, 0, tzinfo=UTC)
GHOST_ID = 9_000
ABSURD_ID = 666_666
ABSURD = "Nobody-at-all"


class _Match:
    """A match while it is played. The vendor's clock moves a second with each thing said of it."""

    feed: str
    number: str

    def __init__(self) -> None:
        self.now = BEGIN
        self.behind = timedelta()  # the clock of documents, behind that of what happens
        self.rows: list[dict[str, Any]] = []
        self.to_come: deque[dict[str, Any]] = deque(self._script())
        self._ghosts = 0

    def _script(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def tick(self) -> None:
        self.now += timedelta(seconds=1)

    def document(self) -> bytes:
        """All of it, as of now."""
        self.tick()
        return self._document()

    def _document(self) -> bytes:
        raise NotImplementedError

    def absurd(self, document: bytes) -> bytes:
        """The document, and one more goal of a side that neither team is."""
        raise NotImplementedError

    def goals(self) -> list[dict[str, Any]]:
        """What can be edited: goals, latest last."""
        raise NotImplementedError


class SportradarMatch(_Match):
    """The 2018 final as Sportradar's timeline."""

    feed = "sportradar-v4"
    number = "15553427"

    def _script(self) -> list[dict[str, Any]]:
        self._file = json.loads((DATA / "sportradar-v4-timeline.json").read_bytes())
        rows = copy.deepcopy(self._file["timeline"])
        for row in rows:
            row.pop("updated", None)
            row.pop("updated_time", None)
        found: list[dict[str, Any]] = rows
        return found

    def absurd(self, document: bytes) -> bytes:
        told = json.loads(document)
        row = {"id": ABSURD_ID, "type": "score_change", "time": told["generated_at"], "competitor": "left"}
        told["timeline"].append(row | {"match_time": 31, "players": [{"name": ABSURD, "type": "scorer"}]})
        return json.dumps(told).encode()

    def goals(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["type"] == "score_change"]

    def advance(self) -> dict[str, Any] | None:
        if not self.to_come:
            return None
        return self._add(self.to_come.popleft())

    def invent(self) -> dict[str, Any] | None:
        self._ghosts += 1
        side = "away" if self._ghosts % 2 else "home"
        row = {"id": GHOST_ID + self._ghosts, "type": "score_change", "match_time": 30, "competitor": side}
        return self._add(row | {"period": 1, "period_type": "regular_period"})

    def touch(self) -> dict[str, Any] | None:
        return self._edit(lambda row: row.update(match_time=row["match_time"] % 90 + 1))

    def retype(self) -> dict[str, Any] | None:
        return self._edit(lambda row: row.update(type="throw_in"))

    def delete(self) -> dict[str, Any] | None:
        if self.goals():
            self.tick()
            self.rows.remove(self.goals()[-1])
        return None  # nothing is pushed of it

    def status(self) -> dict[str, Any]:
        types = [(row["type"], row.get("period")) for row in self.rows]
        sides = [row["competitor"] for row in self.goals()]
        score = {"home_score": sides.count("home"), "away_score": sides.count("away")}
        if ("match_ended", None) in types:
            return {"status": "closed", "match_status": "ended", **score}
        if ("period_start", 2) in types:
            return {"status": "live", "match_status": "2nd_half", **score}
        if any(type_ == "break_start" for type_, _ in types):
            return {"status": "live", "match_status": "halftime", **score}
        if ("period_start", 1) in types:
            return {"status": "live", "match_status": "1st_half", **score}
        return {"status": "not_started", "match_status": "not_started", **score}

    def message(self, row: dict[str, Any]) -> dict[str, Any]:
        """As it is pushed; the id of the match is spelt otherwise there."""
        return {
            "payload": {"sport_event_status": self.status(), "event": row},
            "metadata": {"sport_event_id": f"sr:sport_event_id:{self.number}"},
        }

    def _document(self) -> bytes:
        sport_event = {**self._file["sport_event"], "id": f"sr:sport_event:{self.number}"}
        return json.dumps(
            {
                "generated_at": _iso(self.now - self.behind),
                "sport_event": sport_event,
                "sport_event_status": self.status(),
                "timeline": self.rows,
            }
        ).encode()

    def _add(self, row: dict[str, Any]) -> dict[str, Any]:
        self.tick()
        self.rows.append({**row, "time": _iso(self.now)})
        return dict(self.rows[-1])

    def _edit(self, change: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
        if not self.goals():
            return None
        row = self.goals()[-1]
        self.tick()
        change(row)
        row |= {"time": _iso(self.now), "updated": True, "updated_time": _iso(self.now)}
        return dict(row)


class OptaMatch(_Match):
    """The 2018 final as Opta's F24; each row is the attributes of an ``Event``, its qualifiers under Q."""

    feed = "opta-f24"
    number = "958113"

    def reschedule(self, game_date: str) -> None:
        """Move the kick-off, local time without a zone; what happens in the match keeps its times."""
        self._game["game_date"] = game_date

    def _script(self) -> list[dict[str, Any]]:
        game = ET.parse(DATA / "opta-f24.xml").getroot().find("Game")
        assert game is not None
        self._game = dict(game.attrib)
        rows = [{**event.attrib, "Q": [dict(q.attrib) for q in event]} for event in game]
        return sorted(rows, key=lambda row: (row["timestamp"], row["id"]))

    def absurd(self, document: bytes) -> bytes:
        row = f'<Event id="{ABSURD_ID}" event_id="{ABSURD_ID}" type_id="16" period_id="1" team_id="{ABSURD}"'
        row += f' last_modified="{_local(BEGIN)}"/></Game>'
        return document.replace(b"</Game>", row.encode())

    def goals(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["type_id"] == "16"]

    def advance(self) -> dict[str, Any] | None:
        if self.to_come:
            self._add(self.to_come.popleft())
        return None

    def invent(self) -> dict[str, Any] | None:
        self._ghosts += 1
        number = str(GHOST_ID + self._ghosts)
        team = self._game["home_team_id" if self._ghosts % 2 else "away_team_id"]
        row = {"id": number, "event_id": number, "type_id": "16", "period_id": "1", "min": "29", "sec": "1"}
        self._add(row | {"team_id": team, "player_id": "10", "timestamp": _local(self.now), "Q": []})
        return None

    def touch(self) -> dict[str, Any] | None:
        self._edit(lambda row: row.update(min=str((int(row["min"]) + 1) % 45)))
        return None

    def retype(self) -> dict[str, Any] | None:
        self._edit(lambda row: row.update(type_id="14"))
        return None

    def delete(self) -> dict[str, Any] | None:
        self._edit(lambda row: row.update(type_id="43"), bump=False)
        return None

    def _document(self) -> bytes:
        root = ET.Element("Games", timestamp=_local(self.now - self.behind))
        game = ET.SubElement(root, "Game", {**self._game, "id": self.number})
        for row in reversed(self.rows):  # the order of a document means nothing
            event = ET.SubElement(game, "Event", {key: row[key] for key in row if key != "Q"})
            for qualifier in row["Q"]:
                ET.SubElement(event, "Q", qualifier)
        document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
        return document

    def _add(self, row: dict[str, Any]) -> None:
        self.tick()
        self.rows.append({**row, "last_modified": _local(self.now), "version": _ms(self.now)})

    def _edit(self, change: Callable[[dict[str, Any]], None], *, bump: bool = True) -> None:
        if self.goals():
            row = self.goals()[-1]
            self.tick()
            change(row)
            row["last_modified"] = _local(self.now)
            if bump:
                row["version"] = _ms(self.now)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _local(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def _ms(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))
