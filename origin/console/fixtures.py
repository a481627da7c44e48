"""A list of fixtures, CSV or JSON, as matches to be created. Every row that cannot be is named.

Columns: ``home`` and ``away`` must be there, and ``date`` or ``kickoff``. ``kickoff`` is a moment with its
zone (``2026-11-28T15:00+01:00``); ``date`` and ``time`` are taken in ``zone`` (``+01:00``, UTC where it is
left out). Further: ``competition``, ``venue``, ``home_code``, ``away_code``, ``home_color``, ``away_color``,
``match_id``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Final

from origin.console.entries import SOURCE
from origin.errors import RequestError
from origin.feeds.matchid import match_id as match_id_of
from shared_state import Event, InvalidEvent
from shared_state.errors import shown
from shared_state.jsontext import Json, JsonObject, parse

__all__ = ["FIXTURES_MAX", "FIXTURES_MAX_BYTES", "BadRow", "Fixture", "parse_fixtures"]

FIXTURES_MAX: Final = 500
FIXTURES_MAX_BYTES: Final = 262_144
COLUMNS: Final = (
    *("home", "away", "date", "time", "zone", "kickoff", "competition", "venue"),
    *("home_code", "away_code", "home_color", "away_color", "match_id"),
)
_REQUIRED: Final = ("home", "away")
_ZONE: Final = re.compile(r"(?:UTC|Z)?|(?:UTC)?([+-])([01][0-9]):?([0-5][0-9])")
_TIME: Final = re.compile(r"([01]?[0-9]|2[0-3])[:.]([0-5][0-9])")


@dataclass(frozen=True, slots=True)
class Fixture:
    """A match that can be created.

    Attributes:
        row: where it stands: the line of the text (CSV), or the number of the item, from 1 (JSON).
        event: its MATCH_INFO.
    """

    row: int
    event: Event

    def to_json(self) -> JsonObject:
        """The row as the browser shows it."""
        detail = self.event.detail
        return {
            "row": self.row,
            "match_id": self.event.match_id,
            "home": detail["home"]["name"],
            "away": detail["away"]["name"],
            "competition": detail["competition"],
            "kickoff_ms": detail["kickoff_ms"],
        }


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no fixture.

    Attributes:
        column: the column that is wrong; empty: the row as a whole.
        message: what is wrong with it, with the value.
    """

    row: int
    column: str
    message: str

    def to_json(self) -> JsonObject:
        """The row as the browser shows it."""
        return {"row": self.row, "column": self.column, "message": self.message}


class _WrongCell(Exception):
    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


def parse_fixtures(text: str) -> tuple[list[Fixture], list[BadRow]]:
    """Read a list, JSON if it begins like that, else CSV with its columns' names in the first line.

    Returns:
        The fixtures and the rows that are none, each in the order of the text.

    Raises:
        RequestError: 413 too long; 422 it is no list of rows, or has a column that is not known.
    """
    if len(text.encode("utf-8", "replace")) > FIXTURES_MAX_BYTES:
        raise RequestError(413, "too_many_fixtures", f"a list has at most {FIXTURES_MAX_BYTES} bytes")
    text = text.lstrip("\ufeff").strip()
    if not text:
        raise _no_list("the list is empty")
    rows = _json_rows(text) if text[0] in "[{" else _csv_rows(text)
    if len(rows) > FIXTURES_MAX:
        raise RequestError(
            413,
            "too_many_fixtures",
            f"{len(rows)} rows; a list has at most {FIXTURES_MAX}",
            limit=FIXTURES_MAX,
        )
    fixtures: list[Fixture] = []
    bad: list[BadRow] = []
    seen: dict[str, int] = {}
    for number, row in rows:
        try:
            fixture = Fixture(number, _event(row))
            earlier = seen.setdefault(fixture.event.match_id, number)
            if earlier != number:
                raise _WrongCell("match_id", f"{fixture.event.match_id} is row {earlier} already")
        except _WrongCell as error:
            bad.append(BadRow(number, error.column, str(error)))
        except InvalidEvent as error:
            column = error.field.removeprefix("detail.").replace("home.", "home_").replace("away.", "away_")
            bad.append(BadRow(number, column.removesuffix("_name"), str(error)))
        else:
            fixtures.append(fixture)
    return fixtures, bad


def _json_rows(text: str) -> Sequence[tuple[int, Mapping[str, str] | str]]:
    try:
        value = parse(text)
    except ValueError as error:
        raise _no_list(f"the list is not JSON: {error}") from None
    if isinstance(value, Mapping):
        value = value.get("fixtures", [value] if "home" in value else None)
    if not isinstance(value, list):
        raise _no_list("the list must be a JSON array of objects")
    return [(number, _json_row(item)) for number, item in enumerate(value, start=1)]


def _json_row(item: Json) -> Mapping[str, str] | str:
    if not isinstance(item, Mapping):
        return f"{shown(item)}: must be an object"
    for name, value in item.items():
        if name not in COLUMNS:
            return f"{shown(name)} is no column; there are {' '.join(COLUMNS)}"
        if value is not None and not isinstance(value, str):
            return f"{name} {shown(value)}: must be text"
    return {name: value for name, value in item.items() if value is not None}


def _csv_rows(text: str) -> Sequence[tuple[int, Mapping[str, str] | str]]:
    head = text.splitlines()[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    rows: list[tuple[int, Mapping[str, str] | str]] = []
    try:
        names = [name.strip().lower().replace(" ", "_") for name in next(reader)]
        for name in names:
            if name not in COLUMNS or names.count(name) > 1:
                problem = "there twice" if name in COLUMNS else "no column"
                raise _no_list(f"line 1: {shown(name)} is {problem}; there are {' '.join(COLUMNS)}")
        for name in _REQUIRED:
            if name not in names:
                raise _no_list(f"line 1: the column {name} is missing; the first line names the columns")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(names):
                rows.append((reader.line_num, f"has {len(cells)} cells; the first line has {len(names)}"))
            else:
                row = {name: cell.strip() for name, cell in zip(names, cells, strict=True) if cell.strip()}
                rows.append((reader.line_num, row))
    except csv.Error as error:
        raise _no_list(f"line {reader.line_num} is not CSV: {error}") from None
    return rows


def _event(row: Mapping[str, str] | str) -> Event:
    """The MATCH_INFO of a row.

    Raises:
        _WrongCell: a cell cannot be read.
        InvalidEvent: one of them breaks the contract of events.
    """
    if isinstance(row, str):
        raise _WrongCell("", row)
    for name in _REQUIRED:
        if not row.get(name, "").strip():
            raise _WrongCell(name, f"{name}: is missing")
    day, kickoff = _moment(row)
    home, away = (
        {
            "name": row[side].strip(),
            "code": row.get(f"{side}_code"),
            "color": row.get(f"{side}_color"),
        }
        for side in _REQUIRED
    )
    if home["name"] == away["name"]:
        raise _WrongCell("away", f"away {shown(away['name'])}: is the home team too")
    return Event.from_json(
        {
            "match_id": row.get("match_id") or match_id_of(day, home, away),
            "event_id": "info",
            "rev": 1,
            "op": "ADD",
            "type": "MATCH_INFO",
            "period": "PRE",
            "detail": {
                "home": home,
                "away": away,
                "competition": row.get("competition"),
                "venue": row.get("venue"),
                "kickoff_ms": None if kickoff is None else int(kickoff.timestamp() * 1_000),
            },
            "source": SOURCE,
        }
    )


def _moment(row: Mapping[str, str]) -> tuple[date, datetime | None]:
    """The day of a row, and its kick-off where there is one."""
    text = row.get("kickoff")
    if text is not None:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise _WrongCell(
                "kickoff", f"kickoff {shown(text)}: must be like 2026-11-28T15:00+01:00, with its zone"
            )
        return moment.date(), moment
    text = row.get("date")
    if text is None:
        raise _WrongCell("date", "date: is missing, and kickoff too")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise _WrongCell("date", f"date {shown(text)}: must be like 2026-11-28") from None
    text = row.get("time")
    zone = _zone(row.get("zone", ""))
    if text is None:
        return day, None
    found = _TIME.fullmatch(text)
    if found is None:
        raise _WrongCell("time", f"time {shown(text)}: must be like 15:00")
    return day, datetime.combine(day, time(int(found[1]), int(found[2])), zone)


def _zone(text: str) -> timezone:
    found = _ZONE.fullmatch(text)
    if found is None:
        raise _WrongCell("zone", f"zone {shown(text)}: must be like +01:00, or UTC")
    if found[1] is None:
        return UTC
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-offset if found[1] == "-" else offset)


def _no_list(message: str) -> RequestError:
    return RequestError(422, "bad_fixtures", message)
