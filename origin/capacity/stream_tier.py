"""The stream tier for so many viewers, from what one process was measured to cost: arithmetic only, no I/O.

Everything that the arithmetic takes for granted is an ``Assumption``, and every plan carries all of them:
a figure of a plan is worth what its assumptions are worth. ``origin.capacity.model`` plans the other tiers
around it.

    an event reaches the last viewer of a core after   first_s + viewers * delivery_s / CORE_SHARE
    a core takes viewers back at                       SHARE_FOR_ACCEPTING / accept_s a second
    a process may have                                 (open files - FILES_RESERVED) / ROOM viewers
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

from origin.stream.hub.config import FILES_RESERVED, StreamConfig
from origin.stream.hub.drain import SHARE_FOR_ACCEPTING
from shared_state.jsontext import JsonObject
from shared_state.reconnect import BASE_MS, HINT_CAP_MS

__all__ = [
    "HEARTBEAT_S",
    "RETRY_MIN_MS",
    "VIEWERS_MAX",
    "Assumption",
    "Demand",
    "Measured",
    "Policy",
    "StreamTier",
    "TooTight",
    "assumptions",
    "stream_tier",
    "warnings",
]

_DEFAULTS: Final = StreamConfig()
# More than there are people: a typing error, and not an audience.
VIEWERS_MAX: Final = 10_000_000_000
CORE_SHARE: Final = 0.7
ROOM: Final = 1.25
HEARTBEAT_S: Final = _DEFAULTS.heartbeat_s
RETRY_MIN_MS: Final = _DEFAULTS.retry_min_ms
KERNEL_BYTES_PER_VIEWER: Final = 4_096
PACKET_BYTES: Final = 66
# Linux hands out 32768 to 60999 (net.ipv4.ip_local_port_range) to one address that connects to another.
SOURCE_PORTS: Final = 28_232
FILES_STEP: Final = 1_024


class TooTight(ValueError):
    """What is asked for cannot be met by any number of machines; ``str()`` names the value."""


class Assumption(NamedTuple):
    """Something that is in a plan and was not measured.

    Attributes:
        value: in the unit that ``name`` ends with.
    """

    name: str
    value: float
    why: str


def assumptions() -> tuple[Assumption, ...]:
    """Everything that ``stream_tier`` takes for granted."""
    return (
        Assumption(
            "core_share",
            CORE_SHARE,
            "of a core for deliveries; the rest is for pages, arrivals and the kernel",
        ),
        Assumption(
            "accept_share", SHARE_FOR_ACCEPTING, "of a core for viewers that come back, while deltas go on"
        ),
        Assumption(
            "room_factor", ROOM, "a process may have this much more than its share, while another is gone"
        ),
        Assumption("files_reserved", FILES_RESERVED, "open files of a process that are no viewers"),
        Assumption("heartbeat_s", HEARTBEAT_S, "each viewer receives a heartbeat once in this time"),
        Assumption("retry_min_ms", RETRY_MIN_MS, "the shortest wait of a viewer that lost its server"),
        Assumption(
            "kernel_bytes_per_viewer",
            KERNEL_BYTES_PER_VIEWER,
            "an idle socket; one that does not read takes up to TOUCHLINE_STREAM_SEND_BUFFER_BYTES",
        ),
        Assumption("packet_bytes", PACKET_BYTES, "Ethernet, IP and TCP around each event; no TLS, no proxy"),
        Assumption(
            "source_ports", SOURCE_PORTS, "connections from one address of a proxy to one origin address"
        ),
        Assumption("bus_ms", 0, "Redis, Kafka and the way to the viewer add their own to each latency"),
        Assumption(
            "core_speed", 1, "times this machine's; its deliveries are counted with their receipt here"
        ),
        Assumption("spare_machines", 0, "add your own"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one process of the stream tier cost.

    Attributes:
        accept_s: CPU seconds for one viewer that comes, its request read and answered.
        delivery_s: CPU seconds for one event to one viewer.
        viewer_bytes: memory of the process for one viewer.
        process_bytes: memory of the process without viewers.
        first_s: seconds from the post of an event to the first viewer.
        frame_bytes: one event as a viewer gets it.
    """

    accept_s: float
    delivery_s: float
    viewer_bytes: float
    process_bytes: int
    first_s: float
    frame_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked for.

    Attributes:
        viewers: connected at the same time, all of them receive the same event.
        within_ms: from the post of an event to the last viewer.
        cores: of one machine.
        open_files: the hard limit of one process.
    """

    viewers: int
    within_ms: int
    cores: int
    open_files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTier:
    """The machines and what each of them does; the last ones may have less to do.

    Attributes:
        viewers_per_core_by_latency: with more, the last of them would receive it too late.
        viewers_per_core_by_heartbeats: with more, heartbeats alone would take the core's share.
        viewers_per_process_by_files: with more, a process had no file left for one that comes back.
        cores: that work at the same time when an event comes.
        last_ms: from the post of an event to the last viewer.
        steady_core_share: of each working core, for heartbeats, while nothing happens.
        reconnect_window_s: over which viewers that lost their servers are spread.
        back_s: after which all of them are back, if the servers are back before they come.
        accept_rate_per_s: viewers one process takes back in a second.
        event_megabytes: what one event is on the network of one machine.
        open_files: the limit to give to each process.
        proxy_connections: of all proxies of one machine together.
        proxy_addresses: source addresses they need for that.
    """

    machines: int
    cores: int
    processes: int
    viewers_per_core_by_latency: int
    viewers_per_core_by_heartbeats: int
    viewers_per_process_by_files: int
    processes_per_machine: int
    viewers_per_machine: int
    viewers_per_process: int
    memory_megabytes: int
    memory_megabytes_per_machine: int
    last_ms: int
    steady_core_share: float
    reconnect_window_s: float
    back_s: float
    accept_rate_per_s: int
    event_megabytes: float
    connections_max: int
    open_files: int
    proxy_connections: int
    proxy_addresses: int

    def to_json(self) -> JsonObject:
        """All figures by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The assumptions that a plan may be made with other values of; see ``assumptions`` for what they are."""

    core_share: float = CORE_SHARE
    accept_share: float = SHARE_FOR_ACCEPTING
    room_factor: float = ROOM
    heartbeat_s: float = HEARTBEAT_S
    retry_min_s: float = RETRY_MIN_MS / 1000
    kernel_bytes_per_viewer: float = KERNEL_BYTES_PER_VIEWER
    packet_bytes: float = PACKET_BYTES


_POLICY: Final = Policy()


def stream_tier(measured: Measured, demand: Demand, policy: Policy = _POLICY) -> StreamTier:
    """How many processes, cores and machines, and what is to be expected of them.

    Raises:
        TooTight: the latency or the open-files limit leaves no room for a single viewer.
    """
    left_s = demand.within_ms / 1000 - measured.first_s
    if left_s * policy.core_share < measured.delivery_s:
        raise TooTight(
            f"within {demand.within_ms} ms: already the first viewer is reached"
            f" {measured.first_s * 1000:.1f} ms after the post"
        )
    by_latency = math.floor(left_s * policy.core_share / measured.delivery_s)
    by_heartbeats = max(1, math.floor(policy.heartbeat_s * policy.core_share / measured.delivery_s))
    by_files = math.floor((demand.open_files - FILES_RESERVED) / policy.room_factor)
    if by_files < 1:
        raise TooTight(f"open files {demand.open_files}: a process needs {FILES_RESERVED} beside its viewers")

    cores = math.ceil(demand.viewers / min(by_latency, by_heartbeats))
    machines = math.ceil(cores / demand.cores)
    viewers_here = math.ceil(demand.viewers / machines)
    # A process has one thread for its viewers, so each core needs one; more of them share the cores.
    processes_here = max(math.ceil(cores / machines), math.ceil(viewers_here / by_files))
    working = min(demand.cores, processes_here)
    viewers_each = math.ceil(viewers_here / processes_here)

    per_viewer = measured.viewer_bytes + policy.kernel_bytes_per_viewer
    memory_here = processes_here * measured.process_bytes + viewers_here * per_viewer
    rate = policy.accept_share / measured.accept_s * working / processes_here
    window_s = max(1.0, viewers_each / rate)
    connections_max = min(math.ceil(viewers_each * policy.room_factor), demand.open_files - FILES_RESERVED)
    wanted_files = math.ceil((connections_max + FILES_RESERVED) / FILES_STEP) * FILES_STEP
    return StreamTier(
        machines=machines,
        cores=cores,
        processes=machines * processes_here,
        viewers_per_core_by_latency=by_latency,
        viewers_per_core_by_heartbeats=by_heartbeats,
        viewers_per_process_by_files=by_files,
        processes_per_machine=processes_here,
        viewers_per_machine=viewers_here,
        viewers_per_process=viewers_each,
        memory_megabytes=math.ceil(machines * memory_here / 1e6),
        memory_megabytes_per_machine=math.ceil(memory_here / 1e6),
        last_ms=math.ceil(
            1000 * (measured.first_s + viewers_here * measured.delivery_s / working / policy.core_share)
        ),
        steady_core_share=round(viewers_here * measured.delivery_s / policy.heartbeat_s / working, 4),
        reconnect_window_s=round(window_s, 1),
        back_s=round(policy.retry_min_s + window_s + BASE_MS / 1000, 1),
        accept_rate_per_s=max(1, math.floor(rate)),
        event_megabytes=round(viewers_here * (measured.frame_bytes + policy.packet_bytes) / 1e6, 3),
        connections_max=connections_max,
        open_files=min(wanted_files, demand.open_files),
        proxy_connections=2 * viewers_here,
        proxy_addresses=math.ceil(viewers_here / SOURCE_PORTS),
    )


def warnings(made: StreamTier) -> list[str]:
    """What a reader of the plan should not overlook."""
    found = []
    if made.reconnect_window_s * 1000 + RETRY_MIN_MS > HINT_CAP_MS:
        found.append(
            f"viewers believe no wait of more than {HINT_CAP_MS // 1000} s: after a full loss they come back"
            " sooner than they can be taken; add cores"
        )
    if made.processes_per_machine > 1:
        found.append("several processes of one machine need a redis:// BUS_URL and `touchline fanout`")
    return found
