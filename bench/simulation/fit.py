"""The parameters of the capacity model, taken out of ``bench/results`` and written beside the model.

Nothing is measured here, and no figure is typed: each is read from the file of a run, by a key.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.results import RESULTS
from origin.capacity.constants import MEASUREMENTS_FILE

__all__ = ["FITTED", "TARGET", "fit", "write_measurements"]

TARGET: Final = RESULTS.parent.parent / "origin" / "capacity" / MEASUREMENTS_FILE


class Fitted(NamedTuple):
    """Where a constant is from.

    Attributes:
        file: under ``bench/results``.
        key: names with dots between them; ``[]`` stands for every element of a list, ``[a=b]`` for those
            whose ``a`` is ``b``. Of several values the median is taken.
        factor: from the unit of the file to that of the constant.
    """

    unit: str
    file: str
    key: str
    factor: float
    meaning: str


_OURS = "servers[name=ours].samples[]"
FITTED: Final[Mapping[str, Fitted]] = {
    "accept_s": Fitted(
        "s", "stream-house-after", f"{_OURS}.cpu_per_accept_us", 1e-6, "CPU for a viewer that comes"
    ),
    "delivery_s": Fitted(
        "s", "stream-house-after", f"{_OURS}.cpu_per_delivery_us", 1e-6, "CPU for one frame to one viewer"
    ),
    "receipt_s": Fitted(
        "s",
        "stream-house-after",
        f"{_OURS}.client_cpu_per_delivery_us",
        1e-6,
        "CPU of the load client for one frame; it shares the machine in every run",
    ),
    "viewer_bytes": Fitted(
        "bytes",
        "stream-house-after",
        f"{_OURS}.memory_per_connection_bytes",
        1,
        "memory of a process for one viewer",
    ),
    "frame_bytes": Fitted("bytes", "stream-house-after", f"{_OURS}.frame_bytes", 1, "one delta as sent"),
    "process_bytes": Fitted(
        "bytes", "stream-scale", "samples[].resident_mb[]", 2**20, "memory of a process without viewers"
    ),
    "first_s": Fitted(
        "s",
        "stream-pages",
        "samples[].quiet[].first_ms",
        1e-3,
        "from the post of an event to the first viewer, all on one machine",
    ),
    "acknowledged_s": Fitted(
        "s",
        "cluster",
        "delivery.without_nginx.posted_to_acknowledged_ms.p50",
        1e-3,
        "from the post of an event until Kafka has it, median",
    ),
    "acknowledged_min_s": Fitted(
        "s", "cluster", "delivery.without_nginx.posted_to_acknowledged_ms.min", 1e-3, "the same, the fastest"
    ),
    "acknowledged_max_s": Fitted(
        "s", "cluster", "delivery.without_nginx.posted_to_acknowledged_ms.max", 1e-3, "the same, the slowest"
    ),
    "cluster_first_s": Fitted(
        "s",
        "cluster",
        "delivery.without_nginx.posted_to_first_viewer_ms.p50",
        1e-3,
        "from the post through Kafka, fan-out and Redis to the first viewer, median",
    ),
    "fanout_event_s": Fitted(
        "s", "cluster", "worker.worker_cpu_us_per_event", 1e-6, "CPU of a fan-out worker for an event"
    ),
    "fanout_events_per_s": Fitted(
        "1/s", "cluster", "worker.events_per_s", 1, "events of one fan-out worker, its Redis beside it"
    ),
    "refill_deltas_per_s": Fitted(
        "1/s", "cluster", "worker.refill_deltas_per_s", 1, "deltas from the log into an empty Redis"
    ),
    "rebalance_s": Fitted(
        "s",
        "cluster",
        "faults[fault=all workers of all regions killed with -9].gap_s",
        1,
        "until fan-out goes on after its workers were killed",
    ),
    "redis_publish_s": Fitted(
        "s",
        "bus-publish",
        "rows[origins=0].redis_cpu_us_per_publish",
        1e-6,
        "CPU of Redis for a delta with its snapshot, nobody subscribed",
    ),
    "redis_publish_100_s": Fitted(
        "s",
        "bus-publish",
        "rows[origins=100].redis_cpu_us_per_publish",
        1e-6,
        "the same with 100 processes subscribed",
    ),
    "redis_publishes_per_s": Fitted(
        "1/s",
        "bus-publish",
        "rows[origins=0].publishes_per_s",
        1,
        "deltas that one publisher puts into Redis",
    ),
    "redis_match_bytes": Fitted(
        "bytes", "bus-replay", "memory.bytes_per_match", 1, "memory of Redis for one match"
    ),
    "log_appends_per_s": Fitted(
        "1/s",
        "eventlog",
        "kafka.batch_1_threads_8.events_per_s",
        1,
        "events into Kafka, each acknowledged by itself, eight at a time, one broker with a sync each",
    ),
    "log_batch_appends_per_s": Fitted(
        "1/s", "eventlog", "kafka.batch_100_threads_8.events_per_s", 1, "the same, a hundred in a batch"
    ),
    "cache_answer_s": Fitted(
        "s",
        "cdn",
        "rows[way=lua,clients=10000].cache_cpu_us_per_answer",
        1e-6,
        "CPU of nginx with Lua for one long-poll's answer",
    ),
    "cache_memory_bytes": Fitted(
        "bytes",
        "cdn",
        "rows[way=lua,clients=10000].cache_memory_mib",
        2**20,
        "memory of nginx with Lua with 10,000 clients",
    ),
    "cache_late_s": Fitted(
        "s",
        "cdn",
        "rows[way=lua,clients=1000].late_ms.singles.p50",
        1e-3,
        "from the log to a client of nginx with Lua, median of 1,000",
    ),
    "origin_answer_s": Fitted(
        "s",
        "cdn",
        "rows[way=straight,clients=10000].origin_cpu_us_per_answer",
        1e-6,
        "CPU of the origin for a long-poll that no cache answers",
    ),
    "origin_requests_per_address": Fitted(
        "ratio",
        "cdn",
        "rows[way=lua,clients=10000].origin_requests_per_address",
        1,
        "requests that reach the origin for each address, however many clients ask a cache",
    ),
    "poll_requests_per_s": Fitted(
        "1/s",
        "cdn",
        "rows[way=straight,clients=10000].requests_per_client_and_10_s",
        0.1,
        "requests of a long-polling client in quiet time",
    ),
}

_PART: Final = re.compile(r"(?:^|\.)([\w-]+)((?:\[[^\]]*\])*)")


def fit(results: Path = RESULTS) -> dict[str, dict[str, object]]:
    """Every constant as ``measurements.json`` has it.

    Raises:
        FileNotFoundError, KeyError: a run's file or a key in it is not there.
    """
    return {
        name: {
            "value": float(f"{_median(results, one) * one.factor:.6g}"),
            "unit": one.unit,
            "source": f"bench/results/{one.file}.json: {one.key}",
            "meaning": one.meaning,
        }
        for name, one in FITTED.items()
    }


def write_measurements(results: Path = RESULTS, target: Path = TARGET) -> Path:
    """Write the constants where the model reads them."""
    note = "Written by `python -m bench.simulation fit` from the files that are named; do not edit."
    text = json.dumps({"note": note, "constants": fit(results)}, indent=1) + "\n"
    target.write_text(text, encoding="utf-8")
    return target


def _median(results: Path, one: Fitted) -> float:
    document = json.loads((results / f"{one.file}.json").read_text(encoding="utf-8"))
    values = list(_values(document, one.key))
    if not values:
        raise KeyError(f"{one.file}.json has no {one.key}")
    return float(statistics.median(values))


def _values(found: Any, key: str) -> Iterator[float]:
    """Everything in a document that a key leads to."""
    level = [found]
    # A name in a selector may have dots, so parts are found and not split.
    for name, selectors in _PART.findall(key):
        level = [one[name] for one in level]
        for selector in re.findall(r"\[([^\]]*)\]", selectors):
            conditions = [condition.partition("=")[::2] for condition in selector.split(",") if condition]
            level = [
                element
                for each in level
                for element in each
                if all(str(element[left]) == right for left, right in conditions)
            ]
    yield from level
