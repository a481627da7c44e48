"""The simulation against closed forms; what more work must not make better; one seed, one outcome."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.simulation.chart import draw
from bench.simulation.machine import Machine, Observed, Size, fit_machine
from origin.capacity.constants import InvalidInput
from origin.capacity.model import Inputs
from origin.capacity.scenarios import simulate
from origin.capacity.simulation import (
    BATCHES_MAX,
    Costs,
    Fleet,
    Goal,
    Recovery,
    Returner,
    advised,
    deliver,
    recover,
)

COSTS = Costs(delivery_s=10e-6, accept_s=50e-6)
FEW = settings(max_examples=15, deadline=None)


def goal(fleet: Fleet, costs: Costs = COSTS, start_s: float = 0.0, seed: int = 1) -> Goal:
    return deliver([fleet], costs, [lambda *_: start_s], seed)


def over(window_s: float) -> Returner:
    """Everybody once, spread evenly over a window, as the schedule's jitter is."""

    def draw(_before: float, unit: float, _random: Random) -> Sequence[float]:
        return (unit * window_s,)

    return draw


# ---- closed forms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("viewers", [1, 18_000, 10_000_000_000])
def test_one_process_needs_so_long_for_all_its_viewers(viewers: int) -> None:
    assert goal(Fleet(viewers=viewers), start_s=0.005).last_ms == pytest.approx(5 + viewers * 0.01, rel=1e-6)


@pytest.mark.parametrize(
    ("processes", "cores", "working"), [(1, 8, 1), (4, 8, 4), (8, 8, 8), (16, 8, 8), (8, 1, 1)]
)
def test_as_many_processes_work_as_have_a_core(processes: int, cores: int, working: int) -> None:
    made = goal(Fleet(viewers=160_000, processes=processes, cores=cores))
    assert made.last_ms == pytest.approx(160_000 * 0.01 / working, rel=0.01)
    assert made.p50_ms == pytest.approx(made.last_ms / 2, rel=0.02)


@pytest.mark.parametrize("machines", [1, 10, 1_000, 100_000])
def test_machines_do_not_wait_for_each_other(machines: int) -> None:
    made = goal(Fleet(viewers=1_000 * machines, machines=machines))
    assert made.last_ms == pytest.approx(10, rel=1e-6)
    assert made.viewers == 1_000 * machines


def test_receivers_on_the_same_cores_cost_their_part() -> None:
    """With all cores busy, the last viewer is served after all work of both ends, shared by the cores."""
    fleet = Fleet(viewers=60_000, processes=3, cores=2, receivers=3)
    made = goal(fleet, replace(COSTS, receipt_s=5e-6))
    assert made.last_ms == pytest.approx(60_000 * 0.015 / 2, rel=0.03)


def test_a_receiver_with_a_core_of_its_own_hides_behind_the_sender() -> None:
    made = goal(Fleet(viewers=20_000, processes=1, cores=2, receivers=1), replace(COSTS, receipt_s=5e-6))
    assert made.last_ms == pytest.approx(20_000 * 0.01, rel=0.03)


@pytest.mark.parametrize("viewers", [20_000, 200_000, 2_000_000])
@pytest.mark.parametrize("window_s", [0.5, 2.0, 10.0])
def test_a_uniform_storm_is_over_after_the_window_or_after_the_work(viewers: int, window_s: float) -> None:
    """All are back after max(window, N / rate): the fluid limit of a queue with even arrivals."""
    back = recover(Fleet(viewers=viewers), COSTS, over(window_s), seed=3)
    assert back.back == viewers
    assert back.last_s == pytest.approx(max(window_s, viewers * 50e-6), rel=0.03)


def test_everybody_at_once_is_all_the_work() -> None:
    back = recover(Fleet(viewers=100_000, cores=4, processes=4), COSTS, over(0.0), seed=1)
    assert back.last_s == pytest.approx(100_000 * 50e-6 / 4, rel=0.02)
    assert back.queue_max >= 90_000


def test_the_advised_window_is_the_viewers_over_the_rate() -> None:
    """The last of them: the shortest wait, the window of the process, and the viewer's own second."""
    costs = replace(COSTS, accept_s=1e-6, hint_rate_per_s=2_000)
    back = recover(Fleet(viewers=20_000), costs, advised(costs, 20_000), seed=1)
    assert 1 + 10 * 0.9 <= back.last_s <= 1 + 10 + 1
    small = recover(Fleet(viewers=1_000), costs, advised(costs, 1_000), seed=1)
    assert 2.7 <= small.last_s <= 3.0  # no window is shorter than a second


def test_who_finds_a_full_accept_queue_sends_again_after_a_second() -> None:
    costs = replace(COSTS, accept_s=1e-6, restart_s=0.5, accept_queue=600)
    back = recover(Fleet(viewers=1_000), costs, over(0.0), seed=1)
    assert back.back == 1_000
    assert back.dropped == pytest.approx(400, abs=64)
    assert back.last_s == pytest.approx(1.0, abs=0.01)
    assert back.queue_max <= 600


def test_nobody_is_taken_beyond_the_room() -> None:
    back = recover(
        Fleet(viewers=10_000, machines=2, processes=2), COSTS, over(1.0), seed=1, room_per_process=2_000
    )
    assert back.back == pytest.approx(8_000, abs=4 * 64)
    assert back.back <= 8_000
    assert back.refused == 10_000 - back.back
    assert back.curve[-1].share == pytest.approx(0.8, abs=0.03)


def test_who_was_dropped_finds_no_more_room_than_there_is() -> None:
    """The room is looked at when a connection is taken, not when its first SYN was dropped."""
    costs = replace(COSTS, restart_s=0.5, accept_queue=1_000)
    back = recover(Fleet(viewers=10_000), costs, over(0.0), seed=1, room_per_process=2_000)
    assert back.dropped > 0
    assert 2_000 - 64 <= back.back <= 2_000


# ---- what must hold for all --------------------------------------------------------------------------

FLEETS = st.builds(
    Fleet,
    viewers=st.integers(1, 100_000),
    machines=st.integers(1, 40),
    processes=st.integers(1, 12),
    cores=st.integers(1, 12),
    receivers=st.integers(0, 3),
)


@given(FLEETS, st.integers(1, 100_000))
@FEW
def test_more_viewers_are_never_reached_sooner(fleet: Fleet, more: int) -> None:
    costs = replace(COSTS, receipt_s=2e-6)
    last_ms = goal(replace(fleet, viewers=fleet.viewers + more), costs).last_ms
    # Other batches are cut otherwise, by less than one slice of each process and receiver.
    slack_ms = 2 * 2 * (fleet.processes + fleet.receivers)
    assert last_ms >= goal(fleet, costs).last_ms - slack_ms


@given(FLEETS, st.floats(1.0, 5.0))
@FEW
def test_dearer_viewers_are_never_back_sooner(fleet: Fleet, factor: float) -> None:
    fleet = replace(fleet, cores=1, receivers=0)
    dear = replace(COSTS, accept_s=COSTS.accept_s * factor)
    cheap, dearer = (recover(fleet, one, over(2.0), seed=5) for one in (COSTS, dear))
    assert dearer.last_s >= cheap.last_s - 1e-6
    assert dearer.back == cheap.back == fleet.viewers


@given(FLEETS, st.integers(0, 1_000))
@FEW
def test_the_same_seed_gives_the_same_figures(fleet: Fleet, seed: int) -> None:
    first, again = (recover(fleet, COSTS, advised(COSTS, 100), seed) for _ in range(2))
    assert first == again
    assert goal(fleet, seed=seed) == goal(fleet, seed=seed)


@given(FLEETS, st.floats(0.0, 3.0), st.sampled_from([100.0, 5_000.0, math.inf]))
@FEW
def test_nobody_is_counted_twice_or_before_the_loss(fleet: Fleet, restart_s: float, queue: float) -> None:
    costs = replace(COSTS, restart_s=restart_s, accept_queue=queue)
    back = recover(fleet, costs, over(1.0), seed=2)
    assert 0 <= back.back <= fleet.viewers
    shares = [point.share for point in back.curve]
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)
    if back.curve:
        assert back.curve[0].at_s >= restart_s - 1e-6
        assert back.p50_s <= back.p99_s <= back.last_s


@given(
    st.integers(1, 10_000_000_000),
    st.integers(1, 10_000_000),
    st.integers(1, 100_000),
    st.integers(1, 1_000),
)
def test_the_work_is_bounded_for_any_fleet(viewers: int, machines: int, processes: int, regions: int) -> None:
    fleet = Fleet(viewers=viewers, machines=machines, processes=processes, regions_simulated=regions)
    batches = fleet.simulated * fleet.processes * fleet.batches(1)
    assert batches * regions <= max(BATCHES_MAX, processes * regions)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("viewers", 0),
        ("viewers", -1),
        ("viewers", 10**12),
        ("viewers", 1.5),
        ("viewers", True),
        ("machines", 0),
        ("processes", 0),
        ("processes", 10**6),
        ("cores", 0),
        ("receivers", -1),
        ("receivers", "x"),
    ],
)
def test_a_fleet_that_cannot_be_is_named(name: str, value: object) -> None:
    given_: dict[str, object] = {"viewers": 10, name: value}
    with pytest.raises(InvalidInput, match=f"{name}: {value!r}"):
        Fleet(**given_)  # type: ignore[arg-type]


def test_results_are_json() -> None:
    made: list[Goal | Recovery] = [goal(Fleet(viewers=10)), recover(Fleet(viewers=10), COSTS, over(1.0), 1)]
    for one in made:
        found = one.to_json()
        assert found["viewers"] == 10
        assert found["curve"][-1]["share"] == 1.0


def test_the_chart_has_every_curve() -> None:
    inputs = Inputs.from_json({"viewers": 60_000, "regions": 3})
    outcomes = [simulate(name, inputs) for name in ("goal", "storm", "region-loss")]
    picture = draw(*outcomes)
    root = ElementTree.fromstring(picture)
    assert len(root.findall("{*}polyline")) == 1 + len(outcomes[1].results) + 1
    texts = "".join(root.itertext())
    assert all(name in texts for name in outcomes[1].results)
    assert draw(*outcomes) == picture


# ---- the fit of the bench ----------------------------------------------------------------------------


def test_the_fit_finds_the_parameters_that_a_run_was_made_with() -> None:
    """Runs that the model itself makes, with parameters that are known."""
    true = Machine(
        first_s=0.004,
        delivery_s=8e-6,
        receipt_s=3e-6,
        accept_s=22.2222e-6,
        connect_s=20e-6,
        close_s=9e-6,
        lost_s=6e-6,
    )

    def run(size: Size) -> Observed:
        first_ms = true.first_s * 1000
        connect_s = size.connections * (true.accept_s + true.connect_s) / 2
        return Observed(size, first_ms, true.last_ms(size), connect_s, true.back_s(size))

    found = fit_machine(run(Size(500, 1)), run(Size(4_000, 1)), run(Size(9_000, 3)))
    for size in (Size(1_000, 1), Size(12_000, 3)):
        assert found.last_ms(size) == pytest.approx(true.last_ms(size), rel=0.03)
        assert found.back_s(size) == pytest.approx(true.back_s(size), rel=0.05)
