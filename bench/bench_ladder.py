"""The canary and the panic ladder: who leaves when something stands still, and how 18,000 viewers move.

    make -C bench/ladder
    python -m bench.bench_ladder [--viewers 18000] [--repeats 5] [--parts edges,log,steps]

``edges``  three servers of one region. The loop of one is made to stand still: seconds until its
           ``/readyz`` says no. Then the network of one to its Redis is cut.
``log``    Kafka is stopped for half a minute: how many servers leave, and when pages are told.
``steps``  viewers of one server, which obey the ladder as the widget does; streams at the
           stream worker, long-polls and polls through nginx by ``deploy/nginx``.
           A delta is published each second meanwhile. Seconds until all have moved, and what was missed.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.results import keep, spread
from bench.stream.server import BIN_DIR, post
from deploy.cluster.child import Child, program
from deploy.ports import free_port
from deploy.sites import NginxSite, write_nginx
from origin.ingest.signatures import signed_headers
from shared_state.jsontext import JsonObject
from testkit.poster import KEY, event
from testkit.services.kafka import KafkaBroker
from testkit.worlds.edges import Edge, Edges

MATCH = "ladder"
STALL_S = 12.0
LOG_STOPPED_S = 30.0
MOVE_LIMIT_S = 60.0
INGEST = {"TOUCHLINE_INGEST_KEYS": "whsec_" + base64.b64encode(KEY).decode()}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def edges(repeats: int) -> JsonObject:
    """One server's loop stands still; one server is cut off from its Redis."""
    stalled, others, cut = [], 0, []
    with directory() as place, Edges(place) as region:
        for number in range(repeats):
            one = region.edges[number % len(region.edges)]
            one.stall(STALL_S)
            stalled.append(region.until(partial(getattr, one, "reasons")))
            others += sum(edge.reasons != [] for edge in region.edges if edge is not one)
            region.until(region.all_hear)
            say(f"stalled: out after {stalled[-1]:.2f} s")
    with directory() as place, Edges(place, linked=True) as region:
        assert region.link is not None
        one = region.edges[-1]
        for _ in range(max(1, repeats // 2)):
            region.link.cut()
            cut.append(region.until(lambda: one.reasons))
            others += sum(edge.reasons != [] for edge in region.edges if edge is not one)
            region.link.heal()
            region.until(region.all_hear)
            say(f"cut off: out after {cut[-1]:.2f} s")
    return {
        "stalled_out_s": spread(stalled, 2),
        "cut_off_out_s": spread(cut, 2),
        "others_out": others,
    }


def log() -> JsonObject:
    """Kafka is stopped, and goes on."""
    with directory() as place, broker_in(place) as broker:
        url = f"kafka://{broker.address}/ladder?partitions=4&timeout_s=3"
        with Edges(place, eventlog_url=url) as region:
            broker.process.signal(signal.SIGSTOP)
            began, out, late_s = time.monotonic(), set(), 0.0
            try:
                while time.monotonic() - began < LOG_STOPPED_S:
                    out |= {edge.name for edge in region.edges if edge.reasons != []}
                    if not late_s and all(edge.told["late_ms"] for edge in region.edges):
                        late_s = time.monotonic() - began
                    time.sleep(0.25)
            finally:
                broker.process.signal(signal.SIGCONT)
            over_s = region.until(lambda: not any(edge.told["late_ms"] for edge in region.edges), 120.0)
    say(f"log stopped: {len(out)} out, told after {late_s:.1f} s, over {over_s:.1f} s after it went on")
    return {
        "stopped_s": LOG_STOPPED_S,
        "edges": 3,
        "edges_out": len(out),
        "told_late_after_s": round(late_s, 1),
        "told_in_time_again_after_s": round(over_s, 1),
    }


@contextlib.contextmanager
def broker_in(place: Path) -> Iterator[KafkaBroker]:
    broker = KafkaBroker(place)
    try:
        yield broker
    finally:
        broker.stop()


class Viewers:
    """The C client, and what it said last."""

    def __init__(self, binary: Path, stream_port: int, poll_port: int, count: int) -> None:
        command = [str(binary), str(stream_port), str(poll_port), MATCH, str(count), "1500", "600"]
        self.last: dict[str, int] = {}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.last = json.loads(line)

    def wait(self, limit_s: float, **wanted: int) -> float:
        """Until it says so; returns how long that took, seconds."""
        began = time.monotonic()
        while not all(self.last.get(name) == value for name, value in wanted.items()):
            if time.monotonic() - began > limit_s or self._process.poll() is not None:
                raise RuntimeError(f"not {wanted} within {limit_s} s: {self.last}")
            time.sleep(0.05)
        return time.monotonic() - began

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


class Publisher:
    """One delta a second, by signed webhooks, until it is stopped."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self._port = port
        self._stop = threading.Event()
        self.publish()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def publish(self) -> None:
        self.count += 1
        body = json.dumps(event(f"n{self.count}", "NOTE", match_id=MATCH, detail={"text": "x"})).encode()
        headers = signed_headers(KEY, f"msg_{time.time_ns()}", int(time.time()), body)
        post(self._port, "/ingest/canonical", body, headers)

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            self.publish()

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        self._thread.join()


@contextlib.contextmanager
def nginx(origin_port: int) -> Iterator[int]:
    """Run nginx by the shipped files; gives its port."""
    port, open_files = free_port(), os.sysconf("SC_OPEN_MAX")
    with tempfile.TemporaryDirectory(prefix="touchline-ladder-nginx-") as name:
        place = Path(name)
        place.chmod(0o755)
        site = NginxSite(
            listen=[f"listen 127.0.0.1:{port} reuseport backlog=4096;"],
            origin=f"127.0.0.1:{origin_port}",
            once_port=free_port(),
            processes=2,
            connections=open_files - 512,
            open_files=open_files,
        )
        conf = write_nginx(site, place)
        argv = [program("nginx", "nginx-light"), "-e", "stderr", "-p", f"{place}/run/"]
        child = Child("nginx", [*argv, "-c", str(conf / "nginx.conf")], place)
        try:
            child.wait_until(lambda: listens(port), time.monotonic() + 20)
            yield port
        finally:
            child.signal(signal.SIGTERM)
            child.end(time.monotonic() + 5)


def listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def set_step(edge: Edge, step: str) -> None:
    status, text = edge.ask("/ladder", method="POST", body=json.dumps({"step": step, "reason": "bench"}))
    assert status == 200, text


def steps(binary: Path, count: int) -> JsonObject:
    """All viewers from streams to long-polls and to polls, and back."""
    moves: JsonObject = {}
    with directory() as place, Edges(place, count=1, env=INGEST) as region:
        edge = region.edges[0]
        with nginx(edge.port) as poll_port, Publisher(edge.port) as publisher:
            time.sleep(2.0)  # the match is on the bus
            viewers = Viewers(binary, edge.port, poll_port, count)
            viewers.wait(120.0, streams=count)
            say(f"{count} viewers have streams")
            for step in ("long-poll", "poll"):
                for to, wanted in (
                    (step, {"streams": 0, "polls": count}),
                    ("normal", {"streams": count, "polls": 0}),
                ):
                    before = dict(viewers.last)
                    set_step(edge, to)
                    took_s = viewers.wait(MOVE_LIMIT_S, **wanted)
                    name = f"to_{to}" if to != "normal" else f"back_from_{step}"
                    moves[name] = {
                        "all_moved_s": round(took_s, 1),
                        "refused": viewers.last["refused"] - before["refused"],
                        "resets": viewers.last["resets"] - before["resets"],
                    }
                    say(f"{name}: {took_s:.1f} s  {viewers.last}")
                    time.sleep(5.0)
            published = publisher.count
        # The publisher has ended: everybody must come to the last delta.
        settled_s = viewers.wait(60.0, least=published, most=published)
        last = dict(viewers.last)
        viewers.end()
    missed = {name: last[name] for name in ("holes", "twice")}
    say(f"missed: {missed}, all at seq {published} {settled_s:.1f} s after the last one")
    return {
        "viewers": count,
        "published": published,
        "moves": moves,
        **missed,
        "all_at_the_last": last["least"] == last["most"] == published,
        "totals": {name: last[name] for name in ("deltas", "states", "heartbeats", "requests", "refused")},
    }


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="touchline-ladder-") as name:
        yield Path(name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--viewers", type=int, default=18_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts", default="steps,edges,log")
    parser.add_argument("--bin", type=Path, default=BIN_DIR / "ladder-viewers")
    asked = parser.parse_args()
    parts: dict[str, Callable[[], JsonObject]] = {
        "edges": lambda: edges(asked.repeats),
        "log": log,
        "steps": lambda: steps(asked.bin, asked.viewers),
    }
    measured: JsonObject = {}
    for part in asked.parts.split(","):
        measured[part] = parts[part]()
        keep("ladder", measured)  # a later part may fail


if __name__ == "__main__":
    main()
