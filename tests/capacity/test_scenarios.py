"""What a planned fleet goes through: the four scenarios, by the module and by the command."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from origin.capacity.constants import InvalidInput
from origin.capacity.model import Inputs, plan
from origin.capacity.scenarios import SCENARIOS, Outcome, simulate
from origin.capacity.simulation import Goal, Recovery
from testkit.command import touchline

SMALL: dict[str, Any] = {"viewers": 120_000, "regions": 3, "matches": 4, "cached_share": 0.5}


def run(scenario: str, seed: int = 1, **given_: Any) -> Outcome:
    return simulate(scenario, Inputs.from_json({**SMALL, **given_}), seed)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_seed_gives_the_same_outcome(scenario: str) -> None:
    first = json.dumps(run(scenario, 7).to_json(), allow_nan=False)
    assert first == json.dumps(run(scenario, 7).to_json(), allow_nan=False)
    assert first != json.dumps(run(scenario, 8).to_json(), allow_nan=False)


def recovery(outcome: Outcome, name: str) -> Recovery:
    result = outcome.results[name]
    assert isinstance(result, Recovery)
    return result


def test_a_goal_goes_its_way_in_order() -> None:
    outcome = run("goal")
    for name in ("streams", "behind caches"):
        made = outcome.results[name]
        assert isinstance(made, Goal)
        times = [hop.done_ms for hop in made.hops]
        assert times == sorted(times)
        assert made.viewers == 60_000
        assert made.first_ms < made.p50_ms < made.p99_ms <= made.last_ms


def test_a_single_region_is_near_the_log() -> None:
    near, far = (run("goal", regions=number).results["streams"].to_json() for number in (1, 2))
    assert near["hops"][1]["done_ms"] + 80 == pytest.approx(far["hops"][1]["done_ms"])


def test_a_storm_as_planned_is_over_when_the_plan_says() -> None:
    outcome = run("storm")
    planned = recovery(outcome, "as planned")
    assert planned.back == planned.viewers == 60_000
    # The plan adds up the longest waits, which hardly anybody draws together.
    assert 0.8 * outcome.plan.back_s <= planned.last_s <= outcome.plan.back_s + 0.5


@cache
def large_storm() -> Outcome:
    return run("storm", viewers=5_000_000)


def test_a_rate_that_nobody_has_set_makes_viewers_wait_longer() -> None:
    outcome = large_storm()
    assert recovery(outcome, "accept rate not set").last_s > 2 * recovery(outcome, "as planned").last_s


def test_a_client_without_jitter_overflows_the_accept_queues() -> None:
    outcome = large_storm()
    at_once = recovery(outcome, "everybody at once")
    assert at_once.dropped > 0
    assert at_once.last_s > recovery(outcome, "as planned").last_s
    assert any(finding.startswith("everybody at once: the accept queues") for finding in outcome.findings)


def test_six_regions_have_room_for_one_and_two_have_not() -> None:
    six, two = run("region-loss", regions=6), run("region-loss", regions=2)
    assert six.figures["without_room"] == 0
    assert two.figures["without_room"] > 0
    assert any("find no room" in finding for finding in two.findings)
    wide = run("region-loss", regions=2, constants={"room_factor": 2.2})
    assert wide.figures["without_room"] == 0


def test_nobody_is_in_another_region_before_the_names_lead_there() -> None:
    outcome = run("region-loss", regions=6, constants={"redirect_s": 12})
    back = recovery(outcome, "back in other regions")
    assert back.curve[0].at_s >= 12
    assert outcome.figures["last_viewer_after_ms"] >= outcome.figures["last_viewer_before_ms"]


def test_without_caches_the_origins_answer_everybody() -> None:
    outcome = run("cache-collapse")
    figures = outcome.figures
    assert figures["origin_requests_per_s"] > 100 * figures["origin_requests_per_s_with_caches"]
    back = recovery(outcome, "at the origins")
    assert figures["without_room"] == back.viewers - back.back


@pytest.mark.parametrize(
    ("scenario", "given_", "named"),
    [
        ("region-loss", {"regions": 1}, "regions: 1"),
        ("cache-collapse", {"cached_share": 0.0}, "cached_share: 0.0"),
        ("storm", {"cached_share": 1.0}, "cached_share: 1.0"),
        ("region-loss", {"cached_share": 1.0}, "cached_share: 1.0"),
        ("flood", {}, "scenario 'flood'"),
    ],
)
def test_what_cannot_happen_is_named(scenario: str, given_: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        run(scenario, **given_)
    assert named in str(refused.value)


@pytest.mark.parametrize("seed", [-1, 1.5, True, 2**63, "x"])
def test_a_seed_that_is_none_is_named(seed: Any) -> None:
    with pytest.raises(InvalidInput, match="seed"):
        run("goal", seed)


@pytest.mark.parametrize("viewers", [1, 10_000_000_000])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_smallest_and_the_largest_audience_can_be_simulated(scenario: str, viewers: int) -> None:
    share = 1.0 if scenario == "cache-collapse" else 0.0
    outcome = run(scenario, viewers=viewers, regions=1_000 if viewers > 1 else 2, cached_share=share)
    json.dumps(outcome.to_json(), allow_nan=False)


# ---- the command -------------------------------------------------------------------------------------


def test_the_command_plans_what_the_module_plans() -> None:
    ran = touchline("capacity", "plan", "--viewers", "600000", "--set", "price_egress_gb=0.02", "--json")
    assert ran.code == 0
    given_ = {"viewers": 600_000, "constants": {"price_egress_gb": 0.02}}
    assert json.loads(ran.out) == json.loads(json.dumps(plan(Inputs.from_json(given_)).to_json()))


def test_the_command_simulates_what_the_module_simulates() -> None:
    options = ("--viewers", "60000", "--regions", "3", "--seed", "5")
    ran = touchline("capacity", "simulate", "storm", *options, "--json")
    outcome = simulate("storm", Inputs.from_json({"viewers": 60_000, "regions": 3}), 5)
    assert json.loads(ran.out) == json.loads(json.dumps(outcome.to_json()))
    text = touchline("capacity", "simulate", "storm", *options).out.decode()
    assert "as planned" in text
    assert "everybody at once" in text


def test_a_plan_for_people_has_every_constant_with_its_source() -> None:
    text = touchline("capacity", "plan").out.decode()
    for name, one in Inputs().constants.items():
        assert f"  {name} " in text
        assert one.source in text or one.meaning in text
    assert "What breaks first" in text


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("plan", "--viewers", "0"), "viewers: 0"),
        (("plan", "--cached-share", "2"), "cached_share: 2.0"),
        (("plan", "--within-ms", "1"), "within 1 ms"),
        (("plan", "--set", "speed=3"), "constant 'speed'"),
        (("plan", "--set", "delivery_s"), "--set 'delivery_s'"),
        (("plan", "--set", "delivery_s=fast"), "--set 'delivery_s=fast'"),
        (("plan", "--set", "delivery_s=nan"), "constant delivery_s: nan"),
        (("simulate", "flood"), "flood"),
        (("simulate", "storm", "--seed", "-1"), "-1"),
        (("simulate", "region-loss", "--regions", "1"), "regions: 1"),
        (("--viewers", "5", "plan"), "--viewers"),
        ((), "--viewers"),
    ],
)
def test_bad_words_are_named(words: tuple[str, ...], named: str) -> None:
    ran = touchline("capacity", *words)
    assert (ran.code, ran.out) == (2, b"")
    assert named in ran.err
    assert "Traceback" not in ran.err
