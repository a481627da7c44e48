"""A feed without ids that edits what it said: true matches, and the documents that a reader sees of them.

``AnonymousStory`` draws a match and plays it. Each step is something that happens, or one edit of a row;
after each step the feed publishes all rows in an order of its own. Its cache sometimes serves what was
published before. The story knows what every edit was, so a matcher can be measured by kind.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from origin.feeds.matching import row_id
from origin.feeds.vendor_document import VendorDocument
from shared_state import Event, Score
from shared_state.events import PERIOD_INDEX

__all__ = ["EDITS", "MATCH_ID", "AnonymousStory", "Reading"]

MATCH_ID: Final = "anon-1"
BEGIN_MS: Final = 1_700_000_000_000
POLL_MS: Final = 15_000
EDITS: Final = (
    "late name",
    "other scorer",
    "minute shift",
    "other side",
    "entered again",
    "deletion",
    "deletion and another goal",
    "var",
)
_NAMES: Final = (
    "Ann One",
    "Bea Two",
    "Cid Three",
    "Dan Four",
    "Eve Five",
    "Fay Six",
    "Gus Seven",
    "Hal Eight",
)


@dataclass(slots=True)
class Reading:
    """One document as it was read.

    Attributes:
        edit: what the feed changed since the document before; None where it added something, or nothing.
        subject: the thing that was edited, by the story's own number.
        numbers: the story's own number of each row, in the order of the document.
        cached: whether it is older than one that was read before.
    """

    document: VendorDocument
    edit: str | None
    subject: int | None
    numbers: list[int]
    cached: bool = False


@dataclass(slots=True)
class _Thing:
    number: int
    fields: dict[str, Any] = field(default_factory=dict)


class AnonymousStory:
    """One match and its feed.

    Args:
        draw: whose choices make the story.
        steps: how many things happen or are edited.
        flapping: whether a cache serves earlier documents.
    """

    def __init__(self, draw: Random, *, steps: int = 14, flapping: bool = True) -> None:
        self._draw = draw
        self._things: list[_Thing] = []
        self._numbers = 0
        self._minute = 1
        self._now_ms = BEGIN_MS
        self.edits: Counter[str] = Counter()
        self.readings: list[Reading] = []
        published: list[tuple[VendorDocument, list[int]]] = []
        for _ in range(steps):
            edit, subject = self._step()
            # Some documents come and go between two readings.
            if edit is None and draw.random() < 0.2:
                continue
            document, numbers = self._document()
            published.append((document, numbers))
            self.readings.append(Reading(document, edit, subject, numbers))
            self._now_ms += POLL_MS
            if flapping and len(published) > 1 and draw.random() < 0.25:
                self._flap(published)
        # What the vendor ends with is read until it can be no cache any more.
        for _ in range(4):
            self._now_ms += POLL_MS
            document, numbers = self._document()
            self.readings.append(Reading(document, None, None, numbers))

    def truth(self) -> list[Event]:
        """What the feed ends with, as events without identity, sorted."""
        return [self._event(thing, 0) for thing in self._things]

    def score(self) -> Score:
        """The feed's own score, which is always that of its goals."""
        score = Score(0, 0)
        for thing in self._things:
            if thing.fields["type"] == "GOAL":
                score = score.plus(thing.fields["team"], 1)
        return score

    def _flap(self, published: list[tuple[VendorDocument, list[int]]]) -> None:
        """A cache serves an earlier document, and then the newest again."""
        earlier, numbers = self._draw.choice(published[-4:-1])
        self.readings.append(Reading(self._again(earlier), None, None, numbers, cached=True))
        self._now_ms += POLL_MS
        newest, numbers = published[-1]
        self.readings.append(Reading(self._again(newest), None, None, numbers))
        self._now_ms += POLL_MS

    def _again(self, document: VendorDocument) -> VendorDocument:
        return VendorDocument(
            match_id=MATCH_ID,
            at_ms=self._now_ms,
            read_ms=self._now_ms,
            events=[_at(event, self._now_ms) for event in document.events],
            rows=dict.fromkeys(document.rows, self._now_ms),
            complete=True,
            score=document.score,
            anonymous=True,
            clock=document.clock,
        )

    def _step(self) -> tuple[str | None, int | None]:
        draw = self._draw
        goals = [thing for thing in self._things if thing.fields["type"] == "GOAL"]
        if not goals or draw.random() < 0.5:
            self._minute = min(90, self._minute + draw.randint(1, 9))
            self._happens()
            return None, None
        # An edit comes in the minute of what it edits, or later.
        self._minute = min(90, self._minute + draw.randint(0, 2))
        edit = draw.choice(EDITS)
        thing = draw.choice(goals)
        number = thing.number
        fields = thing.fields
        match edit:
            case "late name":
                unnamed = [goal for goal in goals if goal.fields["player"] is None]
                if not unnamed:
                    return None, None
                thing = draw.choice(unnamed)
                number, thing.fields["player"] = thing.number, draw.choice(_NAMES)
            case "other scorer":
                if fields["player"] is None:
                    return None, None
                fields["player"] = draw.choice([name for name in _NAMES if name != fields["player"]])
            case "minute shift":
                shifted = fields["minute"] + draw.choice((-2, -1, 1, 2))
                fields["minute"] = max(1, min(90, shifted))
            case "other side":
                fields["team"] = "away" if fields["team"] == "home" else "home"
            case "entered again":
                fields["minute"] = max(1, min(90, fields["minute"] + draw.choice((-1, 0, 1))))
                fields["player"] = draw.choice(_NAMES)
            case "deletion":
                self._things.remove(thing)
            case "deletion and another goal":
                self._things.remove(thing)
                self._minute = min(90, self._minute + draw.randint(6, 9))
                self._goal(draw.choice(_NAMES))
            case _:
                self._things.remove(thing)
                detail = {"state": "CLOSED", "outcome": "Goal Disallowed - offside", "target_event_id": None}
                self._add("VAR", fields["team"], None, detail)
        self.edits[edit] += 1
        return edit, number

    def _happens(self) -> None:
        draw = self._draw
        name = draw.choice((*_NAMES, None))
        side = draw.choice(("home", "away"))
        kind = draw.random()
        if kind < 0.6:
            self._goal(name)
            if draw.random() < 0.05:  # two goals of one player in one minute are two
                last = self._things[-1].fields
                self._add("GOAL", last["team"], last["player"], dict(last["detail"]))
        elif kind < 0.85:
            self._add("YELLOW_CARD", side, name, {})
        else:
            self._add("SUBSTITUTION", side, name, {}, draw.choice(_NAMES))

    def _goal(self, name: str | None) -> None:
        detail = {"own_goal": self._draw.random() < 0.05, "penalty": self._draw.random() < 0.1}
        self._add("GOAL", self._draw.choice(("home", "away")), name, detail)

    def _add(
        self, type_: str, side: str, player: str | None, detail: dict[str, Any], player2: str | None = None
    ) -> None:
        self._numbers += 1
        fields = {
            "type": type_, "minute": self._minute, "team": side, "player": player, "player2": player2,
            "detail": detail,
        }  # fmt: skip
        self._things.append(_Thing(self._numbers, fields))

    def _event(self, thing: _Thing, index: int) -> Event:
        period = "H1" if thing.fields["minute"] <= 45 else "H2"
        return Event(
            match_id=MATCH_ID,
            event_id=row_id(index),
            rev=self._now_ms,
            op="ADD",
            period=period,
            **thing.fields,
        )

    def _document(self) -> tuple[VendorDocument, list[int]]:
        things = list(self._things)
        if self._draw.random() < 0.3:
            self._draw.shuffle(things)
        period = "H1" if self._minute <= 45 else "H2"
        rows = {row_id(index): self._now_ms for index in range(len(things))}
        rows["info"] = self._now_ms  # the document is not without any row
        document = VendorDocument(
            match_id=MATCH_ID,
            at_ms=self._now_ms,
            read_ms=self._now_ms,
            events=[self._event(thing, index) for index, thing in enumerate(things)],
            rows=rows,
            complete=True,
            score=self.score(),
            anonymous=True,
            clock=(PERIOD_INDEX[period], self._minute),
        )
        return document, [thing.number for thing in things]


def _at(event: Event, at_ms: int) -> Event:
    fields = {**event.to_json(), "rev": at_ms}
    return Event(**fields)
