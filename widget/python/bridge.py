"""Between the browser's worker and ``shared_state``: JSON text in, JSON text out.

Runs under MicroPython, once the build has lowered it, and under Pyodide as it is.

One request, one reply, both strings: a string crosses from JavaScript in one copy, an object in one call
per key. ``calls.js`` passes them on unread; ``live-match.js`` writes the requests and reads the replies.

=============  ===========================================  ==========================================
``op``         also in the request                          does
=============  ===========================================  ==========================================
``restore``    ``snapshot``: the snapshot's text            goes on from a snapshot
``receive``    ``deltas``: ``[[id, text], …]``, in order    folds deltas
``check``      ``id``, ``hash``: a heartbeat's              compares with the server
``snapshot``                                                gives a snapshot to keep for later
``close``                                                   forgets the match
=============  ===========================================  ==========================================

Each request names its ``slot``: one replica of one match (two elements with different delays have two),
and its ``match``. Each reply has ``receipt``, a ``shared_state.Receipt``'s value, and, where there is a
replica, ``id`` and ``accepted_ms``. If the match moved on it also has ``html``, ``announce`` and
``hash``. ``need_snapshot`` has the ``reason``. Whatever cannot be read asks for a snapshot: this end has
nothing better to go on from, and the server has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from shared_state import DeltaId, Receipt, Replica, SharedStateError, decode_delta
from shared_state.announce import announcement
from shared_state.jsontext import JsonObject, compact
from shared_state.view import scoreboard

__all__ = ["Bridge", "handle"]


# Nobody listens to more at once; the page of a reader who was away for an hour does not speak an hour.
SPOKEN_MAX: Final = 8


class Bridge:
    """The replicas of one page."""

    def __init__(self) -> None:
        self._replicas: dict[str, Replica] = {}

    def handle(self, request: str) -> str:
        """Answer one request; see the top of this module."""
        asked: JsonObject = json.loads(request)  # written by live-match.js, not by a stranger
        slot = asked["slot"]
        try:
            reply = self._answer(asked, slot)
        except SharedStateError as error:
            reply = self._need_snapshot(slot, str(error))
        return compact(reply)

    def _answer(self, asked: JsonObject, slot: str) -> JsonObject:
        match asked["op"]:
            case "restore":
                self._replicas[slot] = Replica.restore(asked["snapshot"])
                return self._moved(slot, [])
            case "close":
                self._replicas.pop(slot, None)
                return {"receipt": Receipt.IN_STEP.value}
            case op if slot not in self._replicas:
                return self._need_snapshot(slot, f"{op} before restore")
            case "receive":
                return self._receive(slot, asked["match"], asked["deltas"])
            case "check":
                receipt = self._replicas[slot].check(DeltaId.parse(asked["id"]), asked["hash"])
                if receipt is Receipt.NEED_SNAPSHOT:
                    return self._need_snapshot(slot, f"the server is at {asked['id']} {asked['hash']}")
                return self._stands(slot, receipt)
            case "snapshot":
                snapshot = self._replicas[slot].snapshot().decode("utf-8")
                return {**self._stands(slot, Receipt.IN_STEP), "snapshot": snapshot}
            case op:
                raise ValueError(f"unknown op {op!r}")

    def _receive(self, slot: str, match_id: str, deltas: Sequence[Sequence[str]]) -> JsonObject:
        """Fold deltas in order; one picture for all of them, since only the last would be seen.

        Every one of the last ``SPOKEN_MAX`` is announced: of two goals at once a listener must hear both.
        """
        replica = self._replicas[slot]
        start, receipt = replica.position, Receipt.DUPLICATE
        spoken: list[str] = []
        for id_text, data in deltas:
            delta = decode_delta(match_id, DeltaId.parse(id_text), data)
            before = replica.match
            receipt = replica.receive(delta)
            if receipt is Receipt.NEED_SNAPSHOT:
                return self._need_snapshot(slot, f"delta {id_text} does not follow {replica.position}")
            if receipt is Receipt.APPLIED:
                spoken.append(announcement(before, replica.match, delta.event))
        return self._stands(slot, receipt) if replica.position == start else self._moved(slot, spoken)

    def _stands(self, slot: str, receipt: Receipt) -> JsonObject:
        replica = self._replicas[slot]
        return {"receipt": receipt.value, "id": str(replica.position), "accepted_ms": replica.accepted_ms}

    def _moved(self, slot: str, spoken: Sequence[str]) -> JsonObject:
        replica = self._replicas[slot]
        return {
            **self._stands(slot, Receipt.APPLIED),
            # Without a clock: the text is the same as the server's fragment at this id, byte for byte.
            "html": scoreboard(replica.match, replica.position, announcement=spoken[-1] if spoken else ""),
            "announce": " ".join(filter(None, spoken[-SPOKEN_MAX:])),
            "hash": replica.hash(),
        }

    def _need_snapshot(self, slot: str, reason: str) -> JsonObject:
        reply: JsonObject = {"receipt": Receipt.NEED_SNAPSHOT.value, "reason": reason}
        if slot in self._replicas:
            reply["id"] = str(self._replicas[slot].position)
        return reply


_page = Bridge()


def handle(request: str) -> str:
    """Answer one request for this page; the one name that both workers call."""
    return _page.handle(request)
