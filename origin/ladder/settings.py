"""The settings of the ladder and of the canary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from origin.errors import ConfigError
from origin.ladder.steps import STEP_NAMES, LadderError, Step, step_of
from shared_state.errors import shown

__all__ = ["NAMES", "LadderSettings"]

_MAX_STEP: Final = "TOUCHLINE_LADDER_AUTO_MAX"
_FULL: Final = "TOUCHLINE_LADDER_AUTO_FULL"
_DELAY: Final = "TOUCHLINE_LADDER_AUTO_DELAY_S"
_CANARY: Final = "TOUCHLINE_CANARY_INTERVAL_S"
#: The names of the settings.
NAMES: Final = (_MAX_STEP, _FULL, _DELAY, _CANARY)
_FULL_DEFAULT: Final = 0.9
_DELAY_DEFAULT_S: Final = 1.0
_NUMBER: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderSettings:
    """What an origin does by itself.

    Attributes:
        auto_max: the furthest step that a worker takes by its own load; ``NORMAL``: it takes none.
        auto_full: from which part of its viewers a process is too full.
        auto_delay_s: from which delay its loop is too slow, seconds.
        canary_interval_s: how often the synthetic match changes, seconds; 0: there is none.
    """

    auto_max: Step = Step.NORMAL
    auto_full: float = _FULL_DEFAULT
    auto_delay_s: float = _DELAY_DEFAULT_S
    canary_interval_s: float = 0.0

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> LadderSettings:
        """Read them.

        Raises:
            ConfigError: a value cannot be used.
        """
        text = env.get(_MAX_STEP, STEP_NAMES[0])
        try:
            auto_max = step_of(text)
        except LadderError:
            raise ConfigError(f"{_MAX_STEP} {shown(text)}: must be one of {' '.join(STEP_NAMES)}") from None
        return cls(
            auto_max=auto_max,
            auto_full=_number(env, _FULL, _FULL_DEFAULT, 0.1, 1.0),
            auto_delay_s=_number(env, _DELAY, _DELAY_DEFAULT_S, 0.05, 60.0),
            canary_interval_s=_number(env, _CANARY, 0.0, 0.2, 60.0, off=True),
        )


def _number(
    env: Mapping[str, str], name: str, default: float, low: float, high: float, *, off: bool = False
) -> float:
    text = env.get(name)
    if text is None:
        return default
    value = float(text) if _NUMBER.fullmatch(text) else -1.0
    if not (low <= value <= high or (off and value == 0.0)):
        or_off = ", or 0 for none" if off else ""
        raise ConfigError(f"{name} {shown(text)}: must be a number from {low:g} to {high:g}{or_off}")
    return value
