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

For a reader with a delay ``restore`` takes ``unseen``, the ids of events that were taken back before they
were shown: the board is without them. ``receive`` then takes ``seen``, the id that is shown: what comes and
is taken back within the deltas behind it joins them, and is neither announced nor notified of. An event that
comes back leaves them.

Each request names its ``slot``: one replica of one match (two elements with different delays have two),
and its ``match``. Each reply has ``receipt``, a ``shared_state.Receipt``'s value, and, where there is a
replica, ``id`` and ``accepted_ms``. If the match moved on it also has ``html``, ``announce``,
``notifications`` (of all deltas, in order) and ``hash``. ``need_snapshot`` has the ``reason``. Whatever
cannot be read asks for a snapshot: this end has nothing better to go on from, and the server has.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Final

from shared_state import Delta, DeltaId, Match, Receipt, Replica, SharedStateError, decode_delta
from shared_state.announce import announcement
from shared_state.jsontext import JsonObject, compact
from shared_state.language import ENGLISH, Language
from shared_state.notifications import notifications
from shared_state.spoiler_delay import without
from shared_state.view import scoreboard

__all__ = ["Bridge", "handle"]


# Nobody listens to more at once; the page of a reader who was away for an hour does not speak an hour.
SPOKEN_MAX: Final = 8


class Bridge:
    """The replicas of one page."""

    def __init__(self) -> None:
        self._replicas: dict[str, Replica] = {}
        self._languages: dict[str, Language] = {ENGLISH.tag: ENGLISH}
        # By slot, where there is a delay.
        self._unseen: dict[str, frozenset[str]] = {}
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
                self._unseen.pop(slot, None)
                if asked.get("unseen") is not None:
                    self._unseen[slot] = frozenset(asked["unseen"])
                tag = asked.get("language")
                self._language_of[slot] = None if tag is None else self._languages[tag]
                return self._moved(slot, [], [])
            case "close":
                self._replicas.pop(slot, None)
                self._unseen.pop(slot, None)
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
        steps: list[tuple[Delta, Match, Match]] = []
        for id_text, data in deltas:
            delta = decode_delta(match_id, DeltaId.parse(id_text), data)
            before = replica.match
            receipt = replica.receive(delta)
            if receipt is Receipt.NEED_SNAPSHOT:
                return self._need_snapshot(slot, f"delta {id_text} does not follow {replica.position}")
            if receipt is Receipt.APPLIED:
                steps.append((delta, before, replica.match))
        if replica.position == start:
            return self._stands(slot, receipt)
        spoken: list[str] = []
        step_from: Match | None = None
        notified: list[Sequence[JsonObject]] = []
        hidden = self._hidden(slot, steps, DeltaId.parse(asked["seen"]) if asked.get("seen") else None)
        for number in range(len(steps)):
            delta, before, after = steps[number]
            hidden_before, hidden_after = hidden[number]
            if delta.event.event_id in hidden_after:
                spoken.append("")
                step_from = None
                continue
            before, after = without(before, hidden_before), without(after, hidden_after)
            is_old = delta.accepted_ms < spoken_ms or (spoken_id is not None and delta.id <= spoken_id)
            spoken.append("" if is_old else announcement(before, after, delta.event, language))
            step_from = before
            notified.append(notifications(before, after, delta.event, delta.id))
        return self._moved(slot, spoken, notified, step_from)

    def _hidden(
        self, slot: str, steps: Sequence[tuple[Delta, Match, Match]], seen: DeltaId | None
    ) -> Sequence[tuple[Collection[str], Collection[str]]]:
        """For each step the events that a reader with a delay is not shown before and after it; else none."""
        known = self._unseen.get(slot)
        if known is None:
            return [((), ()) for _ in steps]
        unseen = set(known)
        came: set[str] = set()
        gone_with: dict[str, int] = {}
        states: list[frozenset[str]] = []
        for number in range(len(steps)):
            delta, before, after = steps[number]
            event_id = delta.event.event_id
            states.append(frozenset(unseen))
            if seen is not None and delta.id <= seen:
                continue  # it is in what was shown
            did_count, counts = _counts(before, event_id), _counts(after, event_id)
            if counts and not did_count:
                # One that was shown struck through stays on the board whatever becomes of it.
                if event_id in unseen or event_id not in before.records:
                    came.add(event_id)
                unseen.discard(event_id)
            elif did_count and not counts and event_id in came:
                unseen.add(event_id)
                gone_with[event_id] = number
        self._unseen[slot] = frozenset(unseen)
        hidden = []
        for number in range(len(steps)):
            later = {event_id for event_id, last in gone_with.items() if last >= number}
            hidden.append((states[number] | later, unseen | later))
        return hidden

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
        unseen = self._unseen.get(slot, frozenset())
        return {
            **self._stands(slot, Receipt.APPLIED),
            # Without a clock: the text is the same as the server's fragment at this id, byte for byte, but
            # for the notifications, which are beside it here.
            "html": scoreboard(
                without(replica.match, unseen),
                replica.position,
                announcement=said,
                before=before,
                language=self._language_of.get(slot),
                unseen=unseen,
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


def _counts(match: Match, event_id: str) -> bool:
    record = match.records.get(event_id)
    return record is not None and record.live is not None


_page = Bridge()


def handle(request: str) -> str:
    """Answer one request for this page; the one name that both workers call."""
    return _page.handle(request)
