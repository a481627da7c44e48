"""The synthetic match: its ids, its events, and where a watcher of it stands.

There is a match for each hour, so that none grows: one event, ``beat``, whose revision rises. Every worker
makes the same events, and a revision that comes twice is a duplicate. So it does not matter how many append
them, nor whose clock is right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeVar

import msgspec

from shared_state import DeltaId, Event

__all__ = [
    "CANARY_PREFIX",
    "Beat",
    "CanaryPosition",
    "beat",
    "end",
    "hour_of",
    "is_canary",
    "match_id_of",
    "rev_in",
    "without_canaries",
]

#: The ids of all canary matches begin so. Nobody else may append to them, and no reader is shown one.
CANARY_PREFIX: Final = "touchline-canary-"
_Row = TypeVar("_Row")
_HOUR_MS: Final = 3_600_000
_BEAT: Final = "beat"
_POSITION: Final = re.compile(r"([0-9]{1,15}) ([0-9]{1,15})-([0-9]{1,15})")


def is_canary(match_id: str) -> bool:
    """Whether an id is a canary's."""
    return match_id.startswith(CANARY_PREFIX)


def without_canaries(rows: Mapping[str, _Row]) -> Mapping[str, _Row]:
    """Rows of a list, by match, without those that no reader is shown."""
    if any(map(is_canary, rows)):
        return {match_id: row for match_id, row in rows.items() if not is_canary(match_id)}
    return rows


def match_id_of(hour: int) -> str:
    """The canary of an hour, counted from 1970."""
    return f"{CANARY_PREFIX}{hour}"


def hour_of(now_ms: int) -> int:
    """The hour of a moment, UTC milliseconds."""
    return now_ms // _HOUR_MS


def beat(match_id: str, rev: int) -> Event:
    """The event of a revision: the same, whoever makes it."""
    return Event(match_id=match_id, event_id=_BEAT, rev=rev, op="ADD", type="NOTE", detail={"text": "canary"})


def end(match_id: str) -> Event:
    """The event that ends a canary, so that nothing keeps it in memory."""
    return Event(
        match_id=match_id,
        event_id="end",
        rev=1,
        op="ADD",
        type="STATUS_CHANGE",
        period="POST",
        detail={"to": "FT"},
    )


class Beat(NamedTuple):
    """A beat as a viewer got it.

    Attributes:
        rev: its revision; 0 where the frame does not say.
        accepted_ms: when the log took it, UTC milliseconds; None where the frame does not say.
    """

    id: DeltaId
    rev: int
    accepted_ms: int | None


class CanaryPosition(NamedTuple):
    """How far a worker has heard the canary. Positions compare as the beats came."""

    hour: int
    id: DeltaId

    def encode(self) -> str:
        """The position as text, for ``decode``."""
        return f"{self.hour} {self.id}"

    @classmethod
    def decode(cls, text: str) -> CanaryPosition | None:
        """What ``encode`` wrote; None if it did not write that."""
        found = _POSITION.fullmatch(text)
        if found is None:
            return None
        hour, epoch, seq = map(int, found.groups())
        return cls(hour, DeltaId(epoch, seq))


class _SnapshotEvent(msgspec.Struct):
    event_id: str = ""
    rev: int = 0


class _Snapshot(msgspec.Struct):
    events: list[_SnapshotEvent] = []


def rev_in(snapshot: bytes) -> int:
    """The revision of the beat in a snapshot of a canary; 0 if it has none."""
    try:
        found = msgspec.json.decode(snapshot, type=_Snapshot)
    except msgspec.DecodeError:
        return 0
    return max((event.rev for event in found.events if event.event_id == _BEAT), default=0)
