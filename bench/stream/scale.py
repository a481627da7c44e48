"""Ours only: many workers and tens of thousands of viewers, workers killed under them; pages beside them."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

from bench.stream import meter
from bench.stream.compare import adjusted, publish_and_wait, publish_when_up, say, warm_up
from bench.stream.load import MAX_PER_PROCESS, LoadClient, Received
from bench.stream.ours import MATCH, Ours
from bench.stream.server import BIN_DIR, PROJECT_DIR, ServerError, kill_each

# Enough of them that Flask's threads are never idle, few enough that they are not the load themselves.
PAGE_CLIENTS = 8
# How long after a kill an event is published: most viewers are away, and must receive it on their return.
OUTAGE_PUBLISH_S = 0.5


@dataclass(slots=True)
class Outage:
    """What a kill -9 did."""

    killed_workers: int
    lost: int = 0
    back: int = 0
    # From the kill until the last viewer was connected again.
    seconds: float = 0
    # Viewers that were given the event published meanwhile.
    delivered: int = 0
    missed: int = 0
    duplicates: int = 0
    gap_events: int = 0
    rejected: int = 0


@dataclass(slots=True)
class ScaleSample:
    """One start of the whole set-up."""

    connections: int
    worker_count: int
    load_processes: int = 0
    connected: int = 0
    connect_s: float = 0
    resident_mb: list[float] = field(default_factory=list)
    connections_per_worker: list[int] = field(default_factory=list)
    memory_per_connection_bytes: float = 0
    cpu_per_delivery_us: float = 0
    received: list[Received] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def median_ms(self, name: str) -> float:
        values = [getattr(one, name) for one in self.received if one.delivered]
        return float(statistics.median(values)) if values else float("nan")


def measure_scale(
    connections: int, worker_count: int, publishes: int, kills: tuple[str, ...], max_seconds: int = 900
) -> ScaleSample:
    """Connect everybody, publish, kill one worker, kill all.

    Args:
        connections: over all workers; the load client takes a process for each 18,000.
        worker_count: server processes behind the one port.
        publishes: how many events are measured.
        kills: ``"one"`` and ``"all"``, in the order they are to happen.
        max_seconds: when the load client ends by itself, whatever happens.
    """
    sample = ScaleSample(connections, worker_count, -(-connections // MAX_PER_PROCESS))
    server = Ours(worker_count)
    with (
        server,
        LoadClient(
            BIN_DIR / "load",
            server.targets,
            server.path,
            connections,
            mark=server.mark,
            resume=True,
            per_source=server.per_source,
            max_seconds=max_seconds,
        ) as load,
    ):
        time.sleep(1)
        idle_bytes = meter.memory_bytes(server.pids())
        idle_files = {pid: meter.open_files(pid) for pid in server.workers()}
        opened = load.open(300)
        sample.connected, sample.connect_s = opened.connected, opened.seconds
        say(f"    {opened.connected} connected in {opened.seconds:.1f} s")
        time.sleep(1)
        sample.connections_per_worker = sorted(
            meter.open_files(pid) - idle for pid, idle in idle_files.items()
        )
        if opened.connected < connections:
            sample.problems.append(f"only {opened.connected} of {connections} connected")
        number, padding = warm_up(server, load, 30)
        held_bytes = meter.memory_bytes(server.pids()) - idle_bytes
        sample.memory_per_connection_bytes = held_bytes / max(1, opened.connected)
        sample.resident_mb = sorted(round(meter.memory_bytes({pid}) / 2**20, 1) for pid in server.workers())
        heartbeats_before = load.totals()["heartbeats"]
        before = meter.cpu(server.pids())
        for _ in range(publishes):
            received = publish_and_wait(server, load, number, padding, 90)
            sample.received.append(received)
            padding = adjusted(padding, received)
            say(f"    {received.delivered} told, the last after {received.last_ms:.0f} ms")
            number += 1
            time.sleep(0.3)
        used = meter.cpu(server.pids()).since(before)
        # As in the comparison: a heartbeat is a frame written to a viewer, too.
        written = sum(one.delivered for one in sample.received)
        written += load.totals()["heartbeats"] - heartbeats_before
        sample.cpu_per_delivery_us = used.total_s / max(1, written) * 1e6
        for kill in kills:
            sample.outages.append(_outage(server, load, number, padding, only_one=kill == "one"))
            number += 1
        sample.totals = load.totals()
    _judge(sample, publishes)
    return sample


def _outage(server: Ours, load: LoadClient, number: int, padding: int, *, only_one: bool) -> Outage:
    before = load.totals()
    victims = sorted(server.workers())[: 1 if only_one else None]
    since_ns = kill_each(victims)
    time.sleep(OUTAGE_PUBLISH_S)
    sent_ns = publish_when_up(server, number, padding)
    back = load.back(since_ns, 120)
    received = load.wait(number, sent_ns, load.connections, 10)
    after = load.totals()
    outage = Outage(
        killed_workers=len(victims),
        lost=back.lost - before["lost"],
        back=back.live,
        seconds=back.seconds,
        delivered=received.delivered,
        missed=after["missed"] - before["missed"],
        duplicates=after["duplicates"] - before["duplicates"],
        gap_events=after["gap_events"] - before["gap_events"],
        rejected=after["rejected"] - before["rejected"],
    )
    say(
        f"    killed {outage.killed_workers} of {server.worker_count}: {outage.lost} lost, "
        f"{outage.back} back after {outage.seconds:.1f} s, "
        f"{outage.delivered} have the event of the outage, {outage.missed} missed"
    )
    return outage


def _judge(sample: ScaleSample, publishes: int) -> None:
    delivered = sum(one.delivered for one in sample.received)
    if delivered != publishes * sample.connections:
        sample.problems.append(f"{publishes * sample.connections - delivered} deliveries did not happen")
    for outage in sample.outages:
        if outage.back != sample.connections or outage.delivered != sample.connections:
            sample.problems.append(
                f"after the kill of {outage.killed_workers}: {outage.back} back, "
                f"{outage.delivered} have the event of the outage"
            )
        # A new viewer is told `gap` too; one that comes back has an id and must be given what it missed.
        if outage.gap_events:
            sample.problems.append(f"{outage.gap_events} that came back were told `gap`")
    sample.problems += [
        f"{name}: {sample.totals[name]}"
        for name in ("missed", "duplicates", "malformed", "bad_status", "no_address")
        if sample.totals[name]
    ]
    for problem in sample.problems:
        say(f"    ! {problem}")


@dataclass(slots=True)
class PagesSample:
    """The same events with Flask at rest, and with Flask serving all the pages it can."""

    connections: int
    quiet: list[Received] = field(default_factory=list)
    busy: list[Received] = field(default_factory=list)
    pages_per_s: float = 0

    @property
    def ratio(self) -> float:
        """How much later the last viewer has it while pages are served."""
        return _last(self.busy) / _last(self.quiet)


def _last(received: list[Received]) -> float:
    return statistics.median(one.last_ms for one in received)


def measure_pages(connections: int, publishes: int) -> PagesSample:
    """One worker that holds the viewers and serves pages at full load in the same process."""
    sample = PagesSample(connections)
    server = Ours(1)
    with (
        server,
        LoadClient(BIN_DIR / "load", server.targets, server.path, connections, resume=True) as load,
    ):
        opened = load.open(120)
        if opened.connected < connections:
            raise ServerError(f"only {opened.connected} of {connections} connected")
        number, padding = warm_up(server, load, 30)
        for received in (sample.quiet, sample.busy):
            pages = _start_pages(server.port) if received is sample.busy else None
            time.sleep(1)
            for _ in range(publishes):
                one = publish_and_wait(server, load, number, padding, 60)
                received.append(one)
                padding = adjusted(padding, one)
                say(f"    {one.delivered} told, the last after {one.last_ms:.0f} ms")
                number += 1
                time.sleep(0.3)
            if pages is not None:
                assert pages.stdin is not None
                pages.stdin.close()
                assert pages.stdout is not None
                sample.pages_per_s = float(pages.stdout.read())
                pages.wait()
    return sample


def _start_pages(port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench.stream.pages", str(port), f"/match/{MATCH}", str(PAGE_CLIENTS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT_DIR,
    )
