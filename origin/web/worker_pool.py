"""What the workers of one ``touchline serve`` know of each other: their numbers and whether they are ready.

All workers take from the same accept queues, so a request for ``/metrics`` or ``/readyz`` comes to any of
them, and that one answers for all (decision 37). Each worker writes a report to a file of its own, in a
directory that the parent made, once a second and again before it answers. The parent sees when a worker has
ended: it adds that worker's counters to ``ended.json`` and deletes the report, so that counters never fall
and gauges do.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flask import Flask
from prometheus_client.metrics_core import Metric

from origin.errors import ConfigError
from origin.stream.hub.metrics import StreamCollector
from origin.stream.worker.extensions import STREAM_HUB
from origin.web.metric_sum import cumulative, from_json, summed, to_json
from origin.web.origin import origin_of
from shared_state.jsontext import JsonObject

__all__ = ["WORKER_POOL", "Readiness", "WorkerPool", "WorkerReport", "WorkerReports", "families", "unready"]

#: In the application's ``extensions`` of a worker that has siblings: its ``WorkerReports``.
WORKER_POOL: Final = "touchline.worker_pool"
# Prometheus asks each 15 s or so: what a sibling reports is as good as new.
REPORT_EVERY_S: Final = 1.0
# That a worker ends must be known before a load balancer asks again.
LOOK_EVERY_S: Final = 0.1
# A worker that has not reported for so long hangs. It takes no viewers, so it has no say in who is ready.
STALE_AFTER_S: Final = 10.0
_ENDED: Final = "ended.json"
# A reader may have read a report in the moment in which the parent folds it. It recognises it by its name in
# this list; more workers than that do not end while one request is answered.
_ENDED_NAMES_MAX: Final = 256
_ENDING: Final = "this process is ending"

logger = logging.getLogger(__name__)


def unready(app: Flask) -> list[str]:
    """Why new viewers should not be sent to this process; empty if they may come."""
    reasons = origin_of(app).unready()
    if _draining(app):
        reasons.append(_ENDING)
    return reasons


def families(app: Flask) -> list[Metric]:
    """All metrics of this process."""
    found = list(origin_of(app).metrics.registry.collect())
    hub = app.extensions.get(STREAM_HUB)
    if hub is not None:
        found += StreamCollector(hub.metrics).collect()
    return found


def _draining(app: Flask) -> bool:
    hub = app.extensions.get(STREAM_HUB)
    return hub is not None and bool(hub.draining)


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What one worker says of itself.

    Attributes:
        name: ``<pid>-<number>``; no two workers ever have the same.
        written_s: when, on the machine's monotonic clock, which all its processes share.
        ending: whether it takes no new viewers because it was asked to end.
        reasons: why it is not ready; empty if it is.
        metrics: its families.
    """

    name: str
    written_s: float
    ending: bool
    reasons: list[str]
    metrics: list[Metric]

    @property
    def pid(self) -> int:
        """The process that wrote it."""
        return int(self.name.partition("-")[0])

    def to_json(self) -> JsonObject:
        """The content of the file."""
        return {
            "name": self.name,
            "written_s": self.written_s,
            "ending": self.ending,
            "reasons": self.reasons,
            "metrics": to_json(self.metrics),
        }

    @classmethod
    def from_json(cls, value: JsonObject) -> WorkerReport:
        """The report that ``to_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: it did not write that.
        """
        return cls(
            value["name"],
            value["written_s"],
            value["ending"],
            list(value["reasons"]),
            from_json(value["metrics"]),
        )


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether new viewers may come to a pool.

    Attributes:
        reasons: why they should not; empty if they may.
        workers: the state of each worker by its pid: ``ready``, ``unready``, ``ending`` or ``silent``.
    """

    reasons: list[str]
    workers: dict[int, str]

    @classmethod
    def of(cls, reports: Iterable[WorkerReport], now_s: float) -> Readiness:
        """The readiness of the workers that reported.

        A worker that is ending or hangs takes no viewers, and the others take those it would have had: while
        one of them is replaced, the pool is ready. A worker that is unready goes on taking viewers, and
        nobody can choose which worker takes one: so the pool is ready only if every worker that takes is.

        Args:
            reports: one of each worker.
            now_s: the time on the machine's monotonic clock.
        """
        workers: dict[int, str] = {}
        reasons: list[str] = []
        for report in reports:
            if report.ending:
                state = "ending"
            elif now_s - report.written_s > STALE_AFTER_S:
                state = "silent"
            else:
                state = "unready" if report.reasons else "ready"
                reasons += [reason for reason in report.reasons if reason not in reasons]
            workers[report.pid] = state
        if not reasons and "ready" not in workers.values():
            all_end = bool(workers) and set(workers.values()) == {"ending"}
            reasons.append(_ENDING if all_end else "no worker is ready")
        return cls(reasons, workers)


class WorkerPool:
    """The directory with the reports of all workers, as the parent of the workers has it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def create(cls) -> WorkerPool:
        """Make a directory that only this user can read.

        Raises:
            ConfigError: no temporary directory can be made.
        """
        try:
            return cls(Path(tempfile.mkdtemp(prefix="touchline-workers-")))
        except OSError as error:
            raise ConfigError(f"no directory for the reports of the workers: {error}") from error

    def join(self, app: Flask) -> WorkerReports:
        """Report from this process, a worker, from now on until its origin is closed."""
        reports = WorkerReports(self, app)
        app.extensions[WORKER_POOL] = reports
        origin_of(app).before_close(reports.close)
        return reports

    def write(self, report: WorkerReport) -> None:
        """Put a report in the place of the worker's last one.

        Raises:
            OSError: the directory cannot be written to.
        """
        _write(self._file_of(report.name), report.to_json())

    def reports(self) -> list[WorkerReport]:
        """The newest report of each worker that the parent has not seen end."""
        found = []
        for path in sorted(self.directory.glob("worker-*.json")):
            try:
                found.append(WorkerReport.from_json(json.loads(path.read_bytes())))
            except FileNotFoundError:  # it ended in this moment
                continue
        return found

    def read(self) -> tuple[list[WorkerReport], list[Metric]]:
        """The reports, and the counters of all workers that have ended.

        Each worker that ever was is in exactly one of the two. The counters are read last: a worker that
        ends meanwhile is in both, is named there, and is left out of the reports.
        """
        reports = self.reports()
        ended_names, ended = self._ended()
        return [report for report in reports if report.name not in ended_names], ended

    def fold_ended(self, living_pids: Collection[int]) -> None:
        """Called by the parent when a worker has ended: keep its counters, forget the rest.

        Args:
            living_pids: the workers that have not ended.
        """
        try:
            gone = [report for report in self.reports() if report.pid not in living_pids]
            names, ended = self._ended()
            fresh = [report for report in gone if report.name not in names]
            if fresh:
                names = [*names, *(report.name for report in fresh)][-_ENDED_NAMES_MAX:]
                total = summed([ended, *(cumulative(report.metrics) for report in fresh)])
                _write(self.directory / _ENDED, {"names": names, "metrics": to_json(total)})
            # Only now: a reader that no longer finds the report finds its counters.
            for report in gone:
                self._file_of(report.name).unlink(missing_ok=True)
        except (OSError, KeyError, TypeError, ValueError) as error:
            # The parent must outlive this: without it nobody replaces the worker.
            logger.warning("the counters of a worker that ended are lost: %s", error)

    def remove(self) -> None:
        """Delete the directory."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _file_of(self, name: str) -> Path:
        return self.directory / f"worker-{name}.json"

    def _ended(self) -> tuple[list[str], list[Metric]]:
        try:
            value = json.loads((self.directory / _ENDED).read_bytes())
        except FileNotFoundError:
            return [], []
        return list(value["names"]), from_json(value["metrics"])


class WorkerReports:
    """The reports of this worker, and through the pool those of its siblings. Thread-safe.

    Args:
        pool: the directory.
        app: this worker's application.
    """

    def __init__(self, pool: WorkerPool, app: Flask) -> None:
        self._pool = pool
        self._app = app
        # A pid may be another worker's later.
        self._name = f"{os.getpid()}-{time.monotonic_ns()}"
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._warned = False
        self._thread = threading.Thread(target=self._run, name="worker-reports", daemon=True)
        self._thread.start()

    @property
    def pool_name(self) -> str:
        """The same for all workers of one parent, and for no others of this machine."""
        return self._pool.directory.name

    def metrics(self) -> list[Metric]:
        """The sum over all workers, of now for this one and of a second ago for the others.

        What this worker shows of itself is in its file first: if it is killed after that, its counters are
        still not lower than what was shown.

        Raises:
            OSError: the reports cannot be read.
        """
        self._report()
        reports, ended = self._pool.read()
        return summed([ended, *(report.metrics for report in reports)])

    def readiness(self) -> Readiness:
        """Whether new viewers may come to any of the workers.

        Raises:
            OSError: the reports cannot be read.
        """
        self._report()
        return Readiness.of(self._pool.reports(), time.monotonic())

    def close(self) -> None:
        """Write the last report: what this worker counted until its end."""
        self._closing.set()
        self._thread.join(timeout=5)
        self._report(ending=True)

    def _run(self) -> None:
        reported_s, was_draining = -REPORT_EVERY_S, False
        while not self._closing.is_set():
            now_s, draining = time.monotonic(), _draining(self._app)
            if now_s - reported_s >= REPORT_EVERY_S or draining != was_draining:
                hub = self._app.extensions.get(STREAM_HUB)
                if hub is not None:
                    # A report can wait a fifth of a second; a goal cannot, and they share one interpreter.
                    hub.fanout_idle.wait(1.0)
                self._report()
                reported_s, was_draining = now_s, draining
            self._closing.wait(LOOK_EVERY_S)

    def _report(self, *, ending: bool = False) -> None:
        with self._lock:
            report = WorkerReport(
                name=self._name,
                written_s=time.monotonic(),
                ending=ending or _draining(self._app),
                reasons=[reason for reason in unready(self._app) if reason != _ENDING],
                metrics=families(self._app),
            )
            try:
                self._pool.write(report)
            except OSError as error:
                if not self._warned:
                    logger.warning("this worker cannot report its metrics to its siblings: %s", error)
                self._warned = True


def _write(path: Path, value: JsonObject) -> None:
    """Replace a file at once: no reader ever sees a part."""
    staged = path.with_suffix(".new")
    staged.write_text(json.dumps(value, separators=(",", ":")), encoding="utf-8")
    staged.replace(path)
