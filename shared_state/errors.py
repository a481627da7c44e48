"""Everything ``shared_state`` raises.

SharedStateError
├── InvalidEvent     an event that breaks the contract of docs/protocol.md section 1
└── WireError        bytes that are not a delta, a snapshot or an id of docs/protocol.md section 3

Each carries a stable ``code`` for programs and the offending value for people. Any other exception
out of this package is a bug in it.
"""

from __future__ import annotations

__all__ = ["InvalidEvent", "SharedStateError", "WireError", "shown"]

SHOWN_VALUE_MAX_CHARS = 80  # enough to recognise a value, too little to flood a log line


def shown(value: object) -> str:
    """``repr`` of a value, cut to a length that fits an error line and safe to encode as UTF-8."""
    try:
        text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    except (RecursionError, ValueError):  # nested too deep, or an integer of thousands of digits
        text = f"a {type(value).__name__} too large to show"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= SHOWN_VALUE_MAX_CHARS else text[: SHOWN_VALUE_MAX_CHARS - 1] + "…"


class SharedStateError(ValueError):
    """The root: ``code`` is stable, ``str()`` is one line that names the offending value."""

    code = "shared_state_error"


class InvalidEvent(SharedStateError):
    """An event breaks the contract.

    Attributes:
        field: the dotted name of the field at fault, for example ``detail.scored``.
        value: what was there; ``None`` when it was missing.
        requirement: what should have been there.
    """

    code = "invalid_event"

    def __init__(self, field: str, value: object, requirement: str) -> None:
        super().__init__(f"{field}: {requirement}, got {shown(value)}")
        self.field = field
        self.value = value
        self.requirement = requirement


class WireError(SharedStateError):
    """Bytes off the wire that are not what they should be.

    Attributes:
        value: the part that could not be read.
    """

    code = "wire_error"

    def __init__(self, message: str, value: object) -> None:
        super().__init__(f"{message}, got {shown(value)}")
        self.value = value
