"""Dead letters: records that a log holds and nobody can use, set aside so that they block nothing.

A record is set aside when its bytes are not an event (another program wrote to the log, or a later
version of this one) or when a worker cannot fold it. It keeps its bytes, the reason and its place.
``touchline dlq`` lists them; a letter that has become readable, say after an upgrade, is driven again:
appended at the end of the log, where its being late is no different from any late event.

What ``POST /ingest`` refuses never gets here: its sender has been told, and has the event still. A vendor
that is polled is told nothing, so what ``touchline ingest`` cannot read is kept here too. It has no place
in the log; its number is made of its bytes, and the same garbage polled a hundred times is one letter. It
is evidence, not an event: the vendor's next good document says all that it said, and it is not driven again.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["DOCUMENT_OFFSETS", "DeadLetter", "DeadLetters", "MemoryDeadLetters"]

# Offsets from here on are no places: no log gets so long. Below 2**63, which is what databases can hold.
DOCUMENT_OFFSETS: Final = 2**62


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record set aside.

    Attributes:
        partition, offset: where in the log it is.
        at_ms: when it was set aside, UTC milliseconds.
        reason: why, one line.
        payload: its bytes as they are in the log.
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
        """A letter for what a vendor sent.

        Args:
            source: which feed of which match it came from.
            at_ms: UTC milliseconds.
            reason: what is wrong with it, one line.
            payload: its bytes, or the first of them.
        """
        digest = hashlib.sha256(source.encode("utf-8") + b"\0" + payload).digest()
        number = int.from_bytes(digest[:8], "big") % DOCUMENT_OFFSETS
        return cls(0, DOCUMENT_OFFSETS + number, at_ms, f"{source}: {reason}", payload)


class DeadLetters(Protocol):
    """The letters of one log, named by their place: three regions that meet a record set aside one letter."""

    def add(self, letter: DeadLetter) -> None:
        """Set a record aside. Durable when it returns.

        Nothing if its place has a letter, or had one that was removed: a record is met again by each new
        region, and by whoever reads the log from its beginning.

        Raises:
            EventLogError: it may not be set aside.
        """

    def pending(self) -> list[DeadLetter]:
        """All letters, by place."""

    def remove(self, letter: DeadLetter) -> None:
        """It has been dealt with, for good; nothing if it is not there.

        Where a reader sets the record aside in the same second (Kafka), the letter may be listed once more.
        To drive it again then is as harmless as any repetition.
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
