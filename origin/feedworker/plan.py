"""The requests that have several matches of a vendor in one answer.

API-Football answers with what is live and with what a day has, in two requests. football-data.org's list of
a day, an ESPN scoreboard and an MA1 list have what comes, what runs and what is over in one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

__all__ = ["API_FOOTBALL", "FOOTBALL_DATA", "ONE_DOCUMENT", "RequestPlan"]

# What one request asks for by number, so that no URL outgrows what a server takes.
NAMED_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPlan:
    """The paths below the URL of a vendor's API.

    Attributes:
        current: has what is live; empty where the URL itself is the document.
        day: has all matches of a day, ``{day}``; empty where ``current`` has the matches to come.
        by_ids: has the matches of ``{ids}``; empty where the vendor has no such request.
        separator: stands between the numbers of ``{ids}``.
        ids_max: numbers in one request.
        leagues: is added to ``current`` where competitions are named, with ``{leagues}``.
        has_all: ``current`` has matches that have not begun or are over too.
        has_leagues: its matches have a number of the competition.
        headers: of each request.
    """

    current: str = ""
    day: str = ""
    by_ids: str = ""
    separator: str = "-"
    ids_max: int = 20
    leagues: str = ""
    has_all: bool = True
    has_leagues: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)

    def of_url(self, url: str) -> RequestPlan:
        """The plan for a URL: one with a path is a document, where only an API's own address needs paths."""
        parts = urlsplit(url)
        is_document = self.has_all and (parts.path not in ("", "/") or parts.query)
        return RequestPlan(has_leagues=self.has_leagues, headers=self.headers) if is_document else self

    def current_paths(self, numbers: Collection[str], leagues: Collection[int]) -> list[str]:
        """The requests for what is live, or for the matches that are followed.

        Args:
            numbers: the vendor's numbers of the matches to follow; empty for all.
            leagues: the vendor's numbers of the competitions to follow; empty for all.
        """
        if numbers and self.by_ids and self.has_all:
            return self.ids_paths(numbers)
        named = self.leagues.format(leagues=",".join(map(str, sorted(leagues)))) if leagues else ""
        return [self.current + named]

    def ids_paths(self, numbers: Collection[str]) -> list[str]:
        """The requests for single matches; none where the vendor has no such request."""
        if not self.by_ids:
            return []
        wanted = sorted(numbers)
        chunks = [wanted[index : index + self.ids_max] for index in range(0, len(wanted), self.ids_max)]
        return [self.by_ids.format(ids=self.separator.join(chunk)) for chunk in chunks]


API_FOOTBALL: Final = RequestPlan(
    current="/fixtures?live=all", day="/fixtures?date={day}", by_ids="/fixtures?ids={ids}", has_all=False
)
FOOTBALL_DATA: Final = RequestPlan(
    current="/v4/matches",
    by_ids="/v4/matches?ids={ids}",
    separator=",",
    ids_max=NAMED_MAX,
    leagues="?competitions={leagues}",
    # A list has the rows of its matches only where they are asked for.
    headers={f"X-Unfold-{rows}": "true" for rows in ("Goals", "Bookings", "Subs")},
)
ONE_DOCUMENT: Final = RequestPlan()
