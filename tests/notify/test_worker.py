"""The worker on a real log, with real receivers: what is sent, to whom, in which order, and under faults."""

from __future__ import annotations

import base64
import itertools
import json
import random
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from deploy.ports import free_port
from origin.errors import ConfigError
from origin.eventlog import EventLog, open_eventlog
from origin.eventlog.sqlite import SqliteEventLog
from origin.metrics import Metrics
from origin.notify import outbox as outboxes
from origin.notify import worker as workers
from origin.notify.endpoints import Endpoint, EndpointFile
from origin.notify.outbox import Outbox
from origin.notify.sender import Outcome
from origin.notify.worker import NotifyWorker, pause_s
from shared_state import Event
from testkit.command import touchline
from testkit.services.process import ServerProcess
from testkit.services.webhook_receiver import Received, WebhookReceiver

SECRET = b"s" * 32
_NUMBERS = itertools.count(1)


def event(match_id: str = "m1", **members: object) -> Event:
    given = {
        "match_id": match_id,
        "event_id": f"e{next(_NUMBERS)}",
        "rev": 1,
        "op": "ADD",
        "period": "H1",
        **members,
    }
    return Event.from_json(given)


def goal(match_id: str = "m1", **members: object) -> Event:
    return event(match_id, **{"type": "GOAL", "team": "home", "minute": 12, "player": "Kane", **members})


def retraction(of: Event, reason: str = "offside") -> Event:
    return Event.from_json(
        {
            "match_id": of.match_id,
            "event_id": of.event_id,
            "rev": of.rev + 1,
            "op": "RETRACT",
            "reason": reason,
        }
    )


def write_endpoints(path: Path, **urls: str | dict[str, object]) -> Path:
    lines = []
    for name, given in urls.items():
        members = {"url": given} if isinstance(given, str) else given
        members = {"secret": "whsec_" + base64.b64encode(SECRET).decode(), "allow_private": True, **members}
        lines += [
            f"[endpoints.{name}]",
            *(f"{member} = {json.dumps(value)}" for member, value in members.items()),
        ]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LOOK_S", 0.05)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with closing(open_eventlog(f"sqlite:///{tmp_path}/log.db")) as opened:
        yield opened


Make = Callable[..., NotifyWorker]


@contextmanager
def working(log: EventLog, directory: Path, endpoints: Path, **options: object) -> Iterator[NotifyWorker]:
    worker = NotifyWorker(
        log, group="notify", outbox_path=directory / "webhooks.db", endpoint_file=EndpointFile(endpoints),
        metrics=Metrics(), **options,  # type: ignore[arg-type]
    )  # fmt: skip
    thread = threading.Thread(target=worker.run)
    thread.start()
    # The endpoints are known from the worker's first look on.
    deadline = time.monotonic() + 20
    while not Outbox(directory / "webhooks.db").since([], 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.05)
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(timeout=30)
        assert not thread.is_alive()


def kinds(received: Sequence[Received]) -> list[str]:
    return [one.content["type"] for one in received]


def test_a_goal_its_retraction_and_a_status_are_sent_in_order(log: EventLog, tmp_path: Path) -> None:
    with WebhookReceiver(SECRET) as receiver:
        endpoints = write_endpoints(tmp_path / "endpoints.toml", desk=receiver.url)
        with working(log, tmp_path, endpoints, public_url="https://scores.example"):
            first = goal()
            log.append(
                [
                    event(type="STATUS_CHANGE", detail={"to": "LIVE"}),
                    event(type="FOUL", team="home"),
                    first,
                ]
            )
            log.append([retraction(first)])
            received = receiver.wait_for(3)
    assert kinds(received) == ["status", "goal", "correction"]
    assert all(one.signed for one in received)
    scored, taken_back = received[1].content, received[2].content
    assert scored["data"]["player"] == "Kane"
    assert scored["data"]["score"] == {"home": 1, "away": 0}
    assert scored["data"]["match"]["url"] == "https://scores.example/match/m1"
    assert (taken_back["data"]["what"], taken_back["data"]["reason"]) == ("goal_ruled_out", "offside")
    assert taken_back["data"]["eventId"] == scored["data"]["eventId"]
    assert taken_back["data"]["score"] == {"home": 0, "away": 0}
    assert len({one.id for one in received}) == 3
    assert scored["timestamp"].endswith("Z")


def test_each_endpoint_gets_what_it_wants(log: EventLog, tmp_path: Path) -> None:
    with WebhookReceiver(SECRET) as all_, WebhookReceiver(SECRET) as goals, WebhookReceiver(SECRET) as cup:
        endpoints = write_endpoints(
            tmp_path / "endpoints.toml",
            all=all_.url,
            goals={"url": goals.url, "kinds": ["goal"], "matches": ["eng-*"]},
            cup={"url": cup.url, "competitions": ["Cup"]},
        )
        with working(log, tmp_path, endpoints):
            info = {
                "home": {"name": "A", "code": "AAA"},
                "away": {"name": "B", "code": "BBB"},
                "competition": "Cup",
            }
            log.append(
                [event("fra-1", type="MATCH_INFO", period=None, detail=info), goal("fra-1"), goal("eng-1")]
            )
            log.append([event("eng-1", type="STATUS_CHANGE", detail={"to": "LIVE"})])
            all_.wait_for(3)
            goals.wait_for(1)
            cup.wait_for(1)
    assert kinds(all_.received) == ["goal", "goal", "status"]
    assert [one.content["data"]["match"]["id"] for one in goals.received] == ["eng-1"]
    assert [one.content["data"]["match"]["id"] for one in cup.received] == ["fra-1"]
    # A message has one id, whoever gets it.
    assert cup.received[0].id == all_.received[0].id


def test_history_is_not_sent_and_a_late_correction_of_it_is(log: EventLog, tmp_path: Path) -> None:
    old = goal()
    with closing(
        SqliteEventLog(tmp_path / "log.db", lambda: time.time_ns() // 1_000_000 - 60_000)
    ) as earlier:
        earlier.append([old, goal(minute=30)])
    with WebhookReceiver(SECRET) as receiver:
        endpoints = write_endpoints(tmp_path / "endpoints.toml", desk=receiver.url)
        with working(log, tmp_path, endpoints):
            log.append([retraction(old)])
            [only] = receiver.wait_for(1)
    assert only.content["data"]["what"] == "goal_ruled_out"
    assert only.content["data"]["score"] == {"home": 1, "away": 0}


def test_it_is_tried_again_under_the_same_id(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "FIRST_PAUSE_S", 0.1)

    def decide(attempt: int, handler: BaseHTTPRequestHandler) -> int:
        return (500, 0, 200)[min(attempt, 3) - 1]

    with WebhookReceiver(SECRET, decide) as receiver:
        endpoints = write_endpoints(tmp_path / "endpoints.toml", desk=receiver.url)
        with working(log, tmp_path, endpoints) as worker:
            log.append([goal()])
            receiver.wait_for(1)
            deadline = time.monotonic() + 20
            while worker.outbox.pending("desk") != (0, None) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert worker.outbox.all() == []
    assert [one.status for one in receiver.received] == [500, 0, 200]
    assert len({one.id for one in receiver.received}) == len({one.body for one in receiver.received}) == 1
    assert all(one.signed for one in receiver.received)


def test_a_slow_endpoint_delays_nobody_else(log: EventLog, tmp_path: Path) -> None:
    release = threading.Event()

    def hang(attempt: int, handler: BaseHTTPRequestHandler) -> int:
        release.wait(30)
        return 200

    with WebhookReceiver(SECRET, hang) as slow, WebhookReceiver(SECRET) as quick:
        endpoints = write_endpoints(tmp_path / "endpoints.toml", slow=slow.url, quick=quick.url)
        with working(log, tmp_path, endpoints):
            for minute in range(20):
                log.append([goal(minute=minute + 1)])
            quick.wait_for(20)
            assert slow.taken() == []
            release.set()
            slow.wait_for(20)
    minutes = [one.content["data"]["minute"] for one in slow.taken()]
    assert minutes == sorted(minutes)


def test_what_is_given_up_can_be_redriven(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "FIRST_PAUSE_S", 0.1)
    states = {"down": True}

    def decide(attempt: int, handler: BaseHTTPRequestHandler) -> int:
        return 500 if states["down"] else 200

    with WebhookReceiver(SECRET, decide) as receiver:
        endpoints = write_endpoints(tmp_path / "endpoints.toml", desk=receiver.url)
        with working(log, tmp_path, endpoints, give_up_s=1.0) as worker:
            log.append([goal()])
            deadline = time.monotonic() + 20
            while not worker.outbox.all(failed=True) and time.monotonic() < deadline:
                time.sleep(0.02)
            [failed] = [json.loads(line) for line in outbox_command(tmp_path, "list").splitlines()]
            assert (failed["endpoint"], failed["reason"]) == ("desk", "status 500 Internal Server Error")
            assert json.loads(failed["body"])["type"] == "goal"
            states["down"] = False
            assert b"again" in outbox_command(tmp_path, "redrive", failed["id"])
            [taken] = receiver.wait_for(1)
            assert taken.id == failed["webhook_id"] == receiver.received[0].id
    assert outbox_command(tmp_path, "list") == b""


def outbox_command(directory: Path, *argv: str) -> bytes:
    name, *rest = argv
    ran = touchline("notify", name, "--outbox", directory / "webhooks.db", *rest)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def test_gone_is_given_up_at_once_and_can_be_discarded(log: EventLog, tmp_path: Path) -> None:
    with WebhookReceiver(SECRET, lambda attempt, handler: 410) as receiver:
        endpoints = write_endpoints(tmp_path / "endpoints.toml", desk=receiver.url)
        with working(log, tmp_path, endpoints) as worker:
            log.append([goal()])
            deadline = time.monotonic() + 20
            while not worker.outbox.all(failed=True) and time.monotonic() < deadline:
                time.sleep(0.02)
            [failed] = worker.outbox.all(failed=True)
    assert len(receiver.received) == 1
    assert touchline("notify", "discard", "--outbox", tmp_path / "webhooks.db", "999").code == 2
    assert b"discarded" in outbox_command(tmp_path, "discard", failed.id)
    assert outbox_command(tmp_path, "list") == b""


def test_a_queue_has_a_bound_and_what_is_beyond_it_is_kept_as_given_up(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "PENDING_MAX", 3)
    monkeypatch.setattr(outboxes, "FAILED_MAX", 4)
    release = threading.Event()

    def hang(attempt: int, handler: BaseHTTPRequestHandler) -> int:
        release.wait(30)
        return 200

    with WebhookReceiver(SECRET, hang) as slow, WebhookReceiver(SECRET) as quick:
        endpoints = write_endpoints(tmp_path / "endpoints.toml", slow=slow.url)
        with working(log, tmp_path, endpoints) as worker:
            log.append([goal(minute=minute + 1) for minute in range(9)])
            deadline = time.monotonic() + 20
            while len(worker.outbox.all()) < 7 and time.monotonic() < deadline:
                time.sleep(0.02)
            waiting, failed = worker.outbox.all(failed=False), worker.outbox.all(failed=True)
            release.set()
            slow.wait_for(3)
        assert quick.received == []
    assert len(waiting) == 3
    # The newest four of the six that did not fit.
    assert [json.loads(one.body)["data"]["minute"] for one in failed] == [6, 7, 8, 9]
    assert "waited already" in failed[0].reason


def test_a_new_endpoint_counts_without_a_restart_and_one_that_goes_keeps_its_queue(
    log: EventLog, tmp_path: Path
) -> None:
    path = tmp_path / "endpoints.toml"
    with WebhookReceiver(SECRET) as first, WebhookReceiver(SECRET) as second:
        write_endpoints(path, first=first.url)
        with working(log, tmp_path, path) as worker:
            log.append([goal()])
            first.wait_for(1)
            write_endpoints(path, second=second.url)
            deadline = time.monotonic() + 20
            while "second" not in worker.outbox.since([], 0) and time.monotonic() < deadline:
                time.sleep(0.02)
            log.append([goal(minute=50)])
            received = second.wait_for(1)
    assert received[-1].content["data"]["minute"] == 50
    assert len(first.received) == 1


def test_a_delay_holds_a_message_back(tmp_path: Path) -> None:
    with closing(Outbox(tmp_path / "box.db")) as box:
        box.add([("desk", "msg_1", "m1", "goal", b"{}", 10_000)], {0: 1}, 5_000)
        assert box.next_due("desk", 9_999) is None
        due = box.next_due("desk", 10_000)
        assert due is not None
        assert due.webhook_id == "msg_1"


def test_a_later_message_of_a_match_waits_for_an_earlier_one_for_five_attempts(tmp_path: Path) -> None:
    with closing(Outbox(tmp_path / "box.db")) as box:
        box.add(
            [("desk", f"msg_{n}", match, "goal", b"{}", 0) for n, match in enumerate(["m1", "m1", "m2"])],
            {},
            0,
        )
        for attempt in range(5):
            now_ms = 1_000 * attempt
            first = box.next_due("desk", now_ms)
            assert first is not None
            assert first.webhook_id == "msg_0"
            box.retry(first, now_ms + 1_000, "status 500")
            other = box.next_due("desk", now_ms)
            assert other is not None
            # That of another match waits for nobody.
            assert other.webhook_id == ("msg_2" if attempt < 4 else "msg_1")


def test_the_same_delivery_is_added_once_and_offsets_only_rise(tmp_path: Path) -> None:
    with closing(Outbox(tmp_path / "box.db")) as box:
        for _ in range(2):
            box.add([("desk", "msg_1", "m1", "goal", b"{}", 0)], {0: 5}, 0)
        box.add([], {0: 3, 1: 9}, 0)
        assert len(box.all()) == 1
        assert box.offsets() == {0: 5, 1: 9}


def test_what_a_wrong_clock_put_off_for_years_is_due(tmp_path: Path) -> None:
    with closing(Outbox(tmp_path / "box.db")) as box:
        box.add([("desk", "msg_1", "m1", "goal", b"{}", 10**14)], {}, 0)
        due = box.next_due("desk", 1_700_000_000_000)
        assert due is not None


def test_while_a_delivery_cannot_be_written_down_it_is_not_sent_again(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "BUSY_S", 0.1)
    monkeypatch.setattr(workers, "_ERROR_PAUSE_S", 0.1)
    locked, release = threading.Event(), threading.Event()

    def lock(attempt: int, handler: BaseHTTPRequestHandler) -> int:
        if attempt == 1:
            threading.Thread(target=hold).start()
            locked.wait(10)
        return 200

    def hold() -> None:
        with closing(sqlite3.connect(tmp_path / "webhooks.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            locked.set()
            release.wait(30)
            other.execute("COMMIT")

    with WebhookReceiver(SECRET, lock) as receiver:
        endpoints = write_endpoints(tmp_path / "endpoints.toml", desk=receiver.url)
        with working(log, tmp_path, endpoints) as worker:
            log.append([goal()])
            receiver.wait_for(1)
            time.sleep(1.5)  # fifteen tries to write it down
            release.set()
            deadline = time.monotonic() + 20
            while worker.outbox.pending("desk")[0] and time.monotonic() < deadline:
                time.sleep(0.05)
            assert worker.outbox.all() == []
        assert len(receiver.received) == 1


def test_pauses_double_to_a_quarter_of_an_hour_and_differ() -> None:
    assert [pause_s(n, None, lambda: 1.0) for n in (1, 2, 3, 10, 11, 1_000)] == [1, 2, 4, 512, 900, 900]
    assert pause_s(1, None, lambda: 0.0) == 0.5
    assert pause_s(1, 30.0) == 30.0
    assert len({pause_s(5, None) for _ in range(20)}) > 10


def test_a_second_worker_of_an_outbox_is_refused(log: EventLog, tmp_path: Path) -> None:
    endpoints = write_endpoints(tmp_path / "endpoints.toml")
    with (
        working_without_endpoints(log, tmp_path, endpoints),
        pytest.raises(ConfigError, match="another worker"),
    ):
        NotifyWorker(
            log, group="notify", outbox_path=tmp_path / "webhooks.db",
            endpoint_file=EndpointFile(endpoints), metrics=Metrics(),
        )  # fmt: skip


@contextmanager
def working_without_endpoints(log: EventLog, directory: Path, endpoints: Path) -> Iterator[None]:
    worker = NotifyWorker(
        log, group="notify", outbox_path=directory / "webhooks.db",
        endpoint_file=EndpointFile(endpoints), metrics=Metrics(),
    )  # fmt: skip
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield
    worker.stop()
    thread.join(timeout=30)


def test_more_matches_than_are_kept_are_read_from_the_log_again(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MATCHES_MAX", 2)
    with WebhookReceiver(SECRET) as receiver:
        endpoints = write_endpoints(tmp_path / "endpoints.toml", desk=receiver.url)
        with working(log, tmp_path, endpoints):
            for minute in (1, 2, 3):
                log.append([goal(f"m{n}", minute=minute) for n in range(5)])
            received = receiver.wait_for(15)
    for n in range(5):
        of_match = [one.content["data"] for one in received if one.content["data"]["match"]["id"] == f"m{n}"]
        assert [data["score"]["home"] for data in of_match] == [1, 2, 3]


@pytest.mark.services
def test_a_killed_worker_loses_nothing_and_repeats_under_the_same_id(log: EventLog, tmp_path: Path) -> None:
    """``kill -9`` again and again, at any moment, while goals and retractions come."""
    chance = random.Random(7)

    def decide(attempt: int, handler: BaseHTTPRequestHandler) -> int:
        time.sleep(chance.choice((0, 0, 0.02)))
        return 200 if chance.random() < 0.95 else chance.choice((500, 0))

    with WebhookReceiver(SECRET, decide) as receiver:
        endpoints = write_endpoints(tmp_path / "endpoints.toml", desk=receiver.url)
        argv = [sys.executable, "-m", "origin", "notify", "run", "--endpoints", str(endpoints)]
        argv += ["--outbox", str(tmp_path / "webhooks.db")]
        env = {"EVENTLOG_URL": f"sqlite:///{tmp_path}/log.db"}
        expected = 0
        for round_ in range(3):
            worker = ServerProcess(argv, log_path=tmp_path / "worker.log", env=env)
            if round_ == 0:
                worker.wait_until(lambda: _knows_endpoints(tmp_path / "webhooks.db"))
            for minute in range(8):
                scored = goal(f"m{minute % 3}", minute=minute + 9 * round_ + 1)
                log.append([scored])
                log.append([retraction(scored)])
                expected += 2
                time.sleep(chance.random() * 0.05)
            came = len(receiver.received)
            # Killed at any moment once it works, and not always before it begins.
            deadline = time.monotonic() + 20
            while len(receiver.received) <= came + chance.randrange(8) and time.monotonic() < deadline:
                time.sleep(0.01)
            worker.kill()
        worker = ServerProcess(argv, log_path=tmp_path / "worker.log", env=env)
        deadline = time.monotonic() + 60
        while len({one.id for one in receiver.taken()}) < expected and time.monotonic() < deadline:
            time.sleep(0.05)
        worker.signal(signal.SIGTERM)
        worker.stop()
    by_id: dict[str, set[bytes]] = {}
    for one in receiver.received:
        by_id.setdefault(one.id, set()).add(one.body)
    assert len({one.id for one in receiver.taken()}) == expected
    assert set(map(len, by_id.values())) == {1}
    assert all(one.signed for one in receiver.received)


def _knows_endpoints(path: Path) -> bool:
    if not path.exists():
        return False
    with closing(Outbox(path)) as box:
        return bool(box.since([], 0))


def test_a_command_names_what_is_wrong(tmp_path: Path) -> None:
    ran = touchline("notify", "run", "--endpoints", tmp_path / "missing", "--outbox", tmp_path / "box.db")
    assert ran.code == 1
    assert "missing" in ran.err
    assert touchline("notify", "list", "--outbox", tmp_path / "none.db").code == 1
    (tmp_path / "box.db").write_text("no database, but long enough to be looked at as one" * 30)
    ran = touchline("notify", "list", "--outbox", tmp_path / "box.db")
    assert ran.code == 1
    assert "box.db" in ran.err


def test_the_metrics_say_what_waits(log: EventLog, tmp_path: Path) -> None:
    refused = Outcome(False, "status 500")
    endpoints = write_endpoints(tmp_path / "endpoints.toml", desk=f"http://127.0.0.1:{free_port()}/")

    def never(endpoint: Endpoint, webhook_id: str, body: bytes, now_s: float) -> Outcome:
        return refused

    with working(log, tmp_path, endpoints, send_once=never) as worker:
        log.append([goal()])
        registry = worker._metrics.registry
        deadline = time.monotonic() + 20
        while registry.get_sample_value("touchline_webhook_pending", {"endpoint": "desk"}) != 1:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert registry.get_sample_value(
            "touchline_webhook_deliveries_total", {"endpoint": "desk", "result": "failed"}
        )
