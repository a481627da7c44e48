"""A slow, obviously right model of docs/protocol.md section 2: the oracle for ``shared_state``.

It keeps every event it ever saw, as canonical JSON, in the order of arrival, and answers each question
by reading the whole list again. It imports nothing of ``shared_state``: what it says was written from the
page, rule by rule, and the numbers in its comments are that section's.

It lacks on purpose
-------------------
- validation and defaults: it is fed what ``Event.to_json`` wrote;
- records, counts kept up to date, any cache: there is no second copy of the truth to go stale;
- ids, deltas, snapshots, positions: it has no wire, and knows no feed's name (``source``);
- warnings on conflicts: a warning is about an arrival, and the state is not;
- speed: most questions are quadratic in the number of events.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

__all__ = ["ReferenceModel"]

# Spelled out, not imported: the model would share the mistake.
PERIODS_IN_ORDER = ["PRE", "H1", "HT", "H2", "BREAK_ET", "ET1", "ET_HT", "ET2", "BREAK_PENS", "PENS", "POST"]

# Section 1's list of types, less NOTE: what play tells of itself.
TYPES_OF_PLAY = [
    *("GOAL", "PENALTY_MISSED", "SHOOTOUT_KICK", "YELLOW_CARD", "SECOND_YELLOW", "RED_CARD", "SUBSTITUTION"),
    *("VAR", "STOPPAGE_ANNOUNCED", "STATUS_CHANGE", "SCORE_OVERRIDE", "MATCH_INFO"),
]


class ReferenceModel:
    """One match, as the list of all events that arrived, duplicates and losers included."""

    def __init__(self, match_id: str, events: Iterable[dict[str, Any]] = ()) -> None:
        self.match_id = match_id
        self.arrived: list[dict[str, Any]] = []
        for event in events:
            self.learn(event)

    def learn(self, event: dict[str, Any]) -> None:
        """One more event; which feed it came from and which match it is of are no part of its body."""
        self.arrived.append({key: event[key] for key in event if key not in ("match_id", "source")})

    def event_ids(self) -> list[str]:
        return sorted({event["event_id"] for event in self.arrived})

    def body_of(self, event_id: str) -> dict[str, Any] | None:
        """Rules 1, 2, 4: of its ADD and AMEND alike the one that no other beats."""
        return _unbeaten(e for e in self.arrived if e["event_id"] == event_id and e["op"] != "RETRACT")

    def retraction_of(self, event_id: str) -> dict[str, Any] | None:
        """Rule 3: the RETRACT that holds: one of the body's revision or higher, or one without a body."""
        body = self.body_of(event_id)
        return _unbeaten(
            event
            for event in self.arrived
            if event["event_id"] == event_id
            and event["op"] == "RETRACT"
            and (body is None or event["rev"] >= body["rev"])
        )

    def live(self) -> list[dict[str, Any]]:
        """Rule 8: what counts, in the order that the events themselves give."""
        bodies = [self.body_of(event_id) for event_id in self.event_ids()]
        return sorted(
            (body for body in bodies if body is not None and self.retraction_of(body["event_id"]) is None),
            key=_order,
        )

    def retracted(self) -> list[dict[str, Any]]:
        pairs = [(self.body_of(event_id), self.retraction_of(event_id)) for event_id in self.event_ids()]
        known = [(body, by) for body, by in pairs if body is not None and by is not None]
        return [
            {"event": body, "retraction": by} for body, by in sorted(known, key=lambda pair: _order(pair[0]))
        ]

    def pending(self) -> list[dict[str, Any]]:
        waiting = [self.retraction_of(e) for e in self.event_ids() if self.body_of(e) is None]
        return [retraction for retraction in waiting if retraction is not None]

    def latest(self, type_: str) -> dict[str, Any] | None:
        of_type = [event for event in self.live() if event["type"] == type_]
        return of_type[-1] if of_type else None

    def status(self) -> str:
        change = self.latest("STATUS_CHANGE")
        return "SCHEDULED" if change is None else change["detail"]["to"]

    def period(self) -> str:
        change = self.latest("STATUS_CHANGE")
        return "PRE" if change is None else change["period"]

    def goals(self) -> dict[str, int]:
        """Rules 4, 5: each goal for the side credited, whoever scored it and whatever VAR looks at.

        Rule 7: the shoot-out is never added, so a goal in its period does not count.
        """
        return {
            side: sum(goal["period"] != "PENS" for goal in self._of("GOAL", side))
            for side in ("home", "away")
        }

    def score(self) -> dict[str, int]:
        """Rule 7: the official result stands over the goals."""
        override = self.latest("SCORE_OVERRIDE")
        if override is None:
            return self.goals()
        return {"home": override["detail"]["home"], "away": override["detail"]["away"]}

    def shootout(self) -> dict[str, int] | None:
        """Rule 7: counted apart."""
        if not any(e["type"] == "SHOOTOUT_KICK" for e in self.live()) and self.status() != "PENALTIES":
            return None
        return {
            side: len([kick for kick in self._of("SHOOTOUT_KICK", side) if kick["detail"]["scored"]])
            for side in ("home", "away")
        }

    def clock(self) -> dict[str, Any]:
        """Section 3: the furthest that play is known to have come, in no earlier period than the status's."""
        told = [
            event for event in self.live() if event["minute"] is not None and event["type"] in TYPES_OF_PLAY
        ]
        at = max([self.period(), *(event["period"] for event in told)], key=PERIODS_IN_ORDER.index)
        minutes = [(event["minute"], event["stoppage"]) for event in told if event["period"] == at]
        minute, stoppage = max(minutes, default=(None, 0))
        return {"period": at, "minute": minute, "stoppage": stoppage}

    def state(self) -> dict[str, Any]:
        return {
            "match_id": self.match_id,
            "status": self.status(),
            "period": self.period(),
            "clock": self.clock(),
            "score": self.score(),
            "goals": self.goals(),
            "shootout": self.shootout(),
            "events": self.live(),
            "retracted": self.retracted(),
            "pending": self.pending(),
        }

    def records(self) -> list[str]:
        """Section 3: of each event_id the body and the retraction that stand, null for what there is not."""
        return [_canonical([self.body_of(id_), self.retraction_of(id_)]) for id_ in self.event_ids()]

    def hash(self) -> str:
        """Section 3: 16 hex characters of SHA-256 over the state, one sum in place of all events."""
        total = 0
        for record in self.records():
            total += int(hashlib.sha256(record.encode()).hexdigest(), 16)
        listed = ("events", "retracted", "pending")
        hashed = {key: value for key, value in self.state().items() if key not in listed}
        hashed["records"] = format(total % 2**256, "064x")
        return hashlib.sha256(_canonical(hashed).encode()).hexdigest()[:16]

    def _of(self, type_: str, side: str) -> list[dict[str, Any]]:
        return [event for event in self.live() if event["type"] == type_ and event["team"] == side]


def _unbeaten(events: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The one that each other loses to, or is the same as."""
    candidates = list(events)
    for candidate in candidates:
        if not any(_beats(other, candidate) for other in candidates):
            return candidate
    return None


def _beats(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Rule 2: the higher revision; then the later time; then the greater canonical JSON."""
    if one["rev"] != other["rev"]:
        return bool(one["rev"] > other["rev"])
    if one["source_ts"] != other["source_ts"]:
        if one["source_ts"] is None or other["source_ts"] is None:
            return one["source_ts"] is not None
        return bool(one["source_ts"] > other["source_ts"])
    return _canonical(one) > _canonical(other)


def _order(event: dict[str, Any]) -> tuple[Any, ...]:
    """Rule 8; the clock stands between period and id, and what is not told stands first."""
    told_ts, told_minute = event["source_ts"] is not None, event["minute"] is not None
    return (
        (told_ts, event["source_ts"] if told_ts else 0),
        PERIODS_IN_ORDER.index(event["period"]),
        (told_minute, event["minute"] if told_minute else 0),
        event["stoppage"],
        event["event_id"],
    )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
