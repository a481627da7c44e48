"""The words about late news appear when the clock reaches their moment, and go when there is news."""

from __future__ import annotations

from testkit.built_widget import run_node

PLACE = """
import { showDelayed } from "./delayed.js";
const attributes = new Map([["data-tl-until", "1000"], ["hidden", ""]]);
let touched = 0;
const words = {
  getAttribute: (name) => attributes.get(name) ?? null,
  hasAttribute: (name) => attributes.has(name),
  toggleAttribute: (name, on) => { touched += 1; on ? attributes.set(name, "") : attributes.delete(name); },
};
const place = { querySelectorAll: (asked) => (asked === "[data-tl-until]" ? [words] : []) };
const seen = [];
for (const now of [999, 1000, 5000, 999]) { showDelayed(place, now); seen.push(attributes.has("hidden")); }
print({ seen, touched });
"""


def test_the_words_are_shown_from_their_moment_on_and_touched_only_when_that_changes() -> None:
    assert run_node(PLACE) == {"seen": [True, False, False, True], "touched": 2}
