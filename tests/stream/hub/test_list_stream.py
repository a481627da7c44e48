"""The list of matches as a stream, with the rows that the list page has."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from origin.bus import MatchRow, RowReader, RowUpdate
from origin.bus.memory import MemoryBus
from origin.config import Config
from origin.errors import BusError
from origin.web.app import create_app
from origin.web.pages import render_row
from testkit.worlds.lists import Lists, app_over, rows_in


@pytest.fixture
def lists() -> Iterator[Lists]:
    lists = Lists()
    yield lists
    lists.end()


def test_rows_come_with_their_matches_and_a_cursor_resumes() -> None:
    lists = Lists()
    try:
        lists.goal("a")
        client = lists.ask("list=&m=a")
        first = lists.until(client, b'"list":"')
        assert b'"list":true,"url":"/"' in first
        assert first.count(b"event: gap") == 2  # of the list, and of the match
        id_ = lists.goal("a")
        (row,) = rows_in(lists.until(client, b"</li>"))
        # No event has said that it kicked off.
        assert (row["match_id"], row["id"], row["live"]) == ("a", id_, False)
        assert str(row["html"]).startswith(f'<li data-match="a" data-id="{id_}">')
        cursor = lists.cursor()
        back = lists.ask(f"list=&list_id={cursor}")
        assert [one["id"] for one in rows_in(lists.until(back, b'"list":"'))] == [id_]
        late = lists.ask("list=&list_id=1")
        assert b'"list":true' in lists.until(late, b'"list":"')
    finally:
        lists.end()


def test_a_list_that_is_not_there_is_404() -> None:
    lists = Lists()
    try:
        lists.goal("a")
        assert lists.until(lists.ask("list=Nobody+Plays"), b"unknown_list").startswith(b"HTTP/1.1 404")
    finally:
        lists.end()


def test_a_list_that_began_since_the_last_reading_is_there(lists: Lists) -> None:
    lists.goal("a")
    lists.until(lists.ask("list="), b'"list":"')
    lists.info("b", "New Cup")
    assert b'"list":true' in lists.until(lists.ask("list=New+Cup"), b'"list":"')


def test_a_list_that_is_not_there_yet_does_not_end_the_stream_of_matches(lists: Lists) -> None:
    id_ = lists.goal("a")
    client = lists.ask("list=New+Cup&m=a")
    assert f"id: a@{id_}".encode() in lists.until(client, b'"list":"')
    lists.info("b", "New Cup", kickoff_ms=1_700_000_000_000)
    (row,) = rows_in(lists.until(client, b"</li>"))
    assert (row["match_id"], row["lists"]) == ("b", ["2023-11-14", "New Cup"])


def test_a_row_says_in_which_lists_it_is_now(lists: Lists) -> None:
    lists.info("a", "Cup", kickoff_ms=1_700_000_000_000)
    client = lists.ask("list=Cup")
    lists.until(client, b'"list":"')
    lists.info("a", "League", kickoff_ms=1_700_000_000_000)
    (row,) = rows_in(lists.until(client, b"</li>"))
    assert row["lists"] == ["2023-11-14", "League"]


def test_many_lists_that_are_not_there_share_readings(lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    lists.goal("a")
    lists.until(lists.ask("list="), b'"list":"')
    stream = lists.hub._several.lists
    read, gate = stream._read, threading.Event()
    readings: list[int] = []

    def slow_read() -> object:
        readings.append(1)
        gate.wait(10)
        return read()

    monkeypatch.setattr(stream, "_read", slow_read)
    clients = [lists.ask(f"list=Nobody+{number}") for number in range(50)]
    deadline_s = time.monotonic() + 10
    while lists.hub.parked < len(clients):
        assert time.monotonic() < deadline_s
        lists.hub.reactor.dispatch(0.02)
    assert len(readings) == 1
    gate.set()
    while lists.hub.parked:
        assert time.monotonic() < deadline_s
        lists.hub.reactor.dispatch(0.02)
    # Those who came during a reading have waited for the next, together.
    assert len(readings) == 2
    for client in clients:
        assert lists.until(client, b"unknown_list").startswith(b"HTTP/1.1 404")


class FailingRender:
    """The pages' own renderer, which fails for the matches that the test names.

    Attributes:
        broken: those.
    """

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self._app = create_app(Config(), start=False)

    def __call__(self, row: MatchRow, now_ms: int) -> tuple[str, int | None]:
        if row.match_id in self.broken:
            raise ValueError(f"the row of {row.match_id} breaks the template")
        return render_row(self._app, row, now_ms)


def test_a_row_that_cannot_be_rendered_costs_no_other_and_is_tried_again() -> None:
    render = FailingRender()
    lists = Lists(render=render)
    try:
        lists.goal("a")
        lists.goal("b")
        client = lists.ask("list=")
        lists.until(client, b'"list":"')
        before = lists.cursor()
        render.broken = {"a"}
        first, second = lists.goal("a"), lists.goal("b")
        (row,) = rows_in(lists.until(client, b"</li>"))
        assert row["id"] == second
        # Whoever resumes elsewhere from here has not got the row that failed.
        assert lists.cursor().partition("-")[0] <= before.partition("-")[0]
        render.broken = set()
        (row,) = rows_in(lists.until(client, b"</li>"))
        assert row["id"] == first
        lists.turn(5)
        assert lists.cursor().partition("-")[0] > before.partition("-")[0]
    finally:
        lists.end()


def test_a_list_that_no_match_is_in_any_more_is_forgotten(lists: Lists) -> None:
    lists.info("a", "Cup 0")
    client = lists.ask("list=")
    lists.until(client, b'"list":"')
    for number in range(1, 30):
        lists.info("a", f"Cup {number}")
        lists.until(client, b"</li>")
    assert lists.until(lists.ask("list=Cup+28"), b"unknown_list").startswith(b"HTTP/1.1 404")
    assert lists.until(lists.ask("list=Cup+29"), b'"list":"').startswith(b"HTTP/1.1 200")
    assert set(lists.hub._several.lists._rows) == {"", "Cup 29"}


def test_a_match_that_leaves_a_list_is_sent_to_those_who_watch_it(lists: Lists) -> None:
    lists.info("a", "Cup")
    client = lists.ask("list=Cup")
    lists.until(client, b'"list":"')
    id_ = lists.info("a", "League")
    (row,) = rows_in(lists.until(client, b"</li>"))
    assert row["id"] == id_


def test_rows_that_change_at_once_go_out_by_fifty_and_the_cursor_waits_for_the_last(lists: Lists) -> None:
    names = [f"m{number}" for number in range(120)]
    for name in names:
        lists.goal(name)
    client = lists.ask("list=")
    lists.until(client, b'"list":"')
    before = lists.cursor()
    ids = {name: lists.goal(name) for name in names}
    # What one reading finds is in one piece at most.
    pieces: list[tuple[int, bool]] = []
    found: dict[str, object] = {}
    deadline_s = time.monotonic() + 10
    while len(found) < len(names) and time.monotonic() < deadline_s:
        lists.turn()
        with contextlib.suppress(BlockingIOError):
            rows = rows_in(client.recv(1 << 20))
            found.update((str(row["match_id"]), row["id"]) for row in rows)
            pieces.append((len(rows), lists.cursor() == before))
    assert found == ids
    sizes = [size for size, _ in pieces if size]
    assert max(sizes) <= 50
    assert [same for size, same in pieces if size][:-1] == [True] * (len(sizes) - 1)
    assert lists.cursor() != before


def test_more_rows_than_a_viewer_should_get_are_a_gap() -> None:
    bus = FaultyRows()
    lists = Lists(bus)
    try:
        names = [f"m{number}" for number in range(201)]
        for name in names:
            lists.goal(name)
        client = lists.ask("list=&m=m0")
        lists.until(client, b'"list":"')
        before = lists.cursor()
        with bus.reading:  # so that one look finds them all, however busy the machine is
            for name in names:
                lists.publish(name, type="GOAL", period="H1", minute=2, team="away", detail={})
        data = lists.until(client, b'"list":true,"url":"/"')
        assert len(rows_in(data)) <= 50
        # One that comes back from before gets a gap, too, and not two hundred rows.
        lists.until(client, b'"list":"')
        back = lists.until(lists.ask(f"list=&list_id={before}"), b'"list":"')
        assert b'"list":true' in back
        assert not rows_in(back)
    finally:
        lists.end()


def test_a_cursor_of_any_age_is_good_while_the_rows_are_the_same(lists: Lists) -> None:
    lists.info("a", "Cup")
    lists.until(lists.ask("list=Cup"), b'"list":"')
    _, _, digest = lists.cursor("Cup").partition("-")
    # What a cache has kept since long before this worker began.
    same = lists.until(lists.ask(f"list=Cup&list_id=1000-{digest}"), b'"list":"')
    assert b"event: gap" not in same
    other = lists.until(lists.ask("list=Cup&list_id=1000-0123456789abcdef"), b'"list":"')
    assert b"event: gap" in other


class _Rows:
    """A reader of rows with the faults that a test asks for."""

    def __init__(self, reader: RowReader, bus: FaultyRows) -> None:
        self._reader, self._bus = reader, bus

    def read(self) -> RowUpdate:
        if self._bus.down:
            raise BusError("the bus does not answer")
        with self._bus.reading:
            update = self._reader.read()
        rows = {**update.rows, **dict.fromkeys(self._bus.gone)}
        self._bus.gone = set()
        return RowUpdate(rows, self._bus.complete)


class FaultyRows(MemoryBus):
    """A memory bus whose rows cannot be read, or not all of them, or are gone."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.complete = True
        self.gone: set[str] = set()
        self.reading = threading.Lock()  # whoever has it keeps reads waiting

    def row_reader(self) -> Any:
        return _Rows(super().row_reader(), self)


def test_a_match_that_the_bus_no_longer_knows_is_a_gap() -> None:
    bus = FaultyRows()
    lists = Lists(bus)
    try:
        lists.info("a", "Cup")
        lists.info("b", "League")
        cup, league = lists.ask("list=Cup"), lists.ask("list=League")
        lists.until(cup, b'"list":"')
        lists.until(league, b'"list":"')
        bus.gone = {"a"}
        assert b'"list":true,"url":"/?competition=Cup"' in lists.until(cup, b"event: gap")
        assert b"event: gap" not in lists.until(league, b'"list":"')
    finally:
        lists.end()


def test_a_cursor_stands_still_while_a_part_of_the_bus_does_not_answer() -> None:
    bus = FaultyRows()
    lists = Lists(bus)
    try:
        lists.goal("a")
        client = lists.ask("list=")
        lists.until(client, b'"list":"')
        bus.complete = False
        lists.turn(5)
        before = lists.cursor()
        lists.turn(10)
        assert lists.cursor() == before
        # A list that is not known may be one of the part that does not answer.
        assert lists.until(lists.ask("list=Cup"), b"bus_unavailable").startswith(b"HTTP/1.1 503")
        bus.complete = True
        lists.turn(10)
        assert lists.cursor() > before
    finally:
        lists.end()


def test_those_who_wait_for_rows_that_cannot_be_read_are_sent_away_and_forgotten() -> None:
    bus = FaultyRows()
    lists = Lists(bus, bus_wait_s=0.1)
    try:
        lists.goal("a")
        bus.down = True
        for _ in range(20):
            assert lists.until(lists.ask("list=&m=a"), b"bus_unavailable").startswith(b"HTTP/1.1 503")
        assert (lists.hub.parked, lists.hub._several.memberships) == (0, 0)
        bus.down = False
        # The rows are read without anybody asking for them again.
        lists.turn(10)
        assert lists.hub._several.lists.ready
    finally:
        lists.end()


def test_viewers_of_a_list_leave_with_a_worker_that_ends(lists: Lists) -> None:
    lists.goal("a")
    client = lists.ask("list=")
    lists.until(client, b'"list":"')
    lists.hub.begin_drain(0.2)
    goodbye = lists.until(client, b"retry: ")
    assert b"event: gap" not in goodbye
    lists.turn(20)
    assert lists.hub.viewers == 0
    assert client.recv(65_536) in (b"", b"\n", b"\n\n") or client.recv(1) == b""
    late = lists.until(lists.ask("list="), b"retry: ")
    assert late.startswith(b"HTTP/1.1 200")
    # A row that changes now has nobody to go to.
    lists.goal("a")
    lists.turn(5)
    assert not lists.hub._several.lists._watched


def test_those_who_wait_for_a_list_are_sent_off_by_a_drain() -> None:
    bus = FaultyRows()
    lists = Lists(bus)
    try:
        bus.down = True
        client = lists.ask("list=")
        lists.turn(2)
        assert lists.hub.parked == 1
        lists.hub.begin_drain(0.2)
        assert lists.until(client, b"retry: ").startswith(b"HTTP/1.1 200")
        assert lists.hub.parked == 0
    finally:
        lists.end()


def test_flush_follows_rows_too(lists: Lists) -> None:
    lists.goal("a")
    client = lists.ask("list=&flush=1")
    lists.until(client, b"event: heartbeat")
    lists.turn(40)
    with contextlib.suppress(BlockingIOError):
        client.recv(65_536)
    lists.goal("a")
    data = lists.until(client, b"</li>")
    row = data.index(b"event: row")
    data += lists.until(client, b"\n\n:\n\n") if data[row:].count(b":\n\n") < 2 else b""
    assert data[row:].count(b":\n\n") >= 2


@pytest.mark.parametrize("path", ["/", "/list"])
def test_pages_of_two_processes_with_the_same_rows_have_the_same_tag(lists: Lists, path: str) -> None:
    lists.goal("a")
    tags, cursors, bodies = [], [], []
    for _ in range(2):
        app = app_over(lists.bus)
        answer = app.test_client().get(path)
        tags.append(answer.headers["ETag"])
        bodies.append(answer.data)
        cursors.append(answer.text.split('data-list-id="')[1].split('"')[0])
        if len(tags) == 2:
            again = app.test_client().get(path, headers={"If-None-Match": tags[0]})
            assert again.status_code == 304
        time.sleep(0.01)
    assert tags[0] == tags[1]
    assert tags[0].startswith('W/"')
    assert bodies[0] != bodies[1]  # each says when it read the rows
    lists.until(lists.ask("list="), b'"list":"')
    for cursor in cursors:
        assert b"event: gap" not in lists.until(lists.ask(f"list=&list_id={cursor}"), b'"list":"')
    lists.goal("a")
    changed = app.test_client().get(path, headers={"If-None-Match": tags[0]})
    assert changed.status_code == 200
