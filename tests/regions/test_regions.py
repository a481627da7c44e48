"""Every region publishes the same, whatever happens to workers, Redis and Kafka: nothing lost or twice."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from origin.eventlog import open_eventlog
from origin.eventlog.kafka import KafkaConsumer
from origin.eventlog.kafka_reader import take
from shared_state import Event
from testkit.faults.region_faults import BROKER_FAULTS, FAULTS, Fault, play_through
from testkit.services.kafka import KafkaBroker
from testkit.worlds.regions import Game, Regions
from tests.eventlog.contract import drain

pytestmark = pytest.mark.services

HOLD_S = 3.0


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def regions(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Regions]:
    with Regions(kafka, tmp_path_factory.mktemp("regions")) as regions:
        yield regions


def assert_unnoticed(fault: Fault, regions: Regions) -> None:
    outcome = play_through(fault, regions)
    print(outcome)
    assert outcome.right, outcome


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_regions_notice_nothing_but_time(fault: Fault, regions: Regions) -> None:
    assert_unnoticed(fault, regions)


@pytest.mark.parametrize("fault", BROKER_FAULTS, ids=lambda fault: fault.name)
def test_regions_come_back_twice_in_a_row(fault: Fault, regions: Regions) -> None:
    """Each region has its two members again in time, and each match is published to its end, both times."""
    for _ in range(2):
        assert_unnoticed(fault, regions)
        # All is published only when the group works again; then Kafka must list its members at once, too.
        for region in regions.regions:
            region.wait_for_members(2)


def test_records_that_come_with_a_rebalance_are_kept(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """librdkafka reports a rebalance in the same call that returns records; those must not be lost."""
    with closing(open_eventlog(f"kafka://{kafka.address}/with-{uuid.uuid4().hex}?partitions=2")) as log:
        log.append([_goal("m1", f"g{number}") for number in range(5)])
        with closing(log.consumer("g")) as consumer:
            assert isinstance(consumer, KafkaConsumer)

            def take_and_rebalance(*arguments: Any) -> list[Message]:
                messages = take(*arguments)
                consumer._on_revoke(consumer._consumer, [])
                return messages

            monkeypatch.setattr("origin.eventlog.kafka.take", take_and_rebalance)
            assert [record.event.event_id for record in drain(consumer, 5)] == [f"g{n}" for n in range(5)]


def test_an_emptied_redis_has_again_what_no_worker_remembers(kafka: KafkaBroker, tmp_path: Path) -> None:
    """Matches that were published and committed before the running workers started, without events since."""
    quiet = {f"quiet-{number}" for number in range(8)}
    with Regions(kafka, tmp_path, names=("eu",)) as regions, closing(regions["eu"].bus()) as bus:
        region = regions["eu"]
        regions.log.append([_goal(match_id, "g1") for match_id in sorted(quiet)])

        def wait_until(so: Callable[[], bool]) -> None:
            deadline = time.monotonic() + 60
            while not so():
                assert time.monotonic() < deadline, sorted(bus.matches())
                time.sleep(0.05)

        wait_until(lambda: bus.is_complete() and quiet <= set(bus.matches()))
        for _ in range(2):
            region.kill_worker(0)
        region.wait_for_members(2)
        region.redis.client.flushall()
        regions.log.append([_goal("loud", "g1")])  # so that Redis is not simply empty
        wait_until(lambda: bus.is_complete() and {*quiet, "loud"} <= set(bus.matches()))


def test_embargo(kafka: KafkaBroker, tmp_path: Path) -> None:
    """The embargoed region has ids without a gap and the same end, and never shows a goal that was retracted
    within the embargo.

    Its workers are killed meanwhile: their successors must publish the same bytes at the same ids.
    """
    draw = random.Random(7)
    with Regions(kafka, tmp_path, names=("eu", "asia"), embargo={"asia": HOLD_S}) as regions:
        embargoed = regions["asia"]
        with Game(regions, events_per_s=30) as game:
            for _ in range(2):
                time.sleep(draw.uniform(1.0, 2.0))
                embargoed.kill_worker(draw.randrange(2))
            # Two whose retraction comes within the embargo, and long after it.
            early, late = (_goal(game.match_ids[0], name) for name in ("early", "late"))
            game.send(late)
            game.send(early)
            game.send(_retraction(early))
            time.sleep(HOLD_S + 2.0)
            game.send(_retraction(late))
            outcome = game.settle()
            print(outcome)
            assert outcome.right, outcome
            stood = {viewer.region.name: set[str]() for viewer in game.viewers}
            checked = 0
            for viewer in game.viewers:
                fallen = _retracted_inside_the_hold(regions, viewer.match_id)
                checked += len(fallen)
                for _, replica in viewer.steps(game.epoch(viewer.match_id)):
                    for event_id, record in replica.match.records.items():
                        if record.live is not None and (event_id in fallen or event_id in ("early", "late")):
                            stood[viewer.region.name].add(event_id)
            assert checked > 10
            assert stood["asia"] == {"late"}
            assert {"early", "late"} < stood["eu"]
            # Nothing is seen in the embargoed region before its time.
            for viewer in game.viewers:
                if viewer.region is embargoed:
                    appended = [r.appended_ms for r in regions.log.read_match(viewer.match_id)]
                    assert all(
                        received_ms >= taken_ms + HOLD_S * 1000
                        for (received_ms, _), taken_ms in zip(viewer.received, appended, strict=False)
                    )


def _goal(match_id: str, name: str) -> Event:
    fields = {"match_id": match_id, "event_id": name, "rev": 1, "op": "ADD", "type": "GOAL"}
    return Event.from_json({**fields, "period": "H1", "minute": 44, "team": "home"})


def _retraction(event: Event) -> Event:
    fields = {"match_id": event.match_id, "event_id": event.event_id, "rev": 2, "op": "RETRACT"}
    return Event.from_json({**fields, "reason": "VAR: offside"})


def _retracted_inside_the_hold(regions: Regions, match_id: str) -> set[str]:
    begun: dict[str, int] = {}
    fallen = set()
    for record in regions.log.read_match(match_id):
        event = record.event
        if event.op != "RETRACT":
            begun.setdefault(event.event_id, record.appended_ms)
        elif record.appended_ms <= begun[event.event_id] + HOLD_S * 1000:
            fallen.add(event.event_id)
    return fallen
