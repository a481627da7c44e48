"""Everything the origin raises on purpose.

OriginError
├── ConfigError        a setting that cannot be used
├── RequestError       a request that breaks docs/protocol.md section 4; becomes one JSON answer
├── FeedError          a vendor document that cannot be read
├── EventLogError      the durable log cannot do what was asked
└── BusError           the regional bus cannot do what was asked
    └── BusBehindError a delta does not follow what the bus has

Each carries a stable ``code`` and, where it helps, evidence; ``str()`` is one line that names the
offending value.
"""

from __future__ import annotations

from shared_state import DeltaId
from shared_state.jsontext import Json, JsonObject

__all__ = [
    "BusBehindError",
    "BusError",
    "ConfigError",
    "EventLogError",
    "FeedError",
    "MatchPrunedError",
    "MatchTooLargeError",
    "OriginError",
    "RequestError",
]


class OriginError(Exception):
    """The root.

    Attributes:
        evidence: plain JSON values that show what was wrong.
    """

    code = "origin_error"

    def __init__(self, message: str, **evidence: Json) -> None:
        super().__init__(message)
        self.evidence = evidence


class ConfigError(OriginError):
    """A setting names something that does not exist, or contradicts another."""

    code = "bad_config"


class RequestError(OriginError):
    """A request that cannot be granted, with its HTTP status.

    Attributes:
        status: the HTTP status of the answer.
        headers: further headers of the answer, for example ``Retry-After``.
    """

    def __init__(
        self, status: int, code: str, message: str, *, headers: dict[str, str] | None = None, **evidence: Json
    ) -> None:
        super().__init__(message, **evidence)
        self.status = status
        self.code = code
        self.headers = headers or {}

    def to_json(self) -> JsonObject:
        """The one error shape of every endpoint."""
        return {"error": {"code": self.code, "message": str(self), **self.evidence}}


class FeedError(OriginError):
    """A vendor's document cannot be read.

    Attributes:
        where: the line of the file, or the path into the document, as far as known.
    """

    code = "bad_feed"

    def __init__(self, message: str, *, where: str = "", **evidence: Json) -> None:
        super().__init__(message, **evidence)
        self.where = where


class EventLogError(OriginError):
    """The log could not be written or read; an event that was not acknowledged may or may not be in it."""

    code = "eventlog_unavailable"


class MatchPrunedError(OriginError):
    """A match was removed from the log because it was old; no more of it is taken."""

    code = "match_pruned"


class MatchTooLargeError(OriginError):
    """A match has as many events in the log as it may have; no more of it are taken."""

    code = "match_too_large"


class BusError(OriginError):
    """The bus could not be reached, or refused a command."""

    code = "bus_unavailable"


class BusBehindError(BusError):
    """The bus lacks deltas before the one it was given: it lost data and must be refilled.

    Attributes:
        head: where the match stands on the bus; None if the bus does not know it.
    """

    code = "bus_behind"

    def __init__(self, match_id: str, offered: DeltaId, head: DeltaId | None) -> None:
        super().__init__(
            f"match {match_id}: {offered} does not follow the bus's head, {head or 'none'}",
            match_id=match_id,
            offered=str(offered),
            head=None if head is None else str(head),
        )
        self.head = head
