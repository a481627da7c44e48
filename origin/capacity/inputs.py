"""What a plan is made for: an audience, the machines that there are, and the constants of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final, NamedTuple

from origin.capacity.constants import Constant, InvalidInput, constants, with_changes
from origin.capacity.stream_tier import VIEWERS_MAX
from shared_state.jsontext import JsonObject

__all__ = ["BOUNDS", "Between", "Inputs"]


class Between(NamedTuple):
    """The least and the greatest value of an input."""

    low: float
    high: float


BOUNDS: Final[Mapping[str, Between]] = {
    "viewers": Between(1, VIEWERS_MAX),
    "regions": Between(1, 1_000),
    "matches": Between(1, 100_000),
    "deltas_per_match": Between(1, 100_000),
    "cached_share": Between(0, 1),
    "within_ms": Between(1, 60_000),
    "cores": Between(1, 4_096),
    "open_files": Between(1, 2**31),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a plan is made for.

    Attributes:
        viewers: connected at the same time, all to be reached by the same goal.
        regions: each with its own fan-out, Redis and stream tier; viewers are spread evenly over them.
        matches: live at the same time.
        deltas_per_match: over the whole match.
        cached_share: of the viewers, those who long-poll through caches; the others have a stream.
        tls: whether the machines of the stream tier end TLS too.
        within_ms: from the post of an event to the last viewer with a stream, without the network.
        cores: of one machine.
        open_files: the hard limit of one process.
        constants: everything else, by name.
    """

    viewers: int = 1_000_000
    regions: int = 3
    matches: int = 30
    deltas_per_match: int = 150
    cached_share: float = 0.0
    tls: bool = False
    within_ms: int = 500
    cores: int = 8
    open_files: int = 1_048_576
    constants: Mapping[str, Constant] = field(default_factory=constants)

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            whole = name != "cached_share"
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise InvalidInput(f"{name}: {value!r} is no {'whole ' if whole else ''}number")
            if not low <= value <= high:
                raise InvalidInput(f"{name}: {value!r} is not between {low:,} and {high:,}")
        if not isinstance(self.tls, bool):
            raise InvalidInput(f"tls: {self.tls!r} is neither true nor false")

    @classmethod
    def from_json(cls, given: object) -> Inputs:
        """Inputs from an object of some or all of the fields; ``constants`` has values by name.

        Raises:
            InvalidInput: a name or a value is none that there is.
        """
        if not isinstance(given, Mapping):
            raise InvalidInput(f"inputs: {given!r} is no object")
        known = {one.name for one in fields(cls)}
        for name in given:
            if name not in known:
                raise InvalidInput(f"input {name!r}: there is none of that name")
        changes = given.get("constants", {})
        if not isinstance(changes, Mapping):
            raise InvalidInput(f"constants: {changes!r} is no object")
        return cls(**{**given, "constants": with_changes(changes)})

    def to_json(self) -> JsonObject:
        """All fields; constants with unit, source and meaning."""
        plain = {name: getattr(self, name) for name in (*BOUNDS, "tls")}
        return {**plain, "constants": {name: one.to_json() for name, one in self.constants.items()}}

    def value(self, name: str) -> float:
        """One constant."""
        return self.constants[name].value
