"""The settings of the stream tier. Every number has its unit in its name and its reason beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple, get_type_hints

from origin.stream.http.sse import HEARTBEAT_S

__all__ = ["FILES_RESERVED", "Between", "StreamConfig", "bounds"]

# Open files of a process that are not viewers: pages, the log, the bus, libraries. Of a small limit, less.
FILES_RESERVED: Final = 512
# More than any kernel lets one process open.
_VIEWERS_MAX: Final = 10_000_000


class Between(NamedTuple):
    """The least and the greatest value of a setting; outside of it the process would spin or never act."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """Limits and clocks of one stream worker.

    Attributes:
        connections_max: viewers of one process; more get 503. None: the open-files limit, less 512
            for pages, log files and the bus.
        connections_per_address_max: viewers from one address; 0 for no limit. Off by default: behind a
            CDN, a carrier's NAT or in a stadium, thousands of viewers share one address.
        heartbeat_s: how often each viewer gets the id and the hash of the newest state.
        first_bytes_s: how long a new connection may take to send its whole request head.
        keep_alive_s: how long a connection may idle between two requests that the hub answers in full.
        request_head_max_bytes: a longer head of a stream request gets 431. Browsers send under 2 KB.
        pending_max_bytes: what may wait in memory for one viewer that does not read; beyond it the
            connection is closed. 64 KB is more than a whole match of deltas.
        stalled_s: a viewer that takes nothing of what waits for it for this long is closed.
        unacknowledged_s: a viewer whose network acknowledges nothing for this long is closed by the
            kernel (TCP_USER_TIMEOUT): how a phone that left without a FIN is found.
        send_buffer_bytes: the kernel's share for one viewer (SO_SNDBUF); 0 leaves it to grow to megabytes.
        replay_window_deltas: the latest deltas of a match kept in memory, from which a reconnect storm
            is answered without the bus. A whole match is 100 to 300.
        idle_match_s: how long a match without viewers stays subscribed.
        unknown_match_s: how long "no such match" is remembered, so that asking again costs nothing.
        bus_wait_s: a viewer that the bus has not answered for this long gets 503.
        websocket_message_max_bytes: viewers have no need to send; a longer message gets close code 1009.
        accept_rate_per_s: reconnecting viewers one process takes per second, until it has measured it.
        ring_entries: to how many viewers one call sends, by io_uring, where the kernel allows it to this
            process; 0 for a call for each viewer, as where it does not.
        memberships_max: the matches that the viewers of several watch, all together; more get 503. Each costs
            some 300 bytes.
        broadcast_interval_s: the deltas of one match go out at most so often. One that comes alone goes at
            once; those of a burst that come sooner go out together, as soon as they may. 0 for no limit.
        ended_after_s: a match in a final status that has not changed for so long is over: its streams end.
        retry_min_ms: the shortest ``retry:`` given out.
        drain_notice_s: after SIGTERM, how long to serve on while ``/readyz`` says no, so that a load
            balancer that polls it stops sending viewers here first.
    """

    connections_max: Annotated[int | None, Between(1, _VIEWERS_MAX)] = None
    connections_per_address_max: Annotated[int, Between(0, _VIEWERS_MAX)] = 0
    heartbeat_s: Annotated[float, Between(0.1, 3_600)] = HEARTBEAT_S
    first_bytes_s: Annotated[float, Between(0.1, 600)] = 10.0
    keep_alive_s: Annotated[float, Between(0.1, 3_600)] = 15.0
    request_head_max_bytes: Annotated[int, Between(256, 65_536)] = 8_192
    pending_max_bytes: Annotated[int, Between(1_024, 2**26)] = 65_536
    stalled_s: Annotated[float, Between(0.1, 3_600)] = 30.0
    unacknowledged_s: Annotated[float, Between(1, 3_600)] = 45.0
    send_buffer_bytes: Annotated[int, Between(0, 2**26)] = 65_536
    replay_window_deltas: Annotated[int, Between(1, 100_000)] = 512
    idle_match_s: Annotated[float, Between(0, 86_400)] = 60.0
    unknown_match_s: Annotated[float, Between(0, 3_600)] = 1.0
    bus_wait_s: Annotated[float, Between(0.1, 600)] = 10.0
    websocket_message_max_bytes: Annotated[int, Between(125, 2**20)] = 4_096
    accept_rate_per_s: Annotated[float, Between(1, 1_000_000)] = 2_000.0
    ring_entries: Annotated[int, Between(0, 32_768)] = 1_024
    memberships_max: Annotated[int, Between(1, 100_000_000)] = 500_000
    broadcast_interval_s: Annotated[float, Between(0, 10)] = 0.25
    ended_after_s: Annotated[float, Between(0, 31_536_000)] = 1_800.0
    retry_min_ms: Annotated[int, Between(1, 600_000)] = 1_000
    drain_notice_s: Annotated[float, Between(0, 600)] = 0.0


def bounds() -> dict[str, Between]:
    """What each field of ``StreamConfig`` may be when it comes from the environment.

    Tests construct a ``StreamConfig`` with shorter clocks than anybody may configure.
    """
    hints = get_type_hints(StreamConfig, include_extras=True)
    return {
        name: next(part for part in hint.__metadata__ if isinstance(part, Between))
        for name, hint in hints.items()
    }
