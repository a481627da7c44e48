"""Damaged answers of API-Football, one after the other, through the reader and the matcher.

``python -m tests.feeds.fuzz_matching COUNT [SEED]`` reads that many; ``make soak`` a million. Anything but
events or one typed error ends it with the document that did it. After the last one the match is read
undamaged, and has to end with the truth.
"""

from __future__ import annotations

import copy
import json
import sys
from collections import Counter
from random import Random
from typing import Any

from origin.errors import FeedError
from origin.feeds.api_football_v3 import read_fixtures
from origin.feeds.jsondoc import parse_document
from origin.feeds.matching import CACHE_MS, MatchingFeed
from origin.feedworker.simulated_api_football import EDITS, FixtureMatch, final_2018
from shared_state import Event, fold
from tests.feeds.hostile_documents import VALUES

__all__ = ["damage", "fuzz"]

AT_MS = 1_700_000_000_000
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


def _body(match: FixtureMatch) -> bytes:
    return json.dumps({"errors": [], "response": [match.fixture()]}).encode()


def fuzz(count: int, seed: int) -> Counter[str]:
    """Read ``count`` documents; how many gave events, and how many an error."""
    draw = Random(seed)
    results: Counter[str] = Counter()
    while results.total() < count:
        match, events = final_2018(), list[Event]()
        feed, now_ms = MatchingFeed("af-1", lambda _: None), AT_MS
        for _ in range(min(DOCUMENTS_OF_A_MATCH, count - results.total())):
            match.edit(draw.choice(EDITS), draw) if draw.random() < 0.3 else match.advance()
            now_ms += 15_000
            body = _body(match) if draw.random() < 0.2 else damage(draw, _body(match))
            try:
                for document in read_fixtures(parse_document(body), now_ms=now_ms):
                    events += feed.take(document) if document.match_id == "af-1" else []
                results["events"] += 1
            except FeedError:
                results["error"] += 1
            except Exception:
                print(body.decode(errors="replace"), file=sys.stderr)
                raise
        body = _body(match)
        for _ in range(5):
            now_ms += CACHE_MS + 1
            (document,) = read_fixtures(parse_document(body), now_ms=now_ms)
            events += feed.take(document)
        assert fold("af-1", events).score == document.score, body.decode()
    return results


if __name__ == "__main__":
    print(dict(fuzz(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 14)))
