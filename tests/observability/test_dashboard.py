"""The dashboard and the alerts against what there is: their metrics, a real origin, and a real Prometheus."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from deploy.grafana.dashboard import ROWS, TARGET, dashboard
from testkit.poster import MATCH, event
from testkit.services.origin import OriginServer
from testkit.services.process import require_program
from testkit.services.prometheus import Prometheus
from tests.documents import ROOT
from tests.test_docs import exposed_metrics

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
ALERTS_TEST = ROOT / "deploy" / "prometheus" / "alerts_test.yml"
GROUPS = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
RULES = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
QUERIES = [query for _, row in ROWS for panel in row for query, _ in panel.queries]
METRIC = re.compile(r"\btouchline_\w+")
# Of the canary and the panic ladder: a server without them does not have these.
OPTIONAL = {"touchline_canary_age_seconds", "touchline_canary_behind_beats", "touchline_ladder_step"}
# What a goal, its retraction and a viewer leave behind on one machine.
CORE = (
    "touchline_stream_goal_socket_seconds",
    "touchline_stream_commit_seconds",
    "touchline_stream_viewers",
    "touchline_stream_deliveries_total",
    "touchline_fanout_seconds",
    "touchline_fanout_published_deltas_total",
    "touchline_ingest_seconds",
    "touchline_ingest_accepted_events_total",
    "touchline_eventlog_disk_free_bytes",
    "touchline_eventlog_clock_ahead_seconds",
    "touchline_web_beacons_total",
    "up{",
)


def known(name: str) -> bool:
    """Whether a scrape has it; of a histogram its samples have suffixes."""
    return bool({name, re.sub(r"_(bucket|sum|count)$", "", name)} & (exposed_metrics() | OPTIONAL))


def unknown_metrics(text: str) -> set[str]:
    return {name for name in METRIC.findall(text) if not known(name)}


def test_the_file_is_what_the_script_makes() -> None:
    assert json.loads(TARGET.read_text(encoding="utf-8")) == dashboard()


def test_every_metric_of_the_dashboard_and_of_the_alerts_is_one() -> None:
    assert unknown_metrics(" ".join(QUERIES)) == set()
    assert unknown_metrics(" ".join(rule["expr"] for rule in RULES.values())) == set()
    assert unknown_metrics("rate(touchline_nothing_total[5m]) touchline_fanout_seconds_bucket") == {
        "touchline_nothing_total"
    }


def test_the_dashboard_has_a_row_for_each_part() -> None:
    rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert rows == [
        *("Goal latency", "Viewers by transport", "Fan-out lag", "Bus", "Log"),
        *("Caches", "Feeds", "Refusals", "Canary"),
    ]


def test_panels_neither_overlap_nor_leave_the_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


# ---- alerts ------------------------------------------------------------------------------------------


def promtool(*argv: str) -> str:
    """What promtool prints; fails if it says no."""
    done = subprocess.run(
        [require_program("promtool"), *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_can_be_read_and_fire_where_they_should_and_nowhere_else() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", str(ALERTS))
    promtool("test", "rules", str(ALERTS_TEST))
    promtool("check", "config", str(ALERTS.with_name("prometheus.yml")))


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = yaml.safe_load(ALERTS_TEST.read_text(encoding="utf-8"))["tests"]
    checked = [test for case in cases for test in case["alert_rule_test"]]
    assert {test["alertname"] for test in checked if test["exp_alerts"]} == set(RULES)
    assert {test["alertname"] for test in checked if not test["exp_alerts"]} == set(RULES)


def anchors_of(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("alert", sorted(RULES))
def test_each_alert_leads_to_what_to_do(alert: str) -> None:
    annotations = RULES[alert]["annotations"]
    document, _, anchor = annotations["runbook_url"].partition("#")
    assert anchor == alert.lower()
    assert anchor in anchors_of(ROOT / document)
    assert annotations["summary"]
    assert RULES[alert]["labels"]["severity"] in ("page", "ticket")


# ---- a real Prometheus -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It scrapes an origin, to which goals come and which has a viewer."""
    directory = tmp_path_factory.mktemp("prometheus")
    ended = threading.Event()
    with OriginServer(directory, env={"TOUCHLINE_STREAM_BROADCAST_INTERVAL_S": "0"}) as server:
        assert server.post(event("g0")) == 200
        head = server.wait_for_seq(MATCH, 1)
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as viewer:
            viewer.request(
                "GET", f"/stream/{MATCH}", headers={"Last-Event-ID": f"{head['epoch']}-{head['seq']}"}
            )
            stream = viewer.getresponse()  # the connection ends with it
            assert stream.status == 200
            running = Prometheus(directory, {"touchline": f"127.0.0.1:{server.port}"}, ALERTS)

            def play() -> None:
                number = 0
                while not ended.wait(0.2):
                    number += 1
                    server.post(event(f"p{number}"))
                    server.post(event(f"p{number}", op="RETRACT", reason="offside"))

            playing = threading.Thread(target=play)
            playing.start()
            try:
                running.wait_for('up{job="touchline"} == 1')
                running.wait_for('rate(touchline_stream_goal_socket_seconds_count{kind="retract"}[5s]) > 0')
                yield running
            finally:
                ended.set()
                playing.join()
                running.stop()


@pytest.mark.services
def test_every_query_of_the_dashboard_is_answered_and_those_of_the_core_have_data(
    prometheus: Prometheus,
) -> None:
    for query in QUERIES:
        # Long enough for the goals of the fixture to be in it, however slow the machine is.
        found = prometheus.query(query.replace("$__rate_interval", "5m"))
        if any(name in query for name in CORE):
            assert found, query
            assert all(result["value"][1] != "NaN" for result in found), query


@pytest.mark.services
def test_the_rules_are_evaluated_without_an_error_and_none_fires_on_an_origin_that_is_well(
    prometheus: Prometheus,
) -> None:
    until_s = time.monotonic() + 30.0
    while any(rule["health"] == "unknown" for rule in prometheus.rules()):
        assert time.monotonic() < until_s
        time.sleep(0.1)
    rules = prometheus.rules()
    assert {rule["name"] for rule in rules} == set(RULES)
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
    # The disk of the machine that runs the tests is not ours to judge.
    firing = {rule["name"] for rule in rules if rule["state"] == "firing"}
    assert firing - {"TouchlineDiskNearlyFull"} == set()
