"""A backup of a SQLite log: made under its writer, complete, and never over something that is there."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from origin.errors import EventLogError
from origin.eventlog.sqlite import SqliteEventLog
from origin.eventlog.sqlite_backup import back_up, restore
from testkit.command import touchline
from tests.eventlog.contract import drain, ids, note


def test_a_backup_under_a_writer_has_all_that_was_acknowledged_before_it(tmp_path: Path) -> None:
    path, copy = tmp_path / "log.db", tmp_path / "copy.db"
    over, writing = threading.Event(), threading.Event()
    appended: list[str] = []
    with closing(SqliteEventLog(path)) as log:
        log.append([note(f"e{number}", text="x" * 2_000) for number in range(3_000)])

        def write() -> None:
            while not over.is_set():
                event_id = f"later-{len(appended)}"
                log.append([note(event_id)])
                appended.append(event_id)
                writing.set()

        writer = threading.Thread(target=write)
        writer.start()
        assert writing.wait(10)
        before = 3_000 + len(appended)
        count = back_up(path, copy)
        over.set()
        writer.join()
        expected = ids(list(log.read_match("m1")))
    with closing(SqliteEventLog(copy)) as copied:
        found = ids(list(copied.read_match("m1")))
    assert before <= len(found) == count
    assert found == expected[: len(found)]
    assert sorted(one.name for one in tmp_path.glob("*.partial*")) == []


def test_a_restored_log_goes_on_where_the_backup_was_made(tmp_path: Path) -> None:
    path, copy = tmp_path / "log.db", tmp_path / "copy.db"
    with closing(SqliteEventLog(path)) as log:
        log.append([note("e1"), note("e2")], key="k")
        with closing(log.consumer("g")) as consumer:
            consumer.commit(consumer.poll(0.0, 1))
        back_up(path, copy)
        log.append([note("e3")])
    for file in tmp_path.glob("log.db*"):
        file.unlink()
    assert restore(copy, path) == 2
    with closing(SqliteEventLog(path)) as log:
        assert not log.append([note("e1")], key="k").fresh
        log.append([note("e4")])
        with closing(log.consumer("g")) as consumer:
            assert ids(drain(consumer, 2)) == ["e2", "e4"]


def test_nothing_is_overwritten_and_what_is_no_log_is_refused(tmp_path: Path) -> None:
    path, copy, other = tmp_path / "log.db", tmp_path / "copy.db", tmp_path / "other.db"
    with closing(SqliteEventLog(path)) as log:
        log.append([note("e1")])
        back_up(path, copy)
        with pytest.raises(EventLogError, match=r"copy\.db' exists, and is not overwritten"):
            back_up(path, copy)
        with pytest.raises(EventLogError, match=r"log\.db-wal' belongs to a log that was here"):
            restore(copy, path)
    with pytest.raises(EventLogError, match="there is no event log"):
        back_up(tmp_path / "nothing.db", other)
    (tmp_path / "text.db").write_text("no database " * 1_000)
    with pytest.raises(EventLogError, match="file is not a database"):
        restore(tmp_path / "text.db", other)
    with closing(sqlite3.connect(tmp_path / "foreign.db")) as foreign:
        foreign.execute("CREATE TABLE t (a)")
    with pytest.raises(EventLogError, match="no such table: records"):
        back_up(tmp_path / "foreign.db", other)
    assert not other.exists()


def test_a_corrupt_log_gives_no_backup(tmp_path: Path) -> None:
    path, copy = tmp_path / "log.db", tmp_path / "copy.db"
    with closing(SqliteEventLog(path)) as log:
        log.append([note(f"e{number}", text="x" * 2_000) for number in range(300)])
    content = bytearray(path.read_bytes())
    content[40_000:60_000] = b"\xff" * 20_000
    path.write_bytes(content)
    with pytest.raises(EventLogError, match=r"corrupt|malformed"):
        back_up(path, copy)
    assert not copy.exists()


def test_the_commands(tmp_path: Path) -> None:
    path, copy = tmp_path / "log.db", tmp_path / "copies" / "copy.db"
    env = {"EVENTLOG_URL": f"sqlite:///{path}"}
    with closing(SqliteEventLog(path)) as log:
        log.append([note("e1")])
        assert touchline("backup", copy, env=env).out.decode() == f"{copy}: 1 records\n"
    again = touchline("backup", copy, env=env)
    assert again.code == 1
    assert "exists, and is not overwritten" in again.err
    other = {"EVENTLOG_URL": f"sqlite:///{tmp_path}/other/log.db"}
    assert touchline("restore", copy, env=other).out.decode() == f"1 records restored from {copy}\n"
    with closing(SqliteEventLog(tmp_path / "other" / "log.db")) as log:
        assert ids(list(log.read_match("m1"))) == ["e1"]
    assert "EVENTLOG_URL 'kafka'" in touchline("backup", copy, env={"EVENTLOG_URL": "kafka://h:9/t"}).err
