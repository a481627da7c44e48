"""The wire: what a delta looks like byte for byte, and what any other bytes lead to."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_state import (
    PROTOCOL_VERSION,
    Delta,
    DeltaId,
    Event,
    InvalidEvent,
    Match,
    Replica,
    ResolvedEvent,
    Score,
    WireError,
    decode_delta,
    decode_snapshot,
    encode_delta,
    encode_snapshot,
    fold,
    match_hash,
)
from shared_state.details import DETAIL_MAX_DEPTH
from shared_state.jsontext import MAX_INTEGER, canonical, parse
from shared_state.match import derive, state_json
from tests import strategies
from tests.events_by_hand import add, amend, goal, kick, retract, status
from tests.strategies import EPOCH, MATCH_ID

ID = DeltaId(EPOCH, 3)


def delta_of(event: Event, **fields: Any) -> Delta:
    given = {"accepted_ms": EPOCH, "score": Score(0, 0), "shootout": None, **fields}
    return Delta(ID, event, **given)


# --- ids


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("0-0", (0, 0)),
        ("1531666800000-12", (EPOCH, 12)),
        (f"{MAX_INTEGER}-{MAX_INTEGER}", (MAX_INTEGER, MAX_INTEGER)),
    ],
)
def test_id_is_epoch_and_seq(text: str, id_: tuple[int, int]) -> None:
    assert DeltaId.parse(text) == id_
    assert str(DeltaId.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *["", "-", "1", "1-", "-1", "1--1", "1-2-3", "01-2", "1-02", "+1-2", " 1-2", "1-2\n", "1-2 ", "1:2"],
        *["a-b", "1.0-2", "1_0-2", "¹-2", "١-٢", "$", "1-*", "9007199254740992-1", "1-9007199254740992"],
        "9" * 5_000 + "-1",
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(WireError, match=r"^an id"):
        DeltaId.parse(text)


@given(st.integers(0, MAX_INTEGER), st.integers(0, MAX_INTEGER))
def test_id_is_a_fixed_point_and_needs_no_preflight(epoch: int, seq: int) -> None:
    text = str(DeltaId(epoch, seq))
    assert DeltaId.parse(text) == (epoch, seq)
    assert len(text) <= 128
    assert set(text) <= set("0123456789-")


# --- deltas


@pytest.mark.parametrize(
    ("delta", "data"),
    [
        (
            delta_of(goal("g7", "home", 67, "Vinicius Jr"), score=Score(1, 0)),
            '{"e":"g7","t":"GOAL","m":67,"tm":"home","p":"Vinicius Jr","s":[1,0]}',
        ),
        (
            delta_of(
                goal("g1", "home", 90, "Griezmann", stoppage=8, status="PROVISIONAL", source_ts=EPOCH + 5),
                accepted_ms=EPOCH + 9,
            ),
            '{"e":"g1","t":"GOAL","m":90,"x":8,"tm":"home","p":"Griezmann","u":"PROVISIONAL","z":5,"a":9,"s":[0,0]}',
        ),
        (
            delta_of(
                amend("g1", "GOAL", team="home", minute=18, player="Mandžukić", detail={"own_goal": True}),
                score=Score(1, 0),
            ),
            '{"e":"g1","r":2,"t":"GOAL","m":18,"tm":"home","p":"Mandžukić","k":{"own_goal":true},"o":"AMEND","s":[1,0]}',
        ),
        (
            delta_of(retract("g1", rev=2, reason="VAR: offside")),
            '{"e":"g1","r":2,"y":"VAR: offside","o":"RETRACT","s":[0,0]}',
        ),
        (
            delta_of(kick("k1", "away", 2, scored=False), score=Score(3, 3), shootout=Score(1, 0)),
            '{"e":"k1","t":"SHOOTOUT_KICK","d":"PENS","tm":"away","k":{"order":2,"scored":false},"s":[3,3],"so":[1,0]}',
        ),
        (
            delta_of(status("s1", "FT", "POST", source_ts=EPOCH - 1)),
            '{"e":"s1","t":"STATUS_CHANGE","d":"POST","k":{"to":"FT"},"z":-1,"s":[0,0]}',
        ),
        (
            delta_of(add("s1", "SUBSTITUTION", minute=0, player="Nzonzi", player2="Kanté")),
            '{"e":"s1","t":"SUBSTITUTION","m":0,"p":"Nzonzi","q":"Kanté","s":[0,0]}',
        ),
        (
            delta_of(add("x", "X_NEW", period="PRE", detail={"own_goal": False, "none": None, "no": {}})),
            '{"e":"x","t":"X_NEW","k":{"own_goal":false,"none":null,"no":{}},"s":[0,0]}',
        ),
        (
            delta_of(add("m", "MATCH_INFO", detail={"home": {"name": "France"}, "away": {"name": "</b>"}})),
            (
                '{"e":"m","t":"MATCH_INFO","k":{"home":{"name":"France","code":null},'
                '"away":{"name":"</b>","code":null}},"s":[0,0]}'
            ),
        ),
        # The period is left out only where the minute tells it.
        (
            delta_of(goal("g", "away", 46, period="H1")),
            '{"e":"g","t":"GOAL","d":"H1","m":46,"tm":"away","s":[0,0]}',
        ),
        (
            delta_of(goal("g", "away", 110, detail={"xg": 0})),
            '{"e":"g","t":"GOAL","m":110,"tm":"away","k":{"xg":0},"s":[0,0]}',
        ),
    ],
)
def test_delta_byte_for_byte(delta: Delta, data: str) -> None:
    assert encode_delta(delta).decode() == data
    assert decode_delta(MATCH_ID, ID, data) == delta
    assert decode_delta(MATCH_ID, ID, data.encode()) == delta


@given(
    strategies.events(),
    st.integers(0, MAX_INTEGER),
    st.integers(0, MAX_INTEGER),
    st.tuples(st.integers(0, 999), st.integers(0, 999)),
    st.none() | st.tuples(st.integers(0, 99), st.integers(0, 99)),
)
def test_delta_is_a_fixed_point(
    event: Event, epoch: int, accepted_ms: int, score: tuple[int, int], shootout: tuple[int, int] | None
) -> None:
    id_ = DeltaId(epoch, 1)
    delta = Delta(id_, event, accepted_ms, Score(*score), None if shootout is None else Score(*shootout))
    data = encode_delta(delta)
    assert b"\n" not in data  # one SSE data line
    assert b"\r" not in data
    again = decode_delta(MATCH_ID, id_, data)
    assert again == delta
    assert encode_delta(again) == data


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "a delta must be JSON"),
        (b"\xff", "a delta must be JSON"),
        (b"[]", "a delta must be an object"),
        (b"null", "a delta must be an object"),
        (b"{}", "event_id: is required"),
        (b'{"e":"g"}', "type: is required"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1}', "s must be two counts"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1]}', "s must be two counts"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1,-1]}', "s must be two counts"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1,true]}', "s must be two counts"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1,1.0]}', "s must be two counts"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":{"0":1,"1":0}}', "s must be two counts"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1,0],"so":null}', "so must be two counts"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1,0],"z":1.5}', "z must be an integer"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1,0],"z":true}', "z must be an integer"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1,0],"z":-9007199254740991}', "source_ts: "),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1,0],"a":"1"}', "a must be an integer"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1,0],"a":null}', "a must be an integer"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1,0],"a":-1531666800001}', "a must lead to a time"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1,0],"a":9007199254740991}', "a must lead to a time"),
        (b'{"e":"g","t":"GOAL","tm":"home","m":"1","s":[1,0]}', "minute: "),
        (b'{"e":"g","t":"GOAL","tm":"home","m":true,"s":[1,0]}', "minute: "),
        (b'{"e":"g","t":"GOAL","m":1,"s":[1,0]}', "team: "),
        (b'{"e":"g","t":"GOAL","tm":"home","m":1,"k":[],"s":[1,0]}', "detail: "),
        (b'{"e":"g","o":"ERASE","s":[1,0]}', "op: "),
        (b'{"e":"g","o":{"a":[]},"t":"GOAL","s":[1,0]}', "op: "),
        (b'{"e":"g","e":"h","t":"GOAL","tm":"home","m":1,"s":[1,0]}', "stands twice"),
    ],
)
def test_broken_delta_is_one_wire_error(data: bytes, fault: str) -> None:
    with pytest.raises(WireError, match=fault):
        decode_delta(MATCH_ID, ID, data)


def test_delta_of_a_match_without_a_name_is_refused() -> None:
    with pytest.raises(WireError, match="match_id: "):
        decode_delta("<script>", ID, b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1,0]}')


def test_reader_of_a_newer_delta_ignores_its_keys() -> None:
    newer = b'{"e":"g","t":"GOAL","tm":"home","m":1,"s":[1,0],"new":{"x":[1]}}'
    assert decode_delta(MATCH_ID, ID, newer) == delta_of(goal("g", "home", 1), score=Score(1, 0))


# --- snapshots


def snapshot_of(match: Match, seq: int = 3, accepted_ms: int | None = None) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(encode_snapshot(match, DeltaId(EPOCH, seq), accepted_ms))
    return value


def test_snapshot_carries_all_a_reader_needs() -> None:
    info = add("m", "MATCH_INFO", detail={"home": {"name": "France"}, "away": {"name": "Croatia"}})
    match = fold(
        MATCH_ID, [info, goal("g1", "home", 18), goal("g2", "away", 28), retract("g2"), retract("g3")]
    )
    value = snapshot_of(match, 5, EPOCH + 7)
    assert " ".join(value) == (
        "v epoch seq hash accepted_ms info "
        "clock events goals match_id pending period retracted score shootout status"
    )
    assert (value["v"], value["epoch"], value["seq"], value["accepted_ms"]) == (2, EPOCH, 5, EPOCH + 7)
    assert value["hash"] == match_hash(match)
    assert value["info"]["home"] == {"name": "France", "code": None}
    assert [len(value[key]) for key in ("events", "retracted", "pending")] == [2, 1, 1]
    assert snapshot_of(Match(match_id=MATCH_ID))["info"] is None


def test_hash_leaves_epoch_and_seq_out() -> None:
    match = fold(MATCH_ID, [goal("g1", "home", 18)])
    hashes = {
        json.loads(encode_snapshot(match, DeltaId(epoch, seq), ms))["hash"]
        for epoch in (0, EPOCH)
        for seq in (1, 9)
        for ms in (None, 5)
    }
    assert hashes == {match_hash(match)}
    assert len(match_hash(match)) == 16
    assert set(match_hash(match)) <= set("0123456789abcdef")


@given(strategies.histories(), st.integers(0, MAX_INTEGER), st.none() | st.integers(0, MAX_INTEGER))
def test_snapshot_is_a_fixed_point(history: list[Event], epoch: int, accepted_ms: int | None) -> None:
    match = fold(MATCH_ID, history)
    data = encode_snapshot(match, DeltaId(epoch, len(history)), accepted_ms)
    again, id_, again_ms = decode_snapshot(data)
    assert (again, id_, again_ms) == (match, (epoch, len(history)), accepted_ms)
    assert match_hash(again) == match_hash(match)
    assert encode_snapshot(again, id_, again_ms) == data
    assert decode_snapshot(data.decode())[0] == match


@given(st.data(), strategies.histories())
def test_restore_and_later_deltas_is_the_fold_of_all(data: st.DataObject, history: list[Event]) -> None:
    cut = data.draw(st.integers(0, len(history)))
    origin = Replica.begin(MATCH_ID, EPOCH)
    for event in history[:cut]:
        origin.assign(event, EPOCH)
    viewer = Replica.restore(origin.snapshot())
    assert viewer == origin
    for event in history[cut:]:
        delta = origin.assign(event, EPOCH + 1)
        if delta is not None:
            viewer.receive(decode_delta(MATCH_ID, delta.id, encode_delta(delta)))
    assert viewer.hash() == origin.hash() == match_hash(fold(MATCH_ID, history))
    assert viewer.position == origin.position
    assert viewer.snapshot() == origin.snapshot()


def test_deepest_detail_fits_in_a_snapshot_of_a_retracted_event() -> None:
    """A detail that the log takes must not make a snapshot that no reader takes."""
    nested: dict[str, Any] = {}
    for _ in range(DETAIL_MAX_DEPTH - 2):
        nested = {"x": nested}
    event = add("x", "X_NEW", period="H1", detail={"x": nested})
    match = fold(MATCH_ID, [event, retract("x")])
    assert decode_snapshot(encode_snapshot(match, ID))[0] == match
    with pytest.raises(InvalidEvent, match=r"^detail: "):
        add("x", "X_NEW", period="H1", detail={"x": {"x": nested}})


HASH = object()  # put in for the hash that fits the state, as a forger would


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"v": 3}, "protocol version 2"),
        ({"v": None}, "protocol version 2"),
        ({"v": 1}, "hash must be"),
        ({"match_id": None}, "must name its match"),
        ({"match_id": 5}, "must name its match"),
        ({"match_id": "<script>"}, "must name its match"),
        ({"match_id": "other"}, "hash must be"),
        ({"epoch": -1}, "an epoch and a seq"),
        ({"epoch": "1"}, "an epoch and a seq"),
        ({"epoch": True}, "an epoch and a seq"),
        ({"seq": None}, "an epoch and a seq"),
        ({"seq": 1.0}, "an epoch and a seq"),
        ({"seq": -1}, "an epoch and a seq"),
        ({"hash": None}, "hash must be"),
        ({"hash": "0" * 16}, "hash must be"),
        ({"hash": 5}, "hash must be"),
        ({"accepted_ms": "now"}, "accepted_ms must be an integer"),
        ({"accepted_ms": True}, "accepted_ms must be an integer"),
        ({"events": None}, "events must be a list"),
        ({"events": {}}, "events must be a list"),
        ({"events": [5]}, "event must be an object"),
        ({"events": [{}]}, "event_id: is required"),
        ({"events": []}, "hash must be"),
        ({"retracted": None}, "retracted must be a list"),
        ({"retracted": [5]}, "retracted item must be an object"),
        ({"retracted": [{}]}, "event must be an object"),
        ({"retracted": [{"event": {}, "retraction": None}]}, "event_id: is required"),
        ({"pending": None}, "pending must be a list"),
        ({"pending": [[]]}, "event must be an object"),
    ],
)
def test_broken_snapshot_is_one_wire_error(change: dict[str, Any], fault: str) -> None:
    value = snapshot_of(fold(MATCH_ID, [goal("g1", "home", 18), retract("g2")])) | change
    with pytest.raises(WireError, match=fault):
        decode_snapshot(json.dumps(value))


@pytest.mark.parametrize("data", [b"", b"5", b"[]", b"null", b"\xff", b'{"v":1,"v":1}', b"NaN"])
def test_no_snapshot_is_one_wire_error(data: bytes) -> None:
    with pytest.raises(WireError, match="a snapshot must be"):
        decode_snapshot(data)


@given(strategies.histories())
def test_snapshot_of_the_release_before_is_read(history: list[Event]) -> None:
    """After an upgrade the bus still has it: the same members, and the hash over all of them."""
    match = fold(MATCH_ID, history)
    first_hash = hashlib.sha256(canonical(state_json(match)).encode()).hexdigest()[:16]
    stored = snapshot_of(match) | {"v": 1, "hash": first_hash}
    assert decode_snapshot(json.dumps(stored))[0] == match
    with pytest.raises(WireError, match="hash must be"):
        decode_snapshot(json.dumps(stored | {"v": PROTOCOL_VERSION}))


def test_counts_that_a_snapshot_claims_are_not_believed() -> None:
    value = snapshot_of(fold(MATCH_ID, [goal("g1", "home", 18)]))
    value |= {"score": {"home": 9, "away": 9}, "goals": None, "status": "FT"}
    match, _, _ = decode_snapshot(json.dumps(value))
    assert (match.score, match.status) == ((1, 0), "SCHEDULED")


def test_a_forged_snapshot_is_still_the_match_of_some_events() -> None:
    """Records as no set of events makes them, under a hash that fits: none of them comes in."""
    body, tombstone = goal("g1", "home", 18), retract("g1", reason="offside")
    for records in (
        {"g1": ResolvedEvent(tombstone, None)},
        {"g1": ResolvedEvent(amend("g1", "GOAL", team="home", minute=18), tombstone)},
        {"g1": ResolvedEvent(body, retract("g2"))},
    ):
        forged = derive(MATCH_ID, records)
        state = state_json(forged)
        first_hash = hashlib.sha256(canonical(state).encode()).hexdigest()[:16]
        for version, hash_ in ((1, first_hash), (PROTOCOL_VERSION, match_hash(forged))):
            value = {"v": version, "epoch": EPOCH, "seq": 1, "hash": hash_, **state}
            with pytest.raises(WireError, match="hash must be"):
                decode_snapshot(json.dumps(value))


# --- any bytes


@given(strategies.hostile_bytes())
def test_any_bytes_are_a_value_or_a_wire_error(data: bytes) -> None:
    assert_value_or_wire_error(data)


def assert_value_or_wire_error(data: bytes) -> None:
    refused: list[WireError] = []
    try:
        delta = decode_delta(MATCH_ID, ID, data)
    except WireError as error:
        refused.append(error)
    else:
        again = encode_delta(delta)
        assert decode_delta(MATCH_ID, ID, again) == delta
        assert encode_delta(decode_delta(MATCH_ID, ID, again)) == again
    try:
        match, id_, accepted_ms = decode_snapshot(data)
    except WireError as error:
        refused.append(error)
    else:
        again = encode_snapshot(match, id_, accepted_ms)
        assert decode_snapshot(again) == (match, id_, accepted_ms)
    try:
        id_ = DeltaId.parse(data.decode("latin-1"))
    except WireError as error:
        refused.append(error)
    else:
        assert str(id_) == data.decode()
    for one in refused:
        assert len(str(one).encode("utf-8")) < 1_000


@given(st.data(), strategies.events())
def test_mutated_delta_is_a_value_or_a_wire_error(data: st.DataObject, event: Event) -> None:
    whole = encode_delta(delta_of(event, accepted_ms=EPOCH + 5, shootout=Score(0, 0)))
    assert_value_or_wire_error(data.draw(strategies.mutations(whole)))


@given(st.data(), strategies.histories(5))
def test_mutated_snapshot_is_a_value_or_a_wire_error(data: st.DataObject, history: list[Event]) -> None:
    whole = encode_snapshot(fold(MATCH_ID, history), ID, EPOCH)
    broken = data.draw(strategies.mutations(whole))
    assert_value_or_wire_error(broken)


@given(st.data(), strategies.events())
def test_mutated_event_is_an_event_or_invalid(data: st.DataObject, event: Event) -> None:
    """The same for an event as ingest takes it: what the strict reader lets through, the event judges."""
    broken = data.draw(strategies.mutations(json.dumps(event.to_json()).encode()))
    try:
        value = parse(broken)
    except ValueError:
        return
    try:
        read = Event.from_json(value)
    except InvalidEvent as error:
        str(error).encode("utf-8")
        return
    assert Event.from_json(read.to_json()) == read
    match = fold(read.match_id, [read])
    assert decode_snapshot(encode_snapshot(match, ID))[0] == match
