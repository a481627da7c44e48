"""How a record is stored: an event as its canonical JSON in UTF-8, who signed it as two texts or none."""

from __future__ import annotations

from origin.eventlog import SignedBy
from shared_state import Event
from shared_state.jsontext import canonical, parse

__all__ = ["decode_event", "encode_event", "names_of", "signed_by_of"]


def encode_event(event: Event) -> bytes:
    """The canonical JSON of an event; equal events have equal bytes."""
    return canonical(event.to_json()).encode("utf-8")


def decode_event(data: bytes | str) -> Event:
    """Read what ``encode_event`` wrote.

    Raises:
        ValueError: not JSON, or (as ``InvalidEvent``) not an event.
    """
    return Event.from_json(parse(data))


def names_of(signed_by: SignedBy | None) -> tuple[str | None, str | None]:
    """The key name and the webhook-id as they are stored; None and None for a record that nobody signed."""
    return (None, None) if signed_by is None else (signed_by.key_name, signed_by.webhook_id)


def signed_by_of(key_name: str | None, webhook_id: str | None) -> SignedBy | None:
    """Read what ``names_of`` gave; None for a record that has no key name."""
    return None if key_name is None else SignedBy(key_name, webhook_id or "")
