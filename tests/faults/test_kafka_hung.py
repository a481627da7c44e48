"""A Kafka that is stopped: the deadlines of those who read one partition do not add up."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from origin.errors import EventLogError
from origin.eventlog import open_eventlog
from testkit.services.kafka import KafkaBroker
from tests.eventlog.contract import ids, note

pytestmark = pytest.mark.services

READERS = 20
TIMEOUT_S = 3
# For all readers together; one after another they would take longer than this.
PATIENCE_S = 40


def test_readers_of_one_partition_wait_for_one_deadline(tmp_path: Path) -> None:
    broker = KafkaBroker(tmp_path)
    try:
        url = f"kafka://{broker.address}/hung?partitions=1&replication=1&timeout_s={TIMEOUT_S}"
        with closing(open_eventlog(url)) as log:
            log.append([note("e1")])
            assert ids(list(log.read_match("m1"))) == ["e1"]
            errors: list[EventLogError] = []

            def read() -> None:
                try:
                    list(log.read_match("m1"))
                except EventLogError as error:
                    errors.append(error)

            broker.pause()
            readers = [threading.Thread(target=read, daemon=True) for _ in range(READERS)]
            for reader in readers:
                reader.start()
            waited = threading.Event()
            for _ in range(PATIENCE_S * 10):
                if len(errors) == READERS:
                    break
                waited.wait(0.1)
            count = len(errors)
            broker.resume()
            assert count == READERS
            log.append([note("e2")])
            assert ids(list(log.read_match("m1"))) == ["e1", "e2"]
    finally:
        broker.resume()
        broker.stop()
