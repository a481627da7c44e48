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


# --- the end of a match


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    """A server for which a match is over half a second after its last change."""
    with StreamServer(tmp_path_factory.mktemp("short"), heartbeat_s=0.6, ended_after_s=0.5) as running:
        yield running
        running.close_clients()


def until_end(client: RawClient) -> list[dict[str, str]]:
    """All events, to the end of the stream."""
    return [event for event in client.events() if "event" in event]


def test_a_stream_ends_with_its_match_and_an_eventsource_does_not_come_again(short: StreamServer) -> None:
    head = short.publish("over", "status=FT")
    found = until_end(short.stream("over"))  # it is there while the match becomes a thing of the past
    assert found[0]["event"] == "gap"
    assert found[1]["event"] == "heartbeat"
    assert found[-1] == {"event": "end", "data": '{"match_id":"over","reason":"ended"}'}
    late = [event["event"] for event in until_end(short.stream("over"))]
    assert late == ["gap", "heartbeat", "end"]
    assert short.ask("over", f"Last-Event-ID: {head}\r\n").head()[0] == 204
    assert ask(short, f"m=over@{head}&m=made-up").head()[0] in (200, 204)


def test_a_correction_makes_a_match_go_on(short: StreamServer) -> None:
    short.publish("corrected", "status=FT")
    assert until_end(short.stream("corrected"))[-1]["event"] == "end"
    id_ = short.publish("corrected", "goal=1")
    client = short.stream("corrected", f"Last-Event-ID: {EPOCH_MS}-1\r\n")
    assert client.scores(1) == [id_]


def test_of_a_set_the_match_that_is_over_ends_and_the_others_go_on(short: StreamServer) -> None:
    head = short.publish("done", "status=FT")
    short.publish("on")
    client = watch(short, f"m=done@{head}&m=on")
    heartbeat_of(client, {"done", "on"})
    assert events(client, 1, ("end",)) == [("end", "done")]
    heartbeat_of(client, {"on"})
    id_ = short.publish("on")
    assert events(client, 1, ("score",)) == [("score", f"on@{id_}")]


def test_a_set_of_matches_that_are_over_is_204(short: StreamServer) -> None:
    ids = [f"m={name}@{short.publish(name, 'status=FT')}" for name in ("old-a", "old-b")]
    kinds = [event["event"] for event in until_end(watch(short, "&".join(ids)))]
    assert kinds[-2:] == ["end", "end"]
    assert kinds[0] == "heartbeat"
    assert ask(short, "&".join(ids)).head()[0] == 204


# --- what scanners and bursts do


@pytest.mark.parametrize("several", [False, True])
def test_a_comment_follows_each_delta_and_with_flush_one_more_as_a_piece(
    server: StreamServer, several: bool
) -> None:
    head = server.publish("comment")
    client = server.client()
    path = f"/stream?m=comment@{head}&flush=1" if several else f"/stream/comment?last_event_id={head}&flush=1"
    client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.head()[0] == 200
    client.until(b"event: heartbeat\n")
    client.until(b"}\n\n:\n\n")  # behind the opening
    server.publish("comment")
    client.until(b"event: score\n")
    client.until(b"}\n\n:\n\n")
    client.until(b":\n\n")


def test_the_deltas_of_a_burst_come_in_order_and_none_is_left_out(server: StreamServer) -> None:
    head = server.publish("burst")
    alone, among = server.stream("burst", f"Last-Event-ID: {head}\r\n"), watch(server, f"m=burst@{head}")
    server.publish("burst", "count=40")
    ids = [f"{EPOCH_MS}-{seq}" for seq in range(2, 42)]
    assert alone.scores(40) == ids
    assert events(among, 40, ("score",)) == [("score", f"burst@{id_}") for id_ in ids]


def test_a_match_that_the_bus_does_not_answer_for_does_not_keep_the_others(server: StreamServer) -> None:
    server.publish("fine")
    server.publish("bus-fails")
    client = watch(server, "m=bus-fails&m=fine")
    heartbeat_of(client, {"fine"})
    id_ = server.publish("fine")
    assert events(client, 1, ("score", "end")) == [("score", f"fine@{id_}")]
