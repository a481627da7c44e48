"""Web Push on a real log, against a push service that decrypts: goals, and goals that are taken back."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from origin.errors import ConfigError
from origin.eventlog import EventLog, open_eventlog
from origin.metrics import Metrics
from origin.notify import push_worker as workers
from origin.notify.push_keys import STORE_FILE, make_key, public_key
from origin.notify.push_message import topic
from origin.notify.push_store import PushStore, Subscription
from origin.notify.push_worker import PushWorker
from shared_state import Event
from testkit.command import touchline
from testkit.services.process import ServerProcess
from testkit.services.push_service import PushService
from tests.notify.test_worker import event, goal, retraction

CONTACT = "mailto:desk@scores.example"


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("origin.notify.worker.LOOK_S", 0.05)
    monkeypatch.setattr(workers, "LOOK_S", 0.05)
    monkeypatch.setattr("origin.notify.worker.FIRST_PAUSE_S", 0.1)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with closing(open_eventlog(f"sqlite:///{tmp_path}/log.db")) as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PushStore]:
    """The file as the origin has it, beside the worker."""
    make_key(tmp_path)
    with closing(PushStore(tmp_path / STORE_FILE)) as opened:
        yield opened


def subscribe(
    store: PushStore,
    service: PushService,
    name: str,
    match_id: str = "m1",
    *,
    delay_s: int = 0,
    language: str = "en",
) -> Subscription:
    browser = service.browser(name)
    given = Subscription(browser.endpoint, match_id, **browser.keys, delay_s=delay_s, language=language)
    store.subscribe(given, now_ms())
    return given


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def push_worker(log: EventLog, directory: Path, **options: object) -> PushWorker:
    given: dict[str, object] = {"allow_private": True, **options}
    return PushWorker(log, directory=directory, contact=CONTACT, metrics=Metrics(), **given)  # type: ignore[arg-type]


@contextmanager
def working(log: EventLog, directory: Path, **options: object) -> Iterator[PushWorker]:
    worker = push_worker(log, directory, **options)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(timeout=30)
        assert not thread.is_alive()


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError(what)


def test_a_goal_comes_encrypted_and_proven_and_its_retraction_replaces_it(
    log: EventLog, store: PushStore, tmp_path: Path
) -> None:
    with PushService() as service, working(log, tmp_path):
        subscribe(store, service, "phone")
        subscribe(store, service, "laptop", language="de")
        subscribe(store, service, "other", "m2")
        scored = goal()
        log.append(
            [event(type="STATUS_CHANGE", detail={"to": "LIVE"}), event(type="FOUL", team="home"), scored]
        )
        [first] = service.wait_for("phone", 1)
        service.wait_for("laptop", 1)
        log.append([retraction(scored)])
        _, second = service.wait_for("phone", 2)
        _, german = service.wait_for("laptop", 2)
        assert service.of("other") == []
    assert first.content == {
        "title": "Home 1, Away 0",
        "body": "Goal · Kane · 12'",
        "tag": topic("m1", scored.event_id),
        "path": "match/m1",
        "lang": "en",
        "renotify": True,
    }
    assert (second.content["title"], second.content["body"]) == ("Home 0, Away 0", "Goal ruled out: offside")
    assert second.content["tag"] == first.content["tag"]
    assert second.content["renotify"] is False
    assert german.content["body"] == "Tor aberkannt: Abseits"
    assert german.content["path"] == "match/m1?lang=de"
    assert first.key == public_key(tmp_path)
    assert first.claims["aud"] == service.url
    assert first.claims["sub"] == CONTACT
    assert time.time() < first.claims["exp"] < time.time() + 86_400
    assert first.headers["topic"] == second.headers["topic"] == first.content["tag"]
    assert int(second.headers["ttl"]) > int(first.headers["ttl"]) > 0
    assert first.headers["urgency"] == "high"


def test_a_goal_that_is_taken_back_within_the_delay_is_never_sent(
    log: EventLog, store: PushStore, tmp_path: Path
) -> None:
    """Neither it nor its score: the goal after it is the first that this reader hears of."""
    with PushService() as service, working(log, tmp_path) as worker:
        subscribe(store, service, "late", delay_s=3)
        subscribe(store, service, "live")
        wrong, right = goal(), goal(player="Saka")
        log.append([wrong])
        log.append([right])
        service.wait_for("live", 2)
        log.append([retraction(wrong)])
        service.wait_for("live", 3)
        [late] = service.wait_for("late", 1)
        assert (late.content["body"], late.content["title"]) == ("Goal · Saka · 12'", "Home 1, Away 0")
        assert late.content["path"] == "match/m1?behind=3"
        wait_until(lambda: worker.store.waiting()[0] == 0, "something waits")
        assert len(service.of("late")) == 1
        last = service.of("live")[-1].content
        assert (last["title"], last["tag"]) == ("Home 1, Away 0", topic("m1", wrong.event_id))


def test_a_delayed_reader_gets_nothing_before_its_time(
    log: EventLog, store: PushStore, tmp_path: Path
) -> None:
    with PushService() as service, working(log, tmp_path) as worker:
        subscribe(store, service, "late", delay_s=2)
        before_s = time.monotonic()
        scored = goal()
        log.append([scored])
        [first] = service.wait_for("late", 1)
        log.append([retraction(scored)])
        again_s = time.monotonic()
        _, second = service.wait_for("late", 2)
        del worker
    # Never sooner; how much later is a matter of the machine.
    assert first.at_s - before_s >= 1.9
    assert second.at_s - again_s >= 1.9
    assert second.content["renotify"] is False


def test_what_waits_obeys_another_delay(log: EventLog, store: PushStore, tmp_path: Path) -> None:
    with PushService() as service, working(log, tmp_path):
        subscribe(store, service, "late", delay_s=120)
        log.append([goal()])
        wait_until(lambda: store.waiting()[0] == 1, "nothing waits")
        assert service.received == []
        subscribe(store, service, "late", delay_s=0)
        [only] = service.wait_for("late", 1)
    assert only.content["path"] == "match/m1"


def test_an_amended_goal_replaces_quietly_or_is_sent_as_amended(
    log: EventLog, store: PushStore, tmp_path: Path
) -> None:
    with PushService() as service, working(log, tmp_path):
        subscribe(store, service, "live")
        subscribe(store, service, "late", delay_s=3)
        scored = goal(player="Kane")
        log.append([scored])
        service.wait_for("live", 1)
        log.append([goal(event_id=scored.event_id, rev=2, op="AMEND", player="Saka")])
        _, amended = service.wait_for("live", 2)
        [late] = service.wait_for("late", 1)
    assert (amended.content["body"], amended.content["renotify"]) == ("Goal · Saka · 12'", False)
    assert late.content["body"] == "Goal · Saka · 12'"
    assert late.content["renotify"] is True


def test_a_feed_of_running_scores_takes_its_goal_back(
    log: EventLog, store: PushStore, tmp_path: Path
) -> None:
    def score(home: int, minute: int) -> Event:
        return event(type="SCORE_OVERRIDE", minute=minute, detail={"home": home, "away": 0})

    with PushService() as service, working(log, tmp_path):
        subscribe(store, service, "phone")
        log.append([score(1, 12)])
        [first] = service.wait_for("phone", 1)
        log.append([score(0, 14)])
        _, second = service.wait_for("phone", 2)
    assert second.content["tag"] == first.content["tag"]
    assert (second.content["title"], second.content["body"]) == ("Home 0, Away 0", "Score corrected")


def test_a_goal_of_before_the_subscription_is_not_sent_nor_its_correction(
    log: EventLog, store: PushStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "CLOCKS_MS", -1)
    with PushService() as service, working(log, tmp_path):
        early = goal()
        log.append([early])
        time.sleep(0.01)
        subscribe(store, service, "phone")
        time.sleep(0.01)
        log.append([retraction(early)])
        log.append([goal(player="Saka")])
        [only] = service.wait_for("phone", 1)
    assert only.content["title"] == "Home 1, Away 0"
    assert [one.content["body"] for one in service.received] == ["Goal · Saka · 12'"]


@pytest.mark.parametrize("status", [404, 410])
def test_a_browser_that_is_gone_is_forgotten(
    log: EventLog, store: PushStore, tmp_path: Path, status: int
) -> None:
    with (
        PushService(lambda browser, number: status if browser == "gone" else 201) as service,
        working(log, tmp_path),
    ):
        for match_id in ("m1", "m2"):
            subscribe(store, service, "gone", match_id)
        subscribe(store, service, "there")
        log.append([goal()])
        service.wait_for("there", 1)
        service.wait_for("gone", 1)
        wait_until(lambda: store.count() == 1, "it is still there")
        log.append([goal(), goal("m2")])
        service.wait_for("there", 2)
        assert len(service.of("gone")) == 1


def test_a_failed_push_is_tried_again_and_one_that_is_refused_is_not(
    log: EventLog, store: PushStore, tmp_path: Path
) -> None:
    def decide(browser: str, number: int) -> int:
        if browser == "flaky":
            return {1: 503, 2: 429, 3: 0}.get(number, 201)
        return 413

    with PushService(decide) as service, working(log, tmp_path) as worker:
        subscribe(store, service, "flaky")
        subscribe(store, service, "refusing")
        log.append([goal()])
        tried = service.wait_for("flaky", 4)
        wait_until(lambda: worker.store.waiting()[0] == 0, "something waits")
    assert [one.status for one in tried] == [503, 429, 0, 201]
    assert len({one.content["tag"] for one in tried}) == 1
    # A second attempt alerts nobody twice: the first may have arrived.
    assert [one.content["renotify"] for one in tried] == [True, False, False, False]
    assert len(service.of("refusing")) == 1


def test_a_goal_of_long_ago_is_not_sent_and_its_correction_is(
    log: EventLog, store: PushStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a worker that was away: what is no news is dropped, and nothing stays wrong on a screen."""
    with PushService() as service:
        subscribe(store, service, "phone")
        scored = goal()
        with working(log, tmp_path):
            log.append([scored])
            service.wait_for("phone", 1)
        monkeypatch.setattr(workers, "GIVE_UP_S", -1)
        log.append([goal(player="Saka"), retraction(scored)])
        with working(log, tmp_path) as worker:
            _, second = service.wait_for("phone", 2)
            wait_until(lambda: worker.store.waiting()[0] == 0, "something waits")
    assert second.content["body"] == "Goal ruled out: offside"
    assert len(service.received) == 2


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py_vapid", None)
    with pytest.raises(ConfigError, match=r"pip install 'touchline\[push\]'"):
        make_key(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_sends_are_paced(log: EventLog, store: PushStore, tmp_path: Path) -> None:
    with PushService() as service, working(log, tmp_path, rate_per_s=20):
        for number in range(21):
            subscribe(store, service, f"b{number}")
        log.append([goal()])
        for number in range(21):
            service.wait_for(f"b{number}", 1)
    times_s = sorted(one.at_s for one in service.received)
    # Twenty pauses of 50 ms lie between the first and the last. No machine makes that shorter.
    assert times_s[-1] - times_s[0] >= 0.9


def test_a_key_that_no_browser_made_ends_no_thread(log: EventLog, store: PushStore, tmp_path: Path) -> None:
    with PushService() as service, working(log, tmp_path):
        off_curve = "BA" + "A" * 84 + "E"
        for number in range(workers.SENDERS + 1):
            endpoint = f"{service.url}/push/bad{number}"
            store.subscribe(Subscription(endpoint, "m1", off_curve, "A" * 22, 0, "en"), now_ms())
        subscribe(store, service, "good")
        log.append([goal()])
        service.wait_for("good", 1)
        wait_until(lambda: store.count() == 1, "they are still there")


def test_a_private_address_is_not_connected_to(log: EventLog, store: PushStore, tmp_path: Path) -> None:
    with PushService() as service, working(log, tmp_path, allow_private=False) as worker:
        subscribe(store, service, "inside")
        log.append([goal()])
        wait_until(lambda: _attempts(worker) > 0, "it was not tried")
    assert service.received == []


def _attempts(worker: PushWorker) -> int:
    with worker.store._reading() as db:
        return int(db.execute("SELECT max(attempts) FROM pushes").fetchone()[0] or 0)


def test_a_killed_worker_loses_nothing_and_repeats_under_the_same_tag(
    log: EventLog, store: PushStore, tmp_path: Path
) -> None:
    """``kill -9`` at any moment, while goals and retractions come."""
    argv = [sys.executable, "-m", "origin", "push", "run"]
    env = {
        "EVENTLOG_URL": f"sqlite:///{tmp_path}/log.db",
        "TOUCHLINE_PUSH_DATA_DIR": str(tmp_path),
        "TOUCHLINE_PUSH_CONTACT": CONTACT,
        "TOUCHLINE_PUSH_ALLOW_PRIVATE": "1",
    }

    def decide(browser: str, number: int) -> int:
        return 0 if number % 5 == 0 else 201

    with PushService(decide) as service:
        subscribe(store, service, "phone")
        subscribe(store, service, "laptop")
        taken_back: set[str] = set()
        kept: set[str] = set()
        for round_ in range(3):
            came = len(service.received)
            worker = ServerProcess(argv, log_path=tmp_path / "worker.log", env=env)
            for minute in range(6):
                scored = goal(minute=minute + 6 * round_ + 1)
                log.append([scored])
                if minute % 2:
                    log.append([retraction(scored)])
                (taken_back if minute % 2 else kept).add(topic("m1", scored.event_id))
            wait_until(lambda came=came: len(service.received) > came + 2, "nothing came")  # type: ignore[misc]
            worker.kill()
        worker = ServerProcess(argv, log_path=tmp_path / "worker.log", env=env)
        last_offset = max(record.offset for record in log.read_match("m1"))
        wait_until(
            lambda: max(store.offsets().values()) == last_offset and store.waiting()[0] == 0,
            "something waits",
        )
        worker.stop()
    assert not service.errors
    for name in ("phone", "laptop"):
        last = {one.content["tag"]: one.content["body"] for one in service.of(name)}
        assert kept <= last.keys()
        assert all(last[tag].startswith("Goal · ") for tag in kept)
        # What was shown was taken back; what was taken back before it was sent was never shown.
        assert all(last[tag] == "Goal ruled out: offside" for tag in taken_back & last.keys())


def test_one_worker_uses_a_directory(log: EventLog, store: PushStore, tmp_path: Path) -> None:
    with working(log, tmp_path), pytest.raises(ConfigError, match="another worker"):
        push_worker(log, tmp_path)


def test_a_command_names_what_is_wrong(tmp_path: Path) -> None:
    def push(*argv: str, **env: str) -> tuple[int, str]:
        ran = touchline("push", *argv, env={"EVENTLOG_URL": "memory://", **env})
        return ran.code, ran.err

    directory = {"TOUCHLINE_PUSH_DATA_DIR": str(tmp_path / "push")}
    assert push("keys") == (
        1,
        "Error: TOUCHLINE_PUSH_DATA_DIR must be set to the directory of the subscriptions\n",
    )
    code, err = push("run", **directory, TOUCHLINE_PUSH_CONTACT="desk@scores.example")
    assert (code, "TOUCHLINE_PUSH_CONTACT" in err) == (1, True)
    code, err = push("run", **directory, TOUCHLINE_PUSH_CONTACT=CONTACT)
    assert (code, "touchline push keys" in err) == (1, True)
    assert push("keys", **directory)[0] == 0
    made = (tmp_path / "push" / "vapid.pem").read_bytes()
    assert (tmp_path / "push" / "vapid.pem").stat().st_mode & 0o077 == 0
    code, err = push("keys", **directory)
    assert (code, "is there already" in err) == (1, True)
    assert (tmp_path / "push" / "vapid.pem").read_bytes() == made
    code, err = push("run", **directory, TOUCHLINE_PUSH_CONTACT="mailto:")
    assert (code, "TOUCHLINE_PUSH_CONTACT" in err) == (1, True)
