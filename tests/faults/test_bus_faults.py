"""Everything that can happen to a region's Redis, with events flowing: nothing lost, nothing twice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from origin.bus import Suffix, open_bus
from shared_state import DeltaId, Replica
from testkit.faults.bus_faults import FAULTS, Fault, Region, run_fault
from testkit.services.redis import RedisServer

pytestmark = pytest.mark.services


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.name} ({fault.setup})")
def test_viewers_notice_nothing_but_time(fault: Fault, tmp_path: Path) -> None:
    with fault.region(tmp_path, events_per_s=40.0, pause_s=3.0) as region:
        outcome = run_fault(region, fault.inject, before_s=0.5, after_s=1.0)
    print(outcome)
    assert (outcome.lost, outcome.twice, outcome.gaps) == (0, 0, 0)
    assert outcome.equal


def test_a_redis_that_lost_everything_is_refilled_though_nothing_happens(tmp_path: Path) -> None:
    """There is no event whose publish would be refused: the worker's own check finds the loss."""
    server = RedisServer(tmp_path)
    with Region(server) as region:
        time.sleep(0.5)
        region.settle()
        server.kill()
        server.start()
        for match_id in region.match_ids:
            fold = region.fold(match_id)
            region.wait(lambda m=match_id: region.buses[0].snapshot(m) is not None, match_id)  # type: ignore[misc]
            snapshot = region.buses[0].snapshot(match_id)
            assert snapshot is not None
            assert Replica.restore(snapshot.data).hash() == fold.hash()
            begin = DeltaId(fold.position.epoch, 0)
            replay = region.buses[0].replay(match_id, begin)
            assert isinstance(replay, Suffix)
            assert len(replay.deltas) == fold.position.seq
        region.wait_healthy()
        received = [len(viewer.received) for viewer in region.viewers]
        assert received == [v.position.seq - v.base.position.seq for v in region.viewers], "nothing twice"
    server.stop()


def test_a_match_is_served_by_an_origin_that_never_saw_it(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    with Region(server) as region:
        time.sleep(0.5)
        region.settle()
        newcomer = open_bus(server.url)
        assert newcomer.matches() == sorted(region.match_ids)
        for match_id in region.match_ids:
            snapshot = newcomer.snapshot(match_id)
            assert snapshot is not None
            assert Replica.restore(snapshot.data).hash() == region.fold(match_id).hash()
        newcomer.close()
    server.stop()
