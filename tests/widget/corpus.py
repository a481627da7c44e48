"""One corpus for all the runtimes: requests to the bridge, each with the reply that CPython gives.

A walk is a list of requests in one slot, in order. ``corpus(scale)`` draws with fixed seeds, so that the same
sources make the same corpus; at scale 1 it is small enough for the suite. ``python -m tests.widget.equality``
runs more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bench.world_cups import matches, published
from shared_state import Event, Replica, encode_delta
from shared_state.jsontext import Json
from tests import strategies
from widget.python.bridge import Bridge

__all__ = ["Walk", "corpus", "replies"]

GOLDEN = Path(__file__).parents[1] / "golden"
SEED = 20_261_127
# At scale 1: matches that are walked through, drawn histories, and as many mutated as hostile texts.
MATCHES, HISTORIES, TEXTS = 3, 40, 80

# A request and its reply, as the texts that cross between JavaScript and Python.
Walk = list[tuple[str, str]]
Deltas = Sequence[tuple[str, str]]

# What breaks readers, which no mutation finds soon: nested beyond any stack, and numbers at the edges.
HOSTILE = (
    "[" * 10_000,
    "[" * 10_000 + "]" * 10_000,
    '{"a":' * 10_000,
    '{"a":' * 10_000 + "1" + "}" * 10_000,
    '{"k":' + "[1," * 10_000,
    '{"k":{"x":' + "[" * 17 + "]" * 17 + "}}",
    '{"e":"g","k":{"x":"' + "[" * 1_000 + '"}}',
    '{"e":"g","t":"X","m":3,"k":{"x":[[[[[[[]]]]]]]},"s":[0,0]}',
    '{"e":"g","t":"X","m":3,"k":{"x":[[[[[[[[]]]]]]]]},"s":[0,0]}',
    *(
        f'{{"e":"g","t":"X","m":3,"k":{{"x":{number}}},"s":[0,0]}}'
        for number in (
            *(
                "1e22",
                "1e23",
                "5e-324",
                "4.9e-324",
                "2.2250738585072014e-308",
                "1.7976931348623157e308",
                "1e309",
            ),
            *(
                "0.1",
                "0.30000000000000004",
                "1e16",
                "1e15",
                "123456789012345680.0",
                "1e-4",
                "1e-5",
                "-0.0",
                "-0",
            ),
            *(
                "5e9",
                "4294967296.0",
                "2147483648.5",
                "1E5",
                "1e+5",
                "1e-0",
                "9007199254740991",
                "9007199254740993",
            ),
            *(
                "0.000001",
                "100000000000000000000.0",
                "1.5e300",
                "8.41e21",
                "9.5367431640625e-7",
                "01",
                "1.",
                ".5",
            ),
            *("+1", "0x1", "1_0", "NaN", "Infinity", "-Infinity", "--1", "1e", "1e+", "\u0661"),
        )
    ),
    '{"e":"g","e":"g"}',
    '{"e":"g","t":"X","m":3,"p":"\\ud83d\\ude00","s":[0,0]}',
    '{"e":"g","t":"X","m":3,"p":"\\ud83d","s":[0,0]}',
    '{"e":"g","t":"X","m":3,"p":"\\ude00\\ud83d","s":[0,0]}',
    '{"e":"g","t":"X","m":3,"p":"\\ud83d\\ud83d\\ude00","s":[0,0]}',
    '{"e":"g","t":"X","m":3,"p":"\\u00e9\\u0000\\u001f\\/\\b\\f\\n\\r\\t","s":[0,0]}',
    '{"e":"g","t":"X","m":3,"p":"\\x","s":[0,0]}',
    '{"e":"g","t":"X","m":3,"p":"\\u12g4","s":[0,0]}',
    '{"e":"g","t":"X","m":3,"p":"a\tb","s":[0,0]}',
    '{"e":"g","t":"X","m":3,"p":"a\x00b","s":[0,0]}',
    '{"e":"g","t":"X","m":true,"s":[0,0]}',
    '{"e":"g","t":"X","m":3.0,"s":[0,0]}',
    '{"e":"g","t":"X","m":3,"s":[true,0]}',
    '{"e":"g","t":"X","m":3,"s":[0,0,0]}',
    '{"e":"g","t":"VAR","m":3,"k":{"state":"CLOSED","outcome":"ELFMETER ÜBERPRÜFT"},"s":[0,0]}',
    '{"e":"g","t":"VAR","m":3,"k":{"state":"CLOSED","outcome":"İptal_edildi ΣΑΣ"},"s":[0,0]}',
    '{"e":"g","t":"VAR","m":3,"k":{"state":"CLOSED","outcome":"no_goal\\u00a0"},"s":[0,0]}',
    '{"e":"g","t":"MATCH_INFO","k":{"home":{"name":"A"},"away":{"name":"B"},"kickoff_ms":253402300799999},"s":[0,0]}',
    '{"e":"g","t":"MATCH_INFO","k":{"home":{"name":"A"},"away":{"name":"B"},"kickoff_ms":253402300800000},"s":[0,0]}',
    '{"e":"g","t":"MATCH_INFO","k":{"home":{"name":"A"},"away":{"name":"B"},"kickoff_ms":951868800000},"s":[0,0]}',
    '{"e":"g","t":"X","m":3,"s":[0,0]} x',
    '{"e":"g","t":"X","m":3,"s":[0,0],}',
    '{"e":"é" 1}',
    "\ufeff{}",
    "\u00a0{}",
    "",
    " ",
    '"',
    "{",
    '{"',
    '{"a',
    '{"a"',
    '{"a":',
    "[1 2]",
    "tru",
    "null",
    "17",
    '"x"',
)


def corpus(scale: int) -> Mapping[str, list[Walk]]:
    """All walks by the part that they are of."""
    drawn = Random(SEED)
    return {
        "golden transcripts": [_walk(*transcript) for transcript in _golden()],
        "World Cups, undated": list(_world_cups(MATCHES * scale, dated=False)),
        "World Cups, dated": list(_world_cups(MATCHES * scale, dated=True)),
        "drawn histories": list(_histories(HISTORIES * scale)),
        "mutated": list(_mutated(TEXTS * scale, drawn)),
        "hostile": [_text_walk(f"h{n}", text) for n, text in enumerate(HOSTILE)]
        + list(_drawn_hostile(TEXTS * scale)),
    }


def replies(requests: Sequence[str]) -> Walk:
    """The requests with CPython's replies, from one bridge."""
    bridge = Bridge()
    return [(request, bridge.handle(request)) for request in requests]


def _golden() -> Iterator[tuple[str, int, Deltas]]:
    for path in sorted(GOLDEN.glob("*.json")):
        transcript = json.loads(path.read_text(encoding="utf-8"))
        deltas = [
            (of["id"], of["data"] if isinstance(of["data"], str) else json.dumps(of["data"]))
            for of in transcript["deltas"]
        ]
        yield transcript["match_id"], transcript["epoch"], deltas


def _world_cups(count: int, *, dated: bool) -> Iterator[Walk]:
    every = list(matches())
    step = max(1, len(every) // count)
    for events in every[::step]:
        yield _published_walk(
            [(str(of.id), encode_delta(of).decode()) for of in published(events, dated=dated)], events
        )


def _published_walk(deltas: Deltas, events: Sequence[Event]) -> Walk:
    epoch = int(deltas[0][0].partition("-")[0])
    return _walk(events[0].match_id, epoch, deltas)


def _walk(match_id: str, epoch: int, deltas: Deltas) -> Walk:
    """From nothing, delta by delta; a right heartbeat and a wrong one; a snapshot, and on from it."""
    bridge = Bridge()
    out: Walk = []
    snapshot = Replica.begin(match_id, epoch).snapshot().decode()
    _ask(bridge, out, match_id, op="restore", snapshot=snapshot)
    hash_ = ""
    for id_, data in deltas:
        hash_ = _ask(bridge, out, match_id, op="receive", deltas=[[id_, data]]).get("hash", hash_)
    if deltas:
        _ask(bridge, out, match_id, op="check", id=deltas[-1][0], hash=hash_)
        _ask(bridge, out, match_id, op="check", id=deltas[-1][0], hash="0" * 16)
    snapshot = _ask(bridge, out, match_id, op="snapshot")["snapshot"]
    _ask(bridge, out, match_id, op="restore", snapshot=snapshot)
    _ask(bridge, out, match_id, op="receive", deltas=[list(pair) for pair in deltas])
    _ask(bridge, out, match_id, op="close")
    _ask(bridge, out, match_id, op="receive", deltas=[])
    return out


def _ask(bridge: Bridge, out: Walk, match_id: str, **request: Json) -> Mapping[str, Any]:
    # As JSON.stringify writes it, which escapes a lone surrogate and nothing else beyond ASCII.
    text = json.dumps(
        {"slot": match_id, "match": match_id, **request}, ensure_ascii=False, separators=(",", ":")
    )
    text = "".join(f"\\u{ord(sign):04x}" if 0xD800 <= ord(sign) < 0xE000 else sign for sign in text)
    out.append((text, bridge.handle(text)))
    reply: Mapping[str, Any] = json.loads(out[-1][1])
    return reply


def _histories(count: int) -> Iterator[Walk]:
    for history in _drawn(strategies.histories(16), count):
        origin = Replica.begin(strategies.MATCH_ID, strategies.EPOCH)
        deltas = [origin.assign(event, strategies.EPOCH + at) for at, event in enumerate(history)]
        yield _walk(
            strategies.MATCH_ID,
            strategies.EPOCH,
            [(str(of.id), encode_delta(of).decode()) for of in deltas if of is not None],
        )


def _mutated(count: int, drawn: Random) -> Iterator[Walk]:
    """A delta or a snapshot of a golden transcript that is broken, and what comes of it."""
    transcripts = [transcript for transcript in _golden() if transcript[2]]
    valid: list[bytes] = []
    for match_id, epoch, deltas in transcripts:
        valid += [data.encode() for _, data in deltas]
        answers = [json.loads(reply) for _, reply in _walk(match_id, epoch, deltas)]
        valid += [answer["snapshot"].encode() for answer in answers if "snapshot" in answer]
    for n, broken in enumerate(_drawn(st.sampled_from(valid).flatmap(strategies.mutations), count)):
        yield _text_walk(f"m{n}", broken.decode("utf-8", "replace"))
    for n in range(count):
        data = bytearray(drawn.choice(valid))
        for _ in range(drawn.randint(1, 3)):
            data[drawn.randrange(len(data))] = drawn.choice(b'{}[]",:\\ 019eE.-nulltruefals\t\xc3')
        yield _text_walk(f"r{n}", data.decode("utf-8", "replace"))


def _drawn_hostile(count: int) -> Iterator[Walk]:
    for n, data in enumerate(_drawn(strategies.hostile_bytes(), count)):
        yield _text_walk(f"d{n}", data.decode("utf-8", "replace"))


def _text_walk(match_id: str, text: str) -> Walk:
    """Some text where a delta should be, a snapshot, an id and a hash."""
    bridge = Bridge()
    out: Walk = []
    begin = Replica.begin(match_id, strategies.EPOCH)
    _ask(bridge, out, match_id, op="restore", snapshot=begin.snapshot().decode())
    _ask(bridge, out, match_id, op="receive", deltas=[[f"{strategies.EPOCH}-1", text]])
    _ask(bridge, out, match_id, op="receive", deltas=[[text[:40], text]])
    _ask(bridge, out, match_id, op="check", id=f"{strategies.EPOCH}-1", hash=text[:40])
    _ask(bridge, out, match_id, op="snapshot")
    _ask(bridge, out, match_id, op="restore", snapshot=text)
    _ask(bridge, out, match_id, op="close")
    return out


def _drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """That many values, the same each time."""
    values: list[Any] = []

    @seed(SEED)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def collect(value: Any) -> None:
        values.append(value)

    run: Callable[[], None] = collect
    run()
    return values
