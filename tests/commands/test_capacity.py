"""``touchline capacity``: the arithmetic by hand, and the command with a real server and real viewers."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.capacity.stream_tier import (
    CORE_SHARE,
    Demand,
    Measured,
    TooTight,
    assumptions,
    stream_tier,
    warnings,
)
from origin.stream.hub.drain import SHARE_FOR_ACCEPTING, AcceptRate
from testkit.command import touchline
from testkit.services.process import ServerProcess

# Round figures, so that a person can check: 7 µs at 0.7 of a core is 10 µs an event and viewer.
COSTS = Measured(
    accept_s=25e-6,
    delivery_s=7e-6,
    viewer_bytes=104,
    process_bytes=40_000_000,
    first_s=0.1,
    frame_bytes=134,
)
MILLION = Demand(viewers=1_000_000, within_ms=500, cores=8, open_files=65_536)


def test_a_million_by_hand() -> None:
    made = stream_tier(COSTS, MILLION)
    assert made.viewers_per_core_by_latency == pytest.approx(40_000, abs=1)  # 0.4 s of 10 µs each
    assert made.viewers_per_core_by_heartbeats == pytest.approx(1_500_000, abs=1)
    assert made.viewers_per_process_by_files == 52_019  # (65,536 - 512) / 1.25
    assert (made.cores, made.machines) in ((25, 4), (26, 4))
    assert (made.viewers_per_machine, made.processes_per_machine, made.processes) == (250_000, 7, 28)
    assert made.viewers_per_process == 35_715
    assert made.last_ms == pytest.approx(100 + 250_000 / 7 * 0.01, abs=2)
    assert made.memory_megabytes_per_machine == 280 + 1_050  # 7 processes, and 4,200 bytes a viewer
    assert made.accept_rate_per_s == 20_000
    assert made.reconnect_window_s == pytest.approx(1.8)
    assert made.back_s == pytest.approx(1.8 + 1 + 1)
    assert made.event_megabytes == 50.0  # 200 bytes each
    assert made.connections_max == 44_644
    assert made.open_files == 46_080  # the next thousand of 44,644 + 512
    assert made.proxy_connections == 500_000
    assert made.proxy_addresses == 9
    assert made.steady_core_share == pytest.approx(250_000 * 7e-6 / 15 / 7, abs=1e-4)


def test_one_viewer_is_one_process() -> None:
    made = stream_tier(COSTS, replace(MILLION, viewers=1))
    assert (made.machines, made.cores, made.processes, made.viewers_per_process) == (1, 1, 1, 1)
    assert made.reconnect_window_s == 1.0
    assert warnings(made) == []


def test_few_open_files_make_more_processes_and_no_more_cores() -> None:
    made = stream_tier(COSTS, replace(MILLION, open_files=4_096))
    many = stream_tier(COSTS, MILLION)
    assert (made.cores, made.machines) == (many.cores, many.machines)
    assert made.processes_per_machine == 88  # of at most 2,867
    assert made.viewers_per_process <= made.connections_max <= 4_096 - 512
    assert made.open_files == 4_096
    # Eight cores share the work of 88 processes: more are not there.
    assert made.last_ms == pytest.approx(100 + 250_000 / 8 * 0.01, abs=2)
    assert "redis://" in warnings(made)[0]


def test_where_time_is_plenty_heartbeats_bound_a_core() -> None:
    made = stream_tier(COSTS, replace(MILLION, viewers=3_000_000, within_ms=60_000, open_files=10_000_000))
    assert made.cores in (2, 3)
    assert made.steady_core_share <= CORE_SHARE


def test_a_plan_that_no_reader_would_wait_for_says_so() -> None:
    slow = replace(COSTS, accept_s=0.01)
    made = stream_tier(slow, MILLION)
    assert made.reconnect_window_s > 300
    assert "300 s" in warnings(made)[0]


@pytest.mark.parametrize(
    ("demand", "named"),
    [
        (replace(MILLION, within_ms=100), "within 100 ms"),
        (replace(MILLION, within_ms=1), "within 1 ms"),
        (replace(MILLION, open_files=512), "open files 512"),
        (replace(MILLION, open_files=513), "open files 513"),
    ],
)
def test_what_cannot_be_met_is_named(demand: Demand, named: str) -> None:
    with pytest.raises(TooTight, match=named):
        stream_tier(COSTS, demand)


@given(
    st.integers(1, 10_000_000_000),
    st.integers(101, 60_000),
    st.integers(1, 4_096),
    st.integers(514, 10_000_000),
)
def test_every_plan_keeps_what_was_asked_for(
    viewers: int, within_ms: int, cores: int, open_files: int
) -> None:
    made = stream_tier(
        COSTS, Demand(viewers=viewers, within_ms=within_ms, cores=cores, open_files=open_files)
    )
    assert made.machines * made.viewers_per_machine >= viewers
    assert made.processes_per_machine * made.viewers_per_process >= made.viewers_per_machine
    assert made.viewers_per_process <= made.connections_max <= open_files - 512
    assert made.connections_max + 512 <= made.open_files <= open_files
    assert made.last_ms <= within_ms + 1  # it is rounded up
    assert made.steady_core_share <= CORE_SHARE + 1e-4


def test_the_share_for_those_who_come_back_is_the_workers_own() -> None:
    rate = AcceptRate(0.0)
    for _ in range(200):
        rate.observe(1_000, 1.0)
    assert rate.per_s == pytest.approx(SHARE_FOR_ACCEPTING * 1_000)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--viewers", "0"),
        ("--viewers", "-3"),
        ("--viewers", "many"),
        ("--viewers", "99999999999999"),
        ("--within-ms", "0"),
        ("--cores", "0"),
        ("--open-files", "-1"),
        ("--sample", "1"),
    ],
)
def test_bad_input_is_named(option: str, value: str) -> None:
    given_ = {"--viewers": "10"} | {option: value}
    ran = touchline("capacity", *(word for pair in given_.items() for word in pair))
    assert (ran.code, ran.out) == (2, b"")
    assert option in ran.err
    assert value in ran.err
    assert "Traceback" not in ran.err


def marked(mark: str) -> list[str]:
    """The command lines of processes that have inherited a mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.mark.services
def test_it_measures_a_real_server_and_leaves_nothing_behind() -> None:
    mark = uuid.uuid4().hex
    # A bus of somebody else's must not be touched.
    ran = touchline(
        *(
            "capacity",
            "--viewers",
            "1000000",
            "--within-ms",
            "5000",
            "--cores",
            "4",
            "--sample",
            "300",
            "--json",
        ),
        env={
            "BUS_URL": "redis://127.0.0.1:1",
            "TOUCHLINE_STREAM_CONNECTIONS_MAX": "1",
            "CAPACITY_TEST": mark,
        },
    )
    assert (ran.code, ran.err) == (0, "")
    told = json.loads(ran.out)
    measured = told["measured"]
    assert measured["sample_viewers"] == 350
    assert 0 < measured["delivery_s"] < 0.01
    assert 0 < measured["accept_s"] < 0.01
    assert measured["process_bytes"] > 1_000_000
    assert 80 <= measured["frame_bytes"] <= 400
    assert set(told["assumed"]) == {assumption.name for assumption in assumptions()}
    assert told["asked"] | {"open_files": 0} == {
        "viewers": 1_000_000,
        "within_ms": 5_000,
        "cores": 4,
        "open_files": 0,
    }
    assert told["plan"]["last_ms"] <= 5_000
    assert told["settings"]["command"] == f"touchline serve --workers {told['plan']['processes_per_machine']}"
    assert marked(mark) == []


@pytest.mark.services
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_too(tmp_path: Path, number: signal.Signals) -> None:
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "origin", "capacity", "--viewers", "10", "--sample", "2000"]
    with ServerProcess(command, log_path=tmp_path / "log", env={"CAPACITY_TEST": mark}) as capacity:
        capacity.wait_until(lambda: any(" serve " in line for line in marked(mark)))
        capacity.signal(number)
        deadline = time.monotonic() + 60
        while marked(mark) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert marked(mark) == []
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.services
def test_people_are_told_what_was_measured_and_what_was_not() -> None:
    ran = touchline("capacity", "--viewers", "2000", "--within-ms", "5000", "--sample", "300")
    text = ran.out.decode()
    assert ran.code == 0
    parts = re.split(
        r"^(?=Measured here|Assumed, not measured|Plan: arithmetic|Settings of)", text, flags=re.MULTILINE
    )
    assert [part.split(",")[0].split(":")[0].split("\n")[0] for part in parts[1:]] == [
        "Measured here",
        "Assumed",
        "Plan",
        "Settings of each machine",
    ]
    assert all(assumption.name in parts[2] for assumption in assumptions())
    assert "touchline serve --workers 1" in parts[4]
    assert "LimitNOFILE=" in parts[4]


@pytest.mark.services
def test_a_limit_that_holds_no_viewer_is_named() -> None:
    ran = touchline("capacity", "--viewers", "10", "--open-files", "512", "--sample", "100")
    assert (ran.code, ran.out) == (2, b"")
    assert "open files 512" in ran.err
