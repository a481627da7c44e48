"""The wire (docs/protocol.md section 3). The only file that knows the short names of a delta.

A delta is an event as compact JSON, with the score after it. What the reader can know is left out:

=====  ==================  =================================================================
key    field               left out when
=====  ==================  =================================================================
``t``  ``type``            RETRACT
``e``  ``event_id``        never
``o``  ``op``              ADD
``r``  ``rev``             1
``d``  ``period``          it is the one that the minute falls in (``default_period``)
``m``  ``minute``          null
``x``  ``stoppage``        0
``tm`` ``team``            null
``p``  ``player``          null
``q``  ``player2``         null
``k``  ``detail``          empty; in it, each key that has its default
``u``  ``status``          CONFIRMED
``y``  ``reason``          null
``z``  ``source_ts``       null; written as milliseconds after the epoch of the id
``a``  accepted            the log took the event at the epoch; else milliseconds after it
``s``  score after it      never
``so`` shoot-out after it  there is none
=====  ==================  =================================================================

The id is outside of it, as SSE's ``id:``, and is needed to read the delta: times count from its epoch.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from shared_state.errors import InvalidEvent, WireError
from shared_state.events import DETAILS, MATCH_ID_PATTERN, Event, default_period
from shared_state.jsontext import MAX_INTEGER, Json, JsonObject, canonical, compact, parse
from shared_state.match import HASH_CHARS, Match, Score, fold, match_hash, state_text

__all__ = [
    "ATTRIBUTE_AGE",
    "ATTRIBUTE_ANNOUNCE",
    "ATTRIBUTE_AS_OF",
    "ATTRIBUTE_CLOCK_BASE",
    "ATTRIBUTE_CLOCK_LEAST",
    "ATTRIBUTE_CLOCK_LIMIT",
    "ATTRIBUTE_CLOCK_MOST",
    "ATTRIBUTE_CLOCK_START",
    "ATTRIBUTE_DAY",
    "ATTRIBUTE_ELAPSED",
    "ATTRIBUTE_EVENT",
    "ATTRIBUTE_FRESH",
    "ATTRIBUTE_GROUP",
    "ATTRIBUTE_ID",
    "ATTRIBUTE_JSON_LD",
    "ATTRIBUTE_KICKOFF",
    "ATTRIBUTE_LIST_ID",
    "ATTRIBUTE_LOCAL_TIME",
    "ATTRIBUTE_MATCH",
    "ATTRIBUTE_MOMENT",
    "ATTRIBUTE_NOTIFICATIONS",
    "ATTRIBUTE_PHASE",
    "ATTRIBUTE_TEXT",
    "ATTRIBUTE_TITLE",
    "ATTRIBUTE_UNSEEN",
    "ATTRIBUTE_UNTIL",
    "BEACON_META_NAME",
    "DELTA_ACCEPTED",
    "DELTA_DETAIL",
    "DELTA_EVENT_ID",
    "DELTA_OP",
    "DELTA_REV",
    "DELTA_TYPE",
    "EVENT_END",
    "EVENT_GAP",
    "EVENT_HEARTBEAT",
    "EVENT_ROW",
    "EVENT_SCORE",
    "HEADER_AS_OF",
    "HEADER_KEEP",
    "HEADER_RETRY_AFTER",
    "HEADER_STEP",
    "HTML_TYPE",
    "JSON_TYPE",
    "KEY_EPOCH",
    "KEY_HASH",
    "KEY_HTML",
    "KEY_ID",
    "KEY_LANGUAGE",
    "KEY_LATE_MS",
    "KEY_LIST",
    "KEY_LISTS",
    "KEY_MATCHES",
    "KEY_MATCH_ID",
    "KEY_SEQ",
    "KEY_SERVER_MS",
    "KEY_STEP",
    "OFFLINE_META_NAME",
    "OP_AMEND",
    "OP_RETRACT",
    "PROTOCOL_VERSION",
    "QUERY_BEHIND",
    "QUERY_FLUSH",
    "QUERY_LAST_EVENT_ID",
    "QUERY_LIST",
    "QUERY_LIST_ID",
    "QUERY_MATCH",
    "RECEIPT_APPLIED",
    "RECEIPT_IN_STEP",
    "RECEIPT_NEED_SNAPSHOT",
    "RECEIPT_WAITING",
    "SNAPSHOT_ELEMENT_ID",
    "STREAM_TYPE",
    "Delta",
    "DeltaId",
    "decode_delta",
    "decode_snapshot",
    "encode_delta",
    "encode_snapshot",
    "snapshot_version",
]

# Rises when a reader of the old version would misread the new one; the service worker and the loader
# compare it before they trust stored state.
PROTOCOL_VERSION: Final = 2
# Version 1 has the same members and another hash. It is still read, because after an upgrade the bus has the
# snapshots of the release before for as long as their matches do not change.
_FIRST_VERSION: Final = 1

# The names that a loader in another language reads; widget/src/wire.js has the same under the same names.
EVENT_SCORE: Final = "score"
EVENT_GAP: Final = "gap"
EVENT_HEARTBEAT: Final = "heartbeat"
EVENT_ROW: Final = "row"
EVENT_END: Final = "end"
KEY_EPOCH: Final = "epoch"
KEY_SEQ: Final = "seq"
KEY_HASH: Final = "hash"
KEY_SERVER_MS: Final = "server_ms"
KEY_MATCH_ID: Final = "match_id"
KEY_MATCHES: Final = "matches"
KEY_LIST: Final = "list"
KEY_STEP: Final = "step"
KEY_LATE_MS: Final = "late_ms"
# Of a page's address; HTML has the same name for an element's language.
KEY_LANGUAGE: Final = "lang"
# Of a row of the list.
KEY_ID: Final = "id"
KEY_LISTS: Final = "lists"
KEY_HTML: Final = "html"
DELTA_EVENT_ID: Final = "e"
DELTA_OP: Final = "o"
DELTA_REV: Final = "r"
DELTA_TYPE: Final = "t"
DELTA_ACCEPTED: Final = "a"
DELTA_DETAIL: Final = "k"
OP_AMEND: Final = "AMEND"
OP_RETRACT: Final = "RETRACT"
QUERY_LAST_EVENT_ID: Final = "last_event_id"
QUERY_MATCH: Final = "m"
QUERY_LIST: Final = "list"
QUERY_LIST_ID: Final = "list_id"
QUERY_FLUSH: Final = "flush"
QUERY_BEHIND: Final = "behind"
HEADER_RETRY_AFTER: Final = "Retry-After"
HEADER_AS_OF: Final = "Touchline-As-Of"
HEADER_STEP: Final = "Touchline-Step"
HEADER_KEEP: Final = "Touchline-Keep"
STREAM_TYPE: Final = "text/event-stream"
JSON_TYPE: Final = "application/json"
HTML_TYPE: Final = "text/html"
RECEIPT_APPLIED: Final = "applied"
RECEIPT_IN_STEP: Final = "in_step"
RECEIPT_NEED_SNAPSHOT: Final = "need_snapshot"
RECEIPT_WAITING: Final = "waiting"
ATTRIBUTE_AGE: Final = "data-tl-age"
ATTRIBUTE_ANNOUNCE: Final = "data-announce"
ATTRIBUTE_AS_OF: Final = "data-as-of"
ATTRIBUTE_CLOCK_BASE: Final = "data-clock-base"
ATTRIBUTE_CLOCK_LEAST: Final = "data-clock-least"
ATTRIBUTE_CLOCK_LIMIT: Final = "data-clock-limit"
ATTRIBUTE_CLOCK_MOST: Final = "data-clock-most"
ATTRIBUTE_CLOCK_START: Final = "data-clock-start"
ATTRIBUTE_DAY: Final = "data-tl-day"
ATTRIBUTE_ELAPSED: Final = "data-tl-elapsed"
ATTRIBUTE_EVENT: Final = "data-event"
ATTRIBUTE_FRESH: Final = "data-fresh"
ATTRIBUTE_GROUP: Final = "data-tl-group"
ATTRIBUTE_ID: Final = "data-id"
ATTRIBUTE_JSON_LD: Final = "data-json-ld"
ATTRIBUTE_KICKOFF: Final = "data-kickoff"
ATTRIBUTE_LIST_ID: Final = "data-list-id"
ATTRIBUTE_LOCAL_TIME: Final = "data-tl-local"
ATTRIBUTE_MATCH: Final = "data-match"
ATTRIBUTE_MOMENT: Final = "data-moment"
ATTRIBUTE_NOTIFICATIONS: Final = "data-notifications"
ATTRIBUTE_PHASE: Final = "data-phase"
ATTRIBUTE_TEXT: Final = "data-tl-text"
ATTRIBUTE_TITLE: Final = "data-title"
ATTRIBUTE_UNTIL: Final = "data-tl-until"
# The events that a reader with a delay is never shown, as a JSON array.
ATTRIBUTE_UNSEEN: Final = "data-unseen"
SNAPSHOT_ELEMENT_ID: Final = "tl-snapshot"
OFFLINE_META_NAME: Final = "touchline-offline"
BEACON_META_NAME: Final = "touchline-beacons"

_ID_PATTERN: Final = re.compile(r"(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})")
_SHORT: Final = {
    "type": DELTA_TYPE,
    "event_id": DELTA_EVENT_ID,
    "op": DELTA_OP,
    "rev": DELTA_REV,
    "period": "d",
    "minute": "m",
    "stoppage": "x",
    "team": "tm",
    "player": "p",
    "player2": "q",
    "detail": DELTA_DETAIL,
    "status": "u",
    "reason": "y",
    "source_ts": "z",
}


class DeltaId(NamedTuple):
    """Where a viewer is: ``<epoch>-<seq>``, also the SSE id, the Redis Stream id and the poll cursor.

    Attributes:
        epoch: UTC milliseconds at which this match's log began.
        seq: the number of deltas seen, 0 for none.
    """

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> DeltaId:
        """Read ``<epoch>-<seq>``.

        Raises:
            WireError: it is not of that form, or a number is beyond 2**53-1.
        """
        found = _ID_PATTERN.fullmatch(text)
        if found is None:
            raise WireError("an id must be <epoch>-<seq>", text)
        epoch, seq = int(found[1]), int(found[2])
        if max(epoch, seq) > MAX_INTEGER:
            raise WireError("an id's numbers must be at most 2**53-1", text)
        return cls(epoch, seq)


@dataclass(frozen=True, slots=True)
class Delta:
    """One change of a match: the event, its id, and the score once it is applied.

    Attributes:
        accepted_ms: UTC milliseconds at which the log took the event.
    """

    id: DeltaId
    event: Event
    accepted_ms: int
    score: Score
    shootout: Score | None


def encode_delta(delta: Delta) -> bytes:
    """Compact JSON of the delta; the id is not in it."""
    event, epoch = delta.event, delta.id.epoch
    out: JsonObject = {DELTA_EVENT_ID: event.event_id}
    if event.rev != 1:
        out[DELTA_REV] = event.rev
    if event.op != "RETRACT":
        out["t"] = event.type
        if event.period != default_period(event.minute):
            out["d"] = event.period
        if event.minute is not None:
            out["m"] = event.minute
        if event.stoppage:
            out["x"] = event.stoppage
        if event.team is not None:
            out["tm"] = event.team
        if event.player is not None:
            out["p"] = event.player
        if event.player2 is not None:
            out["q"] = event.player2
        detail = _without_defaults(event.type, event.detail)
        if detail:
            out[DELTA_DETAIL] = detail
        if event.status != "CONFIRMED":
            out["u"] = event.status
    if event.reason is not None:
        out["y"] = event.reason
    if event.source_ts is not None:
        out["z"] = event.source_ts - epoch
    if event.op != "ADD":
        out[DELTA_OP] = event.op
    if delta.accepted_ms != epoch:
        out[DELTA_ACCEPTED] = delta.accepted_ms - epoch
    out["s"] = list(delta.score)
    if delta.shootout is not None:
        out["so"] = list(delta.shootout)
    return compact(out).encode("utf-8")


def decode_delta(match_id: str, id_: DeltaId, data: bytes | str) -> Delta:
    """Read what ``encode_delta`` wrote.

    Raises:
        WireError: it is not that; the message says where.
    """
    try:
        value = parse(data)
    except ValueError as error:
        raise WireError(f"a delta must be JSON: {error}", data) from None
    if not isinstance(value, dict):
        raise WireError("a delta must be an object", value)
    given = {name: value[short] for name, short in _SHORT.items() if value.get(short) is not None}
    accepted = value.get(DELTA_ACCEPTED, 0)
    for short, offset in (("z", given.get("source_ts", 0)), (DELTA_ACCEPTED, accepted)):
        if type(offset) is not int:
            raise WireError(f"{short} must be an integer", offset)
    if "source_ts" in given:
        given["source_ts"] += id_.epoch
    if not 0 <= id_.epoch + accepted <= MAX_INTEGER:  # a snapshot has it too, and must be readable
        raise WireError(f"a must lead to a time from 0 to {MAX_INTEGER}", accepted)
    given.setdefault("rev", 1)
    given.setdefault("op", "ADD")
    if given["op"] != "RETRACT" and "period" not in given:
        minute = given.get("minute")
        given["period"] = default_period(minute if type(minute) is int else None)
    try:
        event = Event.from_json({"match_id": match_id, **given})
    except InvalidEvent as error:
        raise WireError(f"a delta must carry an event: {error}", value) from None
    shootout = _score(value, "so") if "so" in value else None
    return Delta(id_, event, id_.epoch + accepted, _score(value, "s"), shootout)


def encode_snapshot(match: Match, id_: DeltaId, accepted_ms: int | None = None) -> bytes:
    """Everything a reader needs to go on alone from ``id_``.

    Args:
        match: the match.
        id_: the id of the last delta in it.
        accepted_ms: when the log took that delta's event, UTC milliseconds: the age of what is shown.
    """
    info = match.info
    head = compact(
        {
            "v": PROTOCOL_VERSION,
            KEY_EPOCH: id_.epoch,
            KEY_SEQ: id_.seq,
            KEY_HASH: match_hash(match),
            "accepted_ms": accepted_ms,
        }
    )
    teams = canonical(None if info is None else info.detail)
    return state_text(match, f'{head[1:-1]},"info":{teams}').encode()


def decode_snapshot(data: bytes | str) -> tuple[Match, DeltaId, int | None]:
    """Read what ``encode_snapshot`` wrote, and prove it: the state is rebuilt and its hash compared.

    Raises:
        WireError: it is not that, of an unknown protocol version, or its hash is not its state's.
    """
    try:
        value = parse(data)
    except ValueError as error:
        raise WireError(f"a snapshot must be JSON: {error}", data) from None
    if not isinstance(value, dict):
        raise WireError("a snapshot must be an object", value)
    version = value.get("v")
    if version not in (_FIRST_VERSION, PROTOCOL_VERSION):
        raise WireError(f"a snapshot must be of protocol version {PROTOCOL_VERSION}", version)
    match_id = value.get(KEY_MATCH_ID)
    if not isinstance(match_id, str) or MATCH_ID_PATTERN.fullmatch(match_id) is None:
        raise WireError("a snapshot must name its match", match_id)
    position = _snapshot_id(value)
    match = fold(match_id, _events(match_id, value))
    given = value.get(KEY_HASH)
    hash_ = match_hash(match) if version == PROTOCOL_VERSION else _first_hash(match)
    if version == _FIRST_VERSION and hash_ != given:
        # Releases of that version counted a GOAL of the shoot-out. The events are right, and so is the fold.
        hash_ = _first_hash(_with_goals_of_shootout(match))
    if hash_ != given:
        raise WireError("a snapshot's hash must be its state's", value.get(KEY_HASH))
    accepted_ms = value.get("accepted_ms")
    if accepted_ms is not None and type(accepted_ms) is not int:
        raise WireError("a snapshot's accepted_ms must be an integer", accepted_ms)
    return match, position, accepted_ms


def _first_hash(match: Match) -> str:
    """The hash of protocol version 1: SHA-256 over the canonical JSON of the whole state."""
    return hashlib.sha256(state_text(match).encode("utf-8")).hexdigest()[:HASH_CHARS]


def _with_goals_of_shootout(match: Match) -> Match:
    """The match with the score that protocol version 1 gave it, which its hash is of."""
    teams = [event.team for event in match.events() if event.type == "GOAL" and event.period == "PENS"]
    goals = match.goals
    return replace(match, goals=Score(goals.home + teams.count("home"), goals.away + teams.count("away")))


def snapshot_version(data: bytes) -> int | None:
    """The protocol version of a snapshot; None if it does not begin as one does."""
    found = re.match(rb'\{"v":([0-9]{1,9}),', data)
    return None if found is None else int(found[1])


def _without_defaults(type_: str, detail: JsonObject) -> JsonObject:
    """The keys of a detail that its reader would not fill in by itself."""
    known = DETAILS.get(type_, {})
    return {
        key: value
        for key, value in detail.items()
        # `is`, not `==`: a default is None, True or False, and 0 == False.
        if key not in known or value is not known[key][1]
    }


def _score(value: JsonObject, short: str) -> Score:
    pair = value.get(short)
    if isinstance(pair, list) and len(pair) == 2 and all(type(n) is int and n >= 0 for n in pair):
        return Score(*pair)
    raise WireError(f"{short} must be two counts", pair)


def _snapshot_id(value: JsonObject) -> DeltaId:
    epoch, seq = value.get(KEY_EPOCH), value.get(KEY_SEQ)
    if type(epoch) is not int or type(seq) is not int or epoch < 0 or seq < 0:
        raise WireError("a snapshot must have an epoch and a seq", [epoch, seq])
    return DeltaId(epoch, seq)


def _events(match_id: str, value: JsonObject) -> list[Event]:
    """Every event that is in a snapshot, in no order.

    They are folded anew, and not put into records as they are: whatever a snapshot says, the result
    is the match of some set of events.
    """
    bodies = _list(value, "events") + _list(value, "pending")
    for item in _list(value, "retracted"):
        if not isinstance(item, dict):
            raise WireError("a snapshot's retracted item must be an object", item)
        bodies += [item.get("event"), item.get("retraction")]
    events = []
    for body in bodies:
        if not isinstance(body, dict):
            raise WireError("a snapshot's event must be an object", body)
        try:
            events.append(Event.from_json({**body, "match_id": match_id}))
        except InvalidEvent as error:
            raise WireError(f"a snapshot must carry events: {error}", body) from None
    return events


def _list(value: JsonObject, name: str) -> list[Json]:
    items = value.get(name)
    if not isinstance(items, list):
        raise WireError(f"a snapshot's {name} must be a list", items)
    return items
