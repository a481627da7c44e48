"""``touchline dlq`` as a shell runs it, on a real Kafka: letters of records that other clients wrote."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import Producer

from origin.bus.memory import MemoryBus
from origin.eventlog import EventLog, open_eventlog
from origin.eventlog.codec import encode_event
from origin.eventlog.deadletter import DeadLetter
from origin.fanout.worker import FanOut
from shared_state import Replica
from shared_state.jsontext import JsonObject
from testkit.command import Ran, dlq
from testkit.services.kafka import KafkaBroker
from tests.eventlog.contract import note

pytestmark = pytest.mark.services

PATIENCE_S = 60.0
GARBAGE = (b"\xff{", b'{"match_id": "m1"}', b"")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    yield broker
    broker.stop()


@pytest.fixture
def topic() -> str:
    return f"dlq-{uuid.uuid4().hex}"


@pytest.fixture
def url(broker: KafkaBroker, topic: str) -> str:
    return f"kafka://{broker.address}/{topic}?partitions=2"


@pytest.fixture
def log(url: str) -> Iterator[EventLog]:
    with closing(open_eventlog(url)) as log:
        yield log


def listed(url: str) -> list[JsonObject]:
    ran = dlq(url, "list")
    assert (ran.code, ran.err) == (0, "")
    return [json.loads(line) for line in ran.lines]


def write(broker: KafkaBroker, topic: str, *values: bytes) -> None:
    """As a program does that knows nothing of the log: no key, a partition of its choice."""
    producer = Producer({"bootstrap.servers": broker.address})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(30) == 0


def fan_out(log: EventLog, group: str | None, until: int) -> MemoryBus:
    """A region's worker, until match m1 has had so many changes and all is read."""
    bus = MemoryBus()
    worker = FanOut(log, bus, group=group)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not worker.caught_up or (head := bus.head("m1")) is None or head.seq < until:
            assert time.monotonic() < deadline
            worker.step(0.1)
    finally:
        worker._consumer.close()
    return bus


def names(log: EventLog) -> list[str]:
    return [record.event.event_id for record in log.read_match("m1")]


def test_nothing_set_aside(url: str) -> None:
    assert dlq(url, "list") == Ran(0, b"", "")
    assert dlq(url, "redrive") == Ran(0, b"", "")


def test_letters_of_other_clients_records(broker: KafkaBroker, topic: str, url: str, log: EventLog) -> None:
    """Listed with bytes and reason; what is an event and only lies wrong is driven again, once."""
    log.append([note("e1")])
    stray = encode_event(note("e2"))
    begun_ms = time.time() * 1000
    write(broker, topic, *GARBAGE, stray)
    log.append([note("e3")])
    fan_out(log, "eu", until=2)

    letters = listed(url)
    payloads = [
        base64.b64decode(letter["payload_base64"])
        if "payload_base64" in letter
        else letter["payload"].encode()
        for letter in letters
    ]
    assert payloads == [*GARBAGE, stray]
    assert all(begun_ms <= letter["at_ms"] <= time.time() * 1000 for letter in letters)
    assert [bool(letter["reason"]) for letter in letters] == [True] * 4
    assert "event_id" in letters[1]["reason"]
    assert letters[3]["reason"] == "the key is None, not the match id 'm1'"
    ids = [letter["id"] for letter in letters]
    assert {name.partition("-")[0] for name in ids} == {"0"}

    ran = dlq(url, "redrive")
    assert ran.code == 1
    assert ran.out.decode() == f"{ids[3]}: appended: m1 e2\n"
    assert [line.partition(": stays: ")[0] for line in ran.err.splitlines()] == ids[:3]
    assert names(log) == ["e1", "e3", "e2"]
    assert [letter["id"] for letter in listed(url)] == ids[:3]

    # A second time there is nothing to drive, by name or without.
    again = dlq(url, "redrive", ids[3])
    assert again.code == 2
    assert f"no such letter: {ids[3]}" in again.err
    assert dlq(url, "redrive").out == b""
    assert names(log) == ["e1", "e3", "e2"]

    # What a viewer has is the fold of the log, e2 at its new place.
    bus = fan_out(log, "eu", until=3)
    records = list(log.read_match("m1"))
    folded = Replica.begin("m1", records[0].appended_ms)
    for record in records:
        folded.assign(record.event, record.appended_ms)
    snapshot = bus.snapshot("m1")
    assert snapshot is not None
    assert Replica.restore(snapshot.data).hash() == folded.hash()

    assert dlq(url, "discard", *ids[:3]).code == 0
    assert listed(url) == []


def test_what_was_dealt_with_stays_so(broker: KafkaBroker, topic: str, url: str, log: EventLog) -> None:
    """The record stays in the log, and is met again: by a new region, or when a bus is refilled."""
    log.append([note("e1")])
    write(broker, topic, b"{", encode_event(note("e2")))
    fan_out(log, "eu", until=1)
    discarded, driven = (letter["id"] for letter in listed(url))
    assert dlq(url, "redrive", driven).code == 0
    assert dlq(url, "discard", discarded).code == 0
    for group in ("us", None):
        with closing(open_eventlog(url)) as elsewhere:
            fan_out(elsewhere, group, until=2)
        assert listed(url) == []
        assert dlq(url, "redrive") == Ran(0, b"", "")
    assert names(log) == ["e1", "e2"]
    # Something new is told of all the same.
    write(broker, topic, b"{")
    with closing(open_eventlog(url)) as elsewhere:
        fan_out(elsewhere, None, until=2)
    [letter] = listed(url)
    assert letter["id"] not in (discarded, driven)


def test_wrong_id_changes_nothing(broker: KafkaBroker, topic: str, url: str, log: EventLog) -> None:
    log.append([note("e1")])
    write(broker, topic, encode_event(note("e2")))
    fan_out(log, "eu", until=1)
    [letter] = listed(url)
    for verb in ("redrive", "discard"):
        for wrong in ("0-999", "1-0", "nonsense", ""):
            ran = dlq(url, verb, letter["id"], wrong)
            assert ran.code == 2
            assert f"no such letter: {wrong}" in ran.err
            assert ran.out == b""
            assert "Traceback" not in ran.err
    assert listed(url) == [letter]
    assert names(log) == ["e1"]


def test_no_broker(broker: KafkaBroker) -> None:
    ran = dlq("kafka://127.0.0.1:1/t?timeout_s=1", "list")
    assert ran.code == 1
    assert "127.0.0.1:1" in ran.err
    assert "Traceback" not in ran.err


def test_document_is_not_driven_again(url: str, log: EventLog) -> None:
    """A vendor's document among the letters is evidence, even if it could be read as an event."""
    log.dead_letters().add(DeadLetter.of_document("feed", 0, "odd", encode_event(note("e1"))))
    [letter] = listed(url)
    ran = dlq(url, "redrive")
    assert ran.code == 1
    assert ran.err.startswith(f"{letter['id']}: stays: a vendor's document")
    assert names(log) == []
