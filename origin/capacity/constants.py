"""What the planner and the simulation calculate with, each figure with where it is from.

A measured figure names the file under ``bench/results`` and the key in it; ``python -m bench.simulation fit``
writes them all into ``measurements.json``, which ships with the package, so that a server without ``bench``
plans with the same figures. All others are assumptions: they were not measured, and whoever plans edits them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final, NamedTuple

from origin.capacity.stream_tier import (
    CORE_SHARE,
    HEARTBEAT_S,
    KERNEL_BYTES_PER_VIEWER,
    PACKET_BYTES,
    RETRY_MIN_MS,
    ROOM,
)
from origin.stream.hub.drain import SHARE_FOR_ACCEPTING
from shared_state.jsontext import JsonObject

__all__ = [
    "ASSUMED",
    "MEASUREMENTS_FILE",
    "Constant",
    "InvalidInput",
    "constants",
    "measured_constants",
    "with_changes",
]

# The source of every figure that nobody has measured.
ASSUMED: Final = "editable assumption"
# The source of a figure that the caller of a plan has given.
GIVEN: Final = "given"
MEASUREMENTS_FILE: Final = "measurements.json"
# The largest value that any constant may be set to: larger ones are typing errors, and would overflow a sum.
VALUE_MAX: Final = 1e15
# Constants that may be 0: what they stand for can cost nothing.
_MAY_BE_ZERO: Final = (
    "price_",
    "tls_",
    "spare_",
    "network_viewer_s",
    "network_region_s",
    "restart_s",
    "redirect_s",
)
# Shares of a whole, which above 1 would plan with more than there is.
_SHARES: Final = ("_share",)


class InvalidInput(ValueError):
    """An input that no plan and no simulation can be made with; ``str()`` names the input and its value."""


class Constant(NamedTuple):
    """One figure.

    Attributes:
        value: in ``unit``.
        unit: as it is printed: ``s``, ``bytes``, ``1/s``, ``share``, ``USD`` …
        source: ``bench/results/<file>: <key>``, ``ASSUMED`` or ``GIVEN``.
        meaning: what it is, in words.
    """

    value: float
    unit: str
    source: str
    meaning: str

    def to_json(self) -> JsonObject:
        """All parts by name."""
        return self._asdict()


def _assumed(value: float, unit: str, meaning: str) -> Constant:
    return Constant(float(value), unit, ASSUMED, meaning)


_ASSUMPTIONS: Final[Mapping[str, Constant]] = {
    # The stream tier.
    "core_share": _assumed(
        CORE_SHARE, "share", "of a core for deliveries; the rest is for arrivals and the kernel"
    ),
    "accept_share": _assumed(
        SHARE_FOR_ACCEPTING, "share", "of a core for viewers that come back, while deltas go on"
    ),
    "room_factor": _assumed(ROOM, "ratio", "more viewers than its share that a process has room for"),
    "heartbeat_s": _assumed(HEARTBEAT_S, "s", "between two heartbeats of a viewer (a setting)"),
    "retry_min_s": _assumed(
        RETRY_MIN_MS / 1000, "s", "the shortest wait after a lost connection (a setting)"
    ),
    "kernel_bytes_per_viewer": _assumed(
        KERNEL_BYTES_PER_VIEWER, "bytes", "of the kernel, for an idle socket"
    ),
    "packet_bytes": _assumed(PACKET_BYTES, "bytes", "Ethernet, IP and TCP around a frame"),
    "network_bits_per_s": _assumed(10e9, "bit/s", "the network card of a machine"),
    "network_packets_per_s": _assumed(2e6, "1/s", "packets that a rented machine may send"),
    "accept_queue": _assumed(
        65_536, "connections", "that the kernel keeps while a server restarts (sixteen queues, decision 22)"
    ),
    "spare_machines": _assumed(1, "machines", "of each tier and region, for one that fails"),
    # The matches.
    "match_s": _assumed(7_200, "s", "a match with its half time"),
    "burst_factor": _assumed(20, "ratio", "deltas in the busiest second over those of an average second"),
    "heartbeat_bytes": _assumed(100, "bytes", "one heartbeat as sent"),
    "answer_bytes": _assumed(500, "bytes", "a long-poll's answer with its head, and the request for it"),
    "match_days_per_month": _assumed(10, "1/month", "days with so many viewers and matches"),
    # TLS, which ends at a proxy on the machine of the stream tier.
    "tls_delivery_s": _assumed(3e-6, "s", "CPU for one frame through a proxy that encrypts it"),
    "tls_accept_s": _assumed(400e-6, "s", "CPU for one handshake, without resumption"),
    "tls_viewer_bytes": _assumed(20_000, "bytes", "of the proxy, for an encrypted connection"),
    "tls_record_bytes": _assumed(22, "bytes", "of a TLS 1.3 record around a frame (RFC 8446, 5.2)"),
    # The tiers behind.
    "redis_share": _assumed(0.5, "share", "of the one core of a Redis that is planned with"),
    "fanout_share": _assumed(0.5, "share", "of a fan-out worker that is planned with"),
    "log_share": _assumed(0.5, "share", "of a topic's append rate that is planned with"),
    "partitions_per_worker": _assumed(4, "ratio", "partitions for a fan-out worker, so that more can join"),
    "partitions_min": _assumed(20, "partitions", "of a topic, as `kafka://` makes it"),
    "brokers": _assumed(3, "machines", "of Kafka, with three replicas"),
    "cache_connections_max": _assumed(100_000, "connections", "of one cache node"),
    # Distances, each one way.
    "network_region_s": _assumed(0.08, "s", "from the log to a region on another continent"),
    "network_viewer_s": _assumed(0.03, "s", "from a region to a viewer"),
    # Faults.
    "restart_s": _assumed(1.0, "s", "from a process' end until its successor accepts"),
    "redirect_s": _assumed(30.0, "s", "until the names of a lost region lead to another one"),
    # Money.
    "price_core_hour": _assumed(0.045, "USD", "one core of a machine, with its memory, for an hour"),
    "price_redis_hour": _assumed(0.20, "USD", "one Redis for an hour"),
    "price_broker_hour": _assumed(0.30, "USD", "one Kafka broker for an hour"),
    "price_egress_gb": _assumed(0.05, "USD", "10^9 bytes to viewers"),
    "hours_per_month": _assumed(730, "h", "that every machine is paid for"),
}


@cache
def measured_constants() -> Mapping[str, Constant]:
    """What was measured, by name.

    Raises:
        FileNotFoundError, KeyError: the package was built without its measurements, or with others.
    """
    text = files("origin.capacity").joinpath(MEASUREMENTS_FILE).read_text(encoding="utf-8")
    entries = json.loads(text)["constants"]
    return MappingProxyType(
        {
            name: Constant(float(one["value"]), one["unit"], one["source"], one["meaning"])
            for name, one in entries.items()
        }
    )


def constants() -> Mapping[str, Constant]:
    """Everything that a plan or a simulation calculates with, by name."""
    return MappingProxyType({**measured_constants(), **_ASSUMPTIONS})


def with_changes(changes: Mapping[str, float]) -> Mapping[str, Constant]:
    """All constants, some with values of the caller.

    Raises:
        InvalidInput: there is no constant of that name, or it cannot have that value.
    """
    found = dict(constants())
    for name, value in changes.items():
        if name not in found:
            raise InvalidInput(f"constant {name!r}: there is none of that name")
        found[name] = found[name]._replace(value=_valid(name, value), source=GIVEN)
    return MappingProxyType(found)


def _valid(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput(f"constant {name}: {value!r} is no finite number")
    if value < 0 or value > VALUE_MAX or (value == 0 and not name.startswith(_MAY_BE_ZERO)):
        raise InvalidInput(f"constant {name}: {value!r} is not between 0 and {VALUE_MAX:g}")
    if name == "room_factor" and value < 1:
        raise InvalidInput(
            f"constant {name}: {value!r} is less than 1, room for fewer viewers than there are"
        )
    if value > 1 and name.endswith(_SHARES):
        raise InvalidInput(f"constant {name}: {value!r} is more than the whole")
    return float(value)
