"""The bridge under CPython: the same module that runs in the browser."""

from __future__ import annotations

import json

import pytest

from shared_state import Event, Match, Replica, encode_delta
from shared_state.announce import announcement
from shared_state.jsontext import Json, JsonObject
from shared_state.languages import LANGUAGES
from shared_state.view import scoreboard
from widget.python.bridge import Bridge

EPOCH = 1_531_666_800_000


def goal(number: int, **changes: Json) -> Event:
    return Event.from_json(
        {
            "match_id": "m",
            "event_id": f"g{number}",
            "rev": 1,
            "op": "ADD",
            "type": "GOAL",
            "period": "H1",
            "minute": number,
            "team": "home",
            "player": f"Player {number}",
            **changes,
        }
    )


class Server:
    """What the server publishes: deltas as text, and what it would show at each."""

    def __init__(self) -> None:
        self.replica = Replica.begin("m", EPOCH)
        self.pictures: list[str] = []

    def publish(self, event: Event) -> list[str]:
        before: Match = self.replica.match
        delta = self.replica.assign(event, EPOCH + 5)
        assert delta is not None
        spoken = announcement(before, self.replica.match, event)
        match, position = self.replica.match, self.replica.position
        self.pictures.append(scoreboard(match, position, announcement=spoken, before=before))
        return [str(delta.id), encode_delta(delta).decode()]

    def snapshot(self) -> str:
        return self.replica.snapshot().decode()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


def ask(bridge: Bridge, **request: Json) -> JsonObject:
    reply: JsonObject = json.loads(bridge.handle(json.dumps({"slot": "m", "match": "m", **request})))
    return reply


def test_each_delta_gives_the_servers_picture_and_hash(bridge: Bridge, server: Server) -> None:
    assert ask(bridge, op="restore", snapshot=server.snapshot())["receipt"] == "applied"
    for event in (goal(1), goal(2), goal(1, rev=2, op="RETRACT", reason="VAR: offside")):
        reply = ask(bridge, op="receive", deltas=[server.publish(event)])
        assert reply["html"] == server.pictures[-1]
        assert reply["hash"] == server.replica.hash()
        assert reply["id"] == str(server.replica.position)
        assert reply["accepted_ms"] == EPOCH + 5
    assert reply["announce"].startswith("Correction: ")


def test_each_delta_gives_its_notifications_in_order(bridge: Bridge, server: Server) -> None:
    """The same that the server writes into the fragments of these deltas."""
    snapshot = server.snapshot()
    events = (goal(1), goal(2), goal(1, rev=2, op="RETRACT", reason="Offside"))
    deltas = [server.publish(event) for event in events]
    ask(bridge, op="restore", snapshot=snapshot)
    told = ask(bridge, op="receive", deltas=deltas)["notifications"]
    assert [(one["id"], one["type"], one["score"]["home"]) for one in told] == [
        (deltas[0][0], "goal", 1),
        (deltas[1][0], "goal", 2),
        (deltas[2][0], "correction", 1),
    ]
    assert told[2]["reason"] == "Offside"
    assert ask(bridge, op="receive", deltas=deltas[-1:])["receipt"] == "duplicate"


def test_many_deltas_give_one_picture(bridge: Bridge, server: Server) -> None:
    snapshot = server.snapshot()
    deltas = [server.publish(goal(n)) for n in range(1, 6)]
    ask(bridge, op="restore", snapshot=snapshot)
    reply = ask(bridge, op="receive", deltas=deltas)
    assert reply["html"] == server.pictures[-1]
    assert ask(bridge, op="receive", deltas=deltas) == {
        "receipt": "duplicate",
        "id": str(server.replica.position),
        "accepted_ms": EPOCH + 5,
    }


def test_a_hole_waits_and_then_closes(bridge: Bridge, server: Server) -> None:
    ask(bridge, op="restore", snapshot=server.snapshot())
    first, second = server.publish(goal(1)), server.publish(goal(2))
    assert ask(bridge, op="receive", deltas=[second])["receipt"] == "waiting"
    reply = ask(bridge, op="receive", deltas=[first])
    assert (reply["id"], reply["hash"]) == (str(server.replica.position), server.replica.hash())


def test_a_heartbeat_finds_out(bridge: Bridge, server: Server) -> None:
    ask(bridge, op="restore", snapshot=server.snapshot())
    ask(bridge, op="receive", deltas=[server.publish(goal(1))])
    head, hash_ = str(server.replica.position), server.replica.hash()
    assert ask(bridge, op="check", id=head, hash=hash_)["receipt"] == "in_step"
    assert ask(bridge, op="check", id=f"{EPOCH}-2", hash=hash_)["receipt"] == "waiting"
    wrong = ask(bridge, op="check", id=head, hash="0" * 16)
    assert wrong["receipt"] == "need_snapshot"
    assert wrong["id"] == head
    assert "html" not in wrong


@pytest.mark.parametrize(
    "deltas",
    [
        [["x", "{}"]],
        [[f"{EPOCH}-1", "{"]],
        [[f"{EPOCH}-1", '{"e":1}']],
        [[f"{EPOCH + 1}-1", '{"e":"a","s":[0,0]}']],
    ],
)
def test_what_cannot_be_read_asks_for_a_snapshot(bridge: Bridge, server: Server, deltas: Json) -> None:
    ask(bridge, op="restore", snapshot=server.snapshot())
    reply = ask(bridge, op="receive", deltas=deltas)
    assert reply["receipt"] == "need_snapshot"
    assert reply["reason"]
    assert ask(bridge, op="receive", deltas=[server.publish(goal(1))])["receipt"] == "applied"


def test_a_snapshot_that_cannot_be_read_keeps_the_last_good_one(bridge: Bridge, server: Server) -> None:
    ask(bridge, op="restore", snapshot=server.snapshot())
    assert ask(bridge, op="restore", snapshot="{}")["receipt"] == "need_snapshot"
    assert ask(bridge, op="receive", deltas=[server.publish(goal(1))])["receipt"] == "applied"


def test_its_snapshot_goes_on_elsewhere(bridge: Bridge, server: Server) -> None:
    ask(bridge, op="restore", snapshot=server.snapshot())
    ask(bridge, op="receive", deltas=[server.publish(goal(1))])
    kept = ask(bridge, op="snapshot")["snapshot"]
    assert Replica.restore(kept).hash() == server.replica.hash()


def test_slots_are_apart_and_end(bridge: Bridge, server: Server) -> None:
    empty = server.snapshot()
    ask(bridge, op="restore", snapshot=empty)
    ask(bridge, op="restore", slot="m@30", snapshot=empty)
    ask(bridge, op="receive", deltas=[server.publish(goal(1))])
    assert ask(bridge, op="snapshot", slot="m@30")["id"] == f"{EPOCH}-0"
    ask(bridge, op="close")
    assert ask(bridge, op="snapshot")["receipt"] == "need_snapshot"
    assert ask(bridge, op="snapshot", slot="m@30")["receipt"] == "in_step"


def test_a_match_is_in_the_language_of_its_element(bridge: Bridge, server: Server) -> None:
    german = LANGUAGES["de"]
    learned = ask(bridge, op="language", tag="de", dir="ltr", texts=dict(german.texts))
    assert learned["receipt"] == "in_step"
    first = ask(bridge, op="restore", slot="d", language="de", snapshot=server.snapshot())
    assert ' lang="de" dir="ltr"' in first["html"]
    ask(bridge, op="restore", slot="e", language="en", snapshot=server.snapshot())
    before = server.replica.match
    delta = server.publish(goal(1))
    spoken = announcement(before, server.replica.match, goal(1), german)
    reply = ask(bridge, op="receive", slot="d", deltas=[delta])
    assert reply["announce"] == spoken
    assert spoken.startswith("Tor!")
    match, position = server.replica.match, server.replica.position
    assert reply["html"] == scoreboard(match, position, announcement=spoken, language=german)
    english = ask(bridge, op="receive", slot="e", deltas=[delta])
    assert ' lang="en" dir="ltr"' in english["html"]
    assert english["announce"].startswith("Goal!")


def test_what_was_announced_or_is_old_is_not_announced_again(bridge: Bridge, server: Server) -> None:
    snapshot = server.snapshot()
    deltas = [server.publish(goal(n)) for n in (1, 2, 3)]
    ask(bridge, op="restore", snapshot=snapshot)
    reply = ask(bridge, op="receive", deltas=deltas, spoken=deltas[1][0])
    assert "Player 3" in reply["announce"]
    assert "Player 2" not in reply["announce"]
    ask(bridge, op="restore", slot="old", snapshot=snapshot)
    assert ask(bridge, op="receive", slot="old", deltas=deltas, spoken_ms=EPOCH + 6)["announce"] == ""
    ask(bridge, op="restore", slot="new", snapshot=snapshot)
    assert "Player 1" in ask(bridge, op="receive", slot="new", deltas=deltas, spoken_ms=EPOCH + 5)["announce"]
