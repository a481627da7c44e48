"""Where a delta comes from, for log lines and traces: beside it on the bus, and never sent to a viewer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from origin.logs import StructuredLogger

__all__ = ["Provenance", "log_deltas"]

# A webhook-id has at most 256 characters, a key's name 32; whoever can write to the bus may write more.
_BYTES_MAX: Final = 1_024


class Provenance(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who brought the event of a delta, and the trace that it belongs to.

    Attributes:
        webhook_id: of the delivery; empty for none.
        key_name: of the ingest key that signed it, or of the feed that brought it; empty for none.
        traceparent: of the last step that the trace has, as W3C Trace Context writes it; empty for none.
    """

    webhook_id: str = msgspec.field(default="", name="w")
    key_name: str = msgspec.field(default="", name="k")
    traceparent: str = msgspec.field(default="", name="t")

    def encode(self) -> bytes:
        """As compact JSON, for the bus."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Provenance | None:
        """Read what ``encode`` wrote; None if it is not that: a log line is not worth a lost delta."""
        if len(data) > _BYTES_MAX:
            return None
        try:
            return _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def fields(self) -> dict[str, str]:
        """What a log line says of it; nothing of what is not known."""
        known = {
            "webhook_id": self.webhook_id,
            "key_name": self.key_name,
            # 00-<trace id>-<span id>-<flags>
            "trace_id": self.traceparent[3:35],
        }
        return {name: value for name, value in known.items() if value}


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Provenance)


class _Delta(Protocol):
    @property
    def id(self) -> object:
        """Its id."""

    @property
    def provenance(self) -> Provenance | None:
        """Where it comes from."""


def log_deltas(
    logger: StructuredLogger, event: str, match_id: str, deltas: Iterable[_Delta], **more: object
) -> None:
    """Log one line for each delta, with its id and where it comes from, at level ``info``.

    Whoever is in a hurry asks ``isEnabledFor`` of the logger of the same name first.

    Args:
        logger: of the module in which it happened.
        event: what happened, as a constant text to search for.
        match_id: the match.
        deltas: one line each.
        more: further fields of each line.
    """
    for delta in deltas:
        provenance = delta.provenance
        known = {} if provenance is None else provenance.fields()
        logger.info(event, match_id=match_id, delta_id=str(delta.id), **known, **more)
