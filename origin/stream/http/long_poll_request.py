"""The address of a long poll: ``/api/match/<match>/deltas/<epoch>-<seq>/<slice>``. No I/O.

A slice is ten seconds of the server's time: ``floor(UTC milliseconds / 10,000)``. Each question has one
spelling, so that a cache asks for it once.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from origin.errors import RequestError
from shared_state import DeltaId, WireError

__all__ = ["CACHED_BRIEFLY", "SLICE_MS", "LongPollTarget", "is_long_poll", "read_target"]

SLICE_MS: Final = 10_000
#: Of a refusal that may be wrong in a moment: a million clients with it cost one question a second.
CACHED_BRIEFLY: Final = "public, max-age=0, s-maxage=1"
_PATH: Final = re.compile(r"/api/match/([^/]*)/deltas/([^/]*)/([^/]*)")
_MATCH_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Twelve digits of slices are 300,000 years.
_SLICE: Final = re.compile(r"0|[1-9][0-9]{0,11}")
_SHOWN: Final = 64


class LongPollTarget(NamedTuple):
    """What a long poll asks for: the deltas of a match after an id, and until when to wait for one."""

    match_id: str
    after: DeltaId
    slice: int


def is_long_poll(path: str) -> bool:
    """Whether a path, already decoded, is that of a long poll."""
    return path.startswith("/api/match/") and _PATH.fullmatch(path) is not None


def read_target(path: str, query: str) -> LongPollTarget:
    """Read the address of a long poll.

    Raises:
        RequestError: 400 or 404, cached for a second.
    """
    found = _PATH.fullmatch(path)
    if found is None:
        raise _refusal(404, "not_found", f"no such address: {path[:_SHOWN]!r}")
    name, id_text, slice_text = found.groups()
    if query:
        raise _refusal(400, "unexpected_query", f"a long poll has no query, got {query[:_SHOWN]!r}")
    if not _MATCH_ID.fullmatch(name):
        raise _refusal(404, "unknown_match", f"no match {name[:_SHOWN]!r}")
    try:
        after = DeltaId.parse(id_text)
    except WireError:
        after = None
    if after is None or str(after) != id_text:
        raise _refusal(400, "bad_id", f"an id must be <epoch>-<seq>, got {id_text[:_SHOWN]!r}")
    if not _SLICE.fullmatch(slice_text):
        raise _refusal(
            400, "bad_slice", f"a slice must be a number of 1 to 12 digits, got {slice_text[:_SHOWN]!r}"
        )
    return LongPollTarget(name, after, int(slice_text))


def _refusal(status: int, code: str, message: str) -> RequestError:
    return RequestError(status, code, message, headers={"Cache-Control": CACHED_BRIEFLY})
