"""Long-polls that a plain cache can hold: their answers as bytes, no I/O.

``GET /api/match/<id>/deltas/<epoch>-<seq>/<slice>`` asks for what comes after an id during a slice of the
server's time. The answer never changes: deltas after an id are a contiguous run, and a slice without one
stays silent. So both may be cached for a year, and a cache that merges equal requests asks the origin once
for each of them (docs/protocol.md section 4). A cached silence that is wrong moves no cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from origin.bus import Published
from origin.ladder.advice import NO_ADVICE, Advice
from origin.stream.http.cache_headers import IMMUTABLE, cache_headers
from origin.stream.http.cors import READABLE_BY_ANY_STREAM
from origin.stream.http.framing import answer
from shared_state import DeltaId

__all__ = ["BODY_MAX_BYTES", "accepted_ms_of", "body", "held_head", "run_of", "whole"]

#: Deltas of one answer; the rest is behind its ``next``. A whole answer fits into a socket's buffer.
BODY_MAX_BYTES: Final = 32_768
# An ended match may be corrected, so a shared cache asks again each minute.
_ENDED: Final = "public, max-age=60"


class _Accepted(msgspec.Struct):
    """The part of a delta that says when the log took it."""

    a: int = 0


_accepted_in = msgspec.json.Decoder(_Accepted).decode


def accepted_ms_of(delta: Published) -> int:
    """When the log took a delta, UTC milliseconds."""
    return delta.id.epoch + _accepted_in(delta.delta).a


def run_of(deltas: Sequence[Published]) -> tuple[list[bytes], DeltaId | None]:
    """As many of the first deltas as one answer carries, as JSON, and the id of the last of them."""
    run: list[bytes] = []
    size, last = 0, None
    for one in deltas:
        item = b'["%b",%b]' % (str(one.id).encode(), one.delta)
        size += len(item)
        if run and size > BODY_MAX_BYTES:
            break
        run.append(item)
        last = one.id
    return run, last


def body(
    match_id: str,
    after: DeltaId,
    run: Sequence[bytes],
    *,
    next_id: DeltaId,
    next_slice: int,
    as_of_ms: int,
    ended: bool = False,
    advice: Advice = NO_ADVICE,
) -> bytes:
    """The body of an answer.

    Args:
        match_id: the match.
        after: the id that was asked for.
        run: the deltas behind it, by ``run_of``; empty for silence.
        next_id: where the client stands then.
        next_slice: the slice to ask for next.
        as_of_ms: until when this is the whole truth, UTC milliseconds.
        ended: whether nobody needs to ask again.
        advice: what the server tells its pages beside; how late it is, is in ``as_of_ms`` already.
    """
    return b'{"match_id":"%b","after":"%b","deltas":[%b],"next":{"id":"%b","slice":%d},"as_of":%d%b%b}' % (
        match_id.encode(),
        str(after).encode(),
        b",".join(run),
        str(next_id).encode(),
        next_slice,
        as_of_ms,
        b',"ended":true' if ended else b"",
        b',"step":%d' % advice.step if advice.step else b"",
    )


def whole(data: bytes, match_id: str, *, keep_alive: bool, ended: bool = False) -> bytes:
    """The bytes of an answer about a match with this body."""
    headers = {
        "Content-Type": "application/json",
        **cache_headers(_ENDED if ended else IMMUTABLE, match_id),
        "X-Content-Type-Options": "nosniff",
        **READABLE_BY_ANY_STREAM,
    }
    return answer(200, headers, data, keep_alive=keep_alive)


def held_head(*, keep_alive: bool) -> bytes:
    """The head of an answer that is not known yet: it has no length, and nobody may keep it."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store", **READABLE_BY_ANY_STREAM}
    whole_head = answer(200, headers, keep_alive=keep_alive)
    return whole_head.replace(b"Content-Length: 0\r\n", b"")
