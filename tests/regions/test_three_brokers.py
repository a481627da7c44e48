"""A real Kafka of three brokers, some of which are killed while events come and fan-out reads."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, but not by name
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from origin.errors import EventLogError
from origin.eventlog import open_eventlog
from testkit.command import touchline
from testkit.faults.broker_faults import CLUSTER_FAULTS
from testkit.faults.region_faults import Fault, play_through
from testkit.services.kafka import KafkaCluster
from testkit.worlds.regions import Regions
from tests.eventlog.contract import drain, ids, note

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    cluster = KafkaCluster(tmp_path_factory.mktemp("kafka"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def regions(cluster: KafkaCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Regions]:
    with Regions(cluster, tmp_path_factory.mktemp("regions"), names=("eu",)) as regions:
        yield regions


@pytest.fixture
def topic() -> str:
    return f"three-{uuid.uuid4().hex}"


@pytest.mark.parametrize("fault", CLUSTER_FAULTS, ids=lambda fault: fault.name)
def test_regions_notice_nothing_but_time(fault: Fault, regions: Regions) -> None:
    outcome = play_through(fault, regions)
    print(outcome)
    assert outcome.right, outcome


def test_start_up_while_a_broker_is_down(cluster: KafkaCluster, topic: str) -> None:
    """The first broker of the URL is down; the topics that are created then get all replicas nevertheless."""
    down, *_ = cluster.nodes
    cluster.nodes[down].kill()
    url = f"kafka://{cluster.address}/{topic}?partitions=4"
    try:
        with closing(open_eventlog(url)) as log, closing(log.consumer("g")) as consumer:
            log.append([note("e1"), note("e2")])
            assert ids(drain(consumer, 2)) == ids(list(log.read_match("m1"))) == ["e1", "e2"]
        ran = touchline("dlq", "list", env={"EVENTLOG_URL": url})  # stderr may name the broker that is down
        assert (ran.code, ran.out) == (0, b"")
        with closing(open_eventlog(url)) as log:  # the topic exists
            log.append([note("e3")])
    finally:
        cluster.restart(down)  # and gets its replica of the topic, too
    admin = AdminClient({"bootstrap.servers": cluster.address})
    for name in (topic, f"{topic}.dlq"):
        partitions = admin.list_topics(name, timeout=10).topics[name].partitions.values()
        assert {len(partition.replicas) for partition in partitions} == {3}
        assert _setting(admin, name, "min.insync.replicas") == "2"


def test_replicas_that_there_cannot_be(cluster: KafkaCluster, topic: str) -> None:
    with pytest.raises(EventLogError, match="replication factor of 4"):
        open_eventlog(f"kafka://{cluster.address}/{topic}?replication=4")


def test_topic_that_is_weaker_than_it_should_be(
    cluster: KafkaCluster, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"kafka://{cluster.address}/{topic}?partitions=1"
    open_eventlog(f"{url}&replication=2").close()
    assert caplog.messages == []
    open_eventlog(f"{url}&replication=3").close()
    assert f"{topic!r} has 2 replicas, not replication=3" in caplog.text
    caplog.clear()
    admin = AdminClient({"bootstrap.servers": cluster.address})
    config = {"message.timestamp.type": "LogAppendTime", "min.insync.replicas": "1"}
    made = NewTopic(f"{topic}-1", num_partitions=1, replication_factor=3, config=config)
    admin.create_topics([made])[f"{topic}-1"].result(10)
    open_eventlog(f"kafka://{cluster.address}/{topic}-1").close()
    assert "3 replicas and min.insync.replicas=1" in caplog.text


def _setting(admin: AdminClient, topic: str, name: str) -> str:
    [future] = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    value: str = future.result(10)[name].value
    return value
