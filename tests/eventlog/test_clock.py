"""A clock that jumps: what it may do to the dates of a log."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.eventlog import EventLog, open_eventlog
from origin.eventlog.clock import HOUR_MS, JUMP_MS, BelievedClock
from origin.eventlog.memory import MemoryEventLog
from origin.eventlog.sqlite import SqliteEventLog
from testkit.services.clock import WallClock
from tests.eventlog.contract import note

NOW_MS = 1_800_000_000_000
TEN_YEARS_MS = 3_650 * 86_400_000


class Machine:
    """Two clocks: one that can be set, and one that only goes on."""

    def __init__(self) -> None:
        self.passed_ms = 5_000
        self.set_by_ms = NOW_MS

    def wall_ms(self) -> int:
        return self.passed_ms + self.set_by_ms

    def elapsed_ms(self) -> int:
        return self.passed_ms

    def clock(self) -> BelievedClock:
        return BelievedClock(self.wall_ms, self.elapsed_ms)


def test_a_clock_that_is_not_set_is_the_wall_clock() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(200):
        machine.passed_ms += 60_000
        assert (clock.now_ms(), clock.ahead_ms()) == (machine.wall_ms(), 0)


def test_a_jump_ahead_is_not_believed_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    clock = machine.clock()
    right_ms = clock.now_ms()
    machine.set_by_ms += TEN_YEARS_MS
    assert clock.now_ms() == right_ms
    machine.passed_ms += 1_000
    assert clock.now_ms() == right_ms + 1_000
    assert clock.ahead_ms() == TEN_YEARS_MS
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "jumped ahead by 315360000 s" in caplog.text
    machine.set_by_ms -= TEN_YEARS_MS
    assert (clock.now_ms(), clock.ahead_ms()) == (machine.wall_ms(), 0)


def test_a_clock_that_says_the_same_for_an_hour_is_believed() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.set_by_ms += 2 * JUMP_MS
    assert clock.now_ms() < machine.wall_ms()
    machine.passed_ms += HOUR_MS - 1
    assert clock.now_ms() < machine.wall_ms()
    machine.passed_ms += 1
    assert (clock.now_ms(), clock.ahead_ms()) == (machine.wall_ms(), 0)


def test_a_clock_that_was_set_back_is_believed_and_may_return() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.now_ms()
    machine.set_by_ms -= 2 * 86_400_000
    assert clock.now_ms() == machine.wall_ms()
    machine.passed_ms += 60_001
    assert clock.now_ms() == machine.wall_ms()
    machine.set_by_ms += 2 * 86_400_000  # where it was within the last hour
    assert clock.now_ms() == machine.wall_ms()


@given(st.lists(st.tuples(st.integers(0, 2 * HOUR_MS), st.integers(-(10**9), 10**9)), max_size=30))
def test_it_is_never_ahead_of_both_the_wall_clock_and_the_last_hour(steps: list[tuple[int, int]]) -> None:
    machine = Machine()
    clock = machine.clock()
    for passed_ms, set_by_ms in steps:
        machine.passed_ms += passed_ms
        machine.set_by_ms += set_by_ms
        believed_ms = clock.now_ms()
        assert believed_ms <= machine.wall_ms()
        assert machine.wall_ms() - believed_ms == clock.ahead_ms()


@contextmanager
def opened(kind: str, directory: Path, now_ms: Callable[[], int]) -> Iterator[EventLog]:
    log = MemoryEventLog(now_ms) if kind == "memory" else SqliteEventLog(directory / "log.db", now_ms)
    yield log
    log.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_wrong_date_stays_with_its_match(kind: str, tmp_path: Path) -> None:
    now_ms = NOW_MS
    with opened(kind, tmp_path, lambda: now_ms) as log:
        log.append([note("e1", "m1"), note("e1", "m2")])
        now_ms += TEN_YEARS_MS
        log.append([note("e2", "m1")])
        now_ms = NOW_MS + 1_000
        log.append([note("e3", "m1"), note("e2", "m2"), note("e1", "m3")])
        dates = {
            match_id: [record.appended_ms - NOW_MS for record in log.read_match(match_id)]
            for match_id in ("m1", "m2", "m3")
        }
    assert dates == {"m1": [0, TEN_YEARS_MS, TEN_YEARS_MS], "m2": [0, 1_000], "m3": [1_000]}


@pytest.mark.parametrize(("days", "is_reported"), [(179, False), (3_650, True)])
def test_a_log_that_is_far_older_than_the_clock_is_reported_when_it_is_opened(
    days: int, is_reported: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for now_ms in (NOW_MS, NOW_MS + days * 86_400_000 + 1):
        with opened("sqlite", tmp_path, lambda now_ms=now_ms: now_ms) as log:  # type: ignore[misc]
            log.append([note("e1", "m1")])
    assert ("3650 days before this machine's clock" in caplog.text) == is_reported


APPENDER = """
import sys
from origin.eventlog import open_eventlog
from tests.eventlog.contract import note
log = open_eventlog(sys.argv[1])
for line in sys.stdin:
    log.append([note(line.strip(), "m1")])
    print("appended", flush=True)
"""


def test_a_process_whose_clock_jumps_ahead_and_back_dates_its_records_right(tmp_path: Path) -> None:
    """A real process under the clock shim; its log is dated within its own life."""
    clock = WallClock(tmp_path)
    url = f"sqlite:///{tmp_path}/log.db"
    started_ms = time.time_ns() // 1_000_000
    process = subprocess.Popen(
        [sys.executable, "-c", APPENDER, url],
        env={"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2]), **clock.env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for event_id, set_by_ms in (("e1", 0), ("e2", TEN_YEARS_MS), ("e3", 0), ("e4", -86_400_000), ("e5", 0)):
        clock.shift(set_by_ms)
        process.stdin.write(event_id + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "appended\n"
    _, errors = process.communicate(timeout=30)
    assert "jumped ahead by 315360000 s" in errors
    log = open_eventlog(url)
    dates = [record.appended_ms for record in log.read_match("m1")]
    log.close()
    assert len(dates) == 5
    assert dates == sorted(dates)
    assert started_ms - 1 <= dates[0] <= dates[-1] <= time.time_ns() // 1_000_000 + 1
