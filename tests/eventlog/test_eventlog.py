"""The contract suite of the event log, on memory, SQLite, Kafka and PostgreSQL."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from origin.errors import ConfigError
from origin.eventlog import EventLog, LogRecord, SignedBy, open_eventlog
from origin.eventlog.codec import encode_event
from origin.eventlog.sqlite import SqliteEventLog
from testkit.services.kafka import KafkaBroker
from testkit.services.postgres import PostgresServer
from tests.eventlog.contract import DurableContract, KeysContract, SharedContract, drain, ids, note


@contextlib.contextmanager
def opener(url: str) -> Iterator[Callable[[], EventLog]]:
    with contextlib.ExitStack() as opened:

        def open_again() -> EventLog:
            log = open_eventlog(url)
            opened.callback(log.close)
            return log

        yield open_again


class TestMemory(KeysContract):
    @pytest.fixture
    def open_again(self) -> Iterator[Callable[[], EventLog]]:
        log = open_eventlog("memory://")
        yield lambda: log  # other processes cannot see a log in memory
        log.close()


class DurableSuite(DurableContract):
    @pytest.fixture
    def open_again(self, own_url: str) -> Iterator[Callable[[], EventLog]]:
        with opener(own_url) as open_again:
            yield open_again


class TestSqlite(DurableSuite, KeysContract):
    @pytest.fixture
    def own_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/log.db"

    def write_rubbish(self, url: str, payload: str, match_id: str) -> None:
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db, db:
            db.execute(
                "INSERT INTO records (match_id, appended_ms, event) VALUES (?, 1, ?)", (match_id, payload)
            )

    def test_a_log_of_an_older_version_gets_the_columns_it_lacks(self, own_url: str) -> None:
        old = note("e0")
        with contextlib.closing(sqlite3.connect(own_url.removeprefix("sqlite:///"))) as db, db:
            db.execute(
                'CREATE TABLE records ("offset" INTEGER PRIMARY KEY AUTOINCREMENT, match_id TEXT NOT NULL,'
                " appended_ms INTEGER NOT NULL, event TEXT NOT NULL)"
            )
            values = (old.match_id, encode_event(old).decode())
            db.execute("INSERT INTO records (match_id, appended_ms, event) VALUES (?, 1, ?)", values)
        mine = SignedBy("scout-1", "msg_1")
        with opener(own_url) as open_again:
            first, second = open_again(), open_again()
            first.append([note("e1")], signed_by=mine)
            second.append([note("e2")])
            assert [record.signed_by for record in first.read_match("m1")] == [None, mine, None]
            assert ids(list(second.read_match("m1"))) == ["e0", "e1", "e2"]

    def test_keys_are_known_for_a_month(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("origin.eventlog.sqlite.PRUNE_S", 0.0)
        day_ms, now_ms = 86_400_000, 1_700_000_000_000
        with contextlib.closing(SqliteEventLog(tmp_path / "log.db", lambda: now_ms)) as log:
            log.append([note("e1")], key="first")
            now_ms += day_ms
            log.append([note("e2")], key="second")
            now_ms += 30 * day_ms
            assert not log.append([note("e2")], key="second").fresh
            log.append([note("e3")], key="third")
            assert log.rows("SELECT key FROM keys ORDER BY rowid", ()) == [("second",), ("third",)]
            assert ids(list(log.read_match("m1"))) == ["e1", "e2", "e3"]


@pytest.mark.services
class TestPostgres(DurableSuite, KeysContract, SharedContract):
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[PostgresServer]:
        server = PostgresServer()
        yield server
        server.stop()

    @pytest.fixture
    def own_url(self, server: PostgresServer) -> str:
        return f"{server.new_database()}?partitions=4"

    def write_rubbish(self, url: str, payload: str, match_id: str) -> None:
        import psycopg

        with psycopg.connect(url.partition("?")[0]) as connection:
            connection.execute(
                "WITH counted AS (UPDATE touchline.partitions SET next_offset = next_offset + 1"
                " WHERE partition = (SELECT partition FROM touchline.records WHERE match_id = %s LIMIT 1)"
                " RETURNING partition, next_offset - 1 AS here)"
                " INSERT INTO touchline.records SELECT partition, here, %s, 1, %s FROM counted",
                (match_id, match_id, payload),
            )

    def test_a_log_of_an_older_version_gets_the_columns_it_lacks(self, own_url: str) -> None:
        import psycopg

        with opener(own_url) as open_again:
            open_again().append([note("e0")])
        with psycopg.connect(own_url.partition("?")[0]) as connection:
            connection.execute(
                "ALTER TABLE touchline.records DROP COLUMN key_name, DROP COLUMN webhook_id,"
                " DROP COLUMN traceparent"
            )
        mine = SignedBy("scout-1", "msg_1")
        with opener(own_url) as open_again:
            first, second = open_again(), open_again()
            first.append([note("e1")], signed_by=mine)
            second.append([note("e2")])
            assert [record.signed_by for record in first.read_match("m1")] == [None, mine, None]
            assert ids(list(second.read_match("m1"))) == ["e0", "e1", "e2"]

    def test_a_role_that_may_add_no_column_uses_the_log_without_traces(self, own_url: str) -> None:
        import psycopg

        with opener(own_url) as open_again:
            open_again().append([note("e0")])
        plain = own_url.partition("?")[0]
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute("ALTER TABLE touchline.records DROP COLUMN traceparent")
            connection.execute("DROP ROLE IF EXISTS writer")
            connection.execute("CREATE ROLE writer LOGIN")
            connection.execute("GRANT USAGE ON SCHEMA touchline TO writer")
            connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA touchline TO writer")
        try:
            with opener(own_url.replace("touchline@", "writer@", 1)) as open_again:
                log = open_again()
                log.append([note("e1")], traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
                assert [record.traceparent for record in log.read_match("m1")] == [None, None]
                with contextlib.closing(log.consumer("g")) as consumer:
                    assert ids(drain(consumer, 2)) == ["e0", "e1"]
        finally:
            with psycopg.connect(plain, autocommit=True) as connection:
                connection.execute("DROP OWNED BY writer")
                connection.execute("DROP ROLE writer")

    def test_a_wrong_date_stays_with_its_match(self, server: PostgresServer) -> None:
        """As after an append while the server's clock was ten years ahead; all are in one partition."""
        import psycopg

        url = server.new_database()
        ahead_ms = 3_650 * 86_400_000
        with contextlib.closing(open_eventlog(f"{url}?partitions=1")) as log:
            log.append([note("e1", "m1"), note("e1", "m2")])
            with psycopg.connect(url) as connection:
                connection.execute(
                    "UPDATE touchline.records SET appended_ms = appended_ms + %s WHERE match_id = 'm1'",
                    (ahead_ms,),
                )
                connection.execute("UPDATE touchline.partitions SET last_ms = last_ms + %s", (ahead_ms,))
            log.append([note("e2", "m1"), note("e2", "m2"), note("e1", "m3")])
            wrong, right, begun = (
                [record.appended_ms for record in log.read_match(match_id)] for match_id in ("m1", "m2", "m3")
            )
        assert wrong[0] == wrong[1]
        assert right[0] <= right[1] == begun[0] < wrong[0] - ahead_ms / 2


@pytest.mark.services
class TestKafka(DurableSuite, SharedContract):
    @pytest.fixture(scope="class")
    @classmethod
    def broker(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
        broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
        yield broker
        broker.stop()

    @pytest.fixture
    def own_url(self, broker: KafkaBroker) -> str:
        return f"kafka://{broker.address}/test-{uuid.uuid4().hex}?partitions=4"

    def write_rubbish(self, url: str, payload: str, match_id: str) -> None:
        from confluent_kafka import Producer

        servers, _, topic = url.removeprefix("kafka://").partition("?")[0].partition("/")
        # As any other client would: the partition is left to librdkafka's murmur2.
        producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2"})
        producer.produce(topic, key=match_id, value=payload.encode())
        assert producer.flush(10) == 0

    def test_event_where_it_does_not_belong_is_set_aside(
        self, own_url: str, open_again: Callable[[], EventLog]
    ) -> None:
        """Another client's partitioner or key would split a match between two workers."""
        from confluent_kafka import Producer

        log = open_again()
        log.append([note("e0")])
        [record] = log.read_match("m1")
        servers, _, topic = own_url.removeprefix("kafka://").partition("?")[0].partition("/")
        producer = Producer({"bootstrap.servers": servers})
        value = encode_event(note("e1"))
        producer.produce(topic, key="m1", value=value, partition=(record.partition + 1) % 4)
        producer.produce(topic, key="another", value=value, partition=record.partition)
        producer.produce(topic, value=value, partition=record.partition)
        producer.produce(topic, key="m1", value=None, partition=record.partition)
        assert producer.flush(10) == 0
        log.append([note("e2")])
        with contextlib.closing(log.consumer(None)) as consumer:
            read: list[LogRecord] = []
            while records := consumer.poll(0.2):
                read += records
        assert ids(read) == ids(list(log.read_match("m1"))) == ["e0", "e2"]
        assert len(log.dead_letters().pending()) == 4

    def test_record_too_large_for_a_letter_blocks_nothing(
        self, own_url: str, open_again: Callable[[], EventLog]
    ) -> None:
        """The largest record of a broker, with a reason added, is more than a producer sends by default."""
        from confluent_kafka import Producer

        log = open_again()
        servers, _, topic = own_url.removeprefix("kafka://").partition("?")[0].partition("/")
        producer = Producer(
            {"bootstrap.servers": servers, "message.max.bytes": 2_000_000, "partitioner": "murmur2"}
        )
        producer.produce(topic, key="m1", value=b"x" * 1_040_000)
        assert producer.flush(10) == 0
        log.append([note("e0")])
        with contextlib.closing(log.consumer("g")) as consumer:
            assert ids(drain(consumer, 1)) == ["e0"]
        [letter] = log.dead_letters().pending()
        assert letter.payload == b"x" * 900_000
        assert letter.reason.endswith("(the first 900000 of 1040000 bytes are kept here)")

    def test_what_is_no_letter_among_the_letters_is_passed_over(
        self, own_url: str, open_again: Callable[[], EventLog]
    ) -> None:
        from confluent_kafka import Producer

        log = open_again()
        log.append([note("e0")])
        self.write_rubbish(own_url, "{{{", "m1")
        servers, _, topic = own_url.removeprefix("kafka://").partition("?")[0].partition("/")
        producer = Producer({"bootstrap.servers": servers})
        for key in (b"hello", b"1-", b"\xff", None):
            producer.produce(f"{topic}.dlq", value=b"x", key=key)
        assert producer.flush(10) == 0
        with contextlib.closing(log.consumer(None)) as consumer:
            while consumer.poll(0.2):
                pass
        assert [letter.payload for letter in log.dead_letters().pending()] == [b"{{{"]

    def test_topic_that_cannot_be_a_log_is_refused(self, broker: KafkaBroker) -> None:
        from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

        admin = AdminClient({"bootstrap.servers": broker.address})
        name = f"test-{uuid.uuid4().hex}"
        compacted = NewTopic(name, num_partitions=1, config={"cleanup.policy": "compact"})
        admin.create_topics([compacted])[name].result(10)
        with pytest.raises(ConfigError, match=r"cleanup.policy=compact"):
            open_eventlog(f"kafka://{broker.address}/{name}")

    def test_number_of_partitions_is_the_topic_s(self, own_url: str) -> None:
        with contextlib.closing(open_eventlog(own_url)) as log:
            log.append([note("e", f"m{number}") for number in range(30)])
        with contextlib.closing(open_eventlog(own_url.replace("partitions=4", "partitions=9"))) as log:
            assert max(record.partition for n in range(30) for record in log.read_match(f"m{n}")) == 3
