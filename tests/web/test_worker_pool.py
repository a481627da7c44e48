"""One worker answers for all: the sum of their numbers, and whether viewers may come to any."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import Metric

from origin.web.metric_sum import summed
from origin.web.origin import origin_of
from origin.web.worker_pool import STALE_AFTER_S, Readiness, WorkerPool, WorkerReport


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool.create()
    yield made
    made.remove()


class Worker:
    """A worker's numbers, and its reports when the test says."""

    def __init__(self, pid: int, serial: int) -> None:
        self.pid = pid
        self.name = f"{pid}-{serial}"
        self.registry = CollectorRegistry()
        self.goals = Counter("goals", "Goals", registry=self.registry)
        self.viewers = Gauge("viewers", "Viewers", registry=self.registry)

    def report(self, *reasons: str, ending: bool = False, written_s: float = 100.0) -> WorkerReport:
        return WorkerReport(self.name, written_s, ending, list(reasons), list(self.registry.collect()))


def value(families: list[Metric], name: str) -> float:
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


def shown(pool: WorkerPool) -> list[Metric]:
    reports, ended = pool.read()
    return summed([ended, *(report.metrics for report in reports)])


def test_the_counters_of_a_worker_that_ended_stay_and_its_gauges_go(pool: WorkerPool) -> None:
    one, two = Worker(11, 1), Worker(12, 1)
    for worker in (one, two):
        worker.goals.inc(3)
        worker.viewers.set(5)
        pool.write(worker.report())
    assert (value(shown(pool), "goals_total"), value(shown(pool), "viewers")) == (6, 10)
    pool.fold_ended({12})
    assert (value(shown(pool), "goals_total"), value(shown(pool), "viewers")) == (6, 5)
    pool.fold_ended({12})  # the parent hears of another child that is no worker
    assert value(shown(pool), "goals_total") == 6
    assert len(list(pool.directory.iterdir())) == 2  # what is left of any number of workers is one file


OPS = st.lists(st.tuples(st.sampled_from(["goal", "report", "end"]), st.integers(0, 2)), max_size=40)


@given(OPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_counter_that_was_shown_never_falls(ops: list[tuple[str, int]]) -> None:
    """Workers count, report and end in any order; pids come again. What was reported is shown once."""
    pool = WorkerPool.create()
    try:
        workers = {pid: Worker(pid, 0) for pid in range(3)}
        reported: dict[str, float] = {}
        for serial, (op, pid) in enumerate(ops, 1):
            worker = workers[pid]
            if op == "goal":
                worker.goals.inc()
            elif op == "report":
                pool.write(worker.report())
                reported[worker.name] = value(list(worker.registry.collect()), "goals_total")
            else:
                pool.fold_ended({other for other in workers if other != pid})
                workers[pid] = Worker(pid, serial)
            assert value(shown(pool), "goals_total") == sum(reported.values())
    finally:
        pool.remove()


def test_a_counter_never_falls_while_workers_end(pool: WorkerPool) -> None:
    """A reader meets the parent at every point of its work: a worker is in the reports or in what ended."""
    total, done = 0.0, threading.Event()

    def parent() -> None:
        for serial in range(60):
            worker = Worker(77, serial)
            worker.goals.inc()
            pool.write(worker.report())
            pool.fold_ended(())
        done.set()

    thread = threading.Thread(target=parent)
    thread.start()
    seen = 0
    while not done.is_set():
        now = value(shown(pool), "goals_total")
        assert now >= total
        total, seen = now, seen + 1
    thread.join()
    assert value(shown(pool), "goals_total") == 60
    assert seen > 1


def test_a_full_disk_does_not_end_the_parent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pool = WorkerPool(tmp_path)
    pool.write(Worker(1, 1).report())
    (tmp_path / "ended.json").mkdir()  # so that nothing can take its place
    pool.fold_ended(())
    assert "the counters of a worker that ended are lost" in caplog.text


NOW_S = 100.0


@pytest.mark.parametrize(
    ("reports", "reasons", "states"),
    [
        ([], ["no worker is ready"], []),
        ([Worker(1, 1).report(), Worker(2, 1).report()], [], ["ready", "ready"]),
        # One is replaced: the other takes its viewers.
        ([Worker(1, 1).report(ending=True), Worker(2, 1).report()], [], ["ending", "ready"]),
        (
            [Worker(1, 1).report(written_s=NOW_S - STALE_AFTER_S - 1), Worker(2, 1).report()],
            [],
            ["silent", "ready"],
        ),
        # It takes viewers all the same, and nobody can choose another.
        ([Worker(1, 1).report("no bus"), Worker(2, 1).report()], ["no bus"], ["unready", "ready"]),
        ([Worker(1, 1).report("no bus"), Worker(2, 1).report("no bus")], ["no bus"], ["unready", "unready"]),
        ([Worker(1, 1).report(ending=True)] * 2, ["this process is ending"], ["ending"]),
        (
            [Worker(1, 1).report(written_s=0.0), Worker(2, 1).report(ending=True)],
            ["no worker is ready"],
            ["silent", "ending"],
        ),
    ],
)
def test_a_pool_is_ready_if_every_worker_that_takes_viewers_is(
    reports: list[WorkerReport], reasons: list[str], states: list[str]
) -> None:
    found = Readiness.of(reports, NOW_S)
    assert found.reasons == reasons
    assert list(found.workers.values()) == states


def test_each_worker_answers_for_both(pool: WorkerPool, make_app: Callable[..., Flask]) -> None:
    apps = [make_app(eventlog_url="memory://") for _ in range(2)]
    reports = [pool.join(app) for app in apps]
    for number, app in enumerate(apps, 1):
        origin_of(app).metrics.ingest_accepted.labels("canonical").inc(number)
    line = 'touchline_ingest_accepted_events_total{feed="canonical"} '
    for app in apps:
        deadline = time.monotonic() + 10
        while f"{line}3.0" not in (text := app.test_client().get("/metrics").text):
            assert time.monotonic() < deadline, text
            time.sleep(0.05)
        while (ready := app.test_client().get("/readyz")).status_code != 200:
            assert time.monotonic() < deadline, ready.text
            time.sleep(0.05)
        assert ready.json
        assert list(ready.json["workers"].values()) == ["ready"]  # in this test they are one process
    reports[0].close()
    assert [report.ending for report in pool.reports()].count(True) == 1
    assert f"{line}3.0" in apps[1].test_client().get("/metrics").text
