"""Events as a test or a golden transcript writes them: short, of one match, valid.

The period is the one the minute falls in unless a test says otherwise, as for a feed that says none.
"""

from __future__ import annotations

from typing import Any

from shared_state import Event

__all__ = ["MATCH_ID", "add", "amend", "goal", "kick", "retract", "status", "with_op"]

MATCH_ID = "fra-cro"


def with_op(op: str, event_id: str, type_: str = "", /, **fields: Any) -> Event:
    """The event, with the defaults that a feed may rely on."""
    given = {"match_id": MATCH_ID, "event_id": event_id, "rev": 1, "op": op, **fields}
    return Event.from_json(given if op == "RETRACT" else {"type": type_, **given})


def add(event_id: str, type_: str, /, **fields: Any) -> Event:
    """An ADD at revision 1."""
    return with_op("ADD", event_id, type_, **fields)


def amend(event_id: str, type_: str, /, **fields: Any) -> Event:
    """An AMEND at revision 2."""
    return with_op("AMEND", event_id, type_, **{"rev": 2, **fields})


def retract(event_id: str, /, **fields: Any) -> Event:
    """A RETRACT at revision 1, the same as the ADD it takes back."""
    return with_op("RETRACT", event_id, **fields)


def goal(event_id: str, team: str, minute: int, player: str | None = None, /, **fields: Any) -> Event:
    """An ADD of a goal."""
    return add(event_id, "GOAL", team=team, minute=minute, player=player, **fields)


def status(event_id: str, to: str, period: str, /, **fields: Any) -> Event:
    """An ADD of a STATUS_CHANGE."""
    return add(event_id, "STATUS_CHANGE", period=period, detail={"to": to}, **fields)


def kick(event_id: str, team: str, order: int, *, scored: bool) -> Event:
    """An ADD of a kick of the shoot-out."""
    return add(event_id, "SHOOTOUT_KICK", period="PENS", team=team, detail={"order": order, "scored": scored})
