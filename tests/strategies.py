"""What the properties are tried on. Every strategy says what it makes, what it leaves out, how it shrinks.

Small pools are the point: two events that never meet test nothing. Ids, revisions and times come from a
handful, so that a list of eight events has its duplicates, conflicts, corrections and revivals.

What takes arguments is cached: hypothesis spends longer on making a strategy than on drawing from it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from shared_state import Event
from shared_state.events import PERIODS, STATUSES, TYPES

__all__ = [
    "EPOCH",
    "MATCH_ID",
    "arrivals",
    "details",
    "events",
    "histories",
    "hostile_bytes",
    "hostile_text",
    "json_values",
    "mutations",
]

MATCH_ID = "fra-cro"
EPOCH = 1_531_666_800_000

HOSTILE_TEXTS = (
    "Mandžukić",
    "<script>alert(1)</script>",
    "</script><!--",
    '"><img src=x onerror=alert(1)>',
    "' OR 1=1 --",
    "{{7*7}}${7*7}",
    "&amp;&#x27;",
    "\u202eإبراهيم\u202c",  # right-to-left override, and a name that needs it
    "\u2066\u2069\u200b\ufeff",  # isolates, zero width space, byte order mark
    "line\nbreak\r\u2028\u2029\u0085",  # all the line ends there are: SSE ends a field at three of them
    "👨‍👩‍👧‍👦🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "e\u0301é",  # the same letter twice, composed and not: no normal form may be imposed
    "\U0010ffff\ufffe",
    "\x1b[31m\x7f\x08",
    "data: x\n\nevent: gap",
    "O'Neil; DROP TABLE",
    "\\u0000\\ud800",
    "İıſK",  # changes length with its case
)


@functools.cache
def hostile_text(max_size: int = 40) -> st.SearchStrategy[str]:
    """Text of 1 to ``max_size`` characters: markup, quotes, line ends, RTL, emoji, anything of Unicode.

    Excluded: lone surrogates (no UTF-8 carries them; ``mutations`` sends them) and NUL.
    Shrinks towards the first of ``HOSTILE_TEXTS``, an ordinary name.
    """
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    fixed = [text for text in HOSTILE_TEXTS if len(text) <= max_size]
    return st.sampled_from(fixed) | st.text(letters, min_size=1, max_size=max_size)


@functools.cache
def json_values(max_leaves: int = 6) -> st.SearchStrategy[Any]:
    """Plain JSON: null, booleans, integers to ±(2**53-1), finite floats, text, lists, objects.

    Excluded: NaN, infinities, deep nesting (at most ``max_leaves`` leaves). Shrinks towards null.
    """
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | hostile_text(20)
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile_text(12), inner, max_size=3),
        max_leaves=max_leaves,
    )


@functools.cache
def details(type_: str) -> st.SearchStrategy[dict[str, Any]]:
    """A valid detail of the type: all its keys, or some optional ones left out; at times an unknown key.

    Excluded: whatever the contract refuses. Shrinks towards the shortest valid detail.
    """
    count = st.integers(0, 9)
    sheet = st.fixed_dictionaries(
        {"name": hostile_text()},
        optional={
            "code": st.none() | st.sampled_from(["FRA", "CRO"]),
            "crest": st.none() | st.just("https://crests.example/a.svg"),
            "color": st.none() | st.sampled_from(["#0055a4", "#FFFFFF"]),
        },
    )
    player = st.fixed_dictionaries(
        {"name": hostile_text()},
        optional={
            "number": st.none() | st.integers(0, 99),
            "position": st.none() | st.sampled_from(["GK", "FW"]),
            "captain": st.none() | st.booleans(),
            "born": st.just(1999),
        },
    )
    required: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "SHOOTOUT_KICK": {"order": st.integers(1, 12), "scored": st.booleans()},
        "VAR": {"state": st.sampled_from(["OPEN", "CLOSED"])},
        "STOPPAGE_ANNOUNCED": {"minutes": count},
        "STATUS_CHANGE": {"to": st.sampled_from(STATUSES)},
        "SCORE_OVERRIDE": {"home": count, "away": count},
        "MATCH_INFO": {"home": sheet, "away": sheet},
        "NOTE": {"text": hostile_text()},
        "LINE_UP": {"starting": st.lists(player, min_size=1, max_size=3)},
        "STAT": {"key": st.sampled_from(["shots", "xg", "x_new"]), "home": count, "away": count},
    }
    optional: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "GOAL": {"own_goal": st.booleans(), "penalty": st.booleans()},
        "VAR": {"outcome": st.none() | hostile_text(), "target_event_id": st.none() | st.sampled_from(_IDS)},
        "MATCH_INFO": {
            "competition": st.none() | hostile_text(),
            "kickoff_ms": st.none() | st.just(EPOCH),
            "venue": st.none() | hostile_text(),
        },
        "LINE_UP": {
            "formation": st.none() | st.just("4-3-3"),
            "bench": st.none() | st.lists(player, max_size=2),
            "coach": st.none() | hostile_text(),
        },
    }
    known = st.fixed_dictionaries(required.get(type_, {}), optional=optional.get(type_, {}))
    unknown = st.dictionaries(st.sampled_from(["xg", "zone"]), json_values(), max_size=2)
    return st.tuples(st.just({}) | unknown, known).map(lambda pair: {**pair[0], **pair[1]})


_IDS = ("g1", "g2", "s1", "\u202e<b>&")
_UNKNOWN_TYPES = ("CORNER", "X_NEW_2031")
_TIMES = (None, None, EPOCH, EPOCH + 60_000, 0)
_NAMES = st.none() | hostile_text()
_MINUTES = st.none() | st.integers(0, 125)


@st.composite
def events(
    draw: st.DrawFn,
    types: Sequence[str] = (*TYPES, *_UNKNOWN_TYPES),
    ids: Sequence[str] = _IDS,
    max_rev: int = 4,
) -> Event:
    """One valid event of ``MATCH_ID``: any operation, any type, colliding ids, revisions and times.

    Excluded: other matches, and ids or revisions outside the small pools.
    Shrinks towards an undated ADD of ``g1`` at revision 1, of the first type, without names.
    """
    op = draw(st.sampled_from(["ADD", "AMEND", "RETRACT"]))
    common: dict[str, Any] = {
        "match_id": MATCH_ID,
        "event_id": draw(st.sampled_from(ids)),
        "rev": draw(st.integers(1, max_rev)),
        "op": op,
        "source_ts": draw(st.sampled_from(_TIMES)),
        "reason": draw(_NAMES),
        "source": draw(st.sampled_from([None, "opta", "sportradar"])),
    }
    if op == "RETRACT":
        return Event(**common)
    type_ = draw(st.sampled_from(types))
    needs_team = type_ in ("GOAL", "SHOOTOUT_KICK", "LINE_UP")
    teams: list[str | None] = ["home", "away"] if needs_team else [None, "home", "away"]
    return Event(
        **common,
        type=type_,
        period=draw(st.sampled_from(PERIODS)),
        minute=draw(_MINUTES),
        stoppage=draw(st.integers(0, 9)),
        team=draw(st.sampled_from(teams)),
        player=draw(_NAMES),
        player2=draw(_NAMES),
        detail=draw(details(type_)),
        status=draw(st.sampled_from(["CONFIRMED", "PROVISIONAL"])),
    )


# Types that make the state, drawn more often than those that are only kept.
_TELLING = ("GOAL", "SHOOTOUT_KICK", "STATUS_CHANGE", "SCORE_OVERRIDE", "MATCH_INFO")


def histories(max_size: int = 10) -> st.SearchStrategy[list[Event]]:
    """The events of one match as a log might hold them: corrections before their events, duplicates,
    revivals, one revision with two bodies, every type.

    Excluded: nothing that ``events`` makes. Shrinks towards fewer and simpler events.
    """
    return st.lists(st.one_of(events(_TELLING), events(_TELLING), events()), max_size=max_size)


@st.composite
def arrivals(draw: st.DrawFn, history: Sequence[Event]) -> list[Event]:
    """The same set in another order, some of it twice or three times.

    Excluded: nothing lost, nothing new. Shrinks towards the given order without repeats.
    """
    again = draw(st.lists(st.sampled_from(history), max_size=4)) if history else []
    return list(draw(st.permutations([*history, *again])))


_BAD_TOKENS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "1.5",
    "-0.0",
    "-1",
    "9007199254740992",
    "9" * 5_000,
    '"\\ud800"',
    '"\\u0000"',
    "[" * 40 + "]" * 40,
    "[" * 100_000,
    '{"a":' * 40 + "1" + "}" * 40,
    '{"a":1,"a":2}',
    "true",
    "null",
    '""',
    "[]",
    "{}",
    '"' + "x" * 3_000 + '"',
    "0x10",
    "01",
)


@st.composite
def mutations(draw: st.DrawFn, valid: bytes) -> bytes:
    """Valid JSON of an object, broken in one to three ways.

    On bytes: a bit flipped, cut short, a run doubled, a byte put in. On structure: at any depth a value
    becomes another type, a number out of range, a float, NaN, a lone surrogate, something very deep or
    very large; or a key goes, or stands twice. Now and then a mutation changes nothing of meaning.
    Shrinks towards one mutation near the start.
    """
    data = valid
    for _ in range(draw(st.integers(1, 3))):
        break_it = _structure_mutations if draw(st.booleans()) else _byte_mutations
        data = draw(break_it(data))
    return data


@st.composite
def _byte_mutations(draw: st.DrawFn, data: bytes) -> bytes:
    at = draw(st.integers(0, max(0, len(data) - 1)))
    kind = draw(st.sampled_from(["flip", "cut", "double", "insert"]))
    if kind == "flip" and data:
        return data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
    if kind == "cut":
        return data[:at]
    if kind == "double":
        return data[:at] + data[at : at + 20] + data[at:]
    return data[:at] + draw(st.binary(min_size=1, max_size=4)) + data[at:]


@st.composite
def _structure_mutations(draw: st.DrawFn, data: bytes) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places = list(_places(value))
    if not places:
        return data
    container, key = draw(st.sampled_from(places))
    kind = draw(st.sampled_from(["token", "token", "swap", "drop", "twice"]))
    if kind == "drop":
        del container[key]
        return json.dumps(value).encode()
    if kind == "swap":
        container[key] = draw(json_values())
        return json.dumps(value).encode()
    # A token that no json.dumps writes is put in by way of a mark.
    mark = "\x01mark\x01"
    old, container[key] = container[key], mark
    text = json.dumps(value)
    written = json.dumps(mark)
    if kind == "twice" and isinstance(container, dict):
        name = json.dumps(key)
        return text.replace(written, f"{json.dumps(old)},{name}:{json.dumps(old)}", 1).encode()
    return text.replace(written, draw(st.sampled_from(_BAD_TOKENS)), 1).encode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return []
    inner = [place for _, item in items for place in _places(item)]
    return [(value, key) for key, _ in items] + inner


def hostile_bytes() -> st.SearchStrategy[bytes]:
    """Any bytes at all, any JSON at all, and the tokens that break readers.

    Excluded: more than a few hundred kilobytes. Shrinks towards nothing.
    """
    return (
        st.binary(max_size=60)
        | json_values(12).map(lambda value: json.dumps(value).encode())
        | st.sampled_from(_BAD_TOKENS).map(str.encode)
        | hostile_text().map(str.encode)
    )
