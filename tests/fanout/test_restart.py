"""A start with checkpoints is a start without them, only faster."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from origin.bus.match_row import MatchRow
from origin.bus.memory import MemoryBus
from origin.eventlog import LogRecord
from origin.eventlog.codec import decode_event, encode_event
from origin.eventlog.sqlite import SqliteEventLog
from origin.fanout import restart
from origin.fanout.worker import FanOut
from shared_state import DeltaId, Event
from shared_state.jsontext import parse
from tests.events_by_hand import goal, retract

EVENTS = st.lists(
    st.builds(
        lambda match, event_id, rev, text, retracted: (
            Event(match_id=match, event_id=event_id, rev=rev, op="RETRACT")
            if retracted
            else Event(
                match_id=match,
                event_id=event_id,
                rev=rev,
                op="ADD",
                type="GOAL",
                minute=rev,
                team="home",
                player=text,
            )
        ),
        st.sampled_from(["m1", "m2", "m3"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(1, 3),
        st.text(st.characters(codec="utf-8"), max_size=3),
        st.booleans(),
    ),
    max_size=20,
)


def start(path: Path, *, write: bool = True) -> dict[str, Any]:
    """Start a worker on the log; all that its bus then has, and, by match, what it had to fold."""
    bus = MemoryBus()
    with closing(SqliteEventLog(path)) as log:
        worker = FanOut(log, bus, group=None)
        worker._catch_up()
        assert worker.caught_up
        if write and worker._restart is not None:
            while worker._restart._unwritten:
                worker._restart.work()
        found = whole(bus)
    bus.close()
    return found


def whole(bus: MemoryBus) -> dict[str, Any]:
    rows = bus.rows_after(0)[1]
    found: dict[str, Any] = {}
    for match_id in bus.matches():
        snapshot = bus.snapshot(match_id)
        assert snapshot is not None
        row = rows[match_id]
        assert row == MatchRow.of_snapshot(snapshot.data)
        found[match_id] = (
            bus.head(match_id),
            row,
            snapshot,
            bus.replay(match_id, DeltaId(snapshot.id.epoch, 0)),
        )
    return found


def append(path: Path, events: Sequence[Event]) -> None:
    with closing(SqliteEventLog(path)) as log:
        log.append(events)


class Plain(SqliteEventLog):
    """The same log for a worker that knows of no checkpoints."""

    checkpoints = None  # type: ignore[assignment]


def folded(path: Path) -> dict[str, Any]:
    bus = MemoryBus()
    with closing(Plain(path)) as log:
        worker = FanOut(log, bus, group=None)
        assert worker._restart is None
        worker._catch_up()
        return whole(bus)


@settings(max_examples=40, deadline=None)
@given(first=EVENTS, later=EVENTS)
def test_a_start_with_checkpoints_gives_what_folding_all_gives(
    first: list[Event], later: list[Event]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log.db"
        for events in (first, later):
            append(path, events)
            expected = folded(path)
            assert start(path) == expected, "without checkpoints of these records"
            assert start(path) == expected, "with them"


def log_of(path: Path) -> None:
    append(path, [goal("g1", "home", 5), goal("g2", "home", 9), retract("g1")])


@pytest.fixture
def count_folds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    real = restart.row_of

    def counting(log: Any, match_id: str, stored: Any) -> MatchRow | None:
        names.append(match_id)
        return real(log, match_id, stored)

    monkeypatch.setattr(restart, "row_of", counting)
    return names


def test_a_match_with_a_checkpoint_is_not_folded(tmp_path: Path, count_folds: list[str]) -> None:
    path = tmp_path / "log.db"
    log_of(path)
    start(path)
    assert len(count_folds) == 1
    start(path)
    assert len(count_folds) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET appended_ms = appended_ms - 1",
        """UPDATE records SET event = replace(event, '"minute":9', '"minute":8')""",
        'DELETE FROM records WHERE "offset" = 2',
        "UPDATE checkpoints SET row = replace(CAST(row AS TEXT), '\"PRE', '\"H2')",
        "UPDATE checkpoints SET row = x'00'",
        "UPDATE checkpoints SET seal = x'00'",
        "DROP TABLE checkpoints",
    ],
)
def test_a_checkpoint_that_does_not_fit_is_passed_over(
    tmp_path: Path, count_folds: list[str], statement: str
) -> None:
    path = tmp_path / "log.db"
    log_of(path)
    start(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)
    assert start(path) == folded(path)
    if "PRE" not in statement:
        assert len(count_folds) == 2


def test_a_checkpoint_of_another_program_is_passed_over(
    tmp_path: Path, count_folds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.db"
    log_of(path)
    start(path)
    monkeypatch.setattr(restart, "_program", lambda: b"another")
    start(path)
    assert len(count_folds) == 2


def test_a_match_that_has_become_quiet_gets_a_checkpoint(
    tmp_path: Path, count_folds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restart, "QUIET_S", 0.0)
    path = tmp_path / "log.db"
    with closing(SqliteEventLog(path)) as log:
        worker = FanOut(log, MemoryBus(), group=None)
        worker._catch_up()
        log.append([goal("g1", "home", 5)])
        worker.step(1.0)
        assert worker._restart is not None
        worker._restart.work()
        worker._restart.work()
        assert list(log.checkpoints()) == [goal("g1", "home", 5).match_id]
    count_folds.clear()
    start(path)
    assert not count_folds


def test_a_dormant_match_goes_on_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log_of(path)
    start(path)
    match_id = goal("g1", "home", 5).match_id
    with closing(SqliteEventLog(path)) as log:
        bus = MemoryBus()
        worker = FanOut(log, bus, group=None)
        worker._catch_up()
        head = bus.head(match_id)
        came: list[DeltaId] = []
        subscription = bus.subscribe(match_id, lambda published: came.append(published.id))
        log.append([goal("g3", "home", 50)])
        worker.step(1.0)
        assert head is not None
        assert came == [DeltaId(head.epoch, head.seq + 1)]
        subscription.close()
        assert whole(bus) == folded(path)


def test_a_match_without_viewers_is_dormant_again(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log_of(path)
    match_id = goal("g1", "home", 5).match_id
    with closing(SqliteEventLog(path)) as log:
        bus = MemoryBus()
        FanOut(log, bus, group=None)._catch_up()
        bus.subscribe(match_id, lambda published: None).close()
        assert not bus._channels
        assert whole(bus) == folded(path)


@given(st.text(max_size=40) | st.binary(max_size=40))
def test_a_stored_event_is_read_as_the_strict_parser_reads_it(data: str | bytes) -> None:
    from origin.eventlog.codec import _parse

    assert outcome(_parse, data) == outcome(parse, data)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":{"b":1,"b":1}}',
        '{"a" :1}',
        '{"a":9007199254740993}',
        '{"a":NaN}',
        '{"a":1e999}',
        '{"a":[{"b":1,"b":2}]}',
        '{"a":1.5}',
        '{"a":"\\ud800"}',
        '{"a":-0}',
        "[" * 20 + "]" * 20,
        '{"a":"x\ty"}',
    ],
)
def test_a_doubtful_text_is_read_as_the_strict_parser_reads_it(text: str) -> None:
    from origin.eventlog.codec import _parse

    assert outcome(_parse, text) == outcome(parse, text)


def outcome(read: Any, data: str | bytes) -> Any:
    try:
        return repr(read(data))
    except ValueError as error:
        return str(error)


@given(EVENTS)
def test_what_is_written_is_read(events: list[Event]) -> None:
    for event in events:
        assert decode_event(encode_event(event).decode()) == event
        assert LogRecord(0, 1, 1, event).event is event
