"""``touchline doctor`` as a shell runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.ports import free_port
from testkit.command import Ran, touchline
from testkit.faults.bad_proxies import BadProxy, Fault
from testkit.services.origin import OriginServer

pytestmark = pytest.mark.services

FINAL = Path(__file__).parents[2] / "origin" / "demo" / "final-2018.jsonl"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    quick = {"TOUCHLINE_STREAM_HEARTBEAT_S": "0.5", "TOUCHLINE_STREAM_LONG_POLL_SLICE_S": "1"}
    with OriginServer(tmp_path_factory.mktemp("origin"), env=quick, admin=True) as server:
        server.post_file(FINAL, last=15)
        yield server


@pytest.fixture(scope="module")
def ran(origin: OriginServer) -> Iterator[dict[str, Ran]]:
    """Four runs at once."""
    with (
        BadProxy(origin.port, Fault(drop=["access-control-allow-origin"])) as bad,
        BadProxy(origin.port, Fault()) as no_websocket,
        ThreadPoolExecutor(4) as pool,
    ):
        runs = {
            "fine": [origin.url],
            "error": [bad.url],
            "json": [bad.url, "--json"],
            "warning": [f"{no_websocket.url}/match/2018-07-15-france-croatia"],
        }
        running = {
            name: pool.submit(touchline, "doctor", *words, "--listen", "1") for name, words in runs.items()
        }
        yield {name: one.result() for name, one in running.items()}


def test_a_set_up_without_a_finding_is_0(ran: dict[str, Ran]) -> None:
    assert (ran["fine"].code, ran["fine"].err) == (0, "")
    assert ran["fine"].lines[-1].startswith(b"nothing is wrong; ")


def test_an_error_is_1_and_says_what_to_change(ran: dict[str, Ran]) -> None:
    assert ran["error"].code == ran["json"].code == 1
    assert b"error: cors: " in ran["error"].out
    assert b"    change  " in ran["error"].out
    content = json.loads(ran["json"].out)
    [cors] = [finding for finding in content["findings"] if finding["code"] == "cors"]
    assert (cors["severity"], cors["url"].startswith("http://127.0.0.1:")) == ("error", True)
    assert content["asked"] > 30


def test_a_warning_alone_is_0(ran: dict[str, Ran]) -> None:
    # It passes no WebSockets on.
    assert ran["warning"].code == 0
    assert ran["warning"].lines[0].startswith(b"warning: websocket: ")


def test_what_cannot_be_asked_is_2() -> None:
    ran = touchline("doctor", f"http://127.0.0.1:{free_port()}")
    assert (ran.code, ran.out) == (2, b"")
    assert "refused" in ran.err
    ran = touchline("doctor", "gopher://x.example")
    assert (ran.code, ran.out) == (2, b"")
    assert "'gopher://x.example'" in ran.err
