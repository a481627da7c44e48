"""The list of matches as a stream, of several workers on one real Redis, which take each other's cursors."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from origin.bus import Bus, open_bus
from origin.stream.hub import list_stream
from testkit.services.redis import RedisServer
from testkit.worlds.lists import Lists, ListViewer, app_over

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def buses(one_server: RedisServer) -> Iterator[list[Bus]]:
    one_server.client.flushall()
    buses = [open_bus(f"{one_server.url}?timeout_s=2&check_s=0.2") for _ in range(3)]
    yield buses
    for bus in buses:
        bus.close()


@pytest.fixture
def workers(buses: list[Bus]) -> Iterator[list[Lists]]:
    workers = [Lists(bus) for bus in buses[:2]]
    yield workers
    for worker in workers:
        worker.end()


def settle(viewers: list[ListViewer], workers: list[Lists], turns: int = 15) -> None:
    for _ in range(turns):
        for worker in workers:
            worker.turn()
        for viewer in viewers:
            viewer.read()


def wait_for_truth(viewer: ListViewer, workers: list[Lists]) -> None:
    """Each row has the newest id, within the time that a row takes."""
    truth = {match_id: replica.position for match_id, replica in workers[0].replicas.items()}
    for _ in range(40):
        if viewer.rows == truth:
            return
        settle([viewer], workers, 3)
    assert viewer.rows == truth


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_viewer_that_goes_from_worker_to_worker_misses_no_row(
    workers: list[Lists], buses: list[Bus], seed: int
) -> None:
    rng = random.Random(seed)
    names = [f"m{number}" for number in range(8)]
    for name in names:
        workers[0].goal(name)
    viewer = ListViewer(app_over(buses[2]))
    viewer.load()
    for _ in range(12):
        viewer.connect(rng.choice(workers))
        for _ in range(rng.randrange(4)):
            workers[0].goal(rng.choice(names))
            settle([viewer], rng.sample(workers, rng.randint(1, 2)), rng.randrange(4))
        viewer.disconnect()
        # While it is away, the workers read at different times, or not at all.
        for _ in range(rng.randrange(4)):
            workers[0].goal(rng.choice(names))
            settle([], rng.sample(workers, rng.randrange(3)), rng.randrange(3))
    viewer.connect(rng.choice(workers))
    wait_for_truth(viewer, workers)


def test_a_cursor_of_one_worker_resumes_at_another_without_the_page(
    workers: list[Lists], buses: list[Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The clocks are one here; so no reading has to be five seconds old.
    monkeypatch.setattr(list_stream, "_OVERLAP_MS", 10)
    for name in ("a", "b"):
        workers[0].info(name, "Cup")
    viewer = ListViewer(app_over(buses[2]), "Cup")
    viewer.load()
    viewer.connect(workers[0])
    settle([viewer], workers)
    workers[0].goal("a")
    wait_for_truth(viewer, workers)
    settle([viewer], workers)
    viewer.disconnect()
    # The second worker has never read the list; its rows are what the first one sent.
    viewer.connect(workers[1])
    settle([viewer], workers)
    workers[0].goal("b")
    wait_for_truth(viewer, workers)
    viewer.disconnect()
    workers[0].goal("a")
    settle([], workers)
    # Its cursor is the second worker's, and the change is one that each has noticed by itself.
    viewer.connect(workers[0])
    wait_for_truth(viewer, workers)
    assert viewer.gaps == 0


def test_a_worker_that_began_while_a_row_changed_sends_for_the_page(
    workers: list[Lists], buses: list[Bus]
) -> None:
    workers[0].goal("a")
    viewer = ListViewer(app_over(buses[2]))
    viewer.load()
    viewer.connect(workers[0])
    settle([viewer], workers)
    viewer.disconnect()
    workers[0].goal("a")
    viewer.connect(workers[1])
    wait_for_truth(viewer, workers)
    assert viewer.gaps == 1
