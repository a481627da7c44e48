"""Lists of fixtures: what becomes a match, and that every row that does not is named."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.console.fixtures import FIXTURES_MAX, FIXTURES_MAX_BYTES, parse_fixtures
from origin.errors import RequestError


def test_csv_with_all_columns() -> None:
    text = (
        "\ufeffhome,away,date,time,zone,competition,venue,home_code,away_code,home_color,away_color\r\n"
        '"Ajax",PSV,2026-11-28,20:00,+01:00,"Eredivisie, round 14",Arena,AJA,PSV,#d2122e,#ed1c24\r\n'
    )
    (fixture,), bad = parse_fixtures(text)
    assert bad == []
    assert fixture.row == 2
    assert fixture.event.match_id == "2026-11-28-aja-psv"
    assert (fixture.event.event_id, fixture.event.type, fixture.event.source) == (
        "info",
        "MATCH_INFO",
        "console",
    )
    assert fixture.event.detail == {
        "home": {"name": "Ajax", "code": "AJA", "color": "#d2122e"},
        "away": {"name": "PSV", "code": "PSV", "color": "#ed1c24"},
        "competition": "Eredivisie, round 14",
        "kickoff_ms": 1_795_892_400_000,
        "venue": "Arena",
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_of_spreadsheets(delimiter: str) -> None:
    text = f"Home{delimiter}Away{delimiter}Date\n\nA{delimiter}B{delimiter}2026-11-28\n"
    (fixture,), bad = parse_fixtures(text)
    assert (fixture.event.match_id, fixture.row, bad) == ("2026-11-28-a-b", 3, [])


def test_json_and_a_kickoff_with_its_zone() -> None:
    rows = [
        {"home": "A", "away": "B", "kickoff": "2026-11-28T23:30-05:00", "match_id": "cup-1", "venue": None}
    ]
    for text in (json.dumps(rows), json.dumps({"fixtures": rows}), json.dumps(rows[0])):
        (fixture,), bad = parse_fixtures(text)
        assert (fixture.event.match_id, bad) == ("cup-1", [])
        assert fixture.event.detail["kickoff_ms"] == 1_795_926_600_000


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ({"home": "A", "away": "B"}, "date", "date: is missing, and kickoff too"),
        ({"home": "", "away": "B", "date": "2026-11-28"}, "home", "home: is missing"),
        ({"home": "A", "away": "A", "date": "2026-11-28"}, "away", "away 'A': is the home team too"),
        (
            {"home": "A", "away": "B", "date": "28.11.2026"},
            "date",
            "date '28.11.2026': must be like 2026-11-28",
        ),
        (
            {"home": "A", "away": "B", "date": "2026-02-30"},
            "date",
            "date '2026-02-30': must be like 2026-11-28",
        ),
        (
            {"home": "A", "away": "B", "date": "2026-11-28", "time": "25:00"},
            "time",
            "time '25:00': must be like 15:00",
        ),
        (
            {"home": "A", "away": "B", "date": "2026-11-28", "time": "20:00", "zone": "CET"},
            "zone",
            "zone 'CET': must be like +01:00, or UTC",
        ),
        (
            {"home": "A", "away": "B", "kickoff": "2026-11-28T20:00"},
            "kickoff",
            "kickoff '2026-11-28T20:00': must be like 2026-11-28T15:00+01:00",
        ),
        (
            {"home": "A", "away": "B", "date": "2026-11-28", "match_id": "a b"},
            "match_id",
            "match_id: must match",
        ),
        (
            {"home": "A" * 129, "away": "B", "date": "2026-11-28"},
            "home",
            "detail.home.name: must be text of 1 to 128",
        ),
        (
            {"home": "A", "away": "B", "date": "2026-11-28", "away_color": "red"},
            "away_color",
            "must be # and six",
        ),
        ({"home": "A", "away": "B", "date": "2026-11-28", "score": "1"}, "", "'score' is no column"),
        ({"home": 1, "away": "B", "date": "2026-11-28"}, "", "home 1: must be text"),
        ("A-B", "", "'A-B': must be an object"),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_good(row: object, column: str, message: str) -> None:
    good = {"home": "C", "away": "D", "date": "2026-11-28"}
    fixtures, (bad,) = parse_fixtures(json.dumps([row, good]))
    assert [fixture.event.match_id for fixture in fixtures] == ["2026-11-28-c-d"]
    assert (bad.row, bad.column) == (1, column)
    assert message in bad.message


def test_rows_of_csv_are_named_by_their_lines() -> None:
    text = "home,away,date\nA,B\nA,B,2026-11-28\nA,B,2026-11-28\n"
    fixtures, bad = parse_fixtures(text)
    assert [fixture.row for fixture in fixtures] == [3]
    assert [(row.row, row.message) for row in bad] == [
        (2, "has 2 cells; the first line has 3"),
        (4, "2026-11-28-a-b is row 3 already"),
    ]


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("", 422, "the list is empty"),
        ("home,date\nA,2026-11-28", 422, "the column away is missing"),
        ("home,away,goals\nA,B,2", 422, "'goals' is no column"),
        ("home,home,away\nA,B,C", 422, "'home' is there twice"),
        ('home,away\n"A,B', 422, "is not CSV"),
        ("[1, 2", 422, "is not JSON"),
        ('{"a": 1}', 422, "must be a JSON array"),
        ("[" + '{"home":"A","away":"B"},' * FIXTURES_MAX + "{}]", 413, "at most 500"),
        ("x" * (FIXTURES_MAX_BYTES + 1), 413, "at most 262144 bytes"),
    ],
)
def test_what_is_no_list_is_refused_as_a_whole(text: str, status: int, message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        parse_fixtures(text)
    assert refused.value.status == status


@given(st.text(max_size=300) | st.text(alphabet='home,away\n"A;{}[]:1-', max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        fixtures, bad = parse_fixtures(text)
    except RequestError:
        return
    assert len({fixture.event.match_id for fixture in fixtures}) == len(fixtures)
    assert not {fixture.row for fixture in fixtures} & {row.row for row in bad}
