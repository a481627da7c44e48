"""Dates in the future are set right; ids that viewers have stay, and no process may have the log open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.bus import Suffix
from origin.bus.memory import MemoryBus
from origin.errors import EventLogError
from origin.eventlog import open_eventlog
from origin.eventlog.clock import JUMP_MS
from origin.eventlog.heal import DatedRecord, heal_sqlite, plan
from origin.eventlog.heal_postgres import heal_postgres
from origin.eventlog.postgres_session import PostgresSettings
from origin.eventlog.sqlite import SqliteEventLog
from origin.fanout.worker import FanOut
from shared_state import DeltaId, decode_delta
from testkit.command import touchline
from testkit.services.postgres import PostgresServer
from tests.eventlog.contract import note

NOW_MS = 1_700_000_000_000
TEN_YEARS_MS = 3_650 * 86_400_000


def poisoned(path: Path) -> None:
    """A log of which one match was dated in the future in its middle, and another one from its beginning."""
    at_ms = NOW_MS
    with closing(SqliteEventLog(path, lambda: at_ms)) as log:
        log.append([note("e1", "middle")])
        at_ms = NOW_MS + 500
        log.append([note("e1", "right")])
        at_ms = NOW_MS + TEN_YEARS_MS
        log.append([note("e2", "middle"), note("e1", "born")])
        at_ms = NOW_MS + 2_000
        log.append([note("e3", "middle"), note("e2", "born"), note("e2", "right")])


def dates(path: Path) -> dict[str, list[int]]:
    with closing(SqliteEventLog(path)) as log:
        return {
            match_id: [record.appended_ms - NOW_MS for record in log.read_match(match_id)]
            for match_id in ("middle", "born", "right")
        }


def test_dates_in_the_future_become_the_latest_right_date_before_them(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    poisoned(path)
    healing = heal_sqlite(path, apply=True, now_ms=lambda: NOW_MS + 5_000)
    assert (healing.matches, healing.epochs_left, healing.epochs_changed) == (["middle"], ("born",), ())
    assert dates(path) == {
        "middle": [0, 500, 500],
        "born": [TEN_YEARS_MS, TEN_YEARS_MS],
        "right": [500, 2_000],
    }


def test_epochs_are_healed_if_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    poisoned(path)
    healing = heal_sqlite(path, apply=True, with_epochs=True, now_ms=lambda: NOW_MS + 5_000)
    assert (healing.epochs_left, healing.epochs_changed) == ((), ("born",))
    assert dates(path) == {"middle": [0, 500, 500], "born": [500, 500], "right": [500, 2_000]}


def test_ids_of_viewers_stay_and_later_deltas_are_dated_right(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    poisoned(path)

    def published() -> list[tuple[DeltaId, str, int]]:
        bus = MemoryBus()
        with closing(SqliteEventLog(path, lambda: NOW_MS + 6_000)) as log:
            worker = FanOut(log, bus, group=None)
            while not worker.caught_up:
                worker.step(0.0)
        found = bus.replay("middle", DeltaId(NOW_MS, 0))
        assert isinstance(found, Suffix)
        decoded = [decode_delta("middle", one.id, one.delta) for one in found.deltas]
        return [(delta.id, delta.event.event_id, delta.accepted_ms) for delta in decoded]

    before = published()
    heal_sqlite(path, apply=True, now_ms=lambda: NOW_MS + 5_000)
    after = published()
    assert [one[:2] for one in after] == [one[:2] for one in before]
    assert [accepted_ms - NOW_MS for _, _, accepted_ms in after] == [0, 500, 500]


def test_a_log_that_is_open_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    poisoned(path)
    before = dates(path)
    with (
        closing(SqliteEventLog(path)),
        pytest.raises(EventLogError, match=r"log\.db' is open in another process: stop all that use it"),
    ):
        heal_sqlite(path, apply=True, now_ms=lambda: NOW_MS + 5_000)
    assert dates(path) == before


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.one_of(st.integers(0, 9), st.just(TEN_YEARS_MS))), max_size=12
    ),
    st.booleans(),
)
def test_healed_dates_rise_within_a_match_and_right_ones_stay(
    appended: list[tuple[str, int]], with_epochs: bool
) -> None:
    last: dict[str, int] = {}
    records = []
    for offset, (match_id, at_ms) in enumerate(appended):
        last[match_id] = max(at_ms, last.get(match_id, 0))
        records.append(DatedRecord(offset, match_id, last[match_id]))
    healing = plan(records, 10, with_epochs=with_epochs)
    healed = {record.offset: record for record in records} | {one.offset: one for one in healing.dates}
    for match_id in "abc":
        dated = [healed[record.offset].appended_ms for record in records if record.match_id == match_id]
        assert dated == sorted(dated)
        is_left = match_id in healing.epochs_left
        assert not dated or (max(dated) > 10 + JUMP_MS) == is_left
        assert not (is_left and with_epochs)
    for record in records:
        if record.appended_ms <= 10:
            assert healed[record.offset] == record


def test_the_command_prints_what_it_would_do_and_does_it_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    poisoned(path)
    before = dates(path)
    env = {"EVENTLOG_URL": f"sqlite:///{path}"}
    shown = touchline("log", "heal-dates", env=env)
    assert (shown.code, "nothing was changed" in shown.err) == (0, True)
    assert dates(path) == before
    done = touchline("log", "heal-dates", "--apply", env=env)
    assert done.out == shown.out
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"match_id": "middle", "records": 2, "dated_ms": NOW_MS + 500, "new_epoch": False},
        {"match_id": "born", "records": 0, "left": "epoch"},
    ]
    assert dates(path)["middle"] == [0, 500, 500]
    other = touchline("log", "heal-dates", env={"EVENTLOG_URL": "kafka://127.0.0.1:9/t"})
    assert other.code == 1
    assert "EVENTLOG_URL 'kafka': only a SQLite log and one in PostgreSQL can be healed" in other.err


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.stop()


@pytest.mark.services
def test_a_log_in_postgresql_is_healed_and_one_that_is_open_is_refused(server: PostgresServer) -> None:
    import psycopg

    url = f"{server.new_database()}?partitions=2"

    def dates_of() -> dict[str, list[int]]:
        with closing(open_eventlog(url)) as log:
            return {
                match_id: [record.appended_ms for record in log.read_match(match_id)]
                for match_id in ("middle", "born", "right")
            }

    with closing(open_eventlog(url)) as log:
        log.append([note("e1", "middle"), note("e1", "right"), note("e1", "born")], key="k1")
        log.append([note("e2", "middle"), note("e2", "right"), note("e2", "born")])
    right = dates_of()
    with psycopg.connect(url.partition("?")[0]) as connection:
        connection.execute(
            "UPDATE touchline.records SET appended_ms = appended_ms + %s"
            """ WHERE match_id = 'born' OR (match_id = 'middle' AND event LIKE '%%"e2"%%')""",
            (TEN_YEARS_MS,),
        )
        connection.execute("UPDATE touchline.keys SET appended_at = now() + interval '10 years'")
    poisoned_dates = dates_of()
    assert poisoned_dates["middle"][1] > NOW_MS + TEN_YEARS_MS
    env = {"EVENTLOG_URL": url}
    shown = touchline("log", "heal-dates", env=env)
    assert (shown.code, "nothing was changed" in shown.err) == (0, True)
    with closing(open_eventlog(url)) as log, closing(log.consumer("region")):
        refused = touchline("log", "heal-dates", "--apply", env=env)
        assert (refused.code, "stop all that use it first" in refused.err) == (1, True)
    assert dates_of() == poisoned_dates
    done = touchline("log", "heal-dates", "--apply", env=env)
    assert (done.code, done.out) == (0, shown.out)
    healed = dates_of()
    assert (healed["right"], healed["born"]) == (right["right"], poisoned_dates["born"])
    assert right["middle"][0] == healed["middle"][0] <= healed["middle"][1] <= right["middle"][1]
    touchline("log", "heal-dates", "--apply", "--epochs", env=env)
    assert max(dates_of()["born"]) < NOW_MS + TEN_YEARS_MS
    with psycopg.connect(url.partition("?")[0]) as connection:
        keys = connection.execute("SELECT count(*) FROM touchline.keys WHERE appended_at <= now()").fetchone()
    assert keys == (1,)


@pytest.mark.services
def test_a_server_whose_clock_is_ahead_is_refused(server: PostgresServer) -> None:
    url = server.new_database()
    with closing(open_eventlog(url)) as log:
        log.append([note("e1", "right")])
    settings = PostgresSettings.from_url(url)
    with pytest.raises(EventLogError, match="s ahead of this machine's: set it right first"):
        heal_postgres(settings, apply=True, now_ms=lambda: NOW_MS)
    with pytest.raises(EventLogError, match=r"touchline\.records"):
        heal_postgres(PostgresSettings.from_url(server.new_database()), apply=False)
