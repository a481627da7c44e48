"""``touchline capacity``: measures one process of the stream tier here, and plans for N viewers from that.

A real ``touchline serve`` on the embedded backends is started as a child on a free loopback port, gets real
viewers and real signed events, and is watched from outside by ``/proc``. It is ended before the plan is
told. The arithmetic is in ``origin.capacity``.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import resource
import secrets
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Final, NamedTuple

import click

from origin.capacity import (
    HEARTBEAT_S,
    RETRY_MIN_MS,
    VIEWERS_MAX,
    Demand,
    Measured,
    Plan,
    TooTight,
    assumptions,
    plan,
    warnings,
)
from origin.edge.stream_config import FILES_RESERVED
from origin.webhooks import parse_key, signed_headers
from shared_state.jsontext import JsonObject, compact

__all__ = ["command", "measure", "settings"]

MATCH: Final = "capacity"
EVENTS: Final = 8
# Those who come first pay for what is loaded on first use, and are no part of what is measured.
WARM_UP: Final = 50
SAMPLE_MIN: Final = 100
# Loopback gives one address 28,232 ports, and both ends are on this machine.
SAMPLE_MAX: Final = 20_000
# Ours are the viewers' other ends; what is left is for Python and for the server's own reserve.
FILES_SPARE: Final = 64
BATCH: Final = 100
# Until what an event leaves to be done behind its last viewer is done.
SETTLE_S: Final = 0.05
PATIENCE_S: Final = 30.0
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@click.command("capacity")
@click.option("--viewers", required=True, type=click.IntRange(1, VIEWERS_MAX), help="At the same time.")
@click.option(
    "--within-ms",
    default=500,
    show_default=True,
    type=click.IntRange(1, 60_000),
    help="From the post of an event to the last viewer.",
)
@click.option("--cores", type=click.IntRange(1, 4_096), help="Of one machine; this machine's if not given.")
@click.option(
    "--open-files",
    type=click.IntRange(1, 2**31),
    help="The hard limit of one process; this machine's if not given.",
)
@click.option(
    "--sample",
    default=5_000,
    show_default=True,
    type=click.IntRange(SAMPLE_MIN, SAMPLE_MAX),
    help="Viewers to measure with, on loopback. More are more exact.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def command(
    viewers: int, within_ms: int, cores: int | None, open_files: int | None, sample: int, *, as_json: bool
) -> None:
    """Plan for N viewers from what one process costs on this machine, measured in a few seconds.

    Everything runs on loopback and is ended again. The machine should be idle. A delivery to few viewers is
    cheaper than one to many: for an audience of a million, measure with as many as one process will hold.
    """
    if not Path("/proc/self/smaps_rollup").exists():
        raise click.ClickException("there is no /proc to measure by: this needs Linux")
    # A supervisor's SIGTERM ends this as Ctrl-C does, and with it the server it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    sample = _believable_sample(sample, hard)
    demand = Demand(
        viewers=viewers,
        within_ms=within_ms,
        cores=cores or len(os.sched_getaffinity(0)),
        open_files=open_files or hard,
    )
    measured, seen = measure(sample)
    try:
        made = plan(measured, demand)
    except TooTight as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(compact(_json(demand, measured, seen, made)))
    else:
        click.echo("\n".join(_lines(demand, measured, seen, made)))


def measure(sample: int) -> tuple[Measured, JsonObject]:
    """Start a server, give it so many viewers, tell them events, and end it.

    Args:
        sample: viewers; this process opens a socket for each.

    Returns:
        The figures, and what was seen while they were taken.

    Raises:
        click.ClickException: the server did not start, or did not answer in time.
    """
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    begin_s = time.monotonic()
    with ExitStack() as stack:
        server = stack.enter_context(_server(secret))
        crowd = stack.enter_context(_crowd(server.port))
        server.open_match(secret)
        crowd.join(WARM_UP)
        # What an event costs before its first viewer, to be taken off what it costs with all of them.
        alone = [server.tell(secret, number, crowd) for number in range(1, 1 + EVENTS)]
        process_bytes = server.memory_bytes("Anonymous")
        own_bytes, cpu_s = server.memory_bytes("Private_Dirty"), server.cpu_s()
        crowd.join(sample)
        accept_s = (server.cpu_s() - cpu_s) / sample
        rounds = [server.tell(secret, number, crowd) for number in range(1 + EVENTS, 1 + 2 * EVENTS)]
        # What was shared with gunicorn's arbiter and is written to counts as grown: rather too much than not.
        grown_bytes = server.memory_bytes("Private_Dirty") - own_bytes
        frame_bytes = crowd.last_frame_bytes
    event_s = statistics.median(told.cpu_s for told in rounds) - statistics.median(t.cpu_s for t in alone)
    delivery_s = event_s / sample  # the warm-up's viewers are on both sides
    if min(accept_s, delivery_s) <= 0:
        raise click.ClickException(
            f"{sample} viewers cost too little CPU to be measured: give more with --sample"
        )
    measured = Measured(
        accept_s=accept_s,
        delivery_s=delivery_s,
        viewer_bytes=max(0, grown_bytes) / sample,
        process_bytes=process_bytes,
        first_s=statistics.median(told.first_s for told in alone),
        frame_bytes=frame_bytes,
    )
    seen: JsonObject = {
        "sample_viewers": sample + WARM_UP,
        "sample_events": EVENTS,
        "sample_last_ms": round(1000 * statistics.median(told.last_s for told in rounds), 1),
        "took_s": round(time.monotonic() - begin_s, 1),
    }
    return measured, seen


class _Server:
    """The child that is measured."""

    def __init__(self, pid: int, port: int) -> None:
        self.port = port
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self._worker = Path("/proc") / children[0]

    def cpu_s(self) -> float:
        """CPU time of the worker, all threads: to the nanosecond where the kernel tells it so."""
        try:
            tasks = (self._worker / "task").iterdir()
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except OSError:
            fields = (self._worker / "stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def open_match(self, secret: str) -> None:
        """Have a match that viewers can ask for."""
        connection = self._post(secret, 0)
        status = connection.getresponse().status
        connection.close()
        if status != 200:
            raise click.ClickException(f"the server to be measured answered {status} to an event")
        deadline_s = time.monotonic() + PATIENCE_S
        while _get(self.port, f"/score?matchId={MATCH}") != 200:
            if time.monotonic() > deadline_s:
                raise click.ClickException("the server to be measured does not tell what it took")
            time.sleep(0.02)

    def tell(self, secret: str, number: int, crowd: _Crowd) -> _Told:
        """Post an event, and wait until all viewers have it."""
        cpu_s, begin_s = self.cpu_s(), time.monotonic()
        connection = self._post(secret, number)
        first_s, last_s = crowd.hear(f'"e":"c{number}"'.encode())
        connection.getresponse().read()
        connection.close()
        time.sleep(SETTLE_S)
        return _Told(self.cpu_s() - cpu_s, first_s - begin_s, last_s - begin_s)

    def _post(self, secret: str, number: int) -> http.client.HTTPConnection:
        """Send one signed event; its answer has still to be read."""
        event = {
            "match_id": MATCH,
            "event_id": f"c{number}",
            "rev": 1,
            "op": "ADD",
            "type": "YELLOW_CARD",
            "minute": 45,
            "team": "home",
            "player": "Somebody Somewhere",
        }
        body = compact(event).encode()
        headers = signed_headers(parse_key(secret), f"capacity-{number}", int(time.time()), body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request("POST", "/ingest/canonical", body, headers)
        return connection

    def memory_bytes(self, kind: str) -> int:
        """Memory of the worker by a name of ``smaps_rollup``; pages of files are everybody's."""
        text = (self._worker / "smaps_rollup").read_text()
        found = re.search(rf"^{kind}:\s+(\d+) kB", text, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0


class _Told(NamedTuple):
    """One event on its way to a crowd.

    Attributes:
        cpu_s: of the server.
        first_s, last_s: from the post to the first and to the last viewer.
    """

    cpu_s: float
    first_s: float
    last_s: float


class _Crowd:
    """Viewers with a stream each; they read, and keep nothing."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._viewers: dict[int, socket.socket] = {}
        self._poll = select.epoll()
        self.last_frame_bytes = 0

    def join(self, count: int) -> None:
        """Open so many streams, and wait until each has been told where the match stands."""
        request = f"GET /stream/{MATCH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        for begin in range(0, count, BATCH):
            fresh = []
            for _ in range(min(BATCH, count - begin)):
                viewer = socket.create_connection(("127.0.0.1", self._port), PATIENCE_S)
                self._viewers[viewer.fileno()] = viewer
                viewer.sendall(request)
                viewer.setblocking(False)
                self._poll.register(viewer, select.EPOLLIN)
                fresh.append(viewer.fileno())
            self.wait(fresh, b"event: gap")

    def wait(self, fds: Sequence[int], mark: bytes) -> tuple[float, float]:
        """Read until each of these has seen a mark.

        Returns:
            When the first and the last had, on the monotonic clock.
        """
        missing, tails = set(fds), dict.fromkeys(fds, b"")
        first_s, deadline_s = 0.0, time.monotonic() + PATIENCE_S
        while missing:
            if time.monotonic() > deadline_s:
                raise click.ClickException(f"{len(missing)} of {len(fds)} viewers were not told in time")
            for fd, _ in self._poll.poll(1.0):
                data = self._viewers[fd].recv(65_536)
                if not data:
                    raise click.ClickException("the server closed a viewer while it was measured")
                if fd in missing:
                    tails[fd] += data
                    if mark in tails[fd] and tails[fd].endswith(b"\n\n"):
                        missing.discard(fd)
                        self.last_frame_bytes = len(tails[fd])
                        first_s = first_s or time.monotonic()
        return first_s, time.monotonic()

    def hear(self, mark: bytes) -> tuple[float, float]:
        """As ``wait``, for all."""
        return self.wait(list(self._viewers), mark)

    def close(self) -> None:
        """Leave."""
        for viewer in self._viewers.values():
            viewer.close()
        self._poll.close()


@contextmanager
def _crowd(port: int) -> Iterator[_Crowd]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = _Crowd(port)
    try:
        yield crowd
    except OSError as error:
        raise click.ClickException(f"the server was lost while it was measured: {error}") from None
    finally:
        crowd.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def _server(secret: str) -> Iterator[_Server]:
    """A ``touchline serve`` of our own, up for as long as the block."""
    ours = ("TOUCHLINE_", "BUS_", "EVENTLOG_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {
        "EVENTLOG_URL": "memory://",
        "BUS_URL": "memory://",
        "TOUCHLINE_INGEST_KEYS": secret,
        "TOUCHLINE_STREAM_HEARTBEAT_S": "3600",  # they are counted from what a delivery costs
    }
    serve = [sys.executable, "-m", "origin", "serve", "--port", "0"]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(serve, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as child,  # noqa: S603
    ):
        try:
            yield _Server(child.pid, _ready(child, log))
        finally:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(timeout=5)
            child.kill()  # its worker ends by itself once it sees that its parent is gone


def _ready(child: subprocess.Popen[bytes], log: IO[str]) -> int:
    """The port of a server, once it takes viewers."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s and child.poll() is None:
        log.seek(0)
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", log.read())
        if found and _get(int(found[1]), "/readyz") == 200:
            return int(found[1])
        time.sleep(0.05)
    log.seek(0)
    raise click.ClickException(f"the server to be measured did not start: {log.read()[-500:].strip()}")


def _get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def _believable_sample(sample: int, open_files: int) -> int:
    """As many viewers as may be measured with, of those that were asked for."""
    most = open_files - FILES_RESERVED - FILES_SPARE - WARM_UP
    if most < SAMPLE_MIN:
        raise click.ClickException(
            f"open files {open_files}: raise the hard limit (ulimit -Hn) to measure here"
        )
    return min(sample, most)


def _json(demand: Demand, measured: Measured, seen: JsonObject, made: Plan) -> JsonObject:
    return {
        "asked": asdict(demand),
        "measured": asdict(measured) | seen,
        "assumed": {name: {"value": value, "why": why} for name, value, why in assumptions()},
        "plan": made.to_json(),
        "settings": settings(made),
        "warnings": warnings(made),
    }


def settings(made: Plan) -> JsonObject:
    """What to copy into the configuration of each machine, by where it goes."""
    return {
        "command": f"touchline serve --workers {made.processes_per_machine}",
        "systemd": {"LimitNOFILE": made.open_files},
        "environment": {
            "TOUCHLINE_STREAM_CONNECTIONS_MAX": made.connections_max,
            "TOUCHLINE_STREAM_ACCEPT_RATE_PER_S": made.accept_rate_per_s,
            "TOUCHLINE_STREAM_RETRY_MIN_MS": RETRY_MIN_MS,
            "TOUCHLINE_STREAM_HEARTBEAT_S": HEARTBEAT_S,
        },
        "proxy": {
            "connections": made.proxy_connections,
            "open_files": made.proxy_connections + FILES_RESERVED,
            "source_addresses": made.proxy_addresses,
        },
    }


def _lines(demand: Demand, measured: Measured, seen: JsonObject, made: Plan) -> Iterator[str]:
    yield (
        f"{demand.viewers:,} viewers, the last of them told within {demand.within_ms} ms, machines of"
        f" {demand.cores} cores, {demand.open_files:,} open files a process"
    )
    yield ""
    yield (
        f"Measured here, with {seen['sample_viewers']:,} viewers on loopback and {seen['sample_events']}"
        f" events, in {seen['took_s']} s"
    )
    yield from _table(
        ("CPU for a viewer that comes", f"{measured.accept_s * 1e6:.1f} µs"),
        (
            "CPU for an event to one viewer",
            f"{measured.delivery_s * 1e6:.1f} µs, its receipt on loopback included",
        ),
        ("memory of the process for a viewer", f"{measured.viewer_bytes:,.0f} bytes"),
        ("memory of a process without viewers", f"{measured.process_bytes / 1e6:.0f} MB"),
        ("post to the first viewer", f"{measured.first_s * 1000:.1f} ms"),
        ("post to the last of the sample", f"{seen['sample_last_ms']} ms, their reading here included"),
        ("an event as sent", f"{measured.frame_bytes} bytes"),
    )
    yield ""
    yield "Assumed, not measured"
    yield from _table(*((name, f"{value:g}  {why}") for name, value, why in assumptions()))
    yield ""
    yield "Plan: arithmetic from these figures"
    yield from _table(
        ("viewers a core can tell in time", f"{made.viewers_per_core_by_latency:,}"),
        ("viewers a core can send heartbeats", f"{made.viewers_per_core_by_heartbeats:,}"),
        ("viewers a process can hold by its files", f"{made.viewers_per_process_by_files:,}"),
        ("cores", f"{made.cores:,}"),
        ("machines", f"{made.machines:,}, of {made.viewers_per_machine:,} viewers"),
        ("processes", f"{made.processes:,}: {made.processes_per_machine:,} a machine"),
        ("viewers of a process", f"{made.viewers_per_process:,}"),
        ("memory", f"{made.memory_megabytes:,} MB: {made.memory_megabytes_per_machine:,} MB a machine"),
        ("the last viewer is told after", f"{made.last_ms:,} ms"),
        ("network of a machine for one event", f"{made.event_megabytes:,} MB"),
        ("heartbeats take", f"{made.steady_core_share:.1%} of each core"),
        ("reconnect window after a full loss", f"{made.reconnect_window_s:,} s"),
        ("everybody back after", f"{made.back_s:,} s, if the servers are"),
    )
    yield ""
    yield "Settings of each machine"
    given = settings(made)
    proxy = given["proxy"]
    yield f"  {given['command']}"
    yield f"  LimitNOFILE={given['systemd']['LimitNOFILE']}"
    yield from (f"  {name}={value:g}" for name, value in given["environment"].items())
    yield (
        f"  proxies: {proxy['connections']:,} connections and {proxy['open_files']:,} open files together,"
        f" from {proxy['source_addresses']} source address{'es' * (proxy['source_addresses'] > 1)}"
    )
    yield from (f"Warning: {warning}" for warning in warnings(made))


def _table(*rows: tuple[str, str]) -> Iterator[str]:
    width = max(len(name) for name, _ in rows)
    return (f"  {name:<{width}}  {value}" for name, value in rows)
