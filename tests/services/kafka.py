"""A real Kafka broker for the tests: one KRaft node from Maven's jars, on loopback."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from string import Template

from tests.services.process import ServerProcess, free_port, require_program, unavailable

__all__ = ["KafkaBroker"]

REPOSITORY = Path(__file__).parents[2]
LIBRARIES = REPOSITORY / ".cache" / "kafka" / "libs"
DEPLOY = REPOSITORY / "deploy" / "kafka"
# Any 16 bytes in base64 will do: a node checks only that its data is of the cluster it joins.
CLUSTER_ID = "dG91Y2hsaW5lLXRlc3RzIQ"
# A few topics of a few partitions fit in the heap, since the tests share the machine with browsers. The
# first compiler alone halves the processor time of a start.
JVM = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
READY_TIMEOUT_S = 90.0  # a JVM on a busy two-core machine; two seconds on an idle one


class KafkaBroker:
    """One broker, started when made; ``kill`` and ``start`` again keep its port and its data."""

    def __init__(self, directory: Path, env: Mapping[str, str] | None = None) -> None:
        self._env = dict(env or {})
        self._java = require_program("java")
        if not any(LIBRARIES.glob("kafka_2.13-*.jar")):
            unavailable("Apache Kafka (mvn -q dependency:copy-dependencies in deploy/kafka)")
        self._directory = directory
        self.port = free_port()
        self._settings = directory / "server.properties"
        template = Template((DEPLOY / "server.properties").read_text("utf-8"))
        self._settings.write_text(
            template.substitute(data=directory / "data", broker_port=self.port, controller_port=free_port()),
            "utf-8",
        )
        subprocess.run(
            self._command("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._settings)),
            check=True,
            capture_output=True,
            timeout=60,
        )
        self._process: ServerProcess | None = None
        self.start()

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def process(self) -> ServerProcess:
        """The JVM."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start it on its data and wait until it serves."""
        self._process = ServerProcess(
            self._command("kafka.Kafka", str(self._settings)),
            log_path=self._directory / "broker.log",
            env=self._env,
        )
        self._process.wait_until(self._serves, READY_TIMEOUT_S)

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()

    def stop(self) -> None:
        """End it for good; its data is not asked for again, so no time is spent on a clean end."""
        self.process.kill()

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing answers."""
        self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        self.process.signal(signal.SIGCONT)

    def _serves(self) -> bool:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        try:
            # A listening port is not enough: the broker answers once the controller has registered it.
            client = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
            return len(client.list_topics(timeout=1).brokers) == 1
        except KafkaException:
            return False

    def _command(self, main_class: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={DEPLOY / 'log4j2.properties'}"
        return [self._java, *JVM, logging, "-cp", f"{LIBRARIES}/*", main_class, *arguments]
