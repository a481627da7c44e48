"""What of a plan has an end, and how far away it is."""

from __future__ import annotations

import math
from typing import NamedTuple

from origin.capacity.inputs import Inputs
from origin.capacity.stream_tier import StreamTier
from shared_state.reconnect import HINT_CAP_MS

__all__ = ["Limit", "limits", "on_the_wire", "publish_s"]


class Limit(NamedTuple):
    """Something that has an end.

    Attributes:
        used, limit: in ``unit``.
        share: ``used / limit``; above 1 it is broken.
        breaks_at_viewers: where the share is 1, if it grows with the viewers; else None.
        more_machines_help: whether another machine of the stream tier moves it away.
        why: what happens there.
    """

    name: str
    used: float
    limit: float
    unit: str
    share: float
    breaks_at_viewers: int | None
    more_machines_help: bool
    why: str


def limits(
    inputs: Inputs,
    tier: StreamTier | None,
    deltas_per_s: float,
    workers: int,
    partitions: int,
    redis_instances: int,
) -> tuple[Limit, ...]:
    """What has an end, the nearest first."""
    value = inputs.value
    alone = publish_s(inputs, 0)
    append_rate = value("log_appends_per_s")
    found = [
        _limit(
            "appends to the log, one event each",
            deltas_per_s,
            append_rate * value("log_share"),
            "1/s",
            "every event waits for its own sync; a sender that batches has"
            f" {value('log_batch_appends_per_s') / append_rate:.0f} times as much",
        ),
        _limit(
            "fan-out worker per partition",
            deltas_per_s / min(workers, partitions),
            value("fanout_events_per_s"),
            "1/s",
            "a partition has one worker; partitions are never added to a topic in use",
        ),
    ]
    if tier is not None:
        each_s = publish_s(inputs, tier.processes)
        redis_deltas_per_s = deltas_per_s / redis_instances
        # What grows is the part for the processes that are subscribed.
        growth = redis_deltas_per_s * (each_s - alone) / inputs.viewers
        redis_at = (1 - redis_deltas_per_s * alone) / growth if growth > 0 else None
        send_bits = tier.viewers_per_machine * on_the_wire(inputs, "frame_bytes") * 8
        sending_s = max(1e-3, tier.last_ms / 1000 - value("first_s"))
        # Those who come before the servers are back, if each waits for a time drawn over the window.
        window_s = tier.viewers_per_process / tier.accept_rate_per_s
        early_s = max(0.0, value("restart_s") - value("retry_min_s"))
        early = tier.viewers_per_machine * min(1.0, early_s / tier.reconnect_window_s)
        found += [
            _limit(
                "one Redis: publishing to every stream process",
                redis_deltas_per_s * each_s,
                1.0,
                "cores",
                "Redis has one thread; each process of the stream tier is one more copy of each delta",
                breaks_at=redis_at,
            ),
            _limit(
                "latency of the last viewer",
                tier.last_ms,
                float(inputs.within_ms),
                "ms",
                "with more viewers and no more machines, the last are reached too late",
                breaks_at=inputs.viewers * inputs.within_ms / max(1, tier.last_ms),
                machines_help=True,
            ),
            _limit(
                "network card of a machine while it sends a goal",
                send_bits / sending_s,
                value("network_bits_per_s"),
                "bit/s",
                "frames queue in the card, and the latency of the last viewer grows",
                breaks_at=inputs.viewers * value("network_bits_per_s") * sending_s / send_bits,
                machines_help=True,
            ),
            _limit(
                "packets of a machine while it sends a goal",
                tier.viewers_per_machine / sending_s,
                value("network_packets_per_s"),
                "1/s",
                "the card, or who rents it out, drops packets, and viewers wait for TCP to repeat them",
                breaks_at=inputs.viewers
                * value("network_packets_per_s")
                * sending_s
                / tier.viewers_per_machine,
                machines_help=True,
            ),
            _limit(
                "accept queues of a machine while its servers restart",
                early,
                value("accept_queue"),
                "connections",
                "the kernel drops what does not fit, and those viewers try again after 1, 3, 7 … s",
                breaks_at=inputs.viewers * value("accept_queue") / early if early else None,
                machines_help=True,
            ),
            _limit(
                "reconnect window",
                tier.reconnect_window_s + value("retry_min_s"),
                HINT_CAP_MS / 1000,
                "s",
                "viewers believe no longer wait, and come back sooner than they can be taken",
                breaks_at=inputs.viewers * (HINT_CAP_MS / 1000 - value("retry_min_s")) / window_s,
                machines_help=True,
            ),
            _limit(
                "open files of a process",
                float(tier.viewers_per_process),
                float(tier.viewers_per_process_by_files),
                "viewers",
                "further viewers are refused with 503",
                breaks_at=inputs.viewers * tier.viewers_per_process_by_files / tier.viewers_per_process,
                machines_help=True,
            ),
        ]
    return tuple(sorted(found, key=lambda one: -one.share))


def _limit(
    name: str,
    used: float,
    limit: float,
    unit: str,
    why: str,
    *,
    breaks_at: float | None = None,
    machines_help: bool = False,
) -> Limit:
    share = used / limit if limit else math.inf
    # JSON has no infinity; a limit of nothing is broken a thousandfold, whatever is used of it.
    share = min(share, 1e6)
    at = None if breaks_at is None else math.floor(min(breaks_at, 1e18))
    return Limit(name, round(used, 6), round(limit, 6), unit, round(share, 6), at, machines_help, why)


def publish_s(inputs: Inputs, subscribers: int) -> float:
    """CPU of Redis for one delta, so many processes subscribed: a straight line through two measurements."""
    alone, hundred = inputs.value("redis_publish_s"), inputs.value("redis_publish_100_s")
    return alone + max(0.0, hundred - alone) / 100 * subscribers


def on_the_wire(inputs: Inputs, name: str) -> float:
    """A message of so many bytes with everything that is around it."""
    value = inputs.value
    return value(name) + value("packet_bytes") + inputs.tls * value("tls_record_bytes")
