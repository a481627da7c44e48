"""One stream of several matches through a real gunicorn."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from shared_state import Replica
from testkit.stream_app import EPOCH_MS
from testkit.stream_server import RawClient, StreamServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    with StreamServer(
        tmp_path_factory.mktemp("several"), heartbeat_s=0.6, unknown_match_s=0.2, memberships_max=450
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _close_clients(server: StreamServer) -> Iterator[None]:
    yield
    server.close_clients()


def ask(server: StreamServer, query: str, method: str = "GET") -> RawClient:
    client = server.client()
    client.send(f"{method} /stream?{query} HTTP/1.1\r\nHost: x\r\n\r\n")
    return client


def watch(server: StreamServer, query: str) -> RawClient:
    client = ask(server, query)
    assert client.head()[0] == 200
    return client


def events(client: RawClient, count: int, kinds: tuple[str, ...]) -> list[tuple[str, str]]:
    """The kind and the id (or, of an ``end``, the match) of the next events of these kinds."""
    found: list[tuple[str, str]] = []
    while len(found) < count:
        event = client.event()
        if event.get("event") in kinds:
            found.append((event["event"], event.get("id") or json.loads(event["data"])["match_id"]))
    return found


def heartbeat_of(client: RawClient, matches: set[str]) -> dict[str, list[str]]:
    """The first heartbeat that is about these matches."""
    while True:
        event = client.event()
        if event.get("event") == "heartbeat":
            found: dict[str, list[str]] = json.loads(event["data"])["matches"]
            if set(found) == matches:
                return found


def test_each_match_of_a_set_gets_its_own_answer_and_its_own_deltas(server: StreamServer) -> None:
    server.publish("up", "count=2")
    server.publish("missed", "count=4")
    head = server.publish("fresh", "count=3")
    client = watch(server, f"m=up@{EPOCH_MS}-2&m=missed@{EPOCH_MS}-2&m=fresh")
    found = events(client, 3, ("score", "gap"))
    assert sorted(found) == [
        ("gap", f"fresh@{head}"),
        ("score", f"missed@{EPOCH_MS}-3"),
        ("score", f"missed@{EPOCH_MS}-4"),
    ]
    ids = [f"{name}@{server.publish(name)}" for name in ("missed", "up", "fresh", "up")]
    assert events(client, 4, ("score", "gap")) == [("score", id_) for id_ in ids]


def test_a_heartbeat_says_where_all_matches_of_the_set_stand(server: StreamServer) -> None:
    heads = {name: server.publish(name, "count=2&goal=1") for name in ("beat-a", "beat-b")}
    client = watch(server, "m=beat-a&m=beat-b")
    found = heartbeat_of(client, set(heads))
    for name, (id_, hash_) in found.items():
        assert id_ == heads[name]
        assert hash_ == Replica.restore(server.get(f"/state/{name}")).hash()


def test_the_viewers_of_one_match_and_of_several_get_the_same_deltas(server: StreamServer) -> None:
    server.publish("both")
    alone, among = server.stream("both"), watch(server, "m=both&m=nobody-knows-this")
    ids = [server.publish("both") for _ in range(3)]
    assert alone.scores(3) == ids
    assert events(among, 3, ("score",)) == [("score", f"both@{id_}") for id_ in ids]


def test_an_unknown_match_ends_and_the_others_go_on(server: StreamServer) -> None:
    server.publish("known")
    client = watch(server, "m=known&m=made-up")
    assert events(client, 1, ("end",)) == [("end", "made-up")]
    assert set(heartbeat_of(client, {"known"})) == {"known"}
    id_ = server.publish("known")
    assert ("score", f"known@{id_}") in events(client, 1, ("score",))


def test_a_set_of_unknown_matches_is_404(server: StreamServer) -> None:
    status, _, body = ask(server, "&".join(f"m=made-up-{number}" for number in range(200))).answer()
    assert status == 404
    assert json.loads(body)["error"]["code"] == "unknown_match"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("", "no match"),
        ("m=a&m=b&m=a", "'a'"),
        ("m=a&m=b%20c", "b c"),
        ("m=", "m=''"),
        ("&".join(f"m=a{number}" for number in range(201)), "201"),
        ("x=1&" * 300 + "m=a", "301"),
    ],
    ids=["none", "twice", "no id", "empty", "too many", "too many fields"],
)
def test_a_set_that_cannot_be_is_refused_by_name(server: StreamServer, query: str, named: str) -> None:
    status, _, body = ask(server, query).answer()
    assert status == 400
    assert named in json.loads(body)["error"]["message"]


def test_the_longest_set_is_read_and_a_longer_address_is_not(server: StreamServer) -> None:
    names = [f"{number:064}" for number in range(200)]
    server.publish(names[7])
    query = "&".join(f"m={name}@{EPOCH_MS}-123456789" for name in names)
    client = watch(server, query)
    assert heartbeat_of(client, {names[7]})
    status, _, _ = ask(server, f"{query}&x={'x' * 3_000}").answer()
    assert status == 414


def test_more_matches_than_the_worker_can_stream_are_refused(server: StreamServer) -> None:
    names = [f"many-{number}" for number in range(200)]
    for name in names[:5]:
        server.publish(name)
    query = "&".join(f"m={name}" for name in names)
    # Of the unknown ones nothing stays, so that these two watch five matches each.
    for _ in range(2):
        events(watch(server, query), 195, ("end",))
    known = "&".join(f"m={name}" for name in names[:5])
    for _ in range(40):
        watch(server, known)
    status, _, body = ask(server, query + "&" + "m=more").answer()
    assert status == 400
    for _ in range(12):
        watch(server, known)
    status, _, body = ask(server, query).answer()
    assert (status, json.loads(body)["error"]["code"]) == (503, "too_many_matches_watched")
    server.close_clients()
    server.wait_metric('touchline_stream_viewers{transport="sse_multi"}', 0)
    watch(server, query)


def test_a_head_and_an_options_of_a_set(server: StreamServer) -> None:
    server.publish("head")
    assert ask(server, "m=head", "HEAD").head()[0] == 200
    assert ask(server, "m=head", "OPTIONS").head()[0] == 204
    assert ask(server, "m=head", "POST").head()[0] == 405
