"""A match as schema.org ``SportsEvent``, for search engines. It has no property for a score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared_state.jsontext import JsonObject
from shared_state.language import ENGLISH, Language
from shared_state.match import Match
from shared_state.wording import ENDED, FINAL_WHISTLE, moment, pair, score_shown, side_name, status_words

__all__ = ["json_ld", "json_ld_changes"]

# Everything else happens, or happened, as scheduled.
EVENT_STATUS: Final[Mapping[str, str]] = {
    "POSTPONED": "EventPostponed",
    "SUSPENDED": "EventPostponed",
    "CANCELLED": "EventCancelled",
    "ABANDONED": "EventCancelled",
}


def json_ld(match: Match, url: str, language: Language = ENGLISH) -> JsonObject:
    """The structured data of a match page.

    Args:
        match: the match.
        url: the page's own address.
        language: of the page.
    """
    home, away = (
        {"@type": "SportsTeam", "name": side_name(match, "home", language)},
        {"@type": "SportsTeam", "name": side_name(match, "away", language)},
    )
    data: JsonObject = {
        "@context": "https://schema.org",
        "@type": "SportsEvent",
        "@id": url,
        "url": url,
        "name": language.text("score.pairing", home=home["name"], away=away["name"]),
        "sport": "Association football",
        "eventStatus": f"https://schema.org/{EVENT_STATUS.get(match.status, 'EventScheduled')}",
        "homeTeam": home,
        "awayTeam": away,
        "competitor": [home, away],
    }
    if score_shown(match):
        data["description"] = (
            f"{home['name']} {pair(match.score)} {away['name']}, {status_words(match, language)}"
        )
    if match.status in ENDED:
        _put_date(data, "endDate", _final_whistle_ms(match))
    if match.info is not None:
        detail = match.info.detail
        _put_date(data, "startDate", detail["kickoff_ms"])
        if detail["venue"]:
            data["location"] = {"@type": "Place", "name": detail["venue"]}
        if detail["competition"]:
            data["superEvent"] = {"@type": "SportsEvent", "name": detail["competition"]}
    return data


# What events change once a page is there; its address and the sides it has from the server.
_CHANGING: Final = ("name", "eventStatus", "description", "startDate", "endDate")


def json_ld_changes(match: Match, language: Language = ENGLISH) -> JsonObject:
    """The members of a match page's structured data that events change; None for one that is absent now."""
    data = json_ld(match, "", language)
    return {name: data.get(name) for name in _CHANGING}


def _final_whistle_ms(match: Match) -> int | None:
    """When play ended; None if no source said, or if it never did. A court awards a result months later."""
    whistles = [
        event
        for event in match.events()
        if event.type == "STATUS_CHANGE" and event.detail["to"] in FINAL_WHISTLE
    ]
    return whistles[-1].source_ts if whistles else None


def _put_date(data: JsonObject, name: str, utc_ms: int | None) -> None:
    when = None if utc_ms is None else moment(utc_ms)
    if when is not None:
        data[name] = when.isoformat(timespec="seconds")
