"""What a vendor can do to a match that is watched. Each is done while the match goes on."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from testkit.faults.vendor_chain import WAYS, Chain, Play
from testkit.services.vendor_matches import ABSURD
from testkit.worlds.regions import Outcome

__all__ = ["VENDOR_FAULTS", "Played", "VendorFault", "merged", "play_through"]

# What is no document, and the reason that its dead letter has.
GARBAGE = {
    "half": "not XML|not JSON",
    "garbage": "not XML|not JSON",
    "empty": "not XML|not JSON",
    "absurd": "is neither team|must be home or away",
    "entities": "DTDForbidden|not JSON",
    "deep": "nested too deep",
    "other": "the document has no match",
    "bomb": "may be at most",
    "notgzip": "is not gzip",
}
# Of what is pushed, "half" ends the stream, and a stranger's message is of no match that is followed.
PUSHED_GARBAGE = {"garbage": "expected an object", "unreadable": "is missing|must be", "future": "ahead"}
# What a reader must never see of it; a year alone would be found in any page's ids and hashes one day.
MARKS = ("502 Bad Gateway", ABSURD, "2099-01-01", "4070908800000", "INTERRUPTED")
DELAYED_NEWS = "updates delayed"  # the page's words for a reader who hears it


def _nothing(play: Play, scale: float) -> None:
    """No fault: what the others are compared with."""
    time.sleep(2.0 * scale)


def _garbage(play: Play, scale: float) -> None:
    """Each kind once; each is dead-lettered, once, with the reason and the match."""
    play.fail(*GARBAGE)
    wanted = list(GARBAGE.values())
    if play.pushes:
        play.fail_push(*PUSHED_GARBAGE, "stranger", "half")
        wanted += PUSHED_GARBAGE.values()
    play.wait(lambda: len(play.letters()) >= len(wanted), "the dead letters", every_s=0.3)
    time.sleep(scale)
    letters = [letter.reason for letter in play.letters()]
    assert len(letters) == len(wanted), letters
    assert all(any(re.search(pattern, letter) for letter in letters) for pattern in wanted), letters


def _twice(play: Play, scale: float) -> None:
    for _ in range(round(6 * scale)):
        play.fail("same")
        if play.pushes:
            play.fail_push("duplicate")


def _out_of_order(play: Play, scale: float) -> None:
    """Documents that are older than the last one, and messages that come after the next one."""
    for _ in range(round(6 * scale)):
        play.fail("stale")
        if play.pushes:
            play.fail_push("hold")


def _dropped(play: Play, scale: float) -> None:
    for fault in ("500", "cut", "404", "429")[: round(4 * scale) or 1]:
        play.fail(fault)
        if play.pushes:
            play.fail_push("drop")
    if play.pushes:
        play.fail_push("cut")


def _stall(play: Play, scale: float) -> None:
    """The vendor hangs, its stream too: the score stays, marked as delayed, until it goes on."""
    play.vendor.fail_push("mute")
    play.vendor.down = "stall"
    play.notes["marked after"] = play.wait(lambda: play.status == "DELAYED", "the mark")
    assert DELAYED_NEWS in play.page()
    standing = play.standing()
    time.sleep(scale)
    assert (play.status, play.standing()) == ("DELAYED", standing)
    play.vendor.heal()
    play.notes["right again after"] = play.wait(lambda: play.status != "DELAYED", "the end of the mark")
    play.wait(lambda: DELAYED_NEWS not in play.page(), "the page to say so", every_s=0.1)


def _deleted(play: Play, scale: float) -> None:
    """A goal is shown, and then taken back, the vendor's own way; it stays as one that was."""
    for _ in range(round(4 * scale)):
        ghost = play.invent()
        play.wait(lambda g=ghost: g in play.standing(), "the goal")  # type: ignore[misc]
        play.delete(ghost)
        gone_s = play.wait(lambda g=ghost: g not in play.standing(), "the goal to be gone")  # type: ignore[misc]
        play.notes["gone after"] = max(gone_s, play.notes.get("gone after", 0.0))
        assert play.viewer is not None
        assert ghost in {event.event_id for event, _ in play.viewer.match.retracted()}


def _deleted_while_killed(play: Play, scale: float) -> None:
    ghost = play.invent()
    play.wait(lambda: ghost in play.standing(), "the goal")
    assert play.worker is not None
    play.worker.kill()
    play.delete(ghost)
    time.sleep(scale)
    play.start_worker()
    play.notes["gone after the start"] = play.wait(lambda: ghost not in play.standing(), "it to be gone")


def _all_at_random(play: Play, scale: float) -> None:
    draw = random.Random(f"2018 {play.way}")
    faults = [*GARBAGE, "same", "stale", "500", "cut", "redirect", "loop"]
    pushed = [*PUSHED_GARBAGE, "drop", "duplicate", "hold", "stranger", "half", "cut"]
    for _ in range(round(12 * scale)):
        what = draw.choice(("fail", "fail", "push", "ghost", "kill"))
        if what == "push" and play.pushes:
            play.fail_push(draw.choice(pushed))
        elif what == "ghost":
            play.delete(play.invent())
        elif what == "kill":
            play.restart_worker()
        else:
            play.fail(draw.choice(faults))


@dataclass(frozen=True)
class VendorFault:
    """One row of the table.

    Attributes:
        inject: takes a factor for how long it lasts.
        silence_s: after which a match is marked as delayed.
        letters: whether it leaves any; it looks at them itself.
    """

    name: str
    inject: Callable[[Play, float], None]
    silence_s: float = 60.0
    letters: bool = False


VENDOR_FAULTS = (
    VendorFault("none", _nothing),
    VendorFault("garbage for documents and messages, of twelve kinds", _garbage, letters=True),
    VendorFault("documents and messages twice", _twice),
    VendorFault("documents and messages out of order", _out_of_order),
    VendorFault("polls and messages dropped", _dropped),
    VendorFault("the vendor hangs, and goes on", _stall, silence_s=1.5),
    VendorFault("goals deleted", _deleted),
    VendorFault("ingest killed with -9, a goal deleted meanwhile", _deleted_while_killed),
    VendorFault("all of these at random", _all_at_random, letters=True),
)


@dataclass(frozen=True)
class Played:
    """What came of a fault on one way.

    Attributes:
        notes: seconds, by what they were measured of.
        shown: what the viewer was told, or could read, that no good document ever said; and what was set
            aside without being garbage.
    """

    outcome: Outcome
    notes: dict[str, float]
    shown: list[str]


def play_through(fault: VendorFault, chain: Chain, scale: float = 0.5) -> dict[str, Played]:
    """The fault on each way, at once; by the way's name."""

    def one(way: str) -> Played:
        with Play(chain, way, silence_s=fault.silence_s, seed=len(way)) as play:
            time.sleep(0.5)
            fault.inject(play, scale)
            outcome = play.settle()
            assert play.viewer is not None
            told = [play.page(), *(published.delta.decode() for _, published in play.viewer.told)]
            shown = [text[:200] for text in told if any(mark in text for mark in MARKS)] + play.strange()
            letters = play.letters()
            chain.discard(letters)
            shown += [] if fault.letters else [letter.reason for letter in letters]
            shown += [number for number in play.strangers() if chain.origin.status(f"/match/{number}") != 404]
            return Played(outcome, play.notes, shown)

    with ThreadPoolExecutor(len(WAYS)) as pool:
        return dict(zip(WAYS, pool.map(one, WAYS), strict=True))


def merged(played: dict[str, Played]) -> Outcome:
    """One row of the table: the worst of all ways."""
    outcomes = [one.outcome for one in played.values()]
    return Outcome(
        gap_s=max(one.gap_s for one in outcomes),
        deltas=sum(one.deltas for one in outcomes),
        lost=sum(one.lost for one in outcomes),
        twice=sum(one.twice for one in outcomes),
        gaps=sum(one.gaps for one in outcomes),
        equal=all(one.equal for one in outcomes),
        same=all(one.same for one in outcomes),
    )
