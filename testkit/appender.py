"""A process that appends until it is killed: ``python -m testkit.appender URL MATCH``.

It prints the id of an event once the log has acknowledged it, and only then.
"""

from __future__ import annotations

import itertools
import sys

from origin.eventlog import open_eventlog
from shared_state import Event

__all__ = ["main"]


def main(url: str, match_id: str) -> None:
    """Append without end."""
    log = open_eventlog(url)
    for number in itertools.count():
        event = Event(
            match_id=match_id,
            event_id=f"n{number}",
            rev=1,
            op="ADD",
            type="NOTE",
            period="H1",
            detail={"text": "Anstoß"},
        )
        log.append([event])
        print(event.event_id, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
