"""A match as one row of the list of matches: what that list needs, without the match's events.

A row is made from a snapshot and costs a fraction of restoring it: the score and the clock are copied, and
only the few events that decide the status, the names and the running minute are read. It carries the id of
its snapshot, so that a reader can tell a row that is older than the match's head.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Final, NamedTuple

import msgspec

from shared_state import PROTOCOL_VERSION, DeltaId, Event, Match, Replica, fold
from shared_state.events import TYPES_OF_PLAY
from shared_state.match import Score, match_hash
from shared_state.view import NO_UPDATES, Summary, summary_row
from shared_state.wire import snapshot_version
from shared_state.wording import MINUTE_MS, Ticking, believed_until, minute_phrase, ticking

__all__ = ["ENDED_STATUSES", "MatchRow", "status_of"]

#: After one of these a match changes by a correction only.
ENDED_STATUSES: Final = frozenset({"FT", "AET", "FT_PENS", "CANCELLED", "ABANDONED", "AWARDED"})
# The first member of an encoded row. It rises with every change of what a row has or says: a reader makes a
# row of another layout anew from the snapshot. 3: a running score without goals is no official result.
_LAYOUT: Final = 5
# A match of ninety minutes is over by then, whenever it began.
_OVER_BY_MS: Final = 150 * MINUTE_MS
_DECIDING: Final = frozenset({"STATUS_CHANGE", "MATCH_INFO", "SCORE_OVERRIDE"})
# ``shared_state.encode_snapshot`` writes the status last, so no snapshot has to be parsed to find it.
_LAST_MEMBER: Final = re.compile(rb'"status":"([A-Z_]+)"\}$')
_LAST_MEMBER_BYTES: Final = 64


class MatchRow(NamedTuple):
    """One match in the list.

    Attributes:
        id: the id of the snapshot that the row was made from.
        hash: the hash of the match's state at that id.
        status: the match status.
        summary: what the row says, with the furthest minute known.
        running: how the minute runs; None while it is stopped or not known.
        delayed_ms: when a running match without news is called delayed, UTC milliseconds; None for never.
    """

    id: DeltaId
    hash: str
    status: str
    summary: Summary
    running: Ticking | None
    delayed_ms: int | None

    @property
    def match_id(self) -> str:
        """The match."""
        return self.summary.match_id

    @property
    def day(self) -> str:
        """The UTC day of the kick-off, ``2026-11-27``; empty if no source gave one."""
        return self.summary.kickoff_iso[:10]

    @property
    def ended(self) -> bool:
        """Whether the match is over, so that only a correction can change it."""
        return self.status in ENDED_STATUSES

    def at(self, now_ms: int) -> tuple[Summary, int | None]:
        """The row at one moment.

        Args:
            now_ms: UTC milliseconds, to let the minute run to.

        Returns:
            The text, and the UTC milliseconds from which it may differ; None if only a delta changes it.
        """
        summary, running, doubtful_ms = self.summary, self.running, self.delayed_ms
        if doubtful_ms is not None and now_ms >= doubtful_ms:
            return summary._replace(notes=(*summary.notes, NO_UPDATES)), None  # no minute is believed by then
        if summary.kickoff_ms is not None:
            # A match that should have begun is not coming up, whatever is not known of it.
            marks = (summary.kickoff_ms, summary.kickoff_ms + _OVER_BY_MS)
            overdue = sum(mark <= now_ms for mark in marks)
            return summary._replace(overdue=overdue), next((mark for mark in marks if mark > now_ms), None)
        summary = summary._replace(running=running, doubtful_ms=doubtful_ms)
        if running is None:
            return summary, doubtful_ms
        minutes = (now_ms - running.start_ms) // MINUTE_MS
        until_ms = running.start_ms + (minutes + 1) * MINUTE_MS
        minute = running.minute(now_ms)
        if minute is None:
            return summary, until_ms
        status = minute_phrase(min(minute, running.limit), max(0, minute - running.limit))
        return summary._replace(status=status), until_ms

    @classmethod
    def of_snapshot(cls, data: bytes) -> MatchRow | None:
        """The row of a match at a snapshot (``shared_state.encode_snapshot``); None if it is no snapshot."""
        try:
            if snapshot_version(data) != PROTOCOL_VERSION:
                # Its members may be by other rules: a release before counted goals of the shoot-out.
                data = Replica.restore(data).snapshot()
            value: dict[str, Any] = msgspec.json.decode(data)
            match = _reduced(value)
            return cls(
                id=DeltaId(value["epoch"], value["seq"]),
                hash=value["hash"],
                status=match.status,
                summary=summary_row(match),
                running=ticking(match),
                delayed_ms=believed_until(match),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            # WireError and InvalidEvent are ValueErrors. Bytes that are no snapshot make no row.
            return None

    @classmethod
    def of_match(cls, match: Match, id_: DeltaId) -> MatchRow:
        """The row of a match at an id: equal to that of its snapshot, which need not be written for it."""
        return cls(
            id_, match_hash(match), match.status, summary_row(match), ticking(match), believed_until(match)
        )

    def encode(self) -> bytes:
        """The row as bytes, for ``decode``."""
        return msgspec.json.encode((_LAYOUT, self))

    @classmethod
    def decode(cls, data: bytes | None) -> MatchRow | None:
        """What ``encode`` wrote; None if it is not that, or of another layout, which has other words."""
        if not data:
            return None
        try:
            layout, row = _decode_row(data)
        except msgspec.DecodeError:
            return None
        return row if layout == _LAYOUT else None


_decode_row = msgspec.json.Decoder(tuple[int, MatchRow]).decode


class _Status(msgspec.Struct):
    status: str = ""


_read_status = msgspec.json.Decoder(_Status).decode


def status_of(snapshot: bytes) -> str:
    """The match status in a snapshot; empty if it has none."""
    last = _LAST_MEMBER.search(snapshot, max(0, len(snapshot) - _LAST_MEMBER_BYTES))
    if last is not None:
        return last[1].decode()
    try:
        return _read_status(snapshot).status
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _reduced(value: dict[str, Any]) -> Match:
    """The match of a snapshot with only those events that a row depends on.

    The status, the names, the override and the start of the running minute come from the deciding events. The
    clock is that of one event of play at the furthest moment. The counts are those of the snapshot.
    """
    clock = value["clock"]
    furthest = (clock["period"], clock["minute"], clock["stoppage"])
    wanted: list[dict[str, Any]] = []
    for body in value["events"]:
        if body["type"] in _DECIDING:
            wanted.append(body)
        elif body["type"] in TYPES_OF_PLAY:
            moment_of_body = (body.get("period"), body.get("minute"), body.get("stoppage", 0))
            if moment_of_body == furthest:
                wanted.append(body)
                furthest = ("", None, 0)  # one is enough
    match_id = value["match_id"]
    match = fold(match_id, [Event.from_json({**body, "match_id": match_id}) for body in wanted])
    shootout = value["shootout"]
    return dataclasses.replace(
        match,
        goals=Score(value["goals"]["home"], value["goals"]["away"]),
        kicks_scored=Score(0, 0) if shootout is None else Score(shootout["home"], shootout["away"]),
        kicks_taken=0 if shootout is None else 1,
    )
