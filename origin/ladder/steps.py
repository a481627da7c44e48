"""The steps of the ladder, and the state that the workers of a region share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import msgspec

from origin.errors import OriginError
from shared_state.errors import shown

__all__ = ["REASON_MAX", "STEP_NAMES", "LadderError", "LadderState", "Step", "step_of"]

#: Characters of a reason.
REASON_MAX: Final = 200
_STATE_MAX_BYTES: Final = 4_096
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class LadderError(OriginError):
    """A step, a reason or a kept state that cannot be used; nothing was changed."""


class Step(IntEnum):
    """How far down the ladder pages are asked to go. Each step includes what those before it ask for."""

    NORMAL = 0  #: streams
    RETRY = 1  #: who loses a stream comes back over a longer time
    LONG_POLL = 2  #: pages leave their streams for long-polls, which caches merge
    POLL = 3  #: pages poll, and no connection is held
    STALE = 4  #: pages poll rarely, and what they get may be half a minute old


#: As commands and people spell them, in their order.
STEP_NAMES: Final = tuple(step.name.lower().replace("_", "-") for step in Step)


def step_of(text: str) -> Step:
    """The step of a name.

    Raises:
        LadderError: there is no such step.
    """
    if text not in STEP_NAMES:
        raise LadderError(f"step {shown(text)}: must be one of {' '.join(STEP_NAMES)}")
    return Step(STEP_NAMES.index(text))


@dataclass(frozen=True, slots=True)
class LadderState:
    """What an operator has set.

    Attributes:
        step: the step.
        reason: why, in the operator's words.
        set_ms: when, UTC milliseconds by the clock of whoever set it.
    """

    step: Step = Step.NORMAL
    reason: str = ""
    set_ms: int = 0

    def __post_init__(self) -> None:
        if len(self.reason) > REASON_MAX or _CONTROL.search(self.reason):
            raise LadderError(
                f"reason {shown(self.reason)}: at most {REASON_MAX} characters, and no control character"
            )

    @property
    def name(self) -> str:
        """The name of the step."""
        return STEP_NAMES[self.step]

    def encode(self) -> bytes:
        """The state as bytes, for ``decode``."""
        return msgspec.json.encode({"step": self.name, "reason": self.reason, "set_ms": self.set_ms})

    @classmethod
    def decode(cls, data: bytes) -> LadderState:
        """What ``encode`` wrote.

        Raises:
            LadderError: it did not write that.
        """
        if len(data) > _STATE_MAX_BYTES:
            raise LadderError(f"a state of {len(data)} bytes: at most {_STATE_MAX_BYTES}")
        try:
            found = msgspec.json.decode(data, type=_Stored)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise LadderError(f"state {shown(data.decode(errors='replace'))}: {error}") from error
        return cls(step_of(found.step), found.reason, found.set_ms)


class _Stored(msgspec.Struct):
    step: str
    reason: str = ""
    set_ms: int = 0
