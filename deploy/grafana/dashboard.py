"""The Grafana dashboard as code: ``python -m deploy.grafana.dashboard`` writes deploy/grafana/touchline.json.

Import that file in Grafana (Dashboards, New, Import) and choose the Prometheus that scrapes Touchline.
``tests/observability/test_dashboard.py`` compares the file with this one, and runs each query against a real
Prometheus.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared_state.jsontext import JsonObject

__all__ = ["ROWS", "Panel", "dashboard", "main"]

TARGET: Final = Path(__file__).parent / "touchline.json"
_WIDTH: Final = 24
_HEIGHT: Final = 8
_SOURCE: Final[JsonObject] = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart.

    Attributes:
        title: what it shows.
        queries: PromQL, and the legend of each.
        unit: Grafana's name of the unit.
        note: what to think of it; shown at the panel's corner.
    """

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    note: str = ""


def _quantiles(metric: str, labels: str = "", by: str = "", name: str = "") -> list[tuple[str, str]]:
    """The median and the 99th percentile of a histogram."""
    found = []
    for quantile, shown in ((0.5, "p50"), (0.99, "p99")):
        groups = f"le, {by}" if by else "le"
        rate = f"sum by ({groups}) (rate({metric}_bucket{labels}[$__rate_interval]))"
        legend = " ".join(part for part in (name, f"{{{{{by}}}}}" if by else "", shown) if part)
        found.append((f"histogram_quantile({quantile}, {rate})", legend))
    return found


def _median(metric: str, by: str) -> str:
    return f"histogram_quantile(0.5, sum by (le, {by}) (rate({metric}_bucket[$__rate_interval])))"


def _rate(metric: str, by: str = "", labels: str = "") -> tuple[str, str]:
    groups = f"sum by ({by})" if by else "sum"
    return f"{groups} (rate({metric}{labels}[$__rate_interval]))", f"{{{{{by}}}}}" if by else metric


def _increase(metric: str, by: str = "", labels: str = "") -> tuple[str, str]:
    groups = f"sum by ({by})" if by else "sum"
    legend = f"{{{{{by}}}}}" if by else metric.removeprefix("touchline_").removesuffix("_total")
    return f"{groups} (increase({metric}{labels}[$__rate_interval]))", legend


#: Rows from the top down: what readers notice first.
ROWS: Final[Sequence[tuple[str, Sequence[Panel]]]] = (
    (
        "Goal latency",
        (
            Panel(
                "Goal to socket",
                _quantiles("touchline_stream_goal_socket_seconds", '{kind="goal"}'),
                "s",
                "From the log's taking a goal until it was sent to all viewers of a worker.",
            ),
            Panel(
                "Retraction to socket",
                _quantiles("touchline_stream_goal_socket_seconds", '{kind="retract"}'),
                "s",
                "For so long viewers see a goal that is none.",
            ),
            Panel(
                "Goal to screen, as sampled browsers report it",
                _quantiles("touchline_web_goal_screen_seconds", by="kind"),
                "s",
                "Anybody can send these numbers: a hint, not a measurement.",
            ),
            Panel(
                "Any delta, log to socket and bus to socket",
                [
                    *_quantiles("touchline_stream_commit_seconds", name="from the log"),
                    *_quantiles("touchline_stream_receive_seconds", name="from the bus"),
                ],
                "s",
            ),
        ),
    ),
    (
        "Viewers by transport",
        (
            Panel(
                "Viewers now",
                [
                    ("sum by (transport) (touchline_stream_viewers)", "{{transport}}"),
                    ("sum(touchline_stream_polls_held)", "long-poll"),
                ],
            ),
            Panel("Arriving, per second", [_rate("touchline_stream_accepted_total", "transport")], "reqps"),
            Panel("Ended, per second", [_rate("touchline_stream_closed_total", "why")], "reqps"),
            Panel(
                "What arriving viewers had missed, per second",
                [_rate("touchline_stream_replays_total", "answer")],
                "reqps",
            ),
            Panel(
                "Deliveries and heartbeats, per second",
                [
                    (_rate("touchline_stream_deliveries_total")[0], "deliveries"),
                    (_rate("touchline_stream_heartbeats_total")[0], "heartbeats"),
                ],
                "reqps",
            ),
            Panel(
                "Bytes to viewers, per second", [(_rate("touchline_stream_bytes_total")[0], "bytes")], "Bps"
            ),
        ),
    ),
    (
        "Fan-out lag",
        (
            Panel("Log to bus", _quantiles("touchline_fanout_seconds"), "s"),
            Panel(
                "Events in, deltas out, per second",
                [
                    (_rate("touchline_ingest_accepted_events_total")[0], "acknowledged"),
                    (_rate("touchline_fanout_published_deltas_total")[0], "published"),
                    (_rate("touchline_fanout_unchanged_events_total")[0], "changed nothing"),
                ],
                "reqps",
            ),
            Panel(
                "What should not happen in fan-out",
                [
                    _increase("touchline_fanout_conflicting_events_total"),
                    _increase("touchline_fanout_restarts_total"),
                    _increase("touchline_fanout_future_dated_events_total"),
                ],
            ),
        ),
    ),
    (
        "Bus",
        (
            Panel(
                "Matches that the bus does not take",
                [
                    ("sum(touchline_fanout_waiting_matches)", "waiting"),
                    ("sum(touchline_fanout_foreign_epoch_matches)", "of a newer epoch"),
                ],
            ),
            Panel(
                "Retries and repairs",
                [
                    _increase("touchline_fanout_bus_retries_total"),
                    _increase("touchline_fanout_refilled_deltas_total"),
                    _increase("touchline_stream_gaps_total"),
                ],
            ),
            Panel("Matches streamed", [("sum(touchline_stream_matches)", "matches")]),
        ),
    ),
    (
        "Log",
        (
            Panel("Webhook to acknowledgement", _quantiles("touchline_ingest_seconds"), "s"),
            Panel(
                "The log's file",
                [
                    ("min(touchline_eventlog_disk_free_bytes >= 0)", "free"),
                    ("max(touchline_eventlog_read_only)", "read-only (1)"),
                ],
                "bytes",
            ),
            Panel(
                "Clock ahead of the last hour's",
                [("max(touchline_eventlog_clock_ahead_seconds)", "ahead")],
                "s",
                "Above 0: this machine's clock has jumped, and is not believed.",
            ),
        ),
    ),
    (
        "Caches",
        (
            Panel(
                "Long-polls answered, per second",
                [_rate("touchline_stream_polls_total", "answer")],
                "reqps",
                "Behind a cache these do not rise with the number of readers.",
            ),
            Panel("Purges after corrections", [_increase("touchline_fanout_purges_total", "result")]),
            Panel(
                "Pages as they were known last",
                [
                    ("sum(touchline_web_bus_breaker_open)", "open breakers"),
                    (_rate("touchline_web_stale_answers_total")[0], "stale answers a second"),
                ],
            ),
        ),
    ),
    (
        "Feeds",
        (
            Panel(
                "Since the vendor was last heard",
                [("max by (match_id) (touchline_feed_age_seconds)", "{{match_id}}")],
                "s",
            ),
            Panel(
                "Requests to vendors, per second", [_rate("touchline_feed_polls_total", "result")], "reqps"
            ),
            Panel(
                "Where a feed's event spends its time, median",
                [
                    (
                        _median("touchline_feed_latency_seconds", "feed, step"),
                        "{{feed}} {{step}}",
                    )
                ],
                "s",
            ),
            Panel(
                "Dead letters, outages, doubts",
                [
                    _increase("touchline_feed_dead_letters_total"),
                    _increase("touchline_feed_outages_total"),
                    _increase("touchline_feed_score_alarms_total"),
                    _increase("touchline_feed_too_large_matches_total"),
                    _increase("touchline_feed_push_reconnects_total"),
                ],
            ),
            Panel("Requests left of the day", [("min by (feed) (touchline_feed_requests_left)", "{{feed}}")]),
        ),
    ),
    (
        "Refusals",
        (
            Panel("Viewers refused, per second", [_rate("touchline_stream_refused_total", "code")], "reqps"),
            Panel("Webhooks refused", [_increase("touchline_ingest_rejected_requests_total", "code")]),
            Panel(
                "Webhooks repeated, connections evicted, beacons",
                [
                    _increase("touchline_ingest_duplicate_requests_total"),
                    _increase("touchline_stream_evicted_total"),
                    _increase("touchline_web_beacons_total", "result"),
                ],
            ),
        ),
    ),
    (
        "Canary",
        (
            Panel(
                "How old what a server knows is, by the canary",
                [
                    ("max(touchline_canary_age_seconds)", "the one that is furthest behind"),
                    ("min(touchline_canary_age_seconds)", "the freshest"),
                ],
                "s",
                "Empty where no canary runs.",
            ),
            Panel(
                "Behind its peers, and the panic ladder",
                [
                    ("max by (instance) (touchline_canary_behind_beats)", "{{instance}}, beats behind"),
                    ("max(touchline_ladder_step)", "ladder's step"),
                ],
            ),
            Panel("Processes that answer", [('sum by (job) (up{job=~"touchline.*"})', "{{job}}")]),
        ),
    ),
)


def dashboard() -> JsonObject:
    """The dashboard as Grafana imports it."""
    panels: list[JsonObject] = []
    top = 0
    for title, row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"h": 1, "w": _WIDTH, "x": 0, "y": top},
            }
        )
        top += 1
        a_line = min(len(row), 3) if len(row) != 4 else 2
        width = _WIDTH // a_line
        for index, panel in enumerate(row):
            at = {"x": index % a_line * width, "y": top + index // a_line * _HEIGHT}
            panels.append(_panel(len(panels) + 1, panel, {"h": _HEIGHT, "w": width, **at}))
        top += -(-len(row) // a_line) * _HEIGHT
    return {
        "uid": "touchline",
        "title": "Touchline",
        "tags": ["touchline"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "graphTooltip": 1,
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def _panel(number: int, panel: Panel, place: JsonObject) -> JsonObject:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.note,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": expression,
                "legendFormat": legend,
            }
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }


def main() -> None:
    """Write the file."""
    TARGET.write_text(json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
