"""The capacity planner: arithmetic by hand, what must grow with what, and inputs that make no plan."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.simulation.fit import TARGET, fit
from origin.capacity.constants import ASSUMED, GIVEN, InvalidInput, constants, with_changes
from origin.capacity.model import BOUNDS, Inputs, Plan, TooTight, plan
from origin.stream.worker.gunicorn_app import BACKLOG, QUEUES

ROOT = Path(__file__).parents[2]
# Round figures, so that a person can check.
ROUND = {
    "delivery_s": 7e-6,
    "accept_s": 25e-6,
    "first_s": 0.1,
    "frame_bytes": 134,
    "packet_bytes": 66,
    "core_share": 0.7,
    "viewer_bytes": 904,
    "kernel_bytes_per_viewer": 4_096,
    "spare_machines": 1,
    "price_core_hour": 0.1,
    "price_redis_hour": 1,
    "price_broker_hour": 2,
    "price_egress_gb": 0,
    "hours_per_month": 100,
}


def planned(**given_: Any) -> Plan:
    return plan(Inputs.from_json(given_))


def test_three_million_by_hand() -> None:
    made = planned(viewers=3_000_000, regions=3, within_ms=500, cores=8, constants=ROUND)
    # In 0.4 s a core reaches 40,000 with 0.7 of it: 25 or 26 cores for a million, 4 machines and a spare.
    assert made.stream is not None
    assert made.stream.machines == 4
    assert made.stream_servers == 3 * 5
    assert made.gigabytes_per_goal == 0.6  # 200 bytes each
    assert made.bytes_per_connection == 5_000
    assert made.kafka_partitions == 20
    stream = next(one for one in made.instances if one.role == "stream server")
    assert stream.count == 15
    assert stream.usd_per_hour == pytest.approx(0.8)
    by_role = {one.role: one.count for one in made.instances}
    assert by_role["Redis"] == 6
    assert by_role["Kafka broker"] == 3
    fanout = by_role["fan-out worker"]
    assert made.machines_usd == pytest.approx(100 * (15 * 0.8 + 6 * 1 + fanout * 0.1 + 3 * 2))
    assert made.monthly_usd == made.machines_usd
    seed = {one.figure: one for one in made.seed}
    assert seed["servers"].seed == 60  # a thousand for fifty million
    assert seed["servers"].ratio == 4
    assert seed["bytes per connection"].ratio == 2
    assert seed["gigabytes per goal"].planned == pytest.approx(0.6)


def test_redis_is_a_line_through_both_measurements() -> None:
    value = constants()
    made = planned(viewers=50_000_000, regions=1, matches=100)
    assert made.stream is not None
    each_s = (value["redis_publish_100_s"].value - value["redis_publish_s"].value) / 100
    publish_s = value["redis_publish_s"].value + each_s * made.stream.processes
    assert made.redis_core_share == pytest.approx(made.deltas_per_s * publish_s, rel=1e-3)


def test_viewers_behind_caches_need_no_stream_server() -> None:
    made = planned(viewers=1_000_000, cached_share=1.0)
    assert made.stream is None
    assert (made.stream_servers, made.last_viewer_ms, made.reconnect_window_s) == (0, 0, 0)
    assert made.cache_nodes > 0
    assert json.loads(json.dumps(made.to_json()))["stream"] is None


def test_what_servers_do_while_they_restart_is_a_limit() -> None:
    made = planned(viewers=10_000_000, regions=1, constants={"restart_s": 2.0})
    limit = next(one for one in made.limits if one.name.startswith("accept queues"))
    assert limit.used > limit.limit > 0
    assert limit.breaks_at_viewers is not None
    assert limit.breaks_at_viewers < 10_000_000


def test_the_nearest_limit_comes_first() -> None:
    shares = [one.share for one in planned(viewers=50_000_000, regions=6).limits]
    assert shares == sorted(shares, reverse=True)


INPUTS = st.builds(
    Inputs,
    viewers=st.integers(1, 10_000_000_000),
    regions=st.integers(1, 1_000),
    matches=st.integers(1, 100_000),
    deltas_per_match=st.integers(1, 100_000),
    cached_share=st.floats(0, 1),
    tls=st.booleans(),
    within_ms=st.integers(50, 60_000),
    cores=st.integers(1, 4_096),
    open_files=st.integers(1_024, 2**31),
)


@given(INPUTS)
def test_every_plan_is_json_with_the_source_of_each_constant(inputs: Inputs) -> None:
    text = json.dumps(plan(inputs).to_json(), allow_nan=False)
    for name, one in json.loads(text)["inputs"]["constants"].items():
        source = one["source"]
        assert source == ASSUMED or (ROOT / source.partition(":")[0]).is_file(), name


@given(INPUTS, st.integers(1, 1_000_000_000))
def test_more_viewers_never_need_less(inputs: Inputs, more: int) -> None:
    few = plan(inputs)
    many = plan(replace(inputs, viewers=min(inputs.viewers + more, 10_000_000_000)))
    # Rounding a share of one viewer up may cost a machine of the other kind.
    assert many.stream_servers + many.cache_nodes + 2 * inputs.regions >= few.stream_servers + few.cache_nodes
    assert many.gigabytes_per_goal >= few.gigabytes_per_goal - 1e-5


@given(INPUTS)
def test_more_time_never_needs_more_servers(inputs: Inputs) -> None:
    patient = plan(replace(inputs, within_ms=60_000))
    assert patient.stream_servers <= plan(inputs).stream_servers
    assert patient.cache_nodes <= plan(inputs).cache_nodes


@given(INPUTS)
def test_tls_costs_something_and_saves_nothing(inputs: Inputs) -> None:
    plain, secret = plan(replace(inputs, tls=False)), plan(replace(inputs, tls=True))
    assert secret.stream_servers >= plain.stream_servers
    assert secret.gigabytes_per_goal >= plain.gigabytes_per_goal
    assert secret.bytes_per_connection > plain.bytes_per_connection


@given(INPUTS)
def test_every_viewer_has_a_place_in_time(inputs: Inputs) -> None:
    made = plan(inputs)
    if made.stream is not None:
        here = made.stream.machines * made.stream.viewers_per_machine
        assert here * inputs.regions >= inputs.viewers - round(inputs.viewers * inputs.cached_share)
        assert made.last_viewer_ms <= inputs.within_ms + 1  # it is rounded up


@pytest.mark.parametrize(
    ("given_", "named"),
    [
        ({"viewers": 0}, "viewers: 0"),
        ({"viewers": -3}, "viewers: -3"),
        ({"viewers": "many"}, "viewers: 'many'"),
        ({"viewers": 1.5}, "viewers: 1.5"),
        ({"viewers": True}, "viewers: True"),
        ({"viewers": None}, "viewers: None"),
        ({"viewers": 10**11}, "viewers: 100000000000"),
        ({"regions": 1_001}, "regions: 1001"),
        ({"matches": 0}, "matches: 0"),
        ({"deltas_per_match": -1}, "deltas_per_match: -1"),
        ({"cached_share": 1.01}, "cached_share: 1.01"),
        ({"cached_share": float("nan")}, "cached_share: nan"),
        ({"cached_share": "half"}, "cached_share: 'half'"),
        ({"tls": "yes"}, "tls: 'yes'"),
        ({"within_ms": 0}, "within_ms: 0"),
        ({"cores": 5_000}, "cores: 5000"),
        ({"open_files": 2**40}, "open_files: 1099511627776"),
        ({"colour": "red"}, "input 'colour'"),
        ({"constants": {"speed": 1}}, "constant 'speed'"),
        ({"constants": {"delivery_s": 0}}, "constant delivery_s: 0"),
        ({"constants": {"delivery_s": -1}}, "constant delivery_s: -1"),
        ({"constants": {"delivery_s": float("inf")}}, "constant delivery_s: inf"),
        ({"constants": {"delivery_s": float("nan")}}, "constant delivery_s: nan"),
        ({"constants": {"delivery_s": "7"}}, "constant delivery_s: '7'"),
        ({"constants": {"delivery_s": True}}, "constant delivery_s: True"),
        ({"constants": {"core_share": 1.2}}, "constant core_share: 1.2"),
        ({"constants": {"room_factor": 0.5}}, "constant room_factor: 0.5"),
        ({"constants": {"price_core_hour": -1}}, "constant price_core_hour: -1"),
        ({"constants": {"price_core_hour": 1e300}}, "constant price_core_hour: 1e+300"),
        ({"constants": [1]}, "constants: [1]"),
    ],
)
def test_what_no_plan_can_be_made_of_is_named(given_: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Inputs.from_json(given_)
    assert named in str(refused.value)


@pytest.mark.parametrize("given_", [None, 3, "x", [1]])
def test_inputs_that_are_no_object_are_named(given_: object) -> None:
    with pytest.raises(InvalidInput, match="is no object"):
        Inputs.from_json(given_)


@given(
    st.dictionaries(
        st.sampled_from([*BOUNDS, "tls", "constants", "x"]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=5),
            st.dictionaries(st.sampled_from([*constants(), "x"]), st.one_of(st.integers(), st.floats())),
        ),
    )
)
@settings(max_examples=300)
def test_any_json_is_a_plan_or_a_named_refusal(given_: dict[str, Any]) -> None:
    try:
        made = plan(Inputs.from_json(given_))
    except (InvalidInput, TooTight):
        return
    json.dumps(made.to_json(), allow_nan=False)


def test_a_changed_constant_says_that_it_was_given() -> None:
    changed = with_changes({"price_egress_gb": 0})
    assert changed["price_egress_gb"].source == GIVEN
    assert constants()["price_egress_gb"].source == ASSUMED


def test_the_measured_constants_are_those_of_the_kept_runs() -> None:
    """If a run was repeated: ``python -m bench.simulation fit``."""
    assert json.loads(TARGET.read_text(encoding="utf-8"))["constants"] == fit()


def test_the_accept_queue_is_the_servers_own() -> None:
    assert constants()["accept_queue"].value == QUEUES * BACKLOG
