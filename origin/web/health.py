"""``/healthz`` (alive), ``/readyz`` (ready to take viewers), ``/metrics`` (Prometheus)."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from origin.stream.hub.metrics import StreamCollector
from origin.stream.worker.extensions import STREAM_HUB
from origin.web.origin import origin

__all__ = ["blueprint"]

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """This process answers. Nothing behind it is asked: restarting us would not mend it."""
    return _no_store(jsonify({"status": "alive"}))


@blueprint.get("/readyz")
def readyz() -> Response:
    """Whether new viewers should be sent here; 503 with the reasons if not."""
    reasons = origin().unready()
    hub = current_app.extensions.get(STREAM_HUB)
    if hub is not None and hub.draining:
        reasons.append("this process is ending")
    response = jsonify({"status": "unready" if reasons else "ready", "reasons": reasons})
    response.status_code = 503 if reasons else 200
    return _no_store(response)


@blueprint.get("/metrics")
def metrics() -> Response:
    """The counters of this process."""
    registry = origin().metrics.registry
    text = generate_latest(registry)
    hub = current_app.extensions.get(STREAM_HUB)
    if hub is not None:
        streams = CollectorRegistry()
        streams.register(StreamCollector(hub.metrics))
        text += generate_latest(streams)
    return _no_store(Response(text, content_type=CONTENT_TYPE_LATEST))


def _no_store(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
