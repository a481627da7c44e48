"""What ``/metrics`` shows of the ladder and the canary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from origin.canary.beats import Beats

__all__ = ["RegionCollector", "RegionNumbers"]


@dataclass(slots=True)
class RegionNumbers:
    """The numbers of one worker.

    Attributes:
        step: of the ladder, that pages are told.
        automatic_step: the part of it that this worker took by its own load.
        loop_delay_s: how long the stream worker's loop took to come round, seconds.
        canary_age_s: how old what this worker knows is, seconds; 0 without a canary.
        behind_beats: by how many beats it is behind the median of its peers.
        peers: how many other servers of the region it hears of.
        beats_heard: how many came to its viewer.
    """

    step: int = 0
    automatic_step: int = 0
    loop_delay_s: float = 0.0
    canary_age_s: float = 0.0
    behind_beats: int = 0
    peers: int = 0
    beats_heard: int = 0


class RegionCollector(Collector):
    """Register this in a ``CollectorRegistry``.

    Args:
        numbers: of this worker.
        beats: what it appends; None without a canary.
    """

    def __init__(self, numbers: RegionNumbers, beats: Beats | None) -> None:
        self._numbers = numbers
        self._beats = beats

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client, on the thread that serves ``/metrics``."""
        numbers, beats = self._numbers, self._beats
        yield _gauge(
            "touchline_ladder_step", "The step of the panic ladder that pages are told", numbers.step
        )
        yield _gauge(
            "touchline_ladder_automatic_step",
            "The step that a worker has taken by its own load",
            numbers.automatic_step,
        )
        yield _gauge(
            "touchline_stream_loop_delay_seconds",
            "How long the stream worker's loop took to come round",
            numbers.loop_delay_s,
        )
        yield _gauge(
            "touchline_canary_age_seconds",
            "How old what this server knows is, by the canary",
            numbers.canary_age_s,
        )
        yield _gauge(
            "touchline_canary_behind_beats",
            "Beats of the canary by which this server is behind the median of its peers",
            numbers.behind_beats,
        )
        yield _gauge("touchline_canary_peers", "Other servers of the region that report", numbers.peers)
        yield CounterMetricFamily(
            "touchline_canary_heard", "Beats of the canary that came to a viewer", value=numbers.beats_heard
        )
        appended = CounterMetricFamily(
            "touchline_canary_appended", "Beats of the canary given to the log, by result", labels=["result"]
        )
        appended.add_metric(["appended"], 0 if beats is None else beats.appended)
        appended.add_metric(["failed"], 0 if beats is None else beats.failed)
        yield appended


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
