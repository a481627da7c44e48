"""One goal through three processes: its webhook-id in every log, and its spans in one trace."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from origin.eventlog.sqlite import SqliteEventLog
from origin.ingest.signatures import signed_headers
from shared_state.jsontext import JsonObject
from testkit.poster import MATCH, event
from testkit.services.origin import KEY, OriginServer
from testkit.services.otlp import Collected, OtlpCollector
from testkit.services.process import ServerProcess
from testkit.services.redis import RedisServer

pytestmark = pytest.mark.services

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SENDER = "00f067aa0ba902b7"
WEBHOOK = "msg_of_the_goal"
PATIENCE_S = 30.0


class Way(NamedTuple):
    """What one goal has left behind.

    Attributes:
        spans: of the whole trace.
        origin, fanout: the lines of the two processes.
        received: what a viewer got.
        log: the file of the event log.
    """

    spans: list[Collected]
    origin: list[JsonObject]
    fanout: list[JsonObject]
    received: bytes
    log: Path


def post(server: OriginServer, webhook_id: str, *events: JsonObject, **headers: str) -> int:
    body = "\n".join(json.dumps(item) for item in events).encode()
    signed = signed_headers(KEY, webhook_id, int(time.time()), body)
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("POST", "/ingest/canonical", body, {**signed, **headers})
        return connection.getresponse().status


def lines_of(path: Path) -> list[JsonObject]:
    """Its lines, all of which are JSON but for what a command says where it listens."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if not line.startswith("touchline: http://")]


def received_until(server: OriginServer, after: str, wanted: bytes, then: object) -> bytes:
    """What a viewer of the match gets, from an id on, until something is in it; ``then`` is called first."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)) as connection:
        connection.request("GET", f"/stream/{MATCH}", headers={"Last-Event-ID": after})
        response = connection.getresponse()
        assert response.status == 200
        assert callable(then)
        then()
        received = b""
        while wanted not in received:
            line = response.readline()
            assert line, received
            received += line
        return received + response.readline()


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    directory = tmp_path_factory.mktemp("way")
    collector = OtlpCollector()
    redis = RedisServer(directory)
    env = {
        "EVENTLOG_URL": f"sqlite:///{directory / 'log.db'}",
        "BUS_URL": redis.url,
        "TOUCHLINE_LOG_LEVEL": "info",
        "TOUCHLINE_LOG_FORMAT": "json",
        "TOUCHLINE_TRACES_URL": collector.url,
    }
    fanout = ServerProcess(
        [sys.executable, "-m", "origin", "fanout"], log_path=directory / "fanout.log", env=env
    )
    server = OriginServer(directory, env=env)
    try:
        server.start()
        assert post(server, "msg_first", event("g0")) == 200
        head = server.wait_for_seq(MATCH, 1, PATIENCE_S)
        received = received_until(
            server,
            f"{head['epoch']}-{head['seq']}",
            b'"e":"g1"',
            lambda: post(server, WEBHOOK, event("g1"), traceparent=f"00-{TRACE}-{SENDER}-01"),
        )
        names = {"ingest", "eventlog append", "fan-out", "stream"}
        spans = collector.wait_for(
            lambda spans: {span.name for span in spans if span.trace_id == TRACE} >= names
        )
        server.stop()
        fanout.stop()
        yield Way(
            [span for span in spans if span.trace_id == TRACE],
            lines_of(directory / "origin.log"),
            lines_of(directory / "fanout.log"),
            received,
            directory / "log.db",
        )
    finally:
        server.stop()
        fanout.stop()
        redis.stop()
        collector.close()


def test_the_spans_of_three_processes_are_one_trace_that_the_sender_began(way: Way) -> None:
    by_name = {span.name: span for span in way.spans}
    assert len(way.spans) == 4, way.spans
    ingest, stored = by_name["ingest"], by_name["eventlog append"]
    fanout, stream = by_name["fan-out"], by_name["stream"]
    assert (ingest.parent_id, stored.parent_id) == (SENDER, ingest.span_id)
    assert (fanout.parent_id, stream.parent_id) == (ingest.span_id, fanout.span_id)
    assert (ingest.service, fanout.service, stream.service) == (
        "touchline-serve",
        "touchline-fanout",
        "touchline-serve",
    )
    assert ingest.attributes["touchline.webhook_id"] == WEBHOOK
    assert stream.attributes["touchline.delta_id"] == fanout.attributes["touchline.delta_id"]
    assert stream.attributes["touchline.viewers"] == "1"
    assert all(span.start_ns <= span.end_ns for span in way.spans)


def test_the_record_has_the_trace_and_who_brought_it(way: Way) -> None:
    with closing(SqliteEventLog(way.log)) as log:
        record = list(log.read_match(MATCH))[1]
    ingest = next(span for span in way.spans if span.name == "ingest")
    assert record.traceparent == f"00-{TRACE}-{ingest.span_id}-01"
    assert record.signed_by is not None
    assert (record.signed_by.webhook_id, record.signed_by.key_name) == (WEBHOOK, "key-1")


def test_the_webhook_id_is_found_at_each_tier(way: Way) -> None:
    found = [
        (line["logger"], line["event"])
        for line in (*way.origin, *way.fanout)
        if line.get("webhook_id") == WEBHOOK
    ]
    assert sorted(found) == [
        ("origin.bus.redis_store", "stored"),
        ("origin.fanout.worker", "published"),
        ("origin.stream.hub.broadcast_report", "sent"),
        ("origin.web.webhook", "acknowledged"),
    ]
    lines = [line for line in (*way.origin, *way.fanout) if line.get("webhook_id") == WEBHOOK]
    for line in lines:
        assert (line["match_id"], line["key_name"], line["trace_id"]) == (MATCH, "key-1", TRACE)
    ids = {line["delta_id"] for line in lines if line["event"] != "acknowledged"}
    assert len(ids) == 1
    sent = next(line for line in lines if line["event"] == "sent")
    assert sent["viewers"] == 1


def test_the_viewer_gets_nothing_of_it(way: Way) -> None:
    assert b'"e":"g1"' in way.received
    for secret in (TRACE, WEBHOOK, "key-1"):
        assert secret.encode() not in way.received
