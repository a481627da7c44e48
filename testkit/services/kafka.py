"""Real Kafka for the tests, from Maven's jars, on loopback: one KRaft node, or a cluster of three."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from string import Template

from deploy.ports import free_port
from testkit.services.process import ServerProcess, require_program, unavailable

__all__ = ["KafkaBroker", "KafkaCluster", "KafkaNode"]

REPOSITORY = Path(__file__).parents[2]
LIBRARIES = REPOSITORY / ".cache" / "kafka" / "libs"
DEPLOY = REPOSITORY / "deploy" / "kafka"
# Any 16 bytes in base64 will do: a node checks only that its data is of the cluster it joins.
CLUSTER_ID = "dG91Y2hsaW5lLXRlc3RzIQ"
# A few topics of a few partitions fit in the heap, since the tests share the machine with browsers. The
# first compiler alone halves the processor time of a start.
JVM = ("-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
READY_TIMEOUT_S = 90.0  # a JVM on a busy two-core machine; two seconds on an idle one
# The last value of a Kafka property wins: the settings in which a node of three differs from the template.
OF_THREE = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


class KafkaNode:
    """One node, broker and controller at once; ``kill`` and ``launch`` again keep its port and its data.

    Args:
        directory: of its own.
        voters: ``id@host:port`` of all controllers, with commas; its own alone if not given.
        settings: Kafka's, over those of ``deploy/kafka/server.properties``.
        heap_mb: the most that its heap may take, MiB.
    """

    def __init__(
        self,
        directory: Path,
        *,
        node_id: int = 1,
        controller_port: int = 0,
        voters: str = "",
        settings: Mapping[str, str] | None = None,
        heap_mb: int = 512,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._env = dict(env or {})
        self._java = require_program("java")
        if not any(LIBRARIES.glob("kafka_2.13-*.jar")):
            unavailable("Apache Kafka (mvn -q dependency:copy-dependencies in deploy/kafka)")
        self._directory = directory
        self._heap_mb = heap_mb
        self.id = node_id
        self.port = free_port()
        self._settings = directory / "server.properties"
        controller_port = controller_port or free_port()
        template = Template((DEPLOY / "server.properties").read_text("utf-8"))
        filled = template.substitute(
            data=directory / "data", broker_port=self.port, controller_port=controller_port
        )
        own = {
            "node.id": str(node_id),
            "controller.quorum.voters": voters or f"{node_id}@127.0.0.1:{controller_port}",
            **(settings or {}),
        }
        self._settings.write_text(
            filled + "".join(f"{name}={value}\n" for name, value in own.items()), "utf-8"
        )
        self._process: ServerProcess | None = None

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def process(self) -> ServerProcess:
        """The JVM."""
        assert self._process is not None
        return self._process

    def format(self) -> None:
        """Make its data directory, once, before the first launch."""
        subprocess.run(
            self._command("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._settings)),
            check=True,
            capture_output=True,
            timeout=60,
        )

    def launch(self) -> None:
        """Start it on its data; it does not serve yet."""
        self._process = ServerProcess(
            self._command("kafka.Kafka", str(self._settings)),
            log_path=self._directory / "broker.log",
            env=self._env,
        )

    def move(self) -> None:
        """Change its port from the next launch on."""
        filled = self._settings.read_text("utf-8")
        here, self.port = self.port, free_port()
        self._settings.write_text(filled.replace(f":{here}", f":{self.port}"), "utf-8")

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()

    def stop(self) -> None:
        """End it for good; its data is not needed again, so it is killed."""
        if self._process is not None:
            self._process.kill()

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing answers."""
        self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        self.process.signal(signal.SIGCONT)

    def _command(self, main_class: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={DEPLOY / 'log4j2.properties'}"
        jvm = [*JVM, f"-Xmx{self._heap_mb}m"]
        return [self._java, *jvm, logging, "-cp", f"{LIBRARIES}/*", main_class, *arguments]


class KafkaBroker(KafkaNode):
    """One node that is alone, started when made."""

    def __init__(self, directory: Path, env: Mapping[str, str] | None = None) -> None:
        super().__init__(directory, env=env)
        self.format()
        self.start()

    def start(self) -> None:
        """Start it on its data and wait until it serves."""
        self.launch()
        # A listening port is not enough: the broker answers once the controller has registered it.
        self.process.wait_until(lambda: len(_brokers(self.address)) == 1, READY_TIMEOUT_S)


class KafkaCluster:
    """Three nodes with a replica of everything each; an acknowledged record is on two of them at least.

    Args:
        settings: Kafka's, for all three.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        ports = {node_id: free_port() for node_id in (1, 2, 3)}
        voters = ",".join(f"{node_id}@127.0.0.1:{port}" for node_id, port in ports.items())
        self.nodes: dict[int, KafkaNode] = {}
        try:
            for node_id, port in ports.items():
                own = directory / f"node-{node_id}"
                own.mkdir()
                self.nodes[node_id] = KafkaNode(
                    own,
                    node_id=node_id,
                    controller_port=port,
                    voters=voters,
                    settings={**OF_THREE, **(settings or {})},
                    heap_mb=256,
                )
                self.nodes[node_id].format()
            self.start(*self.nodes)
        except BaseException:
            self.stop()
            raise

    @property
    def address(self) -> str:
        """``host:port,host:port,host:port`` for clients."""
        return ",".join(node.address for node in self.nodes.values())

    def start(self, *node_ids: int) -> None:
        """Start these nodes on their data and wait until they and all other running ones serve."""
        for node_id in node_ids:
            self.nodes[node_id].launch()
        for node_id in node_ids:
            running = {node_id for node_id, node in self.nodes.items() if node.process.running}
            node = self.nodes[node_id]
            node.process.wait_until(lambda n=node, r=running: r <= _brokers(n.address), READY_TIMEOUT_S)  # type: ignore[misc]

    def fully_replicated(self) -> bool:
        """Whether each broker has each record; before that, another kill could stop the log."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        try:
            topics = (
                AdminClient({"bootstrap.servers": self.address, "log_level": 0}).list_topics(timeout=5).topics
            )
        except KafkaException:
            return False
        return all(
            len(partition.isrs) == len(self.nodes)
            for topic in topics.values()
            for partition in topic.partitions.values()
        )

    def restart(self, *node_ids: int) -> None:
        """Start these nodes and wait until every partition is fully replicated again."""
        self.start(*node_ids)
        for node_id in node_ids:
            self.nodes[node_id].process.wait_until(self.fully_replicated, READY_TIMEOUT_S)

    def stop(self) -> None:
        """End all for good."""
        for node in self.nodes.values():
            node.stop()


def _brokers(address: str) -> set[int]:
    """The ids of the brokers that one broker lists; none if it does not answer."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        client = AdminClient({"bootstrap.servers": address, "log_level": 0})
        return set(client.list_topics(timeout=1).brokers)
    except KafkaException:
        return set()
