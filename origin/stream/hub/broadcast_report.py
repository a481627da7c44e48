"""What is measured, logged and traced of a broadcast: once for each delta and worker, after it was sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from origin.bus import Published
from origin.logs import structured_logger
from origin.provenance import log_deltas
from origin.stream.hub.metrics import StreamMetrics
from origin.tracing import Tracer, monotonic_to_ns, read_traceparent

__all__ = ["kind_of", "report_broadcast"]

logger = logging.getLogger(__name__)
_log = structured_logger(__name__)


class _Change(msgspec.Struct):
    """The part of a delta that says what it is (``shared_state.wire``), and when the log took it."""

    a: int = 0
    o: str = "ADD"
    t: str = ""


_change_in: Final = msgspec.json.Decoder(_Change).decode


def kind_of(delta: bytes) -> tuple[str, int]:
    """What a delta is to whoever waits for it: ``goal``, ``retract``, or empty for all else; and its ``a``.

    An amended goal is neither: what changed of it may be the name of the scorer.
    """
    try:
        change = _change_in(delta)
    except msgspec.DecodeError:
        return "", 0  # of a later version, or damaged: viewers decide what to make of it
    if change.o == "RETRACT":
        return "retract", change.a
    return "goal" if change.o == "ADD" and change.t == "GOAL" else "", change.a


def report_broadcast(
    metrics: StreamMetrics,
    tracer: Tracer,
    match_id: str,
    fresh: Sequence[Published],
    came_s: float,
    viewers: int,
) -> None:
    """Note that deltas have been written to all who wait for them here.

    Args:
        metrics: of this worker.
        tracer: of this process.
        match_id: the match.
        fresh: the deltas.
        came_s: when the first of them came from the bus, seconds of the monotonic clock.
        viewers: to how many they were sent; 0: nobody waits, and nothing is measured.
    """
    if viewers:
        now_ms = time.time() * 1_000
        for published in fresh:
            kind, after_ms = kind_of(published.delta)
            if kind:
                latency_s = max(0.0, now_ms - published.id.epoch - after_ms) / 1_000
                metrics.goal_socket[kind].observe(latency_s, 1)
    if tracer.on:
        for published in fresh:
            provenance = published.provenance
            parent = "" if provenance is None else read_traceparent(provenance.traceparent)
            if parent:
                attributes: dict[str, str | int] = {
                    "touchline.match_id": match_id,
                    "touchline.delta_id": str(published.id),
                    "touchline.viewers": viewers,
                }
                tracer.start("stream", parent, start_ns=monotonic_to_ns(came_s), attributes=attributes).end()
    if logger.isEnabledFor(logging.INFO):
        log_deltas(_log, "sent", match_id, fresh, viewers=viewers)
