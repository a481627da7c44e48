"""What is particular to each vendor's feed: how its documents are read, and whether it pushes."""

from __future__ import annotations

import datetime
import io
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, ParamSpec, Protocol, TypeVar

from origin.errors import ConfigError, FeedError, OriginError
from origin.feeds import (
    Warn,
    api_football_v3,
    espn_scoreboard,
    football_data_v4,
    opta_f24,
    sportradar_v4,
    stats_perform_ma1,
)
from origin.feeds.jsondoc import Node, parse_document
from origin.feeds.matching import MatchingFeed
from origin.feeds.opta_f24 import Names
from origin.feeds.vendor_document import VendorDocument, VendorDocumentFeed
from origin.feedworker.plan import API_FOOTBALL, FOOTBALL_DATA, ONE_DOCUMENT, RequestPlan
from shared_state import Event
from shared_state.events import MATCH_ID_PATTERN

__all__ = ["FEEDS", "Format", "guarded", "open_format"]

logger = logging.getLogger(__name__)

Given = ParamSpec("Given")
Made = TypeVar("Made")

NO_NAMES: Final = Names()


@dataclass(frozen=True, slots=True)
class Format:
    """One vendor's feed.

    Attributes:
        name: on the command line and in metrics.
        source: of the events made from it.
        prefix: what stands before the vendor's own number in our match ids.
        key_header: the header that carries the key.
        read: a document's matches, and what time it is (UTC milliseconds): one from the future is refused.
        read_push: a pushed message likewise; None for a heartbeat. None where the vendor does not push.
        undated: nothing says when a document was made, so it may come from a cache; its rows may have no ids,
            and are then matched with what the log has.
        plan: its requests that have several matches in one answer; None where it has no such request.
    """

    name: str
    source: str
    prefix: str
    key_header: str
    read: Callable[[bytes, int], Sequence[VendorDocument]]
    read_push: Callable[[Node, int], VendorDocument | None] | None = None
    undated: bool = False
    plan: RequestPlan | None = None

    def feed(self, match_id: str, warn: Warn, known: Iterable[Event]) -> VendorDocumentFeed | MatchingFeed:
        """What turns the documents of one match into events; see ``VendorDocumentFeed``."""
        return (MatchingFeed if self.undated else VendorDocumentFeed)(match_id, warn, known)

    def plan_for(self, matches: Sequence[str], url: str) -> RequestPlan | None:
        """The requests for several matches; None where each match has its own, with ``{id}`` in the URL.

        One match whose URL is its document is read by itself: that request can be a conditional one.
        """
        if self.plan is None or (self.plan.has_all and "{id}" in url):
            return None
        plan = self.plan.of_url(url)
        return None if plan.has_all and not plan.current and len(matches) == 1 else plan

    def vendor_id(self, match_id: str) -> str:
        """The vendor's own number of a match, as it stands in its URLs.

        Raises:
            ConfigError: the match is none of this feed.
        """
        number = match_id.removeprefix(self.prefix)
        if not MATCH_ID_PATTERN.fullmatch(match_id) or number in ("", match_id):
            raise ConfigError(f"match {match_id!r}: a match of {self.name} is {self.prefix}NUMBER")
        return number


def _opta(names: Names, zone: datetime.tzinfo) -> Format:
    def read(body: bytes, now_ms: int) -> list[VendorDocument]:
        return list(opta_f24.read_documents(io.BytesIO(body), names=names, zone=zone, now_ms=now_ms))

    return Format("opta-f24", opta_f24.SOURCE, "opta-", "x-api-key", read)


def _sportradar(names: Names, zone: datetime.tzinfo) -> Format:
    del names, zone  # a timeline has both

    def read(body: bytes, now_ms: int) -> list[VendorDocument]:
        return [sportradar_v4.read_timeline(parse_document(body), now_ms=now_ms)]

    def read_push(message: Node, now_ms: int) -> VendorDocument | None:
        return sportradar_v4.read_push(message, now_ms=now_ms)

    return Format("sportradar-v4", sportradar_v4.SOURCE, "sr-", "x-api-key", read, read_push)


def _warned(name: str) -> Warn:
    """Log a match that cannot be read, which costs itself alone: the others of the answer are taken."""
    return lambda doubt: logger.warning("%s: %s", name, doubt)


def _api_football(names: Names, zone: datetime.tzinfo) -> Format:
    del names, zone  # an answer has both

    def read(body: bytes, now_ms: int) -> list[VendorDocument]:
        warn = _warned(api_football_v3.SOURCE)
        return api_football_v3.read_fixtures(parse_document(body), now_ms=now_ms, warn=warn)

    name, prefix = api_football_v3.SOURCE, api_football_v3.PREFIX
    return Format(name, name, prefix, "x-apisports-key", read, undated=True, plan=API_FOOTBALL)


class _ReadDocuments(Protocol):
    """A reader of all matches of a document."""

    def __call__(
        self, document: Node, *, now_ms: int | None, warn: Warn | None
    ) -> Iterable[VendorDocument]: ...


def _reading(read_documents: _ReadDocuments, name: str) -> Callable[[bytes, int], list[VendorDocument]]:
    """A format's ``read``, with such a reader."""

    def read(body: bytes, now_ms: int) -> list[VendorDocument]:
        return list(read_documents(parse_document(body), now_ms=now_ms, warn=_warned(name)))

    return read


def _football_data(names: Names, zone: datetime.tzinfo) -> Format:
    del names, zone  # a match has both

    name, prefix = football_data_v4.SOURCE, football_data_v4.PREFIX
    read = _reading(football_data_v4.read_documents, name)
    return Format(name, name, prefix, "X-Auth-Token", read, undated=True, plan=FOOTBALL_DATA)


def _espn(names: Names, zone: datetime.tzinfo) -> Format:
    del names, zone  # a scoreboard has both

    name, prefix = espn_scoreboard.SOURCE, espn_scoreboard.PREFIX
    read = _reading(espn_scoreboard.read_documents, name)
    return Format(name, name, prefix, "x-api-key", read, undated=True, plan=ONE_DOCUMENT)


def _stats_perform(names: Names, zone: datetime.tzinfo) -> Format:
    del names, zone  # a match has both

    name, prefix = stats_perform_ma1.SOURCE, stats_perform_ma1.PREFIX
    read = _reading(stats_perform_ma1.read_documents, name)
    plan = replace(ONE_DOCUMENT, has_leagues=False)  # its competitions have letters for numbers
    return Format(name, name, prefix, "x-api-key", read, undated=True, plan=plan)


_FEEDS: Final = {
    "api-football-v3": _api_football,
    "espn-scoreboard": _espn,
    "football-data-v4": _football_data,
    "opta-f24": _opta,
    "sportradar-v4": _sportradar,
    "stats-perform-ma1": _stats_perform,
}
FEEDS: Final = tuple(_FEEDS)


def open_format(name: str, *, names: Names = NO_NAMES, zone: datetime.tzinfo = datetime.UTC) -> Format:
    """A feed by its name.

    Args:
        name: one of ``FEEDS``.
        names: of players and teams, for a feed that has only their numbers.
        zone: of the times of a feed that gives none.

    Raises:
        ConfigError: no such feed.
    """
    if name not in _FEEDS:
        raise ConfigError(f"feed {name!r}: must be one of {' '.join(FEEDS)}")
    return _FEEDS[name](names, zone)


def guarded(read: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Made:
    """Call a reader so that a fault of ours in it costs one document, and not the other matches.

    Raises:
        FeedError: it cannot be read.
    """
    try:
        return read(*given, **named)
    except OriginError:
        raise
    except Exception as error:
        logger.exception("a fault in %r", read)
        raise FeedError(f"a fault of ours: {type(error).__name__}: {error}") from error
