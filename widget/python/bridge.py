"""Between the browser's worker and ``shared_state``: JSON text in, JSON text out.

Runs under MicroPython, once the build has lowered it, and under Pyodide as it is.

One request, one reply, both strings: a string crosses from JavaScript in one copy, an object in one call
per key. ``calls.js`` passes them on unread; ``live-match.js`` writes the requests and reads the replies.

=============  ===========================================  ==========================================
``op``         also in the request                          does
=============  ===========================================  ==========================================
``language``   ``tag``, ``dir``, ``texts``: a catalogue     learns a language; English is known
``restore``    ``snapshot``: the snapshot's text            goes on from a snapshot
``receive``    ``deltas``: ``[[id, text], …]``, in order    folds deltas
``check``      ``id``, ``hash``: a heartbeat's              compares with the server
``snapshot``                                                gives a snapshot to keep for later
``close``                                                   forgets the match
=============  ===========================================  ==========================================

``restore`` also takes ``language``, a tag: the ``html`` is in that language, as the server's fragment of it
is. Without it, it is in English and does not say so. ``receive`` also takes ``spoken``, the id up to which
there is nothing to announce, and ``spoken_ms``, the same for deltas that the log took before (UTC ms).

Each request names its ``slot``: one replica of one match (two elements with different delays have two),
and its ``match``. Each reply has ``receipt``, a ``shared_state.Receipt``'s value, and, where there is a
replica, ``id`` and ``accepted_ms``. If the match moved on it also has ``html``, ``announce``,
``notifications`` (of all deltas, in order) and ``hash``. ``need_snapshot`` has the ``reason``. Whatever
cannot be read asks for a snapshot: this end has nothing better to go on from, and the server has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from shared_state import DeltaId, Match, Receipt, Replica, SharedStateError, decode_delta
from shared_state.announce import announcement
from shared_state.jsontext import JsonObject, compact
from shared_state.language import ENGLISH, Language
from shared_state.notifications import notifications
from shared_state.view import scoreboard

__all__ = ["Bridge", "handle"]


# Nobody listens to more at once; the page of a reader who was away for an hour does not speak an hour.
SPOKEN_MAX: Final = 8


class Bridge:
    """The replicas of one page."""

    def __init__(self) -> None:
        self._replicas: dict[str, Replica] = {}
        self._languages: dict[str, Language] = {ENGLISH.tag: ENGLISH}
        # By slot; None for English that does not say so.
        self._language_of: dict[str, Language | None] = {}

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
            case "language":
                tag = asked["tag"]
                self._languages[tag] = Language(tag, asked["dir"], asked["texts"])
                return {"receipt": Receipt.IN_STEP.value}
            case "restore":
                self._replicas[slot] = Replica.restore(asked["snapshot"])
                tag = asked.get("language")
                self._language_of[slot] = None if tag is None else self._languages[tag]
                return self._moved(slot, [], [])
            case "close":
                self._replicas.pop(slot, None)
                self._language_of.pop(slot, None)
                return {"receipt": Receipt.IN_STEP.value}
            case op if slot not in self._replicas:
                return self._need_snapshot(slot, f"{op} before restore")
            case "receive":
                return self._receive(slot, asked)
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

    def _receive(self, slot: str, asked: JsonObject) -> JsonObject:
        """Fold deltas in order; one picture for all of them, since only the last would be seen.

        Every one of the last ``SPOKEN_MAX`` is announced: of two goals at once a listener must hear both.
        """
        replica = self._replicas[slot]
        match_id: str = asked["match"]
        deltas: Sequence[Sequence[str]] = asked["deltas"]
        spoken_id = DeltaId.parse(asked["spoken"]) if asked.get("spoken") else None
        spoken_ms: float = asked.get("spoken_ms") or 0
        language = self._language_of.get(slot) or ENGLISH
        start, receipt = replica.position, Receipt.DUPLICATE
        spoken: list[str] = []
        step_from: Match | None = None
        notified: list[Sequence[JsonObject]] = []
        for id_text, data in deltas:
            delta = decode_delta(match_id, DeltaId.parse(id_text), data)
            before = replica.match
            receipt = replica.receive(delta)
            if receipt is Receipt.NEED_SNAPSHOT:
                return self._need_snapshot(slot, f"delta {id_text} does not follow {replica.position}")
            if receipt is Receipt.APPLIED:
                is_old = delta.accepted_ms < spoken_ms or (spoken_id is not None and delta.id <= spoken_id)
                spoken.append("" if is_old else announcement(before, replica.match, delta.event, language))
                step_from = before
                notified.append(notifications(before, replica.match, delta.event, replica.position))
        if replica.position == start:
            return self._stands(slot, receipt)
        return self._moved(slot, spoken, notified, step_from)

    def _stands(self, slot: str, receipt: Receipt) -> JsonObject:
        replica = self._replicas[slot]
        return {"receipt": receipt.value, "id": str(replica.position), "accepted_ms": replica.accepted_ms}

    def _moved(
        self,
        slot: str,
        spoken: Sequence[str],
        notified: Sequence[Sequence[JsonObject]],
        before: Match | None = None,
    ) -> JsonObject:
        replica = self._replicas[slot]
        said = spoken[-1] if spoken else ""
        return {
            **self._stands(slot, Receipt.APPLIED),
            # Without a clock: the text is the same as the server's fragment at this id, byte for byte, but
            # for the notifications, which are beside it here.
            "html": scoreboard(
                replica.match,
                replica.position,
                announcement=said,
                before=before,
                language=self._language_of.get(slot),
            ),
            "announce": " ".join(filter(None, spoken[-SPOKEN_MAX:])),
            "notifications": [one for of_delta in notified for one in of_delta],
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
