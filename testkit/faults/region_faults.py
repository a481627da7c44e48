"""What can happen between Kafka and the regions' Redis. Each is done to regions in which a game is played."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Producer

from testkit.faults.doomed_fanout import STEPS
from testkit.services.kafka import KafkaBroker
from testkit.worlds.regions import PARTITIONS, Game, Outcome, Regions

__all__ = ["BROKER_FAULTS", "FAULTS", "Fault", "play_through"]

# A Kafka group takes a member for dead after this long without a heartbeat (kafka_reader.SESSION_TIMEOUT_MS).
SESSION_S = 6.0
GARBAGE = (b"", b"{", b'{"match_id": 1}', b"\xff\xfe", b"<xml/>", b"[" * 100_000, b'"\\ud800"')


def _nothing(game: Game, scale: float) -> None:
    """No fault: what the others are compared with."""
    time.sleep(2.0 * scale)


def _third_worker(game: Game, scale: float) -> None:
    """A rebalance when it comes, and one when it goes."""
    joined = [region.start_worker() for region in game.regions.regions]
    for region in game.regions.regions:
        region.wait_for_members(3)
    time.sleep(1.0 + scale)
    for worker in joined:
        assert worker.stop() == 0
    time.sleep(scale)


def _random_kills(game: Game, scale: float) -> None:
    draw = random.Random(2018)
    for _ in range(max(4, round(4 * scale))):
        time.sleep(draw.uniform(0.1, 0.6))
        draw.choice(game.regions.regions).kill_worker(draw.randrange(2))


def _kill_at_each_step(game: Game, scale: float) -> None:
    """One more worker per step, over all regions; each is killed at its step, and others take over."""
    doomed = [
        game.regions.regions[number % len(game.regions.regions)].start_doomed(step)
        for number, step in enumerate(STEPS)
    ]
    for worker in doomed:
        game.wait(lambda w=worker: not w.running, worker.argv)  # type: ignore[misc]
        assert worker.stop() == -signal.SIGKILL, "it has died of something else"
    time.sleep(scale)


def _all_workers_killed(game: Game, scale: float) -> None:
    for region in game.regions.regions:
        for _ in range(len(region.workers)):
            region.kill_worker(0)
    time.sleep(scale)


def _hung_worker(game: Game, scale: float) -> None:
    """Its partitions go to the other worker; it goes on with them until Kafka refuses its commit."""
    hung = [region.workers[0] for region in game.regions.regions[:2]]
    for worker in hung:
        worker.signal(signal.SIGSTOP)
    time.sleep(SESSION_S + 2.0 + scale)
    for worker in hung:
        worker.signal(signal.SIGCONT)
    time.sleep(1.0 + scale)


def _redis_down(game: Game, scale: float) -> None:
    """One region's Redis dies and comes back empty; the others must not notice."""
    dead, *others = game.regions.regions
    dead.redis.kill()
    before = [game.heads(region) for region in others]
    time.sleep(2.0 + scale)
    for region, heads in zip(others, before, strict=True):
        now = game.heads(region)
        game.wait(lambda r=region, h=heads: all(game.heads(r)[m] > h[m] for m in h), f"{now} to move on")  # type: ignore[misc]
    dead.redis.start()


def _redis_emptied(game: Game, scale: float) -> None:
    for region in game.regions.regions[:2]:
        region.redis.client.flushall()
        time.sleep(0.3)
    time.sleep(scale)


def _killed_while_redis_hangs(game: Game, scale: float) -> None:
    """The worker dies during a publish, so it is unknown whether the bus has the delta."""
    region = game.regions.regions[0]
    region.redis.pause()
    time.sleep(0.5)
    region.kill_worker(0)
    time.sleep(1.0 + scale)
    region.redis.resume()


def _kafka_killed(game: Game, scale: float) -> None:
    """The only broker: nothing is acknowledged, and the sender repeats, until it is back."""
    kafka = game.regions.kafka
    assert isinstance(kafka, KafkaBroker)
    kafka.kill()
    time.sleep(1.0 + scale)
    kafka.start()
    acknowledged = len(game.acknowledged)
    game.wait(lambda: len(game.acknowledged) > acknowledged + 5, "events after the restart")
    assert game.refused


def _garbage(game: Game, scale: float) -> None:
    """Unreadable records among the others: dead-lettered once, although three regions read them."""
    producer = Producer({"bootstrap.servers": game.regions.kafka.address})
    letters = game.regions.log.dead_letters()
    before = len(list(letters.pending()))
    for number, value in enumerate(GARBAGE):
        producer.produce(game.regions.topic, value, b"any", partition=number % PARTITIONS)
    producer.flush(30)
    game.wait(lambda: len(list(letters.pending())) >= before + len(GARBAGE), "the dead letters")
    time.sleep(scale)
    assert len(list(letters.pending())) == before + len(GARBAGE)


@dataclass(frozen=True)
class Fault:
    """One row of the table; ``inject`` takes a factor for how long it lasts."""

    name: str
    inject: Callable[[Game, float], None]


FAULTS = (
    Fault("none", _nothing),
    Fault("a third worker joins and leaves, in every region", _third_worker),
    Fault("workers killed with -9 at random moments", _random_kills),
    Fault("a worker killed with -9 at each step", _kill_at_each_step),
    Fault("all workers of all regions killed with -9", _all_workers_killed),
    Fault("a worker hangs longer than its session, and goes on", _hung_worker),
    Fault("one region's Redis killed, and back empty", _redis_down),
    Fault("two regions' Redis emptied", _redis_emptied),
    Fault("a worker killed while its Redis hangs", _killed_while_redis_hangs),
    Fault("garbage in the topic", _garbage),
)
# Apart from the others, because a test injects it twice in a row. At the second kill, Kafka still knows the
# members from before the first one, and the clients that ask for them have lost their broker once already.
# The log itself under kill -9 of its broker is tested in tests/faults/test_eventlog_faults.py.
BROKER_FAULTS = (Fault("Kafka killed with -9", _kafka_killed),)


def play_through(fault: Fault, regions: Regions, scale: float = 0.5) -> Outcome:
    """What viewers notice of a fault that is injected into a game of these regions."""
    with Game(regions) as game:
        time.sleep(0.5)
        fault.inject(game, scale)
        return game.settle()
