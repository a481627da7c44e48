"""The widget in a real Chromium: both runtimes fold as CPython does, and each tier keeps its word."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from origin.web.assets import Assets
from shared_state import DeltaId, Replica, decode_delta
from shared_state.announce import announcement
from shared_state.jsontext import Json, JsonObject
from shared_state.view import scoreboard
from testkit.browser import wait_until_true
from testkit.built_widget import manifest
from testkit.services.origin import OriginServer

GOLDEN = sorted((Path(__file__).parents[1] / "tests" / "golden").glob("*.json"))
BOOT_MS = 90_000
NUMBERS = count(1)

pytestmark = [pytest.mark.browser, pytest.mark.services]

# Boots a worker of the reducer as runtime.js does, and calls the bridge.
CALLER = """
window.boot = async ({ worker, wasm, image, runtime, bundle }) => {
  const port = new Worker(worker, { type: "module" });
  const next = () => new Promise((resolve) => { port.onmessage = (event) => resolve(event.data); });
  const absolute = (path) => new URL(path, location.href).href;
  const bytes = async (path) => (await fetch(path)).arrayBuffer();
  const parts = wasm
    ? { wasm: await bytes(wasm), image: await bytes(image) }
    : { runtime: absolute(runtime), bundle: absolute(bundle) };
  port.postMessage({ type: "boot", ...parts });
  const ready = await next();
  let n = 0;
  window.ask = async (request) => {
    port.postMessage({ type: "call", n: ++n, request });
    const { type, reply, reason } = await next();
    if (type !== "reply") throw new Error(reason);
    return reply;
  };
  return ready;
};
"""
# What the page showed, in order: every state that was on the screen, not only the last.
RECORDER = """
window.shown = [];
window.states = [];
document.addEventListener("live-score:change", (event) => {
  window.shown.push([event.detail.id, document.querySelector("live-score .tl-goals")?.textContent ?? ""]);
});
document.addEventListener("live-score:state", (event) => window.states.push(event.detail));
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    manifest()
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        yield server


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    # What tests put in the network's place would be passed by: routes do not see a service worker's requests.
    context = browser.new_context(viewport={"width": 390, "height": 844}, service_workers="block")
    context.add_init_script(RECORDER)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


class Feed:
    """A match that a test makes up as it goes."""

    def __init__(self, server: OriginServer, match_id: str) -> None:
        self.server = server
        self.match_id = match_id
        self.seq = 0
        self.url = f"{server.url}/match/{match_id}"
        sides = {"home": {"name": "Ayr", "code": "AYR"}, "away": {"name": "Bute", "code": "BUT"}}
        self.post(event_id="info", type="MATCH_INFO", detail=sides)
        self.post(event_id="ko", type="STATUS_CHANGE", period="H1", minute=0, detail={"to": "LIVE"})

    def post(self, **event: Json) -> str:
        """Post one event; the id at which the match stands then."""
        body = {"match_id": self.match_id, "rev": 1, "op": "ADD", "period": "H1", **event}
        assert self.server.post(body) == 200
        self.seq += 1
        state = self.server.wait_for_seq(self.match_id, self.seq)
        return f"{state['epoch']}-{state['seq']}"

    def goal(self, event_id: str, minute: int) -> str:
        return self.post(event_id=event_id, type="GOAL", minute=minute, team="home", player=f"P. {event_id}")

    def retract(self, event_id: str) -> str:
        return self.post(event_id=event_id, rev=2, op="RETRACT", reason="VAR: offside")


@pytest.fixture
def feed(server: OriginServer) -> Feed:
    return Feed(server, f"match-{next(NUMBERS)}")


def at_tier(page: Page, tier: int) -> None:
    expect(page.locator(f"live-score[data-tier='{tier}']").first).to_be_attached(timeout=BOOT_MS)


def is_live(page: Page) -> None:
    """Whichever tier has taken over by now."""
    expect(page.locator("live-score:not([data-tier='0'])[data-tier]").first).to_be_attached(timeout=BOOT_MS)


def shows(page: Page, id_: str) -> None:
    expect(page.locator(f"live-score article[data-id='{id_}']").first).to_be_attached(timeout=20_000)


def never_went_back(page: Page) -> None:
    ids = [DeltaId.parse(id_) for id_, _ in page.evaluate("window.shown")]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("engine", ["micropython", "pyodide"])
def test_golden_transcripts_fold_alike(page: Page, server: OriginServer, engine: str) -> None:
    """Every delta of every transcript: the same hash at the end, the same HTML at each step."""
    assert GOLDEN, "tests/golden is empty"
    assets = Assets.load()
    page.route("**/blank", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.goto(f"{server.url}/blank")
    page.evaluate(f"() => {{ {CALLER} }}")
    runtime = assets.url("runtime/pyodide.mjs").rpartition("/")[0] + "/"
    urls = {"worker": assets.url(f"{engine}-worker.js")}
    if engine == "micropython":
        urls |= {"wasm": assets.url("micropython.wasm"), "image": assets.url("touchline.romfs")}
    else:
        urls |= {"runtime": runtime, "bundle": assets.url("touchline.zip")}
    ready = page.evaluate("(urls) => boot(urls)", urls)
    assert ready["type"] == "ready", ready

    def ask(**request: Json) -> JsonObject:
        text = json.dumps(request, ensure_ascii=False)  # as JSON.stringify writes it
        reply: JsonObject = json.loads(page.evaluate("(request) => ask(request)", text))
        return reply

    for path in GOLDEN:
        transcript = json.loads(path.read_text(encoding="utf-8"))
        match_id, epoch = transcript["match_id"], transcript["epoch"]
        here = Replica.begin(match_id, epoch)
        slot = {"slot": path.stem, "match": match_id}
        assert ask(op="restore", snapshot=here.snapshot().decode(), **slot)["receipt"] == "applied"
        reply: JsonObject = {}
        for item in transcript["deltas"]:
            data = item["data"] if isinstance(item["data"], str) else json.dumps(item["data"])
            delta = decode_delta(match_id, DeltaId.parse(item["id"]), data)
            before = here.match
            here.receive(delta)
            reply = ask(op="receive", deltas=[[item["id"], data]], **slot)
            spoken = announcement(before, here.match, delta.event)
            html = scoreboard(here.match, here.position, announcement=spoken, before=before)
            assert reply["html"] == html, item["id"]
        assert reply["hash"] == here.hash() == transcript["hash"], path.name
        kept = ask(op="snapshot", **slot)["snapshot"]
        assert kept == here.snapshot().decode()


@pytest.mark.parametrize("tier", [1, 2])
def test_every_change_is_shown_in_order_across_the_takeover(page: Page, feed: Feed, tier: int) -> None:
    """Goals fall before, during and after the reducer's start; none is missed and nothing goes back."""
    if tier == 1:
        page.route("**/touchline-*.romfs", lambda route: route.fulfill(status=404))
    page.goto(feed.url)
    is_live(page)
    for minute in range(1, 13):
        feed.goal(f"g{minute}", minute)
        page.wait_for_timeout(150)
    at_tier(page, tier)
    id_ = feed.goal("g13", 13)
    shows(page, id_)
    expect(page.locator("live-score .tl-goals")).to_have_text("13–0")
    assert page.locator("live-score").get_attribute("data-tier") == str(tier)
    never_went_back(page)


def test_a_reducer_that_breaks_gives_way_to_the_server(page: Page, feed: Feed) -> None:
    # As if memory ran out in mid-match: the worker answers, and then raises.
    def spoil(route: Route) -> None:
        script = route.fetch().text()
        trap = (
            "let calls = 0; const post = self.postMessage.bind(self);"
            "self.postMessage = (m) => post(m.type === 'reply' && ++calls > 2"
            " ? { type: 'broken', n: m.n, reason: 'test' } : m);"
        )
        route.fulfill(body=trap + script, content_type="text/javascript")

    page.route("**/micropython-worker-*.js", spoil)
    page.goto(feed.url)
    at_tier(page, 2)
    for minute in range(1, 5):
        id_ = feed.goal(f"g{minute}", minute)
        shows(page, id_)
    at_tier(page, 1)
    never_went_back(page)


def test_a_reducer_that_disagrees_gives_way_to_the_server(page: Page, feed: Feed) -> None:
    """During a release the bundle may be of another version than the origin: the origin is right."""

    def distort(route: Route) -> None:
        response = route.fetch()
        body = response.json()
        body["hash"] = "0" * 16
        route.fulfill(response=response, json=body)

    def without_snapshot(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace("tl-snapshot", "elsewhere"))

    page.route("**/state", distort)
    page.route(feed.url, without_snapshot)
    page.goto(feed.url)
    at_tier(page, 1)
    wait_until_true(page, "window.states.some((state) => state.bootMs)", BOOT_MS)
    shows(page, feed.goal("g1", 1))
    assert page.locator("live-score").get_attribute("data-tier") == "1"


@pytest.mark.parametrize("tier", [1, 2])
def test_a_rebuilt_log_is_followed(browser: Browser, tmp_path: Path, tier: int) -> None:
    """A new epoch with fewer events: lower in number, and still what counts."""
    with OriginServer(tmp_path) as server, browser.new_context(service_workers="block") as context:
        feed = Feed(server, "rebuilt")
        feed.goal("g1", 1)
        feed.goal("g2", 2)
        page = context.new_page()
        if tier == 1:
            page.route("**/*.wasm", lambda route: route.abort())
        page.goto(feed.url)
        at_tier(page, tier)
        server.kill()
        for file in tmp_path.glob("log.db*"):
            file.unlink()
        server.start()
        rebuilt = Feed(server, "rebuilt")
        shows(page, rebuilt.goal("g1", 1))
        expect(page.locator("live-score .tl-goals")).to_have_text("1–0")
        shows(page, rebuilt.goal("g5", 5))
        expect(page.locator(f"live-score[data-tier='{tier}']")).to_be_attached(timeout=20_000)


@pytest.mark.parametrize("tier", [1, 2])
def test_a_goal_ruled_out_within_the_delay_is_never_on_the_board(page: Page, feed: Feed, tier: int) -> None:
    def delayed(route: Route) -> None:
        response = route.fetch()
        limit = ' max-tier="1"' if tier == 1 else ""
        route.fulfill(
            response=response, body=response.text().replace("<live-score ", f'<live-score delay="3"{limit} ')
        )

    page.route(feed.url, delayed)
    page.goto(feed.url)
    at_tier(page, tier)
    first = feed.goal("g1", 1)
    page.wait_for_timeout(500)
    assert page.evaluate("window.shown") == []
    shows(page, first)
    feed.goal("g2", 2)
    shows(page, feed.retract("g2"))
    scores = {score for _, score in page.evaluate("window.shown")}
    assert scores == {"1–0"}
    expect(page.locator("live-score [data-event='g2']")).to_have_count(0)
    never_went_back(page)


def test_elements_of_one_match_share_one_stream_and_one_worker(page: Page, feed: Feed) -> None:
    streams: list[str] = []
    page.on("request", lambda request: streams.append(request.url) if "/stream/" in request.url else None)
    page.goto(feed.url)
    page.evaluate(
        "const first = document.querySelector('live-score');"
        "for (let n = 0; n < 3; n++) document.body.append(first.cloneNode(true))"
    )
    expect(page.locator("live-score[data-tier='2']")).to_have_count(4, timeout=BOOT_MS)
    id_ = feed.goal("g1", 1)
    expect(page.locator(f"live-score article[data-id='{id_}']")).to_have_count(4)
    assert len(streams) == 1
    assert len(page.workers) == 1


def test_elements_of_several_matches_share_one_worker(page: Page, server: OriginServer) -> None:
    feeds = [Feed(server, f"shared-{next(NUMBERS)}") for _ in range(3)]
    page.goto(feeds[0].url)
    page.evaluate(
        "(ids) => { for (let n = 0; n < 9; n++) {"
        " const one = document.createElement('live-score');"
        " one.setAttribute('match', ids[n % ids.length]); document.body.append(one); } }",
        [feed.match_id for feed in feeds],
    )
    expect(page.locator("live-score[data-tier='2']")).to_have_count(10, timeout=BOOT_MS)
    for feed in feeds:
        id_ = feed.goal("g1", 1)
        expect(
            page.locator(f"live-score[match='{feed.match_id}'] article[data-id='{id_}']").first
        ).to_be_attached()
    assert len(page.workers) == 1


def with_runtime(page: Page, feed: Feed, runtime: str) -> None:
    """Have the page's element ask for a runtime."""

    def named(route: Route) -> None:
        response = route.fetch()
        body = response.text().replace("<live-score ", f'<live-score runtime="{runtime}" ')
        route.fulfill(response=response, body=body)

    page.route(feed.url, named)


def test_an_element_that_asks_for_pyodide_gets_it_and_nothing_is_missed(page: Page, feed: Feed) -> None:
    with_runtime(page, feed, "pyodide")
    page.goto(feed.url)
    at_tier(page, 2)
    for minute in range(1, 40):
        feed.goal(f"g{minute}", minute)
        if page.locator("live-score").get_attribute("data-tier") == "3":
            break
        page.wait_for_timeout(100)
    at_tier(page, 3)
    shows(page, feed.goal("last", 45))
    never_went_back(page)
    # MicroPython is not needed any more.
    deadline_s = time.monotonic() + 10
    while len(page.workers) > 1 and time.monotonic() < deadline_s:
        page.wait_for_timeout(50)
    assert len(page.workers) == 1
    tiers = page.evaluate("window.states.map((state) => state.tier)")
    assert tiers == sorted(tiers)


def test_an_element_that_asks_for_no_runtime_starts_none(page: Page, feed: Feed) -> None:
    with_runtime(page, feed, "none")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(feed.url)
    at_tier(page, 1)
    shows(page, feed.goal("g1", 1))
    page.wait_for_timeout(1_500)
    assert page.workers == []
    assert not [url for url in asked if ".wasm" in url or ".romfs" in url or "runtime-" in url]


def test_pyodide_that_breaks_gives_way_to_micropython(page: Page, feed: Feed) -> None:
    """One tier down and not two; what is on the board stays there."""

    def spoil(route: Route) -> None:
        script = route.fetch().text()
        trap = (
            "let calls = 0; const post = self.postMessage.bind(self);"
            "self.postMessage = (m) => post(m.type === 'reply' && ++calls > 3"
            " ? { type: 'broken', n: m.n, reason: 'test' } : m);"
        )
        route.fulfill(body=trap + script, content_type="text/javascript")

    page.route("**/pyodide-worker-*.js", spoil)
    with_runtime(page, feed, "pyodide")
    page.goto(feed.url)
    at_tier(page, 3)
    for minute in range(1, 6):
        shows(page, feed.goal(f"g{minute}", minute))
        expect(page.locator("live-score .tl-goals")).to_have_text(f"{minute}–0")
    at_tier(page, 2)
    shows(page, feed.goal("g9", 9))
    assert page.locator("live-score").get_attribute("data-tier") == "2"
    never_went_back(page)


@contextmanager
def somebody_elses(html: str, policy: str = "") -> Iterator[str]:
    """A page of another site; its address."""

    class Gazette(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            if policy:
                self.send_header("Content-Security-Policy", policy)
            self.end_headers()
            self.wfile.write(f"<!doctype html>{html}".encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by its base
            """Nothing: the test's output is for the test."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gazette) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{web.server_port}/"
        finally:
            web.shutdown()
            thread.join()


CAPABLE = """
Object.defineProperty(navigator, "deviceMemory", { get: () => 8 });
const connection = { effectiveType: "4g", downlink: 10, saveData: false };
Object.defineProperty(navigator, "connection", { get: () => connection });
"""


def test_pyodide_takes_over_where_a_reader_stays_on_a_page_of_ours(browser: Browser, feed: Feed) -> None:
    """And not on a small device, nor on somebody else's page, which has to ask."""
    frame_html = f"<iframe src='{feed.server.url}/embed/{feed.match_id}'></iframe>"
    with (
        somebody_elses(frame_html) as gazette,
        browser.new_context(service_workers="block") as capable,
        browser.new_context(service_workers="block") as small,
    ):
        for context in (capable, small):
            context.add_init_script(
                RECORDER + CAPABLE.replace("=> 8", "=> 8" if context is capable else "=> 2")
            )
        own, framed, weak = capable.new_page(), capable.new_page(), small.new_page()
        framed.goto(gazette)
        frame = framed.frame_locator("iframe")
        expect(frame.locator("live-score[data-tier='2']")).to_be_attached(timeout=BOOT_MS)
        weak.goto(feed.url)
        at_tier(weak, 2)
        own.goto(feed.url)
        at_tier(own, 3)
        shows(own, feed.goal("g1", 1))
        never_went_back(own)
        assert weak.locator("live-score").get_attribute("data-tier") == "2"
        assert frame.locator("live-score").get_attribute("data-tier") == "2"


def test_an_empty_element_beside_a_rendered_one_is_filled(page: Page, feed: Feed) -> None:
    page.goto(feed.url)
    page.evaluate(f"document.body.insertAdjacentHTML('beforeend', '<live-score match={feed.match_id}>')")
    expect(page.locator("live-score article")).to_have_count(2)
    id_ = feed.goal("g1", 1)
    expect(page.locator(f"live-score article[data-id='{id_}']")).to_have_count(2)


def test_an_element_that_leaves_takes_its_stream_along(page: Page, feed: Feed) -> None:
    page.goto(feed.url)
    is_live(page)
    with page.expect_event("requestfailed", lambda request: "/stream/" in request.url):
        page.evaluate("window.gone = document.querySelector('live-score'); gone.remove()")
    with page.expect_request("**/stream/**"):
        page.evaluate("document.body.append(gone)")
    shows(page, feed.goal("g1", 1))


def test_what_stays_keeps_its_place_in_the_page(page: Page, feed: Feed) -> None:
    """A row that was there is the same node after a change: focus, selection, a reader's place."""
    feed.goal("g1", 1)
    page.goto(feed.url)
    is_live(page)
    page.evaluate("window.row = document.querySelector('[data-event=g1]')")
    shows(page, feed.goal("g2", 2))
    assert page.evaluate("row === document.querySelector('[data-event=g1]') && row.isConnected")
    expect(page.locator("[data-event='g2'][data-fresh]")).to_be_attached()
    shows(page, feed.retract("g1"))
    assert page.evaluate("row === document.querySelector('[data-event=g1]')")


def test_a_takeover_leaves_the_highlight_of_the_row_that_just_came(page: Page, feed: Feed) -> None:
    released = threading.Event()

    def later(route: Route) -> None:
        # Tier 2 takes over only once the goal is on the board by tier 1.
        if released.is_set():
            route.continue_()
        else:
            held.append(route)

    held: list[Route] = []
    page.route("**/touchline-*.romfs", later)
    feed.goal("g1", 1)
    page.goto(feed.url)
    at_tier(page, 1)
    shows(page, feed.goal("g2", 2))
    expect(page.locator("[data-event='g2'][data-fresh]")).to_be_attached()
    deadline_s = time.monotonic() + 20
    while not held and time.monotonic() < deadline_s:
        page.wait_for_timeout(50)
    released.set()
    for route in held:
        route.continue_()
    at_tier(page, 2)
    expect(page.locator("[data-event='g2'][data-fresh]")).to_be_attached()


def test_a_correction_is_spoken_and_struck_through(page: Page, feed: Feed) -> None:
    page.goto(feed.url)
    is_live(page)
    status = page.locator("live-score > [role=status]")
    expect(status).to_have_text("")
    shows(page, feed.goal("g1", 1))
    expect(status).to_contain_text("Goal!")
    shows(page, feed.retract("g1"))
    expect(status).to_contain_text("Correction:")
    expect(page.locator("[data-event='g1'] s").first).to_contain_text("P. g1")
    expect(page.locator("[data-event='g1']")).to_contain_text("VAR: offside")


@pytest.mark.parametrize(
    ("worker_source", "tier"), [("'self'", 2), ("'none'", 1)], ids=["worker allowed", "worker forbidden"]
)
def test_a_strict_policy_is_kept(page: Page, feed: Feed, worker_source: str, tier: int) -> None:
    """No inline script or style anywhere; a page that forbids workers stays at tier 1."""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        f" worker-src {worker_source}; require-trusted-types-for 'script'; trusted-types live-score"
    )
    if tier == 2:
        policy = policy.partition("; require")[0]  # new Worker() would need a policy for its URL too

    def strict(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, headers={**response.headers, "Content-Security-Policy": policy})

    page.route(feed.url, strict)
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if "Refused" in message.text else None)
    page.goto(feed.url)
    at_tier(page, tier)
    shows(page, feed.goal("g1", 1))
    if tier == 1:
        page.wait_for_timeout(1_000)
        shows(page, feed.goal("g2", 2))
        assert page.locator("live-score").get_attribute("data-tier") == "1"
    else:
        assert refused == []


@pytest.mark.parametrize(
    ("worker_source", "evaluation", "tier"),
    [
        ("blob: {origin}", "'wasm-unsafe-eval'", 2),
        ("blob: {origin}", "", 1),
        ("'none'", "'wasm-unsafe-eval'", 1),
    ],
    ids=["all allowed", "WebAssembly forbidden", "worker forbidden"],
)
def test_other_peoples_policies_are_kept(
    page: Page, feed: Feed, worker_source: str, evaluation: str, tier: int
) -> None:
    """What widget/README.md says a page of another origin has to allow, and what the rest gets."""
    origin = feed.server.url
    policy = (
        f"default-src 'none'; script-src {origin} {evaluation}; connect-src {origin};"
        f" worker-src {worker_source.format(origin=origin)}"
    )

    script = f"<script type=module src={origin}/widget/live-score.js></script>"
    element = f"<live-score match={feed.match_id}><a href={feed.url}>Live</a></live-score>"
    with somebody_elses(script + element, policy) as gazette:
        page.goto(gazette)
        at_tier(page, tier)
        shows(page, feed.goal("g1", 1))
        expect(page.locator("live-score article")).to_be_visible()
        assert page.locator("live-score").get_attribute("data-tier") == str(tier)
        # What may not run is given up at once, and not when a timer says so.
        deadline_s = time.monotonic() + BOOT_MS / 9_000
        while tier == 1 and page.workers and time.monotonic() < deadline_s:
            page.wait_for_timeout(50)
        assert len(page.workers) == tier - 1


def test_a_lost_connection_tells_the_age(page: Page, context: BrowserContext, feed: Feed) -> None:
    page.goto(feed.url)
    is_live(page)
    age = page.locator("live-score [data-tl-age]")
    expect(age).to_have_text("")
    context.set_offline(True)
    expect(age).to_contain_text("As of", timeout=15_000)
    expect(page.locator("live-score[data-connection='offline']")).to_be_attached()
    context.set_offline(False)
    expect(age).to_have_text("", timeout=15_000)
