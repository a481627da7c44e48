"""The settings in the URLs of Kafka and PostgreSQL, and the partition of a match: no server needed."""

from __future__ import annotations

import pytest

from origin.errors import ConfigError
from origin.eventlog import open_eventlog
from origin.eventlog.kafka_topic import KafkaSettings, partition_of
from origin.eventlog.postgres_session import PostgresSettings


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        # From Apache Kafka's own UtilsTest: what its Java client computes.
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_a_match_is_where_java_puts_it(key: str, hashed: int) -> None:
    assert partition_of(key, 2**31) == hashed & 0x7FFFFFFF
    assert partition_of(key, 20) == (hashed & 0x7FFFFFFF) % 20


def test_kafka_url() -> None:
    settings = KafkaSettings.from_url(
        "kafka://a:9092,b:9092/scores?partitions=6&replication=3&timeout_s=2.5&sasl.password=p%26w"
    )
    assert (settings.servers, settings.topic) == ("a:9092,b:9092", "scores")
    assert (settings.partitions, settings.replication, settings.timeout_s) == (6, 3, 2.5)
    assert settings.client_config()["sasl.password"] == "p&w"
    assert settings.dead_letter_topic == "scores.dlq"
    for servers in ("h1:9092,h2:9093,10.0.0.3", "[::1]:9092"):
        assert KafkaSettings.from_url(f"kafka://{servers}/scores").servers == servers
    assert KafkaSettings.from_url("kafka://a:9092") == KafkaSettings("a:9092", "match-scores", 20, 0, 10.0)


def test_postgres_url() -> None:
    settings = PostgresSettings.from_url("postgres://u:secret@h:5433/d?partitions=6&sslmode=require")
    assert settings.conninfo == "postgresql://u:secret@h:5433/d?sslmode=require"
    assert (settings.shown, settings.partitions, settings.timeout_s) == ("h:5433/d", 6, 10.0)
    assert settings.session_s == 6.0
    assert PostgresSettings.from_url("postgres://h/d?session_s=2.5").session_s == 2.5


@pytest.mark.parametrize("server", ["h2:port", "h2:0", "h2:65536", "h2:", "", ":9092", "h2:1:2", "h 2"])
def test_broker_of_a_list_that_is_none_is_named(server: str) -> None:
    """librdkafka would ignore it silently, and then one broker that is down would be an outage."""
    with pytest.raises(ConfigError) as raised:
        open_eventlog(f"kafka://h1:9092,{server},h3:9092/scores?sasl.password=secret")
    assert f"{server!r} is no host:port" in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "kafka://",
        "kafka:///topic",
        "kafka://user:secret@a:9092/topic",
        "kafka://user:secret@[a]:9092/topic",
        "postgres://u:[secret]@h/d",
        "kafka://a:9092/t?partition=3&sasl.password=secret",
        "kafka://a:9092/t?partitions=0&sasl.password=secret",
        "kafka://a:9092/t?partitions=many",
        "kafka://a:9092/t?timeout_s=0.1",
        "kafka://a:9092/t?timeout_s=nan",
        "postgres://u:secret@h/d?partitions=0",
        "postgres://u:secret@h/d?timeout_s=soon",
        "postgres://u:secret@h/d?session_s=0.5",
        "postgres://u:secret@h/d?no_such_setting=1",
    ],
)
def test_url_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        open_eventlog(url)
    assert "secret" not in str(raised.value)
