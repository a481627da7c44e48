"""``touchline convert`` as a shell runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testkit.command import touchline

DATA = Path(__file__).parents[1] / "data" / "openfootball"
FINAL = "2018-07-15-france-croatia"


def test_a_file_becomes_canonical_lines() -> None:
    ran = touchline("convert", "openfootball", DATA / "worldcup-2018-full.json")
    assert (ran.code, ran.err) == (0, "")
    lines = [json.loads(line) for line in ran.lines]
    assert len({line["match_id"] for line in lines}) == 64
    again = touchline("convert", "canonical", "-", stdin=ran.out)
    assert (again.code, again.out) == (0, ran.out)


def test_one_match_can_be_asked_for() -> None:
    ran = touchline("convert", "openfootball", DATA / "worldcup-2018-full.json", "--match", FINAL)
    assert ran.code == 0
    assert {json.loads(line)["match_id"] for line in ran.lines} == {FINAL}


def test_a_match_that_is_not_there_is_bad_input() -> None:
    path = DATA / "worldcup-2018.json"
    ran = touchline("convert", "openfootball", path, "--match", "nobody")
    assert (ran.code, ran.out) == (2, b"")
    assert ran.err.splitlines()[-1] == f"{path}:0: no match 'nobody' in it"


def test_what_a_file_says_against_itself_is_a_warning() -> None:
    path = DATA / "euro-2020.json"
    ran = touchline("convert", "openfootball", path)
    assert ran.code == 0
    assert ran.err.splitlines()[1] == (
        f"{path}:1940: warning: rounds[4].matches[3].score: "
        "the goals make 4-0, the file says 0-4, which is shown"
    )


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"", 1), (b"{\n]", 2), (b'{"matches": [\n7]}', 2), (b"\x89PNG\r\n\x1a\n", 1), (b"[]", 1)],
)
def test_a_bad_file_is_one_line_and_exit_2(tmp_path: Path, data: bytes, line: int) -> None:
    path = tmp_path / "bad file.json"
    path.write_bytes(data)
    ran = touchline("convert", "openfootball", path)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.err.startswith(f"{path}:{line}: ")
    assert ran.err.count("\n") == 1


def test_lines_before_a_bad_one_are_written(tmp_path: Path) -> None:
    good = b'{"match_id":"m","event_id":"g1","rev":1,"op":"ADD","type":"GOAL","minute":5,"team":"home"}\n'
    path = tmp_path / "half.jsonl"
    path.write_bytes(good + b"{")
    ran = touchline("convert", "canonical", path)
    assert ran.code == 2
    assert len(ran.lines) == 1
    assert ran.err.startswith(f"{path}:2: not JSON")


def test_an_unknown_format_is_a_usage_error() -> None:
    ran = touchline("convert", "opta", "x")
    assert ran.code == 2
    assert "opta-f24" in ran.err
    assert "Traceback" not in ran.err
