"""How many edits of a feed without ids are recognised: ``python -m bench.matching [MATCHES]``.

Drawn matches are read document by document. An edit is classified right where the event that the row had is
amended or taken back, as that edit demands. Also counted: matches that end with the truth.
"""

from __future__ import annotations

import sys
from collections import Counter
from random import Random

from bench.results import RESULTS, keep
from origin.feeds.matching import MatchingFeed
from origin.feeds.pairing import words
from shared_state import Event, fold
from testkit.vendor_simulator_anonymous import EDITS, MATCH_ID, AnonymousStory

# What a viewer should see of each edit: the operation on the event that was edited.
EXPECTED = {"deletion": "RETRACT", "deletion and another goal": "RETRACT", "var": "RETRACT"}


def measure(matches: int, seed: int = 14) -> dict[str, dict[str, int]]:
    """Edits, and those that were classified right, by kind; matches, and those that end with the truth."""
    draw = Random(seed)
    edits: Counter[str] = Counter()
    right: Counter[str] = Counter()
    true = 0
    for _ in range(matches):
        story = AnonymousStory(draw)
        feed = MatchingFeed(MATCH_ID, lambda _: None)
        ids: dict[int, str] = {}
        events: list[Event] = []
        waiting: list[tuple[str, int]] = []
        for reading in story.readings:
            shown = feed.take(reading.document)
            events += shown
            changed = {event.event_id: event.op for event in shown if event.op != "ADD"}
            if reading.edit is not None and reading.subject in ids:
                waiting.append((reading.edit, reading.subject))
                edits[reading.edit] += 1
            for edit, subject in list(waiting):
                if changed.get(ids[subject]) == EXPECTED.get(edit, "AMEND"):
                    right[edit] += 1
                    waiting.remove((edit, subject))
            if not reading.cached:
                live = {words(event): event.event_id for event in fold(MATCH_ID, events).events()}
                for number, event in zip(reading.numbers, reading.document.events, strict=True):
                    if number not in ids and words(event) in live:
                        ids[number] = live[words(event)]
        ends = Counter(words(event) for event in fold(MATCH_ID, events).events())
        true += ends == Counter(words(event) for event in story.truth())
    table = {kind: {"edits": edits[kind], "right": right[kind]} for kind in EDITS}
    return table | {"matches": {"edits": matches, "right": true}}


def main() -> None:
    """Measure, print and keep."""
    matches = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    table = measure(matches)
    for kind, row in table.items():
        share = 100 * row["right"] / max(1, row["edits"])
        print(f"{kind:28} {row['right']:>8} of {row['edits']:>8}  {share:.2f} %")
    keep("matching", {"matches": matches, "by_kind": table})
    title = f"## Edits of a feed without ids, {matches} matches"
    lines = [title, "", f"`python -m bench.matching {matches}`", ""]
    lines += ["| edit | made | classified right |", "|---|--:|--:|"]
    for kind, row in table.items():
        name = "matches that end with the truth" if kind == "matches" else kind
        share = 100 * row["right"] / max(1, row["edits"])
        lines.append(f"| {name} | {row['edits']} | {share:.2f} % |")
    (RESULTS / "matching.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
