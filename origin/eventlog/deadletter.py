"""Dead letters: records of a log that cannot be used, kept apart so that they block nothing.

A record is dead-lettered when its bytes are not an event: another program wrote to the log, or a later
version of this one. On Kafka its key and partition must be those of its match, too. The dead letter has the
record's bytes, its partition and offset, and the reason. ``touchline dlq`` lists dead letters. One that has
become readable, for example after an upgrade, can be redriven: it is appended at the end of the log, and
folds like any other late event.

An event that ``POST /ingest`` refuses is not dead-lettered: its sender gets the error and still has the
event. A vendor that is polled gets no error, so a document that ``touchline ingest`` cannot read becomes a
dead letter too. It has no offset in the log; its number is made from its bytes, so the same garbage polled
a hundred times is one dead letter. It is evidence, not an event: the vendor's next good document replaces
it, so it is not redriven.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["DOCUMENT_OFFSETS", "DeadLetter", "DeadLetters", "MemoryDeadLetters"]

# Numbers from here on are documents: no log has so many offsets. Below 2**63, the limit of databases.
DOCUMENT_OFFSETS: Final = 2**62


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter.

    Attributes:
        partition, offset: where the record is in the log.
        at_ms: when it was dead-lettered, UTC milliseconds.
        reason: why, in one line of text.
        payload: the record's bytes as they are in the log.
    """

    partition: int
    offset: int
    at_ms: int
    reason: str
    payload: bytes

    @property
    def id(self) -> str:
        """Its name on the command line."""
        return f"{self.partition}-{self.offset}"

    @property
    def is_document(self) -> bool:
        """Whether it is a vendor's document, which never was in the log."""
        return self.offset >= DOCUMENT_OFFSETS

    @classmethod
    def of_document(cls, source: str, at_ms: int, reason: str, payload: bytes) -> DeadLetter:
        """The dead letter of a vendor's document.

        Args:
            source: the feed and the match that it came from.
            at_ms: UTC milliseconds.
            reason: what is wrong with it, in one line of text.
            payload: its bytes, or the first of them.
        """
        digest = hashlib.sha256(source.encode("utf-8") + b"\0" + payload).digest()
        number = int.from_bytes(digest[:8], "big") % DOCUMENT_OFFSETS
        return cls(0, DOCUMENT_OFFSETS + number, at_ms, f"{source}: {reason}", payload)


class DeadLetters(Protocol):
    """The dead letters of one log, by partition and offset: three regions that read a record add it once."""

    def add(self, letter: DeadLetter) -> None:
        """Add a dead letter. Durable on return.

        Nothing if its partition and offset have one, or had one that was removed: each new region, and each
        reader that starts at the beginning of the log, reads the record again.

        Raises:
            EventLogError: it may not be stored.
        """

    def pending(self) -> list[DeadLetter]:
        """All dead letters that were not removed, by partition and offset.

        Raises:
            EventLogError: they cannot be read.
        """

    def remove(self, letter: DeadLetter) -> None:
        """Remove a dead letter for good; nothing if there is none.

        If a reader dead-letters the same record in the same second (Kafka), it may be listed once more.
        Redriving it then is as harmless as any repeated event.

        Raises:
            EventLogError: it may not be removed.
        """

    def forget_documents(self, before_ms: int) -> None:
        """Remove vendors' documents that were dead-lettered before a moment (UTC milliseconds) for good.

        They never were in the log, so no reader adds them again. Dead letters of records stay.

        Raises:
            EventLogError: some may not be removed.
        """


class MemoryDeadLetters:
    """See ``DeadLetters``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._letters: dict[tuple[int, int], DeadLetter | None] = {}  # None: removed

    def add(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.add``."""
        with self._lock:
            self._letters.setdefault((letter.partition, letter.offset), letter)

    def pending(self) -> list[DeadLetter]:
        """See ``DeadLetters.pending``."""
        with self._lock:
            return [letter for _, letter in sorted(self._letters.items()) if letter is not None]

    def remove(self, letter: DeadLetter) -> None:
        """See ``DeadLetters.remove``."""
        with self._lock:
            self._letters[letter.partition, letter.offset] = None

    def forget_documents(self, before_ms: int) -> None:
        """See ``DeadLetters.forget_documents``."""
        for letter in self.pending():
            if letter.is_document and letter.at_ms < before_ms:
                with self._lock:
                    self._letters.pop((letter.partition, letter.offset), None)
