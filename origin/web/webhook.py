"""``POST /ingest/<feed>``: the HTTP side of ``origin.ingest.service``."""

from __future__ import annotations

import time
from typing import Final

from flask import Blueprint, Response, jsonify, request

from origin.errors import RequestError
from origin.logs import structured_logger
from origin.provenance import Provenance
from origin.stream.http.request_body import body_too_large
from origin.web.cache_policy import NO_STORE, set_policy
from origin.web.origin import origin

__all__ = ["blueprint"]

_log = structured_logger(__name__)
# Signatures allow so long an id.
_WEBHOOK_ID_MAX: Final = 256
# A batch may be of a thousand matches.
_MATCHES_LOGGED: Final = 10

blueprint = Blueprint("ingest", __name__)


@blueprint.post("/ingest/<feed>")
def ingest(feed: str) -> Response:
    """Take a signed webhook; answered only when the log has its events on disk."""
    metrics = origin().metrics
    with metrics.ingest_seconds.time():
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            # First what needs no body: a sender without a key must not make us read one.
            origin().ingest.check(feed, headers)
            accepted = origin().ingest.accept(feed, headers, _body())
        except RequestError as error:
            metrics.ingest_rejected.labels(error.code).inc()
            # What a stranger calls a webhook-id is a claim; it is escaped, and no longer than a true one.
            claimed = headers.get("webhook-id", "")[:_WEBHOOK_ID_MAX]
            _log.info("refused", webhook_id=claimed, code=error.code, status=error.status)
            raise
    if accepted.duplicate:
        metrics.ingest_duplicates.labels(feed).inc()
    else:
        metrics.ingest_accepted.labels(feed).inc(accepted.events)
        # Two readings of one clock: what is between them was spent in the log.
        metrics.observe_received(accepted.appended, accepted.received_ms, round(time.time() * 1_000))
    _log.info(
        "acknowledged",
        **Provenance(accepted.webhook_id, accepted.key_name, accepted.traceparent).fields(),
        match_id=accepted.matches[0]
        if len(accepted.matches) == 1
        else list(accepted.matches[:_MATCHES_LOGGED]),
        events=accepted.events,
        duplicate=accepted.duplicate,
    )
    return set_policy(jsonify(accepted.to_json()), NO_STORE)


def _body() -> bytes:
    """The whole body, never more than the limit, whatever Content-Length says.

    Raises:
        RequestError: 411 neither a length nor chunks; 413 too large.
    """
    limit = origin().config.ingest_max_bytes
    length = request.content_length
    if length is None and not _in_chunks():
        raise RequestError(411, "length_required", "Content-Length is required")
    if length is not None and length > limit:
        raise body_too_large(limit)
    body: bytes = request.stream.read(limit + 1)
    if len(body) > limit:
        raise body_too_large(limit)
    return body


def _in_chunks() -> bool:
    """Whether the body comes in chunks, and the server knows where they end."""
    coding: str = request.headers.get("Transfer-Encoding", "")
    return coding.lower() == "chunked" and bool(request.environ.get("wsgi.input_terminated"))
