"""Whatever the network does: a page shows what the origin knew a moment ago, or an age that is not too young.

Networks are drawn by a seed (``testkit/faults/networks.py``); the page is a real one in a real Chromium, and
is looked at each second. ``SOAK_NETWORKS=500`` runs as many, ``SOAK_BESIDE=25`` so many side by side (``make
soak``), ``SOAK_FIRST=100`` begins with another seed, and ``SOAK_SEED=17`` runs that network alone.

What a starved machine costs is measured beside, and exactly that is allowed: how late the page's own timers
run, and how long a plain client waits for the same answer. The truth is read before the page is, so a look
that takes long blames nobody. Decision 69 lists mutations of the client and what fails for each.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, groupby

import pytest
from playwright.sync_api import Browser, CDPSession, Error, Page

from shared_state import DeltaId
from shared_state.jsontext import Json, JsonObject
from testkit.faults.networks import BadNetwork, Network, Phase, drawn_network, running
from testkit.services.origin import OriginServer

FIRST = int(os.environ.get("SOAK_SEED") or os.environ.get("SOAK_FIRST", "0"))
NETWORKS = 1 if os.environ.get("SOAK_SEED") else int(os.environ.get("SOAK_NETWORKS", "10"))
SEEDS = range(FIRST, FIRST + NETWORKS)
#: Networks side by side, each a page in a context of its own.
BESIDE = int(os.environ.get("SOAK_BESIDE", "10"))
#: What a page may show for live although the origin knows more: seconds. Two heartbeats, and a look a second.
BROKEN_S = 45.0
#: On a good path.
GOOD_S = 2.0
#: A page that was just loaded has a second to connect before it says how old it is, and a tick to say so.
LOADED_S = 2.0
#: How soon a page is right again once the network is, and by a stream: one that was blocked is tried rarely.
RECOVERED_S = 40.0
STREAMED_S = 65.0
#: The page's own timers. ``late``: by how many milliseconds the last or the present one runs late; ``lost``:
#: all of that since the page was loaded.
PROBE = """
  const now = performance.now.bind(performance);
  const probe = (globalThis.probe = { at: now(), late: 0, lost: 0, loaded: now() });
  const beat = () => {
    probe.late = Math.max(0, now() - probe.at - 500);
    probe.lost += probe.late;
    probe.at = now();
  };
  setInterval(beat, 500);
  document.addEventListener("resume", () => (probe.at = now()));
"""
CLOCK = """
  const date = Date.now.bind(Date);
  globalThis.skewMs = %d;
  Date.now = () => date() + skewMs;
  delete globalThis.Worker;
"""
#: The age is written in whole minutes.
READ = """() => {
  const element = document.querySelector("live-score");
  const { at = 0, late = 0, lost = 0, loaded = 0 } = globalThis.probe ?? {};
  const waiting = Math.max(0, performance.now() - at - 500);
  return {
    id: element?.querySelector(".tl")?.dataset.id ?? "",
    connection: element?.dataset.connection ?? "",
    age: element?.querySelector("[data-tl-age]")?.textContent ?? "",
    late: Math.max(late, waiting) / 1000,
    lost: (lost + waiting) / 1000,
    loaded: (performance.now() - loaded) / 1000,
  };
}"""
NUMBERS = count(1)

pytestmark = [pytest.mark.browser, pytest.mark.services]


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


def told_s(age: str) -> float | None:
    """The least age in seconds that a sentence excludes; None without one, infinite without an age in it."""
    if not age:
        return None
    if found := re.search(r"(\d+) (min|h) ago", age):
        return (int(found[1]) + 1) * (60.0 if found[2] == "min" else 3_600.0)
    return 60.0 if "ago" in age else float("inf")


@dataclass(slots=True)
class Seen:
    """What a page showed at one look, and what was true then."""

    at_s: float
    id: str
    connection: str
    age: str
    late_s: float
    lost_s: float
    loaded_s: float
    outdated_s: float

    @property
    def is_live(self) -> bool:
        """Whether a reader takes it for what is now."""
        return self.connection in ("open", "polling") or not self.age

    def fault(self, before: Seen | None) -> str:
        """What is wrong with it; "" if nothing is."""
        if not self.id or self.loaded_s < LOADED_S:
            return ""
        if before and DeltaId.parse(self.id) < DeltaId.parse(before.id):
            return f"it went back from {before.id}"
        if self.is_live:
            return "an old score is shown as live" if self.outdated_s > BROKEN_S + self.late_s else ""
        told = told_s(self.age) or 0.0
        return "the age is too young" if told < self.outdated_s - self.late_s else ""


class Viewer:
    """One page behind one network."""

    def __init__(self, browser: Browser, network: Network, bad: BadNetwork, match: Match) -> None:
        self.network, self.bad, self.match = network, bad, match
        self.context = browser.new_context(service_workers="block")
        self.page: Page = self.context.new_page()
        self.page.add_init_script(PROBE + CLOCK % (network.clock_skew_s * 1_000))
        self.session: CDPSession = self.context.new_cdp_session(self.page)
        self.began_s = time.monotonic()
        self.asleep = False
        self.fault = ""
        self.step = -1
        self.until_s = 0.0
        self.seen: list[Seen] = []
        self.phases: list[tuple[float, str]] = []
        self._set_s = 0

    def load(self) -> None:
        """The reader comes, or comes again."""
        self.page.goto(f"{self.bad.url}/match/{self.match.match_id}", wait_until="commit", timeout=30_000)

    def advance(self) -> None:
        """Enter the next phase once the present one is over; a goal comes with each."""
        if self.is_through or time.monotonic() < self.until_s:
            return
        self.step += 1
        self.enter(self.network.phases[self.step])
        if self.step == 0:
            self.load()
        self.match.goal()

    @property
    def is_through(self) -> bool:
        """Whether the last phase is over."""
        return self.step + 1 == len(self.network.phases) and time.monotonic() >= self.until_s

    def enter(self, phase: Phase) -> None:
        """The network, or the reader, is another from now on."""
        self.phases.append((time.monotonic() - self.began_s, str(phase)))
        self.until_s = time.monotonic() + phase.seconds
        self.bad.change(phase.rules, silent=phase.silent)
        if phase.asleep != self.asleep:
            state = "frozen" if phase.asleep else "active"
            self.session.send("Page.setWebLifecycleState", {"state": state})
        self.asleep = phase.asleep
        if phase.set_s:
            self._set_s += phase.set_s
            self.page.evaluate(f"skewMs += {phase.set_s * 1_000}")
        if phase.reloaded:
            self.load()
            self.page.evaluate(f"skewMs += {self._set_s * 1_000}")

    def look(self) -> Seen:
        """What it shows now; a fault stays."""
        left_s, before_s = dict(self.match.left_s), time.monotonic()
        read = self.page.evaluate(READ)
        seen = Seen(
            at_s=before_s - self.began_s,
            id=read["id"],
            connection=read["connection"],
            age=read["age"],
            late_s=read["late"],
            lost_s=read["lost"],
            loaded_s=read["loaded"],
            outdated_s=before_s - left_s[read["id"]] if read["id"] in left_s else 0.0,
        )
        before = self.seen[-1] if self.seen and self.seen[-1].loaded_s < seen.loaded_s else None
        if not self.fault and (fault := seen.fault(before if before and before.id else None)):
            self.fault = f"{fault} at {seen.at_s:.1f} s: {seen}"
        if seen.id:
            self.seen.append(seen)
        return seen

    def lost_s(self) -> float:
        """How much time the page's own timers have lost since it was loaded."""
        return float(self.page.evaluate(READ)["lost"])

    def report(self) -> str:
        """The network, what the page showed when, and what it asked for."""
        lines = [f"{self.network}; SOAK_SEED={self.network.seed} runs it alone: {self.fault}"]
        timeline = [(at_s, f"--- {phase}") for at_s, phase in self.phases]
        for _, group in groupby(self.seen, lambda seen: (seen.id, seen.connection, seen.age)):
            run = list(group)
            first, last = run[0], run[-1]
            late_s = max(seen.late_s for seen in run)
            behind = f"{first.outdated_s:.1f} to {last.outdated_s:.1f} s behind"
            shown = f"{first.id.split('-')[1]} {first.connection} {first.age or 'no age'}"
            timeline.append(
                (first.at_s, f"to {last.at_s:.1f} s shows {shown}; {behind}, late by {late_s:.1f} s")
            )
        for at_s, path, behaviour in self.bad.seen[-60:]:
            timeline.append((at_s - self.began_s, f"    asks {path[:90]}: {behaviour.value}"))
        return "\n".join([*lines, *(f"{at_s:7.1f} s {what}" for at_s, what in sorted(timeline))])

    def close(self) -> None:
        """The reader goes."""
        with contextlib.suppress(Error):
            self.context.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", SEEDS[::BESIDE])
def test_a_page_is_fresh_or_says_how_old_it_is(browser: Browser, server: OriginServer, first: int) -> None:
    """Drawn networks, side by side; in the end each becomes good, and its page right."""
    with contextlib.ExitStack() as stack:
        viewers = []
        for seed in range(first, min(first + BESIDE, SEEDS.stop)):
            match = Match(server)
            match.begin()
            network = drawn_network(seed)
            viewer = Viewer(browser, network, stack.enter_context(running(server.port)), match)
            stack.callback(viewer.close)
            viewers.append(viewer)
        while any(not viewer.is_through for viewer in viewers):
            _watch(viewers)
        for viewer in viewers:
            viewer.enter(Phase(0))
            viewer.match.goal()
        _recover(viewers)
        for viewer in viewers:
            if not viewer.fault:
                _is_told_at_once(viewer)
        faults = [viewer.report() for viewer in viewers if viewer.fault]
    assert not faults, "\n\n".join(faults)


def _watch(viewers: Sequence[Viewer]) -> None:
    """One look at each, and what is due."""
    began_s = time.monotonic()
    for viewer in viewers:
        viewer.advance()
        if not viewer.asleep:  # nobody reads it
            viewer.look()
    time.sleep(max(0.0, began_s + 1.0 - time.monotonic()))


def _recover(viewers: Sequence[Viewer]) -> None:
    """Wait until each page is right, and then until it has a stream."""
    began_s = time.monotonic()
    lost_s = {viewer.match.match_id: viewer.lost_s() for viewer in viewers}
    waiting = list(viewers)
    while waiting:
        for viewer in list(waiting):
            seen = viewer.look()
            took_s = time.monotonic() - began_s - max(0.0, seen.lost_s - lost_s[viewer.match.match_id])
            is_right = seen.id == viewer.match.head and seen.is_live and not seen.age
            if viewer.fault or (is_right and seen.connection == "open"):
                waiting.remove(viewer)
            elif took_s > (STREAMED_S if is_right else RECOVERED_S):
                viewer.fault = f"not right again {took_s:.1f} s after the network is: {seen}"
        time.sleep(0.5)


def _is_told_at_once(viewer: Viewer) -> None:
    """On a good path a goal is there within two seconds, and what a plain client needs for the same."""
    lost_s = viewer.lost_s()
    viewer.match.goal()
    began_s = time.monotonic()
    url = f"{viewer.bad.url}/match/{viewer.match.match_id}"
    for _ in range(2):  # the stream's frame, and the fragment
        with urllib.request.urlopen(f"{url}/fragment/{viewer.match.head}", timeout=60) as answer:
            answer.read()
    plain_s = time.monotonic() - began_s
    while True:
        at_s = time.monotonic()
        seen = viewer.look()
        if seen.id == viewer.match.head or viewer.fault:
            return
        late_s = max(0.0, seen.lost_s - lost_s)
        if at_s - began_s > GOOD_S + plain_s + late_s:
            viewer.fault = f"a goal is not there after {at_s - began_s:.1f} s on a good path"
        time.sleep(0.05)
