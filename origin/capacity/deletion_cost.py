"""Which pod of the stream tier goes first: Kubernetes is given each pod's viewers as its deletion cost.

One small process does it for all pods, so that no pod that takes connections from the internet has a token of
the cluster's API. It lists the pods of a label, asks each for its metrics, and patches one annotation when a
number has changed by enough to matter.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from prometheus_client.parser import text_string_to_metric_families

from origin.errors import ConfigError, OriginError
from shared_state.jsontext import JsonObject

__all__ = ["ANNOTATION", "ApiError", "ClusterApi", "DeletionCost", "Pod", "viewers_in"]

_log = logging.getLogger(__name__)

ANNOTATION: Final = "controller.kubernetes.io/pod-deletion-cost"
METRIC: Final = "touchline_stream_viewers"
# Kubernetes reads it as an int32.
COST_MAX: Final = 2**31 - 1
# A smaller difference changes no order that matters, and each patch costs the API server a write.
CHANGE_MIN: Final = 100
CHANGE_SHARE: Final = 0.1
ANSWER_MAX_BYTES: Final = 16 * 1024 * 1024
PODS_MAX: Final = 5_000
API_TIMEOUT_S: Final = 10.0
POD_TIMEOUT_S: Final = 2.0
_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ApiError(OriginError):
    """The cluster's API refused or did not answer; ``str()`` says what was asked."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that runs.

    Attributes:
        address: its IP address.
        cost: what its annotation says; None if it has none, or none that is a number.
    """

    name: str
    address: str
    cost: int | None


class ClusterApi:
    """The two calls of the cluster's API that are made here.

    Args:
        url: of the API server, ``https://10.0.0.1:443``.
        token: a file with the account's token; read for each call, since the cluster replaces it.
        certificates: a file with the API server's certificate authority; None for an ``http://`` URL.

    Raises:
        ConfigError: the URL cannot be used.
    """

    def __init__(self, url: str, token: Path, certificates: Path | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"the cluster's API at {url!r}: must be https://host:port")
        self._host, self._port, self._token = parts.hostname, parts.port, token
        self._tls = (
            ssl.create_default_context(cafile=str(certificates) if certificates is not None else None)
            if parts.scheme == "https"
            else None
        )

    @classmethod
    def of_pod(cls, env: Mapping[str, str] = os.environ, account: Path = _ACCOUNT) -> ClusterApi:
        """The API of the cluster that this process is a pod of.

        Raises:
            ConfigError: it is none, or it has no token.
        """
        host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise ConfigError("KUBERNETES_SERVICE_HOST is not set: this runs as a pod, or with --api")
        if not (account / "token").is_file():
            raise ConfigError(f"{account / 'token'} is not there: the pod's account has no token mounted")
        return cls(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}", account / "token",
                   account / "ca.crt")  # fmt: skip

    def pods(self, namespace: str, selector: str) -> list[Pod]:
        """The pods that run and are not about to end, of a label selector.

        Raises:
            ApiError: they could not be listed.
        """
        query = urlencode({"labelSelector": selector, "limit": PODS_MAX})
        answer = self._call("GET", f"/api/v1/namespaces/{quote(namespace, safe='')}/pods?{query}")
        found = []
        for item in answer.get("items") or ():
            metadata, status = item["metadata"], item.get("status", {})
            if status.get("phase") != "Running" or "deletionTimestamp" in metadata or not status.get("podIP"):
                continue
            said = (metadata.get("annotations") or {}).get(ANNOTATION, "")
            cost = int(said) if said.lstrip("-").isdecimal() and said.isascii() else None
            found.append(Pod(metadata["name"], status["podIP"], cost))
        return found

    def set_cost(self, namespace: str, pod: str, cost: int) -> None:
        """Write a pod's deletion cost.

        Raises:
            ApiError: it was refused.
        """
        body = {"metadata": {"annotations": {ANNOTATION: str(cost)}}}
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}"
        self._call("PATCH", path, json.dumps(body).encode())

    def _call(self, method: str, path: str, body: bytes | None = None) -> JsonObject:
        connection: http.client.HTTPConnection
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=API_TIMEOUT_S)
        else:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=API_TIMEOUT_S, context=self._tls
            )
        try:
            headers = {
                "Authorization": f"Bearer {self._token.read_text(encoding='ascii').strip()}",
                "Accept": "application/json",
            }
            if body is not None:
                headers["Content-Type"] = "application/merge-patch+json"
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read(ANSWER_MAX_BYTES + 1)
            if response.status not in (200, 201) or len(text) > ANSWER_MAX_BYTES:
                raise ApiError(f"{method} {path}: {response.status}, {len(text)} bytes")
            answer: JsonObject = json.loads(text)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiError(f"{method} {path}: {error}") from None
        finally:
            connection.close()
        return answer


def viewers_in(metrics: str) -> int:
    """The viewers of all transports in a text of Prometheus.

    Raises:
        ValueError: it is none, or has no such metric.
    """
    for family in text_string_to_metric_families(metrics):
        if family.name == METRIC:
            return int(sum(sample.value for sample in family.samples))
    raise ValueError(f"no {METRIC}")


class DeletionCost:
    """See the module.

    Args:
        api: of the cluster.
        namespace: where the pods are.
        selector: their labels, ``app=x,tier=stream``.
        admin_port: where each pod serves ``/metrics``.
        interval_s: between two looks.
    """

    def __init__(
        self, api: ClusterApi, namespace: str, selector: str, *, admin_port: int, interval_s: float
    ) -> None:
        self._api, self._namespace, self._selector = api, namespace, selector
        self._admin_port, self._interval_s = admin_port, interval_s
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look until ``stop``. A look that fails is logged, and the next one is made."""
        while not self._stopped.is_set():
            try:
                self.look()
            except ApiError as error:
                _log.warning("deletion costs stay as they are: %s", error)
            self._stopped.wait(self._interval_s)

    def stop(self) -> None:
        """Have ``run`` return."""
        self._stopped.set()

    def look(self) -> int:
        """Look at all pods once; returns how many got another cost. A pod that does not answer keeps its own.

        Raises:
            ApiError: the pods could not be listed, or a cost could not be written.
        """
        changed = 0
        for pod in self._api.pods(self._namespace, self._selector):
            try:
                viewers = min(COST_MAX, self._viewers_of(pod))
            except (OSError, http.client.HTTPException, ValueError) as error:
                _log.warning("pod %s at %s does not say its viewers: %s", pod.name, pod.address, error)
                continue
            if _matters(pod.cost, viewers):
                self._api.set_cost(self._namespace, pod.name, viewers)
                changed += 1
        return changed

    def _viewers_of(self, pod: Pod) -> int:
        connection = http.client.HTTPConnection(pod.address, self._admin_port, timeout=POD_TIMEOUT_S)
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            if response.status != 200:
                raise ValueError(f"/metrics answers {response.status}")
            text = response.read(ANSWER_MAX_BYTES + 1)
            if len(text) > ANSWER_MAX_BYTES:
                raise ValueError(f"/metrics has more than {ANSWER_MAX_BYTES} bytes")
            return viewers_in(text.decode())
        finally:
            connection.close()


def _matters(before: int | None, now: int) -> bool:
    if before is None:
        return True
    return abs(now - before) >= min(CHANGE_MIN, max(1, before)) and abs(now - before) > CHANGE_SHARE * before
