"""What a reader sees who stays some seconds behind, as beside a broadcast that comes late.

A delta is shown once it is as old as the delay. An event that is taken back before it was shown is never
shown: it waits, with all that came after it, until its retraction may be shown, and then neither was there.
``widget/src/spoiler-delay.js`` does the same in the browser, as the deltas come.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from shared_state.corrections import ResolvedEvent, resolve
from shared_state.match import Match, derive
from shared_state.wire import Delta

__all__ = ["DELAY_MAX_S", "Behind", "behind", "without"]

#: The longest delay, seconds. Broadcasts over the internet are 20 to 60 s late.
DELAY_MAX_S: Final = 120


class Behind(NamedTuple):
    """How far a reader with a delay has got.

    Attributes:
        length: how many of the deltas are shown.
        unseen: of these, the ``event_id`` of each event that was taken back before it was shown.
    """

    length: int
    unseen: frozenset[str]


def behind(deltas: Sequence[Delta], delay_ms: int, now_ms: int | None) -> Behind:
    """How far a reader has got.

    Args:
        deltas: all of a match from its first one on, in order.
        delay_ms: by how much the reader stays behind, milliseconds.
        now_ms: UTC milliseconds; None for when all of them are shown.
    """
    due_ms: list[int] = []
    records: dict[str, ResolvedEvent] = {}
    # Where each event that counts came to count.
    since: dict[str, int] = {}
    # Events that were taken back before they were shown, with the delta that did it; and what brought one.
    taken_back: list[tuple[str, int]] = []
    again: list[tuple[str, int]] = []
    shown: set[str] = set()
    # What waits for one another: from which delta to which.
    spans: list[tuple[int, int]] = []
    for number, delta in enumerate(deltas):
        event_id = delta.event.event_id
        known = records.get(event_id)
        record = records[event_id] = resolve(known, delta.event)
        due_ms.append(max(delta.accepted_ms + delay_ms, due_ms[-1] if due_ms else 0))
        if record.live is not None:
            if event_id not in since:
                since[event_id] = number
                again.append((event_id, number))
        elif (first := since.pop(event_id, None)) is None:
            continue  # it did not count
        elif due_ms[first] <= delta.accepted_ms:
            shown.add(event_id)
        else:
            taken_back.append((event_id, number))
            # A retraction that has to wait longer makes what it takes back wait longer, too.
            for earlier, until in reversed(spans):
                if until < first:
                    break
                first = min(first, earlier)
            spans.append((first, number))
            for waiting in range(first, number):
                due_ms[waiting] = due_ms[number]
    count = len(deltas)
    if now_ms is not None:
        while count and due_ms[count - 1] > now_ms:
            count -= 1
    state = {event_id: number for event_id, number in taken_back if number < count}
    revived = {event_id for event_id, number in again if state.get(event_id, count) < number < count}
    return Behind(count, frozenset(state.keys() - revived - shown))


def without(match: Match, unseen: Collection[str]) -> Match:
    """The match as if some of its events had never been, by ``event_id``; the same object for none."""
    if not any(event_id in match.records for event_id in unseen):
        return match
    records = {event_id: record for event_id, record in match.records.items() if event_id not in unseen}
    return derive(match.match_id, records)
