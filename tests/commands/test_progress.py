"""Bars of long commands: in a terminal (a pty) they are there, in a pipe there is no byte of them."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import pytest

from origin.eventlog import open_eventlog
from origin.eventlog.heal import heal_sqlite
from origin.eventlog.sqlite_backup import back_up
from shared_state import Event
from testkit.command import ROOT, TOUCHLINE, touchline
from testkit.terminal import run_in_terminal

LINE = b'{"match_id":"b","event_id":"g%d","rev":1,"op":"ADD","type":"GOAL","minute":5,"team":"home"}\n'


class SlowFile:
    """A named pipe that gives lines, and its end only once it is let go."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "events.jsonl"
        os.mkfifo(self.path)
        self.go_on = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        with self.path.open("wb") as pipe:
            for number in range(2_000):
                pipe.write(LINE % number)
            pipe.flush()
            self.go_on.wait(30)

    def release_after(self, seconds: float) -> None:
        threading.Timer(seconds, self.go_on.set).start()


def test_a_terminal_sees_a_bar_and_the_pipe_only_the_result(tmp_path: Path) -> None:
    slow, result = SlowFile(tmp_path), tmp_path / "result"
    with result.open("wb") as out:
        shown = run_in_terminal("fold", slow.path, stdout=out.fileno(), until=b"2000", then=slow.go_on.set)
    assert b"reading" in shown
    assert b"2000" in shown
    assert shown.rstrip().endswith((b"\x1b[?25h", b"\x1b[2K", b"\x1b[1A\x1b[2K"))  # the bar has gone
    assert json.loads(result.read_bytes())["seq"] == 2_000


def test_what_prints_meanwhile_has_no_bar_where_it_would_be_in_between(tmp_path: Path) -> None:
    slow = SlowFile(tmp_path)
    slow.release_after(1.2)
    shown = run_in_terminal("convert", "canonical", slow.path)
    assert b"\x1b" not in shown
    assert shown.count(b'"event_id"') == 2_000


def test_convert_into_a_file_has_a_bar_and_warnings_above_it(tmp_path: Path) -> None:
    slow, result = SlowFile(tmp_path), tmp_path / "result"
    with result.open("wb") as out:
        shown = run_in_terminal(
            "convert", "canonical", slow.path, stdout=out.fileno(), until=b"reading", then=slow.go_on.set
        )
    assert b"reading" in shown
    assert b"\x1b" not in result.read_bytes()
    assert len(result.read_bytes().splitlines()) == 2_000


def test_a_pipe_has_no_byte_of_it(tmp_path: Path) -> None:
    slow = SlowFile(tmp_path)
    slow.release_after(1.2)
    done = subprocess.run(
        [*TOUCHLINE, "fold", str(slow.path)], capture_output=True, timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FORCE_COLOR": "1", "TERM": "xterm"},
    )  # fmt: skip
    assert done.stderr == b""
    assert b"\x1b" not in done.stdout


def test_a_terminal_that_cannot_move_its_cursor_has_none(tmp_path: Path) -> None:
    slow, result = SlowFile(tmp_path), tmp_path / "result"
    slow.release_after(1.2)
    with result.open("wb") as out:
        assert run_in_terminal("fold", slow.path, stdout=out.fileno(), env={"TERM": "dumb"}) == b""


def test_an_error_comes_after_the_bar_has_gone(tmp_path: Path) -> None:
    path, result = tmp_path / "events.jsonl", tmp_path / "result"
    os.mkfifo(path)

    seen = threading.Event()

    def write() -> None:
        with path.open("wb") as pipe:
            pipe.write(LINE % 1)
            pipe.flush()
            seen.wait(30)
            pipe.write(b"no JSON\n")

    threading.Thread(target=write, daemon=True).start()
    with result.open("wb") as out:
        shown = run_in_terminal("fold", path, stdout=out.fileno(), until=b"reading", then=seen.set)
    assert b"reading" in shown
    last = shown.rsplit(b"\x1b[2K", 1)[-1]
    assert b"events.jsonl:2: " in last
    assert result.read_bytes() == b""


def test_a_command_that_is_short_shows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINE % 1)
    shown = run_in_terminal("fold", path)
    assert b"\x1b" not in shown
    assert b'"match_id":"b"' in shown


def test_copies_and_dates_say_how_far_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("origin.eventlog.sqlite_backup.PAGES", 20)
    path = tmp_path / "log.db"
    with closing(open_eventlog(f"sqlite:///{path}")) as log:
        log.append(
            [
                Event(
                    match_id="m1",
                    event_id=f"e{n}",
                    rev=1,
                    op="ADD",
                    type="FOUL",
                    period="H1",
                    team="home",
                    player="x" * 120,
                )
                for n in range(2_000)
            ]
        )
    said: list[tuple[int, int]] = []
    back_up(path, tmp_path / "copy.db", lambda done, total: said.append((done, total)))
    assert len(said) > 1
    assert said[-1][0] == said[-1][1]
    assert sorted(said) == said
    said.clear()
    heal_sqlite(path, apply=False, seen=lambda done, total: said.append((done, total)))
    assert said[0] == (256, 2_000)
    assert said[-1] == (2_000 - 2_000 % 256, 2_000)


@pytest.mark.parametrize(
    "argv",
    [
        ("backup", "copy.db"),
        ("restore", "log.db"),
        ("log", "heal-dates"),
        ("dlq", "redrive"),
        ("log", "prune", "--before", "2020-01-01"),
    ],
)
def test_each_of_them_is_silent_in_a_pipe(tmp_path: Path, argv: tuple[str, ...]) -> None:
    log = tmp_path / "log.db"
    with closing(open_eventlog(f"sqlite:///{log}")) as opened:
        opened.append(
            [Event(match_id="m1", event_id="e1", rev=1, op="ADD", type="FOUL", period="H1", team="home")]
        )
    url = f"sqlite:///{tmp_path}/other.db" if argv[0] == "restore" else f"sqlite:///{log}"
    names = [str(tmp_path / name) if name.endswith(".db") else name for name in argv]
    ran = touchline(*names, env={"EVENTLOG_URL": url, "FORCE_COLOR": "1"})
    assert (ran.code, ran.err) == (0, "")
    assert b"\x1b" not in ran.out
