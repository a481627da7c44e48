"""What the stream tier counts: plain numbers, turned into Prometheus' families when somebody asks.

A counter object per event would cost more than the event: each send is 9 µs, nearly all of it the
kernel's. Here a fan-out to 20,000 viewers adds a few dozen times to an integer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

__all__ = ["LATENCY_BOUNDS_S", "LatencyHistogram", "StreamCollector", "StreamMetrics"]

LATENCY_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 30.0)


@dataclass(slots=True)
class LatencyHistogram:
    """How many deliveries took how long."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))
    sum_s: float = 0.0

    def observe(self, latency_s: float, times: int) -> None:
        """``times`` deliveries took ``latency_s`` each."""
        self.counts[bisect_left(LATENCY_BOUNDS_S, latency_s)] += times
        self.sum_s += latency_s * times


@dataclass(slots=True)
class StreamMetrics:
    """The numbers of one process.

    Attributes:
        viewers: viewers connected now, by transport.
        matches: matches subscribed now.
        accepted: viewers ever taken, by transport.
        deliveries, bytes: frames written to viewers, and their bytes; deltas and gaps, not heartbeats.
        heartbeats: heartbeats written.
        replays: answers to arriving viewers, by kind.
        gaps: times the deltas of a match were lost for good, and all its viewers sent to the snapshot.
        refused: requests that were not granted, by code.
        closed: viewers that ended, by why.
        evicted: connections that are no viewers and were closed because others needed their files.
        polls_held: long-polls that wait now.
        polls: long-polls answered with 200, by kind.
        ring_entries: viewers sent to by one call; 0 if each is by a call of its own.
        accept_rate: viewers per second this process can take, as measured.
        committed: from the log's taking an event to the viewer's frame being written.
        received: from the bus's delivery to this process until the viewer's frame being written.
        goal_socket: of goals and of retractions: from the log's taking it until it was sent to all viewers
            here, once for each delta.
    """

    viewers: dict[str, int] = field(default_factory=lambda: {"sse": 0, "sse_multi": 0, "websocket": 0})
    matches: int = 0
    accepted: dict[str, int] = field(default_factory=lambda: {"sse": 0, "sse_multi": 0, "websocket": 0})
    deliveries: int = 0
    bytes: int = 0
    heartbeats: int = 0
    replays: dict[str, int] = field(default_factory=lambda: {"up_to_date": 0, "replay": 0, "gap": 0})
    gaps: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    evicted: int = 0
    polls_held: int = 0
    polls: dict[str, int] = field(default_factory=lambda: {"deltas": 0, "silence": 0, "ended": 0})
    ring_entries: int = 0
    accept_rate: float = 0.0
    committed: LatencyHistogram = field(default_factory=LatencyHistogram)
    received: LatencyHistogram = field(default_factory=LatencyHistogram)
    goal_socket: dict[str, LatencyHistogram] = field(
        default_factory=lambda: {"goal": LatencyHistogram(), "retract": LatencyHistogram()}
    )

    def refuse(self, code: str) -> None:
        """Count a refusal."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def close(self, why: str) -> None:
        """Count an ended viewer."""
        self.closed[why] = self.closed.get(why, 0) + 1


class StreamCollector(Collector):
    """Register this in a ``CollectorRegistry`` and ``/metrics`` has the stream tier's numbers."""

    def __init__(self, metrics: StreamMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client, on the thread that serves ``/metrics``."""
        metrics = self._metrics
        yield _gauges("touchline_stream_viewers", "Viewers connected now", "transport", metrics.viewers)
        yield GaugeMetricFamily("touchline_stream_matches", "Matches subscribed now", value=metrics.matches)
        yield GaugeMetricFamily(
            "touchline_stream_ring_entries",
            "Viewers sent to by one call of io_uring, 0 if each is sent to by a call of its own",
            value=metrics.ring_entries,
        )
        yield GaugeMetricFamily(
            "touchline_stream_accept_rate",
            "Viewers per second this process can take, as measured",
            value=metrics.accept_rate,
        )
        yield _counters("touchline_stream_accepted", "Viewers ever taken", "transport", metrics.accepted)
        yield _counter("touchline_stream_deliveries", "Frames written to viewers", metrics.deliveries)
        yield _counter("touchline_stream_bytes", "Bytes of those frames", metrics.bytes)
        yield _counter("touchline_stream_heartbeats", "Heartbeats written to viewers", metrics.heartbeats)
        yield _counters("touchline_stream_replays", "Answers to arriving viewers", "answer", metrics.replays)
        yield _counter(
            "touchline_stream_gaps", "Times all viewers of a match were sent to the snapshot", metrics.gaps
        )
        yield GaugeMetricFamily(
            "touchline_stream_polls_held", "Long-polls that wait now", value=metrics.polls_held
        )
        yield _counters("touchline_stream_polls", "Long-polls answered", "answer", metrics.polls)
        yield _counters("touchline_stream_refused", "Requests not granted", "code", metrics.refused)
        yield _counters("touchline_stream_closed", "Viewers that ended", "why", metrics.closed)
        yield _counter(
            "touchline_stream_evicted",
            "Connections that are no viewers and were closed for their files",
            metrics.evicted,
        )
        yield _histogram(
            "touchline_stream_commit_seconds",
            "From the log's taking an event to its frame being written to a viewer",
            metrics.committed,
        )
        yield _histogram(
            "touchline_stream_receive_seconds",
            "From the bus's delivery to this process until the frame being written to a viewer",
            metrics.received,
        )
        yield _histograms(
            "touchline_stream_goal_socket_seconds",
            "From the log's taking a goal or a retraction until all viewers of a worker were sent it",
            "kind",
            metrics.goal_socket,
        )


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _counters(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in list(values.items()):
        family.add_metric([key], value)
    return family


def _gauges(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in list(values.items()):
        family.add_metric([key], value)
    return family


def _histogram(name: str, text: str, histogram: LatencyHistogram) -> Metric:
    return HistogramMetricFamily(name, text, buckets=_buckets(histogram), sum_value=histogram.sum_s)


def _histograms(name: str, text: str, label: str, histograms: dict[str, LatencyHistogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=[label])
    for key, histogram in histograms.items():
        family.add_metric([key], _buckets(histogram), histogram.sum_s)
    return family


def _buckets(histogram: LatencyHistogram) -> list[tuple[str, float]]:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*LATENCY_BOUNDS_S, float("inf")), list(histogram.counts), strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
    return buckets
