"""``python -m deploy.scaling``: the chart's autoscaling against big evenings, and scaling by CPU beside it.

The settings are read from deploy/helm/touchline/values.yaml, so what is simulated is what is shipped. The
costs of a viewer are those that were measured (bench/results/stream-house-after.md); everything else that
is assumed stands in ``ASSUMED`` and is printed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from origin.capacity.autoscaler import Audience, Outcome, Policy, Replicas, Scaling, Tier, simulate
from origin.capacity.schedule import Kickoff, windows
from origin.stream.hub.config import StreamConfig

__all__ = [
    "ASSUMED",
    "CHART_VALUES",
    "final",
    "goal",
    "rows",
    "scaling_of",
    "settings",
    "table",
    "tier_of",
]

ROOT: Final = Path(__file__).parents[1]
CHART_VALUES: Final = ROOT / "deploy" / "helm" / "touchline" / "values.yaml"
MEASURED: Final = ROOT / "bench" / "results" / "stream-house-after.json"
SEED: Final = 2018

ASSUMED: Final[Mapping[str, float]] = {
    # A node with room and the image on it: scheduling, start and readiness. A new node takes minutes.
    "pod_start_min_s": 10,
    "pod_start_max_s": 40,
    # Deltas of one match in a second: by and large, and in the ten seconds after a goal.
    "deltas_per_s": 0.1,
    "goal_deltas_per_s": 2.0,
    "goal_deltas_last_s": 10,
    # How long a viewer stays in the mean, while the match goes on and once it is over.
    "stay_s": 1800,
    "stay_after_the_end_s": 300,
}

# ---- World Cup final
FINAL_PEAK_PER_MINUTE: Final = 500_000
FINAL_PEAK_S: Final = 1_200  # of the simulated time: when most of them come, which is the kick-off
FINAL_WIDTH_S: Final = 60.0  # standard deviation of when they come
FINAL_VIEWERS: Final = round(FINAL_PEAK_PER_MINUTE / 60 * FINAL_WIDTH_S * math.sqrt(2 * math.pi))
FINAL_GOAL_S: Final = 1_800
FINAL_END_S: Final = 2_700
FINAL_SECONDS: Final = 4_500

# ---- a goal on an ordinary evening
EVENING_VIEWERS: Final = 200_000
GOAL_S: Final = 600
GOAL_TIMES: Final = 20.0
GOAL_LASTS_S: Final = 60
GOAL_SECONDS: Final = 2_100


def settings() -> Mapping[str, Any]:
    """The chart's values."""
    read: Mapping[str, Any] = yaml.safe_load(CHART_VALUES.read_text(encoding="utf-8"))
    return read


def tier_of(values: Mapping[str, Any]) -> Tier:
    """A stream pod of the chart, with what a viewer was measured to cost."""
    costs = json.loads(MEASURED.read_text(encoding="utf-8"))["medians"]["ours"]
    defaults = StreamConfig()
    return Tier(
        connections_max=values["stream"]["connectionsMax"],
        accept_s=costs["cpu_per_accept_us"] / 1e6,
        delivery_s=costs["cpu_per_delivery_us"] / 1e6,
        heartbeat_s=defaults.heartbeat_s,
        retry_min_s=defaults.retry_min_ms / 1000,
        accept_rate_per_s=defaults.accept_rate_per_s,
        start_s=(ASSUMED["pod_start_min_s"], ASSUMED["pod_start_max_s"]),
        leave_s=values["stream"]["preStopSleepSeconds"],
    )


def scaling_of(values: Mapping[str, Any], schedule: Sequence[Replicas] = ()) -> Scaling:
    """The autoscaling of the chart."""
    auto = values["stream"]["autoscaling"]
    up, down = auto["scaleUp"], auto["scaleDown"]
    return Scaling(
        signal="viewers",
        target=auto["targetViewers"],
        pods_min=auto["minReplicas"],
        pods_max=auto["maxReplicas"],
        scrape_s=auto["pollingIntervalSeconds"],
        up=Policy(up["stabilizationSeconds"], up["pods"], up["percent"], up["periodSeconds"]),
        down=Policy(down["stabilizationSeconds"], down["pods"], 0, down["periodSeconds"]),
        schedule=schedule,
        fewest_first=values["deletionCost"]["enabled"],
    )


def by_cpu(scaling: Scaling, cores: float) -> Scaling:
    """The same by CPU, and down as a HorizontalPodAutoscaler comes: by any number after five minutes."""
    return replace(
        scaling,
        signal="cpu",
        target=cores,
        schedule=(),
        down=Policy(300, scaling.pods_max, 100, 15),
        fewest_first=False,
    )


def final() -> Audience:
    """A World Cup final: half a million viewers come in its busiest minute, and all go when it is over."""

    def arrivals(second: int) -> float:
        from_peak = (second - FINAL_PEAK_S) / FINAL_WIDTH_S
        return FINAL_PEAK_PER_MINUTE / 60 * math.exp(-(from_peak**2) / 2)

    def leaving(second: int) -> float:
        return 1 / ASSUMED["stay_after_the_end_s"] if second >= FINAL_END_S else 0.0

    return Audience(FINAL_SECONDS, arrivals, leaving, _deltas_with_goal_at(FINAL_GOAL_S))


def goal() -> Audience:
    """An ordinary evening: for a minute after a goal twenty times as many viewers come, and more deltas."""
    usual = EVENING_VIEWERS / ASSUMED["stay_s"]

    def arrivals(second: int) -> float:
        return usual * GOAL_TIMES if GOAL_S <= second < GOAL_S + GOAL_LASTS_S else usual

    def leaving(second: int) -> float:
        del second
        return 1 / ASSUMED["stay_s"]

    return Audience(GOAL_SECONDS, arrivals, leaving, _deltas_with_goal_at(GOAL_S), EVENING_VIEWERS)


def _deltas_with_goal_at(at_s: int) -> Any:
    def deltas(second: int) -> float:
        just_now = at_s <= second < at_s + ASSUMED["goal_deltas_last_s"]
        return ASSUMED["goal_deltas_per_s"] if just_now else ASSUMED["deltas_per_s"]

    return deltas


def schedule_of_final(values: Mapping[str, Any]) -> Sequence[Replicas]:
    """What ``touchline schedule --before 15`` makes of the final, in simulated seconds."""
    begin = datetime(2026, 7, 19, tzinfo=UTC)
    made = windows(
        [Kickoff(begin + timedelta(seconds=FINAL_PEAK_S), FINAL_VIEWERS, "final")],
        viewers_per_pod=values["stream"]["autoscaling"]["targetViewers"],
        before=timedelta(minutes=15),
        after=timedelta(seconds=FINAL_END_S - FINAL_PEAK_S),
        begin=begin,
        end=begin + timedelta(days=1),
    )
    return [
        Replicas(int((one.begin - begin).total_seconds()), int((one.end - begin).total_seconds()), one.pods)
        for one in made
    ]


def quiet_cores(values: Mapping[str, Any]) -> float:
    """What a pod with ``targetViewers`` uses while nothing happens, to which CPU could be tuned."""
    tier = tier_of(values)
    rate = ASSUMED["deltas_per_s"] + 1 / tier.heartbeat_s
    viewers: int = values["stream"]["autoscaling"]["targetViewers"]
    return viewers * rate * tier.delivery_s


def rows() -> Mapping[tuple[str, str], Outcome]:
    """Each scenario under each way to scale."""
    values = settings()
    tier, chart = tier_of(values), scaling_of(values)
    tuned = quiet_cores(values)
    ways = {
        "viewers, as the chart": chart,
        "CPU, 70 % of a core": by_cpu(chart, 0.7),
        f"CPU, tuned to {100 * tuned:.1f} % of a core": by_cpu(chart, tuned),
    }
    scheduled = replace(chart, schedule=schedule_of_final(values))
    cases = {
        ("final", "viewers and schedule, as the chart"): (scheduled, final()),
        ("final", "viewers, without a schedule"): (chart, final()),
        **{("final", name): (way, final()) for name, way in ways.items() if way is not chart},
        **{("goal", name): (way, goal()) for name, way in ways.items()},
    }
    return {case: simulate(tier, way, audience, SEED) for case, (way, audience) in cases.items()}


def table(outcomes: Mapping[tuple[str, str], Outcome]) -> str:
    """The outcomes as Markdown."""
    titles = {
        "final": f"final, {FINAL_PEAK_PER_MINUTE:,} a minute, {FINAL_VIEWERS:,} in all",
        "goal": f"goal on an evening of {EVENING_VIEWERS:,}: {GOAL_TIMES:.0f} times as many for a minute",
    }
    lines = [
        "| evening | scaled by | refusals | waited > 10 s | longest, s | moved | pods | full | pod hours |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for (scenario, way), one in outcomes.items():
        lines.append(
            f"| {titles[scenario]} | {way} | {one.refused:,} | {one.noticed:,} | {one.longest_wait_s} |"
            f" {one.moved:,} | {one.pods_most} | {one.fullest:,} | {one.pod_hours:.0f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Print the table and what it assumes."""
    tier = tier_of(settings())
    sys.stdout.write(table(rows()) + "\n\n")
    sys.stdout.write(
        f"measured: {tier.accept_s * 1e6:.0f} µs per accept, {tier.delivery_s * 1e6:.1f} µs per delivery"
        f" ({MEASURED.relative_to(ROOT)})\nassumed: {json.dumps(dict(ASSUMED))}; seed {SEED}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
