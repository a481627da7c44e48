"""Damaged answers of a vendor, one after the other, through its reader and the matcher.

``python -m tests.feeds.fuzz_matching COUNT [SEED [FEED …]]`` reads that many, of every feed if none is named;
``make soak`` a million. Anything but events or one typed error ends it with the document that did it. After
the last one the match is read undamaged, and has to end with the truth.
"""

from __future__ import annotations

import copy
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from origin.errors import FeedError
from origin.feeds import (
    Warn,
    api_football_v3,
    espn_scoreboard,
    football_data_v4,
    stats_perform_ma1,
)
from origin.feeds.jsondoc import Node, parse_document
from origin.feeds.matching import CACHE_MS, MatchingFeed
from origin.feeds.vendor_document import VendorDocument
from origin.feedworker.simulated_api_football import EDITS, FixtureMatch, final_2018, without_changes
from origin.feedworker.simulated_forms import as_espn, as_football_data, as_ma1
from shared_state import Event, fold
from tests.feeds.hostile_documents import VALUES

__all__ = ["FEEDS", "damage", "fuzz"]

# After the time of every row that the simulator writes.
AT_MS = 1_900_000_000_000
DOCUMENTS_OF_A_MATCH = 40


def damage(draw: Random, body: bytes) -> bytes:
    """The document cut, or with some values of another type."""
    if draw.random() < 0.1:
        return body[: draw.randrange(len(body))]
    value = json.loads(body)
    for _ in range(draw.randint(1, 3)):
        node: Any = value
        while node:
            key = draw.choice(list(node) if isinstance(node, dict) else list(range(len(node))))
            if isinstance(node[key], dict | list) and node[key] and draw.random() < 0.95:
                node = node[key]
                continue
            node[key] = copy.deepcopy(draw.choice(VALUES))
            break
    return json.dumps(value).encode()


def _ignore(doubt: FeedError) -> None:
    """A match of a list that cannot be read, or a score that is not that of its goals."""


def _api_football(body: bytes, now_ms: int, warn: Warn | None) -> list[VendorDocument]:
    return api_football_v3.read_fixtures(parse_document(body), now_ms=now_ms, warn=warn)


def _each(read: Callable[..., Any]) -> Callable[[bytes, int, Warn | None], list[VendorDocument]]:
    def read_all(body: bytes, now_ms: int, warn: Warn | None) -> list[VendorDocument]:
        node: Node = parse_document(body)
        return list(read(node, now_ms=now_ms, warn=warn))

    return read_all


# By feed: the prefix of its match ids, a match as its document, and its reader.
FEEDS: dict[
    str,
    tuple[str, Callable[[dict[str, Any]], Any], Callable[[bytes, int, Warn | None], list[VendorDocument]]],
] = {
    "api-football-v3": (
        "af-",
        lambda fixture: {"errors": [], "response": [without_changes(fixture)]},
        _api_football,
    ),
    "espn-scoreboard": ("espn-", lambda fixture: as_espn([fixture]), _each(espn_scoreboard.read_documents)),
    "football-data-v4": ("fd-", as_football_data, _each(football_data_v4.read_documents)),
    "stats-perform-ma1": ("sp-", as_ma1, _each(stats_perform_ma1.read_documents)),
}


def fuzz(count: int, seed: int, names: Sequence[str] = tuple(FEEDS)) -> Counter[str]:
    """Read ``count`` documents; how many gave events, and how many an error."""
    draw = Random(seed)
    results: Counter[str] = Counter()
    while results.total() < count:
        name = draw.choice(names)
        _fuzz_match(draw, name, min(DOCUMENTS_OF_A_MATCH, count - results.total()), results)
    return results


def _fuzz_match(draw: Random, name: str, count: int, results: Counter[str]) -> None:
    prefix, form, read = FEEDS[name]
    match, events = final_2018(), list[Event]()
    match_id = f"{prefix}{match.number}"
    feed, now_ms = MatchingFeed(match_id, _ignore), AT_MS

    def taken(body: bytes, warn: Warn | None) -> list[Event]:
        found: list[Event] = []
        for document in read(body, now_ms, warn):
            if document.match_id == match_id:
                found += feed.take(document)
        return found

    for _ in range(count):
        match.edit(draw.choice(EDITS), draw) if draw.random() < 0.3 else match.advance()
        now_ms += 15_000
        whole = _body(form, match)
        body = whole if draw.random() < 0.2 else damage(draw, whole)
        try:
            events += taken(body, draw.choice([None, _ignore]))
            results["events"] += 1
        except FeedError:
            results["error"] += 1
        except Exception:
            print(name, body.decode(errors="replace"), file=sys.stderr)
            raise
    body = _body(form, match)
    for _ in range(5):
        now_ms += CACHE_MS + 1
        events += taken(body, None)
    (document,) = read(body, now_ms, None)
    assert fold(match_id, events).score == document.score, f"{name} {body.decode()}"


def _body(form: Callable[[dict[str, Any]], Any], match: FixtureMatch) -> bytes:
    return json.dumps(form(match.changed_fixture())).encode()


if __name__ == "__main__":
    print(dict(fuzz(int(sys.argv[1]), int((*sys.argv[2:3], "14")[0]), sys.argv[3:] or tuple(FEEDS))))
