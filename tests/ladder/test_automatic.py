"""A worker that climbs by its own load: when, how far, and how often at most."""

from __future__ import annotations

from origin.ladder.automatic import CLIMB_AFTER_S, STAY_MAX_S, STAY_S, AutomaticLadder
from origin.ladder.steps import Step


def ladder(max_step: Step = Step.LONG_POLL) -> AutomaticLadder:
    return AutomaticLadder(max_step, full=0.9, delay_s=1.0)


def run(
    of: AutomaticLadder, from_s: int, to_s: int, *, full: float = 0.0, delay_s: float = 0.0
) -> list[Step]:
    return [of.look(float(second), full=full, delay_s=delay_s) for second in range(from_s, to_s)]


def test_it_is_off_unless_the_operator_allows_a_step() -> None:
    assert set(run(ladder(Step.NORMAL), 0, 600, full=1.0, delay_s=9.0)) == {Step.NORMAL}


def test_a_step_is_taken_once_the_load_has_lasted_and_not_beyond_the_last_allowed() -> None:
    steps = run(ladder(), 0, 120, full=0.95)
    assert steps[int(CLIMB_AFTER_S) - 1] is Step.NORMAL
    assert steps[int(CLIMB_AFTER_S)] is Step.RETRY
    assert steps[2 * int(CLIMB_AFTER_S)] is Step.LONG_POLL
    assert max(steps) is Step.LONG_POLL


def test_a_slow_loop_counts_as_a_full_process_does() -> None:
    assert run(ladder(), 0, 15, delay_s=1.5)[-1] is Step.RETRY


def test_a_short_peak_takes_no_step() -> None:
    one = ladder()
    run(one, 0, 9, full=1.0)
    run(one, 9, 12, full=0.1)
    assert run(one, 12, 21, full=1.0)[-1] is Step.NORMAL


def test_between_the_thresholds_it_stays() -> None:
    one = ladder(Step.RETRY)
    run(one, 0, 12, full=1.0)
    assert set(run(one, 12, 600, full=0.7)) == {Step.RETRY}


def test_a_step_is_given_up_after_a_calm_time() -> None:
    one = ladder(Step.RETRY)
    run(one, 0, 12, full=1.0)
    steps = run(one, 12, 12 + int(STAY_S) + 2, full=0.1)
    assert steps[int(STAY_S) - 1] is Step.RETRY
    assert steps[-1] is Step.NORMAL


def test_a_load_that_comes_with_the_viewers_makes_few_moves() -> None:
    """The measure falls because pages have left, and rises because they are back: it must not swing on."""
    one = ladder(Step.RETRY)
    moves = 0
    before = one.step
    for second in range(24 * 3_600):
        step = one.look(float(second), full=0.1 if before else 1.0, delay_s=0.0)
        moves += step is not before
        before = step
    assert 2 <= moves <= 2 * (24 * 3_600 / STAY_MAX_S + 10)
