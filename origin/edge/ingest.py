"""``POST /ingest/<feed>``: the HTTP side of ``origin.ingest``."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from origin.edge.current import origin
from origin.errors import RequestError

__all__ = ["blueprint"]

blueprint = Blueprint("ingest", __name__)


@blueprint.post("/ingest/<feed>")
def ingest(feed: str) -> Response:
    """Take a signed webhook; answered only when the log has its events on disk."""
    metrics = origin().metrics
    with metrics.ingest_seconds.time():
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            accepted = origin().ingest.accept(feed, headers, _body())
        except RequestError as error:
            metrics.ingest_rejected.labels(error.code).inc()
            raise
    metrics.ingest_accepted.labels(feed).inc(accepted.events)
    response = jsonify(accepted.to_json())
    response.headers["Cache-Control"] = "no-store"
    return response


def _body() -> bytes:
    """The whole body, never more than the limit, whatever Content-Length says."""
    limit = origin().config.ingest_max_bytes
    if request.content_length is None and not request.environ.get("wsgi.input_terminated"):
        raise RequestError(411, "length_required", "Content-Length is required")
    body: bytes = request.stream.read(limit + 1)
    if len(body) > limit or (request.content_length or 0) > limit:
        raise RequestError(413, "body_too_large", f"the body is larger than {limit} bytes", limit=limit)
    return body
