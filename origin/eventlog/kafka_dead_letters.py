"""The dead letters of the Kafka log: a compacted topic whose key is the record's partition and offset.

Removing a dead letter writes a removal marker, not a tombstone: compaction drops tombstones after a day,
but the unreadable record stays in the log. Each new region reads it again, and so does each refill of a bus
from the log, and it would be listed again each time.
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
# never an event; all of it stays in the log.
LETTER_MAX_BYTES = 900_000
LETTER_KEY = re.compile(rb"([0-9]{1,9})-([0-9]{1,19})")
REMOVED = "removed"
# The topic is read for other regions' dead letters at most once in this time, so that a flood of garbage is
# not slowed down by a read for each. At worst a dead letter is written twice, and compaction keeps one.
REFRESH_S = 1.0


class _Log(Protocol):
    """The part of the log that its dead letters use."""

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
        # The ids of all dead letters, also of removed ones, and how far the topic has been read for them.
        self._known: set[str] = set()
        self._read_to = 0
        self._next_refresh_s = 0.0

    def add(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.add``."""
        with self._lock:
            if letter.id not in self._known:
                self._refresh()
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
        letters: dict[str, DeadLetter | None] = {}  # None: removed
        for message in self._log.reader.scan(self._topic, 0):
            letter = self._letter(message)
            if letter is None:
                logger.warning("%s has a record that is no dead letter, key %r", self._topic, message.key())
            elif letter.is_document and message.value() is None:
                letters.pop(letter.id, None)  # it was forgotten, and may come again
            elif _is_removal(message):
                letters[letter.id] = None
            elif letters.get(letter.id, letter) is not None:
                letters[letter.id] = letter
        return sorted(filter(None, letters.values()), key=lambda letter: (letter.partition, letter.offset))

    def remove(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.remove``."""
        self._log.send(self._topic, [(0, letter.id, b"")], [(REMOVED, b"1")])

    def forget_documents(self, before_ms: int) -> None:
        """See ``DeadLetters.forget_documents``; a tombstone lets compaction drop all of a document."""
        old = [one for one in self.pending() if one.is_document and one.at_ms < before_ms]
        if old:
            self._log.send(self._topic, [(0, letter.id, None) for letter in old])

    def _refresh(self) -> None:
        """Read which dead letters other processes have added or removed."""
        now_s = time.monotonic()
        if now_s < self._next_refresh_s:
            return
        for message in self._log.reader.scan(self._topic, 0, self._read_to):
            letter_id = (message.key() or b"").decode("utf-8", "replace")
            if message.value() is None:
                self._known.discard(letter_id)  # a document that was forgotten
            else:
                self._known.add(letter_id)
            self._read_to = (message.offset() or 0) + 1
        self._next_refresh_s = now_s + REFRESH_S

    @staticmethod
    def _letter(message: Message) -> DeadLetter | None:
        key = LETTER_KEY.fullmatch(message.key() or b"")
        if key is None:
            return None
        reason = dict(message.headers() or ()).get("reason") or b""
        return DeadLetter(
            int(key[1]),
            int(key[2]),
            message.timestamp()[1],
            reason if isinstance(reason, str) else reason.decode("utf-8", "replace"),
            message.value() or b"",
        )


def _is_removal(message: Message) -> bool:
    """Whether a message removes the dead letter of its key; a tombstone does until compaction drops it."""
    return message.value() is None or REMOVED in dict(message.headers() or ())
