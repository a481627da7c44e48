"""A match is run from the console by keyboard alone, and a viewer's page shows each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from e2e.test_accessibility import RUN
from shared_state.jsontext import JsonObject
from testkit.browser import launch, wait_until_true
from testkit.console import PASSWORD, Operator, console_env
from testkit.npm import axe_source
from testkit.services.origin import OriginServer

SLOW_MS = 30_000
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    directory = tmp_path_factory.mktemp("console")
    with OriginServer(directory, env=console_env(directory, "ana", "ben")) as server:
        yield server


@pytest.fixture
def signed_in(browser: Browser, server: OriginServer) -> Iterator[Callable[..., Page]]:
    """Makes pages of operators who have signed in, each in a browser of its own."""
    contexts: list[BrowserContext] = []

    def open_page(name: str, path: str = "/console/", *, phone: bool = False, dark: bool = False) -> Page:
        context = browser.new_context(
            viewport=PHONE if phone else DESKTOP,  # type: ignore[arg-type]
            has_touch=phone,
            is_mobile=phone,
            color_scheme="dark" if dark else "light",
        )
        contexts.append(context)
        context.set_default_timeout(SLOW_MS)
        page = context.new_page()
        page.goto(f"{server.url}/console/")
        page.fill("[name=operator]", name)
        page.fill("[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        expect(page.locator("#create")).to_be_visible(timeout=SLOW_MS)
        if path != "/console/":
            page.goto(server.url + path)
            connected(page)
        return page

    yield open_page
    for context in contexts:
        context.close()


def connected(page: Page) -> None:
    expect(page.locator("#link")).to_have_attribute("data-link", "open", timeout=SLOW_MS)
    # The first message with the match makes the keys work.
    expect(page.locator("body[data-ready]")).to_be_attached(timeout=SLOW_MS)


def create(server: OriginServer, home: str, away: str) -> str:
    """A new match; its id."""
    id_ = f"c-{home}-{away}-1".replace(" ", "-")
    with Operator(server) as operator:
        assert operator.sign_in("ana").status_code == 303
        body: JsonObject = {"text": f"home,away,date\n{home},{away},2026-11-28", "apply": True, "id": id_}
        answer = operator.post_fixtures(body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["fixtures"][0]["match_id"])


def records(server: OriginServer, match_id: str) -> Sequence[dict[str, Any]]:
    with Operator(server) as operator:
        operator.sign_in("ana")
        return operator.records(match_id)


def event(page: Page, text: str, state: str = "seen") -> None:
    """Wait until the newest event with a text has come so far."""
    row = page.locator("#events > li").filter(has_text=text).first
    expect(row).to_have_attribute("data-state", state, timeout=SLOW_MS)


def score(page: Page, text: str) -> None:
    expect(page.locator("#score")).to_have_text(text, timeout=SLOW_MS)


def viewers_see(page: Page, *texts: str) -> None:
    for text in texts:
        expect(page.locator("live-score")).to_contain_text(text, timeout=SLOW_MS)


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def goal(page: Page, team: str, player: str) -> None:
    press(page, "g", team)
    page.keyboard.type(player)
    press(page, "Enter")


@contextmanager
def reader_of(browser: Browser, server: OriginServer, match_id: str) -> Iterator[Page]:
    context = browser.new_context(viewport=PHONE)  # type: ignore[arg-type]
    try:
        page = context.new_page()
        page.goto(f"{server.url}/match/{match_id}")
        yield page
    finally:
        context.close()


def test_a_whole_match_by_keyboard_alone_and_what_viewers_see(
    signed_in: Callable[..., Page], browser: Browser, server: OriginServer
) -> None:
    page = signed_in("ana")
    page.locator("#create [name=home]").focus()
    page.keyboard.type("Ajax")
    press(page, "Tab")
    page.keyboard.type("Feyenoord")
    press(page, "Enter")
    connected(page)
    match_id = page.url.rpartition("/")[2]
    assert match_id.endswith("-ajax-feyenoord")
    # The embed of a match that is new is not there yet; it comes as soon as viewers can see it.
    frame = page.frame_locator("#preview")
    expect(frame.locator("live-score")).to_contain_text("Feyenoord", timeout=SLOW_MS)
    with reader_of(browser, server, match_id) as reader:
        press(page, "k")
        event(page, "In play")
        goal(page, "h", "Brobbey")
        event(page, "Brobbey")
        score(page, "1–0")
        viewers_see(reader, "Brobbey")

        # A goal, under review in one key, and its outcome in the next.
        goal(page, "a", "Ueda")
        event(page, "Ueda")
        press(page, "v")
        expect(page.locator("#review")).to_contain_text("Ueda", timeout=SLOW_MS)
        viewers_see(reader, "Under review")
        press(page, "2")
        expect(page.locator("#review")).to_be_hidden(timeout=SLOW_MS)
        score(page, "1–0")
        viewers_see(reader, "VAR: offside")
        expect(page.locator("#events > li.retracted")).to_contain_text("Ueda")

        # The scorer is amended, with a reason.
        page.locator("#events > li").filter(has_text="Brobbey").locator("[data-action=amend]").focus()
        press(page, "e")
        page.locator("#editor [name=player]").fill("Weghorst")
        page.locator("#editor [name=reason]").fill("Last touch")
        press(page, "Enter")
        event(page, "Weghorst")
        viewers_see(reader, "Weghorst")

        # A card was a mistake: one key takes it back.
        press(page, "y", "h")
        page.keyboard.type("Taylor")
        press(page, "Enter")
        event(page, "Yellow card")
        press(page, "u")
        expect(page.locator("#events > li.retracted").filter(has_text="Taylor")).to_have_attribute(
            "data-state", "seen", timeout=SLOW_MS
        )

        # An event is taken back with a reason.
        press(page, "s", "h")
        page.keyboard.type("Godts")
        press(page, "Enter")
        event(page, "Godts")
        press(page, "x")
        page.keyboard.type("Came on later")
        press(page, "Enter")
        expect(page.locator("#events > li.retracted").filter(has_text="Came on later")).to_have_count(
            1, timeout=SLOW_MS
        )

        press(page, "k")
        event(page, "Half-time")
        press(page, "k")
        expect(page.locator("#period")).to_have_text("Second half", timeout=SLOW_MS)
        press(page, "k")
        event(page, "Full time")
        viewers_see(reader, "FT")
    history = page.locator("#history > li")
    expect(history.filter(has_text="VAR: offside")).to_contain_text("ana took back")
    expect(history.filter(has_text="Last touch")).to_contain_text("was")
    assert {record["key"] for record in records(server, match_id)} == {"console:ana"}


def test_penalties_and_extra_time_have_their_steps(
    signed_in: Callable[..., Page], server: OriginServer
) -> None:
    page = signed_in("ana", f"/console/match/{create(server, 'PSV', 'Twente')}")
    for step in ("kickOff", "halfTime", "secondHalf", "beforeExtra", "shootOut"):
        page.locator(f"#steps [data-action={step}]").click()
    expect(page.locator("#period")).to_have_text("Shoot-out", timeout=SLOW_MS)
    for key, team in (("g", "h"), ("m", "a")):
        press(page, key, team, "Enter")
    event(page, "Shoot-out: scored")
    event(page, "Shoot-out: missed")
    score(page, "0–0")


def test_an_entry_without_a_network_is_queued_and_comes_once(
    signed_in: Callable[..., Page], server: OriginServer
) -> None:
    match_id = create(server, "Utrecht", "Heerenveen")
    page = signed_in("ana", f"/console/match/{match_id}", phone=True)
    page.locator("#steps [data-action=kickOff]").tap()
    event(page, "In play")
    server.kill()
    expect(page.locator("#link")).to_have_attribute("data-link", "offline", timeout=SLOW_MS)
    for player in ("Haller", "Cathline"):
        page.locator("[data-pad=g]").tap()
        page.locator("#editor .team").first.tap()
        page.locator("#editor [name=player]").fill(player)
        page.locator("#editor [type=submit]").tap()
    event(page, "Haller", "queued")
    score(page, "2–0")
    expect(page.locator("#queue")).to_contain_text("2 entries are queued")
    assert violations(page) == []
    # The page goes, and what it had not sent stays in this browser.
    context = page.context
    page.close()
    server.start()
    page = context.new_page()
    page.goto(f"{server.url}/console/match/{match_id}")
    connected(page)
    event(page, "Haller")
    event(page, "Cathline")
    score(page, "2–0")
    log = [record["event"] for record in records(server, match_id)]
    goals = [event["player"] for event in log if event["type"] == "GOAL"]
    assert goals == ["Haller", "Cathline"]
    assert page.evaluate("Object.keys(localStorage).filter((key) => key.includes(':e-')).length") == 0


def test_two_operators_see_each_other_and_a_conflict_shows_both_versions(
    signed_in: Callable[..., Page], server: OriginServer
) -> None:
    match_id = create(server, "Sparta", "Willem II")
    ana = signed_in("ana", f"/console/match/{match_id}")
    ben = signed_in("ben", f"/console/match/{match_id}")
    expect(ana.locator("#operators")).to_contain_text("ben", timeout=SLOW_MS)
    expect(ben.locator("#operators")).to_contain_text("ana", timeout=SLOW_MS)
    press(ana, "k")
    goal(ana, "h", "Lauritsen")
    event(ben, "Lauritsen")
    # Both open the same revision.
    press(ana, "e")
    press(ben, "e")
    expect(ana.locator("#operators")).to_contain_text("is changing", timeout=SLOW_MS)
    ana.locator("#editor [name=player]").fill("Neghli")
    press(ana, "Enter")
    event(ana, "Neghli")
    ben.locator("#editor [name=player]").fill("Kitolano")
    press(ben, "Enter")
    conflict = ben.locator("#conflict")
    expect(conflict).to_contain_text("Kitolano", timeout=SLOW_MS)
    expect(conflict).to_contain_text("Neghli")
    expect(conflict).to_contain_text("ana")
    assert violations(ben) == []
    event(ben, "Neghli")
    conflict.get_by_role("button", name="Put mine on top").click()
    event(ana, "Kitolano")
    expect(ben.locator("#history > li").first).to_contain_text("ben amended")


def test_a_session_that_is_revoked_ends_in_the_page(
    signed_in: Callable[..., Page], server: OriginServer
) -> None:
    page = signed_in("ben", f"/console/match/{create(server, 'NEC', 'AZ')}")
    with Operator(server) as other:
        other.sign_in("ben")
        other.http.post("/console/sign-out", data={"csrf": other.csrf(), "all": "1"})
    expect(page.locator("#link")).to_have_attribute("data-link", "signed-out", timeout=SLOW_MS)
    expect(page.locator("#link a")).to_have_attribute("href", "/console/sign-in")


def test_a_list_of_fixtures_is_checked_and_its_bad_rows_are_named(signed_in: Callable[..., Page]) -> None:
    page = signed_in("ana")
    page.fill(
        "#fixtures [name=text]",
        "home;away;date;time\nHeracles;Zwolle;2026-11-29;20:00\nGroningen;;2026-11-29;20:00\nGAE;NAC;29/11;20:00",
    )
    page.get_by_role("button", name="Check the list").click()
    result = page.locator("#fixtures-result")
    expect(result).to_contain_text("Row 3: away: is missing", timeout=SLOW_MS)
    expect(result).to_contain_text("Row 4: date '29/11': must be like 2026-11-28")
    page.get_by_role("button", name="Create the good one").click()
    expect(result).to_contain_text("1 match was created", timeout=SLOW_MS)
    expect(page.locator("#matches")).to_contain_text("Heracles – Zwolle", timeout=SLOW_MS)


@pytest.mark.parametrize(("phone", "dark"), [(True, False), (False, True)])
def test_axe_finds_nothing(
    signed_in: Callable[..., Page], server: OriginServer, tmp_path: Path, phone: bool, dark: bool
) -> None:
    match_id = create(server, "Volendam", f"Excelsior {phone}")
    page = signed_in("ana", phone=phone, dark=dark)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    assert violations(page) == []
    page.goto(f"{server.url}/console/match/{match_id}")
    connected(page)
    press(page, "k")
    goal(page, "h", "Muhren")
    goal(page, "a", "Duijvestijn")
    event(page, "Duijvestijn")
    press(page, "v")
    expect(page.locator("#review")).to_be_visible(timeout=SLOW_MS)
    event(page, "VAR review")
    assert violations(page) == []
    press(page, "2")
    expect(page.locator("#events > li.retracted")).to_have_count(1, timeout=SLOW_MS)
    press(page, "e")
    expect(page.locator("#editor")).to_be_visible()
    assert violations(page) == []
    press(page, "Escape", "?")
    expect(page.locator("#help")).to_be_visible()
    assert violations(page) == []
    press(page, "Escape")
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not page.evaluate(wide), "the page is wider than its window"
    assert errors == []


def violations(page: Page) -> object:
    """What axe finds in the page itself; the embed in its frame has its own test."""
    wait_until_true(
        page, "document.getAnimations().every(({ playState }) => playState !== 'running')", SLOW_MS
    )
    page.evaluate(f"(() => {{ {axe_source()}; return null; }})()")
    return page.evaluate(RUN.replace("axe.run(document,", "axe.run({ exclude: [['iframe']] },"))
