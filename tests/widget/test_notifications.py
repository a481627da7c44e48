"""What a page's script hears of a match: once, in order, and only of what came after the page."""

from __future__ import annotations

from shared_state.jsontext import Json
from testkit.built_widget import run_node

PRELUDE = """
    import { Notifications } from "./notifications.js";
    const kept = new Notifications(() => null);
    const goal = (seq, eventId = `g${seq}`) => ({ type: "goal", id: `5-${seq}`, eventId });
    const what = "goal_ruled_out";
    const ruledOut = (seq, eventId) => ({ type: "correction", what, id: `5-${seq}`, eventId });
    const seqs = (list) => list.map(({ id }) => Number(id.split("-")[1]));
"""


def told(script: str) -> Json:
    return run_node(PRELUDE + script)


def test_each_is_given_once_and_in_order() -> None:
    script = """
        kept.add([goal(10), goal(3)]);
        kept.add([goal(4), goal(3)]);
        print([
          seqs(kept.take("5-2", "5-4", false)),
          seqs(kept.take("5-2", "5-4", false)),
          seqs(kept.take("5-4", "5-12", false)),
        ]);
    """
    assert told(script) == [[3, 4], [], [10]]


def test_what_is_there_at_load_is_no_news() -> None:
    script = """
        kept.add([goal(1), goal(2), goal(3)]);
        print([seqs(kept.take("", "5-2", false)), seqs(kept.take("5-2", "5-3", false))]);
    """
    assert told(script) == [[], [3]]


def test_a_goal_that_was_taken_back_within_the_delay_has_never_been_there() -> None:
    script = """
        kept.add([goal(1, "a"), goal(2, "b"), ruledOut(3, "a"), { type: "status", id: "5-4", eventId: "a" }]);
        const both = [seqs(kept.take("5-0", "5-4", true))];
        kept.add([ruledOut(5, "b")]); // it was seen
        print([...both, seqs(kept.take("5-4", "5-5", true))]);
    """
    assert told(script) == [[2, 4], [5]]


def test_without_a_delay_both_are_told() -> None:
    assert told(
        'kept.add([goal(1, "a"), ruledOut(2, "a")]); print(seqs(kept.take("5-0", "5-2", false)));'
    ) == [1, 2]


def test_only_fragments_that_may_say_something_are_fetched() -> None:
    script = """
        const delta = (seq, delta) => ({ id: `5-${seq}`, data: JSON.stringify(delta) });
        kept.add([goal(4)]);
        print([
          kept.unread("5-1", "5-9", [
            delta(2, { t: "SUBSTITUTION" }), delta(3, { t: "GOAL" }), delta(4, { t: "GOAL" }),
            delta(5, { o: "RETRACT" }), delta(6, { t: "YELLOW_CARD", o: "AMEND" }),
            delta(7, { t: "STATUS_CHANGE" }),
          ]),
          kept.unread("4-1", "5-9", []),
          kept.unread("5-1", "5-1", []),
          kept.unread("5-1", "5-500", []).length,
        ]);
    """
    assert told(script) == [["5-8", "5-3", "5-5", "5-6", "5-7"], [], [], 8]
