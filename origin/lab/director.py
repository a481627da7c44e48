"""The lab's match: what each button sends, as canonical events. It knows nothing of servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from shared_state.errors import shown
from shared_state.jsontext import Json, JsonObject

__all__ = ["ACTIONS", "TEAMS", "ActionError", "Director"]

# Names of nobody: an own goal, a red card or a review is nothing to say about a real player.
TEAMS: Final[Mapping[str, JsonObject]] = {
    "home": {"name": "Northgate", "code": "NOR", "color": "#1f4e8c"},
    "away": {"name": "Southfield", "code": "SOU", "color": "#b3261e"},
}
_PLAYERS: Final = {
    "home": ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Gorse", "Hazel", "Ivy", "Juniper", "Larch"),
    "away": (
        "Ash",
        "Beech",
        "Cypress",
        "Elder",
        "Fern",
        "Hawthorn",
        "Holly",
        "Maple",
        "Oak",
        "Pine",
        "Rowan",
    ),
}
_EVENTS_MAX: Final = 400
_LAST_MINUTE: Final = {"H1": 45, "H2": 90}


class ActionError(ValueError):
    """The button makes no sense now, or there is none of that name; ``str()`` says why."""


@dataclass(slots=True)
class Director:
    """One match of the lab.

    Args:
        match_id: its id.
        now_ms: the time, UTC milliseconds.
    """

    match_id: str
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    _serial: int = 0
    _events: int = 0
    _period: str = "H1"
    _minute: int = 0
    _status: str = "SCHEDULED"
    _goals: list[JsonObject] = field(default_factory=list)
    # The goal that is under review, and the review.
    _review: tuple[JsonObject, JsonObject] | None = None
    _last: Sequence[JsonObject] = ()

    def begin(self) -> Sequence[JsonObject]:
        """The teams, and the kick-off."""
        info = self._event(
            "info", "MATCH_INFO", detail={**TEAMS, "competition": "The lab", "kickoff_ms": self.now_ms()}
        )
        info |= {"period": "PRE", "minute": None}
        return [info, self._status_change("LIVE")]

    def act(self, action: str, team: str = "home") -> Sequence[Sequence[JsonObject]]:
        """What a button sends: deliveries, each of which is posted by itself, in this order.

        Args:
            action: one of ``ACTIONS``.
            team: ``home`` or ``away``.

        Raises:
            ActionError: there is no such button or team, or it makes no sense now; nothing changed.
        """
        make = ACTIONS.get(action)
        if make is None:
            raise ActionError(f"no action {shown(action)}: one of {', '.join(ACTIONS)}")
        if team not in TEAMS:
            raise ActionError(f"team {shown(team)}: must be home or away")
        if self._events >= _EVENTS_MAX:
            raise ActionError(f"the match has its {_EVENTS_MAX} events: begin another")
        deliveries = make(self, team)
        self._events += sum(map(len, deliveries))
        self._last = deliveries[-1]
        return deliveries

    # --- what the buttons send

    def _goal(self, team: str, **detail: Json) -> Sequence[Sequence[JsonObject]]:
        other = "away" if team == "home" else "home"
        scorer = self._player(other if detail.get("own_goal") else team)
        goal = self._play("GOAL", team, player=scorer, detail=detail)
        self._goals.append(goal)
        return [[goal]]

    def _own_goal(self, team: str) -> Sequence[Sequence[JsonObject]]:
        return self._goal(team, own_goal=True)

    def _penalty(self, team: str) -> Sequence[Sequence[JsonObject]]:
        return self._goal(team, penalty=True)

    def _card(self, team: str) -> Sequence[Sequence[JsonObject]]:
        return [[self._play("YELLOW_CARD", team, player=self._player(team))]]

    def _red_card(self, team: str) -> Sequence[Sequence[JsonObject]]:
        return [[self._play("RED_CARD", team, player=self._player(team))]]

    def _substitution(self, team: str) -> Sequence[Sequence[JsonObject]]:
        on, off = self._player(team), self._player(team, 5)
        return [[self._play("SUBSTITUTION", team, player=on, player2=off)]]

    def _var_open(self, _: str) -> Sequence[Sequence[JsonObject]]:
        if self._review is not None:
            raise ActionError("a review is open already")
        goal = self._latest_goal()
        self._change(goal, "AMEND", status="PROVISIONAL")
        detail: JsonObject = {
            "state": "OPEN",
            "outcome": "Possible offside",
            "target_event_id": goal["event_id"],
        }
        review = self._play("VAR", str(goal["team"]), detail=detail)
        self._review = (goal, review)
        return [[dict(goal), dict(review)]]

    def _var_overturned(self, _: str) -> Sequence[Sequence[JsonObject]]:
        if self._review is None:
            raise ActionError("no review is open")
        (goal, review), self._review = self._review, None
        self._goals.remove(goal)
        review |= {"op": "AMEND", "rev": 2, "source_ts": self.now_ms()}
        review["detail"] = {**review["detail"], "state": "CLOSED", "outcome": "Goal ruled out: offside"}
        return [[self._retraction(goal, "VAR: offside"), dict(review)]]

    def _amend(self, _: str) -> Sequence[Sequence[JsonObject]]:
        goal = self._latest_goal()
        self._change(goal, "AMEND", player=self._player(str(goal["team"])), reason="Scorer changed")
        return [[dict(goal)]]

    def _duplicate(self, _: str) -> Sequence[Sequence[JsonObject]]:
        if not self._last:
            raise ActionError("nothing was sent yet that could be sent again")
        return [self._last]

    def _out_of_order(self, team: str) -> Sequence[Sequence[JsonObject]]:
        first = self._play("GOAL", team, player=self._player(team), detail={})
        second = dict(first) | {
            "rev": 2,
            "op": "AMEND",
            "player": self._player(team),
            "reason": "Scorer changed",
        }
        self._goals.append(second)
        return [[dict(second)], [first]]

    def _half_time(self, _: str) -> Sequence[Sequence[JsonObject]]:
        if self._status != "LIVE" or self._period != "H1":
            raise ActionError("half-time comes after the first half")
        return [[self._status_change("HALF_TIME", "HT")]]

    def _second_half(self, _: str) -> Sequence[Sequence[JsonObject]]:
        if self._status != "HALF_TIME":
            raise ActionError("the second half begins after half-time")
        self._period, self._minute = "H2", 45
        return [[self._status_change("LIVE")]]

    def _full_time(self, _: str) -> Sequence[Sequence[JsonObject]]:
        if self._status not in ("LIVE", "HALF_TIME"):
            raise ActionError("the match is over already")
        return [[self._status_change("FT", "POST")]]

    def _award(self, team: str) -> Sequence[Sequence[JsonObject]]:
        score: JsonObject = {"home": 3, "away": 0} if team == "home" else {"home": 0, "away": 3}
        override = self._event(self._new_id("award"), "SCORE_OVERRIDE", detail=score)
        override["period"] = "POST"
        return [[override, self._status_change("AWARDED", "POST")]]

    # --- parts of them

    def _play(self, kind: str, team: str, **more: Json) -> JsonObject:
        self._minute = min(self._minute + 2, _LAST_MINUTE[self._period])
        event = self._event(self._new_id(kind.lower()), kind, team=team)
        detail = more.pop("detail", {})
        return event | {"period": self._period, "minute": self._minute, "detail": detail, **more}

    def _status_change(self, to: str, period: str | None = None) -> JsonObject:
        self._status = to
        event = self._event(self._new_id("status"), "STATUS_CHANGE", detail={"to": to})
        return event | {"period": period or self._period, "minute": None if period else self._minute}

    def _event(
        self, event_id: str, kind: str, *, team: str | None = None, detail: JsonObject | None = None
    ) -> JsonObject:
        return {
            "match_id": self.match_id,
            "event_id": event_id,
            "rev": 1,
            "op": "ADD",
            "type": kind,
            "team": team,
            "detail": detail or {},
            "source": "touchline-lab",
            "source_ts": self.now_ms(),
        }

    def _change(self, event: JsonObject, op: str, **more: Json) -> None:
        event |= {"rev": int(event["rev"]) + 1, "op": op, "source_ts": self.now_ms(), **more}

    def _retraction(self, event: JsonObject, reason: str) -> JsonObject:
        return {
            "match_id": self.match_id,
            "event_id": event["event_id"],
            "rev": int(event["rev"]) + 1,
            "op": "RETRACT",
            "reason": reason,
            "source": "touchline-lab",
            "source_ts": self.now_ms(),
        }

    def _latest_goal(self) -> JsonObject:
        if not self._goals:
            raise ActionError("there is no goal yet")
        return self._goals[-1]

    def _new_id(self, kind: str) -> str:
        self._serial += 1
        return f"{kind}-{self._serial}"

    def _player(self, team: str, offset: int = 0) -> str:
        # Another one each time, and the same ones in the same order: a test can say who scored.
        names = _PLAYERS[team]
        return names[(self._serial * 3 + offset) % len(names)]


#: The buttons, in the order of the page.
ACTIONS: Final[Mapping[str, Callable[[Director, str], Sequence[Sequence[JsonObject]]]]] = {
    "goal": Director._goal,
    "own-goal": Director._own_goal,
    "penalty": Director._penalty,
    "card": Director._card,
    "red-card": Director._red_card,
    "substitution": Director._substitution,
    "var-open": Director._var_open,
    "var-overturned": Director._var_overturned,
    "amend": Director._amend,
    "duplicate": Director._duplicate,
    "out-of-order": Director._out_of_order,
    "half-time": Director._half_time,
    "second-half": Director._second_half,
    "full-time": Director._full_time,
    "award": Director._award,
}
