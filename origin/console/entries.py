"""What an operator's browser sends, as events.

One entry is one to eight changes, which go into the log together.

An entry has an id that the browser drew when the key was pressed. It is the webhook-id in the log's records,
so the same entry, sent again after a lost connection, is in the log once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from origin.errors import RequestError
from shared_state import Event, InvalidEvent, Match
from shared_state.errors import shown
from shared_state.jsontext import Json, JsonObject

__all__ = [
    "AGE_MAX_MS",
    "CHANGES_MAX",
    "ENTRY_ID",
    "SOURCE",
    "Change",
    "Entry",
    "parse_entry",
    "rev_of",
    "to_events",
]

#: The ``source`` of events that were entered here.
SOURCE: Final = "console"
#: A penalty that is overturned changes three events; the rest is room.
CHANGES_MAX: Final = 8
#: An entry that waited for a network longer than this is about another day.
AGE_MAX_MS: Final = 24 * 3_600_000
#: As a webhook-id.
ENTRY_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,128}")
_EVENT_ID: Final = re.compile(r"[!-~]{1,128}")
_OPS: Final = ("ADD", "AMEND", "RETRACT")
_BODY: Final = (
    *("type", "period", "minute", "stoppage", "team", "player", "player2", "detail", "status", "reason"),
)
_CHANGE_KEYS: Final = frozenset({"op", "event_id", "base_rev", "at_ms", *_BODY})
_REV_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Change:
    """One event that is added, amended or taken back.

    Attributes:
        base_rev: the revision that the operator saw; 0 for an event that is new.
        at_ms: when it happened, UTC milliseconds, where the operator says so; of a STATUS_CHANGE alone.
        body: the fields of the event, unchecked.
    """

    op: str
    event_id: str
    base_rev: int
    at_ms: int | None
    body: JsonObject


@dataclass(frozen=True, slots=True)
class Entry:
    """What one key or one form entered.

    Attributes:
        age_ms: how long ago that was when it was sent; more than a moment where it waited for a network.
    """

    id: str
    age_ms: int
    changes: tuple[Change, ...]


def parse_entry(message: Mapping[str, Json]) -> Entry:
    """Read an entry; what the events say is checked by ``to_events``.

    Raises:
        RequestError: 422, with what is wrong.
    """
    id_, age_ms, changes = message.get("id"), message.get("age_ms", 0), message.get("changes")
    if not isinstance(id_, str) or not ENTRY_ID.fullmatch(id_):
        raise _bad(f"id {shown(id_)}: must be 8 to 128 of A-Z a-z 0-9 _ -")
    if type(age_ms) is not int or age_ms < 0:
        raise _bad(f"age_ms {shown(age_ms)}: must be an integer from 0")
    if age_ms > AGE_MAX_MS:
        raise RequestError(422, "entry_too_old", "this was entered more than a day ago; enter it again")
    if not isinstance(changes, list) or not 1 <= len(changes) <= CHANGES_MAX:
        raise _bad(f"changes: must be a list of 1 to {CHANGES_MAX}")
    read = tuple(_change(change) for change in changes)
    if len({change.event_id for change in read}) < len(read):
        raise _bad("changes: an entry changes each event once")
    return Entry(id_, age_ms, read)


def _change(value: Json) -> Change:
    if not isinstance(value, Mapping):
        raise _bad(f"change {shown(value)}: must be an object")
    if unknown := sorted(set(value) - _CHANGE_KEYS):
        raise _bad(f"change: no key {shown(unknown[0])}")
    op, event_id, base_rev, at_ms = (value.get(name) for name in ("op", "event_id", "base_rev", "at_ms"))
    if not isinstance(op, str) or op not in _OPS:
        raise _bad(f"op {shown(op)}: must be one of {' '.join(_OPS)}")
    if not isinstance(event_id, str) or not _EVENT_ID.fullmatch(event_id):
        raise _bad(f"event_id {shown(event_id)}: must be 1 to 128 printable ASCII characters without spaces")
    if type(base_rev) is not int or not 0 <= base_rev <= _REV_MAX or (base_rev == 0) != (op == "ADD"):
        raise _bad(f"base_rev {shown(base_rev)}: must be 0 for ADD, and the revision that was seen for {op}")
    if at_ms is not None and (type(at_ms) is not int or value.get("type") != "STATUS_CHANGE"):
        raise _bad(f"at_ms {shown(at_ms)}: must be UTC milliseconds, and of a STATUS_CHANGE")
    return Change(op, event_id, base_rev, at_ms, {name: value[name] for name in _BODY if name in value})


def rev_of(match: Match, event_id: str) -> int:
    """The revision in force of an event, its retraction included; 0 if the match has no such event."""
    record = match.records.get(event_id)
    if record is None:
        return 0
    return max(event.rev for event in (record.body, record.tombstone) if event is not None)


def to_events(entry: Entry, match: Match, now_ms: int) -> list[Event]:
    """The events of an entry, dated.

    A new event is dated with the moment at which its key was pressed. An amendment keeps the date of its
    event, and so its place among the others. A status is dated behind the latest one, as
    ``origin.ingest.times`` does for webhooks: a feed's clock may be ahead of ours, and a status that is not
    the latest would not count.

    Raises:
        RequestError: 422, with the field that cannot be.
    """
    pressed_ms = now_ms - entry.age_ms
    latest = match.deciding.get("STATUS_CHANGE")
    events = []
    for number, change in enumerate(entry.changes, start=1):
        dated_ms: int | None = pressed_ms
        known = match.records.get(change.event_id)
        if change.at_ms is not None:
            dated_ms = change.at_ms
        elif change.op == "AMEND" and known is not None and known.body is not None:
            dated_ms = known.body.source_ts
        elif change.op == "ADD" and change.body.get("type") == "STATUS_CHANGE" and latest is not None:
            dated_ms = max(pressed_ms, (latest.source_ts or 0) + 1)
        try:
            event = Event.from_json(
                {
                    **change.body,
                    "match_id": match.match_id,
                    "event_id": change.event_id,
                    "rev": change.base_rev + 1,
                    "op": change.op,
                    "source": SOURCE,
                    "source_ts": dated_ms,
                }
            )
        except InvalidEvent as error:
            raise RequestError(
                422, error.code, f"change {number}: {error}", change=number, field=error.field
            ) from None
        events.append(event)
    return events


def _bad(message: str) -> RequestError:
    return RequestError(422, "bad_entry", message)
