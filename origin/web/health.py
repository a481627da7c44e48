"""``/healthz`` (alive), ``/readyz`` (ready to take viewers), ``/metrics`` (Prometheus)."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Flask, Response, current_app, jsonify
from prometheus_client import CONTENT_TYPE_LATEST

from origin.stream.http.framing import FixedAnswer
from origin.web.cache_policy import NO_STORE, set_policy
from origin.web.metric_sum import exposition
from origin.web.origin import origin_of
from origin.web.worker_pool import WORKER_POOL, families, unready

__all__ = ["admin", "blueprint", "fixed_answers"]

_HEALTHZ: Final = "/healthz"

blueprint = Blueprint("health", __name__)
#: What is for operators, and can have a listener of its own (``touchline serve --admin-port``).
admin = Blueprint("admin", __name__)


@blueprint.get(_HEALTHZ)
def healthz() -> Response:
    """This process answers. Nothing behind it is asked: restarting us would not mend it."""
    return set_policy(jsonify({"status": "alive"}), NO_STORE)


def fixed_answers(app: Flask) -> dict[str, FixedAnswer]:
    """The answers of an application that never change, by path, for the stream worker's loop.

    ``/healthz`` must be answered while all threads are busy with pages: whoever asks for it ends a process
    that does not answer. The application makes the answer once, so that it is the same under every server.
    """
    answer = app.test_client().get(_HEALTHZ)
    headers = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
    return {_HEALTHZ: FixedAnswer(headers, answer.data)}


@admin.get("/readyz")
def readyz() -> Response:
    """Whether new viewers should be sent here; 503 with the reasons if not. Several workers answer as one."""
    pool = current_app.extensions.get(WORKER_POOL)
    if pool is None:
        reasons, more = unready(current_app), {}
    else:
        readiness = pool.readiness()
        reasons = readiness.reasons
        more = {"workers": {str(pid): state for pid, state in readiness.workers.items()}}
    notes = origin_of(current_app).notes()
    answer = {"status": "unready" if reasons else "ready", "reasons": reasons, **more}
    response = jsonify({**answer, "notes": notes} if notes else answer)
    response.status_code = 503 if reasons else 200
    return set_policy(response, NO_STORE)


@admin.get("/metrics")
def metrics() -> Response:
    """The metrics of this process; of several workers, their sum."""
    pool = current_app.extensions.get(WORKER_POOL)
    found = families(current_app) if pool is None else pool.metrics()
    return set_policy(Response(exposition(found), content_type=CONTENT_TYPE_LATEST), NO_STORE)
