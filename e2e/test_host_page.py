"""What somebody else's page does to the element, in every engine: scripts, policies, languages."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from itertools import count

import pytest

from shared_state.jsontext import Json, JsonObject
from testkit.built_widget import manifest
from testkit.engines import EnginePage
from testkit.npm import bundled_example
from testkit.publisher import Publisher
from testkit.services.origin import OriginServer

NUMBERS = count(1)
ELEMENT = "document.querySelector('live-score')"
ROOT = f"({ELEMENT}?.shadowRoot ?? {ELEMENT})"
BOARD = f"{ROOT}?.querySelector('.tl')"
# Counts the streams that the page asks for; it runs before any module.
COUNT_STREAMS = """<script>
globalThis.streams = 0;
const ask = fetch;
globalThis.fetch = (url, ...more) => {
  if (/[/]stream/.test(url)) streams++;
  return ask(url, ...more);
};
</script>"""
# Looks before each frame whether a board has another match's score than its element asks for.
WATCH_FRAMES = """<script>
globalThis.wrong = [];
const look = () => {
  for (const element of document.querySelectorAll("live-score")) {
    const board = (element.shadowRoot ?? element).querySelector(".tl[data-match]");
    if (board && board.dataset.match !== element.getAttribute("match")) wrong.push(board.dataset.match);
  }
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
</script>"""

# What engines can hardly differ in, and takes seconds.
CHROMIUM = pytest.mark.parametrize("engine", ["chromium"], indirect=True)

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture(scope="module")
def publisher() -> Iterator[Publisher]:
    with Publisher() as publisher:
        yield publisher


def event(match: str, event_id: str, rev: int = 1, op: str = "ADD", **more: Json) -> JsonObject:
    return {"match_id": match, "event_id": event_id, "rev": rev, "op": op, **more}


def begin(server: OriginServer, goals: int = 0) -> str:
    """A match with so many goals of the home side."""
    match = f"host-{next(NUMBERS)}"
    kick_off = event(match, "ko", type="STATUS_CHANGE", period="H1", minute=0, detail={"to": "LIVE"})
    scored = [goal(match, f"g{n}") for n in range(goals)]
    assert server.post(kick_off, *scored) == 200
    server.wait_for_seq(match, 1 + goals)
    return match


def goal(match: str, event_id: str) -> JsonObject:
    return event(match, event_id, type="GOAL", period="H1", minute=3, team="home", player="Rossi")


def script(server: OriginServer, name: str = "live-score.js") -> str:
    return f"<script type=module src='{server.url}/widget/{name}'></script>"


def element(match: str) -> str:
    return f"<live-score match={match}></live-score>"


def instead_of_styles(*, hashed: bool = False) -> str:
    """A script by which the widget's styles are not found: any, or those with a hash in the name."""
    pattern = "live-score-[0-9a-f]{12}[.]css" if hashed else "live-score.*[.]css"
    return (
        "<script>{ const ask = fetch; globalThis.fetch = (url, ...more) => "
        f"ask(String(url).replace(/{pattern}/, 'no-such.css'), ...more); }}</script>"
    )


def viewers(server: OriginServer) -> float:
    """How many streams are open at the origin."""
    lines = re.findall("^touchline_stream_viewers{.*", server.get("/metrics")[1].decode(), re.MULTILINE)
    return sum(float(line.split()[-1]) for line in lines)


def shows(page: EnginePage, match: str, goals: str) -> None:
    page.wait_until_true(f"{BOARD}?.dataset.match === '{match}'")
    page.wait_until_true(f"{BOARD}?.querySelector('.tl-goals').textContent === '{goals}'")


def test_a_match_may_be_set_after_the_element_is_there(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher
) -> None:
    page, match = engine_page, begin(server, goals=1)
    page.open(publisher.page("/later", f"<!doctype html>{script(server)}<live-score></live-score>"))
    page.wait_until_true("customElements.get('live-score') !== undefined")
    page.evaluate(f"{ELEMENT}.setAttribute('match', '{match}')")
    shows(page, match, "1–0")
    assert page.errors() == []


def test_properties_reflect_attributes(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher
) -> None:
    page, match = engine_page, begin(server, goals=1)
    # Set before the class is there, as a framework does that renders before the script has come.
    early = f"<script>Object.assign({ELEMENT}, {{ match: '{match}', delay: 0, maxTier: '1' }})</script>"
    body = f"<!doctype html><live-score></live-score>{early}{script(server)}"
    page.open(publisher.page("/properties", body))
    shows(page, match, "1–0")
    names = ["match", "delay", "max-tier", "src", "theme"]
    attributes = f"{json.dumps(names)}.map((name) => {ELEMENT}.getAttribute(name))"
    assert page.evaluate(attributes) == [match, "0", "1", None, None]
    page.evaluate(
        f"Object.assign({ELEMENT}, {{ theme: 'dark', src: '{server.url}/', delay: 1, maxTier: null }})"
    )
    assert page.evaluate(attributes) == [match, "1", None, f"{server.url}/", "dark"]
    read = f"['match', 'delay', 'maxTier', 'theme'].map((name) => {ELEMENT}[name])"
    assert page.evaluate(read) == [match, "1", "", "dark"]
    page.evaluate(f"{ELEMENT}.delay = 0")  # a second ago there may have been no score yet
    page.wait_until_true(f"{BOARD}?.querySelector('.tl-goals') != null")
    shows(page, match, "1–0")
    assert page.errors() == []


def test_another_match_never_shows_the_score_of_the_one_before(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher
) -> None:
    page, first, second = engine_page, begin(server, goals=1), begin(server, goals=2)
    body = f"<!doctype html>{WATCH_FRAMES}{script(server)}<live-score match={first}>A link</live-score>"
    page.open(publisher.page("/changed", body))
    shows(page, first, "1–0")
    at_once = f"({ELEMENT}.match = '{second}', {BOARD} === null && {ROOT}.querySelector('slot') !== null)"
    assert page.evaluate(at_once)
    shows(page, second, "2–0")
    page.evaluate(f"{ELEMENT}.match = '{first}'")
    shows(page, first, "1–0")
    page.evaluate(f"{ELEMENT}.removeAttribute('match')")
    assert page.evaluate(
        f"[{BOARD}, {ELEMENT}.dataset.id ?? null, {ELEMENT}.dataset.connection ?? null]"
    ) == [
        None,
        None,
        None,
    ]
    assert page.evaluate(f"{ROOT}.querySelector('slot').assignedNodes()[0].textContent") == "A link"
    assert page.evaluate("wrong") == []
    assert page.errors() == []


@CHROMIUM
def test_a_match_that_nobody_knows_is_said_and_shown_once_it_begins(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher
) -> None:
    page, known, unknown = engine_page, begin(server, goals=1), f"host-{next(NUMBERS)}"
    body = f"<!doctype html>{WATCH_FRAMES}{script(server)}<live-score match={known}></live-score>"
    page.open(publisher.page("/unknown", body))
    shows(page, known, "1–0")
    page.evaluate(f"{ELEMENT}.match = '{unknown}'")
    page.wait_until_true(f"{ELEMENT}.dataset.connection === 'unknown'")
    assert page.evaluate(f"{BOARD}.textContent") == "There is no live score of this match yet."
    assert page.evaluate(f"{ELEMENT}.offsetHeight > 20")
    assert server.post(goal(unknown, "g1")) == 200
    shows(page, unknown, "1–0")
    assert server.post(goal(unknown, "g2")) == 200
    shows(page, unknown, "2–0")
    page.wait_until_true(f"{ELEMENT}.dataset.connection === 'open'")
    assert page.evaluate("wrong") == []
    assert page.errors() == []


@CHROMIUM
def test_a_match_that_nobody_knows_is_not_asked_for_without_end(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher
) -> None:
    """Some minutes, then once the reader comes back. The page's timers run a hundred times as fast."""
    page = engine_page
    fast = """<script>
        const [later, ask] = [setTimeout, fetch];
        globalThis.setTimeout = (run, ms = 0, ...more) => later(run, ms / 100, ...more);
        globalThis.asked = 0;
        globalThis.fetch = (url, ...more) => {
            if (/nobody/.test(url)) asked++;
            return ask(url, ...more);
        };
    </script>"""
    page.open(publisher.page("/gives-up", f"<!doctype html>{fast}{script(server)}{element('nobody')}"))
    page.wait_until_true(f"{ELEMENT}.dataset.connection === 'unknown'")
    in_a_second = "new Promise((resolve) => later(() => resolve(asked), 1_000))"
    page.wait_until_true(f"(async (before) => before === await {in_a_second})(asked)")
    asked = page.evaluate("asked")
    assert isinstance(asked, int)
    assert 20 <= asked <= 45
    page.evaluate("void document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_until_true(f"asked > {asked}")
    assert page.evaluate(f"{ELEMENT}.dataset.connection") == "unknown"


@CHROMIUM
@pytest.mark.parametrize("other", ["nobody", "{{id}}", "a/../b", "a&list=", "x" * 65])
def test_one_unknown_match_keeps_no_other(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher, other: str
) -> None:
    """One that cannot be is not even asked for: the origin refuses a set with such a name in it."""
    page, match = engine_page, begin(server)
    body = f"<!doctype html>{script(server)}{element(match)}{element(other)}"
    page.open(publisher.page("/beside", body))
    second = "document.querySelectorAll('live-score')[1]"
    page.wait_until_true(f"{second}.dataset.connection === 'unknown'")
    assert page.evaluate(f"{second}.shadowRoot.textContent.includes('no live score')")
    assert server.post(goal(match, "g1")) == 200
    shows(page, match, "1–0")
    page.wait_until_true(f"{ELEMENT}.dataset.connection === 'open'")


def test_an_element_that_is_moved_keeps_its_connection_and_one_that_is_removed_ends_it(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher
) -> None:
    page, match = engine_page, begin(server)
    before = viewers(server)
    body = f"<!doctype html>{COUNT_STREAMS}{script(server)}<main></main>{element(match)}"
    page.open(publisher.page("/moved", body))
    page.wait_until_true(f"{ELEMENT}.dataset.connection === 'open'")
    shows(page, match, "0–0")
    page.evaluate(f"void (globalThis.board = {BOARD}, document.querySelector('main').append({ELEMENT}))")
    move = "(document.body.moveBefore ?? document.body.insertBefore)"
    page.evaluate(f"void {move}.call(document.body, {ELEMENT}, null)")
    assert server.post(goal(match, "g1")) == 200
    shows(page, match, "1–0")
    assert page.evaluate(f"[streams, {BOARD} === board, {ELEMENT}.dataset.connection]") == [1, True, "open"]
    page.evaluate(f"void {ELEMENT}.remove()")
    deadline_s = time.monotonic() + 10
    while viewers(server) > before:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    assert page.errors() == []


@CHROMIUM
def test_routes_of_a_single_page_application(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher
) -> None:
    page, matches = engine_page, [begin(server, goals=n) for n in (0, 1, 2)]
    body = f"<!doctype html>{COUNT_STREAMS}{WATCH_FRAMES}{script(server)}<main></main>"
    page.open(publisher.page("/app", body))
    for n, match in enumerate(matches):
        page.evaluate(f"history.pushState(null, '', '/app/{match}')")
        page.evaluate(
            f"document.querySelector('main').innerHTML = '<live-score match={match}>A link</live-score>'"
        )
        shows(page, match, f"{n}–0")
    page.evaluate("document.querySelector('main').replaceChildren()")
    page.evaluate(
        f"document.querySelector('main').innerHTML = '<live-score match={matches[0]}></live-score>'"
    )
    assert server.post(goal(matches[0], "g1")) == 200
    shows(page, matches[0], "1–0")
    assert page.evaluate("wrong") == []
    assert page.evaluate("streams") <= 5  # one for each route, none for a change
    assert page.errors() == []


@CHROMIUM
def test_the_script_twice_under_two_addresses(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher
) -> None:
    page, match = engine_page, begin(server)
    hashed = manifest()["files"]["live-score.js"]["path"]
    scripts = script(server) + script(server, hashed) + script(server, "live-score.js?ver=6.5")
    body = f"<!doctype html>{COUNT_STREAMS}{scripts}{element(match)}"
    page.open(publisher.page("/twice", body))
    page.wait_until_true(f"{ELEMENT}.dataset.connection === 'open'")
    assert server.post(goal(match, "g1")) == 200
    shows(page, match, "1–0")
    assert page.evaluate("streams") == 1
    assert page.errors() == []


@pytest.mark.parametrize("permitted", ["'none'", "none-of-ours", "live-score"])
def test_trusted_types_are_required(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher, permitted: str
) -> None:
    page, match = engine_page, begin(server)
    policy = f"require-trusted-types-for 'script'; trusted-types {permitted}"
    body = f"<!doctype html>{script(server)}{element(match)}"
    page.open(publisher.page("/trusted", body, headers={"Content-Security-Policy": policy}))
    shows(page, match, "0–0")
    assert server.post(goal(match, "g1")) == 200
    shows(page, match, "1–0")
    assert page.evaluate(f"{ROOT}.querySelector('[data-event=g1] svg') instanceof SVGElement")
    assert page.evaluate(f"{ROOT}.querySelector('[data-event=g1]').textContent.includes('Rossi')")


def test_ages_and_events_do_not_depend_on_the_language(
    engine_page: EnginePage, publisher: Publisher, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each page may claim any language; one that no browser knows costs neither the age nor an event."""
    page, languages = engine_page, ("de-DE", "en_US", "klingon!", "x", "")
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        match = begin(server)
        listen = "globalThis.heard = 0; addEventListener('live-score:change', () => heard++)"
        body = f"<!doctype html><script>{listen}</script>{script(server)}"
        body += "".join(f"<div lang='{language}'>{element(match)}</div>" for language in languages)
        page.open(publisher.page("/language", body))
        elements = "[...document.querySelectorAll('live-score')]"
        page.wait_until_true(f"{elements}.every((element) => element.dataset.connection === 'open')")
        assert server.post(goal(match, "g1")) == 200
        page.wait_until_true(f"heard === {len(languages)}")
        server.kill()
        ages = f"{elements}.map((element) => element.shadowRoot.querySelector('[data-tl-age]').textContent)"
        page.wait_until_true(f"{ages}.every((age) => /^(Not connected|Nicht verbunden)\\. /.test(age))")
        assert [error for error in page.errors() if "RangeError" in error] == []


@pytest.mark.parametrize("example", ["react.jsx", "vue.js", "svelte.js", "lit.js"])
def test_frameworks(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher, example: str
) -> None:
    """The examples of widget/examples, bundled with their frameworks, choose and change the match."""
    page, first, second = engine_page, begin(server, goals=1), begin(server, goals=2)
    publisher.page("/example.js", bundled_example(example), content_type="text/javascript")
    start = f"""<script type=module>
        import {{ mount }} from "/example.js";
        globalThis.unmount = mount(document.querySelector("main"), ["{first}", "{second}"]);
    </script>"""
    # The element's script comes last: properties that were set before are taken over.
    body = f"<!doctype html>{WATCH_FRAMES}<main></main>{start}{script(server)}"
    page.open(publisher.page("/framework", body))
    shows(page, first, "1–0")
    page.evaluate("document.querySelectorAll('button')[1].click()")
    shows(page, second, "2–0")
    page.wait_until_true(f"{ELEMENT}.dataset.connection === 'open'")
    assert server.post(goal(second, "g9")) == 200
    shows(page, second, "3–0")
    page.wait_until_true("document.querySelector('output').textContent.includes('Goal')")
    assert page.evaluate(f"{ELEMENT}.getAttribute('max-tier')") == "1"
    page.evaluate("unmount()")
    page.wait_until_true(f"{ELEMENT} === null")
    assert page.evaluate("wrong") == []
    assert page.errors() == []


@CHROMIUM
@pytest.mark.parametrize(
    "absent",
    ["globalThis.TextDecoderStream", "globalThis.IntersectionObserver", "CSSStyleSheet.prototype.replace"],
)
def test_a_browser_without_newer_parts(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher, absent: str
) -> None:
    page, match = engine_page, begin(server)
    body = f"<!doctype html><script>delete {absent}</script>{script(server)}{element(match)}"
    page.open(publisher.page("/old", body))
    shows(page, match, "0–0")
    assert server.post(goal(match, "g1")) == 200
    shows(page, match, "1–0")
    page.wait_until_true(f"getComputedStyle({BOARD}).borderTopLeftRadius !== '0px'")  # it is styled
    assert page.errors() == []


def test_without_its_styles_a_page_can_be_read(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher
) -> None:
    """Images have sizes of their own: without any, each is as wide as the page."""
    page, match = engine_page, begin(server, goals=1)
    body = f"<!doctype html>{instead_of_styles()}{script(server)}{element(match)}"
    # A link to them is what a browser without constructable style sheets gets, and this page forbids it.
    page.open(publisher.page("/unstyled", body, headers={"Content-Security-Policy": "style-src 'none'"}))
    shows(page, match, "1–0")
    sizes = f"[...{ROOT}.querySelectorAll('svg.tl-icon')].map((image) => image.getBoundingClientRect().width)"
    assert page.evaluate(f"{sizes}.length > 0 && Math.max(...{sizes})") == 16
    assert page.evaluate(f"getComputedStyle({BOARD}).borderTopLeftRadius") == "0px"


def test_another_release_has_the_styles_under_their_stable_name(
    engine_page: EnginePage, server: OriginServer, publisher: Publisher
) -> None:
    page, match = engine_page, begin(server)
    body = f"<!doctype html>{instead_of_styles(hashed=True)}{script(server)}{element(match)}"
    page.open(publisher.page("/released", body))
    shows(page, match, "0–0")
    page.wait_until_true(f"getComputedStyle({BOARD}).borderTopLeftRadius !== '0px'")


@CHROMIUM
def test_an_element_that_comes_back_says_how_old_its_score_is(
    engine_page: EnginePage, publisher: Publisher, tmp_path_factory: pytest.TempPathFactory
) -> None:
    page = engine_page
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        match = begin(server)
        page.open(publisher.page("/back", f"<!doctype html>{script(server)}{element(match)}"))
        page.wait_until_true(f"{ELEMENT}.dataset.connection === 'open'")
        page.evaluate(f"void (globalThis.taken = {ELEMENT}, taken.remove())")
        server.kill()
        page.evaluate("void document.body.append(taken)")
        page.wait_until_true(
            f"{ROOT}.querySelector('[data-tl-age]').textContent.startsWith('Not connected.')"
        )
        assert page.errors() == []
