"""Sportradar timelines and pushed messages by hand: one match, ``sr-7``, and no more in it than is said."""

from __future__ import annotations

import json
from typing import Any

from origin.errors import FeedError
from origin.feeds.jsondoc import Node, parse_document
from origin.feeds.sportradar_v4 import read_push, read_timeline
from origin.feeds.vendor_document import VendorDocumentFeed
from shared_state import Event, Match, fold

__all__ = ["Told", "at", "card", "goal", "push", "timeline"]


def at(second: int) -> str:
    """A time of day in the match."""
    return f"2018-07-15T15:{second // 60:02}:{second % 60:02}+00:00"


def goal(id_: int, second: int, side: str = "home", **given: Any) -> dict[str, Any]:
    row = {"id": id_, "type": "score_change", "time": at(second), "match_time": 5, "competitor": side}
    return row | given


def card(id_: int, second: int) -> dict[str, Any]:
    return goal(id_, second) | {"type": "yellow_card"}


def timeline(
    second: int, *rows: dict[str, Any], score: tuple[int, int] | None = None, **status: str
) -> bytes:
    document: dict[str, Any] = {
        "generated_at": at(second),
        "sport_event": {
            "id": "sr:sport_event:7",
            "competitors": [{"name": side, "qualifier": side} for side in ("home", "away")],
        },
        "timeline": list(rows),
    }
    if score is not None or status:
        scores = {} if score is None else {"home_score": score[0], "away_score": score[1]}
        document["sport_event_status"] = scores | status
    return json.dumps(document).encode()


def push(row: dict[str, Any], **status: Any) -> Node:
    message: dict[str, Any] = {
        "payload": {"event": row},
        "metadata": {"sport_event_id": "sr:sport_event_id:7"},
    }
    if status:
        message["payload"]["sport_event_status"] = status
    return parse_document(json.dumps(message).encode())


class Told:
    """A feed, what it said, and its alarms.

    Attributes:
        now_ms: the reader's clock; None for none.
    """

    def __init__(self, *documents: bytes) -> None:
        self.now_ms: int | None = None
        self.alarms: list[FeedError] = []
        self.events: list[Event] = []
        self.feed = VendorDocumentFeed("sr-7", self.alarms.append)
        for document in documents:
            self.take(document)

    def take(self, document: bytes) -> list[Event]:
        said = self.feed.take(read_timeline(parse_document(document), now_ms=self.now_ms))
        self.events += said
        return said

    def push(self, message: Node) -> list[Event]:
        snapshot = read_push(message, now_ms=self.now_ms)
        assert snapshot is not None
        said = self.feed.take(snapshot)
        self.events += said
        return said

    def restart(self) -> None:
        """As a worker does: what was said is all that the next feed knows."""
        self.feed = VendorDocumentFeed("sr-7", self.alarms.append, known=self.events)

    @property
    def match(self) -> Match:
        return fold("sr-7", self.events)
