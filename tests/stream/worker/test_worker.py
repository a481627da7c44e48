"""The stream worker through a real gunicorn: every kind of request gets the right answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from shared_state import Replica
from testkit.stream_app import EPOCH_MS
from testkit.stream_server import RawClient, StreamServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    with StreamServer(
        tmp_path_factory.mktemp("stream"),
        heartbeat_s=0.6,
        first_bytes_s=1.0,
        unknown_match_s=0.2,
        replay_window_deltas=8,
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _close_clients(server: StreamServer) -> Iterator[None]:
    yield
    server.close_clients()


def first_events(client: RawClient, count: int) -> list[dict[str, str]]:
    """The first events that are not heartbeats; ``retry`` is one of them."""
    events: list[dict[str, str]] = []
    while len(events) < count:
        event = client.event()
        if event.get("event") != "heartbeat":
            events.append(event)
    return events


# --- the three answers


def test_a_new_viewer_is_sent_to_the_snapshot_and_goes_on_from_its_id(server: StreamServer) -> None:
    head = server.publish("new", "count=3")
    client = server.client()
    client.send("GET /stream/new HTTP/1.1\r\nHost: x\r\n\r\n")
    status, headers = client.head()
    assert status == 200
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["x-content-type-options"] == "nosniff"
    retry, gap = first_events(client, 2)
    assert 1_000 <= int(retry["retry"]) < 60_000
    assert gap["event"] == "gap"
    assert gap["id"] == head
    assert json.loads(gap["data"])["snapshot"] == "/api/match/new/state"
    following = server.publish("new")
    assert client.scores(1) == [following]


@pytest.mark.parametrize("how", ["header", "query", "header before query"])
def test_a_viewer_that_names_an_id_gets_all_it_missed(server: StreamServer, how: str) -> None:
    server.publish("missed", "count=6")
    query = {"header": "", "query": f"?last_event_id={EPOCH_MS}-2"}.get(how, f"?last_event_id={EPOCH_MS}-5")
    header = "" if how == "query" else f"Last-Event-ID: {EPOCH_MS}-2\r\n"
    client = server.stream(f"missed{query}", header)
    assert client.scores(4) == [f"{EPOCH_MS}-{seq}" for seq in (3, 4, 5, 6)]


def test_a_viewer_that_missed_nothing_is_told_nothing(server: StreamServer) -> None:
    head = server.publish("nothing", "count=2")
    client = server.stream("nothing", f"Last-Event-ID: {head}\r\n")
    assert "retry" in client.event()
    assert client.event()["event"] == "heartbeat"


def test_a_viewer_behind_the_window_is_answered_by_the_bus(server: StreamServer) -> None:
    server.publish("far", "count=40")
    client = server.stream("far", f"Last-Event-ID: {EPOCH_MS}-1\r\n")
    assert client.scores(39) == [f"{EPOCH_MS}-{seq}" for seq in range(2, 41)]
    assert client.scores(0) == []
    last = server.publish("far")
    assert client.scores(1) == [last]


@pytest.mark.parametrize("id_", ["1-1", f"{EPOCH_MS}-999", "rubbish", "-1-4", "9" * 400])
def test_an_id_that_leads_nowhere_gets_a_gap(server: StreamServer, id_: str) -> None:
    # A match of its own: one that is held already may learn of the delta just after the viewer's gap.
    match_id = f"nowhere-{len(id_)}"
    head = server.publish(match_id)
    client = server.stream(match_id, f"Last-Event-ID: {id_}\r\n")
    gap = first_events(client, 2)[1]
    assert (gap["event"], gap["id"]) == ("gap", head)


def test_matches_do_not_mix(server: StreamServer) -> None:
    server.publish("left")
    server.publish("right")
    left, right = server.stream("left"), server.stream("score?matchId=right")
    ids = [server.publish("left"), server.publish("right"), server.publish("left")]
    assert left.scores(2) == [ids[0], ids[2]]
    assert right.scores(1) == [ids[1]]


def test_the_heartbeat_carries_the_hash_of_the_state(server: StreamServer) -> None:
    head = server.publish("beat", "count=2&goal=1")
    client = server.stream("beat")
    while (event := client.event()).get("event") != "heartbeat":
        pass
    beat = json.loads(event["data"])
    assert f"{beat['epoch']}-{beat['seq']}" == head
    assert beat["hash"] == Replica.restore(server.get("/state/beat")).hash()
    assert abs(beat["server_ms"] - time.time() * 1_000) < 5_000
    assert "id" not in event


def test_each_viewer_gets_a_heartbeat_in_each_interval(server: StreamServer) -> None:
    server.publish("beats")
    clients = [server.stream("beats") for _ in range(40)]
    for client in clients:
        beats = 0
        while beats < 2:
            beats += client.event().get("event") == "heartbeat"


def test_streams_take_no_threads(server: StreamServer) -> None:
    server.publish("threads")
    clients = [server.stream("threads") for _ in range(60)]
    threads = json.loads(server.get("/threads"))
    # Four of the page pool, four bus readers, the main thread.
    assert len(threads) <= 9, threads
    last = server.publish("threads")
    assert [client.scores(1) for client in clients] == [[last]] * 60


# --- requests


def exchange(server: StreamServer, request: str) -> tuple[int, dict[str, str], bytes]:
    client = server.client()
    client.send(request)
    return client.answer()


def test_a_preflight_allows_the_header_that_resumes(server: StreamServer) -> None:
    status, headers, _ = exchange(
        server,
        "OPTIONS /stream/new HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n"
        "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: last-event-id\r\n\r\n",
    )
    assert status == 204
    assert headers["access-control-allow-origin"] == "*"
    assert "last-event-id" in headers["access-control-allow-headers"]


def test_head_has_the_stream_s_headers_and_ends(server: StreamServer) -> None:
    server.publish("head")
    client = server.client()
    client.send("HEAD /stream/head HTTP/1.1\r\nHost: x\r\n\r\n")
    status, headers = client.head()
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert client.rest() == b""


@pytest.mark.parametrize(
    "path", ["/stream/none", "/stream/", "/stream/a/b", "/stream/a%20b", "/stream/" + "a" * 65]
)
def test_an_unknown_match_is_404(server: StreamServer, path: str) -> None:
    for _ in range(2):  # the second is answered from what is remembered
        status, headers, body = exchange(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status == 404
        assert json.loads(body)["error"]["code"] == "unknown_match"
        assert headers["access-control-allow-origin"] == "*"
    client = server.client()
    client.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert client.head()[0] == 404
    assert client.rest() == b""


def test_an_unknown_match_that_begins_is_found(server: StreamServer) -> None:
    assert exchange(server, "GET /stream/soon HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 404
    server.publish("soon")
    time.sleep(0.4)
    server.stream("soon")


def test_made_up_matches_leave_nothing_behind(server: StreamServer) -> None:
    before = server.metric("touchline_stream_matches")
    client = server.client()
    for number in range(300):
        client.send(f"GET /stream/made-up-{number} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.answer()[0] == 404
    assert server.metric("touchline_stream_matches") <= before


def test_an_escaped_id_is_the_id(server: StreamServer) -> None:
    last = server.publish("es-caped")
    client = server.stream("es%2Dcaped")
    assert first_events(client, 2)[1]["id"] == last


def test_score_without_a_match_is_400(server: StreamServer) -> None:
    status, _, body = exchange(server, "GET /stream/score HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, json.loads(body)["error"]["code"]) == (400, "missing_parameter")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_only_reading_is_allowed(server: StreamServer, method: str) -> None:
    status, headers, body = exchange(
        server, f"{method} /stream/new HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    )
    assert (status, json.loads(body)["error"]["code"]) == (405, "method_not_allowed")
    assert headers["allow"] == "get, head, options"
    assert headers["connection"] == "close"


@pytest.mark.parametrize(
    "head",
    [
        "GET /stream/new HTTP/1.1\r\n\r\n",  # no Host
        "GET /stream/new HTTP/1.1\r\nHost x\r\n\r\n",
        "GET /stream/new HTTP/1.1\r\nHost: x\r\nA\x00B: c\r\n\r\n",
        "GET /stream/new FTP/1.1\r\nHost: x\r\n\r\n",
        "FLY /stream/new HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /stream/n\x07ew HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /stream/new?" + "a=1&" * 40 + " HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_malformed_request_is_400(server: StreamServer, head: str) -> None:
    status, headers, body = exchange(server, head)
    assert (status, json.loads(body)["error"]["code"]) == (400, "malformed_request")
    assert headers["connection"] == "close"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("request_line", "header", "status", "code"),
    [
        (f"/page?{'a' * 6_000}", "", 414, "uri_too_long"),
        ("/page", "Expect: 200-maybe", 417, "expectation_failed"),
        ("/page", "Bad Name: 1", 400, "malformed_request"),
        ("/page", "\r\n".join(f"H{number}: 1" for number in range(150)), 431, "request_head_too_large"),
    ],
)
def test_what_no_page_can_answer_is_our_error(
    server: StreamServer, method: str, request_line: str, header: str, status: int, code: str
) -> None:
    """The server behind the loop refuses these by itself, and would answer with a page of its own."""
    lines = [f"{method} {request_line} HTTP/1.1", "Host: x", *([header] if header else [])]
    client = server.client()
    client.send("\r\n".join([*lines, "", ""]))
    client.sock.settimeout(20)
    answer = b""
    while data := client.sock.recv(65_536):
        answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert fields[b"content-type"] == b"application/json"
    assert fields[b"cache-control"] == b"no-store"
    assert fields[b"x-content-type-options"] == b"nosniff"
    assert fields[b"connection"] == b"close"
    if method == "GET":
        assert json.loads(body)["error"]["code"] == code
    else:
        assert body == b""


def test_a_head_that_is_too_large_is_431(server: StreamServer) -> None:
    client = server.client()
    client.send("GET /stream/new HTTP/1.1\r\nHost: x\r\nCookie: " + "c" * 20_000 + "\r\n\r\n")
    status, _, body = client.answer()
    assert (status, json.loads(body)["error"]["code"]) == (431, "request_head_too_large")
    assert client.rest() == b""  # and not a reset, which would have lost the answer


def test_a_page_s_head_that_never_ends_is_431(server: StreamServer) -> None:
    client = server.client()
    client.send("GET /page HTTP/1.1\r\nHost: x\r\nCookie: " + "c" * 40_000)
    assert client.answer()[0] == 431


def test_a_request_may_come_byte_by_byte(server: StreamServer) -> None:
    head = server.publish("bytes")
    client = server.client()
    for byte in b"GET /stream/bytes HTTP/1.1\r\nHost: x\r\n\r\n":
        client.send(bytes([byte]))
        time.sleep(0.002)
    assert client.head()[0] == 200
    assert first_events(client, 2)[1]["id"] == head


def test_who_begins_and_does_not_end_gets_408(server: StreamServer) -> None:
    for begun in ("GET /stream/new HTT", "GET /page HTTP/1.1\r\nHos", "G"):
        client = server.client()
        client.send(begun)
        began_s = time.monotonic()
        status, _, body = client.answer()
        assert (status, json.loads(body)["error"]["code"]) == (408, "request_timeout")
        assert time.monotonic() - began_s < 5


def test_who_says_nothing_is_closed_without_a_word(server: StreamServer) -> None:
    assert server.client().rest() == b""


def test_slow_first_bytes_take_no_thread_from_pages(server: StreamServer) -> None:
    slow = [server.client() for _ in range(12)]  # three times the pool
    for client in slow:
        client.send("GET /page HTTP/1.1\r\nHost")
    assert server.get("/page") == b"page"


def test_http_1_0_is_served_until_the_connection_ends(server: StreamServer) -> None:
    head = server.publish("old")
    client = server.client()
    client.send("GET /stream/old HTTP/1.0\r\n\r\n")
    status, headers = client.head()
    assert status == 200
    assert headers["connection"] == "close"
    assert "transfer-encoding" not in headers
    assert first_events(client, 2)[1]["id"] == head


def test_pipelined_requests_are_answered_in_turn(server: StreamServer) -> None:
    server.publish("pipe")
    client = server.client()
    client.send(
        "OPTIONS /stream/pipe HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /stream/none HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /stream/pipe HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert client.answer()[0] == 204
    assert client.answer()[0] == 404
    assert client.answer()[2] == b"page"
    # A stream does not end, so what stands behind it is not answered, and does no harm.
    assert client.head()[0] == 200
    last = server.publish("pipe")
    assert client.scores(1) == [last]


def test_a_kept_alive_page_connection_can_become_a_stream(server: StreamServer) -> None:
    server.publish("kept")
    client = server.client()
    for _ in range(2):
        client.send("GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.answer()[2] == b"page"
    client.send("GET /stream/kept HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.head()[0] == 200
    last = server.publish("kept")
    assert client.scores(1) == [last]


def test_an_absolute_target_is_a_stream_too(server: StreamServer) -> None:
    server.publish("absolute")
    client = server.client()
    client.send("GET http://x/stream/absolute HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.head()[0] == 200
    last = server.publish("absolute")
    assert client.scores(1) == [last]


def test_pages_keep_their_bodies(server: StreamServer) -> None:
    client = server.client()
    body = b"b" * 100_000
    client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + body)
    assert client.answer()[2] == body


@pytest.mark.parametrize("begin", [b"\x16\x03\x01\x02\x00\x01\x00", b"\x00", b"hello"])
def test_bytes_that_are_no_http_are_400_at_once(server: StreamServer, begin: bytes) -> None:
    client = server.client()
    client.send(begin)  # the first is TLS, at a port that has none
    assert client.answer()[0] == 400
    assert client.rest() == b""


def test_other_versions_of_http_are_not_spoken(server: StreamServer) -> None:
    assert exchange(server, "GET /stream/new HTTP/2.0\r\nHost: x\r\n\r\n")[0] in (400, 505)
    assert exchange(server, "GET /stream/new\r\nHost: x\r\n\r\n")[0] == 505


# --- viewers that go, viewers that are slow


def test_a_viewer_that_leaves_is_noticed(server: StreamServer) -> None:
    server.publish("leave")
    before = server.metric('touchline_stream_viewers{transport="sse"}')
    clients = [server.stream("leave") for _ in range(5)]
    server.wait_metric('touchline_stream_viewers{transport="sse"}', before + 5)
    for client in clients:
        client.close()
    # Others of this module may leave meanwhile, never come.
    deadline = time.monotonic() + 10
    while server.metric('touchline_stream_viewers{transport="sse"}') > before:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_deliveries_and_latency_are_counted(server: StreamServer) -> None:
    server.publish("count")
    clients = [server.stream("count") for _ in range(3)]
    deliveries = server.metric("touchline_stream_deliveries_total")
    committed = server.metric("touchline_stream_commit_seconds_count")
    last = server.publish("count")
    for client in clients:
        assert client.scores(1) == [last]
    assert server.metric("touchline_stream_deliveries_total") == deliveries + 3
    assert server.metric("touchline_stream_commit_seconds_count") == committed + 3
    assert server.metric('touchline_stream_refused_total{code="unknown_match"}') > 0
