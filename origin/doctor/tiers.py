"""What each process says of itself over ``/metrics`` and ``/readyz``: tiers, viewers, lag."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from origin.doctor.probe import NotAnswered, Probe
from origin.doctor.report import printable
from shared_state.jsontext import JsonObject

__all__ = ["Observed", "Reading", "Watch", "quantile"]

#: Of ``/metrics``: one of ours is 30 KB.
METRICS_MAX_BYTES: Final = 2_097_152
SAMPLES_MAX: Final = 50_000
REASONS_MAX: Final = 10

#: What a sample is called in an answer, by its name and sorted labels.
Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a process.

    Attributes:
        at_s: monotonic seconds.
        samples: of ``/metrics``; empty if it was not answered.
        ready: of ``/readyz``; None where there is no such address (workers that are no origin).
        reasons: why it is not ready.
        failure: why nothing is known; empty if something is.
    """

    at_s: float
    samples: Samples = field(default_factory=dict)
    ready: bool | None = None
    reasons: Sequence[str] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """A process as two readings show it.

    Attributes:
        name: what the operator calls it, or its address.
        ok: whether it answers and is not unready.
        says: in words, what is wrong; empty if nothing is.
        tiers: figures by tier: ``stream``, ``fanout``, ``ingest``, ``feed``, ``webhooks``. None is a
            figure that is not known yet: rates need two readings, quantiles something that was measured.
    """

    name: str
    ok: bool
    says: str
    tiers: Mapping[str, Mapping[str, float | None]]

    def to_json(self) -> JsonObject:
        """As ``--json`` prints it."""
        tiers: JsonObject = {tier: dict(figures) for tier, figures in self.tiers.items()}
        return {"name": printable(self.name), "ok": self.ok, "says": printable(self.says), "tiers": tiers}


class Watch:
    """Processes that are looked at again and again.

    Args:
        addresses: by name, the address that has ``/metrics`` below it.
        timeout_s: for each answer, seconds.
        ca_file: certificates that are trusted instead of the system's.

    Raises:
        NotAnswered: the file of certificates cannot be read.
    """

    def __init__(self, addresses: Mapping[str, str], *, timeout_s: float = 3.0, ca_file: str = "") -> None:
        self._addresses = dict(addresses)
        self._timeout_s = timeout_s
        self._ca_file = ca_file
        self._before: dict[str, Reading] = {}
        if ca_file:
            Probe(ca_file=ca_file).context()

    def look(self) -> list[Observed]:
        """Ask all of them at once; one that does not answer delays nobody longer than the time-out."""
        with ThreadPoolExecutor(min(16, len(self._addresses))) as pool:
            readings = dict(zip(self._addresses, pool.map(self._read, self._addresses.values()), strict=True))
        seen = [_observed(name, self._before.get(name), reading) for name, reading in readings.items()]
        self._before = readings
        return seen

    def _read(self, address: str) -> Reading:
        probe = Probe(timeout_s=self._timeout_s, ca_file=self._ca_file)
        now_s = time.monotonic()
        try:
            answer = probe.get(f"{address}/metrics", body_max_bytes=METRICS_MAX_BYTES)
            if answer.status != 200 or not answer.ended:
                return Reading(now_s, failure=f"/metrics is answered by {answer.status}")
            samples = _samples(answer.text())
        except (NotAnswered, ValueError) as error:
            return Reading(now_s, failure=str(error))
        ready, reasons = self._readiness(probe, address)
        return Reading(now_s, samples, ready, reasons)

    @staticmethod
    def _readiness(probe: Probe, address: str) -> tuple[bool | None, Sequence[str]]:
        try:
            answer = probe.get(f"{address}/readyz", body_max_bytes=METRICS_MAX_BYTES)
            content = json.loads(answer.body())
        except (NotAnswered, ValueError, RecursionError):
            return None, ()
        if answer.status not in (200, 503) or not isinstance(content, dict):
            return None, ()
        reasons = content.get("reasons", [])
        listed = [str(reason) for reason in reasons[:REASONS_MAX]] if isinstance(reasons, list) else []
        return answer.status == 200, listed


def quantile(of: float, buckets: Mapping[float, float]) -> float | None:
    """A quantile of a histogram, as Prometheus computes it: linear within the bucket.

    Args:
        of: 0.99.
        buckets: cumulative counts by upper bound.

    Returns:
        Seconds; None where nothing was counted.
    """
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return None
    rank, below, lower = of * buckets[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank:
            if math.isinf(bound):
                return lower
            share = (rank - below) / (count - below) if count > below else 1.0
            return lower + (bound - lower) * share
        below, lower = count, bound
    return lower


def _samples(text: str) -> Samples:
    """The samples of a Prometheus page.

    Raises:
        ValueError: it is none, or has too many.
    """
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    try:
        for family in text_string_to_metric_families(text):
            if not family.name.startswith("touchline_"):
                continue
            for sample in family.samples:
                found[sample.name, tuple(sorted(sample.labels.items()))] = float(sample.value)
                if len(found) > SAMPLES_MAX:
                    raise ValueError(f"/metrics has more than {SAMPLES_MAX} samples")
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"/metrics cannot be read: {error}") from None
    if not found:
        raise ValueError("/metrics has nothing of Touchline in it")
    return found


def _observed(name: str, before: Reading | None, now: Reading) -> Observed:
    if now.failure:
        return Observed(name, False, now.failure, {})
    figures = _Figures(before.samples if before is not None else {}, now.samples, _passed_s(before, now))
    tiers: dict[str, Mapping[str, float | None]] = {}
    if figures.has("touchline_stream_matches"):
        tiers["stream"] = {
            "viewers": figures.value("touchline_stream_viewers"),
            "held_polls": figures.value("touchline_stream_polls_held"),
            "deliveries_per_s": figures.rate("touchline_stream_deliveries"),
            "lag_p50_s": figures.quantile(0.5, "touchline_stream_commit_seconds"),
            "lag_p99_s": figures.quantile(0.99, "touchline_stream_commit_seconds"),
        }
    if figures.value("touchline_fanout_matches") or figures.total("touchline_fanout_published_deltas"):
        tiers["fanout"] = {
            "matches": figures.value("touchline_fanout_matches"),
            "waiting_matches": figures.value("touchline_fanout_waiting_matches"),
            "published_per_s": figures.rate("touchline_fanout_published_deltas"),
            "lag_p50_s": figures.quantile(0.5, "touchline_fanout_seconds"),
            "lag_p99_s": figures.quantile(0.99, "touchline_fanout_seconds"),
        }
    if figures.has_counter("touchline_ingest_accepted_events"):
        tiers["ingest"] = {
            "events": figures.total("touchline_ingest_accepted_events"),
            "events_per_s": figures.rate("touchline_ingest_accepted_events"),
            "rejected": figures.total("touchline_ingest_rejected_requests"),
            "lag_p50_s": figures.quantile(0.5, "touchline_ingest_seconds"),
            "lag_p99_s": figures.quantile(0.99, "touchline_ingest_seconds"),
        }
    if figures.has_counter("touchline_feed_polls"):
        tiers["feed"] = {
            "polls_per_s": figures.rate("touchline_feed_polls"),
            "oldest_s": figures.most("touchline_feed_age_seconds"),
            "dead_letters": figures.total("touchline_feed_dead_letters"),
        }
    if figures.has("touchline_webhook_pending"):
        tiers["webhooks"] = {
            "waiting": figures.value("touchline_webhook_pending"),
            "attempts_per_s": figures.rate("touchline_webhook_deliveries"),
            "oldest_s": figures.most("touchline_webhook_oldest_seconds"),
        }
    says = "; ".join(now.reasons) or ("not ready" if now.ready is False else "")
    waiting = figures.value("touchline_fanout_waiting_matches")
    if waiting:
        says = "; ".join(filter(None, (says, f"{waiting:.0f} matches wait for the bus")))
    return Observed(name, now.ready is not False, says, tiers)


def _passed_s(before: Reading | None, now: Reading) -> float | None:
    return None if before is None or before.failure else max(0.001, now.at_s - before.at_s)


class _Figures:
    """Sums, rates and quantiles of two readings."""

    def __init__(self, before: Samples, now: Samples, passed_s: float | None) -> None:
        self._before = before
        self._now = now
        self._passed_s = passed_s

    def has(self, name: str) -> bool:
        return any(known == name for known, _ in self._now)

    def value(self, name: str) -> float:
        return self._sum(self._now, name)

    def has_counter(self, name: str) -> bool:
        return self.has(f"{name}_total")

    def total(self, name: str) -> float:
        """Of a counter by its name without ``_total``."""
        return self._sum(self._now, f"{name}_total")

    def most(self, name: str) -> float | None:
        return max((value for (known, _), value in self._now.items() if known == name), default=None)

    def rate(self, name: str) -> float | None:
        """Per second since the reading before; None without one. A counter that fell was started again."""
        if self._passed_s is None:
            return None
        more = self.total(name) - self._sum(self._before, f"{name}_total")
        return max(0.0, more) / self._passed_s

    def quantile(self, of: float, name: str) -> float | None:
        """Of what was counted since the reading before; of all, if that was nothing."""
        now, before = self._buckets(self._now, name), self._buckets(self._before, name)
        since = {bound: count - before.get(bound, 0.0) for bound, count in now.items()}
        if self._passed_s is not None and since and min(since.values()) >= 0 and max(since.values()) > 0:
            return quantile(of, since)
        return quantile(of, now)

    @staticmethod
    def _sum(samples: Samples, name: str) -> float:
        return sum(value for (known, _), value in samples.items() if known == name)

    @staticmethod
    def _buckets(samples: Samples, name: str) -> dict[float, float]:
        found: dict[float, float] = {}
        for (known, labels), value in samples.items():
            if known == f"{name}_bucket":
                bound = float(dict(labels).get("le", "inf"))
                found[bound] = found.get(bound, 0.0) + value
        return found
