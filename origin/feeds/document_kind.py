"""What a document is: for the error about one that is not what its reader expects.

A URL with one wrong word, a download that was not unpacked and an error page with status 200 all give
good documents of another kind. Without a name for them a reader complains about the first byte, or, where
two kinds share their head, reads an empty match. The readers ask here only after they found that a document
is not theirs, or once for each JSON document; nothing here decides what a document means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = [
    "HEAD_BYTES",
    "OPENFOOTBALL",
    "PUSH",
    "SOCCER_DOCUMENTS",
    "SPORTRADAR_V4_TIMELINE",
    "kind_of_bytes",
    "kind_of_json",
    "kind_of_xml",
    "production_of",
]

OPENFOOTBALL: Final = "an openfootball file of matches"
SPORTRADAR_V4_TIMELINE: Final = "a Sportradar v4 timeline"
PUSH: Final = "Sportradar push messages"

# A root element stands near the start, behind a declaration and comments.
HEAD_BYTES: Final = 16 * 1024

_MAGIC: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"BZh", "bzip2"),
    (b"\x78\x9c", "zlib"),
    (b"\x78\xda", "zlib"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"%PDF-", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"SQLite format 3\x00", "an SQLite database"),
    # UTF-32's mark begins with that of UTF-16, so it is looked for first.
    (b"\xff\xfe\x00\x00", "UTF-32 text"),
    (b"\x00\x00\xfe\xff", "UTF-32 text"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
_UTF8_MARK: Final = b"\xef\xbb\xbf"
# A declaration, comments and processing instructions, which may stand before the root element.
_PROLOG: Final = re.compile(rb"(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_ROOT: Final = re.compile(rb"<([A-Za-z_][\w.:-]*)")
_HTML: Final = re.compile(rb"<!doctype\s+html|<html[\s>]|<head[\s>]|<body[\s>]", re.IGNORECASE)
_PRODUCTION: Final = re.compile(r"Opta::Feed::XML::Soccer::(F[0-9]{1,3})\b")

_XML_ROOTS: Final = {
    "Games": "Opta F24",
    "SoccerFeed": "Opta F7 or F9",
    "sport_event_timeline": "a Sportradar timeline: ask for timeline.json",
    "match_timeline": "a Sportradar v3 timeline: ask for v4's timeline.json",
    "sport_event_lineups": "Sportradar line-ups",
    "match_lineups": "Sportradar v3 line-ups",
    "sport_event_summary": "a Sportradar summary",
    "match_summary": "a Sportradar v3 summary",
    "sport_event_probabilities": "Sportradar probabilities",
    "match_probabilities": "Sportradar v3 probabilities",
    "matchInfo": "Stats Perform MA1",
    "match": "Stats Perform MA1",
    "matches": "Stats Perform MA1",
}
# What an Opta feed of the family with the root SoccerFeed says in SoccerDocument@Type.
SOCCER_DOCUMENTS: Final = {
    "SQUADS Latest": "Opta F40 squads",
    "RESULTS Latest": "Opta F1 fixtures and results",
    "STANDINGS Latest": "Opta F3 standings",
}


def kind_of_bytes(data: bytes) -> str | None:
    """Name what bytes are, from how they begin.

    Args:
        data: the document, or its beginning.

    Returns:
        Words that fit after "is"; None for bytes that are like nothing known.
    """
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    text = data.removeprefix(_UTF8_MARK)
    if not text.strip():
        return "empty"
    if b"\x00" in text[:2]:  # the first characters of JSON and XML are ASCII
        return "UTF-16 text"
    head = text[:HEAD_BYTES]
    prolog = _PROLOG.match(head)
    begin = 0 if prolog is None else prolog.end()
    if _HTML.match(head, begin):
        return "an HTML page"
    if head.lstrip()[:1] == b"<":
        root = _ROOT.match(head, begin)
        name = "" if root is None else root[1].decode("ascii", "replace")
        comment = _PRODUCTION.search(head[:begin].decode("utf-8", "replace"))
        known = kind_of_xml(name, comment[1] if comment else None)
        return f"XML ({known or f'its root element is {name[:40]!r}'})"
    if head.lstrip()[:1] in (b"{", b"["):
        return _kind_of_json_text(text)
    return None


def kind_of_xml(root: str, production: str | None = None, document_type: str = "") -> str | None:
    """Name an XML document.

    Args:
        root: the name of its root element.
        production: what its production header says it is, such as ``F24``.
        document_type: ``SoccerDocument@Type``, where it has one.
    """
    if production is not None:
        return f"Opta {production}"
    if document_type in SOCCER_DOCUMENTS:
        return SOCCER_DOCUMENTS[document_type]
    name = re.split("[:}]", root)[-1]  # without its namespace
    return _XML_ROOTS.get(name)


def production_of(comment: str) -> str | None:
    """What the comment at the head of an Opta feed says was produced, such as ``F24``; None in another."""
    found = _PRODUCTION.search(comment)
    return found[1] if found else None


def kind_of_json(value: object) -> str | None:
    """Name a JSON document by its keys; None for one that is like nothing known."""
    if isinstance(value, list):
        first = kind_of_json(value[0]) if value else None
        return f"a list whose first entry is {first}" if first else None
    if not isinstance(value, Mapping):
        return None
    return next((kind for kind in (name(value) for name in _NAMERS) if kind is not None), None)


def _kind_of_json_text(text: bytes) -> str:
    """Text that begins as JSON does: what it is, also where one value follows another."""
    try:
        decoded = text.decode("utf-8").lstrip()
        first, end = json.JSONDecoder().raw_decode(decoded)
    except (ValueError, RecursionError):
        return "JSON"
    kind = kind_of_json(first)
    following = decoded[end:].strip()[:1]
    if not following or following not in "{[":
        return f"JSON ({kind})" if kind else "JSON"
    return (
        PUSH if kind == PUSH else f"several JSON values, one after the other ({kind or 'of no known kind'})"
    )


_Document = Mapping[str, Any]


def _push(value: _Document) -> str | None:
    has_payload = "payload" in value and "metadata" in value
    return PUSH if has_payload or isinstance(value.get("heartbeat"), Mapping) else None


def _canonical(value: _Document) -> str | None:
    return "canonical events" if {"match_id", "event_id", "op"} <= value.keys() else None


def _sportradar(value: _Document) -> str | None:
    """The endpoints for one match share their head; one key distinguishes them."""
    if not isinstance(value.get("sport_event"), Mapping):
        lists = [what for key, what in _SPORTRADAR_LISTS.items() if key in value and "generated_at" in value]
        return f"Sportradar {lists[0]}" if lists else None
    version = "v3 " if _is_v3(value) else ""
    if value.get("timeline") is None:
        for key, what in _SPORTRADAR_PARTS.items():
            if key in value:
                article = "a " if what == "summary" else ""
                return f"{article}Sportradar {version}{what} ({key})"
    elif version:
        return "a Sportradar v3 timeline"
    else:
        return SPORTRADAR_V4_TIMELINE
    return "a Sportradar v3 document" if version else None


_SPORTRADAR_PARTS: Final = {
    "lineups": "line-ups",
    "probabilities": "probabilities",
    "markets": "probabilities",
    "momentums": "momentum",
    "facts": "fun facts",
    "fun_facts": "fun facts",
    "statistics": "summary",
    "coverage_info": "summary",
}
_SPORTRADAR_LISTS: Final = {
    "sport_event_timelines": "live timelines of several matches",
    "sport_event_timelines_delta": "changes of the live timelines",
    "summaries": "summaries of several matches",
    "schedules": "schedule",
    "sport_events": "schedule",
    "sport_event_probabilities": "probabilities of several matches",
    "lineups": "line-ups",
    "standings": "standings",
    "sport_events_removed": "removed matches",
    "competitions": "competitions",
}


def _is_v3(value: _Document) -> bool:
    """v3 has other ids, names its schema, and says ``team`` where v4 says ``competitor``."""
    schema = value.get("schema")
    if isinstance(schema, str) and "/v3/" in schema:
        return True
    rows = value.get("timeline")
    rows = rows if isinstance(rows, list) else []
    sides = [row.keys() & {"team", "competitor"} for row in rows if isinstance(row, Mapping)]
    if any(sides):
        return {"competitor"} not in sides
    match_id = value["sport_event"].get("id")
    return isinstance(match_id, str) and match_id.startswith("sr:match:")


def _stats_perform(value: _Document) -> str | None:
    live = value.get("liveData")
    if not isinstance(live, Mapping):
        first = _first(value.get("match"))
        return None if first is None or "matchInfo" not in first else "Stats Perform MA1"
    if "event" in live:
        return "Stats Perform MA3"
    return "Stats Perform MA2" if "lineUp" in live and "goal" not in live else "Stats Perform MA1"


def _opta(value: _Document) -> str | None:
    if "SoccerFeed" in value:
        return "Opta F7 or F9 as JSON"
    return "Opta F24 as JSON" if "Games" in value else None


def _api_football(value: _Document) -> str | None:
    return "API-Football v3" if "response" in value and ("get" in value or "paging" in value) else None


def _football_data(value: _Document) -> str | None:
    first = _first(value.get("matches")) or value
    return "football-data.org v4" if {"homeTeam", "awayTeam"} <= first.keys() else None


def _espn(value: _Document) -> str | None:
    first = _first(value.get("events"))
    is_scoreboard = first is not None and "competitions" in first
    if is_scoreboard or ("leagues" in value and "events" in value):
        return "an ESPN scoreboard"
    return "an ESPN summary" if {"header", "boxscore"} <= value.keys() else None


def _openfootball(value: _Document) -> str | None:
    if "rounds" in value or "matches" in value:
        return OPENFOOTBALL
    for key in ("clubs", "groups", "standings", "stadiums", "teams", "squads", "players"):
        if isinstance(value.get(key), list):
            return f"an openfootball file of {key}" if "name" in value else f"a list of {key}"
    return None


def _amendments(value: _Document) -> str | None:
    row = _first(value.get("rows"))
    return "a list of amendments" if row is not None and {"before", "after"} <= row.keys() else None


def _error_message(value: _Document) -> str | None:
    texts = [key for key in ("error", "errors", "message", "detail", "fault") if value.get(key)]
    return f"an error message ({texts[0]})" if texts and len(value) <= 6 else None


def _first(value: object) -> _Document | None:
    """The first object of a list."""
    return value[0] if isinstance(value, list) and value and isinstance(value[0], Mapping) else None


# The narrower names first.
_NAMERS: Final[tuple[Callable[[_Document], str | None], ...]] = (
    _push,
    _canonical,
    _sportradar,
    _stats_perform,
    _opta,
    _api_football,
    _football_data,
    _espn,
    _amendments,
    _openfootball,
    _error_message,
)
