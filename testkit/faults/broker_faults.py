"""What can happen to a Kafka of three brokers while a game is played.

    python -m testkit.faults.broker_faults [SETTINGS]

plays each with one region, and the kill of a Kafka of one broker, and prints the outcome and how many lines
the region's two workers wrote. SETTINGS go to the log's URL: ``metadata.recovery.strategy=none``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka.admin import AdminClient

from testkit.faults.region_faults import BROKER_FAULTS, Fault
from testkit.services.kafka import KafkaBroker, KafkaCluster
from testkit.worlds.regions import Game, Regions

__all__ = ["CLUSTER_FAULTS", "LONG_FAULTS"]

# With two brokers of three the game must go on; this many events show that it does.
GOES_ON = 20


class _Cluster:
    """The three brokers under a game, and the role of each."""

    def __init__(self, game: Game) -> None:
        assert isinstance(game.regions.kafka, KafkaCluster)
        self.kafka = game.regions.kafka
        self._game = game

    def leader(self) -> int:
        """The leader of the first match's partition."""
        topic = self._game.regions.topic
        leader: int = self._admin().list_topics(topic, timeout=10).topics[topic].partitions[0].leader
        return leader

    def coordinator(self) -> int:
        """The coordinator of the first region's group."""
        group = self._game.regions.regions[0].group
        admin = self._admin()  # referenced until the answer is there: it comes to this client
        coordinator: int = admin.describe_consumer_groups([group])[group].result(30).coordinator.id
        return coordinator

    def goes_on(self) -> None:
        """Wait until events are acknowledged and published."""
        acknowledged = len(self._game.acknowledged)
        self._game.wait(lambda: len(self._game.acknowledged) > acknowledged + GOES_ON, "events")

    def _admin(self) -> AdminClient:
        # A new client for each request: see Region.wait_for_members.
        return AdminClient({"bootstrap.servers": self.kafka.address, "log_level": 0})


def _one_killed(which: Callable[[_Cluster], int]) -> Callable[[Game, float], None]:
    def inject(game: Game, scale: float) -> None:
        cluster = _Cluster(game)
        victim = which(cluster)
        cluster.kafka.nodes[victim].kill()
        cluster.goes_on()
        time.sleep(scale)
        cluster.kafka.restart(victim)
        cluster.goes_on()

    return inject


def _each_killed(game: Game, scale: float) -> None:
    """Kill each after the one before has come back; the active controller and each leader are among them."""
    cluster = _Cluster(game)
    for victim in list(cluster.kafka.nodes):
        cluster.kafka.nodes[victim].kill()
        cluster.goes_on()
        time.sleep(scale)
        cluster.kafka.restart(victim)


def _two_killed(game: Game, scale: float) -> None:
    """With one broker of three nothing is acknowledged; with the second it goes on."""
    cluster = _Cluster(game)
    first, second, _ = cluster.kafka.nodes
    for victim in (first, second):
        cluster.kafka.nodes[victim].kill()
    time.sleep(0.5)  # what was acknowledged before may only now be counted
    acknowledged, refused = len(game.acknowledged), game.refused
    game.wait(lambda: game.refused > refused, "a refusal")
    time.sleep(scale)
    assert len(game.acknowledged) == acknowledged
    cluster.kafka.start(first)
    cluster.goes_on()
    cluster.kafka.restart(second)


CLUSTER_FAULTS = (
    Fault("the leader of a partition killed with -9", _one_killed(_Cluster.leader)),
    Fault("the group's coordinator killed with -9", _one_killed(_Cluster.coordinator)),
    Fault("two of three killed with -9", _two_killed),
)
# The tests have the others, one after the other on one cluster; this costs them half a minute more.
LONG_FAULTS = (Fault("each broker killed with -9, one after the other is back", _each_killed),)


def main(settings: str = "") -> None:
    """See the module."""
    for kind, faults in ((KafkaBroker, BROKER_FAULTS), (KafkaCluster, (*CLUSTER_FAULTS, *LONG_FAULTS))):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            kafka = kind(Path(name))
            try:
                with Regions(kafka, Path(name), names=("eu",), settings=settings) as regions:
                    for fault in faults:
                        print(f"{fault.name}: {_played(fault, regions)}", flush=True)
            finally:
                kafka.stop()


def _played(fault: Fault, regions: Regions) -> str:
    [region] = regions.regions
    with Game(regions) as game:
        before = len(region.log_path.read_text().splitlines())
        time.sleep(0.5)
        fault.inject(game, 0.5)
        outcome = game.settle()
    lines = len(region.log_path.read_text().splitlines()) - before
    return f"{outcome}, refused {game.refused} times, {lines} lines"


if __name__ == "__main__":
    main(*sys.argv[1:])
