"""What is started, in which order, and how it finds each other: Kafka, then regions, then nginx.

Each region has a Redis, two fan-out workers in a consumer group of the region's own, a stream worker, and an
nginx by the files of ``deploy/nginx``, which stands for the region's CDN.
One region is embargoed, as if its broadcast came later. All vendors' events go to the first region's origin;
Kafka takes them to all.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from deploy.cluster.child import Child, ClusterError, program
from deploy.ports import free_port, is_free
from deploy.sites import NginxSite, write_nginx
from origin.eventlog import open_eventlog

__all__ = ["REGIONS", "STATE", "Addresses", "Cluster", "Region", "answers"]

ROOT = Path(__file__).parents[2]
KAFKA = ROOT / "deploy" / "kafka"
KAFKA_LIBRARIES = ROOT / ".cache" / "kafka" / "libs"
# Where a running cluster says how it is reached, for `--status` in another terminal.
STATE = ROOT / ".cache" / "cluster.json"
REGIONS = ("eu", "us", "asia")
EMBARGOED = "asia"
FANOUT_WORKERS = 2
PARTITIONS = 20
# A few topics fit in the heap; the first compiler alone halves the processor time of a start.
JVM = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
# An nginx process has two descriptors for each viewer, and an open file more per cached page it reads.
OPEN_FILES_SPARE = 512


@dataclass(frozen=True, slots=True)
class Region:
    """How a region is reached.

    Attributes:
        embargo_s: how long its deltas are under embargo.
        port: its readers', at nginx.
        nginx_status_port: where its nginx reports its connections.
        redis_port, stream_port: of its Redis and of its stream worker.
        fanout_ports: where its fan-out workers serve their metrics.
    """

    name: str
    embargo_s: float
    port: int
    nginx_status_port: int
    redis_port: int
    stream_port: int
    fanout_ports: tuple[int, ...]

    @property
    def url(self) -> str:
        """What readers type."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def bus_url(self) -> str:
        """The region's ``BUS_URL``."""
        return f"redis://127.0.0.1:{self.redis_port}"

    @property
    def group(self) -> str:
        """The region's consumer group."""
        return f"fanout-{self.name}"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Everything that somebody outside needs to look at a running cluster."""

    kafka: str
    regions: tuple[Region, ...]

    @property
    def eventlog_url(self) -> str:
        """The cluster's ``EVENTLOG_URL``."""
        return f"kafka://{self.kafka}/match-scores?partitions={PARTITIONS}"

    def save(self, path: Path = STATE) -> None:
        """Write them where ``--status`` looks."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path = STATE) -> Addresses:
        """Read them.

        Raises:
            ClusterError: no cluster runs.
        """
        try:
            value = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            raise ClusterError("no cluster runs here; start one with make demo-cluster") from None
        regions = tuple(
            Region(**{**region, "fanout_ports": tuple(region["fanout_ports"])}) for region in value["regions"]
        )
        return cls(value["kafka"], regions)


class Cluster:
    """All tiers, up for as long as the block.

    Args:
        directory: for logs, configurations and Kafka's data.
        base_port: readers' port of the first region; the others follow. None: free ones.
        embargo_s: of the last region.
        canary_s: between two beats of the canary; 0: none.
        report: called with a line about what is done.

    Attributes:
        secret: signs webhooks to the first region.

    Raises:
        ClusterError: something is not installed, or did not start.
    """

    def __init__(
        self,
        directory: Path,
        *,
        base_port: int | None = None,
        embargo_s: float = 0.0,
        canary_s: float = 1.0,
        report: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._canary_s = canary_s
        # Started by root, nginx works as another account, and must come through to its own directories.
        directory.chmod(0o711)
        self._report = report
        self._programs = {
            "java": program("java", "default-jre-headless"),
            "redis": program("redis-server", "redis-server"),
            "nginx": program("nginx", "nginx-light"),
        }
        if not any(KAFKA_LIBRARIES.glob("kafka_2.13-*.jar")):
            raise ClusterError(
                "Kafka's jars are not in .cache/kafka/libs; "
                "cd deploy/kafka && mvn -q dependency:copy-dependencies"
            )
        ports = [free_port() if base_port is None else base_port + number for number in range(len(REGIONS))]
        taken = [str(port) for port in ports if not is_free(port)]
        if taken:
            raise ClusterError(f"port {', '.join(taken)} is taken; give another with --port")
        self.addresses = Addresses(
            f"127.0.0.1:{free_port()}",
            tuple(
                Region(
                    name,
                    embargo_s if name == EMBARGOED else 0.0,
                    port,
                    free_port(),
                    free_port(),
                    free_port(),
                    tuple(free_port() for _ in range(FANOUT_WORKERS)),
                )
                for name, port in zip(REGIONS, ports, strict=True)
            ),
        )
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self._children: dict[str, Child] = {}

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions."""
        return self.addresses.regions

    def child(self, name: str) -> Child:
        """By name: ``kafka``, ``nginx-eu``, ``redis-eu``, ``stream-eu``, ``fanout-eu-1`` and so on."""
        return self._children[name]

    @property
    def children(self) -> Sequence[Child]:
        """All processes, in the order of their start."""
        return list(self._children.values())

    def __enter__(self) -> Cluster:
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            self._start(deadline)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def _start(self, deadline: float) -> None:
        self._report("Kafka and three Redis …")
        self._start_kafka()
        for region in self.regions:
            self._start_redis(region)
        for region in self.regions:
            port = region.redis_port
            self.child(f"redis-{region.name}").wait_until(lambda port=port: listens(port), deadline)  # type: ignore[misc]
        self.child("kafka").wait_until(self.kafka_serves, deadline)
        # The topic is there before nine processes find it missing at once.
        open_eventlog(self.addresses.eventlog_url).close()
        self._report("six fan-out workers and three stream workers …")
        for region in self.regions:
            self._start_region(region)
        self._start_nginx()
        for region in self.regions:
            stream = self.child(f"stream-{region.name}")
            stream.wait_until(lambda port=region.stream_port: answers(port, "/readyz"), deadline)  # type: ignore[misc]
            for number, port in enumerate(region.fanout_ports, start=1):
                worker = self.child(f"fanout-{region.name}-{number}")
                worker.wait_until(lambda port=port: answers(port, "/metrics"), deadline)  # type: ignore[misc]
            nginx = self.child(f"nginx-{region.name}")
            nginx.wait_until(lambda port=region.port: answers(port, "/healthz"), deadline)  # type: ignore[misc]

    def _start_kafka(self) -> None:
        settings = self._directory / "kafka.properties"
        template = Template((KAFKA / "server.properties").read_text("utf-8"))
        settings.write_text(
            template.substitute(
                data=self._directory / "kafka-data",
                broker_port=self.addresses.kafka.partition(":")[2],
                controller_port=free_port(),
            ),
            "utf-8",
        )
        cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        done = subprocess.run(  # noqa: S603
            self._kafka("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(settings)),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ClusterError(f"Kafka's data directory could not be made:\n{done.stdout}{done.stderr}")
        self._run("kafka", self._kafka("kafka.Kafka", str(settings)))

    def _kafka(self, main_class: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={KAFKA / 'log4j2.properties'}"
        classes = ["-cp", f"{KAFKA_LIBRARIES}/*", main_class]
        return [self._programs["java"], *JVM, logging, *classes, *arguments]

    def _start_redis(self, region: Region) -> None:
        argv = [self._programs["redis"], "--port", str(region.redis_port), "--bind", "127.0.0.1"]
        argv += ["--save", "", "--appendonly", "no", "--dir", str(self._directory)]
        self._run(f"redis-{region.name}", argv)

    def _start_region(self, region: Region) -> None:
        # Nothing of the caller's own set-up: its log and its keys are not this cluster's.
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TOUCHLINE_", "BUS_", "EVENTLOG_"))
        }
        env |= {
            "EVENTLOG_URL": self.addresses.eventlog_url,
            "BUS_URL": region.bus_url,
            "TOUCHLINE_PUBLIC_URL": region.url,
            "TOUCHLINE_DEMO": "1",
            "TOUCHLINE_CANARY_INTERVAL_S": f"{self._canary_s:g}",
            "PYTHONPATH": str(ROOT),
        }
        touchline = [sys.executable, "-m", "origin"]
        for number, port in enumerate(region.fanout_ports, start=1):
            fanout = [*touchline, "fanout", "--group", region.group, "--metrics-port", str(port)]
            fanout += ["--embargo", str(region.embargo_s)]
            self._run(f"fanout-{region.name}-{number}", fanout, env)
        if region is self.regions[0]:
            env["TOUCHLINE_INGEST_KEYS"] = self.secret
        self._run(f"stream-{region.name}", [*touchline, "serve", "--port", str(region.stream_port)], env)

    def _start_nginx(self) -> None:
        # nginx may keep its limit or lower it; only root may raise it.
        open_files = os.sysconf("SC_OPEN_MAX")
        for region in self.regions:
            directory = self._directory / f"nginx-{region.name}"
            directory.mkdir(mode=0o755)
            site = NginxSite(
                listen=[f"listen 127.0.0.1:{region.port} reuseport backlog=4096;"],
                origin=f"127.0.0.1:{region.stream_port}",
                once_port=free_port(),
                # One origin takes what vendors send; the log takes it to all regions.
                ingest=f"127.0.0.1:{self.regions[0].stream_port}",
                status_port=region.nginx_status_port,
                # Viewers are two descriptors each: one process would run out at 10,000.
                processes=2,
                connections=open_files - OPEN_FILES_SPARE,
                open_files=open_files,
            )
            conf = write_nginx(site, directory)
            argv = [self._programs["nginx"], "-e", "stderr", "-p", f"{directory}/run/"]
            self._run(f"nginx-{region.name}", [*argv, "-c", str(conf / "nginx.conf")])

    def kafka_serves(self) -> bool:
        """Whether the broker answers: a listening port is not enough."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        try:
            client = AdminClient({"bootstrap.servers": self.addresses.kafka, "log_level": 0})
            return len(client.list_topics(timeout=1).brokers) == 1
        except KafkaException:
            return False

    def _run(self, name: str, argv: Sequence[str], env: dict[str, str] | None = None) -> None:
        self._children[name] = Child(name, argv, self._directory, env)

    def stop(self) -> None:
        """End everything that was started, readers first and Kafka last."""
        for names in self._ending():
            children = [self._children[name] for name in names if name in self._children]
            deadline = time.monotonic() + STOP_TIMEOUT_S
            for child in children:
                child.signal(signal.SIGCONT)  # a stopped process takes no other signal
                # Kafka's orderly end takes 5 s, for data that goes with its directory.
                child.signal(signal.SIGKILL if child.name == "kafka" else signal.SIGTERM)
            for child in children:
                child.end(deadline)

    def _ending(self) -> Iterator[list[str]]:
        names = [region.name for region in self.regions]
        yield [f"nginx-{name}" for name in names]
        yield [
            *(f"stream-{name}" for name in names),
            *(f"fanout-{name}-{number}" for name in names for number in range(1, FANOUT_WORKERS + 1)),
        ]
        yield ["kafka", *(f"redis-{name}" for name in names)]


def listens(port: int) -> bool:
    """Whether something listens on a loopback port."""
    return not is_free(port)


def answers(port: int, path: str) -> bool:
    """Whether a GET is answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
