"""docs/api/asyncapi.yaml against real streams: every event that comes is a message of its channel."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from httpx_sse import ServerSentEvent, connect_sse
from jsonschema import Draft202012Validator
from websockets.sync.client import connect

from testkit.services.origin import OriginServer

ROOT = Path(__file__).parents[3]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "api" / "asyncapi.yaml").read_text())
FINAL = ROOT / "origin" / "demo" / "final-2018.jsonl"
MATCH = "2018-07-15-france-croatia"
DELTAS = 28


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        server.post_file(FINAL)
        server.wait_for_seq(MATCH, DELTAS)
        yield server


def resolved(reference: str) -> Any:
    """What a ``$ref`` of the document leads to."""
    value: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def check(channel: str, event: str, id_: str | None, data: str) -> None:
    """This event is a message of the channel, by its schemas."""
    by_name = {
        found["name"]: found for found in map(_message, DOCUMENT["channels"][channel]["messages"].values())
    }
    assert event in by_name, f"{event!r} is no message of {channel}"
    message = by_name[event]
    root = {"components": DOCUMENT["components"]}
    Draft202012Validator({**root, **message["payload"]}).validate(json.loads(data))
    if headers := message.get("headers"):
        Draft202012Validator({**root, **headers}).validate({"id": id_} if id_ else {})


def _message(value: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = resolved(value["$ref"])
    return found


def events(
    server: OriginServer, path: str, names: Sequence[str], meanwhile: Callable[[], object] | None = None
) -> list[ServerSentEvent]:
    """The first events of a stream, until one of each of these names has come.

    Args:
        server: the origin.
        path: of the stream.
        names: what is waited for.
        meanwhile: what is done once the first heartbeat has come.
    """
    found: list[ServerSentEvent] = []
    with (
        httpx.Client(timeout=20) as client,
        connect_sse(client, "GET", f"http://127.0.0.1:{server.port}{path}") as source,
    ):
        for event in source.iter_sse():
            if not event.data:  # ``retry:`` alone, which a browser does not dispatch
                continue
            found.append(event)
            if event.event == "heartbeat" and meanwhile is not None:
                meanwhile()
                meanwhile = None
            if {event.event for event in found} >= set(names):
                return found
    raise AssertionError(f"{path} ended after {[event.event for event in found]}")


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        assert resolved(reference), reference


@pytest.mark.parametrize(
    ("channel", "path", "names"),
    [
        ("match", f"/stream/{MATCH}", ["gap", "heartbeat"]),
        ("match", f"/stream/{MATCH}?last_event_id={{epoch}}-3", ["score", "heartbeat"]),
        ("matches", f"/stream?m={MATCH}@{{epoch}}-3", ["score", "heartbeat"]),
        ("matches", f"/stream?m={MATCH}&m=nobody", ["gap", "heartbeat", "end"]),
        ("matches", f"/stream?list=&m={MATCH}@{{epoch}}-3", ["score", "heartbeat", "gap"]),
        ("matches", "/stream?list=&list_id=17-0123456789abcdef", ["gap", "heartbeat"]),
    ],
)
def test_what_streams_send_is_what_it_says(
    server: OriginServer, channel: str, path: str, names: Sequence[str]
) -> None:
    path = path.format(epoch=server.state(MATCH)["epoch"])
    for event in events(server, path, names):
        check(channel, event.event, event.id or None, event.data)


def test_rows_of_a_list_are_what_it_says(server: OriginServer) -> None:
    goal = {"match_id": "m-row", "event_id": "g1", "rev": 1, "op": "ADD", "type": "GOAL", "period": "H1"}
    came = events(
        server, "/stream?list=", ["row"], lambda: server.post({**goal, "minute": 3, "team": "home"})
    )
    for event in came:
        check("matches", event.event, event.id or None, event.data)


def test_what_a_websocket_sends_is_what_it_says(server: OriginServer) -> None:
    epoch = server.state(MATCH)["epoch"]
    address = f"ws://127.0.0.1:{server.port}/ws/match/{MATCH}?last_event_id={epoch}-3"
    with connect(address) as socket:
        for _ in range(1 + DELTAS - 3):
            frame = json.loads(socket.recv(timeout=20))
            check("webSocket", frame["event"], frame.get("id"), json.dumps(frame["data"]))
