"""Old matches are removed from a SQLite log as a whole, and never come back under ids that were used."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from origin.errors import EventLogError, MatchPrunedError
from origin.eventlog.prune import prune_sqlite
from origin.eventlog.sqlite import SqliteEventLog
from shared_state import Event
from shared_state.jsontext import JsonObject
from testkit.command import touchline
from testkit.services.origin import OriginServer
from tests.eventlog.contract import drain, ids, note

DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000
BEFORE_MS = NOW_MS - 100 * DAY_MS


def status(to: str, match_id: str) -> Event:
    return Event(match_id=match_id, event_id="end", rev=1, op="ADD", type="STATUS_CHANGE", detail={"to": to})


def seasons(path: Path) -> None:
    """A log with old matches, one of which goes on, and a new one."""
    at_ms = NOW_MS - 200 * DAY_MS
    with closing(SqliteEventLog(path, lambda: at_ms)) as log:
        log.append([note("e1", "old"), note("e1", "lasting")], key="k1")
        log.append([status("FT", "old"), status("FT", "lasting"), status("ABANDONED", "stopped")])
        log.append([status("LIVE", "forgotten")])
        at_ms = NOW_MS
        log.append([note("e2", "lasting"), note("e1", "new")])


def matches_of(path: Path) -> list[str]:
    with closing(SqliteEventLog(path)) as log:
        return log.match_ids(log.last_offset())


def test_matches_that_are_over_and_old_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    seasons(path)
    shown = prune_sqlite(path, BEFORE_MS, apply=False, now_ms=NOW_MS)
    assert matches_of(path) == ["old", "lasting", "stopped", "forgotten", "new"]
    done = prune_sqlite(path, BEFORE_MS, apply=True, now_ms=NOW_MS)
    assert done == shown
    assert [(one.match_id, one.records, one.status, one.pruned) for one in done] == [
        ("old", 2, "FT", True),
        ("stopped", 1, "ABANDONED", True),
        ("forgotten", 1, "LIVE", False),
    ]
    assert matches_of(path) == ["lasting", "forgotten", "new"]
    [left] = prune_sqlite(path, BEFORE_MS, apply=True, now_ms=NOW_MS, with_unfinished=True)
    assert (left.match_id, left.pruned) == ("forgotten", True)
    assert matches_of(path) == ["lasting", "new"]


def test_a_removed_match_takes_no_event_and_the_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    seasons(path)
    with closing(SqliteEventLog(path)) as log:
        consumer = log.consumer("region")
        last = drain(consumer, 8)[-1]
    prune_sqlite(path, BEFORE_MS, apply=True, now_ms=NOW_MS)
    with closing(SqliteEventLog(path)) as log:
        for _ in range(2):
            with pytest.raises(MatchPrunedError, match="'old' was removed from the log"):
                log.append([note("e3", "new"), note("e9", "old")], key="k9")
        assert log.count_under("k9") is None
        assert ids(list(log.read_match("new"))) == ["e1"]
        log.append([note("e3", "new")])
        (record,) = drain(log.consumer("region"), 1)
        assert (record.event.event_id, record.offset) == ("e3", last.offset + 1)
        assert not log.append([note("e1", "old")], key="k1").fresh, "a delivery that was taken is a duplicate"


def test_offsets_are_not_used_again_where_the_newest_records_go(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(SqliteEventLog(path, lambda: NOW_MS - 200 * DAY_MS)) as log:
        log.append([note("e1", "old"), status("FT", "old")])
    prune_sqlite(path, BEFORE_MS, apply=True, now_ms=NOW_MS)
    with closing(SqliteEventLog(path)) as log:
        log.append([note("e1", "new")])
        assert [record.offset for record in log.read_match("new")] == [3]


def test_dead_letters_and_checkpoints_go_with_their_records(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    seasons(path)
    with closing(sqlite3.connect(path)) as db, db:
        for match_id in ("old", "forgotten"):
            db.execute(
                "INSERT INTO records (match_id, appended_ms, event) VALUES (?, 1, 'rubbish')", (match_id,)
            )
            db.execute("INSERT INTO checkpoints VALUES (?, x'00', x'00')", (match_id,))
    with closing(SqliteEventLog(path)) as log:
        drain(log.consumer(None), 8)
        assert len(log.dead_letters().pending()) == 2
    prune_sqlite(path, BEFORE_MS, apply=True, now_ms=NOW_MS)
    with closing(SqliteEventLog(path)) as log:
        (letter,) = log.dead_letters().pending()
        assert letter.offset == 10
        assert list(log.checkpoints()) == ["forgotten"]


def test_a_log_that_is_open_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    seasons(path)
    before = matches_of(path)
    with (
        closing(SqliteEventLog(path)),
        pytest.raises(EventLogError, match=r"log\.db' is open in another process: stop all that use it"),
    ):
        prune_sqlite(path, BEFORE_MS, apply=True, now_ms=NOW_MS)
    assert matches_of(path) == before


def goal(match_id: str, event_id: str) -> JsonObject:
    return {
        "match_id": match_id,
        "event_id": event_id,
        "rev": 1,
        "op": "ADD",
        "type": "GOAL",
        "team": "home",
        "minute": 5,
    }


def test_the_command_prints_what_it_would_do_and_the_match_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    seasons(path)
    env = {"EVENTLOG_URL": f"sqlite:///{path}"}
    shown = touchline("log", "prune", "--before", "2023-07-01", env=env)
    assert (shown.code, "nothing was removed" in shown.err) == (0, True)
    with OriginServer(tmp_path) as origin:
        assert origin.status("/match/old") == 200
        refused = touchline("log", "prune", "--before", "2023-07-01", "--apply", env=env)
        assert (refused.code, "stop all that use it first" in refused.err) == (1, True)
    done = touchline("log", "prune", "--before", "2023-07-01", "--apply", env=env)
    assert done.out == shown.out
    assert [json.loads(line)["match_id"] for line in done.out.splitlines()] == ["old", "stopped", "forgotten"]
    with OriginServer(tmp_path) as origin:
        assert [origin.status(f"/match/{name}") for name in ("old", "lasting")] == [404, 200]
        assert [origin.post(goal("old", "g1")), origin.post(goal("lasting", "g1"))] == [422, 200]
        assert origin.status("/match/old") == 404


def test_the_command_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    del tmp_path
    other = touchline("log", "prune", "--before", "2023-07-01", env={"EVENTLOG_URL": "kafka://127.0.0.1:9/t"})
    assert (other.code, "EVENTLOG_URL 'kafka': only a SQLite log" in other.err) == (1, True)
    year = time.gmtime().tm_year + 2
    future = touchline("log", "prune", "--before", f"{year}-01-01", env={})
    assert (future.code, f"{year}-01-01 is in the future" in future.err) == (2, True)
