"""``text/event-stream`` framing (WHATWG HTML, section 9.2), apart from what carries it.

Every frame is built once and shared by all viewers as the same ``bytes``.
"""

from __future__ import annotations

from collections.abc import Iterable

from origin.bus import Published
from origin.ladder.advice import NO_ADVICE, Advice
from origin.stream.http.cors import READABLE_BY_ANY_STREAM
from shared_state import DeltaId, WireError
from shared_state.jsontext import Json, compact

__all__ = [
    "COMMENT",
    "CONTENT_TYPE",
    "HEARTBEAT_S",
    "STREAM_HEADERS",
    "delta_frame",
    "end_frame",
    "end_json",
    "gap_frame",
    "gap_json",
    "heartbeat_frame",
    "heartbeat_json",
    "heartbeat_member",
    "last_event_id",
    "match_delta_frame",
    "match_gap_frame",
    "retry_frame",
    "set_heartbeat_frame",
    "websocket_message",
]

#: Sent behind deltas: some virus scanners and proxies hold back the last event that they have seen.
COMMENT = b":\n\n"
CONTENT_TYPE = "text/event-stream; charset=utf-8"
# Proxies close idle connections after 30 to 60 s; two heartbeats fit in the shorter.
HEARTBEAT_S = 15.0
STREAM_HEADERS = {
    "Content-Type": CONTENT_TYPE,
    # no-transform: a proxy that compresses holds frames back until its buffer is full.
    "Cache-Control": "no-store, no-transform",
    "CDN-Cache-Control": "no-store, no-transform",
    # nginx buffers a response unless a header says not to; it does not infer it from the type.
    "X-Accel-Buffering": "no",
    "Access-Control-Allow-Origin": READABLE_BY_ANY_STREAM["Access-Control-Allow-Origin"],
    "X-Content-Type-Options": "nosniff",
}


def delta_frame(published: Published) -> bytes:
    """A ``score`` event. The delta is compact JSON, hence one line."""
    return b"id: %b\nevent: score\ndata: %b\n\n" % (str(published.id).encode(), published.delta)


def match_delta_frame(match_id: str, published: Published) -> bytes:
    """A ``score`` event of one of several matches; its id names the match."""
    return b"event: score\nid: %b@%b\ndata: %b\n\n" % (
        match_id.encode(),
        str(published.id).encode(),
        published.delta,
    )


def match_gap_frame(match_id: str, head: DeltaId) -> bytes:
    """A ``gap`` event of one of several matches."""
    data = compact(
        {
            "match_id": match_id,
            "epoch": head.epoch,
            "seq": head.seq,
            "snapshot": f"/api/match/{match_id}/state",
        }
    )
    return f"event: gap\nid: {match_id}@{head}\ndata: {data}\n\n".encode()


def end_frame(match_id: str, reason: str) -> bytes:
    """An ``end`` event: this match says no more on this stream. It has no ``id:``."""
    return b"event: end\ndata: %b\n\n" % end_json(match_id, reason).encode()


def end_json(match_id: str, reason: str) -> str:
    """``{match_id, reason}``; the reason is ``ended`` or ``unknown_match``."""
    return compact({"match_id": match_id, "reason": reason})


def set_heartbeat_frame(
    server_ms: int, matches: Iterable[bytes], cursor: str | None = None, advice: Advice = NO_ADVICE
) -> bytes:
    """A ``heartbeat`` event of several matches.

    Args:
        server_ms: the time, UTC milliseconds.
        matches: of each match what ``heartbeat_member`` gave.
        cursor: where the list stands; None for a viewer of none.
        advice: what the server tells its pages beside.
    """
    list_ = b"" if cursor is None else b',"list":"%b"' % cursor.encode()
    return b'event: heartbeat\ndata: {"server_ms":%d,"matches":{%b}%b%b}\n\n' % (
        server_ms,
        b",".join(matches),
        list_,
        advice.members.encode(),
    )


def heartbeat_member(match_id: str, head: DeltaId, hash_: str) -> bytes:
    """Where one of several matches stands: ``"<match>":["<id>","<hash>"]``."""
    return f'"{match_id}":["{head}","{hash_}"]'.encode()


def heartbeat_frame(head: DeltaId, hash_: str, server_ms: int, advice: Advice = NO_ADVICE) -> bytes:
    """A ``heartbeat`` event: where the match stands, so that a viewer can find out that it is wrong.

    It has no ``id:``, so it never moves the id a viewer resumes from.
    """
    return b"event: heartbeat\ndata: %b\n\n" % heartbeat_json(head, hash_, server_ms, advice).encode()


def heartbeat_json(head: DeltaId, hash_: str, server_ms: int, advice: Advice = NO_ADVICE) -> str:
    """``{epoch, seq, hash, server_ms}``, and where there is advice ``step`` and ``late_ms``."""
    text = compact({"epoch": head.epoch, "seq": head.seq, "hash": hash_, "server_ms": server_ms})
    return f"{text[:-1]}{advice.members}}}"


def gap_frame(match_id: str, head: DeltaId) -> bytes:
    """A ``gap`` event: what was missed is gone; here is the snapshot, and the stream goes on from ``head``.

    Its ``id:`` is the head: a viewer that loses the connection right after resumes from there.
    """
    return b"id: %b\nevent: gap\ndata: %b\n\n" % (str(head).encode(), gap_json(match_id, head).encode())


def gap_json(match_id: str, head: DeltaId) -> str:
    """``{epoch, seq, snapshot}``, the last being the snapshot's URL."""
    return compact({"epoch": head.epoch, "seq": head.seq, "snapshot": f"/api/match/{match_id}/state"})


def retry_frame(retry_ms: int) -> bytes:
    """How long this viewer waits before it connects again, drawn for it alone."""
    return b"retry: %d\n\n" % retry_ms


def websocket_message(event: str, data: str | bytes, id_: DeltaId | None = None) -> str:
    """The same three fields as one JSON text message: ``{"id":…,"event":…,"data":{…}}``."""
    text = data.decode() if isinstance(data, bytes) else data
    head: dict[str, Json] = {"event": event} if id_ is None else {"id": str(id_), "event": event}
    return f'{compact(head)[:-1]},"data":{text}}}'


def last_event_id(header: str | None, query: str | None) -> DeltaId | None:
    """Where a viewer wants to resume from: the header wins, since EventSource keeps it current.

    An id nobody here can have given out is None, "from the beginning": the viewer gets a snapshot, which
    is right whatever it has. A stale page must never be refused as wrong.
    """
    for text in (header, query):
        if text:
            try:
                return DeltaId.parse(text.strip())
            except WireError:
                return None
    return None
