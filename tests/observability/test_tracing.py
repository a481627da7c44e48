"""Traces where they are off, where they cannot be, and what a stranger may say of one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.config import Config
from origin.errors import ConfigError
from origin.eventlog.memory import MemoryEventLog
from origin.feedworker.formats import open_format
from origin.feedworker.intake import Intake
from origin.metrics import Metrics
from origin.provenance import Provenance
from origin.tracing import NO_TRACES, Tracer, open_tracer, read_traceparent
from testkit.command import ROOT
from testkit.poster import Poster, event
from testkit.services.otlp import OtlpCollector
from testkit.services.vendor_matches import OptaMatch

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    collector = OtlpCollector()
    yield collector
    collector.close()


@pytest.fixture
def tracer(collector: OtlpCollector) -> Iterator[Tracer]:
    tracer = open_tracer(collector.url, 1.0, "test")
    yield tracer
    tracer.close()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        GOOD.upper(),
        GOOD + "\n",
        GOOD + "-more",
        " " + GOOD,
        GOOD.replace("00-", "01-", 1),
        GOOD.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        GOOD.replace("4", "٤"),
        "x" * 100_000,
    ],
)
def test_what_is_no_traceparent_begins_a_new_trace(text: str | None) -> None:
    assert read_traceparent(text) == ""


def test_a_traceparent_is_read_as_it_is() -> None:
    assert read_traceparent(GOOD) == GOOD


@given(st.text())
def test_what_is_read_can_stand_in_a_log(text: str) -> None:
    assert read_traceparent(text) in ("", text)
    assert len(read_traceparent(text)) in (0, 55)


def test_off_imports_nothing_of_it() -> None:
    code = (
        "import sys\n"
        "from origin.config import Config\n"
        "from origin.web.app import create_app\n"
        "import origin.stream.worker.worker, origin.fanout.worker, origin.feedworker.worker\n"
        "create_app(Config(eventlog_url='memory://', bus_url='memory://'))\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_off_makes_spans_that_are_nothing() -> None:
    assert open_tracer("", 1.0, "test") is NO_TRACES
    span = NO_TRACES.start("ingest", GOOD)
    span.end(error="x")
    assert (NO_TRACES.on, span.traceparent) == (False, "")


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"pip install 'touchline\[tracing\]'"):
        open_tracer("http://127.0.0.1:9/v1/traces", 1.0, "test")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOUCHLINE_TRACES_URL", "collector:4318"),
        ("TOUCHLINE_TRACES_URL", "http://"),
        ("TOUCHLINE_TRACES_URL", "http://a b/"),
        ("TOUCHLINE_TRACES_RATIO", "2"),
        ("TOUCHLINE_TRACES_RATIO", "-0.5"),
        ("TOUCHLINE_TRACES_RATIO", "nan"),
        ("TOUCHLINE_BEACON_RATE", "0.01"),
        ("TOUCHLINE_BEACON_RATE", "all"),
        ("TOUCHLINE_LOG_FORMAT", "xml"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_its_value(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Config.from_env({name: value})
    assert str(refused.value).startswith(name)
    assert value in str(refused.value)


def test_a_stranger_neither_begins_nor_joins_a_trace(collector: OtlpCollector) -> None:
    config = Config(
        eventlog_url="memory://", bus_url="memory://", ingest_keys=(b"x" * 32,), traces_url=collector.url
    )
    from origin.web.app import create_app
    from origin.web.origin import origin_of

    app = create_app(config)
    # Signed with a key that is not configured.
    poster = Poster(app)
    assert poster.post(event("g1")).status_code == 401
    origin_of(app).close()
    assert collector.spans == []


def test_of_a_trace_that_its_beginner_does_not_record_nothing_is_kept(
    collector: OtlpCollector, tracer: Tracer
) -> None:
    unsampled = tracer.start("ingest", GOOD.removesuffix("1") + "0")
    assert unsampled.traceparent == ""
    unsampled.end()
    tracer.start("ingest", GOOD).end(error="bad_json")
    [span] = collector.wait_for(lambda spans: bool(spans))
    assert (span.trace_id, span.parent_id, span.error) == (GOOD[3:35], GOOD[36:52], "bad_json")


def test_a_ratio_of_zero_records_nothing_that_begins_here(collector: OtlpCollector) -> None:
    tracer = open_tracer(collector.url, 0.0, "test")
    try:
        assert {tracer.start("ingest").traceparent for _ in range(50)} == {""}
        assert tracer.start("ingest", GOOD).traceparent  # its beginner has decided
    finally:
        tracer.close()


def test_a_collector_that_is_away_ends_no_process() -> None:
    tracer = open_tracer("http://127.0.0.1:9/v1/traces", 1.0, "test")
    for _ in range(10):
        tracer.start("ingest").end()
    tracer.close()


def test_a_vendor_s_document_begins_a_trace_and_has_a_delivery(
    collector: OtlpCollector, tracer: Tracer, caplog: pytest.LogCaptureFixture
) -> None:
    match = OptaMatch()
    for _ in range(40):
        match.advance()
    log = MemoryEventLog()
    intake = Intake(f"opta-{match.number}", open_format("opta-f24"), log, Metrics(), tracer=tracer)
    with caplog.at_level("INFO", logger="origin.feedworker.intake"):
        intake.read(match.document())
    records = list(log.read_match(intake.match_id))
    assert len(records) > 1
    [signed_by] = {record.signed_by for record in records}
    [traceparent] = {record.traceparent for record in records}
    assert signed_by is not None
    assert traceparent is not None
    assert signed_by.key_name == "feed:opta-f24"
    [span] = collector.wait_for(lambda spans: bool(spans))
    assert (span.name, span.trace_id) == ("feed", traceparent[3:35])
    assert span.attributes["touchline.webhook_id"] == signed_by.webhook_id
    [line] = [record for record in caplog.records if record.name == "origin.feedworker.intake"]
    assert isinstance(line.msg, dict)
    assert line.msg["webhook_id"] == signed_by.webhook_id
    assert line.msg["trace_id"] == span.trace_id


@given(st.binary(max_size=2_000))
def test_a_provenance_that_cannot_be_read_is_none(data: bytes) -> None:
    read = Provenance.decode(data)
    assert read is None or isinstance(read, Provenance)


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_provenance_comes_back(webhook_id: str, key_name: str) -> None:
    one = Provenance(webhook_id, key_name, GOOD)
    assert Provenance.decode(one.encode()) == one


def test_nothing_that_ships_names_opentelemetry_outside_of_one_file() -> None:
    named = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "origin").rglob("*.py")
        if "from opentelemetry" in path.read_text(encoding="utf-8")
    ]
    assert [Path(name).name for name in named] == ["tracing.py"]
