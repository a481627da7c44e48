"""The application: wiring only."""

from __future__ import annotations

import logging

from flask import Flask, Response, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from origin.config import Config
from origin.errors import BusError, OriginError, RequestError
from origin.stream.http.cors import RESUME, VALIDATORS, preflight_headers
from origin.stream.worker.extensions import ORIGIN
from origin.web import assets, health, pages, polls, streams, webhook
from origin.web.origin import Origin, origin_of

__all__ = ["create_app"]

logger = logging.getLogger(__name__)


def create_app(config: Config, *, start: bool = True) -> Flask:
    """The WSGI application.

    Args:
        config: the settings.
        start: whether to start the fan-out thread of the embedded set-up now.
    """
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25, "max_message_size": 4_096}
    app.extensions[ORIGIN] = Origin(config)
    # By this order /stream/score is the poll by query and not a match called "score".
    for blueprint in (
        health.blueprint,
        webhook.blueprint,
        polls.blueprint,
        streams.blueprint,
        pages.blueprint,
    ):
        app.register_blueprint(blueprint)
    assets.init_app(app)
    streams.sock.init_app(app)
    app.register_error_handler(RequestError, _request_error)
    app.register_error_handler(BusError, _bus_error)
    app.register_error_handler(HTTPException, _http_error)
    app.after_request(_any_origin)
    if start:
        origin_of(app).start()
    return app


# Programs read these, whatever they say that they accept.
_API = ("/score", "/api/", "/ingest/", "/stream/", "/ws/", "/healthz", "/readyz", "/metrics")


def _request_error(error: RequestError) -> Response:
    if not request.path.startswith(_API) and (
        request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
    ):
        response = Response(
            render_template("error.html", status=error.status, message=str(error)), mimetype="text/html"
        )
    else:
        response = jsonify(error.to_json())
    response.status_code = error.status
    response.headers.update(error.headers)
    # A match that is unknown now may begin in a second; a cache must not hold that against it.
    response.headers["Cache-Control"] = "no-store"
    return response


def _bus_error(error: OriginError) -> Response:
    logger.warning("%s %s: %s", request.method, request.path, error)
    return _request_error(
        RequestError(503, error.code, "the region's bus does not answer", headers={"Retry-After": "1"})
    )


def _http_error(error: HTTPException) -> Response:
    """The router's own errors (no such route, wrong method) in the one JSON shape."""
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Location")}
    if error.code is None or error.code < 400:
        return Response(error.get_body(), error.code, dict(error.get_headers()))
    code = error.name.lower().replace(" ", "_")
    return _request_error(RequestError(error.code, code, error.description or error.name, headers=headers))


def _any_origin(response: Response) -> Response:
    """Everything read here is public: any page may embed it. Ingest is signed, not origin-bound."""
    response.headers.setdefault("Access-Control-Allow-Origin", "*")
    response.headers.setdefault("Access-Control-Expose-Headers", "ETag, Touchline-Id, Retry-After")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if request.method == "OPTIONS" and "GET" in response.allow:
        allowed = RESUME if request.path.startswith("/stream/") else VALIDATORS
        for name, value in preflight_headers(allowed).items():
            response.headers.setdefault(name, value)
    return response
