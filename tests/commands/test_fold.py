"""``touchline fold`` as a shell runs it: one line per match, or one line that says what is wrong."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from shared_state import Event, Replica
from testkit.command import ROOT, TOUCHLINE, touchline

DATA = Path(__file__).parents[1] / "data" / "openfootball"
GOAL = b'{"match_id":"b","event_id":"g1","rev":1,"op":"ADD","type":"GOAL","minute":5,"team":"home"}\n'
OTHER = GOAL.replace(b'"b"', b'"a"')


@pytest.fixture(scope="module")
def world_cup() -> bytes:
    return touchline("convert", "openfootball", DATA / "worldcup-2018-full.json").out


def test_each_match_is_one_line_in_order_of_first_appearance() -> None:
    ran = touchline("fold", stdin=GOAL + OTHER + GOAL.replace(b"g1", b"g2"))
    assert (ran.code, ran.err) == (0, "")
    folded = [json.loads(line) for line in ran.lines]
    assert [match["match_id"] for match in folded] == ["b", "a"]
    assert list(folded[0]) == ["match_id", "seq", "status", "period", "score", "shootout", "events", "hash"]
    assert folded[0]["score"] == {"home": 2, "away": 0}
    assert folded[0]["seq"] == 2


def test_every_match_of_a_world_cup_has_its_recorded_score(world_cup: bytes) -> None:
    ran = touchline("fold", "-", stdin=world_cup)
    raw = json.loads((DATA / "worldcup-2018-full.json").read_text())["matches"]
    for line, match in zip(ran.lines, raw, strict=True):
        folded = json.loads(line)
        assert list(folded["score"].values()) == match["score"]
        assert (folded["shootout"] and list(folded["shootout"].values())) == match["pens"]


def test_seq_and_hash_are_those_of_the_fan_out(world_cup: bytes) -> None:
    lines = [line for line in world_cup.splitlines() if b"2018-07-15" in line]
    lines += lines[3:6]  # duplicates get no number
    replica = Replica.begin("2018-07-15-france-croatia", 1)
    for line in lines:
        replica.assign(Event.from_json(json.loads(line)), 1)
    folded = json.loads(touchline("fold", stdin=b"\n".join(lines)).out)
    assert folded["seq"] == replica.position.seq
    assert folded["hash"] == replica.hash()


def test_the_order_of_lines_does_not_change_the_hash(world_cup: bytes) -> None:
    lines = world_cup.splitlines()
    random.Random(7).shuffle(lines)
    shuffled = touchline("fold", stdin=b"\n".join(lines)).lines
    straight = touchline("fold", stdin=world_cup).lines

    def hashes(folded: list[bytes]) -> set[str]:
        return {json.loads(line)["hash"] for line in folded}

    assert hashes(shuffled) == hashes(straight)
    assert len(hashes(straight)) == 64


def test_nothing_in_is_nothing_out() -> None:
    ran = touchline("fold")
    assert (ran.code, ran.out, ran.err) == (0, b"", "")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (GOAL + b"{", 2),
        (GOAL + b"\xef\xbb\xbf\n", 2),
        (GOAL * 3 + GOAL.replace(b"ADD", b"DEL"), 4),
        (GOAL[:60], 1),
        (b"\x7fELF\x02\x01\x01\x00" + bytes(range(256)), 1),
        (GOAL + '"é'.encode()[:2], 2),
    ],
)
def test_a_bad_line_is_told_and_nothing_is_printed(tmp_path: Path, data: bytes, line: int) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(data)
    ran = touchline("fold", path)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.err.startswith(f"{path}:{line}: ")
    assert ran.err.count("\n") == 1


def test_a_reused_revision_is_a_warning_by_its_line(tmp_path: Path) -> None:
    """docs/protocol.md 2.2: one of the two wins, with a warning; the same one whatever the order."""
    path = tmp_path / "a: b.jsonl"
    rival = GOAL.replace(b'"home"', b'"away"')
    path.write_bytes(GOAL + b"\n" + GOAL + OTHER + rival)
    ran = touchline("fold", path)
    assert ran.code == 0
    assert ran.err == (
        f"{path}:5: warning: match b: event g1 reuses revision 1 for another body;"
        " the later source_ts, then the greater JSON, stands\n"
    )
    turned = touchline("fold", stdin=rival + OTHER + GOAL)
    assert turned.err.startswith("<stdin>:3: warning: match b: event g1 ")
    assert [json.loads(line)["hash"] for line in turned.lines] == [
        json.loads(line)["hash"] for line in ran.lines
    ]


def test_standard_input_has_a_name_too() -> None:
    assert touchline("fold", stdin=b"{").err.startswith("<stdin>:1: ")


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "new\nline", "\udcff"])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    ran = touchline("fold", tmp_path / name)
    assert (ran.code, ran.out) == (2, b"")
    assert ":0: cannot be read: " in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="/proc is Linux's")
def test_a_file_that_breaks_while_it_is_read_is_one_line() -> None:
    # Opens, and has no page at its beginning.
    assert touchline("fold", "/proc/self/mem").err == "/proc/self/mem:0: cannot be read: Input/output error\n"


def test_a_reader_that_goes_away_is_no_news(world_cup: bytes, tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    path.write_bytes(world_cup)
    command = subprocess.Popen(
        [*TOUCHLINE, "fold", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert command.stdout is not None
    assert command.stderr is not None
    command.stdout.read(10)
    command.stdout.close()
    assert command.stderr.read() == b""
    assert command.wait(timeout=30) == 1
    command.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*TOUCHLINE, "fold", "-"],
            input=GOAL,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == 1
    assert done.stderr == b"Error: cannot write to standard output: No space left on device\n"
