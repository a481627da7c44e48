"""Whatever the network does: a page shows what the origin knew a moment ago, or an age that is not too young.

Networks are drawn by a seed (``testkit/faults/networks.py``); the page is a real one in a real Chromium,
and is looked at each second. ``SOAK_NETWORKS=500`` runs as many, ``SOAK_BESIDE=25`` so
many side by side (``make soak``).
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest
from playwright.sync_api import Browser, Page

from shared_state.jsontext import Json, JsonObject
from testkit.browser import launch
from testkit.faults.networks import BadNetwork, Network, Phase, drawn_network, running
from testkit.services.origin import OriginServer

SEEDS = range(int(os.environ.get("SOAK_NETWORKS", "10")))
#: Networks side by side, each a page in a context of its own.
BESIDE = int(os.environ.get("SOAK_BESIDE", "5"))
#: How long each of a network's phases is, seconds; in every tenth group longer than an old score may be live.
PHASE_S = 26.0
LONG_PHASE_S = 60.0
#: What a page may show for live although the origin knows more: seconds. Two heartbeats, and a look a second.
BROKEN_S = 45.0
#: On a good path.
GOOD_S = 2.0
#: How soon a page is right again once the network is.
RECOVERED_S = 40.0
#: The age is written in whole minutes.
READ = """() => {
  const element = document.querySelector("live-score");
  return {
    id: element.querySelector(".tl")?.dataset.id ?? "",
    connection: element.dataset.connection ?? "",
    age: element.querySelector("[data-tl-age]")?.textContent ?? "",
  };
}"""
NUMBERS = count(1)

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        yield server


@dataclass(slots=True)
class Match:
    """A match, and when each of its ids stopped being the newest."""

    server: OriginServer
    match_id: str = field(default_factory=lambda: f"net-{next(NUMBERS)}")
    seq: int = 0
    head: str = ""
    left_s: dict[str, float] = field(default_factory=dict)

    def post(self, **event: Json) -> None:
        """One event more."""
        body: JsonObject = {"match_id": self.match_id, "rev": 1, "op": "ADD", "period": "H1", **event}
        assert self.server.post(body) == 200
        self.seq += 1
        state = self.server.wait_for_seq(self.match_id, self.seq)
        if self.head:
            self.left_s[self.head] = time.monotonic()
        self.head = f"{state['epoch']}-{state['seq']}"

    def begin(self) -> None:
        """Kick-off."""
        sides = {"home": {"name": "Ayr", "code": "AYR"}, "away": {"name": "Bute", "code": "BUT"}}
        self.post(event_id="info", type="MATCH_INFO", detail=sides)
        self.post(event_id="ko", type="STATUS_CHANGE", minute=0, detail={"to": "LIVE"})

    def goal(self) -> None:
        """One goal more."""
        self.post(event_id=f"g{self.seq}", type="GOAL", minute=min(45, self.seq), team="home")

    def outdated_s(self, id_: str) -> float:
        """For how many seconds an id has not been the newest; 0 for the newest."""
        return time.monotonic() - self.left_s[id_] if id_ in self.left_s else 0.0


def told_s(age: str) -> float | None:
    """The least age in seconds that a sentence admits, exclusive of the next minute; None without one."""
    if not age:
        return None
    found = re.search(r"(\d+) (min|h) ago", age)
    return 60.0 if found is None else (int(found[1]) + 1) * (60.0 if found[2] == "min" else 3_600.0)


class Viewer:
    """One page behind one network."""

    def __init__(self, browser: Browser, network: Network, bad: BadNetwork, match: Match) -> None:
        self.network, self.bad, self.match = network, bad, match
        self.context = browser.new_context(service_workers="block")
        self.page: Page = self.context.new_page()
        self.page.add_init_script(
            f"const now = Date.now.bind(Date); Date.now = () => now() + {network.clock_skew_s * 1_000};"
            "delete globalThis.Worker;"
        )
        self.page.goto(f"{bad.url}/match/{match.match_id}")
        self.session = self.context.new_cdp_session(self.page)
        self.asleep = False
        self.woke_s = 0.0
        self.log: list[str] = []

    def enter(self, phase: Phase) -> None:
        """The network, or the reader, is another from now on."""
        self.bad.change(phase.rules)
        if phase.asleep != self.asleep:
            state = "frozen" if phase.asleep else "active"
            self.session.send("Page.setWebLifecycleState", {"state": state})
            self.woke_s = time.monotonic()
        self.asleep = phase.asleep

    def look(self) -> None:
        """Assert the property."""
        if self.asleep:
            return  # nobody reads it
        seen = self.page.evaluate(READ)
        outdated_s = self.match.outdated_s(seen["id"])
        told = told_s(seen["age"])
        self.log.append(f"{seen} {outdated_s:.1f} s behind, {self.bad.rules}")
        history = "\n".join(self.log[-60:])
        if seen["connection"] in ("open", "polling") or told is None:
            # Two seconds of grace to a page that has just woken: it must run first.
            grace_s = 2.0 if time.monotonic() - self.woke_s < 2.0 else 0.0
            assert outdated_s <= BROKEN_S or grace_s, f"an old score is shown as live:\n{history}"
        else:
            assert told >= outdated_s, f"an age that is too young:\n{history}"

    def close(self) -> None:
        """The reader goes."""
        self.context.close()


@pytest.mark.parametrize("first", SEEDS[::BESIDE])
def test_a_page_is_fresh_or_says_how_old_it_is(browser: Browser, server: OriginServer, first: int) -> None:
    """Drawn networks, side by side; in the end each becomes good, and its page right."""
    seconds = PHASE_S if first // BESIDE % 10 else LONG_PHASE_S
    networks = [drawn_network(seed, phases=2, seconds=seconds) for seed in SEEDS[first : first + BESIDE]]
    matches = [Match(server) for _ in networks]
    for match in matches:
        match.begin()
    with contextlib.ExitStack() as stack:
        viewers = []
        for network, match in zip(networks, matches, strict=True):
            viewer = Viewer(browser, network, stack.enter_context(running(server.port)), match)
            stack.callback(viewer.close)
            viewers.append(viewer)
        for step in range(len(networks[0].phases)):
            for viewer in viewers:
                viewer.enter(viewer.network.phases[step])
                viewer.match.goal()
            _watch(viewers, networks[0].phases[step].seconds)
        for viewer in viewers:
            viewer.enter(Phase(0))
            viewer.match.goal()
        right_by_s = time.monotonic() + RECOVERED_S
        while any(not _is_right(viewer) for viewer in viewers):
            assert time.monotonic() < right_by_s, "\n\n".join("\n".join(v.log[-20:]) for v in viewers)
            _watch(viewers, 1.0)
        for viewer in viewers:
            viewer.match.goal()
            acknowledged_s = time.monotonic()
            while viewer.page.evaluate(READ)["id"] != viewer.match.head:
                assert time.monotonic() < acknowledged_s + GOOD_S, "\n".join(viewer.log[-20:])
                time.sleep(0.05)


def _watch(viewers: list[Viewer], seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        for viewer in viewers:
            viewer.look()
        time.sleep(1.0)


def _is_right(viewer: Viewer) -> bool:
    seen = viewer.page.evaluate(READ)
    return bool(seen["id"] == viewer.match.head and seen["connection"] == "open" and not seen["age"])
