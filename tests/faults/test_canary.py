"""A region with three servers, each a real process: who leaves ``/readyz`` when something stands still."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.worlds.edges import Edges


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edges]:
    with Edges(tmp_path_factory.mktemp("region")) as edges:
        yield edges


def test_a_server_whose_loop_stands_still_leaves_and_comes_back(region: Edges) -> None:
    stalled, *others = region.edges
    stalled.stall(12.0)
    region.until(lambda: stalled.reasons)
    reasons = stalled.reasons
    assert reasons
    assert "beats of the canary behind the median of 2 other servers" in reasons[0]
    assert [edge.reasons for edge in others] == [[], []]
    assert stalled.metric("touchline_stream_loop_delay_seconds") > 1.0
    region.until(lambda: stalled.reasons == [])


def test_where_the_log_stands_still_no_server_leaves_and_pages_are_told(region: Edges) -> None:
    region.until(region.all_hear)
    region.fanout.signal(signal.SIGSTOP)
    try:
        left = []
        deadline = time.monotonic() + 60
        while not all(edge.told["late_ms"] for edge in region.edges):
            assert time.monotonic() < deadline
            left += [edge.name for edge in region.edges if edge.reasons != []]
            time.sleep(0.2)
        assert left == []
        # Less than a page takes to say so by itself, and at least what is worth a word.
        assert all(edge.told["late_ms"] >= 10_000 for edge in region.edges)
    finally:
        region.fanout.signal(signal.SIGCONT)
    region.until(lambda: not any(edge.told["late_ms"] for edge in region.edges))


def test_a_step_set_at_one_server_reaches_all(region: Edges) -> None:
    body = json.dumps({"step": "long-poll", "reason": "a drill"})
    assert region.edges[0].ask("/ladder", method="POST", body=body)[0] == 200
    region.until(lambda: all(edge.told["step"] == 2 for edge in region.edges))
    # A Redis that lost everything does not end it.
    region.redis.kill()
    region.redis.start()
    region.until(lambda: bool(region.redis.client.exists("touchline:{region}:ladder")))
    assert all(edge.told["step"] == 2 for edge in region.edges)
    body = json.dumps({"step": "normal"})
    assert region.edges[1].ask("/ladder", method="POST", body=body)[0] == 200
    region.until(lambda: not any(edge.told["step"] for edge in region.edges))


def test_a_server_that_is_cut_off_from_the_region_leaves_alone(tmp_path: Path) -> None:
    with Edges(tmp_path, linked=True) as edges:
        assert edges.link is not None
        *others, cut = edges.edges
        edges.link.cut()
        edges.until(lambda: cut.reasons)
        assert [edge.reasons for edge in others] == [[], []]
        edges.link.heal()
        edges.until(lambda: cut.reasons == [])
