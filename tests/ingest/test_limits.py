"""What the holder of a key may do: by its prefix, its rate, and its new matches an hour."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.errors import EventLogError, RequestError
from origin.eventlog import Appended, LogRecord, SignedBy
from origin.eventlog.memory import MemoryEventLog
from origin.ingest.limits import DEFAULT_NEW_MATCHES, HOUR_S, DefaultLimits, KeyLimits
from origin.ingest.service import Ingest
from origin.ingest.signatures import IngestKey, signed_headers
from shared_state import Event
from testkit.poster import event

NOW_S = 1_764_000_000
MINE = b"m" * 32
OTHER = b"o" * 32


class Origin:
    """An ingest over a log in memory, with a clock that the test sets."""

    def __init__(self, *keys: bytes | IngestKey, log: MemoryEventLog | None = None) -> None:
        self.log = log or MemoryEventLog()
        self.clock_s = 0.0
        self.ingest = Ingest(
            self.log, keys, max_events=1_000, now_s=lambda: NOW_S, clock_s=lambda: self.clock_s
        )
        self._numbers = itertools.count()

    def post(self, *match_ids: str, key: bytes = MINE, webhook_id: str = "") -> None:
        """One delivery with an event of each match.

        Raises:
            RequestError: it was refused.
        """
        number = next(self._numbers)
        events = [event(f"e{number}-{place}", match_id=match) for place, match in enumerate(match_ids)]
        body = json.dumps(events).encode()
        headers = signed_headers(key, webhook_id or f"msg_{number}", NOW_S, body)
        self.ingest.accept("canonical", headers, body)

    def refusal(self, *match_ids: str, key: bytes = MINE) -> RequestError:
        with pytest.raises(RequestError) as caught:
            self.post(*match_ids, key=key)
        assert "whsec" not in str(caught.value)
        return caught.value

    def count(self, match_id: str) -> int:
        return len(list(self.log.read_match(match_id)))


class SlowLog(MemoryEventLog):
    """A real log of which each reading of a match takes a second of the test's clock."""

    origin: Origin

    def read_match(self, match_id: str, after: int = -1) -> Iterator[LogRecord]:
        self.origin.clock_s += 1.0
        return super().read_match(match_id, after)


def test_a_delivery_of_many_matches_does_not_add_up_the_answers_of_a_slow_log() -> None:
    log = SlowLog()
    origin = log.origin = Origin(IngestKey("feed", MINE, new_matches=100), log=log)
    origin.post("m1", "m2")
    refused = origin.refusal(*(f"many-{number}" for number in range(50)))
    assert (refused.status, refused.code) == (503, "eventlog_unavailable")
    assert refused.headers["Retry-After"] == "1"
    assert origin.clock_s < 20.0, "it was refused before all matches had been looked for"
    assert origin.count("many-0") == 0
    origin.post("m1", "m3")


def test_a_key_writes_only_matches_of_its_prefix() -> None:
    origin = Origin(IngestKey("scout", MINE, prefix="eng-"), IngestKey("desk", OTHER))
    origin.post("eng-1")
    error = origin.refusal("eng-1", "fra-1")
    assert (error.status, error.code) == (403, "match_not_allowed")
    assert error.evidence == {"key": "scout", "match_id": "fra-1"}
    assert (origin.count("eng-1"), origin.count("fra-1")) == (1, 0)
    origin.post("fra-1", key=OTHER)


def test_each_record_says_which_key_and_which_webhook_brought_it() -> None:
    origin = Origin(MINE, IngestKey("desk", OTHER))
    origin.post("m1", webhook_id="first")
    origin.post("m1", key=OTHER, webhook_id="second")
    assert [record.signed_by for record in origin.log.read_match("m1")] == [
        SignedBy("key-1", "first"),
        SignedBy("desk", "second"),
    ]


def test_a_rate_is_kept_in_the_mean_whatever_the_size_of_deliveries() -> None:
    origin = Origin(IngestKey("scout", MINE, rate=10), IngestKey("desk", OTHER))
    origin.post(*["m1"] * 1_000)  # of any size: it is paid for before the next one
    error = origin.refusal("m1")
    assert (error.status, error.code) == (429, "rate_limited")
    assert error.evidence == {"key": "scout", "limit": 10}
    wait_s = int(error.headers["Retry-After"])
    assert wait_s == 100
    origin.post("m1", key=OTHER)  # nobody else waits
    origin.clock_s = wait_s - 1.0
    assert origin.refusal("m1").code == "rate_limited"
    origin.clock_s = wait_s
    origin.post("m1")
    origin.clock_s += 1_000
    for _ in range(10):
        origin.post("m1")  # a second's events at once after a pause, and not a thousand seconds'
    assert origin.refusal("m1").code == "rate_limited"


def test_over_its_rate_a_body_is_not_even_read() -> None:
    origin = Origin(IngestKey("scout", MINE, rate=1))
    origin.post("m1", "m1")
    headers = signed_headers(MINE, "msg_x", NOW_S, b"no JSON")
    with pytest.raises(RequestError) as caught:
        origin.ingest.accept("canonical", headers, b"no JSON")
    assert caught.value.code == "rate_limited"


def test_a_stolen_key_begins_no_more_matches_than_it_may() -> None:
    origin = Origin(IngestKey("scout", MINE, new_matches=3), IngestKey("desk", OTHER))
    origin.post("known", key=OTHER)
    origin.post("m1", "m2", "m1", "known")
    error = origin.refusal("m1", "m3", "m4")
    assert (error.status, error.code) == (429, "too_many_new_matches")
    assert error.evidence == {"key": "scout", "limit": 3}
    assert error.headers["Retry-After"] == "3600"
    assert (origin.count("m1"), origin.count("m3")) == (2, 0)
    origin.clock_s = 60.0
    origin.post("m3")  # a refused delivery counted for nothing
    assert origin.refusal("m4").headers["Retry-After"] == "3540"
    origin.post("m1", "m2", "m3", "known")  # what has begun goes on
    origin.post("m4", key=OTHER)
    origin.post("m4")  # somebody else began it
    origin.clock_s = HOUR_S
    origin.post("m5", "m6")
    assert origin.refusal("m7").headers["Retry-After"] == "60"


def test_a_key_that_may_begin_none_goes_on_with_those_that_are_there() -> None:
    origin = Origin(IngestKey("scout", MINE, new_matches=0), IngestKey("desk", OTHER))
    assert origin.refusal("m1").code == "too_many_new_matches"
    origin.post("m1", key=OTHER)
    origin.post("m1")


def test_a_thousand_deliveries_of_a_stolen_key_add_nothing() -> None:
    """As the case of the 20,000 matches does it, 1,000 in each delivery."""
    origin = Origin(IngestKey("scout", MINE, prefix="s", new_matches=20))
    for batch in range(50):
        matches = [f"s{batch}-{number}" for number in range(1_000)]
        error = origin.refusal(*matches)
        assert error.code == "too_many_new_matches"
        assert f"begins 's{batch}-0' and others; divide it" in str(error)
    assert origin.log.consumer(None).poll(0) == []


def test_without_limits_a_key_is_as_before() -> None:
    origin = Origin(MINE)
    origin.post(*[f"m{number}" for number in range(1_000)])
    origin.post(*[f"n{number}" for number in range(1_000)])


def test_what_the_log_did_not_take_is_given_back() -> None:
    class Broken(MemoryEventLog):
        broken = True

        def append(
            self,
            events: Sequence[Event],
            key: str | None = None,
            signed_by: SignedBy | None = None,
            traceparent: str | None = None,
        ) -> Appended:
            if self.broken:
                raise EventLogError("the disk is full")
            return super().append(events, key, signed_by, traceparent)

    log = Broken()
    origin = Origin(IngestKey("scout", MINE, rate=2, new_matches=1), log=log)
    for _ in range(5):
        assert origin.refusal("m1", "m1").status == 503
    log.broken = False
    origin.post("m1", "m1")
    assert origin.refusal("m1").code == "rate_limited"
    origin.clock_s = 10.0
    assert origin.refusal("m2").code == "too_many_new_matches"


def test_many_threads_get_no_more_than_one_would() -> None:
    limits = KeyLimits(lambda: 0.0)
    key = IngestKey("scout", MINE, rate=50, new_matches=20)
    taken: list[str] = []

    def take(thread: int) -> None:
        for number in range(30):
            match_id = f"m{thread}-{number}"
            try:
                limits.take(key, 1, [match_id])
            except RequestError:
                continue
            taken.append(match_id)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 20


@given(
    rate=st.floats(0.001, 1_000),
    steps=st.lists(st.tuples(st.floats(0, 100), st.integers(1, 1_000)), max_size=40),
)
def test_the_mean_is_the_rate_and_waiting_as_told_is_enough(
    rate: float, steps: list[tuple[float, int]]
) -> None:
    now_s = 0.0
    limits = KeyLimits(lambda: now_s)
    key = IngestKey("scout", MINE, rate=rate)
    sent = last = 0
    for wait_s, events in steps:
        now_s += wait_s
        try:
            limits.take(key, events, [])
        except RequestError as error:
            now_s += int(error.headers["Retry-After"])
            limits.take(key, events, [])
        sent, last = sent + events, events
        # All but the latest delivery are paid for.
        assert sent - last <= max(1.0, rate) + rate * now_s + 1e-6 * sent


def test_a_key_without_limits_has_the_default_ones() -> None:
    now_s = 1_000.0
    limits, defaults = KeyLimits(lambda: now_s), DefaultLimits()
    key = defaults.apply(IngestKey("stolen", b"k" * 32))
    for delivery in range(DEFAULT_NEW_MATCHES // 1_000):
        limits.take(key, 1_000, [f"s{delivery}-{number}" for number in range(1_000)])
    with pytest.raises(RequestError) as refused:
        limits.take(key, 1, ["one-more"])
    assert refused.value.code == "too_many_new_matches"
    # A burst of events is taken, an endless one is not.
    for _ in range(90):
        limits.take(key, 1_000, [])
    with pytest.raises(RequestError) as refused:
        limits.take(key, 1_000, [])
    assert refused.value.code == "rate_limited"


def test_limits_of_a_key_s_own_count_before_the_default_ones() -> None:
    own = IngestKey("own", b"k" * 32, rate=5.0, new_matches=0)
    assert DefaultLimits().apply(own) == own
    unlimited = IngestKey("unlimited", b"k" * 32)
    assert DefaultLimits(rate=None, new_matches=None).apply(unlimited) == unlimited
