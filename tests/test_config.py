"""Settings from the environment: read once, and refused by name."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from origin.config import Config
from origin.errors import ConfigError, OriginError
from origin.stream.hub.config import StreamConfig, bounds
from origin.stream.worker.gunicorn_app import Serving, listen
from origin.web.app import create_app
from testkit.command import touchline

INGEST = ("ingest", "--feed", "sportradar-v4", "--url", "http://127.0.0.1:9/{id}", "--match", "sr-1")
SECRET = "whsec_YSB0ZXN0IGtleSBvZiB0aGlydHktdHdvIGJ5dGVzLi4="


def test_an_empty_environment_is_the_embedded_default() -> None:
    config = Config.from_env({})
    assert config == Config()
    assert config.embedded
    assert config.eventlog_url.startswith("sqlite:")


def test_settings_are_read() -> None:
    config = Config.from_env(
        {
            "EVENTLOG_URL": "kafka://127.0.0.1:9092",
            "BUS_URL": "redis://127.0.0.1:6379/0",
            "TOUCHLINE_INGEST_KEYS": f"{SECRET}, {SECRET}",
            "TOUCHLINE_PUBLIC_URL": "https://scores.example/",
            "TOUCHLINE_STREAM_HEARTBEAT_S": "2.5",
            "TOUCHLINE_STREAM_CONNECTIONS_MAX": "18000",
        }
    )
    assert not config.embedded
    assert config.ingest_keys == (b"a test key of thirty-two bytes..",) * 2
    assert config.public_url == "https://scores.example"
    assert config.stream == StreamConfig(heartbeat_s=2.5, connections_max=18_000)


def test_a_secret_is_never_shown() -> None:
    assert SECRET not in repr(Config.from_env({"TOUCHLINE_INGEST_KEYS": SECRET}))
    assert "test key" not in repr(Config.from_env({"TOUCHLINE_INGEST_KEYS": SECRET}))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TOUCHLINE_INGEST_MAX_BYTES", "many", "TOUCHLINE_INGEST_MAX_BYTES 'many'"),
        ("TOUCHLINE_MATCH_MAX_EVENTS", "0", "TOUCHLINE_MATCH_MAX_EVENTS '0'"),
        ("TOUCHLINE_MATCH_MAX_BYTES", "8M", "TOUCHLINE_MATCH_MAX_BYTES '8M'"),
        ("TOUCHLINE_INGEST_MAX_EVENTS", "0", "TOUCHLINE_INGEST_MAX_EVENTS '0'"),
        ("TOUCHLINE_PUBLIC_URL", "scores.example", "TOUCHLINE_PUBLIC_URL 'scores.example'"),
        (
            "TOUCHLINE_LOG_LEVEL",
            "loud",
            "TOUCHLINE_LOG_LEVEL 'loud': must be one of debug info warning error",
        ),
        ("TOUCHLINE_INGEST_KEYS", "whsec_short", "ingest key"),
        ("TOUCHLINE_STREAM_HEARTBEAT_S", "nan", "TOUCHLINE_STREAM_HEARTBEAT_S 'nan'"),
        ("TOUCHLINE_STREAM_PENDING_MAX_BYTES", "1.5", "TOUCHLINE_STREAM_PENDING_MAX_BYTES '1.5'"),
        ("TOUCHLINE_STREAM_HEARTBEAT_S", "0", "TOUCHLINE_STREAM_HEARTBEAT_S '0': must be a number from 0.1"),
        ("TOUCHLINE_STREAM_HEARTBEAT_S", "1e-9", "TOUCHLINE_STREAM_HEARTBEAT_S '1e-9'"),
        ("TOUCHLINE_STREAM_HEARTBEAT_S", "1_0", "TOUCHLINE_STREAM_HEARTBEAT_S '1_0'"),
        ("TOUCHLINE_STREAM_CONNECTIONS_MAX", "٥", "TOUCHLINE_STREAM_CONNECTIONS_MAX '٥'"),
        ("TOUCHLINE_STREAM_SEND_BUFFER_BYTES", "9" * 17, "must be a whole number from 0 to 67108864"),
        ("TOUCHLINE_INGEST_MAX_EVENTS", "9" * 5_000, "TOUCHLINE_INGEST_MAX_EVENTS '999"),
        ("TOUCHLINE_INGEST_MAX_BYTES", "٥", "TOUCHLINE_INGEST_MAX_BYTES '٥'"),
        ("TOUCHLINE_DEMO", "yes", "TOUCHLINE_DEMO 'yes': must be 1"),
        ("TOUCHLINE_STREAM_HEARTBEAT", "5", "did you mean TOUCHLINE_STREAM_HEARTBEAT_S"),
        (
            "TOUCHLINE_LOGLEVEL",
            "info",
            "'TOUCHLINE_LOGLEVEL' is no setting; did you mean TOUCHLINE_LOG_LEVEL",
        ),
        ("TOUCHLINE_COLOUR", "red", "'TOUCHLINE_COLOUR' is no setting; docs/operations.md lists"),
        ("TOUCHLINE_PORT", "9000", "'TOUCHLINE_PORT' is no setting"),
        ("TOUCHLINE_STREAM_STALLED_S", "-1", "TOUCHLINE_STREAM_STALLED_S '-1'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Config.from_env({name: value})


@pytest.mark.parametrize("setting", [setting.name for setting in fields(StreamConfig)])
def test_each_setting_of_the_stream_tier_has_bounds_that_are_kept(setting: str) -> None:
    name = f"TOUCHLINE_STREAM_{setting.upper()}"
    low, high = bounds()[setting]
    for value in (low, high):
        assert getattr(Config.from_env({name: f"{value:.15g}"}).stream, setting) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=name):
            Config.from_env({name: f"{value:.15g}"})


@pytest.mark.parametrize("setting", [setting.name for setting in fields(StreamConfig)])
def test_each_default_is_within_its_bounds(setting: str) -> None:
    low, high = bounds()[setting]
    default = getattr(StreamConfig(), setting)
    assert default is None or low <= default <= high


def test_names_that_other_commands_read_are_settings_too() -> None:
    Config.from_env(
        {
            "TOUCHLINE_FEED_URL": "https://feed.example/{id}",
            "TOUCHLINE_FEED_PUSH_URL": "https://feed.example/push",
            "TOUCHLINE_FEED_KEY": "k",
            "PATH": "/bin",
        }
    )


def test_what_kubernetes_puts_there_for_a_service_of_our_name_is_no_setting_of_ours() -> None:
    Config.from_env(
        {
            "TOUCHLINE_SERVICE_HOST": "10.0.0.1",
            "TOUCHLINE_SERVICE_PORT": "8000",
            "TOUCHLINE_SERVICE_PORT_HTTP": "8000",
            "TOUCHLINE_PORT": "tcp://10.0.0.1:8000",
            "TOUCHLINE_PORT_8000_TCP": "tcp://10.0.0.1:8000",
            "TOUCHLINE_PORT_8000_TCP_ADDR": "10.0.0.1",
            "TOUCHLINE_STREAMS_PORT": "tcp://10.0.0.2:8000",
        }
    )


@pytest.mark.parametrize("command", [("serve",), ("fanout",), ("dlq", "list"), INGEST])
def test_each_command_that_reads_settings_refuses_an_unknown_name(command: tuple[str, ...]) -> None:
    ran = touchline(*command, env={"TOUCHLINE_STREAM_HEARTBEATS": "5"})
    assert (ran.code, ran.out) == (1, b"")
    assert "'TOUCHLINE_STREAM_HEARTBEATS' is no setting; did you mean" in ran.err
    assert "Traceback" not in ran.err


def test_several_workers_on_the_embedded_bus_are_refused() -> None:
    with pytest.raises(OriginError, match="--workers 2"):
        Serving(Config(), create_app, host="127.0.0.1", port=8000, workers=2)


def test_every_setting_is_documented() -> None:
    text = (Path(__file__).parents[1] / "docs" / "operations.md").read_text(encoding="utf-8")
    names = ["EVENTLOG_URL", "BUS_URL", "TOUCHLINE_LOG_LEVEL", "TOUCHLINE_PUBLIC_URL", "TOUCHLINE_DEMO"]
    names += ["TOUCHLINE_INGEST_KEYS", "TOUCHLINE_INGEST_MAX_BYTES", "TOUCHLINE_INGEST_MAX_EVENTS"]
    names += [f"TOUCHLINE_STREAM_{setting.name.upper()}" for setting in fields(StreamConfig)]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_port_has_several_queues_and_nobody_elses() -> None:
    queues = listen("127.0.0.1", 0)
    try:
        ports = {queue.getsockname()[1] for queue in queues}
        assert len(queues) > 1
        assert len(ports) == 1
        for queue in queues:
            queue.listen()
        with pytest.raises(ConfigError, match="Address already in use"):
            listen("127.0.0.1", ports.pop())
    finally:
        for queue in queues:
            queue.close()


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(ConfigError, match=re.escape("203.0.113.1:80 cannot be listened on")):
        listen("203.0.113.1", 80)


def test_crests_come_from_the_origins_that_are_named() -> None:
    given = "https://crests.example  https://*.cdn.example:8443"
    config = Config.from_env({"TOUCHLINE_CREST_ORIGINS": given})
    assert config.crest_origins == ("https://crests.example", "https://*.cdn.example:8443")
    assert Config.from_env({}).crest_origins == ()


@pytest.mark.parametrize(
    "origin",
    [
        *("http://crests.example", "crests.example", "https:", "https://", "*", "https://*"),
        *(
            "https://crests.example/",
            "https://a.example/path",
            "https://user@a.example",
            "https://a.example:x",
        ),
        *("https://a.example;script-src", "https://a.example,https://b.example", "'unsafe-inline'", "data:"),
    ],
)
def test_an_origin_of_crests_that_could_be_another_directive_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"TOUCHLINE_CREST_ORIGINS .*must be https://host"):
        Config.from_env({"TOUCHLINE_CREST_ORIGINS": f"https://crests.example {origin}"})
