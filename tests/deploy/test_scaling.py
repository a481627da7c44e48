"""The chart's autoscaling against a World Cup final and a goal: it holds, and scaling by CPU would not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.scaling import (
    ASSUMED,
    FINAL_PEAK_PER_MINUTE,
    FINAL_VIEWERS,
    final,
    goal,
    rows,
    scaling_of,
    schedule_of_final,
    settings,
    table,
    tier_of,
)
from origin.capacity.autoscaler import Audience, Outcome, Policy, Replicas, Scaling, Tier, simulate

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes() -> Mapping[tuple[str, str], Outcome]:
    return rows()


def of(outcomes: Mapping[tuple[str, str], Outcome], scenario: str, way: str) -> Outcome:
    return next(one for (name, said), one in outcomes.items() if name == scenario and said.startswith(way))


def test_with_the_chart_and_its_schedule_everybody_comes_into_the_final_at_once(
    outcomes: Mapping[tuple[str, str], Outcome],
) -> None:
    final = of(outcomes, "final", "viewers and schedule")
    assert final.arrived >= 0.99 * FINAL_VIEWERS
    assert FINAL_PEAK_PER_MINUTE == 500_000
    assert (final.refused, final.noticed, final.waiting) == (0, 0, 0)
    assert final.fullest < settings()["stream"]["connectionsMax"]
    assert final.pods_most <= settings()["stream"]["autoscaling"]["maxReplicas"]


def test_with_the_chart_a_goal_is_no_event(outcomes: Mapping[tuple[str, str], Outcome]) -> None:
    goal = of(outcomes, "goal", "viewers")
    assert (goal.refused, goal.noticed, goal.waiting) == (0, 0, 0)
    assert goal.busiest < 0.5


@pytest.mark.parametrize("seed", [1])
def test_it_holds_by_no_chance_and_with_nodes_that_must_be_made(seed: int) -> None:
    values = settings()
    slow = replace(tier_of(values), start_s=(60.0, 150.0))
    goal_there = simulate(slow, scaling_of(values), goal(), seed)
    scheduled = scaling_of(values, schedule_of_final(values))
    final_there = simulate(slow, scheduled, final(), seed)
    for one in (goal_there, final_there):
        assert (one.refused, one.noticed, one.waiting) == (0, 0, 0)


def test_without_a_schedule_pods_come_too_late_and_all_come_in_all_the_same(
    outcomes: Mapping[tuple[str, str], Outcome],
) -> None:
    surprised = of(outcomes, "final", "viewers, without")
    assert surprised.refused > 0
    assert surprised.noticed > 100_000
    assert surprised.waiting == 0


def test_by_cpu_a_pod_that_is_full_is_idle(outcomes: Mapping[tuple[str, str], Outcome]) -> None:
    """At the usual target no pod is added for a million viewers: they cost nothing until there is a goal."""
    usual = of(outcomes, "final", "CPU, 70 %")
    assert usual.pods_most == settings()["stream"]["autoscaling"]["minReplicas"]
    assert usual.noticed > FINAL_VIEWERS / 2
    assert of(outcomes, "goal", "CPU, 70 %").noticed > 100_000


def test_by_cpu_tuned_to_the_quiet_a_goal_moves_viewers_about(
    outcomes: Mapping[tuple[str, str], Outcome],
) -> None:
    """A target that is right in the quiet is exceeded by every goal; then pods go, with their viewers."""
    for scenario in ("final", "goal"):
        tuned, chart = of(outcomes, scenario, "CPU, tuned"), of(outcomes, scenario, "viewers")
        assert tuned.moved > 100_000
        assert tuned.moved > 5 * chart.moved
    assert of(outcomes, "final", "CPU, tuned").noticed > 100_000


def test_the_table_of_the_documents_is_what_comes_out(outcomes: Mapping[tuple[str, str], Outcome]) -> None:
    assert table(outcomes) in (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


def test_the_settings_are_those_of_the_chart() -> None:
    """Also that a change of the chart reaches the simulation: it is read, and not written down again."""
    values = settings()
    assert scaling_of(values).target == values["stream"]["autoscaling"]["targetViewers"] == 9_000
    values["stream"]["autoscaling"]["targetViewers"] = 18_000
    assert schedule_of_final(values)[0].pods < 100
    assert tier_of(values).accept_s == pytest.approx(22e-6, rel=0.05)
    assert set(ASSUMED) == {
        *("pod_start_min_s", "pod_start_max_s", "deltas_per_s", "goal_deltas_per_s", "goal_deltas_last_s"),
        *("stay_s", "stay_after_the_end_s"),
    }
    assert re.search(r"connectionsMax: 18000", (ROOT / "deploy/helm/touchline/values.yaml").read_text())


# ---- the simulation itself, on small cases whose outcome can be said beforehand


TIER = Tier(
    connections_max=100,
    accept_s=0.001,
    delivery_s=0.0001,
    heartbeat_s=15.0,
    retry_min_s=1.0,
    accept_rate_per_s=50.0,
    start_s=(20.0, 20.0),
    leave_s=5,
)
SCALING = Scaling(
    signal="viewers",
    target=50,
    pods_min=1,
    pods_max=10,
    scrape_s=15,
    up=Policy(0, 4, 100, 15),
    down=Policy(60, 1, 0, 60),
)


def audience(
    seconds: int, *, arrive: Mapping[int, float], viewers: int = 0, leaving: float = 0.0
) -> Audience:
    return Audience(
        seconds,
        lambda second: arrive.get(second, 0.0),
        lambda second: leaving,
        lambda second: 0.1,
        viewers,
    )


def test_nobody_is_lost_and_nobody_comes_twice() -> None:
    one = simulate(TIER, SCALING, audience(600, arrive={5: 90, 100: 70, 101: 200}), seed=1)
    assert one.arrived == 360
    assert one.viewers + one.waiting == 360
    assert one.waiting == 0


def test_one_pod_takes_what_it_may_and_refuses_the_rest_until_there_are_more() -> None:
    one = simulate(TIER, replace(SCALING, pods_max=1), audience(60, arrive={0: 130}), seed=1)
    assert (one.viewers, one.waiting, one.fullest) == (100, 30, 100)
    assert one.refused >= 30
    assert one.noticed == 30


def test_pods_come_after_a_look_and_a_start() -> None:
    """130 viewers at second 0: 100 are in; the first look comes after them, and pods are ready 20 s later."""
    one = simulate(TIER, SCALING, audience(120, arrive={0: 130}), seed=1)
    assert one.pods_most == 3
    assert one.waiting == 0
    # Some of those who come back are given to the pod that is full.
    assert 20 <= one.longest_wait_s <= 20 + 15


def test_a_schedule_has_its_pods_there_before() -> None:
    scheduled = replace(SCALING, schedule=[Replicas(0, 300, 5)])
    one = simulate(TIER, scheduled, audience(200, arrive={60: 400}), seed=1)
    assert (one.refused, one.noticed, one.viewers) == (0, 0, 400)


def test_viewers_of_a_pod_that_is_removed_come_back_elsewhere() -> None:
    one = simulate(TIER, SCALING, audience(1200, arrive={}, viewers=300, leaving=0.005), seed=1)
    assert one.moved > 0
    assert one.noticed == 0
    fewest = simulate(TIER, SCALING, audience(1200, arrive={}, viewers=300, leaving=0.005), seed=1)
    assert fewest == one  # the same seed, the same outcome


def test_the_fewest_viewers_are_moved_by_their_deletion_cost() -> None:
    """Pods that were added late have fewer viewers; without a cost any pod may be taken."""
    came = audience(1800, arrive={0: 99, 120: 150, 121: 100}, leaving=0.001)
    by_cost = sum(simulate(TIER, SCALING, came, seed).moved for seed in range(8))
    by_chance = sum(
        simulate(TIER, replace(SCALING, fewest_first=False), came, seed).moved for seed in range(8)
    )
    assert by_cost < by_chance


def test_policies_bound_how_fast_pods_come_and_go() -> None:
    slow = replace(SCALING, up=Policy(0, 1, 0, 60))
    quick = simulate(TIER, SCALING, audience(300, arrive={0: 900}), seed=3)
    held = simulate(TIER, slow, audience(300, arrive={0: 900}), seed=3)
    assert held.pods_most <= 1 + 300 // 60 + 1 < quick.pods_most


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"pods_min": 0}, "pods_min 0"), ({"pods_max": 0}, "pods_max 0"), ({"target": 0.0}, "target 0.0")],
)
def test_settings_that_cannot_be_are_named(wrong: Mapping[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        simulate(TIER, replace(SCALING, **wrong), audience(1, arrive={}), seed=1)  # type: ignore[arg-type]
