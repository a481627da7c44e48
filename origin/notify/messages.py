"""What a webhook says, made from the match before and after one event of the log.

The same event always makes the same bytes under the same id, whoever makes them and however often: a receiver
that keeps the ids that it has handled handles each message once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from shared_state import DeltaId, Event
from shared_state.jsontext import JsonObject, compact
from shared_state.match import Match
from shared_state.notifications import notifications

__all__ = ["Message", "messages"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message, before it is known who gets it.

    Attributes:
        id: the ``webhook-id``.
        kind: ``goal``, ``correction`` or ``status``.
        match_id: the match.
        competition: its competition; None if that is not known.
        accepted_ms: when the log took the event, UTC milliseconds.
        body: the bytes that are signed and sent.
    """

    id: str
    kind: str
    match_id: str
    competition: str | None
    accepted_ms: int
    body: bytes


def messages(
    before: Match, after: Match, event: Event, id_: DeltaId, accepted_ms: int, public_url: str = ""
) -> list[Message]:
    """The messages of one delta, at most two.

    Args:
        before: the match at the delta before.
        after: the match at this one.
        event: what the delta brought.
        id_: the delta's id.
        accepted_ms: when the log took it, UTC milliseconds.
        public_url: the site's address, for the link to the match; empty: there is no link.
    """
    info = None if after.info is None else after.info.detail
    match: JsonObject = {
        "id": after.match_id,
        "home": info["home"] if info else None,
        "away": info["away"] if info else None,
        "competition": info["competition"] if info else None,
        "status": after.status,
        "period": after.clock.period,
    }
    if public_url:
        match["url"] = f"{public_url}/match/{after.match_id}"
    made = []
    for one in notifications(before, after, event, id_):
        kind = str(one["type"])
        content: JsonObject = {
            "type": kind,
            "timestamp": _iso(accepted_ms),
            "data": {"match": match, **{name: value for name, value in one.items() if name != "type"}},
        }
        digest = hashlib.sha256(f"{after.match_id} {id_} {kind}".encode()).hexdigest()
        competition = match["competition"]
        made.append(
            Message(
                f"msg_{digest[:32]}",
                kind,
                after.match_id,
                competition if isinstance(competition, str) else None,
                accepted_ms,
                compact(content).encode("utf-8"),
            )
        )
    return made


def _iso(at_ms: int) -> str:
    return (
        datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
