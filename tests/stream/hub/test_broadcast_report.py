"""What is measured and logged of a broadcast: once for each delta and worker, however many watch."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from origin.bus import Published
from origin.provenance import Provenance
from origin.stream.hub.broadcast_report import kind_of
from origin.stream.hub.metrics import LATENCY_BOUNDS_S, StreamCollector
from shared_state import Event, encode_delta
from testkit.worlds.hub import EPOCH, MATCH, Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.end()


def publish(bench: Bench, provenance: Provenance | None = None, /, **fields: object) -> None:
    number = bench.origin.position.seq + 1
    event = Event.from_json(
        {
            "match_id": MATCH,
            "event_id": f"e{number}",
            "rev": 1,
            "op": "ADD",
            "type": "GOAL",
            "period": "H1",
            "minute": 1,
            "team": "home",
            **fields,
        }
    )
    delta = bench.origin.assign(event, EPOCH + number)
    assert delta is not None
    bench.bus.publish(MATCH, Published(delta.id, encode_delta(delta), provenance), bench.origin.snapshot())
    bench.settle()


def counts(bench: Bench) -> dict[str, int]:
    measured = bench.world.hub.metrics.goal_socket
    return {kind: sum(histogram.counts) for kind, histogram in measured.items()}


def test_a_goal_counts_once_for_all_its_viewers_and_a_retraction_too(bench: Bench) -> None:
    publish(bench)
    for number in range(20):
        bench.viewer(websocket=number % 2 == 0)
    bench.settle()
    publish(bench, event_id="g")
    assert counts(bench) == {"goal": 1, "retract": 0}
    publish(bench, event_id="g", op="RETRACT", type=None, team=None, minute=None, period=None)
    assert counts(bench) == {"goal": 1, "retract": 1}
    publish(bench, type="YELLOW_CARD")
    publish(bench, event_id="g2", rev=1)
    publish(bench, event_id="g2", rev=2, op="AMEND", player="P")
    assert counts(bench) == {"goal": 2, "retract": 1}
    # The log took them in 2018.
    assert bench.world.hub.metrics.goal_socket["goal"].counts[len(LATENCY_BOUNDS_S)] == 2


def test_what_nobody_waits_for_is_not_measured(bench: Bench) -> None:
    publish(bench)
    viewer = bench.viewer()
    bench.settle()
    viewer.disconnect()
    bench.settle()
    publish(bench)
    assert counts(bench) == {"goal": 0, "retract": 0}


def test_the_histograms_are_published_by_kind(bench: Bench) -> None:
    families = {family.name: family for family in StreamCollector(bench.world.hub.metrics).collect()}
    samples = families["touchline_stream_goal_socket_seconds"].samples
    assert {sample.labels["kind"] for sample in samples} == {"goal", "retract"}
    assert len({sample.labels["le"] for sample in samples if sample.name.endswith("_bucket")}) == 13


def test_a_line_for_each_delta_and_not_for_each_viewer(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    publish(bench)
    for _ in range(20):
        bench.viewer()
    bench.settle()
    caplog.clear()
    with caplog.at_level("INFO", logger="origin.stream.hub.broadcast_report"):
        publish(bench, Provenance("msg_1", "scout", "00-" + "1" * 32 + "-" + "2" * 16 + "-01"))
        publish(bench)
    lines = [record.msg for record in caplog.records if record.name.endswith("broadcast_report")]
    assert lines == [
        {
            "event": "sent",
            "match_id": MATCH,
            "delta_id": f"{EPOCH}-2",
            "viewers": 20,
            "webhook_id": "msg_1",
            "key_name": "scout",
            "trace_id": "1" * 32,
        },
        {"event": "sent", "match_id": MATCH, "delta_id": f"{EPOCH}-3", "viewers": 20},
    ]


def test_above_info_nothing_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    publish(bench)
    bench.viewer()
    bench.settle()
    with caplog.at_level(logging.WARNING):
        publish(bench, Provenance("msg_1"))
    assert [record for record in caplog.records if record.name.endswith("broadcast_report")] == []


@pytest.mark.parametrize("delta", [b"", b"{", b"[]", b'{"t":1}', b'{"o":null}', b'{"a":"x"}'])
def test_a_delta_that_cannot_be_read_is_of_no_kind(delta: bytes) -> None:
    assert kind_of(delta) == ("", 0)


@pytest.mark.parametrize(
    ("delta", "kind"),
    [
        ({"e": "g", "t": "GOAL", "a": 7}, ("goal", 7)),
        ({"e": "g", "t": "GOAL", "o": "AMEND", "a": 7}, ("", 7)),
        ({"e": "g", "o": "RETRACT"}, ("retract", 0)),
        ({"e": "g", "t": "A_TYPE_TO_COME", "a": 7}, ("", 7)),
    ],
)
def test_the_kind_of_a_delta(delta: dict[str, object], kind: tuple[str, int]) -> None:
    assert kind_of(json.dumps(delta).encode()) == kind
