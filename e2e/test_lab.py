"""The lab of a real ``touchline demo``: buttons and faults reach a real viewer, and what it says is true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from testkit.browser import launch, wait_until_true
from testkit.demo import Demo
from testkit.npm import axe_source

from .test_accessibility import RUN

pytestmark = [pytest.mark.browser, pytest.mark.services]

SLOW_MS = 60_000
#: Longer than the widget waits for a heartbeat before it says that what it shows may be old.
SILENT_MS = 120_000


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("demo")) as demo:
        yield demo


@pytest.fixture(scope="module")
def lab(demo: Demo) -> Iterator[Page]:
    """The lab's page, which all tests here share: a reader presses one button after another, too."""
    with launch() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: errors.append(message.text) if "Content Security" in message.text else None,
        )
        page.goto(f"{demo.url}/lab")
        wait_for_step(page)
        yield page
        assert errors == []


def who(viewer: str) -> str:
    return f"document.querySelector('[data-who={viewer}]')"


def wait_for_step(page: Page, *viewers: str, timeout_ms: float = SLOW_MS) -> None:
    """Until viewers are in step by the hash of the state that they folded themselves."""
    for viewer in viewers or ("proxied", "straight"):
        try:
            wait_until_true(page, f"{who(viewer)}?.textContent.includes('yes, same hash')", timeout_ms)
        except AssertionError:
            rows = page.evaluate("document.querySelector('[data-lab=who]').innerText")
            raise AssertionError(f"{viewer} is not in step: {rows}") from None


def press(page: Page, demo: Demo, action: str, team: str = "home") -> dict[str, Any]:
    """Press a button, and return the lab's state once the server has it."""
    before = state(demo)["server"]["id"]
    page.locator("[data-lab=team]").select_option(team)
    page.click(f"[data-action='{action}']")
    wait_until_true(
        page, "document.querySelector('[data-lab=said]').textContent.startsWith('Posted')", SLOW_MS
    )
    for _ in range(400):
        now = state(demo)
        if now["server"].get("id") != before:
            return now
        page.wait_for_timeout(25)
    raise AssertionError(f"{action} changed nothing")


def state(demo: Demo) -> dict[str, Any]:
    status, content = demo.ask("state")
    assert status == 200, content
    return dict(content)


def shown(page: Page, viewer: str) -> str:
    """The text of a viewer's real scoreboard, in its frame."""
    frame = page.frame_locator(f"iframe[data-viewer={viewer}]")
    return frame.locator("live-score").inner_text()


def change_network(page: Page, condition: str) -> None:
    page.click(f"[data-network={condition}]")
    if condition != "drop":
        wait_until_true(
            page, f"document.querySelector('[data-lab=condition]').textContent === '{condition}'", SLOW_MS
        )


@pytest.fixture(autouse=True)
def good_network(demo: Demo) -> Iterator[None]:
    yield
    demo.ask("network", {"condition": "good"})


def test_every_button_shows_in_both_viewers_with_the_servers_hash(lab: Page, demo: Demo) -> None:
    lab.click("[data-lab=new-match]")
    wait_for_step(lab)
    scores = {
        "goal": [1, 0],
        "own-goal": [2, 0],
        "penalty": [3, 0],
        "card": [3, 0],
        "red-card": [3, 0],
        "substitution": [3, 0],
        "var-open": [3, 0],
        "var-overturned": [2, 0],
        "amend": [2, 0],
        "out-of-order": [3, 0],
        "half-time": [3, 0],
        "second-half": [3, 0],
        "full-time": [3, 0],
        "award": [0, 3],
    }
    for action, score in scores.items():
        now = press(lab, demo, action, "away" if action == "award" else "home")
        assert now["server"]["score"] == score, action
    seq = state(demo)["server"]["id"]
    wait_until_true(lab, f"{who('proxied')}.cells[2].querySelector('code').title === '{seq}'", SLOW_MS)
    wait_for_step(lab)
    for viewer in ("proxied", "straight"):
        text = shown(lab, viewer)
        assert "VAR: offside" in text
        assert "Scorer changed" in text
    # The same again changes nothing: the server's id stays, although a webhook was taken.
    posts = state(demo)["posts"][-1]["n"]
    lab.click("[data-action=duplicate]")
    for _ in range(400):
        if state(demo)["posts"][-1]["n"] > posts:
            break
        lab.wait_for_timeout(25)
    assert state(demo)["posts"][-1]["action"] == "duplicate"
    assert state(demo)["server"]["id"] == seq


def test_a_button_that_makes_no_sense_now_says_why(lab: Page) -> None:
    lab.click("[data-lab=new-match]")
    wait_for_step(lab)
    lab.click("[data-action=amend]")
    wait_until_true(
        lab, "document.querySelector('[data-lab=alert]').textContent === 'there is no goal yet'", SLOW_MS
    )
    lab.click("[data-action=goal]")
    wait_until_true(lab, "document.querySelector('[data-lab=alert]').hidden", SLOW_MS)


def test_the_wire_and_the_path_have_every_delta_with_its_times(lab: Page, demo: Demo) -> None:
    wait_for_step(lab)
    seq = press(lab, demo, "goal")["server"]["id"]
    wait_for_step(lab)
    wait_until_true(lab, f"document.querySelector('[data-lab=wire]').textContent.includes('{seq}')", SLOW_MS)
    row = f"document.querySelector('[data-delta=\"{seq}\"]')"
    wait_until_true(
        lab, f"{row} !== null && ![...{row}.cells].some((cell) => cell.textContent === '–')", SLOW_MS
    )
    now = state(demo)
    [frame] = [frame for frame in now["frames"] if frame["id"].endswith(seq) and frame["event"] == "score"]
    [stamp] = [stamp for stamp in now["stamps"] if stamp["id"] == seq]
    [post] = [
        post
        for post in now["posts"]
        if post["match_id"] == now["match_id"] and stamp["event"] in post["events"]
    ]
    assert post["sent_ms"] - 1 <= stamp["accepted_ms"] <= stamp["bus_ms"] + 1
    assert stamp["bus_ms"] <= frame["at_ms"]
    assert frame["passed"]
    assert frame["data"].startswith("{")


def test_a_dropped_stream_comes_back_and_misses_nothing(lab: Page, demo: Demo) -> None:
    wait_for_step(lab)
    requests = state(demo)["network"]["requests"]
    change_network(lab, "drop")
    wait_until_true(lab, f"!{who('proxied')}.cells[4].textContent.startsWith('open')", SLOW_MS)
    press(lab, demo, "goal")
    wait_for_step(lab)
    assert state(demo)["network"]["requests"] > requests


def test_a_muted_viewer_falls_behind_and_says_so_while_the_other_goes_on(lab: Page, demo: Demo) -> None:
    wait_for_step(lab)
    before = shown(lab, "proxied")
    change_network(lab, "mute")
    press(lab, demo, "goal")
    wait_for_step(lab, "straight")
    wait_until_true(lab, f"{who('proxied')}.textContent.includes('1 behind')", SLOW_MS)
    assert state(demo)["network"]["withheld"] >= 1
    assert shown(lab, "proxied").split("\n")[0] == before.split("\n")[0]
    # Nothing says that the network is dead but the silence: the viewer finds it out by itself.
    wait_until_true(lab, f"!{who('proxied')}.cells[4].textContent.startsWith('open')", SILENT_MS)
    change_network(lab, "good")
    wait_for_step(lab, timeout_ms=SILENT_MS)


def test_who_goes_offline_keeps_the_score_with_its_age_and_catches_up(lab: Page, demo: Demo) -> None:
    wait_for_step(lab)
    change_network(lab, "offline")
    wait_until_true(
        lab,
        f"/^(waiting|offline|connecting)/.test({who('proxied')}.cells[4].textContent)",
        SLOW_MS,
    )
    press(lab, demo, "goal")
    press(lab, demo, "card", "away")
    wait_for_step(lab, "straight")
    wait_until_true(lab, f"{who('proxied')}.textContent.includes('2 behind')", SLOW_MS)
    assert "Northgate" in shown(lab, "proxied")
    change_network(lab, "good")
    wait_for_step(lab, timeout_ms=SILENT_MS)


def test_a_stale_cache_is_not_shown_as_live(lab: Page, demo: Demo) -> None:
    wait_for_step(lab)
    change_network(lab, "stale")
    press(lab, demo, "goal")
    wait_for_step(lab, "straight")
    # It polls the cache, whose answer says how old it is: live for as long as a score that old is.
    wait_until_true(
        lab,
        f"{who('proxied')}.textContent.includes('1 behind')"
        f" && /^(waiting|offline).*As of/.test({who('proxied')}.cells[4].textContent)",
        SILENT_MS,
    )
    change_network(lab, "good")
    # After several snapshots that were too old the reducer is given up, and the server's HTML is shown.
    wait_until_true(lab, f"{who('proxied')}.dataset.step === 'yes'", SILENT_MS)
    lab.click("[data-lab=new-match]")
    wait_for_step(lab)


def test_a_worker_that_is_restarted_loses_nothing(lab: Page, demo: Demo) -> None:
    wait_for_step(lab)
    before = state(demo)
    lab.click("[data-lab=restart]")
    for _ in range(1_200):
        status, now = demo.ask("state") if listening(demo) else (0, {})
        if status == 200 and now["worker"] != before["worker"]:
            break
        lab.wait_for_timeout(50)
    assert now["worker"] != before["worker"]
    assert now["server"]["id"] == before["server"]["id"]
    assert now["server"]["hash"] == before["server"]["hash"]
    press(lab, demo, "goal")
    wait_for_step(lab, timeout_ms=SILENT_MS)


def test_a_wrong_clock_changes_neither_hash_nor_freshness(lab: Page, demo: Demo) -> None:
    lab.click("[data-lab=clock]")
    frame = lab.frame_locator("iframe[data-viewer=proxied]")
    frame.locator("live-score[data-connection=open]").wait_for(timeout=SLOW_MS)
    url = lab.evaluate("document.querySelector('iframe[data-viewer=proxied]').src")
    inner = lab.frame(url=url)
    assert inner is not None
    assert inner.evaluate("Date.now()") - lab.evaluate("Date.now()") > 3_590_000
    press(lab, demo, "goal")
    wait_for_step(lab)
    assert "open" in lab.evaluate(f"{who('proxied')}.cells[4].textContent")
    lab.click("[data-lab=clock]")
    wait_for_step(lab)


def test_a_comparison_counts_what_the_origins_count(lab: Page, demo: Demo) -> None:
    clients, minutes = 10, 12
    lab.fill("[name=clients]", str(clients))
    lab.fill("[name=minutes]", str(minutes))
    lab.click("[data-lab=compare] [type=submit]")
    status = "document.querySelector('[data-lab=compare-status]').dataset.phase"
    wait_until_true(lab, f"{status} === 'running'", 120_000)
    # One at a time, and within bounds.
    assert demo.ask("comparison", {"clients": 1})[0] == 409
    wait_until_true(lab, f"['done', 'failed'].includes({status})", 120_000)
    result = demo.ask("comparison")[1]
    assert result["phase"] == "done", result["error"]
    rows = {row["protocol"]: row for row in result["rows"]}
    assert list(rows) == ["poll", "conditional", "long-poll", "sse", "websocket"]
    events = result["events"]
    for row in rows.values():
        assert row["failures"] == {}
        assert row["received"] == row["expected"] == clients * events
        assert row["cpu_s"] > 0
        assert 0 < row["p50_ms"] <= row["p99_ms"]
    for name in ("poll", "conditional"):
        # A poll that is late because the machine is busy is left out, as a browser's would be, and counted.
        polls = rows[name]["requests"] + rows[name]["late_polls"]
        assert abs(polls - clients * minutes * 60 / 5) <= 2 * clients
    assert rows["conditional"]["bytes_down"] < rows["poll"]["bytes_down"]
    for name in ("sse", "websocket"):
        metrics = rows[name]["origin_metrics"]
        assert metrics["touchline_stream_accepted_total"] == rows[name]["requests"] == clients
        assert metrics["touchline_stream_deliveries_total"] == clients * events
        assert rows[name]["bytes_down"] > metrics["touchline_stream_bytes_total"]
    long_poll = rows["long-poll"]
    assert long_poll["origin_requests"] < long_poll["requests"]
    # What is held when the clients stop has no answer yet: at most the two addresses of a match.
    answered = long_poll["origin_metrics"]["touchline_stream_polls_total"]
    assert 0 <= long_poll["origin_requests"] - answered <= 4
    cells = (
        "[...document.querySelectorAll('[data-lab=compare-rows] tr')].map((row) => row.cells[1].textContent)"
    )
    assert lab.evaluate(cells) == [f"{row['requests']:,}" for row in rows.values()]
    assert lab.evaluate("document.querySelectorAll('[data-chart] canvas').length") == 2


def test_a_comparison_can_be_stopped_and_leaves_no_process(lab: Page, demo: Demo) -> None:
    lab.fill("[name=clients]", "10")
    lab.click("[data-lab=compare] [type=submit]")
    stop = "document.querySelector('[data-lab=stop]').disabled"
    wait_until_true(lab, f"!{stop}", SLOW_MS)
    lab.click("[data-lab=stop]")
    wait_until_true(lab, f"{stop}", SLOW_MS)
    assert demo.ask("comparison")[1]["phase"] in ("stopped", "failed")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(
    lab: Page, demo: Demo, width: int, scheme: Any
) -> None:
    browser = lab.context.browser
    assert browser is not None
    page = browser.new_page(
        viewport={"width": width, "height": 844}, color_scheme=scheme, reduced_motion="reduce"
    )
    page.goto(f"{demo.url}/lab")
    wait_for_step(page)
    press(page, demo, "goal")
    wait_until_true(page, "document.querySelector('[data-delta]') !== null", SLOW_MS)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # Its motion is off for who asked for that: a pulse is written, not moved.
    wait_until_true(
        page, "document.querySelector('.lab-time').closest('svg').textContent.includes('+')", SLOW_MS
    )
    assert page.evaluate("document.querySelectorAll('.lab-pulse').length") == 0
    page.evaluate(axe_source())
    assert page.evaluate(RUN) == []
    page.close()


def test_the_planner_answers_a_slider_with_figures_that_have_sources(lab: Page) -> None:
    figures = "document.querySelector('[data-lab=plan-figures]').innerText"
    wait_until_true(lab, f"{figures}.includes('Stream servers')", SLOW_MS)
    before = lab.evaluate(figures)
    slider = lab.locator("[data-lab=sliders] [name=plan-viewers]")
    slider.focus()
    lab.keyboard.press("End")
    wait_until_true(lab, f"{figures} !== {json.dumps(before)}", SLOW_MS)
    assert slider.get_attribute("aria-valuetext") == "1,000,000,000"
    rows = "[...document.querySelectorAll('[data-lab=plan-constants] tr')]"
    found = lab.evaluate(f"{rows}.map((row) => row.cells[4].textContent)")
    assert len(found) > 20
    assert all(source == "editable assumption" or source.startswith("bench/results/") for source in found)
    assert lab.locator("[data-lab=plan-seed] tr").count() == 4


def test_the_simulated_final_names_where_each_hop_is_from(lab: Page) -> None:
    lab.check("[name=path][value=simulated]")
    note = "document.querySelector('[data-lab=path-note]').textContent"
    wait_until_true(lab, f"{note}.startsWith('Simulated, not run')", SLOW_MS)
    rows = lab.locator("[data-lab=hops] tr")
    assert rows.count() == 5
    assert "not given" not in lab.inner_text("[data-lab=hops]")
    lab.check("[name=path][value=measured]")
    wait_until_true(lab, "document.querySelector('[data-place=network]') !== null", SLOW_MS)


def test_buttons_and_faults_work_by_keyboard(lab: Page, demo: Demo) -> None:
    wait_for_step(lab)
    before = state(demo)["server"]["score"][0]
    lab.locator("[data-action=goal]").focus()
    lab.keyboard.press("Enter")
    for _ in range(400):
        if state(demo)["server"]["score"][0] == before + 1:
            break
        lab.wait_for_timeout(25)
    wait_for_step(lab)
    assert state(demo)["server"]["score"][0] == before + 1
    lab.locator("[data-network=mute]").focus()
    lab.keyboard.press("Space")
    wait_until_true(
        lab, "document.querySelector('[data-network=mute]').getAttribute('aria-pressed') === 'true'", SLOW_MS
    )


def listening(demo: Demo) -> bool:
    try:
        return demo.ask("state")[0] == 200
    except (OSError, json.JSONDecodeError):
        return False
