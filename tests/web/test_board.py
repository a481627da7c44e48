"""The list of matches: its order, its pages and addresses, and that one reading and one page serve all."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from origin.bus import Bus, MatchRow, Published, RowUpdate
from origin.bus.memory import MemoryBus
from origin.errors import BusError
from origin.web.board import PAGE_ROWS, Board, PageContent, View
from origin.web.origin import origin_of
from origin.web.pages import _render_list
from shared_state import Event, Replica, encode_delta
from shared_state.jsontext import JsonObject

DAY_MS = 86_400_000
NOON_MS = 1_795_780_800_000  # 2026-11-27T12:00:00Z
DAY = "2026-11-27"


class Season:
    """Publishes matches to a bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._replicas: dict[str, Replica] = {}

    def play(
        self, match_id: str, status: str, *, competition: str = "Cup", kickoff_ms: int | None = NOON_MS
    ) -> None:
        """Publish a match at a status, or the one that is there at the next."""
        if match_id not in self._replicas:
            self._replicas[match_id] = Replica.begin(match_id, NOON_MS)
            teams = {"home": {"name": f"Home {match_id}"}, "away": {"name": f"Away {match_id}"}}
            detail = {**teams, "competition": competition, "kickoff_ms": kickoff_ms}
            self._add(match_id, {"type": "MATCH_INFO", "period": "PRE", "detail": detail})
        self._add(match_id, {"type": "STATUS_CHANGE", "period": "H1", "minute": 1, "detail": {"to": status}})

    def _add(self, match_id: str, fields: JsonObject) -> None:
        replica = self._replicas[match_id]
        number = replica.position.seq + 1
        named = {"match_id": match_id, "event_id": f"e{number}", "rev": 1, "op": "ADD", "source_ts": number}
        made = replica.assign(Event.from_json(named | fields), NOON_MS + number)
        assert made is not None
        self._bus.publish(match_id, Published(made.id, encode_delta(made)), replica.snapshot())


@pytest.fixture
def list_app(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setattr("origin.web.pages._now_ms", lambda: NOON_MS)
    return make_app(eventlog_url="memory://")


@pytest.fixture
def season(list_app: Flask) -> Season:
    return Season(origin_of(list_app).bus)


@pytest.fixture
def reader(list_app: Flask) -> FlaskClient:
    return list_app.test_client()


def test_a_list_is_by_day_and_by_competition(season: Season, reader: FlaskClient) -> None:
    season.play("today", "LIVE")
    season.play("other", "LIVE", competition="Lig & ä")
    season.play("tomorrow", "SCHEDULED", kickoff_ms=NOON_MS + DAY_MS)
    season.play("undated", "SCHEDULED", kickoff_ms=None)

    def shown(address: str) -> set[str]:
        page = reader.get(address)
        assert page.status_code == 200, address
        return {name for name in ("today", "other", "tomorrow", "undated") if f"/match/{name}" in page.text}

    assert shown("/") == {"today", "other", "tomorrow", "undated"}
    assert shown(f"/?day={DAY}") == {"today", "other"}
    assert shown("/?day=2026-11-28") == {"tomorrow"}
    assert shown("/?competition=Cup") == {"today", "tomorrow", "undated"}
    assert shown("/?competition=Lig%20%26%20%C3%A4") == {"other"}
    assert shown(f"/?day={DAY}&competition=Cup") == {"today"}
    # Each list can be found from the first page.
    first = reader.get("/").text
    assert 'href="/?competition=Lig%20%26%20%C3%A4"' in first
    assert 'href="/?day=2026-11-28"' in first
    assert 'aria-current="page"' in reader.get(f"/?day={DAY}").text


def test_a_long_list_has_pages(season: Season, reader: FlaskClient) -> None:
    for number in range(PAGE_ROWS + 1):
        season.play(f"m{number:03}", "LIVE", kickoff_ms=NOON_MS + number)
    first, second = reader.get("/").text, reader.get("/?page=2").text
    assert first.count('class="match"') == PAGE_ROWS
    assert (f"/match/m{PAGE_ROWS}" in first, f"/match/m{PAGE_ROWS}" in second) == (False, True)
    assert second.count('class="match"') == 1
    assert 'rel="next" href="/?page=2"' in first
    assert 'rel="prev" href="/"' in second
    assert reader.get("/?page=3").status_code == 404
    assert reader.get(f"/?day={DAY}&page=2").status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        "/?page=0",
        "/?page=02",
        "/?page=-1",
        "/?page=x",
        "/?page=99999999999999999999",
        "/?page=2",
        "/?day=2026-11-26",
        "/?day=tomorrow",
        "/?day=2026-11-27T00",
        "/?competition=None",
        f"/?day={DAY}&competition=None",
        "/?competition=%FF",
    ],
)
def test_a_list_that_is_not_there_is_no_page(season: Season, reader: FlaskClient, address: str) -> None:
    season.play("m", "LIVE")
    answer = reader.get(address, follow_redirects=True)
    assert answer.status_code == 404
    assert answer.json
    assert answer.json["error"]["code"] == "unknown_list"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("address", "canonical"),
    [
        ("/?utm_source=x", "/"),
        ("/?", "/"),
        ("/?page=1", "/"),
        ("/?day=", "/"),
        (f"/?day={DAY}&x=1", f"/?day={DAY}"),
        (f"/?day={DAY}&day=2020-01-01", f"/?day={DAY}"),
        (f"/?competition=Cup&day={DAY}", f"/?day={DAY}&competition=Cup"),
        ("/?competition=%43up", "/?competition=Cup"),
        ("/?x=https://elsewhere.example/", "/"),
    ],
)
def test_each_list_has_one_address(
    season: Season, reader: FlaskClient, list_app: Flask, address: str, canonical: str
) -> None:
    """A cache in front keeps one page of it, whatever is added to the address."""
    season.play("m", "LIVE")
    answer = reader.get(address)
    if address == "/?":  # an empty query is none
        assert answer.status_code == 200
        return
    assert (answer.status_code, answer.headers["Location"]) == (302, canonical)
    assert answer.headers["Cache-Control"] == "no-store"
    assert not origin_of(list_app).board._pages
    assert reader.get(canonical).status_code == 200


def test_a_page_is_built_once_until_it_changes(
    season: Season, reader: FlaskClient, list_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[View] = []

    def counted(content: PageContent) -> str:
        built.append(content.view)
        return _render_list(content)

    monkeypatch.setattr("origin.web.pages._render_list", counted)
    season.play("m", "LIVE")
    first = reader.get("/")
    assert reader.get("/").data == first.data
    assert len(built) == 1
    again = reader.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    season.play("m", "HALF_TIME")
    changed = reader.get("/")
    assert "HT" in changed.text
    assert changed.headers["ETag"] != first.headers["ETag"]
    assert len(built) == 2


def test_the_list_goes_through_a_hostile_name(season: Season, reader: FlaskClient) -> None:
    season.play("m", "LIVE", competition='"><script>alert(1)</script>&page=2#')
    page = reader.get("/").text
    assert "<script>alert" not in page
    address = page.split('aria-label="Competitions"')[1].split('href="')[1].split('"')[0]
    assert "/match/m" in reader.get(address.replace("&amp;", "&")).text


def test_a_page_goes_by_day_then_by_competition_and_live_matches_are_first(
    season: Season, reader: FlaskClient
) -> None:
    season.play("over", "FT", competition="B", kickoff_ms=NOON_MS - 5_000)
    season.play("soon", "SCHEDULED", competition="B", kickoff_ms=NOON_MS + 5_000)
    season.play("live", "LIVE", competition="B")
    season.play("cup", "SCHEDULED", competition="A")
    season.play("last-week", "FT", kickoff_ms=NOON_MS - 7 * DAY_MS)
    season.play("yesterday", "FT", kickoff_ms=NOON_MS - DAY_MS)
    season.play("next-week", "SCHEDULED", kickoff_ms=NOON_MS + 7 * DAY_MS)
    season.play("tomorrow", "SCHEDULED", kickoff_ms=NOON_MS + DAY_MS)
    season.play("undated", "SCHEDULED", kickoff_ms=None)

    def shown(address: str) -> list[str]:
        return re.findall('data-match="([a-z-]+)"', reader.get(address).text)

    today = ["live", "soon", "over", "cup"]
    assert shown("/") == [*today, "tomorrow", "next-week", "undated", "yesterday", "last-week"]
    assert shown(f"/?day={DAY}") == today
    assert shown("/?competition=B") == ["live", "soon", "over"]
    # It began before midnight by UTC, and runs: that day is not over.
    season.play("late", "LIVE", kickoff_ms=NOON_MS - DAY_MS)
    assert shown("/")[:3] == ["late", "yesterday", "live"]
    assert reader.get("/?day=undated").status_code == 404


def hidden(page: str, name: str) -> bool:
    [attributes] = re.findall(rf'<span class="match-{name}"([^>]*)>', page)
    return "hidden" in attributes.split()


@pytest.mark.parametrize(
    ("minutes_ago", "due", "silent"),
    [(-1, False, False), (0, True, False), (149, True, False), (150, True, True)],
)
def test_a_kick_off_in_the_past_is_not_coming_up(
    season: Season, reader: FlaskClient, minutes_ago: int, due: bool, silent: bool
) -> None:
    season.play("m", "SCHEDULED", kickoff_ms=NOON_MS - minutes_ago * 60_000)
    page = reader.get("/").text
    assert (hidden(page, "due"), hidden(page, "silent")) == (not due, not silent)
    season.play("m", "LIVE")
    assert "match-due" not in reader.get("/").text


def test_a_page_is_built_anew_when_a_kick_off_is_past(
    season: Season, reader: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    season.play("m", "SCHEDULED", kickoff_ms=NOON_MS + 1_000)
    assert hidden(reader.get("/").text, "due")
    monkeypatch.setattr("origin.web.pages._now_ms", lambda: NOON_MS + 1_000)
    assert not hidden(reader.get("/").text, "due")


def test_a_running_minute_can_be_let_run_and_says_when_it_is_doubtful(
    season: Season, reader: FlaskClient
) -> None:
    season.play("m", "SCHEDULED")
    season._add(
        "m",
        {
            "type": "STATUS_CHANGE",
            "period": "H1",
            "minute": 1,
            "detail": {"to": "LIVE"},
            "source_ts": NOON_MS - 9 * 60_000,
        },
    )
    page = reader.get("/").text
    assert f'data-clock-start="{NOON_MS - 9 * 60_000}"' in page
    assert ">10&#39;</span>" in page
    [until_ms] = re.findall(r'match-doubtful" data-tl-until="([0-9]+)" hidden', page)
    assert int(until_ms) > NOON_MS


def test_the_pages_of_a_list_have_each_match_once(season: Season, reader: FlaskClient) -> None:
    names = [f"m{number:03}" for number in range(2 * PAGE_ROWS + 7)]
    for number, name in enumerate(names):
        day = number % 5 - 2
        kickoff_ms = None if number % 11 == 0 else NOON_MS + day * DAY_MS + number
        status = ("LIVE", "SCHEDULED", "FT")[number % 3]
        season.play(name, status, competition="ABC"[number % 3], kickoff_ms=kickoff_ms)
    pages = [reader.get("/" if number == 1 else f"/?page={number}").text for number in (1, 2, 3)]
    shown = [re.findall('<li data-match="([a-z0-9]+)"', page) for page in pages]
    assert [len(of) for of in shown] == [PAGE_ROWS, PAGE_ROWS, 7]
    assert sorted(name for of in shown for name in of) == names


STATUSES = ("SCHEDULED", "LIVE", "HALF_TIME", "FT", "CANCELLED")
changes = st.lists(
    st.tuples(
        st.integers(0, 6), st.sampled_from(STATUSES), st.sampled_from("AB"), st.integers(0, 2), st.booleans()
    ),
    max_size=60,
)


@given(changes=changes)
def test_the_order_is_that_of_all_rows_sorted(changes: list[tuple[int, str, str, int, bool]]) -> None:
    bus = MemoryBus()
    board, season = Board(bus), Season(bus)
    for number, status, competition, day, read in changes:
        season.play(f"m{number}", status, competition=competition, kickoff_ms=NOON_MS + day * DAY_MS + number)
        if read:
            board.refresh()
    board.refresh()
    rows = {name: row for name, row in bus.row_reader().read().rows.items() if row is not None}
    expected = sorted(rows.values(), key=lambda row: row.summary.rank)
    assert board.rows() == expected
    views = {View(row.day, row.summary.competition) for row in expected}
    for view in views:
        assert board.rows(view) == [
            row for row in expected if (row.day, row.summary.competition) == (view.day, view.competition)
        ]
        assert board.rows(View(view.day)) == [row for row in expected if row.day == view.day]
    assert board._days == sorted({row.day for row in expected})


class SlowBus(MemoryBus):
    """Its rows are read when the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.readings = 0
        self.fails = False

    def rows_after(self, change: int) -> tuple[int, dict[str, MatchRow | None]]:
        self.readings += 1
        self.begun.release()
        assert self.go_on.acquire(timeout=20)
        if self.fails:
            raise BusError("no answer")
        return super().rows_after(change)


class CountingLock:
    """A lock that counts who asked for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self.asked = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        with self._counting:
            self.asked += 1
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        self._lock.release()


@pytest.mark.parametrize("fails", [False, True])
def test_one_reading_serves_all_who_wait(fails: bool) -> None:
    bus = SlowBus()
    board, season = Board(bus), Season(bus)
    season.play("early", "LIVE")
    bus.fails = fails
    with ThreadPoolExecutor(9) as pool:
        lock = CountingLock()
        board._reading = lock  # type: ignore[assignment]
        first = pool.submit(board.refresh)
        assert bus.begun.acquire(timeout=20)

        def late() -> list[str]:
            board.refresh()
            return [row.match_id for row in board.rows()]

        season.play("late", "LIVE")
        others = [pool.submit(late) for _ in range(8)]
        deadline = time.monotonic() + 20
        while lock.asked < 9:  # all have come while the first reading is under way
            assert time.monotonic() < deadline
            time.sleep(0.005)
        bus.go_on.release()
        assert bus.begun.acquire(timeout=20)
        bus.go_on.release(8)
        failures = [first.exception(timeout=20), *(each.exception(timeout=20) for each in others)]
        assert all(isinstance(failure, BusError if fails else type(None)) for failure in failures)
        if not fails:
            assert all(each.result() == ["early", "late"] for each in others)
    # All came while the first was reading, or while the second was; nobody needs a reading of its own.
    assert bus.readings <= 3


class FailingReader:
    def __init__(self) -> None:
        self.update: RowUpdate | None = None

    def read(self) -> RowUpdate:
        if self.update is None:
            raise BusError("no answer")
        return self.update


class FailingBus(MemoryBus):
    def __init__(self) -> None:
        super().__init__()
        self.reader = FailingReader()

    def row_reader(self) -> FailingReader:  # type: ignore[override]
        return self.reader


def test_the_last_known_list_is_shown_while_the_bus_is_away() -> None:
    source = MemoryBus()
    Season(source).play("m", "LIVE")
    bus = FailingBus()
    board = Board(bus)
    with pytest.raises(BusError):
        board.refresh()
    bus.reader.update = source.row_reader().read()
    board.refresh()
    assert ([row.match_id for row in board.rows()], board.is_complete()) == (["m"], True)
    bus.reader.update = None
    board.refresh()
    assert ([row.match_id for row in board.rows()], board.is_complete()) == (["m"], False)
    bus.reader.update = RowUpdate({"m": None})
    board.refresh()
    assert (board.rows(), board.is_complete()) == ([], True)


def test_the_fragment_is_the_list_of_the_page_of_the_same_query(season: Season, reader: FlaskClient) -> None:
    season.play("today", "LIVE")
    season.play("other", "LIVE", competition="Lig & ä")
    for query in ("", f"?day={DAY}", "?competition=Lig%20%26%20%C3%A4"):
        fragment = reader.get(f"/list{query}")
        assert fragment.text.startswith('<div class="tl-list" data-list-id="')
        # The two were made at their own times.
        alone, page = (
            re.sub('list-id="[0-9a-f-]+"', "", one.text) for one in (fragment, reader.get(f"/{query}"))
        )
        assert alone.strip() in page
        assert int(fragment.headers["Touchline-As-Of"]) > 0
        again = reader.get(f"/list{query}", headers={"If-None-Match": fragment.headers["ETag"]})
        assert again.status_code == 304
        # A poll that finds nothing new learns until when that is known.
        assert int(again.headers["Touchline-As-Of"]) >= int(fragment.headers["Touchline-As-Of"])
    moved = reader.get(f"/list?x=1&day={DAY}")
    assert (moved.status_code, moved.headers["Location"]) == (302, f"/list?day={DAY}")
    assert moved.headers["Access-Control-Allow-Origin"] == "*"
    assert reader.get("/list?day=2001-01-01").status_code == 404


def test_the_page_says_to_its_element_which_list_it_is(season: Season, reader: FlaskClient) -> None:
    season.play("today", "LIVE", competition='Cup "A"')
    text = reader.get(f"/?day={DAY}&competition=Cup%20%22A%22").text
    assert f'<live-scores day="{DAY}" competition="Cup &#34;A&#34;">' in text
