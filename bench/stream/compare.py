"""One measurement of one server, and the repetition of it over all of them."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException

from bench.stream import meter
from bench.stream.load import LoadClient, Received
from bench.stream.server import BIN_DIR, Server, ServerError

# All servers' frames are padded to this: a typical score event as it is on the wire.
FRAME_BYTES = 150
# Published before anything is counted: the first pass over cold sockets is slower, and the second
# has the padding that the first one's size asked for.
WARM_UP = 3
# Between publishes, so that each one meets a server and a client that have come to rest. Longer than what
# our own server waits between two fan-outs of a match, which is not what is measured here.
PAUSE_S = 0.3


@dataclass(frozen=True, slots=True)
class Plan:
    """What one measurement does."""

    connections: int
    publishes: int
    reconnect: bool
    # Until a server that cannot do it is given up; the slowest peer accepts 18,000 in 10 s.
    timeout_s: float = 120


@dataclass(slots=True)
class Sample:
    """What one measurement of one server found. Times in seconds or as named."""

    connected: int = 0
    connect_s: float = 0
    cpu_per_accept_us: float = 0
    memory_per_connection_bytes: float = 0
    frame_bytes: int = 0
    deliveries: int = 0
    heartbeats: int = 0
    undelivered: int = 0
    cpu_per_delivery_us: float = 0
    user_per_delivery_us: float = 0
    client_cpu_per_delivery_us: float = 0
    p50_ms: float = 0
    p99_ms: float = 0
    last_ms: float = 0
    worst_last_ms: float = 0
    reconnect_s: float | None = None
    # Connections back after the kill; and whether the event published meanwhile reached everybody.
    reconnected: int | None = None
    reconnect_delivered: int | None = None
    totals: dict[str, int] = field(default_factory=dict)
    totals_after_kill: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def say(text: str) -> None:
    """Progress goes to standard error: standard output is the table."""
    print(text, file=sys.stderr, flush=True)


def publish_and_wait(
    server: Server, load: LoadClient, number: int, padding: int, timeout_s: float
) -> Received:
    sent_ns = server.publish(number, padding)
    return load.wait(number, sent_ns, load.connections, timeout_s)


def warm_up(server: Server, load: LoadClient, timeout_s: float) -> tuple[int, int]:
    """Publishes until the frame has its size. Returns the next event's number and the padding."""
    padding = 0
    number = server.first_number
    for _ in range(WARM_UP):
        received = publish_and_wait(server, load, number, padding, timeout_s)
        padding = adjusted(padding, received)
        number += 1
        time.sleep(PAUSE_S)
    return number, padding


def adjusted(padding: int, received: Received) -> int:
    """The padding with which the next frame has its size; it changes when a number gains a digit."""
    if not received.frame_bytes:
        return padding
    return max(0, padding + FRAME_BYTES - received.frame_bytes)


def measure(server: Server, plan: Plan) -> Sample:
    """Start, connect, publish, kill, stop."""
    sample = Sample()
    with server:
        # Interpreters go on importing for a moment after they listen.
        time.sleep(1)
        idle_bytes = meter.memory_bytes(server.pids())
        before = meter.cpu(server.pids())
        with LoadClient(
            BIN_DIR / "load",
            server.targets,
            server.path,
            plan.connections,
            mark=server.mark,
            match=server.match,
            resume=server.resumes,
            window=server.window,
            per_source=server.per_source,
            browsers=server.browsers,
        ) as load:
            opened = load.open(plan.timeout_s)
            # Some answer the header first and subscribe afterwards.
            time.sleep(1)
            accepting = meter.cpu(server.pids()).since(before)
            sample.connected = opened.connected
            sample.connect_s = opened.seconds
            sample.cpu_per_accept_us = accepting.total_s / max(1, opened.connected) * 1e6
            if opened.connected < plan.connections:
                sample.problems.append(f"only {opened.connected} of {plan.connections} connected")
                sample.totals = load.totals()
                if not opened.connected:
                    return sample
            number, padding = warm_up(server, load, 30)
            held_bytes = meter.memory_bytes(server.pids()) - idle_bytes
            sample.memory_per_connection_bytes = held_bytes / opened.connected
            number = _publish_all(server, load, plan, sample, number, padding)
            sample.totals = load.totals()
            if plan.reconnect:
                _kill_and_wait(server, load, plan, sample, number, padding)
                sample.totals_after_kill = load.totals()
    _judge(server, sample)
    return sample


def _publish_all(
    server: Server, load: LoadClient, plan: Plan, sample: Sample, number: int, padding: int
) -> int:
    all_received: list[Received] = []
    server_before = meter.cpu(server.pids())
    client_before = meter.cpu(meter.tree(load.pid))
    heartbeats_before = load.totals()["heartbeats"]
    for _ in range(plan.publishes):
        received = publish_and_wait(server, load, number, padding, 30)
        all_received.append(received)
        padding = adjusted(padding, received)
        number += 1
        time.sleep(PAUSE_S)
    used = meter.cpu(server.pids()).since(server_before)
    client_used = meter.cpu(meter.tree(load.pid)).since(client_before)

    sample.deliveries = sum(one.delivered for one in all_received)
    sample.undelivered = plan.publishes * sample.connected - sample.deliveries
    if not sample.deliveries:
        sample.problems.append("nothing was delivered")
        return number
    whole = [one for one in all_received if one.delivered]
    # A heartbeat that fell into this time was written to every viewer like an event.
    sample.heartbeats = load.totals()["heartbeats"] - heartbeats_before
    written = sample.deliveries + sample.heartbeats
    sample.frame_bytes = round(statistics.median(one.frame_bytes for one in whole))
    sample.cpu_per_delivery_us = used.total_s / written * 1e6
    sample.user_per_delivery_us = used.user_s / written * 1e6
    sample.client_cpu_per_delivery_us = client_used.total_s / written * 1e6
    sample.p50_ms = statistics.median(one.p50_ms for one in whole)
    sample.p99_ms = statistics.median(one.p99_ms for one in whole)
    sample.last_ms = statistics.median(one.last_ms for one in whole)
    sample.worst_last_ms = max(one.last_ms for one in whole)
    return number


def _kill_and_wait(
    server: Server, load: LoadClient, plan: Plan, sample: Sample, number: int, padding: int
) -> None:
    since_ns = server.kill()
    if server.resumes:
        # While most are still away: whoever comes back must be given it, once.
        sent_ns = publish_when_up(server, number, padding)
        back = load.back(since_ns, plan.timeout_s)
        received = load.wait(number, sent_ns, plan.connections, 10)
        sample.reconnect_delivered = received.delivered
    else:
        back = load.back(since_ns, plan.timeout_s)
    sample.reconnected = back.live
    if back.live == plan.connections:
        sample.reconnect_s = back.seconds
    else:
        sample.problems.append(f"after the kill only {back.live} of {plan.connections} came back")


def publish_when_up(server: Server, number: int, padding: int, timeout_s: float = 30) -> int:
    """Publishes as a feed does: again and again until the server, just killed, has taken it."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return server.publish(number, padding)
        except (OSError, HTTPException, ServerError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _judge(server: Server, sample: Sample) -> None:
    """A fast server that loses events must not look good."""
    if sample.undelivered:
        sample.problems.append(f"{sample.undelivered} deliveries did not happen")
    # Refusals while a server is down are what a kill is; losing or repeating an event never is.
    for totals, names in (
        (sample.totals, ("lost", "rejected", "bad_status", "timeouts", "no_address")),
        (sample.totals_after_kill or sample.totals, ("missed", "duplicates", "malformed")),
    ):
        sample.problems += [f"{name}: {totals[name]}" for name in names if totals.get(name)]
    expected = sample.connected
    if sample.reconnect_delivered is not None and sample.reconnect_delivered != expected:
        sample.problems.append(f"the event of the outage reached {sample.reconnect_delivered}")
    if sample.frame_bytes and sample.frame_bytes != FRAME_BYTES:
        sample.problems.append(f"{server.name}'s frame is {sample.frame_bytes} bytes")


@dataclass(slots=True)
class Measured:
    """One server over all repetitions."""

    name: str
    label: str
    version: str
    samples: list[Sample] = field(default_factory=list)
    missing: str | None = None

    def median(self, read: Callable[[Sample], float | None]) -> float | None:
        """Over the repetitions in which the figure exists at all."""
        values = [value for sample in self.samples if (value := read(sample)) is not None]
        return statistics.median(values) if values else None


def compare(kinds: Sequence[type[Server]], plan: Plan, repeat: int) -> list[Measured]:
    """Every server once, then every server again: drift of the machine meets all alike."""
    found: dict[str, Measured] = {}
    present: list[type[Server]] = []
    for kind in kinds:
        server = kind()
        missing = server.missing()
        found[kind.name] = Measured(
            kind.name, kind.label, "" if missing else server.version(), missing=missing
        )
        if missing:
            say(f"!!! {kind.label} IS NOT MEASURED: {missing}")
        else:
            present.append(kind)
    for repetition in range(1, repeat + 1):
        for kind in present:
            say(f"[{repetition}/{repeat}] {kind.label}, {plan.connections} connections")
            try:
                sample = measure(kind(), plan)
            except Exception as error:  # noqa: BLE001 - one broken peer must not cost the whole run
                sample = Sample(problems=[f"{type(error).__name__}: {error}"])
            found[kind.name].samples.append(sample)
            say(
                f"    {sample.cpu_per_delivery_us:.1f} us/delivery, last {sample.last_ms:.0f} ms, "
                f"{sample.memory_per_connection_bytes / 1000:.1f} kB and {sample.cpu_per_accept_us:.0f} us "
                f"per connection, all back {sample.reconnect_s} s"
            )
            for problem in sample.problems:
                say(f"    ! {problem}")
    return list(found.values())
