"""Sessions, attempts and presence: what is kept, for how long, and how much of it."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from origin.console import store as module
from origin.console.store import IDLE_S, Limit, PendingSignIn, Presence, Store
from origin.errors import ConfigError

HOUR_S = 3_600.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Store:
    return Store(tmp_path / "console" / "console.db", clock)


def rows(tmp_path: Path, table: str) -> int:
    connection = sqlite3.connect(tmp_path / "console" / "console.db")
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


def test_a_session_is_for_all_workers_and_outlives_a_restart(
    store: Store, tmp_path: Path, clock: Clock
) -> None:
    token = store.begin("ana", "local", "proof", 12 * HOUR_S)
    other = Store(tmp_path / "console" / "console.db", clock)
    session = other.session(token)
    assert session is not None
    assert (session.operator, session.kind, session.proof) == ("ana", "local", "proof")
    assert other.session(token + "x") is None
    assert other.session("") is None


def test_the_file_opens_nothing_for_who_copies_it(store: Store, tmp_path: Path) -> None:
    token = store.begin("ana", "local", "", HOUR_S)
    for path in (tmp_path / "console").iterdir():
        assert token.encode() not in path.read_bytes()
    assert stat.S_IMODE((tmp_path / "console" / "console.db").stat().st_mode) == 0o600


def test_a_session_ends_with_its_time_when_it_idles_and_when_it_is_ended(store: Store, clock: Clock) -> None:
    by_time, idle, ended = (store.begin("ana", "local", "", 6 * HOUR_S) for _ in range(3))
    store.end(ended)
    assert store.session(ended) is None
    clock.now_s += IDLE_S - 1
    assert store.session(by_time) is not None
    clock.now_s += 2
    assert store.session(by_time) is not None
    assert store.session(idle) is None
    clock.now_s += 2 * HOUR_S
    assert store.session(by_time) is None


def test_all_sessions_of_an_operator_end_together(store: Store) -> None:
    tokens = [store.begin("ana", "local", "", HOUR_S) for _ in range(3)]
    other = store.begin("ben", "local", "", HOUR_S)
    assert store.end_all("ana") == 3
    assert [store.session(token) for token in tokens] == [None, None, None]
    assert store.session(other) is not None


def test_sessions_have_a_bound_and_the_oldest_gives_way(
    store: Store, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = []
    for _ in range(module.SESSIONS_OF_OPERATOR_MAX + 3):
        clock.now_s += 1
        tokens.append(store.begin("ana", "local", "", HOUR_S))
    assert [store.session(token) is None for token in tokens[:4]] == [True, True, True, False]
    monkeypatch.setattr(module, "SESSIONS_MAX", 25)
    for number in range(30):
        clock.now_s += 1
        store.begin(f"n{number}", "oidc", "", HOUR_S)
    assert rows(tmp_path, "sessions") == 25


def test_attempts_are_taken_from_all_buckets_or_none(store: Store, clock: Clock) -> None:
    address, account = Limit("address a", 5, 10.0), Limit("account ana", 2, 60.0)
    assert [store.take([address, account]) for _ in range(2)] == [0.0, 0.0]
    assert store.take([address, account]) == pytest.approx(60.0)
    # Refused attempts cost the address nothing more: three are left.
    assert [store.take([address]) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert store.take([address]) > 0
    clock.now_s += 60
    assert store.take([address, account]) == 0.0
    store.give_back(account)
    assert store.take([account]) == 0.0
    clock.now_s -= 500
    assert store.take([account]) > 0, "a clock that is set back refills nothing"


def test_attempts_fill_no_memory(
    store: Store, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS_MAX", 20)
    for number in range(50):
        clock.now_s += 1
        store.take([Limit(f"address {number}", 5, 10.0)])
    assert rows(tmp_path, "attempts") == 20


def test_a_sign_in_with_a_provider_comes_back_once_in_its_browser(
    store: Store, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = PendingSignIn("state", "nonce", "verifier")
    key = store.keep_pending(pending)
    assert store.take_pending("another browser", "state") is None
    assert store.take_pending(key, "state") == pending
    assert store.take_pending(key, "state") is None
    key = store.keep_pending(pending)
    assert store.take_pending(key, "another state") is None
    assert store.take_pending(key, "state") is None, "a wrong state ends it"
    key = store.keep_pending(pending)
    clock.now_s += module.PENDING_S + 1
    assert store.take_pending(key, "state") is None
    monkeypatch.setattr(module, "PENDING_MAX", 5)
    for _ in range(10):
        clock.now_s += 1
        store.keep_pending(pending)
    assert rows(tmp_path, "pending") == 5


def test_who_is_at_a_match_is_seen_until_the_window_is_silent(store: Store, clock: Clock) -> None:
    store.be_present("m", Presence("1", "ana", ""))
    clock.now_s += 1
    store.be_present("m", Presence("2", "ben", "g1"))
    store.be_present("other", Presence("3", "ben", ""))
    assert store.present("m") == [Presence("1", "ana", ""), Presence("2", "ben", "g1")]
    assert store.windows_of("ben") == 2
    clock.now_s += module.PRESENT_S - 0.5
    store.be_present("m", Presence("1", "ana", "g2"))
    clock.now_s += 1
    assert store.present("m") == [Presence("1", "ana", "g2")]
    store.leave("1")
    assert store.present("m") == []


def test_a_file_of_something_else_is_named(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "console.db").write_bytes(b"no database at all, but more than a header's worth of bytes" * 20)
    with pytest.raises(ConfigError, match=r"console\.db"):
        Store(tmp_path / "console.db", clock)
