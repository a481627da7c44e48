"""All tiers together: Kafka, three regions with a Redis each, nginx; on one machine, as `make demo-cluster`.

    python -m bench.bench_cluster                          all of it
    python -m bench.bench_cluster delivery [--viewers N]   event posted → last of N viewers, through nginx
    python -m bench.bench_cluster outage [--outage-s S]    Kafka away for S seconds, and what comes after
    python -m bench.bench_cluster worker [--events N]      what one fan-out worker sustains, Kafka → Redis
    python -m bench.bench_cluster faults [--repeats N]     the table of faults
    python -m bench.bench_cluster vendor [--repeats N]     the same of what vendors do, seen by a viewer

Writes ``bench/results/cluster.json`` and ``.md``; parts that were not asked for keep what they had. On a
machine with few cores this measures contention: Kafka, three Redis, six fan-out workers, three stream
workers, nginx and the load client share them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.cluster_faults import faults, vendor
from bench.results import RESULTS, keep, machine, spread
from bench.stream import meter
from bench.stream.load import LoadClient, Received
from bench.stream.server import BIN_DIR, STREAM_DIR, post
from deploy.cluster.status import metrics
from deploy.cluster.tiers import Cluster
from deploy.ports import free_port
from origin.bus import open_bus
from origin.commands.replay import Delivery, ReplayError, Sender
from origin.eventlog import open_eventlog
from origin.ingest.signatures import parse_key, signed_headers
from shared_state import Event
from shared_state.jsontext import JsonObject
from testkit.services.kafka import KafkaBroker
from testkit.services.process import ServerProcess
from testkit.services.redis import RedisServer

MATCH = "bench"
PATH = f"/stream/{MATCH}"
WARM_UP = 3
EVENTS = 40
PAUSE_S = 0.25
WORKER_MATCHES = 100  # two rounds of every league on one evening
BATCH = 500


def say(text: str) -> None:
    """Progress goes to standard error."""
    print(text, file=sys.stderr, flush=True)


class Subscribers:
    """The cluster with viewers of one match in all regions."""

    def __init__(self, cluster: Cluster, viewers: int) -> None:
        self.cluster = cluster
        self.viewers = viewers
        self.seq = 0
        self._key = parse_key(cluster.secret)

    def begin(self) -> None:
        """Two events, so that there is a match in every region."""
        home, away = {"name": "Home", "code": "HOM"}, {"name": "Away", "code": "AWY"}
        self.post({"type": "MATCH_INFO", "period": "PRE", "detail": {"home": home, "away": away}})
        self.post({"type": "STATUS_CHANGE", "period": "H1", "minute": 1, "detail": {"to": "LIVE"}})
        for region in self.cluster.regions:
            with closing(open_bus(region.bus_url)) as bus:
                until(lambda bus=bus: (head := bus.head(MATCH)) is not None and head.seq == self.seq)  # type: ignore[misc]

    def post(self, fields: JsonObject) -> tuple[int, float]:
        """One more event; when it was sent, monotonic ns, and how long until it was acknowledged, ms."""
        self.seq += 1
        body = json.dumps(self.event(self.seq, fields)).encode()
        headers = signed_headers(self._key, f"bench-{self.seq}", int(time.time()), body)
        sent_ns = post(self.cluster.regions[0].port, "/ingest/canonical", body, headers)
        return sent_ns, (time.monotonic_ns() - sent_ns) / 1e6

    @staticmethod
    def event(number: int, fields: JsonObject) -> JsonObject:
        """A canonical event."""
        return {"match_id": MATCH, "event_id": f"b{number}", "rev": 1, "op": "ADD", **fields}

    def load(self, ports: list[int]) -> LoadClient:
        """All viewers, evenly over these ports."""
        targets = [f"127.0.0.1:{port}" for port in ports]
        return LoadClient(BIN_DIR / "load", targets, PATH, self.viewers, resume=True, max_seconds=900)


BOOKING: JsonObject = {"type": "YELLOW_CARD", "period": "H1", "minute": 10, "team": "home", "player": "Kanté"}


def until(check: Callable[[], bool], timeout_s: float = 120.0) -> None:
    """Wait until the check is true."""
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s} s")
        time.sleep(0.005)


# delivery ----------------------------------------------------------------------------------------


def delivery(viewers: int) -> JsonObject:
    """Through nginx, and directly from the stream workers; the difference is nginx's share."""
    result: JsonObject = {"viewers": viewers, "events": EVENTS}
    with tempfile.TemporaryDirectory() as directory, Cluster(Path(directory), report=say) as cluster:
        audience = Subscribers(cluster, viewers)
        audience.begin()
        for name, ports in (
            ("through_nginx", [region.port for region in cluster.regions]),
            ("without_nginx", [region.stream_port for region in cluster.regions]),
        ):
            result[name] = _deliver(audience, ports)
            say(f"  {name}: {json.dumps(result[name])}")
    return result


def _deliver(audience: Subscribers, ports: list[int]) -> JsonObject:
    with audience.load(ports) as load:
        opened = load.open(120)
        time.sleep(1)
        received: list[Received] = []
        acknowledged: list[float] = []
        for number in range(WARM_UP + EVENTS):
            sent_ns, acknowledged_ms = audience.post(BOOKING)
            one = load.wait(audience.seq, sent_ns, opened.connected, 60)
            if number >= WARM_UP:
                received.append(one)
                acknowledged.append(acknowledged_ms)
            time.sleep(PAUSE_S)
        totals = load.totals()
    return {
        "connected": opened.connected,
        "connect_s": round(opened.seconds, 2),
        "posted_to_acknowledged_ms": spread(acknowledged),
        "posted_to_first_viewer_ms": spread([one.first_ms for one in received]),
        "posted_to_median_viewer_ms": spread([one.p50_ms for one in received]),
        "posted_to_99th_percentile_viewer_ms": spread([one.p99_ms for one in received]),
        "posted_to_last_viewer_ms": spread([one.last_ms for one in received]),
        "deliveries": sum(one.delivered for one in received),
        "lost": EVENTS * opened.connected - sum(one.delivered for one in received) + totals["missed"],
        "twice": totals["duplicates"],
    }


# outage ------------------------------------------------------------------------------------------


def outage(viewers: int, outage_s: float) -> JsonObject:
    """Kafka is killed with -9 while events come; it comes back on its data after a while."""
    with tempfile.TemporaryDirectory() as directory, Cluster(Path(directory), report=say) as cluster:
        audience = Subscribers(cluster, viewers)
        audience.begin()
        with audience.load([region.port for region in cluster.regions]) as load:
            opened = load.open(120)
            return {"viewers": opened.connected, "outage_s": outage_s} | _outage(audience, load, outage_s)


def _outage(audience: Subscribers, load: LoadClient, outage_s: float) -> JsonObject:
    cluster = audience.cluster
    refusals: list[str] = []
    given_up = 0
    acknowledged_ns: list[int] = []
    offered = threading.Semaphore(0)
    over = threading.Event()
    first = audience.seq

    def deliver() -> None:
        """The vendor: in order, each until it is acknowledged."""
        nonlocal given_up
        url = urlsplit(cluster.regions[0].url)
        sender = Sender(url, parse_key(cluster.secret), report=refusals.append)
        number = first
        while True:
            offered.acquire()
            if over.is_set():
                break
            number += 1
            body = json.dumps(audience.event(number, BOOKING)).encode()
            while True:
                try:
                    sender.send(Delivery(0, 1, body))
                    break
                except ReplayError:
                    given_up += 1  # as `touchline replay` does; somebody starts it again
            acknowledged_ns.append(time.monotonic_ns())
        sender.close()

    vendor = threading.Thread(target=deliver)
    vendor.start()
    pages: list[float] = []
    failed_pages = 0
    offers = 0
    kafka = cluster.child("kafka")

    def offer_until(deadline: float) -> None:
        """An event a second, and a reader's request for a page through nginx."""
        nonlocal offers, failed_pages
        while time.monotonic() < deadline:
            offers += 1
            offered.release()
            begun = time.monotonic()
            if not _page(cluster):
                failed_pages += 1
            pages.append((time.monotonic() - begun) * 1000)
            time.sleep(max(0.0, 1.0 - (time.monotonic() - begun)))

    offer_until(time.monotonic() + 5)
    kafka.kill()
    killed_ns = time.monotonic_ns()
    offer_until(time.monotonic() + outage_s)
    kafka.start()
    started_ns = time.monotonic_ns()
    until(cluster.kafka_serves)
    serving_ns = time.monotonic_ns()
    offer_until(time.monotonic() + 10)
    received = load.wait(first + offers, serving_ns, load.connections, 180)
    until(lambda: len(acknowledged_ns) == offers)
    over.set()
    offered.release()
    vendor.join()
    totals = load.totals()
    after = [at for at in acknowledged_ns if at > started_ns]
    first_after_s = (after[0] - serving_ns) / 1e9
    waiting = sum(1 for at in acknowledged_ns if at < killed_ns)
    result: JsonObject = {
        "events": offers,
        "acknowledged_before": waiting,
        "kafka_start_s": round((serving_ns - started_ns) / 1e9, 2),
        "serving_to_first_acknowledged_s": round(first_after_s, 2),
        "serving_to_last_viewer_has_all_s": round(received.last_ms / 1000, 2),
        "refusals": dict(Counter(_kind(line) for line in refusals)),
        "sender_gave_up": given_up,
        "pages_ms": spread(pages),
        "pages_failed": failed_pages,
        "viewers_with_all": received.delivered,
        "connections_lost": totals["lost"],
        "lost": totals["missed"],
        "twice": totals["duplicates"],
        "gap_events": totals["gap_events"],
    }
    say(f"  {json.dumps(result)}")
    return result


def _kind(refusal: str) -> str:
    return refusal.partition(";")[0].partition(":")[0][:60]


def _page(cluster: Cluster) -> bool:
    import urllib.request

    try:
        with urllib.request.urlopen(f"{cluster.regions[0].url}/match/{MATCH}", timeout=20) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


# worker ------------------------------------------------------------------------------------------


def worker(events: int) -> JsonObject:
    """One ``touchline fanout`` on all partitions, with more in Kafka than it can take; then a refill."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        kafka, redis = KafkaBroker(directory), RedisServer(directory)
        log = open_eventlog(f"kafka://{kafka.address}/worker?partitions=20")
        port = free_port()
        fanout = [sys.executable, "-m", "origin", "fanout", "--group", "g", "--metrics-port", str(port)]
        env = {"EVENTLOG_URL": f"kafka://{kafka.address}/worker?partitions=20", "BUS_URL": redis.url}

        def published() -> float:
            samples = metrics(port) or {}
            return samples.get("touchline_fanout_published_deltas_total", 0.0)

        try:
            log.append([Event.from_json(Subscribers.event(0, BOOKING))])
            process = ServerProcess(fanout, log_path=directory / "fanout.log", env=env)
            until(lambda: published() + _refilled(port) >= 1)
            per_match = events // WORKER_MATCHES
            total = per_match * WORKER_MATCHES
            before = published()
            cpu_before, redis_before = meter.cpu({process.pid}), meter.cpu({redis.process.pid})
            begun = time.monotonic()
            batch: list[Event] = []
            for number in range(per_match):
                for match in range(WORKER_MATCHES):
                    fields = {**Subscribers.event(number, BOOKING), "match_id": f"w{match}"}
                    batch.append(Event.from_json(fields))
                if len(batch) >= BATCH:
                    log.append(batch)
                    batch = []
            if batch:
                log.append(batch)
            appended_s = time.monotonic() - begun
            until(lambda: published() - before >= total, 600)
            seconds = time.monotonic() - begun
            used = meter.cpu({process.pid}).since(cpu_before).total_s
            redis_used = meter.cpu({redis.process.pid}).since(redis_before).total_s
            process.stop()
            # The region's Redis is lost, with its worker: everything is read and folded again.
            redis.client.flushall()
            process = ServerProcess(fanout, log_path=directory / "fanout.log", env=env)
            until(lambda: metrics(port) is not None)
            begun = time.monotonic()
            until(lambda: _refilled(port) >= total, 600)
            refill_s = time.monotonic() - begun
            process.stop()
        finally:
            log.close()
            redis.stop()
            kafka.stop()
    result: JsonObject = {
        "events": total,
        "matches": WORKER_MATCHES,
        "appended_s": round(appended_s, 2),
        "events_per_s": round(total / seconds),
        "worker_cpu_us_per_event": round(used / total * 1e6),
        "redis_cpu_us_per_event": round(redis_used / total * 1e6),
        "events_per_s_of_a_core": round(total / used),
        "refill_s": round(refill_s, 2),
        "refill_deltas_per_s": round(total / refill_s),
    }
    say(f"  {json.dumps(result)}")
    return result


def _refilled(port: int) -> float:
    return (metrics(port) or {}).get("touchline_fanout_refilled_deltas_total", 0.0)


# report ------------------------------------------------------------------------------------------


def table(result: JsonObject) -> str:
    """The results as Markdown."""
    parts = []
    if one := result.get("delivery"):
        parts.append(
            f"{one['viewers']} viewers, three regions, {one['events']} events, ms from the post:\n\n"
            "| | acknowledged p50, p99 | median viewer p50, p99 | last viewer p50, p99 | lost | twice |\n"
            "|---|--:|--:|--:|--:|--:|\n"
            + "\n".join(
                f"| {name.replace('_', ' ')} | {_pair(way['posted_to_acknowledged_ms'])} "
                f"| {_pair(way['posted_to_median_viewer_ms'])} | {_pair(way['posted_to_last_viewer_ms'])} "
                f"| {way['lost']} | {way['twice']} |"
                for name, way in one.items()
                if isinstance(way, dict)
            )
        )
    for name in ("outage", "worker"):
        if one := result.get(name):
            rows = "\n".join(f"| {key.replace('_', ' ')} | {_cell(value)} |" for key, value in one.items())
            parts.append(f"| {name} | |\n|---|--:|\n{rows}")
    for name in ("faults", "vendor"):
        if not (rows_of := result.get(name)):
            continue
        rows = "\n".join(
            f"| {row['fault']} | {row['gap_s']} ({', '.join(map(str, row['all_gaps_s']))}) | {row['deltas']} "
            f"| {row['lost']} | {row['twice']} | {_yes(row['equal'])} | {_yes(row['same_bytes'])} |"
            for row in rows_of
        )
        parts.append(
            "| fault | gap seen by viewers, s (median; all) | deltas | lost | twice | hash equal | "
            f"same bytes |\n|---|--:|--:|--:|--:|---|---|\n{rows}"
        )
    return "\n\n".join(parts) + "\n"


def _pair(one: JsonObject) -> str:
    return f"{one['p50']:.0f}, {one['p99']:.0f}"


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items()) or "none"
    return str(value)


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", help="delivery, outage, worker, faults, vendor; all by default")
    parser.add_argument("--viewers", type=int, default=10_000)
    parser.add_argument("--outage-s", type=float, default=60.0)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    run: dict[str, Callable[[], Any]] = {
        "delivery": lambda: delivery(chosen.viewers),
        "outage": lambda: outage(chosen.viewers, chosen.outage_s),
        "worker": lambda: worker(chosen.events),
        "faults": lambda: faults(chosen.repeats, say),
        "vendor": lambda: vendor(chosen.repeats, say),
    }
    for part in chosen.parts:
        if part not in run:
            parser.error(f"{part}: no such part; there are {', '.join(run)}")
    subprocess.run(["make", "-s", "-C", str(STREAM_DIR)], check=True)
    path = RESULTS / "cluster.json"
    result: JsonObject = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for part in chosen.parts or run:
        say(part)
        stamp = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
        result[part] = run[part]()
        result.setdefault("measured", {})[part] = stamp
        for name in ("command", "measured_at", "machine"):
            result.pop(name, None)
        keep("cluster", result)
    text = table(result)
    (RESULTS / "cluster.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
