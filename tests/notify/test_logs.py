"""The worker on the logs of larger set-ups: nothing is lost and nothing comes twice over its restarts."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from origin.eventlog import EventLog, open_eventlog
from origin.metrics import Metrics
from origin.notify.endpoints import EndpointFile
from origin.notify.worker import NotifyWorker
from testkit.services.kafka import KafkaBroker
from testkit.services.postgres import PostgresServer
from testkit.services.webhook_receiver import WebhookReceiver
from tests.notify.test_worker import SECRET, goal, kinds, retraction, write_endpoints

pytestmark = pytest.mark.services


@contextmanager
def log_url(kind: str, directory: Path) -> Iterator[str]:
    if kind == "postgres":
        postgres = PostgresServer()
        try:
            yield f"{postgres.new_database()}?partitions=4"
        finally:
            postgres.stop()
    else:
        (directory / "kafka").mkdir()
        broker = KafkaBroker(directory / "kafka")
        try:
            yield f"kafka://{broker.address}/events-{uuid.uuid4().hex[:8]}?partitions=4"
        finally:
            broker.stop()


@contextmanager
def working(log: EventLog, directory: Path, endpoints: Path) -> Iterator[None]:
    worker = NotifyWorker(
        log, group="notify", outbox_path=directory / "webhooks.db",
        endpoint_file=EndpointFile(endpoints), metrics=Metrics(),
    )  # fmt: skip
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(timeout=60)
        assert not thread.is_alive()


@pytest.mark.parametrize("kind", ["postgres", "kafka"])
def test_a_restart_loses_nothing_and_repeats_nothing(kind: str, tmp_path: Path) -> None:
    with (
        log_url(kind, tmp_path) as url,
        closing(open_eventlog(url)) as log,
        WebhookReceiver(SECRET) as receiver,
    ):
        endpoints = write_endpoints(tmp_path / "endpoints.toml", desk=receiver.url)
        first = goal("m1")
        with working(log, tmp_path, endpoints):
            # A log on other machines has another clock: the endpoint must be known before the first event.
            _wait_until_known(tmp_path / "webhooks.db")
            log.append([first, goal("m2")])
            receiver.wait_for(2, timeout_s=60)
        log.append([retraction(first), goal("m3")])
        with working(log, tmp_path, endpoints):
            log.append([goal("m2", minute=80)])
            received = receiver.wait_for(5, timeout_s=60)
    assert sorted(kinds(received)) == ["correction", *["goal"] * 4]
    assert len({one.id for one in received}) == len(receiver.received) == 5
    scores = [
        one.content["data"]["score"]["home"] for one in received if one.content["data"]["match"]["id"] == "m2"
    ]
    assert scores == [1, 2]


def _wait_until_known(outbox: Path) -> None:
    import time

    from origin.notify.outbox import Outbox

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if outbox.exists():
            with closing(Outbox(outbox)) as box:
                if box.since([], 0):
                    time.sleep(0.2)
                    return
        time.sleep(0.05)
    raise AssertionError("the worker did not look at its endpoints")
