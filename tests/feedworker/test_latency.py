"""How long a new event takes, by feed and step."""

from __future__ import annotations

from origin.metrics import FEED_LABELS_MAX, Metrics
from shared_state import Event


def goal(event_id: str, source: str | None, **fields: object) -> Event:
    body = {
        "match_id": "m",
        "event_id": event_id,
        "op": "ADD",
        "type": "GOAL",
        "team": "home",
        "period": "H1",
    }
    return Event.from_json({**body, "rev": 1, "source": source, **fields})


def sample(metrics: Metrics, feed: str, step: str, what: str) -> float | None:
    return metrics.registry.get_sample_value(
        f"touchline_feed_latency_seconds_{what}", {"feed": feed, "step": step}
    )


def test_each_step_of_a_new_event_is_measured() -> None:
    metrics = Metrics()
    metrics.observe_received([goal("g", "sr", source_ts=1_000)], 3_000, 3_500)
    metrics.observe_published("sr", 250)
    sums = {step: sample(metrics, "sr", step, "sum") for step in STEPS}
    assert sums == {"vendor_received": 2.0, "received_acknowledged": 0.5, "log_published": 0.25}


def test_an_amendment_and_an_undated_event_say_nothing_of_the_vendor() -> None:
    metrics = Metrics()
    metrics.observe_received([goal("g", "sr", op="AMEND", source_ts=1_000), goal("h", "sr")], 3_000, 3_500)
    assert sample(metrics, "sr", "vendor_received", "count") is None
    assert sample(metrics, "sr", "received_acknowledged", "count") == 1


def test_sources_have_no_more_labels_than_their_bound() -> None:
    metrics = Metrics()
    labels = {metrics.feed_label(f"source-{number}") for number in range(10 * FEED_LABELS_MAX)}
    assert len(labels) == FEED_LABELS_MAX + 1
    assert metrics.feed_label(None) == "other"


STEPS = ("vendor_received", "received_acknowledged", "log_published")
