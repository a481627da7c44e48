"""``touchline doctor`` as a shell runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.command import touchline
from testkit.faults.bad_proxies import BadProxy, Fault
from testkit.services.origin import OriginServer
from testkit.services.process import free_port

pytestmark = pytest.mark.services

FINAL = Path(__file__).parents[2] / "origin" / "demo" / "final-2018.jsonl"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    quick = {"TOUCHLINE_STREAM_HEARTBEAT_S": "0.5", "TOUCHLINE_STREAM_LONG_POLL_SLICE_S": "1"}
    with OriginServer(tmp_path_factory.mktemp("origin"), env=quick, admin=True) as server:
        server.post_file(FINAL, last=15)
        yield server


def test_a_set_up_without_a_finding_is_0(origin: OriginServer) -> None:
    ran = touchline("doctor", origin.url, "--listen", "2")
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[-1].startswith(b"nothing is wrong; ")


def test_an_error_is_1_and_says_what_to_change(origin: OriginServer) -> None:
    with BadProxy(origin.port, Fault(drop=["access-control-allow-origin"])) as proxy:
        ran = touchline("doctor", proxy.url, "--listen", "2")
        told = json.loads(touchline("doctor", proxy.url, "--listen", "2", "--json").out)
    assert ran.code == 1
    assert b"error: cors: " in ran.out
    assert b"    change  " in ran.out
    [cors] = [finding for finding in told["findings"] if finding["code"] == "cors"]
    assert (cors["severity"], cors["url"].startswith(proxy.url)) == ("error", True)
    assert told["asked"] > 30


def test_a_warning_alone_is_0(origin: OriginServer) -> None:
    with BadProxy(origin.port, Fault()) as proxy:  # it does not pass WebSockets on
        ran = touchline("doctor", f"{proxy.url}/match/2018-07-15-france-croatia", "--listen", "2")
    assert ran.code == 0
    assert ran.lines[0].startswith(b"warning: websocket: ")


def test_what_cannot_be_asked_is_2() -> None:
    ran = touchline("doctor", f"http://127.0.0.1:{free_port()}")
    assert (ran.code, ran.out) == (2, b"")
    assert "refused" in ran.err
    ran = touchline("doctor", "gopher://x.example")
    assert (ran.code, ran.out) == (2, b"")
    assert "'gopher://x.example'" in ran.err
