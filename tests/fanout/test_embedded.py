"""The embedded fan-out dies of an error that nobody expected: the origin is unready, and nothing is lost.

The faults come in through the seams: the bus and the log that the origin opens by URL are real ones whose
publish or read raises.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from flask import Flask

from origin.bus import MatchRow, Published, Snapshot
from origin.bus.memory import MemoryBus
from origin.errors import BusError
from origin.eventlog import LogRecord
from origin.eventlog.memory import MemoryEventLog
from origin.eventlog.sqlite import SqliteEventLog
from origin.fanout.embedded import EmbeddedFanOut
from origin.fanout.worker import FanOut
from origin.metrics import Metrics
from origin.web.origin import origin_of
from shared_state import DeltaId
from testkit.poster import MATCH, Poster, event

RESTARTS = "touchline_fanout_restarts_total"


class BusWithADefect(MemoryBus):
    """A real bus that raises what no caller expects, on the steps that have one seq.

    Args:
        seq: whose publish raises.
        times: how often it raises.
        takes: whether the bus has the delta when it raises.
    """

    def __init__(self, seq: int, times: float, *, takes: bool) -> None:
        super().__init__()
        self.seq = seq
        self.times = times
        self.takes = takes

    def refill(self, match_id: str, deltas: Sequence[Published], snapshot: bytes) -> int:
        if self.seq not in [published.id.seq for published in deltas] or self.times <= 0:
            return super().refill(match_id, deltas, snapshot)
        self.times -= 1
        if self.takes:
            super().refill(match_id, deltas, snapshot)
        raise RuntimeError("a defect of the bus")

    def adopt(
        self, row: MatchRow, load: Callable[[], tuple[Snapshot, Sequence[Published]]]
    ) -> DeltaId | None:
        if self.times > 0 and row.id.seq >= self.seq and self.head(row.match_id) is None:
            self.times -= 1
            raise RuntimeError("a defect of the bus")
        return super().adopt(row, load)


class LogWithADefect(SqliteEventLog):
    """A real log whose second read of an event raises what no caller expects."""

    reads = 0

    def wait_after(self, offset: int, timeout_s: float, limit: int) -> list[LogRecord]:
        records = super().wait_after(offset, timeout_s, limit)
        self.reads += bool(records)
        if records and self.reads == 2:
            raise RuntimeError("a defect of the log")
        return records


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"{what}: it has not come"
        time.sleep(0.005)


def restarts(poster: Poster) -> float:
    for line in poster.client.get("/metrics").text.splitlines():
        if line.startswith(f"{RESTARTS} "):
            return float(line.split()[1])
    return 0.0


def is_ready(poster: Poster) -> bool:
    return poster.client.get("/readyz").status_code == 200


def post(poster: Poster, first: int, last: int) -> None:
    for number in range(first, last + 1):
        assert poster.post(event(f"g{number}", minute=number)).status_code == 200


def defect_once(seam: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryBus:
    bus = MemoryBus()
    if seam == "log":
        log = LogWithADefect(path / "log.db")
        monkeypatch.setattr("origin.eventlog.sqlite.open_url", lambda url: log)
    else:
        bus = BusWithADefect(2, 1, takes=seam == "bus, after it took the delta")
    monkeypatch.setattr("origin.bus.memory.open_url", lambda url: bus)
    return bus


@pytest.mark.parametrize("seam", ["bus, before it took the delta", "bus, after it took the delta", "log"])
def test_a_fanout_that_died_once_is_restarted_and_publishes_everything_once(
    seam: str,
    make_app: Callable[..., Flask],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = defect_once(seam, tmp_path, monkeypatch)
    poster = Poster(make_app())
    published: list[Published] = []
    bus.subscribe(MATCH, published.append)
    post(poster, 1, 1)
    wait_for(lambda: len(published) == 1, "the first delta")
    post(poster, 2, 3)
    wait_for(lambda: restarts(poster) == 1, "the restart")
    post(poster, 4, 5)
    wait_for(lambda: is_ready(poster) and len(published) == 5, "the origin ready, with all of the match")
    assert [one.id.seq for one in published] == [1, 2, 3, 4, 5]
    died = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert ["a defect" in record.getMessage() for record in died] == [True]


def test_a_fanout_that_keeps_dying_stays_unready_until_the_cause_is_gone(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = BusWithADefect(3, float("inf"), takes=False)
    monkeypatch.setattr("origin.bus.memory.open_url", lambda url: bus)
    poster = Poster(make_app())
    published: list[Published] = []
    bus.subscribe(MATCH, published.append)
    wait_for(lambda: is_ready(poster), "the origin ready before anything went wrong")
    post(poster, 1, 4)
    wait_for(lambda: not is_ready(poster), "the origin unready")
    while restarts(poster) < 3:
        answer = poster.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json
        assert all("fan-out" in reason for reason in answer.json["reasons"])
        assert poster.client.get("/healthz").status_code == 200
        time.sleep(0.01)
    post(poster, 5, 5)  # it is still acknowledged: the log has it
    bus.times = 0
    wait_for(lambda: is_ready(poster), "the origin ready again")
    assert [one.id.seq for one in published] == [1, 2, 3, 4, 5]


class BusThatCannotBeCompared(MemoryBus):
    """A real bus that fails the first check after the log was read, and asks whether the fan-out is ready."""

    embedded: EmbeddedFanOut

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[str] = []

    def heads(self, match_ids: Sequence[str]) -> dict[str, DeltaId | BusError | None]:
        self.answers.append(self.embedded.unready())
        raise RuntimeError("a defect of the check")


def test_a_fanout_that_reads_the_log_and_dies_again_is_not_ready_in_between() -> None:
    log, bus, metrics = MemoryEventLog(), BusThatCannotBeCompared(), Metrics()
    bus.embedded = EmbeddedFanOut(lambda: FanOut(log, bus, group=None, metrics=metrics), metrics)
    thread = threading.Thread(target=bus.embedded.run)
    thread.start()
    wait_for(lambda: len(bus.answers) == 3, "two restarts")
    bus.embedded.stop()
    thread.join()
    assert bus.answers[1:] == ["fan-out has restarted a moment ago"] * 2


def test_an_origin_that_closes_while_its_fanout_is_down_ends_it(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = BusWithADefect(1, float("inf"), takes=False)
    monkeypatch.setattr("origin.bus.memory.open_url", lambda url: bus)
    before = set(threading.enumerate())
    app = make_app()
    poster = Poster(app)
    post(poster, 1, 1)
    wait_for(lambda: restarts(poster) == 2, "the second restart")
    origin_of(app).close()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "fanout"]
