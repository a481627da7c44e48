"""The sum over processes is what one process would show that had counted everything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from origin.metrics import Metrics
from origin.stream.hub.metrics import StreamCollector, StreamMetrics
from origin.web.metric_sum import cumulative, exposition, from_json, summed, to_json

# Whole numbers of quarters: their sums are exact in any order.
SECONDS = st.integers(0, 200).map(lambda number: number / 4)
COUNTED = st.lists(
    st.one_of(
        st.tuples(st.just("ingest"), st.sampled_from(["canonical", "opta"]), st.integers(1, 9)),
        st.tuples(st.just("refused"), st.sampled_from(["full", "unknown_match"]), st.just(1)),
        st.tuples(st.just("seconds"), st.just(""), SECONDS),
        st.tuples(st.just("latency"), st.just(""), SECONDS),
        st.tuples(st.just("viewers"), st.sampled_from(["sse", "websocket"]), st.integers(1, 9)),
    ),
    max_size=12,
)
Counted: TypeAlias = tuple[str, str, float]


class Process:
    """What one worker counts with."""

    def __init__(self, ring_entries: int = 1_024) -> None:
        self.metrics = Metrics()
        self.stream = StreamMetrics(ring_entries=ring_entries)

    def count(self, counted: Counted) -> None:
        what, label, number = counted
        match what:
            case "ingest":
                self.metrics.ingest_accepted.labels(label).inc(number)
            case "refused":
                self.stream.refuse(label)
            case "seconds":
                self.metrics.ingest_seconds.observe(number)
            case "latency":
                self.stream.committed.observe(number, 2)
            case _:
                self.stream.viewers[label] += int(number)

    def families(self) -> list[Metric]:
        return [*self.metrics.registry.collect(), *StreamCollector(self.stream).collect()]


def values(families: Sequence[Metric]) -> dict[tuple[str, str], float]:
    """Every sample in the text format, by name and labels; when counters were created left out."""
    return {
        (sample.name, json.dumps(sample.labels, sort_keys=True)): sample.value
        for family in text_string_to_metric_families(exposition(families).decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(COUNTED, min_size=1, max_size=4))
def test_the_sum_is_what_one_process_would_have_counted(counts: list[list[Counted]]) -> None:
    alone, workers = Process(), []
    for counted in counts:
        workers.append(worker := Process())
        for one in counted:
            worker.count(one)
            alone.count(one)
    assert values(summed(worker.families() for worker in workers)) == values(alone.families())


@given(COUNTED)
def test_families_survive_the_file(counted: list[Counted]) -> None:
    process = Process()
    for one in counted:
        process.count(one)
    found = process.families()
    assert exposition(from_json(json.loads(json.dumps(to_json(found))))) == exposition(found)


def test_what_a_process_leaves_behind_is_what_only_grows() -> None:
    process = Process()
    process.count(("viewers", "sse", 3))
    process.count(("ingest", "canonical", 2))
    left = values(cumulative(process.families()))
    assert left["touchline_ingest_accepted_events_total", '{"feed": "canonical"}'] == 2
    assert ("touchline_ingest_seconds_count", "{}") in left
    assert not [name for name, _ in left if "viewers" in name or "matches" in name]


def test_one_process_without_io_uring_is_seen() -> None:
    with_ring, without = Process(ring_entries=1_024), Process(ring_entries=0)
    assert (
        values(summed([with_ring.families(), without.families()]))["touchline_stream_ring_entries", "{}"] == 0
    )


def test_the_clock_of_the_machine_is_not_counted_once_for_each_process() -> None:
    first, second = Process(), Process()
    for process, ahead_s in ((first, 90.0), (second, 91.0)):
        process.metrics.clock_ahead.set(ahead_s)
    counted = values(summed([first.families(), second.families()]))
    assert counted["touchline_eventlog_clock_ahead_seconds", "{}"] == 91.0


def test_a_counter_was_created_when_the_first_process_made_it() -> None:
    first, second = Process(), Process()
    for process in (second, first):
        process.count(("ingest", "canonical", 1))
    created = [
        sample.value
        for families in (summed([first.families(), second.families()]), second.families())
        for family in families
        for sample in family.samples
        if sample.name == "touchline_ingest_accepted_events_created"
    ]
    assert created[0] == created[1]  # second.count came first
