"""Checkpoints: what a log's records of a match were folded to, kept beside them for the next start.

The log does not know what is in them. They can be deleted at any time: the next start takes longer, and
nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from origin.eventlog import Consumer, EventLog, LogRecord

__all__ = ["Checkpoint", "CheckpointLog", "StoredRecord"]

#: A record as it is stored: its offset, its date in UTC milliseconds, and the text of its event.
StoredRecord: TypeAlias = tuple[int, int, str]


class Checkpoint(NamedTuple):
    """What the records of one match were folded to.

    Attributes:
        seal: a digest by which a reader finds whether ``row`` still is what the records are folded to.
        row: the bytes of a ``MatchRow``.
    """

    match_id: str
    seal: bytes
    row: bytes


@runtime_checkable
class CheckpointLog(EventLog, Protocol):
    """A log of one partition that keeps checkpoints. Each method raises ``EventLogError`` if it fails."""

    def last_offset(self) -> int:
        """The offset of the newest record; 0 if there is none."""

    def match_ids(self, until: int) -> list[str]:
        """The matches that have records up to an offset, in the order of their first ones."""

    def stored_records(self, match_id: str, until: int) -> list[StoredRecord]:
        """The records of a match up to an offset as they are stored, oldest first."""

    def read_stored(self, match_id: str, stored: StoredRecord) -> LogRecord | None:
        """What is stored, as a record; None if it is not an event, which is then dead-lettered."""

    def consumer_after(self, offset: int) -> Consumer:
        """A reader without a group that starts behind an offset."""

    def checkpoints(self) -> dict[str, Checkpoint]:
        """All checkpoints, by match."""

    def write_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Write checkpoints in the place of those that their matches had."""
