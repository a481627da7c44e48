"""An origin whose clock jumps ahead by ten years, and back by days: the dates of its log stay right."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from origin.eventlog import open_eventlog
from origin.ingest.signatures import signed_headers
from shared_state.jsontext import JsonObject
from testkit.poster import event
from testkit.services.clock import WallClock
from testkit.services.origin import KEY, OriginServer

pytestmark = pytest.mark.services

TEN_YEARS_S = 3_650 * 86_400


def post(origin: OriginServer, ahead_s: int, *events: JsonObject) -> None:
    """Post as a sender whose clock is as wrong as the origin's: others are refused meanwhile."""
    body = json.dumps(events).encode()
    headers = signed_headers(KEY, f"msg_{time.time_ns()}", int(time.time()) + ahead_s, body)
    request = urllib.request.Request(origin.url + "/ingest/canonical", body, dict(headers))
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200


def clock_ahead_s(origin: OriginServer) -> float:
    found = re.search(rb"(?m)^touchline_eventlog_clock_ahead_seconds (\S+)$", origin.get("/metrics")[1])
    assert found
    return float(found[1])


def test_a_jump_ahead_and_back_leaves_no_wrong_date(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    began_ms = time.time_ns() // 1_000_000
    with OriginServer(tmp_path, env=clock.env) as origin:
        post(origin, 0, event("g1", match_id="m1"))
        assert clock_ahead_s(origin) == 0
        clock.shift(TEN_YEARS_S * 1_000)
        post(origin, TEN_YEARS_S, event("g2", match_id="m1"), event("g1", match_id="begun-meanwhile"))
        assert clock_ahead_s(origin) > TEN_YEARS_S - 60
        assert origin.status("/readyz") == 200  # viewers miss nothing
        clock.shift(0)
        post(origin, 0, event("g3", match_id="m1"), event("g1", match_id="begun-afterwards"))
        assert clock_ahead_s(origin) == 0
        clock.shift(-2 * 86_400_000)
        post(origin, -2 * 86_400, event("g4", match_id="m1"))
        clock.shift(0)
        post(origin, 0, event("g5", match_id="m1"))
        assert origin.wait_for_seq("m1", 5)["seq"] == 5
    ended_ms = time.time_ns() // 1_000_000
    with closing(open_eventlog(f"sqlite:///{origin.log_path}")) as log:
        for match_id, count in (("m1", 5), ("begun-meanwhile", 1), ("begun-afterwards", 1)):
            dates = [record.appended_ms for record in log.read_match(match_id)]
            assert len(dates) == count
            assert dates == sorted(dates)
            assert began_ms - 1 <= dates[0] <= dates[-1] <= ended_ms + 1
