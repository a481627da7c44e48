"""What an origin does for its viewers, without HTTP: ``python -m testkit.faults.bus_origin URL MATCH=ID …``.

As a process it writes one line per delta, ``<match> delta <id> <delta>``, or ``<match> gap <id> -``.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from origin.bus import Bus, Gap, Published, Subscription, Suffix, open_bus
from shared_state import DeltaId

__all__ = ["follow"]


def follow(
    bus: Bus,
    match_id: str,
    after: DeltaId,
    on_delta: Callable[[Published], None],
    on_gap: Callable[[DeltaId], None],
) -> Subscription:
    """Subscribe, then replay, then drop what came twice; later deltas and gaps are passed on as they come."""
    lock = threading.Lock()
    buffered: list[Published] = []
    joined = False

    def live(published: Published) -> None:
        with lock:
            if not joined:
                buffered.append(published)
                return
        on_delta(published)

    subscription = bus.subscribe(match_id, live, on_gap)
    answer = bus.replay(match_id, after)
    with lock:
        position = after
        if isinstance(answer, Suffix):
            for published in answer.deltas:
                on_delta(published)
            position = answer.deltas[-1].id
        elif isinstance(answer, Gap) and answer.head is not None and answer.head > after:
            on_gap(answer.head)
            position = answer.head
        for published in buffered:
            if published.id > position:
                on_delta(published)
        joined = True
    return subscription


def main() -> None:
    """Follow the matches of the command line until killed."""
    url, *wanted = sys.argv[1:]
    bus = open_bus(url)
    lock = threading.Lock()

    def write(match_id: str, kind: str, id_: DeltaId, delta: bytes) -> None:
        with lock:
            sys.stdout.buffer.write(f"{match_id} {kind} {id_} ".encode() + delta + b"\n")
            sys.stdout.buffer.flush()

    for item in wanted:
        match_id, _, after = item.partition("=")
        follow(
            bus,
            match_id,
            DeltaId.parse(after),
            lambda published, match_id=match_id: write(match_id, "delta", published.id, published.delta),  # type: ignore[misc]
            lambda head, match_id=match_id: write(match_id, "gap", head, b"-"),  # type: ignore[misc]
        )
    threading.Event().wait()


if __name__ == "__main__":
    main()
