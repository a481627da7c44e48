"""How the Kafka log sends: one idempotent producer, and the thread that serves its delivery reports."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from origin.eventlog.kafka_topic import KafkaSettings

__all__ = ["KafkaSender"]

logger = logging.getLogger(__name__)

# Appends within this time share a request; a single one waits for it. It is a hundredth of the time from an
# event to its viewers.
LINGER_MS = 1


class _Deliveries:
    """The delivery reports of one append. Reports come on the thread that polls the producer."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._done = threading.Event()
        self.error: KafkaError | None = None

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Note that one message is stored, or has failed for good."""
        del message
        self.error = self.error or error
        self._left -= 1
        if self._left == 0:
            self._done.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for all reports; returns whether they came in time."""
        return self._done.wait(timeout_s)


class KafkaSender:
    """A producer and the thread that serves its reports; both are replaced if the producer cannot recover."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._timeout_s = settings.timeout_s
        self._producer = Producer(
            {
                **settings.client_config(),
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": LINGER_MS,
                "delivery.timeout.ms": int(settings.timeout_s * 1000),
            },
            logger=logger,
        )
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="kafka-reports", daemon=True)
        self._thread.start()

    def send(
        self,
        topic: str,
        messages: Sequence[tuple[int, str, bytes | None]],
        headers: list[tuple[str, str | bytes | None]] | None = None,
    ) -> None:
        """Send (partition, key, value) and wait until all are stored.

        Raises:
            KafkaException: some may not be.
        """
        deliveries = _Deliveries(len(messages))
        try:
            for partition, key, value in messages:
                self._producer.produce(
                    topic,
                    partition=partition,
                    key=key,
                    value=value,
                    headers=headers,
                    on_delivery=deliveries.report,
                )
        except BufferError:
            raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None
        # librdkafka reports each message by the delivery timeout; the 5 s more are for its own delay.
        if not deliveries.wait(self._timeout_s + 5.0):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        if deliveries.error is not None:
            raise KafkaException(deliveries.error)

    def close(self) -> None:
        """End the thread, and drop messages that no ``send`` waits for any more."""
        self._closing = True
        self._thread.join()
        self._producer.purge()
        self._producer.poll(0)

    def _serve(self) -> None:
        while not self._closing:
            self._producer.poll(0.1)
