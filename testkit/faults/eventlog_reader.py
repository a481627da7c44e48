"""A reader of a group in a process of its own: ``python -m testkit.faults.eventlog_reader URL GROUP``.

It prints the id of an event once it is committed, until it is killed.
"""

from __future__ import annotations

import sys

from origin.eventlog import open_eventlog

__all__ = ["main"]


def main(url: str, group: str) -> None:
    """Read without end."""
    consumer = open_eventlog(url).consumer(group)
    while True:
        records = consumer.poll(0.5)
        consumer.commit(records)
        for record in records:
            print(record.event.event_id, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
