"""``kill -9`` of the origin at any moment loses no acknowledged event."""

from __future__ import annotations

import http.client
import json
import random
import time
from pathlib import Path

import pytest

from origin.eventlog.sqlite import SqliteEventLog
from origin.ingest.signatures import signed_headers
from shared_state import Replica
from testkit.poster import KEY, MATCH, event
from testkit.services.origin import OriginServer

KILLS = 3


def post_until_it_dies(server: OriginServer, first: int, kill_after_s: float) -> list[str]:
    """Post one event after another and kill the server in between; the ids that were acknowledged."""
    acknowledged: list[str] = []
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    deadline = time.monotonic() + kill_after_s
    number = first
    while True:
        number += 1
        body = json.dumps(event(f"e{number}", "NOTE", detail={"text": f"note {number}"})).encode()
        headers = signed_headers(KEY, f"m{number}", int(time.time()), body)
        try:
            connection.request("POST", "/ingest/canonical", body, headers)
            if time.monotonic() >= deadline:
                server.kill()  # in flight: the request is written, its answer not yet read
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return acknowledged
        if response.status == 200:
            acknowledged.append(f"e{number}")


@pytest.mark.services
def test_kill_9_loses_no_acknowledged_event(tmp_path: Path) -> None:
    server = OriginServer(tmp_path)
    draw = random.Random(2018)
    acknowledged: list[str] = []
    for run in range(KILLS):
        with server:
            acknowledged += post_until_it_dies(server, run * 100_000, draw.uniform(0.05, 0.5))
    assert len(acknowledged) > KILLS
    log = SqliteEventLog(server.log_path)
    logged = [record.event.event_id for record in log.read_match(MATCH)]
    log.close()
    assert len(logged) == len(set(logged))
    assert set(acknowledged) <= set(logged)
    # And what the log has, the next start shows.
    with server:
        state = server.wait_for_seq(MATCH, len(logged))
        replica = Replica.restore(json.dumps(state))
        assert {shown.event_id for shown in replica.match.events()} == set(logged)
