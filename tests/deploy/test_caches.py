"""The shipped configurations of nginx, nginx with Lua and Varnish, run as they are in front of an origin."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path

import httpx
import pytest

from testkit.services.caches import PURGE_TOKEN, Cache, NginxCache, start_cache
from testkit.services.counting_origin import Answer, CountingOrigin
from testkit.services.origin import OriginServer
from testkit.services.process import require_program

pytestmark = pytest.mark.services

LATEST = "public, max-age=0, s-maxage=1, stale-while-revalidate=5, stale-if-error=86400"
IMMUTABLE = "public, max-age=31536000, immutable"
KINDS = ("nginx", "lua", "varnish")
POLL = "/api/match/m1/deltas/17-3/5"
STATE = "/api/match/m1/state"


class World:
    """A cache and the origin that it asks."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.open = threading.Event()
        self.open.set()
        self.answer = Answer(body=b'{"made":1}', headers={"Cache-Control": LATEST})
        self.origin = CountingOrigin(self._decide)
        self.cache: Cache = start_cache(kind, self.origin.port)

    def _decide(self, path: str) -> Answer:
        if path.count("/") == 6:
            assert self.open.wait(20)
        return self.answer

    def get(self, path: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.get(self.cache.url + path, headers=named, timeout=30)

    def close(self) -> None:
        self.open.set()
        self.cache.__exit__()
        self.origin.stop()


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(request.param)
    yield made
    made.close()


def raw(port: int, head: str) -> bytes:
    """What is answered to bytes that no client library would send."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.encode("latin-1"))
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
        return b"".join(parts)


def test_held_polls_are_one_request_to_the_origin(world: World) -> None:
    """A hundred wait for one delta; a late one, and one with other headers, get the same from the cache."""
    world.answer = Answer(body=b'{"deltas":[1]}', headers={"Cache-Control": IMMUTABLE})
    world.open.clear()
    with ThreadPoolExecutor(100) as pool:
        waiting = [pool.submit(world.get, POLL) for _ in range(100)]
        time.sleep(1)
        assert world.origin.seen[POLL] == 1
        world.open.set()
        answers = [one.result() for one in waiting]
    assert {(one.status_code, one.content) for one in answers} == {(200, b'{"deltas":[1]}')}
    world.get(POLL + "?utm=x", Cookie="a=b", Cache_Control="no-cache", Accept_Encoding="br")
    assert world.origin.seen == {POLL: 1}
    assert answers[0].headers["Cache-Control"] == IMMUTABLE


def test_an_error_of_a_held_poll_is_shared_and_short(world: World) -> None:
    world.answer = Answer(410, b"{}", {"Cache-Control": "public, s-maxage=5"})
    assert [world.get(POLL).status_code for _ in range(5)] == [410] * 5
    assert world.origin.seen[POLL] == 1


def test_a_cut_answer_is_never_kept_as_whole(world: World) -> None:
    body = b'{"deltas":[' + b"1," * 40_000 + b"2]}"
    world.answer = Answer(body=body, headers={"Cache-Control": IMMUTABLE}, cut_after=50_000)
    done = threading.Event()

    def mend() -> None:
        done.wait(0.5)
        world.answer = Answer(body=body, headers={"Cache-Control": IMMUTABLE})

    threading.Thread(target=mend).start()
    try:
        first = world.get(POLL)
        assert first.status_code >= 500 or first.content == body
    except httpx.HTTPError:
        assert world.kind == "nginx", "only the first asker of stock nginx sees a cut answer"
    done.set()
    deadline = time.monotonic() + 10
    while (found := world.get(POLL)).status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found.content == body


@pytest.mark.parametrize("path", [STATE, "/", "/list"])
def test_a_dead_origin_leaves_pages_as_they_were(world: World, path: str) -> None:
    assert world.get(path).content == b'{"made":1}'
    world.origin.stop()
    for wait_s in (1.5, 6.0):  # within stale-while-revalidate, and after it
        time.sleep(wait_s)
        answer = world.get(path)
        assert (answer.status_code, answer.content) == (200, b'{"made":1}')
    world.answer = Answer(body=b'{"made":2}', headers={"Cache-Control": LATEST})
    world.origin.start()
    deadline = time.monotonic() + 10
    while world.get(path).content != b'{"made":2}':
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_an_origin_killed_while_it_holds_is_asked_again(world: World) -> None:
    """Fifty wait when the origin is killed. Each has the delta soon after its return, by a few requests."""
    world.open.clear()
    world.answer = Answer(dropped=True)

    def poll() -> httpx.Response:
        deadline = time.monotonic() + 20
        while True:
            try:
                found = world.get(POLL)
            except httpx.HTTPError:
                found = None
            if found is not None and found.status_code == 200:
                return found
            assert time.monotonic() < deadline
            if found is not None:
                assert found.status_code == 503
                assert found.headers["Retry-After"] == "1"
                assert found.headers["Cache-Control"] == "no-store"
                assert found.headers["Access-Control-Allow-Origin"] == "*"
            time.sleep(0.5)

    with ThreadPoolExecutor(50) as pool:
        waiting = [pool.submit(poll) for _ in range(50)]
        time.sleep(0.5)
        world.open.set()
        time.sleep(2)
        world.answer = Answer(body=b'{"deltas":[1]}', headers={"Cache-Control": IMMUTABLE})
        assert {one.result().content for one in waiting} == {b'{"deltas":[1]}'}
    assert world.origin.seen[POLL] < 20


CHAIN = [
    f"/api/match/m1/deltas/17-{seq}/{slice_}" for seq, slice_ in [(3, 5), (3, 6), (3, 7), (4, 7), (9, 8)]
]


async def walk(port: int, path: str) -> list[str]:
    """One poller on a kept connection: the paths that it asked for, to the end of the chain."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    walked = []
    while path:
        walked.append(path)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert " 200 " in head.split("\r\n")[0], head
        path = (await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))).decode()
    writer.close()
    return walked


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_pollers_are_one_request_for_each_address(kind: str) -> None:
    """Quiet slices, a delta, a burst of five in one answer; one that comes late walks by the cache alone."""

    def decide(path: str) -> Answer:
        at = CHAIN.index(path)
        time.sleep(1.0)
        following = CHAIN[at + 1] if at + 1 < len(CHAIN) else ""
        return Answer(body=following.encode(), headers={"Cache-Control": IMMUTABLE})

    async def crowd(port: int, size: int) -> list[list[str]]:
        return await asyncio.gather(*(walk(port, CHAIN[0]) for _ in range(size)))

    with CountingOrigin(decide) as origin, start_cache(kind, origin.port) as cache:
        assert asyncio.run(crowd(cache.port, 1)) == [CHAIN]
        assert origin.seen == dict.fromkeys(CHAIN, 1)
    with CountingOrigin(decide) as origin, start_cache(kind, origin.port) as cache:
        assert asyncio.run(crowd(cache.port, 1_000)) == [CHAIN] * 1_000
        assert asyncio.run(crowd(cache.port, 1)) == [CHAIN]
        assert origin.seen == dict.fromkeys(CHAIN, 1)


def test_no_request_header_reaches_the_origin_or_another_reader(world: World) -> None:
    """Poisoning: whatever one reader sends, the next one gets what the plain request gets."""
    hostile = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-For": "6.6.6.6",
        "X-Original-URL": "/evil",
        "X-HTTP-Method-Override": "POST",
        "X-Class": "poll",
        "X-Stale": "1",
        "Origin": "https://evil.example",
        "Cookie": "evil=1",
        "Authorization": "Basic ZXZpbA==",
        "User-Agent": "evil",
        "Accept-Language": "evil",
        "Range": "bytes=2-4",
        "If-None-Match": '"evil"',
        "Referer": "https://evil.example/",
    }
    for path in (STATE, "/match/m1", POLL):
        httpx.get(world.cache.url + path, headers=hostile, timeout=30)
        for head in world.origin.heads[path]:
            assert "evil" not in str(head).lower()
            assert "6.6.6.6" not in str(head)
            assert head["host"] == "scores.example"
        answer = world.get(path)
        assert (answer.status_code, answer.content) == (200, b'{"made":1}')


def test_unknown_query_is_not_in_the_key_and_order_does_not_matter(world: World) -> None:
    for query in ("", "?utm_source=x", "?day=evil%0d%0a&x=1"):
        assert world.get("/" + query).status_code == 200
    fields = ("day=2026-11-27", "competition=Cup", "page=2", "utm=1")
    for order in permutations(fields):
        world.get("/?" + "&".join(order))
        world.get("/list?" + "&".join(order))
    for query in ("matchId=m1", "x=1&matchId=m1", "matchId=m1&y=2"):
        world.get("/score?" + query)
    list_ = "day=2026-11-27&competition=Cup&page=2"
    assert set(world.origin.seen) == {"/", f"/?{list_}", f"/list?{list_}", "/score?matchId=m1"}


def test_a_language_is_in_the_key_in_one_spelling_and_nonsense_is_not(world: World) -> None:
    world.answer = Answer(body=b"x", headers={"Cache-Control": LATEST})
    for path in ("/match/m7", "/embed/m7", "/match/m7/fragment/5-1", "/", "/list"):
        for query in ("lang=de", "lang=de-AT", "x=1&lang=DE_at", "lang=de&utm=1"):
            world.get(f"{path}?{query}")
        for query in ("lang=xx", "lang=en_US", "lang=deutsch", f"lang={'d' * 3_000}", "lang=", "llang=de"):
            world.get(f"{path}?{query}")
        seen = {address for address in world.origin.seen if address.partition("?")[0] == path}
        assert seen == {path, f"{path}?lang=de"}
    world.get("/list?lang=ja&page=2&day=2026-11-27")
    assert "/list?day=2026-11-27&page=2&lang=ja" in world.origin.seen
    world.get(f"{STATE}?lang=de")
    assert f"{STATE}?lang=de" not in world.origin.seen


def test_what_is_personal_or_unknown_is_never_kept(world: World) -> None:
    world.answer = Answer(body=b"x", headers={"Cache-Control": "public, max-age=600"})
    for path in (
        "/ingest/canonical",
        "/healthz",
        "/nobody/knows",
        "/match/m1/x",
        "/match/m1%0a",
        "/match/m%201",
    ):
        before = sum(world.origin.seen.values())
        for _ in range(3):
            world.get(path)
        assert sum(world.origin.seen.values()) == before + 3, path
    for path in ("/metrics", "/readyz"):
        assert world.get(path).status_code == 404
    world.answer = Answer(body=b"x", headers={"Cache-Control": LATEST, "Set-Cookie": "a=b"})
    before = world.origin.seen["/match/m2"]
    for _ in range(3):
        world.get("/match/m2")
    assert world.origin.seen["/match/m2"] == before + 3


def test_who_asks_past_the_cache_shares_one_request_a_second(world: World) -> None:
    """fetch with cache "reload": two hundred of them within two seconds are at most four requests."""
    world.get(STATE)
    before = world.origin.seen[STATE]
    began_s = time.monotonic()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: world.get(STATE, Cache_Control="no-cache"), range(200)))
    took_s = time.monotonic() - began_s
    assert {one.status_code for one in answers} == {200}
    assert world.origin.seen[STATE] - before <= took_s + 2
    time.sleep(1.1)
    world.answer = Answer(body=b'{"made":2}', headers={"Cache-Control": LATEST})
    assert world.get(STATE, Cache_Control="no-cache").content == b'{"made":2}'


def test_smuggled_requests_are_refused(world: World) -> None:
    """A request with two lengths or two Hosts is refused, and what comes behind it is never a request."""
    behind = "0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for head in (
        f"GET {STATE} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n{behind}",
        (
            f"POST {STATE} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
            f"Transfer-Encoding: chunked\r\n\r\n{behind}"
        ),
        (
            f"GET {STATE} HTTP/1.1\r\nHost: a\r\n"
            f"Transfer-Encoding: chunked\r\nContent-Length: 60\r\n\r\n{behind}"
        ),
    ):
        answer = raw(world.cache.port, head)
        assert answer.startswith(b"HTTP/1.1 400 "), head
        assert answer.count(b"HTTP/1.1 ") == 1
    assert not world.origin.seen


def test_a_stream_of_two_hundred_matches_goes_through(world: World) -> None:
    query = "&".join(f"m={'m' * 60}{number:04}@1795737600000-123456" for number in range(200))
    assert world.get(f"/stream?{query}").status_code == 200
    assert list(world.origin.seen) == [f"/stream?{query}"]


def test_a_purge_needs_the_token_and_shows_the_correction_at_once(world: World) -> None:
    keys = {"Cache-Control": "public, s-maxage=600", "Surrogate-Key": "match-m1"}
    world.answer = Answer(body=b'{"made":1}', headers=keys)
    paths = (STATE, "/match/m1", "/score?matchId=m1")
    for path in paths:
        world.get(path)
    world.answer = Answer(body=b'{"made":2}', headers=keys)
    url = world.cache.url + "/purge"
    for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer wrong"}):
        assert httpx.post(url, headers={"Touchline-Match": "m1", **headers}).status_code == 403
    right = {"Authorization": f"Bearer {PURGE_TOKEN}"}
    assert httpx.post(url, headers={"Touchline-Match": "m1|.*", **right}).status_code == 400
    for path in paths:
        assert world.get(path).content == b'{"made":1}'
    assert httpx.post(url, headers={"Touchline-Match": "m1", **right}).status_code in (200, 202)
    deadline = time.monotonic() + 5
    while {world.get(path).content for path in paths} != {b'{"made":2}'}:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_cache_that_is_started_again_serves_on(world: World) -> None:
    world.answer = Answer(body=b"[]", headers={"Cache-Control": IMMUTABLE})
    assert world.get(POLL).status_code == 200
    world.cache.kill()
    world.cache.start()
    assert world.get(POLL).content == b"[]"


@pytest.mark.parametrize("kind", ["nginx", "lua"])
def test_tls_and_http2_are_spoken(kind: str) -> None:
    made = World(kind)
    try:
        assert isinstance(made.cache, NginxCache)
        context = ssl.create_default_context(cafile=str(made.cache.certificate))
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", made.cache.tls_port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            assert connection.selected_alpn_protocol() == "h2"
    finally:
        made.close()


def test_varnish_compiles_the_file_as_it_is() -> None:
    directory = Path(__file__).parents[2] / "deploy" / "varnish"
    argv = [
        require_program("varnishd"),
        "-C",
        "-p",
        f"vcl_path={directory}",
        "-f",
        str(directory / "touchline.vcl"),
    ]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0


def test_a_stream_of_the_product_comes_unbuffered(tmp_path: Path) -> None:
    """A delta is in the reader's hands while the answer goes on, through each of the three."""
    with OriginServer(tmp_path) as origin:
        event = {"match_id": "m1", "rev": 1, "op": "ADD", "type": "GOAL", "period": "H1", "team": "home"}
        assert origin.post({**event, "event_id": "g1", "minute": 1}) == 200
        origin.wait_for_seq("m1", 1)
        for number, kind in enumerate(KINDS, 2):
            with start_cache(kind, origin.port) as cache:
                connection = http.client.HTTPConnection("127.0.0.1", cache.port, timeout=15)
                connection.request("GET", "/stream/m1")
                response = connection.getresponse()
                assert response.status == 200
                assert origin.post({**event, "event_id": f"g{number}", "minute": number}) == 200
                while not (line := response.fp.readline()).startswith(b"event: score"):
                    assert line, kind
                connection.close()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_is_for_readers_of_every_encoding(tmp_path: Path, kind: str) -> None:
    """One reader's page is kept; when the origin has gone, others get it whatever they take."""
    with OriginServer(tmp_path) as origin, start_cache(kind, origin.port) as cache:
        event = {"match_id": "m1", "rev": 1, "op": "ADD", "type": "GOAL", "period": "H1", "team": "home"}
        assert origin.post({**event, "event_id": "g1", "minute": 1}) == 200
        origin.wait_for_seq("m1", 1)
        takes = {"Accept-Encoding": "br, gzip"}
        first = httpx.get(f"{cache.url}/match/m1", headers=takes, timeout=30)
        list_ = httpx.get(f"{cache.url}/list", headers=takes, timeout=30)
        assert list_.status_code == 200
        origin.kill()
        time.sleep(7)  # longer than stale-while-revalidate
        for encoding in ("identity", "gzip", "br", "gzip;q=0"):
            found = httpx.get(f"{cache.url}/match/m1", headers={"Accept-Encoding": encoding}, timeout=30)
            assert (found.status_code, found.text) == (200, first.text), encoding
            assert ("Content-Encoding" in found.headers) == (encoding == "gzip"), encoding
            found = httpx.get(f"{cache.url}/list", headers={"Accept-Encoding": encoding}, timeout=30)
            assert (found.status_code, found.text) == (200, list_.text), encoding
