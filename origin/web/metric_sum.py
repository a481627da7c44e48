"""Add up the metrics of several processes, as if one process had counted everything. Values only.

prometheus_client has a multiprocess mode of its own, but it is switched on by an environment variable that is
read at import, it knows nothing of the stream tier's plain integers, and one process can then have only one
registry. So the families are added here, whatever collected them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import add
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shared_state.jsontext import JsonObject

__all__ = ["cumulative", "exposition", "from_json", "summed", "to_json"]

# These grow for as long as a process lives, and must not fall when it ends.
_CUMULATIVE_TYPES: Final = ("counter", "histogram", "summary")
# An operator asks these whether any process is without: the smallest one answers, and not the sum.
_SMALLEST: Final = frozenset({"touchline_stream_ring_entries", "touchline_eventlog_disk_free_bytes"})
# The processes of a machine share its clock and its file; of the rest, the one that is worse off counts.
_LARGEST: Final = frozenset(
    {
        "touchline_eventlog_clock_ahead_seconds",
        "touchline_eventlog_read_only",
        "touchline_canary_age_seconds",
        "touchline_canary_behind_beats",
        "touchline_canary_peers",
        "touchline_ladder_automatic_step",
        "touchline_ladder_step",
        "touchline_stream_loop_delay_seconds",
    }
)
_CREATED: Final = "_created"


def to_json(families: Iterable[Metric]) -> list[JsonObject]:
    """Families as plain JSON values; ``from_json`` is the way back."""
    return [
        {
            "name": family.name,
            "help": family.documentation,
            "type": family.type,
            "samples": [[sample.name, dict(sample.labels), sample.value] for sample in family.samples],
        }
        for family in families
    ]


def from_json(values: Iterable[JsonObject]) -> list[Metric]:
    """The families that ``to_json`` wrote.

    Raises:
        KeyError, TypeError, ValueError: it did not write that.
    """
    families = []
    for value in values:
        family = Metric(value["name"], value["help"], value["type"])
        for name, labels, number in value["samples"]:
            family.add_sample(name, labels, float(number))
        families.append(family)
    return families


def cumulative(families: Iterable[Metric]) -> list[Metric]:
    """Those that a process leaves behind when it ends: counters and histograms, and no gauges."""
    return [family for family in families if family.type in _CUMULATIVE_TYPES]


def summed(processes: Iterable[Iterable[Metric]]) -> list[Metric]:
    """One family for all of a name: the sum, sample by sample.

    Counters, buckets of histograms and gauges are added. Of the times at which a counter was created the
    earliest counts.

    Args:
        processes: the families of each process.
    """
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for process in processes:
        for family in process:
            families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            samples = values.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                combine = _combination(family.name, sample.name)
                samples[key] = combine(samples[key], sample.value) if key in samples else sample.value
    for name, family in families.items():
        for (sample_name, labels), value in values[name].items():
            family.add_sample(sample_name, dict(labels), value)
    return list(families.values())


def exposition(families: Iterable[Metric]) -> bytes:
    """The families in Prometheus' text format."""
    return generate_latest(_Collected(families))


def _combination(family: str, sample: str) -> Callable[[float, float], float]:
    if family in _SMALLEST or sample == family + _CREATED:
        return min
    if family in _LARGEST:
        return max
    return add


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)
