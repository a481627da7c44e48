"""An event's bytes in a log: its canonical JSON as UTF-8."""

from __future__ import annotations

from shared_state import Event
from shared_state.jsontext import canonical, parse

__all__ = ["decode_event", "encode_event"]


def encode_event(event: Event) -> bytes:
    """The canonical JSON of an event; equal events have equal bytes."""
    return canonical(event.to_json()).encode("utf-8")


def decode_event(data: bytes | str) -> Event:
    """Read what ``encode_event`` wrote.

    Raises:
        ValueError: not JSON, or (as ``InvalidEvent``) not an event.
    """
    return Event.from_json(parse(data))
