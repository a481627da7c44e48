"""``touchline log show`` as a shell runs it, on the log of an origin that took webhooks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from flask import Flask

from origin.eventlog import open_eventlog
from origin.ingest.signatures import IngestKey, signed_headers
from shared_state import Event
from testkit.command import Ran, touchline
from testkit.poster import MATCH, event

SCOUT, DESK = b"s" * 32, b"d" * 32


def show(url: str, match_id: str = MATCH) -> Ran:
    return touchline("log", "show", match_id, env={"EVENTLOG_URL": url})


def test_who_said_this_has_an_answer(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    keys = (IngestKey("scout-7", SCOUT), DESK)
    client = make_app(ingest_keys=keys).test_client()
    for key, webhook_id, event_id in ((SCOUT, "msg_1", "g1"), (DESK, "msg_2", "g2")):
        body = json.dumps([event(event_id), event("other", match_id="m2")]).encode()
        headers = signed_headers(key, webhook_id, int(time.time()), body)
        assert client.post("/ingest/canonical", data=body, headers=headers).status_code == 200
    url = f"sqlite:///{tmp_path}/log.db"
    with closing(open_eventlog(url)) as log:
        log.append([Event.from_json(event("g3"))])
        offsets = [record.offset for record in log.read_match(MATCH)]

    ran = show(url)
    assert (ran.code, ran.err) == (0, "")
    records = [json.loads(line) for line in ran.lines]
    assert [record["key"] for record in records] == ["scout-7", "key-2", None]
    assert [record["webhook_id"] for record in records] == ["msg_1", "msg_2", None]
    assert [record["event"]["event_id"] for record in records] == ["g1", "g2", "g3"]
    assert [record["offset"] for record in records] == offsets
    assert list(records[0]) == [
        "partition", "offset", "appended_ms", "time", "key", "webhook_id", "event",
    ]  # fmt: skip
    assert records[0]["time"].startswith(time.strftime("%Y-", time.gmtime(records[0]["appended_ms"] / 1_000)))
    assert records[0]["time"].endswith(f".{records[0]['appended_ms'] % 1_000:03d}Z")


def test_a_match_that_the_log_does_not_have(tmp_path: Path) -> None:
    assert show(f"sqlite:///{tmp_path}/log.db", "nobody") == Ran(
        1, b"", "touchline: the log has no record of match nobody\n"
    )


def test_what_is_no_match_id_is_refused(tmp_path: Path) -> None:
    ran = show(f"sqlite:///{tmp_path}/log.db", "a/b")
    assert ran.code == 2
    assert "'a/b': must be 1 to 64 of" in ran.err


def test_a_log_that_cannot_be_opened(tmp_path: Path) -> None:
    ran = show(f"sqlite:///{tmp_path}")  # a directory
    assert ran.code == 1
    assert ran.err.startswith("Error: the event log")
    assert "Traceback" not in ran.err
