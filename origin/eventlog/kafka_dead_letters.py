"""The dead letters of the Kafka log: a compacted topic, the place as key.

A letter that was dealt with leaves a mark, not a tombstone: compaction forgets tombstones after a day, but
the record that nobody can read stays in the log. It is met again by each new region, and whenever a bus is
filled again from the log, and would be listed anew each time.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from confluent_kafka import Message

from origin.eventlog.deadletter import DeadLetter
from origin.eventlog.kafka_reader import KafkaReader
from origin.eventlog.kafka_topic import KafkaSettings

__all__ = ["KafkaDeadLetters"]

logger = logging.getLogger(__name__)

# Below what a producer may send by default (1,000,000 bytes), with room for the reason. A longer record is
# no event; the whole of it stays in the log at its place.
LETTER_MAX_BYTES = 900_000
LETTER_KEY = re.compile(rb"([0-9]{1,9})-([0-9]{1,19})")
REMOVED = "removed"
# A flood of garbage need not look before each letter whether another region has put it there: the worst is
# a letter that is written twice, and compaction keeps one.
LOOK_S = 1.0


class _Log(Protocol):
    """What the letters need of their log."""

    settings: KafkaSettings
    reader: KafkaReader

    def send(
        self,
        topic: str,
        messages: Sequence[tuple[int, str, bytes | None]],
        headers: list[tuple[str, str | bytes | None]] | None = None,
    ) -> None: ...


class KafkaDeadLetters:
    """See ``origin.eventlog.deadletter.DeadLetters``."""

    def __init__(self, log: _Log) -> None:
        self._log = log
        self._topic = log.settings.dead_letter_topic
        self._lock = threading.Lock()
        # Places that have a letter or had one, and how far the topic has been read for them.
        self._known: set[str] = set()
        self._read_to = 0
        self._look_at_s = 0.0

    def add(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.add``."""
        with self._lock:
            if letter.id not in self._known:
                self._look()
            if letter.id in self._known:
                return
        reason, payload = letter.reason, letter.payload
        if len(payload) > LETTER_MAX_BYTES:
            reason += f" (the first {LETTER_MAX_BYTES} of {len(payload)} bytes are kept here)"
            payload = payload[:LETTER_MAX_BYTES]
        headers: list[tuple[str, str | bytes | None]] = [
            ("reason", reason.encode("utf-8", "backslashreplace")),
            ("topic", self._log.settings.topic.encode("utf-8")),
        ]
        self._log.send(self._topic, [(0, letter.id, payload)], headers)
        with self._lock:
            self._known.add(letter.id)

    def pending(self) -> list[DeadLetter]:
        """See ``DeadLetters.pending``."""
        letters: dict[str, DeadLetter | None] = {}  # None: dealt with
        for message in self._log.reader.scan(self._topic, 0):
            letter = self._letter(message)
            if letter is None:
                logger.warning("%s has a record that is no letter, key %r", self._topic, message.key())
            elif _is_mark(message):
                letters[letter.id] = None
            elif letters.get(letter.id, letter) is not None:
                letters[letter.id] = letter
        return sorted(filter(None, letters.values()), key=lambda letter: (letter.partition, letter.offset))

    def remove(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.remove``."""
        self._log.send(self._topic, [(0, letter.id, b"")], [(REMOVED, b"1")])

    def _look(self) -> None:
        """Learn which places other processes have dealt with, or have put a letter for."""
        now_s = time.monotonic()
        if now_s < self._look_at_s:
            return
        for message in self._log.reader.scan(self._topic, 0, self._read_to):
            self._known.add((message.key() or b"").decode("utf-8", "replace"))
            self._read_to = (message.offset() or 0) + 1
        self._look_at_s = now_s + LOOK_S

    @staticmethod
    def _letter(message: Message) -> DeadLetter | None:
        place = LETTER_KEY.fullmatch(message.key() or b"")
        if place is None:
            return None
        reason = dict(message.headers() or ()).get("reason") or b""
        return DeadLetter(
            int(place[1]),
            int(place[2]),
            message.timestamp()[1],
            reason if isinstance(reason, str) else reason.decode("utf-8", "replace"),
            message.value() or b"",
        )


def _is_mark(message: Message) -> bool:
    """Whether it says that the letter of its place was dealt with; a tombstone says so for a while."""
    return message.value() is None or REMOVED in dict(message.headers() or ())
