"""The match state machine: pure Python that runs unchanged in the origin and in the browser.

Read the files in the order data moves: ``events`` (the vocabulary), ``corrections`` (which revision
is in force), ``match`` (the fold), ``wire`` (deltas and snapshots), ``replica`` (a match with its position),
``view`` (HTML), ``reconnect`` (when to try again).

>>> from shared_state import Event, Replica
>>> origin = Replica.begin("fra-cro", epoch=1531666800000)
>>> goal = Event(match_id="fra-cro", event_id="g1", rev=1, op="ADD", type="GOAL", period="H1", minute=18,
...              team="home", player="Mandžukić", detail={"own_goal": True})
>>> delta = origin.assign(goal, accepted_ms=1531667940000)
>>> str(delta.id), delta.score
('1531666800000-1', Score(home=1, away=0))
>>> viewer = Replica.begin("fra-cro", epoch=1531666800000)
>>> viewer.receive(delta), viewer.hash() == origin.hash()
(<Receipt.APPLIED: 'applied'>, True)
"""

from shared_state.corrections import ResolvedEvent, is_conflict, resolve
from shared_state.errors import InvalidEvent, SharedStateError, WireError
from shared_state.events import Event
from shared_state.match import Clock, Match, Score, apply, fold, match_hash, state_json
from shared_state.reconnect import delay_ms
from shared_state.replica import Receipt, Replica
from shared_state.wire import (
    PROTOCOL_VERSION,
    Delta,
    DeltaId,
    decode_delta,
    decode_snapshot,
    encode_delta,
    encode_snapshot,
)

__all__ = [
    "PROTOCOL_VERSION",
    "Clock",
    "Delta",
    "DeltaId",
    "Event",
    "InvalidEvent",
    "Match",
    "Receipt",
    "Replica",
    "ResolvedEvent",
    "Score",
    "SharedStateError",
    "WireError",
    "apply",
    "decode_delta",
    "decode_snapshot",
    "delay_ms",
    "encode_delta",
    "encode_snapshot",
    "fold",
    "is_conflict",
    "match_hash",
    "resolve",
    "state_json",
]
