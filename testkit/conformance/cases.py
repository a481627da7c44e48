"""What the kit's server does to a client, case by case, and what the client has to know at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from shared_state import DeltaId, Event, Replica, encode_delta
from shared_state.jsontext import JsonObject

__all__ = ["CASES", "Answer", "Case", "Cut", "Played", "played"]

GOLDEN: Final = Path(__file__).parents[2] / "tests" / "golden"
#: Where a client's first snapshot stands.
FIRST_SEQ: Final = 3


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends here, without a word."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered.

    Attributes:
        parts: bytes in their order; a number is a pause, seconds.
        status: of HTTP.
        headers: further ones.
        media_type: of the body.
    """

    parts: Sequence[bytes | float | Cut]
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Played:
    """One match of a golden transcript, with its snapshot at each seq.

    Attributes:
        match_id: its id.
        epoch: of its ids.
        deltas: their JSON by seq; the first has no delta.
        snapshots: by seq.
        hashes: by seq.
    """

    match_id: str
    epoch: int
    deltas: Sequence[str]
    snapshots: Sequence[bytes]
    hashes: Sequence[str]

    @property
    def last(self) -> int:
        """The seq of the end."""
        return len(self.snapshots) - 1

    def id(self, seq: int) -> str:
        """``<epoch>-<seq>``."""
        return f"{self.epoch}-{seq}"

    def seq_of(self, id_: str | None) -> int | None:
        """The seq of an id of this epoch; None for anything else."""
        try:
            epoch, seq = DeltaId.parse(id_ or "")
        except ValueError:
            return None
        return seq if epoch == self.epoch and seq <= self.last else None

    def score(self, seq: int) -> bytes:
        """The event that brings a delta."""
        return f"id: {self.id(seq)}\nevent: score\ndata: {self.deltas[seq]}\n\n".encode()

    def scores(self, first: int, last: int) -> bytes:
        """The events that bring these deltas, both included."""
        return b"".join(self.score(seq) for seq in range(first, last + 1))

    def heartbeat(self, seq: int, hash_: str | None = None) -> bytes:
        """The event that says where the server is."""
        value = {"epoch": self.epoch, "seq": seq, "hash": hash_ or self.hashes[seq], "server_ms": self.epoch}
        return f"event: heartbeat\ndata: {json.dumps(value)}\n\n".encode()

    def gap(self, seq: int) -> bytes:
        """The event that sends a client to the snapshot."""
        address = f"api/match/{self.match_id}/state"
        value = {"epoch": self.epoch, "seq": seq, "snapshot": address}
        return f"id: {self.id(seq)}\nevent: gap\ndata: {json.dumps(value)}\n\n".encode()

    def end(self) -> bytes:
        """The event after which nothing comes."""
        value = {"match_id": self.match_id, "reason": "ended"}
        return f"event: end\ndata: {json.dumps(value)}\n\n".encode()

    def rest(self, after: int) -> bytes:
        """Everything after a seq, and the end."""
        return self.scores(after + 1, self.last) + self.heartbeat(self.last) + self.end()


@cache
def played(name: str, epoch: int = 0) -> Played:
    """The match of ``tests/golden/<name>.json``; under another epoch, a log that was rebuilt."""
    transcript = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    replica = Replica.begin(transcript["match_id"], epoch or transcript["epoch"])
    deltas, snapshots, hashes = [""], [replica.snapshot()], [replica.hash()]
    for value, accepted_ms in zip(transcript["events"], transcript["accepted_ms"], strict=True):
        delta = replica.assign(Event.from_json(value), accepted_ms)
        if delta is not None:
            deltas.append(encode_delta(delta).decode())
            snapshots.append(replica.snapshot())
            hashes.append(replica.hash())
    return Played(replica.match.match_id, replica.position.epoch, deltas, snapshots, hashes)


#: The answer to a connection: its number from 1, and the id that the client names (None for none).
Streamed = Callable[[int, str | None], Answer]
#: The answer to a request for the snapshot: its number from 1.
Stated = Callable[[int], Answer]
#: The answer to a long-poll: the id and the slice.
Polled = Callable[[str, int], Answer]


@dataclass(frozen=True, slots=True)
class Case:
    """One trial of a client.

    Attributes:
        name: of its address.
        title: what happens, for people.
        match: what is played.
        end: what a client has at the end.
        stream: how connections are answered.
        state: how requests for the snapshot are answered.
        poll: how long-polls are answered; None where the case is one of streams.
        least_connections: so many connections, or long-polls, a client has to make.
        least_states: so many snapshots it has to fetch.
        least_pause_s: so long it has to wait between two connections, seconds.
    """

    name: str
    title: str
    match: Played
    end: Played
    stream: Streamed
    state: Stated
    poll: Polled | None = None
    least_connections: int = 1
    least_states: int = 1
    least_pause_s: float = 0.0

    @property
    def expected(self) -> JsonObject:
        """What the client prints: its id, and the score and hash of its state."""
        snapshot = json.loads(self.end.snapshots[self.end.last])
        return {"id": self.end.id(self.end.last), "score": snapshot["score"], "hash": snapshot["hash"]}


def _events(
    *parts: bytes | float | Cut, status: int = 200, headers: Sequence[tuple[str, str]] = ()
) -> Answer:
    return Answer((b"retry: 50\n\n", *parts), status, headers, "text/event-stream")


def _snapshot(match: Played, seq: int) -> Answer:
    return Answer([match.snapshots[seq]], headers=[("ETag", f'"{match.id(seq)}"')])


def _resumed(match: Played, id_: str | None, then: Callable[[int], Answer]) -> Answer:
    """What ``then`` says for a client that names an id; a gap at the head for one that names none."""
    after = match.seq_of(id_)
    return (
        _events(match.gap(match.last), match.heartbeat(match.last), match.end())
        if after is None
        else then(after)
    )


def _whole(match: Played) -> Streamed:
    return lambda _number, id_: _resumed(match, id_, lambda after: _events(match.rest(after)))


def _first(match: Played) -> Stated:
    """The snapshot early in the match, and at the end for a client that asks again."""
    return lambda number: _snapshot(match, FIRST_SEQ if number == 1 else match.last)


def _cases() -> Iterator[Case]:
    final, corrections, shootout = played("final_2018"), played("corrections"), played("shootout")
    names, unknown = played("hostile_names"), played("unknown_types")

    for match, name, title in (
        (final, "plain", "a real match, undisturbed"),
        (corrections, "corrections", "retractions before their goals, revivals, amendments"),
        (shootout, "shootout", "a shoot-out with a kick that is taken back"),
        (names, "names", "names in every script, quotes, markup and emoji"),
        (unknown, "unknown-types", "types of events that the client does not know: the id moves on"),
    ):
        yield Case(name, title, match, match, _whole(match), _first(match))

    def cut_after_three(number: int, id_: str | None) -> Answer:
        def then(after: int) -> Answer:
            if after + 3 >= final.last:
                return _events(final.rest(after))
            return _events(final.scores(after + 1, after + 3), Cut())

        return _resumed(final, id_, then)

    yield Case(
        "cut",
        "the connection is cut after each three deltas: the client resumes at its id",
        final,
        final,
        cut_after_three,
        _first(final),
        least_connections=8,
    )

    def cut_in_the_middle(number: int, id_: str | None) -> Answer:
        def then(after: int) -> Answer:
            if number > 1:
                return _events(final.rest(after))
            half = final.score(after + 2)
            return _events(final.score(after + 1), half[: len(half) - 3], Cut())

        return _resumed(final, id_, then)

    yield Case(
        "cut-in-an-event",
        "the connection is cut inside an event: what is not whole has not come",
        final,
        final,
        cut_in_the_middle,
        _first(final),
        least_connections=2,
    )

    def in_pieces(number: int, id_: str | None) -> Answer:
        def then(after: int) -> Answer:
            whole = names.rest(after)
            return _events(*[part for byte in whole for part in (bytes([byte]), 0.0)])

        return _resumed(names, id_, then)

    yield Case(
        "bytes", "each byte comes by itself, also within a character", names, names, in_pieces, _first(names)
    )

    def spelt_otherwise(number: int, id_: str | None) -> Answer:
        def then(after: int) -> Answer:
            text = (
                final.rest(after)
                .replace(b"\n", b"\r\n")
                .replace(b"event: ", b": a comment\r\nnovel: x\r\nevent:")
            )
            return _events(b":\r\n\r\n" + text)

        return _resumed(final, id_, then)

    yield Case(
        "spelling",
        "CR LF, comments, fields that are not known, no space after the colon",
        final,
        final,
        spelt_otherwise,
        _first(final),
    )

    def twice(number: int, id_: str | None) -> Answer:
        def then(after: int) -> Answer:
            begin = max(1, after - 2)
            return _events(
                final.scores(begin, final.last), final.scores(begin, final.last), final.rest(final.last)
            )

        return _resumed(final, id_, then)

    yield Case("twice", "deltas come twice, and older ones again", final, final, twice, _first(final))

    def hole(number: int, id_: str | None) -> Answer:
        def then(after: int) -> Answer:
            if number == 1:
                before, behind = final.scores(after + 1, after + 2), final.scores(after + 4, after + 5)
                return _events(before, behind, 0.2, Cut())
            # Without a heartbeat, whose hash would tell even a client that noticed nothing.
            return _events(final.scores(after + 1, final.last), final.end())

        return _resumed(final, id_, then)

    yield Case(
        "hole",
        "a delta is missing: the client loads the snapshot, or asks again from its last contiguous id",
        final,
        final,
        hole,
        lambda number: _snapshot(final, FIRST_SEQ if number == 1 else FIRST_SEQ + 5),
        least_connections=2,
    )

    def gap(number: int, id_: str | None) -> Answer:
        def then(after: int) -> Answer:
            if number == 1:
                return _events(final.scores(after + 1, after + 2), Cut())
            if after < final.last:
                return _events(final.gap(final.last), final.heartbeat(final.last), 0.5, final.end())
            return _events(final.rest(after))

        return _resumed(final, id_, then)

    yield Case(
        "gap",
        "what was missed is gone: the client fetches the snapshot and shows nothing in between",
        final,
        final,
        gap,
        _first(final),
        least_connections=2,
        least_states=2,
    )

    rebuilt = played("final_2018", epoch=final.epoch + 86_400_000)

    def epoch(number: int, id_: str | None) -> Answer:
        if number == 1 and (after := final.seq_of(id_)) is not None:
            return _events(final.scores(after + 1, after + 2), Cut())
        seq = rebuilt.seq_of(id_)
        if seq is not None:
            return _events(rebuilt.rest(seq))
        return _events(rebuilt.gap(rebuilt.last), rebuilt.heartbeat(rebuilt.last), 0.5, rebuilt.end())

    yield Case(
        "epoch",
        "the log was rebuilt: ids of another epoch are another count, and the snapshot begins it",
        final,
        rebuilt,
        epoch,
        lambda number: _snapshot(final, FIRST_SEQ) if number == 1 else _snapshot(rebuilt, rebuilt.last),
        least_connections=2,
        least_states=2,
    )

    def wrong_hash(number: int, id_: str | None) -> Answer:
        def then(after: int) -> Answer:
            if after == FIRST_SEQ:
                return _events(
                    final.scores(after + 1, after + 2), final.heartbeat(after + 2, "0" * 16), 0.5, Cut()
                )
            return _events(final.rest(after))

        return _resumed(final, id_, then)

    yield Case(
        "hash",
        "a heartbeat has another hash than the client: it fetches the snapshot",
        final,
        final,
        wrong_hash,
        lambda number: _snapshot(final, FIRST_SEQ if number == 1 else FIRST_SEQ + 4),
        least_states=2,
    )

    def full(number: int, id_: str | None) -> Answer:
        if number < 3:
            return Answer([b'{"error":{"code":"full","message":"full"}}'], 503, [("Retry-After", "1")])
        return _resumed(final, id_, lambda after: _events(final.rest(after)))

    yield Case(
        "full",
        "twice 503 with Retry-After: the client comes again, not sooner",
        final,
        final,
        full,
        _first(final),
        least_connections=3,
        least_pause_s=1.0,
    )

    def stale(number: int) -> Answer:
        return _snapshot(final, {1: FIRST_SEQ, 2: FIRST_SEQ + 1}.get(number, final.last))

    def after_stale(number: int, id_: str | None) -> Answer:
        def then(after: int) -> Answer:
            if number == 1:
                return _events(final.scores(after + 1, after + 4), Cut())
            if after < final.last:
                return _events(final.gap(final.last), final.heartbeat(final.last), 1.0, Cut())
            return _events(final.rest(after))

        return _resumed(final, id_, then)

    yield Case(
        "stale-snapshot",
        "a cache has an older snapshot than the client knows: ids never go back, and it asks again",
        final,
        final,
        after_stale,
        stale,
        least_connections=2,
        least_states=3,
    )

    yield from _long_polls(final)


def _long_polls(final: Played) -> Iterator[Case]:
    def answer(after: int, last: int, slice_: int, *, ended: bool = False) -> Answer:
        deltas = [[final.id(seq), json.loads(final.deltas[seq])] for seq in range(after + 1, last + 1)]
        value: JsonObject = {
            "match_id": final.match_id,
            "after": final.id(after),
            "deltas": deltas,
            "next": {"id": final.id(last), "slice": slice_ + 1},
            "as_of": final.epoch,
        }
        return Answer([json.dumps(value | {"ended": True} if ended else value).encode()])

    def refused(status: int, code: str) -> Answer:
        value = {"error": {"code": code, "message": code, "head": final.id(final.last)}}
        return Answer([json.dumps(value).encode()], status)

    def runs(id_: str, slice_: int) -> Answer:
        after = final.seq_of(id_)
        if after is None:
            return refused(404, "unknown_id")
        if slice_ % 2:  # silence: nothing came in this slice
            return answer(after, after, slice_)
        last = min(after + 4, final.last)
        return answer(after, last, slice_, ended=last == final.last)

    def gone(id_: str, slice_: int) -> Answer:
        after = final.seq_of(id_)
        if after is not None and after < final.last:
            return refused(410, "gap")
        return answer(final.last, final.last, slice_, ended=True)

    no_stream = lambda _number, _id: refused(501, "no_stream_tier")  # noqa: E731 - as the others are
    yield Case(
        "long-poll",
        "runs of deltas and silences by slices: the client follows `next`, and ends at `ended`",
        final,
        final,
        no_stream,
        _first(final),
        runs,
        least_connections=6,
    )
    yield Case(
        "long-poll-gap",
        "410: what was missed is gone, the client fetches the snapshot",
        final,
        final,
        no_stream,
        _first(final),
        gone,
        least_connections=2,
        least_states=2,
    )


CASES: Final[Sequence[Case]] = tuple(_cases())
