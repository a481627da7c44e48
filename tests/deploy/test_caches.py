"""The shipped configurations of nginx, nginx with Lua and Varnish, run as they are in front of an origin."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import posixpath
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, permutations
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from deploy.ports import free_port
from testkit.services.caches import PURGE_TOKEN, Cache, NginxCache, start_cache
from testkit.services.counting_origin import Answer, CountingOrigin
from testkit.services.origin import OriginServer
from testkit.services.process import require_program

pytestmark = pytest.mark.services

LATEST = "public, max-age=0, s-maxage=1, stale-while-revalidate=5, stale-if-error=86400"
IMMUTABLE = "public, max-age=31536000, immutable"
KINDS = ("nginx", "lua", "varnish")
#: Longer than a page is fresh (a second) and may be shown while it is fetched anew (five).
EXPIRED_S = 6.6
_NUMBERS = count(1)


class World:
    """A cache and the origin that it asks, for all tests of a kind; each test has a match of its own.

    Attributes:
        answer: what the origin says to whatever it is asked.
        decide: what it says instead, by the path; None for ``answer``.
        open: cleared, long-polls are held.
        poll, state, page: addresses of this test's match.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.open = threading.Event()
        self.origin = CountingOrigin(self._decide)
        self.cache: Cache = start_cache(kind, self.origin.port)
        # One for all requests, since each client reads the certificates of this machine; each request has a
        # connection of its own, since caches are killed here.
        self._client = httpx.Client(timeout=30, limits=httpx.Limits(max_keepalive_connections=0))
        self.begin()

    def begin(self) -> None:
        """As if nobody had asked anything before."""
        self.match = f"m{next(_NUMBERS)}"
        self.poll = f"/api/match/{self.match}/deltas/17-3/5"
        self.state = f"/api/match/{self.match}/state"
        self.page = f"/match/{self.match}"
        self.open.set()
        self.answer = Answer(body=b'{"made":1}', headers={"Cache-Control": LATEST})
        self.decide: Callable[[str], Answer] | None = None
        self.origin.seen.clear()
        self.origin.heads.clear()

    def _decide(self, path: str) -> Answer:
        if self.decide is not None:
            return self.decide(path)
        if path.count("/") == 6:
            assert self.open.wait(20)
        return self.answer

    def get(self, path: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.get(self.cache.url + path, headers=named)

    def close(self) -> None:
        self.open.set()
        self._client.close()
        self.cache.__exit__()
        self.origin.stop()


@pytest.fixture(scope="module", params=KINDS)
def running(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(request.param)
    yield made
    made.close()


@pytest.fixture
def world(running: World) -> World:
    running.begin()
    return running


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
        waiting = [pool.submit(world.get, world.poll) for _ in range(100)]
        time.sleep(1)
        assert world.origin.seen[world.poll] == 1
        world.open.set()
        answers = [one.result() for one in waiting]
    assert {(one.status_code, one.content) for one in answers} == {(200, b'{"deltas":[1]}')}
    world.get(world.poll + "?utm=x", Cookie="a=b", Cache_Control="no-cache", Accept_Encoding="br")
    assert world.origin.seen == {world.poll: 1}
    assert answers[0].headers["Cache-Control"] == IMMUTABLE


def test_an_error_of_a_held_poll_is_shared_and_short(world: World) -> None:
    world.answer = Answer(410, b"{}", {"Cache-Control": "public, s-maxage=5"})
    assert [world.get(world.poll).status_code for _ in range(5)] == [410] * 5
    assert world.origin.seen[world.poll] == 1


def test_a_cut_answer_is_never_kept_as_whole(world: World) -> None:
    body = b'{"deltas":[' + b"1," * 40_000 + b"2]}"
    world.answer = Answer(body=body, headers={"Cache-Control": IMMUTABLE}, cut_after=50_000)
    done = threading.Event()

    def mend() -> None:
        done.wait(0.5)
        world.answer = Answer(body=body, headers={"Cache-Control": IMMUTABLE})

    mender = threading.Thread(target=mend)
    mender.start()
    try:
        first = world.get(world.poll)
        assert first.status_code >= 500 or first.content == body
    except httpx.HTTPError:
        assert world.kind == "nginx", "only the first asker of stock nginx sees a cut answer"
    done.set()
    mender.join()
    deadline = time.monotonic() + 10
    while (found := world.get(world.poll)).status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found.content == body


def test_a_dead_origin_leaves_pages_as_they_were(world: World) -> None:
    query = f"?competition={world.match}"
    paths = (world.state, f"/{query}", f"/list{query}")
    assert {world.get(path).content for path in paths} == {b'{"made":1}'}
    world.origin.stop()
    for wait_s in (1.5, EXPIRED_S - 1):  # within stale-while-revalidate, and after it
        time.sleep(wait_s)
        for path in paths:
            answer = world.get(path)
            assert (answer.status_code, answer.content) == (200, b'{"made":1}')
    # A crowd does not have to wait one reader after the other until each has tried the origin.
    assert crowd(world.cache.port, world.state, 300) == {(200, b'{"made":1}'): 300}
    world.answer = Answer(body=b'{"made":2}', headers={"Cache-Control": LATEST})
    world.origin.start()
    deadline = time.monotonic() + 10
    while {world.get(path).content for path in paths} != {b'{"made":2}'}:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def crowd(port: int, path: str, size: int) -> Counter[tuple[int, bytes]]:
    """So many clients whose requests come together: what they got, and how often."""

    async def one(gate: asyncio.Event, ready: asyncio.Semaphore) -> tuple[int, bytes]:
        async with ready:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await gate.wait()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        body = await reader.readexactly(length)
        writer.close()
        return int(head.split(" ")[1]), body

    async def all_of_them() -> list[tuple[int, bytes]]:
        gate, ready = asyncio.Event(), asyncio.Semaphore(200)
        clients = [asyncio.ensure_future(one(gate, ready)) for _ in range(size)]
        await asyncio.sleep(1)
        gate.set()
        return await asyncio.gather(*clients)

    return Counter(asyncio.run(all_of_them()))


def test_a_thousand_who_find_an_expired_page_are_one_request_to_the_origin(world: World) -> None:
    """Nobody has asked for longer than an old page may be shown; the answer takes a while to make."""
    sizes = {world.page: 1_000, world.state: 100, f"/?competition={world.match}": 100}
    for path in sizes:
        world.get(path)
    time.sleep(EXPIRED_S)

    def slowly(path: str) -> Answer:
        time.sleep(0.5)
        return Answer(body=b'{"made":2}', headers={"Cache-Control": LATEST})

    world.decide = slowly
    for path, size in sizes.items():
        before, began_s = world.origin.seen[path], time.monotonic()
        assert crowd(world.cache.port, path, size) == {(200, b'{"made":2}'): size}
        asked = world.origin.seen[path] - before
        # One for each second in which requests came, as this machine brings them.
        assert asked <= time.monotonic() - began_s + 1, (path, asked)


def test_a_thousand_who_ask_for_what_is_not_there_are_few_requests(world: World) -> None:
    """An error may not be kept, so readers must not go through the lock one by one."""
    world.answer = Answer(404, b"{}", {"Cache-Control": "no-store"})
    began_s = time.monotonic()
    assert crowd(world.cache.port, world.page, 1_000) == {(404, b"{}"): 1_000}
    # Stock nginx lets one through each half second until all meet in once.conf.
    assert world.origin.seen[world.page] <= 2 * (time.monotonic() - began_s) + 2


def test_an_origin_killed_while_it_holds_is_asked_again(world: World) -> None:
    """Fifty wait when the origin is killed. Each has the delta soon after its return, by a few requests."""
    world.open.clear()
    world.answer = Answer(dropped=True)

    def poll() -> httpx.Response:
        deadline = time.monotonic() + 20
        while True:
            try:
                found = world.get(world.poll)
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
    assert world.origin.seen[world.poll] < 20


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


def test_a_thousand_pollers_are_one_request_for_each_address(world: World) -> None:
    """Quiet slices, a delta, a burst of five in one answer; one that comes late walks by the cache alone."""

    def chain(match: str) -> list[str]:
        ids = [(3, 5), (3, 6), (3, 7), (4, 7), (9, 8)]
        return [f"/api/match/{match}/deltas/17-{seq}/{slice_}" for seq, slice_ in ids]

    async def all_walk(first: str, size: int) -> list[list[str]]:
        return await asyncio.gather(*(walk(world.cache.port, first) for _ in range(size)))

    alone, together = chain(f"{world.match}-alone"), chain(world.match)

    def decide(path: str) -> Answer:
        links = alone if path in alone else together
        time.sleep(0.2 if links is alone else 1.0)
        following = [*links, ""][links.index(path) + 1]
        return Answer(body=following.encode(), headers={"Cache-Control": IMMUTABLE})

    world.decide = decide
    assert asyncio.run(all_walk(alone[0], 1)) == [alone]
    assert asyncio.run(all_walk(together[0], 1_000)) == [together] * 1_000
    assert asyncio.run(all_walk(together[0], 1)) == [together]
    assert world.origin.seen == dict.fromkeys([*alone, *together], 1)


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
    for path in (world.state, world.page, world.poll):
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
    for query in ("matchId={}", "x=1&matchId={}", "matchId={}&y=2"):
        world.get("/score?" + query.format(world.match))
    list_ = "day=2026-11-27&competition=Cup&page=2"
    assert set(world.origin.seen) == {"/", f"/?{list_}", f"/list?{list_}", f"/score?matchId={world.match}"}


def test_a_language_is_in_the_key_in_one_spelling_and_nonsense_is_not(world: World) -> None:
    world.answer = Answer(body=b"x", headers={"Cache-Control": LATEST})
    page, state = f"/match/{world.match}", f"/api/match/{world.match}/state"
    for path in (page, f"/embed/{world.match}", f"{page}/fragment/5-1", "/", "/list"):
        for query in ("lang=de", "lang=de-AT", "x=1&lang=DE_at", "lang=de&utm=1"):
            world.get(f"{path}?{query}")
        for query in ("lang=xx", "lang=en_US", "lang=deutsch", f"lang={'d' * 3_000}", "lang=", "llang=de"):
            world.get(f"{path}?{query}")
        seen = {address for address in world.origin.seen if address.partition("?")[0] == path}
        # The list without a language may have been kept before.
        assert seen | {path} == {path, f"{path}?lang=de"}
    world.get("/list?lang=ja&page=2&day=2026-11-27")
    assert "/list?day=2026-11-27&page=2&lang=ja" in world.origin.seen
    world.get(f"{state}?lang=de")
    assert f"{state}?lang=de" not in world.origin.seen


def test_a_delay_is_in_the_key_in_one_spelling_and_nonsense_is_not(world: World) -> None:
    world.answer = Answer(body=b"x", headers={"Cache-Control": LATEST})
    page, state = f"/match/{world.match}", f"/api/match/{world.match}/state"
    for path in (page, f"/embed/{world.match}", f"{page}/fragment/5-1", state):
        for query in ("behind=30", "x=1&behind=30", "behind=30&utm=1"):
            world.get(f"{path}?{query}")
        for query in ("behind=0", "behind=121", "behind=030", "behind=x", "behind=", f"behind={'3' * 3_000}"):
            world.get(f"{path}?{query}")
        seen = {address for address in world.origin.seen if address.partition("?")[0] == path}
        assert seen == {path, f"{path}?behind=30"}
    world.get(f"{page}?lang=de&behind=120")
    assert f"{page}?behind=120&lang=de" in world.origin.seen


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
        statuses = {world.get(path).status_code for _ in range(3)}
        if world.kind == "varnish" and "%" in path:
            assert statuses == {404}, "Varnish refuses a path with an escape"
        else:
            assert sum(world.origin.seen.values()) == before + 3, path
    for path in ("/metrics", "/readyz", "/console", "/console/", "/console/sign-in", "/console/ws/m1"):
        assert world.get(path).status_code == 404
    world.answer = Answer(body=b"x", headers={"Cache-Control": LATEST, "Set-Cookie": "a=b"})
    for _ in range(3):
        assert world.get(world.page).headers["Set-Cookie"] == "a=b"
    assert world.origin.seen[world.page] == 3


def test_who_asks_past_the_cache_shares_one_request_a_second(world: World) -> None:
    """fetch with cache "reload": two hundred of them within two seconds are at most four requests."""
    world.get(world.state)
    before = world.origin.seen[world.state]
    began_s = time.monotonic()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: world.get(world.state, Cache_Control="no-cache"), range(200)))
    took_s = time.monotonic() - began_s
    assert {one.status_code for one in answers} == {200}
    assert world.origin.seen[world.state] - before <= took_s + 2
    time.sleep(1.1)
    world.answer = Answer(body=b'{"made":2}', headers={"Cache-Control": LATEST})
    assert world.get(world.state, Cache_Control="no-cache").content == b'{"made":2}'


def test_smuggled_requests_are_refused(world: World) -> None:
    """A request with two lengths or two Hosts is refused, and what comes behind it is never a request."""
    behind = "0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for head in (
        f"GET {world.state} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n{behind}",
        (
            f"POST {world.state} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
            f"Transfer-Encoding: chunked\r\n\r\n{behind}"
        ),
        (
            f"GET {world.state} HTTP/1.1\r\nHost: a\r\n"
            f"Transfer-Encoding: chunked\r\nContent-Length: 60\r\n\r\n{behind}"
        ),
    ):
        answer = raw(world.cache.port, head)
        assert answer.startswith(b"HTTP/1.1 400 "), head
        assert answer.count(b"HTTP/1.1 ") == 1
    assert not world.origin.seen


def test_the_longest_stream_of_two_hundred_matches_goes_through(world: World) -> None:
    """With as many other headers as a browser sends, and the cookies of a whole domain."""
    query = "&".join(f"m={world.match}{'m' * 72}{number:04}@1795737600000-123456" for number in range(200))
    longest = f"/stream?{query}"[:20_480]
    answer = world.get(
        longest, Cookie="c=" + "x" * 4_000, User_Agent="u" * 400, Referer="https://a/" + "r" * 1_000
    )
    assert answer.status_code == 200
    assert list(world.origin.seen) == [longest]


def test_a_purge_needs_the_token_and_shows_the_correction_at_once(world: World) -> None:
    keys = {"Cache-Control": "public, s-maxage=600", "Surrogate-Key": f"match-{world.match}"}
    world.answer = Answer(body=b'{"made":1}', headers=keys)
    paths = (world.state, world.page, f"/score?matchId={world.match}")
    for path in paths:
        world.get(path)
    world.answer = Answer(body=b'{"made":2}', headers=keys)
    url = world.cache.url + "/purge"
    for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer wrong"}):
        assert httpx.post(url, headers={"Touchline-Match": world.match, **headers}).status_code == 403
    right = {"Authorization": f"Bearer {PURGE_TOKEN}"}
    assert httpx.post(url, headers={"Touchline-Match": f"{world.match}|.*", **right}).status_code == 400
    for path in paths:
        assert world.get(path).content == b'{"made":1}'
    assert httpx.post(url, headers={"Touchline-Match": world.match, **right}).status_code in (200, 202)
    deadline = time.monotonic() + 5
    while {world.get(path).content for path in paths} != {b'{"made":2}'}:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_cache_that_is_started_again_serves_on(world: World) -> None:
    world.answer = Answer(body=b"[]", headers={"Cache-Control": IMMUTABLE})
    assert world.get(world.poll).status_code == 200
    world.cache.kill()
    world.cache.start()
    assert world.get(world.poll).content == b"[]"


def test_tls_and_http2_are_spoken(world: World) -> None:
    if not isinstance(world.cache, NginxCache):
        assert world.kind == "varnish", "whose TLS ends in front of it"
        return
    context = ssl.create_default_context(cafile=str(world.cache.certificate))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", world.cache.tls_port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"


SPELLINGS = [
    *("gzip, deflate, br, zstd", "gzip, deflate, br", "gzip", "br", "zstd", "identity", "", "*", "GZIP"),
    *("br;q=1.0, gzip;q=0.8", "gzip;q=0, br", "br;q=0", "identity;q=0, *;q=0.1", "x-gzip", "deflate"),
    *("gzip;q=0.001", "brotli", "gzip,,br", "zstd;q=0.9,gzip;q=1", "nonsense;q=x", "br;q=0.0, zstd"),
]


def test_spellings_of_accept_encoding_make_no_entries(world: World) -> None:
    """A page is kept once for everybody, a file of the widget in four encodings at the most."""
    file = f"/widget/live-score-{world.match}.js"
    for path, asked in ((world.page, 1), (world.state, 1), (world.poll, 1), (file, 4)):
        world.answer = Answer(
            body=b"x" * 2_000, headers={"Cache-Control": "public, s-maxage=600", "Vary": "Accept-Encoding"}
        )
        for spelling in SPELLINGS:
            assert world.get(path, Accept_Encoding=spelling).content == b"x" * 2_000
        assert 1 <= world.origin.seen[path] <= asked, path
        sent = {head.get("accept-encoding", "") for head in world.origin.heads[path]}
        assert sent <= {"gzip", "br", "zstd", ""}, path


def test_spellings_of_a_path_reach_no_other_route_and_make_no_entries(world: World) -> None:
    """The origin decodes a path; what the cache takes it for must be what the origin takes it for."""
    spellings = (
        *("//match/{m}", "/match//{m}", "/%6datch/{m}", "/%6Datch/{m}", "/match%2F{m}", "/match%2f{m}"),
        *("/./match/{m}", "/x/../match/{m}", "/%2e/match/{m}", "/x/%2e%2e/match/{m}", "/x/%2E%2E/match/{m}"),
        *("/match/{m}?", "/match/{m}?a=%2e", "/match/{m}#x", "/MATCH/{m}", "/match/{m}/", "/match/{m};x"),
    )
    asked = [spelling.format(m=world.match) for spelling in spellings]
    world.answer = Answer(body=b"page", headers={"Cache-Control": "public, s-maxage=600"})
    for target in (world.page, *asked, *asked):
        raw(world.cache.port, f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert world.origin.seen[world.page] == 1, world.origin.seen
    for secret in ("metrics", "readyz", "console"):
        hidden = (
            *(
                f"/{secret}",
                f"//{secret}",
                f"/./{secret}",
                f"/x/../{secret}",
                f"/%{ord(secret[0]):x}{secret[1:]}",
            ),
            *(f"/{secret}?x", f"/{secret}#x", f"/{secret}/", f"/%2e/{secret}", f"/x/%2e%2e/{secret}"),
            *(
                f"/x/..%2f{secret}",
                f"/%2F{secret}",
                f"/{secret}%2f",
                f"http://a/{secret}",
                f"/stream/../{secret}",
            ),
            *(f"/match/{world.match}/../../{secret}", f"/{secret}%0a", f"/{secret}%00", f"/{secret}%23"),
        )
        for target in hidden:
            raw(world.cache.port, f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    reached = {canonical(target) for target in world.origin.seen}
    assert not reached & {"/metrics", "/readyz", "/console"}, world.origin.seen


def canonical(target: str) -> str:
    """The path that an origin makes of a target."""
    path = posixpath.normpath("/" + unquote(urlsplit(target).path).lstrip("/"))
    return path.rstrip("\n/")


def test_a_part_is_never_kept_or_shown_as_whole(world: World) -> None:
    body = bytes(range(256)) * 40
    file = f"/widget/worker-{world.match}.js"
    world.answer = Answer(
        body=body, headers={"Cache-Control": IMMUTABLE, "ETag": '"x"', "Accept-Ranges": "bytes"}
    )
    for path in (world.page, world.state, world.poll, file):
        for value in ("bytes=2-4", "bytes=-3", "bytes=100-", "bytes=0-0,5-6", "bytes=999999-", "bytes=2-4"):
            answer = world.get(path, Range=value, Accept_Encoding="identity")
            if answer.status_code == 206 and "Content-Range" in answer.headers:
                first, last = answer.headers["Content-Range"].removeprefix("bytes ").split("/")[0].split("-")
                assert answer.content == body[int(first) : int(last) + 1], (path, value)
            elif answer.status_code == 206:
                assert answer.headers["Content-Type"].startswith("multipart/byteranges"), (path, value)
            else:
                assert answer.status_code == 416 or answer.content == body, (path, value)
        for encoding in ("identity", "gzip"):
            answer = world.get(path, Accept_Encoding=encoding)
            assert (answer.status_code, answer.content) == (200, body), path
        assert all("range" not in head and "if-range" not in head for head in world.origin.heads[path])


def test_the_tag_wins_over_the_date_and_only_the_very_date_counts(world: World) -> None:
    dated, later = "Fri, 27 Nov 2026 08:00:00 GMT", "Fri, 27 Nov 2026 09:00:00 GMT"
    kept = {"Cache-Control": "public, s-maxage=600", "ETag": 'W/"a"', "Last-Modified": dated}
    world.answer = Answer(body=b"whole", headers=kept)
    for path in (world.page, world.state):
        assert world.get(path).headers["ETag"] == 'W/"a"'
        for sent, status in (
            ({"If_None_Match": 'W/"a"'}, 304),
            ({"If_None_Match": '"a"'}, 304),
            # Varnish 7.1 reads one tag alone and sends the whole to who names several.
            ({"If_None_Match": '"b", W/"a"'}, 200 if world.kind == "varnish" else 304),
            ({"If_None_Match": '"b"', "If_Modified_Since": dated}, 200),
            # nginx wants both to match; who sends the pair as it came has both.
            (
                {"If_None_Match": 'W/"a"', "If_Modified_Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
                304 if world.kind == "varnish" else 200,
            ),
            ({"If_None_Match": 'W/"a"', "If_Modified_Since": dated}, 304),
            ({"If_Modified_Since": dated}, 304),
            ({"If_Modified_Since": later}, 200),
        ):
            assert world.get(path, **sent).status_code == status, (path, sent)
        assert world.origin.seen[path] == 1


PROXY_V1 = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n"
PROXY_V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
    + socket.inet_aton("203.0.113.7")
    + socket.inet_aton("127.0.0.1")
    + struct.pack(">HH", 4711, 80)
)


@pytest.mark.parametrize("kind", KINDS)
def test_the_proxy_protocol_names_the_reader(kind: str) -> None:
    """Both versions; without the header a connection gets nothing, and a reader's own claims do not count."""
    with CountingOrigin(lambda path: Answer(headers={"Cache-Control": LATEST})) as origin:
        cache = start_cache(kind, origin.port, proxy_protocol=True)
        try:
            head = b"HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n"
            for number, proxy in enumerate((PROXY_V1, PROXY_V2)):
                for path in (f"/healthz?{number}", f"/match/p{number}"):
                    answer = raw(
                        cache.port, (proxy + b"GET " + path.encode() + b" " + head).decode("latin-1")
                    )
                    assert answer.startswith(b"HTTP/1.1 200 "), (kind, path)
                assert origin.heads[f"/healthz?{number}"][0]["x-forwarded-for"] == "203.0.113.7"
                assert "6.6.6.6" not in str(origin.heads)
            with contextlib.suppress(ConnectionError):
                assert b" 200 " not in raw(cache.port, "GET /match/p2 " + head.decode())
            assert "/match/p2" not in origin.seen
        finally:
            cache.__exit__()


@pytest.mark.parametrize("behind_a_balancer", [False, True])
@pytest.mark.parametrize("name", ["nginx.conf", "nginx-lua.conf"])
def test_nginx_takes_the_files_as_they_are(tmp_path: Path, name: str, behind_a_balancer: bool) -> None:
    """With their own site files; only ports and paths are of this machine."""
    conf = tmp_path / "conf"
    shutil.copytree(Path(__file__).parents[2] / "deploy" / "nginx", conf)
    (tmp_path / "run").mkdir()
    (conf / "tls").mkdir()
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN=localhost -keyout {conf}/tls/key.pem -out {conf}/tls/certificate.pem".split(),
        check=True,
        capture_output=True,
    )
    listen = conf / "site-listen.conf"
    text = listen.read_text()
    if behind_a_balancer:
        text = "".join(line + "\n" for line in text.splitlines() if not line.startswith("listen "))
        text = text.replace("#   ", "")
    text = text.replace("listen 80 ", f"listen {free_port()} ").replace(
        "listen 443 ", f"listen {free_port()} "
    )
    listen.write_text(text)
    once, lua = conf / "site-once.conf", conf / "site-lua.conf"
    once.write_text(once.read_text().replace(":8079", f":{free_port()}"))
    lua.write_text(lua.read_text().replace("/etc/touchline/nginx/", f"{conf}/"))
    argv = [require_program("nginx"), "-t", "-p", f"{tmp_path}/run/", "-c", str(conf / name)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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
