"""``touchline replay``: when events are due, and that each arrives once whatever the network does."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

from deploy.ports import free_port
from origin.commands.replay import (
    ATTEMPTS_MAX,
    DELIVERY_MAX_EVENTS,
    Delivery,
    Pace,
    PlayedNow,
    ReplayError,
    Sender,
    clock_ms,
    deliveries,
)
from origin.errors import RequestError
from origin.eventlog import EventLog, open_eventlog
from origin.feeds import open_converter
from origin.feeds.canonical import to_line
from origin.ingest.service import Ingest
from shared_state import Event, fold
from shared_state.wording import believed_until
from testkit.command import touchline

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
KEY = b"k" * 32
FINAL = "2018-07-15-france-croatia"
DATA = Path(__file__).parents[1] / "data" / "openfootball" / "worldcup-2018-full.json"

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@pytest.fixture(scope="module")
def final() -> list[Event]:
    with DATA.open("rb") as source:
        events = list(open_converter("openfootball")(source, lambda _: None))
    return [event for event in events if event.match_id == FINAL]


class Faults:
    """Stands in front of the real application and spoils the first answers, each in its way."""

    def __init__(self, app: Flask, *faults: str) -> None:
        self._app = app
        self._faults = list(faults)
        self.ids: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.ids.append(environ["HTTP_WEBHOOK_ID"])
        fault = self._faults.pop(0) if self._faults else ""
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])) if fault else b""
        if fault == "lose the answer":
            answer = self._app.test_client().post(
                environ["PATH_INFO"],
                data=body,
                headers={
                    "webhook-" + name: environ["HTTP_WEBHOOK_" + name.upper()]
                    for name in ("id", "timestamp", "signature")
                },
            )
            assert answer.status_code == 200
            fault = "502 Bad Gateway"
        if fault:
            start_response(fault, [("Content-Length", "3"), ("Retry-After", "0")])
            return [b"no\n"]
        return self._app(environ, start_response)


@contextmanager
def serving(app: Wsgi | Flask, port: int) -> Iterator[None]:
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def log() -> Iterator[EventLog]:
    opened = open_eventlog("memory://")
    yield opened
    opened.close()


@pytest.fixture
def app(log: EventLog) -> Flask:
    """The origin's ingest and nothing else of it: pages would need the built widget."""
    made = Flask(__name__)
    ingest = Ingest(log, [KEY], max_events=1_000, now_s=time.time)

    @made.post("/ingest/<feed>")
    def accept(feed: str) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return jsonify(ingest.accept(feed, headers, request.get_data()).to_json())

    @made.errorhandler(RequestError)
    def refuse(error: RequestError) -> tuple[Response, int]:
        return jsonify(error.to_json()), error.status

    return made


def logged(log: EventLog, match_id: str = FINAL) -> list[Event]:
    return [record.event for record in log.read_match(match_id)]


def sender(port: int, reports: list[str], sleep_s: Callable[[float], None] = lambda _: None) -> Sender:
    return Sender(urlsplit(f"http://127.0.0.1:{port}/"), KEY, report=reports.append, sleep_s=sleep_s)


def event(**fields: Any) -> Event:
    return Event.from_json({"match_id": "m", "event_id": "e", "rev": 1, "op": "ADD", "period": "H1"} | fields)


def note(event_id: str, **fields: Any) -> Event:
    return event(event_id=event_id, type="NOTE", detail={"text": "x"}, **fields)


# --- When ----------------------------------------------------------------------------------------


def test_the_match_clock_rises_through_a_match(final: list[Event]) -> None:
    known = [clock for clock in map(clock_ms, final) if clock is not None]
    assert known == sorted(known)
    goal = next(event for event in final if event.minute == 59)
    assert clock_ms(goal) == (62 + 14) * 60_000


def test_a_match_takes_as_long_as_a_match(final: list[Event]) -> None:
    pace = Pace()
    due = [pace.due_ms(event) for event in final]
    assert due == sorted(due)
    assert due[0] == 0
    assert 105 <= due[-1] / 60_000 <= 115


def test_what_the_source_says_goes_before_the_match_clock() -> None:
    pace = Pace()
    events = [
        note("a", period="H1", minute=1, source_ts=1_000),
        note("b", period="H1", minute=40, source_ts=3_500),
        note("c", period="H1", minute=2, source_ts=2_000),  # a correction of something earlier
        note("d", period="H2", minute=60, source_ts=4_000),
    ]
    assert [pace.due_ms(event) for event in events] == [0, 2_500, 2_500, 3_000]


def test_a_correction_is_due_at_once_and_turns_no_clock_back() -> None:
    pace = Pace()
    minutes = [10, 30, 10, 31]
    due = [pace.due_ms(note(str(n), period="H1", minute=minute)) for n, minute in enumerate(minutes)]
    assert due == [0, 20 * 60_000, 20 * 60_000, 21 * 60_000]


def test_matches_without_times_are_played_one_after_the_other() -> None:
    pace = Pace()
    events = [
        note("a", match_id="one", period="H1", minute=10),
        note("b", match_id="one", period="H1", minute=20),
        note("a", match_id="two", period="H1", minute=1),
        note("b", match_id="two", period="H1", minute=3),
    ]
    assert [pace.due_ms(event) // 60_000 for event in events] == [0, 10, 10, 12]


def test_kicks_of_a_shoot_out_do_not_come_all_at_once() -> None:
    kicks = [
        event(type="SHOOTOUT_KICK", period="PENS", team="home", detail={"order": order, "scored": True})
        for order in (1, 2)
    ]
    assert (clock_ms(kicks[1]) or 0) - (clock_ms(kicks[0]) or 0) == 45_000


def test_events_due_together_travel_together(final: list[Event]) -> None:
    paced = list(deliveries(final, paced=True))
    assert b"".join(delivery.body for delivery in paced) == b"".join(map(to_line, final))
    assert [delivery.due_ms for delivery in paced] == sorted({delivery.due_ms for delivery in paced})
    (whole,) = deliveries(final, paced=False)
    assert (whole.due_ms, whole.events) == (0, len(final))


def test_a_delivery_is_bounded() -> None:
    many = (note(str(number), period="H1", minute=1) for number in range(DELIVERY_MAX_EVENTS * 2 + 1))
    assert [delivery.events for delivery in deliveries(many, paced=True)] == [
        DELIVERY_MAX_EVENTS,
        DELIVERY_MAX_EVENTS,
        1,
    ]
    large = (event(event_id=str(n), type="NOTE", detail={"text": "x" * 2_000}) for n in range(200))
    assert max(len(delivery.body) for delivery in deliveries(large, paced=False)) <= 256 * 1024


def begin_h2(event_id: str, source_ts: int | None) -> Event:
    detail = {"to": "LIVE"}
    return event(event_id=event_id, type="STATUS_CHANGE", period="H2", detail=detail, source_ts=source_ts)


def info(kickoff_ms: int, **fields: Any) -> Event:
    detail = {"home": {"name": "Home"}, "away": {"name": "Away"}, "kickoff_ms": kickoff_ms}
    return event(event_id="info", type="MATCH_INFO", detail=detail, **fields | {"period": "PRE"})


def test_times_of_years_ago_become_those_of_the_replay_and_keep_their_order() -> None:
    played = PlayedNow(1_000_000_000, 2.0)
    pace = Pace()
    events = [
        info(1_060_000, source_ts=1_000_000),
        note("a", source_ts=1_100_000),
        note("b", source_ts=1_040_000),  # of an earlier moment
        note("c"),
    ]
    moved = [played.moved(event, pace.due_ms(event)) for event in events]
    times = [event.source_ts for event in moved]
    assert times == [1_000_000_000, 1_000_050_000, 1_000_020_000, None]
    assert moved[0].detail["kickoff_ms"] == 1_000_030_000


def test_an_undated_match_kicks_off_when_it_is_played() -> None:
    played = PlayedNow(1_000_000_000, 10.0)
    assert played.moved(info(5_000), 60_000).detail["kickoff_ms"] == 1_000_006_000
    assert played.moved(info(1_000_000_001), 0).detail["kickoff_ms"] == 1_000_000_001  # still to come


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize(("speed", "late"), [("6000", False), ("max", True)])
def test_no_page_says_that_updates_of_a_replayed_match_are_delayed(
    app: Flask, log: EventLog, tmp_path: Path, speed: str, *, late: bool, dated: bool
) -> None:
    """A match of 2018 in its second half: posted with the times of its file, it has been silent since."""
    kickoff_ms = 1_531_666_800_000
    info_ts, half_ts = (kickoff_ms, kickoff_ms + 62 * 60_000) if dated else (None, None)
    path, port = tmp_path / "old.jsonl", free_port()
    path.write_bytes(to_line(info(kickoff_ms, source_ts=info_ts)) + to_line(begin_h2("h2", half_ts)))
    with serving(app, port):
        ran = touchline("replay", path, "--to", f"http://127.0.0.1:{port}", "--speed", speed, "--key", SECRET)
    assert ran.code == 0, ran.err
    until_ms = believed_until(fold("m", logged(log, "m")))
    assert until_ms is not None
    assert (until_ms < time.time_ns() // 1_000_000) is late


# --- That it arrives -----------------------------------------------------------------------------


def test_a_file_is_posted_as_fast_as_possible(
    app: Flask, log: EventLog, final: list[Event], tmp_path: Path
) -> None:
    path, port = tmp_path / "final.jsonl", free_port()
    path.write_bytes(b"".join(map(to_line, final)))
    with serving(app, port):
        ran = touchline(
            "replay", path, "--to", f"http://127.0.0.1:{port}/", "--speed", "max",
            env={"TOUCHLINE_INGEST_KEYS": SECRET},
        )  # fmt: skip
    assert (ran.code, ran.out, ran.err) == (0, b"", f"touchline: {len(final)} events posted\n")
    assert logged(log) == final
    assert fold(FINAL, logged(log)).score == (4, 2)


def test_scaled_time_passes_between_deliveries(app: Flask, log: EventLog, tmp_path: Path) -> None:
    events = [note("a", period="H1", minute=0), note("b", period="H1", minute=1)]
    path, port = tmp_path / "two.jsonl", free_port()
    path.write_bytes(b"".join(map(to_line, events)))
    begin_s = time.monotonic()
    with serving(app, port):
        ran = touchline("replay", path, "--to", f"http://127.0.0.1:{port}", "--speed", "100", "--key", SECRET)
    assert ran.code == 0
    assert time.monotonic() - begin_s >= 0.6  # a minute, a hundred times as fast
    assert logged(log, "m") == events


def test_an_attempt_that_failed_is_repeated_under_the_same_id(
    app: Flask, log: EventLog, final: list[Event]
) -> None:
    port, reports = free_port(), list[str]()
    faults = Faults(app, "503 Service Unavailable", "429 Too Many Requests", "lose the answer")
    with serving(faults, port):
        posting = sender(port, reports)
        for delivery in deliveries(final, paced=True):
            posting.send(delivery)
        posting.close()
    assert len(set(faults.ids[:4])) == 1
    assert len(faults.ids) == len(list(deliveries(final, paced=True))) + 3
    assert len(reports) == 3
    assert logged(log) == final


def test_an_origin_that_comes_up_late_is_waited_for(app: Flask, log: EventLog, final: list[Event]) -> None:
    port, reports = free_port(), list[str]()
    up = serving(app, port)
    waits: list[float] = []

    def sleep_s(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            up.__enter__()

    posting = sender(port, reports, sleep_s)
    try:
        posting.send(next(deliveries(final, paced=False)))
    finally:
        posting.close()
        up.__exit__(None, None, None)
    assert len(waits) == 3
    assert all("refused" in line for line in reports)
    assert logged(log) == final


def test_an_origin_that_never_answers_is_given_up() -> None:
    reports: list[str] = []
    with pytest.raises(ReplayError, match=f"gave up after {ATTEMPTS_MAX} attempts"):
        sender(free_port(), reports).send(Delivery(0, 1, b"{}"))
    assert len(reports) == ATTEMPTS_MAX - 1


def test_a_refusal_is_told_and_not_repeated(
    app: Flask, log: EventLog, final: list[Event], tmp_path: Path
) -> None:
    path, port = tmp_path / "final.jsonl", free_port()
    path.write_bytes(b"".join(map(to_line, final)))
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    with serving(app, port):
        ran = touchline("replay", path, "--to", f"http://127.0.0.1:{port}", "--speed", "0", "--key", other)
    assert ran.code == 1
    assert ran.err.startswith("Error: the origin refused the events: 401 bad_signature: ")
    assert ran.err.count("\n") == 1
    assert logged(log) == []


# --- Bad input -----------------------------------------------------------------------------------


def test_a_bad_line_ends_the_replay_with_exit_2(app: Flask, tmp_path: Path) -> None:
    path, port = tmp_path / "bad.jsonl", free_port()
    path.write_bytes(to_line(note("a")) + b"{\n")
    with serving(app, port):
        ran = touchline("replay", path, "--to", f"http://127.0.0.1:{port}", "--speed", "0", "--key", SECRET)
    assert ran.code == 2
    assert ran.err.startswith(f"{path}:2: not JSON")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--to", "ftp://a", "--key", SECRET), "must be http"),
        (("--to", "http://", "--key", SECRET), "must be http"),
        (("--to", "http://a:99999", "--key", SECRET), "99999"),
        (("--to", "http://u:p@a", "--key", SECRET), "must be http"),
        (("--to", "http://a", "--key", "whsec_x"), "not base64"),
        (("--to", "http://a"), "TOUCHLINE_INGEST_KEYS"),
        (("--to", "http://a", "--key", SECRET, "--speed", "nan"), "at least 0"),
        (("--to", "http://a", "--key", SECRET, "--speed", "-1"), "at least 0"),
        (("--key", SECRET), "--to"),
    ],
)
def test_wrong_options_are_usage_errors(options: tuple[str, ...], what: str) -> None:
    ran = touchline("replay", "x.jsonl", *options, env={"TOUCHLINE_INGEST_KEYS": ""})
    assert ran.code == 2
    assert what in ran.err
    assert "Traceback" not in ran.err
