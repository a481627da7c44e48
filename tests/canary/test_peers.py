"""Who is behind its peers, and who is not: numbers only."""

from __future__ import annotations

import pytest

from origin.canary.match import CanaryPosition
from origin.canary.peers import Report, behind_of, is_behind
from origin.ladder.steps import Step
from shared_state import DeltaId


def at(edge: str, seq: int | None, *, hour: int = 490_000, epoch: int = 1) -> Report:
    position = None if seq is None else CanaryPosition(hour, DeltaId(epoch, seq))
    return Report(edge, Step.NORMAL, position)


def test_a_report_comes_back_as_it_was_sent() -> None:
    for report in (at("a1", 7), Report("b2", Step.POLL, None)):
        assert Report.decode(report.encode()) == report
        assert len(report.encode()) < 100


@pytest.mark.parametrize("data", [b"", b"a", b"a x", b"a 9 1 1-1", b"\xff\xff", b"a 1 "])
def test_a_report_of_another_release_is_no_error(data: bytes) -> None:
    found = Report.decode(data)
    assert found is None or found.position is None


def test_without_peers_nobody_is_behind() -> None:
    assert behind_of(at("a", 1), []) == (0, 0)
    assert behind_of(at("a", None), [at("b", None)]) == (0, 0)
    # The workers of one's own server are no peers: they may all be behind the same link.
    assert behind_of(at("a", 1), [at("a", 90), at("a", 91)]) == (0, 0)


def test_where_all_stand_still_nobody_is_behind() -> None:
    reports = [at(edge, 55) for edge in "abcde"]
    for report in reports:
        assert behind_of(report, [other for other in reports if other is not report])[0] == 0


def test_the_one_that_stands_still_is_behind_and_the_others_are_not() -> None:
    stalled, well = at("a", 50), [at("b", 58), at("c", 59), at("d", 58)]
    assert behind_of(stalled, well) == (8, 3)
    for report in well:
        others = [stalled, *(other for other in well if other is not report)]
        assert behind_of(report, others)[0] <= 1


def test_of_two_servers_the_slower_is_behind() -> None:
    assert behind_of(at("a", 50), [at("b", 58)]) == (8, 1)
    assert behind_of(at("b", 58), [at("a", 50)]) == (0, 1)


def test_a_minority_that_is_ahead_makes_nobody_leave() -> None:
    slow = [at(edge, 50) for edge in "abc"]
    for report in slow:
        assert behind_of(report, [*(one for one in slow if one is not report), at("d", 90)])[0] == 0


def test_a_server_counts_once_however_many_workers_it_has() -> None:
    stalled_pool = [at("a", 50) for _ in range(16)]
    assert behind_of(stalled_pool[0], [*stalled_pool[1:], at("b", 58), at("c", 58)]) == (8, 2)


def test_who_stalled_in_the_hour_before_is_behind() -> None:
    assert behind_of(at("a", 3_590), [at("b", 9, hour=490_001)]) == (9, 1)
    # And who has gone ahead into the next hour is not.
    assert behind_of(at("a", 1, hour=490_001), [at("b", 3_600)]) == (0, 1)


def test_who_never_heard_it_is_behind_once_it_had_time_to() -> None:
    beats, peers = behind_of(at("a", None), [at("b", 80)])
    assert (beats, peers) == (80, 1)
    assert not is_behind(beats, 1.0, 5.0, has_heard=False)
    assert is_behind(beats, 1.0, 15.0, has_heard=False)


@pytest.mark.parametrize(("interval_s", "enough"), [(1.0, 3), (0.5, 5), (0.2, 13), (5.0, 2), (60.0, 2)])
def test_behind_is_seconds_and_two_beats_at_least(interval_s: float, enough: int) -> None:
    assert not is_behind(enough - 1, interval_s, 60.0, has_heard=True)
    assert is_behind(enough, interval_s, 60.0, has_heard=True)
