"""What each tier says of itself, as one table: health, and how far it is behind the tier before."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from redis import Redis
from redis.exceptions import RedisError

from deploy.cluster.tiers import Addresses, Region
from origin.bus import open_bus
from origin.canary.match import is_canary
from origin.errors import BusError
from shared_state import DeltaId

__all__ = ["Line", "read_status", "show"]

TOPIC = "match-scores"
TIMEOUT_S = 3.0
# Matches whose heads are shown: those whose last delta is the youngest.
MATCHES_SHOWN = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table."""

    tier: str
    where: str
    ok: bool
    text: str


def show(lines: list[Line]) -> str:
    """The table as text."""
    widths = [max(len(line.tier) for line in lines), max(len(line.where) for line in lines)]
    return "\n".join(
        f"{line.tier:<{widths[0]}}  {line.where:<{widths[1]}}  {'up  ' if line.ok else 'DOWN'}  {line.text}"
        for line in lines
    )


def read_status(addresses: Addresses) -> list[Line]:
    """Ask every tier; whether one answers has no effect on what is asked of the others."""
    kafka = _Kafka(addresses.kafka)
    lines = [_nginx(region) for region in addresses.regions]
    lines += [_stream(region) for region in addresses.regions]
    lines += _redis(addresses.regions)
    lines += [kafka.group(region) for region in addresses.regions]
    lines.append(kafka.broker())
    return lines


def metrics(port: int, path: str = "/metrics") -> dict[str, float] | None:
    """The samples of a Prometheus page by name with labels; None if it is not to be had."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    samples: dict[str, float] = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            with suppress(ValueError):
                samples[name] = float(value)
    return samples


def _nginx(region: Region) -> Line:
    tier, where = f"nginx {region.name}", f":{region.port}"
    # stub_status: "Active connections: 3", three counters, "Reading: 0 Writing: 1 Waiting: 2"
    samples = metrics(region.nginx_status_port, "/status")
    if samples is None:
        return Line(tier, where, False, "does not answer")
    active = samples.get("Active connections:", 0.0)
    return Line(tier, where, True, f"{active:.0f} connections")


def _stream(region: Region) -> Line:
    tier, where = f"stream {region.name}", f":{region.stream_port}"
    connection = http.client.HTTPConnection("127.0.0.1", region.stream_port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        ready, body = response.status == 200, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return Line(tier, where, False, str(error))
    finally:
        connection.close()
    samples = metrics(region.stream_port) or {}
    viewers = sum(value for name, value in samples.items() if name.startswith("touchline_stream_viewers{"))
    delivered = samples.get("touchline_stream_deliveries_total", 0.0)
    text = f"{viewers:.0f} viewers, {delivered:.0f} deliveries"
    return Line(tier, where, ready, text if ready else f"{text}; {' '.join(body.split())}")


def _redis(regions: tuple[Region, ...]) -> Iterator[Line]:
    """The heads of the youngest matches, and how many deltas each region is behind the furthest one."""
    heads = {region.name: _heads(region) for region in regions}
    furthest: dict[str, DeltaId] = {}
    for known in heads.values():
        for match_id, (head, _) in (known if isinstance(known, dict) else {}).items():
            furthest[match_id] = max(head, furthest.get(match_id, head))
    for region in regions:
        tier, where, known = f"redis {region.name}", f":{region.redis_port}", heads[region.name]
        if isinstance(known, str):
            yield Line(tier, where, False, known)
            continue
        youngest = sorted(known.items(), key=lambda item: item[1][1], reverse=True)[:MATCHES_SHOWN]
        parts = []
        for match_id, (head, _) in youngest:
            behind = furthest[match_id].seq - head.seq if furthest[match_id].epoch == head.epoch else head.seq
            parts.append(f"{match_id} {head}" + (f" (-{behind})" if behind else ""))
        embargo = f"; embargo {region.embargo_s:g} s" if region.embargo_s else ""
        yield Line(tier, where, True, f"{len(known)} matches: {', '.join(parts) or 'none yet'}{embargo}")


def _heads(region: Region) -> dict[str, tuple[DeltaId, int]] | str:
    """By match, its head and the idle seconds of its key, negated; or why they cannot be had."""
    try:
        bus = open_bus(f"{region.bus_url}?timeout_s={TIMEOUT_S:g}")
    except BusError as error:
        return str(error)
    try:
        with closing(bus), Redis(port=region.redis_port, socket_timeout=TIMEOUT_S) as client:
            found = {}
            for match_id in bus.matches():
                if is_canary(match_id):
                    continue
                head = bus.head(match_id)
                if head is not None:
                    # The lifetime that is left is set with each delta: the longest is the youngest match.
                    left: Any = client.pttl(f"touchline:{{{match_id}}}:stream")
                    found[match_id] = (head, int(left))
            return found
    except (BusError, RedisError) as error:
        return str(error)


def _latest() -> Any:
    return OffsetSpec.latest()  # type: ignore[no-untyped-call]


class _Kafka:
    """The broker's ends of partitions and the groups' offsets."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._admin = AdminClient(
            {"bootstrap.servers": address, "log_level": 0, "socket.timeout.ms": int(TIMEOUT_S * 1000)}
        )
        self._ends: dict[int, int] = {}
        self._error = ""
        try:
            topic = self._admin.list_topics(TOPIC, timeout=TIMEOUT_S).topics[TOPIC]
            asked = {TopicPartition(TOPIC, number): _latest() for number in topic.partitions}
            offsets = self._admin.list_offsets(asked, request_timeout=TIMEOUT_S)
            self._ends = {
                place.partition: future.result(TIMEOUT_S).offset for place, future in offsets.items()
            }
        except (KafkaException, TimeoutError) as error:
            self._error = str(error)

    def broker(self) -> Line:
        """The broker itself."""
        text = self._error or f"{sum(self._ends.values())} events in {len(self._ends)} partitions"
        return Line("kafka", self._address, not self._error, text)

    def group(self, region: Region) -> Line:
        """A region's fan-out: its members, how much is not committed yet, what its workers say."""
        tier = f"fan-out {region.name}"
        workers = [metrics(port) for port in region.fanout_ports]
        where = " ".join(f":{port}" for port in region.fanout_ports)
        up = [samples for samples in workers if samples is not None]
        published = sum(samples.get("touchline_fanout_published_deltas_total", 0.0) for samples in up)
        text = f"{len(up)} of {len(workers)} workers, {published:.0f} deltas published"
        if self._error:
            return Line(tier, where, False, f"{text}, lag unknown: {self._error}")
        try:
            members, lag = self._group(region.group)
        except (KafkaException, TimeoutError) as error:
            return Line(tier, where, False, f"{text}, lag unknown: {error}")
        ok = len(up) == len(workers) == members
        return Line(tier, where, ok, f"{text}, {members} in the group, lag {lag} events")

    def _group(self, group: str) -> tuple[int, int]:
        described = self._admin.describe_consumer_groups([group], request_timeout=TIMEOUT_S)[group]
        asked = [ConsumerGroupTopicPartitions(group)]
        offsets = self._admin.list_consumer_group_offsets(asked, request_timeout=TIMEOUT_S)[group]
        # Where nothing was committed yet, all is still to come.
        done = {place.partition: max(0, place.offset) for place in offsets.result(TIMEOUT_S).topic_partitions}
        lag = sum(end - done.get(partition, 0) for partition, end in self._ends.items())
        return len(described.result(TIMEOUT_S).members), lag
