"""The browser's spoiler delay holds what the server's rule holds, delta by delta."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

from shared_state import Delta, Event, Replica, encode_delta
from shared_state.jsontext import Json
from shared_state.spoiler_delay import behind
from testkit.built_widget import run_node
from tests.events_by_hand import MATCH_ID

EPOCH = 1_700_000_000_000
UNTIL_MS = 160


def history(seed: int) -> list[Delta]:
    """Goals that come, are changed, are taken back and come again, each after a while."""
    chosen, at_ms = random.Random(seed), 0
    revs = dict.fromkeys("abcd", 0)
    replica, deltas = Replica.begin(MATCH_ID, EPOCH), []
    for _ in range(chosen.randint(2, 14)):
        at_ms += chosen.choice([0, 1, 5, 9, 10, 11, 30])
        event_id = chosen.choice("abcd")
        revs[event_id] += 1
        op = chosen.choice(["ADD", "AMEND", "RETRACT"])
        fields: dict[str, Any] = {"match_id": MATCH_ID, "event_id": event_id, "rev": revs[event_id], "op": op}
        if op != "RETRACT":
            fields |= {"type": "GOAL", "period": "H1", "minute": 1, "team": "home", "player": f"P{at_ms}"}
        deltas.append(replica.assign(Event.from_json(fields), EPOCH + at_ms))
    return [delta for delta in deltas if delta is not None]


def read_of(delta: Delta) -> Json:
    return {name: value for name, value in json.loads(encode_delta(delta)).items() if name in "eor"}


def test_what_is_held_is_what_the_server_would_not_show() -> None:
    cases = [(history(seed), (1, 10, 25)[seed % 3]) for seed in range(300)]
    # Only what is read of a delta: the argument of a process has an end.
    given: Json = [
        [[[d.accepted_ms - EPOCH, read_of(d)] for d in deltas], delay_ms] for deltas, delay_ms in cases
    ]
    script = """
        import { Holding } from "./spoiler-delay.js";
        print(input.map(([deltas, delayMs]) => {
          const holding = new Holding((at) => at + delayMs, () => false);
          const counts = [];
          let count = 0;
          for (let now = 0, next = 0; now <= UNTIL; now++) {
            count += holding.release(now).length;
            for (; next < deltas.length && deltas[next][0] <= now; next++) holding.add(...deltas[next]);
            count += holding.release(now).length;
            counts.push(count);
          }
          return counts;
        }));
    """.replace("UNTIL", str(UNTIL_MS))
    counts = run_node(script, given)
    assert isinstance(counts, list)
    held_together = 0
    for (deltas, delay_ms), of_case in zip(cases, counts, strict=True):
        expected = [
            behind([d for d in deltas if d.accepted_ms <= EPOCH + ms], delay_ms, EPOCH + ms).length
            for ms in range(UNTIL_MS + 1)
        ]
        assert of_case == expected
        held_together += any(later - earlier > 1 for earlier, later in pairwise(expected))
    assert held_together > 50, "there is something to hold"


def test_what_came_and_went_within_one_release_is_not_asked_for() -> None:
    script = """
        import { neverShown } from "./spoiler-delay.js";
        const ids = (changes, countsAlready) =>
          [...neverShown(changes.map(
            (data, n) => ({ id: `5-${n + 1}`, data: JSON.stringify(data) })), countsAlready)];
        const [add, amend, gone] = [{ e: "g" }, { e: "g", o: "AMEND", r: 2 }, { e: "g", o: "RETRACT", r: 3 }];
        const card = { e: "c" };
        print([
          ids([card, add, amend, gone], () => false),
          ids([card, amend, gone], () => true), // it was on the board
          ids([add, gone, { e: "g", o: "AMEND", r: 4 }], () => false), // and came again
          ids([add, { e: "g", o: "RETRACT" }, card], () => false), // of the same revision
        ]);
    """
    assert run_node(script) == [["5-2", "5-3", "5-4"], [], ["5-1", "5-2"], ["5-1", "5-2"]]


DELAYED = """
    const { SpoilerDelay } = await import("./spoiler-delay.js");
    const released = [], confirmed = [], adopted = [];
    let reached = "5-1", asked = 0;
    const clock = { known: true, get nowMs() { return performance.now() + 1_000_000; } };
    const reader = {
      release: ({ event, id }) => released.push(`${event} ${id}`),
      confirm: () => confirmed.push(1),
      reached: () => reached,
      isOnBoard: () => false,
      ask: async () => (asked++, { id: input ?? "5-9", text: "" }),
      adopt: ({ id }) => (adopted.push(id), (reached = id)),
    };
    const delay = new SpoilerDelay(300, clock, reader);
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const score = (id, agoMs, more = {}) => {
      const delta = { e: id, a: clock.nowMs - agoMs - 5, ...more };
      delay.onFrame({ event: "score", id, data: JSON.stringify(delta) });
    };
"""


def test_a_delta_that_was_late_on_its_way_does_not_wait_twice() -> None:
    script = """
        score("5-2", 10_000);
        const atOnce = [...released];
        score("5-3", 0);
        delay.onFrame({ event: "end", id: "", data: '{"reason":"ended"}' });
        const held = [...released];
        await pause(600);
        print([atOnce, held, released]);
    """
    assert run_node(DELAYED + script) == [
        ["score 5-2"],
        ["score 5-2"],
        ["score 5-2", "score 5-3", "end "],
    ]


def test_without_the_servers_clock_an_update_waits_from_when_it_came() -> None:
    script = """
        clock.known = false;
        Object.defineProperty(clock, "nowMs", { value: 0 });
        delay.onFrame({ event: "score", id: "5-2", data: '{"e":"x"}' });
        const held = released.length;
        await pause(600);
        print([held, released]);
    """
    assert run_node(DELAYED + script) == [0, ["score 5-2"]]


def test_a_gap_is_filled_by_what_the_server_showed_then() -> None:
    script = """
        delay.onFrame({ event: "gap", id: "5-9", data: "" });
        const atOnce = [...released];
        await pause(50);
        delay.onFrame({ event: "heartbeat", id: "5-9", data: "", serverMs: clock.nowMs });
        print([atOnce, adopted, released, asked, confirmed.length]);
        process.exit();
    """
    assert run_node(DELAYED + script) == [[], ["5-9"], [], 1, 1]


def test_the_state_of_then_is_asked_for_until_it_has_come_to_the_gap() -> None:
    script = """
        delay.onFrame({ event: "gap", id: "5-9", data: "" });
        await pause(50);
        print([adopted, asked]);
        process.exit();
    """
    assert run_node(DELAYED + script, "5-4") == [["5-4"], 1]
